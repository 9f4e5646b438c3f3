"""`assistant transcribe` as a person or a script uses it."""

import json
import os
import subprocess
import wave
from pathlib import Path

import numpy
import pytest

from tests.process import ASSISTANT
from tests.speech import joined, room, silence, speak, wanted
from tests.test_stt import SAID
from tests.tiny_whisper import make


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def transcribe(*words: object, **env: str) -> subprocess.CompletedProcess:
    command = [*ASSISTANT, "transcribe", *map(str, words)]
    return subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=180)


def recording(path: Path, samples: numpy.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> Path:
    text = "remind me to call mum tomorrow at five"
    return recording(tmp_path_factory.mktemp("said") / "said.wav", joined(room(1), speak(text, "slt"), room(1)))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory) -> Path:
    return recording(tmp_path_factory.mktemp("quiet") / "quiet.wav", silence(2))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("whisper") / "tiny", SAID)


@wanted
def test_each_file_is_one_line(said):
    done = transcribe(said, said, "--engine", "pocketsphinx")
    first, second = done.stdout.splitlines()
    assert (done.returncode, done.stderr, first) == (0, "", second)
    assert "tomorrow" in first.split()


@wanted
def test_a_file_that_cannot_be_read_is_an_error_and_the_others_go_on(said, tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all")
    done = transcribe("text.wav", "missing.wav", said, "--engine", "pocketsphinx")
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 1
    assert ["text.wav" in done.stderr, "missing.wav" in done.stderr, "Traceback" in done.stderr] == [True, True, False]


@wanted
def test_without_an_engine_nothing_is_transcribed_and_it_says_so(said, tmp_path):
    done = transcribe(said, "--json", "--engine", "faster-whisper", ASSISTANT_STT__MODEL=str(tmp_path / "none"))
    assert done.returncode == 3 and json.loads(done.stdout)["error"]["code"] == "no_transcriber"


@wanted
def test_for_programs_each_file_is_an_object(said, quiet, tiny):
    done = transcribe(said, "missing.wav", quiet, "--json", ASSISTANT_STT__MODEL=str(tiny))
    heard, missing, nothing = map(json.loads, done.stdout.splitlines())
    assert heard | {"file": str(said), "text": SAID, "engine": "faster-whisper:tiny", "utterances": 1, "refused": None} == heard
    assert missing["error"]["code"] == "unreadable_sound"
    assert (nothing["text"], nothing["refused"], nothing["utterances"]) == ("", "no_speech", 0)
    assert done.returncode == 2


def test_a_recording_of_silence_is_an_empty_line_and_says_why(quiet):
    done = transcribe(quiet, "--engine", "pocketsphinx")
    assert (done.returncode, done.stdout) == (1, "\n") and "no_speech" in done.stderr


@wanted
def test_without_a_model_of_faster_whisper_pocketsphinx_hears_and_says_how_to_hear_better(said):
    done = transcribe(said)
    assert done.returncode == 0 and "tomorrow" in done.stdout
    assert done.stderr.count("[stt] model") == 1


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("--engine", "siri", "a.wav"), 2, "stt.engine"), ((), 2, "FILE"), (("--engine", "openai", "a.wav"), 2, "url is empty"),
    ],
    ids=["an engine that is none", "no file", "a server without an address"],
)  # fmt: skip
def test_what_cannot_be_done_is_said(words, status, says):
    done = transcribe(*words)
    assert done.returncode == status and says in done.stderr and "Traceback" not in done.stderr
