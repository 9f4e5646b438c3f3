"""A microphone is listened to whatever happens to it, and what is wrong with it is said, once."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from assistant import coreaudio, microphone, silence
from assistant.audio import BLOCK, BLOCK_BYTES, RATE, Block
from assistant.capture import MOST_FRAMES
from assistant.errors import AudioError, NoMicrophone, NoPortAudio, SilentMicrophone
from assistant.microphone import (
    FIRST_SECONDS,
    GOOD_BLOCKS,
    PAUSES,
    SILENT_BLOCKS,
    SILENT_MOST,
    STALL_SECONDS,
    ZEROS,
    Microphone,
    SteadyMicrophone,
    measure,
)
from tests import virtual_microphone
from tests.fakes import Ticks
from tests.test_audio import tone, write_wav
from tests.virtual_microphone import VirtualMicrophone

NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)
SOUND = Block(b"\1" * BLOCK_BYTES, NOW)
ZERO = Block(ZEROS, NOW)
NONE = NoMicrophone("there is none")
TIMES = 5
"""So often a busy machine may lose what is spoken into it before that is an error."""


# The supervisor

class Script:
    """A microphone that does what is written: blocks, errors, an `end`; and after that delivers nothing."""

    def __init__(self, *script: object, device: str = "Built-in", drops: int = 0) -> None:
        self._script = iter(script)
        self.device, self.drops, self.xruns = device, drops, 2 * drops
        self.open = False

    async def __aenter__(self) -> "Script":
        self.open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.open = False

    def __aiter__(self) -> "Script":
        return self

    async def __anext__(self) -> Block:
        match next(self._script, None):
            case Block() as block:
                return block
            case "end":
                raise StopAsyncIteration
            case None:
                return await asyncio.Event().wait()
            case error:
                raise error


class Patience:
    """`asyncio.timeout` in the hands of a test."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._latest = asyncio.timeout(None)
        self._waits = asyncio.Event()

    def __call__(self, seconds: float) -> asyncio.Timeout:
        self.asked.append(seconds)
        self._latest = asyncio.timeout(None)
        self._waits.set()
        return self._latest

    async def run_out(self) -> None:
        """Once nobody has anything else to do."""
        for _ in range(10):
            await asyncio.sleep(0)
        self._latest.reschedule(0)


class Table:
    """Where microphones are plugged in: each time that one is opened it is the next of `scripts`."""

    def __init__(self, *scripts: Script | AudioError, device: str = "") -> None:
        self._scripts = iter(scripts)
        self.used: list[Script] = []
        self.asked_for: list[str] = []
        self.default = "first"
        self.ticks, self.patience = Ticks(), Patience()
        self.microphone = SteadyMicrophone(
            device, open=self._open, default=lambda: self.default, sleep=self.ticks.sleep, timeout=self.patience)

    def _open(self, device: str) -> Script:
        self.asked_for.append(device)
        script = next(self._scripts)
        if isinstance(script, AudioError):
            return Refusing(script)
        self.used.append(script)
        return script

    async def take(self, count: int = 1) -> list[Block]:
        async with asyncio.timeout(20):
            return [await anext(self.microphone) for _ in range(count)]


class Refusing(Script):
    def __init__(self, error: AudioError) -> None:
        super().__init__()
        self._error = error

    async def __aenter__(self) -> "Script":
        raise self._error


def told(caplog) -> list[tuple[str, str]]:
    return [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "assistant.microphone"]


@pytest.fixture(autouse=True)
def all_of_the_log(caplog):
    caplog.set_level(logging.INFO, "assistant.microphone")


async def test_a_microphone_that_is_well_is_listened_to_without_a_word(caplog):
    table = Table(Script(*[SOUND] * 200))
    assert await table.take(200) == [SOUND] * 200
    m = table.microphone
    assert (m.state, m.says, m.blocks, m.reopened) == ("listening", "Listening to Built-in.", 200, 0)
    assert told(caplog) == [] and table.asked_for == [""]
    assert table.patience.asked[:3] == [FIRST_SECONDS, STALL_SECONDS, STALL_SECONDS]


async def ends(table: Table) -> None:
    pass


async def stalls(table: Table) -> None:
    await table.patience.run_out()


