"""Other devices: they ask, are answered, ring and acknowledge over a real broker, and a real daemon loses none of it.

The first part is one suite for every broker and version of the protocol; a broker is anything with `url`, `start` and
`kill`.
"""

import asyncio
import gc
import json
import logging
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from assistant.config import load
from assistant.delivery import Delivery, DeliveryPolicy
from assistant.doctor import mqtt as doctor
from assistant.errors import AddressTaken, Away, BadRequest, ConfigError
from assistant.messages import Request, Transcript
from assistant.mqtt import FIRST_PAUSE, LONGEST_PAUSE, Mqtt, try_out
from assistant.mqtt_client import MOST_WAITING, Message, client_id
from assistant.mqtt_devices import Devices
from assistant.mqtt_packets import SAME_PACKET, Packet, Packets
from assistant.mqtt_sound import MOST_STREAMS, Chunks, Streams
from assistant.mqtt_topics import Topics, acknowledgement, body_of, spoken
from assistant.notifiers import Notice
from assistant.outbox import Outbox
from assistant.pipeline import Pipeline
from assistant.push_to_talk import Turn
from assistant.sections import Mqtt as Settings
from assistant.store import Store
from assistant.when import Policy
from tests import soak_mqtt
from tests.certificates import certificate
from tests.fakes import Ear, ScriptedRewriter, StandingClock, Ticks
from tests.mosquitto import Mosquitto, free_port, wanted
from tests.mqtt_device import BASE, Device
from tests.process import Daemon
from tests.scripted_broker import ScriptedBroker
from tests.soak_mqtt import settings
from tests.test_delivery import due, outcomes
from tests.test_pipeline import LONDON

pytestmark = [wanted, pytest.mark.usefixtures("model")]
NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)


async def until(true: Callable[[], object]) -> None:
    """For what has no event."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Home:
    """A broker, the daemon at it, and what devices do."""

    def __init__(self, broker, version: str, daemon: Daemon) -> None:
        self.broker, self.version, self.daemon = broker, version, daemon

    def device(self, *topics: str, name: str = "") -> Device:
        return Device(self.broker.url, *(t if t.startswith("own/") else BASE + t for t in topics), name=name,
                      version=self.version)  # fmt: skip

    def tasks(self) -> list[str]:
        return [r["task"] for r in self.daemon.call("GET", "/reminders")[1]["reminders"]]


class Embedded:
    """The broker inside the daemon: it begins and ends with that."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"mqtt://localhost:{self.port}"

    def __enter__(self) -> "Embedded":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def start(self) -> None:
        pass

    def kill(self) -> None:
        pytest.skip("it is away only when the daemon is")


