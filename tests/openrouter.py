"""A stand-in for OpenRouter on a real socket, which behaves as badly as it is told to, and remembers what it billed."""

import asyncio
import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from training.examples import ASKED

MODEL = "google/gemini-test-flash"
PRICES = {"prompt": "0.000001", "completion": "0.000004", "request": "0", "internal_reasoning": "0.000004"}
LISTED = {
    "id": MODEL, "pricing": PRICES,
    "supported_parameters": ["max_tokens", "temperature", "reasoning", "response_format", "structured_outputs"],
}  # fmt: skip
FORMS = {
    "recurrence": ("please {0} every day at 7 am", "{0} | every day 07:00"),
    "several reminders": ("{0} at 5 pm and {1} at 6 pm", "{0} | 17:00\n{1} | 18:00"),
    "offset": ("{0} in 20 minutes", "{0} | in 20 minutes"),
    "clock time in digits": ("{0} tomorrow at 5 pm", "{0} | tomorrow 17:00"),
    "clock time in words": ("{0} tomorrow at quarter past nine", "{0} | tomorrow 9:15?"),
    "daypart": ("{0} tomorrow morning", "{0} | tomorrow morning"),
    "day only": ("{0} tomorrow", "{0} | tomorrow"),
    "needs_time": ("remember to {0}", "{0} |"),
    "list": ("what about {0}", "/list {0}"),
    "cancel": ("cancel {0}", "/cancel {0}"),
    "move": ("move {0} to tomorrow at 5 pm", "/move {0} > tomorrow 17:00"),
    "snooze": ("snooze {0} for 10 minutes", "/snooze {0} > in 10 minutes"),
    "done": ("I finished to {0}", "/done {0}"),
    "other": ("tell me why people {0}", "/other"),
}
_VERBS = "feed paint wash mend fetch sell lend pack clean sweep grill knit iron".split()
_KINDS = "blue woollen rusty tiny broken spare wooden striped plastic muddy silver".split()
_THINGS = "kettle ladder jumper bicycle curtain lantern trumpet basket saddle blanket teapot wardrobe rug hammock".split()
_NAMES = "zbigniew ingrid priya momo anneke farouk yuki".split() + ["o'brien", "chidi", "leilani"]


def task(n: int) -> str:
    """Words that differ from those of every other small number in most places."""
    lists = (_VERBS, _KINDS, _THINGS, _NAMES)
    return " ".join(words[n * step % len(words)] for words, step in zip(lists, (1, 3, 5, 7)))


def made(asked: str, n: int) -> dict[str, str]:
    """The example number `n` of what is asked for, a right one."""
    said, written = (form.format(task(2 * n), task(2 * n + 1)) for form in FORMS[asked])
    return {"input": said, "output": written}


