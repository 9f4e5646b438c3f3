"""A transcription server, over real sockets: one that answers, and one that goes wrong in every way."""

import asyncio
import math

import pytest

from assistant.errors import ConfigError, TranscriptionError, TranscriptionTimeout
from assistant.listen import open_socket
from assistant.sections import Stt
from assistant.stt_hints import NO_HINTS, Hints
from assistant.stt_openai import OpenAITranscriber
from tests.certificates import certificate
from tests.test_stt import utterance
from tests.transcription_server import TranscriptionServer


@pytest.fixture
async def server():
    async with TranscriptionServer() as server:
        yield server


def at(server: TranscriptionServer | str, hints: Hints = NO_HINTS, **stt) -> OpenAITranscriber:
    url = server if isinstance(server, str) else server.url
    return OpenAITranscriber(Stt(**{"url": url, "timeout_seconds": 60} | stt), hints)


async def test_the_sound_goes_there_and_its_words_come_back(server):
    heard = utterance()
    async with at(server) as engine:
        transcript = await engine.transcribe(heard)
    assert (transcript.text, transcript.refused) == ("Call Mum at five.", None)
    assert transcript.confidence == pytest.approx(math.exp(-0.1))
    assert server.paths == ["/v1/audio/transcriptions"] and server.sounds == [heard.pcm]
    assert server.forms == [{"model": "whisper-1", "language": "en", "response_format": "verbose_json", "temperature": "0"}]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/v1/audio/transcriptions"), ("/", "/v1/audio/transcriptions"), ("/v1", "/v1/audio/transcriptions"),
        ("/v1/", "/v1/audio/transcriptions"), ("/openai/v1", "/openai/v1/audio/transcriptions"),
        ("/v1/audio/transcriptions", "/v1/audio/transcriptions"), ("/whisper", "/whisper/v1/audio/transcriptions"),
    ],
)  # fmt: skip
async def test_an_address_may_name_the_server_its_interface_or_the_place_itself(server, path, asked):
    async with at(server.url + path) as engine:
        await engine.transcribe(utterance())
    assert server.paths == [asked]


async def test_the_model_the_language_the_key_and_the_hints_go_along(server):
    hints = Hints(("Zbigniew",), lambda: ["call mum"])
    async with at(server, hints, model="large-v3", language="de", key="sk-1") as engine:
        await engine.transcribe(utterance())
    assert server.keys == ["Bearer sk-1"]
    assert server.forms[0] | {"model": "large-v3", "language": "de", "prompt": "Zbigniew. call mum."} == server.forms[0]


async def test_a_server_of_whisper_cpp_is_found_and_remembered(server):
    server.mode = "cpp"
    async with at(server) as engine:
        for _ in range(2):
            assert (await engine.transcribe(utterance())).text == "Call Mum at five."
    assert server.paths == ["/v1/audio/transcriptions", "/inference", "/inference"]


async def test_the_place_of_whisper_cpp_may_be_named(server):
    server.mode = "cpp"
    async with at(f"{server.url}/inference") as engine:
        assert (await engine.transcribe(utterance())).text == "Call Mum at five."


async def test_a_server_that_knows_plain_json_only_is_asked_for_that_and_counts_as_sure(server):
    server.mode = "plain"
    async with at(server) as engine:
        transcripts = [await engine.transcribe(utterance()) for _ in range(2)]
    assert [(t.text, t.confidence) for t in transcripts] == [("Call Mum at five.", 1.0)] * 2
    assert [form["response_format"] for form in server.forms] == ["verbose_json", "json", "json"]


async def test_numbers_that_are_none_tell_nothing(server):
    server.mode = "odd"
    async with at(server) as engine:
        assert (await engine.transcribe(utterance())).confidence == 1.0


