"""iCalendar (RFC 5545): reminders as objects that calendar programs know, and back again when these changed them.

An event is a VEVENT that begins when it was said to, with an alarm some minutes before. A to-do is a VTODO that is due
then, with an alarm at that instant. What a calendar program put into an object beside what is ours (a place, notes, an
end, alarms of its own) stays in it.

A rule of days or longer is written over local time with its zone. One of hours, minutes or seconds counts elapsed time
here, and so its DTSTART is written in UTC, where that is the same (unless it leaves out weekdays, which are local).
UNTIL is UTC, as RFC 5545 (3.3.10) asks for beside a DTSTART with a zone.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from assistant import __version__
from assistant.dates import localise
from assistant.errors import BadCalendarObject
from assistant.events import ItemKind
from assistant.recurrence import DAYS, STEPS, fields, last_instant, next_occurrence
from assistant.repeats import PARTS, SHORTEST, UNITS
from assistant.vtimezone import vtimezone

PRODID = f"-//reminder-assistant//reminder-assistant {__version__}//EN"
BARE = "Reminder"
"""The summary of a reminder that was set without saying what for."""
MOST_SUMMARY = 500
"""Characters of a summary that are taken over, as many as a request may have."""
MOST_COUNT = 9999
"""A rule from elsewhere with a greater COUNT or INTERVAL is refused: it would be walked through."""
MOST_STEPS = 10**9
"""Likewise for hours, minutes and seconds, which are counted instead ("every 10 seconds for 999 months")."""
DAY = time(9)
"""The time of day of a date without one, unless it is said."""
_UNIT = {"SECONDLY": "second", "MINUTELY": "minute", "HOURLY": "hour"}
FIRST_YEAR = 2021
"""Zones are written out from the year before this one, or before the first time in them: the same text as a rule, as
some programs keep the first that they see."""
_FREQUENCIES = (*STEPS, "DAILY", "WEEKLY", "MONTHLY", "YEARLY")


@dataclass(frozen=True, slots=True)
class Item:
    """An object of a calendar, as far as it says what a reminder says."""

    uid: str
    kind: ItemKind
    summary: str
    start: datetime
    """Aware, in its zone: when the event begins, when the to-do is due; of what recurs the first occurrence."""
    rrule: str | None = None
    """As in `messages.Reminder`: over local wall time, UNTIL too."""
    skipped: tuple[datetime, ...] = ()
    """Aware UTC, ascending: occurrences of the rule that are left out."""
    status: Literal["open", "done", "cancelled"] = "open"
    sequence: int = 0
    """Grows with each change."""
    changed: datetime | None = None
    """Aware UTC, whole seconds: when it was changed last; None where the object does not say."""
    apart: tuple["Item", ...] = ()
    """Occurrences that a calendar program moved or renamed on their own; the `skipped` has their former times."""

    @property
    def zone(self) -> str:
        return self.start.tzinfo.key


# Writing


def write(item: Item, lead: timedelta, base: str | None = None, day: time = DAY) -> str:
    """The object by itself, for a calendar of the owner's. `base` is how it was read last, of which all stays that is
    not ours; `day` as for `read`."""
    from icalendar import Calendar

    calendar = Calendar()
    calendar.add("prodid", PRODID)
    calendar.add("version", "2.0")
    calendar.add_component(_component(item, lead, base, day))
    return _finished(calendar, [item], base)


def feed(items: Iterable[Item], lead: timedelta, name: str = "Reminders") -> str:
    """One calendar of all of them, to subscribe to."""
    from icalendar import Calendar, vText

    items = list(items)
    calendar = Calendar()
    calendar.add("prodid", PRODID)
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar["NAME"] = calendar["X-WR-CALNAME"] = vText(name)
    calendar.add("refresh-interval", timedelta(minutes=15), parameters={"VALUE": "DURATION"})
    calendar["X-PUBLISHED-TTL"] = "PT15M"
    for item in items:
        calendar.add_component(_component(item, lead))
    return _finished(calendar, items)


def _finished(calendar, items: list[Item], base: str | None = None) -> str:
    """With the zones that its times name: by the time zone database, or as `base` explained them."""
    from icalendar import Calendar, Timezone

    named = {value.params["TZID"] for _, value in calendar.property_items() if "TZID" in getattr(value, "params", {})}
    if named:
        years = [item.start.year for item in items]
        theirs = {str(z["TZID"]): z for z in Calendar.from_ical(base).walk("VTIMEZONE")} if base else {}
        zones = []
        for name in sorted(named):
            if _is_zone(name) and ("/" in name or name not in theirs):
                zones.append(Timezone.from_ical(vtimezone(name, min(FIRST_YEAR, *years) - 1)))
            elif name in theirs:
                zones.append(theirs[name])
        calendar.subcomponents = [*zones, *calendar.subcomponents]
    return calendar.to_ical().decode()


def _is_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (OSError, ValueError, LookupError):
        return False


_TIMES = ("DTSTART", "DUE", "DTEND", "DURATION", "RRULE", "EXDATE")
_OURS = ("UID", "SUMMARY", "STATUS", "COMPLETED", "PERCENT-COMPLETE", "SEQUENCE", "DTSTAMP", "LAST-MODIFIED")


def _component(item: Item, lead: timedelta, base: str | None = None, day: time = DAY):
    from icalendar import Event, Todo

    kind = Event if item.kind == "event" else Todo
    own = _master(base) if base else None
    component = own if isinstance(own, kind) else kind()
    changed = item.changed or item.start.astimezone(UTC)
    for name in _OURS:
        component.pop(name, None)
    component.add("uid", item.uid)
    component.add("summary", item.summary)
    component.add("dtstamp", changed)
    component.add("last-modified", changed)
    component.add("sequence", item.sequence)
    if item.kind == "todo":
        component.add("status", "COMPLETED" if item.status == "done" else "NEEDS-ACTION")
    else:
        component.add("status", "CANCELLED" if item.status == "cancelled" else "CONFIRMED")
    if item.status == "done" and item.kind == "todo":
        component.add("percent-complete", 100)
        component.add("completed", changed)
    if own is not component or not _keeps_time(item, base, day):
        _put_time(component, item)
    if own is not component:
        component.add_component(_alarm(item, lead))
    return component


def _keeps_time(item: Item, base: str, day: time) -> bool:
    """Whether the object has this time already: one of a whole day is not made one of nine o'clock."""
    try:
        was = read(base, item.start.tzinfo, day)
    except BadCalendarObject:
        return False
    return (was.start, was.zone, was.rrule, was.skipped, was.apart) == (
        item.start, item.zone, item.rrule, item.skipped, ())


