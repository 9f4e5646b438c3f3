"""What the assistant says: short sentences that can be spoken, with task and time repeated. Pure functions."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from assistant.errors import BadWhen
from assistant.grammar import CLASSES, MONTHS, ORDINALS, WEEKDAYS
from assistant.messages import Entry, Reminder
from assistant.numerals import open_clock
from assistant.syntax import CLOCK_UNITS, Repetition, read_when

SPOKEN = 5
"""So many reminders are read out; the rest is counted."""
OTHER = "That is not a reminder."
UNREADABLE = "I did not understand that: say what to be reminded of, and when."
DROPPED = "OK, nothing is set."
UNCHANGED = "OK, nothing is changed."
GONE = "That is no longer set."
INTERRUPTED = "I was interrupted and did not do that: say it again if you still want it."
KEPT = "I'll set that as soon as I can think again."
RUNG = "I could not ask what you meant by that: it rings in your own words."
CANNOT_THINK = "I cannot think just now: say that again in a moment."
NO_TIME = "That is not a time that I know."
NO_ANSWER = "I did not catch that."


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
    """`tomorrow at 17:00`; both in the zone of the person. Within a minute the seconds count."""
    if timedelta(0) < due - now < timedelta(minutes=1):
        return f"in {count(max(1, round((due - now).total_seconds())), 'second')}"
    return f"{day(due.date(), now.date())} at {clock(due)}"


def repetition(when: str, due: datetime, rrule: str, now: datetime) -> str | None:
    """A recurring When sentence in words, `every Thursday at 7:00`; None for what does not recur.

    Its end comes from the rule, as "until friday" was said some time ago.
    """
    try:
        r = read_when(when)
    except BadWhen:
        return None
    if not isinstance(r, Repetition):
        return None
    out = _rule(r)
    if r.unit not in CLOCK_UNITS:
        out += f" at {clock(due)}" if len(r.times) < 2 else " " + _list([_time(t) for t in r.times])
    if r.until:
        out += _until(rrule, now)
    if r.length:
        n, unit = r.length
        out += f" for {count(n, unit)}"
    if r.excluded:
        out += f" except {_list([WEEKDAYS[d].title() for d in r.excluded])}"
    return out


def _until(rrule: str, now: datetime) -> str:
    end = re.search(r"UNTIL=(\d{8}T\d{6})", rrule)
    if not end:
        return ""
    until = datetime.strptime(end[1], "%Y%m%dT%H%M%S")
    last = day(until.date(), now.date()).removeprefix("on ")
    return f" until {last}" if until.second == 59 else f" until {last} at {clock(until)}"


def _rule(r: Repetition) -> str:
    every = f"every {r.unit}" if r.n == 1 else f"every {r.n} {r.unit}s"
    if r.weekdays:
        days = _list([WEEKDAYS[d].title() for d in r.weekdays])
        if r.n > 1:
            return f"{every} on {days}"
        return "every weekday" if r.weekdays == (0, 1, 2, 3, 4) else f"every {days}"
    return f"{every} on {words_of(r.on)}" if r.on else every


def words_of(words: Sequence[str]) -> str:
    """Words of the When or the range language as they are spoken: `last friday`, `the last Friday`."""
    out: list[str] = []
    for before, word in zip(("", *words), words):
        if word in WEEKDAYS or word in MONTHS:
            out.append(word.title())
        elif word in ORDINALS:
            out += ["the", word]
        elif before == "the" and word.isdigit():
            out.append(_ordinal(int(word)))
        else:
            at = "at " if ":" in word and before not in ("", "after", "before", "between", "and") else ""
            out.append(at + _clock_word(word) if ":" in word else word)
    return " ".join(out)


def _ordinal(n: int) -> str:
    return f"{n}{'th' if 10 < n < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def _clock_word(word: str) -> str:
    """`07:00` as 7:00, `7:00?` as seven o'clock, which may be in the evening."""
    if word.endswith("?"):
        return open_clock(*map(int, word.rstrip("?").split(":")))
    return word.removeprefix("0")


def _time(t: str) -> str:
    if CLASSES["HH:MM"].fullmatch(t) or t.endswith("?"):
        return f"at {_clock_word(t)}"
    return f"at {t}" if t in ("noon", "midnight", "night") else f"in the {t}"


