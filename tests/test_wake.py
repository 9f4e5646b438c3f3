"""The wake word: real models of microWakeWord hear synthesisers, and nothing in what is not the word."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pymicro_wakeword import microwakeword

from assistant import doctor, wake
from assistant.audio import BLOCK, RATE
from assistant.config import Config
from assistant.errors import NoWakeWord
from assistant.wake import BEFORE, MicroWakeWord, known, wake_word, without_word
from tests import speech
from tests.speech import FLITE, PROSE, SENTENCES, VOICES, joined, mixed, room, silence, speak, spoken, trimmed, wanted

MODELS = Path(microwakeword.__file__).parent / "models"
HEARD = [
    *((word, voice) for word in ("okay nabu", "hey mycroft", "alexa") for voice in VOICES),
    *(("hey jarvis", voice) for voice in FLITE),  # as espeak-ng says it, its model does not know it
]


@pytest.fixture(scope="module")
def words() -> dict[str, MicroWakeWord]:
    return {word.name: word for word in map(wake_word, known())}


def found(word: MicroWakeWord, sound: np.ndarray) -> list[float]:
    """At how many seconds of a sound the word was heard, the detector being new to it."""
    word.reset()
    return [(start + BLOCK) / RATE for start in range(0, len(sound) - BLOCK + 1, BLOCK)
            if word.take(sound[start : start + BLOCK].tobytes())]  # fmt: skip


# Hearing it


@wanted
@pytest.mark.parametrize(("name", "voice"), HEARD, ids=" by ".join)
def test_the_word_is_heard_once_and_soon(words, name, voice):
    sound = joined(room(1), speak(name, voice), room(3))
    [at] = found(words[name], sound)
    assert -0.4 < at - (1 + spoken(speak(name, voice))[1] / RATE) < 0.4


@wanted
@pytest.mark.parametrize("name", ["okay nabu", "hey jarvis", "hey mycroft", "alexa"])
def test_what_follows_in_the_same_breath_can_be_heard_from_there(words, name):
    sound = joined(room(1), speak(f"{name}, {SENTENCES[0]}", "rms"), room(1))
    [at] = found(words[name], sound)
    begins = len(sound) / RATE - 1 - len(speak(SENTENCES[0], "rms")) / RATE
    assert at - BEFORE * BLOCK / RATE < begins + 0.2, "the request is whole"


@wanted
@pytest.mark.parametrize("noise", [speech.pink, speech.babble], ids=["noise", "other people"])
def test_it_is_heard_in_noise_of_20_dB(words, noise):
    sound = joined(silence(2), speak("okay nabu", "awb"), silence(1))
    assert len(found(words["okay nabu"], mixed(sound, noise(len(sound) / RATE), 20))) == 1


@wanted
def test_said_five_times_it_is_heard_five_times(words):
    said = joined(trimmed(speak("okay nabu", "rms")), room(1.5))
    assert len(found(words["okay nabu"], joined(room(1), *[said] * 5))) == 5


@wanted
def test_said_again_at_once_it_is_the_same_word(words):
    said = trimmed(speak("okay nabu", "rms"))
    assert len(found(words["okay nabu"], joined(room(1), said, said, room(2)))) == 1


@wanted
def test_half_of_it_before_a_reset_and_half_after_it_are_not_the_word(words):
    word, said = words["okay nabu"], trimmed(speak("okay nabu", "rms"))
    half = len(said) // 2 // BLOCK * BLOCK
    assert not found(word, joined(room(1), said[:half]))
    assert not found(word, joined(said[half:], room(1)))
    assert found(word, joined(said, room(1))), "though both are"


@wanted
def test_after_a_reset_it_hears_the_same_again_though_it_was_in_the_middle_of_something(words):
    word, said = words["okay nabu"], joined(trimmed(speak("okay nabu", "rms")), room(1))
    first = found(word, said)
    for more in range(1, 4):
        found(word, room(more * BLOCK / RATE))
        assert found(word, said) == first != []


# Not hearing it


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """More than two minutes of what people say who do not say it."""
    return joined(*(speak(text, voice) for voice in FLITE for text in (*PROSE, *SENTENCES)))


@wanted
@pytest.mark.parametrize("name", ["okay nabu", "hey jarvis", "hey mycroft", "alexa"])
def test_talk_is_not_the_word_nor_is_another_word(words, name, talk):
    others = joined(*(speak(other, "slt") for other in words if other != name))
    assert not found(words[name], joined(talk, others, room(1)))


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(silence, id="digital silence"),
        pytest.param(room, id="a quiet room"),
        pytest.param(lambda seconds: speech.pink(seconds, -15), id="loud noise"),
        pytest.param(speech.hum, id="hum of the mains"),
        pytest.param(speech.music, id="music"),
        pytest.param(speech.clicks, id="something is put down hard"),
        pytest.param(speech.babble, id="many people", marks=wanted),
    ],
)
def test_half_a_minute_of_something_else_is_not_the_word(words, sound):
    sound = sound(30)
    assert {name: found(word, sound) for name, word in words.items()} == dict.fromkeys(words, [])


# Which word


@pytest.mark.parametrize("word", ["okay_nabu", "okay nabu", "Okay  Nabu"])
def test_it_is_named_as_one_likes(word):
    assert wake_word(word).name == "okay nabu"


def test_a_name_that_is_not_known_is_told_with_those_that_are():
    with pytest.raises(NoWakeWord, match='no wake word "computer": set .* one of alexa, hey_jarvis, hey_mycroft, okay_nabu'):
        wake_word("computer")


def test_a_file_in_the_folder_of_somebody_who_is_not_there_is_told():
    with pytest.raises(NoWakeWord, match="no such file"):
        wake_word("~nobody-of-that-name/mine.tflite")


def test_where_the_package_is_missing_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(wake, "PACKAGE", "pymicro_wakeword_that_is_not_there")
    assert known() == []
    with pytest.raises(NoWakeWord, match="not installed: pip install 'pymicro-wakeword"):
        wake_word("okay_nabu")


@pytest.fixture
def own(tmp_path) -> Path:
    """The network of a model of the person's own; its settings lie beside it."""
    for suffix in ("json", "tflite"):
        shutil.copy(MODELS / f"okay_nabu.{suffix}", tmp_path / f"mine.{suffix}")
    change(tmp_path / "mine.json", model="mine.tflite", wake_word="Hello  There")
    return tmp_path / "mine.tflite"


