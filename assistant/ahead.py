"""A sleeping laptop still reminds: what comes due in the next hours is at the ntfy server ahead of time.

    pending reminders --handed over--> a scheduled message under an id of ours, 45 s after the due time
        awake at that time    the notifier replaces it by the ring itself (`ntfy_notifier.py`)
        asleep                the server rings it; that was the ring when this machine wakes (`delivery.py`)
        cancelled, moved, snoozed, done, or rung here by another notifier     it is withdrawn

Each copy is noted in `copies` before it is sent and after (`copies.py`). A server that cannot take a message back (ntfy
before 2.16) is asked once an hour whether it can by now, and nothing is handed to it ahead: a reminder that was
cancelled and rings all the same is worse than one that waits until the lid is opened.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from logging import getLogger
from zoneinfo import ZoneInfo

from assistant.clock import Clock
from assistant.copies import Copies, Copy
from assistant.database import Complaint, to_text
from assistant.errors import NtfyError, StoreError
from assistant.lead import beginning, rings_ahead
from assistant.messages import Reminder
from assistant.ntfy import SILENT, Message, Ntfy
from assistant.ntfy_notifier import Buttons, sequence
from assistant.outbox import Outbox
from assistant.quiet import QuietHours
from assistant.sections import NtfyPhone
from assistant.store import Store, read_reminder
from assistant.when import next_occurrence

AFTER = timedelta(seconds=45)
"""From a due time to its copy: so long a machine that is awake has to ring by itself."""
LEAD = timedelta(seconds=20)
"""What is due sooner is not handed over any more."""
MOST_COPIES = 20
"""At the server at once; the soonest. A visitor may send 60 requests at once there, and 250 messages a day."""
MOST_OF_ONE = 3
"""Occurrences of one reminder at the server at once."""
LOOK = 10.0
"""Seconds between two looks at what is to be there; after a failure up to six times as long."""
ASK_AGAIN = timedelta(hours=1)
"""A server that cannot take messages back is asked again."""
KEPT = timedelta(days=1)
"""What has rung there is remembered for so long."""
REFUSALS = frozenset({400, 413})
"""Statuses that are about one message and not about the server."""
KEEPS_SILENT = frozenset({401, 403, 404, 405})
"""Statuses of a server that does not tell what was delivered."""

log = getLogger(__name__)


class Ahead:
    """Keeps at the server what this machine could sleep through, in hours to come. A task of its own: `run`.

    `joins`: the number of the ring from which on the notifier rings (`insistence.first_rings`); `ring` is the doorbell
    of the delivery, for when it is known what has rung, and `lead` how long before it begins an event rings as well.
    """

    def __init__(
        self,
        store: Store,
        ntfy: Ntfy,
        settings: NtfyPhone,
        clock: Clock,
        quiet: QuietHours | None = None,
        joins: int = 1,
        ring: Callable[[], None] = lambda: None,
        lead: timedelta = timedelta(),
    ) -> None:
        self._store, self._outbox, self._copies = store, Outbox(store.db), Copies(store.db)
        self._ntfy, self._settings, self._clock, self._quiet = ntfy, settings, clock, quiet
        self._joins, self._ring, self._lead = joins, ring, lead
        self._buttons = Buttons(store, settings)
        self._wake = asyncio.Event()
        self._complaint = Complaint(log, "see what is to be handed over")
        self._able: bool | None = None
        self._ask_again: datetime | None = None
        self._refused: set[str] = set()
        self._failed = 0

    def changed(self) -> None:
        """Reminders have changed: look at once."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Raises what a bug raised."""
        while True:
            self._wake.clear()
            wait = await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def look(self) -> float:
        """Withdraw what is not to ring any more, hand over what is; seconds until the next look."""
        try:
            self._copies.forget(self._clock.now() - KEPT)
            await self._withdraw_what_is_over()
            if self._settings.ahead_hours and await self._may_hand_over():
                await self._hand_over()
            self._complaint.over()
            if self._failed:
                log.info("the ntfy server takes reminders ahead again")
            self._failed = 0
        except StoreError as fault:
            self._complaint.say(fault)
        except NtfyError as e:
            if not self._failed:
                log.warning("reminders are not handed over ahead for now: %s", e)
            self._failed += 1
        return LOOK * min(1 + self._failed, 6)

    # What is over

    async def _withdraw_what_is_over(self) -> None:
        now = self._clock.now()
        for copy in self._copies.out():
            if copy.state == "sending" and copy.rings_at <= now:
                await self._ask(copy)
            elif copy.state == "withdrawing" and copy.rings_at <= now:
                self._copies.drop(copy)
            elif copy.state == "withdrawing" or (copy.rings_at > now and not self._is_to_ring(copy)):
                async with self._ntfy.alone:
                    await self._withdraw(copy)

    async def _ask(self, copy: Copy) -> None:
        """Find out whether one has rung of which it is not known that it was there. A server that does not tell us, as
        the topic is only for writing, must hold up no other: this machine rings then."""
        try:
            rang = await self._ntfy.rang(copy.sequence, copy.due)
        except NtfyError as e:
            if e.found not in KEEPS_SILENT:
                raise
            log.warning("whether a reminder has rung is not to be found out: %s", e, extra={"sequence": copy.sequence})
            rang = False
        if rang:
            self._copies.change(copy, "handed")
        else:
            self._copies.drop(copy)
        self._ring()

    async def _withdraw(self, copy: Copy) -> None:
        now = self._copies.of(copy.reminder_id, copy.due)
        if now is None or now.state == "rang" or self._is_to_ring(now):  # meanwhile
            return
        self._copies.change(now, "withdrawing")
        await self._ntfy.withdraw(copy.sequence)
        self._copies.drop(copy)

    def _is_to_ring(self, copy: Copy) -> bool:
        """Whether an occurrence that has a copy still lies ahead, or rings here and either the notifier deals with the
        copy or nobody has been told yet."""
        if copy.due in self._occurrences(copy.reminder_id, copy.due):
            return True
        rings = self._copies.heard(copy.reminder_id, copy.due)
        return rings is not None and (rings[0] >= self._joins or not rings[1])

    def _occurrences(self, reminder_id: int, until: datetime) -> list[datetime]:
        reminder = self._outbox.pending(reminder_id)
        found = [due for _, due in _ahead(reminder, until)] if reminder else []
        return found + [at for r, at in rings_ahead(self._store, self._lead, self._clock.now(), until)
                        if r.id == reminder_id]

    # What lies ahead

    async def _may_hand_over(self) -> bool:
        """Whether the server can take back what it is given."""
        now = self._clock.now()
        if self._able or (self._ask_again and now < self._ask_again) or not self._wanted(now):
            return bool(self._able)
        self._able = await self._ntfy.withdraws()
        self._ask_again = now + ASK_AGAIN
        if not self._able:
            log.warning("nothing is handed over ahead, as the ntfy server could not take it back: update it to 2.16")
        return self._able

    async def _hand_over(self) -> None:
        for reminder, due in self._wanted(self._clock.now()):
            async with self._ntfy.alone:
                try:
                    await self._hand(reminder, due)
                except NtfyError as e:
                    if e.found not in REFUSALS:
                        raise
                    log.warning("a reminder is not handed over ahead: %s", e, extra={"reminder": reminder.id})
                    self._refused.add(sequence(reminder.id, due, 1))

    async def _hand(self, reminder: Reminder, due: datetime) -> None:
        now = self._clock.now()
        there = self._copies.of(reminder.id, due)
        if due not in self._occurrences(reminder.id, due) or due <= now + LEAD or (there and there.state == "handed"):
            return  # it has changed while others were handed over
        copy = Copy(reminder.id, due, sequence(reminder.id, due, 1), due + AFTER, "sending")
        self._copies.note(copy)
        await self._ntfy.publish(self._message(reminder, copy, now))
        self._copies.change(copy, "handed")

    def _wanted(self, now: datetime) -> list[tuple[Reminder, datetime]]:
        """What is to be at the server and may not be yet, the soonest first."""
        until = now + timedelta(hours=self._settings.ahead_hours)
        rows = self._store.db.rows(
            "SELECT * FROM reminders WHERE state = 'pending' AND due <= ? ORDER BY due, id LIMIT ?",
            (to_text(until), 2 * MOST_COPIES),
        )
        ahead = [found for row in rows for found in _ahead(read_reminder(row), until)]
        ahead += rings_ahead(self._store, self._lead, now, until)
        ahead = [(r, due) for r, due in ahead if due > now + LEAD and sequence(r.id, due, 1) not in self._refused]
        soonest = sorted(ahead, key=lambda found: (found[1], found[0].id))[:MOST_COPIES]
        there = {(c.reminder_id, c.due) for c in self._copies.out() if c.state == "handed"}
        return [(r, due) for r, due in soonest if (r.id, due) not in there]

    def _message(self, reminder: Reminder, copy: Copy, now: datetime) -> Message:
        priority, at = self._settings.priority, copy.rings_at
        if self._quiet and not reminder.even_at_night and self._quiet.hold(at, ["ntfy"]):
            priority = min(SILENT, priority)
        text = reminder.task or "this is your reminder"
        if reminder.due and copy.due < reminder.due:
            text = beginning(text, reminder.due, reminder.zone)
        return Message(text, "Reminder", priority, copy.sequence, at, self._buttons.of(reminder.id, copy.due, now))


def _ahead(reminder: Reminder, until: datetime) -> Iterator[tuple[Reminder, datetime]]:
    """The next occurrences of a pending reminder up to an instant, `MOST_OF_ONE` at the most."""
    due = reminder.due
    for _ in range(MOST_OF_ONE):
        if due is None or due > until:
            return
        yield replace(reminder, due=due), due
        if reminder.rrule is None:
            return
        try:
            due = next_occurrence(reminder.rrule, reminder.wall, ZoneInfo(reminder.zone), due)
        except Exception:  # a rule that cannot be read concerns this one; the scheduler says so when it rings
            return
