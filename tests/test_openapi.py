"""The document of the model service and the service itself say the same: requests made from the one, sent to the other."""

import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings

from assistant import __version__, errors
from assistant.config import Config
from assistant.errors import AssistantError, Busy, Unreadable
from assistant.keys import KeyFile, Keys
from assistant.listen import open_socket
from assistant.local import LlamaRewriter
from assistant.openapi import document
from assistant.sections import Data, Serve
from assistant.serve import Service
from tests.fakes import ScriptedRewriter

SCRIPT = {
    "call mum tomorrow at 5 pm and buy milk": "call mum | tomorrow 17:00\nbuy milk |",
    "take the bins out every thursday at 7": "take the bins out | every thursday 07:00",
    "call mum on the first of january 2001": "call mum | 2001-01-01",
    "cancel all": "/cancel all | today after 15:00",
    "push my run back an hour": "/move run > later 1 hour",
    "call mum at noon": "call zbigniew | noon",
}
"""Of every sort of answer one."""
PROBLEMS = {"unreadable": Unreadable(), "busy": Busy()}


class _Facts:
    """What the service asks of `ReloadingRewriter` besides."""

    sha256, in_flight, waiting, ended, reloads = "0" * 64, 0, 0, 0, 0


class Scripted(_Facts, ScriptedRewriter):
    """Knows its answers."""

    async def rewrite(self, text):
        if text == "slow":
            await asyncio.Event().wait()
        if text in PROBLEMS:
            raise PROBLEMS[text]
        return await super().rewrite(text)


class Real(_Facts, LlamaRewriter):
    """The model that ships."""

    in_flight, waiting, ended = LlamaRewriter.in_flight, LlamaRewriter.waiting, 0


@contextmanager
def served(config: Config, rewriter) -> Iterator[str]:
    """The real application on a real socket, in a thread of its own; its address."""
    url: Future[str] = Future()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        service = Service(config, rewriter, 1, Keys.open(config.keys))
        with open_socket("127.0.0.1", 0) as sock:
            async with service.connections.serving(service.application(), sock), rewriter:
                service.loaded()
                url.set_result(f"http://127.0.0.1:{sock.getsockname()[1]}")
                await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        yield url.result(20)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


def config_in(folder, **serve) -> Config:
    return Config(data=Data(dir=str(folder)), serve=Serve(**serve))


MOST_TEXTS = 4
CONTRACT = schemathesis.openapi.from_dict(
    document(__version__, MOST_TEXTS, keys=False),
    config=schemathesis.Config.from_dict({
        "seed": 1,
        "generation": {"deterministic": True},
        # What is well-formed may still be refused for what its words say: `for_its_words` looks at that.
        "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "400"]},
                   "negative_data_rejection": {"expected-statuses": ["400", "413"]}},
    }),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    with served(config_in(tmp_path_factory.mktemp("data"), most_texts=MOST_TEXTS), Scripted(SCRIPT)) as url:
        yield url


@schemathesis.check
def for_its_words(ctx, response, case) -> None:
    if response.status_code == 400 and case.meta and case.meta.generation.mode.is_positive:
        assert response.json()["error"]["code"] in ("blank", "too_long", "bad_instant", "bad_zone")


@schemathesis.check
def every_key_is_documented(ctx, response, case) -> None:
    told = case.operation.schema.raw_schema["components"]["schemas"]
    if response.status_code == 200 and case.path in ("/predict", "/convert"):
        for answer in response.json().get("results", [response.json()]):
            if isinstance(answer.get("error"), dict):
                continue
            assert set(answer) <= set(told["Answer"]["properties"])
            for reminder in answer["reminders"]:
                assert set(reminder) <= set(told["Reminder"]["properties"])


@CONTRACT.parametrize()
@settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_document_allows_is_answered_as_it_says_and_the_rest_is_refused(case, url):
    case.call_and_validate(base_url=url)


def ask(url: str, body: object, contract=CONTRACT, path: str = "/predict", **more) -> requests.Response:
    """The answer to one request, which the document allows for."""
    how = {"json": body} if not isinstance(body, bytes) else {"data": body}
    answer = requests.post(url + path, **how, timeout=20, **more)
    contract[path]["POST"].validate_response(answer)
    assert str(answer.status_code) in contract.raw_schema["paths"][path]["post"]["responses"]
    return answer


@pytest.mark.parametrize("path", ["/predict", "/convert"])
def test_every_sort_of_answer_is_as_the_document_says(url, path):
    answers = [ask(url, {"text": text}, path=path).json() for text in SCRIPT]
    assert [a["kind"] for a in answers] == ["create", "create", "needs_time", "cancel", "move", "other"]
    assert [a.get("error") for a in answers] == [None] * 5 + ["invented"]
    answers = ask(url, {"texts": [*SCRIPT][:MOST_TEXTS]}, path=path).json()["results"]
    assert [a["text"] for a in answers] == [*SCRIPT][:MOST_TEXTS]


