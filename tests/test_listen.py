"""Push to talk: one thing that is said is heard, understood and answered, and so is the answer to a question."""

import asyncio
import json
import os
import subprocess
import threading
import wave
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

import numpy as np
import pytest

from assistant import listen_commands, push_to_talk
from assistant.audio import BLOCK, RATE, Block
from assistant.config import Config
from assistant.errors import NoMicrophone, TranscriptionError
from assistant.messages import Transcript, Utterance
from assistant.microphone import ZEROS
from assistant.push_to_talk import AGAIN, GAVE_UP, MISHEARD, PATIENCE, Attention, Turn, turns
from tests import speech, virtual_microphone
from tests.process import ASSISTANT, Daemon
from tests.test_audio import write_wav
from tests.test_cli import assistant, error
from tests.test_microphone import TIMES, plugged  # noqa: F401
from tests.virtual_microphone import VirtualMicrophone

NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)
VOICE = np.full(BLOCK, 3000, "<i2").tobytes()
A_SECOND = RATE / BLOCK


class Person:
    """A source of sound: each of `says` is so many seconds, negative of silence. Then it is silent for ever."""

    def __init__(self, *says: float) -> None:
        self._pcm = [VOICE if s > 0 else ZEROS for s in says for _ in range(round(abs(s) * A_SECOND))]
        self.blocks = 0

    async def __aenter__(self) -> "Person":
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    def __aiter__(self) -> AsyncIterator[Block]:
        return self

    async def __anext__(self) -> Block:
        at = NOW + timedelta(seconds=self.blocks * BLOCK / RATE)
        self.blocks += 1
        return Block(self._pcm[self.blocks - 1] if self.blocks <= len(self._pcm) else ZEROS, at)


class LoudIsSpeech:
    """A detector for such a person."""

    def probability(self, block: bytes) -> float:
        return float(block == VOICE)

    def reset(self) -> None:
        pass


class Hears:
    """A transcriber that knows what is said: texts, or a text and how sure it is."""

    def __init__(self, *texts: str | tuple[str, float]) -> None:
        self._texts = iter(texts)
        self.utterances: list[Utterance] = []

    async def transcribe(self, utterance: Utterance) -> Transcript:
        self.utterances.append(utterance)
        text = next(self._texts)
        text, sure = text if isinstance(text, tuple) else (text, 0.9)
        return Transcript(text, "fake", sure, 1.0)


class Asked:
    """A daemon that asks back as long as it has questions."""

    def __init__(self, *questions: str) -> None:
        self._questions = [*questions]
        self.texts: list[str] = []

    async def __call__(self, text: str) -> dict:
        self.texts.append(text)
        question = self._questions.pop(0) if self._questions else None
        return {"reply": question or "OK.", "question": bool(question), "kind": "create", "reminders": []}


async def talk(person: Person, hears: Hears, asked: Asked, patience: float = PATIENCE) -> list[Turn]:
    attention = Attention(person, LoudIsSpeech(), patience)
    return [turn async for turn in turns(attention, "default", hears, asked, 0.5)]


async def test_what_is_said_is_asked_once_and_that_is_the_end():
    asked = Asked()
    [turn] = await talk(Person(-1, 1, -2, 1, -2), Hears("call mum at five", "never heard"), asked)
    assert asked.texts == ["call mum at five"]
    assert (turn.reply, turn.question, turn.transcript.text) == ("OK.", False, "call mum at five")


async def test_a_question_is_answered_by_what_is_said_next():
    asked = Asked("When?")
    first, second = await talk(Person(-1, 1, -2, 1, -2), Hears("buy milk", "at five"), asked)
    assert asked.texts == ["buy milk", "at five"]
    assert (first.reply, first.question, second.reply) == ("When?", True, "OK.")


async def test_a_question_that_nobody_answers_ends_after_ten_seconds():
    person, asked = Person(1, -2), Asked("When?")
    assert [t.reply for t in await talk(person, Hears("buy milk"), asked)] == ["When?"]
    assert person.blocks == pytest.approx((1 + PATIENCE) * A_SECOND, abs=5)


async def test_ten_seconds_without_a_word_are_the_end():
    person = Person()
    assert await talk(person, Hears(), Asked()) == []
    assert person.blocks == pytest.approx(PATIENCE * A_SECOND, abs=5)


async def test_who_begins_late_is_heard_to_the_end():
    hears = Hears("call mum at five")
    await talk(Person(-9, 8, -2), hears, Asked())
    [utterance] = hears.utterances
    assert utterance.seconds > 8


