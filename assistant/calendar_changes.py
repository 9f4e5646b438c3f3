"""What was changed in the owner's calendar, done here: made, moved, renamed, completed, deleted.

Every function is called with one object, inside no transaction, and is one itself. Where both sides changed, the later
edit wins, and the other one is kept in the log. What was deleted there and changed here is made there again.
"""

import logging
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from assistant.calendar_entries import CalendarEntries, Entry, Seen
from assistant.database import to_text
from assistant.errors import BadCalendarObject
from assistant.events import ItemKind
from assistant.ics import BARE, Item, read
from assistant.messages import Reminder
from assistant.recurrence import next_occurrence
from assistant.store import NewReminder

log = logging.getLogger(__name__)

OTHERS = -1
"""Pushed, of an object that the calendar has in another form than ours, so that it is written again."""


class CalendarChanges:
    """Over the entries; `own`: the calendar is the assistant's own, so that what others put into it becomes a
    reminder, too."""

    def __init__(self, entries: CalendarEntries, tz: ZoneInfo, own: bool) -> None:
        self._entries, self._store, self._tz, self._own = entries, entries.store, tz, own

    def take(self, href: str, etag: str | None, text: str, now: datetime) -> None:
        """An object that is new, or not as it was seen last."""
        with self._store.transaction():
            while self._entries.notice(now):
                pass
            self._take(href, etag, text, now)

    def _take(self, href: str, etag: str | None, text: str, now: datetime) -> None:
        entries = self._entries
        known = entries.seen_at(href)
        entry = entries.of_uid(known.uid) if known and known.uid else None
        try:
            item = read(text, entry.item.start.tzinfo if entry else self._tz, entries.day)
            if entry is None and (entry := entries.of_uid(item.uid)):
                item = read(text, entry.item.start.tzinfo, entries.day)
        except BadCalendarObject as e:
            log.warning("%s", e, extra={"object": href})
            entries.keep(Seen(href, etag, known and known.uid, text if known and known.uid else None))
            return
        if entry is None:
            due = self._next(item, now)
            mine = self._own and item.uid and item.status == "open" and due
            entries.keep(Seen(href, etag, item.uid if mine else None, text if mine else None))
            if mine:
                made = self._make(item, due, now)
                log.info("made in the calendar", extra={"reminder": made.id})
                self._adopt(made.id, item, now)
            return
        entries.keep(Seen(href, etag, entry.item.uid, text))
        base = self._read(known.ics, entry) if known and known.ics else None
        if base and _same(base, item):  # a note, a place, an alarm: not ours
            return
        if _same(item, entry.item):
            entries.settle(entry.reminder_id, entry.item.sequence)
            return
        if entry.waits:
            mine_wins = entry.item.changed > (item.changed or now)
            _log_conflict(entry.item, item, mine_wins)
            if mine_wins:
                entries.settle(entry.reminder_id, OTHERS)
                return
        self._do(entry, base, item, now)

    def _read(self, text: str, entry: Entry) -> Item | None:
        try:
            return read(text, entry.item.start.tzinfo, self._entries.day)
        except BadCalendarObject:
            return None

    def gone(self, href: str, now: datetime) -> None:
        """An object that was deleted."""
        entries = self._entries
        with self._store.transaction():
            while entries.notice(now):
                pass
            known = entries.seen_at(href)
            entries.forget(href)
            entry = entries.of_uid(known.uid) if known and known.uid else None
            if entry is None or entries.object_of(entry.item.uid):  # it lies elsewhere now
                return
            id, state = entry.reminder_id, self._store.reminder(entry.reminder_id).state
            if entry.waits and entry.item.status == "open" and state not in ("done", "cancelled"):
                log.warning("deleted in the calendar and changed here, later on: it is made there again",
                            extra={"reminder": id})
                entries.settle(id, None)
            elif state in ("pending", "fired", "missed"):
                self._store.cancel([id])
                entries.agree(id, now)
                entries.changed()
                log.info("deleted in the calendar", extra={"reminder": id})
            else:
                entries.settle(id, entry.item.sequence)

    # Doing

    def _do(self, entry: Entry, base: Item | None, item: Item, now: datetime) -> None:
        """Make the reminder what the object is."""
        store, old = self._store, entry.item
        r = store.reminder(entry.reminder_id)
        over = r.state in ("done", "cancelled")
        reopened = old.status != "open" or _time(old) != _time(item)  # an event that is over is open, too
        if item.status == "open" and over and reopened and (due := self._first(item, old.kind, now)):
            r = self._make(item, due, now, r)
            log.info("opened again in the calendar", extra={"reminder": r.id})
        elif item.status == "open" and not over:
            if _task(item) != r.task:
                store.db.execute("UPDATE reminders SET task = ? WHERE id = ?", (_task(item), r.id))
            if _time(old)[:3] != _time(item)[:3]:
                self._move(r, old.kind, item, now)
            elif old.skipped != item.skipped and r.state == "pending":
                self._leave_out(r, item, now)
            self._make_apart(r, base, item, now)
            log.info("changed in the calendar", extra={"reminder": r.id})
        else:
            if item.status == "cancelled":
                store.cancel([r.id])
            elif item.status == "done":
                self._end(r, now)
            self._rewrite(r, item)
            log.info("over in the calendar", extra={"reminder": r.id})
        self._adopt(r.id, replace(item, kind=old.kind), now)

    def _adopt(self, id: int, item: Item, now: datetime) -> None:
        self._entries.adopt(id, item, now)
        if item.apart:  # they became reminders, and so objects, of their own
            self._entries.settle(id, OTHERS)
        self._entries.changed()

    def _make(self, item: Item, due: datetime, now: datetime, before: Reminder | None = None) -> Reminder:
        wall = item.start.replace(tzinfo=None, fold=0)
        loud = bool(before and before.even_at_night)
        new = NewReminder(
            _task(item), f"{wall:%Y-%m-%d %H:%M}", wall, item.zone, item.rrule, due, even_at_night=loud)
        made = self._store.add_reminders(before and before.request_id, [new])[0]
        self._make_apart(made, None, item, now)
        return made

    def _make_apart(self, r: Reminder, base: Item | None, item: Item, now: datetime) -> None:
        before = {(one.summary, one.start) for one in base.apart} if base else set()
        new = [one for one in item.apart if (one.summary, one.start) not in before and one.start > now]
        walls = [(one, one.start.replace(tzinfo=None, fold=0)) for one in new]
        made = self._store.add_reminders(r.request_id, [
            NewReminder(_task(one), f"{wall:%Y-%m-%d %H:%M}", wall, one.zone, None, one.start, r.id, r.even_at_night)
            for one, wall in walls])
        for child in made:
            self._entries.db.execute("UPDATE calendar_entries SET kind = ? WHERE reminder_id = ?",
                                     (self._entries.kind_of(r.id) or item.kind, child.id))

    def _move(self, r: Reminder, kind: ItemKind, item: Item, now: datetime) -> None:
        wall, due = item.start.replace(tzinfo=None, fold=0), self._first(item, kind, now)
        if due is None:
            self._end(r, now)
            self._rewrite(r, item)
            return
        self._store.move(r.id, when=f"{wall:%Y-%m-%d %H:%M}", wall=wall, zone=item.zone, rrule=item.rrule, due=due)

    def _rewrite(self, r: Reminder, item: Item) -> None:
        """What is over says what the object says, and rings no more."""
        wall = item.start.replace(tzinfo=None, fold=0)
        self._store.db.execute(
            "UPDATE reminders SET task = ?, wall = ?, fold = 0, zone = ?, rrule = ? WHERE id = ?",
            (_task(item), wall.isoformat(timespec="microseconds"), item.zone, item.rrule, r.id))

    def _leave_out(self, r: Reminder, item: Item, now: datetime) -> None:
        due = self._next(item, now)
        if due is None:
            self._end(r, now)
        elif due != r.due:
            self._entries.db.execute("UPDATE reminders SET due = ? WHERE id = ?", (to_text(due), r.id))

    def _end(self, r: Reminder, now: datetime) -> None:
        if r.rrule is None:
            self._store.done([r.id], now)
        else:  # all of it
            self._store.cancel([r.id])
            self._entries.db.execute("UPDATE reminders SET state = 'done' WHERE id = ?", (r.id,))

    def _first(self, item: Item, kind: ItemKind, now: datetime) -> datetime | None:
        """When it rings first. A to-do that is due in the past is overdue, and rings now; an event there is over."""
        overdue = item.start if kind == "todo" and not item.rrule else None
        return self._next(item, now) or overdue

    def _next(self, item: Item, now: datetime) -> datetime | None:
        """The first time that lies ahead."""
        if item.rrule is None:
            return item.start if item.start > now else None
        wall, tz, at = item.start.replace(tzinfo=None, fold=0), item.start.tzinfo, now
        while (at := next_occurrence(item.rrule, wall, tz, at)) in item.skipped:
            pass
        return at


def _task(item: Item) -> str:
    return "" if item.summary == BARE else item.summary


def _time(item: Item) -> tuple:
    return item.start, item.rrule and item.zone, item.rrule, item.skipped


def _same(a: Item, b: Item) -> bool:
    """Whether they say the same to us: whose object it is, and whether event or to-do, is not a calendar's to say."""
    apart = ([(one.summary, one.start) for one in item.apart] for item in (a, b))
    return (a.summary, _time(a), a.status) == (b.summary, _time(b), b.status) and next(apart) == next(apart)


def _log_conflict(mine: Item, theirs: Item, mine_wins: bool) -> None:
    kept, other = (mine, theirs) if mine_wins else (theirs, mine)
    log.warning("changed here and in the calendar: the later edit counts", extra={
        "object": mine.uid, "kept": "ours" if mine_wins else "theirs", "summary": kept.summary,
        "start": kept.start.isoformat(), "other_summary": other.summary, "other_start": other.start.isoformat(),
        "other_rrule": other.rrule, "other_status": other.status})
