"""A room for machines that have none: a virtual microphone that hears what is played into it and the loudspeaker as
well, and a loudspeaker that is heard.

    with VirtualRoom(folder) as room, Daemon(data, room.environ) as daemon:
        room.play(samples)
        room.until_heard()

The loudspeaker is a second null sink, the default one. Its monitor is recorded, and looped back into the microphone, as
sound is in a room. Whoever waits does so at the pace of that recording.
"""

import os
import queue
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from assistant.audio import RATE
from tests.speech import dBFS
from tests.virtual_microphone import VirtualMicrophone

LOUDSPEAKER = """
load-module module-null-sink sink_name=loudspeaker rate=16000 channels=1 norewinds=1
set-default-sink loudspeaker
load-module module-loopback source=loudspeaker.monitor sink=speaker latency_msec=20 source_dont_move=1 sink_dont_move=1
"""
RAW = ("--raw", "--format=s16le", f"--rate={RATE}", "--channels=1", "--latency-msec=50")
FRAME = RATE // 20
"""Samples that are looked at together: 50 ms."""
LOUD = -45.0
"""dB relative to full scale, above which somebody speaks; a null sink is silent by itself."""
VOICE = 4
"""Loud frames in a row that are a voice: 0.2 s."""
T = TypeVar("T")


class VirtualRoom(VirtualMicrophone):
    """A context manager, as the microphone is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with (folder / "server.pa").open("a") as file:
            file.write(LOUDSPEAKER)
        self._levels: queue.Queue[float | None] = queue.Queue()

    def start(self) -> None:
        super().start()
        self._recorder = subprocess.Popen(
            ["parec", "--device=loudspeaker.monitor", *RAW], env=os.environ | self.environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._listener = threading.Thread(target=self._listen, args=(self._recorder.stdout,), daemon=True)
        self._listener.start()
        self._levels.get(timeout=20)

    def stop(self) -> None:
        if self._process:
            self._recorder.kill()
            self._recorder.wait()
            self._listener.join()
            self._recorder.stdout.close()
        super().stop()

    def _listen(self, recorded) -> None:
        while len(pcm := recorded.read(2 * FRAME)) == 2 * FRAME:
            samples = np.frombuffer(pcm, "<i2")
            self._levels.put(dBFS(samples) if samples.any() else -96.0)

    def play(self, samples: np.ndarray, where: str = "speaker") -> None:
        """Speak in it, or through its "loudspeaker", until all was heard."""
        subprocess.run(
            ["pacat", f"--device={where}", *RAW], input=samples.astype("<i2").tobytes(), check=True,
            env=os.environ | self.environ, timeout=60, capture_output=True)

    def forget(self) -> None:
        """What the loudspeaker has said until now is not waited for."""
        while not self._levels.empty():
            self._levels.get()

    def until(self, known: Callable[[], T], seconds: float = 20, every: float = 0.2) -> T:
        """What `known` returns once that is true, asked at the pace of the sound. Raises AssertionError after so many
        seconds of it."""
        for n in range(round(seconds * RATE / FRAME)):
            if n % round(every * RATE / FRAME) == 0 and (found := known()):
                return found
            self._levels.get(timeout=20)
        raise AssertionError(f"not within {seconds:g} seconds")

    def voice(self, until: Callable[[], object], seconds: float = 20) -> bool:
        """Whether the loudspeaker speaks before `until` is true. Raises AssertionError if neither comes."""
        loud = 0
        for n in range(round(seconds * RATE / FRAME)):
            level = self._levels.get(timeout=20)
            loud = loud + 1 if level > LOUD else 0
            if loud == VOICE:
                return True
            if n % 4 == 3 and until():
                return False
        raise AssertionError(f"neither within {seconds:g} seconds")

    def pass_by(self, seconds: float) -> None:
        """So many seconds of its sound from now on."""
        self.forget()
        for _ in range(round(seconds * RATE / FRAME)):
            self._levels.get(timeout=20)

    def hearers(self) -> int:
        """How many programs have its microphone open."""
        [source] = [line.split()[0] for line in self._list("sources") if "\tspeaker.monitor\t" in line]
        return sum(line.split("\t")[1] == source for line in self._list("source-outputs"))

    def _list(self, what: str) -> list[str]:
        done = subprocess.run(
            ["pactl", "list", "short", what], check=True, env=os.environ | self.environ, timeout=20,
            capture_output=True, text=True)
        return done.stdout.splitlines()
