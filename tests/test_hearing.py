"""The daemon's ears: who is listened to and when, what becomes of what is heard. Real store, real pipeline, tiny parts."""

import asyncio
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from assistant import hearing as hearing_module
from assistant.audio import BLOCK, RATE, Block
from assistant.config import Config
from assistant.echo import ECHO, Echo
from assistant.endpointing import POST_ROLL
from assistant.errors import (
    AudioError,
    Muted,
    NoMicrophone,
    NoPortAudio,
    NoWakeWord,
    SilentMicrophone,
    StoreError,
    TranscriptionError,
)
from assistant.hearing import Hearing
from assistant.http import reply_json
from assistant.messages import Request, Transcript, Utterance
from assistant.microphone import ZEROS
from assistant.mutes import FILE, Mutes, read_mutes, write_mutes
from assistant.outbox import Advance, Outbox, Outcome
from assistant.pipeline import Pipeline
from assistant.push_to_talk import AGAIN, GAVE_UP, Turn
from assistant.recordings import Recordings
from assistant.stt_lazy import LazyTranscriber
from assistant.voice import Voice
from assistant.when import Policy
from tests.fakes import ScriptedRewriter, StandingClock

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 11, 10, 0, tzinfo=UTC)
VOICE = np.full(BLOCK, 3000, "<i2").tobytes()
QUIET = np.full(BLOCK, 3, "<i2").tobytes()
WORD = np.full(BLOCK, 2999, "<i2").tobytes()
"""A block with which the wake word ends."""
A_SECOND = RATE / BLOCK
ANSWERS = {
    "remind me to call mum tomorrow at five": "call mum | tomorrow 5:00?",
    "remind me to buy milk": "buy milk |",
    "call dad at six pm": "call dad | 18:00",
    "at six pm": "| 18:00",
    "remind me to call mum at five and to buy milk at six": "call mum | 5:00?\nbuy milk | 6:00?",
    "snooze ten minutes": "/snooze > in 10 minutes",
    "what are my reminders": "/list",
    "done": "/done",
}
MUM = "remind me to call mum tomorrow at five"


class Room:
    """What is to be heard, block by block, by whoever opens the microphone; then it is as if nothing came."""

    device, state, says, sound = "Built-in", "listening", "Listening to Built-in.", True
    reopened = drops = xruns = 0
    fault = None

    def __init__(self) -> None:
        self.clock = StandingClock(NOW)
        """It goes on with the sound."""
        self.blocks: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.opened = self.closed = 0
        self.may_close = asyncio.Event()
        self.may_close.set()

    def say(self, *seconds: float) -> None:
        """So many seconds of speech each, with the gaps that speech has; negative of silence."""
        for s in seconds:
            for n in range(1, round(abs(s) * A_SECOND) + 1):
                self.blocks.put_nowait(VOICE if s > 0 and n % 20 else QUIET)

    def word(self) -> None:
        """The wake word."""
        self.say(0.5)
        self.blocks.put_nowait(WORD)

    async def __aenter__(self) -> "Room":
        self.opened += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.may_close.wait()
        self.closed += 1

    async def __anext__(self) -> Block:
        pcm = await self.blocks.get()
        if isinstance(pcm, Exception):
            raise pcm
        at = self.clock.now()
        self.clock.at += timedelta(seconds=BLOCK / RATE)
        await asyncio.sleep(0)
        return Block(pcm, at)


class LoudIsSpeech:
    def probability(self, block: bytes) -> float:
        return float(block in (VOICE, WORD))

    def reset(self) -> None:
        pass


class Word:
    """A wake word that one block is."""

    name = "okay nabu"

    def __init__(self) -> None:
        self.blocks = 0

    def take(self, block: bytes) -> bool:
        self.blocks += 1
        return block == WORD

    def reset(self) -> None:
        pass


class Hears:
    """A transcriber that knows what is said: texts, or a text and how sure it is; or an error. While held, it is slow."""

    name = "fake"

    def __init__(self) -> None:
        self.texts: list[str | tuple[str, float] | Exception] = []
        self.utterances: list[Utterance] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.begun = asyncio.Event()
        self.loads = 0

    async def __aenter__(self) -> "Hears":
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def load(self) -> None:
        self.loads += 1

    async def transcribe(self, utterance: Utterance) -> Transcript:
        self.utterances.append(utterance)
        text = self.texts.pop(0)
        self.begun.set()
        await self.go_on.wait()
        if isinstance(text, Exception):
            raise text
        text, sure = text if isinstance(text, tuple) else (text, 0.9)
        return Transcript(text, self.name, sure, 1.0)


