"""Home Assistant finds the assistant by itself: MQTT device discovery, of Home Assistant 2024.12 and later.

One retained message on `homeassistant/device/ID/config` says what the device is (`dev`), who says so (`o`) and which
entities it has (`cmps`); it is published at every connection, and again when Home Assistant says that it is online. All
that the entities show is read, by templates, from what every other device is told as well (`mqtt_presence.py`).

Home Assistant logs a warning and takes nothing of a message that is no JSON object, that lacks one of the three, or has
a key beside or inside `dev` and `o` that it does not know; of an entity it ignores such keys, and leaves the entity out
if one is missing, a topic to publish on has wildcards, a template cannot be read, or a text may be longer than 255. An
entity that was there before goes away when its platform `p` is all that is said of it. There is no platform for a list
of things to do: the reminders ahead are attributes of how many there are. Source: homeassistant/components/mqtt of
home-assistant/core, and https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery.
"""

import hashlib
import json
import logging
import re
from collections.abc import Collection

from assistant import __version__
from assistant.mqtt import Message, Mqtt
from assistant.mqtt_topics import HOME_ASSISTANT, Topics
from assistant.sections import Mqtt as Settings

log = logging.getLogger(__name__)

LONGEST_STATE = 255
"""Characters of an entity's state (`MAX_LENGTH_STATE_STATE` of Home Assistant)."""
WAIT = 10.0
"""Seconds in which a connection that is just being made must be there."""
_NEXT = "(value_json.reminders | first | default({}))"


def discoverable(mqtt: Mqtt, settings: Settings) -> None:
    """Tell Home Assistant of the assistant over this connection, or take back what an earlier run told it.

    To be called before the connection runs. The broker itself remembers what there is to take back.
    """
    topic = f"{settings.discovery_prefix}/device/{identity(mqtt.topics)}/config"
    told = json.dumps(discovery(mqtt.topics, settings.may))

    async def tell() -> None:
        await mqtt.publish(topic, told, retain=True)

    async def born(message: Message) -> None:
        if message.payload == b"online" and not message.retain:  # what is retained is older than this connection
            await mqtt.publish(topic, told, retain=True, wait=WAIT)

    async def take_back(message: Message) -> None:
        if message.payload and message.retain:  # else another assistant of this site says so just now
            await mqtt.publish(topic, b"", retain=True, wait=WAIT)
            log.info("Home Assistant does not show the assistant any more", extra={"topic": topic})

    if settings.home_assistant:
        mqtt.on_connected(tell)
        mqtt.on(f"{settings.discovery_prefix}/status", born, retained=True)
    else:
        mqtt.on(topic, take_back, retained=True)


def identity(topics: Topics) -> str:
    """Of the device: the same as long as prefix and site are, whichever machine the assistant runs on.

    Letters, digits, hyphens and underscores, as Home Assistant wants it; two sites never share one.
    """
    name = f"{topics.prefix}_{topics.site}"
    if re.fullmatch("[A-Za-z0-9]+_[A-Za-z0-9]+", name):
        return name
    digest = hashlib.sha256(topics.of("").encode()).hexdigest()[:8]
    return f"{re.sub('[^A-Za-z0-9_-]', '_', name)}_{digest}"


def discovery(topics: Topics, may: Collection[str]) -> dict:
    """The message. An entity for what devices `may` not do is left out, or taken away if it was there."""
    me = identity(topics)
    components = {}
    for name, entity in _entities(topics).items():
        allowed = name not in ("done", "snooze", "mute") or name in may
        components[name] = {**entity, "unique_id": f"{me}_{name}", "qos": 1} if allowed else {"p": entity["p"]}
    site = "" if topics.site == "home" else f" {topics.site}"
    return {
        "dev": {"identifiers": [me], "name": f"Reminder assistant{site}", "model": "Reminder assistant",
                "sw_version": __version__},
        "o": {"name": "Reminder assistant", "sw_version": __version__},
        "cmps": components,
        "availability_topic": topics.status,
        "availability_template": "{{ value_json.state }}",
        "payload_available": "online",
        "payload_not_available": "offline",
    }  # fmt: skip


def _entities(topics: Topics) -> dict[str, dict]:
    reply = topics.of("reply", HOME_ASSISTANT)
    return {
        "next": {
            "p": "sensor", "name": "Next reminder", "icon": "mdi:alarm", "device_class": "timestamp",
            "state_topic": topics.reminders, "value_template": f"{{{{ {_NEXT}.due | default(none) }}}}",
            "json_attributes_topic": topics.reminders, "json_attributes_template": f"{{{{ {_NEXT} | tojson }}}}",
        },
        "pending": {
            "p": "sensor", "name": "Pending reminders", "icon": "mdi:format-list-checks",
            "state_topic": topics.reminders, "value_template": "{{ value_json.pending }}",
            "json_attributes_topic": topics.reminders,
            "json_attributes_template": "{{ {'reminders': value_json.reminders} | tojson }}",
        },
        "request": {  # shown until it is answered; an empty field can be filled with the same words again
            "p": "text", "name": "Request", "icon": "mdi:message-text", "max": LONGEST_STATE,
            "command_topic": topics.request,
            "command_template": f"{{{{ {{'text': value, 'device': '{HOME_ASSISTANT}'}} | tojson }}}}",
            "state_topic": reply, "value_template": "{{ '' }}", "optimistic": True,
        },
        "reply": {
            "p": "sensor", "name": "Last reply", "icon": "mdi:message-reply-text",
            "state_topic": reply, "value_template": f"{{{{ value_json.reply[:{LONGEST_STATE}] }}}}",
            "json_attributes_topic": reply,
            "json_attributes_template":
                "{{ {'text': value_json.reply, 'question': value_json.question | default(false)} | tojson }}",
        },
        "mute": {
            "p": "switch", "name": "Mute microphone", "icon": "mdi:microphone-off",
            "command_topic": topics.mute, "payload_on": "on", "payload_off": "off",
            "state_topic": topics.status,
            "value_template": "{{ {true: 'on', false: 'off'}.get(value_json.muted) }}",  # None: there is no microphone
        },
        "done": {
            "p": "button", "name": "Done", "icon": "mdi:check",
            "command_topic": topics.ack, "payload_press": _press("done"),
        },
        "snooze": {
            "p": "button", "name": "Snooze", "icon": "mdi:alarm-snooze",
            "command_topic": topics.ack, "payload_press": _press("snooze"),
        },
        "ring": {
            "p": "event", "name": "Ring", "icon": "mdi:bell-ring", "event_types": ["ring", "repeat"],
            "state_topic": topics.due,
            "value_template": "{{ dict(value_json, event_type='repeat' if value_json.repeat else 'ring') | tojson }}",
        },
    }  # fmt: skip


def _press(action: str) -> str:
    return json.dumps({"action": action, "device": HOME_ASSISTANT})