def _put_time(component, item: Item) -> None:
    from icalendar import vRecur

    lasts = _lasts(component)
    for name in _TIMES:
        component.pop(name, None)
    start = _written(item)
    component.add("dtstart" if item.kind == "event" or item.rrule else "due", start)
    if lasts and item.kind == "event":
        component.add("dtend", start + lasts)
    if item.rrule:
        component["RRULE"] = vRecur.from_ical(_with_utc_end(item.rrule, ZoneInfo(item.zone)))
        for at in item.skipped:
            component.add("exdate", at if start.tzinfo is UTC else at.astimezone(item.start.tzinfo))


def _lasts(component) -> timedelta | None:
    """How long an event of a calendar program lasts, where it says so."""
    try:
        return component.decoded("DURATION") if "DURATION" in component else (
            component.decoded("DTEND") - component.decoded("DTSTART"))
    except (KeyError, ValueError, TypeError):
        return None


def _written(item: Item) -> datetime:
    """The start as it is written: in its zone, or in UTC where that says more exactly what is meant."""
    second_of_two = item.start.fold and not item.rrule
    rule = fields(item.rrule) if item.rrule else {}
    elapsed = rule.get("FREQ") in STEPS and "BYDAY" not in rule
    return item.start.astimezone(UTC) if second_of_two or elapsed or item.zone == "UTC" else item.start


def _with_utc_end(rrule: str, tz: ZoneInfo) -> str:
    rule = fields(rrule)
    if "UNTIL" in rule:
        until = datetime.fromisoformat(rule["UNTIL"].rstrip("Z"))
        rule["UNTIL"] = f"{last_instant(until, tz):%Y%m%dT%H%M%SZ}"
    return ";".join(f"{name}={value}" for name, value in rule.items())


