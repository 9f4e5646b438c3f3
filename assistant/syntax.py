"""A sentence of the When or the range language, taken apart into its clauses. Nothing is computed here.

The languages are those of `grammar.py`, and the tests hold the two together: what one takes, the other takes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from assistant.errors import BadWhen
from assistant.grammar import CLASSES, DAYPARTS, MAX_LIST, MONTHS, ORDINALS, WEEKDAYS

Pattern = tuple[str | tuple[str, ...], ...]
"""A word each: a word as such, a terminal of `grammar.CLASSES`, or a choice of words."""


def _units(*names: str) -> tuple[str, ...]:
    return tuple(word for name in names for word in (name, name + "s"))


DATES: tuple[Pattern, ...] = (
    (WEEKDAYS, "in", "N", _units("week")), ("next", WEEKDAYS), (WEEKDAYS,), ("today",), ("tomorrow",),
    ("this", "weekend"), ("next", ("week", "month")), ("end", "of", ("week", "month")), ("YYYY-MM-DD",),
    ("D", MONTHS, "YYYY"), ("D", MONTHS), ("the", "D"), (ORDINALS, WEEKDAYS, "of", MONTHS),
    ("easter", "monday"), ("easter",), ("good", "friday"),
)  # fmt: skip
"""Where one begins like another, the longer one stands first."""
TIMES = ("HH:MM", "H:MM?", DAYPARTS)
CLOCK_UNITS = ("second", "minute", "hour")
DAY_UNITS = ("day", "week", "month", "year")


@dataclass(frozen=True, slots=True)
class Point:
    """`date [time]`, or `time` alone, or `tonight`."""

    date: tuple[str, ...] = ()
    """The words of a date; empty if none was said."""
    time: str | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """`in` a length of time."""

    span: tuple[tuple[int, str], ...]
    """Number and unit in the singular: ((1, "hour"), (30, "minute")). Units of the clock and of the day do not mix."""
    time: str | None = None
    """Only after units of the day."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """`every ...`."""

    n: int
    unit: str
    """In the singular. A list of weekdays is unit `week`."""
    weekdays: tuple[int, ...] = ()
    """0 is Monday."""
    on: tuple[str, ...] = ()
    """Of a month `the D` or `ORDINAL WEEKDAY`, of a year `D MONTH` or `ORDINAL WEEKDAY of MONTH`."""
    times: tuple[str, ...] = ()
    start: Point | None = None
    until: Point | None = None
    length: tuple[int, str] | None = None
    """`for` so many times, or so many of a unit."""
    excluded: tuple[int, ...] = ()
    """Weekdays."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the day."""

    kind: str
    """`at`, `after`, `before` or `between`."""
    times: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """A range: days, a part of the day, both, or what recurs."""

    days: tuple[str, ...] = ()
    """The words of a date, `this week|month|year`, or a month."""
    window: Window | None = None
    repetition: Repetition | None = None


def read_when(text: str) -> Point | Delay | Repetition:
    """Raises `BadWhen` for what is no sentence of the When language."""
    return _read(text, _Reader.when)


def read_range(text: str) -> Look:
    """Raises `BadWhen` for what is no sentence of the range language."""
    return _read(text, _Reader.look)


def _read(text: str, start: Callable):
    reader = _Reader(text)
    clause = start(reader)
    if reader.at < len(reader.words):
        raise BadWhen(text)
    return clause


def _fits(word: str, terminal: str | tuple[str, ...]) -> bool:
    if isinstance(terminal, tuple):
        return word in terminal
    return bool(CLASSES[terminal].fullmatch(word)) if terminal in CLASSES else word == terminal


