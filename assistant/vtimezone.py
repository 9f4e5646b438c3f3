"""A time zone as a VTIMEZONE (RFC 5545, 3.6.5), for programs that do not know it by its name.

Written out of the time zone database by what its clocks do: a change that comes on the same weekday of a month year
after year is a rule, any other stands by itself. An onset is local time by the clock that it ends, as the RFC says
(icalendar 7.3 writes it by the clock that it begins, an hour late in spring).
"""

from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from assistant.recurrence import DAYS

LAST_YEAR = 2037
"""A rule that still holds in this year holds for good; changes by no rule (the Ramadan of Morocco) end here."""
_STEP = timedelta(days=3)
"""No zone has had two changes so near to each other that one undoes the other."""


@dataclass(frozen=True, slots=True)
class Onset:
    """A change of the clock."""

    at: datetime
    """Naive local time by the clock that ends."""
    before: timedelta
    after: timedelta
    name: str
    """The abbreviation that begins, such as BST."""
    summer: bool


@lru_cache(maxsize=64)
def vtimezone(key: str, first: int) -> str:
    """The component for the years from `first` on, as text."""
    zone = ZoneInfo(key)
    begin = datetime(max(first, 2), 1, 1)
    lines = ["BEGIN:VTIMEZONE", f"TZID:{key}"]
    start = begin.replace(tzinfo=zone)
    lines += _observance(Onset(begin, start.utcoffset(), start.utcoffset(), start.tzname(), bool(start.dst())))
    groups = defaultdict(list)
    for onset in _onsets(zone, begin):
        groups[onset.before, onset.after, onset.name, onset.summer].append(onset)
    for onsets in groups.values():
        rule = _rule(onsets)
        if rule is None:
            for onset in onsets:
                lines += _observance(onset)
        else:
            end = onsets[-1]
            until = "" if end.at.year == LAST_YEAR else f";UNTIL={end.at - end.before:%Y%m%dT%H%M%SZ}"
            lines += _observance(onsets[0], f"RRULE:FREQ=YEARLY;{rule}{until}")
    return "\r\n".join([*lines, "END:VTIMEZONE", ""])


def _onsets(zone: ZoneInfo, begin: datetime) -> Iterator[Onset]:
    at, end = begin.replace(tzinfo=zone).astimezone(UTC), datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC)
    while at < end:
        following = at + _STEP
        if _shown(at, zone) != _shown(following, zone):
            low, high = at, following
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (middle, high) if _shown(middle, zone) == _shown(at, zone) else (low, middle)
            change = high.replace(microsecond=0)
            before, new = at.astimezone(zone).utcoffset(), change.astimezone(zone)
            yield Onset((change + before).replace(tzinfo=None), before, new.utcoffset(), new.tzname(), bool(new.dst()))
        at = following


def _shown(at: datetime, zone: ZoneInfo) -> tuple:
    local = at.astimezone(zone)
    return local.utcoffset(), local.tzname()


def _rule(onsets: list[Onset]) -> str | None:
    """The days of changes as a yearly rule; None where they follow none, or are too few to tell."""
    first, days = onsets[0], [onset.at for onset in onsets]
    alike = {(at.month, at.weekday(), at.time()) for at in days}
    if len(days) < 3 or len(alike) > 1 or [at.year for at in days] != [first.at.year + i for i in range(len(days))]:
        return None
    week = {(at.day - 1) // 7 + 1 for at in days}
    if all(at.day + 7 > monthrange(at.year, at.month)[1] for at in days):
        week = {-1}
    if len(week) > 1:
        return None
    return f"BYMONTH={first.at.month};BYDAY={week.pop()}{DAYS[first.at.weekday()]}"


def _observance(onset: Onset, *rule: str) -> list[str]:
    kind = "DAYLIGHT" if onset.summer else "STANDARD"
    return [f"BEGIN:{kind}", f"DTSTART:{onset.at:%Y%m%dT%H%M%S}", *rule, f"TZNAME:{onset.name}",
            f"TZOFFSETFROM:{_offset(onset.before)}", f"TZOFFSETTO:{_offset(onset.after)}", f"END:{kind}"]


def _offset(span: timedelta) -> str:
    seconds = round(abs(span).total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{'-' if span < timedelta() else '+'}{hours:02}{minutes:02}{f'{seconds:02}' if seconds else ''}"
