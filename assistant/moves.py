"""Where a reminder moves. Pure: from a reminder and what was said to its new time.

What is not said stays: a clock time keeps the day, a day the clock time. Of what recurs, a clock time (or `later` and
`earlier` within the day) moves all occurrences and keeps their days; another day moves the next one alone; `every ...`
makes another rule. A bare hour is the half of the day nearer to the old time.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from assistant import replies
from assistant.dates import Here, clock, localise
from assistant.errors import BadWhen, PastTime
from assistant.grammar import CLASSES, DAYPARTS, MONTHS, is_when
from assistant.messages import Reminder
from assistant.recurrence import STEPS, fields, next_occurrence
from assistant.repeats import text
from assistant.syntax import CLOCK_UNITS, DAY_UNITS, Delay, Point, Repetition, read_when
from assistant.targets import due_of
from assistant.when import Past, Repeat, parse_when


@dataclass(frozen=True, slots=True)
class Move:
    """A new time; the fields are those of `messages.Reminder`."""

    when: str
    wall: datetime
    zone: str
    rrule: str | None
    due: datetime
    """Aware."""
    apart: bool = False
    """It is the next occurrence alone that moves."""


def new_time(r: Reminder, when: str | None, shift_minutes: float | None, here: Here) -> Move:
    """Move `r` to the When sentence `when`, or later by `shift_minutes`. Raises `PastTime`, `BadWhen`."""
    due = due_of(r).astimezone(here.tz)
    if shift_minutes is not None:
        return _shifted(r, due, shift_minutes, here)
    match said := read_when(when or ""):
        case Repetition():
            timed = said.times or (said.start and said.start.time) or said.unit in CLOCK_UNITS
            return _parsed(when if timed else retime(when, f"{due:%H:%M}"), here)
        case Point(date=()):
            return _at(r, due, _nearest(said.time, due), here)
        case Point(date=date, time=None) if date != ("tonight",):
            when = f"{when} {due:%H:%M}"
        case Delay(span=((_, unit), *_), time=None) if unit in DAY_UNITS:
            when = f"{when} {due:%H:%M}"
    return _parsed(when, here, apart=r.rrule is not None)


def _parsed(when: str, here: Here, apart: bool = False) -> Move:
    result = parse_when(when, here.now, here.tz, here.policy)
    if isinstance(result, Past):
        raise PastTime(replies.passed(result.due, here.now.astimezone(here.tz)))
    return _move(when, result.due, here, result.rrule if isinstance(result, Repeat) else None, apart)


def _move(when: str, due: datetime, here: Here, rrule: str | None = None, apart: bool = False) -> Move:
    local = due.astimezone(here.tz)
    return Move(when, local.replace(tzinfo=None, fold=0), here.tz.key, rrule, due, apart)


def _at(r: Reminder, due: datetime, word: str, here: Here) -> Move:
    """At another time of the same day, or of the same days."""
    if r.rrule is None:
        try:
            return _parsed(_on(due, word), here)
        except PastTime:
            return _parsed(word, here)  # its day is over: the next time that the clock shows this
    return _of_rule(r, due, word, here) or _parsed(retime(r.when, word), here)


def _of_rule(r: Reminder, due: datetime, word: str, here: Here) -> Move | None:
    """The rule at another time of day, its days and its count as they were; None if that is not to be had so."""
    rule = fields(r.rrule)
    several = "BYSETPOS" in rule or "," in rule.get("BYHOUR", "") + rule.get("BYMINUTE", "")
    if rule["FREQ"] in STEPS or several or word == "midnight":
        return None
    rrule = text({name: part for name, part in rule.items() if name not in ("BYHOUR", "BYMINUTE")})
    wall = datetime.combine(r.wall.date(), clock(word, here.policy))
    day = localise(datetime.combine(due.date(), time()), here.tz).astimezone(UTC)
    ahead = next_occurrence(rrule, wall, here.tz, max(here.now, day - timedelta(seconds=1)))
    return ahead and Move(retime(r.when, word), wall, here.tz.key, rrule, ahead)


def _shifted(r: Reminder, due: datetime, minutes: float, here: Here) -> Move:
    """Later or earlier, by the clock on the wall."""
    try:
        wall = due.replace(tzinfo=None) + timedelta(minutes=minutes)
        if minutes > 0 and not here.ahead(wall):  # it rang long ago: from now, then
            wall = here.wall.replace(microsecond=0) + timedelta(minutes=minutes)
        when = _on(wall, f"{wall:%H:%M}")
        moved = here.instant(wall)
    except OverflowError:
        raise BadWhen(f"{minutes:+} minutes") from None
    if not is_when(when):  # a year that the language does not know
        raise BadWhen(when)
    if moved.astimezone(UTC) <= here.now:
        raise PastTime(replies.passed(moved, here.now.astimezone(here.tz)))
    if r.rrule is None:
        return _move(when, moved, here)
    if fields(r.rrule)["FREQ"] in STEPS:  # it goes on from there
        return _move(r.when, moved, here, r.rrule)
    if wall.date() == due.date():
        return _at(r, due, f"{wall:%H:%M}", here)
    return _move(when, moved, here, apart=True)


def is_time(word: str) -> bool:
    return word in DAYPARTS or any(CLASSES[c].fullmatch(word) for c in ("HH:MM", "H:MM?"))


def retime(when: str, time: str) -> str:
    """A recurring sentence with another time of day: `every monday 08:00 until friday` at 09:30."""
    out: list[str] = []
    rest = when.split()
    cut = next((i for i, w in enumerate(rest) if w in ("from", "until", "for", "except")), len(rest))
    for i, word in enumerate(rest[:cut]):
        if is_time(word) or (word == "and" and i + 1 < cut and is_time(rest[i + 1])):
            continue
        out.append(word)
    return " ".join([*out, time, *rest[cut:]])


def begin(when: str, wall: datetime) -> str:
    """A recurring sentence that begins at another time: `every 2 hours until friday` from 2026-03-11 11:10 on."""
    words = when.split()
    cut = next((i for i, w in enumerate(words) if w in ("until", "for", "except")), len(words))
    rule = [w for w in words[: words.index("from") if "from" in words[:cut] else cut] if not is_time(w)]
    return " ".join([*rule, "from", f"{wall:%Y-%m-%d %H:%M}", *words[cut:]])


def _nearest(word: str, to: datetime) -> str:
    """HH:MM for a 12-hour time: of both halves of the day that it may mean, the one nearer to the old time."""
    if not word.endswith("?"):
        return word
    hour, minute = int(word.split(":")[0]) % 12, int(word[-3:-1])
    h = min((hour, hour + 12), key=lambda h: (abs(h * 60 + minute - to.hour * 60 - to.minute), h))
    return f"{h:02}:{minute:02}"


def _on(day: datetime, word: str) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year} {word}"


def following(r: Reminder) -> datetime | None:
    """The occurrence after the next one of a recurring reminder."""
    return next_occurrence(r.rrule, r.wall, ZoneInfo(r.zone), r.due)