class Mouth:
    """An engine that says all at once, which takes a second of the room's time for each thing."""

    name = "mouth"

    def __init__(self, room: Room) -> None:
        self._room, self.said = room, asyncio.Queue[str]()

    async def speak(self, text: str) -> None:
        self._room.clock.pass_by(seconds=1)
        self.said.put_nowait(text)

    def problem(self) -> None:
        return None


class House:
    """A room, and a daemon's ears in it."""

    def __init__(self, store, folder: Path, mode: str, **settings: dict) -> None:
        self.room, self.hears, self.folder = Room(), Hears(), folder
        self.mouth = Mouth(self.room)
        self.rewriter = ScriptedRewriter(ANSWERS)
        self.store = store
        self.pipeline = Pipeline(
            self.rewriter, store, Policy(), LONDON, self.room.clock, 0.5, lambda: None)
        echo = Echo(self.mouth, self.room.clock)
        self.voice, self.word, self.chimes, self.told = Voice(echo), Word(), 0, 0
        config = Config(data={"dir": str(folder)}, wake={"mode": mode}, **settings)
        self.hearing = Hearing(
            config, self.pipeline, self.voice, echo, self.hears, reply_json, self.chime,
            changed=self.tell, microphone=lambda device: self.room, detector=LoudIsSpeech, word=self.find_word)

    async def chime(self) -> None:
        self.chimes += 1

    def tell(self) -> None:
        self.told += 1

    def find_word(self, name: str) -> Word:
        return self.word

    async def said(self) -> str:
        """What it says next, waited for."""
        async with asyncio.timeout(10):
            return await self.mouth.said.get()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - of what is not made to be waited for
                await asyncio.sleep(0)

    async def heard_all(self) -> None:
        """All that was said has been listened to, or was not to be."""
        await self.until(lambda: self.room.blocks.empty() and self.hearing.status().state not in ("thinking", "speaking"))
        for _ in range(10):
            await asyncio.sleep(0)

    def tasks(self) -> list[str]:
        return [r.task for r in self.store.active()]

    def kept(self) -> int:
        return self.store.db.value("SELECT count(*) FROM requests")

    @asynccontextmanager
    async def listening(self, quiet: bool = False) -> AsyncIterator[asyncio.Queue[Turn | Exception | None]]:
        """What comes of a conversation, None at its end, while somebody has it listen."""
        turns: asyncio.Queue[Turn | Exception | None] = asyncio.Queue()

        async def follow() -> None:
            try:
                async with self.hearing.listen(quiet) as told:
                    async for turn in told:
                        turns.put_nowait(turn)
                turns.put_nowait(None)
            except AudioError as e:
                turns.put_nowait(e)

        task = asyncio.create_task(follow())
        await asyncio.sleep(0)
        try:
            yield turns
        finally:
            task.cancel()
            await asyncio.wait([task])


async def next_of(turns: asyncio.Queue) -> Turn | Exception | None:
    async with asyncio.timeout(10):
        return await turns.get()


@asynccontextmanager
async def running(house: House) -> AsyncIterator[House]:
    task = asyncio.create_task(house.hearing.run())
    try:
        async with house.voice:
            for _ in range(20):
                await asyncio.sleep(0)
            yield house
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None, task.exception()


@pytest.fixture
def home(tmp_path):
    """Makes a house with a mode, on one store."""
    from assistant.store import Store

    with Store.open(tmp_path / "reminders.db") as store:
        yield lambda mode, **settings: House(store, tmp_path, mode, **settings)


# Push: the microphone is closed until it is to listen

async def test_in_push_the_microphone_is_closed_and_open_for_one_conversation(home):
    async with running(home("push")) as house:
        assert house.room.opened == 0 and house.hearing.status().state == "closed"
        house.hears.texts = [MUM]
        async with house.listening() as turns:
            house.room.say(-1, 1, -2)
            turn = await next_of(turns)
            assert await next_of(turns) is None
        assert turn.transcript.text == MUM and turn.answer["reminders"][0]["task"] == "call mum"
        assert await house.said() == "OK: call mum, tomorrow at five in the afternoon."
        await house.until(lambda: house.room.closed == 1)
        assert house.tasks() == ["call mum"] and house.hearing.status().state == "closed"


