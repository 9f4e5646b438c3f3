"""The chime is two tones that nobody takes for speech, and nothing depends on whether it is heard."""

import asyncio
import logging
import os
import wave
from io import BytesIO

import numpy as np
import pytest

from assistant.audio import WavFile
from assistant.chime import TONES, Chime, sound
from assistant.vad import utterances
from tests.speech import Recording, clipped, joined, room
from tests.test_notifiers import script
from tests.test_tts import begun, card, ear, ended, hear_speech, needs, no_programs, plays  # noqa: F401  (a fixture)
from tests.virtual_microphone import wanted


def test_it_is_two_tones_that_come_and_go_without_a_click():
    with wave.open(BytesIO(sound())) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    first = round(TONES[0][1] * rate)
    for tone, (frequency, seconds) in zip((samples[:first], samples[first:]), TONES):
        spectrum = abs(np.fft.rfft(tone, rate))
        assert spectrum.argmax() == pytest.approx(frequency, abs=5) and len(tone) == round(seconds * rate)
        assert abs(tone[[0, 1, -2, -1]]).max() < 5, "it begins and ends in silence"
    assert 1000 < abs(samples).max() < 10_000


@pytest.mark.parametrize("gain", [-20, 0, 15], ids="{} dB".format)
async def test_heard_by_the_microphone_it_is_not_speech(tmp_path, gain):
    (tmp_path / "chime.wav").write_bytes(sound())
    async with WavFile(tmp_path / "chime.wav") as source:
        heard = np.frombuffer(b"".join([block.pcm async for block in source]), "<i2")
    again = joined(room(2), *[joined(clipped(heard, gain), room(1))] * 3)
    assert not [utterance async for utterance in utterances(Recording(again))]


async def test_the_first_player_that_can_plays_it(tmp_path, monkeypatch):
    only = no_programs(tmp_path, monkeypatch)
    script(only / "paplay", "sys.exit('Connection refused')")
    plays(only / "aplay", tmp_path / "played")
    await Chime().play()
    assert (tmp_path / "played").read_bytes() == sound()


async def test_muted_it_is_not_played(tmp_path, monkeypatch):
    plays(no_programs(tmp_path, monkeypatch) / "aplay", tmp_path / "played")
    await Chime().play(muted=True)
    assert not (tmp_path / "played").exists()


async def test_where_nothing_plays_it_is_told_once_and_harms_nobody(tmp_path, monkeypatch, caplog):
    only, chime = no_programs(tmp_path, monkeypatch), Chime()
    caplog.set_level(logging.DEBUG, "assistant.chime")
    await chime.play()
    script(only / "aplay", "sys.exit('no soundcards found')")
    await chime.play()
    [told] = caplog.records
    assert told.levelno == logging.DEBUG and "Nothing here plays sound" in told.message


async def test_a_player_that_hangs_is_stopped(tmp_path, monkeypatch, caplog):
    only, fifo = no_programs(tmp_path, monkeypatch), tmp_path / "playing"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    script(only / "aplay", f"os.write(os.open({str(fifo)!r}, os.O_WRONLY), b'x')\ntime.sleep(600)")
    caplog.set_level(logging.DEBUG, "assistant.chime")
    async with asyncio.timeout(60):
        await asyncio.gather(Chime(patience=2).play(), begun(reader))
        await ended(reader)
    os.close(reader)
    assert "no end after 2 seconds" in caplog.text


@wanted
@needs("paplay")
async def test_it_is_heard(card):  # noqa: F811
    async with ear() as heard:
        await Chime(("paplay",)).play()
        await hear_speech(heard, 0.2)