@pytest.fixture(scope="module", params=["Mosquitto, MQTT 5", "Mosquitto, MQTT 3.1.1", "the embedded broker"])
def home(request, tmp_path_factory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    inside = request.param == "the embedded broker"
    version = "5" if request.param.endswith("5") else "3.1.1"
    with Embedded() if inside else Mosquitto(folder / "broker") as broker:
        how = {"broker": "embedded", "broker_port": str(broker.port)} if inside else {"version": version}
        with Daemon(folder, settings(broker, **how)) as daemon:
            daemon.wait_for("the broker is there")
            yield Home(broker, version, daemon)


# What every broker carries


def test_plain_words_set_a_reminder_and_everybody_is_told(home):
    with home.device("reply") as device:
        device.send("request", "remind me to water the ficus tomorrow at five pm")
        answer = device.heard("reply", kind="create")
    assert answer["reply"].startswith("OK: water the ficus, tomorrow at 17:00")
    assert "water the ficus" in home.tasks()


def test_a_device_that_gives_its_name_is_answered_at_its_own_topic_and_nobody_else_hears_of_it(home):
    with home.device("reply", "reply/hall") as others, home.device("reply/kitchen") as kitchen:
        kitchen.send("request", {"text": "remind me to air the loft on sunday", "device": "kitchen", "id": "7f", "colour": 1})
        answer = kitchen.heard("reply/kitchen")
        assert (answer["id"], answer["kind"]) == ("7f", "create")
        others.send("request", "what is on sunday")
        others.heard("reply")
        assert others.nothing_more() == []


def test_an_answer_goes_where_it_is_wanted(home):
    with home.device("own/answers", "own/others") as device:
        device.send("request", {"text": "remind me to dust tomorrow", "reply_to": "own/others", "device": "kitchen"})
        assert device.heard("own/others")["kind"] == "create"
        if home.version == "5":
            device.send("request", "remind me to hoover tomorrow", answer_at="own/answers", correlation=b"\x00\x01")
            message = device.message()
            assert (message.topic, message.properties.CorrelationData) == ("own/answers", b"\x00\x01")


@pytest.mark.parametrize("topic", [BASE + "request", BASE + "ack", "own/+", "$SYS/x", "hermes/tts/say", "homeassistant/x", 5])
def test_no_answer_goes_where_it_could_do_harm(home, topic):
    with home.device("reply/kitchen") as device:
        device.send("request", {"text": "remind me to dust tomorrow", "reply_to": topic, "device": "kitchen"})
        assert device.heard()["error"]["code"] == "bad_request"


def test_when_belongs_to_the_device_that_was_asked(home):
    with home.device("reply/left", "reply/right") as device:
        for name, task in (("left", "mend the gate"), ("right", "oil the hinge")):
            device.send("request", {"text": f"remind me to {task}", "device": name})
            assert device.heard(f"reply/{name}")["question"]
        device.send("request", {"text": "tomorrow at five pm", "device": "left"})
        assert device.heard("reply/left")["reply"].startswith("OK: mend the gate, tomorrow at 17:00")
        device.send("request", {"text": "tomorrow at six pm", "device": "right"})
        assert device.heard("reply/right")["reply"].startswith("OK: oil the hinge, tomorrow at 18:00")


@pytest.mark.parametrize(("qos", "task"), [(0, "sweep"), (1, "mop"), (2, "polish")], ids=["at most", "at least", "exactly"])
def test_a_request_of_any_quality_of_service_is_set_once(home, qos, task):
    with home.device("reply") as device:
        device.send("request", f"remind me to {task} tomorrow", qos=qos)
        device.heard("reply", kind="create")
    assert home.tasks().count(task) == 1


def test_what_is_sent_again_with_its_id_is_set_once_and_answered_twice(home):
    with home.device("reply/hall") as device:
        for _ in range(2):
            device.send("request", {"text": "remind me to feed the cat tomorrow", "id": "cat", "device": "hall"})
        assert device.heard(id="cat")["reply"] == device.heard(id="cat")["reply"]
    assert home.tasks().count("feed the cat") == 1


def test_the_same_words_without_an_id_are_another_request(home):
    with home.device("reply") as device:
        for _ in range(2):
            device.send("request", "remind me to turn the compost tomorrow")
            device.heard("reply", kind="create")
    assert home.tasks().count("turn the compost") == 2


def test_a_time_that_was_said_a_while_ago_counts_from_then(home):
    ago = datetime.now(UTC) - timedelta(hours=2)
    with home.device("reply/hall") as device:
        device.send("request", {"text": "remind me to prune in three hours", "said_at": ago.isoformat(), "device": "hall"})
        (reminder,) = device.heard("reply/hall")["reminders"]
        assert abs(datetime.fromisoformat(reminder["due"]) - ago - timedelta(hours=3)) < timedelta(seconds=2)
        local = ago.astimezone(LONDON).replace(tzinfo=None).isoformat()
        device.send("request", {"text": "what are my reminders", "said_at": local, "tz": "Europe/London", "device": "hall"})
        assert device.heard("reply/hall")["kind"] == "list"


def test_a_ring_is_published_and_acknowledged_by_whoever_hears_it(home):
    with home.device("due", "reply") as device:
        device.send("request", "remind me to stretch in 1 second")
        ring = device.heard("due", task="stretch")
        assert {"id", "delivery", "due", "late", "repeat"} <= ring.keys() and (ring["repeat"], ring["late"]) == (0, 0)
        device.send("ack", "snooze 10 minutes")
        while "reminder" not in (answer := device.heard("reply")):  # that to the request
            pass
        snoozed = answer["reminder"]
        assert answer["reply"].startswith("OK: stretch, today at")
        assert (snoozed["id"], snoozed["state"]) == (ring["id"], "pending")
        device.send("ack", {"action": "done", "id": ring["id"]})
        assert device.heard("reply", reply="Done: stretch.")["reminder"]["state"] == "done"


def test_the_words_of_what_a_named_device_asked_for_ring_at_that_device_alone(home):
    with home.device("due", "due/study", "reminders", "reply") as device:
        device.send("request", {"text": "remind me to hide the presents in 1 second", "device": "study"})
        assert device.heard("due/study")["task"] == "hide the presents"
        everybody = device.heard("due", private=True)
        assert everybody["task"] == ""
        device.send("ack", "done")  # by somebody else
        told = device.heard("reply", reply="Done.")["reminder"]
        assert (told["state"], told["task"]) == ("done", "")
        device.send("request", {"text": "remind me to hide the cake tomorrow at 6 am", "device": "study"})
        cake = None
        while not cake:
            listed = device.heard("reminders")["reminders"]
            cake = next((r for r in listed if "T06:00" in r["due"]), None)
    assert (cake["task"], cake["private"]) == ("", True) and not any("hide" in r["task"] for r in listed)


def test_the_next_reminders_and_the_state_are_kept_for_whoever_subscribes_later(home):
    with home.device("reply") as device:
        for n in range(22):
            device.send("request", f"remind me to count {n} tomorrow at noon")
        for _ in range(22):
            device.heard("reply", kind="create")
        ahead = len([r for r in home.daemon.call("GET", "/reminders")[1]["reminders"] if r["state"] == "pending"])
    with home.device("reminders", "status") as late:
        kept = {}
        while len(kept) < 2 or kept["reminders"]["pending"] < ahead:
            message = late.message()
            kept[message.topic.removeprefix(BASE)] = json.loads(message.payload)
    assert len(kept["reminders"]["reminders"]) == 20
    assert {"state": "online", "model": "small", "microphone": "closed", "muted": False}.items() <= kept["status"].items()


def test_that_the_microphone_is_muted_is_told_at_once_whoever_did_it(home):
    with home.device("status") as device:
        for muted in (True, False):
            home.daemon.call("POST", "/hearing", {"muted": muted})
            device.heard("status", muted=muted)


def test_the_daemon_tells_of_its_broker_and_counts_messages(home):
    health = home.daemon.call("GET", "/health")[1]["mqtt"]
    assert health == {"broker": home.broker.url[7:], "connected": True,
                      "says": f"Connected to {home.broker.url[7:]}, by MQTT {home.version}."}  # fmt: skip


def test_whatever_is_rung_while_the_broker_is_away_is_published_when_it_is_back(home):
    with home.device("reply") as device:
        device.send("request", "remind me to ring the bell in 2 seconds")
        device.heard("reply", kind="create")
    home.broker.kill()
    home.daemon.wait_for("The broker .* has broken the connection")
    home.daemon.wait_for("RING .*ring the bell")
    home.daemon.process.send_signal(signal.SIGSTOP)  # until the device hears: what rings is not retained
    home.broker.start()
    with home.device("due") as device:
        home.daemon.process.send_signal(signal.SIGCONT)
        assert device.heard("due", task="ring the bell")["late"] >= 0
        home.daemon.wait_for("the broker is there again")


def test_a_daemon_that_dies_is_reported_offline_by_the_broker(home):
    if isinstance(home.broker, Embedded):
        pytest.skip("it dies with the daemon")
    with home.device("status") as device:
        device.heard("status", state="online")
        home.daemon.kill()
        assert device.heard("status", state="offline")


# One broker is enough for the rest


def test_a_retained_request_is_set_when_it_comes_and_not_again_at_every_start(tmp_path):
    with Mosquitto(tmp_path / "broker") as broker, Device(broker.url, BASE + "reply") as device:
        with Daemon(tmp_path, settings(broker)) as daemon:
            daemon.wait_for("the broker is there")
            device.send("request", "remind me to breathe tomorrow", retain=True)
            device.heard("reply", kind="create")
            assert daemon.stop() == 0
        with Daemon(tmp_path, settings(broker, may="list,done", hermes="true")) as daemon:
            daemon.wait_for("a retained message is ignored")
            assert daemon.call("GET", "/health")[1]["pending"] == 1
            # ... what may not be asked for is refused in a sentence,
            device.send("request", "remind me to dust tomorrow")
            assert device.heard(error={"code": "refused", "message": (
                'Nobody may "create" from here: ask in another way, or allow it in the settings.')})
            device.send("ack", "snooze")
            assert device.heard()["error"]["code"] == "refused"
            device.send("request", "what are my reminders")
            assert "breathe" in device.heard(kind="list")["reply"]
            # and Rhasspy's satellites are answered.
            with Device(broker.url, "hermes/tts/say") as satellite:
                captured = {"text": "what are my reminders", "siteId": "bedroom", "sessionId": "s1", "likelihood": 1}
                satellite.send("hermes/asr/textCaptured", captured)
                said = satellite.heard("hermes/tts/say", siteId="bedroom", sessionId="s1")
            assert "breathe" in said["text"]


def test_two_hundred_requests_at_once_are_set_once_each_in_little_memory(tmp_path):
    faults, grown = soak_mqtt.burst(200, tmp_path)
    assert faults == [] and grown < 60


def test_however_often_the_broker_is_killed_each_request_is_set_once(tmp_path):
    assert soak_mqtt.kills(5, seed=1, folder=tmp_path) == []


def test_without_an_id_as_well_each_request_is_set_once_by_a_broker_that_remembers(tmp_path):
    assert soak_mqtt.restarts(3, seed=1, folder=tmp_path) == []


def test_two_hundred_malformed_messages_are_a_clear_line_each(tmp_path):
    assert soak_mqtt.malformed(200, seed=1, folder=tmp_path) == []


def test_a_packet_is_acknowledged_when_it_is_committed_and_known_when_it_is_sent_again(tmp_path):
    with ScriptedBroker() as broker, Daemon(tmp_path, settings(broker)) as daemon:
        broker.subscribed.get(timeout=20)

        def ask(mid: int, duplicate: bool = False) -> None:
            broker.send(BASE + "request", b"remind me to wind the clock tomorrow", mid, duplicate)

        with sqlite3.connect(tmp_path / "reminders.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")  # nobody else can commit
            ask(7)
            daemon.wait_for("cannot store what devices say")
            assert broker.acknowledged.empty()
            other.execute("COMMIT")
        assert broker.acknowledged.get(timeout=20) == 7
        broker.drop()  # as if it had not come
        broker.subscribed.get(timeout=20)
        ask(7, duplicate=True)
        assert broker.acknowledged.get(timeout=20) == 7
        assert daemon.call("GET", "/health")[1]["pending"] == 1
        ask(8)  # the same words again
        ask(7)  # and a broker that has begun to count anew
        assert {broker.acknowledged.get(timeout=20) for _ in range(2)} == {7, 8}
        while daemon.call("GET", "/health")[1]["pending"] < 3:
            time.sleep(0.05)


# The connection


class Watched:
    """A connection in this process, whose pauses a test ends."""

    def __init__(self, url: str, **more: str) -> None:
        self.ticks = Ticks()
        self.mqtt = Mqtt(Settings(enabled=True, url=url, **more), "assistant-test", sleep=self.ticks.sleep,
                         random=Random(1))  # fmt: skip

    async def until_connected(self) -> None:
        async with asyncio.timeout(20):
            await self.mqtt._up.wait()


@asynccontextmanager
async def running(watched: Watched) -> AsyncIterator[Mqtt]:
    task = asyncio.create_task(watched.mqtt.run())
    try:
        yield watched.mqtt
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_broker_that_is_away_is_told_once_and_tried_for_ever_with_growing_pauses(caplog):
    port = free_port()
    watched = Watched(f"mqtt://127.0.0.1:{port}")
    async with running(watched) as mqtt:
        pauses = [await watched.ticks.tick_on() for _ in range(12)]
        assert not mqtt.connected and mqtt.says.startswith(f"The broker 127.0.0.1:{port} does not answer")
        with pytest.raises(Away):
            await mqtt.publish("a", b"")
    assert FIRST_PAUSE / 2 <= pauses[0] <= FIRST_PAUSE and pauses[3] > 2 * pauses[0]
    assert LONGEST_PAUSE / 2 <= pauses[-1] <= LONGEST_PAUSE
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [mqtt.says]


async def test_that_a_connection_does_not_last_is_told_with_what_may_be_the_matter():
    with ScriptedBroker() as broker:
        watched, says = Watched(broker.url, version="3.1.1"), []
        async with running(watched) as mqtt:
            for _ in range(4):
                await watched.until_connected()
                broker.drop()
                await watched.ticks.tick_on()
                says.append(mqtt.says)
    assert says[0].endswith("has broken the connection: it is made anew.")
    assert "again and again" in says[3] and "calls itself assistant-test as well" in says[3]


async def test_more_messages_than_fit_are_asked_for_again_when_there_is_room():
    with ScriptedBroker() as broker:
        watched, go, seen = Watched(broker.url, version="3.1.1"), asyncio.Event(), set()

        async def handle(message) -> None:
            await go.wait()
            seen.add(message.payload)

        watched.mqtt.on("x/#", handle)
        async with running(watched):
            await watched.until_connected()
            broker.subscribed.get(timeout=20)
            several = {n: b"%d" % n for n in range(1, MOST_WAITING + 200)}
            for n, payload in several.items():
                broker.send("x/y", payload, n)
            await until(lambda: watched.mqtt._client.dropped)
            go.set()
            await asyncio.to_thread(broker.subscribed.get, timeout=20)  # a new connection
            for n, payload in several.items():
                if payload not in seen:
                    broker.send("x/y", payload, n, duplicate=True)
            await until(lambda: len(seen) == len(several))


async def test_a_handler_that_is_wrong_ends_nothing_and_its_message_is_not_sent_for_ever(caplog):
    with ScriptedBroker() as broker:
        watched = Watched(broker.url, version="3.1.1")

        async def handle(message) -> None:
            raise ZeroDivisionError

        watched.mqtt.on("x/#", handle)
        async with running(watched):
            await watched.until_connected()
            broker.send("x/y", b"", 3)
            assert await asyncio.to_thread(broker.acknowledged.get, timeout=20) == 3
    assert "a bug in handling a message" in caplog.text


async def test_a_broker_that_does_not_know_version_5_is_spoken_to_in_3_1_1_without_a_complaint(caplog):
    with ScriptedBroker() as broker:
        watched = Watched(broker.url)
        async with running(watched) as mqtt:
            await watched.until_connected()
            assert mqtt.version == "3.1.1"
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


async def test_a_broker_that_was_away_is_spoken_to_in_version_5_all_the_same(tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    watched = Watched(broker.url)
    async with running(watched) as mqtt:
        for _ in range(2):  # three times in all
            await watched.ticks.tick()
        await asyncio.to_thread(broker.start)
        await watched.ticks.tick_on()
        await watched.until_connected()
        assert mqtt.version == "5"
    broker.kill()


@pytest.fixture(scope="module")
def secret_broker(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A broker with TLS and a password; its address and its certificate."""
    folder = tmp_path_factory.mktemp("secret")
    pem, passwords = certificate(folder, "broker", "127.0.0.1"), folder / "passwords"
    subprocess.run([shutil.which("mosquitto_passwd"), "-b", "-c", passwords, "anna", "s3cret"], check=True)
    passwords.chmod(0o644)
    for file in (pem, folder / "broker.key"):
        file.chmod(0o644)
    more = f"password_file {passwords}\ncertfile {folder}/broker.crt\nkeyfile {folder}/broker.key"
    with Mosquitto(folder / "b", more, anonymous=False) as broker:
        yield broker.url.replace("mqtt:", "mqtts:"), folder / "broker.crt"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "answers, by MQTT 5"),
        ({"version": "3.1.1"}, "answers, by MQTT 3.1.1"),
        ({"password": "wrong"}, "does not let the assistant in: set [mqtt] user and password."),
        ({"user": ""}, "does not let the assistant in: set [mqtt] user and password."),
        ({"ca_file": ""}, "is not trusted: set [mqtt] ca_file, or correct url."),
    ],
    ids=["MQTT 5", "MQTT 3.1.1", "a wrong password", "no user", "a certificate that nobody signed"],
)
async def test_over_tls_with_a_password_it_is_let_in_or_told_why_not(secret_broker, change, said):
    url, ca = secret_broker
    right = {"url": url, "user": "anna", "password": "s3cret", "ca_file": str(ca)}
    try:
        found = await try_out(Settings(enabled=True, **(right | change)))
    except Away as e:
        found = str(e)
    assert found.endswith(said)


def test_the_doctor_says_what_is_wrong_with_the_broker(secret_broker, tmp_path):
    url, ca = secret_broker
    config = load(environ={}, mqtt={"enabled": True, "url": url, "user": "anna", "password": "s3cret", "ca_file": str(ca)})
    assert [(f.state, f.name) for f in doctor(config)] == [("ok", "mqtt")]
    (finding,) = doctor(load(environ={}, mqtt={"enabled": True, "url": f"mqtt://127.0.0.1:{free_port()}"}))
    assert (finding.state, finding.advice) == ("fail", "start it, or correct [mqtt] url")
    assert [*doctor(load(environ={}))] == []
    with pytest.raises(ConfigError, match="ca_file"):
        Mqtt(Settings(url=url, ca_file=str(tmp_path / "none.crt")), "x")


def test_the_doctor_looks_at_the_embedded_broker_which_is_there_only_while_the_assistant_runs():
    port = free_port()
    inside = {"enabled": True, "url": f"mqtt://localhost:{port}", "broker": "embedded", "broker_port": port}
    config = load(environ={}, mqtt=inside)
    assert [(f.state, f.found) for f in doctor(config)] == [
        ("ok", "the embedded broker starts with the assistant; its port is free")]
    with socket.socket() as other, pytest.raises(AddressTaken, match="broker_port"):
        other.bind(("127.0.0.1", port))
        [*doctor(config)]
    assert Mqtt(config.mqtt, "x").version == "3.1.1"
    with pytest.raises(ConfigError, match='set version to "auto"'):
        load(environ={}, mqtt=inside | {"version": "5"})


def test_the_client_id_stays_and_is_another_for_another_folder(tmp_path):
    one, other = (load(environ={}, data={"dir": str(tmp_path / name)}) for name in "ab")
    assert client_id(one) == client_id(one) != client_id(other)


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://a:b@x", "mqtt://x:0", "mqtt://x:99999", "mqtt://x/y", "x"])
def test_an_address_that_is_no_broker_is_refused(url):
    with pytest.raises(ConfigError, match="mqtt.url"):
        load(environ={}, mqtt={"url": url})


# Rings


async def test_a_notifier_whose_broker_is_away_never_gives_up_and_goes_on_at_once_when_it_is_back(tmp_path):
    class Absent(Ear):
        async def notify(self, notice: Notice) -> None:
            self.calls.put_nowait(notice)
            if self.deaf:
                raise Away("The broker is away.")

    with Store.open(tmp_path / "reminders.db") as store:
        due(store)
        ear, clock = Absent("mqtt", deaf=True), StandingClock(NOW)
        delivery = Delivery(store, [ear], clock, DeliveryPolicy(tries=1, first_retry=timedelta(hours=1)))
        task = asyncio.create_task(delivery.run())
        await ear.heard()
        await until(lambda: outcomes(store))
        assert Outbox(store.db).next_try("mqtt") > NOW  # though one try is all that others have
        ear.deaf = False
        delivery.retry("mqtt")
        await ear.heard()
        await until(lambda: outcomes(store)[0][3])
        task.cancel()


def test_a_packet_is_known_again_while_it_is_under_way_and_for_a_day_after_it_was_taken(tmp_path):
    def packet(duplicate: bool, payload: bytes = b"RIFF") -> Packet:
        return packets.of(Message("audio", payload, 1, False, duplicate, 7, None, None, lambda: None, lambda: False))

    with Store.open(tmp_path / "reminders.db") as store:
        packets = Packets(store)
        first = packet(False)
        assert packet(True).id(NOW) == first.id(NOW) == (id := first.id(NOW + SAME_PACKET))
        for name in (id, f"{id}.2"):  # a recording of two requests
            store.add_request(Request(name, "call mum", "mqtt", NOW))
        del first
        gc.collect()
        assert packet(True).id(NOW + SAME_PACKET / 2) == id
        assert len({id, packet(False).id(NOW), packet(True, b"other").id(NOW), packet(True).id(NOW + SAME_PACKET)}) == 4


# Sound, and the assistant's own microphone


class Ears:
    """Hears one thing, whatever the sound, and remembers what it was asked to hear."""

    def __init__(self, *said: str) -> None:
        self.said, self.heard, self.mutes = said, [], []

    @property
    def muted(self) -> bool:
        return self.mutes[-1:] == [True]

    @muted.setter
    def muted(self, muted: bool) -> None:
        self.mutes.append(muted)

    @asynccontextmanager
    async def listen(self, quiet: bool = False):
        self.heard.append(quiet)
        yield self._turns()

    async def hear(self, source, channel: str, quiet: bool = True, id: str | None = None):
        async with source:
            sound = [block.pcm async for block in source]
        self.heard.append((len(b"".join(sound)), channel))
        async for turn in self._turns():
            yield turn

    async def _turns(self):
        for text in self.said:
            yield Turn(Transcript(text, "ears", 0.9, 1.0), {"reply": f"OK: {text}.", "question": False}, f"OK: {text}.")


@asynccontextmanager
async def at_home(broker: Mosquitto, folder: Path, ears: Ears | None, **settings) -> AsyncIterator[None]:
    """The devices' side of the daemon in this process."""
    with Store.open(folder / "reminders.db") as store:
        pipeline = Pipeline(ScriptedRewriter(), store, Policy(), LONDON, StandingClock(NOW), 0.5, lambda: None)
        watched = Watched(broker.url)
        Devices(watched.mqtt, pipeline, Settings(**settings), ears)
        async with running(watched):
            await watched.until_connected()
            yield


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as one:
        yield one


@asynccontextmanager
async def device_at(broker: Mosquitto, *topics: str) -> AsyncIterator[Device]:
    device = Device(broker.url, *(BASE + t for t in topics))
    await asyncio.to_thread(device.__enter__)
    try:
        yield device
    finally:
        await asyncio.to_thread(device.__exit__)


async def test_a_recording_and_what_is_spoken_in_chunks_are_heard_and_answered(broker, tmp_path):
    import io
    import wave

    with wave.open(recording := io.BytesIO(), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\1\0" * 1024)
    ears = Ears("call mum")
    async with at_home(broker, tmp_path, ears), device_at(broker, "reply", "reply/esp32") as device:
        for topic, payload in (("audio", recording.getvalue()), ("audio/esp32/start", b""), *[("audio/esp32/chunk", b"\1\0" * 512)] * 3,
                               ("audio/esp32/stop", b"")):  # fmt: skip
            device.send(topic, payload, wait=False)
        heard = {"reply": "OK: call mum.", "heard": "call mum", "confidence": 0.9, "question": False}
        answers = [await asyncio.to_thread(device.message) for _ in range(2)]  # either may be the first
        assert {m.topic for m in answers} == {BASE + "reply", BASE + "reply/esp32"}
        assert all(heard.items() <= json.loads(m.payload).items() for m in answers)
        assert sorted(ears.heard) == [(2048, "mqtt"), (3072, "mqtt:esp32")]
        device.send("audio/esp32/chunk", b"\1\0", wait=False)
        assert "send start first" in (await asyncio.to_thread(device.heard, "reply/esp32"))["reply"]


async def test_a_button_has_the_microphone_listen_and_a_switch_closes_it(broker, tmp_path):
    ears = Ears("when", "tomorrow")
    async with at_home(broker, tmp_path, ears), device_at(broker, "reply/button") as device:
        device.send("listen", {"device": "button", "quiet": True}, wait=False)
        said = [(await asyncio.to_thread(device.heard, "reply/button"))["heard"] for _ in range(2)]
        assert said == ["when", "tomorrow"] and ears.heard == [True]
        for word, muted in (("on", [True]), ("off", [True, False])):
            device.send("mute", word, wait=False)
            await until(lambda: ears.mutes == muted)  # noqa: B023


async def test_where_nothing_hears_or_too_much_is_asked_the_device_is_told(broker, tmp_path):
    async with at_home(broker, tmp_path, None, requests_a_minute=2), device_at(broker, "reply", "reply/b") as device:
        device.send("listen", "", wait=False)
        assert (await asyncio.to_thread(device.heard, "reply"))["reply"] == "This assistant has no ears: send text."
        for _ in range(3):
            device.send("request", {"text": "hello", "device": "b"}, wait=False)
        codes = [(await asyncio.to_thread(device.heard, "reply/b")).get("error", {}).get("code") for _ in range(3)]
        assert sorted(codes, key=str) == [None, None, "too_many_requests"]


async def test_a_device_that_stops_sending_has_stopped_and_only_so_many_speak_at_once():
    chunks = Chunks(StandingClock(NOW), stall=0.01)
    chunks.put(b"\1\0" * 600)
    assert [len(block.pcm) async for block in chunks] == [1024]
    streams = Streams(lambda: Chunks(StandingClock(NOW)))
    for n in range(MOST_STREAMS):
        streams.start(f"d{n}")
    with pytest.raises(Exception, match="Too many devices"):
        streams.start("another")
    streams.start("d0")  # its own, anew
    with pytest.raises(BadRequest, match="whole samples"):
        streams.chunk("d0", b"\1")


# What is read out of a payload


@pytest.mark.parametrize(
    ("payload", "action", "reminder", "minutes"),
    [
        (b"done", "done", None, None),
        (b"Snooze", "snooze", None, None),
        (b"snooze 10 minutes", "snooze", None, 10),
        (b"snooze for 5 min.", "snooze", None, 5),
        (b'{"action": "done", "id": 3}', "done", 3, None),
        (b'{"action": "snooze", "id": 3, "minutes": 7}', "snooze", 3, 7),
    ],
)
def test_an_acknowledgement_is_read(payload, action, reminder, minutes):
    ack = acknowledgement(body_of(payload))
    assert (ack.action, ack.reminder, ack.minutes) == (action, reminder, minutes)


@pytest.mark.parametrize("payload", [b"done 5 minutes", b"snooze 0 minutes", b"doner", b'{"action": "done", "id": true}'])
def test_what_is_no_acknowledgement_is_refused(payload):
    with pytest.raises(BadRequest):
        acknowledgement(body_of(payload))


def test_a_number_is_an_id_and_half_a_character_is_replaced():
    said = spoken(body_of(rb'{"text": "call \ud800 mum", "id": 12}'))
    assert (said.text, said.id) == ("call ? mum", "12")


def test_answers_may_go_to_any_topic_but_those_that_somebody_obeys():
    topics = Topics("assistant", "home")
    assert topics.answerable("assistant/home/reply/x") and topics.answerable("assistant/other/request")
    assert not any(map(topics.answerable, ("assistant/home/due", "a/#", "", "x" * 201, "a\nb", "homeassistant/x/config", None)))
