"""The topics, and what is read out of a message's payload. Pure functions.

Each begins with [mqtt] prefix and site, here `assistant/home`:

    request              in   what a person said: plain text, or JSON
                              {"text", "id"?, "device"?, "said_at"?, "tz"?, "reply_to"?}
    audio                in   what a person said, as a WAV or FLAC file
    audio/DEVICE/start, chunk, stop
                         in   the same while it is spoken, in chunks: samples of 16 bits, signed, little-endian, one
                              channel, 16,000 a second
    ack                  in   what is to become of what rang last: `done`, `snooze`, `snooze 10 minutes`; or of one
                              by its number: JSON {"action", "id"?, "minutes"?, "device"?}
    listen               in   the assistant's own microphone listens; empty, or JSON {"quiet"?, "device"?}
    mute                 in   `on`, `off`: the assistant's own microphone is closed
    reply/DEVICE, reply  out  JSON, the answer to whoever named its device, and to whoever did not
    due                  out  JSON, what rings: id, task, due, late (seconds), repeat, ...
    due/DEVICE           out  the same for the device that asked for it
    reminders            out  retained JSON: how many are ahead, and the next 20
    status               out  retained JSON: online or (last will) offline, version, model, microphone, muted

An answer goes to the MQTT 5 response topic, with the correlation data, or to `reply_to`, where one is given. `id` makes
a request that is sent again the same request, for ever: it is to be unique, such as a UUID. `said_at` is an ISO 8601
instant, in the zone `tz` or else the assistant's if it has no offset. Fields that are not known are ignored.

Of Rhasspy's Hermes (https://rhasspy.readthedocs.io/en/latest/reference/#mqtt-api): in `hermes/asr/textCaptured`, out
`hermes/tts/say`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assistant.errors import BadRequest, TooLarge

HERMES_IN, HERMES_OUT = "hermes/asr/textCaptured", "hermes/tts/say"
HOME_ASSISTANT = "home-assistant"
"""The device that Home Assistant is (`home_assistant.py`), which shows everybody at home what it is told."""
MOST_TEXT = 64 * 1024
"""Bytes of a payload that is no sound."""
MOST_SOUND = 8 * 2**20
"""Bytes of a recording, and of what is spoken in chunks."""
MOST_ID = 100
"""Characters of an id."""
MOST_TOPIC = 200
"""Characters of a topic that an answer is wanted at."""
_DEVICE = re.compile(r"[\w.-]{1,40}", re.ASCII)
_ACTION = re.compile(r"(done|snooze)(?: (?:for )?(\d{1,6}) ?(?:minutes?|min|m))?[.!]?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of the assistant's own topics."""

    prefix: str
    site: str

    def of(self, *levels: str) -> str:
        """`of("reply", "kitchen")` is `assistant/home/reply/kitchen`."""
        return "/".join((self.prefix, self.site, *levels))

    @property
    def request(self) -> str:
        return self.of("request")

    @property
    def audio(self) -> str:
        return self.of("audio")

    @property
    def ack(self) -> str:
        return self.of("ack")

    @property
    def listen(self) -> str:
        return self.of("listen")

    @property
    def mute(self) -> str:
        return self.of("mute")

    @property
    def reply(self) -> str:
        return self.of("reply")

    @property
    def due(self) -> str:
        return self.of("due")

    @property
    def reminders(self) -> str:
        return self.of("reminders")

    @property
    def status(self) -> str:
        return self.of("status")

    def answerable(self, topic: object) -> str | None:
        """`topic` if an answer may be published there, which no handler of ours and no Home Assistant reads."""
        if not isinstance(topic, str) or not 0 < len(topic) <= MOST_TOPIC or not topic.isprintable():
            return None
        if topic.startswith(("$", "hermes/", "homeassistant/")) or "+" in topic or "#" in topic:
            return None
        own = topic.startswith(self.of(""))
        return topic if not own or topic.startswith(self.of("reply", "")) else None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a message says, and who says it."""

    text: str
    id: str | None = None
    """The sender's; the same when it sends the request again."""
    device: str | None = None
    said_at: str | None = None
    """ISO 8601."""
    tz: str | None = None
    """IANA name."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What is to become of what rings."""

    action: str
    """`done` or `snooze`."""
    reminder: int | None = None
    """Its number; None for what rang last."""
    minutes: int | None = None


