"""What Home Assistant lets through of a device discovery message: its tables and rules, as far as the assistant's six
platforms need them.

Source: home-assistant/core, homeassistant/components/mqtt/{abbreviations,config,const,discovery,schemas,util,sensor,text,
switch,button,event}.py, as released in 2024.12.5 and 2026.2.3. A key is listed only if both releases know it.
"""

import json
import re
from contextlib import suppress

import jinja2.sandbox

ABBREVIATIONS = {
    "avty": "availability", "avty_mode": "availability_mode", "avty_t": "availability_topic",
    "avty_tpl": "availability_template", "cmd_t": "command_topic", "cmd_tpl": "command_template", "cmps": "components",
    "dev": "device", "dev_cla": "device_class", "e": "encoding", "en": "enabled_by_default", "ent_cat": "entity_category",
    "ent_pic": "entity_picture", "evt_typ": "event_types", "exp_aft": "expire_after", "frc_upd": "force_update",
    "ic": "icon", "json_attr_t": "json_attributes_topic", "json_attr_tpl": "json_attributes_template",
    "lrst_val_tpl": "last_reset_value_template", "max": "max", "min": "min", "mode": "mode", "name": "name",
    "o": "origin", "obj_id": "object_id", "ops": "options", "opt": "optimistic", "p": "platform", "pl": "payload",
    "pl_avail": "payload_available", "pl_not_avail": "payload_not_available", "pl_off": "payload_off",
    "pl_on": "payload_on", "pl_prs": "payload_press", "ptrn": "pattern", "ret": "retain", "stat_cla": "state_class",
    "stat_off": "state_off", "stat_on": "state_on", "stat_t": "state_topic",
    "sug_dsp_prc": "suggested_display_precision", "t": "topic", "uniq_id": "unique_id",
    "unit_of_meas": "unit_of_measurement", "val_tpl": "value_template",
}  # fmt: skip
DEVICE_ABBREVIATIONS = {
    "cns": "connections", "cu": "configuration_url", "ids": "identifiers", "name": "name", "mf": "manufacturer",
    "mdl": "model", "mdl_id": "model_id", "hw": "hw_version", "sw": "sw_version", "sa": "suggested_area",
    "sn": "serial_number",
}  # fmt: skip
ORIGIN_ABBREVIATIONS = {"name": "name", "sw": "sw_version", "url": "support_url"}

DEVICE = frozenset(DEVICE_ABBREVIATIONS.values()) | {"via_device"}
ORIGIN = frozenset(ORIGIN_ABBREVIATIONS.values())
AVAILABILITY = frozenset({
    "availability", "availability_mode", "availability_template", "availability_topic", "payload_available",
    "payload_not_available",
})  # fmt: skip
SHARED = AVAILABILITY | {"command_topic", "state_topic"}
"""What an entity inherits of the message (`SHARED_OPTIONS`)."""
MESSAGE = SHARED | {"device", "components", "origin", "qos", "encoding"}
BASE = frozenset({"qos", "encoding"})
READ = BASE | {"state_topic", "value_template"}
WRITE = BASE | {"command_topic", "optimistic", "retain", "state_topic"}
ENTITY = AVAILABILITY | {
    "device", "origin", "entity_picture", "enabled_by_default", "entity_category", "icon", "json_attributes_topic",
    "json_attributes_template", "unique_id", "name",
}  # fmt: skip
REQUIRED = {
    "sensor": {"state_topic"}, "event": {"state_topic", "event_types"},
    "text": {"command_topic"}, "switch": {"command_topic"}, "button": {"command_topic"},
}  # fmt: skip
ALLOWED = {
    "sensor": ENTITY | READ | {
        "device_class", "expire_after", "force_update", "last_reset_value_template", "options",
        "suggested_display_precision", "state_class", "unit_of_measurement",
    },
    "event": ENTITY | READ | {"device_class", "event_types"},
    "text": ENTITY | WRITE | {"command_template", "max", "min", "mode", "pattern", "value_template"},
    "switch": ENTITY | WRITE | {
        "command_template", "payload_off", "payload_on", "state_off", "state_on", "value_template", "device_class",
    },
    "button": ENTITY | BASE | {"command_template", "command_topic", "device_class", "payload_press", "retain"},
}  # fmt: skip
CLASSES = {"timestamp", "date", "enum"}
"""Device classes of a sensor that has no unit."""
BLOCKED = {
    "assumed_state", "available", "device_class", "device_info", "entity_category", "entity_picture",
    "entity_registry_enabled_default", "extra_state_attributes", "force_update", "icon", "friendly_name", "should_poll",
    "state", "supported_features", "unique_id", "unit_of_measurement",
}  # fmt: skip
"""Attributes that are dropped (`MQTT_ATTRIBUTES_BLOCKED`)."""
LONGEST_STATE = 255
"""`MAX_LENGTH_STATE_STATE`; a longer state is not taken."""
TOPIC = re.compile(r"\w+/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")


