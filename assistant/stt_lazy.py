"""A transcriber that is entered when somebody is first heard: a daemon that nobody speaks to fetches no model."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Self

from assistant.errors import TranscriptionError
from assistant.messages import Transcript, Utterance
from assistant.stt import Transcriber


class LazyTranscriber:
    """The `Transcriber` that it is given; entering enters nothing yet, the first `load` or `transcribe` does.

    Where a process cannot be started, or a file not be read, just then, that is a `TranscriptionError` as well.
    """

    def __init__(self, engine: Transcriber) -> None:
        self._engine = engine
        self._entering = asyncio.Lock()
        self._entered = False

    @property
    def name(self) -> str:
        return self._engine.name

    async def __aenter__(self) -> Self:
        self._parts = AsyncExitStack()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._parts.aclose()

    async def begin(self) -> None:
        """Enter it and load nothing: a model that is not here is fetched from now on. What goes wrong is told when
        something is to be transcribed."""
        with suppress(TranscriptionError):
            async with self._ready():
                pass

    async def load(self) -> None:
        async with self._ready() as engine:
            await engine.load()

    async def transcribe(self, utterance: Utterance) -> Transcript:
        async with self._ready() as engine:
            return await engine.transcribe(utterance)

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[Transcriber]:
        try:
            async with self._entering:
                if not self._entered:
                    await self._parts.enter_async_context(self._engine)
                    self._entered = True
            yield self._engine
        except OSError as e:
            why = (e.strerror or str(e)).lower()
            raise TranscriptionError(f"{self.name} cannot be asked ({why}): say it again in a moment.") from e
