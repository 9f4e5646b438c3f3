"""Speech to text, whichever engine: which one is chosen, and what holds for each of them."""

import asyncio
import logging
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assistant.config import load
from assistant.errors import (
    ConfigError,
    NoTranscriber,
    TranscriberBusy,
    TranscriptionError,
    TranscriptionTimeout,
)
from assistant.messages import Transcript, Utterance
from assistant.sections import Stt
from assistant.stt import FetchedTranscriber, transcriber
from assistant.stt_hints import MOST_CHARACTERS, MOST_TASKS, Hints
from assistant.stt_openai import OpenAITranscriber
from assistant.stt_sphinx import SphinxTranscriber
from assistant.stt_whisper import WhisperTranscriber
from assistant.stt_worker import Abandoned, Worker
from assistant.stt_wyoming import WyomingTranscriber
from tests.speech import pink
from tests.tiny_whisper import make
from tests.transcription_server import TranscriptionServer
from tests.wyoming_speech_server import SpeechServer

NOW = datetime(2026, 3, 11, 10, tzinfo=UTC)
SAID = "call mum at five"


def utterance(pcm: bytes = b"", seconds: float = 1.5, speech: float = 0.8, level: float = -25.0) -> Utterance:
    """Of noise, unless samples are given."""
    return Utterance(pcm or pink(seconds, level).tobytes(), NOW, speech, level)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A Whisper that says `SAID`."""
    return make(tmp_path_factory.mktemp("whisper") / "tiny", SAID)


@pytest.fixture(params=["faster-whisper", "pocketsphinx", "openai", "wyoming"])
async def engine(request, folder):
    """Each engine; the servers of the last two are on this machine."""
    match request.param:
        case "faster-whisper":
            async with WhisperTranscriber(folder, Stt()) as engine:
                yield engine
        case "pocketsphinx":
            async with SphinxTranscriber(Stt()) as engine:
                yield engine
        case "wyoming":
            async with SpeechServer() as server, WyomingTranscriber(Stt(engine="wyoming", url=server.url)) as engine:
                yield engine
        case _:
            async with TranscriptionServer() as server, OpenAITranscriber(Stt(url=server.url)) as engine:
                yield engine


# Every engine

@pytest.mark.parametrize(
    ("heard", "why"),
    [
        pytest.param(Utterance(b"", NOW, 0.0, float("-inf")), "short", id="nothing"),
        pytest.param(Utterance(bytes(64_000), NOW, 0.0, float("-inf")), "silence", id="silence"),
        pytest.param(utterance(speech=0.02), "no_speech", id="noise"),
    ],
)
async def test_where_nobody_spoke_there_is_no_text(engine, heard, why):
    transcript = await engine.transcribe(heard)
    assert transcript == Transcript("", engine.name, 0.0, 0.0, why)


async def test_a_transcript_says_who_wrote_it_how_sure_and_how_long_it_took(engine):
    transcript = await engine.transcribe(utterance())
    assert transcript.engine == engine.name and transcript.ms > 0 and 0 <= transcript.confidence <= 1
    assert bool(transcript.text) != bool(transcript.refused)


@pytest.mark.parametrize("pcm", [b"\x07" * 32_001, b"\xff\x7f" * 16_000, bytes(range(256)) * 125], ids=["half a sample", "as loud as can be", "junk"])
async def test_any_bytes_are_taken_for_sound(engine, pcm):
    transcript = await engine.transcribe(utterance(pcm))
    assert "\n" not in transcript.text


async def test_two_at_once_are_both_answered_as_each_alone(engine):
    first, second = utterance(seconds=1.0), utterance(seconds=1.6)
    alone = [(await engine.transcribe(each)).text for each in (first, second)]
    together = await asyncio.gather(engine.transcribe(first), engine.transcribe(second))
    assert [t.text for t in together] == alone


async def test_one_that_is_abandoned_leaves_the_engine_as_it_was(engine):
    before = (await engine.transcribe(utterance())).text
    task = asyncio.create_task(engine.transcribe(utterance(seconds=4)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await engine.transcribe(utterance())).text == before


async def test_it_may_be_loaded_before_the_first_utterance_and_again(engine):
    await engine.load()
    await asyncio.gather(engine.load(), engine.transcribe(utterance()))


async def test_it_may_be_left_twice(engine):
    await engine.__aexit__(None, None, None)


# The thread

async def test_what_takes_too_long_is_given_up_and_nothing_is_begun_until_it_has_ended():
    end, begun = threading.Event(), []
    async with Worker("test", 0.5) as worker:
        with pytest.raises(TranscriptionTimeout, match="smaller"):
            await worker.run(lambda abandoned: end.wait(60))
        with pytest.raises(TranscriberBusy):
            await worker.run(lambda abandoned: begun.append("early"))
        end.set()
        await asyncio.wrap_future(worker._job)
        worker._seconds = 60
        await worker.run(lambda abandoned: begun.append("late"))
    assert begun == ["late"]


async def test_what_was_cancelled_is_asked_to_end_and_waited_for():
    started, order = threading.Event(), []

    def until_abandoned(abandoned):
        started.set()
        while not abandoned():
            pass
        order.append("ended")
        raise Abandoned

    async with Worker("test", 60) as worker:
        task = asyncio.create_task(worker.run(until_abandoned))
        await asyncio.to_thread(started.wait, 60)
        task.cancel()
        await worker.run(lambda abandoned: order.append("next"))
    assert order == ["ended", "next"] and task.cancelled()


async def test_one_is_worked_on_after_the_other():
    busy = threading.Lock()

    def alone(abandoned):
        if not busy.acquire(blocking=False):
            return False
        time.sleep(0.01)  # what takes a moment
        busy.release()
        return True

    async with Worker("test", 60) as worker:
        assert all(await asyncio.gather(*(worker.run(alone) for _ in range(5))))


async def test_an_error_is_the_one_s_who_asked():
    def fail(abandoned):
        raise TranscriptionError("No.")

    async with Worker("test", 60) as worker:
        with pytest.raises(TranscriptionError, match="No"):
            await worker.run(fail)
        assert await worker.run(lambda abandoned: 5) == 5


async def test_leaving_abandons_what_is_under_way_and_does_not_wait():
    started, ended = threading.Event(), threading.Event()

    def until_abandoned(abandoned):
        started.set()
        while not abandoned():
            pass
        ended.set()

    async with Worker("test", 60) as worker:
        task = asyncio.create_task(worker.run(until_abandoned))
        await asyncio.to_thread(started.wait, 60)
    assert await asyncio.to_thread(ended.wait, 60)
    await task


# Which engine

def chosen(**stt):
    return transcriber(load(environ={}, stt=stt))


@pytest.mark.parametrize(
    ("stt", "kind", "name"),
    [
        pytest.param({"engine": "pocketsphinx"}, SphinxTranscriber, "pocketsphinx", id="pocketsphinx"),
        pytest.param({"engine": "openai", "url": "http://localhost:8080"}, OpenAITranscriber, "openai", id="a server"),
        pytest.param({"engine": "openai", "url": "http://localhost:8080/", "model": "large"}, OpenAITranscriber, "openai:large", id="a model of a server"),
        pytest.param({"engine": "wyoming", "url": "tcp://localhost:10300"}, WyomingTranscriber, "wyoming", id="a Wyoming server"),
        pytest.param({"engine": "wyoming", "url": "tcp://localhost:10300", "model": "large"}, WyomingTranscriber, "wyoming:large", id="a model of it"),
        pytest.param({"engine": "faster-whisper"}, FetchedTranscriber, "faster-whisper:base.en", id="faster-whisper"),
        pytest.param({"engine": "faster-whisper", "language": "de"}, FetchedTranscriber, "faster-whisper:base", id="another language"),
        pytest.param({}, FetchedTranscriber, "pocketsphinx", id="by itself, before it has looked"),
        pytest.param({"language": "de"}, FetchedTranscriber, "faster-whisper:base", id="by itself in another language"),
    ],
)
def test_the_settings_choose_the_engine(stt, kind, name):
    engine = chosen(**stt)
    assert (type(engine), engine.name) == (kind, name)


@pytest.mark.parametrize(
    ("stt", "says"),
    [
        pytest.param({"engine": "pocketsphinx", "language": "de"}, "English only", id="a language that pocketsphinx has not"),
        pytest.param({"engine": "faster-whisper", "model": "small.en", "language": "de"}, "take small for", id="a model of English for German"),
        pytest.param({"engine": "openai"}, "url is empty", id="a server without an address"),
        pytest.param({"engine": "openai", "url": "localhost:8080"}, "stt.url", id="an address that is none"),
        pytest.param({"engine": "openai", "url": "http://me:secret@localhost"}, r"\[stt\] url holds a password", id="a password in the address"),
        pytest.param({"engine": "wyoming"}, 'engine is "wyoming", but url is empty', id="a Wyoming server without an address"),
        pytest.param({"engine": "wyoming", "url": "http://localhost:10300"}, "begins with .tcp", id="a Wyoming server by HTTP"),
        pytest.param({"engine": "openai", "url": "tcp://localhost:10300"}, "and only then", id="a server of transcriptions by TCP alone"),
        pytest.param({"engine": "wyoming", "url": "tcp://localhost"}, "stt.url cannot be", id="a Wyoming server without a port"),
        pytest.param({"engine": "wyoming", "url": "tcp://localhost:70000"}, "stt.url cannot be", id="a port that is none"),
        pytest.param({"engine": "whisper"}, "faster-whisper", id="a name mistyped"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(stt, says):
    with pytest.raises(ConfigError, match=says):
        chosen(**stt)


# A model that is not here yet

class Hub:
    """A `fetch` that is slow, and gives what it is told to."""

    def __init__(self, gives: Path | NoTranscriber) -> None:
        self.gives, self.asked = gives, []
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()

    async def fetch(self, model: str) -> Path:
        self.asked.append(model)
        self.begun.set()
        await self.let_go.wait()
        if isinstance(self.gives, NoTranscriber):
            raise self.gives
        return self.gives


class Deaf:
    """A `Transcriber` that never understands."""

    name = "deaf"

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def load(self):
        pass

    async def transcribe(self, utterance):
        return Transcript("what?", self.name, 0.1, 0.1)


@pytest.fixture(autouse=True)
def an_empty_cache(tmp_path, monkeypatch):
    """No model of this machine is found, and the hub is not asked."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def fetched(hub: Hub, meanwhile=None, patience: float = 0.0, **stt) -> FetchedTranscriber:
    return FetchedTranscriber(Stt(**stt), Hints(), meanwhile, patience, hub.fetch)


