"""What each reminder is in a calendar: its object, by which id, and how often that has changed.

Triggers of the database mark a reminder whose row has changed, in the transaction that changed it; `notice` looks at
those and finds out whether a calendar would see it. That a reminder rang, or that its ringing was snoozed, no calendar
sees. What was noticed waits in the table until the owner's calendar has it, however long that is away.
"""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, time
from zoneinfo import ZoneInfo

from assistant.clock import Clock
from assistant.database import to_instant, to_text
from assistant.errors import NotFound, StoreError
from assistant.events import ItemKind, item_kind
from assistant.ics import BARE, DAY, Item, canonical
from assistant.messages import Reminder
from assistant.recurrence import next_occurrence
from assistant.store import Store
from assistant.when import localise

log = logging.getLogger(__name__)

MOST_SKIPPED = 100
"""Occurrences that are looked through for those that were left out since the last look."""
MOST_AHEAD = 10_000
"""Objects in what one subscribes to."""
BATCH = 100
"""Reminders in one transaction of `notice`: a ring waits for it."""
BREATH = 0.02
"""Seconds between two of them, so that a hundred thousand reminders do not keep the event loop to themselves."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of calendar_entries that was noticed."""

    reminder_id: int
    item: Item
    pushed: int | None
    """The sequence that the owner's calendar has; None if it has no such object."""

    @property
    def waits(self) -> bool:
        """Whether it has changed here since the calendar knew of it."""
        return self.pushed != self.item.sequence


@dataclass(frozen=True, slots=True)
class Seen:
    """An object of the owner's calendar as it was last seen there."""

    href: str
    etag: str | None
    """None where the server did not say."""
    uid: str | None
    """None for one that is left alone."""
    ics: str | None


