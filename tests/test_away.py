"""What a person sees of a real daemon whose only model is on a machine that does not answer."""

import json
import os
import signal
import subprocess
from datetime import UTC, datetime

import pytest

from tests.certificates import certificate
from tests.lying_service import LyingService
from tests.process import ASSISTANT, Daemon
from tests.services import Local

NOWHERE = "http://127.0.0.1:9"
AWAY = {"ASSISTANT_REMOTE__ORDER": "remote", "API_BASE_URL": NOWHERE}
CALL_MUM = "remind me to call mum tomorrow at 5 pm"


def assistant(*words: str, daemon: Daemon | None = None, **env: str) -> subprocess.CompletedProcess:
    port = daemon.url.rpartition(":")[2] if daemon else "1"
    env = os.environ | AWAY | {"ASSISTANT_HTTP__PORT": port} | env
    return subprocess.run([*ASSISTANT, *words], env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder without settings."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path, AWAY) as daemon:
        yield daemon


def test_say_promises_and_list_tells_that_it_waits(daemon):
    said = assistant("say", CALL_MUM, daemon=daemon)
    assert (said.returncode, said.stdout) == (0, "I'll set that as soon as I can think again.\n")
    answer = json.loads(assistant("say", "what are my reminders", "--json", daemon=daemon).stdout)
    assert (answer["kind"], answer["reminders"]) == ("kept", [])
    [why] = answer["skipped"]
    assert why.startswith(f"remote: The model service at {NOWHERE}") and why.endswith(".")
    listed = assistant("list", daemon=daemon)
    assert listed.stdout == "Nothing is set.\n2 requests wait until I can think again.\n"


def test_doctor_tells_what_is_away_and_that_something_waits(daemon):
    daemon.say(CALL_MUM)
    doctor = assistant("doctor", "--json", daemon=daemon, ASSISTANT_DATA__DIR=str(daemon.data))
    checks = {c["name"]: c for c in json.loads(doctor.stdout)["checks"]}
    assert doctor.returncode == 1 and "model" not in checks
    assert checks["remote"]["state"] == "fail" and "connection refused" in checks["remote"]["found"]
    assert checks["kept"]["state"] == "warn" and checks["kept"]["found"].startswith("1 ")


@pytest.mark.parametrize(("order", "state"), [("remote", "fail"), ("remote,local", "warn")],
                         ids=["nothing stands in", "the model here stands in"])
async def test_doctor_tells_what_is_wrong_with_a_certificate(tmp_path, order, state):
    from asyncio import to_thread

    own = certificate(tmp_path, "own", "127.0.0.1")
    async with LyingService(Local(), own, own) as service:
        doctor = await to_thread(assistant, "doctor", "--json", API_BASE_URL=service.url, ASSISTANT_REMOTE__ORDER=order)
    [found] = [c for c in json.loads(doctor.stdout)["checks"] if c["name"] == "remote"]
    assert found["state"] == state
    assert "self-signed certificate" in found["found"] and "ca_file" in found["advice"]


def test_parse_says_in_a_sentence_that_no_model_answers():
    answer = assistant("parse", CALL_MUM)
    assert (answer.returncode, answer.stdout) == (3, "")
    assert "assistant: No model answers: remote: The model service" in answer.stderr


@pytest.mark.parametrize("env", [AWAY, {"API_BASE_URL": NOWHERE, "ASSISTANT_MODEL__PATH": "/nowhere"}],
                         ids=["no model is to run here", "the model here is missing"])
def test_a_signal_to_reload_where_nothing_can_be_reloaded_is_told_and_harms_nothing(tmp_path, env):
    with Daemon(tmp_path, env) as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("nothing is reloaded: ")
        assert daemon.call("GET", "/health")[0] == 200 and daemon.stop() == 0


def test_what_was_kept_by_a_daemon_that_was_killed_is_set_by_one_that_has_a_model_and_rings_late_if_its_time_is_over(
    daemon, tmp_path, model
):
    assert daemon.say("remind me to stretch in 1 second", id="abc")["kind"] == "kept"
    daemon.kill()
    with Daemon(tmp_path, AWAY) as again:
        assert again.call("GET", "/health")[1]["kept"] == 1
        assert again.say("remind me to stretch in 1 second", id="abc")["kind"] == "kept"
        again.kill()
    late = {"ASSISTANT_RING__LATE_AFTER_SECONDS": "1"}
    with Daemon(tmp_path, late) as with_a_model:
        assert with_a_model.wait_for(r"RING .*late=")
        [reminder] = with_a_model.call("GET", "/reminders")[1]["reminders"]
        assert reminder["task"] == "stretch" and datetime.fromisoformat(reminder["due"]) < datetime.now(UTC)
        assert with_a_model.call("GET", "/health")[1]["kept"] == 0
