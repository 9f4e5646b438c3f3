"""From a rewrite to what it means now: lines resolved to instants, tasks in the person's own spelling."""

import re
from calendar import monthrange
from dataclasses import replace
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from assistant.errors import BadWhen
from assistant.grammar import MONTHS, QUANTIFIERS
from assistant.messages import Entry, Kind, Rewrite, Target, Understanding
from assistant.quiet import even_at_night, without_night
from assistant.rewriter import Rewriter
from assistant.when import Past, Policy, Repeat, join, parse_when, split
from assistant.words import normalise, respell, words

_LENGTHS = {month: monthrange(2028, n)[1] for n, month in enumerate(MONTHS, 1)}
"""Days of each month, in a leap year."""
_DAY = re.compile(rf"(?<!\S)(\d{{1,2}}) ({'|'.join(MONTHS)})(?!\S)")
_MINUTES = {"minute": 1, "hour": 60, "day": 1440, "week": 10080, "month": 43200, "year": 525600}


def understand(
    rewrite: Rewrite,
    text: str,
    now: datetime,
    tz: ZoneInfo,
    policy: Policy,
    ask_below: float | Literal["model"] = 0.0,
) -> Understanding:
    """What `rewrite` of the normalised `text` means at the aware instant `now` in `tz`.

    A rewrite with a word that was not said, or with a time that is none, is not acted on: its kind is `other`, with an
    `error`. A `create` of which the model is less sure than `ask_below` becomes `confirm`; "model" means what the model
    itself was calibrated to. So does one for a day that there is not, which resolves to the last of its month.
    """
    said = words(text)
    sure = rewrite.confidence >= (rewrite.ask_below if ask_below == "model" else ask_below)
    sure = sure and not _names_no_day(rewrite.text)

    def result(kind: Kind, lines: str, entries=(), target=None, shift=None, error=None) -> Understanding:
        return Understanding(
            text, kind, lines, tuple(entries), target, shift, rewrite.confidence, rewrite.model, rewrite.ms, error,
            sure, rewrite.skipped, rewrite.ask_below,
        )

    try:
        if rewrite.text.startswith("/"):
            return _slash(rewrite.text, said, now, tz, policy, result)
        entries = [_entry(*split(line), said, now, tz, policy) for line in rewrite.text.split("\n")]
    except _Invented:
        return result("other", rewrite.text, error="invented")
    except BadWhen:
        return result("other", rewrite.text, error="bad_when")
    kind: Kind = "needs_time"
    if any(e.due and not e.past for e in entries):
        kind = "create" if sure else "confirm"
    return result(kind, "\n".join(join(e.task or "", e.when or "") for e in entries), entries)


def _names_no_day(lines: str) -> bool:
    """Whether it names a day of a month that this never has: `31 february`."""
    return any(int(day) > _LENGTHS[month] for day, month in _DAY.findall(lines))


class _Invented(Exception):
    """A word in the rewrite that was not in the request."""


def _spell(task: str, said) -> str | None:
    spelled = respell(task, said)
    if spelled is None:
        raise _Invented
    return spelled or None


def _entry(task: str, when: str, said, now: datetime, tz: ZoneInfo, policy: Policy) -> Entry:
    task = _spell(task, said)
    if not when:
        return Entry(task, None)
    match parse_when(when, now, tz, policy):
        case Repeat(due=due, rrule=rrule):
            return Entry(task, when, due, rrule)
        case Past(due=due):
            return Entry(task, when, due, past=True)
        case once:
            return Entry(task, when, once.due)


def _slash(line: str, said, now: datetime, tz: ZoneInfo, policy: Policy, result) -> Understanding:
    head, _, new = line.partition(" > ")
    head, _, looked_up = head.partition(" | ")
    command, *rest = head.split()
    kind: Kind = command[1:]
    if kind not in ("list", "cancel", "done", "snooze", "move"):
        return result("other", line)
    quantifier = rest[0] if rest and rest[0] in QUANTIFIERS else None
    target = Target(quantifier, _spell(" ".join(rest[1:] if quantifier else rest), said) or "", looked_up or None)
    if kind == "list":
        return result(kind, line, target=target)
    shift = None
    if new.startswith(("later ", "earlier ")):
        way, *span = new.split()
        minutes = sum(int(n) * _minutes(unit) for n, unit in zip(span[::2], span[1::2]))
        shift = round(minutes) * (1 if way == "later" else -1)
        entry = Entry(target.words or None, None)
    else:
        entry = _entry("", new, said, now, tz, policy)
        entry = Entry(target.words or None, entry.when, entry.due, entry.rrule, entry.past)
    return result(kind, line, [entry], target, shift)


def _minutes(unit: str) -> float:
    return 1 / 60 if unit.startswith("second") else _MINUTES[unit.removesuffix("s")]


async def understand_text(
    rewriter: Rewriter,
    text: str,
    now: datetime,
    tz: ZoneInfo,
    policy: Policy,
    ask_below: float | Literal["model"],
) -> Understanding:
    """What a person's text, as it came, means at `now`. Raises `BlankText`, `TextTooLong`, `ModelError`."""
    return await understand_normalised(rewriter, normalise(text), now, tz, policy, ask_below)


async def understand_normalised(
    rewriter: Rewriter,
    text: str,
    now: datetime,
    tz: ZoneInfo,
    policy: Policy,
    ask_below: float | Literal["model"],
) -> Understanding:
    """The same of one that is normalised. Raises `ModelError`."""
    plain = without_night(text)
    u = understand(await rewriter.rewrite(plain), plain, now.astimezone(tz), tz, policy, ask_below)
    return replace(u, even_at_night=even_at_night(text))


def as_json(u: Understanding) -> dict:
    """The object that `assistant parse --json` prints and `/predict` answers with."""
    out = {
        "text": u.text,
        "kind": u.kind,
        "rewrite": u.rewrite,
        "reminders": [
            {"task": e.task, "when": e.when, "due": e.due.isoformat() if e.due else None, "rrule": e.rrule}
            | ({"past": True} if e.past else {})
            for e in u.entries
        ],
        "confidence": round(u.confidence, 4),
        "ask_below": u.ask_below,
        "model": u.model,
        "ms": u.ms,
    }
    if u.target:
        out["target"] = {"quantifier": u.target.quantifier, "words": u.target.words, "range": u.target.range}
    if u.shift_minutes is not None:
        out["shift_minutes"] = u.shift_minutes
    if u.even_at_night:
        out["even_at_night"] = True
    if u.error:
        out["error"] = u.error
    if u.skipped:
        out["skipped"] = list(u.skipped)
    return out
