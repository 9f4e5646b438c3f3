"""Requests with what they mean, written by hand (`data/heldout.jsonl`), and how right an answer to one of them is.

A gold file holds one JSON object a line:
`{"id", "text", "ref", "tz", "kind", "reminders": [{"task", "task_alt", "due", "grain", "rrule"}], "ambiguous"}`, where
`ref` and `due` are local wall time in `tz`, `grain` is `minute`, `daypart` or `day`, and `rrule` is RFC 5545.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from assistant.errors import AssistantError
from assistant.instants import read_instant, read_zone
from assistant.messages import Entry, Kind

OCCURRENCES = 6
"""So many of a recurrence are compared."""
DAYPARTS = {9: (5, 12), 12: (11, 14), 15: (12, 18), 18: (16, 22), 20: (17, 24), 21: (18, 24)}
"""Hour that stands for a part of the day -> the hours from (included) and to (excluded) that are sensible for it."""
_NOUNS = [f"{noun}{s}" for noun in "alarm timer reminder event appointment meeting".split() for s in ("", "s")]
NO_TASK = {"", *"all,everything,that,it,wake up,wake me up,get up,get me up".split(",")} | {
    f"{which}{noun}" for noun in _NOUNS for which in ("", "all ", "all my ", "next ", "last ", "first ")
}
"""What may be given as a task where none was said."""


class BadGold(AssistantError):
    """A gold file that is not there or cannot be read."""

    code, exit_status = "gold", 2


@dataclass(frozen=True, slots=True)
class GoldEntry:
    """One reminder that was asked for, or the one that is to be changed; None is what was not said."""

    task: str | None
    task_alt: tuple[str, ...]
    """Wordings that are right too."""
    due: datetime | None
    """Naive local time, of what recurs the first."""
    grain: Literal["minute", "daypart", "day"] | None
    rrule: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One request with its meaning."""

    id: str
    text: str
    now: datetime
    """When it was said: aware, in `tz`."""
    tz: ZoneInfo
    kind: Kind
    entries: tuple[GoldEntry, ...]
    ambiguous: bool
    """Two sensible people would disagree."""


@dataclass(frozen=True, slots=True)
class Score:
    """What of one answer is right; None where a figure does not concern the row.

    `due` (at the grain that was said), `strict` (to the minute, defaults included) and `asked` (answered by a question)
    concern `create` rows, `recur` (the first occurrences) those of them that recur, `task` (its words, apart from case
    and punctuation) rows that name one. `wrong` is silently wrong: a reminder is set that was not asked for, or for
    another instant.
    """

    kind: bool
    due: bool | None
    strict: bool | None
    recur: bool | None
    task: bool | None
    all: bool
    wrong: bool
    asked: bool | None


@dataclass(frozen=True, slots=True)
class Share:
    """How many of the rows that a figure concerns have it."""

    count: int
    of: int

    @property
    def percent(self) -> float:
        return round(100 * self.count / self.of, 1)


