"""Push to talk: one utterance is heard, understood and answered; a question is answered by the next one.

    AudioSource -> Attention -> utterances -> Exchange (Transcriber -> ask (the daemon)) -> show, say
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol, Self

from assistant.answers import after_no, is_no, is_yes
from assistant.audio import BLOCK, RATE, AudioSource, Block
from assistant.endpointing import BEGINS, Ending
from assistant.errors import NoMicrophone, TranscriptionError
from assistant.messages import Transcript, Utterance
from assistant.microphone import FIRST_SECONDS, ZEROS
from assistant.vad import SpeechProbability, utterances
from assistant.words import MAX_CHARACTERS

PATIENCE = 10.0
"""Seconds without speech after which nobody is listened to any longer."""
MISHEARD = 3
"""Utterances in a row that are not understood, or not believed, end it as well: there may be a television."""
MOST_PARTS = 4
"""Half minutes of speech without a pause after which it is no request, but perhaps a radio."""
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
    """Of `POST /requests`; None where it was not asked, because the words are not believed in yet, or was refused."""
    reply: str
    """What is said to the person."""
    ends: bool = False
    """Nothing more is expected, though there is no answer."""

    @property
    def question(self) -> bool:
        """Whether the person is expected to speak again."""
        return not self.ends and (self.answer is None or self.answer["question"])


class Exchange:
    """A conversation by voice: what each utterance comes to.

    Below `confidence` it is asked first whether the words were heard right; "no" or other words replace them. What was
    too long for one utterance waits for its rest, as a part of a request may mean something else; what has no end is
    not believed. `ask` gets the words and answers as `POST /requests` does.
    """

    def __init__(self, transcriber: Transcriber, ask: Callable[[str], Awaitable[dict]], confidence: float) -> None:
        self._transcriber, self._ask, self._confidence = transcriber, ask, confidence
        self.said: tuple[Utterance, ...] = ()
        """What the words that are asked were heard in, its parts."""
        self.begin()

    def begin(self) -> None:
        """What comes next belongs to no conversation that went before."""
        self._doubted, self._misheard = "", 0
        self._doubted_said: tuple[Utterance, ...] = ()
        self.drop()

    @property
    def doubts(self) -> bool:
        """Whether it was asked if something was heard right, and there was no answer yet."""
        return bool(self._doubted)

    def follow(self, earlier: "Exchange") -> None:
        """What was doubted in an `earlier` one may be confirmed in this one."""
        self._doubted, self._doubted_said, self._misheard = earlier._doubted, earlier._doubted_said, earlier._misheard

    def drop(self) -> None:
        """The rest of what is being said will not come."""
        self._begun: Transcript | None = None
        """Of an utterance that goes on."""
        self._parts: list[Utterance] = []
        self._endless = False
        """It has had too many parts, or one that could not be transcribed."""

    async def take(self, utterance: Utterance) -> Turn | None:
        """What came of it; None while more of it is to come. Raises `TranscriptionError`, and what `ask` raises."""
        transcript = await self.transcribe(utterance)
        return await self.answer(transcript) if transcript else None

    async def transcribe(self, utterance: Utterance) -> Transcript | None:
        """What was said, from its beginning; None while more of it is to come. Raises `TranscriptionError`."""
        try:
            transcript = await self._transcriber.transcribe(utterance)
        except TranscriptionError:
            self.drop()
            self._endless = utterance.cut  # its rest is of no use
            raise
        self._parts.append(utterance)
        self._endless |= utterance.cut and len(self._parts) == MOST_PARTS
        if self._endless:
            self._parts.clear()
            self._begun, self._endless = None, utterance.cut
            return replace(transcript, text="", confidence=0.0, refused="endless")
        if begun := self._begun:
            text = f"{begun.text} {transcript.text}".strip()[: MAX_CHARACTERS + 1]  # more is too long anyway
            transcript = replace(
                transcript, text=text, confidence=min(begun.confidence, transcript.confidence),
                ms=begun.ms + transcript.ms, refused=None if text else transcript.refused)
        if utterance.cut:
            self._begun = transcript
            return None
        self.said = (*self._parts,)
        self.drop()
        return transcript

    def doubtful(self, transcript: Transcript) -> bool:
        """Whether the words may have been misheard."""
        return transcript.confidence < self._confidence

    async def answer(self, transcript: Transcript) -> Turn:
        """What came of the words. Raises what `ask` raises."""
        text, doubt = transcript.text, self.doubtful(transcript)
        if self._doubted:
            if is_yes(text):
                self.said = self._doubted_said
            text, doubt = _after_doubt(text, self._doubted, doubt)
        self._doubted = ""
        if not text or doubt:
            return self.again(transcript, text)
        answer = await self._ask(text)
        self._misheard = 0
        return Turn(transcript, answer, answer["reply"])

    def again(self, transcript: Transcript, text: str = "", reply: str = AGAIN) -> Turn:
        """Ask whether `text` is what was said, or for other words; but not for ever."""
        self._misheard += 1
        if self._misheard == MISHEARD:
            return Turn(transcript, None, GAVE_UP, ends=True)
        self._doubted, self._doubted_said = text, self.said
        return Turn(transcript, None, f'Did you say "{text}"?' if text else reply)


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
    """Each thing that is said, until one needs no answer or nobody speaks. Raises what its parts raise."""
    exchange = Exchange(transcriber, ask, confidence)
    async with aclosing(utterances(attention, ending, attention)) as said:
        async for utterance in said:
            if turn := await exchange.take(utterance):
                yield turn
                if not turn.question:
                    return


def _after_doubt(text: str, doubted: str, doubt: bool) -> tuple[str, bool]:
    """What somebody wants who was asked whether he said `doubted`, and whether that is in doubt in its turn."""
    if is_yes(text):
        return doubted, False
    return "" if is_no(text) else after_no(text) or text, doubt