async def ready(engine: FetchedTranscriber) -> None:
    """Until it has its model, or knows that there is none."""
    async with asyncio.timeout(60):
        await asyncio.wait([engine._fetching])


async def test_until_its_model_is_here_another_engine_listens(folder, caplog):
    hub = Hub(folder)
    async with fetched(hub, Deaf()) as engine:
        assert engine.name == "deaf" and (await engine.transcribe(utterance())).text == "what?"
        hub.let_go.set()
        await ready(engine)
        transcript = await engine.transcribe(utterance())
        assert transcript.text == SAID and transcript.engine == engine.name == "faster-whisper:base.en"
    assert hub.asked == ["base.en"]
    assert "until it is here deaf listens" in caplog.text


async def test_a_model_that_cannot_be_had_is_spoken_of_once_with_what_to_do(caplog):
    hub = Hub(NoTranscriber("The network is gone: connect it."))
    hub.let_go.set()
    async with fetched(hub, Deaf(), patience=60) as engine:
        for _ in range(3):
            assert (await engine.transcribe(utterance())).engine == "deaf"
    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING][1:] == [
        "deaf listens, which hears less well: The network is gone: connect it."
    ]


async def test_after_a_fetch_that_failed_lately_another_engine_listens_and_nothing_is_fetched(caplog):
    hub = Hub(NoTranscriber("It is not asked."))
    problem = NoTranscriber("It could not be fetched at 14:05: it is tried again later.")
    async with FetchedTranscriber(Stt(), Hints(), Deaf(), 60, hub.fetch, lambda model: problem) as engine:
        assert (await engine.transcribe(utterance())).engine == "deaf"
    assert hub.asked == [] and "not be fetched at 14:05" in caplog.text and "is fetched" not in caplog.text
    async with FetchedTranscriber(Stt(), Hints(), None, 0, hub.fetch, lambda model: problem):
        await hub.begun.wait()  # who has no other engine tries again


