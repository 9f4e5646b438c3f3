"""A broker for the first device, where no other is installed: inside the daemon, on the network only if it is told to.

Who may come in is decided here, before amqtt hears of them: who says CONNECT in time, and where there is a password
gives it. Packets are handed on whole and of a bounded size. (By itself amqtt gives up the session of whoever's name a
stranger takes, waits for ever for a client that has vanished, mistakes a device that comes back at once for one that is
away, and loses its place in a packet that comes in pieces or is none.)

MQTT 3.1.1 (OASIS); sections are named. Nothing is written to disk: what is retained, and what waits for a device that
is away, is forgotten when the daemon stops.
"""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from socket import socket
from typing import TYPE_CHECKING

from assistant.control_packets import (
    DISCONNECT,
    PUBLISH,
    BadPacket,
    Connect,
    OtherVersion,
    check_publish,
    read_connect,
    read_first,
    read_packet,
)
from assistant.errors import AddressTaken, NotInstalled
from assistant.listen import is_here, open_socket
from assistant.sections import Mqtt

if TYPE_CHECKING:
    from assistant.amqtt_broker import EmbeddedBroker

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 128
CONNECT_SECONDS = 10.0
"""Within which a client must have said who it is."""
MAX_CONNECT = 64 * 1024
"""Bytes of a CONNECT at most, its will included."""
MAX_PACKET = 9 * 2**20
"""Bytes of a packet at most: a recording (`mqtt_topics.MOST_SOUND`) and its topic."""
WRONG_SECONDS = 1.0
"""Who gives a wrong password waits so long for the answer."""
FLUSH_SECONDS = 10.0
"""What a client sent before it left is passed on within this time, or not at all."""
STOP_SECONDS = 0.5
_REFUSED = b"\x20\x02\x00"
"""CONNACK (3.2) up to its return code."""
_VERSION, _UNAVAILABLE, _NOT_AUTHORISED = b"\x01", b"\x03", b"\x05"
_VERSION_5 = b"\x20\x03\x00\x84\x00"
"""CONNACK of MQTT 5 with "unsupported protocol version"."""


@asynccontextmanager
async def embedded(settings: Mqtt) -> AsyncIterator[None]:
    """The broker that the settings want, which is none unless they say `embedded`. That it cannot be had is told to the
    log alone, and so is that it fails: reminders ring without it."""
    async with AsyncExitStack() as parts:
        if settings.enabled and settings.broker == "embedded":
            try:
                check()
                sock = parts.enter_context(open_socket(settings.broker_host, settings.broker_port, "mqtt", "broker_"))
                await parts.enter_async_context(serving(sock, settings.user, settings.password))
            except (AddressTaken, NotInstalled) as e:
                log.error("the embedded broker is not there: %s", e)
            else:
                host, port = sock.getsockname()[:2]
                log.info("the embedded broker listens", extra={"host": host, "port": port})
                if not is_here(host):
                    log.warning("other machines may reach the broker at port %d; what they say is not encrypted", port)
        yield


def check() -> None:
    """Raises `NotInstalled` without amqtt."""
    try:
        import assistant.amqtt_broker  # noqa: F401
    except ImportError as e:
        raise NotInstalled(f"The package amqtt cannot be used ({e}): pip install amqtt==0.12.1.") from None


@asynccontextmanager
async def serving(sock: socket, user: str = "", password: str = "") -> AsyncIterator["EmbeddedBroker"]:
    """A broker on a listening socket. Leaving closes its connections and forgets what it holds."""
    from assistant.amqtt_broker import EmbeddedBroker

    broker = EmbeddedBroker()
    await broker.start()
    gate = _Gate(broker, user, password)
    async with asyncio.TaskGroup() as tasks:
        server = await asyncio.start_server(lambda r, w: gate.connected(r, w, tasks), sock=sock)
        watch = tasks.create_task(_watch(broker, server, gate), name="embedded broker")
        try:
            yield broker
        finally:
            watch.cancel()
            server.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await broker.shutdown()
            gate.close()


async def _watch(broker: "EmbeddedBroker", server: asyncio.Server, gate: "_Gate") -> None:
    await broker.ended()
    log.error("the embedded broker has failed: start the assistant again, or use another broker ([mqtt] url)")
    server.close()
    gate.close()


