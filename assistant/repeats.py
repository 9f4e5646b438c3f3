"""From `every ...` to an RFC 5545 rule and its first occurrence. What it means in words stands in `when.py`."""

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from assistant.dates import DAY, Grain, Here, Policy, clock, grain_of, localise
from assistant.grammar import MONTHS, ORDINALS, WEEKDAYS
from assistant.recurrence import DAYS, last_instant, next_occurrence, next_wall
from assistant.syntax import CLOCK_UNITS, Point, Repetition

SECOND = timedelta(seconds=1)
SHORTEST = 10 * SECOND
"""Nothing rings more often than this."""
UNITS = {"second": SECOND, "minute": 60 * SECOND, "hour": 3600 * SECOND, "day": DAY, "week": 7 * DAY}
FREQUENCIES = {
    "second": "SECONDLY", "minute": "MINUTELY", "hour": "HOURLY",
    "day": "DAILY", "week": "WEEKLY", "month": "MONTHLY", "year": "YEARLY",
}  # fmt: skip
PARTS = ("FREQ", "INTERVAL", "BYMONTH", "BYMONTHDAY", "BYDAY", "BYHOUR", "BYMINUTE", "BYSETPOS", "COUNT", "UNTIL")
Rule = dict[str, str]
"""The parts of an RRULE by name."""


@dataclass(frozen=True, slots=True)
class Series:
    """A rule with its first occurrence."""

    due: datetime
    """Aware, in the person's zone; the end of the series where that comes before any occurrence."""
    rrule: str
    grain: Grain
    over: bool = False
    """Nothing is left to ring."""


def resolve(said: Repetition, here: Here) -> Series:
    return _elapsed(said, here) if said.unit in CLOCK_UNITS else _calendar(said, here)


def step(said: Repetition) -> timedelta:
    """The distance of occurrences, for units of the clock."""
    return max(said.n * UNITS[said.unit], SHORTEST)


def pattern(said: Repetition, policy: Policy) -> Rule:
    """The rule for units of the day, less what its first occurrence decides (`is_open`)."""
    times = _times(said, policy)
    rule = {"FREQ": FREQUENCIES[said.unit], "INTERVAL": str(said.n)}
    allowed = set(range(7)) - set(said.excluded)
    if said.weekdays:
        return rule | _by_week(set(said.weekdays) & allowed or set(said.weekdays), times, _midnights(said))
    if said.unit == "day" and said.n == 1 and said.excluded and allowed:
        return rule | {"FREQ": "WEEKLY"} | _by_week(allowed, times, _midnights(said))
    match said.on:
        case ("the", d):
            rule["BYMONTHDAY"] = d
        case (d, month) if month in MONTHS:
            longest = monthrange(2000, MONTHS.index(month) + 1)[1]  # a leap year
            rule |= {"BYMONTH": _number(month), "BYMONTHDAY": d if int(d) <= longest else "-1"}
        case (ordinal, weekday, *of):
            n = -1 if ordinal == "last" else ORDINALS.index(ordinal) + 1
            rule |= {"BYDAY": f"{n}{DAYS[WEEKDAYS.index(weekday)]}"} | ({"BYMONTH": _number(of[1])} if of else {})
    if said.excluded and allowed and "BYDAY" not in rule:
        rule["BYDAY"] = _names(allowed)
    return rule | _by_clock(times)


def is_open(said: Repetition) -> bool:
    """Whether the first occurrence decides on which day the others fall: `every month`, not `every month on ...`."""
    return said.unit in ("week", "month", "year") and not (said.weekdays or said.on)


def _calendar(said: Repetition, here: Here) -> Series:
    """Every so many days, weeks, months or years, by the clock on the wall."""
    rule = pattern(said, here.policy)
    after = _start(said.start, here) - SECOND if said.start else here.now
    search = rule | {"INTERVAL": "1"} | ({"FREQ": "DAILY"} if is_open(said) else {})
    midnight = datetime.combine(after.astimezone(here.tz).date(), time())
    first, due = next_wall(text(search), midnight, here.tz, after)
    if is_open(said):
        rule |= _like(first, said, _times(said, here.policy))
    if due <= here.now:  # it began in the past and goes on from there
        first, due = next_wall(text(rule), first, here.tz, here.now)
    due = due.astimezone(here.tz)
    if rule["BYHOUR"].isdigit() and rule["BYMINUTE"].isdigit() and first == due.replace(tzinfo=None):
        del rule["BYHOUR"], rule["BYMINUTE"]  # DTSTART says it
    words = _words(said)
    grain = "day" if words == (None,) else max(map(grain_of, words), key=("minute", "daypart").index)
    return _bounded(said, here, rule, due, first, grain)


