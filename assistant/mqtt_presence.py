"""What the broker keeps about the assistant: that it is there and how it is, and which reminders are next.

Both are retained, so that a device sees them as soon as it subscribes, and published anew only when they differ. When
the assistant is gone without a word, the broker says so in its place (its last will).
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

from assistant import __version__
from assistant.errors import Away, StoreError
from assistant.http import reminder_json
from assistant.mqtt import Mqtt
from assistant.mqtt_topics import HOME_ASSISTANT
from assistant.store import Store

NEXT = 20
"""Reminders that are told of."""
LOOK = 60.0
"""Seconds between two looks at the most: a model may have been promoted."""
TOGETHER = 0.2
"""Seconds within which what changes is told at once."""
SHARED, DEVICE_CHANNEL = "mqtt", "mqtt:"
"""The channel of those that do not name their device, and how that of a named one begins."""
OFFLINE = json.dumps({"state": "offline"}).encode()


class Presence:
    """`facts` are told with the status; `private`: the words of what a named device asked for are left out."""

    def __init__(self, mqtt: Mqtt, store: Store, facts: Callable[[], dict], private: bool) -> None:
        self._mqtt, self._store, self._facts, self._private = mqtt, store, facts, private
        self._told: dict[str, str] = {}
        """What this connection was told, by topic."""
        self._news = asyncio.Event()
        mqtt.will = (mqtt.topics.status, OFFLINE)
        mqtt.on_connected(self._tell_anew)
        mqtt.on_stop(self._say_goodbye)

    def changed(self) -> None:
        """Something may have changed that is told of."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._news.wait()
            await asyncio.sleep(TOGETHER)
            self._news.clear()
            if self._mqtt.connected:
                with suppress(Away):  # it is told when the broker is back
                    await self._tell()

    async def _tell_anew(self) -> None:
        self._told.clear()
        await self._tell()

    async def _tell(self) -> None:
        for topic, payload in self._retained().items():
            if self._told.get(topic) != payload:
                await self._mqtt.publish(topic, payload, retain=True)
                self._told[topic] = payload

    def _retained(self) -> dict[str, str]:
        topics = self._mqtt.topics
        told = {topics.status: json.dumps({"state": "online", "version": __version__, **self._facts()})}
        with suppress(StoreError):
            told[topics.reminders] = json.dumps(self._reminders(), ensure_ascii=False)
        return told

    def _reminders(self) -> dict:
        ahead = [reminder_json(r) | self._hidden(owner(self._store, r.id)) for r in self._store.ahead(NEXT)]
        return {"pending": self._store.count_ahead(), "reminders": ahead}

    def _hidden(self, device: str | None) -> dict:
        return {"task": "", "private": True} if device and self._private else {"private": False}

    async def _say_goodbye(self) -> None:
        await self._mqtt.publish(self._mqtt.topics.status, OFFLINE, retain=True)


def owner(store: Store, reminder: int) -> str | None:
    """The named device that asked for a reminder, None for everybody else. Raises `StoreError`.

    Home Assistant is everybody at home, like the microphone: what it asks for is told to all.
    """
    channel = store.db.value(
        "SELECT q.channel FROM reminders r JOIN requests q ON q.id = r.request_id WHERE r.id = ?", (reminder,)) or ""
    device = channel.removeprefix(DEVICE_CHANNEL) if channel.startswith(DEVICE_CHANNEL) else None
    return None if device == HOME_ASSISTANT else device
