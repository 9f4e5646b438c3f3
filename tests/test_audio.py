"""Sound comes in as blocks of 512 samples, 16,000 a second, whatever a recording is made of."""

import asyncio
import os
import random
import struct
import wave
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path

import numpy as np
import pytest

from assistant.audio import BLOCK, BLOCK_BYTES, RATE, Block, Blocks, WavFile
from assistant.errors import UnreadableSound
from assistant.resample import HIGHEST, LOWEST, Resampler, to_pcm
from tests.fakes import StandingClock

NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)
SECONDS = 0.4
RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]


def tone(hertz: float, rate: int = RATE, seconds: float = SECONDS) -> np.ndarray:
    """At half of full scale."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write_wav(path: Path, channels: list[np.ndarray], rate: int = RATE, width: int = 2) -> Path:
    """Samples from -1 to 1 of each channel, as WAV of `width` bytes."""
    scaled = np.rint(np.stack(channels, 1).reshape(-1) * (2 ** (8 * width - 1) - 1)).astype("<i8")
    if width == 1:
        scaled += 128
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(scaled.view(np.uint8).reshape(-1, 8)[:, :width].tobytes())
    return path


async def heard(path: Path) -> list[Block]:
    async with WavFile(path, StandingClock(NOW)) as source:
        return [block async for block in source]


async def samples(path: Path) -> np.ndarray:
    """All that is heard, -1 to 1."""
    return np.frombuffer(b"".join(b.pcm for b in await heard(path)), "<i2") / 32768


def decibels(power: np.ndarray) -> float:
    return 10 * np.log10(np.mean(power**2) + 1e-20)


def assert_is(got: np.ndarray, expected: np.ndarray, error: float = -60) -> None:
    """The same, but for an error of so many dB relative to full scale; its edges apart, where silence begins."""
    inner = slice(200, len(expected) - 200)
    assert len(got) >= len(expected)
    assert decibels(got[: len(expected)][inner] - expected[inner]) < error


# Recordings

@pytest.mark.parametrize("rate", RATES)
async def test_a_recording_of_any_rate_is_heard_in_its_own_time(tmp_path, rate):
    got = await samples(write_wav(tmp_path / "a.wav", [tone(1000, rate)], rate))
    assert_is(got, tone(1000))
    assert len(got) == ceil(SECONDS * RATE / BLOCK) * BLOCK


@pytest.mark.parametrize(("width", "error"), [(1, -45), (2, -80), (3, -80), (4, -80)], ids="8 16 24 32".split())
async def test_samples_of_so_many_bits_are_read(tmp_path, width, error):
    assert_is(await samples(write_wav(tmp_path / "a.wav", [tone(440)], width=width)), tone(440), error)


async def test_of_several_channels_the_mean_is_heard(tmp_path):
    sound = tone(440, 48_000)
    assert_is(await samples(write_wav(tmp_path / "a.wav", [sound, 0 * sound, sound], 48_000)), 2 / 3 * tone(440))


async def test_blocks_have_512_samples_follow_in_time_and_silence_fills_the_last(tmp_path):
    blocks = await heard(write_wav(tmp_path / "a.wav", [np.full(1100, 0.5)]))
    assert [len(b.pcm) for b in blocks] == [BLOCK_BYTES] * 3
    assert [b.at for b in blocks] == [NOW + timedelta(milliseconds=32) * n for n in range(3)]
    assert blocks[2].pcm[2 * (1100 - 1024) :] == bytes(BLOCK_BYTES - 2 * (1100 - 1024))


async def test_a_long_recording_is_whole(tmp_path):
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 200_003)
    got = await samples(write_wav(tmp_path / "a.wav", [noise]))
    assert np.abs(got[: len(noise)] - noise).max() < 1e-4 and not got[len(noise) :].any()


async def test_one_that_was_cut_off_is_heard_as_far_as_it_goes(tmp_path):
    path = write_wav(tmp_path / "a.wav", [tone(440), tone(440)])
    path.write_bytes(path.read_bytes()[:-4001])
    assert_is(await samples(path), tone(440)[:-1001])


async def test_one_without_a_sample_has_no_block(tmp_path):
    assert await heard(write_wav(tmp_path / "a.wav", [np.zeros(0)])) == []


async def test_a_recording_may_be_left_before_its_end(tmp_path):
    async with WavFile(write_wav(tmp_path / "a.wav", [tone(440)])) as source:
        first = await anext(source)
    assert len(first.pcm) == BLOCK_BYTES and abs(first.at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_whoever_is_cancelled_while_it_is_read_is_cancelled_and_nothing_else(tmp_path):
    os.mkfifo(tmp_path / "slow.wav")
    sound = write_wav(tmp_path / "a.wav", [tone(440, seconds=0.1)]).read_bytes()
    with pytest.raises(asyncio.CancelledError):
        async with WavFile(tmp_path / "slow.wav") as source:
            reading = asyncio.create_task(anext(source))
            writer = await asyncio.to_thread(os.open, tmp_path / "slow.wav", os.O_WRONLY)  # it is being read
            try:
                reading.cancel()
                await reading
            finally:
                asyncio.get_running_loop().call_soon(_write, writer, sound)  # so that the thread ends
    await asyncio.sleep(0)


def _write(file: int, data: bytes) -> None:
    os.write(file, data)
    os.close(file)


def floating_wav(path: Path, sound: np.ndarray) -> Path:
    """WAV of 32-bit floating point, which the standard library does not read."""
    data = sound.astype("<f4").tobytes()
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, RATE, 4 * RATE, 4, 32) + struct.pack("<4sI", b"data", len(data))
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(head) + len(data), b"WAVE") + head + data)
    return path


def coded(path: Path, sound: np.ndarray, codec: str, rate: int = 44_100) -> Path:
    """By FFmpeg, in stereo."""
    import av

    frame = av.AudioFrame.from_ndarray(np.repeat(sound * 32767, 2).astype("<i2")[None], "s16", "stereo")
    frame.sample_rate = rate
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, layout="stereo")
        for whole in (frame, None):
            for fitting in [whole] if whole is None else av.AudioResampler(
                stream.format.name, "stereo", rate, stream.codec_context.frame_size or None).resample(whole):
                file.mux(stream.encode(fitting))
    return path


@pytest.mark.parametrize("make", [
    lambda path: coded(path.with_suffix(".flac"), tone(440, 44_100), "flac"),
    lambda path: floating_wav(path.with_suffix(".wav"), tone(440)),
], ids=["FLAC", "WAV of floating point"])
async def test_what_the_standard_library_does_not_know_is_left_to_ffmpeg(tmp_path, make):
    pytest.importorskip("av", reason="PyAV comes with faster-whisper")
    assert_is(await samples(make(tmp_path / "a")), tone(440)[:-20])


@pytest.mark.parametrize(("codec", "suffix"), [("pcm_s16le", ".wav"), ("flac", ".flac"), ("libopus", ".ogg"),
                                               ("libmp3lame", ".mp3"), ("libopus", ".webm"), ("aac", ".m4a")])
async def test_the_bytes_of_a_recording_are_heard_like_its_file(tmp_path, codec, suffix):
    pytest.importorskip("av", reason="PyAV comes with faster-whisper")
    path = coded(tmp_path / f"a{suffix}", tone(440, 48_000), codec, 48_000)
    from_file = b"".join(block.pcm for block in await heard(path))
    async with WavFile(path.read_bytes()) as source:
        assert b"".join([block.pcm async for block in source]) == from_file and len(from_file) > 5_000


async def test_bytes_that_are_no_sound_are_refused_without_a_name():
    pytest.importorskip("av", reason="PyAV comes with faster-whisper")
    async with WavFile(b"hello") as source:
        with pytest.raises(UnreadableSound, match=r"What was sent cannot be read as sound \(.+\)"):
            await anext(source)


@pytest.mark.parametrize("make", [
    lambda path: path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp3\n#EXT-X-ENDLIST\n") and path,
    lambda path: b"ffconcat version 1.0\nfile 'a.mp3'\n",
], ids=["a file of HLS", "bytes for concat"])
async def test_a_playlist_cannot_have_another_file_read(tmp_path, monkeypatch, make):
    pytest.importorskip("av", reason="PyAV comes with faster-whisper")
    monkeypatch.chdir(tmp_path)
    coded(tmp_path / "a.mp3", tone(440, 44_100), "libmp3lame")
    async with WavFile(make(tmp_path / "a.m3u8")) as source:
        with pytest.raises(UnreadableSound):
            await anext(source)


def header(channels: int = 1, rate: int = RATE, width: int = 2) -> bytes:
    """Of a WAV file, and a few samples."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 0, channels * width, 8 * width)
    return b"RIFF\xff\xff\0\0WAVE" + fmt + b"data\x10\0\0\0" + bytes(16)


