"""Sound for tests: sentences by speech synthesisers, noises made by numpy, and one mixed into the other.

    hello = speak("remind me to call mum", "slt")
    play = joined(room(1), mixed(hello, babble(4), 10), room(1))

All of it is 16-bit samples, one channel, 16,000 a second, and the same each time. Nothing is kept on the disk.
"""

import functools
import shutil
import subprocess
import tempfile
import wave
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from assistant.audio import BLOCK, BLOCK_BYTES, RATE, Block

FLITE = ("slt", "awb", "rms")
ESPEAK = ("en-gb", "en-us")
VOICES = (*FLITE, *ESPEAK)
"""Of flite a woman from the USA, a man from Scotland and one from the USA, all from recordings; two of espeak-ng, which
are computed and sound like it."""
MISSING = [command for command in ("flite", "espeak-ng") if not shutil.which(command)]
wanted = pytest.mark.skipif(bool(MISSING), reason=f"speech is made by flite and espeak-ng: apt install {' '.join(MISSING)}")
SENTENCES = (
    "remind me to call mum tomorrow at five",
    "take the bins out every thursday at seven in the morning",
    "what are my reminders for tomorrow",
    "set an alarm for six thirty",
    "don't let me forget to buy stamps",
    "push my run back an hour",
    "snooze for ten minutes",
    "cancel my dentist appointment",
)
PROSE = (
    "The quick brown fox jumps over the lazy dog while seven wizards watch from the hill.",
    "She sells sea shells by the shore, and the shells that she sells are surely hers to sell.",
    "When the sunlight strikes raindrops in the air they act as a prism and form a rainbow.",
    "Nobody had expected so many people at the market on such a cold and windy morning.",
    "After dinner they talked for a long time about the garden, the neighbours and the weather.",
    "The train to the coast leaves at a quarter past nine and stops at every little station.",
)
"""What people say who do not speak to the assistant."""


@functools.cache
def speak(text: str, voice: str = "slt") -> np.ndarray:
    """What one of `VOICES` makes of a text, with the little silence that it has before and after. Not to be written to."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "said.wav")
        if voice in FLITE:
            command = ["flite", "-voice", voice, "-t", text, "-o", str(file)]
        else:
            command = ["espeak-ng", "-v", voice, "-w", str(file), "--", text]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        with wave.open(str(file)) as sound:
            rate, samples = sound.getframerate(), np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    samples = _resampled(samples, rate)
    samples.flags.writeable = False
    return samples


def _resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """At 16,000 a second, by leaving out what is above 8,000 Hz, or nothing."""
    count = round(len(samples) * RATE / rate)
    return pcm(np.fft.irfft(np.fft.rfft(samples)[: count // 2 + 1], count) * (RATE / rate)) if rate != RATE else samples.copy()


def pcm(samples: np.ndarray) -> np.ndarray:
    """As 16-bit samples; what is too loud is clipped."""
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)


def joined(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


def spoken(samples: np.ndarray) -> tuple[int, int]:
    """Where what is spoken in a clean recording begins and ends: 10 ms frames within 35 dB of the loudest one."""
    frames = samples[: len(samples) // 160 * 160].astype(float).reshape(-1, 160)
    power = (frames**2).mean(1)
    loud = np.flatnonzero(power > power.max() * 10**-3.5)
    return int(loud[0]) * 160, int(loud[-1] + 1) * 160


def trimmed(samples: np.ndarray) -> np.ndarray:
    """Without the silence before and after."""
    first, last = spoken(samples)
    return samples[first:last]


def dBFS(samples: np.ndarray) -> float:
    """Root mean square in dB relative to full scale."""
    return float(10 * np.log10((samples.astype(float) ** 2).mean() / 32768**2))


def mixed(speech: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Speech in noise that is as long or longer, and `snr` dB quieter than what is spoken."""
    noise = noise[: len(speech)]
    return pcm(speech + noise * 10 ** ((dBFS(trimmed(speech)) - dBFS(noise) - snr) / 20))


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.int16)


