"""`assistant show`: the overview as lines for a terminal, and the command in a real one, over the real daemon."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from contextlib import contextmanager
from datetime import datetime
from time import monotonic

import pytest
from rich.cells import cell_len

from assistant.glance import FEWEST, glance
from tests.process import ASSISTANT, Daemon

NOW = datetime.fromisoformat("2026-03-11T10:00:00+00:00")


def reminder(id: int = 1, task: str = "call mum", due: str = "2026-03-12T17:00:00+00:00", **more) -> dict:
    return {"id": id, "task": task, "when": "x", "due": due, "rrule": None, "state": "pending", "zone": "Europe/London",
            "repeats": None} | more


def found(**parts) -> dict:
    """What `GET /overview` answers, with these parts."""
    days = [{"day": f"2026-03-{n:02}", "set": n % 3, "on_time": 1, "late": 0, "missed": 0} for n in range(1, 31)]
    upcoming = parts.get("upcoming", [])
    return {
        "now": "2026-03-11T10:00:00+00:00", "zone": "Europe/London", "ringing": [], "missed": [], "upcoming": [],
        "recurring": [], "pending": len(upcoming), "today": 0, "requests": [], "kept": 0, "days": days,
        "states": [{"part": "model", "state": "ok", "says": "It understands."}],
    } | parts  # fmt: skip


def request(text: str, reply: str | None = "OK.", error: str | None = None) -> dict:
    return {"text": text, "reply": reply, "error": error, "said_at": "2026-03-11T09:58:00+00:00"}


def lines(overview: dict, width: int = 100, **more) -> list[str]:
    return [line.plain.rstrip() for line in glance(overview, NOW, width, **more)]


TOLD = {
    "tomorrow": (reminder(), "1  tomorrow 17:00  call mum  in 31 hours"),
    "today": (reminder(due="2026-03-11T10:20:00+00:00"), "1  today 10:20  call mum  in 20 minutes"),
    "now": (reminder(due="2026-03-11T10:00:10+00:00"), "1  today 10:00  call mum  now"),
    "this week": (reminder(due="2026-03-14T09:00:00+00:00"), "1  Sat 14 Mar 9:00  call mum"),
    "another year": (reminder(due="2028-03-14T09:00:00+00:00"), "1  14 Mar 2028  call mum"),
    "another zone": (reminder(due="2026-03-12T18:00:00+01:00"), "1  tomorrow 17:00  call mum  in 31 hours"),
    "after the clock has gone forward": (reminder(due="2026-04-12T17:00:00+01:00"), "1  Sun 12 Apr 17:00  call mum"),
    "what recurs": (reminder(repeats="every Thursday at 7:00"), "1  tomorrow 17:00  call mum  every Thursday at 7:00"),
    "no words": (reminder(task=""), "1  tomorrow 17:00  reminder  in 31 hours"),
}


@pytest.mark.parametrize(("one", "line"), TOLD.values(), ids=TOLD)
def test_what_lies_ahead_is_told_with_its_day_and_how_long_it_is(one, line):
    assert line in lines(found(upcoming=[one]))


def test_what_rings_and_what_was_missed_come_first():
    told = lines(found(
        ringing=[reminder(2, "pills", "2026-03-11T09:55:00+00:00", ring=2, begins=None),
                 reminder(3, "meeting", "2026-03-11T09:45:00+00:00", ring=1, begins="2026-03-11T10:15:00+00:00")],
        missed=[reminder(4, "stretch", last="2026-03-10T16:00:00+00:00", times=3)], upcoming=[reminder()]))  # fmt: skip
    assert told[0] == "Wednesday 11 March, 10:00"
    order = [told.index(line) for line in (
        "Ringing", "2  today 9:55  pills  ring 2", "3  today 9:45  meeting  begins today 10:15",
        "Missed", "4  yesterday 16:00  stretch  3 times", "Ahead: 1, today: 0")]
    assert order == sorted(order)


def test_what_was_heard_how_all_is_and_the_last_days_are_told():
    told = lines(found(requests=[request("call mum at five", "OK: call mum, today at 17:00."), request("hm", None)], kept=1))
    assert "today 9:58  call mum at five  OK: call mum, today at 17:00." in told
    assert "today 9:58  hm  not answered yet" in told
    assert "● model: It understands." in told
    assert [line for line in told if line.startswith("30 days: 30 set, 30 on time, 0 late, 0 missed")]
    assert told[-1] == "1 request waits until I can think again."


def test_nothing_is_said_to_be_nothing():
    told = lines(found())
    assert "Nothing is set." in told and "Ringing" not in told and "Heard" not in told


MUCH = found(
    upcoming=[reminder(n, "ring the plumber about the kitchen " * 4, repeats="every Thursday at 7:00") for n in range(1, 120)],
    ringing=[reminder(7, "薬を飲む " * 20, "2026-03-11T09:55:00+00:00", ring=3, begins=None)], pending=5000,
    requests=[request("take the bins out " * 20, "OK. " * 60)] * 10,
    states=[{"part": "microphone", "state": state, "says": "It listens. " * 20} for state in ("ok", "off", "warn")],
)  # fmt: skip


@pytest.mark.parametrize("width", [10, 40, 59, 60, 200])
@pytest.mark.parametrize("height", [10, 24, 60, None])
def test_it_fits_into_a_terminal_of_any_size(width, height):
    told = lines(MUCH, width, height=height)
    assert max(cell_len(line) for line in told) <= width
    ahead = [line for line in told if re.match(r" *\d+  tom", line)]
    assert len(ahead) >= FEWEST
    assert len(told) <= height or len(ahead) == FEWEST if height else len(ahead) == 119
    assert any(line.startswith(f"and {5000 - len(ahead)}"[:width - 1]) for line in told)


def test_where_only_ascii_can_be_shown_nothing_else_is_drawn():
    assert "\n".join(lines(found(upcoming=[reminder()], requests=[request("x")]), ascii_only=True)).isascii()
    assert "\n".join(lines(found(upcoming=[reminder(task="word " * 50)]), 40, ascii_only=True)).isascii()


@pytest.mark.parametrize("task", ["[bold red]mum[/]", "mum [/oops]", "\x1b[2J\x1b]0;title\x07mum", "one\ntwo\r\x9bthree"],
                         ids=["markup", "half a markup", "escape sequences", "lines"])
def test_what_a_person_said_is_text_whatever_is_in_it(task):
    told = lines(found(upcoming=[reminder(task=task)], requests=[request(task, task)],
                       ringing=[reminder(task=task, ring=1, begins=None)]))
    assert all(line.isprintable() for line in told)
    assert any("".join(c if c.isprintable() else " " for c in task) in line for line in told)


# The command

@pytest.fixture(scope="module")
def running(model, tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("data")) as daemon:
        daemon.say("remind me to call mum tomorrow at 5 pm")
        yield daemon


def environment(daemon: Daemon) -> dict[str, str]:
    return os.environ | {"ASSISTANT_HTTP__PORT": daemon.url.rpartition(":")[2], "TERM": "xterm-256color", "COLUMNS": "",
                         "LINES": ""}


def assistant(*words: str, env: dict[str, str] | None = None, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run([*ASSISTANT, *words], env=env, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_piped_it_is_printed_once_without_colours(running):
    answer = assistant("show", env=environment(running))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^1  tomorrow 17:00  call mum", answer.stdout, re.M) and "\x1b" not in answer.stdout


def test_in_json_it_is_what_the_daemon_answers(running):
    told = json.loads(assistant("show", "--json", env=environment(running)).stdout)
    assert [r["task"] for r in told["upcoming"]] == ["call mum"]
    assert told.keys() == running.call("GET", "/overview")[1].keys()


def test_without_a_daemon_it_says_how_to_start_it(tmp_path):
    answer = assistant("show", env=os.environ | {"ASSISTANT_HTTP__PORT": "1"}, cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (5, "") and "assistant run" in answer.stderr


def test_undo_is_a_command(running):
    running.say("remind me to buy milk tomorrow at 6 pm")
    env = environment(running)
    assert assistant("undo", env=env).stdout == "OK, undone: buy milk is no longer set.\n"
    change = running.call("DELETE", "/reminders/1")[1]["undo"]
    told = json.loads(assistant("undo", change, "--json", env=env).stdout)
    assert [r["state"] for r in told["reminders"]] == ["pending"]
    gone = assistant("undo", change, env=env)
    assert gone.returncode == 1 and "undone already" in gone.stderr


class Terminal:
    """A terminal in which a command runs, and what it has drawn."""

    def __init__(self, master: int, process: subprocess.Popen) -> None:
        self.master, self.process, self.drawn = master, process, ""

    def shows(self, text: str, seconds: float = 20) -> str:
        """All that was drawn since the last time, once `text` is there."""
        until = monotonic() + seconds
        while text not in self.drawn:
            ready, _, _ = select.select([self.master], [], [], max(0, until - monotonic()))
            assert ready, f"no {text!r} in {self.drawn[-2000:]!r}"
            self.drawn += os.read(self.master, 65536).decode(errors="replace")
        drawn, self.drawn = self.drawn, ""
        return drawn

    def resize(self, columns: int, rows: int = 40) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)


@contextmanager
def showing(daemon: Daemon, *options: str, columns: int = 100):
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    before = termios.tcgetattr(slave)
    with subprocess.Popen([*ASSISTANT, "show", *options], stdin=slave, stdout=slave, stderr=slave, env=environment(daemon),
                          start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as process:
        try:
            yield Terminal(master, process)
        finally:
            process.kill()
            process.wait()
            after = termios.tcgetattr(slave)
            os.close(slave)
            os.close(master)
    assert after == before, "the terminal is as it was"


def test_once_is_once_in_a_terminal_too(running):
    with showing(running, "--once", columns=30) as terminal:
        assert "\x1b[?1049h" not in terminal.shows("30 days")
        assert terminal.process.wait(20) == 0


def test_live_it_ends_with_ctrl_c(running):
    with showing(running) as terminal:
        terminal.shows("call mum")
        os.write(terminal.master, b"\x03")
        terminal.shows("\x1b[?1049l")
        assert terminal.process.wait(20) == 0


def test_live_it_follows_what_happens_also_through_a_restart_and_ends_with_q(running):
    with showing(running) as terminal:
        assert "\x1b[?1049h" in terminal.shows("call mum"), "on a screen of its own"
        running.say("remind me to water the plants tomorrow at 6 pm")
        terminal.shows("water the plants")
        terminal.resize(30)
        terminal.shows("water the …")
        terminal.resize(100)
        running.stop()
        terminal.shows("Trying again")
        with Daemon(running.data, options=("--port", running.url.rpartition(":")[2])) as again:
            again.say("remind me to feed the cat tomorrow at 6 pm")
            assert "Trying again" not in terminal.shows("feed the cat").rpartition("\x1b[H")[2]
            os.write(terminal.master, b"xq")
            terminal.shows("\x1b[?1049l")
            assert terminal.process.wait(20) == 0
