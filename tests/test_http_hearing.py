"""What the assistant hears and says, over HTTP and by the commands."""

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import aiohttp
import numpy as np
import pytest
import typer

from assistant import doctor, http, http_hearing
from assistant.audio import RATE
from assistant.clock import SystemClock
from assistant.config import load
from assistant.errors import Muted, NoMicrophone, NotRunning, TranscriptionTimeout
from assistant.hearing import Hears
from assistant.hearing_commands import hearing, hush, mute, sentence, unmute
from assistant.http import Service, listening
from assistant.listen import open_socket
from assistant.messages import Transcript
from assistant.pipeline import Pipeline
from assistant.push_to_talk import AGAIN, Turn
from assistant.store import Store
from assistant.when import Policy
from tests import speech
from tests.fakes import ScriptedRewriter
from tests.process import Daemon
from tests.test_cli import assistant, error
from tests.test_http import Client
from tests.test_metrics import Figures

ASKED = Turn(Transcript("call mum", "fake", 0.4123, 12.0), None, 'Did you say "call mum"?')
DONE = Turn(Transcript("yes", "fake", 0.9, 11.0), {"id": "7", "reply": "OK.", "spoken": "OK.", "kind": "create",
            "question": False, "reminders": [], "understanding": None}, "OK.")  # fmt: skip
UNHEARD = Turn(Transcript("", "fake", 0.1, 9.0, "silence"), None, AGAIN)


class Ears:
    """Hears the turns that it is told, and then nothing more; an error among them is raised."""

    def __init__(self, *turns: Turn | Exception) -> None:
        self.turns, self.muted, self.voice_muted = turns, False, False
        self.quiet: bool | None = None
        self.waits = False
        """For somebody to speak, for ever."""
        self.closed = asyncio.Event()
        self.hushed = 0
        self.heard: list[tuple[int, str, str]] = []
        self.counts = SimpleNamespace(utterances=9, refused=2, dropped=4, requests=3)

    def status(self) -> Hears:
        return Hears("word", "muted" if self.muted else "waiting", self.muted, self.voice_muted, "listening",
                     "Listening to Built-in.", "Built-in", True, 1, 2, 3, "pocketsphinx", "flite", "okay nabu")

    def hush(self) -> None:
        self.hushed += 1

    @asynccontextmanager
    async def listen(self, quiet: bool = False) -> AsyncIterator[AsyncIterator[Turn]]:
        if self.muted:
            raise Muted
        self.quiet = quiet
        try:
            yield self._say()
        finally:
            self.closed.set()

    async def hear(self, source, channel: str, quiet: bool = True, id: str | None = None) -> AsyncIterator[Turn]:
        async with source:
            self.heard.append((len([block async for block in source]), channel, id))
        async for turn in self._say():
            yield turn

    async def _say(self) -> AsyncIterator[Turn]:
        for turn in self.turns:
            if isinstance(turn, Exception):
                raise turn
            yield turn
        if self.waits:
            await asyncio.Event().wait()


@pytest.fixture
def ears():
    return Ears(ASKED, DONE)


@asynccontextmanager
async def served(folder: Path, ears: Ears) -> AsyncIterator[Client]:
    with Store.open(folder / "reminders.db") as store, open_socket("127.0.0.1", 0) as socket:
        pipeline = Pipeline(
            ScriptedRewriter(), store, Policy(), ZoneInfo("Europe/London"), SystemClock(), 0.0, lambda: None)
        service = Service(pipeline, hearing=ears)
        async with listening(service, socket) as url, aiohttp.ClientSession() as session:
            yield Client(session, url)


@pytest.fixture
async def client(tmp_path, ears):
    async with served(tmp_path, ears) as client:
        yield client


# The microphone and the voice

async def test_how_it_hears_is_told_and_in_short_beside_its_health(client, ears):
    assert await client("GET", "/hearing") == (200, asdict(ears.status()))
    found = (await client("GET", "/health"))[1]["hearing"]
    assert found == {"mode": "word", "state": "waiting", "muted": False, "voice_muted": False}


@pytest.mark.parametrize(("path", "what"), [("/hearing", "muted"), ("/voice", "voice_muted")])
async def test_microphone_and_voice_are_muted_each_on_its_own(client, ears, path, what):
    for muted in (True, True, False):
        status, now = await client("POST", path, {"muted": muted})
        assert (status, now[what]) == (200, muted)
        assert [ears.muted, ears.voice_muted].count(True) == muted and getattr(ears, what) is muted


