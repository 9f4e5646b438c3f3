"""Text to speech: the programs that can do it, behind one protocol, and the one that the settings choose.

    say         macOS      man 1 say; reads standard input by itself
    espeak-ng   Linux ...  plays through PulseAudio or ALSA
    flite       Linux ...  likewise
    piper       anywhere   a neural voice from a file (github.com/OHF-Voice/piper1-gpl); its sound is played by another

The text goes to standard input as one line: it can be no option and stands in no list of processes.
"""

import os
import re
import shutil
import sys
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from assistant import playing
from assistant.config import Config
from assistant.errors import SpeakerError
from assistant.programs import run
from assistant.sections import Tts
from assistant.voice import Engine, Speaker, Voice

UNHEARD = re.compile(r"error: |audio_\w+: .*fail")
"""What espeak-ng and flite say when they cannot play; they end with status 0 all the same."""
GET_ONE = "install espeak-ng (Debian: apt install espeak-ng), or set [tts] engine"


def speaker(config: Config, platform: str = sys.platform) -> Speaker:
    """The assistant's mouth as [tts] wants it, to be entered."""
    return Voice(engine_of(config.tts, platform))


def engine_of(tts: Tts, platform: str = sys.platform) -> Engine:
    """The engine that is named; of `auto` the first that can speak here, else one that says how to get one."""
    if tts.engine != "auto":
        return _make(tts.engine, tts.voice)
    a_file = tts.voice.endswith(".onnx")
    others = [_make(name, "" if a_file else tts.voice) for name in ("espeak-ng", "flite")]
    usual = [_make("say", "" if a_file else tts.voice)] if platform == "darwin" else []
    engines = [*([Piper(tts.voice)] if a_file else []), *usual, *others]
    return next((engine for engine in engines if not engine.problem()), Missing())


def _make(name: str, voice: str) -> Engine:
    match name:
        case "say":
            argv = ("say", *_option("-v", voice), "-f", "-")
            return Program("say", argv, "it comes with macOS; elsewhere choose another [tts] engine")
        case "espeak-ng":
            return Program("espeak-ng", ("espeak-ng", "-b", "1", *_option("-v", voice), "--stdin"),
                           "install it (Debian: apt install espeak-ng)")  # fmt: skip
        case "flite":
            return Program("flite", ("flite", *_option("-voice", voice)), "install it (Debian: apt install flite)")
        case "piper":
            return Piper(voice)
    return Missing("none", '[tts] engine is "none": choose another, or drop voice from [notify] use.')


def _option(name: str, value: str) -> tuple[str, ...]:
    return (name, value) if value else ()


def one_line(text: str) -> bytes:
    """Text for an engine: one line without control characters or the brackets that begin commands to some of them.

    `[[volm 0.1]]` is a command to say, `[[h@loU]]` are phonemes to espeak-ng.
    """
    text = "".join(" " if c.isspace() or unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    text = re.sub(r"\[(?=\[)|\](?=\])", " ", text)
    return " ".join(text.split()).encode("utf-8", "replace") + b"\n"


@dataclass(frozen=True, slots=True)
class Missing:
    """No voice: nothing is said, and why is told to whoever wants to hear something."""

    name: str = "none"
    why: str = f"Nothing here can speak: {GET_ONE}."

    async def speak(self, text: str) -> None:
        raise SpeakerError(self.why)

    def problem(self) -> str | None:
        return self.why


@dataclass(frozen=True, slots=True)
class Program:
    """A program that reads text and plays it itself."""

    name: str
    argv: tuple[str, ...]
    advice: str
    """What to do where it is missing."""

    async def speak(self, text: str) -> None:
        if problem := self.problem():
            raise SpeakerError(problem)
        told = await run(self.argv, one_line(text), error=SpeakerError)
        if unheard := [line for line in told.errors if UNHEARD.match(line)]:
            why = "see whether the sound card is there and free"
            raise SpeakerError(f"{self.name} cannot play ({unheard[-1]}): {why}.")

    def problem(self) -> str | None:
        return None if shutil.which(self.argv[0]) else f"{self.name} is not found: {self.advice}."


class Piper:
    """Piper with the voice in a file, and a program that plays what it makes."""

    name = "piper"

    def __init__(self, voice: str) -> None:
        self._voice = Path(voice).expanduser() if voice else None

    async def speak(self, text: str) -> None:
        if problem := self.problem():
            raise SpeakerError(problem)
        argv = [self._program(), "--model", str(self._voice), "--output_file", "-"]
        with tempfile.TemporaryDirectory() as folder:  # it keeps its sound in a file, which stays when it is killed
            told = await run(argv, one_line(text), {"TMPDIR": folder}, error=SpeakerError, keep_output=True)
        if not told.kept.startswith(b"RIFF"):
            raise SpeakerError(f"{argv[0]} makes no sound: see whether it is Piper, the speech synthesiser.")
        await playing.play(told.kept)

    def problem(self) -> str | None:
        if not self._voice:
            return "Piper has no voice: set [tts] voice to the .onnx file of one."
        settings = self._voice.with_name(f"{self._voice.name}.json")
        for file in (self._voice, settings):
            if not file.is_file():
                return f"There is no voice at {file}: correct [tts] voice; a voice is an .onnx file and its .onnx.json."
        if not self._program():
            return "piper is not found: install it (pip install piper-tts)."
        return playing.problem()

    @staticmethod
    def _program() -> str | None:
        """On PATH, or beside this Python, where pip puts it."""
        return shutil.which("piper") or shutil.which("piper", path=os.path.dirname(sys.executable))
