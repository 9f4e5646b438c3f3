"""What a call asks a language model for, and what is made of its answer.

`prompt` explains the contract and asks for what a `Want` wants; `objects` finds examples in whatever came back; `sift`
keeps those that pass every check, puts aside those that a person should look at, and counts the rest by reason.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from training.checks import Rejected, Seen, check
from training.coverage import STYLES, Want
from training.labelled import Labelled
from training.second_opinion import has_time, overlooked, second_opinion

SCHEMA = {
    "type": "object",
    "properties": {
        "examples": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"input": {"type": "string"}, "output": {"type": "string"}},
                "required": ["input", "output"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["examples"],
    "additionalProperties": False,
}
RULES = """\
You write examples for a reminder assistant. "input" is what one person says or types to it; "output" is its rewrite.

A new reminder is one line, TASK | WHEN. Several reminders in one input are one line each, in the order said, at most
five, with \\n between them.
- TASK: what to do. Only words of the input, in the same order, spelt exactly as in the input (small letters, without
  punctuation at their ends); never another form of a word, nothing added. Leave out "remind me to", fillers, courtesy
  and the words for the time. A bare alarm or timer has its noun (alarm, timer); "wake me up" is: wake up
- WHEN: the time that was said, in exactly this language; empty if none was said ("buy milk |").
  WHEN    = [DATE] [TIME] | tonight | in N hours [N minutes] | in N minutes | in N seconds
          | in N days [TIME] (or weeks, months, years) | every RULE [TIME {and TIME}] [from DATE] [LIMIT]
            [except WEEKDAY {and WEEKDAY}]
  DATE    = today | tomorrow | WEEKDAY | next WEEKDAY | WEEKDAY in N weeks | this weekend | next week | next month
          | end of week | end of month | D MONTH [YYYY] | the D | first WEEKDAY of MONTH (second, third, fourth, last)
          | easter | good friday | easter monday
  TIME    = HH:MM where am or pm was said or is beyond doubt ("5 pm" 17:00, "seven in the morning" 07:00)
          | H:MM? where it was not, question mark included ("at 5" 5:00?, "half past six" 6:30?)
          | morning | noon | afternoon | evening | night | midnight
  RULE    = day | weekday | weekend | WEEKDAY {and WEEKDAY} | minute | hour | week | month | year | N minutes (hours..)
          | week on WEEKDAY | N weeks on WEEKDAY | month on the D | month on first WEEKDAY | year on D MONTH
  LIMIT   = until DATE | until TIME | for N times | for N days (or minutes, hours, weeks, months)
  Weekdays and months are written out. "a fortnight" is 2 weeks. "this evening" is: today evening
  "half five" in Britain is 5:30?. Write no number, weekday or month for which the input gives no reason.
What is not a new reminder is one line that begins with a slash:
  /list [TARGET]   /cancel [TARGET]   /done [TARGET]   /snooze [TARGET] [> WHEN]
  /move [TARGET] [> WHEN]   /move [TARGET] > later N minutes (or earlier; hours, days)   /other
  TARGET = [all | next | first | last | that] [words of the input, in order] [| RANGE]
  RANGE  = DATE [TIME] | TIME | [DATE] after TIME | before TIME | between TIME and TIME | this week | this month | MONTH
  "it", "this one" is: that. /other is small talk and everything that this assistant does not do.
