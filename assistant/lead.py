"""An event rings before it begins, too: `[calendar] lead_minutes` before, once.

That ring is a delivery of its own in the outbox, and when the event begins it rings again. Acknowledged before it
begins, a single event is done, and snoozed it rings when it was snoozed to, in the place of both. What was set or
changed when less than that was left rings at its time only.
"""

from datetime import timedelta

from assistant.clock import Clock
from assistant.database import to_instant, to_text
from assistant.store import Store


def ring_ahead(store: Store, lead: timedelta, clock: Clock) -> int:
    """Put the events that begin within `lead` into the outbox, each once; how many are new there."""
    if lead <= timedelta():
        return 0
    now, new = clock.now(), 0
    rows = store.db.rows(
        "SELECT r.id, r.due, e.changed_at FROM calendar_entries e JOIN reminders r ON r.id = e.reminder_id"
        " WHERE e.kind = 'event' AND e.kept_wall IS NULL AND NOT e.hidden AND NOT e.dirty AND r.state = 'pending'"
        " AND r.due > ? AND r.due <= ?",
        (to_text(now), to_text(now + lead)))
    with store.transaction():
        for row in rows:
            ahead = to_text(to_instant(row["due"]) - lead)
            if row["changed_at"] <= ahead:
                # It stands for no occurrence: that one is still to come.
                new += store.db.execute(
                    "INSERT OR IGNORE INTO deliveries (reminder_id, due_utc, occurrences, state, fired_at)"
                    " VALUES (?, ?, 0, 'ringing', ?)",
                    (row["id"], ahead, to_text(now))).rowcount
    return new
