"""Home Assistant, at the same broker, finds the assistant and its entities, shows how it is, and acts by them.

The daemon and Mosquitto are real; `Home` does with what is published what Home Assistant does.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn
from zoneinfo import ZoneInfo

import paho.mqtt.client as paho
import pytest

from assistant import __version__
from assistant.clock import SystemClock
from assistant.config import Config
from assistant.delivery import Delivery
from assistant.errors import NoMicrophone
from assistant.home_assistant import discovery, identity
from assistant.mqtt_topics import Topics
from assistant.over_mqtt import OverMqtt
from assistant.pipeline import Pipeline
from assistant.sections import Mqtt as Settings
from assistant.store import Store
from assistant.when import Policy
from tests.fakes import ScriptedRewriter
from tests.home_assistant_schema import BLOCKED, LONGEST_STATE, entities, rendered
from tests.mosquitto import Mosquitto, mosquitto, wanted
from tests.process import Daemon

TOPIC = "homeassistant/device/assistant_home/config"
SECONDS = 20
NO_REMINDERS = '{"pending": 0, "reminders": []}'


class Home:
    """Home Assistant at a broker, as far as it is seen from there."""

    def __init__(self, broker: Mosquitto) -> None:
        self._news = threading.Condition()
        self.devices: list[bytes] = []
        """The discovery messages, in order."""
        self.entities: dict[str, dict] = {}
        self.events: list[dict] = []
        self._last: dict[str, str] = {}
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, "home-assistant")
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", broker.port)
        self._client.subscribe("homeassistant/device/+/config", 1)
        self._client.loop_start()

    def _hear(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        with self._news:
            if message.topic.startswith("homeassistant/"):
                self.devices.append(message.payload)
                self.entities = entities(message.topic, message.payload) if message.payload else {}
                topics = [v for e in self.entities.values() for k, v in e.items() if k.endswith("topic")]
                for topic in dict.fromkeys(topics):
                    client.subscribe(topic, 1)
            else:
                self._last[message.topic] = message.payload.decode()
                ring = self.entities.get("ring", {})  # none: the device has just been removed
                if message.topic == ring.get("state_topic") and not message.retain:
                    event = json.loads(rendered(ring["value_template"], value=message.payload.decode()))
                    assert event["event_type"] in ring["event_types"]
                    self.events.append(event)
            self._news.notify_all()

    def sees(self, what: Callable[[], object]) -> None:
        """Waits until it is so."""
        with self._news:
            assert self._news.wait_for(what, SECONDS), (self._last, self.events, self.devices[-1:])

    def state(self, name: str) -> str | None:
        """As it is shown; None for unknown."""
        entity = self.entities.get(name, {})
        payload = self._last.get(entity.get("state_topic"))
        shown = payload and rendered(entity["value_template"], value=payload)
        assert len(shown or "") <= LONGEST_STATE
        return None if shown == "None" else shown

    def attributes(self, name: str) -> dict:
        entity = self.entities[name]
        told = json.loads(rendered(entity["json_attributes_template"], value=self._last[entity["json_attributes_topic"]]))
        return {key: value for key, value in told.items() if key not in BLOCKED}

    def available(self) -> bool:
        entity = next(iter(self.entities.values()), None)
        payload = entity and self._last.get(entity["availability_topic"])
        return bool(payload) and rendered(entity["availability_template"], value=payload) == entity["payload_available"]

    def ask(self, text: str) -> None:
        """Writes it into the text entity."""
        entity = self.entities["request"]
        assert len(text) <= entity["max"]
        self._publish(entity, rendered(entity["command_template"], value=text))

    def press(self, name: str) -> None:
        self._publish(self.entities[name], self.entities[name]["payload_press"])

    def turn(self, name: str, on: bool) -> None:
        self._publish(self.entities[name], self.entities[name]["payload_on" if on else "payload_off"])

    def _publish(self, entity: dict, payload: str) -> None:
        self.tell(entity["command_topic"], payload)

    def tell(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(SECONDS)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def home(broker: Mosquitto) -> Iterator[Home]:
    home = Home(broker)
    try:
        yield home
    finally:
        home.stop()


def daemon(data: Path, broker: Mosquitto, **settings: str) -> Daemon:
    data.mkdir(exist_ok=True)
    more = {f"ASSISTANT_MQTT__{name.upper()}": value for name, value in settings.items()}
    return Daemon(data, {"ASSISTANT_MQTT__ENABLED": "true", "ASSISTANT_MQTT__URL": broker.url} | more)


@wanted
def test_what_is_asked_in_home_assistant_is_set_answered_shown_and_rings_there(tmp_path, model):
    with mosquitto(tmp_path / "broker") as broker, daemon(tmp_path / "data", broker) as assistant, home(broker) as ha:
        ha.sees(lambda: ha.available() and ha.state("pending") == "0")
        assert ha.state("next") is None
        assert ha.attributes("pending") == {"reminders": []}

        ha.ask("remind me to feed the cat tomorrow at 7 pm")
        ha.sees(lambda: ha.state("reply") == "OK: feed the cat, tomorrow at 19:00.")
        assert ha.state("request") == "", "the field is free for the next one"
        ha.sees(lambda: ha.state("pending") == "1")
        assert ha.attributes("next")["task"] == "feed the cat", "what is asked for there is no secret of another device"
        assert datetime.fromisoformat(ha.state("next")).utcoffset() is not None
        assert [r["task"] for r in ha.attributes("pending")["reminders"]] == ["feed the cat"]

        ha.ask("buy stamps")
        ha.sees(lambda: ha.attributes("reply")["question"])
        ha.ask("in 1 second")
        ha.sees(lambda: ha.events)
        assert ha.events[0]["event_type"] == "ring"
        assert ha.events[0]["task"] == "buy stamps"
        ha.press("snooze")
        ha.sees(lambda: ha.attributes("next")["task"] == "buy stamps" and ha.state("pending") == "2"
                and datetime.fromisoformat(ha.state("next")) > datetime.now(UTC) + timedelta(minutes=5))
        again = datetime.fromisoformat(ha.state("next")).astimezone(ZoneInfo("Europe/London"))
        ha.sees(lambda: f" at {again.hour}:{again.minute:02}." in ha.state("reply"))

        ha.ask("remind me to stretch in 1 second")
        ha.sees(lambda: len(ha.events) == 2)
        ha.press("done")
        ha.sees(lambda: ha.state("reply") == "Done: stretch.")
        assert [r["state"] for r in assistant.call("GET", "/reminders?state=done")[1]["reminders"]] == ["done"]

        ha.ask("x" * LONGEST_STATE)
        ha.sees(lambda: ha.state("reply") not in ("", "Done: stretch."))
        ha.tell("assistant/home/request", json.dumps({"text": "remind me to call Ada at noon", "device": "kitchen"}))
        ha.sees(lambda: ha.state("pending") == "3")
        assert "Ada" not in json.dumps(ha.attributes("pending")), "that is between the kitchen and the assistant"


@wanted
def test_home_assistant_is_told_again_when_it_comes_and_for_the_last_time_when_that_is_switched_off(tmp_path, model):
    data = tmp_path / "data"
    with mosquitto(tmp_path / "broker") as broker, home(broker) as ha:
        with daemon(data, broker) as assistant:
            ha.sees(ha.available)
            told = ha.devices[0]
            ha.tell(TOPIC, b"", retain=True)  # as by a broker that kept nothing
            ha.sees(lambda: len(ha.devices) == 2)
            ha.tell("homeassistant/status", "offline")
            ha.tell("homeassistant/status", "online")
            ha.sees(lambda: len(ha.devices) == 3)
            assert ha.devices == [told, b"", told]
            ha.sees(ha.available)
            assistant.kill()
            ha.sees(lambda: not ha.available())
        with daemon(data, broker):
            ha.sees(lambda: len(ha.devices) == 4 and ha.available())
            assert ha.devices[3] == told, "the same device and the same entities, from run to run"
        with daemon(data, broker, home_assistant="false") as assistant:
            ha.sees(lambda: len(ha.devices) == 5)
            assert ha.devices[4] == b""
            assistant.wait_for("Home Assistant does not show the assistant any more")
            with home(broker) as later:
                later.tell(TOPIC, b"")  # it comes behind what the broker has retained
                later.sees(lambda: later.devices)
                assert later.devices == [b""], "nothing is left at the broker"


class Ears:
    """What can be muted, and hears nothing; `changed` is called then."""

    def __init__(self) -> None:
        self.changed, self._muted = lambda: None, False

    @property
    def muted(self) -> bool:
        return self._muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._muted = muted
        self.changed()

    def listen(self, quiet: bool = False) -> NoReturn:
        raise NoMicrophone

    def hear(self, source: object, channel: str, quiet: bool = True, id: str | None = None) -> NoReturn:
        raise NoMicrophone


@wanted
def test_the_switch_mutes_the_microphone_and_shows_what_others_did_to_it(tmp_path):
    ears = Ears()

    def at_home(broker: Mosquitto, over: OverMqtt) -> None:
        with home(broker) as ha:
            ha.sees(lambda: ha.state("mute") == "off")
            ha.turn("mute", on=True)
            ha.sees(lambda: ha.state("mute") == "on")
            assert ears.muted
            ha.turn("mute", on=False)
            ha.sees(lambda: ha.state("mute") == "off")
            assert not ears.muted
            loop.call_soon_threadsafe(setattr, ears, "muted", True)
            ha.sees(lambda: ha.state("mute") == "on")

    async def assistant(broker: Mosquitto) -> None:
        nonlocal loop
        loop, clock = asyncio.get_running_loop(), SystemClock()
        config = Config(mqtt=Settings(enabled=True, url=broker.url), data={"dir": str(tmp_path)})
        with Store.open(tmp_path / "reminders.db") as store:
            over = OverMqtt(config, store, lambda: {"muted": ears.muted})
            ears.changed = over.changed
            pipeline = Pipeline(ScriptedRewriter(), store, Policy(), ZoneInfo("UTC"), clock, 0.5, over.changed)
            async with asyncio.TaskGroup() as tasks:
                running = over.begin(tasks, Delivery(store, [over.notifier], clock), pipeline, ears)
                await asyncio.to_thread(at_home, broker, over)
                for task in running:
                    task.cancel()

    loop: asyncio.AbstractEventLoop | None = None
    with mosquitto(tmp_path / "broker") as broker:
        asyncio.run(assistant(broker))


def test_the_message_names_the_device_its_version_and_eight_entities():
    found = discovered()
    assert {name: entity["platform"] for name, entity in found.items()} == {
        "next": "sensor", "pending": "sensor", "request": "text", "reply": "sensor", "mute": "switch",
        "done": "button", "snooze": "button", "ring": "event",
    }  # fmt: skip
    message = discovery(Topics("assistant", "home"), Settings().may)
    assert message["dev"]["sw_version"] == message["o"]["sw_version"] == __version__
    assert message["dev"]["identifiers"] == ["assistant_home"]
    assert sorted(entity["unique_id"] for entity in found.values()) == sorted(f"assistant_home_{name}" for name in found)


def test_what_devices_may_not_do_has_no_entity_and_loses_the_one_that_it_had():
    found = discovered(may=("create", "list", "done"))
    assert (found["mute"], found["snooze"]) == ({}, {})
    assert found["done"]["platform"] == "button"


@pytest.mark.parametrize(("status", "shown"), [
    pytest.param({"muted": True}, "on", id="muted"),
    pytest.param({"muted": False}, "off", id="not muted"),
    pytest.param({"muted": None}, "None", id="without a microphone nobody knows"),
    pytest.param({"state": "offline"}, "None", id="gone"),
])  # fmt: skip
def test_the_switch_shows_whether_the_microphone_is_muted(status, shown):
    assert rendered(discovered()["mute"]["value_template"], value=json.dumps(status)) == shown


def test_a_ring_that_is_repeated_is_another_event():
    template = discovered()["ring"]["value_template"]
    ring = {"id": 7, "task": 'say "<hello>"', "repeat": 2}
    assert json.loads(rendered(template, value=json.dumps(ring))) == ring | {"event_type": "repeat"}


def test_a_long_reply_is_shown_as_far_as_home_assistant_can_and_kept_whole_beside_that():
    reply = discovered()["reply"]
    said = json.dumps({"reply": "é" * 700})
    assert rendered(reply["value_template"], value=said) == "é" * 255
    assert json.loads(rendered(reply["json_attributes_template"], value=said)) == {"text": "é" * 700, "question": False}


def test_without_reminders_the_next_one_is_unknown_and_says_nothing():
    entity = discovered()["next"]
    assert rendered(entity["value_template"], value=NO_REMINDERS) == "None"
    assert rendered(entity["json_attributes_template"], value=NO_REMINDERS) == "{}"


@pytest.mark.parametrize("text", [
    pytest.param('say "hello" {{ 1 + 1 }}', id="quotes and braces"),
    pytest.param("caf\u00e9 <b>\\n' & \u65e5\u672c", id="signs of all sorts"),
])  # fmt: skip
def test_every_text_reaches_the_assistant_as_it_was_written(text):
    said = json.loads(rendered(discovered()["request"]["command_template"], value=text))
    assert said == {"text": text, "device": "home-assistant"}


@pytest.mark.parametrize(("prefix", "site"), [
    pytest.param("assistant", "home", id="the usual ones"),
    pytest.param("my.own/things", "k\u00fcche", id="signs that Home Assistant does not take"),
    pytest.param("a_b", "c", id="an underscore"),
])  # fmt: skip
def test_every_site_is_a_device_of_its_own_that_home_assistant_takes(prefix, site):
    found = discovered(Topics(prefix, site))
    assert found["next"]["state_topic"] == f"{prefix}/{site}/reminders"
    others = [Topics("a", "b_c"), Topics("a/b", "c"), Topics("my.own/things", "kuche"), Topics("assistant", "shed")]
    assert identity(Topics(prefix, site)) not in map(identity, others)


@pytest.mark.parametrize(("wrong", "says"), [
    pytest.param({"o": None}, "None is no object", id="no origin"),
    pytest.param({"dev": {"name": "x"}}, "needs identifiers", id="a device that nobody can tell apart"),
    pytest.param({"mood": "good"}, "must not have", id="a key beside the three"),
    pytest.param({"cmps": {"x": {"p": "todo", "uniq_id": "x"}}}, "no platform", id="a list of things to do"),
    pytest.param({"cmps": {"x": {"p": "button", "cmd_t": "a/b"}}}, "no unique_id", id="no unique id"),
    pytest.param({"cmps": {"x": {"p": "button", "uniq_id": "x"}}}, "lacks", id="a button that does nothing"),
    pytest.param({"cmps": {"x": {"p": "button", "uniq_id": "x", "cmd_t": "a/#"}}}, "cannot publish", id="a wildcard"),
    pytest.param({"cmps": {"x": {"p": "button", "uniq_id": "x", "cmd_t": "a", "val_tpl": "{{ 1 }}"}}}, "must not have",
                 id="a button with a value"),
    pytest.param({"cmps": {"x": {"p": "sensor", "uniq_id": "x", "stat_t": "a", "val_tpl": "{{ 1"}}}, "no template",
                 id="half a template"),
    pytest.param({"cmps": {"x": {"p": "sensor", "uniq_id": "x", "stat_t": "a", "ent_cat": "config"}}}, "configures nothing",
                 id="a sensor that configures"),
    pytest.param({"cmps": {"x": {"p": "text", "uniq_id": "x", "cmd_t": "a", "max": 256}}}, "at most 255",
                 id="a text that is too long"),
    pytest.param({"cmps": {"x": {"p": "event", "uniq_id": "x", "stat_t": "a"}}}, "lacks", id="an event of no type"),
])  # fmt: skip
def test_home_assistant_refuses_what_is_wrong(wrong, says):
    with pytest.raises(ValueError, match=says):
        entities(TOPIC, json.dumps(discovery(Topics("assistant", "home"), ()) | wrong).encode())


def discovered(topics: Topics = Topics("assistant", "home"), may: tuple[str, ...] = Settings().may) -> dict[str, dict]:  # noqa: B008
    topic = f"homeassistant/device/{identity(topics)}/config"
    return entities(topic, json.dumps(discovery(topics, may)).encode())