@pytest.mark.parametrize(("last", "happens", "says"), [
    (["end"], ends, "has ended"), ([NONE], ends, "there is none"), ([], stalls, "delivers nothing"),
], ids=["ends", "errs", "delivers nothing for three seconds"])
async def test_one_that_fails_is_opened_again_at_once_and_that_is_said_once(caplog, last, happens, says):
    table = Table(Script(*[SOUND] * GOOD_BLOCKS, *last), Script(*[SOUND] * 200, device="Headset"))
    m = table.microphone
    await table.take(GOOD_BLOCKS)
    after = asyncio.create_task(table.take())
    await happens(table)
    assert await after == [SOUND]
    assert [s.open for s in table.used] == [False, True]
    assert (m.state, m.device, m.reopened) == ("listening", "Headset", 1)
    await table.take(GOOD_BLOCKS)
    [(level, first), over] = told(caplog)
    assert level == "WARNING" and says in first
    assert over == ("INFO", "the microphone is well again")


async def test_one_that_delivers_nothing_at_first_has_longer():
    table = Table(Script(), Script(SOUND))
    first = asyncio.create_task(table.take())
    await table.patience.run_out()
    await table.ticks.tick_on()
    assert await first == [SOUND]
    assert table.patience.asked == [FIRST_SECONDS, FIRST_SECONDS]


async def test_without_any_microphone_it_tries_again_and_again_and_says_so_once(caplog):
    table = Table(*[NONE] * 8, Script(*[SOUND] * 200))
    first = asyncio.create_task(table.take())
    pauses = [await table.ticks.tick_on() for _ in range(8)]
    assert pauses == [*PAUSES[1:], *[PAUSES[-1]] * 4]
    assert await first == [SOUND]
    await table.take(GOOD_BLOCKS)
    assert told(caplog) == [("WARNING", str(NONE)), ("INFO", "the microphone is well again")]


async def test_while_there_is_none_its_state_is_a_sentence_that_says_what_to_do():
    table = Table(NONE, Script(SOUND))
    first = asyncio.create_task(table.take())
    await asyncio.sleep(0)
    assert (table.microphone.state, table.microphone.says, table.microphone.fault) == ("missing", str(NONE), NONE)
    first.cancel()
    await asyncio.wait([first])


async def test_one_that_fails_as_soon_as_it_is_open_is_told_once_and_left_ever_longer_alone(caplog):
    table = Table(*[Script(SOUND, "end") for _ in range(8)])
    taking = asyncio.create_task(table.take(8))
    assert [await table.ticks.tick_on() for _ in range(6)] == [1, 2, 5, 10, 10, 10]
    await table.ticks.tick_on()
    await taking
    assert len(told(caplog)) == 1


async def test_after_a_good_time_the_next_failure_is_told_again_and_opened_at_once(caplog):
    good = [SOUND] * GOOD_BLOCKS
    table = Table(Script(*good, "end"), Script(*good, "end"), Script(SOUND))
    await table.take(2 * GOOD_BLOCKS + 1)
    assert [level for level, _ in told(caplog)] == ["WARNING", "INFO", "WARNING"]


async def test_zeros_for_half_a_minute_are_silence_which_is_told_once_and_opened_again(caplog):
    table = Table(*[Script(*[ZERO] * SILENT_BLOCKS * 2) for _ in range(2)], Script(*[SOUND] * 200))
    m = table.microphone
    assert await table.take(SILENT_BLOCKS) == [ZERO] * SILENT_BLOCKS
    assert m.state == "listening"
    after = asyncio.create_task(table.take(2 * SILENT_BLOCKS))
    await after
    assert (m.state, m.says) == ("silent", str(SilentMicrophone("Built-in")))
    assert [s.open for s in table.used] == [False, True]
    after = asyncio.create_task(table.take(GOOD_BLOCKS))
    await table.ticks.tick_on()
    await after
    assert (m.state, m.reopened) == ("listening", 2)
    assert told(caplog) == [("WARNING", str(SilentMicrophone("Built-in"))), ("INFO", "the microphone is well again")]


