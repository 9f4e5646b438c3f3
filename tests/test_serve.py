"""The model service as a process: it starts, reloads, drains, is kept busy, and tells systemd how it is."""

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from assistant.errors import AddressTaken
from assistant.keys import KeyFile
from assistant.listen import open_socket
from assistant.pointer import Models
from assistant.processors import processors
from tests.conftest import MODEL
from tests.model_folders import candidate
from tests.process import Service
from tests.services import CALL, serving
from tests.test_life_cycle import ended, patched

pytestmark = pytest.mark.usefixtures("model")

GATED = """
import os, time, assistant.local
write = assistant.local.LlamaModel.write
def written(self, text, abandoned):
    while not os.path.exists("open") and not abandoned():
        time.sleep(0.002)
    return write(self, text, abandoned)
assistant.local.LlamaModel.write = written
"""
"""The model does nothing until there is a file `open` in the data folder."""
ONE = {"ASSISTANT_SERVE__CONTEXTS": "1", "ASSISTANT_SERVE__QUEUE": "1", "ASSISTANT_SERVE__DEADLINE_SECONDS": "600"}


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end, "it does not come to that"


def under_way(service: Service) -> tuple[int, int]:
    """How many requests are worked on, and how many wait."""
    health = service.call("GET", "/health")[1]
    return health["in_flight"], health["waiting"]


@pytest.fixture
def threads():
    with ThreadPoolExecutor(16) as threads:
        yield threads


def predict(service: Service, key: str | None = None) -> tuple[int, dict]:
    return service.call("POST", "/predict", {"text": CALL},
                        headers={"Authorization": f"Bearer {key}"} if key else None)


# Starting

def test_without_keys_it_refuses_to_serve_other_machines(tmp_path):
    status, said = ended(Service(tmp_path, options=("--host", "0.0.0.0")))
    assert status == 2 and "`assistant keys add NAME`" in said and "127.0.0.1" in said


def test_an_address_that_is_taken_is_told_with_its_section_of_the_settings():
    with open_socket("127.0.0.1", 0) as taken, pytest.raises(AddressTaken, match=r"\[serve\] port"):
        open_socket("127.0.0.1", taken.getsockname()[1], "serve")


def test_as_many_contexts_as_the_process_may_use_processors(threads):
    assert 1 <= processors() <= os.cpu_count()

    def of_one() -> int:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # of this thread
        return processors()

    with ThreadPoolExecutor(1) as short_lived:
        assert short_lived.submit(of_one).result() == 1


async def test_before_its_model_is_loaded_it_says_so(tmp_path):
    async with serving(tmp_path / "keys.json", loaded=False) as client:
        health = await client("GET", "/health")
        assert health.status == 503
        told = await health.json()
        assert (told["status"], told["live"], told["ready"], told["model"]) == ("loading", True, False, None)
        assert (await client("GET", "/health/live")).status == 200
        assert (await client("GET", "/health/ready")).status == 503
        refused = await client.predict()
        assert (refused.status, (await refused.json())["error"]["code"]) == (503, "loading")
        assert refused.headers["Retry-After"] == "1"
        assert (await client("GET", "/metrics")).status == 200
        client.service.loaded()
        assert (await client("GET", "/health/ready")).status == 200
        assert (await client.predict()).status == 200


