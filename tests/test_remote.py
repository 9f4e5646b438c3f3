"""The model on another machine, over real sockets: a service that answers, and one that goes wrong in every way."""

import asyncio
import json
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from assistant.canonical import canonical
from assistant.endpoint import MOST_BYTES
from assistant.errors import (
    CircuitOpen,
    ConfigError,
    RemoteAway,
    RemoteBusy,
    RemoteError,
    RemoteRefused,
    Unfaithful,
    Unreadable,
    WrongAnswer,
)
from assistant.listen import open_socket
from assistant.local import LlamaRewriter
from assistant.remote import RemoteRewriter
from assistant.sections import Remote
from assistant.words import normalise
from tests.certificates import certificate
from tests.conftest import MODEL
from tests.fakes import ScriptedRewriter
from tests.lying_service import LyingService
from tests.test_breaker import Clock

TEXT = "Remind me to call Mum tomorrow at 5, please"
LINES = "call mum | tomorrow 5:00?"
REQUESTS = [
    json.loads(line)["text"] for line in (Path(__file__).parent.parent / "data/heldout.jsonl").read_text().splitlines()
]
KNOWN = {TEXT: LINES, "cancel Aunt Zoë's party": "/cancel aunt zoë's party", "hello": "/other"}


@pytest.fixture
async def service():
    async with LyingService(ScriptedRewriter(KNOWN, confidence=0.75)) as service:
        yield service


def remote(service: LyingService | str, clock: Clock | None = None, **settings) -> RemoteRewriter:
    url = service if isinstance(service, str) else service.url
    return RemoteRewriter(Remote(url=url, **{"total_seconds": 10} | settings), **({"now": clock} if clock else {}))


# It answers

async def test_a_request_is_rewritten_by_the_model_over_there(service):
    async with remote(service) as rewriter:
        rewrite = await rewriter.rewrite(TEXT)
    assert (rewrite.text, rewrite.model, rewrite.confidence) == (LINES, "remote:scripted", 0.75)
    assert rewrite.ms > 0 and rewrite.ask_below == 0.5
    assert rewriter.name == "remote" and not rewriter.failures


async def test_it_says_the_same_as_the_same_model_here():
    async with LlamaRewriter(MODEL) as here, LyingService(here) as service, remote(service) as there:
        for text in map(normalise, REQUESTS[:60]):
            mine, its = await here.rewrite(text), await there.rewrite(text)
            assert its.text == mine.text, text
            assert its.model == "remote:small" and its.confidence == pytest.approx(mine.confidence, abs=1e-4)


async def test_requests_one_after_the_other_use_one_connection(service):
    async with remote(service) as rewriter:
        for _ in range(3):
            await rewriter.rewrite(TEXT)
    assert len(set(service.peers)) == 1


async def test_the_service_is_told_who_asks_and_for_how_long(service):
    async with remote(service, key="abc", total_seconds=2.9) as rewriter:
        await rewriter.rewrite(TEXT)
        await rewriter.rewrite(TEXT)
    first, second = (request.headers for request in service.seen)
    assert first["Authorization"] == "Bearer abc" and first["Prefer"] == "wait=2"
    assert first["X-Request-Id"] != second["X-Request-Id"]


async def test_without_a_key_none_is_sent(service):
    async with remote(service, total_seconds=0.9) as rewriter:
        await rewriter.rewrite(TEXT)
    assert "Authorization" not in service.seen[0].headers and service.seen[0].headers["Prefer"] == "wait=1"


async def test_someone_else_s_plain_lines_are_taken_apart(service):
    service.lie("plain")
    async with remote(service) as rewriter:
        rewrite = await rewriter.rewrite(TEXT)
    assert (rewrite.text, rewrite.model, rewrite.confidence) == (LINES, "remote:unnamed", 1.0)


@pytest.mark.parametrize("text", [*KNOWN])
async def test_tasks_and_targets_come_back_in_folded_words(service, text):
    async with remote(service) as rewriter:
        assert (await rewriter.rewrite(text)).text == KNOWN[text]


# It goes wrong