class CalendarEntries:
    """The entries of an open store; `day` is the time of a date without one, `changed()` is called when a due time
    was moved."""

    def __init__(self, store: Store, day: time = DAY, changed: Callable[[], None] = lambda: None) -> None:
        self.store, self.db, self.day, self.changed = store, store.db, day, changed
        self.installation: str = self.db.value("SELECT installation FROM calendar_state")

    # Noticing

    def notice(self, now: datetime, most: int = BATCH) -> int:
        """Look at what has changed since the last look, `most` reminders at once; how many those were."""
        with self.store.transaction():
            rows = self.db.rows(
                "SELECT e.*, q.text FROM calendar_entries e JOIN reminders r ON r.id = e.reminder_id"
                " LEFT JOIN requests q ON q.id = r.request_id WHERE e.dirty LIMIT ?", (most,))
            for row in rows:
                try:
                    self._look(row, now.replace(microsecond=0))
                except StoreError:
                    raise
                except Exception:  # such as a rule that cannot be read any more: it concerns this one
                    log.exception("a reminder cannot be put into a calendar", extra={"reminder": row["reminder_id"]})
        return len(rows)

    async def notice_all(self, clock: Clock) -> int:
        """The same for all of them; between two transactions the event loop breathes."""
        total = 0
        while n := self.notice(clock.now()):
            total += n
            await asyncio.sleep(BREATH if n == BATCH else 0)
        return total

    def _look(self, row: sqlite3.Row, now: datetime) -> None:
        id = row["reminder_id"]
        self.db.execute("UPDATE calendar_entries SET dirty = 0 WHERE reminder_id = ?", (id,))
        if row["hidden"]:
            return
        r = self.store.reminder(id)
        old = _content(row["content"])
        kind = row["kind"] or item_kind(row["text"] or r.task)
        start = _start(r, row, old)
        same = old and (old.start, old.zone, old.rrule) == (start, start.tzinfo.key, r.rrule and canonical(r.rrule))
        skipped = set(old.skipped) if same else set()
        if r.rrule and r.due and r.state == "pending":
            skipped |= set(_passed_over(r, now))
            self._skip(r, skipped)
        item = Item(
            row["uid"] or f"{self.installation}-{id}@reminder-assistant", kind, r.task or BARE, start,
            r.rrule and canonical(r.rrule), tuple(sorted(skipped)), _status(r, kind),
        )
        if old and _said(old) == _said(item):
            return
        first = row["content"] is None
        sequence = 0 if first else row["sequence"] + 1
        over = first and r.state in ("done", "cancelled", "missed")  # no calendar needs to know any more
        self.db.execute(
            "UPDATE calendar_entries SET uid = ?, kind = ?, sequence = ?, changed_at = ?, content = ?,"
            " pushed = CASE WHEN ? THEN ? ELSE pushed END WHERE reminder_id = ?",
            (item.uid, kind, sequence, to_text(now), _said(item), over, sequence, id))

    def _skip(self, r: Reminder, skipped: set[datetime]) -> None:
        """Go past occurrences that a calendar left out: the rule itself knows nothing of them."""
        due = r.due
        while due in skipped:
            due = next_occurrence(r.rrule, r.wall, ZoneInfo(r.zone), due)
        if due != r.due:
            self.db.execute("UPDATE reminders SET due = ?, state = ? WHERE id = ?",
                            (due and to_text(due), "pending" if due else "done", r.id))
            self.changed()

    def ring_again(self, reminder_id: int, at: datetime, now: datetime) -> None:
        """An occurrence that was left out, as it had been moved away, is no longer: for calendars that is a change."""
        row = self.db.one("SELECT content, sequence FROM calendar_entries WHERE reminder_id = ?", (reminder_id,))
        item = _content(row["content"]) if row else None
        if item is None or at not in item.skipped:
            return
        item = replace(item, skipped=tuple(one for one in item.skipped if one != at))
        self.db.execute(
            "UPDATE calendar_entries SET content = ?, sequence = ?, changed_at = ?, dirty = 1 WHERE reminder_id = ?",
            (_said(item), row["sequence"] + 1, to_text(now.replace(microsecond=0)), reminder_id))

    # Looking up

    def ahead(self) -> list[Item]:
        """What lies ahead, soonest first, for those who subscribe; of very many the first ones."""
        rows = self.db.rows(
            "SELECT e.* FROM calendar_entries e JOIN reminders r ON r.id = e.reminder_id"
            " WHERE r.state = 'pending' AND e.uid IS NOT NULL AND NOT e.hidden ORDER BY r.due, r.id LIMIT ?",
            (MOST_AHEAD,))
        return [_entry(row).item for row in rows]

    def to_push(self, limit: int) -> list[Entry]:
        """What the owner's calendar does not know yet."""
        rows = self.db.rows("SELECT * FROM calendar_entries WHERE pushed IS NOT sequence AND uid IS NOT NULL"
                            " ORDER BY reminder_id LIMIT ?", (limit,))
        return [_entry(row) for row in rows]

    def waiting(self) -> int:
        return self.db.value("SELECT count(*) FROM calendar_entries WHERE pushed IS NOT sequence AND uid IS NOT NULL")

    def of_uid(self, uid: str) -> Entry | None:
        row = self.db.one("SELECT * FROM calendar_entries WHERE uid = ?", (uid,))
        return row and _entry(row)

    def uid_of(self, reminder_id: int) -> str | None:
        return self.db.value("SELECT uid FROM calendar_entries WHERE reminder_id = ?", (reminder_id,))

    def kind_of(self, reminder_id: int) -> ItemKind | None:
        return self.db.value("SELECT kind FROM calendar_entries WHERE reminder_id = ?", (reminder_id,))

    def set_kind(self, reminder_id: int, kind: ItemKind, now: datetime) -> Reminder:
        """Make it an event or a to-do. Raises `NotFound`."""
        with self.store.transaction():
            reminder = self.store.reminder(reminder_id)
            if reminder.state in ("done", "cancelled"):
                raise NotFound(f"Reminder {reminder_id} is {reminder.state}: make a new one.")
            self.db.execute("UPDATE calendar_entries SET kind = ?, dirty = 1 WHERE reminder_id = ?",
                            (kind, reminder_id))
            self._look(self._row(reminder_id), now.replace(microsecond=0))
        return reminder

    def _row(self, reminder_id: int) -> sqlite3.Row:
        return self.db.one("SELECT e.*, NULL AS text FROM calendar_entries e WHERE reminder_id = ?", (reminder_id,))

    # What the owner's calendar has

    def settle(self, reminder_id: int, sequence: int | None) -> None:
        """The calendar has this sequence, or (None) no such object."""
        self.db.execute("UPDATE calendar_entries SET pushed = ? WHERE reminder_id = ?", (sequence, reminder_id))

    def adopt(self, reminder_id: int, item: Item, now: datetime) -> None:
        """A reminder is what the object of the calendar is, which needs not be told so."""
        with self.store.transaction():
            old = self.of_uid(item.uid)
            if old and old.reminder_id != reminder_id:  # it stood for one that is over
                self.db.execute("UPDATE calendar_entries SET uid = NULL, hidden = 1, dirty = 0, pushed = sequence"
                                " WHERE reminder_id = ?", (old.reminder_id,))
            sequence = max(item.sequence, old.item.sequence if old else 0)
            self.db.execute(
                "UPDATE calendar_entries SET uid = ?, kind = ?, content = ?, sequence = ?, changed_at = ?, dirty = 1,"
                " hidden = 0 WHERE reminder_id = ?",
                (item.uid, item.kind, _said(item), sequence, to_text(item.changed or now), reminder_id))
            self._look(self._row(reminder_id), now.replace(microsecond=0))  # what is not quite the same goes back
            self.settle(reminder_id, sequence)

    def agree(self, reminder_id: int, now: datetime) -> None:
        """What has just been done to a reminder is what the calendar did."""
        with self.store.transaction():
            self._look(self._row(reminder_id), now.replace(microsecond=0))
            self.db.execute("UPDATE calendar_entries SET pushed = sequence WHERE reminder_id = ?", (reminder_id,))

    def objects(self) -> dict[str, Seen]:
        return {row["href"]: Seen(**row) for row in self.db.rows("SELECT * FROM calendar_objects")}

    def seen_at(self, href: str) -> Seen | None:
        row = self.db.one("SELECT * FROM calendar_objects WHERE href = ?", (href,))
        return row and Seen(**row)

    def object_of(self, uid: str) -> Seen | None:
        row = self.db.one("SELECT * FROM calendar_objects WHERE uid = ?", (uid,))
        return row and Seen(**row)

    def keep(self, seen: Seen) -> None:
        self.db.execute("INSERT OR REPLACE INTO calendar_objects (href, etag, uid, ics) VALUES (?, ?, ?, ?)",
                        (seen.href, seen.etag, seen.uid, seen.ics))

    def forget(self, href: str) -> None:
        self.db.execute("DELETE FROM calendar_objects WHERE href = ?", (href,))

    def collection(self) -> tuple[str | None, bool, str | None]:
        """The calendar that was read last: its address, whether this program made it, and the token to go on from."""
        row = self.db.one("SELECT * FROM calendar_state")
        return row["collection"], bool(row["own"]), row["token"]

    def set_token(self, token: str | None) -> None:
        self.db.execute("UPDATE calendar_state SET token = ?", (token,))

    def begin(self, collection: str, own: bool) -> None:
        """Another calendar, or the same made anew: it knows of nothing yet."""
        with self.store.transaction():
            self.db.execute("UPDATE calendar_state SET collection = ?, own = ?, token = NULL", (collection, own))
            self.db.execute("DELETE FROM calendar_objects")
            self.db.execute(
                "UPDATE calendar_entries SET pushed = CASE WHEN (SELECT state FROM reminders r WHERE r.id ="
                " reminder_id) IN ('pending', 'fired') THEN NULL ELSE sequence END WHERE uid IS NOT NULL")


