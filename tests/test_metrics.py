"""What Prometheus reads of the service, with its own parser."""

import asyncio

import aiohttp
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from assistant.errors import Busy, OutOfTime
from assistant.guard import KEY_NAME
from assistant.keys import KeyFile
from assistant.metrics import BUCKETS, Metrics
from tests.services import CALL, Client, Local, serving


class Figures:
    """The samples of one look."""

    def __init__(self, text: str) -> None:
        self.families = {f.name: f for f in text_string_to_metric_families(text)}
        self._samples = [s for f in self.families.values() for s in f.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name with these labels among theirs."""
        return sum(s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items())

    def labels(self, name: str) -> list[dict[str, str]]:
        return [s.labels for s in self._samples if s.name == name]


async def figures(client: Client) -> Figures:
    response = await client("GET", "/metrics")
    assert response.status == 200 and response.headers["Content-Type"].startswith("text/plain; version=")
    return Figures(await response.text())


@pytest.fixture
async def client(tmp_path):
    async with serving(tmp_path / "keys.json") as client:
        yield client


async def test_answers_are_counted_by_route_and_status_and_texts_by_themselves(client):
    await client.predict()
    await client("POST", "/convert", {"texts": [CALL] * 3})
    await client("POST", "/predict", {"text": ""})
    found = await figures(client)
    assert found("assistant_requests_total", route="/predict", status="200") == 1
    assert found("assistant_requests_total", route="/predict", status="400") == 1
    assert found("assistant_requests_total", route="/convert", status="200") == 1
    assert found("assistant_texts_total") == 4


async def test_how_long_they_took_is_a_histogram_from_two_milliseconds_to_ten_seconds(client):
    for _ in range(3):
        await client.predict()
    found = await figures(client)
    edges = [float(e["le"]) for e in found.labels("assistant_request_seconds_bucket") if e["route"] == "/predict"]
    assert edges == [*BUCKETS, float("inf")] and (edges[0], edges[-2]) == (0.002, 10)
    assert found("assistant_request_seconds_count", route="/predict") == 3


async def test_the_time_that_counts_is_that_of_the_clock(tmp_path):
    times = iter([10.0, 10.3])
    metrics = Metrics(clock=lambda: next(times))

    async def handler(request):
        return aiohttp.web.Response(status=204)

    class Request(dict):
        class match_info:  # noqa: N801
            class route:  # noqa: N801
                resource = None

    await metrics.middleware(Request({KEY_NAME: "laptop"}), handler)
    found = Figures(metrics.render()[0].decode())
    assert found("assistant_request_seconds_sum", route="none") == pytest.approx(0.3)
    assert found("assistant_requests_total", route="none", status="204", key="laptop") == 1


async def test_whose_key_it_was_is_told_and_no_key_itself(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    key, _ = file.add("laptop")
    async with serving(file.path) as client:
        await client.predict(key)
        await client.predict("ra_wrong")
        response = await client("GET", "/metrics")
        found = Figures(await response.text())
        assert found("assistant_requests_total", key="laptop", status="200") == 1
        assert found("assistant_requests_total", key="", status="401") == 1
        assert key not in await response.text() and "ra_wrong" not in await response.text()


@pytest.mark.parametrize(("error", "reason"), [(Busy(), "busy"), (OutOfTime(1), "out_of_time")])
async def test_what_is_refused_is_counted_by_its_reason(client, error, reason):
    client.rewriter.broken = error
    assert (await client.predict()).status == 503
    assert (await figures(client))("assistant_refused_total", reason=reason) == 1


async def test_refusals_for_want_of_a_key_or_of_patience_are_counted(tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    key, _ = file.add("laptop")
    async with serving(file.path, requests_a_minute=1) as client:
        for sent in (None, key, key):
            await client.predict(sent)
        await client("POST", "/predict", {"text": 5})
        found = await figures(client)
        assert found("assistant_refused_total", reason="no_key") == 2
        assert found("assistant_refused_total", reason="too_many_requests") == 1


async def test_no_label_is_of_a_strangers_making(client):
    for n in range(50):
        await client("GET", f"/nothing/{n}?x={n}")
        await client("POST", f"/predict?x={n}", {"text": f"{n}"})
    found = await figures(client)
    assert {e["route"] for e in found.labels("assistant_requests_total")} == {"none", "/predict"}
    assert found("assistant_requests_total", route="none", status="404") == 50


async def test_a_client_that_went_away_is_counted_as_such(tmp_path):
    class Thinks(Local):
        async def rewrite(self, text):
            self.heard.append(text)
            asked.set()
            await asyncio.Event().wait()

    asked = asyncio.Event()
    async with serving(tmp_path / "keys.json", rewriter=Thinks()) as client:
        async with aiohttp.ClientSession(client.session._base_url) as hasty:
            waits = asyncio.create_task(hasty.post("/predict", json={"text": CALL}))
            async with asyncio.timeout(10):
                await asked.wait()
            waits.cancel()
        async with asyncio.timeout(10):
            while not (await figures(client))("assistant_requests_total", route="/predict", status="499"):
                pass


async def test_the_model_is_told_as_it_is_when_it_is_asked_for(client):
    client.rewriter.in_flight, client.rewriter.waiting = 2, 7
    found = await figures(client)
    assert (found("assistant_in_flight"), found("assistant_waiting"), found("assistant_contexts")) == (2, 7, 1)
    assert found.labels("assistant_model_info") == [{"name": "scripted", "sha256": "0" * 64}]
    client.rewriter.name, client.rewriter.reloads = "fresh", 1
    found = await figures(client)
    assert [m["name"] for m in found.labels("assistant_model_info")] == ["fresh"], "and not the one of before"
    assert found("assistant_model_reloads_total") == 1


async def test_the_process_tells_when_it_started_and_what_it_takes(client):
    found = await figures(client)
    assert found("process_start_time_seconds") > 1e9 and found("process_resident_memory_bytes") > 1e6


def test_nothing_is_registered_globally_so_that_two_may_live_in_one_process():
    before = {m.name for m in REGISTRY.collect()}
    Metrics().refused("busy")
    second = Figures(Metrics().render()[0].decode())
    assert second("assistant_refused_total") == 0
    assert {m.name for m in REGISTRY.collect()} == before