def _list(parts: Sequence[str], last: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def task(words: str | None) -> str:
    return words or "reminder"


def tasks(meant: Sequence[Reminder]) -> str:
    return _list([task(r.task) for r in meant]) if len(meant) <= SPOKEN else count(len(meant))


def made(what: str | None, when: str, due: datetime, rrule: str | None, now: datetime) -> str:
    """`call mum, tomorrow at 17:00`, or `take the bins out, every Thursday at 7:00, next on 12 March`."""
    every = repetition(when, due, rrule, now) if rrule else None
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


def passed(due: datetime, now: datetime) -> str:
    due = due.astimezone(now.tzinfo)
    return f"{clock(due)} {day(due.date(), now.date())} has passed"


def past(entry: Entry, now: datetime) -> str:
    return f"{passed(entry.due, now)}. {ask_when(entry.task)}"


def ask_to(doing: str, meant: Sequence[Reminder]) -> str:
    """`When should I move call mum to?`; `doing` is `move` or `snooze`."""
    if doing == "snooze":
        return f"Until when should I snooze {tasks(meant)}?"
    return f"When should I move {tasks(meant)} to?"


def shall_i(kind: str, meant: Sequence[Reminder], now: datetime) -> str:
    """`Cancel call mum, tomorrow at 17:00?`, `Cancel all 3 reminders?`; `kind` is what would be done."""
    one = reminder(meant[0], now) if len(meant) == 1 else None
    if kind == "done":
        return f"Is this done: {one}?" if one else f"Mark all {count(len(meant))} as done?"
    return f"{kind.title()} {one or f'all {count(len(meant))}'}?"


def confirm(entries: Sequence[Entry], now: datetime) -> str:
    said = _list([made(e.task, e.when or "", e.due, e.rrule, now) if e.due else task(e.task) for e in entries])
    return f"Did you say: {said}?"


def count(n: int, noun: str = "reminder") -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def waiting(kept: int) -> str:
    """What is kept, below the list: `1 request waits until I can think again.`"""
    return f"{count(kept, 'request')} wait{'s' if kept == 1 else ''} until I can think again."


def listing(found: Sequence[Reminder], span: str, now: datetime) -> str:
    """`span`: the range in words with a leading blank, or empty."""
    if not found:
        return f"No reminders{span}."
    told = "; ".join(reminder(r, now) for r in found[:SPOKEN])
    more = f"; and {len(found) - SPOKEN} more" if len(found) > SPOKEN else ""
    return f"{count(len(found))}{span}: {told}{more}."


def missed(task_: str | None, last: datetime, times: int, now: datetime) -> str:
    """`call mum, today at 17:00`, `stretch, 3 times, last today at 16:00`; `last` is in the person's zone."""
    when = f"{day(last.date(), now.date())} at {clock(last)}"
    return f"{task(task_)}, {when}" if times == 1 else f"{task(task_)}, {times} times, last {when}"


def by_the_way(told: Sequence[str]) -> str:
    """What was missed, after the answer to something else."""
    more = f"; and {len(told) - SPOKEN} more" if len(told) > SPOKEN else ""
    return f"By the way, while you were away: {'; '.join(told[:SPOKEN])}{more}."


def missed_listing(told: Sequence[str]) -> str:
    """The answer to "what did I miss?"."""
    if not told:
        return "You have missed nothing lately."
    more = f"; and {len(told) - SPOKEN} more" if len(told) > SPOKEN else ""
    return f"You have missed {count(len(told))}: {'; '.join(told[:SPOKEN])}{more}."


def undone(back: Sequence[Reminder], gone: Sequence[Reminder], now: datetime) -> str:
    """`OK, undone: call mum, tomorrow at 17:00.`, `OK, undone: call mum is no longer set.`"""
    if not back:
        return f"OK, undone: {tasks(gone)} {'is' if len(gone) == 1 else 'are'} no longer set."
    told = "; ".join(reminder(r, now) for r in back) if len(back) <= SPOKEN else count(len(back))
    return f"OK, undone: {told}."


def which(found: Sequence[Reminder], now: datetime) -> str:
    told = [f"{n}, {reminder(r, now)}" for n, r in enumerate(found[:SPOKEN], 1)]
    more = f" (and {len(found) - SPOKEN} more)" if len(found) > SPOKEN else ""
    return f"Which one: {_list(told, 'or')}{more}?"


def in_range(range_: str | None) -> str:
    """A range in words, with a leading blank: ` on Friday`, ` tomorrow`, ` in March`; empty for any time."""
    if not range_:
        return ""
    parts = range_.split()
    spoken, first = words_of(parts), parts[0]
    if first in ("today", "tomorrow", "this", "next", "after", "before", "between", "every", "end"):
        return f" {spoken}"
    if first[0].isdigit() and ":" in first:
        return f" at {spoken}"
    if parts in (["morning"], ["afternoon"], ["evening"]):
        return f" in the {spoken}"
    if first in ("noon", "midnight", "night"):
        return f" at {spoken}"
    return f" in {spoken}" if len(parts) == 1 and first in MONTHS else f" on {spoken}"


def none_about(words: str, span: str) -> str:
    return f"I have no reminder about {words}{span}." if words else f"I have no reminder{span}."