@pytest.mark.parametrize(("quotas", "count"), [
    pytest.param({}, 4, id="none"),
    pytest.param({"a/b": "max 100000"}, 4, id="all"),
    pytest.param({"a/b": "200000 100000"}, 2, id="two"),
    pytest.param({"a/b": "120000 100000"}, 2, id="one and a bit"),
    pytest.param({"a/b": "5000 100000"}, 1, id="a twentieth"),
    pytest.param({"a/b": "900000 100000"}, 4, id="more than there are"),
    pytest.param({"a/b": "300000 100000", "a": "100000 100000"}, 1, id="less in the group above"),
    pytest.param({".": "100000 50000"}, 2, id="of a container"),
    pytest.param({"a/other": "100000 100000"}, 4, id="of another group"),
    pytest.param({"a/b": "?"}, 4, id="nonsense"),
])
def test_no_more_than_its_control_group_has_time_of(tmp_path, monkeypatch, quotas, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(os, "process_cpu_count", lambda: 4, raising=False)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "other").mkdir()
    for group, quota in quotas.items():
        (tmp_path / group / "cpu.max").write_text(quota + "\n")
    own = tmp_path / "own"
    own.write_text("4:memory:/elsewhere\n0::/a/b\n")
    assert processors(tmp_path, own) == count
    own.unlink()
    assert processors(tmp_path, own) == 4, "no control groups on this system"


async def test_once_it_has_drained_a_kept_connection_is_told_that_it_stops(tmp_path):
    async with serving(tmp_path / "keys.json") as client:
        assert (await client.predict()).status == 200
        await client.service.drain(10)
        refused = await client.predict()
        assert (refused.status, (await refused.json())["error"]["code"]) == (503, "stopping")
        assert (refused.headers["Retry-After"], refused.headers["Connection"]) == ("1", "close")
        assert client.rewriter.heard == [CALL], "the model may be closed by then"


async def test_a_body_may_be_as_long_as_the_texts_that_it_may_hold(tmp_path):
    texts = ["ä" * 500] * 99
    async with serving(tmp_path / "keys.json", most_texts=99) as client:
        response = await client("POST", "/predict", {"texts": texts})
        assert response.status == 413, "escaped it is too long"
        async with client.session.post("/predict", data=json.dumps({"texts": texts}, ensure_ascii=False)) as response:
            assert response.status == 200 and len((await response.json())["results"]) == 99


# With keys, and its whole life

def test_with_a_key_it_serves_other_machines_tells_how_it_is_and_its_keys_are_rotated_without_an_outage(tmp_path, threads):
    file = KeyFile(tmp_path / "keys.json")
    old, _ = file.add("laptop")
    with Service(tmp_path, options=("--host", "0.0.0.0")) as service:
        service.wait_for("warning .*TLS")
        service.url = service.url.replace("0.0.0.0", "127.0.0.1")
        status, health = service.call("GET", "/health")
        assert status == 200
        assert set(health) == {"status", "live", "ready", "version", "model", "model_sha256", "uptime_s", "in_flight", "waiting"}
        assert (health["status"], health["live"], health["ready"], health["model"]) == ("ok", True, True, "small")
        assert predict(service)[0] == 401

        stop, keys = threading.Event(), [old]

        def ask() -> list[int]:
            return [predict(service, keys[-1])[0] for _ in iter(stop.is_set, True)]

        asking = [threads.submit(ask)]
        new, _ = file.add("laptop", rotate=True)
        assert [predict(service, key)[0] for key in (old, new)] == [200, 200]
        keys.append(new)
        for _ in range(10):  # by then nobody has the old one in hand
            assert predict(service, new)[0] == 200
        stop.set()
        assert {status for answers in asking for status in answers.result()} == {200}
        file.remove("laptop", old=True)
        assert [predict(service, key)[0] for key in (old, new)] == [401, 200]
        assert service.stop() == 0
        service.wait_for("stopped$")


