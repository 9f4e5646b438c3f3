"""By what a request is known that came over MQTT, and what becomes of one that cannot be stored.

Without an id of its sender a request is known by its packet: the packet's identifier and a digest of topic and payload
are part of its id, so that one which the broker sends again (DUP) within a day is set once, while the same words said
again are another request. MQTT has no identity of messages beyond that: a sender that repeats itself, because it did
not hear its own acknowledgement, is to give an id, or to publish with QoS 2. A second request that was spoken in the
same recording has `.2` behind its id.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from logging import getLogger
from uuid import uuid4
from weakref import WeakValueDictionary

from assistant.database import Complaint
from assistant.errors import Away, Busy, StoreError, TranscriberBusy
from assistant.mqtt_client import Message
from assistant.store import Store

log = getLogger(__name__)

SAME_PACKET = timedelta(days=1)
"""So long after it was taken a packet that the broker sends again is known."""
AGAIN_SECONDS = 1.0
"""Until what could not be stored is tried again."""


class Packet:
    """A message whose sender gives it no id."""

    def __init__(self, store: Store, name: str, duplicate: bool) -> None:
        self._store, self._name, self._duplicate = store, name, duplicate
        self._id: str | None = None

    def id(self, now: datetime) -> str:
        """The id of its request, always the same. Raises `StoreError`."""
        if self._id is None:
            self._id = self._before(now) or f"{self._name}{int(now.timestamp() * 1000):013}-{uuid4().hex[:8]}"
        return self._id

    def _before(self, now: datetime) -> str | None:
        """The id that it had when it was taken before."""
        if not self._duplicate or not (before := self._store.request_like(self._name)):
            return None
        taken = datetime.fromtimestamp(int(before.id.removeprefix(self._name).partition("-")[0]) / 1000, UTC)
        return before.id.partition(".")[0] if now - taken < SAME_PACKET else None


class Packets:
    """Knows packets again, also while they are under way: a recording may come again before it was understood."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way = WeakValueDictionary[str, Packet]()

    def of(self, message: Message) -> Packet:
        """To be held as long as the message is handled."""
        digest = hashlib.sha256(message.topic.encode() + b"\0" + message.payload).hexdigest()[:24]
        name = f"mqtt-packet:{message.mid}:{digest}:"
        packet = self._under_way.get(name) if message.duplicate else None
        if packet is None:
            self._under_way[name] = packet = Packet(self._store, name, message.duplicate)
        return packet


class UntilStored:
    """Tries again what cannot be stored. `sleep` is that of asyncio."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep, self._complaint = sleep, Complaint(log, "store what devices say")

    async def __call__(self, message: Message, attempt: Callable[[], Awaitable[None]]) -> None:
        """`attempt` raises `StoreError` or `Busy` only before it has acknowledged the message.

        Raises `Away` when the broker will send it again by itself.
        """
        while True:
            try:
                await attempt()
                self._complaint.over()
                return
            except (Busy, TranscriberBusy):
                pass
            except StoreError as fault:
                self._complaint.say(fault)
            await self._sleep(AGAIN_SECONDS)
            if message.lost():
                raise Away("It is not stored: the broker will send it again.")
