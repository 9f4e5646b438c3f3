"""By what a request is known that came over MQTT, and what becomes of one that cannot be stored.

Without an id of its sender a request is known by its packet: the packet's identifier and a digest of topic and payload
are part of its id, so that one which the broker sends again (DUP) within a day is set once, while the same words said
again are another request. MQTT has no identity of messages beyond that: a sender that repeats itself, because it did
not hear its own acknowledgement, is to give an id, or to publish with QoS 2.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from logging import getLogger
from uuid import uuid4

from assistant.database import Complaint
from assistant.errors import Away, Busy, StoreError, TranscriberBusy
from assistant.mqtt_client import Message
from assistant.store import Store

log = getLogger(__name__)

SAME_PACKET = timedelta(days=1)
"""So long after it was taken a packet that the broker sends again is known."""
AGAIN_SECONDS = 1.0
"""Until what could not be stored is tried again."""


def packet_id(store: Store, message: Message, now: datetime) -> str:
    """The id of a request whose sender gives it none. Raises `StoreError`."""
    digest = hashlib.sha256(message.topic.encode() + b"\0" + message.payload).hexdigest()[:24]
    packet = f"mqtt-packet:{message.mid}:{digest}:"
    if message.duplicate and (before := store.request_like(packet)):
        taken = datetime.fromtimestamp(int(before.id.removeprefix(packet).partition("-")[0]) / 1000, UTC)
        if now - taken < SAME_PACKET:
            return before.id
    return f"{packet}{int(now.timestamp() * 1000):013}-{uuid4().hex[:8]}"


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
