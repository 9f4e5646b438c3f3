"""An event rings before it begins, too: `[calendar] lead_minutes` before, once.

That ring is a delivery of its own in the outbox, and when the event begins it rings again. Acknowledged before it
begins, a single event is done, and snoozed it rings when it was snoozed to, in the place of both. What was set or
changed when less than that was left rings at its time only.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from assistant.clock import Clock
from assistant.database import to_instant, to_text
from assistant.messages import Reminder
from assistant.store import Store, read_reminder


def ring_ahead(store: Store, lead: timedelta, clock: Clock) -> int:
    """Put the events that begin within `lead` into the outbox, each once; how many are new there."""
    now, new = clock.now(), 0
    with store.transaction():
        for event, ahead in rings_ahead(store, lead, now, now):
            # It stands for no occurrence: that one is still to come.
            new += store.db.execute(
                "INSERT OR IGNORE INTO deliveries (reminder_id, due_utc, occurrences, state, fired_at)"
                " VALUES (?, ?, 0, 'ringing', ?)",
                (event.id, to_text(ahead), to_text(now))).rowcount
    return new


def rings_ahead(store: Store, lead: timedelta, now: datetime, until: datetime) -> list[tuple[Reminder, datetime]]:
    """Events that have not begun, and when each rings ahead, up to an instant."""
    if lead <= timedelta():
        return []
    rows = store.db.rows(
        "SELECT r.*, e.changed_at FROM calendar_entries e JOIN reminders r ON r.id = e.reminder_id"
        " WHERE e.kind = 'event' AND e.kept_wall IS NULL AND NOT e.hidden AND NOT e.dirty AND r.state = 'pending'"
        " AND r.due > ? AND r.due <= ?",
        (to_text(now), to_text(until + lead)))
    found = [(read_reminder(row), to_instant(row["due"]) - lead, row["changed_at"]) for row in rows]
    return [(event, ahead) for event, ahead, changed_at in found if changed_at <= to_text(ahead)]


def beginning(task: str, begins: datetime, zone: str) -> str:
    """What is said ahead of an event: `dentist, at 15:00`."""
    return f"{task}, at {begins.astimezone(ZoneInfo(zone)):%H:%M}"