"""
ASKED = {
    "recurrence": "new reminders that recur (days, weekdays, every so often, dates of a month or a year)",
    "several reminders": "two or three new reminders in one request, each with its own time",
    "offset": "new reminders in so many minutes, hours, days or weeks from now",
    "clock time in digits": "new reminders, once, at a clock time that the input says in digits",
    "clock time in words": "new reminders, once, at a clock time that the input says in words (quarter past nine)",
    "daypart": "new reminders, once, for a part of a day (tomorrow morning, tonight, friday evening), no clock time",
    "day only": "new reminders, once, for a day or a date, no time of day",
    "needs_time": "new reminders that say no time at all, or one too vague to write (sometime, soon)",
    "list": "questions about what is already set (some with a TARGET, some with a RANGE, some with neither)",
    "cancel": "requests to cancel what is already set, by its words, by its time, all of it, or 'that'",
    "move": "requests to move what is already set to another time, or later, or earlier",
    "snooze": "answers to a reminder that rings now: to ring again later",
    "done": "answers that something reminded of is done",
    "other": "things said to the assistant that are no request about reminders at all, though some sound a bit like it",
}
"""Family of a `create`, or kind -> what to ask for."""
PEOPLE = (
    "a nurse on night shifts", "a student in a shared flat", "a father of three", "a retired teacher", "a plumber",
    "a shop manager", "somebody new in the country", "a software tester", "a farmer", "a carer of an old parent",
    "a touring musician", "a trainee lawyer", "a football coach", "somebody with two dogs", "a baker", "a dentist",
)  # fmt: skip
VARIED = (
    "names from many cultures", "what the person wants done, concretely", "how the request begins", "its length",
    "where in the sentence the time stands", "the time itself: hours, minutes, days", "the words around the time",
)  # fmt: skip
BUILT_IN: dict[str, tuple[str, str]] = {
    "recurrence": ("recycling goes out every other tuesday at 7pm", "recycling | every 2 weeks on tuesday 19:00"),
    "several reminders": ("wake me up at 6:30 and at noon I need to ring Bo", "wake up | 6:30?\nring bo | noon"),
    "offset": ("give me a shout in an hour and 15 minutes to move the car", "move the car | in 1 hour 15 minutes"),
    "clock time in digits": ("have to take Momo to the vet tomorrow at 4", "take momo to the vet | tomorrow 4:00?"),
    "clock time in words": ("um, quarter past nine tonight, call Anneke", "call anneke | today 21:15"),
    "daypart": ("first thing friday morning I have to defrost the stew", "defrost the stew | friday morning"),
    "day only": ("library books due 14 november", "library books due | 14 november"),
    "needs_time": ("could you remind me to water Mrs Okoye's plants please", "water mrs okoye's plants |"),
    "list": ("have I got anything about the boiler this week", "/list boiler | this week"),
    "cancel": ("forget the alarm for 7am", "/cancel alarm | 07:00"),
    "move": ("push the physio to thursday at 3", "/move physio > thursday 3:00?"),
    "snooze": ("ten more minutes", "/snooze > in 10 minutes"),
    "done": ("the pills are taken", "/done pills"),
    "other": ("do you ever get tired of reminding people", "/other"),
}  # fmt: skip
"""Shown as long as there are no rows to show."""


def _asked(want: Want) -> str:
    return want.family if want.kind == "create" else want.kind


def prompt(want: Want, rows: Sequence[Labelled], random: Random) -> str:
    """What is said to the model; `rows` are examples of what is wanted, a few of which it is shown."""
    shown = [(row.input, row.output) for row in random.sample(list(rows), min(3, len(rows)))]
    shown = shown or [BUILT_IN[_asked(want)]]
    examples = "\n".join(json.dumps({"input": i, "output": o}, ensure_ascii=False) for i, o in shown)
    varied = "; ".join(random.sample(VARIED, 4))
    return (
        f"{RULES}\n"
        f"So it looks (do not copy these or reword them):\n{examples}\n\n"
        f"Write {want.count} new examples, all of them {ASKED[_asked(want)]}.\n"
        f"What they are about: {want.domain}. Who speaks: {random.choice(PEOPLE)}.\n"
        f"How it is said: {want.style} - {STYLES[want.style]}.\n"
        f"Let them differ from each other as much as they can in: {varied}.\n"
        'Answer with nothing but JSON: {"examples": [{"input": "...", "output": "..."}, ...]}\n'
    )


_DECODER = json.JSONDecoder(strict=False)


def objects(text: str) -> list[dict]:
    """The whole examples in an answer, whatever stands around them and wherever it breaks off, in order."""
    found, at = [], text.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            inside = value.get("examples") if isinstance(value.get("examples"), list) else [value]
            found += [v for v in inside if isinstance(v, dict) and v.keys() & {"input", "output"}]
        at = text.find("{", end)
    return found


@dataclass(slots=True)
class Sifted:
    """What came of an answer."""

    kept: list[Labelled] = field(default_factory=list)
    doubted: list[tuple[Labelled, str]] = field(default_factory=list)
    """With what is doubtful about each."""
    refused: Counter[str] = field(default_factory=Counter)
    """How many by reason."""

    @property
    def received(self) -> int:
        return len(self.kept) + len(self.doubted) + self.refused.total()


def sift(text: str, want: Want, source: str, seen: Seen) -> Sifted:
    """Looks at every example of an answer; `seen` learns those that are not refused."""
    sifted = Sifted()
    for found in objects(text):
        said, written = found.get("input"), found.get("output")
        if not isinstance(said, str) or not isinstance(written, str):
            sifted.refused["no input and output"] += 1
            continue
        try:
            row = check(Labelled(said, written.replace("\\n", "\n"), source, domain=want.domain, style=want.style))
        except Rejected as e:
            sifted.refused[e.reason] += 1
            continue
        if seen.like(row.input):
            sifted.refused["nearly the same as another"] += 1
            continue
        seen.add(row.input)
        row = replace(row, agreed=second_opinion(row))
        if why := _doubt(row, want):
            sifted.doubted.append((row, why))
        else:
            sifted.kept.append(row)
    return sifted


def _doubt(row: Labelled, want: Want) -> str:
    """What a person should look at, empty if nothing."""
    if row.kind != want.kind and (want.kind, row.kind) != ("needs_time", "create"):
        return f"asked for {want.kind}, not {row.kind}"
    if has_time(row) and not row.agreed:
        return "no parser reads the same time"
    if reader := overlooked(row):
        return f"{reader} reads a time"
    return ""
