"""The command line as a person or a script uses it: by process, its words, its JSON and its exit statuses."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from tests.process import ASSISTANT, Daemon

COMMANDS = ["run", "serve", "say", "listen", "list", "done", "cancel", "snooze", "move", "parse", "transcribe", "devices",
            "doctor", "hearing", "mute", "unmute", "hush", "undo", "show", "address"]
NOW = ("--now", "2026-03-12T12:00", "--tz", "Europe/London")


def assistant(*words: str, cwd=None, env: dict | None = None, stdin: bytes = b"") -> subprocess.CompletedProcess:
    return subprocess.run([*ASSISTANT, *words], cwd=cwd, env=os.environ | (env or {}), input=stdin,
                          capture_output=True, timeout=60)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder without settings, and a port where nobody answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSISTANT_HTTP__PORT", "1")


def error(answer: subprocess.CompletedProcess) -> str:
    """The one sentence of a command that failed."""
    said = answer.stderr.decode()
    assert "Traceback" not in said
    return said


# What needs neither a daemon nor a model

def test_help_names_every_command_and_the_exit_statuses():
    answer = assistant("--help")
    text = answer.stdout.decode()
    assert answer.returncode == 0
    assert [c for c in COMMANDS if not re.search(rf"^  {c} ", text, re.M)] == []
    assert "Exit status" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_an_example_and_json(command):
    text = assistant(command, "--help").stdout.decode()
    assert f"Example: assistant {command}" in text
    assert "--json" in text


def test_help_loads_nothing_heavy():
    command = [sys.executable, "-X", "importtime", "-m", "assistant", "--help"]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=30).stderr
    heavy = ("llama_cpp", "aiohttp", "pydantic", "apprise", "dateparser", "sqlite_utils", "apscheduler", "numpy")
    assert [name for name in heavy if re.search(rf"\| +{name}$", loaded, re.M)] == []


@pytest.mark.parametrize("words", [
    ("say", "remind me"), ("list",), ("done", "1"), ("cancel", "1"), ("snooze", "1"), ("move", "1", "--to", "tomorrow"),
], ids=lambda w: w[0])
def test_without_a_daemon_each_command_says_how_to_start_it(words):
    answer = assistant(*words)
    assert answer.returncode == 5
    assert "assistant run" in error(answer) and answer.stdout == b""


def test_an_error_is_json_where_json_was_asked_for():
    answer = assistant("list", "--json")
    assert answer.returncode == 5
    assert json.loads(answer.stdout)["error"]["code"] == "not_running"


@pytest.mark.parametrize(("words", "says"), [
    (("parse", "x", "--now", "soon"), '"soon" is not an instant'),
    (("parse", "x", "--tz", "Mars/Base"), "is not a time zone"),
    (("parse", "x", "--tz", "Europe/Londn"), "Europe/London"),
    (("parse", "x", "--config", "nowhere.toml"), "nowhere.toml"),
    (("snooze", "1", "--minutes", "5", "--to", "tomorrow"), "not both"),
    (("list", "--port", "99999"), "http.port"),
    (("frobnicate",), "frobnicate"),
], ids=["a now that is none", "a zone that is none", "a zone mistyped", "a file that is not there",
        "minutes and a time", "a port that is none", "a command that is none"])
def test_what_cannot_be_taken_ends_with_2_and_says_why(words, says):
    answer = assistant(*words)
    assert answer.returncode == 2
    assert says in error(answer)


def test_a_wrong_setting_ends_with_2_and_its_name(tmp_path):
    (tmp_path / "config.toml").write_text("[http]\nprt = 1\n")
    answer = assistant("list")
    assert answer.returncode == 2
    assert "http.prt" in error(answer) and "http.port" in error(answer) and "config.toml" in error(answer)


def test_a_model_that_is_missing_ends_with_3():
    answer = assistant("parse", "remind me", env={"ASSISTANT_MODEL__PATH": "/nowhere"})
    assert answer.returncode == 3
    assert "/nowhere" in error(answer)


# parse

def parse(stdin: bytes, *words: str) -> list[dict]:
    answer = assistant("parse", "--json", *NOW, *words, stdin=stdin)
    assert answer.returncode == 0, error(answer)
    return [json.loads(line) for line in answer.stdout.decode().split("\n")[:-1]]


def test_parse_understands_without_a_daemon(model):
    answer = assistant("parse", "remind me to call mum tomorrow at 5 pm", *NOW, "--json")
    got = json.loads(answer.stdout)
    assert {"text", "kind", "rewrite", "reminders", "confidence", "model", "ms"} <= set(got)
    assert got["reminders"] == [
        {"task": "call mum", "when": "tomorrow 17:00", "due": "2026-03-13T17:00:00+00:00", "rrule": None}]


def test_parse_for_a_person_is_one_readable_line(model):
    answer = assistant("parse", "remind", "me", "to", "call", "mum", "tomorrow", "at", "5", "pm", *NOW)
    assert answer.stdout.decode() == "create: call mum, Fri 13 Mar 2026 17:00 (tomorrow 17:00)\n"


def test_parse_answers_each_line_with_one_object_in_order_whatever_the_line(model):
    lines = [b"remind me to call mum tomorrow at 5 pm", b"", b"   ", b"x" * 501, b"\xff\xfe\x00 call", b"[]{}\"'\\",
             "remind me\u2028to eat\x0b\x0cnow\x85".encode(), b"remind me to eat tomorrow\r", b"\x1b[31m", b"last"]
    got = parse(b"\n".join(lines))
    assert len(got) == len(lines)
    assert [g.get("error") for g in got[1:4]] == ["blank", "blank", "too_long"]
    assert all(g["kind"] == "other" and g["reminders"] == [] for g in got[1:4])
    assert got[0]["kind"] == "create"


def test_parse_reads_a_naive_now_in_the_zone_and_answers_in_it(model):
    text = "remind me to call mum in 2 hours"
    [got] = [json.loads(assistant("parse", text, "--json", "--now", now, "--tz", "Asia/Kathmandu").stdout)
             for now in ["2026-03-12T12:00"]]
    assert got["reminders"][0]["due"] == "2026-03-12T14:00:00+05:45"


def test_parse_takes_a_now_with_an_offset_into_the_zone(model):
    words = ("--json", "--now", "2026-03-12T12:00Z", "--tz", "Asia/Kathmandu")
    got = json.loads(assistant("parse", "remind me to call mum in 2 hours", *words).stdout)
    assert got["reminders"][0]["due"] == "2026-03-12T19:45:00+05:45"


def test_parse_answers_a_line_before_the_next_one_comes(model):
    with subprocess.Popen([*ASSISTANT, "parse", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for text in (b"remind me to eat tomorrow\n", b"\n"):
            process.stdin.write(text)
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text.decode().strip()
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("how", ["the reader goes away", "an interrupt"])
def test_parse_ends_quietly_when(model, how):
    import signal

    with subprocess.Popen([*ASSISTANT, "parse", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        if how == "an interrupt":
            process.send_signal(signal.SIGINT)
        else:
            process.stdout.close()
            process.stdin.write(b"\n" * 10)
            process.stdin.flush()
        assert process.wait(30) in (1, -signal.SIGINT)
        assert process.stderr.read() == b""


# The commands that speak to the daemon

@pytest.fixture(scope="module")
def running(model, tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("data")) as daemon:
        yield daemon


@pytest.fixture
def daemon(running, monkeypatch):
    """A daemon that answers the commands and has nothing set."""
    monkeypatch.setenv("ASSISTANT_HTTP__PORT", running.url.rpartition(":")[2])
    for reminder in running.call("GET", "/reminders")[1]["reminders"]:
        running.call("DELETE", f"/reminders/{reminder['id']}")
    return running


def reminders() -> list[dict]:
    return json.loads(assistant("list", "--json").stdout)["reminders"]


def test_say_sets_a_reminder_that_list_shows(daemon):
    answer = assistant("say", "remind", "me", "to", "call", "mum", "tomorrow", "at", "5", "pm")
    assert answer.returncode == 0
    assert "call mum" in answer.stdout.decode()
    listed = assistant("list").stdout.decode()
    assert "call mum" in listed and "17:00" in listed
    assert [r["task"] for r in reminders()] == ["call mum"]


def test_say_in_json_has_the_answer_and_what_was_made(daemon):
    got = json.loads(assistant("say", "remind me to call mum tomorrow at 5 pm", "--json").stdout)
    assert got["kind"] == "create" and got["reminders"][0]["task"] == "call mum"


def test_say_of_something_else_ends_with_1(daemon):
    assert assistant("say", "what is the capital of france").returncode == 1


def test_say_without_a_time_asks_a_person_back_and_takes_the_answer(daemon):
    master, slave = pty.openpty()
    with subprocess.Popen([*ASSISTANT, "say", "remind me to buy milk"], stdin=slave, stdout=subprocess.PIPE) as process:
        os.close(slave)
        os.write(master, b"tomorrow at 5 pm\n")
        said = process.stdout.read().decode()
        assert process.wait(30) == 0
    os.close(master)
    assert "?" in said and "buy milk" in said
    assert [r["task"] for r in reminders()] == ["buy milk"]


def test_list_missed_names_what_nobody_acknowledged_and_nothing_else(tmp_path, monkeypatch):
    assert "--missed" in assistant("list", "--help").stdout.decode()
    impatient = {"ASSISTANT_RING__REPEATS": "0", "ASSISTANT_RING__REPEAT_AFTER_MINUTES": "0.005"}
    with Daemon(tmp_path, impatient) as daemon:
        monkeypatch.setenv("ASSISTANT_HTTP__PORT", daemon.url.rpartition(":")[2])
        assert assistant("list", "--missed").stdout.decode() == "No reminder is missed.\n"
        daemon.say("remind me to call mum in 1 second")
        daemon.say("remind me to call dad tomorrow at 5 pm")
        daemon.wait_for("nobody acknowledged")
        missed = json.loads(assistant("list", "--missed", "--json").stdout)["reminders"]
    assert [r["task"] for r in missed] == ["call mum"]


def test_an_empty_list_says_so(daemon):
    assert assistant("list").stdout.decode() == "Nothing is set.\n"


@pytest.fixture
def two(daemon):
    """Reminders of which one word is common to both."""
    return [daemon.say(f"remind me to call {who} tomorrow at 5 pm")["reminders"][0] for who in ("mum", "dad")]


@pytest.mark.parametrize(("command", "state"), [("done", "done"), ("cancel", "cancelled")])
def test_by_number(two, daemon, command, state):
    assert assistant(command, str(two[0]["id"])).returncode == 0
    assert [r["task"] for r in reminders()] == ["call dad"]
    assert daemon.call("GET", f"/reminders/{two[0]['id']}")[1]["state"] == state


def test_by_words_that_fit_one_only(two):
    assert assistant("cancel", "Mum", "--yes").returncode == 0
    assert [r["task"] for r in reminders()] == ["call dad"]


def test_words_that_fit_two_change_nothing_and_name_both(two):
    answer = assistant("cancel", "call", "--yes")
    assert answer.returncode == 2
    assert all(str(r["id"]) in error(answer) for r in two)
    assert len(reminders()) == 2


def test_words_that_fit_none_end_with_1(two):
    assert assistant("cancel", "dentist", "--yes").returncode == 1


def test_a_number_that_is_none_ends_with_1(two):
    answer = assistant("done", "99")
    assert answer.returncode == 1 and "99" in error(answer)


def test_a_script_must_give_a_number_or_say_yes(two):
    answer = assistant("cancel", "mum")
    assert answer.returncode == 2 and "--yes" in error(answer)
    assert len(reminders()) == 2


def test_snooze_and_move_give_another_time(two):
    mum, dad = (str(r["id"]) for r in two)
    moved = json.loads(assistant("move", mum, "--to", "friday 10:00", "--json").stdout)
    assert moved["reminder"]["due"][11:16] == "10:00"
    assert assistant("snooze", dad, "--minutes", "15").returncode == 0
    assert assistant("move", mum, "--to", "soonish").returncode == 2


# doctor

def examined(**env: str) -> tuple[int, dict[str, dict]]:
    answer = assistant("doctor", "--json", env=env)
    return answer.returncode, {c["name"]: c for c in json.loads(answer.stdout)["checks"]}


def test_doctor_finds_everything_in_order(model, tmp_path):
    status, checks = examined(ASSISTANT_DATA__DIR=str(tmp_path / "data"), ASSISTANT_NOTIFY__USE="log",
                              ASSISTANT_HTTP__PORT="0")
    assert status == 0
    here = {"microphone", "voice", "disk", "daemon"}  # as this machine has them
    assert {"model", "database", "zone", "notify log", "hearing"} | here == set(checks)
    assert {checks[name]["state"] for name in checks.keys() - here} == {"ok"}


def test_doctor_looks_at_the_database_beside_a_running_daemon(two, daemon):
    status, checks = examined(ASSISTANT_DATA__DIR=str(daemon.data))
    assert checks["database"]["state"] == checks["daemon"]["state"] == "ok"
    assert "2 reminders" in checks["database"]["found"]


def test_doctor_fails_on_what_is_broken_and_says_what_to_do(tmp_path):
    (tmp_path / "reminders.db").write_bytes(b"not a database at all" * 100)
    status, checks = examined(ASSISTANT_DATA__DIR=str(tmp_path), ASSISTANT_MODEL__PATH="/nowhere")
    assert status == 1
    for name in ("database", "model"):
        assert checks[name]["state"] == "fail" and checks[name]["advice"]


def test_doctor_prints_a_table_for_a_person(tmp_path):
    answer = assistant("doctor", env={"ASSISTANT_DATA__DIR": str(tmp_path), "ASSISTANT_MODEL__PATH": "/nowhere"})
    assert answer.returncode == 1 and "zone" in answer.stdout.decode()


@pytest.mark.parametrize(
    ("which", "sentence"), [([""], "Say which one"), (["2", "3"], "one number at a time")], ids=["nothing", "two numbers"]
)
def test_which_one_must_be_said(which, sentence):
    done = assistant("cancel", *which)
    assert (done.returncode, sentence in done.stderr.decode()) == (2, True)