def body_of(payload: bytes, limit: int = MOST_TEXT) -> str | dict[str, Any]:
    """Plain text, or the object of a payload that is JSON. Raises `TooLarge`, `BadRequest`."""
    if len(payload) > limit:
        raise TooLarge(f"A message has {limit} bytes at most, and this one {len(payload)}: send less.")
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        raise BadRequest("The message is not UTF-8: send plain text, or JSON.") from None
    if not text.startswith(("{", "[")):
        return text
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):  # also numbers of thousands of digits
        raise BadRequest('The message is not JSON: send plain text, or an object such as {"text": "..."}.') from None
    if not isinstance(body, dict):
        raise BadRequest('The message must be a JSON object such as {"text": "..."}, or plain text.')
    return {key: _whole(value) if isinstance(value, str) else value for key, value in body.items()}


def device_of(body: str | Mapping[str, Any]) -> str | None:
    """The device that a message names, None if it names none, or one that cannot be a part of a topic."""
    device = body.get("device") if isinstance(body, Mapping) else None
    return device if isinstance(device, str) and is_device(device) else None


def is_device(name: str) -> bool:
    return _DEVICE.fullmatch(name) is not None


def spoken(body: str | Mapping[str, Any]) -> Spoken:
    """A request. Raises `BadRequest`."""
    if isinstance(body, str):
        return Spoken(body)
    fields = {key: body[key] for key in ("text", "id", "device", "said_at", "tz") if body.get(key) is not None}
    if isinstance(fields.get("id"), int) and not isinstance(fields["id"], bool):
        fields["id"] = str(fields["id"])
    if "text" not in fields:
        raise BadRequest('"text" is missing: send an object such as {"text": "..."}.')
    if wrong := next((key for key, value in fields.items() if not isinstance(value, str)), None):
        raise BadRequest(f'"{wrong}" must be a string.')
    if not 0 < len(fields.get("id", "x")) <= MOST_ID or not fields.get("id", "x").isprintable():
        raise BadRequest(f'"id" must have 1 to {MOST_ID} printable characters.')
    if not is_device(fields.get("device", "x")):
        raise BadRequest('"device" must have 1 to 40 letters, digits, dots, hyphens and underscores.')
    return Spoken(**fields)


def acknowledgement(body: str | Mapping[str, Any]) -> Acknowledgement:
    """Raises `BadRequest`."""
    if isinstance(body, str):
        if not (said := _ACTION.fullmatch(body)) or (said[1].lower() == "done" and said[2]):
            raise BadRequest('This is no acknowledgement: send "done", "snooze" or "snooze 10 minutes".')
        return Acknowledgement(said[1].lower(), None, _minutes(int(said[2])) if said[2] else None)
    action, id, minutes = body.get("action"), body.get("id"), body.get("minutes")
    if action not in ("done", "snooze"):
        raise BadRequest('"action" must be "done" or "snooze".')
    for name, value in (("id", id), ("minutes", minutes)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise BadRequest(f'"{name}" must be a whole number.')
    return Acknowledgement(action, id, None if minutes is None else _minutes(minutes))


def _minutes(minutes: int) -> int:
    if not 1 <= minutes <= 366 * 24 * 60:
        raise BadRequest(f'"minutes" must be a number from 1 to {366 * 24 * 60}.')
    return minutes


def switch(body: str | Mapping[str, Any]) -> bool:
    """`on` or `off`. Raises `BadRequest`."""
    said = body.lower() if isinstance(body, str) else ""
    if said not in ("on", "off"):
        raise BadRequest('Send "on" or "off".')
    return said == "on"


def _whole(text: str) -> str:
    """Without lone surrogates, which JSON can write and nothing can store."""
    return text.encode("utf-8", "replace").decode()
