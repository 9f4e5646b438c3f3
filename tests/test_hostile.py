"""Hostile requests to the real service over raw sockets: a 4xx with a sentence each, or a closed connection for what is
no HTTP at all; never a 500, never a stuck worker, and no word of a request in the log."""

import gzip
import http.client
import json
import socket
import threading
import zlib
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assistant.keys import KeyFile
from tests.process import Service
from tests.services import CALL, Local, serving
from tests.test_life_cycle import patched

pytestmark = pytest.mark.usefixtures("model")

HURRIES = "import assistant.guard\nassistant.guard.BODY_SECONDS = 0.5\n"
"""A body must be there within half a second, so that no test waits long for one that never comes."""
CLOSED = (0, None)
"""No answer, but a closed connection."""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    data = tmp_path_factory.mktemp("service")
    here = {"HOME": str(data), "XDG_CONFIG_HOME": str(data), "ASSISTANT_LOG__LEVEL": "debug"}
    with patched(Service(data, here), HURRIES) as service:
        yield service


def wire(service: Service) -> socket.socket:
    host, port = service.url[7:].split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def answer(service: Service, sent: bytes) -> tuple[int, dict | None, http.client.HTTPMessage | None]:
    """Status, JSON and headers of the first answer to these bytes; `CLOSED` where there is none."""
    with wire(service) as s:
        with suppress(OSError):  # it may be closed before all of it is sent
            s.sendall(sent)
        response = http.client.HTTPResponse(s)
        try:
            response.begin()
            return response.status, json.loads(response.read()), response.headers
        except (http.client.HTTPException, OSError):
            return *CLOSED, None


