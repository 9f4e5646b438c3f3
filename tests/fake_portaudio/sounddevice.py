"""PortAudio as a test wants it, under sounddevice's names: PYTHONPATH puts it before the real one.

FAKE_MICROPHONE is a JSON object: `rates` and `channels` that the microphone does, `frames` that it delivers (each holds
its number, or all hold a `level`) as fast as it can or with a `pause` of so many seconds after each, at which of them it
lost some sound (`xruns`), and whether it `ends` then or hangs; whether there are `devices`, the library is `missing` or
`broken`, or the microphone `refuses`.
"""

import array
import json
import os
import threading
import time
from types import SimpleNamespace

wish = {"rates": [16000], "channels": [1], "frames": 0, "pause": 0, "xruns": [], "ends": False, "devices": True}
wish |= json.loads(os.environ["FAKE_MICROPHONE"])
if wish.get("missing"):
    raise OSError("PortAudio library not found")
if wish.get("broken"):
    raise RuntimeError("a bug")


class PortAudioError(Exception):
    pass


default = SimpleNamespace(device=(0, 2) if wish["devices"] else (-1, -1))


def query_hostapis():
    return ({"name": "Fake"},)


def _device(name: str, inputs: int, outputs: int) -> dict:
    return {"name": name, "hostapi": 0, "max_input_channels": inputs, "max_output_channels": outputs,
            "default_samplerate": float(wish["rates"][0])}  # fmt: skip


def query_devices():
    if not wish["devices"]:
        return []
    channels = wish["channels"][0]
    return [_device("Built-in", channels, 0), _device("Red headset", channels, 2), _device("Loudspeaker", 0, 2)]


class RawInputStream:
    def __init__(self, rate, blocksize, device, channels, dtype, callback, finished_callback) -> None:
        assert (dtype, query_devices()[device]["max_input_channels"] > 0) == ("int16", True)
        if wish.get("refuses"):
            raise PortAudioError("Device unavailable")
        if rate not in wish["rates"] or channels not in wish["channels"]:
            raise PortAudioError("Invalid sample rate or number of channels")
        self._frame, self._take, self._end = blocksize * channels, callback, finished_callback

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        for n in range(wish["frames"]):
            samples = array.array("h", [wish.get("level", n)] * self._frame)
            self._take(memoryview(samples).cast("B"), None, None, SimpleNamespace(input_overflow=n in wish["xruns"]))
            if wish["pause"]:
                time.sleep(wish["pause"])
        if wish["ends"]:
            self._end()
