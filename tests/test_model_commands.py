"""`assistant models` as a person or a script uses it, beside a daemon that runs and without one."""

import asyncio
import json
import os
import subprocess

import aiohttp
import pytest

from assistant.client import Daemon as Client
from assistant.errors import NotRunning
from assistant.model_commands import promote
from assistant.pointer import Models
from tests.conftest import MODEL
from tests.model_folders import break_byte, candidate, evaluation, sha256
from tests.process import ASSISTANT, Daemon
from tests.test_life_cycle import patched
from tests.test_reload import NEVER_LOOKS

pytestmark = pytest.mark.usefixtures("model")
COMMANDS = ["list", "show", "promote", "rollback"]


@pytest.fixture
def models(tmp_path, monkeypatch) -> Models:
    """A better model, a worse one and a broken one; the settings name their folder and that of the data."""
    folder = tmp_path / "models"
    candidate(folder, "fresh", evaluation=evaluation(MODEL))
    candidate(folder, "worse", evaluation=evaluation(MODEL, "worse", 85.0))
    os.truncate(candidate(folder, "half") / "model-q8_0.gguf", 1000)
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.chdir(tmp_path)
    for name, value in {"MODEL__DIR": folder, "DATA__DIR": data, "HTTP__PORT": 1}.items():
        monkeypatch.setenv(f"ASSISTANT_{name}", str(value))
    return Models(folder, data / "model.json", MODEL)


@pytest.fixture
def daemon(models):
    """One that is told of a change, and does not look by itself."""
    with patched(Daemon(models.pointer.parent, {"ASSISTANT_MODEL__DIR": str(models.folder)}), NEVER_LOOKS) as daemon:
        yield daemon


def run(*words: str, status: int = 0, env: dict[str, str] | None = None) -> str:
    """What `assistant models` prints on the stream that goes with its exit status."""
    answer = subprocess.run([*ASSISTANT, "models", *words], capture_output=True, text=True, timeout=120,
                            env=os.environ | (env or {}))
    assert answer.returncode == status, answer.stderr
    assert "Traceback" not in answer.stderr
    return answer.stdout if status == 0 or "--json" in words else answer.stderr


def beside(daemon: Daemon) -> list[str]:
    """The options with which the daemon is found."""
    return ["--data", str(daemon.data), "--port", daemon.url.rpartition(":")[2]]


def in_use(daemon: Daemon) -> str:
    return daemon.call("GET", "/health")[1]["model"]


# Without a daemon

@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_an_example_and_json(command):
    text = run(command, "--help")
    assert f"Example: assistant models {command}" in text
    assert all(option in text for option in ("--json", "--config", "--data"))


def test_list_shows_each_model_and_what_is_wrong_with_it(models):
    lines = run("list").splitlines()
    rows = {line.lstrip("* ").split()[0]: line for line in lines[1:]}
    assert [*rows] == ["fresh", "half", "small", "worse"]
    assert [name for name, line in rows.items() if line.startswith("*")] == ["small"]
    size = json.loads((MODEL / "manifest.json").read_text())["bytes"] / 1e6
    assert f"{size:.1f}" in rows["fresh"] and "91.2 % vs 90.0 %, better" in rows["fresh"] and rows["fresh"].rstrip().endswith("ok")
    assert "85.0 % vs 90.0 %, worse" in rows["worse"]
    assert "1000 of" in rows["half"]


def test_list_in_json_is_one_object(models):
    got = json.loads(run("list", "--json"))
    assert got["in_use"] == str(MODEL)
    assert [(m["name"], m["in_use"], m["state"] == "ok") for m in got["models"]] == [
        ("fresh", False, True), ("half", False, False), ("small", True, True), ("worse", False, True)]


def test_list_names_the_model_of_the_settings_where_there_is_one(models):
    text = run("list", env={"ASSISTANT_MODEL__PATH": str(models.folder / "fresh")})
    assert [line.split()[1] for line in text.splitlines() if line.startswith("*")] == ["fresh"]
    assert "[model] path" in text


def test_show_tells_what_a_model_is_and_when_it_came_into_use(models):
    models.promote("fresh")
    models.promote("worse", "to see")
    models.rollback()
    text = run("show", "fresh")
    for part in ("MIT", sha256(models.folder / "fresh"), "91.2 % vs 90.0 %", "in use       yes", "state        ok"):
        assert part in text
    assert [line.split("  ")[1] for line in text.splitlines()[-2:]] == ["promote", "rollback"]
    assert "promote, forced (to see)" in run("show", "worse")