@pytest.mark.parametrize("content", [
    b"", b"hello", b"RIFF", b"RIFF\x10\0\0\0WAVE", bytes(5000), random.Random(1).randbytes(5000), header(channels=0),
    header(channels=33), header(rate=0), header(rate=3_999), header(rate=192_001), header(rate=2**32 - 1),
    header(width=0), header(width=8),
], ids=["nothing", "text", "half a header", "no format", "zeros", "noise", "no channel", "33 channels", "no rate",
        "a low rate", "a high rate", "the highest rate", "samples of nothing", "samples of 64 bits"])
async def test_what_is_no_sound_is_refused_in_one_sentence(tmp_path, content):
    pytest.importorskip("av", reason="PyAV comes with faster-whisper")
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(UnreadableSound, match=r"a\.wav cannot be read as sound \(.+\): give a WAV or FLAC file\."):
        await heard(path)


@pytest.mark.parametrize("name", ["nowhere.wav", "."], ids=["no file", "a folder"])
async def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(UnreadableSound) as refused:
        await heard(tmp_path / name)
    assert (refused.value.status, refused.value.exit_status) == (415, 2)


# Blocks

@pytest.mark.parametrize("size", [2, 320, BLOCK_BYTES, 1500, 10_000], ids=lambda size: f"{size} bytes")
def test_sound_in_pieces_of_any_length_is_cut_into_blocks_in_their_time(size):
    sound = random.Random(1).randbytes(10 * BLOCK_BYTES + 100)
    cutter, blocks = Blocks(), []
    for start in range(0, len(sound), size):
        end = min(len(sound), start + size)
        blocks += cutter.cut(sound[start:end], NOW + timedelta(seconds=end / 2 / RATE))
    assert b"".join(b.pcm for b in blocks) == sound[: 10 * BLOCK_BYTES]
    for n, block in enumerate(blocks):
        assert len(block.pcm) == BLOCK_BYTES
        assert abs(block.at - NOW - n * timedelta(milliseconds=32)) < timedelta(microseconds=10)