def change(file: Path, micro: dict | None = None, **keys: object) -> None:
    settings = json.loads(file.read_text()) | keys
    settings["micro"] |= micro or {}
    file.write_text(json.dumps(settings))


@wanted
@pytest.mark.parametrize("suffix", [".tflite", ".json"])
def test_a_model_of_ones_own_is_given_by_its_file(own, suffix):
    word = wake_word(str(own.with_suffix(suffix)))
    assert word.name == "hello there"
    assert len(found(word, joined(room(1), speak("okay nabu"), room(1)))) == 1


@wanted
def test_the_settings_of_a_model_count(own):
    change(own.with_suffix(".json"), {"probability_cutoff": 0.998})
    assert not found(wake_word(str(own)), joined(room(1), speak("okay nabu"), room(1)))


@wanted
def test_a_model_that_is_damaged_or_gone_meanwhile_does_no_harm(own):
    """The library maps the file into memory, and the package reads it again at a reset."""
    word = wake_word(str(own))
    with own.open("r+b") as file:
        file.truncate(100)
    assert len(found(word, joined(room(1), speak("okay nabu"), room(1)))) == 1
    own.unlink()
    assert len(found(word, joined(room(1), speak("okay nabu"), room(1)))) == 1


def _cut(own: Path) -> None:
    own.write_bytes(own.read_bytes()[:40_000])