def _shaped(seconds: float, seed: int, exponent: float) -> np.ndarray:
    """Gaussian noise whose power falls with frequency to that exponent, from 20 Hz on."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    spectrum *= np.where(frequencies < 20, 0, np.maximum(frequencies, 20) ** (-exponent / 2))
    return np.fft.irfft(spectrum, count)


def _at(samples: np.ndarray, level: float) -> np.ndarray:
    """At that level in dB relative to full scale."""
    return pcm(samples / np.sqrt((samples**2).mean()) * 32768 * 10 ** (level / 20))


def white(seconds: float, level: float = -40, seed: int = 1) -> np.ndarray:
    return _at(_shaped(seconds, seed, 0), level)


def pink(seconds: float, level: float = -40, seed: int = 2) -> np.ndarray:
    return _at(_shaped(seconds, seed, 1), level)


def room(seconds: float, seed: int = 3) -> np.ndarray:
    """A quiet room as a microphone hears it."""
    return pink(seconds, -65, seed)


def _time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def tone(seconds: float, level: float = -20, frequency: float = 440) -> np.ndarray:
    return _at(np.sin(2 * np.pi * frequency * _time(seconds)), level)


def hum(seconds: float, level: float = -30) -> np.ndarray:
    """Of the mains: 50 Hz and what is odd in it."""
    return _at(sum(np.sin(2 * np.pi * 50 * k * _time(seconds)) / k for k in (1, 2, 3, 5, 7, 9)), level)


def music(seconds: float, level: float = -25) -> np.ndarray:
    """Chords that are struck twice a second and fade, over a bass, four times each, round and round."""
    struck, sound = _time(2), np.zeros(round((seconds + 2) * RATE))
    for strike in range(int(2 * seconds)):
        chord = ((0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2))[strike // 4 % 4]
        here = sound[strike * RATE // 2 :][: len(struck)]
        for note in (*chord, *(note + 12 for note in chord), chord[0] - 24):
            for k in (1, 2, 3):
                here += np.sin(2 * np.pi * 261.63 * 2 ** (note / 12) * k * struck) * np.exp(-3 * k * struck) / k
    return _at(sound[: round(seconds * RATE)], level)


def clicks(seconds: float, every: float = 1.0, peak: float = 0.7, seed: int = 4) -> np.ndarray:
    """A quiet room in which something is put down hard: 5 ms of noise that fades, at that share of full scale."""
    sound, random = room(seconds).astype(float), np.random.default_rng(seed)
    for start in range(round(every / 2 * RATE), len(sound) - 800, round(every * RATE)):
        sound[start : start + 800] += peak * 32768 * random.uniform(-1, 1, 800) * np.exp(-np.arange(800) / 80)
    return pcm(sound)


@functools.cache
def babble(seconds: float, level: float = -40, voices: int = 5, seed: int = 5) -> np.ndarray:
    """Several people who talk at once."""
    count, random = round(seconds * RATE), np.random.default_rng(seed)
    sound = np.zeros(count)
    for n in range(voices):
        talk = joined(*(trimmed(speak(PROSE[(n + k) % len(PROSE)], VOICES[n % len(VOICES)])) for k in range(len(PROSE))))
        talk = np.roll(np.resize(talk, max(count, len(talk))), int(random.integers(len(talk))))[:count].astype(float)
        sound += talk / np.sqrt((talk**2).mean())
    return _at(sound, level)


def clipped(samples: np.ndarray, dB: float = 20) -> np.ndarray:
    """As a microphone hears it that is turned up, perhaps far too much; or down."""
    return pcm(samples * 10 ** (dB / 20))


class Recording:
    """Blocks of samples in memory, which are there at once. Silence fills the last one."""

    def __init__(self, samples: np.ndarray, began: datetime = datetime(2026, 3, 11, 10, tzinfo=UTC)) -> None:
        self._pcm, self.began = samples.astype("<i2").tobytes(), began
        self.heard = 0.0
        """Seconds of it that have been taken."""

    def seconds(self, at: datetime) -> float:
        """Into it, of an instant."""
        return (at - self.began).total_seconds()

    async def __aiter__(self) -> AsyncIterator[Block]:
        for n, start in enumerate(range(0, len(self._pcm), BLOCK_BYTES)):
            self.heard = (n + 1) * BLOCK / RATE
            pcm = self._pcm[start : start + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0")
            yield Block(pcm, self.began + timedelta(seconds=n * BLOCK / RATE))