async def test_it_is_silent_when_it_is_told_to_be(client, ears):
    assert await client("POST", "/voice/stop") == (200, asdict(ears.status()))
    assert ears.hushed == 1


@pytest.mark.parametrize(("path", "data", "says"), [
    ("/hearing", b"{}", '"muted" is missing'), ("/hearing", b'{"muted": 1}', "true or false"),
    ("/voice", b'{"muted": "yes"}', "true or false"), ("/listen", b'{"quiet": 0}', "true or false"),
    ("/listen", b'{"loud": true}', "not known"), ("/voice/stop", b'{"now": true}', "not known"),
])  # fmt: skip
async def test_what_cannot_be_taken_changes_nothing(client, ears, path, data, says):
    status, answer = await client("POST", path, data=data)
    assert (status, answer["error"]["code"]) == (400, "bad_request") and says in answer["error"]["message"]
    assert (ears.muted, ears.voice_muted, ears.hushed, ears.quiet) == (False, False, 0, None)


async def test_what_it_hears_is_counted(client):
    async with client.session.get(client.url + "/metrics") as answer:
        found = Figures(await answer.text())
    kinds = ("", "_refused", "_dropped")
    assert [found(f"assistant_utterances{kind}_total") for kind in kinds] == [9, 2, 4]
    assert [found(f"assistant_microphone_{what}_total") for what in ("reopened", "drops", "xruns")] == [1, 2, 3]
    assert found("assistant_muted") == 0


# Listening

async def lines(client: Client, body: dict | None = None) -> list[dict]:
    async with client.session.post(client.url + "/listen", json=body or {}) as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
        return [json.loads(line) async for line in answer.content if line.strip()]


async def test_each_turn_is_a_line_with_what_was_heard_and_the_answer_to_it(client, ears):
    asked, done = await lines(client)
    assert asked == {
        "heard": "call mum", "confidence": 0.41, "engine": "fake", "ms": 12.0, "reply": 'Did you say "call mum"?',
        "spoken": "Did you say call mum?", "kind": "unsure", "question": True, "reminders": [], "understanding": None}
    assert done == DONE.answer | {"heard": "yes", "confidence": 0.9, "engine": "fake", "ms": 11.0}
    assert ears.quiet is False and ears.closed.is_set()


async def test_it_says_nothing_aloud_if_it_is_told_so(client, ears):
    await lines(client, {"quiet": True})
    assert ears.quiet is True


async def test_a_turn_is_told_as_it_happens(client, ears):
    ears.waits = True
    async with asyncio.timeout(10), client.session.post(client.url + "/listen", json={}) as answer:
        assert json.loads(await answer.content.readline())["heard"] == "call mum"
        assert not ears.closed.is_set()


async def test_a_client_that_goes_away_ends_it(client, ears, monkeypatch):
    monkeypatch.setattr(http_hearing, "ALIVE_SECONDS", 0.01)
    ears.waits = True
    async with client.session.post(client.url + "/listen", json={}) as answer:
        await answer.content.readline()
        answer.close()
    async with asyncio.timeout(10):
        await ears.closed.wait()
    assert (await client("GET", "/health"))[0] == 200


async def test_who_listens_does_not_keep_the_daemon_from_stopping(tmp_path, ears, monkeypatch):
    monkeypatch.setattr(http, "ANSWER_SECONDS", 60)
    ears.waits = True
    async with asyncio.timeout(20), aiohttp.ClientSession() as elsewhere:
        async with served(tmp_path, ears) as client:
            answer = await elsewhere.post(client.url + "/listen", json={})
            await answer.content.readline()
        assert ears.closed.is_set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_what_goes_wrong_while_it_listens_is_the_last_line(client, ears):
    ears.turns = (ASKED, NoMicrophone("it delivers nothing"))
    first, last = await lines(client)
    assert first["heard"] == "call mum" and last["error"]["code"] == "no_microphone"
    assert "it delivers nothing" in last["error"]["message"] and ears.closed.is_set()