REFUSED = {
    "no JSON": (b"call mum", {}, 400, "bad_request"),
    "no body": (b"", {}, 400, "bad_request"),
    "not UTF-8": (b'{"text": "\xff"}', {}, 400, "bad_request"),
    "nested for ever": (b"[" * 60_000, {}, 400, "bad_request"),
    "a blank text": ({"text": " "}, {}, 400, "blank"),
    "a long text": ({"text": "x" * 501}, {}, 400, "too_long"),
    "no zone": ({"text": "x", "tz": "Mars/Base"}, {}, 400, "bad_zone"),
    "no instant": ({"text": "x", "now": "soon"}, {}, 400, "bad_instant"),
    "a page of another origin": ({"text": "x"}, {"Origin": "https://evil.example"}, 403, "refused"),
    "huge": ({"text": "x" * 10_000_000}, {}, 413, "too_large"),
    "no sense": ({"text": "unreadable"}, {}, 422, "unreadable"),
    "no room": ({"text": "busy"}, {}, 503, "busy"),
    "no time": ({"text": "slow"}, {"Prefer": "wait=0"}, 503, "out_of_time"),
}


@pytest.mark.parametrize(("body", "headers", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_every_refusal_is_as_the_document_says(url, body, headers, status, code):
    answer = ask(url, body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)


def test_the_real_model_answers_as_the_document_says(model, tmp_path):
    texts = ["hey can you remind me to call mum tomorrow at like five ish", "take the bins out every thursday at 7 am",
             "buy milk and remind me at noon to eat", "cancel all my appointments after 3 pm today",
             "push my run back an hour", "what's on today", "\u202e💥 <b>", "1" * 500]
    with served(config_in(tmp_path), Real(model)) as url:
        answers = ask(url, {"texts": texts}).json()["results"]
        assert [a["rewrite"] for a in answers[:2]] == ["call mum | tomorrow 5:00?", "take the bins out | every thursday 07:00"]
        alone = [ask(url, {"text": text}).json() for text in texts]
        assert [a | {"ms": 0} for a in answers] == [a | {"ms": 0} for a in alone]


# The document itself

def test_the_service_hands_out_the_document_that_was_tested(url):
    assert requests.get(url + "/openapi.json", timeout=20).json() == CONTRACT.raw_schema


@pytest.mark.parametrize("keys", [False, True], ids=["without keys", "with keys"])
def test_the_document_has_every_route_and_no_other(tmp_path, keys):
    async def routes() -> set[tuple[str, str]]:
        service = Service(config_in(tmp_path), Scripted(), 1, Keys.open(tmp_path / "keys.json"))
        return {(route.resource.canonical, route.method.lower()) for route in service.application().router.routes()}

    told = {(path, method) for path, item in document("1", 32, keys)["paths"].items() for method in item}
    assert told == {(path, method) for path, method in asyncio.run(routes()) if method != "head"}


def test_every_code_in_the_document_is_one_of_an_error():
    codes = {c.code for c in vars(errors).values() if isinstance(c, type) and issubclass(c, AssistantError)}
    told = {code for item in document("1", 32, keys=True)["paths"].values() for operation in item.values()
            for status, answer in operation["responses"].items() if status != "200"
            for code in re.findall("`(\\w+)`", answer["description"])}
    assert {"busy", "no_key", "too_long"} <= told <= codes


def test_with_keys_the_document_asks_for_one_and_says_what_comes_without(tmp_path):
    key, _ = KeyFile(tmp_path / "keys.json").add("laptop")
    contract = schemathesis.openapi.from_dict(document(__version__, 32, keys=True))
    with served(config_in(tmp_path, requests_a_minute=3), Scripted()) as url:
        def status(**headers) -> int:
            return ask(url, {"text": "hello"}, contract, headers=headers).status_code

        bearer = {"Authorization": f"Bearer {key}"}
        assert (status(), status(Authorization="Bearer ra_wrong"), status(**bearer)) == (401, 401, 200)
        assert requests.get(url + "/openapi.json", headers=bearer, timeout=20).json() == contract.raw_schema
        assert [status(**bearer), status(**bearer)] == [200, 429]
        open_to_all = {path for path, item in contract.raw_schema["paths"].items()
                       if "security" not in item.get("get", {"security": 1})}
        assert open_to_all == {"/health", "/health/live", "/health/ready"}
        for path in open_to_all:
            answer = requests.get(url + path, timeout=20)
            contract[path]["GET"].validate_response(answer)
            assert answer.status_code == 200