@pytest.mark.parametrize(
    ("text", "logprob", "no_speech", "why"),
    [
        pytest.param(" [BLANK_AUDIO]\n", -0.1, 0.0, "no_words", id="silence of whisper.cpp"),
        pytest.param("Thanks for watching!", -0.5, 0.5, "subtitle", id="thanks out of silence"),
        pytest.param("Call Mum.", -1.2, 0.9, "no_speech", id="nobody spoke"),
        pytest.param("Call Mum.", -1.8, 0.0, "unlikely", id="a guess"),
        pytest.param("Call Mum. " * 6, -0.1, 0.0, "repetition", id="one that cannot stop"),
    ],
)
async def test_what_it_invents_is_refused(server, text, logprob, no_speech, why):
    server.text, server.logprob, server.no_speech = text, logprob, no_speech
    async with at(server) as engine:
        transcript = await engine.transcribe(utterance(seconds=4))
    assert (transcript.text, transcript.refused, transcript.confidence) == ("", why, 0.0)


async def test_where_nobody_spoke_it_is_not_asked(server):
    async with at(server) as engine:
        assert (await engine.transcribe(utterance(level=-80))).refused == "silence"
    assert server.paths == []


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("500", "does not answer .HTTP 500"), ("401", r"refuses us .HTTP 401.: check \[stt\] key"), ("403", "HTTP 403"),
        ("404", r"refuses us .HTTP 404.: check \[stt\] url and model"), ("400", "HTTP 400"), ("413", "HTTP 413"),
        ("busy", "too much to do"), ("429", "too much to do"), ("302", r"HTTP 302.* check \[stt\] url"),
        ("no_json", "no use .no transcript"), ("no_text", "no use .no transcript"), ("huge", "more than 64 KiB"),
        ("no_http", "is no HTTP"),
    ],
)  # fmt: skip
async def test_what_goes_wrong_there_is_one_sentence_and_the_next_one_is_asked_afresh(server, mode, says):
    async with at(server) as engine:
        server.mode = mode
        with pytest.raises(TranscriptionError, match=says) as raised:
            await engine.transcribe(utterance())
        assert "[remote]" not in str(raised.value) and str(raised.value).endswith(".")
        server.mode = "ok"
        assert (await engine.transcribe(utterance())).text


async def test_how_long_a_busy_server_wants_to_be_left_alone_is_known(server):
    server.mode = "busy"
    async with at(server) as engine:
        with pytest.raises(TranscriptionError) as raised:
            await engine.transcribe(utterance())
    assert raised.value.retry_after == 7


async def test_a_connection_that_broke_is_tried_once_more(server):
    server.mode = "closes_once"
    async with at(server) as engine:
        assert (await engine.transcribe(utterance())).text
    assert len(server.sounds) == 2 and server.sounds[0] == server.sounds[1]


async def test_a_server_that_is_not_there_says_so():
    with open_socket("127.0.0.1", 0) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with at(url) as engine:
        with pytest.raises(TranscriptionError, match="connection refused"):
            await engine.transcribe(utterance())


async def test_one_that_takes_too_long_is_given_up(server):
    server.mode = "hung"
    async with at(server, timeout_seconds=0.5) as engine:
        with pytest.raises(TranscriptionTimeout):
            await engine.transcribe(utterance())


async def test_a_server_hears_of_it_that_nobody_waits_any_more(server):
    server.mode = "hung"
    async with at(server) as engine:
        task = asyncio.create_task(engine.transcribe(utterance()))
        async with asyncio.timeout(60):
            await server.arrived.wait()
            task.cancel()
            await server.gone.wait()
        server.mode = "ok"
        assert (await engine.transcribe(utterance())).text


async def test_a_certificate_is_believed_only_if_the_settings_name_it(tmp_path):
    mine = certificate(tmp_path, "mine", "127.0.0.1")
    async with TranscriptionServer(certificate=mine) as server:
        async with at(server) as engine:
            with pytest.raises(TranscriptionError, match=r"its certificate: self.signed certificate.: .*\[stt\] url or ca_file"):
                await engine.transcribe(utterance())
        assert server.sounds == []
        async with at(server, ca_file=str(tmp_path / "mine.crt")) as engine:
            assert (await engine.transcribe(utterance())).text


async def test_a_certificate_file_that_cannot_be_read_is_named():
    with pytest.raises(ConfigError, match=r"\[stt\] ca_file"):
        async with at("https://localhost", ca_file="/nowhere.pem"):
            pass
