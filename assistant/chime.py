"""The chime: two short tones that say "I am listening", made in memory and played by another program."""

import asyncio
import io
import logging
import wave
from collections.abc import Sequence

from assistant.errors import SpeakerError
from assistant.playing import PLAYERS, play

log = logging.getLogger(__name__)

RATE = 44_100
"""Samples a second, which every sound card takes."""
TONES = ((784.0, 0.11), (1046.5, 0.17))
"""Hertz and seconds of each: G5 and C6, a fourth upwards."""
FADE = 0.02
"""Seconds in which a tone comes and goes, so that it does not click."""
PEAK = 0.15
"""Of full scale: -16 dB, as loud as speech is."""
PATIENCE = 3.0
"""Seconds after which a player hangs."""


class Chime:
    """It is played, or it is not: nothing else depends on it."""

    def __init__(self, players: Sequence[str] = PLAYERS, patience: float = PATIENCE) -> None:
        self._players, self._patience = players, patience
        self._sound = b""
        self._told = False
        """Whether the log says already that it cannot be played."""

    async def play(self, muted: bool = False) -> None:
        """Play it to its end, unless `muted`; when cancelled, it is silent at once."""
        if muted:
            return
        self._sound = self._sound or sound()
        try:
            async with asyncio.timeout(self._patience):
                await play(self._sound, self._players)
        except (SpeakerError, TimeoutError) as e:
            if not self._told:
                self._told = True
                log.debug("the chime cannot be played: %s", str(e) or f"it has no end after {self._patience:g} seconds")


def sound() -> bytes:
    """A WAV file of the chime: 16 bits, one channel."""
    import numpy

    tones = []
    for frequency, seconds in TONES:
        time = numpy.arange(round(seconds * RATE)) / RATE
        edge = numpy.clip(numpy.minimum(time, time[-1] - time) / FADE, 0, 1)
        tones.append(numpy.sin(2 * numpy.pi * frequency * time) * (1 - numpy.cos(numpy.pi * edge)) / 2)
    samples = numpy.round(numpy.concatenate(tones) * PEAK * 32767).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", None))
        file.writeframes(samples.tobytes())
    return out.getvalue()
