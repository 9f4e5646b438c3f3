"""What the assistant remembers: the requests that it accepted and the reminders made of them.

The `reminders` table is the truth. Every method is one transaction; several become one inside `Store.transaction()`.
When a method returns, its change is on the disk. What came due is in `outbox.py`, the file itself in `database.py`.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from assistant.database import Database, Facts, inspect, open_database, to_instant, to_text
from assistant.errors import NotFound
from assistant.messages import Kind, Reminder, Request, Understanding

__all__ = ["Facts", "NewReminder", "Store", "StoredRequest", "inspect"]


@dataclass(frozen=True, slots=True)
class NewReminder:
    """A reminder that is to be remembered; the fields are those of `messages.Reminder`."""

    task: str
    when: str
    wall: datetime
    """Naive local time of the first occurrence."""
    zone: str
    rrule: str | None
    due: datetime
    """Aware."""
    parent_id: int | None = None
    even_at_night: bool = False


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request and what became of it."""

    id: str
    text: str
    channel: str
    said_at: datetime
    """Aware UTC."""
    settled_at: datetime | None
    """Aware UTC; None while it has not been answered."""
    kind: Kind | None
    rewrite: str | None
    model: str | None
    confidence: float | None
    ms: float | None
    """Milliseconds of inference."""
    reply: str | None
    question: bool
    """The reply asked something; the next request on the channel may be the answer."""
    error: str | None
    """Code of the error that ended it."""


