"""What is muted, the microphone or the voice, in a small file: whoever mutes one must find it muted after a restart."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.whole_file import write_whole

log = logging.getLogger(__name__)

FILE = "mutes.json"
"""In the data folder."""


@dataclass(frozen=True, slots=True)
class Mutes:
    """Which of the two is muted."""

    microphone: bool = False
    voice: bool = False


def read_mutes(path: Path) -> Mutes:
    """As they were; of a file that cannot be read the microphone is muted, and the log says so."""
    try:
        found = json.loads(path.read_bytes())
        return Mutes(*(bool(found[name]) for name in ("microphone", "voice")))
    except FileNotFoundError:
        return Mutes()
    except (OSError, ValueError, TypeError, KeyError) as e:
        log.warning("the microphone is muted, as it cannot be read whether it was (%s): unmute it if you like", e)
        return Mutes(microphone=True)


def write_mutes(path: Path, mutes: Mutes) -> None:
    """Keep them; where that is not possible they hold until the next start, and the log says so."""
    try:
        write_whole(path, json.dumps(asdict(mutes)), 0o600)
    except OSError as e:
        log.warning("what is muted cannot be kept for the next start (%s): make %s writable", e.strerror or e, path)
