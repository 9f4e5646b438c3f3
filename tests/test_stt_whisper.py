"""faster-whisper as it is, on tiny models that were made on the spot."""

import asyncio
import math
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from assistant.errors import NoTranscriber, TranscriptionError, TranscriptionTimeout
from assistant.sections import Stt
from assistant.stt_hints import Hints
from assistant.stt_models import FILES, complete
from assistant.stt_whisper import HINT_TOKENS, MOST_TOKENS, WhisperTranscriber
from tests.test_stt import SAID, utterance
from tests.tiny_whisper import make


@pytest.fixture(scope="module")
def talker(tmp_path_factory) -> Path:
    """A Whisper that says `SAID`, whatever it hears."""
    return make(tmp_path_factory.mktemp("whisper") / "talker", SAID)


@pytest.fixture(scope="module")
def babbler(tmp_path_factory) -> Path:
    """One of random weights."""
    return make(tmp_path_factory.mktemp("whisper") / "babbler")


@pytest.fixture(scope="module")
def subtitler(tmp_path_factory) -> Path:
    """One that hears nobody, and thanks for watching."""
    return make(tmp_path_factory.mktemp("whisper") / "subtitler", "Thanks for watching!", silent=True)


class Watched:
    """A model of faster-whisper that writes down with what it is called."""

    def __init__(self, model) -> None:
        self._model, self.options, self.threads = model, [], set()
        self.hf_tokenizer = model.hf_tokenizer

    def transcribe(self, samples, **options):
        self.options.append(options)
        self.threads.add(threading.current_thread())
        return self._model.transcribe(samples, **options)


def watched(engine: WhisperTranscriber) -> Watched:
    engine._model = Watched(engine._load())
    return engine._model


async def test_what_the_model_says_is_the_transcript(talker):
    async with WhisperTranscriber(talker, Stt()) as engine:
        transcript = await engine.transcribe(utterance())
    assert (transcript.text, transcript.engine, transcript.refused) == (SAID, "faster-whisper:talker", None)
    assert transcript.confidence > 0.9


async def test_junk_is_refused_however_long_it_is(babbler):
    async with WhisperTranscriber(babbler, Stt()) as engine:
        transcript = await engine.transcribe(utterance(seconds=3))
    assert (transcript.text, transcript.confidence) == ("", 0.0)
    assert transcript.refused in ("unlikely", "repetition", "too_fast", "no_words")


async def test_thanks_out_of_silence_are_refused(subtitler):
    async with WhisperTranscriber(subtitler, Stt()) as engine:
        transcript = await engine.transcribe(utterance(seconds=3))
    assert (transcript.text, transcript.refused) == ("", "subtitle")


async def test_it_decodes_as_it_should_on_a_thread_of_its_own(talker):
    async with WhisperTranscriber(talker, Stt()) as engine:
        model = watched(engine)
        await asyncio.gather(engine.transcribe(utterance()), engine.transcribe(utterance(seconds=20)))
    short, long = model.options
    assert (short["language"], short["temperature"], short["vad_filter"]) == ("en", 0.0, False)
    assert short["without_timestamps"] is True and short["condition_on_previous_text"] is False
    assert short["max_new_tokens"] < long["max_new_tokens"] == MOST_TOKENS
    assert len(model.threads) == 1 and threading.main_thread() not in model.threads


async def test_the_model_is_loaded_for_the_first_utterance_and_kept(talker):
    async with WhisperTranscriber(talker, Stt()) as engine:
        assert engine._model is None
        await engine.transcribe(utterance())
        model = engine._model
        await engine.transcribe(utterance())
        assert engine._model is model


async def test_it_is_told_names_and_tasks_within_bounds(talker):
    hints = Hints(("Żółć" * 60, "Zbigniew"), lambda: ["taske"[n % 5 :] * 39 for n in range(8)])
    async with WhisperTranscriber(talker, Stt(), hints) as engine:
        model = watched(engine)
        await engine.transcribe(utterance(seconds=30))
    [options] = model.options
    tokens = model.hf_tokenizer.encode(f" {options['hotwords']}", add_special_tokens=False).ids if options["hotwords"] else []
    assert len(options["initial_prompt"]) <= HINT_TOKENS and len(tokens) <= 2 * HINT_TOKENS
    assert model.hf_tokenizer.decode(options["initial_prompt"]).startswith(" taske")


