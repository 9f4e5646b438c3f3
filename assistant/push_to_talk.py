"""Push to talk: one utterance is heard, understood and answered; a question is answered by the next one.

    AudioSource -> Attention -> utterances -> Transcriber -> ask (the daemon) -> show, say
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

from assistant.answers import after_no, is_no, is_yes
from assistant.audio import BLOCK, RATE, AudioSource, Block
from assistant.endpointing import BEGINS, Ending
from assistant.errors import NoMicrophone
from assistant.messages import Transcript, Utterance
from assistant.microphone import FIRST_SECONDS, ZEROS
from assistant.vad import SpeechProbability, utterances

PATIENCE = 10.0
"""Seconds without speech after which nobody is listened to any longer."""
ECHO = timedelta(seconds=0.3)
"""For so long after the assistant has spoken the microphone may still hear it."""
MISHEARD = 3
"""Utterances in a row that are not understood, or not believed, end it as well: there may be a television."""
AGAIN = "I did not catch that: say it again."
GAVE_UP = "I cannot hear you well enough."


class Transcriber(Protocol):
    """What is needed of one (`stt.py`)."""

    async def transcribe(self, utterance: Utterance) -> Transcript: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that was heard, and what came of it."""

    transcript: Transcript
    answer: dict | None
    """Of `POST /requests`; None where it was not asked, because the words are not believed in yet."""
    reply: str
    """What is said to the person."""

    @property
    def question(self) -> bool:
        """Whether the person is expected to speak again."""
        return self.answer is None or self.answer["question"]


class Attention:
    """The blocks of a source as long as somebody may be about to speak, and the detector that tells.

    It ends after `patience` seconds of sound without speech. Raises `NoMicrophone` when no sound comes at all.
    """

    def __init__(self, source: AudioSource, detector: SpeechProbability, patience: float = PATIENCE) -> None:
        self._source, self._detector = source, detector
        self._patience = patience * RATE / BLOCK
        self._without = 0
        """Blocks since somebody spoke, or was spoken to."""
        self._after = datetime.min.replace(tzinfo=UTC)
        self.began = asyncio.Event()
        """A first block has come: from now on one is heard."""
        self.silent = True
        """Nothing but zeros came."""
        self.ended = False
        """The source has ended: there is no more sound."""

    def wait_anew(self, after: datetime | None = None) -> None:
        """Somebody was answered, so patience begins anew; what was heard before `after` was the answer."""
        self._without = 0
        self._after = after or self._after

    def reset(self) -> None:
        self._detector.reset()

    def probability(self, block: bytes) -> float:
        speech = self._detector.probability(block)
        if speech >= BEGINS:
            self._without = 0
        return speech

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Block:
        while self._without < self._patience:
            try:
                async with asyncio.timeout(FIRST_SECONDS):
                    block = await anext(self._source)
            except TimeoutError:
                raise NoMicrophone("it delivers nothing") from None
            except StopAsyncIteration:
                self.ended = True
                raise
            self.began.set()
            self.silent &= block.pcm == ZEROS
            if block.at >= self._after:
                self._without += 1
                return block
        raise StopAsyncIteration


async def turns(
    attention: Attention, ending: Ending, transcriber: Transcriber, ask: Callable[[str], Awaitable[dict]],
    confidence: float,
) -> AsyncIterator[Turn]:  # fmt: skip
    """Each thing that is said, until one needs no answer or nobody speaks. Raises what its parts raise.

    Below `confidence` it is asked first whether the words were heard right; "no" or other words replace them.
    """
    doubted, misheard = "", 0
    async with aclosing(utterances(attention, ending, attention)) as said:
        async for utterance in said:
            transcript = await transcriber.transcribe(utterance)
            text, doubt = transcript.text, transcript.confidence < confidence
            if doubted:
                text, doubt = _after_doubt(text, doubted, doubt)
            doubted = ""
            if not text or doubt:
                misheard += 1
                if misheard == MISHEARD:
                    yield Turn(transcript, None, GAVE_UP)
                    return
                doubted = text
                yield Turn(transcript, None, f'Did you say "{text}"?' if text else AGAIN)
                continue
            misheard = 0
            answer = await ask(text)
            yield Turn(transcript, answer, answer["reply"])
            if not answer["question"]:
                return


def _after_doubt(text: str, doubted: str, doubt: bool) -> tuple[str, bool]:
    """What somebody wants who was asked whether he said `doubted`, and whether that is in doubt in its turn."""
    if is_yes(text):
        return doubted, False
    return "" if is_no(text) else after_no(text) or text, doubt