WRONG = [
    pytest.param("500", RemoteAway, "HTTP 500", True, id="an error of its own"),
    pytest.param("502", RemoteAway, "HTTP 502", True, id="nobody behind the proxy"),
    pytest.param("503", RemoteAway, "HTTP 503", True, id="it is not ready and does not know for how long"),
    pytest.param("408", RemoteAway, "HTTP 408", True, id="it says that we were too slow"),
    pytest.param("busy", RemoteBusy, "too much to do", False, id="it is busy"),
    pytest.param("limited", RemoteBusy, "too much to do", False, id="we ask too often"),
    pytest.param("401", RemoteRefused, "refuses us", True, id="a wrong key"),
    pytest.param("403", RemoteRefused, "HTTP 403", True, id="forbidden"),
    pytest.param("404", RemoteRefused, "check .remote. url", True, id="a wrong address"),
    pytest.param("418", RemoteRefused, "HTTP 418", True, id="a teapot"),
    pytest.param("400", RemoteRefused, "HTTP 400", False, id="it did not like the request"),
    pytest.param("204", WrongAnswer, "HTTP 204", True, id="nothing"),
    pytest.param("unreadable", Unreadable, "fewer and plainer words", False, id="it could not read the text"),
    pytest.param("no_json", WrongAnswer, "no JSON", True, id="a page"),
    pytest.param("wrong_schema", WrongAnswer, 'no "rewrite"', True, id="another schema"),
    pytest.param("huge", WrongAnswer, "more than 64 KiB", True, id="an answer without end"),
    pytest.param("invented", Unfaithful, "a word that was not said", True, id="invented words"),
    pytest.param("compressed", WrongAnswer, "no JSON", True, id="compressed although that was not asked for"),
    pytest.param("no_http", WrongAnswer, "no HTTP", True, id="another protocol"),
    pytest.param("redirects", WrongAnswer, "HTTP 307, which leads to http://localhost:9", True, id="a redirect"),
    pytest.param("closes", RemoteAway, "the connection broke", True, id="it hangs up"),
    pytest.param("resets", RemoteAway, "the connection broke", True, id="it breaks off in the middle"),
]


@pytest.mark.parametrize(("mode", "error", "says", "counts"), WRONG)
async def test_whatever_goes_wrong_is_one_sentence_and_counted_if_it_speaks_against_the_service(
    service, mode, error, says, counts
):
    service.lie(mode)
    async with remote(service, failures=1) as rewriter:
        with pytest.raises(error, match=says) as raised:
            await rewriter.rewrite(TEXT)
    assert str(raised.value).endswith(".")
    assert rewriter.breaker.state == ("open" if counts else "closed")
    expected = {raised.value.reason: 1} if isinstance(raised.value, RemoteError) else {}
    assert rewriter.failures == expected


@pytest.mark.parametrize("mode", [p.values[0] for p in WRONG])
async def test_what_was_said_is_in_no_error_and_in_no_log(service, mode, caplog):
    caplog.set_level(logging.DEBUG)
    service.lie(mode)
    async with remote(service, key="sesame", failures=1) as rewriter:
        with pytest.raises((RemoteError, Unreadable)) as raised:
            await rewriter.rewrite(TEXT)
    told = str(raised.value) + caplog.text
    assert not any(word in told for word in ("Mum", "mum", "call", "mallory", "sesame"))