async def test_whoever_waits_for_a_model_is_told_of_a_bug_in_its_fetch_and_of_its_end(caplog):
    class Broken(Hub):
        async def fetch(self, model: str) -> Path:
            raise ZeroDivisionError("by zero")

    async with fetched(Broken(None)) as engine:
        with pytest.raises(NoTranscriber, match="was not fetched .by zero"):
            await engine.transcribe(utterance())
    assert "a bug in fetching" in caplog.text
    async with fetched(Hub(None)) as engine:
        waiting = asyncio.create_task(engine.transcribe(utterance()))
        await asyncio.sleep(0)
        engine._fetching.cancel()
        with pytest.raises(NoTranscriber, match="was stopped"):
            await waiting


async def test_without_another_engine_an_utterance_waits_for_the_model(folder):
    hub = Hub(folder)
    async with fetched(hub) as engine:
        task = asyncio.create_task(engine.transcribe(utterance()))
        await hub.begun.wait()
        hub.let_go.set()
        assert (await task).text == SAID


async def test_without_another_engine_it_is_an_error_that_the_model_does_not_come(tmp_path):
    hub = Hub(NoTranscriber("The network is gone: connect it."))
    async with fetched(hub, timeout_seconds=0.05) as engine:
        with pytest.raises(TranscriptionTimeout):
            await engine.transcribe(utterance())
        hub.let_go.set()
        await ready(engine)
        with pytest.raises(NoTranscriber, match="connect it"):
            await engine.transcribe(utterance())


