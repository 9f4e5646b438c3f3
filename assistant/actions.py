"""What is done to reminders that there are: cancel, done, snooze, move. Every function runs inside a transaction."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from assistant import replies
from assistant.dates import Here
from assistant.errors import BadRequest, PastTime
from assistant.messages import Reminder, Understanding
from assistant.moves import following, new_time
from assistant.store import NewReminder, Store
from assistant.when import Past, Repeat, parse_when


def once_at(when: str, here: Here) -> datetime:
    """The instant of a When sentence that does not recur. Raises `BadWhen`, `PastTime`, `BadRequest`."""
    result = parse_when(when, here.now, here.tz, here.policy)
    if isinstance(result, Repeat):
        raise BadRequest("One cannot snooze again and again: say one time.")
    if isinstance(result, Past):
        raise PastTime(replies.passed(result.due, here.now.astimezone(here.tz)))
    return result.due


def snooze_from(store: Store, id: int, now: datetime) -> datetime:
    """From when a snooze counts: now; of a reminder that has not rung yet its time, so that it never comes sooner."""
    due = store.reminder(id).due
    return due if due and due > now and not store.has_rung(id) else now.replace(microsecond=0)


def move(store: Store, r: Reminder, when: str | None, shift_minutes: float | None, here: Here) -> Reminder:
    """What will ring at the new time: the reminder itself, or of a recurring one that occurrence.

    Raises what `moves.new_time` raises, and `NotFound` for one that is over.
    """
    to = new_time(r, when, shift_minutes, here)
    if not to.apart:
        return store.move(r.id, when=to.when, wall=to.wall, zone=to.zone, rrule=to.rrule, due=to.due)
    rung = store.latest_rung()
    if r.due is None or (rung and rung.id == r.id):  # the occurrence that rings; the next one stays
        return store.snooze(r.id, to.due, here.now)
    after = following(r)
    if after is None:  # it was the last
        return store.move(r.id, when=to.when, wall=to.wall, zone=to.zone, rrule=None, due=to.due)
    store.move(r.id, when=r.when, wall=r.wall, zone=r.zone, rrule=r.rrule, due=after)
    one = NewReminder(r.task, to.when, to.wall, to.zone, None, to.due, r.id, r.even_at_night)
    return store.add_reminders(r.request_id, [one])[0]


def act(
    store: Store, meant: Sequence[Reminder], u: Understanding, said: Here, now: datetime, snooze: timedelta
) -> tuple[list[Reminder], str]:
    """Do what `u.kind` says to the reminders meant; those it changed, and what to say.

    `said`: when and where the request was made; `now` is the present, in the person's zone.
    """
    ids = [r.id for r in meant]
    entry = u.entries[0] if u.entries else None
    match u.kind:
        case "cancel":
            changed = store.cancel(ids)
            return changed, f"Cancelled: {_told(meant, now)}."
        case "done":
            changed = store.done(ids, now)
            return changed, f"Done: {replies.tasks(meant)}."
        case "snooze":
            if entry and entry.past:
                raise PastTime(replies.passed(entry.due, now))
            untils = {id: entry.due if entry and entry.due else snooze_from(store, id, now) + snooze for id in ids}
            changed = [store.snooze(id, until, now) for id, until in untils.items()]
            until = max(untils.values())
            return changed, f"OK: {replies.tasks(meant)} again {replies.instant(until.astimezone(said.tz), now)}."
        case "move":
            changed = [move(store, r, entry and entry.when, u.shift_minutes, said) for r in meant]
            apart = any(old.rrule and not new.rrule and old.id != new.id for old, new in zip(meant, changed))
            return changed, f"OK: {_told(changed, now)}{', this time only' if apart else ''}."
    raise ValueError(u.kind)


def needs_time(u: Understanding) -> bool:
    """It says that something moves, and not to when."""
    return u.kind == "move" and u.shift_minutes is None and not (u.entries and u.entries[0].when)


def at_time(u: Understanding, answer: Understanding) -> Understanding:
    """`u` with the time that an answer gives."""
    entry = replace(answer.entries[0], task=u.entries[0].task if u.entries else None)
    return replace(u, entries=(entry,), shift_minutes=answer.shift_minutes)


def _told(meant: Sequence[Reminder], now: datetime) -> str:
    if len(meant) > replies.SPOKEN:
        return replies.count(len(meant))
    return "; ".join(replies.reminder(r, now) for r in meant)
