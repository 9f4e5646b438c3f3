"""A laptop that sleeps: the clock on the wall jumps while the steady one stands, under the real daemon.

libfaketime moves what the daemon takes for the time of day and leaves its monotonic clock alone, which is what sleep
looks like from inside a process.
"""

from datetime import datetime
from pathlib import Path

import pytest

from tests.process import Daemon

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
WAKING = 15
"""Seconds after waking in which what came due must have rung."""

pytestmark = [
    pytest.mark.usefixtures("model"),
    pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian: apt install faketime)"),
]


class Sleeper(Daemon):
    """A daemon whose clock can be moved."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self.jump("+0")
        super().__init__(
            folder,
            env={
                "LD_PRELOAD": str(LIBRARY),
                "FAKETIME_TIMESTAMP_FILE": str(self._offset),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DONT_RESET": "1",
            },
        )

    def jump(self, offset: str) -> None:
        part = self._offset.with_suffix(".part")
        part.write_text(offset + "\n")
        part.replace(self._offset)


def rings(daemon: Daemon) -> list[str]:
    return [line for line in daemon.lines if "RING" in line]


def test_what_came_due_in_sleep_rings_soon_after_waking_and_says_how_late(tmp_path):
    with Sleeper(tmp_path) as daemon:
        (made,) = daemon.say("remind me to call mum in 2 hours")["reminders"]
        daemon.jump("+150m")
        line = daemon.wait_for(rf"RING .*reminder={made['id']} .*", WAKING)[0]
        late = int(line.split("late=")[1].split()[0])
        assert 1790 <= late <= 1800 + WAKING


def test_several_that_came_due_in_sleep_ring_oldest_first_and_what_recurs_once(tmp_path):
    with Sleeper(tmp_path) as daemon:
        ids = [
            daemon.say(f"remind me to {text}")["reminders"][0]["id"]
            for text in ("call mum in 3 hours", "call dad in 1 hour", "stretch every 30 minutes")
        ]
        daemon.jump("+4h")
        for _ in ids:
            daemon.wait_for("RING", WAKING)
        order = [int(line.split("reminder=")[1].split()[0]) for line in rings(daemon)]
        assert order.index(ids[1]) < order.index(ids[0])
        (recurring,) = [line for line in rings(daemon) if f"reminder={ids[2]} " in line]
        assert "occurrences=8 " in recurring


def test_what_is_still_ahead_does_not_ring_when_the_clock_jumps_a_little(tmp_path):
    with Sleeper(tmp_path) as daemon:
        daemon.say("remind me to call mum in 2 hours")
        daemon.say("remind me to call dad in 10 minutes")
        daemon.jump("+1h")
        daemon.wait_for("RING .*call dad", WAKING)
        assert not [line for line in rings(daemon) if "call mum" in line]
        (left,) = daemon.call("GET", "/reminders?state=pending")[1]["reminders"]
        assert left["task"] == "call mum"
        assert datetime.fromisoformat(left["due"]).tzinfo is not None
