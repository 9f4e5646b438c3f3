"""Other people's parsers of times, to measure ours beside: `python -m training.evaluate FILE --against recurrent`.

    pip install -e '.[training]'

They read no kinds and no tasks: what one finds in a text is a reminder, whatever was asked. Where a parser says that it
found a day and no time of day, or leaves open which half of the day it is, the assistant's own defaults decide, so that
what is compared is what was understood. A rule without a beginning begins at its next time.

- `dateparser`: `search_dates`. Knows no recurrence.
- `recognizers`: Microsoft Recognizers-Text. It imports a name that emoji 2 no longer has, hence `emoji<2`. What recurs
  it names by TIMEX (`XXXX-WXX-2T19`), often apart from its clock time: its rules are put together here.
- `ctparse`: English and German at once ("milk" is a Wednesday, "Mittwoch"). Knows no recurrence. 0.3.6 asks
  for python-dateutil below 3 where this project needs 4, so that an extra would bring its 0.0.10; but it runs with 4:
  `pip install --no-deps ctparse`.
- `recurrent`: recurrence, with parsedatetime underneath. Exceptions from a rule (EXDATE) are left out.
"""

import logging
import re
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from importlib import import_module
from typing import Protocol
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from dateutil.rrule import rrulestr

from assistant.errors import AssistantError
from assistant.recurrence import DAYS, STEPS, fields
from assistant.when import Policy

POLICY = Policy()
Found = tuple[datetime, str | None]
"""An instant, naive local time, and the RFC 5545 rule of what recurs."""


class NotInstalled(AssistantError):
    code, exit_status = "not_installed", 2


class Parser(Protocol):
    """Made without arguments; raises `NotInstalled`."""

    name: str

    def understand(self, text: str, now: datetime, tz: ZoneInfo) -> list[Found]:
        """The times in `text`, said at the aware instant `now` in `tz`, in order; raises whatever its library does."""


def _load(module: str, name: str, how: str = "pip install -e '.[training]'"):
    try:
        return import_module(module)
    except ImportError:
        raise NotInstalled(f"The parser {name} is not installed; this does it: {how}") from None


def _local(now: datetime, tz: ZoneInfo) -> datetime:
    return now.astimezone(tz).replace(tzinfo=None)


def _likely(times: Iterable[datetime], now: datetime) -> datetime | None:
    """Of several readings the next one, in the waking hours if there is one; the last one if all are past."""
    times = sorted(times)
    ahead = [t for t in times if t > now]
    awake = [t for t in ahead if _awake(t.time())]
    return next(iter(awake or ahead or times[-1:]), None)


def _awake(clock: time) -> bool:
    return POLICY.waking_from <= clock < POLICY.waking_until


def _next(clocks: Iterable[time], now: datetime) -> datetime | None:
    """The next time that the clock shows one of `clocks`, one in the waking hours if there is one."""
    return _likely((datetime.combine(now, c) + timedelta(days=n) for c in clocks for n in (0, 1)), now)


def _begun(rrule: str, now: datetime, clock: time | None = None) -> Found | None:
    """`rrule` with its first time after `now`: of hours or less one step on, else at `clock` or the default for days.

    An interval of days or longer counts from there on.
    """
    parts, start = fields(rrule), now
    parts.pop("COUNT", None)  # it would count `start` too
    if parts["FREQ"] not in STEPS:
        parts.pop("INTERVAL", None)
        start = now if "BYHOUR" in parts else _next([clock or POLICY.day], now)
    first = rrulestr(";".join(f"{k}={v}" for k, v in parts.items()), dtstart=start).after(now)
    return (first, rrule) if first else None


class Dateparser:
    name = "dateparser"

    def __init__(self) -> None:
        self._search = _load("dateparser.search", self.name).search_dates

    def understand(self, text: str, now: datetime, tz: ZoneInfo) -> list[Found]:
        settings = {"RELATIVE_BASE": _local(now, tz), "PREFER_DATES_FROM": "future", "RETURN_TIME_AS_PERIOD": True}
        found = self._search(text, languages=["en"], settings=settings, add_period=True) or []
        return [
            (at.replace(tzinfo=None) if grain in ("time", "part_of_day") else datetime.combine(at, POLICY.day), None)
            for _, at, grain in found
        ]


def _said(values: list[dict]) -> list[str]:
    """Each reading, of a range its start; of one without a start its end."""
    said = [v.get("value") or v.get("start") or v.get("end") for v in values]
    return [s for s in said if s and s != "not resolved"]


