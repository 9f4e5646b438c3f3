"""Figures of the daemon that hears: what listening costs it and its processes, and from the last sound to what is
committed, with the share of each stage.

scripts/bench voice
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from assistant.audio import BLOCK, RATE
from tests.process import ROOT, Daemon
from tests.soak_voice import REQUESTS, SETTINGS, family, hears, idle
from tests.speech import FLITE, PROSE, Recording, joined, room, speak, spoken
from tests.virtual_room import VirtualRoom

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from assistant.audio import Block

PARTS = {"assistant.capture": "microphone", "assistant.stt": "engine"}
"""Processes of the daemon, by what their command says; the others are the daemon itself."""


def listening(figures: dict, seconds: float = 20) -> None:
    """The daemon whose microphone is closed, the one that listens all the time, and the one that waits for its word,
    while nobody speaks and while people talk to each other; its engine is PocketSphinx."""
    talk = joined(*(part for text in PROSE for part in (speak(text, "slt"), room(1))))
    sounds = {"nobody speaks": room(seconds), "people talk": np.resize(talk, round(seconds * RATE))}
    for mode in ("push", "word", "always"):
        with tempfile.TemporaryDirectory() as folder, VirtualRoom(Path(folder)) as virtual:
            for kind, row in _in_mode(mode, virtual, sounds).items():
                figures[f"daemon, {mode}, {kind}"] = row


def _in_mode(mode: str, virtual: VirtualRoom, sounds: dict[str, np.ndarray]) -> dict[str, dict]:
    settings = virtual.environ | SETTINGS | {"ASSISTANT_WAKE__MODE": mode}
    with tempfile.TemporaryDirectory() as data, Daemon(Path(data), settings) as daemon:
        virtual.until(lambda: mode == "push" or idle(daemon))
        return {kind: _used(virtual, daemon, sound) for kind, sound in sounds.items()}


def _used(virtual: VirtualRoom, daemon: Daemon, sound: np.ndarray) -> dict:
    """Share of a core and memory of the daemon and each of its processes, while a sound is heard."""
    from tests.bench import _cpu

    before, began = {pid: _cpu(pid) for pid in family(daemon.process.pid)}, perf_counter()
    virtual.play(sound)
    virtual.until(lambda: hears(daemon)["state"] in ("closed", "waiting"), 60)
    took, row = perf_counter() - began, {}
    for pid in family(daemon.process.pid):
        part = _part(pid)
        row[f"{part} CPU %"] = round(100 * (_cpu(pid) - before.get(pid, 0.0)) / took, 1)
        row[f"{part} MiB"] = round(_pss(pid))
    return row


def _part(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_text()
    return next((part for name, part in PARTS.items() if name in command), "daemon")


def _pss(pid: int) -> float:
    """MiB in memory, of what is shared its part."""
    [line] = [line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) / 1024


def stages(figures: dict) -> None:
    """PocketSphinx, and Whisper at its real sizes of weights that say one request whatever they hear: the time is real,
    the words are not."""
    from tests.tiny_whisper import make

    figures["last sound to committed, pocketsphinx, ms"] = _measured("pocketsphinx")
    for name, (width, layers, heads) in {"tiny.en": (384, 4, 6), "base.en": (512, 6, 8)}.items():
        with tempfile.TemporaryDirectory() as folder:
            made = make(Path(folder, name), REQUESTS[0][0], False, width, layers, heads, 51_864)
            figures[f"last sound to committed, size of {name}, ms"] = _measured(str(made))


def _measured(engine: str) -> dict:
    command = [sys.executable, "-m", "tests.bench_hearing", engine]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


async def _stages(engine: str) -> dict:
    """Medians of each stage in milliseconds, and its share, over five requests by three voices."""
    from assistant.clock import SystemClock
    from assistant.config import Config
    from assistant.messages import Request
    from assistant.pipeline import Pipeline
    from assistant.rewriters import rewriters_of
    from assistant.store import Store
    from assistant.stt import transcriber
    from assistant.vad import Silero, utterances

    whisper = {"engine": "faster-whisper", "model": engine}
    config = Config(stt={"engine": "pocketsphinx"} if engine == "pocketsphinx" else whisper)
    rows, detector = [], Silero()
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder, "reminders.db")) as store:
        async with rewriters_of(config).rewriter as rewriter, transcriber(config, list) as stt:
            await stt.load()
            clock, tz = SystemClock(), config.when.tz
            pipeline = Pipeline(rewriter, store, config.when.policy, tz, clock, config.model.ask_below, lambda: None)
            for n, (text, *_) in enumerate(request for request in REQUESTS[:5] for _ in FLITE):
                said = speak(text, FLITE[n % 3])
                last: list[float] = []
                sound = joined(room(1), said, room(2))
                heard = utterances(_paced(sound, 1 + spoken(said)[1] / RATE, last), detector=detector)
                async for utterance in heard:
                    ended = perf_counter()
                    transcript = await stt.transcribe(utterance)
                    written = perf_counter()
                    reply = await pipeline.handle(Request(str(n), transcript.text, "bench", clock.now()))
                    if reply.reminders:
                        rows.append((ended - last[0], written - ended, perf_counter() - written))
                    break
                await heard.aclose()
    medians = [1000 * statistics.median(row) for row in zip(*rows)]
    names = ("pause", "transcript", "understood and committed")
    return {"p50": round(sum(medians)), **{
        name: f"{ms:.0f} ({100 * ms / sum(medians):.0f} %)" for name, ms in zip(names, medians)}, "requests": len(rows)}  # fmt: skip


async def _paced(sound: np.ndarray, end: float, last: list[float]) -> "AsyncIterator[Block]":
    """As it comes from a microphone; when the second `end` has been heard goes into `last`."""
    loop = asyncio.get_running_loop()
    ready = loop.time()
    async for block in (recording := Recording(sound)):
        ready += BLOCK / RATE
        await asyncio.sleep(ready - loop.time())
        if not last and recording.heard >= end:
            last.append(perf_counter())
        yield block


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_stages(sys.argv[1]))))
