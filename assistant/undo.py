"""Undo: what one commit changed comes back whole, for ten minutes: an undo log.

    recording --triggers--> each row as it was before --at its end--> and as it is after
    undo: every row is still as it was after?  ->  it becomes what it was before, in one commit

What was set is cancelled; what was cancelled, done, snoozed or moved is ahead, or rings, as it did. A ring that was
acknowledged is not rung again at once: what was left until it was to be repeated is left again. Whatever has rung or
been changed since stays as it is, and the person is told why. An undo is recorded as well, so that it can be undone.

The log is in temporary tables of the connection: a change and its record are one transaction, and nothing of it is on
the disk, nor there after a restart.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from assistant.calendar_entries import CalendarEntries
from assistant.clock import Clock
from assistant.database import to_instant, to_text
from assistant.errors import CannotUndo
from assistant.messages import Reminder
from assistant.store import Store
from assistant.words import words

UNDO_FOR = timedelta(minutes=10)
"""So long a change can be undone."""
MOST_ROWS = 10_000
"""Of one change: a bigger one cannot be undone, as both forms of each row are kept in memory."""
TABLES = ("reminders", "deliveries", "outcomes", "corrections", "calendar_entries")
"""What a change may touch. `outcomes` is what is still tried, `corrections` what was proposed because of it."""
_NOTHING = "There is nothing to undo: nothing was changed within the last ten minutes, or it is undone already."
_GONE = "There is no such change, or it is more than ten minutes ago: change it back by hand."
_AGAIN = "That has been undone already: there is nothing more to do."
_FILL = "hey|hi|hello|so|ok|okay|oh|no|oops|whoops|sorry|wait|well|um|uh|please|assistant|now|then|thanks|just|again"
_WHAT = (
    "that|it|this|(?:the|my|your) last (?:one|change|thing|action|request|command)"
    "|(?:what|the thing|the last thing) (?:i|you) (?:just )?(?:said|did)"
)
_ASKS = re.compile(
    rf"(?:(?:{_FILL}|can you|could you|would you|will you|i want to|i'd like to) )*"
    rf"(?:(?:undo|revert)(?: (?:{_WHAT}))?|(?:take|put) (?:that|it) back(?: (?:how|as|the way) it was)?)"
    rf"(?: (?:{_FILL}))*"
)


@dataclass(slots=True)
class Recording:
    """A change that is being recorded."""

    change: str | None = None
    """Its id, once it is over; None where nothing has changed."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo has done."""

    change: str | None
    """The id by which the undo itself can be undone."""
    back: tuple[Reminder, ...]
    """Those that are ahead again, or wait to be acknowledged, in the order of their ids."""
    gone: tuple[Reminder, ...]
    """Those that are over again."""


def asks_to_undo(text: str) -> bool:
    """Whether a request asks to undo what was changed last, and nothing else."""
    said = " ".join(w.folded for w in words(text))
    return len(said) < 100 and _ASKS.fullmatch(said) is not None