def _other(own: Path) -> None:
    """It takes 41 features instead of 40."""
    whole = own.read_bytes()
    shape = b"".join(n.to_bytes(4, "little") for n in (3, 1, 3, 40))
    assert shape in whole
    own.write_bytes(whole.replace(shape, shape[:-4] + (41).to_bytes(4, "little")))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        pytest.param(Path.unlink, "no such file", id="no network"),
        pytest.param(lambda own: own.with_suffix(".json").unlink(), "no such file", id="no settings"),
        pytest.param(lambda own: own.write_bytes(b""), "damaged", id="empty"),
        pytest.param(lambda own: own.write_bytes(b"not a network"), "damaged", id="something else"),
        pytest.param(_cut, "damaged", id="half of it"),
        pytest.param(_other, "damaged|another kind", id="of other features"),
        pytest.param(lambda own: own.with_suffix(".json").write_text("{"), "does not describe", id="no JSON"),
        pytest.param(lambda own: own.with_suffix(".json").write_text("[]"), "does not describe", id="a list"),
        pytest.param(lambda own: own.with_suffix(".json").write_text("{}"), "micro is missing", id="nothing in it"),
        pytest.param(lambda own: change(own.with_suffix(".json"), model=7), "does not describe", id="a number for a file"),
        pytest.param(lambda own: change(own.with_suffix(".json"), wake_word=" "), "of no use", id="no word"),
        pytest.param(lambda own: change(own.with_suffix(".json"), {"probability_cutoff": 97}), "of no use", id="97 of 1"),
        pytest.param(lambda own: change(own.with_suffix(".json"), {"sliding_window_size": 0}), "of no use", id="no window"),
        pytest.param(lambda own: change(own.with_suffix(".json"), {"sliding_window_size": float("inf")}), "does not describe", id="a window without end"),
        pytest.param(lambda own: change(own.with_suffix(".json"), {"feature_step_size": 20}), "every 20 ms", id="version 1"),
    ],
)
def test_what_is_wrong_with_a_model_is_told(own, harm, told):
    harm(own)
    with pytest.raises(NoWakeWord, match=rf"mine\.\w+ cannot be used \(.*({told}).*\): give a \.tflite file"):
        wake_word(str(own))


def test_doctor_tells_about_the_wake_word_where_it_is_wanted(own):
    assert [*doctor.wake(Config(wake={"mode": "always"}))] == []
    assert [*doctor.wake(Config(wake={"mode": "word", "word": "hey_jarvis"}))] == [
        doctor.Finding("ok", "wake word", 'it listens for "hey jarvis"')]
    own.unlink()
    [finding] = doctor.wake(Config(wake={"mode": "word", "word": str(own)}))
    assert (finding.state, finding.name) == ("fail", "wake word") and "no such file" in finding.found
    assert finding.advice.startswith("give a .tflite file")


# A transcript without it


@pytest.mark.parametrize(("name", "text", "rest"), [
    ("okay nabu", "Okay, Nabu, remind me to call mum", "remind me to call mum"),
    ("okay nabu", "Nabu. Remind me", "Remind me"),
    ("okay nabu", "OK, Naboo! Remind me", "Remind me"),
    ("okay nabu", "O.K. nabu - stop", "stop"),
    ("okay nabu", "okay nah boo remind me", "remind me"),
    ("okay nabu", "okay in abu remind me", "remind me"),
    ("okay nabu", "Okay Navu, remind me", "remind me"),
    ("okay nabu", "Okay, Nabu.", ""),
    ("okay nabu", " okay naboo ", ""),
    ("okay nabu", "", ""),
    ("okay nabu", "Okay Nabu, okay Nabu is what I say", "okay Nabu is what I say"),
    ("hey jarvis", "Hey, Jarvis... Remind me", "Remind me"),
    ("hey jarvis", "jarvis remind me", "remind me"),
    ("hey jarvis", "hi jervis remind me", "remind me"),
    ("hey mycroft", "hey my croft, stop", "stop"),
    ("hey mycroft", "hey mick rift remind me", "remind me"),
    ("alexa", "Alexa, what are my reminders", "what are my reminders"),
    ("alexa", "a lexa stop", "stop"),
    ("hello there", "Hello there! Stop", "Stop"),
    ("okay", "Okay, stop", "stop"),
])  # fmt: skip
def test_the_word_before_a_request_is_no_part_of_it(name, text, rest):
    assert without_word(text, name) == rest


@pytest.mark.parametrize(("name", "text"), [
    ("okay nabu", "Okay, now remind me"),
    ("okay nabu", "okay nap at three"),
    ("okay nabu", "Okay."),
    ("okay nabu", "remind me to call Nabu"),
    ("okay nabu", "Nabu's birthday is on Friday"),
    ("okay nabu", "Anna's birthday"),
    ("hey jarvis", "Hey, this is it"),
    ("hey jarvis", "Travis comes at five"),
    ("hey mycroft", "my craft lesson is at three"),
    ("alexa", "Alex is coming at five"),
    ("alexa", "Alexander's party"),
    ("hey bo", "hey, so remind me"),
])  # fmt: skip
def test_what_only_looks_like_the_word_stays(name, text):
    assert without_word(text, name) == text
