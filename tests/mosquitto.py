"""A real Mosquitto on a free port, which keeps what it holds, and can be killed and started again on the same one."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"])
MOSQUITTO = shutil.which("mosquitto", path=SBIN)
wanted = pytest.mark.skipif(
    not (MOSQUITTO and shutil.which("mosquitto_pub")), reason="mosquitto is wanted: apt install mosquitto mosquitto-clients"
)
SETTINGS = """
listener {port} 127.0.0.1
allow_anonymous {anonymous}
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 10000
set_tcp_nodelay true
log_dest stderr
log_type notice
log_type warning
log_type error
{user}
{more}
"""
"""Its own limit of 1,000 queued messages would lose the rest of a burst; saved after every change, as it is killed."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Mosquitto:
    """`more` are further lines of its configuration; `anonymous`: whether it asks for no password."""

    def __init__(self, folder: Path, more: str = "", anonymous: bool = True) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.port = folder, free_port()
        self._settings = folder / "mosquitto.conf"
        user = "user root" if os.geteuid() == 0 else ""
        self._settings.write_text(SETTINGS.format(
            port=self.port, folder=folder, more=more, user=user, anonymous="true" if anonymous else "false"))
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> "Mosquitto":
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", self._settings], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)  # fmt: skip
        self._reader = threading.Thread(target=self.lines.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        until = monotonic() + 20
        while monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None:
                    break
                sleep(0.01)
        raise AssertionError("Mosquitto did not start: " + "".join(self.lines[-5:]))

    def kill(self, sign: int = signal.SIGKILL) -> None:
        """With SIGTERM it saves what it holds first."""
        self.process.send_signal(sign)
        self.process.wait(20)
        self._reader.join(20)
        self.process.stderr.close()

    def __enter__(self) -> "Mosquitto":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


@contextmanager
def mosquitto(folder: Path, more: str = "") -> Iterator[Mosquitto]:
    with Mosquitto(folder, more) as broker:
        yield broker
