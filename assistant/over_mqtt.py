"""Everything that goes over MQTT, put together for the composition root: the connection, what it says of itself, the
rings that it publishes, and the devices that it listens to.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from assistant.delivery import Delivery
from assistant.errors import StoreError
from assistant.home_assistant import discoverable
from assistant.mqtt import Mqtt
from assistant.mqtt_client import client_id
from assistant.mqtt_devices import Devices
from assistant.mqtt_hearing import Ears
from assistant.mqtt_notifier import MqttNotifier
from assistant.mqtt_presence import DEVICE_CHANNEL, SHARED, Presence
from assistant.pipeline import Pipeline
from assistant.store import Store

if TYPE_CHECKING:
    from assistant.config import Config

log = logging.getLogger(__name__)


class OverMqtt:
    """`facts` are told with the status. Raises `ConfigError`."""

    def __init__(self, config: "Config", store: Store, facts: Callable[[], dict]) -> None:
        self._settings, private = config.mqtt, not config.mqtt.publish_private
        self.connection = Mqtt(config.mqtt, client_id(config))
        self.presence = Presence(self.connection, store, facts, private)
        self.notifier = MqttNotifier(self.connection, store, private)
        discoverable(self.connection, config.mqtt)

    def changed(self) -> None:
        """Reminders, or what is told with the status, may have changed."""
        self.presence.changed()

    def may(self, channel: str) -> frozenset[str] | None:
        """What may be asked for on a channel, None for anything."""
        ours = channel == SHARED or channel.startswith(DEVICE_CHANNEL)
        return frozenset(self._settings.may) if ours else None

    def begin(
        self, tasks: asyncio.TaskGroup, delivery: Delivery, pipeline: Pipeline, ears: Ears | None
    ) -> list[asyncio.Task]:
        """The tasks that do it, to be cancelled in the end."""
        Devices(self.connection, pipeline, self._settings, ears)

        async def ring_what_waited() -> None:
            with suppress(StoreError):  # it is tried again by itself
                delivery.retry(self.notifier.name)

        self.connection.on_connected(ring_what_waited)
        return [
            tasks.create_task(self.connection.run(), name="mqtt"),
            tasks.create_task(self.presence.run(), name="mqtt presence"),
        ]