async def test_silence_is_opened_again_after_ever_longer_up_to_eight_minutes():
    table = Table(*[Script(*[ZERO] * SILENT_BLOCKS * (SILENT_MOST + 1)) for _ in range(8)])
    blocks = []
    for _ in range(6):
        waking = asyncio.create_task(table.ticks.tick_on())
        before, opened = table.microphone.blocks, len(table.used)
        while len(table.used) <= max(1, opened):
            await table.take()
        blocks.append(table.microphone.blocks - before)
        waking.cancel()
    assert [round(n / SILENT_BLOCKS) for n in blocks] == [1, 2, 4, 8, 16, 16]


async def test_a_pause_of_zeros_between_sounds_is_no_silence(caplog):
    script = [*[ZERO] * (SILENT_BLOCKS - 1), SOUND] * 3
    table = Table(Script(*script))
    await table.take(len(script))
    assert table.microphone.state == "listening" and told(caplog) == []


async def test_another_default_is_opened_within_three_seconds_and_is_no_reason_to_warn(caplog):
    table = Table(Script(*[SOUND] * 500), Script(SOUND, device="Headset"))
    await table.take()
    table.default = "second"
    await table.take(GOOD_BLOCKS)
    assert (table.microphone.device, table.used[0].open) == ("Headset", False)
    assert [level for level, _ in told(caplog)] == ["INFO"]


async def test_one_that_was_chosen_by_name_is_kept_whatever_the_default():
    table = Table(Script(*[SOUND] * 500), device="built")
    await table.take()
    table.default = "second"
    await table.take(400)
    assert table.asked_for == ["built"]


async def test_what_was_dropped_is_counted_over_all_that_were_opened():
    table = Table(Script(*[SOUND] * GOOD_BLOCKS, "end", drops=2), Script(SOUND, drops=3))
    await table.take(GOOD_BLOCKS + 1)
    assert (table.microphone.drops, table.microphone.xruns) == (5, 10)


async def test_leaving_closes_the_microphone_also_while_somebody_waits():
    table = Table(Script(SOUND))
    async with table.microphone:
        await table.take()
        waiting = asyncio.create_task(table.take())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert table.used[0].open
    assert not table.used[0].open


# What PortAudio does, by one that does as it is told