async def test_who_is_muted_does_not_listen_and_says_what_helps(client, ears):
    ears.muted = True
    status, answer = await client("POST", "/listen")
    assert (status, answer["error"]["code"]) == (409, "muted") and "unmute" in answer["error"]["message"]


# Recordings

def wav(*parts: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(np.concatenate(parts).astype("<i2").tobytes())
    return file.getvalue()


def flac(samples: np.ndarray) -> bytes:
    import av

    frame = av.AudioFrame.from_ndarray(samples.astype("<i2")[None], "s16", "mono")
    frame.sample_rate = RATE
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        for whole in (frame, None):
            container.mux(stream.encode(whole))
    return file.getvalue()


async def sent(client: Client, data: bytes, path: str = "/requests", kind: str = "audio/wav", **headers: str):
    return await client("POST", path, data=data, headers={"Content-Type": kind, **headers})


async def test_a_recording_is_heard_and_its_last_turn_is_the_answer(client, ears):
    status, answer = await sent(client, wav(speech.room(1)), "/requests?channel=kitchen", **{"X-Request-Id": "abc"})
    assert status == 200
    assert answer == DONE.answer | {"id": "abc", "heard": "yes", "confidence": 0.9, "engine": "fake", "ms": 11.0}
    assert ears.heard == [(32, "kitchen", "abc")]


async def test_a_noise_after_what_was_said_does_not_take_its_answer_away(client, ears):
    when = DONE.answer | {"kind": "needs_time", "reply": "When?", "question": True}
    ears.turns = (Turn(DONE.transcript, when, "When?"), UNHEARD)
    status, answer = await sent(client, wav(speech.room(1)))
    assert (status, answer["kind"], answer["heard"], answer["question"]) == (200, "needs_time", "yes", True)


async def test_words_that_are_not_believed_are_told_and_nothing_is_done(client, ears):
    ears.turns = (ASKED,)
    status, answer = await sent(client, wav(speech.room(1)), **{"X-Request-Id": "abc"})
    assert (status, answer["kind"], answer["heard"], answer["reminders"]) == (200, "unsure", "call mum", [])
    assert (answer["id"], answer["reply"], answer["question"]) == ("abc", 'Did you say "call mum"?', True)


async def test_what_no_model_understands_now_is_accepted_and_not_done(client, ears):
    ears.turns = (Turn(DONE.transcript, DONE.answer | {"kind": "kept"}, "I'll set that."),)
    assert (await sent(client, wav(speech.room(1))))[0] == 202


@pytest.mark.parametrize("turns", [(), (UNHEARD,)], ids=["nothing was said", "no words could be heard"])
async def test_a_recording_without_words_is_told_to_be(client, ears, turns):
    ears.turns = turns
    status, answer = await sent(client, wav(speech.room(1)))
    assert (status, answer["error"]["code"]) == (422, "nothing_heard")


REFUSED = {
    "no sound": (b"hello", "/requests", {}, 415, "unreadable_sound", "WAV or FLAC"),
    "nothing": (b"", "/requests", {}, 415, "unreadable_sound", "WAV or FLAC"),
    "more than a minute": (wav(speech.silence(61)), "/requests", {}, 422, "too_much_sound", "60 seconds"),
    "more bytes than a minute has": (bytes(http_hearing.MOST_BYTES + 1), "/requests", {}, 413, "too_large", "16777216 bytes"),
    "an empty channel": (wav(speech.silence(1)), "/requests?channel=", {}, 400, "bad_request", '"channel"'),
    "an id that is too long": (wav(speech.silence(1)), "/requests", {"X-Request-Id": "x" * 101}, 400, "bad_request", '"id"'),
}


@pytest.mark.parametrize(("data", "path", "headers", "status", "code", "says"), REFUSED.values(), ids=REFUSED)
async def test_a_recording_that_cannot_be_taken_is_refused_before_it_is_heard(
    client, ears, data, path, headers, status, code, says
):
    got, answer = await sent(client, data, path, **headers)
    assert (got, answer["error"]["code"]) == (status, code) and says in answer["error"]["message"]
    assert ears.heard == []


async def test_ten_minutes_that_were_made_small_are_refused_as_well(client, ears):
    pytest.importorskip("av", reason="PyAV comes with faster-whisper")
    data = flac(speech.silence(600))
    assert len(data) < http_hearing.MOST_BYTES
    status, answer = await sent(client, data, kind="audio/flac")
    assert (status, answer["error"]["code"], ears.heard) == (422, "too_much_sound", [])


async def test_a_recording_that_never_ends_is_given_up(client, ears, monkeypatch):
    monkeypatch.setattr(http_hearing, "UPLOAD_SECONDS", 0.05)

    async def slowly():
        yield wav(speech.silence(1))
        await asyncio.Event().wait()

    status, answer = await sent(client, slowly())
    assert (status, answer["error"]["code"]) == (408, "too_slow")


async def test_what_the_engine_cannot_do_is_an_error(client, ears):
    ears.turns = (TranscriptionTimeout(30),)
    status, answer = await sent(client, wav(speech.room(1)))
    assert (status, answer["error"]["code"]) == (503, "transcription_timeout")


# The real daemon, which hears with PocketSphinx

ENV = {"ASSISTANT_STT__ENGINE": "pocketsphinx", "ASSISTANT_TTS__ENGINE": "none"}
CALL = "remind me to call the doctor tomorrow morning"


@pytest.fixture(scope="module")
def running(model, tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("data"), env=ENV) as daemon:
        yield daemon


@pytest.fixture
def daemon(running, tmp_path, monkeypatch):
    """The daemon to which the commands speak."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSISTANT_HTTP__PORT", running.url.rpartition(":")[2])
    return running


def spoken(text: str, voice: str = "rms") -> np.ndarray:
    """In a quiet room."""
    clean = speech.speak(text, voice)
    return speech.joined(speech.room(1), speech.mixed(clean, speech.room(len(clean) / RATE + 1), 40), speech.room(2))


@speech.wanted
def test_a_spoken_request_is_set_once_though_it_arrives_twice_and_in_another_format(daemon):
    pytest.importorskip("av", reason="PyAV comes with faster-whisper")
    sound, answers = spoken(CALL), []
    for recording, kind in ((wav(sound), "audio/wav"), (flac(sound), "audio/flac")):
        status, answer = daemon.call("POST", "/requests?channel=kitchen", raw=recording, headers={
            "Content-Type": kind, "X-Request-Id": "memo 1"})
        assert (status, answer["id"], answer["heard"]) == (200, "memo 1", CALL) and 0.5 < answer["confidence"] <= 1
        answers.append(answer["reminders"])
    assert answers[0] == answers[1]
    [reminder] = daemon.call("GET", "/reminders")[1]["reminders"]
    assert (reminder["task"], reminder["when"]) == ("call the doctor", "tomorrow morning")
    daemon.call("DELETE", f"/reminders/{reminder['id']}")


@speech.wanted
def test_a_question_is_answered_by_another_recording_on_its_channel(daemon):
    headers = {"Content-Type": "audio/wav"}
    path = "/requests?channel=hall"
    asked = daemon.call("POST", path, raw=wav(spoken("remind me to buy milk", "slt")), headers=headers)[1]
    assert (asked["kind"], asked["question"]) == ("needs_time", True)
    done = daemon.call("POST", path, raw=wav(spoken("tomorrow morning")), headers=headers)[1]
    [milk] = done["reminders"]
    assert (milk["task"], milk["when"]) == ("buy milk", "tomorrow morning")
    daemon.call("DELETE", f"/reminders/{milk['id']}")


def test_a_quiet_room_is_no_request(daemon):
    status, answer = daemon.call("POST", "/requests", raw=wav(speech.room(2)), headers={"Content-Type": "audio/wav"})
    assert (status, answer["error"]["code"]) == (422, "nothing_heard")


def test_it_stays_muted_when_it_is_started_anew_until_it_is_told_otherwise(model, tmp_path):
    with Daemon(tmp_path, env=ENV) as daemon:
        for path in ("/hearing", "/voice"):
            assert daemon.call("POST", path, {"muted": True})[0] == 200
        assert daemon.stop() == 0
    with Daemon(tmp_path, env=ENV) as daemon:
        now = daemon.call("GET", "/hearing")[1]
        assert (now["muted"], now["voice_muted"], now["state"], now["microphone"]) == (True, True, "muted", "closed")
        assert daemon.call("POST", "/listen", {})[1]["error"]["code"] == "muted"
        assert daemon.call("POST", "/hearing", {"muted": False})[1]["muted"] is False
        assert daemon.call("GET", "/health")[1]["hearing"] == {
            "mode": "push", "state": "closed", "muted": False, "voice_muted": True}


# The commands

def test_the_commands_mute_and_unmute_and_say_how_it_is_then(daemon, capsys):
    def told(command, **options) -> str:
        command(**options)
        return capsys.readouterr().out

    assert told(mute) == told(mute) == "It is muted and hears nothing until `assistant unmute`.\n"
    assert told(mute, voice=True).endswith("Its voice is muted until `assistant unmute --voice`.\n")
    assert told(unmute) == ("It listens when it is told to (`assistant listen`). "
                            "Its voice is muted until `assistant unmute --voice`.\n")
    assert told(unmute, voice=True) == "It listens when it is told to (`assistant listen`).\n"
    answer = assistant("hush", "--json")
    assert answer.returncode == 0 and json.loads(answer.stdout) == daemon.call("GET", "/hearing")[1]


@pytest.mark.parametrize(("now", "says"), [
    ({"mode": "word", "word": "okay nabu"}, 'It listens for "okay nabu".'),
    ({"mode": "word"}, "Its wake word cannot be heard here (`assistant doctor` says why); it listens when it is told to."),
    ({"mode": "always"}, "It listens all the time. The microphone is closed."),
], ids=["wake word", "without its package", "without a detector"])
def test_how_it_hears_is_a_sentence(now, says):
    closed = {"muted": False, "voice_muted": False, "microphone": "closed", "says": "The microphone is closed.", "word": None}
    assert sentence(closed | now) == says


@pytest.mark.parametrize("command", [hearing, mute, unmute, hush], ids=["hearing", "mute", "unmute", "hush"])
def test_without_a_daemon_the_commands_say_how_to_start_one(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotRunning, match="assistant run") as refused:
        command(port=1)
    assert refused.value.exit_status == 5


# A daemon that listens by itself, to a microphone that is told what to deliver

FAKE = {"PYTHONPATH": str(Path(__file__).parent / "fake_portaudio")}


@pytest.fixture
def by_itself(model, tmp_path, monkeypatch, request):
    """Its microphone delivers ten seconds in one, at a level."""
    delivers = json.dumps({"frames": 10**6, "level": request.param, "pause": 0.003})
    monkeypatch.chdir(tmp_path)
    with Daemon(tmp_path, env=ENV | FAKE | {
        "FAKE_MICROPHONE": delivers, "ASSISTANT_WAKE__MODE": "always", "ASSISTANT_WAKE__WINDOW_SECONDS": "2",
    }) as daemon:  # fmt: skip
        monkeypatch.setenv("ASSISTANT_HTTP__PORT", daemon.url.rpartition(":")[2])
        yield daemon


def waited(capsys) -> tuple[int, str]:
    """What `assistant hearing --wait` ends with and says."""
    with pytest.raises(typer.Exit) as end:
        hearing(wait=True)
    return end.value.exit_code, capsys.readouterr().out


@pytest.mark.parametrize("by_itself", [3277], indirect=True, ids=["sound"])
def test_where_it_listens_by_itself_its_own_microphone_is_told_of_and_heard(by_itself, capsys):
    assert waited(capsys) == (0, "It listens all the time. Listening to Built-in.\n")
    [check] = doctor.hearing(load())
    assert (check.state, check.found) == (
        "ok", "It listens all the time. Listening to Built-in. Speech is transcribed by pocketsphinx")
    devices = assistant("devices", env=FAKE | {"FAKE_MICROPHONE": "{}"}).stdout.decode()
    assert "The assistant runs. It listens all the time." in devices
    answer = assistant("listen")  # whose own microphone this is not
    assert (answer.returncode, error(answer)) == (1, "Listening to Built-in ...\nNothing was heard.\n")


@pytest.mark.parametrize("by_itself", [0], indirect=True, ids=["zeros"])
def test_where_only_zeros_arrive_it_says_what_to_do_and_ends_with_1(by_itself, capsys):
    status, sentence = waited(capsys)
    assert status == 1 and "delivers silence" in sentence and "Privacy & Security" in sentence
    [check] = doctor.hearing(load())
    assert check.state == "warn" and "delivers silence" in check.found and check.advice
