"""The owner's calendar and the reminders kept equal, in rounds: what has changed there is done here, then what has
changed here is written there.

    pull    sync-token, or all ETags -> objects that are new or changed -> `calendar_changes.py`, a commit an object
    push    `calendar_entries.to_push` -> PUT or DELETE, if it still is as it was seen -> a commit an object

Killed at any instant, a round is done again from its last commit: ids are stable, an object is only made where there is
none, and only changed where it is as it was seen last. While the server is away everything waits in the database. No
fault of the calendar, nor a bug in here, ends the daemon: it is told once, and tried again later and later.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Literal
from urllib.parse import urljoin, urlsplit
from zoneinfo import ZoneInfo

from assistant.caldav import CalendarServer, Found, Mismatch, NoSuchCalendar, NotTaken, calendar_server
from assistant.calendar_changes import CalendarChanges
from assistant.calendar_entries import CalendarEntries, Entry, Seen
from assistant.clock import Clock
from assistant.errors import AssistantError, BadCalendarObject, StoreError
from assistant.ics import read, write
from assistant.sections import Calendar as Settings

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
"""Seconds until a round that failed is tried again; the pause doubles, and a random part of up to a half is taken off,
so that many daemons do not come back to one server at once."""
TURNS = 3
"""So often a round begins anew, because an object was changed there in between; the next round goes on."""
MANY = 3
"""Of so many objects none is there any more: the calendar was emptied or lost, and is filled again."""
PUSHES = 50
"""Objects that are looked up at once."""


@dataclass(frozen=True, slots=True)
class SyncState:
    """How it stands with the owner's calendar."""

    state: Literal["starting", "well", "failing"]
    said: str
    """What is wrong and what to do about it; empty while it is well."""
    at: datetime | None
    """Aware UTC: when the last round ended that was well."""


