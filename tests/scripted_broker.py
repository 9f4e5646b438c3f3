"""A broker of MQTT 3.1.1 that sends what a test says, in the packets that the test wants, and remembers what it is told.

The packets are those of https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html, chapter 3.
"""

import queue
import socket
import struct
import threading
from contextlib import suppress

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PING = 1, 3, 4, 8, 12


class ScriptedBroker:
    """One client at a time. A context manager; `acknowledged` are the identifiers of PUBACKs as they come."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"
        self.acknowledged: queue.Queue[int] = queue.Queue()
        self.subscribed: queue.Queue[None] = queue.Queue()
        """A client is connected and has subscribed."""
        self.published: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._client: socket.socket | None = None

    def __enter__(self) -> "ScriptedBroker":
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.drop()
        self._thread.join(20)

    def send(self, topic: str, payload: bytes, mid: int, duplicate: bool = False) -> None:
        """A message of QoS 1."""
        name = topic.encode()
        body = struct.pack("!H", len(name)) + name + struct.pack("!H", mid) + payload
        self._client.sendall(bytes([PUBLISH << 4 | duplicate << 3 | 1 << 1]) + _length(len(body)) + body)

    def drop(self) -> None:
        """Break the connection."""
        if self._client:
            with suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                self._client, _ = self._server.accept()
            except OSError:
                return
            with suppress(OSError, EOFError), self._client:
                self._talk(self._client.makefile("rb"))

    def _talk(self, incoming) -> None:
        while head := incoming.read(1):
            kind, body = head[0] >> 4, incoming.read(_read_length(incoming))
            if kind == CONNECT:
                if body[6] != 4:  # MQTT 5: "unacceptable protocol version", and out
                    self._client.sendall(b"\x20\x02\x00\x01")
                    return
                self._client.sendall(b"\x20\x02\x00\x00")
            elif kind == SUBSCRIBE:
                count, rest = 0, body[2:]
                while rest:
                    count, rest = count + 1, rest[struct.unpack_from("!H", rest)[0] + 3 :]
                self._client.sendall(bytes([0x90, 2 + count]) + body[:2] + b"\x01" * count)
                self.subscribed.put(None)
            elif kind == PUBLISH:
                end = 2 + struct.unpack_from("!H", body)[0]
                self._client.sendall(b"\x40\x02" + body[end : end + 2])
                self.published.put((body[2:end].decode(), body[end + 2 :]))
            elif kind == PUBACK:
                self.acknowledged.put(struct.unpack("!H", body)[0])
            elif kind == PING:
                self._client.sendall(b"\xd0\x00")


def _length(n: int) -> bytes:
    out = b""
    while True:
        n, digit = divmod(n, 128)
        out += bytes([digit | 128 * bool(n)])
        if not n:
            return out


def _read_length(incoming) -> int:
    value, shift = 0, 0
    while True:
        digit = incoming.read(1)
        if not digit:
            raise EOFError
        value |= (digit[0] & 127) << shift
        if not digit[0] & 128:
            return value
        shift += 7