class UndoLog:
    """The changes of an open store that can be undone. Used as the store is: on one thread, without an `await`."""

    def __init__(
        self, store: Store, clock: Clock, new_id: Callable[[], str] = lambda: uuid4().hex, most_rows: int = MOST_ROWS
    ) -> None:
        self._store, self._db, self._clock, self._new_id, self._most_rows = store, store.db, clock, new_id, most_rows
        self.last: str | None = None
        """The id of the recording that ended last, None where that changed nothing."""
        self._columns = {t: [row["name"] for row in self._db.rows(f"PRAGMA main.table_info({t})")] for t in TABLES}
        for statement in _schema(self._columns):
            self._db.execute(statement)

    # Recording

    @contextmanager
    def recording(
        self, channel: str | None = None, request_id: str | None = None, back: bool = False
    ) -> Iterator[Recording]:
        """One transaction, all changes of which are one change; `back`: it takes another one back."""
        recording, now = Recording(), self._clock.now()
        with self._store.transaction():
            self._forget(now)
            id = self._new_id()
            self._db.execute("INSERT INTO undo_changes (id, at, channel, request_id, back) VALUES (?, ?, ?, ?, ?)",
                             (id, to_text(now), channel, request_id, back))
            self._db.execute("INSERT INTO undo_open (change) VALUES (?)", (id,))
            yield recording
            self._db.execute("DELETE FROM undo_open")
            recording.change = self._close(id)
        self.last = recording.change

    def _close(self, id: str) -> str | None:
        """Keep the rows that have really changed, as they are now; the id if it is worth undoing."""
        for t in TABLES:
            self._db.execute(
                f"UPDATE undo_rows SET after = (SELECT {self._image(t)} FROM {t} WHERE rowid = undo_rows.row)"
                " WHERE change = ? AND tbl = ?", (id, t))
        # What a calendar shows comes from triggers, which an undo makes run: it is known also if it has not changed.
        self._db.execute(
            "DELETE FROM undo_rows WHERE change = ? AND before IS after AND tbl <> 'calendar_entries'", (id,))
        rows = self._db.value("SELECT count(*) FROM undo_rows WHERE change = ?", (id,))
        matters = self._db.value(
            "SELECT count(*) FROM undo_rows WHERE change = ? AND tbl IN ('reminders', 'deliveries')", (id,))
        if matters and rows <= self._most_rows:
            return id
        self._drop(id)
        return None

    def _forget(self, now: datetime) -> None:
        for row in self._db.rows("SELECT id FROM undo_changes WHERE at < ?", (to_text(now - UNDO_FOR),)):
            self._drop(row["id"])

    def _drop(self, id: str) -> None:
        self._db.execute("DELETE FROM undo_rows WHERE change = ?", (id,))
        self._db.execute("DELETE FROM undo_changes WHERE id = ?", (id,))

    def _image(self, table: str, row: str = "") -> str:
        return _image(self._columns[table], row)

    # Looking up

    def of_request(self, request_id: str) -> str | None:
        """The change that a request has made, if it can be undone."""
        return self._newest("request_id = ?", request_id)

    def latest(self, channel: str | None = None) -> str | None:
        """The change that was made last, on one channel or on any, and was not taken back."""
        return self._newest("NOT back AND channel = ?", channel) if channel else self._newest("NOT back")

    def _newest(self, which: str, *parameters: str) -> str | None:
        return self._db.value(
            f"SELECT id FROM undo_changes WHERE NOT undone AND at >= ? AND {which} ORDER BY rowid DESC LIMIT 1",
            (to_text(self._clock.now() - UNDO_FOR), *parameters))

    # Undoing

    def undo(self, change: str | None, request_id: str | None = None) -> Undone:
        """Take a change back, None for "there is none", as a request asks for it. Raises `CannotUndo`, and then changes
        nothing."""
        now = self._clock.now()
        if change is None:
            raise CannotUndo(_NOTHING)
        row = self._db.one("SELECT * FROM undo_changes WHERE id = ? AND at >= ?", (change, to_text(now - UNDO_FOR)))
        if row is None:
            raise CannotUndo(_GONE)
        if row["undone"]:
            raise CannotUndo(_AGAIN)
        with self.recording(request_id=request_id, back=not row["back"]) as recording:
            self._refuse_if_stale(row)
            touched = self._touched(change)
            self._restore(change, now - to_instant(row["at"]), now)
            self._db.execute("UPDATE undo_changes SET undone = 1 WHERE id = ?", (change,))
        found = [self._store.reminder(id) for id in touched]
        over = ("done", "cancelled")
        return Undone(recording.change, tuple(r for r in found if r.state not in over),
                      tuple(r for r in found if r.state in over))

    def _touched(self, change: str) -> list[int]:
        """The reminders that a change was about."""
        rows = self._db.rows(
            "SELECT row AS id FROM undo_rows WHERE change = :c AND tbl = 'reminders' UNION SELECT reminder_id"
            " FROM deliveries WHERE id IN (SELECT row FROM undo_rows WHERE change = :c AND tbl = 'deliveries')"
            " ORDER BY id", {"c": change})
        return [row["id"] for row in rows]

    def _refuse_if_stale(self, change: sqlite3.Row) -> None:
        for t, id in (("reminders", "id"), ("deliveries", "reminder_id")):
            row = self._db.one(
                f"SELECT {t}.{id} AS id FROM undo_rows u JOIN {t} ON {t}.rowid = u.row"
                f" WHERE u.change = ? AND u.tbl = ? AND u.after IS NOT {self._image(t, t)} LIMIT 1",
                (change["id"], t))
            if row:
                raise self._stale(row["id"], change["at"])
        row = self._db.one(  # another ring has taken the place of the one that would come back
            "SELECT d.reminder_id AS id FROM undo_rows u JOIN deliveries d ON d.id = u.row JOIN deliveries n"
            " ON n.reminder_id = d.reminder_id AND n.due_utc > d.due_utc WHERE u.change = ? AND u.tbl = 'deliveries'"
            " AND n.fired_at >= ? LIMIT 1", (change["id"], change["at"]))
        if row:
            raise self._stale(row["id"], change["at"])

    def _stale(self, id: int, at: str) -> CannotUndo:
        named = f'"{self._store.reminder(id).task or "reminder"}"'
        if self._db.one("SELECT 1 FROM deliveries WHERE reminder_id = ? AND fired_at >= ?", (id, at)):
            return CannotUndo(f"That cannot be undone any more, as {named} has rung meanwhile: change it by hand.")
        return CannotUndo(f"That cannot be undone any more, as {named} was changed again: undo that first.")

    def _restore(self, change: str, passed: timedelta, now: datetime) -> None:
        """Put back what a change has changed, `passed` ago."""
        for row in self._rows(change, "reminders"):  # an event that has rung ahead of its changed time does so no more
            self._db.execute(
                "UPDATE deliveries SET state = 'moved', next_ring = NULL WHERE reminder_id = ? AND state = 'ringing'"
                " AND id NOT IN (SELECT row FROM undo_rows WHERE change = ? AND tbl = 'deliveries')",
                (row["row"], change))
        for row in self._rows(change, "deliveries"):
            before = json.loads(row["before"])
            if before["next_ring"]:
                before["next_ring"] = to_text(to_instant(before["next_ring"]) + passed)
            self._put("deliveries", row["row"], before)
        for row in self._rows(change, "reminders"):
            if row["before"] is None:
                self._store.cancel([row["row"]])
            else:
                self._put("reminders", row["row"], json.loads(row["before"]))
        for row in self._rows(change, "outcomes"):
            if row["before"] and row["after"] == row["current"]:
                self._put("outcomes", row["row"], {"next_try": json.loads(row["before"])["next_try"]})
        for row in self._rows(change, "corrections"):
            if row["before"] is None and row["after"] == row["current"]:
                self._db.execute("DELETE FROM corrections WHERE id = ?", (row["row"],))
        self._restore_calendar(change, now)

    def _restore_calendar(self, change: str, now: datetime) -> None:
        """A calendar sees what came back as a change like any other; but what it is to go on showing through a snooze
        is as before, and an occurrence that was moved away is no longer left out."""
        for row in self._rows(change, "calendar_entries"):
            kept = json.loads(row["before"]) if row["before"] else {}
            kept = {name: kept[name] for name in ("kept_wall", "kept_fold", "kept_zone") if name in kept}
            self._put("calendar_entries", row["row"], kept | {"snoozed": 0})
        entries = CalendarEntries(self._store)
        for row in self._rows(change, "reminders"):
            before, after = (json.loads(image) if image else {} for image in (row["before"], row["after"]))
            if before.get("rrule") and before["due"] and after["due"] and before["due"] < after["due"]:
                entries.ring_again(row["row"], to_instant(before["due"]), now)

    def _rows(self, change: str, table: str) -> list[sqlite3.Row]:
        """The rows of a table that a change has changed: before, after, and as they are now."""
        return self._db.rows(
            f"SELECT u.row, u.before, u.after, (SELECT {self._image(table)} FROM {table} WHERE rowid = u.row)"
            " AS current FROM undo_rows u WHERE u.change = ? AND u.tbl = ? ORDER BY u.row", (change, table))

    def _put(self, table: str, row: int, values: dict) -> None:
        names = ", ".join(f'"{name}" = ?' for name in values)
        self._db.execute(f"UPDATE {table} SET {names} WHERE rowid = ?", (*values.values(), row))


