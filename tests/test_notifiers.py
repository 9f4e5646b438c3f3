"""Each notifier hands a notice on as it was meant, and says clearly why it could not."""

import asyncio
import json
import logging
import os
import resource
import stat
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from assistant.errors import DeliveryError
from assistant.log import JsonFormatter, TextFormatter
from assistant.messages import Delivery
from assistant.notifiers import AppriseNotifier, CommandNotifier, DesktopNotifier, LogNotifier, Notice

NOW = datetime(2026, 7, 1, 14, 30, tzinfo=UTC)
NASTY = 'call "mum" <b>& $(touch x)`id`</b>; rm -rf \\ -- \'x\' %s 🎂'


def rings(id: int = 12, task: str = "call mum", late: int = 0, **more) -> Delivery:
    facts = {"occurrences": 1, "ring": 1, "zone": "Europe/London", "recurring": False} | more
    return Delivery(id, 7, task, NOW - timedelta(seconds=late), **facts)


def notice(*deliveries: Delivery, text: str = "call mum") -> Notice:
    return Notice(deliveries or (rings(),), text, NOW)


def script(path: Path, body: str) -> Path:
    """A program of the person's own."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport json, os, subprocess, sys, time\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def repeats_its_arguments(path: Path, out: Path) -> Path:
    return script(path, f"open({str(out)!r}, 'w').write(json.dumps(sys.argv[1:]))")


# Notices


def test_a_notice_is_titled_by_how_many_it_tells():
    assert notice().title == "Reminder"
    assert notice(rings(1), rings(2), rings(3)).title == "3 reminders"


def test_for_programs_a_notice_is_json_with_local_times():
    assert notice(rings(late=90, ring=2, occurrences=3, recurring=True)).as_json() == {
        "title": "Reminder", "text": "call mum", "deliveries": [{
            "id": 12, "reminder": 7, "task": "call mum", "due": "2026-07-01T15:28:30+01:00", "late": 90,
            "occurrences": 3, "ring": 2, "recurring": True,
        }],
    }


def test_what_rings_before_its_time_is_not_late():
    assert notice().late(rings(late=-30)) == 0


def test_a_part_of_a_notice_tells_of_that_part():
    many = [rings(n, f"task {n}") for n in range(22)]
    told = notice(*many, text="\n".join([*(d.task for d in many[:20]), "and 2 more"]))
    assert told.only(many).text == told.text
    assert told.only(many[18:]).text == "task 18\ntask 19\nand 2 more"
    assert told.only(many[20:]).text == "2 reminders"
    assert told.only(many[:1]).deliveries == (many[0],)


# log


async def test_the_log_has_a_line_for_each_delivery(caplog):
    caplog.set_level(logging.INFO)
    await LogNotifier().notify(notice(rings(1, NASTY + "\nx", 7200), rings(2, "")))
    lines = [TextFormatter().format(r) for r in caplog.records]
    assert len(lines) == 2 and "\n" not in lines[0]
    assert "ring: RING id=1 reminder=7 due=2026-07-01T12:30:00Z ring=1 late=7200 occurrences=1 task=" in lines[0]
    assert lines[1].endswith('RING id=2 reminder=7 due=2026-07-01T14:30:00Z ring=1 late=0 occurrences=1 task=""')
    assert json.loads(JsonFormatter().format(caplog.records[0]))["task"] == NASTY + "\nx"


def test_nothing_is_known_against_the_log():
    assert LogNotifier().problem() is None


# desktop


@pytest.fixture
def bin(tmp_path, monkeypatch) -> Path:
    """A folder of programs in front of all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("text", ["call mum", "--help", "-u low", NASTY], ids=["plain", "option", "options", "nasty"])
async def test_notify_send_gets_the_text_as_one_argument_in_its_markup(bin, tmp_path, text):
    repeats_its_arguments(bin / "notify-send", tmp_path / "said")
    await DesktopNotifier("linux").notify(notice(text=text))
    *options, title, body = json.loads((tmp_path / "said").read_text())
    assert (options[-1], title) == ("--", "Reminder")
    assert body == text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@pytest.mark.parametrize("text", ["call mum", "--help", NASTY], ids=["plain", "option", "nasty"])
async def test_osascript_gets_the_text_as_an_argument_and_never_in_the_script(bin, tmp_path, text):
    repeats_its_arguments(bin / "osascript", tmp_path / "said")
    await DesktopNotifier("darwin").notify(notice(text=text))
    *script, title, body = json.loads((tmp_path / "said").read_text())
    assert (title, body) == ("Reminder", text)
    assert script[::2] == ["-e", "-e", "-e"]
    assert text not in " ".join(script)


async def test_text_that_no_argument_can_hold_is_shown_without_what_it_cannot(bin, tmp_path):
    repeats_its_arguments(bin / "notify-send", tmp_path / "said")
    await DesktopNotifier("linux").notify(notice(text="a\0b\ud800" + "c" * 200_000))
    assert json.loads((tmp_path / "said").read_text())[-1].startswith("ab?ccc")


