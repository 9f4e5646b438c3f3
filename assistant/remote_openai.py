"""Asking a server that takes OpenAI's completions: llama-server, llama-cpp-python, vLLM, a load balancer before many.

    GET  /v1/models       once: what the model is called, and whose server it is
    POST /v1/completions  the prompt that the model was trained on (`prompt.py`), greedily

The grammar of the request (`gbnf.py`) goes along as `grammar`, which llama-server and llama-cpp-python take and others
ignore; to vLLM, from 0.12 on, as `structured_outputs`. A server that refuses the grammar or the probabilities is asked
again without, and so for some time. What it writes is checked all the same. Servers put the beginning-of-sequence
token before a prompt by themselves, as the model's file says.

The confidence comes from the probabilities of the tokens (`logprobs.py`); where none come, it counts as sure.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from assistant.breaker import since_boot
from assistant.canonical import canonical
from assistant.endpoint import Answer, Endpoint
from assistant.errors import Unfaithful, Unreadable, WrongAnswer
from assistant.gbnf import gbnf
from assistant.logprobs import sureness, tokens
from assistant.messages import Rewrite
from assistant.prompt import prompt
from assistant.words import model_text, words

log = logging.getLogger(__name__)

BEYOND = 200
"""Tokens by which an answer may be longer than its request has characters."""
MOST_TOKENS = 512
"""Of an answer."""
PROBABILITIES = 5
"""So many likeliest tokens are told at each place, the most that OpenAI's interface allows."""
WITHOUT_SECONDS = 600
"""After so long a server that refused a field is offered it again."""
_NAMED = {"grammar": ("grammar", "structured", "guided"), "logprobs": ("logprobs",)}
"""A field that may be refused, and what an error that refuses it speaks of."""


class Completions:
    """Completions of the model called `model`, of the server's first one if that is empty."""

    def __init__(self, endpoint: Endpoint, model: str = "", now: Callable[[], float] = since_boot) -> None:
        self._endpoint, self._wanted, self._now = endpoint, model, now
        self._model = model
        self._base = "" if endpoint.url.endswith("/v1") else "/v1"
        self._owner: str | None = None
        self._without: dict[str, float] = {}
        """Field that was refused -> until when it is left out."""

    async def rewrite(self, text: str) -> Rewrite:
        """Raises `RemoteError`, `Unreadable`; `ms` is left at 0."""
        if self._owner is None:
            await self._meet()
        text = model_text(text)
        said = [w.folded for w in words(text)]
        choice = self._choice(await self._complete(text, said))
        if choice.get("finish_reason") == "length":
            raise Unreadable
        try:
            lines = canonical(choice["text"], said)
        except ValueError as e:
            raise Unfaithful(self._endpoint.url, str(e)) from None
        name = PurePath(self._model).name or "unnamed"
        written = tokens(choice.get("logprobs"))[:MOST_TOKENS]
        sure = await asyncio.to_thread(sureness, lines, written, said)  # of a long answer it takes a while
        return Rewrite(lines, f"remote:{name}", sure, 0.0)

    async def _meet(self) -> None:
        """What the server calls its model, and who made the server. One without such a list is taken as it is."""
        answer = await self._endpoint.call(f"{self._base}/models")
        problem = self._endpoint.problem(answer)
        if problem and answer.status not in (404, 405):
            raise problem
        match answer.json():
            case {"data": [{"id": str(name), **first}, *_]} if not problem:
                self._model = self._wanted or name
                self._owner = str(first.get("owned_by", ""))
            case _:
                self._owner = ""

    async def _complete(self, text: str, said: list[str]) -> Answer:
        without = {field for field, until in self._without.items() if self._now() < until}
        while True:
            answer = await self._endpoint.call(f"{self._base}/completions", self._body(text, said, without))
            problem = self._endpoint.problem(answer)
            if not problem:
                self._remember(without)
                return answer
            if (field := _refused(answer, without)) is None:
                if answer.status == 404:  # it has another model by now
                    self._owner = None
                raise problem
            without.add(field)

    def _body(self, text: str, said: list[str], without: set[str]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "prompt": prompt(text), "max_tokens": min(len(text) + BEYOND, MOST_TOKENS), "temperature": 0,
            "repeat_penalty": 1.0,  # llama-cpp-python would make it shy of words that it has read
        }  # fmt: skip
        if self._model:
            body["model"] = self._model
        if "logprobs" not in without:
            body["logprobs"] = PROBABILITIES
        if "grammar" not in without:
            rules = gbnf(said)
            body |= {"structured_outputs": {"grammar": rules}} if self._owner == "vllm" else {"grammar": rules}
        return body

    def _remember(self, without: set[str]) -> None:
        for field in without - self._without.keys():
            log.warning("%s takes no %s: it is asked without", self._endpoint.url, field)
        self._without = {field: self._without.get(field, self._now() + WITHOUT_SECONDS) for field in without}

    def _choice(self, answer: Answer) -> dict[str, Any]:
        match answer.json():
            case {"choices": [{"text": str(), **_rest} as choice, *_]}:
                return choice
        raise WrongAnswer(self._endpoint.url, "no completion")


def _refused(answer: Answer, without: set[str]) -> str | None:
    """The field that the server did not like. llama-cpp-python says so with a 500."""
    if answer.status not in (400, 422, 500, 501):
        return None
    said = answer.body.lower()
    return next(
        (field for field, names in _NAMED.items() if field not in without and any(n.encode() in said for n in names)),
        None,
    )
