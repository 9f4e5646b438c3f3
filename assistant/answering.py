"""From an utterance to the answer: what is addressed to the assistant is a request like any other; what is overheard
becomes one only if it is meant for it, and else leaves no trace.

    Said -> Exchange (Transcriber, are the words believed?) -> Pipeline.handle or .overhear -> Turn
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from assistant.audio import AudioSource
from assistant.dialogue import PATIENCE
from assistant.ear import Said
from assistant.endpointing import Ending
from assistant.errors import AssistantError, BadRequest, TranscriptionError
from assistant.messages import Reply, Request, Transcript, Utterance
from assistant.pipeline import Pipeline
from assistant.push_to_talk import Exchange, Turn
from assistant.recordings import Recordings
from assistant.stt import Transcriber
from assistant.vad import SpeechProbability, utterances
from assistant.wake import without_word

log = logging.getLogger(__name__)

CHANNEL = "voice"


@dataclass(slots=True)
class Counts:
    """Since the start."""

    utterances: int = 0
    refused: int = 0
    """Of them, those in which no words were heard that can be believed."""
    dropped: int = 0
    """Of them, those that were not meant for the assistant."""
    requests: int = 0


class Answering:
    """What is said into the microphone, one thing after the other, and in recordings.

    `json` makes of a reply what `POST /requests` answers; where there are `recordings`, what became a request is kept.
    """

    def __init__(
        self, pipeline: Pipeline, transcriber: Transcriber, confidence: float, json: Callable[[Reply], dict],
        recordings: Recordings | None = None,
    ) -> None:  # fmt: skip
        self._pipeline, self._transcriber, self._confidence = pipeline, transcriber, confidence
        self._json, self._recordings = json, recordings
        self._doubts: dict[str, tuple[Exchange, datetime]] = {}
        """By channel: recordings that were asked about, and until when another one may confirm them."""
        self.exchange = Exchange(transcriber, self._ask, confidence)
        self.counts = Counts()
        self._complained = ""

    async def transcribe(self, said: Said, word: str | None) -> Transcript | Turn | None:
        """The words, without the wake `word` where they begin with it; None where there is nothing to be answered, or
        not yet. A turn if they cannot be had."""
        self.counts.utterances += 1
        try:
            transcript = await self.exchange.transcribe(said.utterance)
        except TranscriptionError as e:
            if e.code != self._complained:
                log.warning("what is said is not transcribed: %s", e)
            self._complained = e.code
            failed = Transcript("", self._transcriber.name, 0.0, 0.0, "failed")
            return Turn(failed, None, str(e), ends=True) if said.addressed else None
        self._complained = ""
        if transcript is None:
            return None
        self.counts.refused += not transcript.text
        if word and transcript.text:  # who is asked something may say it again
            transcript = replace(transcript, text=without_word(transcript.text, word))
            if not transcript.text:  # the rest is still to come
                return None
        return transcript

    async def answer(self, said: Said, transcript: Transcript) -> Turn | None:
        """What came of it; None, without a trace, of what was overheard and not meant for the assistant."""
        try:
            if said.addressed:
                return await self.exchange.answer(transcript)
            turn = await self._overheard(transcript) if transcript.text else None
        except BadRequest as e:
            return self.exchange.again(transcript, reply=str(e)) if said.addressed else None
        except AssistantError as e:
            return Turn(transcript, None, str(e), ends=True)
        self.counts.dropped += turn is None and bool(transcript.text)
        return turn

    async def _overheard(self, transcript: Transcript) -> Turn | None:
        request = self._request(transcript.text)
        if self.exchange.doubtful(transcript):
            directed = await self._pipeline.directed(request, doubted=True)
            return self.exchange.again(transcript, transcript.text) if directed else None
        reply = await self._pipeline.overhear(request)
        if reply is None:
            return None
        answer = await self._became(reply, self.exchange.said)
        return Turn(transcript, answer, answer["reply"])

    async def _ask(self, text: str) -> dict:
        return await self._became(await self._pipeline.handle(self._request(text)), self.exchange.said)

    def _request(self, text: str) -> Request:
        return Request(str(uuid4()), text, CHANNEL, _end_of(self.exchange.said[-1]))

    async def _became(self, reply: Reply, said: tuple[Utterance, ...]) -> dict:
        """The answer to a request that was spoken."""
        self.counts.requests += 1
        if self._recordings:
            await self._recordings.keep(said, reply.request_id)
        return self._json(reply)

    async def hear(
        self, source: AudioSource, channel: str, id: str | None, detector: Callable[[], SpeechProbability],
        ending: Ending, say: Callable[[Turn], Awaitable[None]] | None,
    ) -> AsyncIterator[Turn]:  # fmt: skip
        """What is said in a recording, to the assistant: its turns until one needs no answer, or its end.

        The request has the `id`, so that it is taken once; the second one in it `<id>.2`. Raises `AudioError`,
        `TranscriptionError`, and what `Pipeline.handle` raises.
        """
        asked = 0

        async def ask(text: str) -> dict:
            nonlocal asked
            asked += 1
            name = str(uuid4()) if id is None else id if asked == 1 else f"{id}.{asked}"
            request = Request(name, text, channel, _end_of(exchange.said[-1]))
            return await self._became(await self._pipeline.handle(request), exchange.said)

        exchange = Exchange(self._transcriber, ask, self._confidence)
        if earlier := self._doubt(channel):
            exchange.follow(earlier)
        found = await asyncio.to_thread(detector)
        async with source, aclosing(utterances(source, ending, found)) as said:
            async for utterance in said:
                self.counts.utterances += 1
                transcript = await exchange.transcribe(utterance)
                if transcript is None:
                    continue
                self.counts.refused += not transcript.text
                turn = await exchange.answer(transcript)
                self._doubts.pop(channel, None)
                if exchange.doubts:
                    self._doubts[channel] = exchange, self._pipeline.clock.now() + PATIENCE
                yield turn
                if say:
                    await say(turn)
                if not turn.question:
                    return

    def _doubt(self, channel: str) -> Exchange | None:
        """The recording before on this channel, if its words are in doubt."""
        now = self._pipeline.clock.now()
        self._doubts = {c: d for c, d in self._doubts.items() if d[1] > now}
        return self._doubts[channel][0] if channel in self._doubts else None


def _end_of(utterance: Utterance) -> datetime:
    """When it was said."""
    return utterance.began + timedelta(seconds=utterance.seconds)
