"""The site of scripts/deploy in a real nginx: what passes it, and what it keeps from the service."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import threading

import pytest

from assistant.access import FAILURES_A_MINUTE
from assistant.keys import KeyFile
from tests.nginx import NGINX, Front, Service, free_port, wanted
from tests.process import Service as Serve

pytestmark = wanted
SECRET = "call Zbigniew about the boomerang"
BODY = json.dumps({"text": SECRET}).encode()
JSON = {"Content-Type": "application/json", "Authorization": "Bearer ra_0123"}


@pytest.fixture
def service():
    with Service() as service:
        yield service


@pytest.fixture
def front(tmp_path, service):
    with Front(tmp_path, service.port) as front:
        yield front


@pytest.fixture
def impatient(tmp_path, service):
    """One that waits a second for clients and for the service."""
    with Front(tmp_path, service.port, patience="1s", answer="1s") as front:
        yield front


def test_a_request_goes_through_tls_to_the_service_and_its_answer_comes_back(front, service):
    status, headers, body = front.ask("POST", "/predict", BODY, JSON)
    assert (status, body) == (200, service.body)
    path, heard, sent = service.next()
    assert (path, sent) == ("/predict", BODY)
    assert heard["authorization"] == "Bearer ra_0123" and heard["content-type"] == "application/json"
    assert headers["strict-transport-security"].startswith("max-age=") and headers["server"] == "nginx"


def test_the_service_hears_who_asks_and_not_what_the_client_says_of_itself(front, service):
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "gopher", "X-Real-IP": "203.0.113.9",
              "X-Forwarded-Host": "evil.example.org", "Forwarded": "for=203.0.113.9"}  # fmt: skip
    front.ask("POST", "/predict", BODY, JSON | forged)
    heard = service.next()[1]
    assert heard["x-forwarded-for"] == "127.0.0.1" and heard["x-forwarded-proto"] == "https"
    assert heard["host"] == "localhost"
    assert not {"x-real-ip", "x-forwarded-host", "forwarded"} & set(heard)


def test_connections_to_the_service_are_kept_open(tmp_path, service):
    with Front(tmp_path, service.port) as front:
        front.ask("POST", "/predict", BODY, JSON)
    assert "connection" not in service.next()[1]


@pytest.mark.parametrize("path", ["/predict", "/predict?text=x"])
def test_plain_http_is_sent_to_https_with_its_method(front, service, path):
    status, headers, _ = front.ask("POST", path, BODY, JSON, plain=True)
    assert (status, headers["location"]) == (308, f"https://localhost:{front.https}{path}")
    assert service.heard.empty()


def test_lets_encrypt_finds_its_file_over_plain_http(front):
    folder = front.folder / "acme/.well-known/acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token").write_text("proof")
    status, _, body = front.ask("GET", "/.well-known/acme-challenge/token", plain=True)
    assert (status, body) == (200, b"proof")


@pytest.mark.parametrize("plain", [False, True], ids=["TLS", "plain"])
@pytest.mark.parametrize("host", ["evil.example.org", "127.0.0.1", "localhost.evil.example.org", "", "localhost\x7f"])
def test_a_host_that_is_not_ours_is_not_served(front, service, host, plain):
    assert front.ask("POST", "/predict", BODY, JSON | {"Host": host}, plain=plain)[0] in (400, 421)
    assert service.heard.empty()


def test_it_goes_by_all_the_names_that_it_was_given(tmp_path, service):
    with Front(tmp_path, service.port, known=("reminders.example.org", "127.0.0.1", "::1")) as front:
        for host in ("reminders.example.org", "Reminders.Example.org:443", "127.0.0.1", "[::1]"):
            assert front.ask("POST", "/predict", BODY, JSON | {"Host": host})[0] == 200
        assert front.error("POST", "/predict", BODY, JSON)[:2] == (421, "misdirected")


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/metrics?x", "//metrics", "/%6detrics", "/a/../metrics",
                                  "/a/..%2fmetrics", "/./metrics"])  # fmt: skip
def test_the_figures_are_not_shown_outside(front, service, path):
    assert front.error("GET", path)[:2] == (404, "not_found")
    assert service.heard.empty()


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_too_big_a_body_is_refused_before_the_service_hears_of_it(front, service, chunked):
    body = b"x" * (64 * 1024 + 1)
    assert front.error("POST", "/predict", iter([body]) if chunked else body, JSON)[:2] == (413, "too_large")
    assert service.heard.empty()


def test_a_body_of_the_greatest_size_passes_and_touches_no_disk(front, service):
    body = b"x" * (64 * 1024)
    assert front.ask("POST", "/predict", body, JSON)[0] == 200
    assert service.next()[2] == body
    assert not list((front.folder / "temp").rglob("*"))


@pytest.mark.parametrize(("request_", "status"), [
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"\x16\x03\x01 what\r\n\r\n", 400),
    (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
], ids=["long address", "long header", "two hosts", "no host", "binary", "negative length", "two lengths"])  # fmt: skip
def test_what_is_no_decent_request_gets_a_sentence_in_json(front, service, request_, status):
    with front.tls() as connection:
        connection.sendall(request_)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == status
        assert json.loads(answer.read())["error"]["message"].endswith(".")
    assert service.heard.empty()


def test_plain_http_on_the_port_of_tls_gets_a_sentence(front):
    with socket.create_connection(("127.0.0.1", front.https), 30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"This port speaks TLS" in read_all(connection)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("version", "refused"), [
    (ssl.TLSVersion.TLSv1_1, pytest.raises(ssl.SSLError)), (ssl.TLSVersion.TLSv1_2, contextlib.nullcontext()),
    (ssl.TLSVersion.TLSv1_3, contextlib.nullcontext()),
], ids=["1.1", "1.2", "1.3"])  # fmt: skip
def test_tls_is_spoken_from_version_1_2_on(front, version, refused):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(front.certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", front.https), 30) as plain, refused:
        context.wrap_socket(plain, server_hostname="localhost").close()


def test_a_flood_from_one_address_gets_429_and_is_told_when_to_come_again(tmp_path, service):
    with Front(tmp_path, service.port, rate="1r/m", burst="3") as front:
        for _ in range(4):
            assert front.ask("POST", "/predict", BODY, JSON)[0] == 200
        status, code, headers = front.error("POST", "/predict", BODY, JSON)
    assert (status, code, headers["retry-after"]) == (429, "too_many_requests", "1")
    assert service.heard.qsize() == 4


def test_one_address_has_only_so_many_connections(tmp_path, service):
    service.go_on.clear()
    with Front(tmp_path, service.port, connections="2") as front:
        answers: list[int] = []
        busy = [threading.Thread(target=lambda: answers.append(front.ask("POST", "/predict", BODY, JSON)[0])) for _ in "ab"]
        for thread in busy:
            thread.start()
            service.next()
        assert front.error("POST", "/predict", BODY, JSON)[:2] == (429, "too_many_requests")
        service.go_on.set()
        for thread in busy:
            thread.join(timeout=30)
    assert answers == [200, 200]


@pytest.mark.parametrize("sent", [
    b"POST /pre",
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-Slow",
    b'POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"te',
], ids=["request line", "headers", "body"])  # fmt: skip
def test_a_client_that_dawdles_is_cut_off_and_the_service_never_hears_of_it(impatient, service, sent):
    with impatient.tls() as connection:
        connection.sendall(sent)
        read_all(connection)  # ends, or this fails after 30 s
    assert service.heard.empty()


def test_a_client_that_never_begins_to_speak_tls_is_cut_off(impatient):
    with socket.create_connection(("127.0.0.1", impatient.https), 30) as connection:
        assert read_all(connection) == b""


def test_a_service_that_is_away_is_told_in_json_with_when_to_try_again(tmp_path):
    with Front(tmp_path, free_port()) as front:
        status, code, headers = front.error("POST", "/predict", BODY, JSON)
    assert (status, code, headers["retry-after"]) == (503, "away", "2")


def test_a_service_that_does_not_answer_in_time_is_told_in_json(impatient, service):
    service.go_on.clear()
    assert impatient.error("POST", "/predict", BODY, JSON)[:2] == (504, "out_of_time")
    service.next()
    assert service.heard.empty()  # it is not asked a second time


def test_an_error_of_the_service_itself_goes_out_as_it_is(front, service):
    service.status, service.body = 503, b'{"error": {"code": "busy", "message": "Come again."}}'
    service.headers = {"Retry-After": "7", "Content-Type": "application/json"}
    status, headers, body = front.ask("POST", "/predict", BODY, JSON)
    assert (status, headers["retry-after"], body) == (503, "7", service.body)


def test_nothing_that_was_said_stands_in_the_log(impatient, service):
    query = "/predict?text=Zbigniew"
    impatient.ask("POST", query, BODY, JSON)
    impatient.ask("POST", query, BODY + b"x" * 70_000, JSON)
    service.go_on.clear()
    impatient.ask("POST", query, BODY, JSON)
    impatient.process.terminate()
    impatient.process.wait(timeout=20)
    lines = [json.loads(line) for line in impatient.log().splitlines()]
    assert [(line["path"], line["status"]) for line in lines] == [("/predict", s) for s in (200, 413, 504)]
    assert not any(word in impatient.log() for word in ("Zbigniew", "boomerang", "ra_0123"))


def test_nginx_finds_nothing_to_warn_of(front):
    done = subprocess.run([NGINX, "-t", "-p", front.folder, "-c", front.folder / "nginx.conf"], capture_output=True, text=True)
    assert done.returncode == 0 and "warn" not in done.stderr


class TestRealService:
    """`assistant serve` itself behind nginx."""

    @pytest.fixture
    def data(self, tmp_path):
        (tmp_path / "data").mkdir()
        return tmp_path / "data"

    @pytest.fixture
    def serve(self, data, model):
        return Serve(data)

    def front(self, tmp_path, serve) -> Front:
        return Front(tmp_path, int(serve.url.rpartition(":")[2]))

    def test_whoever_has_a_key_is_understood(self, tmp_path, data, serve):
        key, _ = KeyFile(data / "keys.json").add("laptop")
        body = b'{"text": "remind me to call mum tomorrow at 5 pm"}'
        with serve, self.front(tmp_path, serve) as front:
            status, headers, answer = front.ask("POST", "/predict", body, {"Authorization": f"Bearer {key}"})
            assert (status, json.loads(answer)["rewrite"]) == (200, "call mum | tomorrow 17:00")
            assert headers["strict-transport-security"] == "max-age=31536000"
            assert headers["x-content-type-options"] == "nosniff" and headers["server"] == "nginx"
            assert front.error("POST", "/predict", body)[:2] == (401, "no_key")
            assert front.ask("GET", "/health/ready")[0] == 200

    def test_one_without_keys_answers_nobody_who_comes_through_nginx(self, tmp_path, serve):
        with serve, self.front(tmp_path, serve) as front:
            assert front.error("POST", "/predict", b'{"text": "call mum at 5"}')[:2] == (403, "refused")

    def test_whoever_guesses_keys_cannot_hide_behind_addresses_that_he_makes_up(self, tmp_path, data, serve):
        KeyFile(data / "keys.json").add("laptop")
        with serve, self.front(tmp_path, serve) as front:
            wrong = [{"Authorization": "Bearer ra_wrong", "X-Forwarded-For": f"203.0.113.{n}"} for n in range(FAILURES_A_MINUTE + 1)]
            codes = [front.ask("POST", "/predict", b"{}", headers)[0] for headers in wrong]
        assert codes == [401] * FAILURES_A_MINUTE + [429]


@pytest.mark.parametrize("name", ["a b", 'x" 1; }', "Reminders.example.org", ""])
def test_what_is_no_name_does_not_get_into_the_site(front, name):
    with pytest.raises(ValueError):
        type(front.site)(known=(name,), certificate=front.certificate, certificate_key=front.certificate).render()


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side ends it, by a farewell or not. Raises TimeoutError if it does not."""
    got = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
        while part := connection.recv(4096):
            got += part
    return got
