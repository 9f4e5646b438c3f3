"""What a device hears while somebody speaks to it, in chunks: `start`, `chunk` ..., `stop`."""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from assistant.audio import Block, Blocks
from assistant.clock import Clock
from assistant.errors import BadRequest, TooManyRequests
from assistant.mqtt_topics import MOST_SOUND

MOST_STREAMS = 8
"""Devices that are spoken to at once."""
STALL_SECONDS = 5.0
"""A device that sends nothing for so long has stopped."""


class Chunks:
    """The sound of one device: an `AudioSource` that ends when it is stopped, or stalls."""

    def __init__(self, clock: Clock, stall: float = STALL_SECONDS) -> None:
        self._clock, self._stall = clock, stall
        self._cutter, self._blocks = Blocks(), deque[Block]()
        self._news, self._stopped, self._bytes = asyncio.Event(), False, 0

    def put(self, pcm: bytes) -> None:
        """Samples of 16 bits, little-endian, one channel, 16,000 a second. Raises `BadRequest`."""
        if len(pcm) % 2:
            raise BadRequest("A chunk must have whole samples of two bytes each.")
        self._bytes += len(pcm)
        if self._bytes > MOST_SOUND:
            self.stop()
            raise BadRequest(f"Of what is spoken at once {MOST_SOUND} bytes are heard at most: send stop in between.")
        self._blocks.extend(self._cutter.cut(pcm, self._clock.now()))
        self._news.set()

    def stop(self) -> None:
        self._stopped = True
        self._news.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Block:
        while not self._blocks:
            if self._stopped:
                raise StopAsyncIteration
            self._news.clear()
            try:
                async with asyncio.timeout(self._stall):
                    await self._news.wait()
            except TimeoutError:
                self._stopped = True
        return self._blocks.popleft()


class Streams:
    """Of each device that is spoken to, what it hears."""

    def __init__(self, make: Callable[[], Chunks]) -> None:
        self._make = make
        self._open: dict[str, Chunks] = {}

    def start(self, device: str) -> Chunks:
        """One that was not stopped ends. Raises `TooManyRequests`."""
        self.stop(device)
        if len(self._open) >= MOST_STREAMS:
            raise TooManyRequests(STALL_SECONDS, "Too many devices are spoken to at once")
        self._open[device] = self._make()
        return self._open[device]

    def chunk(self, device: str, pcm: bytes) -> None:
        """Raises `BadRequest`."""
        if device not in self._open:
            raise BadRequest("A chunk of sound came before its start: send start first.")
        self._open[device].put(pcm)

    def stop(self, device: str) -> None:
        if chunks := self._open.pop(device, None):
            chunks.stop()

    def ended(self, device: str, chunks: Chunks) -> None:
        """`chunks` are heard no more."""
        if self._open.get(device) is chunks:
            self.stop(device)
