"""Copies of what will come due, which a service on the network rings should this machine sleep then: `copies`.

    sending --the service has it--> handed --its time comes, or this machine rings in its place--> rang
                                       '-----cancelled, moved, done----> withdrawing ----> gone

A copy is noted before it is sent, so that none is there of which nothing is known. What was `sending` when the machine
died, or lost its network, may be there or not: it is sent again, or withdrawn, by the same sequence id, and once its
time has passed the service is asked whether it rang.
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from assistant.database import Database, to_instant, to_text
from assistant.insistence import FOR_NOBODY

State = Literal["sending", "handed", "withdrawing", "rang"]


@dataclass(frozen=True, slots=True)
class Copy:
    """A row of the table: one occurrence of one reminder."""

    reminder_id: int
    due: datetime
    """Aware UTC: the instant that was asked for."""
    sequence: str
    """The id of ours by which the service knows it."""
    rings_at: datetime
    """Aware UTC: when the service rings it, a little after `due`."""
    state: State


@dataclass(frozen=True, slots=True)
class RungElsewhere:
    """A ring of a delivery that a service has rung in this machine's place."""

    copy: Copy
    delivery_id: int
    ring: int


class Copies:
    """The copies in an open database."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def of(self, reminder_id: int, due: datetime) -> Copy | None:
        row = self.db.one("SELECT * FROM copies WHERE reminder_id = ? AND due_utc = ?", (reminder_id, to_text(due)))
        return row and _copy(row)

    def out(self) -> list[Copy]:
        """Those that may be at the service, the next one first."""
        return [_copy(row) for row in self.db.rows("SELECT * FROM copies WHERE state <> 'rang' ORDER BY rings_at")]

    def note(self, copy: Copy) -> None:
        """Note one before it is sent, in place of an earlier one for the same occurrence."""
        with self.db.transaction():
            self.db.execute(
                "INSERT OR REPLACE INTO copies (reminder_id, due_utc, sequence, rings_at, state)"
                " VALUES (?, ?, ?, ?, ?)",
                (copy.reminder_id, to_text(copy.due), copy.sequence, to_text(copy.rings_at), copy.state),
            )

    def change(self, copy: Copy, state: State) -> None:
        """Bring one into a state, if it is still in the one that it was read in."""
        with self.db.transaction():
            self.db.execute("UPDATE copies SET state = ? WHERE reminder_id = ? AND due_utc = ? AND state = ?",
                            (state, copy.reminder_id, to_text(copy.due), copy.state))

    def drop(self, copy: Copy) -> None:
        with self.db.transaction():
            self.db.execute("DELETE FROM copies WHERE reminder_id = ? AND due_utc = ?",
                            (copy.reminder_id, to_text(copy.due)))

    def forget(self, before: datetime) -> None:
        """Drop those that would have rung before an instant, but for what this machine has not rung or recorded yet,
        as it slept for days."""
        over = (
            "rings_at < ? AND NOT EXISTS (SELECT 1 FROM reminders r WHERE r.id = reminder_id AND r.state = 'pending'"
            " AND r.due <= due_utc) AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.reminder_id = copies.reminder_id"
            " AND d.due_utc = copies.due_utc AND d.state = 'ringing')"
        )
        if self.db.value(f"SELECT 1 FROM copies WHERE {over} LIMIT 1", (to_text(before),)):
            with self.db.transaction():
                self.db.execute(f"DELETE FROM copies WHERE {over}", (to_text(before),))

    def rung(self, now: datetime) -> list[RungElsewhere]:
        """What the service has rung up to now and this machine has not recorded yet."""
        rows = self.db.rows(
            "SELECT c.*, d.id, d.ring FROM copies c JOIN deliveries d ON d.reminder_id = c.reminder_id"
            " AND d.due_utc = c.due_utc WHERE c.state = 'handed' AND c.rings_at <= ? AND d.state = 'ringing'",
            (to_text(now),),
        )
        return [RungElsewhere(_copy(row), row["id"], row["ring"]) for row in rows]

    def unsure(self, now: datetime, patience: timedelta) -> set[tuple[int, int]]:
        """Deliveries, with the number of the ring, that the service has rung if it has their copy, of which this
        machine knows nothing yet: so long after they were fired they may wait until it was asked."""
        rows = self.db.rows(
            "SELECT d.id, d.ring FROM copies c JOIN deliveries d ON d.reminder_id = c.reminder_id"
            " AND d.due_utc = c.due_utc WHERE c.state = 'sending' AND c.rings_at <= ? AND d.state = 'ringing'"
            " AND d.fired_at > ?",
            (to_text(now), to_text(now - patience)),
        )
        return {(row["id"], row["ring"]) for row in rows}

    def heard(self, reminder_id: int, due: datetime) -> tuple[int, set[str]] | None:
        """The number of the present ring of a delivery, and the notifiers that have told a person of it; None if it
        does not ring."""
        row = self.db.one(
            "SELECT id, ring FROM deliveries WHERE reminder_id = ? AND due_utc = ? AND state = 'ringing'",
            (reminder_id, to_text(due)),
        )
        return row and (row["ring"], self.succeeded(row["id"], row["ring"]) - FOR_NOBODY)

    def succeeded(self, delivery_id: int, ring: int) -> set[str]:
        """The notifiers that have rung a ring of a delivery."""
        rows = self.db.rows("SELECT notifier FROM outcomes WHERE delivery_id = ? AND ring = ? AND ok",
                            (delivery_id, ring))
        return {row["notifier"] for row in rows}


def _copy(row: sqlite3.Row) -> Copy:
    return Copy(
        row["reminder_id"], to_instant(row["due_utc"]), row["sequence"], to_instant(row["rings_at"]), row["state"])