def _entry(row: sqlite3.Row) -> Entry:
    kind, summary, start, zone, rrule, skipped, status = json.loads(row["content"])
    item = Item(
        row["uid"], kind, summary, to_instant(start).astimezone(ZoneInfo(zone)), rrule,
        tuple(to_instant(at) for at in skipped), status, row["sequence"],
        to_instant(row["changed_at"]).replace(microsecond=0),
    )
    return Entry(row["reminder_id"], item, row["pushed"])


def _said(item: Item) -> str:
    """What a calendar would see, as text."""
    return json.dumps([item.kind, item.summary, to_text(item.start), item.zone, item.rrule,
                       [to_text(at) for at in item.skipped], item.status])


def _content(text: str | None) -> Item | None:
    if text is None:
        return None
    kind, summary, start, zone, rrule, skipped, status = json.loads(text)
    return Item("", kind, summary, to_instant(start).astimezone(ZoneInfo(zone)), rrule,
                tuple(to_instant(at) for at in skipped), status)


def _start(r: Reminder, row: sqlite3.Row, old: Item | None) -> datetime:
    """When it is for, as a calendar shows it: what a snooze made of it is not that."""
    if row["kept_wall"] is not None:
        wall = datetime.fromisoformat(row["kept_wall"]).replace(fold=row["kept_fold"])
        return _nearest(localise(wall, ZoneInfo(row["kept_zone"])), old)
    tz = ZoneInfo(r.zone)
    if r.rrule is None and r.due:
        return r.due.replace(microsecond=0).astimezone(tz)
    return _nearest(localise(r.wall.replace(microsecond=0), tz), old)


def _nearest(start: datetime, old: Item | None) -> datetime:
    """Of a wall time that occurs twice the instant that was meant: once it has rung only the wall time is left."""
    if old and old.start.tzinfo == start.tzinfo and old.start.replace(tzinfo=None, fold=0) == start.replace(
        tzinfo=None, fold=0
    ):
        return old.start
    return start


def _status(r: Reminder, kind: ItemKind) -> str:
    if r.state == "cancelled":
        return "cancelled"
    return "done" if r.state == "done" and kind == "todo" else "open"


def _passed_over(r: Reminder, now: datetime) -> list[datetime]:
    """The occurrences between now and the next ring: they were moved or left out."""
    tz, found = ZoneInfo(r.zone), []
    at = next_occurrence(r.rrule, r.wall, tz, now)
    while at and at < r.due and len(found) < MOST_SKIPPED:
        found.append(at)
        at = next_occurrence(r.rrule, r.wall, tz, at)
    return found


