"""What is done to reminders that there are: cancel, done, snooze, move. Every function runs inside a transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from assistant import replies
from assistant.errors import BadRequest
from assistant.grammar import CLASSES, DAYPARTS, MONTHS
from assistant.messages import Reminder, Understanding
from assistant.store import Store
from assistant.syntax import Point, Repetition, read_when
from assistant.targets import due_of
from assistant.when import Once, Past, Policy, Repeat, parse_when


class PastTime(BadRequest):
    """The new time of a reminder lies behind."""

    code, status = "past", 422

    def __init__(self, due: datetime, now: datetime) -> None:
        self.due = due
        local = due.astimezone(now.tzinfo)
        super().__init__(
            f"{replies.clock(local)} {replies.day(local.date(), now.date())} has passed: say another time."
        )


def is_time(word: str) -> bool:
    return word in DAYPARTS or any(CLASSES[c].fullmatch(word) for c in ("HH:MM", "H:MM?"))


def retime(when: str, time: str) -> str:
    """A recurring sentence with another time of day: `every monday 08:00 until friday` at 09:30."""
    out: list[str] = []
    rest = when.split()
    cut = next((i for i, w in enumerate(rest) if w in ("from", "until", "for", "except")), len(rest))
    for i, word in enumerate(rest[:cut]):
        if is_time(word) or (word == "and" and i + 1 < cut and is_time(rest[i + 1])):
            continue
        out.append(word)
    return " ".join([*out, time, *rest[cut:]])


def _nearest(time: str, to: datetime) -> str:
    """HH:MM for `time`; of both halves of the day that a 12-hour time may mean, the one nearer to the old time."""
    if not time.endswith("?"):
        return time
    hour, minute = int(time.split(":")[0]) % 12, int(time[-3:-1])
    h = min((hour, hour + 12), key=lambda h: (abs(h * 60 + minute - to.hour * 60 - to.minute), h))
    return f"{h:02}:{minute:02}"


def _on(due: datetime, time: str) -> str:
    return f"{due.day} {MONTHS[due.month - 1]} {due.year} {time}"


def once_at(when: str, now: datetime, tz: ZoneInfo, policy: Policy) -> datetime:
    """The instant of a When sentence that does not recur. Raises `BadWhen`, `PastTime`, `BadRequest`."""
    result = parse_when(when, now, tz, policy)
    if isinstance(result, Repeat):
        raise BadRequest("One cannot snooze again and again: say one time.")
    if isinstance(result, Past):
        raise PastTime(result.due, now)
    return result.due


def new_time(
    r: Reminder, when: str | None, shift_minutes: int | None, now: datetime, tz: ZoneInfo, policy: Policy
) -> tuple[str, Once | Repeat]:
    """The When sentence and instant to which `r` moves: to `when`, or later by `shift_minutes`.

    Raises `PastTime`, `BadWhen`, or `BadRequest` if no time was said.
    """
    due = due_of(r).astimezone(tz)
    if shift_minutes is not None:
        shifted = (due.replace(tzinfo=None) + timedelta(minutes=shift_minutes)).replace(tzinfo=tz)
        time = f"{shifted.hour:02}:{shifted.minute:02}"
        sentence = (
            retime(r.when, time) if r.rrule and abs(shift_minutes) < 1440 and not _fast(r) else _on(shifted, time)
        )
    else:
        if when is None:
            raise BadRequest("Say when it shall ring instead.")
        read, sentence = read_when(when), when
        if isinstance(read, Point) and not read.date and read.time:
            time = _nearest(read.time, due)
            sentence = retime(r.when, time) if r.rrule and not _fast(r) else _on(due, time)
            if isinstance(parse_when(sentence, now, tz, policy), Past):
                sentence = time  # the old day is over: its next occurrence
        elif isinstance(read, Point) and read.date and not read.time and read.date != ("tonight",):
            sentence = f"{when} {due.hour:02}:{due.minute:02}"
    result = parse_when(sentence, now, tz, policy)
    if isinstance(result, Past):
        raise PastTime(result.due, now)
    return sentence, result


def _fast(r: Reminder) -> bool:
    """It recurs by the clock, not by days: it has no time of day."""
    read = read_when(r.when)
    return isinstance(read, Repetition) and read.unit in ("second", "minute", "hour")


def move(
    store: Store, r: Reminder, when: str | None, shift_minutes: int | None, now: datetime, tz: ZoneInfo, policy: Policy
) -> Reminder:
    """Raises what `new_time` raises, and `NotFound` for one that is over."""
    sentence, result = new_time(r, when, shift_minutes, now, tz, policy)
    wall = result.due.astimezone(tz).replace(tzinfo=None)
    return store.move(
        r.id,
        when=sentence,
        wall=wall,
        zone=tz.key,
        rrule=result.rrule if isinstance(result, Repeat) else None,
        due=result.due,
    )


def act(
    store: Store,
    meant: Sequence[Reminder],
    u: Understanding,
    now: datetime,
    tz: ZoneInfo,
    policy: Policy,
    snooze: timedelta,
) -> tuple[list[Reminder], str]:
    """Does what `u.kind` says to the reminders meant; those it changed, and what to say. `now` in the person's zone."""
    ids = [r.id for r in meant]
    match u.kind:
        case "cancel":
            changed = store.cancel(ids)
            return changed, f"Cancelled: {_told(meant, now)}."
        case "done":
            changed = store.done(ids, now)
            return changed, f"Done: {_told(meant, now, bare=True)}."
        case "snooze":
            until = u.entries[0].due if u.entries and u.entries[0].due and not u.entries[0].past else now + snooze
            changed = [store.snooze(id, until, now) for id in ids]
            return changed, f"OK: {replies.task(meant[0].task)} again {replies.instant(until.astimezone(tz), now)}."
        case "move":
            when = u.entries[0].when if u.entries else None
            changed = [move(store, r, when, u.shift_minutes, now, tz, policy) for r in meant]
            return changed, "OK: " + "; ".join(replies.reminder(r, now) for r in changed) + "."
    raise ValueError(u.kind)


def _told(meant: Sequence[Reminder], now: datetime, bare: bool = False) -> str:
    if len(meant) > replies.SPOKEN:
        return replies.count(len(meant))
    return "; ".join(replies.task(r.task) if bare else replies.reminder(r, now) for r in meant)