def _elapsed(said: Repetition, here: Here) -> Series:
    """Every so many hours, minutes or seconds, counted from now or from a point that is itself the first."""
    rule = {"FREQ": FREQUENCIES[said.unit], "INTERVAL": str(step(said) // UNITS[said.unit])}
    start = said.start or Point()
    if said.times and not start.time:
        start = Point(start.date, said.times[0])
    if not start.time and (not start.date or here.first_day(start.date) <= here.today):
        begin = here.now.replace(microsecond=0) + step(said)
    else:
        begin = here.instant(here.resolve(start)).astimezone(UTC)
    after = max(here.now, begin - SECOND)
    wall = begin.astimezone(here.tz).replace(tzinfo=None)
    allowed = set(range(7)) - set(said.excluded)
    due = next_occurrence(text(rule), wall, here.tz, after)
    if said.excluded and allowed:
        narrowed = rule | {"BYDAY": _names(allowed)}
        if found := next_occurrence(text(narrowed), wall, here.tz, after):
            rule, due = narrowed, found
    due = due.astimezone(here.tz)
    return _bounded(said, here, rule, due, due.replace(tzinfo=None), "minute")


def _bounded(said: Repetition, here: Here, rule: Rule, due: datetime, first: datetime, grain: Grain) -> Series:
    """The series with its end. `first` is the rule's own wall time of `due`."""
    until = None
    if said.until:
        until = _end(said, here, first, due)
    elif said.length:
        n, unit = said.length
        span = _span(n, unit, first)
        if unit == "time":
            rule["COUNT"] = str(n)
        elif said.unit in CLOCK_UNITS and "BYDAY" not in rule:
            rule["COUNT"] = str(max(1, span // step(said)))
        else:
            until = first + span - SECOND
    if until is None:
        return Series(due, text(rule), grain)
    rule["UNTIL"] = f"{until:%Y%m%dT%H%M%S}"
    end = last_instant(until, here.tz)
    over = end < due.astimezone(UTC) if said.unit in CLOCK_UNITS else until < first
    return Series(end.astimezone(here.tz) if over else due, text(rule), grain, over)


def _start(point: Point, here: Here) -> datetime:
    """The earliest instant that `from` allows, as aware UTC."""
    if point.time:
        return here.instant(here.resolve(point)).astimezone(UTC)
    return localise(datetime.combine(here.first_day(point.date), time()), here.tz).astimezone(UTC)


def _end(said: Repetition, here: Here, first: datetime, due: datetime) -> datetime:
    """The last wall time that `until` allows. After a `from` it is looked for from the first occurrence on."""
    until = _last(said.until, here)
    if until < first and said.start and _comes_again(said.until):
        until = _last(said.until, Here(due.astimezone(UTC), here.tz, here.policy))
    return until


def _last(point: Point, here: Here) -> datetime:
    if point.time:
        return here.resolve(point)
    return datetime.combine(here.first_day(point.date), time(23, 59, 59))


def _comes_again(point: Point) -> bool:
    match point.date:
        case () | ("the", _) | ("end", "of", _) | (_, _, "of", _) | ("easter", *_) | ("good", "friday"):
            return True
        case (word,) | (_, word):
            return word in WEEKDAYS + MONTHS and point.date[0] != "next"
    return False


def _span(n: int, unit: str, first: datetime) -> timedelta:
    from dateutil.relativedelta import relativedelta

    if unit in ("month", "year"):
        return first + relativedelta(**{unit + "s": n}) - first
    return n * UNITS.get(unit, SECOND)


def _words(said: Repetition) -> tuple[str | None, ...]:
    """The times of day; for want of others that of `from`."""
    return said.times or ((said.start.time if said.start else None),)


def _times(said: Repetition, policy: Policy) -> set[time]:
    return {clock(word, policy).replace(second=0, microsecond=0) for word in _words(said)}


def _midnights(said: Repetition) -> bool:
    return "midnight" in _words(said)


def _by_clock(times: set[time], always: bool = False) -> Rule:
    """Times of day. RFC 5545 crosses hours with minutes, so that positions must pick the ones that were meant."""
    every = _crossed(times)
    positions = [str(i) for i, t in enumerate(every, 1) if t in times]
    rule = {"BYHOUR": _list({t.hour for t in times}), "BYMINUTE": _list({t.minute for t in times})}
    return rule | ({"BYSETPOS": ",".join(positions)} if always or len(positions) < len(every) else {})


def _by_week(weekdays: set[int], times: set[time], midnight: bool) -> Rule:
    """Weekdays and times of day. A midnight ends its day, so it stands at 00:00 of the one after.

    Positions count from the end of the week, because dateutil takes a first week that is cut short for a whole one.
    """
    wanted = {((day + 1) % 7 if midnight and t == time() else day, t) for day in weekdays for t in times}
    days = {day for day, _ in wanted}
    every = [(day, t) for day in sorted(days) for t in _crossed(times)]
    rule = _by_clock(times) | {"BYDAY": _names(days)}
    rule.pop("BYSETPOS", None)
    if len(wanted) < len(every):
        rule["BYSETPOS"] = ",".join(str(i - len(every)) for i, pair in enumerate(every) if pair in wanted)
    return rule


def _like(first: datetime, said: Repetition, times: set[time]) -> Rule:
    """The day of `first` written out. The last of a month stands in for it where it is missing (or is an exception)."""
    if said.unit == "week":
        return {"BYDAY": DAYS[first.weekday()]}
    rule = {"BYMONTHDAY": str(first.day)} | ({"BYMONTH": str(first.month)} if said.unit == "year" else {})
    if first.day > 28 and (said.unit == "month" or first.month == 2):
        rule |= {"BYMONTHDAY": f"{first.day},-1"} | _by_clock(times, always=True)  # the earlier one of these two days
    return rule


def _crossed(times: set[time]) -> list[time]:
    hours, minutes = sorted({t.hour for t in times}), sorted({t.minute for t in times})
    return [time(hour, minute) for hour in hours for minute in minutes]


def _list(numbers: Iterable[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


def _names(weekdays: set[int]) -> str:
    return ",".join(DAYS[day] for day in sorted(weekdays))


def _number(month: str) -> str:
    return str(MONTHS.index(month) + 1)


def text(rule: Rule) -> str:
    """An RRULE; an interval of 1 goes without saying."""
    parts = [(name, rule[name]) for name in PARTS if name in rule]
    return ";".join(f"{name}={value}" for name, value in parts if (name, value) != ("INTERVAL", "1"))
