"""Sound that comes in, as blocks of samples: what a source of it is, and recordings.

Everything that hears works on 16,000 samples a second of 16 bits, signed, little-endian, one channel, in blocks of 512,
which is what Silero VAD and Whisper were made for.
"""

import io
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from assistant.clock import Clock, SystemClock
from assistant.errors import UnreadableSound

if TYPE_CHECKING:
    import numpy

RATE = 16_000
"""Samples a second."""
BLOCK = 512
"""Samples of a block: 32 ms."""
BLOCK_BYTES = 2 * BLOCK
CHUNK = 65_536
"""Samples of a recording that are read at once."""
MOST_CHANNELS = 32
CONTAINERS = "wav,w64,aiff,au,caf,flac,ogg,mp3,aac,amr,mov,matroska,webm,asf"
"""What FFmpeg may read, by the names of its demuxers: no playlist, which has it open other files or addresses."""
SENT = "What was sent"
"""The name of a recording that is no file."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of sound."""

    pcm: bytes
    """512 samples of 16 bits, signed, little-endian, one channel, 16,000 a second: 1,024 bytes."""
    at: datetime
    """Aware UTC: when its first sample was heard."""


class AudioSource(Protocol):
    """Where blocks come from: an async context manager that is an async iterator, which ends when there are no more.

    Entering and iterating raise `AudioError`. Blocks follow each other in time; where some are missing, `at` says so.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Block]: ...

    async def __anext__(self) -> Block: ...


class Blocks:
    """Cuts sound that comes in pieces of any length into blocks."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, pcm: bytes, until: datetime) -> Iterator[Block]:
        """The blocks that are whole with this piece, whose last sample was heard at `until`."""
        pcm = self._rest + pcm
        began = until - timedelta(seconds=len(pcm) / 2 / RATE)
        whole = len(pcm) - len(pcm) % BLOCK_BYTES
        self._rest = pcm[whole:]
        for start in range(0, whole, BLOCK_BYTES):
            yield Block(pcm[start : start + BLOCK_BYTES], began + timedelta(seconds=start / 2 / RATE))


class WavFile:
    """A recording, a file or the bytes of one, as fast as it is asked for; its first sample is heard when it is opened,
    by `clock`.

    WAV of 8 to 32 bits, any rate from 4 to 192 kHz and up to 32 channels (their mean is heard) is read by the standard
    library. What that does not know (FLAC, MP3, Ogg, WAV of floating point ...) is left to FFmpeg, which comes with
    faster-whisper as PyAV. Silence fills the last block. Raises `UnreadableSound`.
    """

    def __init__(self, recording: Path | bytes, clock: Clock | None = None) -> None:
        self._recording, self._clock = recording, clock or SystemClock()

    async def __aenter__(self) -> Self:
        self._next = self._clock.now()
        self._blocks: list[Block] = []
        self._pieces = _pieces(self._recording)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ValueError):  # a thread that nobody waits for any more is still at it, and ends by itself
            self._pieces.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Block:
        import asyncio  # not at the top: the process that hears is smaller without

        while not self._blocks:
            piece = await asyncio.to_thread(next, self._pieces, None)
            if piece is None:
                raise StopAsyncIteration
            for start in range(0, len(piece), BLOCK_BYTES):
                self._blocks.append(Block(piece[start : start + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0"), self._next))
                self._next += timedelta(seconds=BLOCK / RATE)
            self._blocks.reverse()
        return self._blocks.pop()


def _pieces(recording: Path | bytes) -> Iterator[bytes]:
    """The sound of it; every piece but the last is a number of whole blocks."""
    rest = b""
    for piece in _read(recording):
        pcm = rest + piece
        whole = len(pcm) - len(pcm) % BLOCK_BYTES
        rest = pcm[whole:]
        if whole:
            yield pcm[:whole]
    if rest:
        yield rest


def _read(recording: Path | bytes) -> Iterator[bytes]:
    try:
        with wave.open(_opened(recording), "rb") as file:
            yield from _of_wave(_name(recording), file)
    except OSError as e:
        raise UnreadableSound(_name(recording), e.strerror or str(e)) from None
    except (wave.Error, EOFError):  # no WAV, or one that the standard library does not know
        yield from _of_ffmpeg(recording)


def _opened(recording: Path | bytes) -> str | io.BytesIO:
    return io.BytesIO(recording) if isinstance(recording, bytes) else str(recording)


def _name(recording: Path | bytes) -> str:
    return SENT if isinstance(recording, bytes) else str(recording)


def _of_wave(name: str, file: wave.Wave_read) -> Iterator[bytes]:
    from assistant.resample import HIGHEST, LOWEST, Resampler, to_pcm

    channels, rate, width = file.getnchannels(), file.getframerate(), file.getsampwidth()
    if not (LOWEST <= rate <= HIGHEST and 1 <= channels <= MOST_CHANNELS and 1 <= width <= 4):
        raise UnreadableSound(name, f"{channels} channels of {8 * width} bits, {rate} samples a second")
    resampler = Resampler(rate, RATE)
    while data := file.readframes(CHUNK):
        yield to_pcm(resampler.take(_mono(data, width, channels)))
    yield to_pcm(resampler.end())


def _mono(data: bytes, width: int, channels: int) -> "numpy.ndarray":
    """Samples of `width` bytes as WAV has them to floating point, -1 to 1, the mean of the channels."""
    import numpy

    data = data[: len(data) - len(data) % (width * channels)]  # a file that was cut off
    if width == 1:  # the only width that is unsigned
        samples = (numpy.frombuffer(data, numpy.uint8).astype(numpy.float32) - 128) / 128
    else:  # the bytes as the upper ones of 32 bits
        wide = numpy.zeros((len(data) // width, 4), numpy.uint8)
        wide[:, 4 - width :] = numpy.frombuffer(data, numpy.uint8).reshape(-1, width)
        samples = (wide.view("<i4")[:, 0] / 2**31).astype(numpy.float32)
    return samples.reshape(-1, channels).mean(axis=1)


def _of_ffmpeg(recording: Path | bytes) -> Iterator[bytes]:
    name = _name(recording)
    try:
        import av
    except ImportError:
        raise UnreadableSound(name, "it is no WAV file, and faster-whisper, which reads others, is missing") from None
    try:
        with av.open(_opened(recording), options={"format_whitelist": CONTAINERS}) as container:
            if not container.streams.audio:
                raise UnreadableSound(name, "there is no sound in it")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            for frame in chain(container.decode(audio=0), (None,)):
                for piece in resampler.resample(frame):
                    yield piece.to_ndarray().astype("<i2").tobytes()
    except av.FFmpegError as e:
        raise UnreadableSound(name, e.strerror or type(e).__name__) from None