async def test_a_question_is_answered_in_the_window_that_it_opens(home):
    async with running(home("push")) as house:
        house.hears.texts = ["remind me to buy milk", "at six pm"]
        async with house.listening() as turns:
            house.room.say(-1, 1, -2)
            assert (await next_of(turns)).question
            await house.said()
            house.room.say(-6, 1, -2)
            assert not (await next_of(turns)).question
            assert await next_of(turns) is None
        assert house.tasks() == ["buy milk"]


async def test_a_window_in_which_nobody_speaks_closes_in_silence_after_so_many_seconds_of_sound(home):
    async with running(home("push")) as house, house.listening() as turns:
        house.room.say(-20)
        assert await next_of(turns) is None
        await house.until(lambda: house.room.closed)
        assert house.room.clock.now() - NOW == pytest.approx(timedelta(seconds=8), abs=timedelta(seconds=0.2))
        assert house.mouth.said.empty()


async def test_who_begins_late_in_the_window_is_heard_to_the_end(home):
    async with running(home("push")) as house, house.listening() as turns:
        house.hears.texts = [MUM]
        house.room.say(-7, 12, -2)
        assert (await next_of(turns)).answer and house.hears.utterances[0].seconds > 12


async def test_quiet_nothing_is_said_aloud(home):
    async with running(home("push")) as house:
        house.hears.texts = [MUM]
        async with house.listening(quiet=True) as turns:
            house.room.say(1, -2)
            assert (await next_of(turns)).answer and await next_of(turns) is None
        await house.until(lambda: house.room.closed)
        assert house.mouth.said.empty()


async def test_quiet_nothing_is_said_aloud_either_when_whoever_had_it_listen_has_left(home):
    house = home("push")
    go_on, begun, rewrite = asyncio.Event(), asyncio.Event(), house.rewriter.rewrite

    async def slow(text):
        begun.set()
        await go_on.wait()
        return await rewrite(text)

    house.rewriter.rewrite = slow
    async with running(house):
        house.hears.texts = [MUM]
        async with house.listening(quiet=True):
            house.room.say(1, -2)
            await house.until(begun.is_set)
        go_on.set()
        await house.until(house.tasks)
        await house.until(house.hearing._answer.done)
        assert house.mouth.said.empty()


async def test_the_microphone_stays_closed_when_whoever_was_asked_has_left_before_the_question_was_spoken(home):
    house = home("push")
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def slow(text):
        begun.set()
        await go_on.wait()

    house.mouth.speak = slow
    async with running(house):
        house.hears.texts = ["remind me to buy milk"]
        async with house.listening():
            house.room.say(1, -2)
            await house.until(begun.is_set)
        go_on.set()
        await house.until(house.hearing._answer.done)
        await house.until(lambda: house.room.closed == house.room.opened)
        assert house.hearing.status().state == "closed"


async def test_two_who_have_it_listen_share_one_conversation(home):
    async with running(home("push")) as house:
        house.hears.texts = ["remind me to buy milk", "at six pm"]
        async with house.listening(quiet=True) as first, house.listening() as second:
            house.room.say(1, -2)
            assert (await next_of(first)) == (await next_of(second))
            assert await house.said()
            house.room.say(-1, 1, -2)
            assert (await next_of(first)) == (await next_of(second))
        assert house.room.opened == 1 and house.tasks() == ["buy milk"]


async def test_when_the_last_one_leaves_the_microphone_is_closed(home):
    async with running(home("push")) as house:
        async with house.listening():
            await house.until(lambda: house.room.opened)
        await house.until(lambda: house.room.closed)
        assert house.hearing.status().state == "closed"


async def test_zeros_are_told_from_silence(home):
    async with running(home("push")) as house, house.listening() as turns:
        for _ in range(round(9 * A_SECOND)):
            house.room.blocks.put_nowait(ZEROS)
        assert isinstance(await next_of(turns), SilentMicrophone)


@pytest.mark.parametrize("mode", ["push", "always"])
async def test_without_any_sound_whoever_has_it_listen_is_told(home, mode, monkeypatch):
    monkeypatch.setattr(hearing_module, "DEAF_SECONDS", 0.01)
    async with running(home(mode)) as house, house.listening() as turns:
        assert isinstance(await next_of(turns), NoMicrophone)
        assert house.hearing.status().state != "listening"


