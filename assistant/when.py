"""The When language: a small closed language for times, which reads like English and always means something.

`grammar.py` holds its exact form. What it means, at an instant `now` in a time zone, under a person's `Policy`:

**Times of day.** `17:00` is its next occurrence. `5:00?` (am or pm not said) is the next occurrence of 05:00 or 17:00
that falls into the waking hours. `morning` 09:00, `noon` 12:00, `afternoon` 15:00, `evening` 18:00, `night` 21:00;
`midnight` is the coming 00:00. `tonight` is 20:00, from then on the next full hour, and after 23:00 it is past.
Beside a date, and in what recurs, `5:00?` is 7 to 11 in the morning, 12 noon, 1 to 6 in the afternoon; but if the date
is today, whichever half of the day is still to come, inside the waking hours if one is. A `midnight` ends its date:
`friday midnight` is 00:00 on Saturday.

**Dates.** Without a time 09:00; `today` without a time, after 09:00, the next of noon, afternoon, evening, 20:00 and
night that is a quarter of an hour ahead. `friday` comes after today, also when said on a Friday. `next friday` is the
Friday of next week (weeks start on Monday), `friday in 2 weeks` two weeks after `friday`. `this weekend` is Saturday,
or what is left of the weekend; `next week` its Monday, `next month` its first; `end of week` Friday and `end of month`
the last day, of the next one if that is past. `the 31`, `29 february`, `first monday of march` and `easter` are the
next such day whose time is ahead. `5 march 2027` and `2027-03-05` are that day and no other. A day that its month
does not have is the month's last (`31 april`, `2027-02-29`).

**Lengths of time.** `in 2 hours` is that much later to the second, whatever clocks do meanwhile; `in 2 days` is 09:00
two days on; a month later than the 31st is the last day of a shorter month.

**Past** is the answer where all of what was said lies behind: `today 08:00` at ten, `5 march 2020`. It never becomes
a reminder.

**Clock changes.** A time that the clock leaves out is moved later by as much as it jumps (01:30 rings at 02:30). Of one
that occurs twice it is the first; where only the second is still to come, that one, but not for what recurs.

**What recurs** becomes an RFC 5545 rule over local time and its first occurrence, so that 08:00 stays 08:00 all year.
- Today counts as soon as its time is ahead: `every monday 08:00` said on Monday at 7 begins today.
- `every 3 days`, `every week`, `every month`, `every year` begin at the next 09:00 (or the time said) and go on from
  there. On the 29th to 31st `every month` means that day or the last of a shorter month; `every month on the 31` leaves
  shorter months out, and `every year on 29 february` shorter years. `every year on 31 april` is the last of April.
- `every 2 weeks on tuesday` begins with the next Tuesday; weeks start on Monday.
- Several times may be given; a `midnight` ends the weekday it is said with, but begins a day of the month or the year.
- `every 20 minutes` first rings in 20 minutes and counts elapsed time, whatever clocks do. `from` and a clock time
  (`every 2 hours 09:00`) give the first ring itself. Nothing rings more often than every ten seconds.
- `from`: nothing before it. Where no other time is given, its time is the time of day (`every day from monday 18:00`).
  If it lies behind, the rule goes on as if it had begun then (`for 5 times` counts from now on); for hours and
  minutes `from today` means from now.
- `until`: a date is included, as is a time. After a `from` it is looked for from the first occurrence on
  (`from monday until friday`). If nothing comes before it, the answer is Past.
- `for 5 times`; `for 2 hours`: of hours and minutes as many as fit (`every 15 minutes for 2 hours`: 8), of days those
  in that time from the first on (`every day for 5 days`: 5).
- `except sunday`: not on these days. An exception that leaves nothing is ignored (`every monday except monday`).

The day that words name is read by dateparser where it is right (`dates.named_day`), checked against what was said, and
remembered for the day; the rest is calendar arithmetic. Measured on one core: dateparser 0.35 to 0.75 ms for a phrase,
0.15 s more for the first in a process; `parse_when` over all sentences of the language p50 0.1 ms, p95 0.8 ms.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from assistant import repeats
from assistant.dates import Grain, Here, Policy, at_clock, grain_of, localise, named_day
from assistant.grammar import is_when
from assistant.recurrence import next_occurrence, occurrences_between
from assistant.syntax import DAY_UNITS, Delay, Point, Repetition, read_when

__all__ = [
    "Grain", "Once", "Past", "Policy", "Repeat", "join", "localise", "next_occurrence", "occurrences_between",
    "parse_when", "split",
]  # fmt: skip

BAR = "|"


@dataclass(frozen=True, slots=True)
class Once:
    """One instant that lies ahead."""

    due: datetime
    """Aware, in the person's zone, in whole seconds."""
    grain: Grain


@dataclass(frozen=True, slots=True)
class Repeat:
    """What recurs."""

    due: datetime
    """The first occurrence: aware, in the person's zone, in whole seconds, ahead."""
    rrule: str
    """RFC 5545 over local wall time; DTSTART is the wall time of `due`."""
    grain: Grain


@dataclass(frozen=True, slots=True)
class Past:
    """What was said lies behind."""

    due: datetime
    """When it was; of what recurs, when it ended."""


def parse_when(text: str, now: datetime, tz: ZoneInfo, policy: Policy = Policy()) -> Once | Repeat | Past:  # noqa: B008
    """What a sentence means that is said at the aware instant `now` in `tz`. Letter case does not matter.

    Raises `BadWhen` for what is no sentence of the language, and nothing else.
    """
    said = read_when(text)
    here = Here.at(text, now, tz, policy)
    match said:
        case Delay(span=((n, unit), *_)) if unit in DAY_UNITS:
            day = named_day(f"in {n} {unit}s", here.today)
            return _once(at_clock(day, said.time, policy), said.time, here)
        case Delay():
            due = here.now.replace(microsecond=0) + sum((n * repeats.UNITS[unit] for n, unit in said.span), timedelta())
            return Once(due.astimezone(tz), "minute")
        case Repetition():
            series = repeats.resolve(said, here)
            return Past(series.due) if series.over else Repeat(series.due, series.rrule, series.grain)
        case Point(date=("tonight",)):
            return _once(here.resolve(said), "night", here)
        case _:
            return _once(here.resolve(said), said.time, here)


def _once(wall: datetime, word: str | None, here: Here) -> Once | Past:
    due = here.instant(wall)
    return Once(due, grain_of(word)) if due.astimezone(UTC) > here.now else Past(due)


def join(task: str, when: str) -> str:
    """The line of a rewrite: `call mum | tomorrow 17:00`; either side may be empty."""
    return " ".join(filter(None, (task, BAR, when)))


def split(line: str) -> tuple[str, str]:
    """Task and When sentence of a line; where there is no such sentence the second is empty.

    They part at the last bar that stands alone. A plain line of someone else's (`call mum tomorrow 17:00`, or with its
    bar stuck to a word) parts at the longest suffix that is a When sentence.
    """
    words = line.split()
    for parts in (words, line.replace(BAR, f" {BAR} ").split()):
        if BAR in parts:
            bar = len(parts) - 1 - parts[::-1].index(BAR)
            when = " ".join(parts[bar + 1 :]).lower()
            if not when or is_when(when):
                return " ".join(parts[:bar]), when
    for start in range(len(words)):
        when = " ".join(words[start:]).lower()
        if is_when(when):
            return " ".join(words[:start]), when
    return " ".join(words), ""
