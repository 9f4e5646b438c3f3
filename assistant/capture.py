"""The process that hears: `python -m assistant.capture [NAME]` writes what a microphone hears to its standard output.

It is a process of its own, since PortAudio learns of new devices only when it starts, and since its ALSA part may spin
or hang for ever once a device is unplugged (github.com/PortAudio/portaudio/issues/1037): that may take neither the
reminders with it nor the log, to which these libraries write as well. Whoever reads kills it when that is enough
(`microphone.py`); it ends by itself when its standard input does.

    a line of JSON      {"device", "rate", "channels", "samples"}, or {"code", "detail"} of what went wrong
    then frames         a HEADER, and that many samples of each channel, of 16 bits in turn
"""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

from assistant.audio import BLOCK, RATE
from assistant.errors import AudioError, NoMicrophone, NoPortAudio

HEADER = Struct("<dII")
"""Unix time at which the last sample was heard; so far, how often the device lost some (xruns), and frames that were
dropped because nobody read them."""
MOST_FRAMES = 10 * RATE // BLOCK
"""Frames that wait to be read: ten seconds. Then the oldest is dropped."""


@dataclass(frozen=True, slots=True)
class Device:
    """Something that hears, or is heard."""

    index: int
    """PortAudio's number for it, until something is plugged in or out."""
    name: str
    api: str
    """What it is reached through, such as ALSA or Core Audio."""
    inputs: int
    """Channels that it hears; 0 for a loudspeaker."""
    outputs: int
    rate: float
    """Samples a second that it would rather have."""
    default_input: bool
    default_output: bool


def portaudio():
    """The module `sounddevice`, with PortAudio started. Raises `NoPortAudio`."""
    try:
        import sounddevice
    except (ImportError, OSError):  # on Linux the library does not come with it
        raise NoPortAudio from None
    return sounddevice


def devices() -> list[Device]:
    """Every device that there was when PortAudio started in this process. Raises `NoPortAudio`."""
    sounddevice = portaudio()
    apis = [api["name"] for api in sounddevice.query_hostapis()]
    default_input, default_output = sounddevice.default.device
    return [
        Device(
            index, d["name"], apis[d["hostapi"]], d["max_input_channels"], d["max_output_channels"],
            d["default_samplerate"], index == default_input, index == default_output,
        )  # fmt: skip
        for index, d in enumerate(sounddevice.query_devices())
    ]


def choose(among: list[Device], name: str) -> Device:
    """The microphone of that name, else the first of which it is a part, whatever the case; for "" the default one.

    Raises `NoMicrophone`.
    """
    microphones = [d for d in among if d.inputs]
    if not microphones:
        raise NoMicrophone("there is none")
    if not name:
        return next((d for d in microphones if d.default_input), microphones[0])
    wanted = name.casefold()
    matching = [d for d in microphones if wanted in d.name.casefold()]
    if not matching:
        raise NoMicrophone(f'none is called "{name}"')
    return next((d for d in matching if d.name.casefold() == wanted), matching[0])


class Recording:
    """What is heard, between PortAudio's thread and the one that writes it."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, float, int, bytes]] = deque(maxlen=MOST_FRAMES)
        self._news = threading.Semaphore(0)
        self._ended = False
        self._came = self._xruns = 0

    def take(self, samples, _frames: int, _time: object, status) -> None:
        """PortAudio's callback: it hands over what was heard, and nothing else."""
        self._xruns += bool(status.input_overflow)
        self._frames.append((self._came, time.time(), self._xruns, bytes(samples)))
        self._came += 1
        self._news.release()

    def end(self) -> None:
        """PortAudio's other callback: the stream has come to an end."""
        self._ended = True
        self._news.release()

    def write(self, write: Callable[[bytes], object]) -> None:
        """Write every frame that is not dropped, until the stream ends."""
        written = 0
        while True:
            self._news.acquire()
            if self._frames:
                number, at, xruns, samples = self._frames.popleft()
                write(HEADER.pack(at, xruns, number - written) + samples)
                written += 1
            elif self._ended:
                return


def record(name: str, recording: Recording) -> tuple[object, dict]:
    """Open a microphone: the stream, and what the first line tells. Raises `NoMicrophone`.

    What does not do 16,000 samples a second of one channel is opened as it would rather be.
    """
    sounddevice, device = portaudio(), choose(devices(), name)
    for rate, channels in ((RATE, 1), (int(device.rate), 1), (int(device.rate), device.inputs)):
        samples = round(rate * BLOCK / RATE)
        try:
            stream = sounddevice.RawInputStream(
                rate, samples, device.index, channels, "int16", callback=recording.take,
                finished_callback=recording.end,
            )  # fmt: skip
            stream.start()
        except sounddevice.PortAudioError as e:
            problem = str(e)
        else:
            return stream, {"device": device.name, "rate": rate, "channels": channels, "samples": samples}
    raise NoMicrophone(f"{device.name}: {problem}")


def main() -> None:
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    recording, stream = Recording(), None
    try:
        stream, told = record(" ".join(sys.argv[1:]), recording)
    except AudioError as e:
        told = {"code": e.code, "detail": getattr(e, "detail", str(e))}
    except Exception as e:  # a bug: nobody sees what this process writes to standard error
        told = {"code": "bug", "detail": repr(e)}
    try:
        _write(json.dumps(told).encode() + b"\n")
        if stream:
            recording.write(_write)
    finally:
        os._exit(0)  # PortAudio may hang when it is told to end


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _end_with_the_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