async def test_without_a_detector_nothing_is_heard_and_the_daemon_goes_on(home):
    house = home("always")

    def missing():
        raise AudioError("The voice detector is missing: run scripts/start again.")

    house.hearing._make_detector = missing
    async with running(house), house.listening() as turns:
        assert "detector is missing" in str(await next_of(turns))


async def test_why_there_is_no_microphone_is_told(home, monkeypatch):
    monkeypatch.setattr(hearing_module, "DEAF_SECONDS", 1.0)  # the microphone is open by then
    house = home("push")
    house.room.fault = NoPortAudio()
    async with running(house), house.listening() as turns:
        assert isinstance(await next_of(turns), NoPortAudio)


async def test_who_has_it_listen_while_it_still_answers_is_heard_afterwards(home, monkeypatch):
    monkeypatch.setattr(hearing_module, "DEAF_SECONDS", 0.2)
    house = home("always")
    house.hears.texts, late = [MUM, "remind me to buy milk"], asyncio.Event()
    async with running(house):
        house.hears.go_on.clear()
        house.room.say(1, -2)
        await house.until(house.hears.begun.is_set)
        async with house.listening() as turns:
            asyncio.get_running_loop().call_later(0.3, late.set)  # longer than one without sound is listened to
            await late.wait()
            assert turns.empty() and house.hearing.status().state == "thinking"
            house.room.say(-1, 1, -2)
            house.hears.go_on.set()
            assert "call mum" in await house.said()
            turn = await next_of(turns)
            assert turn.transcript.text == "remind me to buy milk", "what was said to others before is not theirs"


# The wake word

async def test_before_the_wake_word_nothing_is_transcribed_and_no_engine_loaded(home):
    async with running(home("word")) as house:
        house.room.say(3, -2, 3, -2)
        await house.heard_all()
        assert house.hearing.status().state == "waiting" and house.word.blocks > 9 * A_SECOND
        assert (house.hears.utterances, house.hears.loads) == ([], 0)
        house.room.word()
        await house.until(lambda: house.hears.loads == 1)


async def test_in_always_the_engine_is_loaded_when_somebody_speaks(home):
    async with running(home("always")) as house:
        house.room.say(-3)
        await house.heard_all()
        assert house.hears.loads == 0
        house.hears.texts = ["lovely weather"]
        house.room.say(1, -2)
        await house.until(lambda: house.hears.loads == 1)


async def test_what_is_said_in_one_breath_with_the_wake_word_is_heard_without_it(home):
    async with running(home("word")) as house:
        house.hears.texts = [f"Okay, Nabu, {MUM}"]
        house.room.say(-1)
        house.room.word()
        house.room.say(1, -2)
        assert "call mum" in await house.said()
        assert house.chimes == 1 and house.tasks() == ["call mum"]
        kept = house.hears.utterances[0].seconds - 1 - POST_ROLL / A_SECOND
        assert 0 < kept < 0.2, "of the word itself no more is transcribed than may be the request"
        await house.until(lambda: house.hearing.status().state == "waiting")


@pytest.mark.parametrize("drawled", [False, True], ids=["as usual", "drawled"])
async def test_the_wake_word_alone_leaves_the_window_open(home, drawled):
    async with running(home("word")) as house:
        house.hears.texts = ["okay nabu", MUM] if drawled else [MUM]
        house.room.say(-1)
        house.room.word()
        house.room.say(*[1] * drawled, -3, 1, -2)
        assert "call mum" in await house.said()
        assert house.tasks() == ["call mum"] and house.room.opened == 1
        assert len(house.hears.utterances) == 1 + drawled


async def test_the_wake_word_said_again_before_an_answer_is_no_part_of_it(home):
    async with running(home("word")) as house:
        house.hears.texts = ["remind me to buy milk", "Okay Nabu, at six pm"]
        house.room.word()
        house.room.say(1, -2)
        assert "When should I" in await house.said()
        house.room.say(-1, 1, -2)
        await house.until(house.tasks)
        assert house.tasks() == ["buy milk"]
        assert [row["text"] for row in house.store.db.rows("SELECT text FROM requests", ())][-1] == "at six pm"


async def test_after_a_reminder_was_spoken_the_wake_word_still_addresses_it(home):
    async with running(home("word")) as house:
        house.hearing.rang()
        house.hears.texts = ["okay nabu what is the weather"]
        house.room.say(-1)
        house.room.word()
        house.room.say(1, -2)
        assert await house.said() == "That is not a reminder."
        assert house.chimes == 1


