"""What came due and is to be rung: the `deliveries` table and what each notifier made of it, `outcomes`.

`fire` moves a reminder to its next occurrence and puts the one that came due into the outbox, in one commit; the pair
(reminder, instant) is unique. Killed before that, the reminder is still due; killed after it, the row is still to be
rung. A notifier's outcome is recorded after it has succeeded, so a ring that was cut off between the two is repeated
with the same delivery id and ring number.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from assistant.database import Database, to_instant, to_text
from assistant.insistence import Insistence, insistence_of
from assistant.messages import Delivery, Reminder
from assistant.store import read_reminder


@dataclass(frozen=True, slots=True)
class Advance:
    """How a reminder that is due goes on."""

    due: datetime
    """Aware UTC: the occurrence that is rung, of several missed ones the last."""
    occurrences: int
    """How many this ring stands for."""
    following: datetime | None
    """Aware UTC: the next occurrence, strictly after now; None when nothing more will ring."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One try of one notifier to ring one delivery."""

    delivery_id: int
    ring: int
    notifier: str
    error: str | None
    """None when it succeeded."""
    at: datetime
    """Aware UTC."""
    next_try: datetime | None = None
    """Aware UTC; None when it succeeded or will not be tried again."""


class Outbox:
    """The outbox of an open database."""

    def __init__(self, db: Database) -> None:
        self.db = db

    # Firing

    def due(self, now: datetime, limit: int) -> list[Reminder]:
        """Reminders that are due, oldest first."""
        rows = self.db.rows(
            "SELECT * FROM reminders WHERE state = 'pending' AND due <= ? ORDER BY due, id LIMIT ?",
            (to_text(now), limit),
        )
        return [read_reminder(row) for row in rows]

    def pending(self, id: int) -> Reminder | None:
        row = self.db.one("SELECT * FROM reminders WHERE id = ? AND state = 'pending'", (id,))
        return row and read_reminder(row)

    def all_pending(self) -> list[Reminder]:
        rows = self.db.rows("SELECT * FROM reminders WHERE state = 'pending' ORDER BY due, id")
        return [read_reminder(row) for row in rows]

    def next_due(self) -> datetime | None:
        """When the next reminder is due."""
        return _instant(self.db.value("SELECT due FROM reminders WHERE state = 'pending' ORDER BY due LIMIT 1"))

    def fire(self, due: Iterable[tuple[Reminder, Advance]], now: datetime) -> None:
        """The firing transaction, one commit for all that is due together: a commit costs more than a reminder.

        One that is not as it was read any more (it was moved, cancelled or fired) is left as it is.
        """
        with self.db.transaction():
            for reminder, advance in due:
                self._fire(reminder, advance, now)

    def _fire(self, reminder: Reminder, advance: Advance, now: datetime) -> None:
        assert reminder.due is not None
        due, following = to_text(advance.due), advance.following and to_text(advance.following)
        if not self.db.execute(
            "UPDATE reminders SET due = ?, state = ? WHERE id = ? AND state = 'pending' AND due = ?",
            (following, "pending" if following else "fired", reminder.id, to_text(reminder.due)),
        ).rowcount:
            return
        unheard = self._supersede(reminder.id, due)
        if self.db.execute(
            "INSERT OR IGNORE INTO deliveries (reminder_id, due_utc, occurrences, state, fired_at)"
            " VALUES (?, ?, ?, 'ringing', ?)",
            (reminder.id, due, advance.occurrences + unheard, to_text(now)),
        ).rowcount:
            return
        if reminder.rrule is None:  # set to this very instant again after it had rung: it rings again
            self.db.execute(
                "UPDATE deliveries SET state = 'ringing', ring = ring + 1, fired_at = ?, rung_at = NULL,"
                " next_ring = NULL, acknowledged_at = NULL WHERE reminder_id = ? AND due_utc = ?",
                (to_text(now), reminder.id, due),
            )
        else:  # the clock was set back: this occurrence has rung, and if it was the last one, has ended so
            self.db.execute(
                "UPDATE reminders SET state = (SELECT CASE d.state WHEN 'ringing' THEN 'fired' WHEN 'done'"
                " THEN 'done' ELSE 'missed' END FROM deliveries d WHERE d.reminder_id = reminders.id"
                " AND d.due_utc = ?) WHERE id = ? AND state = 'fired'",
                (due, reminder.id),
            )

    def _supersede(self, reminder_id: int, due: str) -> int:
        """A newer occurrence ends the ringing of older ones; how many of them nobody has heard, for it to stand for."""
        others = {"id": reminder_id, "due": due}
        unheard = (
            "reminder_id = :id AND state = 'ringing' AND due_utc <> :due"
            " AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.delivery_id = deliveries.id AND o.ok)"
        )
        count = self.db.value(f"SELECT coalesce(sum(occurrences), 0) FROM deliveries WHERE {unheard}", others)
        if count:
            self.db.execute(f"UPDATE deliveries SET occurrences = 0 WHERE {unheard}", others)
        if self.db.execute(
            "UPDATE deliveries SET state = 'missed', next_ring = NULL"
            " WHERE reminder_id = :id AND state = 'ringing' AND due_utc <> :due",
            others,
        ).rowcount:
            self.db.execute(
                "UPDATE outcomes SET next_try = NULL WHERE next_try IS NOT NULL"
                " AND (SELECT reminder_id FROM deliveries d WHERE d.id = delivery_id) = :id",
                others,
            )
        return count

    # Ringing

    def to_ring(
        self, notifier: str, now: datetime, longest_retry: timedelta, limit: int, first: int = 1
    ) -> list[Delivery]:
        """What this notifier has to ring now, oldest first: what it has not tried yet, and what is to be tried again.

        It joins at the ring number `first`. A retry that lies further ahead than any is ever set means that the clock
        was set back: it is tried now.
        """
        rows = self.db.rows(
            "SELECT d.*, r.task, r.zone, r.rrule, r.even_at_night, r.due AS next_due"
            " FROM deliveries d JOIN reminders r ON r.id = d.reminder_id"
            " WHERE d.id IN (SELECT d.id FROM deliveries d WHERE d.state = 'ringing' AND d.ring >= :first"
            " AND NOT EXISTS (SELECT 1 FROM outcomes o"
            " WHERE o.delivery_id = d.id AND o.notifier = :notifier AND o.ring = d.ring) UNION ALL"
            " SELECT delivery_id FROM outcomes WHERE notifier = :notifier AND next_try <= :now UNION ALL"
            " SELECT delivery_id FROM outcomes WHERE notifier = :notifier AND next_try > :horizon)"
            " ORDER BY d.due_utc, d.id LIMIT :limit",
            {"notifier": notifier, "now": to_text(now), "horizon": to_text(now + longest_retry), "limit": limit,
             "first": first},
        )
        return [_delivery(row) for row in rows]

    def tries(self, notifier: str, delivery: Delivery) -> int:
        """How often this notifier has tried this ring."""
        return self.db.value(
            "SELECT tries FROM outcomes WHERE delivery_id = ? AND notifier = ? AND ring = ?",
            (delivery.id, notifier, delivery.ring),
        ) or 0

    def next_try(self, notifier: str) -> datetime | None:
        """When this notifier tries something again."""
        return _instant(
            self.db.value("SELECT min(next_try) FROM outcomes WHERE notifier = ? AND next_try IS NOT NULL", (notifier,))
        )

    def try_now(self, notifier: str, now: datetime) -> None:
        """What this notifier is to try again later, it is to try now."""
        self.db.execute("UPDATE outcomes SET next_try = ? WHERE notifier = ? AND next_try > ?",
                        (to_text(now), notifier, to_text(now)))

    def record(
        self, outcomes: Sequence[Outcome], repeat_after: timedelta, channels: Mapping[str, Insistence] | None = None
    ) -> None:
        """Keep what a notifier made of a notice. The first success of a ring starts the time until it is repeated,
        which is `repeat_after` but for what was asked for on one of `channels`."""
        usual, channels = Insistence(repeat_after, 0), channels or {}
        with self.db.transaction():
            for o in outcomes:
                insists = insistence_of(self._channel(o.delivery_id), usual, channels) if channels else usual
                facts = {
                    "id": o.delivery_id, "notifier": o.notifier, "ring": o.ring, "ok": o.error is None,
                    "error": o.error, "at": to_text(o.at), "repeat": to_text(o.at + insists.repeat_after),
                    "next_try": o.next_try and to_text(o.next_try),
                }
                # Not tried again: what was acknowledged, moved or superseded meanwhile, or is at a later ring.
                self.db.execute(
                    "INSERT INTO outcomes (delivery_id, notifier, ring, tries, ok, error, at, next_try)"
                    " SELECT :id, :notifier, :ring, 1, :ok, :error, :at, CASE WHEN d.ring = :ring AND"
                    " d.state IN ('ringing', 'missed') AND NOT EXISTS (SELECT 1 FROM deliveries n WHERE"
                    " n.reminder_id = d.reminder_id AND n.due_utc > d.due_utc) THEN :next_try END"
                    " FROM deliveries d WHERE d.id = :id"
                    " ON CONFLICT (delivery_id, notifier, ring) DO UPDATE SET tries = tries + 1, ok = excluded.ok,"
                    " error = excluded.error, at = excluded.at, next_try = excluded.next_try",
                    facts,
                )
                if o.error is None:
                    self.db.execute(
                        "UPDATE deliveries SET rung_at = :at, next_ring = CASE state WHEN 'ringing'"
                        " THEN coalesce(next_ring, :repeat) END WHERE id = :id AND ring = :ring"
                        " AND state IN ('ringing', 'missed')",
                        facts,
                    )

    # Insisting

    def next_ring(self) -> datetime | None:
        """When something that was not acknowledged rings again or counts as missed."""
        return _instant(self.db.value("SELECT min(next_ring) FROM deliveries WHERE state = 'ringing'"))

    def insist(
        self,
        notifiers: Sequence[str],
        now: datetime,
        repeat_after: timedelta,
        repeats: int,
        channels: Mapping[str, Insistence] | None = None,
        first: Mapping[str, int] | None = None,
    ) -> tuple[list[int], list[int]]:
        """Ring again what nobody acknowledged, or count it as missed; the ids of both sorts of deliveries.

        `channels` are those on which what was asked for insists otherwise, `first` the ring at which a notifier joins.
        """
        usual, channels = Insistence(repeat_after, repeats), channels or {}
        longest = max([repeat_after, *(other.repeat_after for other in channels.values())])
        with self.db.transaction():
            self._give_up(notifiers, to_text(now + repeat_after), first or {})
            lapsed = self.db.rows(
                "SELECT id, reminder_id, ring FROM deliveries WHERE state = 'ringing'"
                " AND (next_ring <= ? OR next_ring > ?) ORDER BY due_utc, id",
                (to_text(now), to_text(now + longest)),  # beyond: the clock was set back
            )
            again, missed = [], []
            for row in lapsed:
                insists = insistence_of(self._channel(row["id"]), usual, channels) if channels else usual
                (again if row["ring"] <= insists.repeats else missed).append(row)
            for row in again:
                self.db.execute("UPDATE deliveries SET ring = ring + 1, next_ring = NULL WHERE id = ?", (row["id"],))
                self.db.execute("UPDATE outcomes SET next_try = NULL WHERE delivery_id = ?", (row["id"],))
            for row in missed:  # a notifier that still tries the last ring goes on: late is better than never
                self.db.execute("UPDATE deliveries SET state = 'missed', next_ring = NULL WHERE id = ?", (row["id"],))
                self.db.execute("UPDATE reminders SET state = 'missed' WHERE id = ? AND state = 'fired'",
                                (row["reminder_id"],))
        return [row["id"] for row in again], [row["id"] for row in missed]

    def _channel(self, delivery_id: int) -> str | None:
        """On which a reminder was asked for."""
        return self.db.value(
            "SELECT q.channel FROM deliveries d JOIN reminders r ON r.id = d.reminder_id"
            " JOIN requests q ON q.id = r.request_id WHERE d.id = ?",
            (delivery_id,),
        )

    def _give_up(self, notifiers: Sequence[str], repeat: str, first: Mapping[str, int]) -> None:
        """Where every notifier has failed for good, the ring is over as well, and the next one is tried."""
        last = max(first.values(), default=1)
        for ring in range(1, last + 1):
            joined = [name for name in notifiers if first.get(name, 1) <= ring]
            marks = ", ".join("?" * len(joined))
            self.db.execute(
                "UPDATE deliveries SET next_ring = ? WHERE state = 'ringing' AND next_ring IS NULL"
                f" AND ring {'>=' if ring == last else '='} ? AND (SELECT count(*)"
                " FROM outcomes o WHERE o.delivery_id = deliveries.id AND o.ring = deliveries.ring"
                f" AND o.next_try IS NULL AND o.notifier IN ({marks})) = ?",
                (repeat, ring, *joined, len(joined)),
            )

    # A clock that was set back

    def latest_firing(self) -> datetime | None:
        return _instant(self.db.value("SELECT fired_at FROM deliveries ORDER BY id DESC LIMIT 1"))

    def recurring(self) -> list[Reminder]:
        """All reminders with a rule that nobody has ended."""
        rows = self.db.rows(
            "SELECT * FROM reminders WHERE rrule IS NOT NULL AND state IN ('pending', 'fired', 'missed') ORDER BY id"
        )
        return [read_reminder(row) for row in rows]

    def reschedule(self, id: int, due: datetime) -> None:
        """Set the next occurrence of a recurring reminder."""
        self.db.execute("UPDATE reminders SET due = ?, state = 'pending' WHERE id = ?", (to_text(due), id))

    def take_back(self, after: datetime, now: datetime) -> int:
        """One-offs for after this instant have rung before their time: they are ahead again; how many."""
        with self.db.transaction():
            early = self.db.rows(
                "SELECT d.id, d.reminder_id, d.due_utc FROM deliveries d JOIN reminders r ON r.id = d.reminder_id"
                " WHERE r.rrule IS NULL AND r.state IN ('fired', 'missed') AND d.state IN ('ringing', 'missed')"
                " AND d.due_utc > ?",
                (to_text(after),),
            )
            for row in early:
                self.db.execute("UPDATE deliveries SET state = 'moved', next_ring = NULL WHERE id = ?", (row["id"],))
                self.db.execute("UPDATE outcomes SET next_try = NULL WHERE delivery_id = ?", (row["id"],))
                self.db.execute("UPDATE reminders SET state = 'pending', due = ? WHERE id = ?",
                                (row["due_utc"], row["reminder_id"]))
            self.db.execute("UPDATE deliveries SET fired_at = ? WHERE fired_at > ?", (to_text(now), to_text(now)))
        return len(early)


def _instant(text: str | None) -> datetime | None:
    return to_instant(text) if text else None


def _delivery(row: sqlite3.Row) -> Delivery:
    begins = _instant(row["next_due"]) if row["occurrences"] == 0 else None
    return Delivery(
        row["id"], row["reminder_id"], row["task"], to_instant(row["due_utc"]), row["occurrences"], row["ring"],
        row["zone"], row["rrule"] is not None, bool(row["even_at_night"]), begins,
    )
