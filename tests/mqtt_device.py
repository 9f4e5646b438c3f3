"""Another device: paho's client in a thread of its own."""

import json
import queue
import socket
import threading
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

BASE = "assistant/home/"


class Device:
    """Publishes below `assistant/home/` and hears what is published at `topics`; a context manager."""

    def __init__(self, url: str, *topics: str, name: str = "", version: str = "5", lasting: bool = False) -> None:
        place = urlsplit(url)
        self._place = place.hostname, place.port
        protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
        session = {} if version == "5" else {"clean_session": not lasting}
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=protocol, **session)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect, self.client.on_message = self._on_connect, self._on_message
        self.client.on_socket_open = lambda _, __, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.on_subscribe = lambda *_: self._ready.put(None)
        self.client.on_publish = lambda *_: self.taken.release()
        self.taken = threading.Semaphore(0)
        """Counts the messages that the broker has taken."""
        self._topics, self._ready = topics, queue.Queue()
        self._heard: queue.Queue[Any] = queue.Queue()

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        if self._topics:
            client.subscribe([(topic, 1) for topic in self._topics])
        else:
            self._ready.put(None)

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        self._heard.put(message)

    def __enter__(self) -> "Device":
        self.client.connect(*self._place)
        self.client.loop_start()
        self._ready.get(timeout=20)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def send(
        self, topic: str, payload: object, *, qos: int = 1, retain: bool = False, answer_at: str = "",
        correlation: bytes = b"", wait: bool = True,
    ) -> mqtt.MQTTMessageInfo:  # fmt: skip
        """An object is sent as JSON. Returns when the broker has it."""
        properties = None
        if answer_at:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic, properties.CorrelationData = answer_at, correlation
        data = payload if isinstance(payload, str | bytes) else json.dumps(payload)
        sent = self.client.publish(topic if "/" in topic and topic.startswith(("hermes", "assistant")) else BASE + topic,
                                   data, qos, retain, properties)
        if wait:
            sent.wait_for_publish(20)
        return sent

    def message(self, seconds: float = 20) -> mqtt.MQTTMessage:
        """The next one, waited for."""
        return self._heard.get(timeout=seconds)

    def heard(self, topic: str = "", seconds: float = 20, **wanted: object) -> dict:
        """The next JSON at a topic (below `assistant/home/`) with these among its fields; others are passed over."""
        until = monotonic() + seconds
        while (left := until - monotonic()) > 0:
            message = self.message(left)
            if topic and message.topic not in (topic, BASE + topic):
                continue
            body = json.loads(message.payload)
            if wanted.items() <= body.items():
                return body
        raise AssertionError(f"nothing like {wanted} at {topic}")

    def nothing_more(self) -> list[str]:
        """Topics of what was heard and not asked for."""
        return [self._heard.get().topic for _ in range(self._heard.qsize())]
