"""A client of OpenRouter's API, and of other servers that speak OpenAI's chat completions.

    async with OpenRouter(key) as client:
        model = await client.model("google/gemini-3.8-flash")
        answer = await client.ask(model, "Say ...", schema, max_tokens=500, on_text=print)

Answers are streamed: what has arrived of one that breaks off is kept (of eight examples perhaps six), a server that is
slow keeps the connection alive with comments, and nothing that was paid for has to wait for its end to be written down.
Breaking a stream off saves nothing with some providers, Google among them, which bill it whole; so that is not done.

Formats, as documented at openrouter.ai/docs in autumn 2026: `POST /chat/completions` with `response_format` (structured
outputs), `provider` (`require_parameters`, `max_price` in dollars per million tokens), `reasoning`; server-sent events
with `: OPENROUTER PROCESSING` comments, the last one with `usage.cost` in credits, which are dollars; errors as
`{"error": {"code", "message", "metadata"}}` with the status, or inside a 200; 402 without credits; 429 with
`Retry-After` (seconds or a date) or `X-RateLimit-Reset` (ms since 1970). An answer without a token, or that ends in an
error, is not billed ("zero completion insurance"). `GET /models` names prices in dollars per token and
`supported_parameters`; `GET /key` what a key may still spend.
"""

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from random import Random

import aiohttp

from assistant.clock import Clock, SystemClock
from assistant.errors import AssistantError

BASE_URL = "https://openrouter.ai/api/v1"
UNBILLED = frozenset({400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503})
"""Statuses with which a call ends before there is anything to bill. Of others, a gateway's 504 say, nobody knows."""
PASSING = frozenset({408, 429})
"""Statuses besides those from 500 on after which trying again makes sense."""
LONGEST_WAIT = 600.0
"""Seconds; a server that asks to be left alone for longer is taken at its word: the run ends."""
LONGEST_LINE = 2**20
"""Bytes; of a stream, for servers that send a whole answer as one event."""
OVERHEAD_TOKENS = 100
"""Of a prompt, for what a model's chat template adds to it."""


class CallFailed(AssistantError):
    """A call that brought nothing.

    `unbilled`: it is known to have cost nothing. `passing`: it may be tried again, not before `wait` seconds if the
    server said so.
    """

    code, exit_status = "call_failed", 5

    def __init__(
        self, sentence: str, *, unbilled: bool = True, passing: bool = False, wait: float | None = None
    ) -> None:
        self.unbilled, self.passing, self.wait = unbilled, passing, wait
        super().__init__(sentence)


class NoKey(CallFailed):
    code, exit_status = "no_key", 2


class NoCredits(CallFailed):
    code, exit_status = "no_credits", 2


class UnknownModel(CallFailed):
    code, exit_status = "unknown_model", 2


class Unreachable(CallFailed):
    code = "unreachable"


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the server lists it; prices in dollars."""

    name: str
    prompt: float
    """A token."""
    completion: float
    """A token, of an answer or of the reasoning before it."""
    request: float
    parameters: frozenset[str] | None
    """What may be set in a request; None where the server does not say."""

    def dearest(self, prompt: str, schema: dict, max_tokens: int) -> float:
        """What a call costs at most, in dollars: a token has at least one byte of the request."""
        tokens = len(json.dumps(self.body(prompt, schema, max_tokens))) + OVERHEAD_TOKENS
        return self.request + tokens * self.prompt + max_tokens * self.completion

    def body(self, prompt: str, schema: dict, max_tokens: int) -> dict:
        """A request, with those of our wishes that the model can fulfil; what is no OpenRouter gets plain OpenAI."""
        said = {"model": self.name, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}
        said |= {"stream": True, "stream_options": {"include_usage": True}}
        if self.parameters is None:
            return said
        if "structured_outputs" in self.parameters:
            named = {"name": "examples", "strict": True, "schema": schema}
            said["response_format"] = {"type": "json_schema", "json_schema": named}
        if "temperature" in self.parameters:
            said["temperature"] = 1.0
        if "reasoning" in self.parameters:
            said["reasoning"] = {"effort": "low", "exclude": True}
        prices = {"prompt": self.prompt, "completion": self.completion}
        return said | {
            "provider": {
                "require_parameters": True,
                "max_price": {side: round(price * 1e6, 6) for side, price in prices.items()},
            }
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call."""

    text: str
    model: str
    """That wrote it, as the server says."""
    cost: float | None
    """Dollars; None if it was not told."""
    tokens: tuple[int, int] | None
    """Of the prompt and of the completion."""
    whole: bool
    """It came to its end."""