async def test_what_is_no_request_is_told_to_be_none_when_it_was_addressed(home):
    async with running(home("word")) as house:
        house.hears.texts = ["okay nabu what is the weather"]
        house.room.word()
        house.room.say(1, -2)
        assert await house.said() == "That is not a reminder."
        await house.until(lambda: house.hearing.status().state == "waiting")


async def test_without_its_package_the_wake_word_is_missed_and_one_may_still_push(home):
    house = home("word")

    def missing(name):
        raise NoWakeWord("The wake word needs a package.")

    house.hearing._make_word = missing
    async with running(house):
        assert house.hearing.status().state == "closed" and house.hearing.status().word is None
        house.hears.texts = [MUM]
        async with house.listening() as turns:
            house.room.say(1, -2)
            assert (await next_of(turns)).answer


@pytest.mark.parametrize(("text", "answered"), [("snooze ten minutes", True), ("what is the weather", False)])
async def test_a_reminder_that_was_spoken_may_be_answered_without_the_wake_word(home, text, answered):
    async with running(home("word")) as house:
        [made] = (await house.pipeline.handle(Request("a", "call dad at six pm", "cli", NOW))).reminders
        ring(house, made)
        house.hearing.rang()
        house.hears.texts = [text]
        house.room.say(-2, 1, -2)
        if answered:
            assert "call dad" in await house.said()
        await house.heard_all()
        assert len(house.hears.utterances) == 1 and house.mouth.said.empty()
        assert house.kept() == 1 + answered
        house.room.say(-9, 1, -2)
        await house.heard_all()
        assert len(house.hears.utterances) == 1, "the window has closed"


async def test_without_any_sound_the_window_after_a_reminder_closes_as_well(home, monkeypatch):
    monkeypatch.setattr(hearing_module, "DEAF_SECONDS", 0.01)
    async with running(home("word")) as house:
        house.hearing.rang()
        assert house.hearing.status().state == "listening"
        await house.until(lambda: house.hearing.status().state == "waiting")


def ring(house: House, reminder) -> None:
    """Let its time come."""
    house.room.clock.at = reminder.due
    outbox = Outbox(house.store.db)
    outbox.fire([(reminder, Advance(reminder.due, 1, None))], reminder.due)
    for d in outbox.to_ring("voice", reminder.due, timedelta(hours=1), 1):
        outbox.record([Outcome(d.id, d.ring, "voice", None, reminder.due)], timedelta(minutes=5))


# Always: overhearing

async def test_what_is_overheard_and_no_request_leaves_no_trace(home, caplog):
    caplog.set_level("DEBUG")
    async with running(home("always")) as house:
        house.hears.texts = ["the weather was dreadful", "so we stayed at home"]
        house.room.say(1, -2, 1, -2)
        await house.until(lambda: house.hearing.counts.dropped == 2)
        assert house.kept() == 0 and house.mouth.said.empty()
        await house.until(lambda: house.hearing.status().state == "waiting")
        assert "weather" not in caplog.text


async def test_what_is_overheard_and_a_request_is_answered_and_its_question_opens_the_window(home):
    async with running(home("always")) as house:
        house.hears.texts = ["remind me to buy milk", "hmm", "at six pm"]
        house.room.say(1, -2)
        assert "When should I" in await house.said()
        await house.until(lambda: house.hearing.status().state == "listening")
        house.room.say(-1, 1, -2, 1, -2)
        await house.until(house.tasks)
        assert house.tasks() == ["buy milk"]


@pytest.mark.parametrize(("text", "asks"), [("remind me to call dad", True), ("we had a call", False)])
async def test_what_may_be_misheard_is_asked_about_if_it_sounds_like_a_request(home, text, asks):
    async with running(home("always")) as house:
        house.rewriter.answers[text] = "call dad | 18:00"
        house.hears.texts = [(text, 0.3), "yes"]
        house.room.say(1, -2)
        if asks:
            assert await house.said() == f"Did you say {text}?"
            house.room.say(-1, 1, -2)
            assert "call dad" in await house.said()
        else:
            await house.until(lambda: house.hearing.counts.dropped)
        assert house.tasks() == (["call dad"] if asks else [])


async def test_when_it_is_told_to_listen_what_was_being_said_to_others_is_not_meant(home):
    async with running(home("always")) as house:
        house.room.say(2)
        await house.heard_all()
        house.hears.texts = [MUM]
        async with house.listening() as turns:
            house.room.say(-1, 1, -2)
            assert (await next_of(turns)).answer
        assert len(house.hears.utterances) == 1 and house.hears.utterances[0].seconds < 2


