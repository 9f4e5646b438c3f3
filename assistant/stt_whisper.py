"""Speech to text by faster-whisper: a Whisper model through CTranslate2, here, on the processor.

The model is loaded for the first utterance, once, and kept: base.en takes some 200 MiB as int8. Every utterance is
decoded without what was said before it, at temperature 0, and judged by `believable`.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from assistant.believable import Signs, refusal, tidy, unheard
from assistant.errors import NoTranscriber, TranscriptionError
from assistant.messages import Transcript, Utterance
from assistant.sections import Stt
from assistant.stt_hints import NO_HINTS, Hints
from assistant.stt_models import complete
from assistant.stt_worker import Abandoned, Worker

THREADS = 4
"""More do not make a model of this size faster (faster-whisper's own default)."""
BEAM = 5
"""Hypotheses that are followed: OpenAI's and faster-whisper's default. The encoder takes nine tenths of the time anyway
(base.en, nine words, two cores)."""
HINT_TOKENS = 80
"""Of the person's words, and of his tasks."""
MOST_TOKENS = 448 - 2 * HINT_TOKENS - 8
"""Whisper reads and writes 448 tokens together; besides the hints it reads some marks."""
TOKENS_A_SECOND, TOKENS_BESIDES = 20, 40
"""CTranslate2 lets half of it be written. People say some five tokens a second: what takes twice as many is no
transcript, and would take long."""


class WhisperTranscriber:
    """The `Transcriber` on the model in `folder`, which is called `name` (as the folder is, if that is empty).

    Entering loads nothing yet. `transcribe` raises `NoTranscriber` if the model cannot be loaded.
    """

    def __init__(self, folder: Path, settings: Stt, hints: Hints = NO_HINTS, name: str = "") -> None:
        self.name = f"faster-whisper:{name or folder.name}"
        self._folder, self._language, self._hints = folder, settings.language, hints
        self._worker = Worker("whisper", settings.timeout_seconds)
        self._model: Any = None

    async def __aenter__(self) -> Self:
        await self._worker.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._worker.__aexit__(kind, error, trace)
        self._model = None

    async def load(self) -> None:
        await self._worker.run(lambda abandoned: self._load())

    async def transcribe(self, utterance: Utterance) -> Transcript:
        began = perf_counter()
        if why := unheard(utterance):
            return Transcript("", self.name, 0.0, 0.0, why)
        names, tasks = self._hints.names, self._hints.tasks  # on the event loop, where the tasks are
        text, signs = await self._worker.run(lambda abandoned: self._write(utterance, names, tasks, abandoned))
        why = refusal(text, utterance, signs, f"{names} {tasks}")
        sure = 0.0 if why else math.exp(min(0.0, signs.logprob or 0.0))
        return Transcript("" if why else text, self.name, sure, round((perf_counter() - began) * 1000, 1), why)

    def _write(self, utterance: Utterance, names: str, tasks: str, abandoned: Callable[[], bool]) -> tuple[str, Signs]:
        """What the model makes of it, tidy, and what it tells about that; on the worker's thread."""
        import numpy

        model = self._load()
        told = model.hf_tokenizer
        samples = numpy.frombuffer(utterance.pcm[: len(utterance.pcm) // 2 * 2], "<i2").astype(numpy.float32) / 32768
        try:
            segments, _ = model.transcribe(
                samples,
                language=self._language,
                beam_size=BEAM,
                temperature=0.0,
                condition_on_previous_text=False,
                without_timestamps=True,
                vad_filter=False,  # it was endpointed already
                hotwords=told.decode(_tokens(told, names)) or None,
                initial_prompt=_tokens(told, tasks) or None,
                max_new_tokens=min(MOST_TOKENS, int(TOKENS_A_SECOND * utterance.seconds) + TOKENS_BESIDES),
                no_speech_threshold=None,  # `believable` judges, and says why
                log_prob_threshold=None,
                compression_ratio_threshold=None,
            )
            written = []
            for segment in segments:  # each is decoded as it is asked for
                written.append(segment)
                if abandoned():
                    raise Abandoned
        except (RuntimeError, ValueError, MemoryError) as e:
            raise TranscriptionError(f"{self.name} failed ({e}): say it again, or take another [stt] model.") from None
        return tidy(" ".join(s.text for s in written)), _signs(written)

    def _load(self) -> Any:
        if self._model is None:
            if not complete(self._folder):
                raise NoTranscriber(f"The model in {self._folder} is gone: restore it, or leave [stt] model empty.")
            try:
                from faster_whisper import WhisperModel

                self._model = WhisperModel(
                    str(self._folder), device="cpu", compute_type="int8", cpu_threads=min(THREADS, os.cpu_count() or 1),
                    local_files_only=True,
                )  # fmt: skip
            except Exception as e:  # noqa: BLE001 - each library below reports a damaged file in its own way
                why = (str(e).splitlines() or [repr(e)])[0][:200]
                raise NoTranscriber(
                    f"The model in {self._folder} cannot be loaded ({why}): "
                    "remove that folder, so that it is fetched again, or choose another [stt] model."
                ) from None
        return self._model


def _tokens(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.encode(f" {text}", add_special_tokens=False).ids[:HINT_TOKENS] if text else []


def _signs(segments: list[Any]) -> Signs:
    """Of all windows: nobody spoke if nobody did in any of them; tokens count alike."""
    if not segments:
        return Signs()
    tokens = sum(len(s.tokens) + 1 for s in segments)  # the end is one, too
    logprob = sum(s.avg_logprob * (len(s.tokens) + 1) for s in segments) / tokens
    return Signs(min(s.no_speech_prob for s in segments), logprob)
