"""What systemd is told, over the socket that it gives to a service."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from time import monotonic

import pytest

from assistant.serve import Pulse
from assistant.systemd import Systemd
from tests.fakes import Ticks
from tests.process import Service
from tests.services import Local
from tests.test_rate import Seconds


@pytest.fixture
def manager(tmp_path):
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.bind(str(tmp_path / "notify"))
        yield s


def told(manager: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().split("\n"))


def next_told(manager: socket.socket, key: str) -> dict[str, str]:
    """The next message that says something of `key`."""
    return next(state for state in iter(lambda: told(manager), None) if key in state)


@pytest.mark.parametrize(("environ", "seconds"), [
    ({}, None),
    ({"WATCHDOG_USEC": "30000000"}, 30),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ({"WATCHDOG_USEC": "soon"}, None),
    ({"WATCHDOG_USEC": "0"}, None),
], ids=["none", "half a minute", "for us", "for another process", "nonsense", "never"])
def test_the_watchdog_is_understood_as_systemd_means_it(environ, seconds):
    assert Systemd(environ).watchdog == seconds


def test_an_abstract_socket_is_told():
    name = f"reminders-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind("\0" + name)
        Systemd({"NOTIFY_SOCKET": "@" + name}).ready("up")
        assert told(s) == {"READY": "1", "STATUS": "up"}


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/notify", "@nobody-listens"])
def test_where_nobody_can_be_told_nothing_happens(address):
    Systemd({"NOTIFY_SOCKET": address}).stopping()
    Systemd({}).stopping()


async def test_the_sign_of_life_stays_away_when_the_model_hangs_and_comes_back(manager):
    clock, ticks, model = Seconds(), Ticks(), Local()
    pulse = Pulse(model, 30, clock)
    systemd = Systemd({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "20000000"})
    manager.setblocking(False)

    async def signs(rounds: int) -> int:
        """How many there are in so many times ten seconds."""
        for _ in range(rounds):
            clock.at += 10
            await ticks.tick()
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(told(manager))
        assert all(sign == {"WATCHDOG": "1"} for sign in found)
        return len(found)

    alive = asyncio.create_task(systemd.keep_alive(pulse.alive, ticks.sleep))
    assert await signs(4) == 5, "idle"
    model.in_flight = 1
    assert await signs(5) == 3, "it works on something for longer than 30 seconds"
    model.ended = 1
    assert await signs(3) == 3, "that has come to its end, and the next is begun"
    assert await signs(3) == 1, "but that hangs, too"
    assert await signs(2) == 0
    model.in_flight = 0
    assert await signs(2) == 2
    alive.cancel()


async def test_without_a_watchdog_there_is_no_sign_of_life():
    await Systemd({}).keep_alive(lambda: True)


@pytest.mark.usefixtures("model")
def test_systemd_is_told_that_it_is_ready_alive_reloads_and_stops(tmp_path, manager):
    env = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "100000"}
    with Service(tmp_path, env) as service:
        ready = next_told(manager, "READY")
        assert ready["READY"] == "1" and service.url in ready["STATUS"]
        assert next_told(manager, "WATCHDOG") == next_told(manager, "WATCHDOG") == {"WATCHDOG": "1"}
        service.process.send_signal(signal.SIGHUP)
        reloading = next_told(manager, "RELOADING")
        assert reloading["RELOADING"] == "1" and 0 < int(reloading["MONOTONIC_USEC"]) <= monotonic() * 1e6
        assert next_told(manager, "READY")["READY"] == "1"
        assert service.stop() == 0
        assert next_told(manager, "STOPPING") == {"STOPPING": "1"}