# Half-duplex, and one thing after the other

@pytest.mark.parametrize("mode", ["push", "always"])
async def test_its_own_voice_is_not_heard(home, mode):
    async with running(home(mode)) as house:
        house.hears.texts = [MUM]
        async with house.listening():
            await house.until(lambda: house.room.opened)
            speaking = asyncio.create_task(house.voice.say("Reminder: call mum.", first=True))
            await house.said()
            await speaking
            house.room.clock.pass_by(seconds=-1)  # what was heard while it spoke comes late
            house.room.say(1.2, -3)
            await house.heard_all()
            assert house.hears.utterances == []
            house.room.say(1, -2)
            await house.until(lambda: house.hears.utterances)


async def test_what_it_interrupts_is_not_acted_on_in_part(home):
    async with running(home("push")) as house:
        house.hears.texts = [MUM]
        async with house.listening() as turns:
            house.room.say(1)
            await house.heard_all()
            since = house.room.clock.now()
            await house.voice.say("Reminder: call mum.", first=True)
            house.room.clock.at = since
            house.room.say(1.3, -3, 1, -2)
            assert (await next_of(turns)).answer
        assert len(house.hears.utterances) == 1


async def test_what_is_said_while_it_thinks_is_heard_afterwards_and_in_order(home):
    async with running(home("always")) as house:
        house.hears.texts = ["remind me to buy milk", "at six pm", "what are my reminders"]
        house.hears.go_on.clear()
        house.room.say(1, -2, 1, -2)
        await house.until(house.hears.begun.is_set)
        assert house.hearing.status().state == "thinking" and len(house.hears.utterances) == 1
        house.hears.go_on.set()
        assert "When should I" in await house.said()
        await house.until(house.tasks)
        assert house.tasks() == ["buy milk"]


async def test_what_is_too_long_for_one_utterance_is_understood_as_a_whole(home):
    async with running(home("push")) as house:
        house.hears.texts = ["remind me to call mum at five", "and to buy milk at six"]
        async with house.listening() as turns:
            house.room.say(35, -2)
            turn = await next_of(turns)
        assert turn.transcript.text == "remind me to call mum at five and to buy milk at six"
        assert house.tasks() == ["call mum", "buy milk"]


async def test_what_never_ends_is_not_believed(home):
    async with running(home("push")) as house:
        house.hears.texts = [f"part {n}" for n in range(5)]
        async with house.listening() as turns:
            house.room.say(125, -2)
            assert (await next_of(turns)).reply == AGAIN
        assert house.kept() == 0


# Muting

async def test_muted_the_microphone_is_closed_and_whoever_has_it_listen_is_told(home):
    async with running(home("always")) as house:
        async with house.listening() as turns:
            house.room.say(1)
            await house.heard_all()
            house.hearing.muted = True
            assert await next_of(turns) is None
        await house.until(lambda: house.room.closed == 1)
        assert house.hearing.status().state == "muted" and house.hearing.status().says == "The microphone is muted."
        with pytest.raises(Muted, match="unmute"):
            async with house.hearing.listen():
                pass
        house.hearing.muted = False
        house.hears.texts = [MUM]
        house.room.say(-2, 1, -2)
        assert "call mum" in await house.said()
        assert house.room.opened == 2 and len(house.hears.utterances) == 1


async def test_muted_twice_it_is_still_seen_to_that_the_microphone_closes(home):
    async with running(home("always")) as house:
        await house.until(lambda: house.room.opened)
        house.room.may_close.clear()
        house.hearing.muted = True
        for _ in range(5):
            await asyncio.sleep(0)
        house.hearing.muted = True
        for _ in range(5):
            await asyncio.sleep(0)
        house.room.may_close.set()
        await house.until(lambda: house.room.closed == 1)


async def test_what_was_accepted_before_it_was_muted_is_answered(home):
    house = home("push")
    go_on, rewrite = asyncio.Event(), house.rewriter.rewrite

    async def slow(text):
        await go_on.wait()
        return await rewrite(text)

    house.rewriter.rewrite = slow
    async with running(house):
        house.hears.texts = [MUM]
        async with house.listening():
            house.room.say(1, -2)
            await house.until(house.kept)
            house.hearing.muted = True
            await house.until(lambda: house.room.closed)
            go_on.set()
            assert "call mum" in await house.said()


