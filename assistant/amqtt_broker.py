"""amqtt, a broker of MQTT 3.1.1 in Python, as a part of the daemon: put right where it would lose messages, grow
without end, or tell what nobody asked for. What amqtt does by itself is in parentheses.

Every client has one queue of what it is to be sent, whether it is there or away; only so much of it is under way that
the client can acknowledge it in time. So a slow client keeps nobody waiting but itself.

Read and measured with amqtt 0.12.1, whose private parts are meant here: another version must be read again.
"""

import asyncio
import logging
from collections import OrderedDict
from functools import partial
from typing import Any

from amqtt.adapters import StreamWriterAdapter
from amqtt.broker import Broker, RetainedApplicationMessage
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.mqtt.puback import PubackPacket
from amqtt.session import ApplicationMessage, OutgoingApplicationMessage, Session

from assistant.control_packets import LONGEST_TOPIC

log = logging.getLogger(__name__)

LISTENER = "default"
MOST_WAITING = 64
"""Messages of one client, and of all together, that are not in the others' queues yet: then no more are read."""
MOST_IN_FLIGHT = 20
"""Messages that one client was sent and has not acknowledged."""
MOST_QUEUED, MOST_QUEUED_BYTES = 10_000, 64 * 2**20
"""Messages for one client, and bytes of them; what is more is dropped, and told once. (There is no limit.)"""
MOST_RETAINED = 1000
MOST_SUBSCRIPTIONS = 1000
MOST_SESSIONS = 256
SESSION_SECONDS = 7 * 24 * 3600
"""So long a lasting session is kept for a client that is away."""
MOST_UNREAD = 64 * 1024
"""Bytes that a client has not read, above which it is sent no other message."""
UNREAD_SECONDS = 30.0
"""A client that reads nothing for so long then is disconnected."""
LOOK_SECONDS = 0.005
"""How often it is looked whether there is room again."""


class EmbeddedBroker(Broker):
    """Listens nowhere itself: connections are handed to `external_connected`, those that are let in alone."""

    def __init__(self) -> None:
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)  # what a person should know is said here
        logging.getLogger("transitions").setLevel(logging.WARNING)
        listener = ListenerConfig(type=ListenerType.EXTERNAL)
        super().__init__(
            BrokerConfig(listeners={LISTENER: listener}, plugins={}, session_expiry_interval=SESSION_SECONDS))
        self._broadcast_queue = asyncio.Queue(MOST_WAITING)
        self._subscriptions = _Subscriptions()
        self._clients: dict[object, Session] = {}
        """By what they are read."""
        self._senders: dict[BrokerProtocolHandler, asyncio.Task[None]] = {}
        self._told: set[str] = set()

    async def ended(self) -> None:
        """Returns when it works no more, though nobody has stopped it."""
        await asyncio.wait([self._broadcast_task, self._session_monitor_task], return_when=asyncio.FIRST_COMPLETED)

    async def room(self, reader: object) -> None:
        """Returns when whoever is read by `reader` may send more."""
        while True:
            session = self._clients.get(reader)
            if session is None or not session.delivered_message_queue.full():
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def passed_on(self, reader: object) -> None:
        """Returns when all that was read by `reader` is in the others' queues."""
        while True:
            session = self._clients.get(reader)
            if session is None or session.delivered_message_queue.empty():
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def shutdown(self) -> None:
        for session, _ in self._sessions.values():
            session.will_flag = False  # nobody is left to be told
        await super().shutdown()

    async def _authenticate(self, session: Session, _: ListenerConfig) -> bool:
        """It was let in; now it gets its bounds. (What is for whoever it calls anonymous is not kept.)"""
        if not isinstance(session.retained_messages, _Outgoing):
            session.inflight_out = _Unacknowledged()
            session.retained_messages = _Outgoing()
            session.delivered_message_queue = asyncio.Queue(MOST_WAITING)
        return True

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        if action == Action.PUBLISH:
            return True
        if action == Action.SUBSCRIBE:
            room = topic in self._subscriptions or len(self._subscriptions) < MOST_SUBSCRIPTIONS
            return (room and len(topic) <= LONGEST_TOPIC) or self._tell("a subscription is refused", session)
        return not session.retained_messages.is_full or self._tell("what waits for a device is too much", session)

    def _tell(self, what: str, session: Session) -> bool:
        """Once for each client."""
        if session.client_id not in self._told and len(self._told) < MOST_SESSIONS:
            self._told.add(session.client_id)
            log.warning("the broker: %s", what, extra={"client": session.client_id})
        return False

    async def _handle_client_session(
        self, reader: Any, writer: Any, client_session: Session, handler: BrokerProtocolHandler, *more: Any
    ) -> None:
        """(A client that was hung up on for a mistake is sent to all the same.)"""
        handler.mqtt_publish = partial(_queue, client_session)
        handler.handle_puback = partial(_acknowledged, client_session, handler)
        self._clients[reader] = client_session
        try:
            await super()._handle_client_session(reader, writer, client_session, handler, *more)
        finally:
            del self._clients[reader]
            if sender := self._senders.pop(handler, None):
                sender.cancel()
            if client_session.transitions.state == "connected" and self._get_handler(client_session) is handler:
                nothing = asyncio.get_running_loop().create_future()
                nothing.set_result(None)
                await self._handle_disconnect(client_session, handler, nothing)

    async def _publish_session_retained_messages(self, session: Session) -> None:
        """Called when a client is there. (What came meanwhile is marked as retained, and all of it sent at once.)"""
        handler = self._get_handler(session)
        self._senders[handler] = asyncio.create_task(_send(session, handler), name="mqtt sender")

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """(Whoever connects is told what is retained for the subscriptions of all others.)"""
        if any(s is session for s, _ in self._subscriptions.get(subscription[0], ())):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def retain_message(
        self, source_session: Session | None, topic_name: str | None, data: bytes | bytearray | None,
        qos: int | None = None,
    ) -> None:  # fmt: skip
        if data and topic_name not in self._retained_messages and len(self._retained_messages) >= MOST_RETAINED:
            if source_session:
                self._tell(f"more than {MOST_RETAINED} topics are retained: it is not", source_session)
            return
        await super().retain_message(source_session, topic_name, data, qos)


