"""The real daemon as a process: it starts, stops, refuses to start twice, and forgets nothing when it is killed."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading

import pytest

from tests.process import Daemon, Service

CALL_MUM = "remind me to call mum tomorrow at 5 pm"

pytestmark = pytest.mark.usefixtures("model")


def patched(daemon: Daemon, patch: str) -> Daemon:
    """The daemon with a fault put into it: `patch` is run before it starts."""
    at = daemon._command.index("-m")
    daemon._command[at:at + 2] = ["-c", f"{patch}\nfrom assistant.cli import main\nmain()"]
    return daemon


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_it_cleanly(tmp_path, sign):
    with Daemon(tmp_path) as daemon:
        assert daemon.call("GET", "/health")[1]["status"] == "ok"
        assert daemon.stop(sign) == 0
        daemon.wait_for("stopped$")
        assert not [line for line in daemon.lines if "Traceback" in line]


def test_a_signal_stops_it_although_a_client_is_half_way_through_its_request(tmp_path):
    half = b"POST /requests HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    with Daemon(tmp_path) as daemon, socket.create_connection(daemon.url[7:].split(":")) as slow:
        slow.sendall(half)
        assert daemon.call("GET", "/health")[0] == 200
        assert daemon.stop() == 0


HANGS = """
import asyncio, time, assistant.local
async def rewrite(self, text):
    print("thinking", file=__import__("sys").stderr, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
assistant.local.LlamaRewriter.rewrite = rewrite
"""


def test_a_model_that_thinks_for_ever_does_not_hold_up_the_stop_and_the_request_is_answered_at_the_next_start(tmp_path):
    with patched(Daemon(tmp_path), HANGS) as daemon:
        asked = threading.Thread(target=pytest.raises, args=(OSError, daemon.call, "POST", "/requests"),
                                 kwargs={"body": {"text": CALL_MUM}})
        asked.start()
        daemon.wait_for("thinking")
        assert daemon.stop() == 0
        asked.join(10)
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("answered late")
        assert [r["task"] for r in daemon.call("GET", "/reminders")[1]["reminders"]] == ["call mum"]


def test_a_second_interrupt_ends_it_at_once(tmp_path):
    with patched(Daemon(tmp_path), HANGS) as daemon:
        asked = threading.Thread(target=pytest.raises, args=(OSError, daemon.call, "POST", "/requests"),
                                 kwargs={"body": {"text": CALL_MUM}})
        asked.start()
        daemon.wait_for("thinking")
        daemon.process.send_signal(signal.SIGINT)
        daemon.wait_for("stopping")
        assert daemon.stop(signal.SIGINT) == 130
        asked.join(10)


LOADS_LONG = """
import os, time, assistant.local
model_file = assistant.local.model_file
def held(path):
    print("loading", file=__import__("sys").stderr, flush=True)
    while not os.path.exists("open"):
        time.sleep(0.002)
    return model_file(path)
assistant.local.model_file = held
"""


@pytest.mark.parametrize("program", [Daemon, Service], ids=["the daemon", "the model service"])
def test_a_hangup_while_it_loads_does_not_end_it(tmp_path, program):
    loading = patched(program(tmp_path), LOADS_LONG).start()
    try:
        loading.wait_for("loading")
        loading.process.send_signal(signal.SIGHUP)
        (tmp_path / "open").touch()
        assert loading.ready().call("GET", "/health")[0] == 200
        assert loading.stop() == 0
    finally:
        loading.__exit__()


def ended(daemon: Daemon) -> tuple[int, str]:
    """Exit status and last line of a daemon that does not come to be ready."""
    try:
        status = daemon.start().process.wait(30)
        daemon._reader.join(10)
        return status, daemon.lines[-1]
    finally:
        daemon.__exit__()


def test_a_second_daemon_on_the_same_data_is_refused_and_the_first_goes_on(tmp_path):
    with Daemon(tmp_path) as first:
        status, said = ended(Daemon(tmp_path))
        assert status == 4
        assert "already" in said.lower() and str(first.process.pid) in said
        assert first.say(CALL_MUM)["kind"] == "create"


def test_a_port_that_is_taken_is_told_with_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, said = ended(Daemon(tmp_path, options=("--port", str(port))))
        assert status == 1
        assert f"Port {port}" in said and "--port" in said


@pytest.mark.parametrize(("env", "status", "says"), [
    ({"ASSISTANT_HTTP__PRT": "1"}, 2, "http.port"),
    ({"ASSISTANT_MODEL__PATH": "/nowhere/model.gguf"}, 3, "/nowhere/model.gguf"),
], ids=["a wrong setting", "no model"])
def test_what_keeps_it_from_starting_is_one_sentence_and_an_exit_status(tmp_path, env, status, says):
    got, said = ended(Daemon(tmp_path, env))
    assert (got, says in said) == (status, True), said


def test_a_data_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    daemon = Daemon(tmp_path)
    daemon._command += ["--data", str(tmp_path / "file")]
    status, said = ended(daemon)
    assert status == 4 and str(tmp_path / "file") in said


def test_a_bug_in_a_task_ends_it_with_status_1_and_tells_the_log(tmp_path):
    bug = """
import assistant.scheduler
async def run(self):
    raise ZeroDivisionError("a bug of the test")
assistant.scheduler.Scheduler.run = run
"""
    daemon = patched(Daemon(tmp_path), bug)
    status, _ = ended(daemon)
    assert status == 1
    assert any("a bug of the test" in line for line in daemon.lines)


def test_a_reminder_survives_a_kill_and_rings(tmp_path):
    with Daemon(tmp_path) as daemon:
        made = daemon.say("remind me to stretch in 2 seconds")["reminders"]
        daemon.kill()
    with Daemon(tmp_path) as daemon:
        rang = daemon.wait_for(r"RING .*reminder=(\d+)")
        assert int(rang[1]) == made[0]["id"]


def test_a_request_that_was_accepted_and_never_answered_is_taken_up_at_the_next_start(tmp_path):
    with Daemon(tmp_path) as daemon:
        assert daemon.stop() == 0
    with sqlite3.connect(next(tmp_path.glob("*.db"))) as db:
        db.execute("INSERT INTO requests (id, text, channel, said_at) VALUES ('lost', ?, 'cli', ?)",
                   (CALL_MUM, "2026-01-01T12:00:00.000000Z"))
    db.close()
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("answered late.*lost")


def test_its_log_as_json_has_an_object_a_line(tmp_path):
    daemon = Daemon(tmp_path, options=("--json",)).start()
    try:
        daemon.url = daemon.wait_for(r"ready: (http://[\d.:]+)")[1]
        daemon.say("remind me to stretch in 2 seconds")
        daemon.wait_for("RING")
        assert daemon.stop() == 0
        daemon._reader.join(10)
        events = [json.loads(line) for line in daemon.lines]
        assert all({"at", "level", "log", "event"} <= set(e) for e in events)
    finally:
        daemon.__exit__()


def test_python_dash_m_is_the_same_program():
    answer = subprocess.run([sys.executable, "-m", "assistant", "--help"], capture_output=True, text=True, timeout=30)
    assert answer.returncode == 0 and "Usage: assistant" in answer.stdout
