"""The range language: which reminders a request means by their time ("my alarms tomorrow morning").

`grammar.py` holds its exact form. A range looks at when a reminder rings next, in local time:

- A date is that whole day. `friday` said on a Friday is today as well as a week from today; `the 5`, `5 march` and the
  like count today too. `this weekend` is Saturday and Sunday, `next week` Monday to Sunday, `next month`, `march` (the
  next one, or the current) and `this week|month|year` all of it. A date may lie in the past.
- A time is that minute of any day, or of the date it stands with. Of `5:00?` both halves of the day fit: to look
  something up it is better to find two than none.
- `morning` is 5 to 12, `afternoon` 12 to 18, `evening` 17 to 23, `night` 18 to 4 of the day after; `noon` 12:00, and
  `midnight` 00:00, which ends the date it stands with.
- `after` and `before` leave out the minute itself, `between` includes both; they reach to the end of the day or from
  its beginning, and `after midnight` is 0 to 4 (of the day after a date). Here `5:00?` is 7 to 11 in the morning, 12
  noon, 1 to 6 in the afternoon; but between two times the second follows the first as soon as it can. A part of the
  day stands for its time (`after morning`: after 09:00).
- `every ...` fits what recurs on the same days (a Monday is not `every weekday`), and where times are said, at each of
  them. `every week|month|year` fits any day of it. `from`, `until` and `for` do not matter.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from assistant import repeats
from assistant.dates import DAY, Here, Policy, clock, days, halves, month_end
from assistant.grammar import MONTHS, WEEKDAYS
from assistant.recurrence import DAYS, STEPS, clocks, fields
from assistant.syntax import CLOCK_UNITS, Repetition, Window, read_range

SECONDS = 86400
PARTS = {"morning": (5, 12), "afternoon": (12, 18), "evening": (17, 23), "night": (18, 28)}
"""Hours from the beginning of the day."""


@dataclass(frozen=True, slots=True)
class Range:
    """A set of times."""

    tz: ZoneInfo
    policy: Policy
    days: tuple[tuple[date, date], ...] = ()
    """First and last day of each stretch; empty for any day."""
    windows: tuple[tuple[int, int], ...] = ((0, SECONDS),)
    """Parts of the day in seconds from its 00:00, the end not included; one may reach into the day after."""
    repetition: Repetition | None = None

    def matches(self, due: datetime, rrule: str | None) -> bool:
        """Whether a reminder that rings next at the aware instant `due`, by that rule if it recurs, is in the range."""
        local = due.astimezone(self.tz).replace(tzinfo=None, fold=0)
        if self.repetition:
            return rrule is not None and self._recurs_like(fields(rrule), local)
        for day in (local.date(), local.date() - DAY):
            second = (local - datetime.combine(day, time())) // timedelta(seconds=1)
            if any(start <= second < end for start, end in self.windows) and self._has(day):
                return True
        return False

    def _has(self, day: date) -> bool:
        return not self.days or any(first <= day <= last for first, last in self.days)

    def _recurs_like(self, rule: dict[str, str], local: datetime) -> bool:
        said = self.repetition
        if said.unit in CLOCK_UNITS or rule["FREQ"] in STEPS:
            return said.unit in CLOCK_UNITS and rule["FREQ"] in STEPS and repeats.step(said) == (
                int(rule.get("INTERVAL", 1)) * STEPS[rule["FREQ"]])  # fmt: skip
        mine = _shape(repeats.pattern(said, self.policy))
        theirs = _shape(rule)
        if repeats.is_open(said):
            same = mine[:2] == theirs[:2] and (said.unit != "week" or len(theirs[2]) == 1)
        else:
            same = mine == theirs
        at = clocks(rule, local)
        return same and all(any(_is_at(word, t, self.policy) for t in at) for word in said.times)


def parse_range(text: str, now: datetime, tz: ZoneInfo, policy: Policy = Policy()) -> Range:  # noqa: B008
    """The range that a sentence names at the aware instant `now` in `tz`. Letter case does not matter.

    Raises `BadWhen` for what is no sentence of the range language, and nothing else.
    """
    look = read_range(text)
    if look.repetition:
        return Range(tz, policy, repetition=look.repetition)
    here = Here.at(text, now, tz, policy)
    stretches = _stretches(look.days, here) if look.days else ()
    windows = _windows(look.window, policy, dated=bool(look.days)) if look.window else ((0, SECONDS),)
    return Range(tz, policy, stretches, windows)


def _stretches(words: tuple[str, ...], here: Here) -> tuple[tuple[date, date], ...]:
    today = here.today
    monday = today - today.weekday() * DAY
    match words:
        case ("this", "week"):
            return ((monday, monday + 6 * DAY),)
        case ("next", "week"):
            return ((monday + 7 * DAY, monday + 13 * DAY),)
        case ("this", "weekend"):
            return ((monday + 5 * DAY, monday + 6 * DAY),)
        case ("this", "month"):
            return ((today.replace(day=1), month_end(today.year, today.month)),)
        case ("next", "month"):
            first = month_end(today.year, today.month) + DAY
            return ((first, month_end(first.year, first.month)),)
        case ("this", "year"):
            return ((date(today.year, 1, 1), date(today.year, 12, 31)),)
        case (month,) if month in MONTHS:
            number = MONTHS.index(month) + 1
            year = today.year + (number < today.month)
            return ((date(year, number, 1), month_end(year, number)),)
        case (weekday,) if weekday in WEEKDAYS:
            (day,) = days(words, here)
            return ((day, day), (today, today)) if day == today + 7 * DAY else ((day, day),)
    day = here.first_day(words)
    return ((day, day),)


def _windows(window: Window, policy: Policy, dated: bool) -> tuple[tuple[int, int], ...]:
    match window:
        case Window("at", (word,)):
            return _at(word, policy)
        case Window("after", ("midnight",)):  # the small hours
            return ((SECONDS + 1, 28 * 3600),) if dated else ((1, 4 * 3600),)
        case Window("after", (word,)):
            return ((_second(clock(word, policy)) + 1, SECONDS),)
        case Window("before", (word,)):
            return ((0, SECONDS if word == "midnight" else _second(clock(word, policy))),)
    first, second = (_readings(word, policy) for word in window.times)
    if len(first) == 2 and len(second) == 1:  # between 8:00? and 21:00
        start = max([t for t in first if t < (second[0] or SECONDS)], default=first[-1])
    else:
        start = _second(clock(window.times[0], policy))
    end = min([t for t in second if t > start], default=min(second) + SECONDS)
    return ((start, end + 60),)


def _at(word: str, policy: Policy) -> tuple[tuple[int, int], ...]:
    if word == "midnight":
        return ((SECONDS, SECONDS + 60),)
    minutes = tuple((second, second + 60) for second in _readings(word, policy))
    if word in PARTS:  # besides the person's own time for it, wherever that lies
        first, last = PARTS[word]
        return (first * 3600, last * 3600), *minutes
    return minutes


def _is_at(word: str, at: time, policy: Policy) -> bool:
    """Whether a rule that rings at `at` may be meant by a time of day."""
    second = _second(at)
    return any(start <= s < end for s in (second, second + SECONDS) for start, end in _at(word, policy))


def _readings(word: str, policy: Policy) -> list[int]:
    """Seconds of the day that a time may mean, both halves of an `H:MM?`."""
    return [_second(t) for t in (halves(word) if word.endswith("?") else (clock(word, policy),))]


def _second(t: time) -> int:
    return t.hour * 3600 + t.minute * 60 + t.second


def _shape(rule: dict[str, str]) -> tuple:
    """What two rules must have in common to ring on the same days: frequency, interval, weekdays, days, months."""
    frequency, interval = rule["FREQ"], int(rule.get("INTERVAL", 1))
    weekdays = frozenset(rule["BYDAY"].split(",")) if "BYDAY" in rule else frozenset()
    if frequency == "DAILY" and interval == 1:
        frequency, weekdays = "WEEKLY", weekdays or frozenset(DAYS)
    return frequency, interval, weekdays, rule.get("BYMONTHDAY"), rule.get("BYMONTH")
