"""That something has changed, told to whoever looks on: a broadcast without contents.

Each reader has at most one change waiting, so that nothing grows however slowly he reads; he then looks at the whole
(`overview.py`). What rings and what is done says so by itself; the rest, such as a connection that broke, is found by
looking once a second, and only while somebody looks on.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from assistant.errors import TooManyReaders

MOST_READERS = 32
"""At once: a browser has at most six connections to one program."""
WATCH_SECONDS = 1.0


class Reader:
    """One who looks on."""

    def __init__(self, changes: "Changes") -> None:
        self._changes, self._news = changes, asyncio.Event()

    def wake(self) -> None:
        self._news.set()

    async def next(self) -> str:
        """The id of the newest change, as soon as there is one that he has not been told of."""
        await self._news.wait()
        self._news.clear()
        return self._changes.newest


class Changes:
    """The broadcast. `run` is a name of this run of the program, so that no id is like one of an earlier run."""

    def __init__(self, run: str | None = None) -> None:
        self._run, self._count = run or secrets.token_hex(4), 0
        self._readers: set[Reader] = set()
        self._somebody = asyncio.Event()

    @property
    def newest(self) -> str:
        """The id of the newest change, `RUN-NUMBER`."""
        return f"{self._run}-{self._count}"

    @property
    def readers(self) -> int:
        return len(self._readers)

    def changed(self) -> None:
        """Something has changed."""
        self._count += 1
        for reader in self._readers:
            reader.wake()

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Look on. Raises `TooManyReaders`."""
        if len(self._readers) >= MOST_READERS:
            raise TooManyReaders(MOST_READERS)
        self._readers.add(reader := Reader(self))
        self._somebody.set()
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            if not self._readers:
                self._somebody.clear()

    async def watch(
        self, look: Callable[[], object], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Tell of a change whenever what `look` returns differs from the time before; until cancelled."""
        seen = look()
        while True:
            if not self._readers:
                await self._somebody.wait()
            if (now := look()) != seen:
                seen = now
                self.changed()
            await sleep(WATCH_SECONDS)