@pytest.mark.parametrize(("quiet", "urgency"), [(False, "critical"), (True, "low")], ids=["by day", "in quiet hours"])
async def test_in_quiet_hours_the_desktop_is_not_urgent(bin, tmp_path, quiet, urgency):
    repeats_its_arguments(bin / "notify-send", tmp_path / "said")
    await DesktopNotifier("linux").notify(Notice((rings(),), "call mum", NOW, quiet))
    assert f"--urgency={urgency}" in json.loads((tmp_path / "said").read_text())


async def test_a_desktop_that_refuses_is_a_failure_with_its_reason(bin):
    script(bin / "notify-send", "sys.exit('Cannot autolaunch D-Bus without X11 $DISPLAY')")
    with pytest.raises(DeliveryError, match="status 1: Cannot autolaunch D-Bus"):
        await DesktopNotifier("linux").notify(notice())


async def test_a_desktop_without_the_program_is_a_failure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeliveryError, match="notify-send cannot be started: no such file"):
        await DesktopNotifier("linux").notify(notice())
    assert "install it" in DesktopNotifier("linux").problem()
    assert "osascript is not found" in DesktopNotifier("darwin").problem()


@pytest.mark.parametrize("session", ["bus by name", "bus in its place", "none"])
def test_a_desktop_needs_a_session(bin, monkeypatch, tmp_path, session):
    script(bin / "notify-send", "")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if session == "bus by name":
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    if session == "bus in its place":
        (tmp_path / "bus").touch()
    problem = DesktopNotifier("linux").problem()
    assert ("session" in problem) if session == "none" else problem is None


# command


async def test_a_command_reads_the_notice_and_finds_the_first_delivery_in_its_environment(tmp_path):
    out = tmp_path / "out"
    ring = script(tmp_path / "ring", f"""
facts = {{k: v for k, v in os.environ.items() if k.startswith("ASSISTANT_")}}
open({str(out)!r}, "w").write(json.dumps([sys.argv[1:], json.load(sys.stdin), facts]))""")
    told = notice(rings(12, NASTY), rings(13, "second"), text="two lines\nof text")
    await CommandNotifier([str(ring), "--loud", NASTY]).notify(told)
    arguments, given, facts = json.loads(out.read_text())
    assert arguments == ["--loud", NASTY]
    assert given == told.as_json()
    assert facts == {"ASSISTANT_ID": "12", "ASSISTANT_TASK": NASTY, "ASSISTANT_DUE": "2026-07-01T15:30:00+01:00"}


async def test_a_command_that_reads_nothing_of_a_large_notice_is_fine(tmp_path):
    ring = script(tmp_path / "ring", "")
    await CommandNotifier([str(ring)]).notify(notice(*(rings(n, "x" * 500) for n in range(1000))))


@pytest.mark.parametrize("body, said", [
    ("sys.exit(3)", "ended with status 3$"),
    ("sys.stderr.write('one\\n\\nthe last line\\n\\n'); sys.exit(1)", "ended with status 1: the last line$"),
    ("sys.stderr.buffer.write(b'\\xff' * 5000); sys.exit(1)", "status 1: \ufffd{300}$"),
    ("os.kill(os.getpid(), 9)", "ended with status -9$"),
], ids=["a status", "its last words", "not text", "killed"])
async def test_a_command_that_fails_says_why(tmp_path, body, said):
    with pytest.raises(DeliveryError, match=said):
        await CommandNotifier([str(script(tmp_path / "ring", body))]).notify(notice())


@pytest.mark.parametrize("what", ["missing", "not executable", "a folder"])
async def test_a_command_that_cannot_be_started_says_why(tmp_path, what):
    path = tmp_path / "ring"
    if what == "not executable":
        path.write_text("#!/bin/sh")
    if what == "a folder":
        path.mkdir()
    with pytest.raises(DeliveryError, match="cannot be started"):
        await CommandNotifier([str(path)]).notify(notice())
    assert "correct [notify.command] argv" in CommandNotifier([str(path)]).problem()


def test_a_command_that_is_there_has_no_problem(tmp_path):
    assert CommandNotifier([str(script(tmp_path / "ring", ""))]).problem() is None


async def test_without_room_for_what_a_command_is_told_it_says_so(tmp_path):
    ring = script(tmp_path / "ring", "")
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most[1]))  # Python ignores the signal that would end it
    try:
        with pytest.raises(DeliveryError, match="cannot be started: file too large"):
            await CommandNotifier([str(ring)]).notify(notice())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)


async def test_a_command_of_another_user_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    """As under sudo: it may not be killed."""
    started, kill = tmp_path / "started", os.killpg
    os.mkfifo(started)
    groups: list[int] = []

    def forbidden(group: int, sign: int) -> None:
        groups.append(group)
        raise PermissionError

    monkeypatch.setattr(os, "killpg", forbidden)
    ring = script(tmp_path / "ring", f"open({str(started)!r}, 'w').close()\ntime.sleep(600)")
    task = asyncio.create_task(CommandNotifier([str(ring)]).notify(notice()))
    async with asyncio.timeout(60):
        await asyncio.to_thread(started.read_bytes)
        for _ in range(20):
            await asyncio.sleep(0)  # until it is waited for
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    kill(groups[0], 9)