def read(path: Path) -> list[Row]:
    """All rows of a gold file. Raises `BadGold`."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, ValueError) as e:
        raise BadGold(f"The gold file {path} cannot be read: {getattr(e, 'strerror', None) or e}.") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows += [_row(json.loads(line))] if line.strip() else []
        except (KeyError, TypeError, ValueError, AttributeError, AssistantError) as e:
            raise BadGold(f"Line {number} of {path} is no gold row ({type(e).__name__}: {e}).") from None
    return rows


def _row(raw: dict) -> Row:
    if raw["kind"] not in get_args(Kind):
        raise ValueError(f"no kind {raw['kind']}")
    tz = read_zone(raw["tz"])
    entries = []
    for e in raw["reminders"]:
        due = datetime.fromisoformat(e["due"]) if e["due"] else None
        entries.append(GoldEntry(e["task"], tuple(e.get("task_alt") or ()), due, e["grain"], e["rrule"]))
    return Row(raw["id"], raw["text"], read_instant(raw["ref"], tz), tz, raw["kind"], tuple(entries), raw["ambiguous"])


def _tidy(task: str | None) -> str:
    """A task as it is compared: folded, without punctuation and without one small word at its beginning."""
    words = re.sub(r"[^\w' ]+", " ", (task or "").lower().replace("’", "'")).strip()
    return " ".join(re.sub(r"^(the|a|an|my|to) ", "", words).split())


def _wall(at: datetime, tz: ZoneInfo) -> datetime:
    """What the clock in `tz` shows at an aware instant, to the minute; a naive one is that already."""
    return (at.astimezone(tz) if at.tzinfo else at).replace(tzinfo=None, second=0, microsecond=0)


def _same_task(gold: GoldEntry, given: Entry) -> bool:
    right = {_tidy(task) for task in (gold.task, *gold.task_alt) if task}
    return _tidy(given.task) in (right if gold.task is not None else right | NO_TASK)


def _same_due(gold: GoldEntry, given: Entry, tz: ZoneInfo) -> tuple[bool, bool]:
    """Whether the instant is right at the grain that was said, and whether to the minute."""
    if gold.due is None or given.due is None:
        return False, False
    right, at = _wall(gold.due, tz), _wall(given.due, tz)
    strict, same_day = right == at, right.date() == at.date()
    if gold.grain == "daypart":
        first, end = DAYPARTS.get(right.hour, (right.hour, right.hour + 1))
        return same_day and first <= at.hour < end, strict
    return same_day if gold.grain == "day" else strict, strict


def _occurrences(rrule: str, start: datetime) -> list[datetime]:
    """The first few of a rule from the naive local `start` on; the day on which it ends belongs to it."""
    rrule = re.sub(r"UNTIL=(\d{8})(T\d{6})?Z?", r"UNTIL=\1T235959", rrule.removeprefix("RRULE:"))
    return list(islice(rrulestr(rrule, dtstart=start), OCCURRENCES))


def _same_recurrence(gold: GoldEntry, given: Entry, tz: ZoneInfo) -> bool:
    """Whether both ring at the same times, or neither recurs."""
    if not (gold.rrule and given.rrule and gold.due and given.due):
        return not gold.rrule and not given.rrule
    try:
        return _occurrences(gold.rrule, _wall(gold.due, tz)) == _occurrences(given.rrule, _wall(given.due, tz))
    except (ValueError, TypeError, IndexError):  # what dateutil says of a rule that is none
        return False


def score(row: Row, kind: Kind, given: Sequence[Entry]) -> Score:
    """How right it is to answer `row` with `kind` and the entries `given`."""
    right_kind, as_many = kind == row.kind, len(given) == len(row.entries)
    pairs = list(zip(row.entries, given))
    tasks = as_many and all(_same_task(g, e) for g, e in pairs)
    right = right_kind and (tasks or not row.entries)
    due = strict = recur = asked = None
    if row.kind == "create":
        fit = right_kind and as_many
        dues = [_same_due(g, e, row.tz) for g, e in pairs] if fit else [(False, False)]
        due, strict = all(d for d, _ in dues), all(s for _, s in dues)
        recur = fit and all(_same_recurrence(g, e, row.tz) for g, e in pairs)
        asked = kind in ("confirm", "needs_time")
        right = right and due and recur
    elif row.kind in ("move", "snooze") and row.entries and row.entries[0].due:
        right = right and bool(given) and given[0].due is not None
        if right:
            new, at = _wall(row.entries[0].due, row.tz), _wall(given[0].due, row.tz)
            right = new == at or row.kind == "move" and new.time() == at.time()  # its day need not be in the text
    wrong = kind == "create" and not (due and recur)
    task = bool(given) and tasks if any(g.task for g in row.entries) else None
    recur = recur if any(g.rrule for g in row.entries) else None
    return Score(right_kind, due, strict, recur, task, right, wrong, asked)


def tally(scores: Iterable[Score]) -> dict[str, Share]:
    """Each figure over the rows that it concerns; a figure that concerns none is left out."""
    scores = list(scores)
    known = {f.name: [v for s in scores if (v := getattr(s, f.name)) is not None] for f in fields(Score)}
    return {figure: Share(sum(values), len(values)) for figure, values in known.items() if values}