def _alarm(item: Item, lead: timedelta):
    from icalendar import Alarm

    alarm = Alarm()
    alarm.add("action", "DISPLAY")
    alarm.add("description", item.summary)
    if item.kind == "event":
        alarm.add("trigger", -lead)
    else:
        alarm.add("trigger", timedelta(), parameters={} if item.rrule else {"RELATED": "END"})
    return alarm


# Reading


def read(text: str, tz: ZoneInfo, day: time = DAY) -> Item:
    """What an object of a calendar says. Times without a zone, or with one of no known name, are in `tz`; a date
    without a time is at `day`.

    Raises `BadCalendarObject` for what is none, or what no reminder can be: without a time, with a rule that is not
    supported here.
    """
    from icalendar import Calendar

    try:
        calendar = Calendar.from_ical(text)
        components = [c for c in calendar.walk() if c.name in ("VEVENT", "VTODO")]
        master = next((c for c in components if "RECURRENCE-ID" not in c), None)
        if master is None:
            raise BadCalendarObject("it is no event and no to-do")
        times = _Times(tz, day, _own_zones(calendar))
        item = _item(master, times)
        others = [c for c in components if "RECURRENCE-ID" in c]
        return _without(item, others, times) if others and item.rrule else item
    except BadCalendarObject:
        raise
    except Exception as e:  # a parser that is handed anything raises anything
        raise BadCalendarObject(f"it cannot be read ({type(e).__name__})") from None


def _master(text: str):
    """The component that is not an occurrence on its own."""
    from icalendar import Calendar

    found = (c for c in Calendar.from_ical(text).walk() if c.name in ("VEVENT", "VTODO") and "RECURRENCE-ID" not in c)
    return next(found, None)


def _own_zones(calendar) -> dict:
    """Zones that the object explains itself under a name that is no place: programs call a zone GMT that has summer
    time."""
    return {str(z["TZID"]): z.to_tz(lookup_tzid=False) for z in calendar.walk("VTIMEZONE") if "/" not in z["TZID"]}


@dataclass(frozen=True, slots=True)
class _Times:
    """How the times of one object are read."""

    tz: ZoneInfo
    day: time
    zones: dict

    def of(self, c, name: str) -> datetime:
        """A property that is a time, in its zone."""
        return self.at(c.decoded(name), c[name].params.get("TZID"))

    def at(self, at: date | datetime, zone: str | None = None, series: datetime | None = None) -> datetime:
        """A date alone is at `day`, or (of an occurrence) at the time of its series."""
        if not isinstance(at, datetime):
            at = datetime.combine(at, series.time(), series.tzinfo) if series else datetime.combine(at, self.day)
        at = at.replace(microsecond=0)
        if zone in self.zones:
            return at.replace(tzinfo=self.zones[zone]).astimezone(UTC).astimezone(self.tz)
        if at.tzinfo is None:
            return localise(at.replace(fold=0), self.tz)
        if isinstance(at.tzinfo, ZoneInfo) and at.tzinfo.key not in (None, "UTC"):
            return localise(at.replace(tzinfo=None, fold=0), at.tzinfo)
        return at.astimezone(UTC).astimezone(self.tz)  # UTC, or a zone of a program's own


def _item(c, times: _Times) -> Item:
    kind: ItemKind = "event" if c.name == "VEVENT" else "todo"
    name = next((n for n in (("DTSTART",) if kind == "event" else ("DUE", "DTSTART")) if n in c), None)
    if name is None:
        raise BadCalendarObject("it has no time")
    if "RDATE" in c or isinstance(c.get("RRULE"), list):
        raise BadCalendarObject("it recurs by more than one rule")
    rrule = None
    if "RRULE" in c and "DTSTART" in c:
        name = "DTSTART"
    start = times.of(c, name)
    if "RRULE" in c:
        rrule = _rule(c["RRULE"].to_ical().decode(), start)
    status = {"COMPLETED": "done", "CANCELLED": "cancelled"}.get(str(c.get("STATUS", "")).upper(), "open")
    if kind == "todo" and "COMPLETED" in c and "STATUS" not in c:
        status = "done"
    changed = next((c.decoded(n) for n in ("LAST-MODIFIED", "DTSTAMP") if n in c), None)
    if not isinstance(changed, datetime):
        changed = None
    elif changed.tzinfo is None:
        changed = changed.replace(tzinfo=UTC)
    return Item(
        str(c.get("UID", "")), kind, summary(str(c.get("SUMMARY", ""))), start, rrule,
        _skipped(c, start, times) if rrule else (), status, int(c.get("SEQUENCE", 0)),
        changed and changed.astimezone(UTC),
    )


