"""One connection to a broker, whose messages are acknowledged by hand.

aiomqtt acknowledges on receipt. paho, beneath it, leaves that to its caller where it is told to (`manual_ack_set`,
`ack`); and paho's messages have the DUP flag, which aiomqtt's have not. Messages are acknowledged in the order in which
they came, as the protocol wants it (MQTT 5 and 3.1.1, 4.6): of a client that does otherwise Mosquitto counts wrongly how
many it may send. Besides, what waits is limited here, and a connection that breaks leaves nothing behind.
"""

import hashlib
import logging
import socket
import ssl
from asyncio import Event, Future
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
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

MOST_WAITING, MOST_BYTES = 256, 32 * 2**20
"""Messages that were received and are not acknowledged, and bytes of those that nobody handles yet."""


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
    """Acknowledges it, once, as soon as those that came before are."""
    lost: Callable[[], bool]
    """Whether it cannot be acknowledged any more: the broker will send it again over another connection."""


@dataclass(slots=True, eq=False)
class _Owed:
    """An acknowledgement."""

    mid: int
    taken: bool = False


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
        self._owed = deque[_Owed]()
        """In the order in which the messages came."""
        self._told_of_loss = False

    @property
    def gone(self) -> Future:
        return self._disconnected

    async def receive(self) -> AsyncIterator[tuple[Any, Callable[[], None]]]:
        """paho's messages as they come, each with what acknowledges it. Raises `MqttError` when the connection breaks."""
        async for message, owed in self.messages:
            self.bytes -= len(message.payload)
            yield message, partial(self._ack, owed)

    def _ack(self, owed: _Owed) -> None:
        owed.taken = True
        while self._owed and self._owed[0].taken:
            first = self._owed.popleft()
            if not self._disconnected.done():
                self._client.ack(first.mid, 1)
        if self.dropped and not self._owed:
            self.room.set()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        many = len(self._owed) >= MOST_WAITING or self._queue.qsize() >= MOST_WAITING
        full = self.dropped or many or self.bytes + len(message.payload) > MOST_BYTES
        if not full:
            owed = _Owed(message.mid)
            if message.qos:
                self._owed.append(owed)
            self.bytes += len(message.payload)
            self._queue.put_nowait((message, owed))
        elif message.qos:
            self.dropped = True
            if not self._owed:  # what waits is all of QoS 0
                self.room.set()
        elif not self._told_of_loss:  # whoever sends it so does not mind
            self._told_of_loss = True
            log.warning("messages of QoS 0 are lost, as too many wait", extra={"bytes": self.bytes})

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any = None) -> None:
        if not self._connected.done():  # aiomqtt would wait until its time is over
            self._connected.set_exception(MqttError("it closes the connection"))
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


def message_of(received: Any, taken: Callable[[], None], lost: Callable[[], bool]) -> Message | None:
    """paho's message as ours; None for one whose topic is no text."""
    with suppress(UnicodeDecodeError):
        properties = received.properties
        return Message(
            received.topic, received.payload, received.qos, received.retain, received.dup, received.mid,
            getattr(properties, "ResponseTopic", None), getattr(properties, "CorrelationData", None), taken, lost,
        )  # fmt: skip
    return None


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
