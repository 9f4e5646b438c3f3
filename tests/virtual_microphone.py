"""A microphone for machines that have none: a PulseAudio server in a folder of its own, whose microphone hears what is
played into it.

A null sink takes what is played, and its monitor is the default source. PortAudio knows ALSA only, so ALSA's pulse
plugin is its default device. It needs no sound card, no screen, no user's session, and works for root.
"""

import os
import shutil
import subprocess
import threading
from glob import glob
from pathlib import Path

import pytest

MISSING = [
    package
    for package, there in {
        "pulseaudio": shutil.which("pulseaudio"),
        "pulseaudio-utils": shutil.which("pactl"),
        "libasound2-plugins": glob("/usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so"),
        "libportaudio2": glob("/usr/lib/*/libportaudio.so.2"),
    }.items()
    if not there
]
wanted = pytest.mark.skipif(bool(MISSING), reason=f"a virtual microphone is wanted: apt install {' '.join(MISSING)}")

START_SECONDS = 30
"""Within so many the server is there, or the test is skipped."""
SERVER = """
load-module module-native-protocol-unix auth-anonymous=1 socket={folder}/socket
load-module module-null-sink sink_name=speaker rate=16000 channels=1 norewinds=1
set-default-source speaker.monitor
"""
"""Without `norewinds` a null sink makes two seconds of sound at once, and the first block comes that much late."""
CLIENT = """
default-server = unix:{folder}/socket
autospawn = no
"""
ALSA = """
</usr/share/alsa/alsa.conf>
pcm.!default {{ type pulse server "unix:{folder}/socket" }}
ctl.!default {{ type pulse server "unix:{folder}/socket" }}
"""


class VirtualMicrophone:
    """A server that can be stopped and started, as a microphone is unplugged and plugged in. A context manager.

    `environ` are the variables by which a process finds it and no other sound.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name, text in (("server.pa", SERVER), ("client.conf", CLIENT), ("asound.conf", ALSA)):
            (folder / name).write_text(text.format(folder=folder))
        self.environ = {
            "PULSE_RUNTIME_PATH": str(folder), "PULSE_STATE_PATH": str(folder), "XDG_RUNTIME_DIR": str(folder),
            "PULSE_CLIENTCONFIG": str(folder / "client.conf"), "PULSE_SERVER": f"unix:{folder}/socket",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }  # fmt: skip
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "VirtualMicrophone":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Plug it in; waits until it can be used. Skips the test where the server does not start."""
        command = ["pulseaudio", "-n", "-F", str(self._folder / "server.pa"), "--daemonize=no", "--use-pid-file=no"]
        command += ["--exit-idle-time=-1", "--disable-shm=yes", "--realtime=no", "--high-priority=no"]
        command += ["--log-target=stderr", "--log-level=info"]
        self._process = subprocess.Popen(
            command, env=os.environ | self.environ | {"LC_ALL": "C"}, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True, errors="replace")
        said, late = [], threading.Timer(START_SECONDS, self._process.kill)
        late.start()
        for line in self._process.stderr:
            said.append(line)
            if "Daemon startup complete" in line:
                break
        late.cancel()
        if "Daemon startup complete" not in "".join(said[-1:]):
            self._process.kill()
            self._process.wait()
            self._process.stderr.close()
            self._process = None
            pytest.skip("pulseaudio does not start here: " + " ".join("".join(said[-5:]).split()))
        self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """Pull it out; nothing is left of it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stderr.close()
            self._process = None
            (self._folder / "socket").unlink(missing_ok=True)

    def play(self, wav: Path) -> None:
        """Speak into it, until all was heard."""
        self._control("paplay", "--device=speaker", str(wav))

    def mute(self, muted: bool = True) -> None:
        self._control("pactl", "set-source-mute", "speaker.monitor", str(int(muted)))

    def _control(self, *command: str) -> None:
        subprocess.run(command, check=True, env=os.environ | self.environ, timeout=60, capture_output=True)