async def test_mutes_survive_a_restart(home, tmp_path):
    house = home("always")
    house.hearing.muted, house.hearing.voice_muted = True, True
    house.hearing.muted = True
    assert house.told == 2
    again = home("always")
    async with running(again):
        assert again.hearing.muted and again.hearing.voice_muted and again.voice.muted and not again.room.opened
        again.hearing.muted = False
        await again.until(lambda: again.room.opened)
    assert read_mutes(tmp_path / FILE) == Mutes(microphone=False, voice=True)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", '{"microphone": true}', "\xff"])
def test_a_file_that_cannot_be_read_mutes_the_microphone(tmp_path, text):
    (tmp_path / FILE).write_text(text, "latin-1")
    assert read_mutes(tmp_path / FILE) == Mutes(microphone=True)


def test_mutes_that_cannot_be_written_hold_all_the_same(tmp_path, caplog):
    write_mutes(tmp_path / "nowhere" / FILE, Mutes(voice=True))
    assert "cannot be kept" in caplog.text


# What goes wrong

@pytest.mark.parametrize("addressed", [True, False], ids=["addressed", "overheard"])
async def test_what_cannot_be_transcribed_is_said_to_whoever_spoke_to_it_and_ends_nothing(home, addressed):
    async with running(home("always")) as house:
        house.hears.texts = [TranscriptionError("The engine is gone: start it."), MUM]
        if addressed:
            async with house.listening() as turns:
                house.room.say(1, -2)
                assert (await next_of(turns)).reply == "The engine is gone: start it."
            await house.said()
        else:
            house.room.say(1, -2)
            await house.heard_all()
        house.room.say(-1, 1, -2)
        assert "call mum" in await house.said()


async def test_what_is_not_understood_again_and_again_ends_the_conversation(home):
    async with running(home("push")) as house, house.listening() as turns:
        house.hears.texts = [""] * 3
        house.room.say(1, -2, 1, -2, 1, -2)
        assert [(await next_of(turns)).reply for _ in range(3)] == [AGAIN, AGAIN, GAVE_UP]
        assert await next_of(turns) is None
        assert house.hearing.counts.refused == 3


async def test_too_long_a_request_is_told_to_be(home):
    async with running(home("push")) as house, house.listening() as turns:
        house.hears.texts = ["remind me " * 60, MUM]
        house.room.say(1, -2)
        assert "the limit is 500" in (await next_of(turns)).reply
        await house.said()
        house.room.say(1, -2)
        assert (await next_of(turns)).answer


async def test_a_fault_of_the_disk_is_told_and_ends_the_conversation_only(home):
    house = home("push")

    async def full(request, accepted=None):
        raise StoreError("The disk is full: free some space.")

    house.pipeline.handle = full
    async with running(house), house.listening() as turns:
        house.hears.texts = [MUM]
        house.room.say(1, -2)
        assert (await next_of(turns)).reply == "The disk is full: free some space."
        assert await next_of(turns) is None


async def test_a_bug_ends_the_task(home):
    house = home("always")
    house.hears.texts = [ZeroDivisionError()]
    house.room.say(1, -2)
    async with asyncio.timeout(10):
        with pytest.raises(ExceptionGroup):
            await house.hearing.run()
    assert house.room.closed == 1


# Recordings

class Recorded(Room):
    """A recording: it ends."""

    def __aiter__(self) -> "Recorded":
        return self

    async def __anext__(self) -> Block:
        if self.blocks.empty():
            raise StopAsyncIteration
        return await super().__anext__()


async def test_a_recording_is_answered_once_however_often_it_is_sent(home):
    house = home("push")
    for _ in range(2):
        recorded = Recorded()
        recorded.say(-1, 1, -2, 1, -2)
        house.hears.texts = ["remind me to buy milk", "at six pm"]
        async with aclosing(house.hearing.hear(recorded, "mqtt:kitchen", id="abc")) as hears:
            turns = [turn async for turn in hears]
        assert [turn.question for turn in turns] == [True, False] and recorded.closed == 1
    assert house.tasks() == ["buy milk"] and house.mouth.said.empty()
    assert {house.store.request(id).channel for id in ("abc", "abc.2")} == {"mqtt:kitchen"}


