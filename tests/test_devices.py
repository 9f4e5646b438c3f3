"""`assistant devices` and what `assistant doctor` says of the microphone: which there are, and whether sound arrives."""

import json
import os
import pty
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from assistant import doctor, silence
from assistant.capture import Device, choose
from assistant.config import load
from assistant.errors import NoMicrophone
from tests import virtual_microphone
from tests.process import ASSISTANT
from tests.test_audio import tone, write_wav
from tests.test_cli import assistant, error
from tests.test_microphone import plugged  # noqa: F401
from tests.virtual_microphone import VirtualMicrophone

BUILT_IN, HEADSET, LOUDSPEAKER = "Built-in", "Red headset", "Loudspeaker"


@pytest.fixture(autouse=True)
def fake(monkeypatch, tmp_path):
    """Sets what the fake PortAudio does; a working folder without settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "fake_portaudio"))

    def wish(**wish) -> None:
        monkeypatch.setenv("FAKE_MICROPHONE", json.dumps(wish))

    wish()
    return wish


def listed(*words: str) -> dict[str, dict]:
    answer = assistant("devices", "--json", *words)
    assert answer.returncode == 0, error(answer)
    return {d["name"]: d for d in json.loads(answer.stdout)["devices"]}


# Which one is used

def device(name: str, index: int = 0, inputs: int = 1, default: bool = False) -> Device:
    return Device(index, name, "Fake", inputs, 0, 48_000.0, default, False)


@pytest.mark.parametrize(("names", "wanted", "used"), [
    (["a", "*b", "c"], "", "b"), (["a", "b"], "", "a"), (["a headset", "*b"], "headset", "a headset"),
    (["USB 2", "USB"], "usb", "USB"), (["one USB", "two USB"], "USB", "one USB"),
], ids=["the default", "the first without a default", "a part of a name", "the whole name first", "the first of several"])
def test_the_microphone_that_is_used(names, wanted, used):
    among = [device(n.strip("*"), i, default=n.startswith("*")) for i, n in enumerate(names)]
    assert choose([device(wanted or "a", 9, inputs=0), *among], wanted).name == used


@pytest.mark.parametrize(("among", "wanted", "says"), [
    ([], "", "there is none"), ([device("a", inputs=0)], "", "there is none"), ([device("a")], "b", '"b"'),
], ids=["no device", "a loudspeaker alone", "another name"])
def test_none_can_be_used(among, wanted, says):
    with pytest.raises(NoMicrophone, match=says):
        choose(among, wanted)


# The list

def test_devices_are_listed_with_the_default_and_the_one_that_is_used():
    found = listed()
    assert list(found) == [BUILT_IN, HEADSET, LOUDSPEAKER]
    assert [d["name"] for d in found.values() if d["default_input"]] == [BUILT_IN]
    assert [d["name"] for d in found.values() if d["used"]] == [BUILT_IN]
    assert (found[HEADSET]["inputs"], found[HEADSET]["outputs"], found[HEADSET]["rate"]) == (1, 2, 16_000)


def test_the_settings_choose_the_one_that_is_used(monkeypatch):
    monkeypatch.setenv("ASSISTANT_AUDIO__MICROPHONE", "headset")
    assert [d["name"] for d in listed().values() if d["used"]] == [HEADSET]


def test_the_list_for_a_person_has_microphones_and_loudspeakers():
    said = assistant("devices").stdout.decode()
    first, _, second = said.partition("loudspeaker")
    assert BUILT_IN in first and HEADSET in first and LOUDSPEAKER not in first
    assert LOUDSPEAKER in second and HEADSET in second and BUILT_IN not in second
    assert "default" in first and "used" in first


def test_a_chosen_microphone_that_is_not_there_is_said_beside_the_list(monkeypatch):
    monkeypatch.setenv("ASSISTANT_AUDIO__MICROPHONE", "green")
    answer = assistant("devices")
    assert answer.returncode == 0 and BUILT_IN in answer.stdout.decode() and '"green"' in answer.stderr.decode()


def test_without_portaudio_it_says_what_to_install(fake):
    fake(missing=True)
    answer = assistant("devices")
    assert answer.returncode == 1 and "apt install libportaudio2" in error(answer)


def test_a_name_without_a_test_is_refused():
    assert assistant("devices", "headset").returncode == 2


# The test

def test_sound_that_arrives_is_told_with_its_level(fake):
    fake(frames=100, level=3277)
    answer = assistant("devices", "--test", "headset", "--json")
    got = json.loads(answer.stdout)
    assert answer.returncode == 0 and got["device"] == HEADSET
    assert got["loudest_db"] == pytest.approx(-20, abs=0.2) and not got["quiet"]


def test_a_quiet_microphone_is_told_to_be_quiet(fake):
    fake(frames=100, level=20)
    answer = assistant("devices", "--test")
    assert answer.returncode == 0 and "very quiet" in answer.stdout.decode()


@pytest.mark.parametrize(("wish", "says"), [
    ({"devices": False}, "there is none"), ({"frames": 10, "ends": True}, "delivers nothing"),
    ({"frames": 100, "level": 0}, "delivers silence"),
], ids=["no microphone", "one that delivers nothing", "one that delivers zeros"])
def test_a_test_without_sound_ends_with_1_and_says_which(fake, wish, says):
    fake(**wish)
    answer = assistant("devices", "--test")
    assert answer.returncode == 1 and says in error(answer)


def test_on_a_terminal_a_bar_shows_the_level(fake):
    fake(frames=100, level=3277)
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    command = [*ASSISTANT, "devices", "--test"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=env) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # nobody writes to it any longer
            while piece := os.read(ours, 65_536):
                shown += piece
        said = process.stdout.read().decode()
    os.close(ours)
    assert "Sound arrives from Built-in" in said
    assert "Built-in: say something" in shown.decode() and " dB" in shown.decode()


# The doctor

@pytest.mark.parametrize(("wish", "state", "found"), [
    ({"frames": 100, "level": 3277}, "ok", "Built-in: sound arrives"), ({"devices": False}, "warn", "there is none"),
    ({"missing": True}, "warn", "PortAudio library is missing"), ({"ends": True}, "warn", "delivers nothing"),
    ({"frames": 100, "level": 0}, "warn", "delivers silence"),
], ids=["sound", "no microphone", "no PortAudio", "nothing", "zeros"])
def test_doctor_listens_for_a_moment(fake, wish, state, found):
    fake(**wish)
    [check] = doctor.microphone(load(environ={}))
    assert check.state == state and found in check.found
    assert bool(check.advice) is (state == "warn")


@pytest.mark.parametrize(("chosen", "why", "advice"), [
    ("", "muted", "unmute"), ("headset", "muted", "lid closed"), ("headset", "forbidden", "allow it"),
], ids=["the default is muted", "the default is, another one is chosen", "none is allowed"])
def test_doctor_calls_muted_only_the_microphone_that_is(fake, monkeypatch, chosen, why, advice):
    fake(frames=100, level=0)
    monkeypatch.setattr(silence, "why", lambda: why)
    [check] = doctor.microphone(load(environ={}, audio={"microphone": chosen}))
    assert advice in check.advice and ("it is muted" in check.found) is (advice == "unmute")


def test_doctor_tells_of_a_missing_library_what_to_install_and_nothing_else(fake, monkeypatch):
    fake(missing=True)
    monkeypatch.setattr(silence, "why", lambda: "forbidden")
    [check] = doctor.microphone(load(environ={}))
    assert check.found == "No microphone can be opened, for the PortAudio library is missing"
    assert check.advice.startswith("install it (Debian, Ubuntu: apt install libportaudio2; Fedora:")


# By a microphone of PulseAudio's

@virtual_microphone.wanted
def test_a_real_microphone_is_listed_tested_and_examined(plugged: VirtualMicrophone, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.delenv("PYTHONPATH")
    assert [d["default_input"] for d in listed().values() if d["used"]] == [True]
    plugged.mute()
    [check] = doctor.microphone(load(environ={}))
    assert (check.state, "muted" in check.found, "unmute" in check.advice) == ("warn", True, True)
    plugged.mute(False)
    wav = write_wav(tmp_path / "a.wav", [tone(440, seconds=20)])
    with subprocess.Popen(["paplay", "--device=speaker", str(wav)]) as player:
        answer = assistant("devices", "--test", "--json")
        player.terminate()
    assert json.loads(answer.stdout)["loudest_db"] == pytest.approx(-9, abs=1)
