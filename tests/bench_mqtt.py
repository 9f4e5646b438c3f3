"""How fast requests over MQTT are committed and answered, with a real Mosquitto and the real daemon on this machine.

A request counts as committed when another connection to the database sees it, and as answered when its reply is there.
"""

import json
import sqlite3
import statistics
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.mosquitto import Mosquitto
from tests.mqtt_device import Device
from tests.process import Daemon
from tests.soak_mqtt import NO_LIMIT, settings, words

ONE_BY_ONE, DEVICES = 200, 200


def devices(figures: dict, quantiles: Callable[[list[float]], dict[str, float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        data.mkdir()
        with Mosquitto(Path(folder, "broker")) as broker, Daemon(data, settings(broker) | NO_LIMIT) as daemon:
            daemon.wait_for("the broker is there")
            _one_by_one(figures, quantiles, broker, data)
            _at_once(figures, quantiles, broker)
            assert daemon.process.poll() is None


def _one_by_one(figures: dict, quantiles: Callable, broker: Mosquitto, data: Path) -> None:
    """A device that waits for each answer; another connection to the database looks for the commit."""
    committed, answered = [], []
    with Device(broker.url, "assistant/home/reply/bench") as device:
        db = sqlite3.connect(f"file:{data}/reminders.db?mode=ro", uri=True)
        for n in range(ONE_BY_ONE):
            began = perf_counter()
            device.send("request", {"text": words(n), "id": f"one {n}", "device": "bench"}, wait=False)
            while not db.execute("SELECT 1 FROM requests WHERE id = ?", (f"mqtt:bench:one {n}",)).fetchone():
                sleep(0.0002)
            committed.append((perf_counter() - began) * 1000)
            device.heard("reply/bench", id=f"one {n}")
            answered.append((perf_counter() - began) * 1000)
        db.close()
    figures["MQTT: published to committed ms"] = quantiles(committed)
    figures["MQTT: published to answered ms"] = quantiles(answered)


def _at_once(figures: dict, quantiles: Callable, broker: Mosquitto) -> None:
    """Each of two hundred devices has a connection of its own, asks at the same instant and waits for its answer."""
    answered, everyone = [], threading.Event()
    began: float = 0.0

    def hear(client: mqtt.Client, _: object, message: mqtt.MQTTMessage) -> None:
        assert json.loads(message.payload)["kind"] == "create"
        answered.append((perf_counter() - began) * 1000)
        if len(answered) == DEVICES:
            everyone.set()

    clients = []
    for n in range(DEVICES):
        ready = threading.Event()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, f"bench-{n}", protocol=mqtt.MQTTv5)
        client.on_message, client.on_subscribe = hear, lambda *_, ready=ready: ready.set()
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.subscribe(f"assistant/home/reply/bench-{n}", 1)
        assert ready.wait(20)
        clients.append(client)
    began = perf_counter()
    for n, client in enumerate(clients):
        client.publish("assistant/home/request", json.dumps({"text": words(n), "device": f"bench-{n}"}), 1)
    assert everyone.wait(120), f"{len(answered)} answers"
    whole = perf_counter() - began
    for client in clients:
        client.disconnect()
        client.loop_stop()
    figures[f"MQTT: {DEVICES} devices at once, requests/s"] = round(DEVICES / whole, 1)
    figures[f"MQTT: {DEVICES} devices at once, answered ms"] = quantiles(answered) | {
        "mean": round(statistics.mean(answered), 1)}  # fmt: skip