class OpenRouter:
    """An async context manager; all methods raise `CallFailed`."""

    def __init__(
        self, key: str, base: str = BASE_URL, *, connect: float = 30, silence: float = 120, clock: Clock | None = None
    ) -> None:
        """`connect` and `silence` (without even a comment) are the most seconds that are waited."""
        self.base = base.rstrip("/")
        self._clock = clock or SystemClock()
        self._headers = {"X-Title": "reminder-assistant"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=silence)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "OpenRouter":
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout, read_bufsize=LONGEST_LINE)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def model(self, name: str, price: tuple[float, float] | None = None) -> Model:
        """The model of that name. `price` (dollars per million tokens of prompt and completion) is for servers that
        list none."""
        listed = (await self._get("/models")).get("data")
        known = {m["id"]: m for m in listed or () if isinstance(m, dict) and isinstance(m.get("id"), str)}
        if name not in known:
            like = get_close_matches(name, known, 3) or sorted(n for n in known if "flash" in n)[-3:]
            guess = f": did you mean {', '.join(like)}?" if like else "."
            raise UnknownModel(f"{self.base} has no model {name} (GEN_MODEL){guess}")
        priced, parameters = known[name].get("pricing"), known[name].get("supported_parameters")
        if price:
            priced = {"prompt": price[0] / 1e6, "completion": price[1] / 1e6}
        try:
            prompt, completion = float(priced["prompt"]), float(priced["completion"])
            reasoning, request = (float(priced.get(k) or 0) for k in ("internal_reasoning", "request"))
            if min(prompt, completion, reasoning, request) < 0:  # "-1": it depends, as with openrouter/auto
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise UnknownModel(
                f"{self.base} names no price for {name}, so that no budget can be kept: set GEN_PRICE to dollars per "
                "million tokens of prompt and answer (0.75,3.75), or choose another GEN_MODEL."
            ) from None
        allowed = None if parameters is None else frozenset(map(str, parameters))
        return Model(name, prompt, max(completion, reasoning), request, allowed)

    async def left(self) -> float | None:
        """Dollars that the key may still spend, None if it has no limit or the server knows no such thing."""
        try:
            data = (await self._get("/key")).get("data")
        except CallFailed as e:
            if isinstance(e, NoKey | Unreachable) or e.passing:
                raise
            return None
        left = data.get("limit_remaining") if isinstance(data, dict) else None
        return float(left) if isinstance(left, int | float) else None

    async def _get(self, path: str) -> dict:
        try:
            async with self._session.get(self.base + path) as response:
                text = await response.text()
                found = _json(text)
                if response.status != 200 or "error" in found:
                    raise self._failure(response.status, found, response.headers)
                return found
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise self._unreachable(e, unbilled=True) from None

    async def ask(
        self, model: Model, prompt: str, schema: dict, max_tokens: int, on_text: Callable[[str], None]
    ) -> Answer:
        """One call, one attempt. `on_text` is given the text as it comes.

        What broke off after some text is an answer that is not whole; a failure has brought no text at all.
        """
        answer = _Stream(model, on_text)
        sent = False
        try:
            body = model.body(prompt, schema, max_tokens)
            async with self._session.post(self.base + "/chat/completions", json=body) as response:
                sent = True
                if response.status != 200 or response.content_type == "application/json":
                    found = _json(await response.text())
                    if response.status != 200 or "error" in found:
                        raise self._failure(response.status, found, response.headers)
                    answer.take(found)
                else:
                    async for event in _events(response.content):
                        answer.take(event)
        except aiohttp.ClientConnectorError as e:
            raise self._unreachable(e, unbilled=True) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            if not answer.text:
                raise self._unreachable(e, unbilled=False) from None
        if answer.error and not answer.text:
            raise self._failure(200, {"error": answer.error}, {})
        if not answer.text and not answer.finished and sent:
            raise CallFailed(f"{self.base} sent nothing and hung up: try again.", unbilled=False, passing=True)
        return answer.result()

    def _unreachable(self, error: Exception, unbilled: bool) -> Unreachable:
        why = str(error) or type(error).__name__
        sentence = f"{self.base} cannot be reached ({why}): check the connection and start again; nothing is lost."
        return Unreachable(sentence, unbilled=unbilled, passing=True)

    def _failure(self, status: int, found: dict, headers: Mapping[str, str]) -> CallFailed:
        """What a status and an error body mean."""
        error = found.get("error")
        error = error if isinstance(error, dict) else {"message": error}
        metadata = error.get("metadata") if isinstance(error.get("metadata"), dict) else {}
        code = error.get("code")
        if status == 200:
            status = int(code) if str(code).isdigit() else 502
        said = " ".join(str(error.get("message") or "no reason given").split())[:200]
        known = metadata.get("headers") if isinstance(metadata.get("headers"), dict) else {}
        told = {**known, **headers} if status == 429 else {"Retry-After": headers.get("Retry-After", "")}
        wait = asked_to_wait(told, self._clock.now())
        facts = {"unbilled": status in UNBILLED, "wait": wait}
        if status == 401:
            return NoKey(f"{self.base} does not take this key ({said}): correct OPENROUTER_API_KEY in .env.", **facts)
        if (status == 402 and wait is None) or (status == 403 and "limit_source" in metadata):
            return NoCredits(f"The credits or the limit of this key are used up ({said}): add to them first.", **facts)
        passing = status >= 500 or status in PASSING or status == 402
        sentence = f"{self.base} answered {status} ({said})"
        if wait is not None and wait > LONGEST_WAIT:
            return CallFailed(f"{sentence} and asks to wait {wait / 60:.0f} minutes: start again then.", **facts)
        after = "start again later; nothing is lost." if passing else "change GEN_MODEL or what it is asked."
        return CallFailed(f"{sentence}: {after}", passing=passing, **facts)


