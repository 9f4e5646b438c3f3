"""Understanding over real sockets: one text and many, deadlines, and clients that go away."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import inf
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp import web

from assistant.errors import Busy, ModelMissing, TooManyRequests
from assistant.guard import CHARGE, speak_json_errors
from assistant.local import LlamaRewriter
from assistant.predict import Predict, preferred_wait
from assistant.understand import understand_text
from assistant.when import Policy
from tests.fakes import ScriptedRewriter, StandingClock
from tests.held import HeldModels

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 11, 10, tzinfo=UTC)
SCRIPT = {
    "call mum in 2 hours": "call mum | in 2 hours",
    "buy milk": "buy milk |",
    "what have I got": "/list",
}
TEXTS = list(SCRIPT)


class Full(ScriptedRewriter):
    """A rewriter that has no room for some texts."""

    def __init__(self, *texts: str, error: Exception | None = None) -> None:
        super().__init__(SCRIPT)
        self.texts, self.error = texts, error or Busy()

    async def rewrite(self, text):
        if text in self.texts:
            raise self.error
        return await super().rewrite(text)


class Held(ScriptedRewriter):
    """A rewriter that answers when it is told to, and knows what was begun and what was abandoned."""

    def __init__(self) -> None:
        super().__init__(SCRIPT)
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.abandoned: asyncio.Queue[str] = asyncio.Queue()
        self.go_on = asyncio.Event()

    async def rewrite(self, text):
        self.begun.put_nowait(text)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.abandoned.put_nowait(text)
            raise
        return await super().rewrite(text)


async def several(queue: asyncio.Queue[str], count: int) -> Counter[str]:
    async with asyncio.timeout(10):
        return Counter([await queue.get() for _ in range(count)])


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    async def __call__(self, body: object, path: str = "/predict", **headers: str) -> tuple[int, dict]:
        async with self.session.post(self.url + path, json=body, headers=headers) as response:
            self.headers = response.headers
            return response.status, await response.json()

    async def leave(self, body: object) -> asyncio.StreamWriter:
        """Asks by a socket of its own, which the caller closes."""
        raw = json.dumps(body).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))
        writer.write(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw))
        return writer


@asynccontextmanager
async def serving(rewriter, middlewares=(), **options) -> AsyncIterator[Client]:
    """The routes as the model service has them: a handler is cancelled when its client goes away."""

    async def understand(text, now, tz):
        return await understand_text(rewriter, text, now, tz, Policy(), "model")

    app = web.Application(middlewares=[speak_json_errors, *middlewares])
    app.add_routes(Predict(understand, StandingClock(NOW), LONDON, **options).routes())
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with aiohttp.ClientSession() as session:
            yield Client(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@pytest.fixture
async def client():
    async with serving(ScriptedRewriter(SCRIPT)) as client:
        yield client


@pytest.fixture
def held(monkeypatch):
    with HeldModels(monkeypatch) as held:
        yield held


def error(answer: dict) -> str:
    assert set(answer) == {"error"} and answer["error"]["message"].endswith(".")
    return answer["error"]["code"]


@pytest.mark.parametrize("path", ["/predict", "/convert"])
async def test_a_text_is_answered_with_what_it_means_now_and_here(client, path):
    status, answer = await client({"text": " Call  Mum in 2 hours"}, path)
    assert (status, answer["text"], answer["kind"], answer["rewrite"]) == (
        200, "Call Mum in 2 hours", "create", "Call Mum | in 2 hours")
    assert answer["reminders"] == [
        {"task": "Call Mum", "when": "in 2 hours", "due": "2026-03-11T12:00:00+00:00", "rrule": None}]
    assert (answer["confidence"], answer["ask_below"], answer["model"]) == (0.99, 0.5, "scripted")


async def test_a_text_is_meant_when_and_where_the_client_says(client):
    body = {"text": "call mum in 2 hours", "now": "2026-07-01T12:00", "tz": "America/New_York"}
    assert (await client(body))[1]["reminders"][0]["due"] == "2026-07-01T14:00:00-04:00"


# Lists

async def test_texts_are_answered_in_their_order_each_as_it_would_be_alone(client):
    alone = [(await client({"text": text}))[1] for text in TEXTS]
    assert [a["kind"] for a in alone] == ["create", "needs_time", "list"]
    assert await client({"texts": TEXTS}) == (200, {"results": alone})
    assert await client({"texts": TEXTS[::-1]}) == (200, {"results": alone[::-1]})


async def test_texts_of_a_list_are_worked_on_at_once():
    rewriter = Held()
    async with serving(rewriter, at_once=3) as client:
        asked = asyncio.create_task(client({"texts": TEXTS}))
        assert await several(rewriter.begun, 3) == Counter(TEXTS)
        rewriter.go_on.set()
        assert [r["kind"] for r in (await asked)[1]["results"]] == ["create", "needs_time", "list"]


async def test_a_list_longer_than_the_queue_is_answered_whole(model):
    """A few of its texts at a time: so it takes no place from others either."""
    texts = ["remind me to eat tomorrow"] * 9
    async with LlamaRewriter(model, queue=1) as rewriter, serving(rewriter) as client:
        status, answer = await client({"texts": texts})
        assert (status, [r.get("rewrite") for r in answer["results"]]) == (200, ["eat | tomorrow"] * 9)


async def test_what_a_list_has_not_begun_by_the_deadline_is_out_of_time_too():
    rewriter = Held()
    async with serving(rewriter, deadline=0.05, at_once=1) as client:
        status, answer = await client({"texts": TEXTS})
        assert (status, error(answer)) == (503, "out_of_time")
        assert await several(rewriter.begun, 1) == Counter(TEXTS[:1]) and rewriter.begun.empty()


@pytest.mark.parametrize(("bad", "code"), [
    pytest.param(" \n", "blank", id="a blank one"),
    pytest.param("word " * 101, "too_long", id="a long one"),
    pytest.param("no room", "busy", id="one too many"),
])
async def test_one_text_that_cannot_be_taken_spoils_no_other(bad, code):
    async with serving(Full("no room")) as client:
        status, answer = await client({"texts": ["buy milk", bad, "what have I got"]})
        assert status == 200
        milk, refused, got = answer["results"]
        assert (milk["kind"], error(refused), got["kind"]) == ("needs_time", code, "list")


@pytest.mark.parametrize(("problem", "code", "after"), [
    pytest.param(Busy(), "busy", "1", id="too many wait"),
    pytest.param(ModelMissing("somewhere"), "model_missing", None, id="there is no model"),
])
async def test_a_list_of_which_no_text_finds_a_model_fails_as_one_text_does(problem, code, after):
    async with serving(Full(*TEXTS, error=problem)) as client:
        for body in ({"texts": TEXTS}, {"text": TEXTS[0]}):
            status, answer = await client(body)
            assert (status, error(answer), client.headers.get("Retry-After")) == (503, code, after)


async def test_a_list_of_nothing_that_can_be_taken_is_answered_all_the_same(client):
    status, answer = await client({"texts": ["", "x" * 501]})
    assert (status, [error(r) for r in answer["results"]]) == (200, ["blank", "too_long"])


@pytest.mark.parametrize(("body", "says"), [
    pytest.param({"text": "a", "texts": ["b"]}, "only one", id="a text and texts"),
    pytest.param({}, 'one of "text", "texts"', id="neither"),
    pytest.param({"now": "2026-03-11T10:00"}, 'one of "text", "texts"', id="only when"),
    pytest.param({"texts": []}, "1 to 4", id="no texts"),
    pytest.param({"texts": ["a"] * 5}, "1 to 4", id="too many texts"),
    pytest.param({"texts": "a"}, "list of strings", id="a string for a list"),
    pytest.param({"texts": ["a", 1]}, "list of strings", id="a number among texts"),
    pytest.param({"texts": ["a", ["b"]]}, "list of strings", id="a list in a list"),
    pytest.param({"text": ["a"]}, "a string", id="a list for a string"),
    pytest.param({"texs": ["a"]}, 'did you mean "texts"', id="a slip of the pen"),
])
async def test_what_is_neither_a_text_nor_a_list_of_them_is_refused_in_words(body, says):
    async with serving(ScriptedRewriter(SCRIPT), most_texts=4) as client:
        status, answer = await client(body)
        assert (status, error(answer)) == (400, "bad_request")
        assert says in answer["error"]["message"]


async def test_half_a_surrogate_pair_in_a_list_is_taken(client):
    status, answer = await client({"texts": ["call \ud83d mum", "buy milk"]})
    assert (status, [r["kind"] for r in answer["results"]]) == (200, ["other", "needs_time"])


async def test_a_list_is_charged_for_every_text_before_any_is_worked_on():
    """The middleware of the keys has charged for one."""
    charged, rewriter = [], ScriptedRewriter(SCRIPT)

    def charge(more: int) -> None:
        charged.append(more)
        if more > 2:
            raise TooManyRequests(30)

    @web.middleware
    async def key(request, handler):
        request[CHARGE] = charge
        return await handler(request)

    async with serving(rewriter, [key]) as client:
        assert (await client({"texts": TEXTS}))[0] == 200
        status, answer = await client({"texts": ["buy milk"] * 4})
        assert (status, error(answer), client.headers["Retry-After"]) == (429, "too_many_requests", "30")
        assert charged == [2, 3] and rewriter.heard == TEXTS


# Time

@pytest.mark.parametrize("body", [{"text": "buy milk"}, {"texts": TEXTS}], ids=["a text", "a list"])
async def test_what_takes_longer_than_the_deadline_is_abandoned_and_may_be_tried_again(body):
    rewriter = Held()
    async with serving(rewriter, deadline=0.05, at_once=3) as client:
        status, answer = await client(body, Prefer="wait=600")
        assert (status, error(answer), client.headers["Retry-After"]) == (503, "out_of_time", "1")
        assert "0.05 seconds" in answer["error"]["message"]
        asked = body.get("texts", ["buy milk"])
        assert await several(rewriter.abandoned, len(asked)) == Counter(asked)
        rewriter.go_on.set()
        assert (await client(body))[0] == 200


async def test_of_a_list_what_is_ready_within_the_deadline_is_answered():
    class HangsOnMilk(Held):
        async def rewrite(self, text):
            return await (Held if text == "buy milk" else ScriptedRewriter).rewrite(self, text)

    async with serving(HangsOnMilk(), deadline=0.5) as client:
        status, answer = await client({"texts": TEXTS})
        mum, milk, got = answer["results"]
        assert (status, mum["kind"], error(milk), got["kind"]) == (200, "create", "out_of_time", "list")


async def test_a_client_may_have_less_time_than_the_deadline():
    async with serving(Held(), deadline=600) as client:
        status, answer = await client({"text": "buy milk"}, Prefer="respond-async, wait=0")
        assert (status, error(answer)) == (503, "out_of_time")


@pytest.mark.parametrize(("headers", "seconds"), [
    pytest.param([], inf, id="none"),
    pytest.param(["wait=5"], 5, id="seconds"),
    pytest.param(["Wait = 5"], 5, id="in capitals, with blanks"),
    pytest.param(['wait="5"'], 5, id="quoted"),
    pytest.param(["respond-async, wait=5; strict", "handling=lenient"], 5, id="among others"),
    pytest.param(["respond-async", "wait=5"], 5, id="in a second header"),
    pytest.param(["wait=5, wait=1"], 5, id="twice: the first"),
    pytest.param(["wait=soon, wait=1"], inf, id="twice, the first a word"),
    pytest.param(["wait"], inf, id="no seconds"),
    pytest.param(["wait=1.5"], inf, id="a fraction"),
    pytest.param(["wait=-1"], inf, id="a negative number"),
    pytest.param(["wait=٥"], inf, id="digits of another script"),
    pytest.param(['wait="5'], inf, id="half quoted"),
    pytest.param(["wait=" + "9" * 400], inf, id="for ever"),
    pytest.param(["await=5, waiting=1"], inf, id="other words"),
    pytest.param([",,=;,"], inf, id="nonsense"),
])
def test_how_long_a_client_waits_is_read_as_the_standard_says(headers, seconds):
    assert preferred_wait(headers) == seconds


# Clients that go away

@pytest.mark.parametrize("body", [{"text": "buy milk"}, {"texts": TEXTS}], ids=["a text", "a list"])
async def test_the_work_for_a_client_that_went_away_is_abandoned(body):
    rewriter = Held()
    async with serving(rewriter, at_once=3) as client:
        asked = body.get("texts", ["buy milk"])
        writer = await client.leave(body)
        await several(rewriter.begun, len(asked))
        assert rewriter.abandoned.empty()
        writer.close()
        assert await several(rewriter.abandoned, len(asked)) == Counter(asked)
        rewriter.go_on.set()
        assert (await client({"text": "buy milk"}))[0] == 200
        assert rewriter.heard == ["buy milk"], "what was abandoned is not done after all"


class Told(LlamaRewriter):
    """A real one that tells what it was asked, and whom it was left by."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.abandoned: asyncio.Queue[str] = asyncio.Queue()

    async def rewrite(self, text):
        self.asked.put_nowait(text)
        try:
            return await super().rewrite(text)
        except asyncio.CancelledError:
            self.abandoned.put_nowait(text)
            raise


async def test_clients_that_went_away_leave_the_whole_queue_to_those_that_stay(model, held):
    eat, sleep, run = (f"remind me to {what} tomorrow" for what in ("eat", "sleep", "run"))
    async with Told(model, queue=1) as rewriter, serving(rewriter) as client, asyncio.timeout(20):
        gone = [await client.leave({"text": eat})]
        await asyncio.to_thread(held.wait_begun)
        gone.append(await client.leave({"text": sleep}))
        assert await several(rewriter.asked, 2) == Counter([eat, sleep])
        assert error((await client({"text": run}))[1]) == "busy"
        for writer in gone:
            writer.close()
        assert await several(rewriter.abandoned, 2) == Counter([eat, sleep])
        assert (rewriter.in_flight, rewriter.waiting) == (1, 0)
        await several(rewriter.asked, 1)
        stays = asyncio.create_task(client({"text": run}))
        await several(rewriter.asked, 1)
        held.go_on.set()
        assert (await stays)[1]["rewrite"] == "run | tomorrow"
        assert held.ended == [(eat, "abandoned"), (run, "written")]
