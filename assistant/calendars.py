"""Reminders in calendars, as one part of the daemon: notices what has changed, rings events ahead, keeps the owner's
calendar equal, and tells how it stands.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from zoneinfo import ZoneInfo

from assistant.caldav_sync import CalendarSync, SyncState, woken_or_slept
from assistant.calendar_entries import CalendarEntries
from assistant.clock import Clock
from assistant.database import Complaint
from assistant.dates import Policy
from assistant.errors import StoreError
from assistant.events import ItemKind
from assistant.ics import Item
from assistant.lead import ring_ahead
from assistant.messages import Reminder
from assistant.sections import Calendar as Settings
from assistant.store import Store

log = logging.getLogger(__name__)

WATCH = 5.0
"""Seconds between two looks at the clock, and so the longest that an event's ring ahead is late."""


class Calendars:
    """`changed()` is called when something else is to ring next, `ring()` when something rings."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        policy: Policy,
        tz: ZoneInfo,
        clock: Clock,
        changed: Callable[[], None],
        ring: Callable[[], None],
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.entries = CalendarEntries(store, policy.day, changed)
        self.settings, self._store, self._clock, self._ring, self._sleep = settings, store, clock, ring, sleep
        self._sync = None
        if settings.url:
            self._sync = CalendarSync(self.entries, settings, tz, clock, random or Random(), sleep)
        self._woken = asyncio.Event()
        self.address: str | None = None
        """The one for other machines to subscribe to, a secret; None where there is none."""

    @property
    def lead(self) -> timedelta:
        """How long before it begins an event rings."""
        return timedelta(minutes=self.settings.lead_minutes)

    @property
    def state(self) -> SyncState | None:
        """How it stands with the owner's calendar; None where there is none."""
        return self._sync and self._sync.state

    def wake(self) -> None:
        """A reminder has changed; may be called before `run`."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. Raises what a bug in here raised, though none in speaking to the owner's calendar."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="calendar entries")
            if self._sync:
                tasks.create_task(self._sync.run(), name="calendar sync")

    async def _watch(self) -> None:
        complaint = Complaint(log, "look at the calendar")
        while True:
            self._woken.clear()
            try:
                if await self.entries.notice_all(self._clock) and self._sync and self.entries.waiting():
                    self._sync.wake()
                if ring_ahead(self._store, self.lead, self._clock):
                    self._ring()
                complaint.over()
            except StoreError as fault:
                complaint.say(fault)
            await woken_or_slept(self._woken, self._sleep(WATCH))

    # For those who ask

    async def ahead(self) -> list[Item]:
        """What lies ahead, as it is now."""
        await self.entries.notice_all(self._clock)
        return self.entries.ahead()

    def set_kind(self, reminder_id: int, kind: ItemKind) -> Reminder:
        """Make a reminder an event or a to-do. Raises `NotFound`."""
        reminder = self.entries.set_kind(reminder_id, kind, self._clock.now())
        self.wake()
        if self._sync:
            self._sync.wake()
        return reminder

    def as_json(self) -> dict:
        """How it stands, for people and programs."""
        state = self.state
        return {
            "secret_address": self.address, "lead_minutes": self.settings.lead_minutes,
            "caldav": state and {
                "url": self.entries.collection()[0] or self.settings.url, "state": state.state, "said": state.said,
                "at": state.at and state.at.isoformat(), "waiting": self.entries.waiting()},
        }