@pytest.fixture
def fake(monkeypatch):
    """Sets what the fake PortAudio does."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_portaudio"))
    return lambda **wish: monkeypatch.setenv("FAKE_MICROPHONE", json.dumps(wish))


async def numbers(source: Microphone) -> list[int]:
    """Of the frames that come, until it ends."""
    async with asyncio.timeout(60):
        return [int.from_bytes(block.pcm[-2:], "little") async for block in source]


async def test_every_block_arrives_in_order_and_it_ends_with_its_device(fake):
    fake(frames=200, ends=True)
    async with Microphone() as source:
        assert source.device == "Built-in"
        assert await numbers(source) == list(range(200))
        assert source.drops == source.xruns == 0


async def test_blocks_are_512_samples_with_the_instant_of_the_first(fake):
    fake(frames=1)
    before = datetime.now(UTC)
    async with Microphone() as source:
        block = await anext(source)
    assert len(block.pcm) == BLOCK_BYTES
    assert before - timedelta(seconds=BLOCK / RATE) <= block.at <= datetime.now(UTC)


async def test_of_what_nobody_asks_for_the_latest_is_kept_and_the_rest_is_counted(fake):
    fake(frames=5000, ends=True)
    async with Microphone() as source:
        got = await numbers(source)
        assert got[-MOST_FRAMES:] == list(range(5000 - MOST_FRAMES, 5000))
        assert all(a < b for a, b in pairwise(got))
        assert source.drops > 0 and len(got) + source.drops == 5000


async def test_sound_that_the_device_lost_is_counted(fake):
    fake(frames=10, xruns=[3, 4], ends=True)
    async with Microphone() as source:
        await numbers(source)
        assert source.xruns == 2


@pytest.mark.parametrize(("rates", "channels"), [([44_100], [1]), ([48_000], [2]), ([16_000], [2])],
                         ids=["another rate", "another rate and two channels", "two channels"])
async def test_a_device_that_does_not_do_16_kHz_of_one_channel_is_resampled(fake, rates, channels):
    fake(rates=rates, channels=channels, frames=100, ends=True)
    async with Microphone() as source:
        got = await numbers(source)
    assert 97 <= len(got) <= 100
    assert all(a <= b for a, b in pairwise(got)) and abs(got[50] - 50) <= 1


@pytest.mark.parametrize(("name", "device"), [
    ("", "Built-in"), ("head", "Red headset"), ("RED HEADSET", "Red headset"), ("built", "Built-in"),
], ids=["none", "a part", "in capitals", "another part"])
async def test_a_microphone_is_named_by_a_part_of_its_name(fake, name, device):
    fake()
    async with Microphone(name) as source:
        assert source.device == device


@pytest.mark.parametrize(("wish", "name", "error", "says"), [
    ({"missing": True}, "", NoPortAudio, "apt install libportaudio2"),
    ({"devices": False}, "", NoMicrophone, "there is none"),
    ({}, "green", NoMicrophone, '"green"'),
    ({}, "loudspeaker", NoMicrophone, "assistant devices"),
    ({"refuses": True}, "", NoMicrophone, "Built-in: Device unavailable"),
    ({"broken": True}, "", NoMicrophone, "a bug"),
], ids=["no PortAudio", "no device", "none of that name", "a loudspeaker", "one that cannot be opened", "a bug"])
async def test_what_cannot_be_opened_says_what_to_do(fake, wish, name, error, says):
    fake(**wish)
    with pytest.raises(error) as refused:
        async with Microphone(name):
            pass
    assert says in str(refused.value)


async def test_where_no_process_can_be_started_there_is_no_microphone(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(NoMicrophone, match="no process can be started: no such file"):
        async with Microphone():
            pass


async def test_leaving_ends_the_process_that_hears_even_if_nobody_read_what_it_heard(fake, monkeypatch):
    fake(frames=5000)
    monkeypatch.setattr(microphone, "END_SECONDS", 60)
    async with Microphone() as source:
        await anext(source)
        process = source._process
    assert process.returncode == 0, "by itself"


async def test_a_process_that_hears_no_longer_and_does_not_end_is_killed(fake, monkeypatch):
    fake(frames=1)
    monkeypatch.setattr(microphone, "END_SECONDS", 0.1)
    async with Microphone() as source:
        await anext(source)
        os.kill(source._process.pid, signal.SIGSTOP)
        await asyncio.to_thread(os.waitpid, source._process.pid, os.WUNTRACED)
    assert await source._process.wait() == -signal.SIGKILL


def test_the_process_that_hears_ends_with_the_one_that_wanted_it(fake):
    fake(frames=1)
    command = [sys.executable, "-P", "-m", "assistant.capture"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["device"] == "Built-in"
        process.stdin.close()
        assert process.wait(60) == 0


async def test_one_that_hangs_is_opened_again(fake):
    fake(frames=5)
    patience = Patience()
    async with SteadyMicrophone(timeout=patience, sleep=lambda seconds: asyncio.sleep(0)) as source:
        async with asyncio.timeout(60):
            for _ in range(5):
                await anext(source)
            waiting = asyncio.create_task(anext(source))
            await patience.run_out()
            assert (await waiting).pcm == bytes(BLOCK_BYTES)  # the first again
        assert source.reopened == 1


# Whether sound arrives

async def test_the_loudest_block_is_measured_and_each_is_told():
    quiet, loud = (Block(np.full(BLOCK, n, "<i2").tobytes(), NOW) for n in (33, 3277))
    levels: list[float] = []
    assert await measure(Script(quiet, loud, quiet), 3 * BLOCK / RATE, levels.append) == pytest.approx(-20, abs=0.1)
    assert levels == pytest.approx([-60, -20, -60], abs=0.1)


@pytest.mark.parametrize(("script", "error"), [
    ([ZERO] * 100, SilentMicrophone), (["end"], NoMicrophone), ([SOUND, "end"], NoMicrophone),
], ids=["zeros", "nothing", "an end"])
async def test_no_sound_is_an_error_that_says_which(script, error):
    with pytest.raises(error, match="Built-in"):
        await measure(Script(*script), 1)


def test_one_that_the_user_may_not_open_is_forbidden(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(silence, "_muted", lambda: False)
    assert silence.why(tmp_path) is None
    (tmp_path / "pcmC0D0c").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "pcmC0D0c")
    assert silence.why(tmp_path) == "forbidden"
    (tmp_path / "pcmC1D0c").touch()
    assert silence.why(tmp_path) is None


@pytest.mark.parametrize(("permission", "muted", "why"), [
    ("denied", False, "forbidden"), ("restricted", True, "forbidden"), ("granted", True, "muted"),
    ("granted", False, None), ("not asked", False, None), (None, False, None),
])
def test_macos_tells_forbidden_from_muted(monkeypatch, permission, muted, why):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(coreaudio, "permission", lambda: permission)
    monkeypatch.setattr(coreaudio, "muted", lambda: muted)
    assert silence.why() == why


@pytest.mark.skipif(sys.platform == "darwin", reason="it is asked of macOS")
def test_elsewhere_nothing_is_asked_of_macos():
    assert (coreaudio.default_input(), coreaudio.muted(), coreaudio.permission()) == (None, False, None)


# A microphone of PulseAudio's, through the real PortAudio

@pytest.fixture
def plugged(tmp_path, monkeypatch):
    folder = tmp_path / "pulse"
    folder.mkdir()
    with VirtualMicrophone(folder) as microphone:
        for name, value in microphone.environ.items():
            monkeypatch.setenv(name, value)
        yield microphone


async def until_something_is_heard(source: SteadyMicrophone) -> None:
    while not any((await anext(source)).pcm):
        pass


async def until_it_was_heard(source: Microphone) -> list[Block]:
    """The blocks until there was some sound, and a third of a second of silence after it."""
    heard, silent = [], -1
    while silent < 10:
        heard.append(await anext(source))
        silent = 0 if any(heard[-1].pcm) else silent + (silent >= 0)
    return heard


def likeness(heard: np.ndarray, played: np.ndarray) -> float:
    """The greatest normalised correlation of what was played with any part of what was heard: 1 is the same."""
    size = len(heard) + len(played)
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size)), size)
    place = int(correlation[: len(heard) - len(played)].argmax())
    part = heard[place : place + len(played)]
    return float(part @ played / (np.linalg.norm(part) * np.linalg.norm(played)))


@virtual_microphone.wanted
async def test_what_is_spoken_into_a_real_microphone_is_heard_in_its_time(plugged, tmp_path):
    """A machine that is too busy for its sound loses some, or is late with it: then it is spoken again."""
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, RATE)
    wav = write_wav(tmp_path / "a.wav", [noise])
    async with asyncio.timeout(180), Microphone() as source:
        for _ in range(TIMES):
            await anext(source)
            player = asyncio.create_task(asyncio.to_thread(plugged.play, wav))
            heard = await until_it_was_heard(source)
            await player
            samples = np.frombuffer(b"".join(b.pcm for b in heard), "<i2") / 32768
            alike = likeness(np.concatenate((samples, np.zeros(RATE))), noise)
            off = abs(heard[-1].at - heard[0].at - (len(heard) - 1) * timedelta(milliseconds=32))
            if alike > 0.95 and off < timedelta(seconds=0.4):
                break
    assert alike > 0.95  # a sound server may resample
    assert off < timedelta(seconds=0.4)


@virtual_microphone.wanted
async def test_a_real_microphone_that_is_unplugged_and_plugged_in_is_heard_again(plugged, tmp_path, caplog):
    wav = write_wav(tmp_path / "a.wav", [tone(440, seconds=1)])
    async with asyncio.timeout(180), SteadyMicrophone(sleep=lambda seconds: asyncio.sleep(0.1)) as source:
        await anext(source)
        plugged.stop()
        waiting = asyncio.create_task(anext(source))
        while source.state != "missing":
            await asyncio.wait([waiting], timeout=0.05)
            if waiting.done():
                waiting = asyncio.create_task(anext(source))
        plugged.start()
        await waiting
        hearing = asyncio.create_task(until_something_is_heard(source))
        while not hearing.done():
            await asyncio.to_thread(plugged.play, wav)
    assert source.state == "listening" and source.reopened >= 1
    assert [level for level, _ in told(caplog)][:2] == ["WARNING", "WARNING"]
