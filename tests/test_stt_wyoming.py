"""A Wyoming speech server, over real sockets: one that answers, and one that goes wrong in every way."""

import asyncio

import pytest

from assistant.errors import TranscriptionError, TranscriptionTimeout
from assistant.listen import open_socket
from assistant.sections import Stt
from assistant.stt_hints import NO_HINTS, Hints
from assistant.stt_wyoming import WyomingTranscriber
from tests.test_stt import utterance
from tests.wyoming_speech_server import SpeechServer


@pytest.fixture
async def server():
    async with SpeechServer() as server:
        yield server


def at(server: SpeechServer | str, hints: Hints = NO_HINTS, **stt) -> WyomingTranscriber:
    url = server if isinstance(server, str) else server.url
    return WyomingTranscriber(Stt(**{"engine": "wyoming", "url": url, "timeout_seconds": 60} | stt), hints)


async def test_the_sound_goes_there_and_its_words_come_back(server):
    heard = utterance()
    transcript = await at(server).transcribe(heard)
    assert (transcript.text, transcript.refused, transcript.confidence) == ("Call Mum at five.", None, 1.0)
    assert server.sounds == [heard.pcm] and server.formats == [(16_000, 2, 1)]


async def test_the_model_the_language_and_the_hints_go_along(server):
    hints = Hints(("Zbigniew", "Aunt Ingrid"), lambda: ["call mum", "take the bins out"])
    await at(server, hints, model="large-v3", language="de").transcribe(utterance())
    asked = server.asked[0]
    assert (asked.name, asked.language) == ("large-v3", "de")
    assert (asked.transcript_names, asked.transcript_terms) == (["Zbigniew", "Aunt Ingrid"], ["call mum", "take the bins out"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "no_words", id="silence"),
        pytest.param("Call Mum. " * 6, "repetition", id="one that cannot stop"),
        pytest.param("Call Mum and tell her all about the holiday in Spain and the long way back. " * 2, "too_fast", id="more than can be said"),
    ],
)
async def test_what_it_invents_is_refused(server, text, why):
    server.text = text
    transcript = await at(server).transcribe(utterance(seconds=3))
    assert (transcript.text, transcript.refused, transcript.confidence) == ("", why, 0.0)


async def test_where_nobody_spoke_it_is_not_asked(server):
    assert (await at(server).transcribe(utterance(level=-80))).refused == "silence"
    assert server.asked == []


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("closes", "hung up"), ("closes_early", "hung up"), ("error", r"reports an error \(Out of memory. Sorry\)"),
        ("no_text", "no use .no text"), ("no_json", "no use .no JSON"), ("no_object", "no use .no object"),
        ("no_type", "without a type"), ("endless", "a line of more than 65536 bytes"), ("huge", "or of more than 65536 bytes"),
        ("negative", "data of no length"), ("half", "half an event"),
    ],
)  # fmt: skip
async def test_what_goes_wrong_there_is_one_sentence_and_the_next_one_is_asked_afresh(server, mode, says):
    engine = at(server)
    server.mode = mode
    with pytest.raises(TranscriptionError, match=says) as raised:
        await engine.transcribe(utterance(seconds=5))
    assert str(raised.value).startswith("The transcription server at tcp://") and str(raised.value).endswith(".")
    server.mode = "ok"
    assert (await engine.transcribe(utterance())).text


async def test_a_server_that_is_not_there_says_so():
    with open_socket("127.0.0.1", 0) as free:
        url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(TranscriptionError, match=r"does not answer \(Connect.*see whether it runs, and check \[stt\] url"):
        await at(url).transcribe(utterance())


async def test_one_that_takes_too_long_is_given_up(server):
    server.mode = "hung"
    with pytest.raises(TranscriptionTimeout):
        await at(server, timeout_seconds=0.3).transcribe(utterance())


async def test_a_server_hears_of_it_that_nobody_waits_any_more(server):
    server.mode = "hung"
    engine = at(server)
    task = asyncio.create_task(engine.transcribe(utterance()))
    async with asyncio.timeout(60):
        await server.arrived.wait()
        task.cancel()
        await server.gone.wait()
    server.mode = "ok"
    assert (await engine.transcribe(utterance())).text