class CalendarSync:
    """Keeps one calendar. `random` takes its part off the pauses, `sleep` waits for them."""

    def __init__(
        self,
        entries: CalendarEntries,
        settings: Settings,
        tz: ZoneInfo,
        clock: Clock,
        random: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._entries, self._settings, self._tz, self._clock = entries, settings, tz, clock
        self._random, self._sleep = random, sleep
        self._lead = timedelta(minutes=settings.lead_minutes)
        self._found: Found | None = None
        self._woken = asyncio.Event()
        self.state = SyncState("starting", "", None)

    def wake(self) -> None:
        """Something has changed here."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            self._woken.clear()
            if await self.once():
                failures = 0
                await woken_or_slept(self._woken, self._sleep(self._settings.every_seconds))
            else:
                pause = min(FIRST_PAUSE * 2 ** min(failures, 20), LONGEST_PAUSE)
                failures += 1
                await self._sleep(pause * (1 - self._random.random() / 2))

    async def once(self) -> bool:
        """One round; whether the server could be spoken to. What goes wrong, there or with a single object, is told in
        `state` and, once, to the log."""
        said, through = "", False
        try:
            s = self._settings
            async with calendar_server(s.url, s.user, s.password, s.ca_file) as server:
                said = await self._round(server)
            through = True
        except AssistantError as e:
            said = str(e)
            if said != self.state.said:
                log.warning("the calendar: %s", said)
        except Exception as e:
            said = f"There is a bug in speaking to the calendar ({type(e).__name__}): see the log."
            if said != self.state.said:
                log.exception("a bug in speaking to the calendar")
        else:
            if said and said != self.state.said:
                log.warning("the calendar: %s", said)
            elif not said and self.state.state == "failing":
                log.info("the calendar is well again")
        well_at = self.state.at if said else self._clock.now()
        self.state = SyncState("failing" if said else "well", said, well_at)
        return through

    async def _round(self, server: CalendarServer) -> str:
        """What is wrong with single objects; empty for nothing."""
        said = ""
        for _ in range(TURNS):
            try:
                found = await self._find(server)
                await self._pull(server, found)
                again, said = await self._push(server, found)
            except NoSuchCalendar as e:
                log.warning("the calendar: %s", e)
                self._found, said = None, str(e)
                continue
            if not again:
                return said
        return said

    async def _find(self, server: CalendarServer) -> Found:
        if self._found is None:
            found = await server.find(self._settings.name)
            collection, own, _ = self._entries.collection()
            if found.made or collection != found.url:
                self._entries.begin(found.url, found.made)
                log.info("the calendar is kept at %s", found.url, extra={"own": found.made or self._settings.own})
            self._found = found
        return self._found

    async def _pull(self, server: CalendarServer, found: Found) -> None:
        entries = self._entries
        _, own, token = entries.collection()
        changes = CalendarChanges(entries, self._tz, own or self._settings.own)
        listing = await server.changes(found.url, token)
        known = entries.objects()
        new = [path for path, etag in listing.etags.items()
               if path not in known or etag is None or etag != known[path].etag]
        gone = set(listing.gone) | (known.keys() - listing.etags.keys() if listing.whole else set())
        if listing.whole and not listing.etags and sum(seen.uid is not None for seen in known.values()) >= MANY:
            log.warning("the calendar was emptied: it is filled again")
            entries.begin(found.url, own)
            gone = set()
        for path, (etag, text) in (await server.fetch(found.url, new)).items():
            try:
                changes.take(path, etag, text, self._clock.now())
            except StoreError:
                raise
            except Exception:  # it must not keep the others away, at every round
                log.exception("an object of the calendar cannot be taken over", extra={"object": path})
                was = known.get(path)
                entries.keep(Seen(path, etag, was and was.uid, was and was.ics))
            await asyncio.sleep(0)
        for path in sorted(gone & known.keys()):
            changes.gone(path, self._clock.now())
        entries.set_token(listing.token)

    async def _push(self, server: CalendarServer, found: Found) -> tuple[bool, str]:
        """Whether something has changed there meanwhile, and what is wrong with single objects."""
        entries, again, said = self._entries, False, ""
        tried: set[tuple[int, int]] = set()
        await entries.notice_all(self._clock)
        while waiting := [e for e in entries.to_push(PUSHES + len(tried))
                          if (e.reminder_id, e.item.sequence) not in tried]:
            for entry in waiting:
                tried.add((entry.reminder_id, entry.item.sequence))
                try:
                    await self._push_one(server, found, entry)
                except Mismatch:
                    again = True
                    entries.set_token(None)  # whatever it was that was overlooked
                except NotTaken as e:
                    said = str(e)
                except AssistantError:
                    raise
                except Exception as e:
                    said = f"A reminder cannot be written into the calendar ({type(e).__name__}): see the log."
                    if said != self.state.said:
                        log.exception("a bug in writing to the calendar", extra={"reminder": entry.reminder_id})
        return again, said

    async def _push_one(self, server: CalendarServer, found: Found, entry: Entry) -> None:
        entries, item = self._entries, entry.item
        seen = entries.object_of(item.uid)
        if item.status == "cancelled":
            if seen:
                await server.delete(found.url, seen.href, seen.etag)
                with entries.store.transaction():
                    entries.forget(seen.href)
                    entries.settle(entry.reminder_id, item.sequence)
            else:
                entries.settle(entry.reminder_id, item.sequence)
            return
        there = self._sequence(seen)
        written = replace(item, kind=item.kind if found.todos else "event", sequence=max(item.sequence, there + 1))
        text = write(written, self._lead, seen and seen.ics, entries.day)
        path = seen.href if seen else urlsplit(urljoin(found.url, _file_name(item.uid))).path
        etag = await server.put(found.url, path, text, seen and seen.etag)
        with entries.store.transaction():
            entries.keep(Seen(path, etag, item.uid, text))
            entries.settle(entry.reminder_id, item.sequence)

    def _sequence(self, seen: Seen | None) -> int:
        try:
            return read(seen.ics, self._tz).sequence if seen and seen.ics else -1
        except BadCalendarObject:
            return -1


async def woken_or_slept(woken: asyncio.Event, sleep: Awaitable[None]) -> None:
    """Until the event is set or the sleep is over."""
    waiting = asyncio.ensure_future(woken.wait()), asyncio.ensure_future(sleep)
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _file_name(uid: str) -> str:
    """Of a new object: out of letters that no server spells in another way."""
    plain = uid.removesuffix("@reminder-assistant")
    return f"{plain if re.fullmatch(r'[a-z0-9-]{1,80}', plain) else hashlib.sha256(uid.encode()).hexdigest()[:32]}.ics"