class _Reader:
    """Reads words from left to right; no clause of the language needs a step back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = text.lower().split()
        self.at = 0

    def take(self, *pattern: str | tuple[str, ...]) -> tuple[str, ...] | None:
        """The next words if they fit the pattern, which are then read; else None, and nothing is read."""
        words = tuple(self.words[self.at : self.at + len(pattern)])
        if len(words) < len(pattern) or not all(map(_fits, words, pattern)):
            return None
        self.at += len(words)
        return words

    def one_of(self, patterns: tuple[Pattern, ...]) -> tuple[str, ...] | None:
        return next((words for pattern in patterns if (words := self.take(*pattern))), None)

    def need(self, found):
        if not found:
            raise BadWhen(self.text)
        return found

    def when(self) -> Point | Delay | Repetition:
        if self.take("every"):
            return self.repetition()
        if self.take("in"):
            return self.delay()
        if self.take("tonight"):
            return Point(("tonight",))
        return self.point()

    def time(self) -> str | None:
        found = self.one_of(tuple((t,) for t in TIMES))
        return found[0] if found else None

    def point(self) -> Point:
        date, time = self.one_of(DATES) or (), self.time()
        self.need(date or time)
        return Point(date, time)

    def delay(self) -> Delay:
        if hours := self.take("N", _units("hour")):
            minutes = self.take("N", _units("minute"))
            return Delay(tuple((int(n), unit.rstrip("s")) for n, unit in filter(None, (hours, minutes))))
        if clock := self.take("N", _units("minute", "second")):
            return Delay(((int(clock[0]), clock[1].rstrip("s")),))
        n, unit = self.need(self.take("N", _units(*DAY_UNITS)))
        return Delay(((int(n), unit.rstrip("s")),), self.time())

    def weekdays(self) -> tuple[int, ...]:
        """`WEEKDAY {"and" WEEKDAY}`, in the week's order and each once; empty if there is none."""
        found = [*(self.take(WEEKDAYS) or ())]
        while found and len(found) < MAX_LIST and (more := self.take("and", WEEKDAYS)):
            found.append(more[1])
        return tuple(sorted({WEEKDAYS.index(word) for word in found}))

    def repetition(self) -> Repetition:
        n, unit, weekdays, on = self.rule()
        times = [t for t in [self.time()] if t]
        while 0 < len(times) < 4 and self.take("and"):
            times.append(self.need(self.time()))
        start = self.point() if self.take("from") else None
        until = length = None
        if self.take("until"):
            until = self.point()
        elif self.take("for"):
            count, of = self.need(self.take("N", _units("time", *CLOCK_UNITS, *DAY_UNITS)))
            length = (int(count), of.rstrip("s"))
        excluded = self.need(self.weekdays()) if self.take("except") else ()
        return Repetition(n, unit, weekdays, on, tuple(times), start, until, length, excluded)

    def rule(self) -> tuple[int, str, tuple[int, ...], tuple[str, ...]]:
        if self.take("weekday"):
            return 1, "week", (0, 1, 2, 3, 4), ()
        if self.take("weekend"):
            return 1, "week", (5, 6), ()
        if weekdays := self.weekdays():
            return 1, "week", weekdays, ()
        if counted := self.take("N", _units(*CLOCK_UNITS, *DAY_UNITS)):
            n, unit = int(counted[0]), counted[1].rstrip("s")
        else:
            n, unit = 1, self.need(self.take(CLOCK_UNITS + DAY_UNITS))[0]
        if not self.take("on"):
            return n, unit, (), ()
        match unit:
            case "week":
                return n, unit, self.need(self.weekdays()), ()
            case "month":
                return n, unit, (), self.need(self.one_of((("the", "D"), (ORDINALS, WEEKDAYS))))
            case "year" if not counted:
                return n, unit, (), self.need(self.one_of((("D", MONTHS), (ORDINALS, WEEKDAYS, "of", MONTHS))))
        raise BadWhen(self.text)

    def look(self) -> Look:
        if self.take("every"):
            return Look(repetition=self.repetition())
        if days := self.take("this", ("week", "month", "year")) or self.take(MONTHS):
            return Look(days)
        days = self.one_of(DATES) or ()
        window = self.window()
        return self.need(Look(days, window) if days or window else None)

    def window(self) -> Window | None:
        if word := self.take(("after", "before")):
            return Window(word[0], (self.need(self.time()),))
        if self.take("between"):
            first = self.need(self.time())
            self.need(self.take("and"))
            return Window("between", (first, self.need(self.time())))
        time = self.time()
        return Window("at", (time,)) if time else None
