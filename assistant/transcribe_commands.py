"""`assistant transcribe`: what is said in recordings, by the way that sound from the microphone takes."""

import asyncio
import signal
import sys
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assistant.options import ConfigFile, Json, print_json

if TYPE_CHECKING:
    from assistant.config import Config
    from assistant.stt import Transcriber


@dataclass(frozen=True, slots=True)
class Heard:
    """What is said in a recording."""

    file: str
    text: str
    """Of all its utterances, in their order."""
    engine: str
    confidence: float
    """Of the utterance that is least sure, 0 to 1."""
    ms: float
    """Milliseconds that the engine took."""
    refused: str | None
    """Where there is no text: why (`Transcript.refused`)."""
    utterances: int


def transcribe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings: WAV, FLAC and others.")],
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="auto, faster-whisper, pocketsphinx or openai.")
    ] = None,
    config: ConfigFile = None, as_json: Json = False,
) -> None:
    """Write down what is said in recordings, one line a file; needs no daemon.

    \b
    Example: assistant transcribe memo.wav
             assistant transcribe *.wav --engine pocketsphinx
    """  # fmt: skip
    from assistant.config import load

    found = load(config, **({"stt": {"engine": engine}} if engine else {}))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is to be put away, and an engine's thread cannot be stopped
    raise typer.Exit(asyncio.run(_transcribe(files, found, as_json)))


async def _transcribe(files: list[Path], config: "Config", as_json: bool) -> int:
    """The exit status: of the worst that befell a file. Raises `NoTranscriber`."""
    from assistant.errors import AudioError, NoTranscriber, TranscriptionError
    from assistant.stt import transcriber
    from assistant.stt_models import LONGEST_SECONDS

    status = 0
    async with transcriber(config, patience=LONGEST_SECONDS) as engine:
        for file in files:
            try:
                heard = await _hear(file, engine, config)
            except NoTranscriber:
                raise
            except (AudioError, TranscriptionError) as e:
                status = max(status, e.exit_status)
                if as_json:
                    print_json({"file": str(file), "error": {"code": e.code, "message": str(e)}})
                else:
                    print(f"assistant: {e}", file=sys.stderr)
                continue
            if as_json:
                print_json(asdict(heard))
            else:
                print(heard.text, flush=True)
            if heard.refused:
                status = max(status, 1)
                if not as_json:
                    print(f"assistant: Nothing was understood in {file} ({heard.refused}).", file=sys.stderr)
    return status


async def _hear(file: Path, engine: "Transcriber", config: "Config") -> Heard:
    """Raises `AudioError`, `TranscriptionError`."""
    from assistant.audio import WavFile
    from assistant.vad import utterances

    async with WavFile(file) as source, aclosing(utterances(source, config.audio.ending)) as said:
        found = [await engine.transcribe(utterance) async for utterance in said]
    texts = [t for t in found if t.text]
    refused = next((t.refused for t in found), "no_speech") if not texts else None
    return Heard(
        str(file), " ".join(t.text for t in texts), found[0].engine if found else engine.name,
        min((t.confidence for t in texts), default=0.0), round(sum(t.ms for t in found), 1), refused, len(found),
    )  # fmt: skip
