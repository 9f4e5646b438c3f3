"""Where the models of faster-whisper are, and how one is fetched: from a hub on this machine."""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assistant import stt_models
from assistant.errors import NoTranscriber
from assistant.sections import Stt
from assistant.stt_models import AGAIN, failed_lately, fetch, on_disk, repository, usual
from assistant.stt_whisper import WhisperTranscriber
from tests.fakes import StandingClock
from tests.model_hub import ModelHub
from tests.test_stt import SAID, utterance
from tests.tiny_whisper import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("whisper") / "tiny", SAID)


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch) -> Path:
    """Where it is remembered that a fetch failed."""
    monkeypatch.setattr(stt_models, "failures", lambda: tmp_path / "memory" / "failures.json")
    return stt_models.failures()


@pytest.fixture
async def hub(folder, tmp_path, monkeypatch):
    async with ModelHub("Systran/faster-whisper-base.en", folder) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        yield hub


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("base.en", "Systran/faster-whisper-base.en"), ("large", "Systran/faster-whisper-large-v3"),
        ("distil-small.en", "Systran/faster-distil-whisper-small.en"), ("someone/whisper", "someone/whisper"),
        ("turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
    ],
)  # fmt: skip
def test_a_name_stands_for_a_repository(name, there):
    assert repository(name) == there


def test_the_names_are_those_of_faster_whisper():
    from faster_whisper.utils import _MODELS

    other = {"distil-large-v3.5"}  # of another owner: its whole name is to be given
    assert {name: repository(name) for name in _MODELS if name not in other} == {n: r for n, r in _MODELS.items() if n not in other}


def test_english_has_a_model_of_its_own():
    assert (usual("en"), usual("de")) == ("base.en", "base")


async def test_a_model_is_fetched_once_and_then_found(hub, tmp_path):
    cache = tmp_path / "cache"
    assert await asyncio.to_thread(on_disk, "base.en", cache) is None
    folder = await fetch("base.en", 60)
    assert await asyncio.to_thread(on_disk, "base.en", cache) == folder
    async with WhisperTranscriber(folder, Stt(), name="base.en") as engine:
        assert (await engine.transcribe(utterance())).text == SAID
    sent = len(hub.sent)
    assert await fetch("base.en", 60) == folder and len(hub.sent) == sent


async def test_on_a_terminal_a_bar_shows_how_far_it_is(hub):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "assistant.stt_models", "base.en"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    shown = await asyncio.to_thread(_all, master)
    assert await process.wait() == 0 and "100%" in shown


def _all(terminal: int) -> str:
    shown = b""
    with contextlib.suppress(OSError):  # on Linux the end of a terminal is an error
        while piece := os.read(terminal, 4096):
            shown += piece
    os.close(terminal)
    return shown.decode(errors="replace")


async def test_a_fetch_that_is_cancelled_stops_and_leaves_no_half_model(hub, tmp_path):
    hub.let_go.clear()
    task = asyncio.create_task(fetch("base.en", 60))
    async with asyncio.timeout(60):
        await hub.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert on_disk("base.en", tmp_path / "cache") is None


async def test_a_fetch_that_takes_too_long_is_given_up(hub):
    hub.let_go.clear()
    with pytest.raises(NoTranscriber, match="not here after 0 minutes.*put its folder on this machine"):
        await fetch("base.en", 0.05)


async def test_a_hub_that_says_nothing_is_not_waited_for(hub):
    hub.answers.clear()
    with pytest.raises(NoTranscriber, match="the model hub cannot be reached"):
        await fetch("base.en", 60, contact=0.2)


async def test_a_hub_that_cannot_be_reached_says_so(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NoTranscriber, match="the model hub cannot be reached.*connect to the network"):
        await fetch("base.en", 60)


async def test_a_fetch_that_failed_is_remembered_for_an_hour_or_until_one_does_not(hub, memory):
    clock = StandingClock(datetime(2026, 3, 11, 10, tzinfo=UTC))
    hub.answers.clear()
    with pytest.raises(NoTranscriber):
        await fetch("base.en", 60, contact=0.2, clock=clock)
    assert "the model hub cannot be reached" in str(failed_lately("base.en", clock=clock))
    assert failed_lately("small.en", clock=clock) is None
    hub.answers.set()
    await fetch("base.en", 60, clock=clock)
    assert failed_lately("base.en", clock=clock) is None
    stt_models._remember("base.en", "it is away", memory, clock.now())
    clock.at += AGAIN
    assert failed_lately("base.en", clock=clock) is None
    clock.at -= 2 * AGAIN
    assert failed_lately("base.en", clock=clock) is None, "the clock was set back"


@pytest.mark.parametrize("text", ["", "[]", '{"base.en": 3}', '{"base.en": ["soon", "why"]}', '{"base.en": ["2026-03-11T10:00:00", "naive"]}'])
def test_a_memory_that_cannot_be_read_remembers_nothing(memory, text):
    memory.parent.mkdir()
    memory.write_text(text)
    assert failed_lately("base.en") is None


def test_a_memory_that_cannot_be_written_is_no_matter(tmp_path):
    (tmp_path / "file").touch()
    stt_models._remember("base.en", "it is away", tmp_path / "file" / "memory.json", datetime.now(UTC))


@pytest.mark.parametrize("name", ["basse.en", "no such name"])
async def test_a_name_that_the_hub_does_not_know_says_so(hub, name):
    with pytest.raises(NoTranscriber, match=f"{name} cannot be fetched .the model hub knows none of that name"):
        await fetch(name, 60)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NoTranscriber, match="There is no folder .*nowhere"):
        on_disk(str(tmp_path / "nowhere"))
