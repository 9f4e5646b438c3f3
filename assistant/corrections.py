"""What requests should have become: the `corrections` table, and which of them a model can be taught.

A correction is proposed when a person puts right what the assistant made of a request, and is taught only once somebody
has accepted it. It never says more than the request does: every word of its tasks was said, in that order, and the
request gives reason for its times (`decoding.py`). So a change of mind ("at five" - "no, six") is none.
"""

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from assistant.database import Database, to_instant, to_text
from assistant.decoding import THE_END, obstacle
from assistant.errors import AssistantError, BadWhen, NotFound, Unteachable
from assistant.grammar import WEEKDAYS
from assistant.moves import is_time, retime
from assistant.syntax import CLOCK_UNITS, Delay, Point, Repetition, read_when
from assistant.when import BAR, join, split
from assistant.words import fold, model_text, normalise, words

Why = Literal["meant", "edit", "reworded", "confirmed", "added"]
"""`meant`: "no, I meant six". `edit`: it was moved. `reworded`: it was said again in other words. `confirmed`: yes to
"Did you say ...?". `added`: by hand."""
STATES = ("proposed", "accepted", "dropped")


@dataclass(frozen=True, slots=True)
class Correction:
    """A row of the corrections table."""

    id: int
    request_id: str | None
    """None where it was added by hand, or the request is not kept."""
    text: str
    """The request, normalised."""
    was: str | None
    """The rewrite that it was given, in the letters of a model; None where it was added by hand."""
    should: str
    """The rewrite that it should have been given: one of `teachable`."""
    why: Why
    state: Literal["proposed", "accepted", "dropped"]
    at: datetime
    """Aware UTC: when it came into this state."""


