"""MQTT's control packets as clients send them, read as far as a broker must know before it trusts one (MQTT 3.1.1;
sections are named)."""

import asyncio
from dataclasses import dataclass

CONNECT, PUBLISH, DISCONNECT = 0x10, 0x30, 0xE0
"""The first bytes of packets (2.2.1), without their flags."""
LEVEL = 4
"""Of the protocol, 3.1.1."""
LONGEST_ID = 128
LONGEST_TOPIC = 256
"""Characters, and of topics bytes; the protocol itself allows 65,535."""
PACKET_SECONDS = 60.0
"""Within which the rest of a packet must come."""


class BadPacket(Exception):
    """It is none, or none that is taken."""


class OtherVersion(BadPacket):
    """`level` is that of another version: 3 is MQTT 3.1, 5 is MQTT 5."""

    def __init__(self, level: int) -> None:
        self.level = level
        super().__init__(f"protocol level {level}")


@dataclass(frozen=True, slots=True)
class Connect:
    """Who connects."""

    client_id: str
    """Empty where the broker is to make one up."""
    user: bytes
    password: bytes
    """Both empty where they are not given."""
    keep_alive: int
    """Seconds within which it says something; 0 where it need not."""


async def read_first(reader: asyncio.StreamReader, most: int) -> bytes:
    """The packet of a client that must be a CONNECT. Raises what `read_packet` does."""
    if (first := await reader.readexactly(1))[0] != CONNECT:
        raise BadPacket("its first packet is no CONNECT")
    return first + await _rest(reader, most)


async def read_packet(reader: asyncio.StreamReader, most: int, patience: float | None = None) -> bytes:
    """A whole packet, which must begin within `patience` seconds.

    Raises `BadPacket` for one of more than `most` bytes, EOFError, OSError.
    """
    async with asyncio.timeout(patience):
        first = await reader.readexactly(1)
    return first + await _rest(reader, most)


async def _rest(reader: asyncio.StreamReader, most: int) -> bytes:
    """A packet without its first byte: the remaining length (2.2.3), and what it says."""
    async with asyncio.timeout(PACKET_SECONDS):
        length, head = 0, b""
        while not head or head[-1] & 0x80:
            head += await reader.readexactly(1)
            length |= (head[-1] & 0x7F) << 7 * (len(head) - 1)
            if len(head) > 4 or length > most:
                raise BadPacket(f"a packet has more than {most} bytes")
        return head + await reader.readexactly(length)


class _Fields:
    """The fields of a packet, one after the other (1.5)."""

    def __init__(self, packet: bytes) -> None:
        self._packet, self._at = packet, 2
        while packet[self._at - 1] & 0x80:  # the remaining length
            self._at += 1

    def raw(self, n: int) -> bytes:
        value = self._packet[self._at : self._at + n]
        if len(value) < n:
            raise BadPacket("a packet ends too early")
        self._at += n
        return value

    def data(self) -> bytes:
        return self.raw(int.from_bytes(self.raw(2)))

    def text(self) -> str:
        try:
            return self.data().decode()
        except UnicodeDecodeError:
            raise BadPacket("a name or topic is no text") from None


def read_connect(packet: bytes) -> Connect:
    """A CONNECT (3.1). Raises `BadPacket`, `OtherVersion`."""
    fields = _Fields(packet)
    if fields.data() not in (b"MQTT", b"MQIsdp"):
        raise BadPacket("its CONNECT names another protocol")
    level, flags = fields.raw(2)
    if level != LEVEL:
        raise OtherVersion(level)
    keep_alive = int.from_bytes(fields.raw(2))
    client_id = fields.text()
    if len(client_id) > LONGEST_ID or not client_id.isprintable():
        raise BadPacket(f"its client id is not printable, or has more than {LONGEST_ID} characters")
    if flags & 0x04:
        _check_topic(fields.text())  # of its will
        fields.data()
    user = fields.data() if flags & 0x80 else b""
    password = fields.data() if flags & 0x40 else b""
    return Connect(client_id, user, password, keep_alive)


def check_publish(packet: bytes) -> None:
    """A PUBLISH (3.3) must be one, to a topic that a client may publish to. Raises `BadPacket`."""
    fields = _Fields(packet)
    _check_topic(fields.text())
    qos = packet[0] >> 1 & 3
    if qos == 3 or (qos and not any(fields.raw(2))):
        raise BadPacket("a message has a quality of service or an id that there is not")


def _check_topic(topic: str) -> None:
    """(4.7)"""
    if not 0 < len(topic.encode()) <= LONGEST_TOPIC or any(c in topic for c in "#+\0") or topic.startswith("$"):
        raise BadPacket(f"nobody may publish to the topic {topic[:40]!r}")