async def test_entering_waits_no_longer_than_it_has_patience(folder):
    hub = Hub(folder)
    async with fetched(hub, Deaf(), patience=0.05) as engine:
        assert engine.name == "deaf" and not hub.let_go.is_set()


async def test_one_who_loses_his_patience_while_entering_stops_the_fetch(folder):
    hub = Hub(folder)
    engine = fetched(hub, Deaf(), patience=60)
    task = asyncio.create_task(engine.__aenter__())
    await hub.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine._fetching.cancelled()


async def test_leaving_stops_the_fetch(folder):
    hub = Hub(folder)
    async with fetched(hub, Deaf()) as engine:
        await hub.begun.wait()
    assert engine._fetching.cancelled()


async def test_a_folder_is_used_as_it_is_and_nothing_is_fetched(folder):
    hub = Hub(folder)
    async with fetched(hub, Deaf(), model=str(folder)) as engine:
        assert (await engine.transcribe(utterance())).engine == "faster-whisper:tiny"
    assert hub.asked == []


async def test_a_folder_without_a_model_is_no_reason_not_to_listen(tmp_path, caplog):
    hub = Hub(tmp_path)
    async with fetched(hub, Deaf(), model=str(tmp_path)) as engine:
        assert (await engine.transcribe(utterance())).engine == "deaf"
    assert "holds no model" in caplog.text and hub.asked == []
    async with fetched(hub, None, model=str(tmp_path)) as engine:
        with pytest.raises(NoTranscriber, match="holds no model"):
            await engine.transcribe(utterance())


async def test_a_model_that_cannot_be_loaded_is_no_reason_not_to_listen(folder, tmp_path, caplog):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[:100])
    async with fetched(Hub(broken), Deaf(), model=str(broken)) as engine:
        await engine.load()
        for _ in range(2):
            assert (await engine.transcribe(utterance())).engine == "deaf"
    assert caplog.text.count("cannot be loaded") == 1


# What an engine is told beforehand

def test_it_is_told_of_the_person_s_names_and_of_the_tasks_of_late():
    hints = Hints(("Zbigniew", "Aunt Ingrid"), lambda: ["call  mum", "take the bins out", "call mum", " "])
    assert (hints.names, hints.tasks) == ("Zbigniew, Aunt Ingrid", "call mum. take the bins out.")
    assert hints.prompt == "Zbigniew, Aunt Ingrid. call mum. take the bins out."


def test_without_names_and_tasks_it_is_told_nothing():
    assert (Hints().names, Hints().tasks, Hints().prompt) == ("", "", "")


def test_of_many_names_and_tasks_it_is_told_some():
    hints = Hints(tuple(f"name{n}" for n in range(500)), lambda: (f"task {n}" for n in range(500)))
    assert len(hints.names) <= MOST_CHARACTERS and hints.names.startswith("name0, name1")
    assert hints.tasks.count(".") == MOST_TASKS