async def test_a_recording_may_be_silent_for_longer():
    asked = Asked()
    await talk(Person(-60, 1, -2), Hears("call mum at five"), asked, inf)
    assert asked.texts == ["call mum at five"]


@pytest.mark.parametrize(("answer", "text"), [
    ("yes", "call mum"), (("yeah that's right", 0.1), "call mum"), ("no call dad", "call dad"), ("call dad", "call dad"),
], ids=["yes", "a yes that is not sure", "no and other words", "other words"])
async def test_what_may_be_misheard_is_asked_about_first(answer, text):
    asked = Asked()
    doubt, done = await talk(Person(-1, 1, -2, 1, -2), Hears(("call mum", 0.4), answer), asked)
    assert (doubt.reply, doubt.answer, doubt.question) == ('Did you say "call mum"?', None, True)
    assert asked.texts == [text] and done.reply == "OK."


async def test_no_is_not_taken_for_a_request_but_one_may_say_it_again():
    asked = Asked()
    said = await talk(Person(*[1, -2] * 3), Hears(("call mum", 0.4), "no", "call dad"), asked)
    assert [t.reply for t in said] == ['Did you say "call mum"?', AGAIN, "OK."]
    assert asked.texts == ["call dad"]


async def test_what_is_not_understood_again_and_again_ends_it():
    asked = Asked()
    said = await talk(Person(*[1, -2] * 9), Hears(*[""] * 9), asked)
    assert [t.reply for t in said] == [AGAIN] * (MISHEARD - 1) + [GAVE_UP]
    assert asked.texts == []


async def test_the_voice_of_the_assistant_is_not_heard():
    attention = Attention(person := Person(1, -2, 3, -1, 1, -2), LoudIsSpeech())
    hears, asked = Hears("buy milk", "at five"), Asked("When?")
    async for _ in turns(attention, "default", hears, asked, 0.5):
        attention.wait_anew(after=NOW + timedelta(seconds=6.5))  # it spoke from second 3 to 6
    assert asked.texts == ["buy milk", "at five"]
    assert hears.utterances[1].began >= NOW + timedelta(seconds=6.4)
    assert person.blocks < 11 * A_SECOND


async def test_patience_begins_anew_when_the_assistant_has_spoken():
    person = Person(1, -2)
    attention = Attention(person, LoudIsSpeech())
    async for _ in turns(attention, "default", Hears("buy milk"), Asked("When?"), 0.5):
        attention.wait_anew(after=NOW + timedelta(seconds=20))
    assert person.blocks == pytest.approx((20 + PATIENCE) * A_SECOND, abs=5)


async def test_a_microphone_that_delivers_nothing_is_an_error(monkeypatch):
    class Hangs(Person):
        async def __anext__(self) -> Block:
            return await asyncio.Event().wait()

    monkeypatch.setattr(push_to_talk, "FIRST_SECONDS", 0.01)
    with pytest.raises(NoMicrophone, match="delivers nothing"):
        await talk(Hangs(), Hears(), Asked())


async def test_attention_tells_when_it_hears_and_whether_it_was_only_silence():
    attention = Attention(Person(-1, 1), LoudIsSpeech())
    assert not attention.began.is_set()
    await anext(attention)
    assert attention.began.is_set() and attention.silent
    for _ in range(round(A_SECOND) + 1):
        await anext(attention)
    assert not attention.silent


# The command

@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder without settings, a port where nobody answers, and the engine that needs no download."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSISTANT_HTTP__PORT", "1")
    monkeypatch.setenv("ASSISTANT_STT__ENGINE", "pocketsphinx")


@pytest.fixture(scope="module")
def running(model, tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("data")) as daemon:
        yield daemon


@pytest.fixture
def daemon(running, monkeypatch):
    """A daemon that answers the commands and has nothing set."""
    monkeypatch.setenv("ASSISTANT_HTTP__PORT", running.url.rpartition(":")[2])
    empty(running)
    return running


def empty(daemon: Daemon) -> None:
    for reminder in daemon.call("GET", "/reminders")[1]["reminders"]:
        daemon.call("DELETE", f"/reminders/{reminder['id']}")


