"""What lies ahead, rings, was missed and was said, and how it went on each of the last days: one look at the database.

    ringing, missed      what asks for something to be done about it
    upcoming, recurring  what will ring, soonest first
    requests             what was said last, what it was taken for, and whether that was put right
    days                 reminders that were set, and those that rang on time, late, or for nobody

Pure: from an open store and the present to what `GET /overview` answers with (`http_page.py`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from assistant import replies
from assistant.database import Database, to_instant, to_text
from assistant.errors import BadWhen
from assistant.insistence import FOR_NOBODY
from assistant.messages import Reminder
from assistant.missed import Missed
from assistant.store import Store, read_reminder

DAYS = 30
"""So many days are looked back upon, with today."""
REQUESTS = 10
"""So many of the requests are shown."""
MOST_RINGING = 200
"""... and of what rings at once."""
Json = Callable[[Reminder], dict]
"""A reminder as other programs see it."""


def overview(store: Store, now: datetime, tz: ZoneInfo, late_after: timedelta, limit: int, json: Json) -> dict:
    """What there is to see at the aware instant `now`, with at most `limit` reminders ahead.

    What rang later than `late_after` counts as late. Instants are ISO 8601 with their offset. Raises `StoreError`.
    """
    now = now.astimezone(tz)
    ahead = [_ahead(r, now, json) for r in store.ahead(limit)]
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), tz)
    return {
        "now": now.isoformat(),
        "zone": tz.key,
        "ringing": _ringing(store.db, json),
        "missed": [
            json(m.reminder) | {"last": _local(m.last, m.reminder), "times": m.times} for m in Missed(store).lately(now)
        ],
        "upcoming": ahead,
        "recurring": [_ahead(r, now, json) for r in _recurring(store.db, limit)],
        "pending": store.count_ahead(),
        "today": store.db.value(
            "SELECT count(*) FROM reminders WHERE state = 'pending' AND due < ?", (to_text(midnight),)),
        "requests": _requests(store.db, tz),
        "days": days(store.db, now, tz, late_after),
    }


def _recurring(db: Database, limit: int) -> list[Reminder]:
    rows = db.rows(
        "SELECT * FROM reminders WHERE state = 'pending' AND rrule IS NOT NULL ORDER BY due, id LIMIT ?", (limit,))
    return [read_reminder(row) for row in rows]


def _ahead(r: Reminder, now: datetime, json: Json) -> dict:
    return json(r) | {"repeats": repeats(r.when, r.due.astimezone(ZoneInfo(r.zone)), r.rrule, now)}


def repeats(when: str, due: datetime, rrule: str | None, now: datetime) -> str | None:
    """How something recurs, `every Thursday at 7:00`; None for what does not. `due` and `now` are in its zone."""
    if not rrule:
        return None
    try:
        return replies.repetition(when, due, rrule, now) or when
    except BadWhen:
        return when


def _local(instant: datetime, r: Reminder) -> str:
    return instant.astimezone(ZoneInfo(r.zone)).isoformat()


def _ringing(db: Database, json: Json) -> list[dict]:
    """What rings now, what came due last first."""
    rows = db.rows(
        "SELECT r.*, d.id AS delivery, d.ring, d.due_utc, d.fired_at, d.occurrences FROM deliveries d"
        " JOIN reminders r ON r.id = d.reminder_id WHERE d.state = 'ringing' ORDER BY d.id DESC LIMIT ?",
        (MOST_RINGING,),
    )
    found = []
    for row in rows:
        r, ahead_of_it = read_reminder(row), not row["occurrences"]
        found.append(json(r) | {
            "due": _local(to_instant(row["due_utc"]), r), "delivery": row["delivery"], "ring": row["ring"],
            "since": _local(to_instant(row["fired_at"]), r),
            "begins": _local(r.due, r) if ahead_of_it and r.due else None,
        })  # fmt: skip
    return found


def _requests(db: Database, tz: ZoneInfo) -> list[dict]:
    """What was said last, newest first."""
    rows = db.rows("SELECT * FROM requests ORDER BY rowid DESC LIMIT ?", (REQUESTS,))
    ids = [row["id"] for row in rows]
    marks = ", ".join("?" * len(ids))
    made: dict[str, list[int]] = {}
    for row in db.rows(f"SELECT id, request_id FROM reminders WHERE request_id IN ({marks})"
                       " AND parent_id IS NULL ORDER BY id", ids):  # fmt: skip
        made.setdefault(row["request_id"], []).append(row["id"])
    return [
        {
            "id": row["id"], "text": row["text"], "channel": row["channel"],
            "said_at": to_instant(row["said_at"]).astimezone(tz).isoformat(), "kind": row["kind"],
            "rewrite": row["rewrite"], "reply": row["reply"], "error": row["error"],
            "question": bool(row["question"]), "confidence": row["confidence"], "model": row["model"],
            "reminders": made.get(row["id"], []), "correction": _correction(db, row["id"], row["text"]),
        }
        for row in rows
    ]  # fmt: skip


def _correction(db: Database, request_id: str, text: str) -> dict | None:
    """What a request should have become, if anybody has said so: of that request, or of one in the same words."""
    row = db.one(
        "SELECT id, should, state FROM corrections WHERE (request_id = ? OR text = ?) AND state <> 'dropped'"
        " ORDER BY state = 'accepted' DESC, id DESC LIMIT 1",
        (request_id, text),
    )
    return row and dict(row)


def days(db: Database, now: datetime, tz: ZoneInfo, late_after: timedelta) -> list[dict]:
    """The last days, today last: what was set on each, and what rang on time, late, or was missed.

    A ring counts on the day for which it was asked, from when a person could first hear or see it.
    """
    today = now.astimezone(tz).date()
    first = today - timedelta(days=DAYS - 1)
    since = to_text(datetime.combine(first, time(), tz))
    counted = {
        "set": _per_day(_set(db, since), tz),
        **{name: _per_day(found, tz) for name, found in _rung(db, since, late_after).items()},
    }
    every: Sequence[date] = [first + timedelta(days=n) for n in range(DAYS)]
    return [{"day": day.isoformat(), **{name: counted[name][day] for name in counted}} for day in every]


def _per_day(instants: Sequence[str], tz: ZoneInfo) -> Counter[date]:
    return Counter(to_instant(text).astimezone(tz).date() for text in instants)


def _set(db: Database, since: str) -> list[str]:
    """When reminders were asked for. Ids grow with time, so that only what is recent is looked at."""
    rows = db.rows(
        "SELECT q.said_at FROM requests q JOIN reminders r ON r.request_id = q.id AND r.parent_id IS NULL"
        " WHERE q.said_at >= :since AND q.rowid >"
        " coalesce((SELECT rowid FROM requests WHERE said_at < :since ORDER BY rowid DESC LIMIT 1), 0)",
        {"since": since},
    )
    return [row["said_at"] for row in rows]


def _rung(db: Database, since: str, late_after: timedelta) -> dict[str, list[str]]:
    """The instants for which rings were asked, by how they went."""
    nobody = ", ".join(f"'{name}'" for name in sorted(FOR_NOBODY))
    heard = "SELECT min(at) FROM outcomes o WHERE o.delivery_id = d.id AND o.ok"
    rows = db.rows(
        f"SELECT d.due_utc, d.state, coalesce(({heard} AND o.notifier NOT IN ({nobody})), ({heard})) AS heard"
        " FROM deliveries d WHERE d.occurrences > 0 AND d.due_utc >= :since AND d.id >"
        " coalesce((SELECT id FROM deliveries WHERE fired_at < :since ORDER BY id DESC LIMIT 1), 0)",
        {"since": since},
    )
    found: dict[str, list[str]] = {"on_time": [], "late": [], "missed": []}
    for row in rows:
        if row["state"] == "missed":
            found["missed"].append(row["due_utc"])
        elif row["heard"]:
            late = to_instant(row["heard"]) - to_instant(row["due_utc"]) > late_after
            found["late" if late else "on_time"].append(row["due_utc"])
    return found
