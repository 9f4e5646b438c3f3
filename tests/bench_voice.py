"""Figures of hearing: what listening costs, how soon an utterance is there, how well its ends are found.

scripts/bench voice
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import numpy as np

from assistant.audio import BLOCK, RATE
from assistant.endpointing import SILENCE
from assistant.vad import Silero, utterances
from tests import speech
from tests.process import ROOT
from tests.speech import FLITE, PROSE, SENTENCES, Recording, joined, mixed, room, speak, spoken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from assistant.audio import Block
    from assistant.messages import Utterance
    from assistant.wake import WakeWord

SOUNDS = {
    "silence": lambda seconds: speech.silence(seconds),
    "a quiet room": lambda seconds: room(seconds),
    "noise": lambda seconds: speech.pink(seconds),
    "speech": lambda seconds: np.resize(joined(*(speak(text, "slt") for text in PROSE)), round(seconds * RATE)),
}
NOISES = {"white": speech.white, "pink": speech.pink, "hum": speech.hum, "babble": speech.babble}
NOT_SPEECH = {
    "a quiet room": room, "white": speech.white, "pink": speech.pink, "hum": speech.hum, "tone": speech.tone,
    "music": speech.music, "clicks": speech.clicks, "babble": speech.babble,
}  # fmt: skip


async def listen(kind: str, seconds: float) -> dict:
    """Share of a core and memory of a process that listens to a sound as it comes from a microphone."""
    sound, detector = SOUNDS[kind](seconds), Silero()
    used, began = process_time(), perf_counter()
    heard = [utterance async for utterance in utterances(_paced(sound), detector=detector)]
    return {
        "CPU % of a core": round(100 * (process_time() - used) / (perf_counter() - began), 2),
        "memory MiB": _resident(),
        "utterances": len(heard),
    }


async def _paced(sound: np.ndarray) -> "AsyncIterator[Block]":
    """As it comes from a microphone."""
    loop = asyncio.get_running_loop()
    ready = loop.time()
    async for block in Recording(sound):
        ready += BLOCK / RATE
        await asyncio.sleep(ready - loop.time())
        yield block


def _resident() -> int:
    return round(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)


async def _ends(sound: np.ndarray, ending: str, detector: Silero) -> list[tuple[float, float, float]]:
    """Where each utterance begins and ends, and when it was there, in seconds of the sound."""
    recording = Recording(sound)
    return [
        ((began := recording.seconds(utterance.began)), began + utterance.seconds, recording.heard)
        async for utterance in utterances(recording, ending, detector)
    ]


def endpointing(figures: dict) -> None:
    """Cut-offs, run-ons and latency on sentences by three voices, and how often what is not speech is taken for it."""
    detector = Silero()
    for ending in SILENCE:
        late = []
        for text in SENTENCES:
            for voice in FLITE:
                sound = joined(room(1), speak(text, voice), room(2))
                found = asyncio.run(_ends(sound, ending, detector))
                if found:
                    late.append(1000 * (found[-1][2] - 1 - spoken(speak(text, voice))[1] / RATE))
        late.sort()
        figures[f"last sample to utterance, {ending}, ms"] = {
            "p50": round(statistics.median(late)), "p95": round(late[int(0.95 * (len(late) - 1))])
        }  # fmt: skip
    for name, noise in {"a quiet room": None, **NOISES}.items():
        for snr in (20, 10, 5) if noise else (None,):
            row = {"sentences": 0, "right": 0, "missed": 0, "cut off": 0, "in two": 0, "run on": 0}
            for text in SENTENCES:
                for voice in FLITE:
                    row["sentences"] += 1
                    row[asyncio.run(_verdict(speak(text, voice), noise, snr, detector))] += 1
            figures[f"{name}, SNR {snr} dB" if noise else name] = row
    for name, noise in NOT_SPEECH.items():
        figures[f"false starts an hour, {name}"] = 12 * len(asyncio.run(_ends(noise(300), "default", detector)))


async def _verdict(said: np.ndarray, noise, snr: float | None, detector: Silero) -> str:
    """Of a sentence between three seconds of noise before and two after."""
    first, last = (3 + sample / RATE for sample in spoken(said))
    sound = joined(speech.silence(3), said, speech.silence(2))
    sound = mixed(sound, noise(len(sound) / RATE), snr) if noise else joined(room(3), said, room(2))
    found = [each for each in await _ends(sound, "default", detector) if each[0] < last and each[1] > first]
    if not found:
        return "missed"
    if len(found) > 1:
        return "in two"
    if found[0][0] > first + 0.05 or found[0][1] < last - 0.05:
        return "cut off"
    return "run on" if found[0][2] > last + 1.2 else "right"


def listening(figures: dict, seconds: float = 20) -> None:
    """Each sound in a process of its own, then `endpointing`."""
    for kind in SOUNDS:
        command = [sys.executable, "-m", "tests.bench_voice", kind, str(seconds)]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        figures[f"listening to {kind}"] = json.loads(done.stdout)
    endpointing(figures)


TEMPOS = (0.9, 1.0, 1.1)
"""As fast, and as high, as it is said."""


def waking(figures: dict, seconds: float = 20) -> None:
    """Wake words by synthesisers: how often each is heard, how late, how often something else is taken for it; and what
    waiting for one costs."""
    from assistant.wake import known, wake_word

    others = {kind: noise(120) for kind, noise in NOT_SPEECH.items()}
    others["talk"] = joined(*(speak(text, voice) for voice in speech.VOICES for text in (*PROSE, *SENTENCES)))
    minutes = round(sum(map(len, others.values())) / RATE / 60)
    for name in known():
        word, late = wake_word(name), []
        for noise, snr in ((None, None), (speech.pink, 20), (speech.pink, 10), (speech.babble, 20), (speech.babble, 10)):
            row = {voice: 0 for voice in speech.VOICES}
            for voice in row:
                for tempo in TEMPOS:
                    said = _faster(speak(word.name, voice), tempo)
                    sound = joined(speech.silence(2), said, speech.silence(1.5))
                    sound = mixed(sound, noise(5), snr) if noise else joined(room(2), said, room(1.5))
                    found = _detections(word, sound)
                    row[voice] += bool(found)
                    late += [1000 * (at - 2 - spoken(said)[1] / RATE) for at in found[:1]]
            figures[f"{word.name}, {noise.__name__ if noise else 'quiet'} {snr or ''}".strip()] = row | {"of": len(TEMPOS)}
        late.sort()
        figures[f"end of {word.name} to detection, ms"] = {
            "p50": round(statistics.median(late)), "p95": round(late[int(0.95 * (len(late) - 1))])
        }  # fmt: skip
        figures[f"false {word.name} in {minutes} minutes"] = {
            kind: len(_detections(word, sound)) for kind, sound in others.items()
        }
    command = [sys.executable, "-m", "tests.bench_voice", "wake", str(seconds)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    figures["waiting for okay nabu while people talk"] = json.loads(done.stdout)


def _faster(sound: np.ndarray, tempo: float) -> np.ndarray:
    return speech.pcm(np.interp(np.arange(0, len(sound) - 1, tempo), np.arange(len(sound)), sound))


def _detections(word: "WakeWord", sound: np.ndarray) -> list[float]:
    """At how many seconds of a sound."""
    word.reset()
    return [(start + BLOCK) / RATE for start in range(0, len(sound) - BLOCK + 1, BLOCK)
            if word.take(sound[start : start + BLOCK].tobytes())]  # fmt: skip


async def _wait(seconds: float) -> dict:
    from assistant.wake import wake_word

    sound, before = SOUNDS["speech"](seconds), _resident()
    word = wake_word("okay_nabu")
    used, began = process_time(), perf_counter()
    heard = [block async for block in _paced(sound) if word.take(block.pcm)]
    return {
        "CPU % of a core": round(100 * (process_time() - used) / (perf_counter() - began), 2),
        "memory of it MiB": _resident() - before,
        "detections": len(heard),
    }


def transcription(figures: dict) -> None:
    """Words wrong and time of PocketSphinx on thirty requests by three voices; time and memory of Whisper at its real
    sizes, of weights that say one sentence: how well it hears they do not show."""
    from tests.tiny_whisper import make
    from tests.word_errors import REQUESTS

    for snr in (None, 20, 10):
        for voice in FLITE:
            row = asyncio.run(_words_wrong(voice, snr))
            figures[f"pocketsphinx, {voice}, {f'SNR {snr} dB' if snr else 'clean'}"] = row
    for name, (width, layers, heads) in {"tiny.en": (384, 4, 6), "base.en": (512, 6, 8)}.items():
        with tempfile.TemporaryDirectory() as folder:
            made = make(Path(folder, name), REQUESTS[0], False, width, layers, heads, 51_864)
            command = [sys.executable, "-m", "tests.bench_voice", "whisper", str(made)]
            done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        figures[f"faster-whisper, size of {name}"] = json.loads(done.stdout)


async def _words_wrong(voice: str, snr: int | None) -> dict:
    from assistant.sections import Stt
    from assistant.stt_sphinx import SphinxTranscriber
    from tests.word_errors import REQUESTS, words_wrong

    wrong = count = right = ms = seconds = 0
    async with SphinxTranscriber(Stt()) as engine:
        await engine.load()
        for text in REQUESTS:
            sound = joined(room(0.5), speak(text, voice), room(0.3))
            sound = mixed(sound, speech.pink(len(sound) / RATE), snr) if snr else sound
            transcript = await engine.transcribe(_heard(sound))
            errors, words = words_wrong(text, transcript.text)
            wrong, count, right = wrong + errors, count + words, right + (errors == 0)
            ms, seconds = ms + transcript.ms, seconds + len(sound) / RATE
    return {
        "words wrong %": round(100 * wrong / count, 1), "sentences right": right, "of": len(REQUESTS),
        "ms a second of sound": round(ms / seconds),
    }  # fmt: skip


async def _whisper(folder: Path) -> dict:
    from assistant.sections import Stt
    from assistant.stt_whisper import WhisperTranscriber

    before, began = _resident(), perf_counter()
    async with WhisperTranscriber(folder, Stt()) as engine:
        await engine.load()
        loaded, times = perf_counter() - began, []
        for text in SENTENCES * 2:
            times.append((await engine.transcribe(_heard(speak(text, "slt")))).ms)
        memory = _resident() - before
    return {
        "load ms": round(1000 * loaded), "an utterance p50 ms": round(statistics.median(times)),
        "p95": round(sorted(times)[int(0.95 * (len(times) - 1))]), "memory MiB": memory,
    }  # fmt: skip


def _heard(sound: np.ndarray) -> "Utterance":
    from assistant.messages import Utterance

    return Utterance(sound.tobytes(), datetime.now(UTC), 0.8, speech.dBFS(sound))


if __name__ == "__main__":
    kind, what = sys.argv[1:]
    if kind == "whisper":
        measured = _whisper(Path(what))
    else:
        measured = _wait(float(what)) if kind == "wake" else listen(kind, float(what))
    print(json.dumps(asyncio.run(measured)))