class _Gate:
    """Lets clients in; `user` and `password` are empty where everybody is."""

    def __init__(self, broker: "EmbeddedBroker", user: str, password: str) -> None:
        self._broker, self._user, self._password = broker, user.encode(), password.encode()
        self._connections: set[asyncio.Task[None]] = set()
        self._names: dict[str, tuple[asyncio.Task[None], asyncio.StreamWriter]] = {}
        """By their client ids: those that are let in."""
        self._closed = False

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tasks: asyncio.TaskGroup) -> None:
        if self._closed or len(self._connections) >= MOST_CONNECTIONS:
            log.debug("a connection too many")
            writer.transport.abort()
            return
        task = tasks.create_task(self._let_in(reader, writer), name="mqtt client")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    def close(self) -> None:
        """Ends every connection."""
        self._closed = True
        for task in self._connections:
            task.cancel()

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = {"peer": str((writer.get_extra_info("peername") or ("",))[0])}
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                first = await read_first(reader, MAX_CONNECT)
            connect = read_connect(first)
            if refusal := await self._refusal(connect):
                log.warning("a device is refused: %s", refusal[0], extra=peer | {"client": connect.client_id})
                writer.write(_REFUSED + refusal[1])
            else:
                await self._serve(first, connect, reader, writer)
        except OtherVersion as e:
            log.debug("a device speaks another version of MQTT", extra=peer | {"version": e.level})
            writer.write(_VERSION_5 if e.level == 5 else _REFUSED + _VERSION)
        except BadPacket as e:
            log.warning("a connection is closed, as it is no MQTT: %s", e, extra=peer)
        except (OSError, EOFError):
            log.debug("a connection has ended", extra=peer)
        except Exception:
            log.exception("a bug", extra=peer)
        finally:
            writer.close()

    async def _refusal(self, connect: Connect) -> tuple[str, bytes] | None:
        """Why not, and the return code."""
        if self._password and not (
            hmac.compare_digest(connect.user, self._user) & hmac.compare_digest(connect.password, self._password)
        ):
            await asyncio.sleep(WRONG_SECONDS)
            return "give it the user and password of [mqtt]", _NOT_AUTHORISED
        from assistant.amqtt_broker import MOST_SESSIONS

        if connect.client_id not in self._broker.sessions and len(self._broker.sessions) >= MOST_SESSIONS:
            return f"{MOST_SESSIONS} others are known already", _UNAVAILABLE
        return None

    async def _serve(
        self, first: bytes, connect: Connect, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        from assistant.amqtt_broker import LISTENER, Writer

        name, me = connect.client_id, asyncio.current_task()
        while older := self._names.get(name):  # the newer one is right (3.1.4)
            older[1].transport.abort()
            await asyncio.wait([older[0]])
        if name:
            self._names[name] = me, writer
            me.add_done_callback(lambda _: self._names.pop(name))
        packets = _Packets(first)
        passing = asyncio.create_task(self._pass_on(connect, reader, packets), name="mqtt packets")
        try:
            await self._broker.external_connected(packets, Writer(writer), LISTENER)
        finally:
            passing.cancel()
            await asyncio.wait([passing])

    async def _pass_on(self, connect: Connect, reader: asyncio.StreamReader, packets: "_Packets") -> None:
        """Packets of a client, whole, until it leaves, or says nothing for one and a half times as long as it promised
        to (3.1.2.10). What it sent before is passed on before its end is."""
        patience, extra = connect.keep_alive * 1.5 or None, {"client": connect.client_id}
        kind = None
        try:
            while kind != DISCONNECT:
                packet = await read_packet(reader, MAX_PACKET, patience)
                kind = packet[0] & 0xF0
                if kind == PUBLISH:
                    check_publish(packet)
                    await self._broker.room(packets)
                elif kind == DISCONNECT:
                    await self._flush(packets)
                await packets.put(packet)
            return
        except BadPacket as e:
            log.warning("a device is disconnected: %s", e, extra=extra)
        except (OSError, EOFError):
            log.debug("a device is gone", extra=extra)
        except Exception:
            log.exception("a bug", extra=extra)
        await self._flush(packets)
        await packets.put(b"")

    async def _flush(self, packets: "_Packets") -> None:
        """(amqtt forgets what it has acknowledged and not passed on when the client leaves.)"""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await packets.taken()
                await self._broker.passed_on(packets)


class _Packets:
    """Where amqtt reads (its `ReaderAdapter`): packet by packet."""

    def __init__(self, first: bytes) -> None:
        self._next: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._rest, self._ended, self._hungry = first, False, asyncio.Event()

    async def put(self, packet: bytes) -> None:
        """The next packet, or nothing for the end."""
        await self._next.put(packet)

    async def taken(self) -> None:
        """Returns when all is read and has been looked at once."""
        await self._next.join()
        await self._hungry.wait()
        for _ in range(3):  # a task for each packet
            await asyncio.sleep(0)

    async def read(self, n: int = -1) -> bytes:
        if not self._rest and not self._ended:
            self._hungry.set()
            self._rest = await self._next.get()
            self._hungry.clear()
            self._next.task_done()
            self._ended = not self._rest
        n = len(self._rest) if n < 0 else n
        data, self._rest = self._rest[:n], self._rest[n:]
        return data

    def feed_eof(self) -> None:
        self._ended = True