def summary(text: str) -> str:
    """One line of printable characters, as a task is kept."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MOST_SUMMARY].strip() or BARE


def _skipped(c, start: datetime, times: _Times) -> tuple[datetime, ...]:
    found = c.get("EXDATE", [])
    return tuple(sorted({
        times.at(value.dt, dates.params.get("TZID"), start).astimezone(UTC)
        for dates in (found if isinstance(found, list) else [found]) for value in dates.dts}))


def _without(item: Item, others: list, times: _Times) -> Item:
    """The series without those occurrences that stand for themselves, and these beside it."""
    skipped, apart = set(item.skipped), []
    for c in others:
        recurrence = c["RECURRENCE-ID"]
        if "RANGE" in recurrence.params:
            raise BadCalendarObject("it changes from one occurrence on")
        skipped.add(times.at(recurrence.dt, recurrence.params.get("TZID"), item.start).astimezone(UTC))
        one = replace(_item(c, times), rrule=None, skipped=())
        if one.status == "open":
            apart.append(one)
    return replace(item, skipped=tuple(sorted(skipped)), apart=tuple(apart))


def _rule(rrule: str, start: datetime) -> str:
    """The rule over local time, its parts in our order. Raises `BadCalendarObject` for one that is not supported."""
    rule = {name.upper(): value.upper() for name, value in fields(rrule).items()}
    tz = start.tzinfo
    if "UNTIL" in rule:
        rule["UNTIL"] = _local_end(rule["UNTIL"], tz)
    if rule.get("WKST") == "MO":
        del rule["WKST"]
    if rule.get("INTERVAL") == "1":
        del rule["INTERVAL"]
    freq = rule.get("FREQ")
    most = MOST_STEPS if freq in STEPS and "BYDAY" not in rule else MOST_COUNT
    for name in ("COUNT", "INTERVAL"):
        if name in rule and not (re.fullmatch(r"\d{1,10}", rule[name], re.ASCII) and 1 <= int(rule[name]) <= most):
            raise BadCalendarObject("it recurs too often or too seldom")
    if freq not in _FREQUENCIES:
        raise BadCalendarObject("it does not say how often it recurs")
    if freq in STEPS:
        days = rule.get("BYDAY", "MO").split(",")
        if rule.keys() - {"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY"} or set(days) - set(DAYS):
            raise BadCalendarObject("it recurs within the day by a rule that is not known here")
        if int(rule.get("INTERVAL", 1)) * UNITS[_UNIT[freq]] < SHORTEST:
            raise BadCalendarObject("it recurs more often than every ten seconds")
    text = canonical(";".join(f"{name}={value}" for name, value in rule.items()))
    if next_occurrence(text, start.replace(tzinfo=None), tz, start - timedelta(seconds=1)) is None:
        raise BadCalendarObject("its rule has no occurrence")
    return text


def canonical(rrule: str) -> str:
    """The same rule with its parts in one order, so that two can be compared."""
    rule = fields(rrule)
    known = [name for name in PARTS if name in rule]
    return ";".join(f"{name}={rule[name]}" for name in [*known, *sorted(rule.keys() - set(PARTS))])


def _local_end(until: str, tz: ZoneInfo) -> str:
    """UNTIL as the clock on the wall shows it: a date stands for its last second."""
    if "T" not in until:
        return f"{until}T235959"
    if until.endswith("Z"):
        return f"{datetime.fromisoformat(until).astimezone(tz):%Y%m%dT%H%M%S}"
    return until