async def test_names_are_told_as_they_are_spelt(talker):
    async with WhisperTranscriber(talker, Stt(), Hints(("Zbigniew", "Aunt Ingrid"))) as engine:
        model = watched(engine)
        await engine.transcribe(utterance())
    assert model.options[0]["hotwords"].strip() == "Zbigniew, Aunt Ingrid" and model.options[0]["initial_prompt"] is None


async def test_a_recording_of_several_windows_is_one_transcript(talker):
    async with WhisperTranscriber(talker, Stt()) as engine:
        transcript = await engine.transcribe(utterance(seconds=65))
    assert transcript.text == " ".join([SAID] * 3)


async def test_one_that_takes_too_long_is_given_up(talker):
    async with WhisperTranscriber(talker, Stt(timeout_seconds=0.001)) as engine:
        with pytest.raises(TranscriptionTimeout, match="0.001 seconds"):
            await engine.transcribe(utterance())


async def test_an_abandoned_recording_ends_with_its_window(talker):
    decoded, go_on, segments = threading.Event(), threading.Event(), []
    async with WhisperTranscriber(talker, Stt()) as engine:
        model = watched(engine)

        def one_by_one(found):
            for segment in found:
                segments.append(segment)
                decoded.set()
                go_on.wait(60)
                yield segment

        def transcribe(samples, **options):
            found, about = Watched.transcribe(model, samples, **options)
            return one_by_one(found), about

        model.transcribe = transcribe
        task = asyncio.create_task(engine.transcribe(utterance(seconds=95)))
        await asyncio.to_thread(decoded.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        del model.transcribe
        assert (await engine.transcribe(utterance())).text == SAID
    assert len(segments) == 1


async def test_a_model_that_fails_is_an_error_and_no_end(talker):
    async with WhisperTranscriber(talker, Stt()) as engine:
        model = watched(engine)
        model.transcribe = lambda *_, **__: (_ for _ in ()).throw(RuntimeError("out of memory"))
        with pytest.raises(TranscriptionError, match="out of memory"):
            await engine.transcribe(utterance())
        del model.transcribe
        assert (await engine.transcribe(utterance())).text == SAID


@pytest.mark.parametrize("file", FILES)
async def test_a_folder_that_is_not_whole_is_no_model(talker, tmp_path, file):
    for each in talker.iterdir():
        if each.name != file:
            (tmp_path / each.name).symlink_to(each)
    assert complete(talker) and not complete(tmp_path)
    async with WhisperTranscriber(tmp_path, Stt()) as engine:
        with pytest.raises(NoTranscriber, match="gone"):
            await engine.transcribe(utterance())


@pytest.mark.parametrize("file", FILES)
async def test_a_damaged_file_says_what_to_do(talker, tmp_path, file):
    for each in talker.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes()[: 20 if each.name == file else None])
    async with WhisperTranscriber(tmp_path, Stt()) as engine:
        with pytest.raises(NoTranscriber, match="cannot be loaded .*: remove that folder"):
            await engine.transcribe(utterance())


async def test_confidence_is_the_mean_probability_of_a_token(talker):
    async with WhisperTranscriber(talker, Stt()) as engine:
        model = watched(engine)

        def unsure(samples, **options):
            found, info = Watched.transcribe(model, samples, **options)
            return (replace(s, avg_logprob=math.log(0.4)) for s in found), info

        model.transcribe = unsure
        transcript = await engine.transcribe(utterance())
    assert (transcript.text, transcript.confidence) == (SAID, pytest.approx(0.4))


def test_faster_whisper_is_imported_by_the_first_utterance_only():
    import subprocess

    command = [sys.executable, "-X", "importtime", "-c", "import assistant.stt"]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr
    assert [name for name in ("faster_whisper", "ctranslate2", "pocketsphinx", "huggingface_hub", "numpy") if f" {name}\n" in loaded] == []
