"""Speech to text by PocketSphinx 5, whose wheel carries a model of American English: nothing is fetched.

It knows 130,000 words and hears them where speech is clear, otherwise others. Its language model is the general one
that comes with it. One made of this program's own requests would hear those better, and a request in whatever else is
said: with one, 5 % of the words were wrong inside its templates, and 48 % outside.

PocketSphinx holds on to Python's global lock while it computes, so it has a process of its own. That is started for the
first utterance and kept; one that takes too long, or that nobody waits for any more, ends with it.

    python -m assistant.stt_sphinx    # reads the number of bytes (4, little-endian) and the samples of an utterance,
                                      # writes {"text": ..., "sure": ...} or {"error": ...}, and so on until the end
"""

import asyncio
import json
import math
import signal
import sys
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from assistant.believable import refusal, tidy, unheard
from assistant.errors import ConfigError, NoTranscriber, TranscriptionError, TranscriptionTimeout
from assistant.messages import Transcript, Utterance
from assistant.sections import Stt

LANGUAGE = "en"
SIZE_BYTES = 4
LEAST_POSTERIOR = 1e-6
LEAST_SURE = 0.1
"""Measured with flite's voices: of what it heard in noise and music it was 0.03 to 0.1 sure, of sentences that it heard
rightly 0.2 to 0.9, in noise at 20 dB less; of those it heard wrongly at 10 dB mostly less than 0.1."""


class SphinxTranscriber:
    """The `Transcriber` on the model that comes with PocketSphinx; raises `ConfigError` for any language but English.

    It cannot be told of the person's own words, as it would have to know how they are pronounced.
    Entering starts nothing yet. `transcribe` raises `NoTranscriber` if PocketSphinx cannot be loaded.
    """

    name = "pocketsphinx"

    def __init__(self, settings: Stt) -> None:
        if settings.language != LANGUAGE:
            raise ConfigError(
                f'pocketsphinx knows English only: set [stt] engine = "faster-whisper" for {settings.language!r}.'
            )
        self._seconds = settings.timeout_seconds
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def load(self) -> None:
        async with self._turn:
            await self._running()

    async def transcribe(self, utterance: Utterance) -> Transcript:
        began = perf_counter()
        if why := unheard(utterance):
            return Transcript("", self.name, 0.0, 0.0, why)
        async with self._turn:
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await self._ask(utterance.pcm)
            except TimeoutError:
                raise TranscriptionTimeout(self._seconds) from None
        text, sure = tidy(answer["text"]), answer["sure"]
        why = refusal(text, utterance) or ("unlikely" if sure < LEAST_SURE else None)
        if why:
            text, sure = "", 0.0
        return Transcript(text, self.name, sure, round((perf_counter() - began) * 1000, 1), why)

    async def _ask(self, pcm: bytes) -> dict[str, Any]:
        """What the process answers; one that has died since the last time is replaced."""
        try:
            try:
                answer = await self._once(pcm)
            except (OSError, ValueError):
                answer = await self._once(pcm)
        except (OSError, ValueError):
            raise TranscriptionError("pocketsphinx has ended before it had an answer: say it again.") from None
        if "error" in answer:
            raise NoTranscriber(f"pocketsphinx cannot be used ({answer['error']}): run scripts/start again.")
        return answer

    async def _once(self, pcm: bytes) -> dict[str, Any]:
        answer = None
        try:
            process = await self._running()
            process.stdin.write(len(pcm).to_bytes(SIZE_BYTES, "little") + pcm)
            await process.stdin.drain()
            answer = json.loads(await process.stdout.readline())
            return answer
        finally:
            if not answer or "error" in answer:  # what it does is of no use
                await self._end()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "assistant.stt_sphinx",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            process.stdin.close()
            await process.wait()


def main() -> None:
    """Write down one utterance after the other until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us ends us
    said, write = sys.stdin.buffer, sys.stdout
    try:
        from pocketsphinx import Decoder

        decoder = Decoder(loglevel="FATAL")
        while len(size := said.read(SIZE_BYTES)) == SIZE_BYTES:
            pcm = said.read(int.from_bytes(size, "little"))
            text, sure = _decode(decoder, pcm[: len(pcm) // 2 * 2])
            print(json.dumps({"text": text, "sure": sure}), file=write, flush=True)
    except (ImportError, RuntimeError, OSError) as e:
        print(json.dumps({"error": str(e)}), file=write, flush=True)


def _decode(decoder: Any, pcm: bytes) -> tuple[str, float]:
    """What was said, and how sure that is: the geometric mean of its words' posterior probabilities."""
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)  # so that its level is taken from all of it, and from nothing before
    decoder.end_utt()
    heard = decoder.hyp()
    words = [s.prob for s in decoder.seg() if not s.word.startswith(("<", "["))] if heard else []
    if not words:
        return "", 0.0
    return heard.hypstr, math.exp(sum(math.log(max(p, LEAST_POSTERIOR)) for p in words) / len(words))


if __name__ == "__main__":
    main()
