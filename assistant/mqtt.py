"""The connection to the broker: one, for ever, over which every other part subscribes and publishes.

    connect -> subscribe -> hooks (what is retained is told anew) -> messages -> handlers -> acknowledgement

A message counts as taken when its handler says so (`Message.taken`), which is after its commit, or has ended: only then
is it acknowledged (`mqtt_client.py`), and until then the broker keeps it, over a connection that breaks and over a
process that dies. Everything is subscribed to with QoS 1, also what is published with QoS 2: paho says PUBREC before
anybody could commit, and what it then holds dies with the process.

What waits is bounded: a broker that speaks MQTT 5 is to send no more than `RECEIVE_MAXIMUM` that are not acknowledged.
What does not fit all the same is let go unacknowledged, and asked for again by a new connection when there is room.
Every connection is a new client of paho's, so that nothing is sent twice behind the back of whoever published it.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
from aiomqtt import MqttError, ProtocolVersion
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from assistant.errors import AssistantError, Away
from assistant.mqtt_client import MOST_BYTES, Client, HungUp, Message, message_of, trusted
from assistant.mqtt_topics import Topics
from assistant.sections import Mqtt as Settings

log = logging.getLogger(__name__)

KEEPALIVE = 30
"""Seconds without a word after which one side asks whether the other is there."""
SESSION_SECONDS = 7 * 24 * 3600
"""So long a broker that speaks MQTT 5 keeps messages for an assistant that is switched off."""
RECEIVE_MAXIMUM = 64
"""Messages that are not acknowledged yet, at the most (MQTT 5)."""
HANDLED_AT_ONCE = 32
"""Below `pipeline.MOST_WAITING`, so that devices alone never fill a channel."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between two tries to connect; the pause doubles, and half of it is left to chance."""
GOOD_SECONDS = 10.0
"""A connection that held for so long was a good one: the next pause is the first again."""
OFTEN = 3
"""Short connections in a row, which a client of the same id would account for."""
GOODBYE_SECONDS = 0.5
"""For telling the broker that the assistant stops."""
_VERSIONS = {"auto": (ProtocolVersion.V5, ProtocolVersion.V311), "5": (ProtocolVersion.V5,),
             "3.1.1": (ProtocolVersion.V311,)}
_AT_ONCE = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
"""An answer does not wait for the other side to have noticed the acknowledgement before it, which takes 40 ms."""
_NOT_LET_IN, _OTHER_VERSION = {4, 5, 134, 135}, {1, 132}
"""Reason codes of CONNACK, of MQTT 3.1.1 and 5: a wrong user or password, or not authorised; not this version."""


Handler = Callable[[Message], Awaitable[None]]
Hook = Callable[[], Awaitable[None]]


class _OtherVersion(Exception):
    """The broker does not know this version of the protocol, and there is another one."""


class _Full(Exception):
    """More messages came than fit, and there is room now."""