def entities(topic: str, payload: bytes, prefix: str = "homeassistant") -> dict[str, dict]:
    """Name -> options of the entities that Home Assistant makes; what it would take away has none. Raises `ValueError`."""
    component, _, rest = topic.removeprefix(f"{prefix}/").partition("/")
    if component != "device" or not TOPIC.fullmatch(f"{component}/{rest}"):
        raise ValueError(f"{topic} is no discovery topic")
    message = _full(json.loads(payload), ABBREVIATIONS)
    _keys("message", message, {"device", "components", "origin"}, MESSAGE)
    device = message["device"] = _full(message["device"], DEVICE_ABBREVIATIONS)
    origin = message["origin"] = _full(message["origin"], ORIGIN_ABBREVIATIONS)
    _keys("device", device, set(), DEVICE)
    _keys("origin", origin, {"name"}, ORIGIN)
    if not device.get("identifiers") and not device.get("connections"):
        raise ValueError("a device needs identifiers or connections")
    _values("message", message)
    return {name: _entity(name, _full(of, ABBREVIATIONS), message) for name, of in message["components"].items()}


def _entity(name: str, entity: dict, message: dict) -> dict:
    platform = entity.pop("platform", None)
    if platform not in ALLOWED:
        raise ValueError(f"{name}: {platform} is no platform")
    if not entity:
        return {}
    if "unique_id" not in entity:
        raise ValueError(f"{name} has no unique_id")
    shared = {key: message[key] for key in SHARED - set(entity) if key in message}
    _keys(name, entity, REQUIRED[platform], ALLOWED[platform])
    _values(name, entity)
    if platform == "sensor" and entity.get("device_class", "date") not in CLASSES:
        raise ValueError(f"{name}: {entity['device_class']} is no device class without a unit")
    if platform == "sensor" and entity.get("entity_category") == "config":
        raise ValueError(f"{name}: a sensor configures nothing")
    if platform == "text" and not entity.get("min", 0) <= entity.get("max", LONGEST_STATE) <= LONGEST_STATE:
        raise ValueError(f"{name}: a text has at most {LONGEST_STATE} characters")
    if platform == "event" and not all(isinstance(kind, str) for kind in entity["event_types"]):
        raise ValueError(f"{name}: event types are words")
    return {"platform": platform, **shared, **entity}


def _full(options: object, table: dict[str, str]) -> dict:
    if not isinstance(options, dict):
        raise ValueError(f"{options!r} is no object")
    return {table.get(key, key): value for key, value in options.items()}


def _keys(what: str, options: dict, required: set[str], allowed: frozenset[str]) -> None:
    if missing := required - set(options):
        raise ValueError(f"{what} lacks {sorted(missing)}")
    if unknown := set(options) - allowed:
        raise ValueError(f"{what} must not have {sorted(unknown)}")


def _values(what: str, options: dict) -> None:
    for key, value in options.items():
        if key.endswith("_topic"):
            if not isinstance(value, str) or not value or re.search("[\0-\x1f]", value):
                raise ValueError(f"{what}: {value!r} is no topic")
            if key == "command_topic" and re.search("[+#]", value):
                raise ValueError(f"{what}: one cannot publish on {value}")
        elif key.endswith("_template"):
            try:
                jinja2.Environment().parse(value)
            except jinja2.TemplateSyntaxError as e:
                raise ValueError(f"{what}: {value} is no template ({e})") from None
        elif key == "qos" and value not in (0, 1, 2):
            raise ValueError(f"{what}: {value!r} is no quality of service")
        elif key == "icon" and ":" not in value:
            raise ValueError(f"{what}: an icon is called prefix:name, not {value}")
        elif key == "entity_category" and value not in ("config", "diagnostic"):
            raise ValueError(f"{what}: {value!r} is no category")


def rendered(template: str, **values: object) -> str:
    """As `Template.async_render_with_possible_json_value`: with `value_json` if `value` is JSON; stripped."""
    with suppress(TypeError, ValueError):
        values["value_json"] = json.loads(values["value"])
    return jinja2.sandbox.ImmutableSandboxedEnvironment().from_string(template).render(**values).strip()