def recorded(path: Path, *parts: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.concatenate(parts).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("command", ["listen", "say"])
def test_without_a_daemon_nobody_speaks_in_vain(command, tmp_path):
    answer = assistant(command, "--audio", str(recorded(tmp_path / "a.wav", speech.silence(1))))
    assert answer.returncode == 5 and "assistant run" in error(answer)


@pytest.mark.parametrize("words", [("say",), ("say", "remind me", "--audio", "a.wav")], ids=["neither", "both"])
def test_say_wants_words_or_a_recording(words):
    assert assistant(*words).returncode == 2


def test_a_recording_that_is_none_ends_with_2(daemon):
    answer = assistant("listen", "--audio", "nowhere.wav")
    assert answer.returncode == 2 and "nowhere.wav" in error(answer)


def test_without_a_microphone_it_says_so(daemon, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_portaudio"))
    monkeypatch.setenv("FAKE_MICROPHONE", json.dumps({"devices": False}))
    answer = assistant("listen")
    assert answer.returncode == 1 and "No microphone can be opened" in error(answer)


def test_who_has_muted_the_microphone_finds_it_muted_here_too_but_may_give_a_recording(daemon, tmp_path):
    daemon.call("POST", "/hearing", {"muted": True})
    try:
        answer = assistant("listen")
        assert answer.returncode == 1 and "assistant unmute" in error(answer)
        given = assistant("listen", "--audio", str(recorded(tmp_path / "a.wav", speech.silence(1))))
        assert given.returncode == 1 and b"Nothing was heard" in given.stderr
    finally:
        daemon.call("POST", "/hearing", {"muted": False})


def test_a_microphone_that_is_silent_for_ten_seconds_is_told_to_be(daemon, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_portaudio"))
    monkeypatch.setenv("FAKE_MICROPHONE", json.dumps({"frames": 10**6, "level": 0, "pause": 0.002}))
    answer = assistant("listen")
    assert answer.returncode == 1 and "Built-in delivers silence" in error(answer)


class Parrot:
    """A voice that keeps what it is to say."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def say(self, text: str) -> bool:
        self.said.append(text)
        return True


async def test_it_says_what_the_daemon_has_for_the_ear_and_ones_own_words_as_they_were():
    parrot, heard = Parrot(), Transcript("no meet at 5:30", "test", 0.3, 1.0)
    answer = {"spoken": "OK: meet room 17:30, tomorrow at noon.", "reminders": []}
    assert await listen_commands._say(Turn(heard, answer, "OK: meet room 17:30, tomorrow at 12:00."), parrot)
    assert await listen_commands._say(Turn(heard, None, 'Did you say "meet at 5:30"?'), parrot)
    assert parrot.said == [answer["spoken"], "Did you say meet at 5:30?"]


@pytest.mark.parametrize("frames", [0, 5], ids=["at once", "before anybody spoke"])
def test_a_microphone_that_ends_is_told_to_have_ended(daemon, monkeypatch, frames):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_portaudio"))
    monkeypatch.setenv("FAKE_MICROPHONE", json.dumps({"frames": frames, "level": 0, "ends": True}))
    answer = assistant("listen")
    assert answer.returncode == 1 and "Built-in has ended" in error(answer)


def test_a_recording_of_silence_ends_with_1(daemon, tmp_path):
    answer = assistant("listen", "--audio", str(recorded(tmp_path / "a.wav", speech.silence(2))))
    assert answer.returncode == 1 and "Nothing was heard" in error(answer)


# From sound to a reminder, with PocketSphinx. It hears American English, and a synthesiser's worse than a person's:
# these sentences of these voices it hears right.

def said(*sentences: tuple[str, str]) -> list[np.ndarray]:
    """In a quiet room, with a pause before and after each sentence of a voice."""
    parts = [speech.room(1)]
    for voice, text in sentences:
        parts += [speech.mixed(clean := speech.speak(text, voice), speech.room(len(clean) / RATE + 1), 40), speech.room(2)]
    return parts


@speech.wanted
@pytest.mark.parametrize("command", ["listen", "say"])
def test_a_recording_becomes_a_reminder(daemon, tmp_path, command):
    wav = recorded(tmp_path / "a.wav", *said(("rms", "remind me to call the doctor tomorrow morning")))
    answer = assistant(command, "--audio", str(wav), env={"ASSISTANT_TTS__ENGINE": "none"})
    assert answer.returncode == 0, error(answer)
    heard, reply = answer.stdout.decode().splitlines()
    assert heard == '"remind me to call the doctor tomorrow morning"' and "call the doctor" in reply
    [reminder] = daemon.call("GET", "/reminders")[1]["reminders"]
    assert (reminder["task"], reminder["when"]) == ("call the doctor", "tomorrow morning")


@speech.wanted
def test_a_recording_with_the_answer_to_a_question_becomes_one_as_well(daemon, tmp_path):
    wav = recorded(tmp_path / "a.wav", *said(("slt", "remind me to buy milk"), ("rms", "tomorrow morning")))
    answer = assistant("listen", "--audio", str(wav), "--quiet", "--json")
    first, second = map(json.loads, answer.stdout.splitlines())
    assert first["answer"]["question"] and first["transcript"]["text"] == "remind me to buy milk"
    assert second["answer"]["reminders"][0]["task"] == "buy milk" and not second["answer"]["question"]
    assert [r["task"] for r in daemon.call("GET", "/reminders")[1]["reminders"]] == ["buy milk"]


@speech.wanted
@pytest.mark.parametrize(("answers", "status", "tasks"), [
    ([("rms", "yes")], 0, ["water the plants"]), ([], 1, []),
], ids=["yes", "nothing"])
def test_what_it_is_not_sure_to_have_heard_is_set_after_a_yes(daemon, tmp_path, answers, status, tasks):
    wav = recorded(tmp_path / "a.wav", *said(("rms", "remind me to water the plants tomorrow"), *answers))
    answer = assistant("listen", "--audio", str(wav), "--quiet", env={"ASSISTANT_STT__CONFIDENCE": "0.98"})
    assert answer.returncode == status, error(answer)
    assert 'Did you say "remind me to water the plants tomorrow"?' in answer.stdout.decode()
    assert [r["task"] for r in daemon.call("GET", "/reminders")[1]["reminders"]] == tasks


class Listening:
    """`assistant listen` as a process that hears a virtual microphone. A context manager."""

    def __init__(self) -> None:
        env = os.environ | {"ASSISTANT_TTS__ENGINE": "flite", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [*ASSISTANT, "listen"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._timer = threading.Timer(120, self.process.kill)

    def __enter__(self) -> "Listening":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self.process.kill()
        self.process.communicate()

    def invites(self) -> bool:
        """Wait until it is one's turn to speak; False if it has ended."""
        return self.process.stderr.readline().startswith("Listening to ")


def conversation(microphone: VirtualMicrophone, *recordings: Path) -> list[str]:
    """What is shown while one says each of these when it is one's turn; to its end."""
    with Listening() as listening:
        for recording in recordings:
            if listening.invites():
                microphone.play(recording)
        shown, wrong = listening.process.communicate(timeout=120)
        return [*shown.splitlines(), *([wrong] if listening.process.returncode else [])]


@speech.wanted
@virtual_microphone.wanted
def test_one_talks_with_it_through_a_microphone_and_it_does_not_hear_its_own_voice(
    daemon, plugged: VirtualMicrophone, tmp_path,  # noqa: F811
):
    """A machine that is too busy for its sound loses some, and it is misheard: then one talks with it again."""
    request = recorded(tmp_path / "request.wav", speech.speak("remind me to buy milk", "awb"))
    reply = recorded(tmp_path / "reply.wav", speech.room(0.5), speech.speak("tomorrow morning", "rms"))
    heard = ['"remind me to buy milk"', '"tomorrow morning"']
    for _ in range(TIMES):
        empty(daemon)
        lines = conversation(plugged, request, reply)  # its question goes into the same sink that it hears
        if lines[::2] == heard:
            break
    assert (lines[::2], len(lines)) == (heard, 4), lines
    assert [r["task"] for r in daemon.call("GET", "/reminders")[1]["reminders"]] == ["buy milk"]


class Engine:
    """A transcriber that cannot be loaded ahead, and works all the same."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __aenter__(self) -> "Engine":
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.asked.append("left")

    async def load(self) -> None:
        self.asked.append("load")
        raise TranscriptionError("not yet")

    async def transcribe(self, utterance: Utterance) -> Transcript:
        self.asked.append("transcribe")
        return Transcript("done", "fake", 0.9, 1.0)


class Answers:
    """A daemon that is done with everything."""

    def call(self, *request: object) -> dict:
        return {"reply": "OK.", "spoken": "OK.", "question": False, "kind": "done", "reminders": []}


@speech.wanted
async def test_the_engine_is_loaded_while_somebody_speaks_and_what_goes_wrong_then_ends_nothing(tmp_path, monkeypatch):
    engine = Engine()
    monkeypatch.setattr("assistant.stt.transcriber", lambda config: engine)
    sound = speech.joined(speech.silence(1), speech.speak("I am done now"), speech.silence(2)) / 32768
    wav = write_wav(tmp_path / "said.wav", [sound])
    last = await listen_commands._converse(Config(), Answers(), wav, quiet=True, as_json=True)
    assert last.answer["kind"] == "done"
    assert engine.asked == ["load", "transcribe", "left"]
