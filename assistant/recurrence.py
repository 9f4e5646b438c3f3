"""When a recurring reminder rings: an RFC 5545 rule over local wall time, and its next instant.

A rule of days or longer follows the clock on the wall, so that 08:00 stays 08:00 across a clock change. A rule of
hours, minutes or seconds follows elapsed time from its first instant, so that "every 20 minutes" is never 80 minutes.
Both jump to the instant asked for: a rule that began years ago costs no more than a new one. Only a rule of days with
a COUNT is walked through from its start, and those have at most 999.

DTSTART always is an occurrence and the first that COUNT counts, even where a clock change moved it to a wall time that
the rule itself does not have (every day 01:30, begun on the day without one, begins at 02:30).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain, islice
from math import inf
from zoneinfo import ZoneInfo

from assistant.dates import DAY, localise

STEPS = {"SECONDLY": timedelta(seconds=1), "MINUTELY": timedelta(minutes=1), "HOURLY": timedelta(hours=1)}
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
ENOUGH = 1000
"""Nobody needs to know how many more occurrences were missed."""
MARGIN = timedelta(hours=25)
"""More than any clock change has moved a wall time (Samoa left out a day)."""


def next_occurrence(rrule: str, wall: datetime, tz: ZoneInfo, after: datetime) -> datetime | None:
    """The first occurrence strictly after the aware instant `after`, as aware UTC; None when there is none.

    `wall` is DTSTART, naive local time in `tz`.
    """
    after = after.astimezone(UTC)
    if grid := _grid(rrule, wall, tz):
        return grid.next(after)
    found = next_wall(rrule, wall, tz, after)
    return found[1] if found else None


def occurrences_between(rrule: str, wall: datetime, tz: ZoneInfo, after: datetime, until: datetime) -> int:
    """How many occurrences lie in (after, until]; 1000 stands for that many or more."""
    after, until = after.astimezone(UTC), until.astimezone(UTC)
    if grid := _grid(rrule, wall, tz):
        return grid.count_between(after, until)
    found: set[datetime] = set()
    for _, at in _instants(rrule, wall, tz, after, until):
        found.add(at)  # two wall times may fall together where the clock jumps over one of them
        if len(found) == ENOUGH:
            break
    return len(found)


def next_wall(rrule: str, wall: datetime, tz: ZoneInfo, after: datetime) -> tuple[datetime, datetime] | None:
    """For a rule of days or longer: the first one after `after`, as the rule's own wall time and as aware UTC."""
    best = None
    for nominal, at in _instants(rrule, wall, tz, after):
        if best is None or at < best[1]:
            best = nominal, at
        if nominal >= _show(best[1], tz):  # where no clock change moved it, none of the later ones comes before it
            break
    return best


def fields(rrule: str) -> dict[str, str]:
    """The parts of a rule by name."""
    return dict(part.split("=", 1) for part in rrule.removeprefix("RRULE:").split(";"))


def clocks(rule: dict[str, str], due: datetime) -> set[time]:
    """The times of day at which a rule of days or longer rings; `due` is the local time of one of its occurrences."""
    hours = sorted(map(int, rule["BYHOUR"].split(","))) if "BYHOUR" in rule else [due.hour]
    minutes = sorted(map(int, rule["BYMINUTE"].split(","))) if "BYMINUTE" in rule else [due.minute]
    every = [time(hour, minute) for hour in hours for minute in minutes]
    positions = map(int, rule["BYSETPOS"].split(",")) if "BYSETPOS" in rule else range(1, len(every) + 1)
    return {every[(p if p < 0 else p - 1) % len(every)] for p in positions}


def last_instant(until: datetime, tz: ZoneInfo) -> datetime:
    """The latest instant at which clocks show `until`, as aware UTC."""
    return localise(until.replace(fold=1), tz).astimezone(UTC)


def _show(at: datetime, tz: ZoneInfo) -> datetime:
    """What the clock on the wall shows at an instant."""
    return at.astimezone(tz).replace(tzinfo=None, fold=0)


def _instants(
    rrule: str, wall: datetime, tz: ZoneInfo, after: datetime, until: datetime | None = None
) -> Iterator[tuple[datetime, datetime]]:
    """Occurrences after `after` (and up to `until`) as wall time and instant, in the order of their wall times."""
    try:
        since = _show(after, tz) - MARGIN
        end = _show(until, tz) + MARGIN if until else datetime.max
        for nominal in _wall_times(rrule, wall.replace(microsecond=0, fold=0), since):
            if nominal > end:
                return
            at = localise(nominal, tz).astimezone(UTC)
            if nominal >= since and at > after and (until is None or at <= until):
                yield nominal, at
    except OverflowError:  # the end of the calendar
        return


def _wall_times(rrule: str, start: datetime, since: datetime) -> Iterator[datetime]:
    """Wall times of a rule in order, from its start or from shortly before `since`."""
    rule = fields(rrule)
    if "COUNT" not in rule:
        begin = _forward(rule, start, since)
        if begin != start:
            yield from _rule(_explicit(rrule, start), begin)
            return
    times = iter(_rule(rrule, start))
    first = next(times, None)
    if first is not None:
        times = chain([first], times)
    if first != start:  # DTSTART is one of them none the less
        times = islice(chain([start], times), int(rule["COUNT"]) if "COUNT" in rule else None)
    yield from times


