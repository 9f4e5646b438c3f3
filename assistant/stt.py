"""Speech to text: what every engine does, wherever it runs, and which one is used."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from assistant.config import Config
from assistant.errors import ConfigError, NoTranscriber, TranscriptionTimeout
from assistant.messages import Transcript, Utterance
from assistant.sections import Stt
from assistant.stt_hints import Hints
from assistant.stt_models import failed_lately, fetch, on_disk, usual
from assistant.stt_sphinx import LANGUAGE, SphinxTranscriber
from assistant.stt_whisper import WhisperTranscriber

log = logging.getLogger(__name__)
T = TypeVar("T")


class Transcriber(Protocol):
    """Turns an utterance into text. An async context manager: entering loads nothing, leaving frees what it holds.

    `load` loads what the first utterance would, for instance while that is being spoken. Both it and `transcribe` raise
    `TranscriptionError`, and `NoTranscriber` where trying again is of no use. One utterance is worked on after the
    other. Cancelling abandons one; what it holds may be freed only when the engine notices.
    """

    name: str

    async def load(self) -> None: ...

    async def transcribe(self, utterance: Utterance) -> Transcript: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def transcriber(config: Config, recent: Callable[[], Iterable[str]] = tuple, patience: float = 0.0) -> Transcriber:
    """The one that `[stt] engine` names.

    `recent` gives the tasks of reminders of late, which are likely to be spoken of. `patience`: entering waits so many
    seconds for a model that is fetched, then goes on without. Raises `ConfigError`.
    """
    settings = config.stt
    hints = Hints(settings.words, recent)
    match settings.engine:
        case "openai":
            from assistant.stt_openai import OpenAITranscriber

            return OpenAITranscriber(settings, hints)
        case "wyoming":
            from assistant.stt_wyoming import WyomingTranscriber

            return WyomingTranscriber(settings, hints)
        case "pocketsphinx":
            return SphinxTranscriber(settings)
        case "faster-whisper":
            return FetchedTranscriber(settings, hints, None, patience)
        case _:
            meanwhile = SphinxTranscriber(settings) if settings.language == LANGUAGE else None
            return FetchedTranscriber(settings, hints, meanwhile, patience, failed=failed_lately)


class FetchedTranscriber:
    """faster-whisper as soon as its model is on this machine; until then, and if it cannot be had, `meanwhile`.

    A model that is not here is fetched once for each time that this is entered, while others work; what it means for
    the person is said once. Where there is a `meanwhile`, it is left at that if `failed` knows of a fetch that failed
    lately. Without one, `transcribe` waits for the model, and raises `NoTranscriber` if it cannot be had. Raises
    `ConfigError` for a model that does not know the language.
    """

    def __init__(
        self, settings: Stt, hints: Hints, meanwhile: Transcriber | None, patience: float = 0.0,
        fetch: Callable[[str], Awaitable[Path]] = fetch,
        failed: Callable[[str], NoTranscriber | None] = lambda model: None,
    ) -> None:  # fmt: skip
        self._settings, self._hints, self._meanwhile, self._patience = settings, hints, meanwhile, patience
        self._fetch_now, self._failed = fetch, failed
        self._model = settings.model or usual(settings.language)
        if self._model.endswith(".en") and settings.language != "en":
            raise ConfigError(
                f"[stt] model {self._model} knows English only: take {self._model.removesuffix('.en')} for "
                f"{settings.language!r}, or leave it empty."
            )
        self._whisper: WhisperTranscriber | None = None
        self._problem: NoTranscriber | None = None
        self._fetching: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Of the one that would work now."""
        if self._whisper or not self._meanwhile:
            return self._whisper.name if self._whisper else f"faster-whisper:{self._model}"
        return self._meanwhile.name

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as entering:
            if self._meanwhile:
                await entering.enter_async_context(self._meanwhile)
            await self._find(entering)
            self._parts = entering.pop_all()
        if self._fetching and self._patience:
            try:
                await asyncio.wait([self._fetching], timeout=self._patience)
            except asyncio.CancelledError:
                await self.__aexit__(None, None, None)
                raise
        return self

    async def _find(self, parts: AsyncExitStack) -> None:
        if find_spec("faster_whisper") is None:
            self._give_up(NoTranscriber("faster-whisper is not installed: run scripts/start, or pip install it."))
            return
        try:
            folder = await asyncio.to_thread(on_disk, self._model)
        except NoTranscriber as e:
            self._give_up(e)
            return
        if folder:
            await self._use(folder, parts)
        elif self._meanwhile and (problem := self._failed(self._model)):
            self._give_up(problem)
        else:
            until = ""
            if self._meanwhile and not self._patience:
                until = f"; until it is here {self._meanwhile.name} listens, which hears less well"
            log.warning("faster-whisper's model %s is fetched, once%s", self._model, until)
            self._fetching = asyncio.create_task(self._fetch(), name="speech model")

    async def _fetch(self) -> None:
        try:
            folder = await self._fetch_now(self._model)
            await self._use(folder, self._parts)
        except NoTranscriber as e:
            self._give_up(e)
            return
        except Exception as e:  # a bug; whoever waits for the model is to be told something
            log.exception("a bug in fetching the model %s", self._model)
            self._give_up(NoTranscriber(f"faster-whisper's model {self._model} was not fetched ({e}): start again."))
            return
        log.info("faster-whisper's model %s is here and listens from now on", self._model)

    async def _use(self, folder: Path, parts: AsyncExitStack) -> None:
        whisper = WhisperTranscriber(folder, self._settings, self._hints, Path(self._model).name)
        self._whisper = await parts.enter_async_context(whisper)

    def _give_up(self, problem: NoTranscriber) -> None:
        """Use `meanwhile` for good."""
        self._whisper, self._problem = None, problem
        if self._meanwhile:
            log.warning("%s listens, which hears less well: %s", self._meanwhile.name, problem)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fetching:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._parts.aclose()

    async def load(self) -> None:
        await self._first(lambda engine: engine.load())

    async def transcribe(self, utterance: Utterance) -> Transcript:
        return await self._first(lambda engine: engine.transcribe(utterance))

    async def _first(self, ask: Callable[[Transcriber], Awaitable[T]]) -> T:
        """What the first says that can be asked."""
        if self._fetching and not self._meanwhile:
            seconds = self._settings.timeout_seconds
            if not (await asyncio.wait([self._fetching], timeout=seconds))[0]:
                raise TranscriptionTimeout(seconds)
        if self._whisper:
            try:
                return await ask(self._whisper)
            except NoTranscriber as e:
                self._give_up(e)
        if self._meanwhile:
            return await ask(self._meanwhile)
        raise self._problem or NoTranscriber(f"The fetch of the model {self._model} was stopped: start again.")