class Writer(StreamWriterAdapter):
    """The way to a client."""

    @property
    def unread(self) -> int:
        """Bytes that the client has not taken, as far as this side knows."""
        return self._writer.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close it at once. The end is read then, by which amqtt learns of it."""
        self._writer.transport.abort()


async def _queue(session: Session, topic: str, data: bytes, qos: int, retain: bool) -> None:
    """In place of `mqtt_publish`. (All is sent at once, and each message given five seconds.)"""
    session.retained_messages.put_nowait(OutgoingApplicationMessage(None, topic, qos, data, retain))


async def _acknowledged(session: Session, handler: BrokerProtocolHandler, packet: PubackPacket) -> None:
    session.inflight_out.acknowledged(packet.variable_header.packet_id)  # though it may be late
    await BrokerProtocolHandler.handle_puback(handler, packet)


async def _send(session: Session, handler: BrokerProtocolHandler) -> None:
    """What is queued for a client, as long as it is there."""
    window, tasks, writer = asyncio.Semaphore(MOST_IN_FLIGHT), set(), handler.writer

    def over(task: asyncio.Task[OutgoingApplicationMessage]) -> None:
        window.release()
        tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it was not acknowledged; so it is sent again over the next connection

    while True:
        await window.acquire()
        await _until_read(session, writer)
        message = await session.retained_messages.get()
        retain = message.retain and not isinstance(message, RetainedApplicationMessage)
        sending = BrokerProtocolHandler.mqtt_publish(handler, message.topic, message.data, message.qos, retain)
        tasks.add(task := asyncio.create_task(sending, name="mqtt message"))
        task.add_done_callback(over)
        await asyncio.sleep(0)  # so that it is written before the next one


async def _until_read(session: Session, writer: Writer) -> None:
    """Returns when there is room for another message, or the client has been disconnected for want of it."""
    loop = asyncio.get_running_loop()
    until, least = loop.time() + UNREAD_SECONDS, writer.unread
    while not writer.is_closed:
        if writer.unread <= MOST_UNREAD and len(session.inflight_out) < MOST_QUEUED:
            return
        if writer.unread < least:
            until, least = loop.time() + UNREAD_SECONDS, writer.unread
        if loop.time() > until:
            log.warning("a device is disconnected, as it does not read", extra={"client": session.client_id})
            writer.abort()
            return
        await asyncio.sleep(LOOK_SECONDS)


class _Subscriptions(dict[str, list[tuple[Session, int]]]):
    """Topic filter -> subscribers. (It is gone through while others come and go.)"""

    def items(self) -> Any:
        return [(topic, [*sessions]) for topic, sessions in super().items()]

    def __iter__(self) -> Any:
        return iter([*super().__iter__()])


class _Outgoing(asyncio.Queue[ApplicationMessage]):
    """What a client is to be sent."""

    bytes = 0

    @property
    def is_full(self) -> bool:
        return self.qsize() >= MOST_QUEUED or self.bytes >= MOST_QUEUED_BYTES

    def _put(self, item: ApplicationMessage) -> None:
        self.bytes += len(item.data)
        super()._put(item)

    def _get(self) -> ApplicationMessage:
        item = super()._get()
        self.bytes -= len(item.data)
        return item


class _Unacknowledged(OrderedDict[int, OutgoingApplicationMessage]):
    """Packet id -> message that a client was sent. (Those that are waited for in vain, or for which the connection
    breaks, are forgotten instead of being sent again over the next one.)"""

    def pop(self, id: int, *default: Any) -> Any:
        message = self.get(id)
        if message and message.puback_packet is None and message.pubrec_packet is None:
            return message
        return super().pop(id, *default)

    def acknowledged(self, id: int) -> None:
        super().pop(id, None)
