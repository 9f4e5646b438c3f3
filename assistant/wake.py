"""The wake word: a small network that knows one phrase, and a transcript without that phrase.

    blocks of 32 ms -> 40 features every 10 ms -> network every 30 ms -> mean of its last answers above its cutoff?

microWakeWord (github.com/kahrendt/microWakeWord, Apache licence) is made for microcontrollers: streaming convolutions
in 80 kB. pymicro-wakeword brings some models, and TensorFlow Lite runs them in the event loop: a block takes 0.1 ms.
"""

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from assistant.endpointing import blocks
from assistant.errors import NoWakeWord

PACKAGE = "pymicro_wakeword"
INSTALL = "pip install 'pymicro-wakeword>=2.5.0'"
FEATURES = 40
"""Numbers that say how 30 ms sound."""
STEP_MS = 10
"""Between two of them; a model that was made for another step would hear everything too slowly."""
MEMORY = 300
"""Features of silence after which a network has forgotten what was before: three seconds, of which it knows two."""
REFRACTORY = blocks(1.0)
"""Blocks without the word before it can be said again; it may stay above the cutoff for more than a second."""
BEFORE = blocks(0.1)
"""Blocks before the one with which the word was noticed that may be part of what was said after it. Of what is older an
engine makes words: "okay, not to remind me"."""


class WakeWord(Protocol):
    """A detector that remembers what it heard."""

    name: str
    """As people say it: "okay nabu"."""

    def take(self, block: bytes) -> bool:
        """Whether the word has just been said, with this block of 512 samples."""

    def reset(self) -> None:
        """Forget what was heard: what comes next does not follow it."""


def known() -> list[str]:
    """The names of the models that pymicro-wakeword brings, such as "okay_nabu"; none where it is not installed."""
    return sorted(file.stem for file in _brought("models", "*.json"))


def wake_word(word: str) -> WakeWord:
    """The detector of one of `known()`, or of the model in a file: its .tflite, or its .json beside that.

    It loads a library and a network, for which a thread is the place. Raises `NoWakeWord`.
    """
    if not find_spec(PACKAGE):
        raise NoWakeWord(f"What hears the wake word is not installed: {INSTALL}, or choose another [wake] mode.")
    name = "_".join(word.lower().replace("_", " ").split())
    if name in known():
        return MicroWakeWord(_brought("models", f"{name}.json")[0])
    if not word.endswith((".tflite", ".json")):
        raise NoWakeWord(
            f'There is no wake word "{word[:40]}": set [wake] word to one of {", ".join(known())}, '
            "or to the .tflite file of a model."
        )
    return MicroWakeWord(Path(os.path.expanduser(word)).with_suffix(".json"))


def _brought(folder: str, pattern: str) -> list[Path]:
    """Files of the installed package, which is not imported for it."""
    package = find_spec(PACKAGE)
    places = package.submodule_search_locations or () if package else ()
    return [file for place in places for file in Path(place, folder).glob(pattern)]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the JSON file of a model says, as ESPHome has it (esphome.io/components/micro_wake_word)."""

    phrase: str
    network: Path
    cutoff: float
    """The mean of the network's last answers, 0 to 1, above which the word was said."""
    window: int
    """Answers of which it is the mean."""