OK = b"HTTP/1.1 200 OK\r\n"
RAW = [
    pytest.param(b"", RemoteAway, id="nothing"),
    pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", WrongAnswer, id="TLS"),
    pytest.param(b"HTTP/1.1 two hundred\r\n\r\n", WrongAnswer, id="a status in words"),
    pytest.param(OK + b"Content-Length: -5\r\n\r\n", WrongAnswer, id="a negative length"),
    pytest.param(OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n12345", WrongAnswer, id="two lengths"),
    pytest.param(OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n", WrongAnswer, id="a header without end"),
    pytest.param(OK + b"Content-Length: 100\r\n\r\n{", RemoteAway, id="less than was announced"),
    pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", RemoteError, id="a chunk of no length"),
    pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", RemoteAway, id="half a chunk"),
    pytest.param(OK + b"Content-Length: 4\r\n\r\n\xff\xfe\x00{", WrongAnswer, id="no UTF-8"),
    pytest.param(OK + b"Content-Length: 40000\r\n\r\n" + b"[" * 40_000, WrongAnswer, id="brackets without end"),
    pytest.param(b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", WrongAnswer, id="another protocol"),
    pytest.param(b"HTTP/1.1 302 Go\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n", WrongAnswer, id="a redirect to nowhere"),
]


@pytest.mark.parametrize(("raw", "error"), RAW)
async def test_whatever_bytes_come_back_it_is_an_error_of_the_service(raw, error):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"}")
            writer.write(raw)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, remote(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as rewriter:
        with pytest.raises(error) as raised:
            await rewriter.rewrite(TEXT)
    assert str(raised.value).endswith(".")


async def test_no_answer_in_time_is_given_up(service):
    service.lie("hung")
    async with remote(service, total_seconds=0.2, failures=1) as rewriter:
        with pytest.raises(RemoteAway, match=r"no answer within 0.2 s"):
            await rewriter.rewrite(TEXT)
    assert len(service.seen) == 1 and rewriter.retries == 0 and rewriter.breaker.state == "open"


async def test_a_connection_that_comes_to_nothing_is_given_up_sooner():
    with open_socket("127.0.0.1", 0) as silent:  # the kernel accepts, nobody greets back
        async with remote(f"https://127.0.0.1:{silent.getsockname()[1]}", connect_seconds=0.2) as rewriter:
            with pytest.raises(RemoteAway, match=r"no connection within 0.2 s"):
                await rewriter.rewrite(TEXT)


async def test_where_nobody_listens_it_is_away(service):
    await service.stop()
    async with remote(service) as rewriter:
        with pytest.raises(RemoteAway, match="connection refused"):
            await rewriter.rewrite(TEXT)
    assert rewriter.retries == 1


@pytest.mark.parametrize(
    ("host", "says"),
    [
        pytest.param("nowhere.invalid", "no such name|no connection", id="a name that nobody has"),
        pytest.param("a" * 70, "no such name", id="a name too long to be one"),
        pytest.param("a..b", "no such name", id="a name with a gap"),
    ],
)
async def test_a_name_that_leads_nowhere_is_away(host, says):
    async with remote(f"http://{host}") as rewriter:
        with pytest.raises(RemoteAway, match=says):
            await rewriter.rewrite(TEXT)


@pytest.mark.parametrize("mode", ["closes_once", "resets_once"])
async def test_a_connection_that_breaks_once_is_tried_again_at_once(service, mode):
    async with remote(service) as rewriter:
        await rewriter.rewrite(TEXT)
        service.lie(mode)
        assert (await rewriter.rewrite(TEXT)).text == LINES
    assert rewriter.retries == 1 and not rewriter.failures
    _, broken, again = service.seen
    assert broken.headers["X-Request-Id"] == again.headers["X-Request-Id"]


@pytest.mark.parametrize("mode", ["500", "busy", "no_json", "401"])
async def test_what_was_answered_is_not_asked_again(service, mode):
    service.lie(mode)
    async with remote(service) as rewriter:
        with pytest.raises(RemoteError):
            await rewriter.rewrite(TEXT)
    assert len(service.seen) == 1 and rewriter.retries == 0


async def test_a_redirect_is_not_followed_and_no_other_host_sees_the_key(service):
    async with LyingService(ScriptedRewriter(KNOWN)) as other, remote(service, key="sesame") as rewriter:
        service.lie("redirects", location=f"{other.url}/predict")
        with pytest.raises(WrongAnswer):
            await rewriter.rewrite(TEXT)
        assert other.seen == []


async def test_an_answer_of_the_greatest_length_is_read(service):
    answer = {"rewrite": LINES, "more": ""}
    answer["more"] = "x" * (MOST_BYTES - len(json.dumps(answer)))
    service._right = lambda _: asyncio.sleep(0, answer)
    async with remote(service) as rewriter:
        assert (await rewriter.rewrite(TEXT)).text == LINES
        answer["more"] += "x"
        with pytest.raises(WrongAnswer, match="more than"):
            await rewriter.rewrite(TEXT)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        pytest.param({"confidence": "high"}, '"confidence"', id="a confidence in words"),
        pytest.param({"confidence": 1.5}, '"confidence"', id="more than certain"),
        pytest.param({"confidence": True}, '"confidence"', id="true"),
        pytest.param({"confidence": float("nan")}, '"confidence"', id="not a number"),
        pytest.param({"confidence": None}, '"confidence"', id="null"),
        pytest.param({"ask_below": -1}, '"ask_below"', id="a threshold below nothing"),
        pytest.param({"model": {"name": "x"}}, '"model"', id="a model that is no name"),
        pytest.param({"model": "x\ny"}, '"model"', id="a name of two lines"),
        pytest.param({"model": "x" * 1000}, '"model"', id="a name without end"),
    ],
)
async def test_what_else_it_says_is_checked(service, more, says):
    service._right = lambda _: asyncio.sleep(0, {"rewrite": LINES} | more)
    async with remote(service) as rewriter:
        with pytest.raises(WrongAnswer, match=says):
            await rewriter.rewrite(TEXT)


async def test_the_threshold_of_its_model_is_taken_over(service):
    service._right = lambda _: asyncio.sleep(0, {"rewrite": LINES, "ask_below": 0.8, "confidence": 0.7})
    async with remote(service) as rewriter:
        rewrite = await rewriter.rewrite(TEXT)
    assert (rewrite.ask_below, rewrite.confidence) == (0.8, 0.7)


# The breaker

async def test_after_several_failures_it_is_left_alone_and_then_asked_by_one(service):
    clock = Clock()
    async with remote(service, clock, failures=2, pause_seconds=30) as rewriter:
        service.lie("500")
        for _ in range(2):
            with pytest.raises(RemoteAway):
                await rewriter.rewrite(TEXT)
        with pytest.raises(CircuitOpen, match="in 30 seconds") as refused:
            await rewriter.rewrite(TEXT)
        assert refused.value.retry_after == 30 and len(service.seen) == 2

        clock.now += 30
        service.lie("hung", "ok")
        service.arrived.clear()
        probe = asyncio.create_task(rewriter.rewrite(TEXT))
        async with asyncio.timeout(10):
            await service.arrived.wait()
        for _ in range(3):
            with pytest.raises(CircuitOpen):
                await rewriter.rewrite(TEXT)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert (await rewriter.rewrite(TEXT)).text == LINES
    assert rewriter.breaker.state == "closed" and len(service.seen) == 4
    assert rewriter.failures == {"away": 2, "open": 4}
    assert rewriter.breaker.transitions == {"open": 1, "half_open": 1, "closed": 1}


async def test_a_probe_that_finds_it_busy_keeps_the_place_of_the_probe_free(service):
    clock = Clock()
    async with remote(service, clock, failures=1, pause_seconds=30) as rewriter:
        service.lie("500", "busy", "ok")
        with pytest.raises(RemoteAway):
            await rewriter.rewrite(TEXT)
        clock.now += 30
        with pytest.raises(RemoteBusy):
            await rewriter.rewrite(TEXT)
        clock.now += 1
        assert (await rewriter.rewrite(TEXT)).text == LINES


async def test_a_text_that_it_cannot_read_shows_that_the_service_is_well(service):
    clock = Clock()
    async with remote(service, clock, failures=2, pause_seconds=30) as rewriter:
        service.lie("500", "unreadable", "500", "500", "unreadable")
        for error in (RemoteAway, Unreadable, RemoteAway, RemoteAway, CircuitOpen):
            with pytest.raises(error):
                await rewriter.rewrite(TEXT)
        clock.now += 30
        with pytest.raises(Unreadable):
            await rewriter.rewrite(TEXT)
    assert rewriter.breaker.state == "closed"


async def test_that_it_opens_and_closes_is_in_the_log(service, caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    async with remote(service, clock, failures=1) as rewriter:
        service.lie("500", "ok")
        with pytest.raises(RemoteAway):
            await rewriter.rewrite(TEXT)
        clock.now += 30
        await rewriter.rewrite(TEXT)
    told = [r.getMessage() for r in caplog.records if r.name == "assistant.remote"]
    assert told == [f"{service.url} is left alone for 30 s", f"{service.url} answers again"]


# Busy

@pytest.mark.parametrize("mode", ["busy", "limited"])
@pytest.mark.parametrize(
    ("header", "wait"), [("7", 7), ("0", 0), (None, 1), ("soon", 1), ("999999999999", 3600)],
    ids=["seconds", "none at all", "not said", "nonsense", "for ever"],
)
async def test_a_busy_service_is_not_asked_before_the_time_that_it_named(service, mode, header, wait):
    if mode == "busy" and header in (None, "soon"):
        mode = "limited"  # a 503 that names no time is an error of its own
    clock = Clock()
    async with remote(service, clock) as rewriter:
        service.lie(mode, "ok", retry_after=header)
        with pytest.raises(RemoteBusy) as busy:
            await rewriter.rewrite(TEXT)
        assert busy.value.retry_after == wait  # whoever keeps the request waits no longer than that
        if wait:
            clock.now += wait - 0.5
            with pytest.raises(RemoteBusy) as early:
                await rewriter.rewrite(TEXT)
            assert early.value.retry_after == pytest.approx(0.5) and len(service.seen) == 1
            clock.now += 0.5
        assert (await rewriter.rewrite(TEXT)).text == LINES
    assert rewriter.breaker.state == "closed"


async def test_a_date_to_come_back_at_is_read_by_the_service_s_own_clock(service):
    clock = Clock()
    async with remote(service, clock) as rewriter:
        service.lie("limited", "ok", retry_after="Wed, 11 Mar 1998 10:00:30 GMT")
        service._later = lambda status: dated(status, "Wed, 11 Mar 1998 10:00:00 GMT")
        with pytest.raises(RemoteBusy) as busy:
            await rewriter.rewrite(TEXT)
    assert busy.value.retry_after == 30


def dated(status: int, date: str):
    from aiohttp import web

    return web.Response(status=status, headers={"Retry-After": "Wed, 11 Mar 1998 10:00:30 GMT", "Date": date})


# Cancelling and closing

async def test_a_request_that_is_cancelled_is_cancelled_and_counts_for_nothing(service):
    async with remote(service, failures=1) as rewriter:
        service.lie("hung", "ok")
        service.arrived.clear()
        asked = asyncio.create_task(rewriter.rewrite(TEXT))
        async with asyncio.timeout(10):
            await service.arrived.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert (await rewriter.rewrite(TEXT)).text == LINES
    assert not rewriter.failures and rewriter.breaker.state == "closed"


async def test_many_at_once_get_each_its_own_answer():
    names = ["mum", "dad", "sam", "priya", "zbigniew"] * 8
    known = {f"call {n} tomorrow": f"call {n} | tomorrow" for n in names}
    async with LyingService(ScriptedRewriter(known)) as service, remote(service) as rewriter:
        answers = await asyncio.gather(*(rewriter.rewrite(f"call {n} tomorrow") for n in names))
    assert [a.text for a in answers] == [f"call {n} | tomorrow" for n in names]


# TLS

@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    return {host: certificate(folder, host, host) for host in ("127.0.0.1", "elsewhere.example")}


@pytest.fixture
async def tls(certificates):
    own, other = certificates.values()
    async with LyingService(ScriptedRewriter(KNOWN), own, other) as service:
        yield service


async def test_a_certificate_of_one_s_own_is_trusted_where_its_file_is_named(tls, certificates):
    async with remote(tls, ca_file=str(certificates["127.0.0.1"])) as rewriter:
        assert (await rewriter.rewrite(TEXT)).text == LINES


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(tls):
    async with remote(tls, key="sesame", failures=1) as rewriter:
        with pytest.raises(RemoteAway, match="its certificate: self-signed certificate.*: correct that, or .remote. url or ca_file"):
            await rewriter.rewrite(TEXT)
    assert tls.seen == [] and rewriter.breaker.state == "open" and rewriter.retries == 0


async def test_a_certificate_of_another_host_is_not_trusted(tls, certificates, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(path.read_bytes() for path in certificates.values()))
    async with remote(tls, ca_file=str(both)) as rewriter:
        assert (await rewriter.rewrite(TEXT)).text == LINES
        tls.lie("wrong_certificate")
        with pytest.raises(RemoteAway, match="its certificate: .*not valid for '127.0.0.1'"):
            await rewriter.rewrite(TEXT)
        tls.lie("ok")
        assert (await rewriter.rewrite(TEXT)).text == LINES


async def test_a_port_without_tls_is_away(service):
    async with remote(service.url.replace("http", "https")) as rewriter:
        with pytest.raises(RemoteAway, match="no TLS connection"):
            await rewriter.rewrite(TEXT)


# Settings

@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=["no file", "an empty file", "another file"])
async def test_a_file_of_certificates_that_is_none_is_said_at_the_start(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match="ca_file"):
        async with remote("https://localhost", ca_file=str(file)):
            pass


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"url": "https://me:secret@example.org"}, "put the service's key in", id="a password in the address"),
        pytest.param({"url": "http://example.org:99999"}, "url", id="a port that is none"),
        pytest.param({"url": "https://example.org", "key": "a\nb"}, "key", id="a key of two lines"),
        pytest.param({"url": "https://example.org", "key": "clé"}, "key", id="a key with an accent"),
    ],
)
def test_settings_that_cannot_be_are_refused_without_showing_them(settings, says):
    with pytest.raises(ConfigError, match=says) as refused:
        RemoteRewriter(Remote(**settings))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "warned"), [("http://reminders.example", True), ("https://reminders.example", False), ("http://localhost:8000", False)]
)
async def test_what_goes_over_the_network_unencrypted_is_warned_of(url, warned, caplog):
    async with remote(url):
        assert any("unencrypted" in r.message for r in caplog.records) == warned