def post(body: bytes, *headers: str, path: str = "/predict", length: int | None = None) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
    if not any("Content-Type" in h for h in headers):
        head.append("Content-Type: application/json")
    if not any("Transfer-Encoding" in h for h in headers):
        head.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def get(path: str = "/health", *headers: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{method} {path} {version}", "Host: localhost", *headers]).encode("latin-1") + b"\r\n\r\n"


def text(value: object) -> bytes:
    return json.dumps({"text": value}).encode()


CHUNKED = "Transfer-Encoding: chunked"
GOOD = text(CALL)
REFUSED = {
    # a body that is no request
    "nothing": (post(b""), 400, "bad_request"),
    "not JSON": (post(b"remind me to whisper zebra"), 400, "bad_request"),
    "half an object": (post(b'{"text": "remi'), 400, "bad_request"),
    "two objects": (post(GOOD + GOOD), 400, "bad_request"),
    "a list": (post(b'["remind me"]'), 400, "bad_request"),
    "a word": (post(b'"remind me"'), 400, "bad_request"),
    "null": (post(b"null"), 400, "bad_request"),
    "an empty object": (post(b"{}"), 400, "bad_request"),
    "a text that is a number": (post(text(5)), 400, "bad_request"),
    "a text that is null": (post(text(None)), 400, "bad_request"),
    "a text that is true": (post(text(True)), 400, "bad_request"),
    "a text that is a list": (post(text([CALL])), 400, "bad_request"),
    "a text that is an object": (post(text({"text": CALL})), 400, "bad_request"),
    "texts that are a text": (post(b'{"texts": "x"}'), 400, "bad_request"),
    "texts that are numbers": (post(b'{"texts": [1, 2]}'), 400, "bad_request"),
    "no texts": (post(b'{"texts": []}'), 400, "bad_request"),
    "a text and texts": (post(b'{"text": "x", "texts": ["y"]}'), 400, "bad_request"),
    "more texts than it takes": (post(b'{"texts": %s}' % json.dumps(["x"] * 33).encode()), 400, "bad_request"),
    "a key that is not known": (post(b'{"text": "x", "user": "root"}'), 400, "bad_request"),
    "a key of line breaks": (post(b'{"a\\r\\nSet-Cookie: x": "y"}'), 400, "bad_request"),
    "an empty text": (post(text("")), 400, "blank"),
    "a blank text": (post(text(" \n\t\u2028 ")), 400, "blank"),
    "a long text": (post(text("word " * 200)), 400, "too_long"),
    "a now that is none": (post(b'{"text": "x", "now": "soon"}'), 400, "bad_instant"),
    "a now beyond all calendars": (post(b'{"text": "x", "now": "9999-12-31T23:59:59-23:59"}'), (200, 400), None),
    "a zone that is none": (post(b'{"text": "x", "tz": "Mars/Base"}'), 400, "bad_zone"),
    "a zone that is a path": (post(b'{"text": "x", "tz": "../../../etc/passwd"}'), 400, "bad_zone"),
    "a zone of NULs": (post(b'{"text": "x", "tz": "\\u0000"}'), 400, "bad_zone"),
    # size and depth
    "a huge body": (post(text("x" * 70_000)), 413, "too_large"),
    "a huge body in chunks": (post(b"11170\r\n" + text("x" * 69_988) + b"\r\n0\r\n\r\n", CHUNKED), 413, "too_large"),
    "brackets without end": (post(b"[" * 60_000), 400, "bad_request"),
    "braces without end": (post(b'{"a":' * 12_000), 400, "bad_request"),
    "nested and closed": (post(b'{"text": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"), 400, "bad_request"),
    "a number without end": (post(b'{"text": ' + b"9" * 60_000 + b"}"), 400, "bad_request"),
    "a number beyond all floats": (post(b'{"text": 1e999999}'), 400, "bad_request"),
    "not a number": (post(b'{"text": NaN}'), 400, "bad_request"),
    # encodings
    "not UTF-8": (post(b'{"text": "\xff\xfe"}'), 400, "bad_request"),
    "UTF-8 that is cut off": (post(b'{"text": "\xe2\x82"}'), 400, "bad_request"),
    "latin-1, and says so": (post('{"text": "grüß"}'.encode("latin-1"), "Content-Type: text/plain; charset=latin-1"), 400, "bad_request"),
    "binary": (post(bytes(range(256)) * 16), 400, "bad_request"),
    "NULs": (post(b"\0" * 1000), 400, "bad_request"),
    "a picture": (post(b"\x89PNG\r\n\x1a\n" + bytes(200), "Content-Type: image/png"), 400, "bad_request"),
    "gzip that is none": (post(GOOD, "Content-Encoding: gzip"), 400, "bad_request"),
    "gzip that is cut off": (post(gzip.compress(GOOD)[:-12], "Content-Encoding: gzip"), 400, "bad_request"),
    "gzip without being told": (post(gzip.compress(GOOD)), 400, "bad_request"),
    "a gzip bomb": (post(gzip.compress(b"[" * 20_000_000), "Content-Encoding: gzip"), 413, "too_large"),
    "a deflate bomb": (post(zlib.compress(b" " * 20_000_000), "Content-Encoding: deflate"), 413, "too_large"),
    "an encoding that is none": (post(b"\x01\x02\x03", "Content-Encoding: rot13"), 400, "bad_request"),
    # bodies that do not come
    "a body that never comes": (post(b"", length=100), 408, "too_slow"),
    "a body that stops half way": (post(GOOD[:10], length=len(GOOD)), 408, "too_slow"),
    "chunks that stop": (post(b"5\r\n{\"tex", CHUNKED), 408, "too_slow"),
    "chunks of nonsense": (post(b"zz\r\nnonsense\r\n", CHUNKED), 400, None),
    "a chunk longer than it says": (post(b"2\r\n" + GOOD + b"\r\n0\r\n\r\n", CHUNKED), 400, None),
    "a chunk of a negative size": (post(b"-5\r\n" + GOOD + b"\r\n0\r\n\r\n", CHUNKED), 400, None),
    "a chunk of endless size": (post(b"f" * 100 + b"\r\n" + GOOD, CHUNKED), (400, 408), None),
    "a length that is negative": (post(GOOD, length=-5), 400, "not_http"),
    "a length that is a word": (post(GOOD, "Content-Length: many"), 400, "not_http"),
    "a length that is endless": (post(GOOD, length=10 ** 40), 400, "not_http"),
    "two lengths": (post(GOOD, "Content-Length: 1"), 400, "not_http"),
    "a length and chunks": (post(b"0\r\n\r\n", CHUNKED, "Content-Length: 5"), 400, "not_http"),
    "two encodings of the transfer": (post(b"0\r\n\r\n", "Transfer-Encoding: chunked, chunked"), 400, None),
    "an expectation": (post(GOOD, "Expect: miracles"), 417, "http"),
    # addresses and methods
    "an address that is none": (get("/nothing"), 404, "not_found"),
    "the reminders of a daemon": (get("/reminders"), 404, "not_found"),
    "a path out of the tree": (get("/../../etc/passwd"), 404, "not_found"),
    "a path out of the tree, encoded": (get("/%2e%2e/%2e%2e/etc/passwd"), 404, "not_found"),
    "a path with a NUL": (get("/health%00"), 404, "not_found"),
    "a path that is not UTF-8": (get("/%ff%fe"), 404, "not_found"),
    "a path with half a surrogate pair": (get("/%ed%a0%80"), 404, "not_found"),
    "a path of line breaks": (get("/a%0d%0aSet-Cookie:%20x"), 404, "not_found"),
    "an address of another machine": (get("http://evil.example/health"), (200, 400, 403, 404), None),
    "an address that is a host": (get("evil.example:443", method="CONNECT"), (400, 404, 405), None),
    "an asterisk": (get("*", method="OPTIONS"), (400, 404, 405), None),
    "a method that it does not take": (get("/predict", method="DELETE"), 405, "method_not_allowed"),
    "to read what is to be asked": (get("/predict"), 405, "method_not_allowed"),
    "a method that is none": (get("/predict", method="REMIND"), (400, 405), None),
    "a method of small letters": (get("/predict", method="post"), (400, 405), None),
    "TRACE": (get("/health", method="TRACE"), 405, "method_not_allowed"),
    "a host that is another": (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "refused"),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", (400, 403), None),
    "two hosts": (get("/health", "Host: evil.example"), (400, 403), None),
    "a host of nonsense": (b"GET /health HTTP/1.1\r\nHost: [::1\r\n\r\n", 403, "refused"),
    # headers
    "a long address": (get("/" + "x" * 20_000), 400, "not_http"),
    "a long header": (get("/health", "X: " + "y" * 20_000), 400, "not_http"),
    "many headers": (get("/health", *(f"X-{n}: y" for n in range(5000))), 400, "not_http"),
    "a header without a name": (get("/health", ": x"), 400, "not_http"),
    "a header with a NUL": (get("/health", "X: a\0b"), 400, "not_http"),
    "a header of another line": (get("/health", "X: a\rb"), 400, "not_http"),
    "a header with a blank before its colon": (get("/health", "X : y"), 400, "not_http"),
    "a version that is none": (get(version="HTTP/9.9"), (200, 400, 505), None),
    "a version that is a word": (get(version="HTTP/x"), 400, "not_http"),
    # no HTTP
    "HTTP/0.9": (b"GET /health\r\n\r\n", (400, 403), None),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n", 400, "not_http"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 403, 404, 405), None),
    "another protocol": (b"SSH-2.0-OpenSSH_9.9\r\n", 400, "not_http"),
    "line noise": (b"\xff\xfe\xfd\r\n\r\n", 400, "not_http"),
    "a NUL": (b"\0\r\n\r\n", 400, "not_http"),
    "no line break": (b"x" * 100_000, 400, "not_http"),
}


@pytest.mark.parametrize(("sent", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_taken_is_refused_with_a_sentence_and_the_next_request_is_answered(service, sent, status, code):
    got, told, headers = answer(service, sent)
    assert got in (status if isinstance(status, tuple) else (status,)), told
    if got >= 400:
        error = told["error"]
        assert code is None or error["code"] == code
        assert error["message"].endswith(".") and len(error["message"]) < 300 and "Traceback" not in error["message"]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Server"] == "assistant"
    assert headers.get("Set-Cookie") is None
    assert_alive(service)


def assert_alive(service: Service) -> None:
    status, told, _ = answer(service, post(GOOD))
    assert (status, told["rewrite"]) == (200, "call mum | tomorrow 17:00")


ODD = {
    "half a surrogate pair": b'{"text": "call \\ud83d mum"}',
    "NULs in a text": b'{"text": "call\\u0000 mum"}',
    "UTF-16": json.dumps({"text": CALL}).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "a key twice": b'{"text": "x", "text": "call mum"}',
    "surrogates in a list": b'{"texts": ["\\udfff", "\\ud800\\udc00", ""]}',
    "all sorts of blanks": '{"text": "\u00a0call\u2003mum\u200b\ufeff"}'.encode(),
    "right to left": '{"text": "\u202ecall mum\u202c"}'.encode(),
    "combining without end": ('{"text": "a' + "\u0301" * 400 + '"}').encode(),
    "the words of a command": b'{"text": "/cancel all"}',
    "the tokens of a model": b'{"text": "<s></s><|endoftext|>\\n=>"}',
    "gzip": gzip.compress(GOOD),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_but_can_be_taken_is_taken_or_refused(service, name):
    headers = ["Content-Encoding: gzip"] if name == "gzip" else []
    status, told, _ = answer(service, post(ODD[name], *headers))
    assert status == 200 or (400 <= status < 500 and told["error"]["message"].endswith("."))
    assert_alive(service)


def test_a_connection_that_is_cut_at_any_place_of_a_request_leaves_the_service_alive(service):
    sent = post(GOOD)
    for cut in range(0, len(sent), 7):
        with wire(service) as s:
            s.sendall(sent[:cut])
            if cut % 2:  # reset it
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert_alive(service)


def test_many_requests_at_once_on_one_connection_are_answered_in_their_order(service):
    with wire(service) as s:
        s.sendall(post(GOOD) + get("/nothing") + get("/health/live") * 60)
        reader, statuses = s.makefile("rb"), []
        for _ in range(62):
            statuses.append(int(reader.readline().split()[1]))
            length = 0
            while (line := reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            reader.read(length)
    assert statuses == [200, 404] + [200] * 60


def test_slow_bodies_on_many_connections_hold_nobody_up(service):
    slow = [wire(service) for _ in range(50)]
    for s in slow:
        s.sendall(post(b"", length=100))
    assert_alive(service)
    for s in slow:
        response = http.client.HTTPResponse(s)
        response.begin()
        assert response.status == 408
        s.close()


@given(st.binary(max_size=400))
@example(b'{"text": "\\ud800"}')
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_a_body_has_the_answer_is_clear(service, body):
    status, told, _ = answer(service, post(body))
    assert status == 200 or (400 <= status < 500 and told["error"]["message"].endswith("."))


@given(st.binary(min_size=1, max_size=200).filter(bytes.strip))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_come_in_place_of_http_the_answer_is_clear(service, sent):
    status, told, _ = answer(service, sent.replace(b"\r", b"") + b"\r\n\r\n")
    assert 400 <= status < 500 and told["error"]["message"].endswith(".")


# The log

SECRET = "remind me to whisper zebra tomorrow"
BUGGY = """
import assistant.serve
understand = assistant.serve.understand_text
async def understand_text(rewriter, text, *more):
    if "bug" in text:
        raise ZeroDivisionError(text)
    return await understand(rewriter, text, *more)
assistant.serve.understand_text = understand_text
"""


def ask_for_zebras(service: Service) -> None:
    for body in (text(SECRET), text(SECRET + " bug"), text(SECRET * 30), b'{"texts": ["%s", ""]}' % SECRET.encode(),
                 SECRET.encode(), b'{"zebra": 1}', text({"zebra": SECRET}), b'{"text": "zebra", "tz": "zebra"}',
                 b'{"text": "zebra", "now": "zebra"}', b'{"texts": ["zebra bug"]}'):
        answer(service, post(body))
    for sent in (post(text(SECRET), "Content-Encoding: gzip"), SECRET.encode() + b"\r\n\r\n", post(b"\0zebra\r\n", CHUNKED),
                 get("/zebra?text=zebra"), get("/health", "zebra"), get("/zebra", method="ZEBRA")):
        answer(service, sent)
    with wire(service) as s:
        s.sendall(post(text(SECRET))[:-5])


def test_the_log_has_no_word_of_a_request_not_even_of_a_bug(tmp_path):
    with patched(Service(tmp_path, {"ASSISTANT_LOG__LEVEL": "debug"}), BUGGY) as service:
        ask_for_zebras(service)
        service.wait_for("a bug")
        assert service.stop() == 0
    service._reader.join(10)
    told = "\n".join(service.lines)
    assert "zebra" not in told.lower()
    assert "ZeroDivisionError" in told and "understand_text" in told, "but what sort of bug, and where"
    assert "route=/predict status=200" in told


def test_the_log_shows_what_people_say_where_that_is_asked_for(tmp_path):
    with Service(tmp_path, {"ASSISTANT_SERVE__LOG_TEXT": "true"}) as service:
        answer(service, post(text(SECRET)))
        shown = service.wait_for("understood")
        assert f'text="{SECRET}" rewrite="' in shown.string


async def test_no_key_is_in_the_log(tmp_path, caplog):
    caplog.set_level("DEBUG")
    file = KeyFile(tmp_path / "keys.json")
    key, _ = file.add("laptop")
    async with serving(file.path) as client:
        await client.predict(key)
        await client.predict(key + "x")
    told = [vars(r) for r in caplog.records if r.name.startswith("assistant")]
    assert [facts["key"] for facts in told if "key" in facts] == ["laptop", None]
    assert key not in str(told)


async def test_a_bug_is_told_as_500_and_nothing_of_it(tmp_path, caplog):
    class Breaks(Local):
        async def rewrite(self, text):
            raise ZeroDivisionError(text)

    async with serving(tmp_path / "keys.json", rewriter=Breaks()) as client:
        response = await client.predict()
        assert (response.status, (await response.json())["error"]["code"]) == (500, "internal")
        assert CALL not in await response.text() and CALL not in caplog.text
        assert (await client("GET", "/health")).status == 200


def test_a_request_is_answered_also_while_others_hang_half_way(service):
    halves = [wire(service) for _ in range(30)]
    for s in halves:
        s.sendall(get("/health")[:-2])
    answers: list[int] = []
    asking = [threading.Thread(target=lambda: answers.append(answer(service, post(GOOD))[0])) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(20)
    assert answers == [200] * 4
    for s in halves:
        s.close()
