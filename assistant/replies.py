"""What the assistant says: short sentences that can be spoken, with task and time repeated. Pure functions."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from assistant.errors import BadWhen
from assistant.grammar import CLASSES, MONTHS, WEEKDAYS
from assistant.messages import Entry, Reminder
from assistant.syntax import CLOCK_UNITS, Point, Repetition, read_when

SPOKEN = 5
"""So many reminders are read out; the rest is counted."""
OTHER = "That is not a reminder."
UNREADABLE = "I did not understand that: say what to be reminded of, and when."
DROPPED = "OK, nothing is set."


def clock(t: datetime) -> str:
    return f"{t.hour}:{t.minute:02}"


def day(d: date, today: date) -> str:
    """A date with its preposition: `today`, `tomorrow`, `on Friday`, `on 12 March`, `on 12 March 2028`."""
    ahead = (d - today).days
    if ahead in (0, 1, -1):
        return {0: "today", 1: "tomorrow", -1: "yesterday"}[ahead]
    if 1 < ahead < 7:
        return f"on {WEEKDAYS[d.weekday()].title()}"
    return f"on {d.day} {MONTHS[d.month - 1].title()}" + (f" {d.year}" if d.year != today.year else "")


def instant(due: datetime, now: datetime) -> str:
    """`tomorrow at 17:00`; both in the zone of the person. Within two minutes the seconds count."""
    if timedelta(0) < due - now < timedelta(minutes=1):
        return f"in {max(1, round((due - now).total_seconds()))} seconds"
    return f"{day(due.date(), now.date())} at {clock(due)}"


def repetition(when: str, due: datetime) -> str | None:
    """A recurring When sentence in words, `every Thursday at 7:00`; None for what does not recur."""
    try:
        r = read_when(when)
    except BadWhen:
        return None
    if not isinstance(r, Repetition):
        return None
    out = _rule(r)
    if r.unit not in CLOCK_UNITS:
        out += f" at {clock(due)}" if len(r.times) < 2 else " " + _list([_time(t) for t in r.times])
    if r.start:
        out += f" from {_point(r.start)}"
    if r.until:
        out += f" until {_point(r.until)}"
    if r.length:
        n, unit = r.length
        out += f" for {n} {unit}{'' if n == 1 else 's'}"
    if r.excluded:
        out += f" except {_list([WEEKDAYS[d].title() for d in r.excluded])}"
    return out


def _rule(r: Repetition) -> str:
    every = f"every {r.unit}" if r.n == 1 else f"every {r.n} {r.unit}s"
    if r.weekdays:
        days = _list([WEEKDAYS[d].title() for d in r.weekdays])
        if r.n > 1:
            return f"{every} on {days}"
        return "every weekday" if r.weekdays == (0, 1, 2, 3, 4) else f"every {days}"
    return f"{every} on {words_of(r.on)}" if r.on else every


def words_of(words: Sequence[str]) -> str:
    return " ".join(w.title() if w in WEEKDAYS or w in MONTHS else w for w in words)


def _time(t: str) -> str:
    if CLASSES["HH:MM"].fullmatch(t) or t.endswith("?"):
        return "at " + t.rstrip("?").removeprefix("0")
    return f"at {t}" if t in ("noon", "midnight", "night") else f"in the {t}"


def _point(p: Point) -> str:
    return " ".join(
        filter(None, (words_of(p.date), p.time and _time(p.time).removeprefix("at " if not p.date else "")))
    )


def _list(parts: Sequence[str], last: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def task(words: str | None) -> str:
    return words or "reminder"


def made(what: str | None, when: str, due: datetime, rrule: str | None, now: datetime) -> str:
    """`call mum, tomorrow at 17:00`, or `take the bins out, every Thursday at 7:00, next on 12 March`."""
    every = repetition(when, due) if rrule else None
    if every is None:
        return f"{task(what)}, {instant(due, now)}"
    several = any(part in (rrule or "") for part in ("SECONDLY", "MINUTELY", "HOURLY", "BYHOUR"))
    following = instant(due, now) if several else day(due.date(), now.date())
    return f"{task(what)}, {every}, next {following}"


def reminder(r: Reminder, now: datetime) -> str:
    """A stored reminder; one that has rung and waits says so. `now` is in the person's zone."""
    if r.due is None:
        return f"{task(r.task)}, which rang {instant(r.wall.replace(tzinfo=now.tzinfo), now)}"
    return made(r.task, r.when, r.due.astimezone(now.tzinfo), r.rrule, now)


def ask_when(what: str | None) -> str:
    return f'When should I remind you of "{what}"?' if what else "When should I remind you?"


def past(entry: Entry, now: datetime) -> str:
    due = entry.due.astimezone(now.tzinfo)
    return f"{clock(due)} {day(due.date(), now.date())} has passed. {ask_when(entry.task)}"


def confirm(entries: Sequence[Entry], now: datetime) -> str:
    said = _list([made(e.task, e.when or "", e.due, e.rrule, now) if e.due else task(e.task) for e in entries])
    return f"Did you say: {said}?"


def count(n: int, noun: str = "reminder") -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def listing(found: Sequence[Reminder], span: str, now: datetime) -> str:
    """`span`: the range in words with a leading blank, or empty."""
    if not found:
        return f"No reminders{span}."
    told = "; ".join(reminder(r, now) for r in found[:SPOKEN])
    more = f"; and {len(found) - SPOKEN} more" if len(found) > SPOKEN else ""
    return f"{count(len(found))}{span}: {told}{more}."


def which(found: Sequence[Reminder], now: datetime) -> str:
    told = [f"{n}, {reminder(r, now)}" for n, r in enumerate(found[:SPOKEN], 1)]
    more = f" (and {len(found) - SPOKEN} more)" if len(found) > SPOKEN else ""
    return f"Which one: {_list(told, 'or')}{more}?"


def none_about(words: str, span: str) -> str:
    return f"I have no reminder about {words}{span}." if words else f"I have no reminder{span}."


def length(seconds: float) -> str:
    """`2 hours`, `3 minutes`, the largest unit that fits."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return count(round(seconds / size), unit)
    return count(round(seconds), "second")