# Another rate

@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_the_pieces_in_which_sound_comes_make_no_difference(rate):
    noise = np.random.default_rng(2).uniform(-0.5, 0.5, 5_000)
    whole, pieces = Resampler(rate, RATE), Resampler(rate, RATE)
    expected = np.concatenate((whole.take(noise), whole.end()))
    cuts = sorted(random.Random(rate).choices(range(5_000), k=20))
    got = [pieces.take(piece) for piece in np.split(noise, cuts)] + [pieces.end()]
    assert np.array_equal(np.concatenate(got), expected)
    assert len(expected) == ceil(5_000 * RATE / rate)


@pytest.mark.parametrize(("hertz", "rate"), [(9_000, 44_100), (12_000, 48_000), (16_500, 48_000), (30_000, 96_000)])
def test_what_is_too_high_for_the_new_rate_is_not_folded_back(hertz, rate):
    resampler = Resampler(rate, RATE)
    assert decibels(resampler.take(tone(hertz, rate))[200:]) < -75


@pytest.mark.parametrize("hertz", [60, 300, 3_000, 6_500])
def test_what_speech_has_is_as_loud_as_before(hertz):
    got = Resampler(48_000, RATE).take(tone(hertz, 48_000))[200:]
    assert decibels(got) == pytest.approx(decibels(tone(hertz)), abs=0.1)


@pytest.mark.parametrize("rate", [LOWEST, 16_001, HIGHEST], ids=["the lowest", "an odd one", "the highest"])
def test_rates_that_nobody_uses_work_as_well(rate):
    resampler = Resampler(rate, RATE)
    got = np.concatenate((resampler.take(tone(300, rate, 0.1)), resampler.end()))
    assert decibels(got[200:-200] - tone(300, seconds=0.1)[200 : len(got) - 200]) < -60


def test_what_is_louder_than_can_be_is_clipped():
    assert np.frombuffer(to_pcm(np.array([-2, -1, 0, 1, 2.0])), "<i2").tolist() == [-32768, -32768, 0, 32767, 32767]
