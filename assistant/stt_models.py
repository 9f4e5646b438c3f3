"""The models of faster-whisper: where they are on this machine, and how one is fetched that is not.

A model is a folder of `FILES`. A name such as "base.en" means the one that SYSTRAN converted for CTranslate2; it lies
in the cache of the model hub, which all programs of this user share. It is fetched once, by a process of its own, so
that it can be stopped at any time; what has arrived by then is kept and not fetched again.

    python -m assistant.stt_models base.en      # prints {"folder": ...} or {"error": ...}, progress on standard error
"""

import asyncio
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from assistant.clock import Clock, SystemClock
from assistant.errors import NoTranscriber
from assistant.whole_file import write_whole

log = logging.getLogger(__name__)

FILES = ("config.json", "model.bin", "tokenizer.json")
"""Without the last faster-whisper would fetch one by itself."""
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
_PATTERNS = [*FILES, "vocabulary.*", "preprocessor_config.json"]
LONGEST_SECONDS = 3600.0
"""After so long a fetch is given up; base.en has 145 MB."""
CONTACT_SECONDS = 20.0
"""The hub must answer within so many; its client would wait for ever (for the next piece of a file, ten seconds)."""

AGAIN = timedelta(hours=1)
"""So long a fetch that failed is remembered."""


def usual(language: str) -> str:
    """The name of the model that is used for a language unless another is asked for: 74 million parameters."""
    return "base.en" if language == "en" else "base"


def repository(name: str) -> str:
    """What the hub calls the model of that name; a name with a slash is that already."""
    if "/" in name:
        return name
    if name in ("turbo", "large-v3-turbo"):
        return "mobiuslabsgmbh/faster-whisper-large-v3-turbo"
    size = name.removeprefix("distil-")
    return f"Systran/faster-{'distil-' if size != name else ''}whisper-{'large-v3' if size == 'large' else size}"


def complete(folder: Path) -> bool:
    """Whether a folder holds a whole model."""
    return all((folder / f).is_file() for f in FILES) and any((folder / f).is_file() for f in VOCABULARIES)


def on_disk(model: str, cache: Path | None = None) -> Path | None:
    """The folder of a model, given as a folder or by its name; None if it is not (wholly) here.

    `cache` is the hub's, its usual one if None. Raises `NoTranscriber` for a folder that holds no model.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not complete(folder):
            raise NoTranscriber(
                f"The folder {folder} holds no model of faster-whisper: it needs {', '.join(FILES)} and "
                f"{VOCABULARIES[0]} (ct2-transformers-converter makes them)."
            )
        return folder
    if model.startswith(("/", "~", ".")):
        raise NoTranscriber(f"There is no folder {folder}: correct [stt] model, or leave it empty.")
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(repository(model), "model.bin", cache_dir=cache)
    except ValueError:  # such a name cannot be
        return None
    return Path(found).parent if isinstance(found, str) and complete(Path(found).parent) else None


def failures() -> Path:
    """The file that remembers which fetches failed."""
    import platformdirs  # not at the top: the process that fetches starts sooner without

    from assistant.config import APP

    return platformdirs.user_cache_path(APP, appauthor=False) / "speech-models.json"


def failed_lately(model: str, memory: Path | None = None, clock: Clock | None = None) -> NoTranscriber | None:
    """What went wrong when a model was to be fetched within the last hour; None if nothing did."""
    try:
        at, why = _failures(memory or failures())[model]
        tried = datetime.fromisoformat(at)
        age = (clock or SystemClock()).now() - tried
    except (KeyError, ValueError, TypeError):
        return None
    if not timedelta(0) <= age < AGAIN:
        return None
    return NoTranscriber(
        f"faster-whisper's model {model} could not be fetched at {tried.astimezone():%H:%M} ({why}): connect to the "
        f"network, it is tried again after {(tried + AGAIN).astimezone():%H:%M}; or name its folder in [stt] model."
    )


def _failures(memory: Path) -> dict:
    """By model: when, and why. A file that cannot be read knows of none."""
    try:
        found = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(model: str, why: str | None, memory: Path, now: datetime) -> None:
    """That a fetch failed, and why; None: it did not. It is of no matter if that cannot be written."""
    found = _failures(memory)
    if found.pop(model, None) is None and why is None:
        return
    if why is not None:
        found[model] = now.astimezone(UTC).isoformat(), why
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memory, json.dumps(found))
    except OSError as e:
        log.debug("a fetch that failed is not remembered: %s", e)


async def fetch(
    model: str, seconds: float = LONGEST_SECONDS, contact: float = CONTACT_SECONDS, memory: Path | None = None,
    clock: Clock | None = None,
) -> Path:  # fmt: skip
    """The folder of a model that is fetched now; with a progress bar if standard error is a terminal.

    Cancelling it stops the fetch. Raises `NoTranscriber` if it cannot be had: the hub says so, or nothing within
    `contact` seconds, or it takes longer than `seconds`; `failed_lately` tells that for an hour.
    """
    memory, clock = memory or failures(), clock or SystemClock()
    try:
        folder = await _fetch(model, seconds, contact)
    except _CannotBeHad as e:
        _remember(model, e.why, memory, clock.now())
        raise
    _remember(model, None, memory, clock.now())
    return folder


async def _fetch(model: str, seconds: float, contact: float) -> Path:
    shown = sys.stderr.isatty()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "assistant.stt_models", model, str(contact),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=None if shown else asyncio.subprocess.DEVNULL,
            env=os.environ | ({} if shown else {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}),
        )  # fmt: skip
    except OSError as e:
        raise _CannotBeHad(model, e.strerror or str(e)) from None
    try:
        async with asyncio.timeout(seconds):
            out, _ = await process.communicate()
    except TimeoutError:
        raise _CannotBeHad(model, f"it was not here after {seconds / 60:.0f} minutes") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        answer = json.loads(out)
    except ValueError:
        answer = {"error": f"the fetch ended with {process.returncode}"}
    if "error" in answer:
        raise _CannotBeHad(model, answer["error"])
    return Path(answer["folder"])


class _CannotBeHad(NoTranscriber):
    def __init__(self, model: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"faster-whisper's model {model} cannot be fetched ({why}): connect to the network and start again, "
            "or put its folder on this machine and name that in [stt] model."
        )


def main() -> None:
    """Fetch the model that is named on the command line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever started us tells what happened
    model, contact = sys.argv[1], float(sys.argv[2]) if sys.argv[2:] else CONTACT_SECONDS
    try:
        from huggingface_hub import HfApi, snapshot_download

        HfApi().model_info(repository(model), timeout=contact)
        folder = Path(snapshot_download(repository(model), allow_patterns=_PATTERNS))
        answer = {"folder": str(folder)} if complete(folder) else {"error": "it is no model of faster-whisper"}
    except Exception as e:  # noqa: BLE001 - the hub's client, what it is built on, and the disk fail in many ways
        answer = {"error": _reason(e)}
    print(json.dumps(answer))


def _reason(error: Exception) -> str:
    """One short line."""
    name = type(error).__name__
    match name:
        case "LocalEntryNotFoundError" | "OfflineModeIsEnabled" | "ConnectError" | "ConnectTimeout" | "ReadTimeout":
            return "the model hub cannot be reached"
        case "RepositoryNotFoundError" | "HFValidationError":
            return "the model hub knows none of that name"
        case _:
            return (str(error).strip().splitlines() or [name])[0][:120].rstrip(".: ")


if __name__ == "__main__":
    main()