def _rule(rrule: str, start: datetime):
    from dateutil.rrule import rrulestr  # late: `assistant --help` needs no calendar

    return rrulestr(rrule, dtstart=start)


def _explicit(rrule: str, start: datetime) -> str:
    """The rule with what RFC 5545 takes from DTSTART written out, so that DTSTART can be moved along."""
    rule = fields(rrule)
    by_day = rule.keys() & {"BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"}
    match rule["FREQ"]:
        case "WEEKLY" if not by_day:
            rrule += f";BYDAY={DAYS[start.weekday()]}"
        case "MONTHLY" if not by_day:
            rrule += f";BYMONTHDAY={start.day}"
        case "YEARLY" if not by_day:
            rrule += f";BYMONTHDAY={start.day}" + ("" if "BYMONTH" in rule else f";BYMONTH={start.month}")
    return rrule


def _forward(rule: dict[str, str], start: datetime, since: datetime) -> datetime:
    """A later DTSTART on the same grid of periods, a whole period or more before `since`; `start` if too near."""
    n = int(rule.get("INTERVAL", 1))
    day, clock = start.date(), start.time()
    match rule["FREQ"]:
        case "DAILY":
            periods = (since.date() - day).days // n - 1
            moved = day + max(periods, 0) * n * DAY
        case "WEEKLY":
            monday = day - day.weekday() * DAY
            periods = (since.date() - monday).days // (7 * n) - 1
            moved = monday + max(periods, 0) * 7 * n * DAY
        case "MONTHLY":
            periods = ((since.year - day.year) * 12 + since.month - day.month) // n - 1
            year, month = divmod(day.year * 12 + day.month - 1 + max(periods, 0) * n, 12)
            moved = date(year, month + 1, 1)
        case _:
            periods = (since.year - day.year) // n - 1
            moved = date(day.year + max(periods, 0) * n, 1, 1)
    return datetime.combine(moved, clock) if periods > 0 else start


@dataclass(frozen=True, slots=True)
class _Grid:
    """Instants a fixed length of time apart, of which some may be left out by weekday; numbered from 0."""

    first: datetime
    step: timedelta
    count: float
    """How many of those that are not left out; infinite if there is no end."""
    last: datetime | None
    weekdays: frozenset[int]
    """Those allowed, in local time."""
    tz: ZoneInfo

    def next(self, after: datetime) -> datetime | None:
        start = next((start for start, _ in self._runs(after)), None)
        try:
            return None if start is None else self.first + start * self.step
        except OverflowError:  # the end of the calendar
            return None

    def count_between(self, after: datetime, until: datetime) -> int:
        total, top = 0, (until - self.first) // self.step + 1
        for start, stop in self._runs(after):
            total += max(0, min(stop, top) - start)
            if stop >= top or total >= ENOUGH:
                break
        return int(min(total, ENOUGH))

    def _runs(self, after: datetime) -> Iterator[tuple[int, float]]:
        """The occurrences after `after`, as ranges of numbers that follow each other."""
        wanted = max(0, (after - self.first) // self.step + 1)
        top = inf if self.last is None else (self.last - self.first) // self.step + 1
        if len(self.weekdays) == 7:
            if wanted < (top := min(top, self.count)):
                yield wanted, top
            return
        counted, barren = 0, 0
        at = wanted if self.count == inf else 0
        try:
            while at < top and counted < self.count and barren < ENOUGH:
                day = (self.first + at * self.step).astimezone(self.tz).date()
                midnight = localise(datetime.combine(day + DAY, time()), self.tz).astimezone(UTC)
                stop = max(at + 1, -((self.first - midnight) // self.step))
                if day.weekday() in self.weekdays:
                    run = at, min(stop, top, at + self.count - counted)
                    counted, barren = counted + run[1] - at, 0
                    if run[1] > wanted:
                        yield max(at, wanted), run[1]
                else:
                    barren += 1
                at = stop
        except OverflowError:  # the end of the calendar
            return


def _grid(rrule: str, wall: datetime, tz: ZoneInfo) -> _Grid | None:
    """The grid of a rule of hours, minutes or seconds; None for a rule of days or longer."""
    rule = fields(rrule)
    if rule["FREQ"] not in STEPS:
        return None
    return _Grid(
        first=localise(wall.replace(microsecond=0), tz).astimezone(UTC),
        step=int(rule.get("INTERVAL", 1)) * STEPS[rule["FREQ"]],
        count=int(rule["COUNT"]) if "COUNT" in rule else inf,
        last=last_instant(datetime.fromisoformat(rule["UNTIL"].rstrip("Z")), tz) if "UNTIL" in rule else None,
        weekdays=frozenset(DAYS.index(day) for day in rule.get("BYDAY", ",".join(DAYS)).split(",")),
        tz=tz,
    )