# What is written elsewhere, in our form

@pytest.mark.parametrize(
    ("text", "rewrite", "lines"),
    [
        ("call mum at 5", "call mum | 5:00?", "call mum | 5:00?"),
        ("call Mum at 5", "call Mum | 5:00?", "call mum | 5:00?"),
        ("call Mum, at 5 PM tomorrow", "Call Mum, Tomorrow 17:00", "call mum | tomorrow 17:00"),
        ("call mum tomorrow", "call mum|tomorrow", "call mum | tomorrow"),
        ("call mum", "call mum", "call mum |"),
        ("wake me at 6", " | 6:00?", "| 6:00?"),
        ("eat at 5 and sleep at 9", "eat 5:00?\n\n sleep | 9:00? \n", "eat | 5:00?\nsleep | 9:00?"),
        ("cancel Zoë’s “party”", "/cancel Zoë’s party", "/cancel zoë's party"),
        ("watch 12 monkeys", "watch 12 monkeys |", "watch 12 monkeys |"),
        ("a|b today", "a|b | today", "a|b | today"),
    ],
)
def test_a_rewrite_from_elsewhere_is_brought_into_our_form(text, rewrite, lines):
    assert canonical(rewrite, said(text)) == lines


@pytest.mark.parametrize(
    ("rewrite", "says"),
    [
        pytest.param("call dad | 5:00?", "a word that was not said", id="another word"),
        pytest.param("mum call | 5:00?", "a word that was not said", id="another order"),
        pytest.param("call mum | 6:00?", "a time that was not said", id="another hour"),
        pytest.param("call mum | friday 5:00?", "a time that was not said", id="another day"),
        pytest.param("/cancel", None, id="a command without a target"),
        pytest.param("/move mum >", "without its end", id="a command that is not finished"),
        pytest.param("/format disk", "a word that was not said", id="a command that there is not"),
        pytest.param("\n \n", "an empty rewrite", id="blank lines"),
        pytest.param("call mum |\n" * 6, "more than was said", id="too many lines"),
        pytest.param("mum " * 30_000, "more than was said", id="a line without end"),
    ],
)
def test_what_is_no_rewrite_of_the_request_is_told_by_its_kind(rewrite, says):
    if says is None:
        assert canonical(rewrite, said("call mum at 5")) == rewrite
    else:
        with pytest.raises(ValueError, match=says):
            canonical(rewrite, said("call mum at 5"))


def said(text: str) -> list[str]:
    from assistant.words import words

    return [w.folded for w in words(normalise(text))]