class Mqtt:
    """The connection, and what it is to do. `run` connects for ever; `says` is the state as a sentence.

    `sleep` is that of asyncio, `clock` tells seconds, `random` how much of a pause is waited. Raises `ConfigError`
    where [mqtt] ca_file cannot be read.
    """

    def __init__(
        self, settings: Settings, client_id: str, *, random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        url = urlsplit(settings.url)
        self.topics = Topics(settings.prefix, settings.site)
        self.client_id = settings.client_id or client_id
        self._settings, self._random, self._sleep, self._clock = settings, random or Random(), sleep, clock
        self._host, self._port = url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883)
        self._tls = trusted(settings.ca_file) if url.scheme == "mqtts" else None
        self._versions = _VERSIONS["3.1.1" if settings.broker == "embedded" else settings.version]
        self._handlers: dict[str, tuple[Handler, bool]] = {}
        self._hooks: list[Hook] = []
        self._goodbyes: list[Hook] = []
        self._slots = asyncio.Semaphore(HANDLED_AT_ONCE)
        self._client: Client | None = None
        self._up = asyncio.Event()
        self._tries, self._told, self._was_up = 0, False, False
        self.will: tuple[str, bytes] | None = None
        """Topic and payload of what the broker publishes, retained, when this client is gone without a word."""
        self.says = "The broker is being connected to."
        self.connections = self.received = self.published = self.refused = self.duplicates = 0
        """Since the start: how often it connected; messages in and out; of those that came the ones that could not be
        taken, and those that the broker sent again."""

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    @property
    def version(self) -> str:
        """The version of the protocol that is spoken, or tried."""
        return "5" if self._versions[0] == ProtocolVersion.V5 else "3.1.1"

    @property
    def broker(self) -> str:
        return f"{self._host}:{self._port}"

    def on(self, filter: str, handler: Handler, *, retained: bool = False) -> None:
        """Subscribe, from the next connection on. No two filters may match one topic.

        An `AssistantError` of the handler is told to the log in a line. What the broker has retained is handed over
        only where that is asked for: a retained request would be set anew at every start.
        """
        self._handlers[filter] = (handler, retained)

    def on_connected(self, hook: Hook) -> None:
        """`hook` is awaited after every connection, when all is subscribed. It may raise `Away`."""
        self._hooks.append(hook)

    def on_stop(self, hook: Hook) -> None:
        """`hook` is awaited before the connection is closed on purpose, for half a second at the most."""
        self._goodbyes.append(hook)

    async def publish(
        self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 1,
        correlation: bytes | None = None, wait: float = 0,
    ) -> None:  # fmt: skip
        """Returns when the broker has acknowledged it. Raises `Away` if it has not, for `wait` seconds.

        Over a connection that breaks and is made anew within that time it may be published twice.
        """
        until = self._clock() + wait
        while True:
            try:
                return await self._publish(topic, payload, retain, qos, correlation)
            except Away:
                if (left := until - self._clock()) <= 0:
                    raise
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._up.wait()

    async def _publish(
        self, topic: str, payload: str | bytes, retain: bool, qos: int, correlation: bytes | None
    ) -> None:
        client = self._client
        if client is None:
            raise Away(self.says)
        properties = None
        if correlation is not None and self.version == "5":
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = correlation
        sending = asyncio.ensure_future(client.publish(topic, payload, qos, retain, properties))
        try:
            await asyncio.wait((sending, client.gone), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise Away("The connection to the broker broke: it is made anew.")
            sending.result()
        except MqttError as e:
            raise Away(f"The broker {self.broker} has not taken a message ({e}): see its log.") from None
        finally:
            sending.cancel()
        self.published += 1

    async def run(self) -> None:
        """Until cancelled. Raises what a bug raised."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                began = self._clock()
                try:
                    await self._session(tasks)
                except _OtherVersion:
                    log.debug("the broker is asked again, by MQTT %s", self.version)
                except _Full:
                    log.debug("more messages came than fit: the broker is asked for them again")
                except (MqttError, Away) as e:
                    self._is_away(e, held=self._clock() - began)
                    await self._sleep(self._pause())

    def _pause(self) -> float:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._tries, 30))
        self._tries += 1
        return longest * (0.5 + self._random.random() / 2)

    def _is_away(self, error: Exception, held: float) -> None:
        """Told once, and once that it is over."""
        was_up = self._was_up
        if was_up and held >= GOOD_SECONDS:
            self._tries = 0
        if was_up:  # it may be another broker, or the same one in a better state
            self._take_other_version()
        self.says = str(error) if isinstance(error, Away) else self._sentence(error, was_up)
        level = logging.DEBUG if self._told else logging.WARNING
        self._told = True
        log.log(level, "%s", self.says)

    def _sentence(self, error: Exception, was_up: bool) -> str:
        if was_up and self._tries >= OFTEN:
            return (f"The broker {self.broker} breaks the connection again and again: see its log, and whether another"
                    f" client calls itself {self.client_id} as well ([mqtt] client_id).")
        if was_up:
            return f"The broker {self.broker} has broken the connection: it is made anew."
        if isinstance(error, MqttConnectError):
            if _code(error) in _NOT_LET_IN:
                return f"The broker {self.broker} does not let the assistant in: set [mqtt] user and password."
            return f"The broker {self.broker} refuses the connection ({error.rc}): see its log, or correct [mqtt]."
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return f"The certificate of the broker {self.broker} is not trusted: set [mqtt] ca_file, or correct url."
        return f"The broker {self.broker} does not answer ({error}): start it, or correct [mqtt] url."

    async def _session(self, tasks: asyncio.TaskGroup) -> None:
        """One connection, until it breaks. Raises `MqttError`, `Away`, `_Full`, `_OtherVersion`."""
        client, self._was_up = self._new_client(), False
        try:
            await client.__aenter__()
        except (MqttError, OSError, ValueError) as e:  # ValueError: a name that cannot be one of a host
            client.abandon()
            if isinstance(e, MqttConnectError) and _code(e) in _OTHER_VERSION and len(self._versions) > 1:
                self._versions = self._versions[1:]
                raise _OtherVersion from None
            if isinstance(e, HungUp):  # as some do who do not know the version
                self._take_other_version()
            raise e if isinstance(e, MqttError) else MqttError(str(e)) from None
        try:
            async with asyncio.TaskGroup() as session:
                session.create_task(self._until_gone(client), name="mqtt connection")
                session.create_task(self._listen(client, tasks), name="mqtt messages")
                session.create_task(self._until_room(client), name="mqtt room")
                await self._begin(client)
        except ExceptionGroup as group:
            expected, bugs = group.split((MqttError, Away, _Full))
            if bugs:
                raise bugs from None
            raise expected.exceptions[0] from None
        except asyncio.CancelledError:
            with suppress(TimeoutError, Away):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    for goodbye in self._goodbyes:
                        await goodbye()
            raise
        finally:
            self._lose()
            with suppress(MqttError, TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await client.__aexit__(None, None, None)
            client.abandon()

    def _take_other_version(self) -> None:
        self._versions = self._versions[1:] + self._versions[:1]

    async def _until_gone(self, client: Client) -> None:
        await asyncio.wait((client.gone,))
        self._lose()
        raise MqttError("it is gone")

    def _lose(self) -> None:
        """There is no connection any more."""
        self._client = None
        self._up.clear()

    def _new_client(self, lasting: bool = True) -> Client:
        how: dict[str, Any] = {"clean_session": not lasting}
        if self._versions[0] == ProtocolVersion.V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval, properties.ReceiveMaximum = SESSION_SECONDS * lasting, RECEIVE_MAXIMUM
            properties.MaximumPacketSize = MOST_BYTES
            how = {"clean_start": not lasting, "properties": properties}
        will = self.will and aiomqtt.Will(self.will[0], self.will[1], qos=1, retain=True)
        return Client(
            hostname=self._host, port=self._port, identifier=self.client_id, protocol=self._versions[0], will=will,
            username=self._settings.user or None, password=self._settings.password or None, keepalive=KEEPALIVE,
            tls_context=self._tls, socket_options=_AT_ONCE, **how,
        )  # fmt: skip

    async def _until_room(self, client: Client) -> None:
        await client.room.wait()
        raise _Full

    async def _begin(self, client: Client) -> None:
        v5 = self._versions[0] == ProtocolVersion.V5
        wanted = [(f, SubscribeOptions(qos=1, noLocal=True) if v5 else 1) for f in self._handlers]
        if wanted:
            for (filter, _), answer in zip(wanted, await client.subscribe(wanted)):
                if getattr(answer, "value", answer) >= 128:
                    log.warning("the broker does not let the assistant read %s: allow it there", filter)
        self._client = client
        for hook in self._hooks:
            await hook()
        if v5:
            self._versions = self._versions[:1]
        self.connections += 1
        self.says = f"Connected to {self.broker}, by MQTT {self.version}."
        self._up.set()
        self._was_up = True
        log.info("the broker is there" if not self._told else "the broker is there again",
                 extra={"broker": self.broker, "version": self.version})
        self._told = False

    async def _listen(self, client: Client, tasks: asyncio.TaskGroup) -> None:
        async for received in client.messages:
            client.bytes -= len(received.payload)
            await self._slots.acquire()
            if message := message_of(received, client):
                tasks.create_task(self._handle(message), name=f"mqtt {message.topic}")
            else:
                self._slots.release()

    async def _handle(self, message: Message) -> None:
        self.received += 1
        self.duplicates += message.duplicate
        handler, retained = self._handler(message.topic)
        facts = {"topic": message.topic, "bytes": len(message.payload)}
        try:
            if message.retain and not retained:
                log.info("a retained message is ignored: publish it without retaining it", extra=facts)
            elif handler:
                await handler(message)
        except Away as e:
            log.warning("nobody could be told: %s", e, extra=facts)
        except AssistantError as e:
            self.refused += 1
            log.warning("a message is not taken: %s", e, extra=facts)
        except Exception:  # acknowledged all the same, as it would end every start
            log.exception("a bug in handling a message", extra=facts)
        finally:
            self._slots.release()
        message.taken()

    def _handler(self, topic: str) -> tuple[Handler | None, bool]:
        """Of what was subscribed to by an earlier run, and is still in the session, there is none."""
        parts = aiomqtt.Topic(topic)
        return next((h for filter, h in self._handlers.items() if parts.matches(filter)), (None, False))


def _code(error: Exception) -> int | None:
    code = getattr(error, "rc", None)
    return getattr(code, "value", code)


async def try_out(settings: Settings) -> str:
    """Connect once, as another client that leaves nothing behind; what was found. Raises `Away`, `ConfigError`."""
    connection = Mqtt(settings, "")
    connection.client_id = f"assistant-{Random().getrandbits(48):012x}"
    for _ in connection._versions:
        client = connection._new_client(lasting=False)
        try:
            async with client:
                return f"{connection.broker} answers, by MQTT {connection.version}"
        except (MqttError, OSError, ValueError) as e:
            client.abandon()
            said = connection._sentence(e, was_up=False)
            connection._take_other_version()
    raise Away(said)