def test_show_finds_a_flipped_bit_that_list_does_not_look_for(models):
    break_byte(models.folder / "fresh")
    assert "damaged" in run("show", "fresh")
    assert "damaged" not in run("list")


def test_show_in_json_has_the_manifest_and_the_history(models):
    models.promote("fresh")
    got = json.loads(run("show", "fresh", "--json"))
    assert (got["in_use"], got["state"], got["manifest"]["licence"]) == (True, "ok", "MIT")
    assert [c["by"] for c in got["history"]] == ["promote"]
    assert json.loads(run("show", "small", "--json"))["history"] == []


def test_promote_and_rollback_are_used_at_the_next_start(models):
    assert run("promote", "fresh") == "fresh is promoted. It will be used at the next start.\n"
    assert models.read().current.name == "fresh"
    assert run("promote", "fresh") == "fresh is in use already.\n"
    parsed = subprocess.run([*ASSISTANT, "parse", "--json", "remind me to eat tomorrow"], capture_output=True, timeout=60)
    assert json.loads(parsed.stdout)["model"] == "fresh"
    assert run("rollback") == "Back to small. It will be used at the next start.\n"
    assert models.read().current.name == "small"
    assert "in use before" in run("rollback", status=1)


def test_promote_in_json_is_one_object(models):
    got = json.loads(run("promote", "worse", "--force", "to see", "--json"))
    assert (got["model"], got["changed"], got["forced"], got["running"]) == ("worse", True, True, False)
    assert got["sha256"] == sha256(models.folder / "worse")
    assert json.loads(run("promote", "worse", "--json"))["changed"] is False


@pytest.mark.parametrize(("words", "status", "says"), [
    (["promote", "worse"], 3, "worse than small (85.0 %"),
    (["promote", "half", "--force", "x"], 3, "not complete"),
    (["promote", "gone"], 1, "no model gone"),
    (["promote", "../models/fresh"], 2, "not the name"),
    (["promote", "worse", "--force", ""], 2, "why"),
    (["show", "gone"], 1, "no model gone"),
    (["promote"], 2, "NAME"),
], ids=["a worse one", "a broken one by force", "none of that name", "a path", "no reason", "show none", "no name"])
def test_what_cannot_be_done_is_one_sentence_and_an_exit_status(models, words, status, says):
    assert says in run(*words, status=status)
    assert not models.pointer.exists()


def test_an_error_is_json_where_json_was_asked_for(models):
    assert json.loads(run("promote", "worse", "--json", status=3))["error"]["code"] == "not_promoted"


def test_a_model_of_the_settings_must_be_taken_out_of_them_first(models):
    path = {"ASSISTANT_MODEL__PATH": str(MODEL)}
    assert "empty [model] path" in run("promote", "fresh", status=2, env=path)