class Recognizers:
    name = "recognizers"
    _UNITS = {"S": "SECONDLY", "M": "MINUTELY", "H": "HOURLY", "D": "DAILY", "W": "WEEKLY", "Y": "YEARLY"}
    _DAYPARTS = {"MO": time(8), "AF": time(12), "EV": time(16), "NI": time(20)}
    """Where the ranges begin that it gives for parts of the day."""
    _SET = re.compile(
        r"(?:P(?P<short>T?)(?P<n>\d+)(?P<unit>[SMHDWY])|XXXX-WXX-(?P<weekday>[1-7])|XXXX-(?P<month>\d\d)-(?P<day>\d\d))?"
        r"(?:T(?P<part>MO|AF|EV|NI)|T(?P<hour>\d\d)(?::(?P<minute>\d\d))?)?"
    )

    def __init__(self) -> None:
        library = _load("recognizers_date_time", self.name)
        self._recognize, self._english = library.recognize_datetime, library.Culture.English

    def understand(self, text: str, now: datetime, tz: ZoneInfo) -> list[Found]:
        now = _local(now, tz)
        results = self._recognize(text, self._english, reference=now)
        results = [(r.type_name.split(".")[1], r.resolution["values"]) for r in results if r.resolution]
        clocks = [time.fromisoformat(t) for kind, values in results if kind == "time" for t in _said(values)]
        found, lengths = [], []
        for kind, values in results:
            if kind == "duration":  # "for 20 minutes": the time of a timer, if nothing else is
                lengths.append((now + timedelta(seconds=float(values[0]["value"])), None))
            elif kind == "set":
                found.append(self._repeat(values[0]["timex"], now, next(filter(_awake, clocks), None)))
            elif kind in ("time", "timerange"):
                found.append((_next(map(time.fromisoformat, _said(values)), now), None))
            else:
                at = [(datetime.fromisoformat(s), ":" in s) for s in _said(values)]
                found.append((_likely((t if clear else datetime.combine(t, POLICY.day) for t, clear in at), now), None))
        return [f for f in found if f and f[0]] or lengths

    def _repeat(self, timex: str, now: datetime, clock: time | None) -> Found | None:
        if not (said := self._SET.fullmatch(timex)):
            return None
        if said["part"] or said["hour"]:
            clock = self._DAYPARTS[said["part"]] if said["part"] else time(int(said["hour"]), int(said["minute"] or 0))
        rule = "FREQ=DAILY"
        if said["unit"]:
            freq = "MONTHLY" if said["unit"] == "M" and not said["short"] else self._UNITS[said["unit"]]
            rule = f"FREQ={freq};INTERVAL={said['n']}"
        elif said["weekday"]:
            rule = f"FREQ=WEEKLY;BYDAY={DAYS[int(said['weekday']) - 1]}"
        elif said["month"]:
            rule = f"FREQ=YEARLY;BYMONTH={int(said['month'])};BYMONTHDAY={int(said['day'])}"
        return _begun(rule, now, clock)


class Ctparse:
    name = "ctparse"

    def __init__(self) -> None:
        self._parse = _load("ctparse", self.name, "pip install --no-deps ctparse").ctparse
        logging.getLogger("ctparse").setLevel(logging.ERROR)  # it warns of every text without a time

    def understand(self, text: str, now: datetime, tz: ZoneInfo) -> list[Found]:
        now = _local(now, tz)
        parsed = self._parse(text, ts=now, timeout=0)
        if parsed is None:
            return []
        meant = parsed.resolution
        if unit := getattr(meant, "unit", None):  # a length of time
            return [(now + relativedelta(**{unit.value.replace("nights", "days"): meant.value}), None)]
        point = getattr(meant, "t_from", None) or getattr(meant, "t_to", meant)  # of a range its start
        if None in (point.year, point.month, point.day):
            return []
        at = point.dt if point.hasTime or point.hasPOD else datetime.combine(point.dt, POLICY.day)
        return [(at, None)]


class Recurrent:
    name = "recurrent"

    def __init__(self) -> None:
        self._event = _load("recurrent.event_parser", self.name).RecurringEvent

    def understand(self, text: str, now: datetime, tz: ZoneInfo) -> list[Found]:
        now = _local(now, tz)
        meant = self._event(now_date=now).parse(text)
        if not isinstance(meant, str):
            return [(meant, None)] if meant else []
        if begins := re.search(r"DTSTART:(\d{8})", meant):
            now = max(now, datetime.strptime(begins[1], "%Y%m%d") - timedelta(seconds=1))
        return list(filter(None, [_begun(re.search(r"RRULE:(\S+)", meant)[1], now)]))


PARSERS: dict[str, type[Parser]] = {p.name: p for p in (Dateparser, Recognizers, Ctparse, Recurrent)}
