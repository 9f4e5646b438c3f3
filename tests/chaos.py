"""A storm: requests come in through a real daemon while its model service, another real process, is killed, stopped
in its tracks, hung, slow, or tells lies, and comes back.

`storm` tells what became of it; what must never happen is in `faults`.
"""

import json
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic, sleep

from tests.certificates import certificate
from tests.process import Daemon

MODES = (
    "killed", "stopped", "hung", "slow", "500", "502", "busy", "no_json", "wrong_schema", "invented", "closes", "resets",
    "wrong_certificate",
)
"""What goes wrong; `ok` between any two of them."""
CLIENTS = 4
SETTINGS = {
    "TOTAL_SECONDS": "1", "CONNECT_SECONDS": "1", "FAILURES": "2", "PAUSE_SECONDS": "0.05",
}


class FarAway:
    """`tests.lying_service` as a process, over TLS, always on the same port."""

    def __init__(self, folder: Path) -> None:
        self._good, self._other = certificate(folder, "good", "127.0.0.1"), certificate(folder, "other", "127.0.0.2")
        self.ca_file = folder / "good.crt"
        self._port, self._stopped = "0", False
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.lying_service", "--port", self._port,
                   "--certificate", str(self._good), "--other", str(self._other)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.startswith("ready: "):
                self.url = line.split()[1]
                self._port = self.url.rpartition(":")[2]
                return
        raise AssertionError(f"the model service ended with {self.process.wait()}")

    def be(self, mode: str) -> None:
        """From now on."""
        if self._stopped:
            self.process.send_signal(signal.SIGCONT)
            self._stopped = False
        if self.process.poll() is not None:
            self.start()
        if mode == "killed":
            self.kill()
        elif mode == "stopped":
            self.process.send_signal(signal.SIGSTOP)
            self._stopped = True
        else:
            self._tell(mode)

    def _tell(self, mode: str) -> None:
        import ssl

        anyone = ssl.create_default_context()
        anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
        body = json.dumps({"mode": mode, "seconds": 0.2, "retry_after": 0}).encode()
        with urllib.request.urlopen(f"{self.url}/mode", body, timeout=20, context=anyone) as answer:
            assert answer.status == 200

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


@contextmanager
def far_away(folder: Path) -> Iterator[FarAway]:
    service = FarAway(folder)
    service.start()
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.kill()


@dataclass
class Tally:
    """What became of a storm."""

    requests: int = 0
    kinds: Counter = field(default_factory=Counter)
    """Of the first answers: `create`, or `kept`."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the daemon, in the end, by name and labels."""
    faults: list[str] = field(default_factory=list)

    def metric(self, name: str, **labels: str) -> float:
        inside = ",".join(f'{k}="{v}"' for k, v in sorted(labels.items()))
        return self.metrics.get(f"{name}{{{inside}}}" if inside else name, 0.0)


def storm(folder: Path, requests: int, seed: int, order: str, killed_daemon: bool = False) -> Tally:
    """`order` is `[remote] order`; `killed_daemon`: the daemon as well, with -9, half-way."""
    random, tally = Random(seed), Tally(requests)
    modes = MODES if "local" in order else tuple(m for m in MODES if m != "invented")  # that is told, and not kept
    data = folder / "data"
    data.mkdir()
    with far_away(folder) as service:
        env = {f"ASSISTANT_REMOTE__{k}": v for k, v in SETTINGS.items()} | {
            "ASSISTANT_REMOTE__ORDER": order, "API_BASE_URL": service.url,
            "ASSISTANT_REMOTE__CA_FILE": str(service.ca_file),
        }
        daemon = Daemon(data, env)
        try:
            daemon.start().ready()
            numbers = list(range(requests))
            halves = [numbers[: requests // 2], numbers[requests // 2:]] if killed_daemon else [numbers]
            for n, half in enumerate(halves):
                if n:
                    daemon.kill()
                    daemon = _again(daemon, data, env)
                _storm(daemon, service, half, modes, random, tally)
            service.be("ok")
            _calm(daemon, tally)
            _count(daemon, requests, tally)
        finally:
            daemon.__exit__()
    return tally


def _again(daemon: Daemon, data: Path, env: dict[str, str]) -> Daemon:
    daemon.__exit__()
    return Daemon(data, env).start().ready()


def _storm(
    daemon: Daemon, service: FarAway, numbers: list[int], modes: tuple[str, ...], random: Random, tally: Tally
) -> None:
    modes = [m for mode in random.sample(modes * 9, len(modes) * 9) for m in (mode, "ok")]
    a_mode = max(2, min(8, len(numbers) // 26))
    """Requests while one mode lasts."""

    def ask(n: int) -> None:
        text, id = f"remind me to ring bell-{n} tomorrow at 5 pm", f"bell {n}"
        for _ in range(1 + (n % 7 == 0)):  # some are sent twice, as by a client that did not hear the answer
            status, answer = daemon.call(
                "POST", "/requests", {"text": text, "id": id, "channel": f"client {n % CLIENTS}"}, seconds=60)
            if status not in (200, 202) or answer["kind"] not in ("create", "kept"):
                tally.faults.append(f"{text!r} was answered {status} {answer}")
        tally.kinds[answer["kind"]] += 1

    with ThreadPoolExecutor(CLIENTS) as clients:
        for start in range(0, len(numbers), a_mode):
            service.be(modes[start // a_mode % len(modes)])
            list(clients.map(ask, numbers[start:start + a_mode]))


def _calm(daemon: Daemon, tally: Tally) -> None:
    """Wait until all that was kept is understood, and the service answers again."""
    until = monotonic() + 120
    while (kept := daemon.call("GET", "/health")[1]["kept"]) and monotonic() < until:
        sleep(0.1)
    if kept:
        tally.faults.append(f"{kept} requests are still kept")
    while not (there := _answers_there(daemon)) and monotonic() < until:
        sleep(0.1)
    if not there:
        tally.faults.append("the service is back and is not asked")
    with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=20) as answer:
        for line in answer.read().decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                tally.metrics[name] = float(value)


def _answers_there(daemon: Daemon) -> bool:
    return daemon.call("POST", "/predict", {"text": "call mum tomorrow"})[1].get("model", "").startswith("remote:")


def _count(daemon: Daemon, requests: int, tally: Tally) -> None:
    found = Counter(r["task"] for r in daemon.call("GET", "/reminders?limit=999999")[1]["reminders"])
    for n in range(requests):
        if (times := found.pop(f"ring bell-{n}", 0)) != 1:
            tally.faults.append(f"bell {n} was set {times} times")
    tally.faults.extend(f"{task!r} was never asked for" for task in found)
