"""Sound in memory, played by another program: the first one that can."""

import shutil
import tempfile
from collections.abc import Sequence

from assistant.errors import SpeakerError
from assistant.programs import run

PLAYERS = ("paplay", "aplay", "afplay")
"""Programs that play a WAV file: of PulseAudio or PipeWire, of ALSA, of macOS."""


async def play(sound: bytes, players: Sequence[str] = PLAYERS) -> None:
    """Play the bytes of a WAV file to its end; when cancelled, it is silent at once. Raises `SpeakerError`.

    A player that fails leaves it to the next: it may be there without its server.
    """
    failure = None
    for player in filter(shutil.which, players):
        try:
            return await _play(player, sound)
        except SpeakerError as e:
            failure = e
    raise failure or SpeakerError(_none_of(players))


def problem(players: Sequence[str] = PLAYERS) -> str | None:
    """Why nothing can be played, and what to do about it; None when there is a player."""
    return None if any(map(shutil.which, players)) else _none_of(players)


def _none_of(players: Sequence[str]) -> str:
    return f"Nothing here plays sound ({', '.join(players)}): install one (Debian: apt install alsa-utils)."


async def _play(player: str, sound: bytes) -> None:
    if player == "afplay":  # it reads no standard input
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            file.write(sound)
            file.flush()
            await run([player, file.name], error=SpeakerError)
    else:
        await run([player, *(["-q"] if player == "aplay" else [])], sound, error=SpeakerError)