class Store:
    """An open store. Used on the event loop's thread; never `await` inside `transaction()`."""

    def __init__(self, db: Database) -> None:
        self.db = db

    @classmethod
    @contextmanager
    def open(cls, path: Path, busy_timeout: float = 2.0) -> Iterator["Store"]:
        """Open or make the database at `path`; wait `busy_timeout` seconds for whoever else holds it locked.

        Raises `AlreadyRunning`, `NewerDatabase`, `CorruptDatabase`, `LockedDatabase`, `DiskFull`, `DiskFault`,
        `ReadOnlyFolder`; the file is then as it was.
        """
        with open_database(path, busy_timeout) as db:
            yield cls(db)

    def transaction(self) -> AbstractContextManager[None]:
        """All that is done inside is one commit, or nothing of it."""
        return self.db.transaction()

    # Requests

    def add_request(self, request: Request) -> bool:
        """Accept a request; False if one of that id was accepted before."""
        with self.transaction():
            return self.db.execute(
                "INSERT OR IGNORE INTO requests (id, text, channel, said_at) VALUES (?, ?, ?, ?)",
                (request.id, request.text, request.channel, to_text(request.said_at)),
            ).rowcount == 1

    def request(self, id: str) -> StoredRequest | None:
        row = self.db.one("SELECT * FROM requests WHERE id = ?", (id,))
        return row and _stored_request(row)

    def request_like(self, prefix: str) -> StoredRequest | None:
        """The request whose id is the greatest of those that begin so."""
        row = self.db.one("SELECT * FROM requests WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1",
                          (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)))
        return row and _stored_request(row)

    def latest_request(self, channel: str) -> StoredRequest | None:
        """The request that was answered last on this channel."""
        row = self.db.one(
            "SELECT * FROM requests WHERE channel = ? AND settled_at IS NOT NULL"
            " ORDER BY settled_at DESC, rowid DESC LIMIT 1",
            (channel,),
        )
        return row and _stored_request(row)

    def unsettled_requests(self) -> list[Request]:
        """Accepted but not answered yet, in the order in which they were accepted, however the clock was set."""
        rows = self.db.rows(  # +rowid: so that the index of the few is used, and not the order of the table
            "SELECT id, text, channel, said_at FROM requests WHERE settled_at IS NULL ORDER BY +rowid"
        )
        return [Request(row["id"], row["text"], row["channel"], to_instant(row["said_at"])) for row in rows]

    def settle_request(
        self,
        id: str,
        *,
        reply: str,
        at: datetime,
        understanding: Understanding | None = None,
        kind: Kind | None = None,
        question: bool = False,
        error: str | None = None,
    ) -> None:
        """Record what a request became. Raises `NotFound`."""
        u = understanding
        facts = (u.kind, u.rewrite, u.model, u.confidence, u.ms, u.error) if u else (None,) * 6
        with self.transaction():
            changed = self.db.execute(
                "UPDATE requests SET settled_at = ?, reply = ?, question = ?, kind = coalesce(?, ?), rewrite = ?,"
                " model = ?, confidence = ?, ms = ?, error = coalesce(?, ?) WHERE id = ?",
                (to_text(at), reply, question, kind, *facts[:5], error, facts[5], id),
            ).rowcount
            if not changed:
                raise NotFound(f"There is no request {id}: send it again.")

    def forget_request(self, id: str) -> None:
        """Keep nothing of a request that was not meant for the assistant."""
        with self.transaction():
            self.db.execute("DELETE FROM requests WHERE id = ?", (id,))

    # Reminders

    def add_reminders(self, request_id: str | None, new: Iterable[NewReminder]) -> list[Reminder]:
        with self.transaction():
            ids = [
                self.db.execute(
                    'INSERT INTO reminders (request_id, task, "when", wall, fold, zone, rrule, due, parent_id,'
                    " even_at_night, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')",
                    (request_id, r.task, r.when, _wall_text(r.wall), r.wall.fold, r.zone, r.rrule, to_text(r.due),
                     r.parent_id, r.even_at_night),
                ).lastrowid
                for r in new
            ]
            return [self.reminder(id) for id in ids]

    def reminder(self, id: int) -> Reminder:
        """Raises `NotFound`."""
        row = self.db.one("SELECT * FROM reminders WHERE id = ?", (id,)) if abs(id) < 2**63 else None
        if row is None:
            raise NotFound(f"There is no reminder {id}: `assistant list` shows those that there are.")
        return read_reminder(row)

    def reminders_of(self, request_id: str) -> list[Reminder]:
        """The reminders that a request made."""
        rows = self.db.rows("SELECT * FROM reminders WHERE request_id = ? AND parent_id IS NULL ORDER BY id",
                            (request_id,))
        return [read_reminder(row) for row in rows]

    def active(self, limit: int | None = None) -> list[Reminder]:
        """Those that have rung for the last time and wait to be acknowledged, then those ahead by `due`."""
        rows = self.db.rows("SELECT * FROM reminders WHERE state = 'fired' ORDER BY id LIMIT ?",
                            (-1 if limit is None else limit,))
        rows += self.db.rows("SELECT * FROM reminders WHERE state = 'pending' ORDER BY due, id LIMIT ?",
                             (-1 if limit is None else limit - len(rows),))
        return [read_reminder(row) for row in rows]

    def in_state(self, state: str, limit: int | None = None) -> list[Reminder]:
        """Those in one state, newest first."""
        rows = self.db.rows("SELECT * FROM reminders WHERE state = ? ORDER BY id DESC LIMIT ?",
                            (state, -1 if limit is None else limit))
        return [read_reminder(row) for row in rows]

    def ahead(self, limit: int) -> list[Reminder]:
        """Those that will ring, soonest first."""
        rows = self.db.rows("SELECT * FROM reminders WHERE state = 'pending' ORDER BY due, id LIMIT ?", (limit,))
        return [read_reminder(row) for row in rows]

    def count_ahead(self) -> int:
        return self.db.value("SELECT count(*) FROM reminders WHERE state = 'pending'")

    def count_active(self) -> int:
        return self.db.value("SELECT (SELECT count(*) FROM reminders WHERE state = 'pending')"
                             " + (SELECT count(*) FROM reminders WHERE state = 'fired')")

    def latest_rung(self, since: datetime | None = None) -> Reminder | None:
        """The reminder that rang last and was not acknowledged: "that".

        One that rang after `since` counts even when it has stopped ringing and passes for missed.
        """
        row = self.db.one(
            "SELECT reminder_id, rung_at FROM deliveries WHERE state = 'ringing' AND rung_at IS NOT NULL UNION ALL"
            " SELECT reminder_id, rung_at FROM deliveries WHERE state = 'missed' AND rung_at >= ?"
            " ORDER BY rung_at DESC, reminder_id DESC LIMIT 1",
            (to_text(since) if since else None,),
        )
        return row and self.reminder(row["reminder_id"])

    def ringing(self) -> int | None:
        """The reminder that came due last of those that ring, also if no notifier has been heard yet."""
        return self.db.value("SELECT reminder_id FROM deliveries WHERE state = 'ringing'"
                             " ORDER BY coalesce(rung_at, fired_at) DESC, id DESC LIMIT 1")

    def cancel(self, ids: Iterable[int]) -> list[Reminder]:
        """End reminders, recurring ones with their snoozed occurrences. Raises `NotFound`, and then changes nothing."""
        with self.transaction():
            return [self._end(id, "cancelled", "('pending', 'fired')") for id in ids]

    def done(self, ids: Iterable[int], now: datetime) -> list[Reminder]:
        """Acknowledge what rang; a one-off is then over, also one that has not rung yet. Raises `NotFound`."""
        with self.transaction():
            return [self._done(id, now) for id in ids]

    def _done(self, id: int, now: datetime) -> Reminder:
        reminder = self.reminder(id)
        if reminder.rrule is None or reminder.state != "pending":
            return self._end(id, "done", "('pending', 'fired', 'missed')", now)
        self._hush(id, "done", now)
        for child in self._children(id, "('pending', 'fired')"):
            self._end(child, "done", "('pending', 'fired')", now)
        return reminder

    def _end(self, id: int, state: str, states: str, now: datetime | None = None) -> Reminder:
        self.reminder(id)  # NotFound
        for child in self._children(id, "('pending', 'fired')"):
            self._end(child, state, states, now)
        if self.db.execute(f"UPDATE reminders SET state = ?, due = NULL WHERE id = ? AND state IN {states}",
                           (state, id)).rowcount:
            self._hush(id, state, now)
        return self.reminder(id)

    def has_rung(self, id: int) -> bool:
        """Whether an occurrence of a reminder rings, or has rung for the last time, and was not acknowledged."""
        return self.db.one(
            "SELECT 1 FROM deliveries WHERE reminder_id = ? AND state IN ('ringing', 'missed', 'snoozed') LIMIT 1",
            (id,),
        ) is not None

    def rename(self, id: int, task: str) -> Reminder:
        """Give a reminder other words. Raises `NotFound` for one that is done or cancelled."""
        with self.transaction():
            self._open(id)
            self.db.execute("UPDATE reminders SET task = ? WHERE id = ?", (task, id))
            return self.reminder(id)

    def snooze(self, id: int, until: datetime, now: datetime) -> Reminder:
        """Ring again at `until`; what is returned is the reminder that will.

        That is the one-off itself, or a one-off child of a recurring reminder whose recurrence stays as it is.
        Raises `NotFound` for one that is done or cancelled.
        """
        with self.transaction():
            reminder = self._open(id)
            wall = until.astimezone(ZoneInfo(reminder.zone)).replace(tzinfo=None)
            when = f"{wall:%Y-%m-%d %H:%M}"
            if reminder.rrule is None:
                self._hush(id, "snoozed", now)
                return self.move(id, when=when, wall=wall, zone=reminder.zone, rrule=None, due=until)
            ringing = self.db.one("SELECT 1 FROM deliveries WHERE reminder_id = ? AND state = 'ringing'", (id,))
            child = next(iter(self._children(id, "('pending', 'fired')")), None)
            if child is not None and not ringing:  # it is the occurrence that was snoozed before
                return self.snooze(child, until, now)
            self._hush(id, "snoozed", now)
            self.db.execute("UPDATE reminders SET state = 'done' WHERE id = ? AND state <> 'pending'", (id,))
            new = NewReminder(reminder.task, when, wall, reminder.zone, None, until, id, reminder.even_at_night)
            return self.add_reminders(reminder.request_id, [new])[0]

    def move(self, id: int, *, when: str, wall: datetime, zone: str, rrule: str | None, due: datetime) -> Reminder:
        """Give a reminder another time; it stops ringing. Raises `NotFound` for one that is done or cancelled.

        A snoozed occurrence that is to recur is a reminder of its own from then on.
        """
        with self.transaction():
            self._open(id)
            self._hush(id, "moved")
            if rrule is not None:
                self.db.execute("UPDATE reminders SET parent_id = NULL WHERE id = ?", (id,))
            self.db.execute(
                "UPDATE reminders SET \"when\" = ?, wall = ?, fold = ?, zone = ?, rrule = ?, due = ?, state = 'pending'"
                " WHERE id = ?",
                (when, _wall_text(wall), wall.fold, zone, rrule, to_text(due), id),
            )
            return self.reminder(id)

    def ring_at_night(self, ids: Iterable[int]) -> None:
        """Let reminders make a sound in quiet hours as well."""
        with self.transaction():
            for id in ids:
                self.db.execute("UPDATE reminders SET even_at_night = 1 WHERE id = ?", (id,))

    def _open(self, id: int) -> Reminder:
        reminder = self.reminder(id)
        if reminder.state in ("done", "cancelled"):
            raise NotFound(f"Reminder {id} is {reminder.state}: make a new one.")
        return reminder

    def _children(self, id: int, states: str) -> list[int]:
        """The snoozed occurrences of a recurring reminder, newest first."""
        rows = self.db.rows(
            f"SELECT id FROM reminders WHERE parent_id = ? AND state IN {states} ORDER BY id DESC", (id,)
        )
        return [row["id"] for row in rows]

    def _hush(self, id: int, state: str, now: datetime | None = None) -> None:
        """Stop what rings of a reminder, and what is still tried of it; "done" takes back the last "missed" as well."""
        at = to_text(now) if now else None
        self.db.execute(
            "UPDATE deliveries SET state = ?, next_ring = NULL, acknowledged_at = ?"
            " WHERE reminder_id = ? AND state = 'ringing'",
            (state, at, id),
        )
        if state == "done":
            self.db.execute(
                "UPDATE deliveries SET state = 'done', acknowledged_at = ? WHERE state = 'missed' AND id ="
                " (SELECT id FROM deliveries WHERE reminder_id = ? ORDER BY due_utc DESC LIMIT 1)",
                (at, id),
            )
        self.db.execute(
            "UPDATE outcomes SET next_try = NULL WHERE next_try IS NOT NULL"
            " AND (SELECT reminder_id FROM deliveries d WHERE d.id = delivery_id) = ?",
            (id,),
        )


def read_reminder(row: sqlite3.Row) -> Reminder:
    """A row of the reminders table."""
    wall = datetime.fromisoformat(row["wall"]).replace(fold=row["fold"])
    return Reminder(
        row["id"], row["request_id"], row["task"], row["when"], wall, row["zone"], row["rrule"],
        to_instant(row["due"]) if row["due"] else None, row["state"], row["parent_id"], bool(row["even_at_night"]),
    )


def _stored_request(row: sqlite3.Row) -> StoredRequest:
    facts = dict(row)
    facts["said_at"] = to_instant(facts["said_at"])
    facts["settled_at"] = to_instant(facts["settled_at"]) if facts["settled_at"] else None
    facts["question"] = bool(facts["question"])
    return StoredRequest(**facts)


def _wall_text(wall: datetime) -> str:
    if wall.tzinfo is not None:
        raise ValueError("a wall time has no zone")
    return wall.isoformat(timespec="microseconds")
