"""Speech to text by a server that takes OpenAI's transcriptions: the way to a graphics card, or to Metal on an M1.

    POST {url}/v1/audio/transcriptions    multipart/form-data: file (WAV), model, language, prompt, temperature

speaches, LocalAI, vLLM and OpenAI itself answer there. whisper.cpp's server takes the same form at `/inference`, where
it is asked if there is nothing at the first place (or started with `--inference-path /v1/audio/transcriptions`).
The answer is wanted as `verbose_json`, which tells how sure the model was; a server that does not know it is asked for
plain `json`, of which every text counts as sure.
"""

import asyncio
import io
import logging
import math
import wave
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from aiohttp import FormData

from assistant.believable import Signs, refusal, tidy, unheard
from assistant.endpoint import Answer, Endpoint
from assistant.errors import (
    RemoteAway,
    RemoteBusy,
    RemoteError,
    RemoteRefused,
    TranscriptionError,
    TranscriptionTimeout,
    WrongAnswer,
)
from assistant.messages import Transcript, Utterance
from assistant.sections import Remote, Stt
from assistant.stt_hints import NO_HINTS, Hints

log = logging.getLogger(__name__)

USUAL_MODEL = "whisper-1"
"""What OpenAI calls it, and whoever serves one model takes for that."""
CONNECT_SECONDS = 5.0
SECTION = "[stt]"


class OpenAITranscriber:
    """The `Transcriber` at `settings.url`. Entering asks nothing yet; raises `ConfigError` for settings that cannot be.

    Cancelling `transcribe` closes its connection, by which a server may know that nobody waits.
    """

    def __init__(self, settings: Stt, hints: Hints = NO_HINTS) -> None:
        self.name = f"openai:{settings.model}" if settings.model else "openai"
        self._settings, self._hints = settings, hints
        seconds = settings.timeout_seconds
        self._endpoint = Endpoint(
            Remote(url=settings.url, key=settings.key, connect_seconds=min(CONNECT_SECONDS, seconds),
                   total_seconds=seconds, ca_file=settings.ca_file),
            SECTION,
        )  # fmt: skip
        self._places = _places(settings.url)
        self._format = "verbose_json"

    async def __aenter__(self) -> Self:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._endpoint.__aexit__(kind, error, trace)

    async def load(self) -> None:
        """There is nothing to load here."""

    async def transcribe(self, utterance: Utterance) -> Transcript:
        began = perf_counter()
        if why := unheard(utterance):
            return Transcript("", self.name, 0.0, 0.0, why)
        prompt = self._hints.prompt
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                text, signs = self._read(await self._ask(utterance, prompt))
        except TimeoutError:
            raise TranscriptionTimeout(self._settings.timeout_seconds) from None
        except RemoteError as e:
            raise self._told(e) from None
        why = refusal(text, utterance, signs, prompt)
        sure = 0.0 if why else math.exp(min(0.0, signs.logprob or 0.0))
        return Transcript("" if why else text, self.name, sure, round((perf_counter() - began) * 1000, 1), why)

    async def _ask(self, utterance: Utterance, prompt: str) -> Answer:
        """The first answer that may be read. Where it came from is asked first the next time."""
        sound, places = wav(utterance.pcm), [*self._places]
        while True:
            answer = await self._endpoint.call(places[0], form=lambda: self._form(sound, prompt))
            problem = self._endpoint.problem(answer)
            if not problem:
                self._places = places
                return answer
            if answer.status in (404, 405) and len(places) > 1:
                places.pop(0)
            elif self._format != "json" and answer.status in (400, 422) and _names_the_format(answer):
                log.warning("%s does not tell how sure it is of what it hears", self._endpoint.url)
                self._format = "json"
            else:
                raise problem

    def _form(self, sound: bytes, prompt: str) -> FormData:
        form = FormData()
        form.add_field("file", sound, filename="utterance.wav", content_type="audio/wav")
        form.add_field("model", self._settings.model or USUAL_MODEL)
        form.add_field("language", self._settings.language)
        form.add_field("response_format", self._format)
        form.add_field("temperature", "0")
        if prompt:
            form.add_field("prompt", prompt)
        return form

    def _read(self, answer: Answer) -> tuple[str, Signs]:
        match answer.json():
            case {"text": str(text), **rest}:
                return tidy(text), _signs(rest.get("segments"))
        raise WrongAnswer(self._endpoint.url, "no transcript")

    def _told(self, error: RemoteError) -> TranscriptionError:
        """The error as one of transcription, which names the settings that it is about."""
        server = f"The transcription server at {self._endpoint.url}"
        match error:
            case RemoteAway():
                told = TranscriptionError(f"{server} does not answer ({error.detail}): {error.advice}.")
            case RemoteBusy():
                told = TranscriptionError(f"{server} has too much to do: try again in a moment.")
            case RemoteRefused(found=401 | 403):
                told = TranscriptionError(f"{server} refuses us (HTTP {error.found}): check [stt] key.")
            case RemoteRefused():
                told = TranscriptionError(f"{server} refuses us (HTTP {error.found}): check [stt] url and model.")
            case WrongAnswer():
                told = TranscriptionError(f"{server} gives answers of no use ({error.detail}): check [stt] url.")
            case _:
                told = TranscriptionError(f"{server} cannot be asked: check [stt] url.")
        told.retry_after = error.retry_after
        return told


def wav(pcm: bytes) -> bytes:
    """Samples of an `Utterance` as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(pcm[: len(pcm) // 2 * 2])
    return file.getvalue()


def _places(url: str) -> list[str]:
    """Where below `url` transcriptions may be had, the likeliest first."""
    if url.endswith(("/transcriptions", "/inference")):
        return [""]
    if url.endswith("/v1"):
        return ["/audio/transcriptions"]
    return ["/v1/audio/transcriptions", "/inference"]


def _names_the_format(answer: Answer) -> bool:
    said = answer.body.lower()
    return b"response_format" in said or b"verbose_json" in said


def _signs(segments: Any) -> Signs:
    """Of all segments, each as long as its text; what is no number is not told."""
    if not isinstance(segments, list):
        return Signs()
    told = [(len(str(s.get("text", ""))) or 1, s) for s in segments if isinstance(s, dict)]
    silence = [p for _, s in told if (p := _number(s.get("no_speech_prob"))) is not None and 0 <= p <= 1]
    sure = [(n, p) for n, s in told if (p := _number(s.get("avg_logprob"))) is not None and p <= 0]
    return Signs(
        min(silence) if silence else None,
        sum(n * p for n, p in sure) / sum(n for n, _ in sure) if sure else None,
    )


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None
