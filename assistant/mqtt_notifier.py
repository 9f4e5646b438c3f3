"""A reminder that rings is published, and counts as delivered when the broker has acknowledged it.

While there is no broker it waits in the outbox, however long. Everybody hears that something rings; what a named device
asked for is told in words to that device alone, unless the settings say otherwise.
"""

import asyncio
import json
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from assistant.errors import Away, StoreError
from assistant.messages import Delivery
from assistant.mqtt import Mqtt
from assistant.mqtt_presence import owner
from assistant.notifiers import Notice
from assistant.store import Store


class MqttNotifier:
    """Publishes each delivery of a notice on the topic `due`."""

    name = "mqtt"

    def __init__(self, mqtt: Mqtt, store: Store, private: bool) -> None:
        self._mqtt, self._store, self._private = mqtt, store, private

    async def notify(self, notice: Notice) -> None:
        try:
            rings = [ring for d in notice.deliveries for ring in self._rings(d, notice.late(d))]
        except StoreError as e:  # better late than told to everybody
            raise Away(str(e)) from None
        try:
            async with asyncio.TaskGroup() as publishing:
                for levels, ring in rings:
                    topic, payload = self._mqtt.topics.of("due", *levels), json.dumps(ring, ensure_ascii=False)
                    publishing.create_task(self._mqtt.publish(topic, payload), name=f"ring {ring['delivery']}")
        except* Away as away:
            raise Away(str(away.exceptions[0])) from None

    def _rings(self, delivery: Delivery, late: int) -> Iterator[tuple[tuple[str, ...], dict]]:
        """Levels of a topic below `due`, and what is published there. Raises `StoreError`."""
        ring, device = ring_json(delivery, late), owner(self._store, delivery.reminder_id)
        if device:
            yield (device,), ring
        yield (), ring | {"task": "", "private": True} if device and self._private else ring

    def problem(self) -> str | None:
        return None


def ring_json(delivery: Delivery, late: int) -> dict:
    """What devices are told; `delivery` and `repeat` are the same when a ring is published twice."""
    return {
        "id": delivery.reminder_id, "delivery": delivery.id, "task": delivery.task,
        "due": delivery.due.astimezone(ZoneInfo(delivery.zone)).isoformat(timespec="seconds"), "late": late,
        "repeat": delivery.ring - 1, "occurrences": delivery.occurrences, "recurring": delivery.recurring,
        "private": False,
    }