class Corrections:
    """The corrections in an open database."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def propose(self, request_id: str | None, text: str, was: str, should: str, why: Why, at: datetime) -> None:
        """Propose that `text` should have become `should`, in place of what was proposed for this request before.

        Nothing is proposed that cannot be taught, that it did become, or that was proposed for these words before.
        """
        with self.db.transaction():
            self.db.execute("DELETE FROM corrections WHERE request_id = ? AND state = 'proposed'", (request_id,))
            try:
                should = teachable(text, should)
            except AssistantError:
                return
            if (should == fold(was) and why != "confirmed") or self._same(text, should):
                return
            self._insert(request_id, text, fold(was), should, why, "proposed", at)

    def add(self, text: str, should: str, at: datetime) -> Correction:
        """Add one by hand, accepted. Raises what `teachable` and `words.normalise` raise."""
        text = normalise(text)
        should = teachable(text, should)
        with self.db.transaction():
            same = self._same(text, should)
            id = same.id if same else self._insert(None, text, None, should, "added", "accepted", at)
            return self.accept(id, at)

    def accept(self, id: int, at: datetime, should: str | None = None) -> Correction:
        """Have it taught, as `should` if that is given, instead of any other for the same request.

        Raises `NotFound`, and what `teachable` raises.
        """
        with self.db.transaction():
            one = self.correction(id)
            should = teachable(one.text, one.should if should is None else should)
            for other in self.in_state("accepted"):
                if other.id != id and model_text(other.text) == model_text(one.text):
                    self.drop(other.id, at)
            self.db.execute("UPDATE corrections SET state = 'accepted', should = ?, at = ? WHERE id = ?",
                            (should, to_text(at), id))
            return self.correction(id)

    def drop(self, id: int, at: datetime) -> Correction:
        """Have it not taught, nor proposed again. Raises `NotFound`."""
        with self.db.transaction():
            self.db.execute("UPDATE corrections SET state = 'dropped', at = ? WHERE id = ?",
                            (to_text(at), self.correction(id).id))
            return self.correction(id)

    def correction(self, id: int) -> Correction:
        """Raises `NotFound`."""
        row = self.db.one("SELECT * FROM corrections WHERE id = ?", (id,)) if abs(id) < 2**63 else None
        if row is None:
            raise NotFound(f"There is no correction {id}: `assistant corrections list --state all` shows them.")
        return _correction(row)

    def in_state(self, state: str | None = None) -> list[Correction]:
        """Those in one of `STATES`, or all; oldest first."""
        rows = self.db.rows("SELECT * FROM corrections WHERE state = coalesce(?, state) ORDER BY id", (state,))
        return [_correction(row) for row in rows]

    def _same(self, text: str, should: str) -> Correction | None:
        row = self.db.one("SELECT * FROM corrections WHERE text = ? AND should = ?", (text, should))
        return row and _correction(row)

    def _insert(self, request_id: str | None, text: str, was: str | None, should: str, why: Why, state: str,
                at: datetime) -> int:
        return self.db.execute(
            "INSERT INTO corrections (request_id, text, was, should, why, state, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (request_id, text, was, should, why, state, to_text(at)),
        ).lastrowid


def _correction(row: sqlite3.Row) -> Correction:
    return Correction(**dict(row) | {"at": to_instant(row["at"])})


def correction_json(c: Correction) -> dict:
    """A correction as other programs see it."""
    return {"id": c.id, "text": c.text, "was": c.was, "should": c.should, "why": c.why, "state": c.state,
            "at": to_text(c.at)}


def training_rows(accepted: Iterable[dict]) -> list[dict]:
    """What a model is trained on, of accepted ones as `correction_json` gives them."""
    return [{"input": c["text"], "output": c["should"], "source": "correction", "at": c["at"]} for c in accepted]


def teachable(text: str, rewrite: str) -> str:
    """`rewrite` in the letters and blanks of a model, if a model could write it for the normalised `text`.

    A line without a bar is parted as `when.split` does. Raises `Unteachable`, `BadWhen`, and what `words.normalise`
    raises, each with a sentence that says what stands against it.
    """
    if BAR in text:
        raise Unteachable('A request with a "|" in it cannot be taught, for that is what parts task and time.')
    said = [w.folded for w in words(text)]
    lines = [_line(fold(normalise(line)), said) for line in rewrite.split("\n") if line.strip()]
    should = "\n".join(lines)
    if word := obstacle(should, said):
        if word == THE_END:
            raise Unteachable('Say what it should become, to its end, as in "call mum | tomorrow 17:00".')
        raise Unteachable(
            f'"{word[:40]}" cannot be written for "{text[:80]}": give words, numbers and days that were said,'
            ' as in "call mum | tomorrow 17:00".'
        )
    return should


def _line(line: str, said: list[str]) -> str:
    """A line of a rewrite as a model writes it; one that begins with a slash as it is."""
    if line.startswith("/"):
        return line
    task, when = split(line)
    if BAR in task.split():
        raise BadWhen(line.rpartition(BAR)[2].strip())
    rest = iter(said)
    for word in task.split():
        if word not in said:
            raise Unteachable(f'"{word[:40]}" was not said: give words of the request only.')
        if word not in rest:
            raise Unteachable(f'"{word[:40]}" was not said after the words before it: keep the order of the request.')
    return join(task, when)


# What a rewrite becomes when its time is put right


def retimed(rewrite: str, when: str, due: datetime) -> str | None:
    """The rewrite of one reminder at the time that it should have had; None for several, and for a command.

    `when` is how the person put it right, `due` when it rings now, in the person's zone.
    """
    if "\n" in rewrite or rewrite.startswith("/"):
        return None
    task, old = split(rewrite)
    return join(task, merged(old, when, due))


def merged(old: str, new: str, due: datetime, exact: bool = False) -> str:
    """A When sentence put right by another. What the new one does not say stays: a clock time keeps the day, a day the
    clock time, and whether the half of the day was said is as it was; `due` tells which half it is. `exact`: a half
    that is said now counts, as for what is to ring.
    """
    if not old:
        return new
    was, now = read_when(old), read_when(new)
    time = _clock_of(was)
    match now:
        case Point(date=(), time=said):
            said = _as_said(said, time, due, exact)
            if isinstance(was, Repetition):
                return retime(old, said)
            if isinstance(was, Delay) and was.span[0][1] in CLOCK_UNITS:
                return said
            days = ["today"] if old == "tonight" else [w for w in old.split() if not is_time(w)]
            return " ".join([*days, said])
        case Point(date=date, time=None) if date != ("tonight",):
            if isinstance(was, Repetition):
                return other_days(old, new) or new
            return f"{new} {time}" if time else new
        case Point(date=date, time=str(said)):
            return " ".join([*date, _as_said(said, time, due, exact)])
        case Repetition(times=(), start=None, unit=unit) if time and unit not in CLOCK_UNITS:
            return retime(new, time)
    return new


_DAYS = "|".join(WEEKDAYS)
_ON_DAYS = re.compile(rf"(every (?:week on |\d+ weeks? on )?)(?:{_DAYS})(?: and (?:{_DAYS}))*\b")


def other_days(old: str, new: str) -> str | None:
    """A recurring sentence on another weekday (`every thursday 07:00`, `friday`: `every friday 07:00`), else None."""
    return _ON_DAYS.sub(rf"\g<1>{new}", old, count=1) if new in WEEKDAYS and _ON_DAYS.match(old) else None


def _clock_of(said: Point | Delay | Repetition) -> str | None:
    """The one time of day of a sentence."""
    if isinstance(said, Repetition):
        return said.times[0] if len(said.times) == 1 else None
    return said.time


def _as_said(time: str, like: str | None, due: datetime, exact: bool) -> str:
    """A clock time with its half of the day said or left open as in `like`; `exact`: said if either says it."""
    if ":" not in time or ":" not in (like or "") or (exact and like.endswith("?")):
        return time
    return f"{due.hour % 12 or 12}:{due.minute:02}?" if like.endswith("?") else f"{due:%H:%M}"