@pytest.mark.parametrize(("channel", "later", "set_"), [("phone", 1, ["call dad"]), ("tablet", 1, []), ("phone", 3, [])])
async def test_what_a_recording_may_have_said_is_confirmed_by_the_next_one_of_its_channel_for_two_minutes(
    home, channel, later, set_
):
    house = home("push")
    house.rewriter.answers[(text := "remind me to call dad")] = "call dad | 18:00"
    house.hears.texts = [(text, 0.3), "yes"]
    for name, minutes in (("phone", 0), (channel, later)):
        house.room.clock.pass_by(minutes=minutes)
        recorded = Recorded()
        recorded.say(1, -2)
        async with aclosing(house.hearing.hear(recorded, name)) as hears:
            (turn,) = [turn async for turn in hears]
        if not minutes:
            assert turn.reply == f'Did you say "{text}"?'
    assert house.tasks() == set_


@pytest.mark.parametrize("keep", [True, False])
async def test_sound_is_kept_only_where_that_is_wanted_and_only_of_requests(home, tmp_path, keep):
    async with running(home("always", audio={"keep": keep})) as house:
        house.hears.texts = ["the weather was dreadful", MUM]
        house.room.say(1, -2, 1, -2)
        await house.said()
    files = [*(tmp_path / "audio").glob("*")] if keep else [f for f in tmp_path.rglob("*") if "wav" in f.name]
    assert len(files) == keep
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        [id] = [row["id"] for row in house.store.db.rows("SELECT id FROM requests", ())]
        assert file.name.startswith("2026-03-11T10-00-0") and file.name.endswith(f"_{id}.wav")
        with wave.open(str(file)) as sound:
            assert sound.readframes(10**6) == house.hears.utterances[1].pcm


async def test_of_many_recordings_the_newest_are_kept_and_no_name_leaves_the_folder(tmp_path, caplog):
    folder = tmp_path / "audio"
    recordings = Recordings(folder, most=2)
    for n in range(4):
        await recordings.keep((Utterance(VOICE, NOW + timedelta(minutes=n), 1, -20),), "../../evil\0")
    names = sorted(f.name for f in folder.iterdir())
    assert [n[:20] for n in names] == ["2026-03-11T10-02-00.", "2026-03-11T10-03-00."] and len(list(tmp_path.iterdir())) == 1
    folder.chmod(0o500)
    await Recordings(folder / names[0] / "no folder").keep((Utterance(VOICE, NOW, 1, -20),), "a")
    assert "not kept as sound" in caplog.text


# Its parts

async def test_echo_covers_what_was_heard_while_it_spoke_and_a_moment_longer():
    clock = StandingClock(NOW)

    class Slow(Mouth):
        def __init__(self) -> None:
            self.go_on = asyncio.Event()

        async def speak(self, text: str) -> None:
            await self.go_on.wait()

    echo = Echo(engine := Slow(), clock)
    speaking = asyncio.create_task(echo.speak("hello"))
    await asyncio.sleep(0)
    assert echo.covers(NOW + timedelta(seconds=5)) and not echo.covers(NOW - timedelta(seconds=1))
    clock.pass_by(seconds=2)
    engine.go_on.set()
    await speaking
    over = NOW + timedelta(seconds=2) + ECHO
    assert echo.covers(NOW) and echo.covers(over - timedelta(seconds=0.01)) and not echo.covers(over)


async def test_a_lazy_transcriber_enters_its_engine_when_somebody_is_heard_and_leaves_it():
    did = []

    class Engine(Hears):
        async def __aenter__(self) -> "Engine":
            did.append("entered")
            return self

        async def __aexit__(self, *exc: object) -> None:
            did.append("left")

    async with LazyTranscriber(Engine()):
        pass
    assert did == []
    async with LazyTranscriber(Engine()) as lazy:
        await lazy.begin()
        await asyncio.gather(lazy.load(), lazy.load())
        assert did == ["entered"] and lazy.name == "fake"
    assert did == ["entered", "left"]


async def test_an_engine_that_cannot_be_started_is_asked_again_next_time():
    class Engine(Hears):
        tries = 0

        async def __aenter__(self) -> "Engine":
            self.tries += 1
            if self.tries == 1:
                raise OSError(24, "Too many open files")
            return self

    engine = Engine()
    engine.texts = [MUM]
    async with LazyTranscriber(engine) as lazy:
        with pytest.raises(TranscriptionError, match="too many open files"):
            await lazy.load()
        assert (await lazy.transcribe(Utterance(VOICE, NOW, 1, -20))).text == MUM