def test_a_stop_answers_what_is_under_way_lets_nobody_in_and_says_that_it_is_not_ready(tmp_path, threads):
    env = {"ASSISTANT_SERVE__CONTEXTS": "2", "ASSISTANT_SERVE__DEADLINE_SECONDS": "60"}
    with patched(Service(tmp_path, env), GATED) as service:
        host, port = service.url[7:].split(":")
        kept = http.client.HTTPConnection(host, int(port), timeout=20)
        kept.request("GET", "/health/ready")
        assert kept.getresponse().read() == b'{"ready": true}'
        asked = [threads.submit(predict, service) for _ in range(8)]
        half = socket.create_connection((host, int(port)), timeout=20)
        body = json.dumps({"text": CALL}).encode()
        half.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:5])
        until(lambda: under_way(service) == (2, 6))

        service.process.send_signal(signal.SIGTERM)
        service.wait_for("stopping")
        until(lambda: refused(host, int(port)))
        kept.request("GET", "/health")
        answer = kept.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (503, "close")
        told = json.loads(answer.read())
        assert (told["status"], told["live"], told["ready"]) == ("draining", True, False)
        assert not any(a.done() for a in asked)
        half.sendall(body[5:])

        (tmp_path / "open").touch()
        answers = [a.result(20) for a in asked]
        assert [(status, told["rewrite"]) for status, told in answers] == [(200, "call mum | tomorrow 17:00")] * 8
        assert half.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        assert service.process.wait(20) == 0
        service.wait_for("stopped$")
        half.close()


def refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=20).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_model_that_hangs_does_not_hold_up_the_stop(tmp_path, threads):
    hangs = GATED.replace("and not abandoned()", "") + "\nimport assistant.serve\nassistant.serve.STOP_SECONDS = -0.9\n"
    with patched(Service(tmp_path, {"ASSISTANT_SERVE__DEADLINE_SECONDS": "0.2"}), hangs) as service:
        status, told = predict(service)
        assert (status, told["error"]["code"]) == (503, "out_of_time")
        assert service.stop() == 0
        service.wait_for("without waiting")


def test_a_hangup_uses_the_promoted_model_and_drops_no_request(tmp_path, threads):
    folder = tmp_path / "models"
    candidate(folder, "fresh")
    env = {"ASSISTANT_MODEL__DIR": str(folder), "ASSISTANT_SERVE__QUEUE": "100"}
    looks = "import assistant.reload\nassistant.reload.LOOK_SECONDS = 1e6"
    with patched(Service(tmp_path, env), looks) as service:
        stop = threading.Event()

        def ask() -> list[tuple[int, str]]:
            answers = []
            while not stop.is_set() or answers[-1:] == [(200, "small")]:
                status, told = predict(service)
                answers.append((status, told.get("model")))
            return answers

        asking = [threads.submit(ask) for _ in range(2)]
        until(lambda: sum(under_way(service)) > 0)
        Models(folder, tmp_path / "model.json", MODEL).promote("fresh", "x")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("model fresh is in use")
        assert predict(service)[1]["model"] == "fresh"
        stop.set()
        answers = [a for each in asking for a in each.result(20)]
        assert {status for status, _ in answers} == {200}
        assert {model for _, model in answers} == {"small", "fresh"}
        assert service.call("GET", "/health")[1]["model"] == "fresh"


# Too much to do

def test_more_than_it_has_room_for_is_turned_away_who_goes_away_makes_room_and_it_recovers(tmp_path, threads):
    with patched(Service(tmp_path, ONE), GATED) as service:
        first = leave(service)
        until(lambda: under_way(service) == (1, 0))
        second = leave(service)
        until(lambda: under_way(service) == (1, 1))
        host, port = service.url[7:].split(":")
        for _ in range(50):  # while the model does nothing
            connection = http.client.HTTPConnection(host, int(port), timeout=20)
            connection.request("POST", "/predict", json.dumps({"text": CALL}))
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert json.loads(answer.read())["error"]["code"] == "busy"
            connection.close()

        second.close()
        until(lambda: under_way(service) == (1, 0))
        stays = threads.submit(predict, service)
        until(lambda: under_way(service) == (1, 1))
        first.close()
        until(lambda: under_way(service) == (1, 0))
        assert not stays.done()
        (tmp_path / "open").touch()
        assert stays.result(20)[0] == predict(service)[0] == 200


def leave(service: Service) -> socket.socket:
    """A request whose answer nobody has read yet."""
    host, port = service.url[7:].split(":")
    wire = socket.create_connection((host, int(port)), timeout=20)
    body = json.dumps({"text": CALL}).encode()
    wire.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return wire
