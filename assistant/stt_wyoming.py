"""Speech to text by a server that speaks the Wyoming protocol, as those of Home Assistant do (wyoming-faster-whisper).

    transcribe, audio-start, audio-chunk ..., audio-stop    -> transcript {"text"}

Each utterance has a connection of its own, as with Home Assistant. A Wyoming server does not tell how sure it is:
every text that can be believed counts as sure.
"""

import asyncio
from collections.abc import Iterator
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from assistant.believable import Signs, refusal, tidy, unheard
from assistant.errors import BadEvent, NoTranscriber, TranscriptionError, TranscriptionTimeout
from assistant.messages import Transcript, Utterance
from assistant.sections import Stt
from assistant.stt_hints import NO_HINTS, Hints
from assistant.wyoming_events import MAX_EVENT, missing, read_event

if TYPE_CHECKING:
    from wyoming.event import Event

CONNECT_SECONDS = 5.0
RATE, WIDTH, CHANNELS = 16_000, 2, 1
CHUNK = 2 * 1600
"""Bytes of a tenth of a second."""
LONGEST_SAID = 200
"""Characters of a server's error that are passed on."""


class WyomingTranscriber:
    """The `Transcriber` at `settings.url`. Entering asks nothing yet. Cancelling `transcribe` closes its connection."""

    def __init__(self, settings: Stt, hints: Hints = NO_HINTS) -> None:
        self.name = f"wyoming:{settings.model}" if settings.model else "wyoming"
        self._settings, self._hints = settings, hints
        parts = urlsplit(settings.url)
        self._host, self._port = parts.hostname, parts.port

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def load(self) -> None:
        """There is nothing to load here. Raises `NoTranscriber` without the package."""
        if problem := missing():
            raise NoTranscriber(problem)

    async def transcribe(self, utterance: Utterance) -> Transcript:
        began = perf_counter()
        if why := unheard(utterance):
            return Transcript("", self.name, 0.0, 0.0, why)
        await self.load()
        seconds = self._settings.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                text = tidy(await self._ask(utterance))
        except TimeoutError:
            raise TranscriptionTimeout(seconds) from None
        why = refusal(text, utterance, Signs(), self._hints.prompt)
        sure = 0.0 if why else 1.0
        return Transcript("" if why else text, self.name, sure, round((perf_counter() - began) * 1000, 1), why)

    async def _ask(self, utterance: Utterance) -> str:
        from wyoming.event import async_write_event

        reader, writer = await self._connect()
        try:
            for event in self._events(utterance):
                await async_write_event(event, writer)
            return await self._answer(reader)
        except BadEvent as e:
            raise self._problem(f"gives answers of no use ({e.detail}): check [stt] url") from None
        except OSError as e:
            raise self._problem(f"hung up ({e.strerror or e}): see what its log says") from None
        finally:
            writer.transport.abort()  # also of what is not sent yet: nobody waits for it

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(self._host, self._port, limit=MAX_EVENT)
        except (OSError, UnicodeError) as e:
            detail = "no connection" if isinstance(e, TimeoutError) else getattr(e, "strerror", None) or e
            raise self._problem(f"does not answer ({detail}): see whether it runs, and check [stt] url") from None

    def _events(self, utterance: Utterance) -> "Iterator[Event]":
        from wyoming.asr import Transcribe
        from wyoming.audio import AudioChunk, AudioStart, AudioStop

        names, tasks = self._hints.names, self._hints.tasks.removesuffix(".")
        yield Transcribe(
            self._settings.model or None, self._settings.language,
            transcript_names=names.split(", ") if names else None,
            transcript_terms=tasks.split(". ") if tasks else None,
        ).event()
        yield AudioStart(RATE, WIDTH, CHANNELS).event()
        whole = utterance.pcm[: len(utterance.pcm) // WIDTH * WIDTH]
        for at in range(0, len(whole), CHUNK):
            yield AudioChunk(RATE, WIDTH, CHANNELS, whole[at : at + CHUNK]).event()
        yield AudioStop().event()

    async def _answer(self, reader: asyncio.StreamReader) -> str:
        """The text of the transcript; what comes before it is of no interest. Raises `BadEvent`, OSError."""
        while event := await read_event(reader):
            match event:
                case "transcript", {"text": str(text)}:
                    return text
                case "transcript", _:
                    raise BadEvent("no text")
                case "error", {**data}:
                    raise self._problem(f"reports an error ({_said(data)}): see what its log says")
        raise self._problem("hung up: see what its log says")

    def _problem(self, what: str) -> TranscriptionError:
        return TranscriptionError(f"The transcription server at {self._settings.url} {what}.")


def _said(data: dict[str, Any]) -> str:
    text = " ".join(str(data.get("text") or data.get("code") or "of no name").split())
    return "".join(c for c in text if c.isprintable())[:LONGEST_SAID].rstrip(".")
