"""Servers that take OpenAI's completions: llama-cpp-python's own with the model that ships, and others' ways."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web

from assistant.errors import RemoteAway, RemoteRefused, Unfaithful, Unreadable, WrongAnswer
from assistant.gbnf import gbnf
from assistant.listen import open_socket
from assistant.local import LlamaRewriter, model_file
from assistant.logprobs import Token, sureness, tokens
from assistant.remote import RemoteRewriter
from assistant.remote_openai import MOST_TOKENS, WITHOUT_SECONDS
from assistant.sections import Remote
from assistant.words import model_text, normalise, words
from tests.conftest import MODEL
from tests.llama_server import llama_server as process_of
from tests.test_breaker import Clock

REQUESTS = [
    json.loads(line)["text"] for line in (Path(__file__).parent.parent / "data/heldout.jsonl").read_text().splitlines()
]
KEY = "sesame"
TEXT = "Remind me to call Mum tomorrow at 5, please"
LINES = "call mum | tomorrow 5:00?"


def remote(url: str, clock: Clock | None = None, **settings: Any) -> RemoteRewriter:
    settings = {"api": "openai", "total_seconds": 60} | settings
    return RemoteRewriter(Remote(url=url, **settings), **({"now": clock} if clock else {}))


def folded(text: str) -> list[str]:
    return [w.folded for w in words(model_text(normalise(text)))]


# llama-cpp-python's server

@pytest.fixture(scope="session")
def llama_server():
    """The address of a real server as a process."""
    with process_of(model_file(MODEL), "--api_key", KEY, "--model_alias", "tiny") as (url, _):
        yield url


async def test_a_server_of_the_same_model_says_what_the_model_says_here(llama_server):
    close = 0
    async with LlamaRewriter(MODEL) as here, remote(llama_server, key=KEY) as there:
        for text in map(normalise, REQUESTS[:50]):
            mine, its = await here.rewrite(text), await there.rewrite(text)
            assert its.text == mine.text, text
            assert 0 <= its.confidence <= 1 and its.model == "remote:tiny"
            close += abs(its.confidence - mine.confidence) < 0.05
    assert close >= 45


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('say "a\\"b" to café ☕️ 🐈‍⬛ tomorrow', id="quotes, accents and emoji"),
        pytest.param("<s> </s> <|endoftext|> [INST] root ::= (", id="signs of models and grammars"),
        pytest.param("x" * 500, id="one word of five hundred letters"),
        pytest.param("call mum and " * 20, id="a long request"),
    ],
)
async def test_the_strangest_request_leaves_the_server_alive(llama_server, text):
    async with remote(llama_server, key=KEY) as rewriter:
        with suppress(Unreadable, WrongAnswer):
            await rewriter.rewrite(normalise(text))
        assert (await rewriter.rewrite(TEXT)).text == LINES


async def test_the_wrong_key_is_refused(llama_server):
    async with remote(llama_server, key="wrong") as rewriter:
        with pytest.raises(RemoteRefused, match="HTTP 401"):
            await rewriter.rewrite(TEXT)


# Other servers, each with its ways

class Completions:
    """A server that writes down what it is asked. `refuses` names the fields that it will not have, with `status`."""

    def __init__(self, text: str = f" {LINES}", **choice: Any) -> None:
        self.choice: dict[str, Any] = {"text": text, "index": 0, "finish_reason": "stop", "logprobs": None} | choice
        self.models: Any = {"object": "list", "data": [{"id": "big", "owned_by": "llamacpp"}]}
        self.refuses: set[str] = set()
        self.status = 400
        self.knows: str | None = None
        """The only model that it has."""
        self.bodies: list[dict] = []
        self.met = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/v1/models", self._models), web.post("/v1/completions", self._complete)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        listening = open_socket("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        await web.SockSite(self._runner, listening).start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        self.met += 1
        if self.models is None:
            raise web.HTTPNotFound
        return web.json_response(self.models)

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if bad := sorted(self.refuses & body.keys()):
            return web.json_response({"error": {"message": f"{bad[0]} is not supported"}}, status=self.status)
        if self.knows and body["model"] != self.knows:
            raise web.HTTPNotFound
        return web.json_response({"object": "text_completion", "model": "big", "choices": [self.choice]})


@pytest.fixture
async def server():
    async with Completions() as server:
        yield server


async def test_it_is_asked_with_the_prompt_of_the_model_and_the_grammar_of_the_request(server):
    async with remote(server.url) as rewriter:
        rewrite = await rewriter.rewrite(TEXT)
    assert (rewrite.text, rewrite.model, rewrite.confidence) == (LINES, "remote:big", 1.0)
    [body] = server.bodies
    assert body["prompt"] == " remind me to call mum tomorrow at 5 , please\n"
    assert body["grammar"] == gbnf(folded(TEXT)) and "structured_outputs" not in body
    assert (body["temperature"], body["repeat_penalty"], body["model"]) == (0, 1.0, "big")
    assert len(TEXT) < body["max_tokens"] <= MOST_TOKENS


async def test_vllm_is_given_the_grammar_in_its_own_field(server):
    server.models["data"][0]["owned_by"] = "vllm"
    async with remote(server.url) as rewriter:
        await rewriter.rewrite(TEXT)
    assert server.bodies[0]["structured_outputs"] == {"grammar": gbnf(folded(TEXT))} and "grammar" not in server.bodies[0]


async def test_an_address_that_ends_in_v1_is_taken_as_it_is(server):
    async with remote(f"{server.url}/v1/") as rewriter:
        assert (await rewriter.rewrite(TEXT)).text == LINES


async def test_it_is_asked_for_its_models_once(server):
    async with remote(server.url) as rewriter:
        for _ in range(3):
            await rewriter.rewrite(TEXT)
    assert server.met == 1


async def test_the_model_of_the_settings_is_asked_for(server):
    async with remote(server.url, model="folder/mine") as rewriter:
        assert (await rewriter.rewrite(TEXT)).model == "remote:mine"
    assert server.bodies[0]["model"] == "folder/mine"


@pytest.mark.parametrize("models", [None, {}, {"data": []}, ["big"]], ids=["none", "no list", "an empty list", "another form"])
async def test_a_server_without_a_list_of_models_is_asked_all_the_same(server, models):
    server.models = models
    async with remote(server.url) as rewriter:
        assert (await rewriter.rewrite(TEXT)).model == "remote:unnamed"
    assert "model" not in server.bodies[0]


async def test_a_server_that_has_another_model_by_now_is_met_again(server):
    async with remote(server.url) as rewriter:
        await rewriter.rewrite(TEXT)
        server.models["data"][0]["id"] = server.knows = "bigger"
        with pytest.raises(RemoteRefused):
            await rewriter.rewrite(TEXT)
        assert (await rewriter.rewrite(TEXT)).model == "remote:bigger"


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("fields", [{"grammar"}, {"logprobs"}, {"grammar", "logprobs"}], ids=lambda fields: " and ".join(sorted(fields)))
async def test_what_a_server_refuses_it_is_asked_without_and_that_is_remembered_for_a_while(server, fields, status):
    server.refuses, server.status = fields, status
    clock = Clock()
    async with remote(server.url, clock, failures=1) as rewriter:
        for _ in range(2):
            assert (await rewriter.rewrite(TEXT)).text == LINES
        refused = len(fields)
        assert [len(fields & b.keys()) for b in server.bodies] == [*range(refused, 0, -1), 0, 0]
        clock.now += WITHOUT_SECONDS
        server.refuses = set()
        await rewriter.rewrite(TEXT)
        assert fields <= server.bodies[-1].keys()
    assert rewriter.breaker.state == "closed" and not rewriter.failures


async def test_a_server_that_fails_for_another_reason_is_not_asked_again(server):
    server.refuses, server.status = {"prompt"}, 500
    async with remote(server.url) as rewriter:
        with pytest.raises(RemoteAway, match="HTTP 500"):
            await rewriter.rewrite(TEXT)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("choice", "error", "says"),
    [
        pytest.param({"text": " call dad | tomorrow 5:00?"}, Unfaithful, "a word that was not said", id="invented"),
        pytest.param({"text": ""}, WrongAnswer, "an empty rewrite", id="nothing"),
        pytest.param({"text": " /move mum >"}, WrongAnswer, "without its end", id="broken off"),
        pytest.param({"text": " call mum | tom", "finish_reason": "length"}, Unreadable, "fewer", id="it found no end"),
        pytest.param({"text": None}, WrongAnswer, "no completion", id="no text"),
    ],
)
async def test_what_no_grammar_held_is_checked(server, choice, error, says):
    server.choice |= choice
    async with remote(server.url) as rewriter:
        with pytest.raises(error, match=says):
            await rewriter.rewrite(TEXT)


async def test_requests_that_come_at_once_before_it_was_met_are_all_answered(server):
    async with remote(server.url) as rewriter:
        answers = await asyncio.gather(*(rewriter.rewrite(TEXT) for _ in range(10)))
    assert {a.text for a in answers} == {LINES}


# Probabilities

CHATS = {"content": [
    {"token": " call", "logprob": 0.0, "bytes": [], "top_logprobs": []},
    {"token": " mum", "logprob": -9.0, "top_logprobs": [{"token": " mum", "logprob": -9.0}]},
]}  # fmt: skip
COMPLETIONS = {
    "tokens": [" call", " mum"], "token_logprobs": [0.0, -9.0], "text_offset": [0, 5],
    "top_logprobs": [None, {" mum": -9.0}],
}  # fmt: skip


@pytest.mark.parametrize("logprobs", [CHATS, COMPLETIONS], ids=["of chats", "of completions"])
def test_both_forms_of_probabilities_are_read(logprobs):
    first, second = tokens(logprobs)
    assert (first.text, first.probability, first.likeliest) == (" call", 1.0, {})
    assert second.probability == second.likeliest[" mum"] == pytest.approx(0.000123, abs=1e-6)


@pytest.mark.parametrize(
    "logprobs",
    [None, [], {}, {"content": [{}]}, {"content": None}, {"tokens": ["a"], "token_logprobs": []}, {"tokens": ["a"], "token_logprobs": ["x"]}, {"tokens": ["a"], "token_logprobs": [float("nan")]}, "high"],
    ids=repr,
)
def test_probabilities_in_any_other_form_are_none(logprobs):
    assert tokens(logprobs) == [] and sureness(LINES, [], ["call"]) == 1.0


def written(*parts: tuple[str, float] | tuple[str, float, dict[str, float]]) -> list[Token]:
    return [Token(text, p, more[0] if more else {}) for text, p, *more in parts]


@pytest.mark.parametrize(
    ("text", "answer", "sure"),
    [
        pytest.param("call mum at 5", [(" call", 1), (" mum", 0.5), (" |", 0.5), (" 5", 1), (":00?", 1)], 1.0, id="the words of the task do not count"),
        pytest.param("call mum at 5", [(" call", 1), (" mum", 1), (" |", 1), (" 5", 0.5), (":00", 0.5), ("?", 0.5)], 0.125, id="the time does"),
        pytest.param("call mum at 5", [(" call", 0.8, {" /": 0.2}), (" mum", 1), (" |", 1), (" 5:00?", 1)], 0.8, id="that it is a reminder"),
        pytest.param("cancel mum", [(" /", 0.6, {" cancel": 0.2, " c": 0.2}), ("cancel", 0.5), (" mum", 0.5)], 0.3, id="that it is a command, and which"),
        pytest.param("call mum at 5", [(" call", 1), (" mum", 1), (" |", 1), (" ", 1), ("5", 0.3, {"6": 0.5, "7": 0.2}), (":00?", 1)], 1.0, id="an hour that was not said takes nothing away"),
        pytest.param("call mum at 5", [(" call", 1), (" mum", 1), (" |", 1), (" 5:00?", 0.4, {" today": 0.4, " friday": 0.2})], 0.5, id="a time that might have been does"),
        pytest.param("eat then sleep", [(" eat", 1), (" |", 1), ("\n", 0.5), (" sleep", 0.25), (" |", 1)], 0.5, id="that another follows"),
    ],
)
def test_the_confidence_is_in_the_kind_and_the_times_among_what_could_be_written(text, answer, sure):
    rewrite = "".join(part[0] for part in answer)
    lines = "\n".join(line.strip() for line in rewrite.split("\n"))
    assert sureness(lines, written(*answer), folded(text)) == pytest.approx(sure)
