"""One connection to a broker, whose messages are acknowledged by hand.

aiomqtt acknowledges on receipt. paho, beneath it, leaves that to its caller where it is told to (`manual_ack_set`,
`ack`); and paho's messages have the DUP flag, which aiomqtt's have not. They are acknowledged as they are done, and not
in the order in which they came (which the protocol wants, 4.6): else a recording that takes its time would hold up all
others; brokers go by the packet's identifier. Besides, what waits is limited here, and a connection that breaks leaves
nothing behind.
"""

import hashlib
import logging
import socket
import ssl
from asyncio import Event, Future
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import aiomqtt
from aiomqtt import MqttError

from assistant.errors import ConfigError

if TYPE_CHECKING:
    from assistant.config import Config

log = logging.getLogger(__name__)
_quiet = logging.getLogger("paho")
_quiet.setLevel(logging.CRITICAL)

MOST_WAITING, MOST_BYTES = 2048, 32 * 2**20
"""Messages, and bytes of them, that were received and that nobody handles yet. Mosquitto 2.0 sends more than its client
says that it may, some hundred too many in a burst of two thousand."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of another client."""

    topic: str
    payload: bytes
    qos: Literal[0, 1]
    retain: bool
    """The broker kept it from before this subscription."""
    duplicate: bool
    """The broker sends it again, as it has not seen it acknowledged (DUP)."""
    mid: int
    """The packet's identifier, the same when it is sent again; 0 where `qos` is."""
    response_topic: str | None
    """Where the answer is wanted (MQTT 5)."""
    correlation: bytes | None
    """What the answer is to carry (MQTT 5)."""
    taken: Callable[[], None]
    """Acknowledges it, once."""
    lost: Callable[[], bool]
    """Whether it cannot be acknowledged any more: the broker will send it again over another connection."""


class HungUp(MqttError):
    """The broker has closed a connection instead of answering CONNECT."""


class Client(aiomqtt.Client):
    """One connection, acknowledged by hand."""

    def __init__(self, **how: Any) -> None:
        super().__init__(logger=_quiet, **how)  # what goes wrong is told by `mqtt.py`
        self._client.manual_ack_set(True)
        self.pending_calls_threshold = 1000  # that many rings at once are no reason for a warning
        self.bytes = 0
        """Of the messages that wait."""
        self.dropped = False
        """Some did not fit, and are to be asked for again."""
        self.room = Event()
        """That can be done now: all others are acknowledged."""
        self._owed = 0
        """How many are not."""
        self._told_of_loss = False

    @property
    def gone(self) -> Future:
        return self._disconnected

    def ack(self, mid: int) -> None:
        self._owed -= 1
        if not self._disconnected.done():
            self._client.ack(mid, 1)
        self._look_for_room()

    def _look_for_room(self) -> None:
        if self.dropped and not self._owed:
            self.room.set()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        many = self._queue.qsize() >= MOST_WAITING
        if not (self.dropped or many or self.bytes + len(message.payload) > MOST_BYTES):
            self._owed += bool(message.qos)
            self.bytes += len(message.payload)
            self._queue.put_nowait(message)
        elif message.qos:
            self.dropped = True
            self._look_for_room()
        elif not self._told_of_loss:  # whoever sends it so does not mind
            self._told_of_loss = True
            log.warning("messages of QoS 0 are lost, as too many wait", extra={"bytes": self.bytes})

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any = None) -> None:
        if not self._connected.done():  # aiomqtt would wait until its time is over
            self._connected.set_exception(HungUp("it closes the connection"))
        super()._on_disconnect(client, userdata, flags, reason, properties)

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        def write() -> None:
            try:
                client.loop_write()
            except Exception as e:
                if not self._disconnected.done():
                    self._disconnected.set_exception(e)

        def watch() -> None:
            if sock.fileno() >= 0:  # aiomqtt remembers the number, which may be that of another socket by now
                self._loop.add_writer(sock.fileno(), write)

        self._loop.call_soon_threadsafe(watch)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any = None) -> None:
        if reason.is_failure:
            log.warning("the broker refuses what is published (%s): allow it there", reason)
        super()._on_publish(client, userdata, mid, reason, properties)

    def abandon(self) -> None:
        """Close a socket that is still there."""
        self._client.disconnect()


def message_of(received: Any, client: Client) -> Message | None:
    """paho's message as ours; None for one whose topic is no text, which is acknowledged."""
    properties, mid, qos = received.properties, received.mid, received.qos
    acknowledged = qos == 0

    def taken() -> None:
        nonlocal acknowledged
        if not acknowledged:
            acknowledged = True
            client.ack(mid)

    try:
        topic = received.topic
    except UnicodeDecodeError:
        taken()
        return None
    return Message(
        topic, received.payload, qos, received.retain, received.dup, mid,
        getattr(properties, "ResponseTopic", None), getattr(properties, "CorrelationData", None),
        taken, client.gone.done,
    )  # fmt: skip


def trusted(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(Path(ca_file).expanduser())
        except (OSError, ssl.SSLError) as e:
            raise ConfigError(f"The certificates of [mqtt] ca_file, {ca_file}, cannot be read ({e}).") from None
    return context


def client_id(config: "Config") -> str:
    """A name that stays the same from run to run, and that an assistant on another machine or folder does not have."""
    place = f"{socket.gethostname()}\0{config.data_dir.absolute()}"
    return f"assistant-{hashlib.sha256(place.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