def test_two_promotes_at_once_are_both_kept_or_the_second_is_refused(models):
    def at_once(*words: list[str]) -> list[int]:
        processes = [subprocess.Popen([*ASSISTANT, "models", *w], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for w in words]
        return sorted(p.wait(120) for p in processes)

    candidate(models.folder, "other", evaluation=evaluation(MODEL))
    assert at_once(["promote", "fresh"], ["promote", "other"]) == [0, 3]
    first = models.read().current.name
    assert at_once(["promote", "worse", "--force", "x"], ["promote", "small", "--force", "y"]) == [0, 0]
    pointer = models.read()
    assert {c.name for c in pointer.history[1:]} == {"worse", "small"} and pointer.history[0].name == first
    assert [u.name for u in pointer.before] == [first, pointer.history[1].name]


def examined(**env: str) -> dict:
    answer = subprocess.run([*ASSISTANT, "doctor", "--json"], capture_output=True, timeout=60, env=os.environ | env)
    return next(c for c in json.loads(answer.stdout)["checks"] if c["name"] == "model")


def test_doctor_looks_at_the_model_in_use(models):
    models.promote("fresh")
    assert examined()["state"] == "ok" and examined()["found"].startswith("fresh:")
    break_byte(models.folder / "fresh")
    found = examined()
    assert found["state"] == "fail" and "fresh" in found["found"] and found["advice"]


def test_doctor_fails_on_a_pointer_that_makes_no_sense(models):
    models.pointer.write_text("{")
    found = examined()
    assert found["state"] == "fail" and "move it away" in found["advice"]


# Beside a daemon

def test_the_running_assistant_uses_what_is_promoted_and_rolled_back_at_once(models, daemon):
    assert run("promote", "fresh", *beside(daemon)) == "fresh is promoted. The running assistant uses it now.\n"
    assert in_use(daemon) == "fresh"
    answer = daemon.say("remind me to call mum tomorrow at 5 pm")
    assert (answer["kind"], answer["understanding"]["model"]) == ("create", "fresh")
    assert run("rollback", *beside(daemon)) == "Back to small. The running assistant uses it now.\n"
    assert in_use(daemon) == "small"


def test_no_request_is_lost_while_two_hundred_are_under_way_and_a_model_is_promoted(models):
    """Two hundred clients each ask one thing after the other until the promotion is over, and once more."""
    env = {"ASSISTANT_MODEL__DIR": str(models.folder), "ASSISTANT_MODEL__QUEUE": "1000"}

    async def client(session: aiohttp.ClientSession, over: asyncio.Event, met: list[str], asking: asyncio.Event) -> None:
        last = False
        while not last:
            last = over.is_set()
            async with session.post("/predict", json={"text": "remind me to eat tomorrow"}) as answer:
                assert answer.status == 200
                told = await answer.json()
            assert told["rewrite"] == "eat | tomorrow"
            met.append(told["model"])
            asking.set()

    async def all_of_it(daemon: Daemon) -> list[list[str]]:
        over, asking, met = asyncio.Event(), asyncio.Event(), [[] for _ in range(200)]
        limits = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(daemon.url, connector=limits[0], timeout=limits[1]) as session, asyncio.TaskGroup() as clients:
            for mine in met:
                clients.create_task(client(session, over, mine, asking))
            await asking.wait()
            told = await asyncio.to_thread(run, "promote", "fresh", *beside(daemon))
            assert "uses it now" in told
            over.set()
        return met

    with Daemon(models.pointer.parent, env) as daemon:
        met = asyncio.run(all_of_it(daemon))
        assert in_use(daemon) == "fresh"
        assert [line for line in daemon.lines if " warning " in line or "Traceback" in line] == []
    assert {mine[-1] for mine in met} == {"fresh"}
    assert {name for mine in met for name in mine} == {"small", "fresh"}


CANNOT_LOAD = """
import assistant.local
from assistant.errors import ModelError
real = assistant.local.LlamaRewriter.__aenter__
async def enter(self):
    if self.name == "fresh":
        raise ModelError("There is no room for it.")
    return await real(self)
assistant.local.LlamaRewriter.__aenter__ = enter
"""


@pytest.mark.parametrize("looks", [NEVER_LOOKS, "import assistant.reload\nassistant.reload.LOOK_SECONDS = 0.001"],
                         ids=["when it is told", "when it saw the pointer first"])
def test_where_the_running_assistant_cannot_load_it_the_command_says_so_and_all_is_as_before(models, looks):
    env = {"ASSISTANT_MODEL__DIR": str(models.folder)}
    with patched(Daemon(models.pointer.parent, env), CANNOT_LOAD + looks) as daemon:
        said = run("promote", "fresh", *beside(daemon), status=3)
        assert said == "assistant: The running assistant uses small, not fresh: There is no room for it.\n"
        assert in_use(daemon) == "small"
    assert models.read().current.name == "small"
    assert [c.by for c in models.read().history] == ["promote", "fallback"]


def test_a_running_assistant_that_takes_long_to_load_it_is_not_passed_for_one_that_does_not_run(models, monkeypatch, capsys):
    def call(self, method, path, *_):
        if path == "/model/reload":
            raise NotRunning("It did not answer within 60 seconds.")
        return {"model_pointer": str(models.pointer)}

    monkeypatch.setattr(Client, "call", call)
    promote("fresh", None)
    assert capsys.readouterr().out == "fresh is promoted. The running assistant has not said yet whether it uses it.\n"


def test_list_shows_a_manifest_of_endless_depth(models):
    (models.folder / "half" / "manifest.json").write_text("[" * 100_000)
    assert "not JSON" in run("list")


def test_a_daemon_of_other_data_is_left_alone(models, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with Daemon(other, {"ASSISTANT_MODEL__DIR": str(models.folder)}) as daemon:
        port = beside(daemon)[-2:]
        assert "at the next start" in run("promote", "fresh", *port)
        assert in_use(daemon) == "small"


def test_a_daemon_whose_own_settings_name_a_model_says_so(models):
    with Daemon(models.pointer.parent, {"ASSISTANT_MODEL__PATH": str(MODEL)}) as daemon:
        assert "empty [model] path" in run("promote", "fresh", *beside(daemon), status=3)
        assert in_use(daemon) == "small"
