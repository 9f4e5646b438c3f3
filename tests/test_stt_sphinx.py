"""PocketSphinx as it is: how well it hears sentences that a synthesiser speaks, and that it harms nobody."""

import asyncio
import os
import signal

import pytest

from assistant.errors import NoTranscriber, TranscriptionError, TranscriptionTimeout
from assistant.sections import Stt
from assistant.stt_sphinx import SphinxTranscriber
from tests.speech import joined, music, pink, room, speak, wanted
from tests.test_stt import utterance
from tests.word_errors import REQUESTS, words_wrong

MOST_WRONG = 0.2
"""Of the words of ten sentences by one voice, spoken clearly; 0.15 were."""


def spoken(text: str):
    return utterance(joined(room(0.5), speak(text, "slt"), room(0.3)).tobytes())


@wanted
async def test_it_hears_most_words_that_are_spoken_clearly_and_knows_which_sentences():
    wrong, count, sure = 0, 0, {True: [], False: []}
    async with SphinxTranscriber(Stt()) as engine:
        for text in REQUESTS[:10]:
            transcript = await engine.transcribe(spoken(text))
            errors, words = words_wrong(text, transcript.text)
            wrong, count = wrong + errors, count + words
            sure[errors == 0].append(transcript.confidence)
    assert wrong / count <= MOST_WRONG
    right, not_right = (sum(each) / len(each) for each in (sure[True], sure[False]))
    assert right > 0.5 > not_right


@pytest.mark.parametrize("sound", [pink(1.5), music(1.5)], ids=["noise", "music"])
async def test_what_it_hears_where_nobody_spoke_is_not_believed(sound):
    async with SphinxTranscriber(Stt()) as engine:
        transcript = await engine.transcribe(utterance(sound.tobytes()))
    assert transcript.text == "" and transcript.refused in ("no_words", "unlikely")


async def test_others_get_their_turn_while_it_listens():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with SphinxTranscriber(Stt()) as engine:
        await engine.transcribe(utterance())
        task = asyncio.create_task(others())
        await engine.transcribe(utterance())
        task.cancel()
    assert turns > 20, "and not the few that asking takes"


async def test_one_that_takes_too_long_ends_its_process_and_the_next_has_another():
    async with SphinxTranscriber(Stt(timeout_seconds=0.01)) as engine:
        with pytest.raises(TranscriptionTimeout):
            await engine.transcribe(utterance())
        assert engine._process is None
        engine._seconds = 30
        assert (await engine.transcribe(utterance())).engine == "pocketsphinx"


async def test_a_process_that_died_since_the_last_utterance_is_replaced():
    async with SphinxTranscriber(Stt()) as engine:
        await engine.transcribe(utterance())
        os.kill(engine._process.pid, signal.SIGKILL)
        assert (await engine.transcribe(utterance())).engine == "pocketsphinx"


async def test_an_utterance_that_crashes_it_is_an_error_and_no_end(tmp_path, monkeypatch):
    (tmp_path / "pocketsphinx.py").write_text("import os\nclass Decoder:\n    def __init__(self, **_): os.abort()")
    async with SphinxTranscriber(Stt()) as engine:
        with monkeypatch.context() as patched:
            patched.setenv("PYTHONPATH", str(tmp_path))
            with pytest.raises(TranscriptionError, match="say it again"):
                await engine.transcribe(utterance())
        assert (await engine.transcribe(utterance())).engine == "pocketsphinx"


async def test_leaving_ends_its_process():
    async with SphinxTranscriber(Stt()) as engine:
        await engine.transcribe(utterance())
        process = engine._process
    assert process.returncode is not None


async def test_no_file_of_the_folder_that_one_is_in_is_taken_for_a_part_of_it(tmp_path, monkeypatch):
    (tmp_path / "pocketsphinx.py").write_text("raise ImportError('a file out of a download')")
    monkeypatch.chdir(tmp_path)
    async with SphinxTranscriber(Stt()) as engine:
        assert (await engine.transcribe(utterance())).engine == "pocketsphinx"


async def test_without_pocketsphinx_it_says_so(tmp_path, monkeypatch):
    (tmp_path / "pocketsphinx.py").write_text("raise ImportError('it is not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with SphinxTranscriber(Stt()) as engine:
        with pytest.raises(NoTranscriber, match="it is not here"):
            await engine.transcribe(utterance())
