"""Where an answer over MQTT goes, and how it is written."""

import json
from dataclasses import dataclass
from typing import Any

from assistant.errors import AssistantError
from assistant.mqtt import Mqtt
from assistant.mqtt_client import Message
from assistant.mqtt_topics import HERMES_IN, HERMES_OUT, device_of, is_device

REPLY_SECONDS = 60.0
"""So long an answer waits for a broker that is away."""

Body = str | dict[str, Any]
"""Plain text, or the object of a payload that is JSON."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an answer goes."""

    topic: str
    correlation: bytes | None = None
    id: str | None = None
    """What the sender calls its request."""
    satellite: tuple[tuple[str, str], ...] | None = None
    """Of Rhasspy's: its site and session."""


class Replies:
    """Answers messages over `mqtt`."""

    def __init__(self, mqtt: Mqtt) -> None:
        self._mqtt = mqtt

    def address(self, message: Message, body: Body = "") -> Address:
        """Of whoever sent a message: what it wants, as far as that may be, or else the topic of its device."""
        topics, fields = self._mqtt.topics, body if isinstance(body, dict) else {}
        if message.topic == HERMES_IN:
            known = ((key, fields.get(key)) for key in ("siteId", "sessionId"))
            return Address(HERMES_OUT, satellite=tuple((k, v) for k, v in known if isinstance(v, str)))
        device = self.device(message, body)
        usual, id = topics.of("reply", device) if device else topics.reply, fields.get("id")
        wanted = topics.answerable(message.response_topic or fields.get("reply_to"))
        return Address(wanted or usual, message.correlation, id if isinstance(id, str) else None)

    def device(self, message: Message, body: Body) -> str | None:
        """Of `audio/DEVICE/...`, or the one that the message names."""
        start = self._mqtt.topics.audio + "/"
        device = message.topic.removeprefix(start).partition("/")[0] if message.topic.startswith(start) else ""
        return device if is_device(device) else device_of(body)

    async def tell(self, address: Address, answer: dict) -> None:
        """Raises `Away`."""
        if address.satellite is not None:
            answer = {"text": answer["spoken"], **dict(address.satellite)}
        elif address.id:
            answer = answer | {"id": address.id}
        payload = json.dumps(answer, ensure_ascii=False)
        await self._mqtt.publish(address.topic, payload, correlation=address.correlation, wait=REPLY_SECONDS)


def error_json(e: AssistantError) -> dict:
    """What is told of an error."""
    return {"error": {"code": e.code, "message": str(e)}, "reply": str(e), "spoken": str(e)}