class _Stream:
    """An answer as it comes, in pieces or at once."""

    def __init__(self, model: Model, on_text: Callable[[str], None]) -> None:
        self._model, self._on_text = model, on_text
        self.text, self.error, self.finished = "", None, False
        self._name, self._usage = model.name, {}

    def take(self, event: dict) -> None:
        if isinstance(event.get("model"), str) and event["model"]:
            self._name = event["model"]
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        self.error = event.get("error") or self.error
        for choice in event.get("choices") or ():
            part = (choice.get("delta") or choice.get("message") or {}).get("content")
            if isinstance(part, str) and part:
                self.text += part
                self._on_text(part)
            self.finished = self.finished or bool(choice.get("finish_reason"))
            self.error = choice.get("error") or self.error

    def result(self) -> Answer:
        cost, tokens = self._usage.get("cost"), None
        with contextlib.suppress(KeyError, TypeError, ValueError):
            tokens = int(self._usage["prompt_tokens"]), int(self._usage["completion_tokens"])
        if not isinstance(cost, int | float) or not 0 <= cost < math.inf:
            m = self._model
            cost = m.request + tokens[0] * m.prompt + tokens[1] * m.completion if tokens else None
        return Answer(self.text, self._name, cost, tokens, self.finished and not self.error)


async def _events(lines: aiohttp.StreamReader):
    """The objects of a stream of server-sent events; comments and what is no object are passed over."""
    async for line in lines:
        if line.startswith(b"data:") and (event := _json(line[5:].decode("utf-8", "replace"))):
            yield event


def _json(text: str) -> dict:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def asked_to_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from the aware instant `now` that the server asks to be left alone, None if it does not."""
    told = {name.lower(): str(value).strip() for name, value in headers.items()}
    for read in (
        lambda: float(told["retry-after"]),
        lambda: (parsedate_to_datetime(told["retry-after"]) - now).total_seconds(),
        lambda: float(told["x-ratelimit-reset"]) / 1000 - now.timestamp(),
    ):
        try:
            return max(0.0, read())
        except (KeyError, TypeError, ValueError):
            continue
    return None


def back_off(failures: int, error: CallFailed, random: Random) -> float:
    """Seconds to wait after so many failures in a row, one or more: never less than was asked for."""
    return (error.wait or 0.0) + random.uniform(0.5, 1.0) * min(60.0, 2.0**failures)
