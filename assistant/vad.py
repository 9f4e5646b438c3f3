"""Voice activity detection: utterances out of a stream of sound.

    blocks of 32 ms -> level -> Gate (louder than the noise floor?) -> Silero (is it speech?) -> Endpointer -> Utterance

Silero VAD (github.com/snakers4/silero-vad, MIT licence) is a small recurrent network; its ONNX file comes with
faster-whisper, and onnxruntime runs it in the event loop, as a block takes 0.1 ms (and 0.5 where other programs have
emptied the processor's caches meanwhile). The gate spares even that while nothing is to be heard.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from assistant.audio import BLOCK, Block
from assistant.endpointing import BEGINS, QUIETEST, Ending, Endpointer, blocks
from assistant.errors import AudioError
from assistant.messages import Utterance

CONTEXT = 64
"""Samples of the block before that Silero hears again before each block."""
STATE = (1, 1, 128)
"""Shape of each of the two states of Silero's LSTM."""
MARGIN = 3.0
"""dB above the noise floor at which something is to be heard. White noise stays within 1 dB of its floor."""
HANGOVER = blocks(0.5)
"""Blocks that the gate stays open after the last one that was loud enough."""
WARM_UP = 4
"""Blocks before the one that opened the gate that Silero hears first; so it is sooner sure of an onset in noise."""
WINDOW, WINDOWS = blocks(1), 8
"""The noise floor is the least level of so many windows of so many blocks: it is never older than eight seconds."""


def level(pcm: bytes) -> float:
    """Root mean square of 16-bit samples in dB relative to full scale, `QUIETEST` at the least.

    A sine as loud as can be is at -3, a person who speaks into a laptop at -45 to -20.
    """
    import numpy

    samples = numpy.frombuffer(pcm, "<i2").astype(numpy.float32)
    power = float(samples @ samples) / max(1, len(samples))
    return max(QUIETEST, 10 * math.log10(power / 32768**2)) if power else QUIETEST


class SpeechProbability(Protocol):
    """A detector that remembers what it heard."""

    def probability(self, block: bytes) -> float:
        """That this block, of 512 samples, holds speech: 0 to 1."""

    def reset(self) -> None:
        """Forget what was heard: what comes next does not follow it."""


class Silero:
    """Silero VAD, version 6. Raises `AudioError` where its file is missing or another version."""

    def __init__(self, file: Path | None = None) -> None:
        try:
            import numpy
            import onnxruntime
        except ImportError as e:
            raise AudioError(f"The voice detector cannot run ({e}): run scripts/start again.") from None

        self._numpy = numpy
        file = file or silero_file()
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # onnxruntime's own kinds have no base in common
            raise AudioError(f"The voice detector {file} cannot be loaded ({e}): run scripts/start again.") from None
        if [i.name for i in self._session.get_inputs()] != ["input", "h", "c"]:
            raise AudioError(f"The voice detector {file} is another version: run scripts/start again.")
        self.reset()

    def reset(self) -> None:
        numpy = self._numpy
        self._h, self._c = numpy.zeros(STATE, numpy.float32), numpy.zeros(STATE, numpy.float32)
        self._input = numpy.zeros((1, CONTEXT + BLOCK), numpy.float32)

    def probability(self, block: bytes) -> float:
        self._input[0, :CONTEXT] = self._input[0, -CONTEXT:]
        self._input[0, CONTEXT:] = self._numpy.frombuffer(block, "<i2")
        self._input[0, CONTEXT:] /= 32768
        speech, self._h, self._c = self._session.run(None, {"input": self._input, "h": self._h, "c": self._c})
        return float(speech.flat[0])


def silero_file() -> Path:
    """The newest one of the installed faster-whisper, which is not imported for it. Raises `AudioError`."""
    package = find_spec("faster_whisper")
    for folder in package.submodule_search_locations or () if package else ():
        if files := sorted(Path(folder, "assets").glob("silero_vad*.onnx")):
            return files[-1]
    raise AudioError("The voice detector that comes with faster-whisper is missing: run scripts/start again.")


class NoiseFloor:
    """How loud it is when nobody speaks: the least level of the last seconds.

    Minimum statistics (R. Martin, 2001, "Noise power spectral density estimation based on optimal smoothing and
    minimum statistics") in its simplest form: speech has gaps, so the least level of some seconds is that of the noise,
    and no one has to know when somebody speaks. It follows a fall at once and a rise within eight seconds.
    """

    def __init__(self) -> None:
        self._minima: deque[float] = deque(maxlen=WINDOWS)
        self._least, self._count = math.inf, 0

    @property
    def level(self) -> float:
        """dB relative to full scale; `QUIETEST` until a window has been heard."""
        return min(*self._minima, self._least) if self._minima else QUIETEST

    def take(self, level: float) -> None:
        self._least, self._count = min(self._least, level), self._count + 1
        if self._count == WINDOW:
            self._minima.append(self._least)
            self._least, self._count = math.inf, 0


class Gate:
    """Asks a detector only while something is to be heard; plain silence, and a fan that hums on, are not speech."""

    def __init__(self, detector: SpeechProbability) -> None:
        self._detector = detector
        self._before: deque[bytes] = deque(maxlen=WARM_UP)
        self.reset()

    def reset(self) -> None:
        """What comes next does not follow what was heard."""
        self.floor = NoiseFloor()
        self._before.clear()
        self._open = 0
        """Blocks for which it stays open."""

    def probability(self, block: bytes, level: float) -> float:
        """That this block, of that level, holds speech; 0 while the gate is closed."""
        self.floor.take(level)
        loud = level > self.floor.level + MARGIN
        if loud and not self._open:
            self._detector.reset()
            for earlier in self._before:
                self._detector.probability(earlier)
        self._open = HANGOVER if loud else max(0, self._open - 1)
        self._before.append(block)
        return self._detector.probability(block) if self._open else 0.0


class Segmenter:
    """Takes blocks in their order, and tells which one completes an utterance: gate, detector and endpointer."""

    def __init__(self, detector: SpeechProbability, ending: Ending = "default") -> None:
        self._gate, self._endpointer = Gate(detector), Endpointer(ending)
        self.speech = False
        """Whether the last block was speech by itself."""

    @property
    def speaking(self) -> bool:
        """Whether an utterance is under way."""
        return self._endpointer.speaking

    def take(self, block: Block) -> Utterance | None:
        """The utterance that ends with this block, or ended before it; None where none does."""
        if not self._endpointer.follows(block):
            self._gate.reset()
        loud = level(block.pcm)
        probability = self._gate.probability(block.pcm, loud)
        self.speech = probability >= BEGINS
        return self._endpointer.take(block, probability, loud)

    def end(self) -> Utterance | None:
        """There is no more sound, or what comes does not follow: the utterance that was under way. It begins anew."""
        self._gate.reset()
        self.speech = False
        return self._endpointer.end()


async def utterances(
    source: AsyncIterable[Block], ending: Ending = "default", detector: SpeechProbability | None = None
) -> AsyncIterator[Utterance]:
    """What is said in a source of sound, each as soon as it has ended; the last when there is no more sound.

    Without a detector it is `Silero`, which raises `AudioError`; errors of the source pass through.
    """
    segmenter = Segmenter(detector or await asyncio.to_thread(Silero), ending)
    async for block in source:
        if utterance := segmenter.take(block):
            yield utterance
    if utterance := segmenter.end():
        yield utterance
