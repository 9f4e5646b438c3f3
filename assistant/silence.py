"""Why a microphone is silent or missing, as far as the system tells: somebody muted it, or nobody allowed it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from assistant import coreaudio

SOUND_CARDS = Path("/dev/snd")
Why = Literal["muted", "forbidden"]
ADVICE: dict[Why, str] = {
    "muted": "unmute it, by its switch or in the system's sound settings",
    "forbidden": "allow it: System Settings > Privacy & Security > Microphone on macOS; "
                 "elsewhere `sudo usermod -aG audio $USER`, and log in again",
}  # fmt: skip


def why(cards: Path = SOUND_CARDS) -> Why | None:
    """Of the system's default microphone; None where the system does not tell."""
    if sys.platform == "darwin":
        if coreaudio.permission() in ("denied", "restricted"):
            return "forbidden"
        return "muted" if coreaudio.muted() else None
    if _muted():
        return "muted"
    captures = [*cards.glob("pcm*c")]  # what records, as the kernel names it
    return "forbidden" if captures and not any(os.access(c, os.R_OK | os.W_OK) for c in captures) else None


def _muted() -> bool:
    """By PulseAudio, or PipeWire in its place."""
    if not shutil.which("pactl"):
        return False
    command = ["pactl", "get-source-mute", "@DEFAULT_SOURCE@"]
    try:
        told = subprocess.run(command, capture_output=True, timeout=3, env=os.environ | {"LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"yes" in told.stdout