@dataclass(frozen=True, slots=True)
class Turn:
    """How one call is answered."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: dict | None = None
    """Instead of an answer; with `cut`, after that much of it."""
    examples: list | None = None
    """Instead of right ones."""
    form: str = "{}"
    """What stands around the JSON."""
    cut: int | None = None
    """After so many whole examples, and some of the next, the connection is dropped; at 0 before any text."""
    hang: int | None = None
    """After so many whole examples nothing comes until `release`."""
    silent: bool = False
    """Never a word."""
    whole: bool = False
    """No stream."""
    tell_cost: bool = True


@dataclass(slots=True)
class StandIn:
    """`async with StandIn() as server`; calls that no turn is left for are answered well."""

    turns: deque[Turn] = field(default_factory=deque)
    models: list[dict] = field(default_factory=lambda: [LISTED, {"id": "google/gemini-old-flash", "pricing": PRICES}])
    left: float | None = None
    """What GET /key says that the key may still spend."""
    asked: list[dict] = field(default_factory=list)
    """Bodies of the calls."""
    keys: set[str] = field(default_factory=set)
    billed: list[float] = field(default_factory=list)
    """Dollars, a call that cost something."""
    delivered: list[dict] = field(default_factory=list)
    """Every whole example that was sent."""
    at_once: int = 0
    most_at_once: int = 0
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    release_at: int | None = None
    """At so many calls at once all are released."""
    url: str = ""
    _runner: web.AppRunner | None = None
    _made: int = 0

    async def __aenter__(self) -> "StandIn":
        app = web.Application()
        app.router.add_get("/api/v1/models", self._models)
        app.router.add_get("/api/v1/key", self._key)
        app.router.add_post("/api/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/api/v1"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.release.set()
        await self._runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": self.models})

    async def _key(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer right":
            return web.json_response({"error": {"code": 401, "message": "No auth credentials found"}}, status=401)
        return web.json_response({"data": {"label": "k", "limit_remaining": self.left}})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if self.at_once == self.release_at:
            self.release.set()
        try:
            return await self._answer(request, await request.json())
        except ConnectionError:  # whoever asked has gone
            return web.Response()
        finally:
            self.at_once -= 1

    def _examples(self, body: dict) -> list[dict]:
        said = body["messages"][0]["content"]
        count, sentence = re.search(r"Write (\d+) new examples, all of them (.*)\.\n", said).groups()
        asked = next(name for name, words in ASKED.items() if words == sentence)
        self._made += int(count)
        return [made(asked, self._made - n) for n in range(int(count))]

    async def _answer(self, request: web.Request, body: dict) -> web.StreamResponse:
        self.asked.append(body)
        turn = self.turns.popleft() if self.turns else Turn()
        if turn.silent:
            self.hanging.set()
            await self.release.wait()
        if turn.error and turn.cut is None:
            return web.json_response({"error": turn.error}, status=turn.status, headers=turn.headers)
        if turn.status != 200:
            return web.Response(status=turn.status, headers=turn.headers, text="<html>oh dear</html>")
        examples = self._examples(body) if turn.examples is None else turn.examples
        pieces = [json.dumps(e) for e in examples]
        text = turn.form.replace("{}", '{"examples": [' + ", ".join(pieces) + "]}")
        usage = {"prompt_tokens": len(body["messages"][0]["content"]) // 4, "completion_tokens": len(text) // 4}
        cost = usage["prompt_tokens"] * 1e-6 + usage["completion_tokens"] * 4e-6
        usage |= {"cost": cost} if turn.tell_cost else {}
        self.billed.append(cost)  # however it ends, as for models that cannot be stopped
        if turn.whole:
            self.delivered += examples
            choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return web.json_response({"model": MODEL, "choices": [choice], "usage": usage})
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b": OPENROUTER PROCESSING\n\n")
        if "{}" not in turn.form:
            await self._send(stream, turn.form)
            return await self._end(stream, usage)
        for n, piece in enumerate([*pieces, None]):
            if turn.cut == n:
                if n:
                    await self._send(stream, (piece or "")[:9])
                if turn.error:
                    await self._event(stream, {"error": turn.error, "choices": [{"finish_reason": "error", "delta": {}}]})
                    return stream
                request.transport.abort()
                return stream
            if turn.hang == n:
                self.hanging.set()
                await self.release.wait()
            if piece is None:
                break
            before = turn.form.partition("{}")[0] + '{"examples": [' if n == 0 else ", "
            await self._send(stream, before + piece[:7])
            await self._send(stream, piece[7:])
            self.delivered.append(examples[n])
        await self._send(stream, "]}" + turn.form.partition("{}")[2])
        return await self._end(stream, usage)

    async def _end(self, stream: web.StreamResponse, usage: dict) -> web.StreamResponse:
        await self._event(stream, {"model": MODEL, "choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]})
        await self._event(stream, {"model": MODEL, "choices": [], "usage": usage})
        await stream.write(b"data: [DONE]\n\n")
        return stream

    async def _send(self, stream: web.StreamResponse, text: str) -> None:
        await self._event(stream, {"model": MODEL, "choices": [{"delta": {"role": "assistant", "content": text}}]})

    async def _event(self, stream: web.StreamResponse, event: dict) -> None:
        await stream.write(b"data: " + json.dumps(event).encode() + b"\n\n")
