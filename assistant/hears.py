"""How it is with the daemon's ears and its voice, for whoever asks."""

from dataclasses import dataclass
from typing import Literal

from assistant.ear import Mode

State = Literal["muted", "closed", "waiting", "listening", "thinking", "speaking"]


@dataclass(frozen=True, slots=True)
class Hears:
    """How it is with the daemon's ears, and its voice."""

    mode: Mode
    state: State
    """`closed`: the microphone is, until it is to listen. `waiting`: for the wake word, or overhearing. `listening`:
    the window is open."""
    muted: bool
    voice_muted: bool
    microphone: Literal["closed", "listening", "silent", "missing", "reopening"]
    says: str
    """That as a sentence for a person."""
    device: str
    """The microphone's name; empty before it was open."""
    sound: bool
    """Whether more than zeros has come from it since it was opened."""
    reopened: int
    """How often it was opened again because it was not well."""
    drops: int
    """Blocks of sound that were dropped because they were not asked for in time."""
    xruns: int
    """Times that the device lost some sound because the machine was too busy."""
    engine: str
    """Of speech to text."""
    voice: str
    word: str | None
    """The wake word that is listened for."""
