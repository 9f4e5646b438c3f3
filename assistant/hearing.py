"""The daemon's ears: what is said in the room is heard, understood and answered.

    SteadyMicrophone -> Ear (wake word, window, utterances) -> Answering (Transcriber, Pipeline) -> Voice

One thing is heard after the other: while the assistant thinks and speaks, the microphone's own process keeps what is
said meanwhile. Nothing that is heard ends the daemon, and without a microphone it goes on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace

from assistant import aloud
from assistant.answering import Answering, Counts
from assistant.audio import AudioSource
from assistant.config import Config
from assistant.ear import Ear, Mode, Said
from assistant.echo import Echo
from assistant.errors import (
    AssistantError,
    AudioError,
    Muted,
    NoMicrophone,
    SilentMicrophone,
    SpeakerError,
    TranscriptionError,
)
from assistant.hears import Hears, State
from assistant.messages import Reply, Transcript
from assistant.microphone import ZEROS, SteadyMicrophone
from assistant.mutes import FILE, Mutes, read_mutes, write_mutes
from assistant.pipeline import Pipeline
from assistant.push_to_talk import Turn
from assistant.recordings import FOLDER, Recordings
from assistant.stt import Transcriber
from assistant.vad import Segmenter, Silero, SpeechProbability
from assistant.voice import Voice
from assistant.wake import WakeWord, wake_word

log = logging.getLogger(__name__)

DEAF_SECONDS = 10.0
"""Whoever is to be listened to is told after so long that no sound comes."""


@dataclass(slots=True, eq=False)
class _Caller:
    """Somebody who had it listen and is told what comes of it."""

    quiet: bool
    told: asyncio.Queue[Turn | AssistantError | None] = field(default_factory=asyncio.Queue)
    """None: the conversation is over."""

    async def turns(self) -> AsyncIterator[Turn]:
        while turn := await self.told.get():
            if isinstance(turn, AssistantError):
                raise turn
            yield turn


class Hearing:
    """`run` is a task of the daemon. `json` makes of a reply what `POST /requests` answers, `changed()` is called when
    it was muted or unmuted; the last three make the parts that hear."""

    def __init__(
        self, config: Config, pipeline: Pipeline, voice: Voice, echo: Echo, transcriber: Transcriber,
        json: Callable[[Reply], dict], chime: Callable[[], Awaitable[None]], *,
        changed: Callable[[], None] = lambda: None, microphone: Callable[[str], SteadyMicrophone] = SteadyMicrophone,
        detector: Callable[[], SpeechProbability] = Silero, word: Callable[[str], WakeWord] = wake_word,
    ) -> None:  # fmt: skip
        self._config, self._voice, self._transcriber, self._chime = config, voice, transcriber, chime
        self._changed = changed
        self._open_microphone, self._make_detector, self._make_word = microphone, detector, word
        self._mode: Mode = config.wake.mode
        self._ear = Ear(self._mode, config.wake.window_seconds, echo.covers, self._woke)
        recordings = Recordings(config.data_dir / FOLDER) if config.audio.keep else None
        self._answering = Answering(pipeline, transcriber, config.stt.confidence, json, recordings)
        self._mutes = read_mutes(config.data_dir / FILE)
        voice.muted = self._mutes.voice
        self._callers: list[_Caller] = []
        self._wanted = asyncio.Event()
        """The microphone is to be open."""
        self._session: asyncio.Task[None] | None = None
        self._answer: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._thinking = self._only_zeros = False
        self._watch: asyncio.TimerHandle | None = None
        self._microphone: SteadyMicrophone | None = None
        self._device, self._before = "", (0, 0, 0)
        """Of the microphones before this one."""

    # What others want of it

    @property
    def muted(self) -> bool:
        """Whether the microphone is closed, whatever happens, until this is set to False. It survives a restart."""
        return self._mutes.microphone

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._keep(replace(self._mutes, microphone=muted))
        if muted:
            self._over()
        self._open_or_close()

    @property
    def voice_muted(self) -> bool:
        """Whether nothing is said aloud. It survives a restart."""
        return self._mutes.voice

    @voice_muted.setter
    def voice_muted(self, muted: bool) -> None:
        self._voice.muted = muted
        self._keep(replace(self._mutes, voice=muted))

    def _keep(self, mutes: Mutes) -> None:
        if mutes != self._mutes:
            self._mutes = mutes
            write_mutes(self._config.data_dir / FILE, mutes)
            self._changed()

    def hush(self) -> None:
        """Be silent at once."""
        self._voice.stop()

    def rang(self) -> None:
        """A reminder was said aloud: it may be answered without the wake word."""
        if self._ear.word and not self.muted:
            self._ear.open("likely")
            self._expect_sound()

    @asynccontextmanager
    async def listen(self, quiet: bool = False) -> AsyncIterator[AsyncIterator[Turn]]:
        """Listen now; the turns of the conversation until it is over, nobody speaks any more, or it is muted.

        Several callers share one conversation, each is told what comes of it from then on; it is spoken unless all of
        them are `quiet`. The window closes when the last one leaves. Entering raises `Muted`, iterating `NoMicrophone`,
        `SilentMicrophone`, and `AudioError` where nothing can be heard at all.
        """
        if self.muted:
            raise Muted
        caller = _Caller(quiet)
        self._callers.append(caller)
        if not self._ear.window:
            self._answering.exchange.begin()
            self._only_zeros = True
        self._open()
        try:
            yield caller.turns()
        finally:
            if caller in self._callers:
                self._callers.remove(caller)
                if not self._callers:
                    self._over()
                    self._open_or_close()

    def hear(
        self, source: AudioSource, channel: str, quiet: bool = True, id: str | None = None
    ) -> AsyncIterator[Turn]:
        """What is said in a recording, to the assistant, as `Answering.hear`; unless it is `quiet`, answers are said
        aloud here. It is no microphone, and may be heard while that is muted."""
        say = None if quiet else self._say
        return self._answering.hear(source, channel, id, self._make_detector, self._config.audio.ending, say)

    @property
    def counts(self) -> Counts:
        return self._answering.counts

    def status(self) -> Hears:
        microphone = self._microphone
        why = "muted" if self.muted else "closed"
        reopened, drops, xruns = self._counters()
        return Hears(
            self._mode, self._state(), self.muted, self.voice_muted, microphone.state if microphone else "closed",
            microphone.says if microphone else f"The microphone is {why}.",
            microphone.device if microphone else self._device, microphone.sound if microphone else False,
            reopened, drops, xruns, self._transcriber.name, self._voice.name,
            self._ear.word.name if self._ear.word else None,
        )  # fmt: skip

    def _state(self) -> State:
        if self.muted:
            return "muted"
        if self._voice.speaking:
            return "speaking"
        if self._thinking:
            return "thinking"
        if self._ear.window:
            return "listening"
        return "waiting" if self._microphone else "closed"

    def _counters(self) -> tuple[int, ...]:
        microphone = self._microphone
        now = (microphone.reopened, microphone.drops, microphone.xruns) if microphone else (0, 0, 0)
        return tuple(before + n for before, n in zip(self._before, now))

    # The microphone

    async def run(self) -> None:
        """Hear until cancelled. Raises what a bug raised."""
        async with asyncio.TaskGroup() as self._tasks:
            await self._find_word()
            self._open_or_close()
            while True:
                await self._wanted.wait()
                self._session = self._tasks.create_task(self._attend(), name="ears")
                await asyncio.wait([self._session])
                self._session = None

    def _open_or_close(self) -> None:
        """The microphone, as it is wanted now."""
        if self._ear.listens and not self.muted:
            self._wanted.set()
        else:
            self._wanted.clear()
            if self._session and not self._session.cancelling():  # once, or it would not see the microphone closed
                self._session.cancel()

    async def _attend(self) -> None:
        """With the microphone open, until it is not wanted any more."""
        if self._answer and not self._answer.done():  # to what was said before it was muted, and unmuted
            with self._busy():
                await asyncio.wait([self._answer])
        if not await self._find_detector():
            return
        self._ear.drop()
        try:
            async with self._open_microphone(self._config.audio.microphone) as self._microphone:
                while self._wanted.is_set():
                    await self._hear_block(self._microphone)
        finally:
            if self._microphone:
                self._before, self._device = self._counters(), self._microphone.device
                self._microphone = None

    async def _hear_block(self, microphone: SteadyMicrophone) -> None:
        block = await anext(microphone)
        was_open = self._ear.window
        if was_open:
            self._only_zeros &= block.pcm == ZEROS
            self._expect_sound()
        if said := self._ear.take(block):
            await self._heard(said)
        elif self._ear.speaking:
            self._begin_to_load()
        else:
            self._answering.exchange.drop()
        if was_open and not self._ear.window:
            self._over(SilentMicrophone(microphone.device) if self._only_zeros else None)
            if not self._ear.listens:
                self._wanted.clear()

    async def _find_detector(self) -> bool:
        """Whether it can hear. The detector is big: it is there from the first time on that somebody is to be heard."""
        if self._ear.segmenter is None:
            try:
                detector = await asyncio.to_thread(self._make_detector)
            except AudioError as e:
                log.error("nothing is heard: %s", e)
                self._wanted.clear()
                self._over(e)
                return False
            self._ear.segmenter = Segmenter(detector, self._config.audio.ending)
        return True

    async def _find_word(self) -> None:
        if self._mode == "word":
            try:
                self._ear.word = await asyncio.to_thread(self._make_word, self._config.wake.word)
            except AudioError as e:
                log.error("the wake word is not listened for: %s", e)

    def _begin_to_load(self) -> None:
        """While somebody begins to speak; until then the engine, which is big, is not needed."""
        if not self._loading:
            self._loading = self._tasks.create_task(self._load(), name="load the engine")

    async def _load(self) -> None:
        """What goes wrong is told when something is to be transcribed."""
        with suppress(TranscriptionError, OSError):
            await self._transcriber.load()

    # The window

    def _open(self) -> None:
        """Listen to somebody, from now on."""
        self._ear.open()
        self._begin_to_load()
        self._expect_sound()
        self._open_or_close()

    def _woke(self) -> None:
        """The wake word was said."""
        self._begin_to_load()
        self._answering.exchange.begin()
        if self._config.wake.chime and not self.voice_muted:
            self._tasks.create_task(self._chime(), name="chime")

    def _over(self, error: AssistantError | None = None) -> None:
        """Nobody is listened to any more."""
        self._ear.close()
        self._answering.exchange.begin()
        self._expect_sound(False)
        for caller in self._callers:
            caller.told.put_nowait(error)
        self._callers.clear()

    def _expect_sound(self, expected: bool = True) -> None:
        """Whether sound is to come: a window counts it, and would be open for ever if none does. While it thinks and
        speaks none is looked at."""
        if self._watch:
            self._watch.cancel()
        expected = expected and not self._thinking
        self._watch = asyncio.get_running_loop().call_later(DEAF_SECONDS, self._deaf) if expected else None

    def _deaf(self) -> None:
        fault = self._microphone.fault if self._microphone else None
        self._over(fault or NoMicrophone("it delivers nothing"))
        self._open_or_close()

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """It thinks and speaks."""
        self._thinking = True
        self._expect_sound(False)
        try:
            yield
        finally:
            self._thinking = False
            self._expect_sound(self._ear.window is not None)

    # What was said

    async def _heard(self, said: Said) -> None:
        """Answer it. What was accepted is answered even if the microphone is muted, or nobody waits for it any more."""
        quiet = self._quiet()
        with self._busy():
            word = self._ear.word.name if self._ear.word else None
            transcript = await self._answering.transcribe(said, word)
            if transcript:
                self._answer = self._tasks.create_task(self._respond(said, transcript, quiet), name="answer")
                await asyncio.shield(self._answer)

    async def _respond(self, said: Said, transcript: Transcript | Turn, quiet: bool) -> None:
        """Say what came of it, unless those who had it listen were `quiet`; whoever is asked something is listened to
        from then on."""
        turn = transcript if isinstance(transcript, Turn) else await self._answering.answer(said, transcript)
        if turn is None:
            return
        quiet = self._quiet() if self._callers else quiet
        concerned = self._callers if said.addressed else []  # who has come meanwhile is going to speak himself
        for caller in concerned:
            caller.told.put_nowait(turn)
        if not turn.question and (concerned or not self._callers):
            self._over()
        if not quiet:
            await self._say(turn)
        if turn.question and not self.muted and (self._callers or self._mode != "push"):
            self._open()

    def _quiet(self) -> bool:
        """Whether nobody wants the answer to be spoken."""
        return bool(self._callers) and all(caller.quiet for caller in self._callers)

    async def _say(self, turn: Turn) -> None:
        try:
            await self._voice.say(turn.answer["spoken"] if turn.answer else aloud.clean(turn.reply))
        except SpeakerError as e:
            log.warning("the answer is not said aloud: %s", e)
