"""The settings: where they come from, which wins, and what is said about a wrong one."""

import re
import tomllib
from datetime import time
from pathlib import Path

import pytest
from pydantic import BaseModel

from assistant.app import delivery_policy
from assistant.config import Config, load
from assistant.delivery import DeliveryPolicy
from assistant.errors import ConfigError
from assistant.sections import When
from assistant.when import Policy

TOP = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Each test has a working folder of its own."""
    monkeypatch.chdir(tmp_path)


def defaults(section: type[BaseModel]) -> dict:
    """All keys of a section with their defaults, as TOML has them."""
    out = {}
    for key, field in section.model_fields.items():
        value = field.default
        if isinstance(value, BaseModel):
            value = defaults(type(value))
        elif isinstance(value, time):
            value = f"{value:%H:%M}"
        elif isinstance(value, tuple):
            value = list(value)
        out[key] = value
    return out


def test_config_toml_holds_every_key_with_its_default_and_no_other():
    assert tomllib.loads((TOP / "config.toml").read_text()) == defaults(Config)


def test_every_key_of_config_toml_follows_a_comment():
    lines = (TOP / "config.toml").read_text().splitlines()
    blocks = "\n".join(lines).split("\n\n")
    for block in blocks[1:]:
        section = re.search(r"^\[(.+)\]", block, re.M)[1]
        assert "#" in block, section


def test_the_when_section_has_the_fields_and_defaults_of_the_policy():
    assert When().policy == Policy()


def test_no_file_at_all_gives_the_defaults():
    assert load(environ={}).model_dump() == Config.model_construct().model_dump()


def test_config_toml_as_it_ships_gives_the_defaults():
    assert load(TOP / "config.toml", environ={}).model_dump() == Config.model_construct().model_dump()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_file_is_looked_for_in_the_order_of_the_documentation(tmp_path):
    def port(explicit=None, **environ):
        return load(explicit, environ=environ).http.port

    write(tmp_path / "home/.config/reminder-assistant/config.toml", "[http]\nport = 1")
    assert port() == 1
    write(tmp_path / "config.toml", "[http]\nport = 2")
    assert port() == 2
    named = write(tmp_path / "named.toml", "[http]\nport = 3")
    assert port(ASSISTANT_CONFIG=str(named)) == 3
    explicit = write(tmp_path / "explicit.toml", "[http]\nport = 4")
    assert port(explicit, ASSISTANT_CONFIG=str(named)) == 4


def test_each_source_wins_over_the_one_below_it_key_by_key(tmp_path):
    write(tmp_path / "config.toml", '[http]\nhost = "file"\nport = 1\n[ring]\nrepeats = 1\nsnooze_minutes = 1')
    write(tmp_path / ".env", "ASSISTANT_RING__REPEATS=2\nASSISTANT_HTTP__PORT=2\nOTHER_PROGRAM=x")
    config = load(environ={"ASSISTANT_HTTP__PORT": "3"}, http={"host": "flag"})
    assert (config.http.host, config.http.port, config.ring.repeats, config.ring.snooze_minutes) == ("flag", 3, 2, 1)


@pytest.mark.parametrize("value", ["log,command", "log, command", '["log", "command"]'])
def test_a_list_in_a_variable_may_be_json_or_have_commas(value):
    environ = {"ASSISTANT_NOTIFY__USE": value, "ASSISTANT_NOTIFY__COMMAND__ARGV": '["/bin/ring", "now"]'}
    config = load(environ=environ)
    assert config.notify.use == ("log", "command")
    assert config.notify.command.argv == ("/bin/ring", "now")


@pytest.mark.parametrize("written", ['"7:30"', '"07:30"', "07:30:00"])
def test_a_time_of_day_may_be_a_string_or_a_time_of_toml(tmp_path, written):
    write(tmp_path / "config.toml", f"[when]\nmorning = {written}")
    assert load(environ={}).when.morning == time(7, 30)


WRONG = {
    "a key that is not known": ("[http]\nprt = 1", {}, ["http.prt is not", "did you mean http.port?", "http.host"]),
    "a section that is none": ("[htp]\nport = 1", {}, ["htp is not", "did you mean http?", "ring"]),
    "a key outside of a section": ("port = 1", {}, ["port is not a setting"]),
    "a key of a table in a table": ("[notify.command]\nargs = 1", {}, ["notify.command.args", "notify.command.argv"]),
    "a word for a number": ('[http]\nport = "x"', {}, ["http.port", "'x'", "a TCP port"]),
    "a number out of bounds": ("[http]\nport = 65536", {}, ["http.port", "65536", "1 to 65535"]),
    "true for a number": ("[http]\nport = true", {}, ["http.port", "a TCP port"]),
    "a number for a word": ("[data]\ndir = 3", {}, ["data.dir", "a folder"]),
    "a number for a section": ("http = 3", {}, ["http is a section", "port"]),
    "a choice that is none": ('[when]\nnext_weekday = "neerest"', {}, ["when.next_weekday", "next_week", "nearest"]),
    "a member that is none": ('[notify]\nuse = ["log", "desktp"]', {}, ["notify.use", "desktp", "apprise"]),
    "a time that is none": ('[when]\nnoon = "25:00"', {}, ["when.noon", "25:00", "a time of day"]),
    "a bare number for a time": ("[when]\nnoon = 12", {}, ["when.noon", "a time of day"]),
    "waking hours the wrong way round": ('[when]\nwaking_from = "23:00"', {}, ["when:", "waking_from", "earlier"]),
    "a zone that is none": ('[when]\nzone = "Europe/Londn"', {}, ["when.zone", "Europe/London"]),
    "a zone out of the tree": ('[when]\nzone = "../../etc/passwd"', {}, ["when.zone"]),
    "a notifier without its settings": ('[notify]\nuse = ["command"]', {}, ["notify", "argv is empty"]),
    "a confidence above 1": ("[model]\nask_below = 1.5", {}, ["model.ask_below", "1.5", '"model"']),
    "a confidence that is a word": ('[model]\nask_below = "modle"', {}, ["model.ask_below", "from 0 (never ask)"]),
    "a confidence that is no number": ("[model]\nask_below = nan", {}, ["model.ask_below", "nan"]),
    "true for a confidence": ("[model]\nask_below = true", {}, ["model.ask_below", '"model"']),
    "a variable with a confidence that is none": ("", {"ASSISTANT_MODEL__ASK_BELOW": "-1"}, ["MODEL__ASK_BELOW", "-1"]),
    "no notifier at all": ("[notify]\nuse = []", {}, ["notify.use", "apprise"]),
    "not TOML": ("port = = 1", {}, ["config.toml", "line 1"]),
    "a variable of a wrong section": ("", {"ASSISTANT_HTPP__PORT": "1"}, ["ASSISTANT_HTPP__PORT", "ASSISTANT_HTTP?"]),
    "a variable of a wrong key": ("", {"ASSISTANT_HTTP__PRT": "1"}, ["http.prt", "http.port"]),
    "a variable with a wrong value": ("", {"ASSISTANT_MODEL__THREADS": "many"}, ["model.threads", "many", "1 to 64"]),
    "a variable that names no key": ("", {"ASSISTANT_HTTP": "1"}, ["http is a section"]),
    "a file that is not there": ("", {"ASSISTANT_CONFIG": "nowhere.toml"}, ["nowhere.toml", "ASSISTANT_CONFIG"]),
}


@pytest.mark.parametrize(("text", "environ", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_with_its_name_and_what_is_right(tmp_path, text, environ, said):
    write(tmp_path / "config.toml", text)
    with pytest.raises(ConfigError) as error:
        load(environ=environ)
    for part in said:
        assert part in str(error.value)
    assert error.value.exit_status == 2 and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None], ids=["not UTF-8", "a folder"])
@pytest.mark.parametrize("name", ["config.toml", ".env"])
def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path, name, content):
    (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_bytes(content)
    try:
        load(tmp_path / name if name == "config.toml" else None, environ={})
    except ConfigError as e:
        assert name in str(e)
    else:
        assert content is None and name == ".env", "only a folder called .env may be passed over"


def test_a_program_that_rings_may_call_assistant_itself():
    load(environ={"ASSISTANT_TASK": "call mum", "ASSISTANT_DUE": "2026-03-12T14:00:00+00:00", "ASSISTANT_ID": "7"})


def test_the_delivery_settings_have_the_defaults_of_the_delivery_policy():
    assert delivery_policy(load(environ={})) == DeliveryPolicy()


def test_the_example_of_env_names_settings_that_exist(tmp_path):
    example = (TOP / ".env.example").read_text()
    on = "\n".join(line.removeprefix("# ") for line in example.splitlines() if line.startswith("# ASSISTANT_")
                   and "CONFIG" not in line)
    write(tmp_path / ".env", on)
    assert load(environ={}).http.port == 8765


def test_a_wrong_value_names_the_variable_that_it_came_from(tmp_path):
    (tmp_path / "config.toml").write_text("[http]\nport = 9000\n")
    with pytest.raises(ConfigError, match=r"^In ASSISTANT_HTTP__PORT: http.port cannot be 'abc'\. It must be"):
        load(tmp_path / "config.toml", environ={"ASSISTANT_HTTP__PORT": "abc"})


@pytest.mark.parametrize(("text", "environ", "below"), [
    ("", {}, "model"), ('ask_below = "model"', {}, "model"), ("ask_below = 0", {}, 0), ("ask_below = 0.75", {}, 0.75),
    ("ask_below = 0.75", {"ASSISTANT_MODEL__ASK_BELOW": "0.25"}, 0.25),
    ("ask_below = 0.75", {"ASSISTANT_MODEL__ASK_BELOW": "model"}, "model"),
], ids=["nothing", "the word", "never", "a number", "a variable", "a variable that is the word"])
def test_when_it_asks_is_a_number_or_left_to_the_model(tmp_path, text, environ, below):
    write(tmp_path / "config.toml", f"[model]\n{text}")
    assert load(environ=environ).model.ask_below == below
