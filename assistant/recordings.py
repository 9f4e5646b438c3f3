"""What was said, kept as sound, where the person wants that (`[audio] keep`): a WAV file for each request.

    2026-03-12T14-30-00.250Z_<request id>.wav        when its first sample was heard (UTC); for its owner alone
"""

import asyncio
import logging
import os
import re
import wave
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

from assistant.audio import RATE
from assistant.messages import Utterance

log = logging.getLogger(__name__)

FOLDER = "audio"
"""In the data folder."""
MOST_KEPT = 1000
"""Files; then the oldest makes room."""


class Recordings:
    """The files in a folder, which is made when the first one is kept."""

    def __init__(self, folder: Path, most: int = MOST_KEPT) -> None:
        self._folder, self._most = folder, most
        self._turn = asyncio.Lock()

    async def keep(self, said: Sequence[Utterance], request_id: str) -> None:
        """Keep what became the request of that id, its parts one after the other. A disk that will not take it is told
        to the log: the request matters more."""
        if not said:
            return
        instant = said[0].began.astimezone(UTC).isoformat(timespec="milliseconds").replace(":", "-")
        name = f"{instant.removesuffix('+00-00')}Z_{re.sub(r'[^0-9A-Za-z.-]', '_', request_id)[:64]}.wav"
        async with self._turn:
            try:
                await asyncio.to_thread(self._write, name, b"".join(utterance.pcm for utterance in said))
            except OSError as e:
                log.warning("what was said is not kept as sound: %s", e.strerror or e)

    def _write(self, name: str, pcm: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(descriptor, "wb") as file, wave.open(file, "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(2)
                sound.setframerate(RATE)
                sound.writeframes(pcm)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        for old in sorted(self._folder.glob("*.wav"))[: -self._most]:
            old.unlink(missing_ok=True)
