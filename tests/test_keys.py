"""The keys of the model service: made once, kept hashed, rotated without an outage, and what a broken file does."""

import json
import logging
import os
import re
import stat
import subprocess
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from assistant.errors import BadRequest, ConfigError, NotFound
from assistant.keys import KeyFile, Keys
from tests.fakes import StandingClock
from tests.process import ASSISTANT


@pytest.fixture
def file(tmp_path) -> KeyFile:
    return KeyFile(tmp_path / "data" / "keys.json", StandingClock(datetime(2026, 3, 11, 10, tzinfo=UTC)))


def errors(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


# The file

def test_a_key_is_known_by_its_name_and_no_other_is(file):
    key, _ = file.add("laptop")
    other, _ = file.add("phone")
    keys = Keys(file)
    assert (keys.who(key), keys.who(other), len(keys)) == ("laptop", "phone", 2)
    for wrong in ("", "ra_", key[:-1], key + "x", key.upper(), sha256(key.encode()).hexdigest(), "\udcff", "ключ"):
        assert keys.who(wrong) is None


def test_a_key_has_256_random_bits_and_says_whose_product_it_is(file):
    made = {file.add(f"n{n}")[0] for n in range(20)}
    assert len(made) == 20 and all(re.fullmatch(r"ra_[A-Za-z0-9_-]{43}", key) for key in made)


def test_the_file_has_a_hash_and_a_hint_and_is_for_its_owner_alone(file):
    key, kept = file.add("laptop")
    assert json.loads(file.path.read_text()) == {"keys": [{
        "name": "laptop", "sha256": sha256(key.encode()).hexdigest(), "made_at": "2026-03-11T10:00:00+00:00",
        "hint": key[-4:]}]}
    assert key not in file.path.read_text() and (kept.name, kept.hint) == ("laptop", key[-4:])
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert sorted(p.name for p in file.path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_file_that_others_could_read_is_for_its_owner_alone_after_the_next_change(file):
    file.add("laptop")
    file.path.chmod(0o644)
    file.add("phone")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_key_that_is_made_by_root_belongs_to_whom_the_folder_belongs(file):
    if os.geteuid():
        pytest.skip("only root can give a file away")
    file.path.parent.mkdir()
    os.chown(file.path.parent, 1234, 1235)
    file.add("laptop")
    assert (file.path.stat().st_uid, file.path.stat().st_gid) == (1234, 1235)
    os.chown(file.path, 4321, 4322)
    file.add("phone")
    assert (file.path.stat().st_uid, file.path.stat().st_gid) == (4321, 4322)


def test_a_name_is_rotated_by_a_second_key_and_then_without_the_first(file):
    old, _ = file.add("laptop")
    with pytest.raises(BadRequest, match="--rotate"):
        file.add("laptop")
    new, _ = file.add("laptop", rotate=True)
    keys = Keys(file)
    assert keys.who(old) == keys.who(new) == "laptop"
    with pytest.raises(BadRequest, match="--old"):
        file.add("laptop", rotate=True)
    [gone] = file.remove("laptop", old=True)
    assert gone.hint == old[-4:]
    keys.refresh()
    assert (keys.who(old), keys.who(new)) == (None, "laptop")
    with pytest.raises(NotFound, match="only one key"):
        file.remove("laptop", old=True)


def test_a_name_is_removed_with_all_of_its_keys_and_the_others_stay(file):
    file.add("laptop")
    file.add("laptop", rotate=True)
    phone, _ = file.add("phone")
    assert len(file.remove("laptop")) == 2
    assert [key.name for key in file.read()] == ["phone"] and Keys(file).who(phone) == "phone"
    with pytest.raises(NotFound, match="keys list"):
        file.remove("laptop")
    with pytest.raises(NotFound, match="without --rotate"):
        file.add("laptop", rotate=True)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-x", ".", "ü", "a\n", "x" * 41], ids=ascii)
def test_what_cannot_be_a_label_is_no_name(file, name):
    with pytest.raises(BadRequest, match="cannot name a key"):
        file.add(name)
    assert not file.path.exists()


BROKEN = {
    "not JSON": "{",
    "nothing": "",
    "a list": "[]",
    "no keys": "{}",
    "a key that is a word": '{"keys": ["x"]}',
    "a key without a hash": '{"keys": [{"name": "a", "made_at": "", "hint": ""}]}',
    "a hash that is none": '{"keys": [{"name": "a", "sha256": "x", "made_at": "", "hint": ""}]}',
    "a hash that is a number": '{"keys": [{"name": "a", "sha256": 5, "made_at": "", "hint": ""}]}',
    "a name that is none": '{"keys": [{"name": "", "sha256": "%s", "made_at": "", "hint": ""}]}' % ("0" * 64),
    "brackets without end": "[" * 100_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_file_that_makes_no_sense_is_told_at_the_start_and_is_not_overwritten(file, content):
    file.path.parent.mkdir()
    file.path.write_text(content)
    with pytest.raises(ConfigError, match="makes no sense"):
        Keys(file)
    with pytest.raises(ConfigError, match="makes no sense"):
        file.add("laptop")
    assert file.path.read_text() == content


def test_a_file_that_cannot_be_read_or_written_is_told(file):
    file.path.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"cannot be read \(is a directory\)"):
        Keys(file)
    file.path.rmdir()
    file.path.parent.rmdir()
    file.path.parent.write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        file.add("laptop")


# While the service runs

def test_a_key_is_let_in_as_soon_as_it_is_made(file):
    keys = Keys(file)
    assert not keys.wanted
    key, _ = file.add("laptop")
    keys.refresh()
    assert keys.wanted and keys.who(key) == "laptop"


def test_taking_the_last_key_away_does_not_open_the_service(file):
    file.add("laptop")
    keys = Keys(file)
    file.remove("laptop")
    keys.refresh()
    assert len(keys) == 0 and keys.wanted


@pytest.mark.parametrize("breaks", [
    lambda path: path.write_text("{"),
    lambda path: path.unlink(),
], ids=["a file that makes no sense", "a file that is gone"])
def test_a_file_that_breaks_while_it_runs_leaves_the_keys_of_before_in_force_and_is_told_once(file, caplog, breaks):
    key, _ = file.add("laptop")
    content = file.path.read_text()
    keys = Keys(file)
    breaks(file.path)
    for _ in range(3):
        keys.refresh()
        assert keys.who(key) == "laptop"
    assert len(errors(caplog)) == 1 and str(file.path) in errors(caplog)[0]
    file.path.write_text(content)
    file.remove("laptop")
    keys.refresh()
    assert keys.who(key) is None and len(errors(caplog)) == 1


# The commands

def run(*words: str, status: int = 0) -> tuple[str, str]:
    answer = subprocess.run([*ASSISTANT, "keys", *words], capture_output=True, text=True, timeout=60)
    assert answer.returncode == status, answer.stderr
    assert "Traceback" not in answer.stderr
    return answer.stdout, answer.stderr


@pytest.mark.parametrize("command", ["add", "list", "remove"])
def test_each_command_has_an_example_and_json(command):
    text, _ = run(command, "--help")
    assert f"Example: assistant keys {command}" in text
    assert all(option in text for option in ("--json", "--config", "--data"))


def test_a_key_is_printed_alone_so_that_a_script_can_take_it_and_is_shown_this_once(tmp_path):
    beside = ("--data", str(tmp_path))
    key, told = run("add", "laptop", *beside)
    assert Keys.open(tmp_path / "keys.json").who(key.strip()) == "laptop"
    assert "not shown again" in told
    listed, _ = run("list", *beside)
    assert "laptop" in listed and key.strip()[-4:] in listed and key.strip() not in listed


def test_the_commands_speak_json(tmp_path):
    beside = ("--data", str(tmp_path), "--json")
    made = json.loads(run("add", "laptop", *beside)[0])
    assert set(made) == {"name", "key", "made_at", "hint"} and made["key"].endswith(made["hint"])
    [listed] = json.loads(run("list", *beside)[0])["keys"]
    assert listed == {"name": "laptop", "made_at": made["made_at"], "hint": made["hint"]}
    again = json.loads(run("add", "laptop", *beside, status=2)[0])
    assert again["error"]["code"] == "bad_request"
    removed, told = run("remove", "laptop", *beside)
    assert json.loads(removed)["removed"][0]["hint"] == made["hint"] and "No key is left" in told


def test_what_is_not_there_ends_with_1(tmp_path):
    assert "keys list" in run("remove", "laptop", "--data", str(tmp_path), status=1)[1]
    assert "this machine only" in run("list", "--data", str(tmp_path))[0]