def _image(columns: list[str], row: str = "") -> str:
    """SQL for a whole row as JSON; `row` names it."""
    dot = row and f"{row}."
    return "json_object(" + ", ".join(f"'{c}', {dot}\"{c}\"" for c in columns) + ")"


def _schema(columns: dict[str, list[str]]) -> Iterator[str]:
    yield """CREATE TEMP TABLE IF NOT EXISTS undo_changes (
        id TEXT NOT NULL UNIQUE, at TEXT NOT NULL, channel TEXT, request_id TEXT, back INTEGER NOT NULL,
        undone INTEGER NOT NULL DEFAULT 0)"""
    yield "CREATE INDEX IF NOT EXISTS temp.undo_changes_at ON undo_changes (at)"
    yield "CREATE INDEX IF NOT EXISTS temp.undo_changes_request ON undo_changes (request_id)"
    yield "CREATE TEMP TABLE IF NOT EXISTS undo_open (change TEXT NOT NULL)"
    yield """CREATE TEMP TABLE IF NOT EXISTS undo_rows (
        change TEXT NOT NULL, tbl TEXT NOT NULL, row INTEGER NOT NULL, before TEXT, after TEXT,
        PRIMARY KEY (change, tbl, row)) WITHOUT ROWID"""
    for t, names in columns.items():
        for event, row, before in (("UPDATE", "OLD", _image(names, "OLD")), ("INSERT", "NEW", "NULL")):
            yield (
                f"CREATE TEMP TRIGGER IF NOT EXISTS undo_{t}_{event.lower()} AFTER {event} ON main.{t}"
                " WHEN EXISTS (SELECT 1 FROM undo_open) BEGIN"
                f" INSERT INTO undo_rows (change, tbl, row, before) SELECT change, '{t}', {row}.rowid, {before}"
                " FROM undo_open WHERE NOT EXISTS (SELECT 1 FROM undo_rows u WHERE u.change = undo_open.change"
                f" AND u.tbl = '{t}' AND u.row = {row}.rowid); END")