def read_settings(file: Path) -> Settings:
    """Raises `NoWakeWord`."""
    try:
        found: Any = json.loads(file.read_bytes())
        micro = found["micro"]
        settings = Settings(
            phrase=" ".join(found["wake_word"].lower().split()),
            network=file.parent / found["model"],
            cutoff=float(micro["probability_cutoff"]),
            window=int(micro["sliding_window_size"]),
        )
        step = micro.get("feature_step_size", STEP_MS)
    except OSError as e:
        raise _broken(file, (e.strerror or str(e)).lower()) from None
    except KeyError as e:
        raise _broken(file, f"{e.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise _broken(file, "it does not describe a model of microWakeWord") from None
    if step != STEP_MS:
        raise _broken(file, f"it is made for features every {step} ms, and here they come every {STEP_MS}")
    if not (settings.phrase and 0 < settings.cutoff < 1 and 0 < settings.window <= 100):
        raise _broken(file, "its wake_word, probability_cutoff or sliding_window_size is of no use")
    return settings


def _broken(file: Path, detail: str) -> NoWakeWord:
    return NoWakeWord(
        f"The wake word's model {file} cannot be used ({detail}): "
        "give a .tflite file of microWakeWord, version 2, with its .json beside it."
    )


class MicroWakeWord:
    """microWakeWord with the model that a JSON file describes. Raises `NoWakeWord`."""

    def __init__(self, file: Path) -> None:
        settings = read_settings(file)
        self.name = settings.phrase
        try:
            import numpy
            from pymicro_wakeword import MicroWakeWord as Network
            from pymicro_wakeword import MicroWakeWordFeatures as Features
            from pymicro_wakeword.wakeword import TfLiteWakeWord as Library

            library = Library(next(iter(_brought("lib", "*tensorflowlite_c.*")), Path("libtensorflowlite_c")))
        except (ImportError, OSError) as e:
            advice = "install pymicro-wakeword anew, or choose another [wake] mode"
            raise NoWakeWord(f"The wake word cannot be heard here ({e}): {advice}.") from None
        try:
            # The library maps the file into memory: one that is changed in its place would end the process.
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(shutil.copyfile(settings.network, Path(folder, "model.tflite")))
                if objection := _objection(library.lib, copy):
                    raise _broken(settings.network, objection)
                self._network = Network(
                    settings.phrase, wake_word=settings.phrase, tflite_model=copy, probability_cutoff=settings.cutoff,
                    sliding_window_size=settings.window, trained_languages=[],
                    libtensorflowlite_c_path=library.libtensorflowlite_c_path,
                )  # fmt: skip
        except OSError as e:
            raise _broken(settings.network, (e.strerror or str(e)).lower()) from None
        except ValueError as e:  # numbers of a kind that the package does not know
            raise _broken(settings.network, str(e).lower()) from None
        self._silence = numpy.zeros((1, 1, FEATURES))
        self._features = Features()
        self._taken = 0
        """Features; the network takes some at once."""
        self._deaf = 0
        """Blocks for which the word counts as the one that was said before."""

    def take(self, block: bytes) -> bool:
        self._deaf = max(0, self._deaf - 1)
        above = False
        for features in self._features.process_streaming(block):
            above |= bool(self._network.process_streaming(features))
            self._taken += 1
        said = above and not self._deaf
        if above:
            self._deaf = REFRACTORY
        return said

    def reset(self) -> None:
        # The package's own reset reads the file again, and ends the process where it is gone.
        self._features.reset()
        for _ in range(MEMORY + -(self._taken + MEMORY) % self._network.stride):
            self._network.process_streaming(self._silence)
        self._taken = self._deaf = 0


def _objection(library: Any, network: Path) -> str | None:
    """What is wrong with a network; the package itself would end the process with a segmentation fault."""
    model = library.TfLiteModelCreateFromFile(os.fsencode(network))
    interpreter = model and library.TfLiteInterpreterCreate(model, None)
    try:
        if not interpreter or library.TfLiteInterpreterAllocateTensors(interpreter):
            return "it is damaged"
        takes = library.TfLiteInterpreterGetInputTensor(interpreter, 0)
        gives = library.TfLiteInterpreterGetOutputTensor(interpreter, 0)
        shape = [library.TfLiteTensorDim(takes, n) for n in range(library.TfLiteTensorNumDims(takes))]
        if len(shape) != 3 or shape[0] != 1 or shape[2] != FEATURES or library.TfLiteTensorByteSize(gives) != 1:
            return "it is another kind of network"
    finally:
        if interpreter:
            library.TfLiteInterpreterDelete(interpreter)
        if model:
            library.TfLiteModelDelete(model)
    return None


_OKAY, _HEY = r"(?:o\W{0,2}k(?:ay|ai|ey)?|oh,? kay|kay)\b", r"(?:hey|hay|hi|a|ay|eh)\b"
HEADS = {"okay": _OKAY, "ok": _OKAY, "hey": _HEY, "hi": _HEY}
"""How a wake phrase begins, and what engines write for it."""
SOUNDS = (
    ("ph", "f"), ("x", "ks"), ("ck|c|q", "k"), ("z", "s"), ("oo|ou|w", "u"), ("ee|ie|y", "i"), ("(?<=[aeiou])h", ""),
    (r"(.)\1+", r"\1"),
)  # fmt: skip
"""Spellings of one sound, of which one is taken: "naboo" and "nah boo" are "nabu"."""
SHORT = 3
"""Letters of a name of which none may be another."""


def without_word(text: str, name: str) -> str:
    """A transcript without the wake word at its beginning, or the end of it ("Nabu."); "" if there was nothing else.

    `name` is that of a `WakeWord`. What is taken away must sound like it, but for one letter of "nabu" where "okay" was
    heard before it. All else is kept, for it may have been said: "Okay, now remind me".
    """
    first, _, called = name.partition(" ")
    head = re.match(rf"\W*{HEADS[first]}", text, re.IGNORECASE) if first in HEADS and called else None
    start = head.end() if head else 0
    sought = called if first in HEADS and called else name
    sound, best, end = _sound(sought), 2, None
    for word in [*re.finditer(r"\w+(?:['’]\w+)*", text[start:])][: len(sought.split()) + 1]:
        distance = _distance(_sound(text[start : start + word.end()]), sound)
        if distance < best and (distance == 0 or (head and len(sound) > SHORT)):
            best, end = distance, start + word.end()
    return text if end is None else re.sub(r"^[\s,.;:!?…–—-]+", "", text[end:])


def _sound(text: str) -> str:
    sound = re.sub(r"[\W_]", "", text.lower())
    for spelling, instead in SOUNDS:
        sound = re.sub(spelling, instead, sound)
    return sound


def _distance(heard: str, sought: str) -> int:
    """0 for the same, 1 where one letter is another, too many or missing, else 2."""
    if heard == sought:
        return 0
    same = next((n for n, (a, b) in enumerate(zip(heard, sought)) if a != b), min(len(heard), len(sought)))
    a, b = heard[same:], sought[same:]
    return 1 if a[1:] == b[1:] or a[1:] == b or a == b[1:] else 2