async def test_a_command_that_hangs_is_killed_with_all_that_it_has_started(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # it has an end while anyone holds it open: the command, its child, its grandchild
    ring = script(tmp_path / "ring", f"""
held = os.open({str(fifo)!r}, os.O_WRONLY)
os.set_inheritable(held, True)
subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], close_fds=False)
os.write(held, b"ready")
time.sleep(600)""")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    loop, ready, gone = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def readable() -> None:
        try:
            data = os.read(reader, 100)
        except BlockingIOError:
            return
        if data:
            ready.set()
        elif ready.is_set():
            loop.remove_reader(reader)
            gone.set()

    task = asyncio.create_task(CommandNotifier([str(ring)]).notify(notice()))
    async with asyncio.timeout(60):
        loop.add_reader(reader, readable)
        await ready.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()
    os.close(reader)


async def test_what_a_command_leaves_running_is_not_waited_for(tmp_path):
    """A player in the background holds on to its output for as long as it plays."""
    pid = tmp_path / "pid"
    ring = script(tmp_path / "ring", f"""
child = subprocess.Popen(["sleep", "600"])
open({str(pid)!r}, "w").write(str(child.pid))""")
    async with asyncio.timeout(60):
        await CommandNotifier([str(ring)]).notify(notice())
    os.kill(int(pid.read_text()), 9)  # still there


# apprise


class Service:
    """A real HTTP server that takes what Apprise's json:// sends."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        self.got.append(await request.json())
        return web.Response(status=self.status)


@pytest.fixture
async def services():
    """Two services and their URLs."""
    both, runners, urls = [Service(), Service()], [], []
    for service in both:
        app = web.Application()
        app.router.add_post("/{key}", service.take)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        site = web.TCPSite(runners[-1], "127.0.0.1", 0)
        await site.start()
        urls.append(f"json://127.0.0.1:{runners[-1].addresses[0][1]}/secret-key?cto=60&rto=60")  # its own patience is 4 s
    yield [*zip(both, urls, strict=True)]
    for runner in runners:
        await runner.cleanup()


async def test_apprise_sends_title_and_text_as_they_are(services):
    (one, url), (other, url2) = services
    await AppriseNotifier([url, url2]).notify(notice(text=NASTY))
    for service in (one, other):
        assert [(x["title"], x["message"]) for x in service.got] == [("Reminder", NASTY)]


async def test_a_service_that_refuses_is_a_failure_without_its_secrets(services):
    (one, url), _ = services
    one.status = 500
    with pytest.raises(DeliveryError, match=r"^json: ") as e:
        await AppriseNotifier([url]).notify(notice())
    assert "secret-key" not in str(e.value)


async def test_when_one_service_fails_the_other_is_not_sent_it_again(services):
    (one, url), (other, url2) = services
    one.status = 500
    notifier = AppriseNotifier([url, url2])
    for _ in range(3):
        with pytest.raises(DeliveryError):
            await notifier.notify(notice())
    one.status = 200
    await notifier.notify(notice())
    assert (len(one.got), len(other.got)) == (4, 1)
    await notifier.notify(notice(rings(12, ring=2)))
    assert (len(one.got), len(other.got)) == (5, 2)


async def test_a_service_that_is_not_there_is_a_failure():
    with pytest.raises(DeliveryError, match="json: .*[Cc]onnection"):
        await AppriseNotifier(["json://127.0.0.1:1/x"]).notify(notice())


async def test_a_url_that_apprise_does_not_know_is_named_by_its_scheme_only():
    notifier = AppriseNotifier(["carrier-pigeon://token@loft"])
    with pytest.raises(DeliveryError, match="carrier-pigeon URL"):
        await notifier.notify(notice())
    assert "carrier-pigeon URL" in notifier.problem() and "token" not in notifier.problem()
    assert AppriseNotifier(["json://127.0.0.1/x"]).problem() is None


async def test_when_there_can_be_no_more_threads_it_is_sent_later(services, monkeypatch):
    (one, url), _ = services
    notifier = AppriseNotifier([url])

    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as machine, pytest.raises(RuntimeError):
        machine.setattr(threading.Thread, "start", full)
        await notifier.notify(notice())
    await notifier.notify(notice())
    assert len(one.got) == 1


async def test_a_thread_that_hangs_is_left_and_not_doubled(services):
    """Apprise cannot be stopped: until it has ended, the next notice is refused, and tried again later."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    app = web.Application()

    async def slow(request: web.Request) -> web.Response:
        reached.set()
        await go_on.wait()
        return web.Response()

    app.router.add_post("/", slow)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    notifier = AppriseNotifier([f"json://127.0.0.1:{runner.addresses[0][1]}/"])
    task = asyncio.create_task(notifier.notify(notice()))
    async with asyncio.timeout(60):
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(DeliveryError, match="has not finished"):
            await notifier.notify(notice())
        go_on.set()
        while notifier._busy:  # noqa: ASYNC110 - a thread ends
            await asyncio.sleep(0.01)
        await notifier.notify(notice())
    await runner.cleanup()
