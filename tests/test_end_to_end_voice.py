"""By voice from end to end: the real daemon in a room with a microphone and a loudspeaker that are heard in each other.

What is said is made by synthesisers and heard by PocketSphinx, which mishears some of it: the sentences that a test
depends on are such as it hears, and the share of all is a figure with a bar.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import soak_voice, speech, virtual_microphone
from tests.process import ASSISTANT, Daemon
from tests.soak_voice import BY, SETTINGS, counted, hears, idle, in_the_room, leave, replug, say, understood
from tests.speech import speak
from tests.virtual_room import VirtualRoom

pytestmark = [speech.wanted, virtual_microphone.wanted, pytest.mark.usefixtures("model")]
TEN = [BY[n] for n in (28, 34, 35, 46, 48, 50, 54, 63, 68, 70)]
"""Ten of the 90 that `scripts/soak` says, by all three voices: short ones that it hears on a machine that is not too busy."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[VirtualRoom]:
    with VirtualRoom(tmp_path_factory.mktemp("sound")) as sound:
        yield sound


@pytest.fixture
def sound(shared) -> VirtualRoom:
    shared.forget()
    return shared


@pytest.fixture
def alone(tmp_path_factory) -> Iterator[VirtualRoom]:
    """A room in which there is no other daemon."""
    with VirtualRoom(tmp_path_factory.mktemp("sound")) as sound:
        yield sound


@pytest.fixture(scope="module")
def overhearing(shared, tmp_path_factory) -> Iterator[Daemon]:
    """A daemon that listens all the time, in the shared room."""
    with Daemon(tmp_path_factory.mktemp("data"), shared.environ | SETTINGS) as daemon:
        shared.until(lambda: idle(daemon))
        yield daemon


TIMES = 3
"""A machine that is too busy for its sound loses some, and it is misheard: then it is said again."""


def tasks(daemon: Daemon) -> list[str]:
    return [r["task"] for r in daemon.call("GET", "/reminders")[1]["reminders"]]


def asked(sound: VirtualRoom, daemon: Daemon, text: str, to_the_end: bool = False) -> int:
    """Say it until it is set and confirmed aloud; how often that was."""
    for n in range(1, TIMES + 1):
        if say(sound, daemon, text, "rms", to_the_end) and hears(daemon)["state"] == "waiting":
            return n
        leave(sound, daemon)
    raise AssertionError(f"{text!r} was not understood {TIMES} times")


def traces(daemon: Daemon) -> str:
    """All that it has written, to its files and its log."""
    files = [file.read_bytes().decode("latin-1") for file in daemon.data.rglob("*") if file.is_file()]
    return "\n".join([*files, *daemon.lines]).lower()


def test_what_is_said_in_a_room_becomes_a_reminder_and_is_answered_aloud(tmp_path):
    tally = understood(TEN, tmp_path)
    print(soak_voice.shares(tally))
    assert tally["right"] >= 6 and tally["spoke"] >= 7 and not tally["crashes"], tally


def test_its_own_voice_is_not_heard_and_what_others_say_leaves_no_trace(sound, overhearing):
    """Both come from the loudspeaker, so that it would be heard if it were not its own."""
    said = asked(sound, overhearing, "remind me to bring the umbrella tomorrow morning", to_the_end=True)
    sound.pass_by(1.5)
    assert counted(overhearing, "utterances_total") == said
    sound.play(in_the_room(speak("my neighbor had dinner in the garden yesterday", "rms")), "loudspeaker")
    sound.until(lambda: counted(overhearing, "utterances_dropped_total") == 1)
    assert len(tasks(overhearing)) == 1 and "umbrella" in traces(overhearing), "so words would be found"
    assert not [word for word in ("neighbor", "dinner", "garden", "yesterday") if word in traces(overhearing)]


def test_when_the_sound_server_is_killed_it_hears_again_as_soon_as_there_is_another(sound, overhearing):
    before = len(tasks(overhearing))
    replug(sound, overhearing)
    leave(sound, overhearing)
    asked(sound, overhearing, "remind me to call the doctor tomorrow morning")
    assert len(tasks(overhearing)) == before + 1 and hears(overhearing)["reopened"] >= 1


def test_nothing_of_the_sound_is_on_the_disk(overhearing):
    assert not [f.name for f in overhearing.data.rglob("*") if f.is_dir() or f.suffix in (".wav", ".raw", ".pcm")]
    assert "riff" not in traces(overhearing)


@contextmanager
def waiting_for_the_word(sound: VirtualRoom, data: Path) -> Iterator[Daemon]:
    with Daemon(data, sound.environ | SETTINGS | {"ASSISTANT_WAKE__MODE": "word"}) as daemon:
        yield daemon
        assert daemon.stop() == 0


def command(daemon: Daemon, *words: str) -> None:
    subprocess.run([*ASSISTANT, *words, "--port", daemon.url.rpartition(":")[2]], check=True, capture_output=True)


def test_it_waits_for_its_word_listens_to_the_answer_without_it_and_is_deaf_when_muted(alone, tmp_path):
    with waiting_for_the_word(alone, tmp_path) as daemon:
        alone.until(lambda: idle(daemon))
        alone.play(in_the_room(speak("remind me to feed the cat tomorrow", "rms")))
        alone.pass_by(1.5)
        assert counted(daemon, "utterances_total") == 0
        for _ in range(TIMES):
            leave(alone, daemon)
            if say(alone, daemon, "okay nabu, remind me to water the plants", "rms"):
                say(alone, daemon, "tomorrow morning", "rms")
            if tasks(daemon):
                break
        assert tasks(daemon) == ["water the plants"]
        command(daemon, "mute")
        assert (hears(daemon)["state"], hears(daemon)["microphone"]) == ("muted", "closed")
        alone.until(lambda: alone.hearers() == 0)
    with waiting_for_the_word(alone, tmp_path) as daemon:
        assert hears(daemon)["state"] == "muted" and alone.hearers() == 0
        command(daemon, "unmute")
        alone.until(lambda: idle(daemon) and alone.hearers() == 1)


def test_twelve_recordings_in_a_row_each_get_an_answer(tmp_path):
    faults, _ = soak_voice.utterances(12, seed=1, folder=tmp_path)
    assert faults == []
