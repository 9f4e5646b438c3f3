"""The routes that understand a request and store nothing: `POST /predict`, and `POST /convert`, which is the same.

    {"text", "now"?, "tz"?}    what it means at that instant, as `understand.as_json` has it
    {"texts", "now"?, "tz"?}   {"results": [...]} in their order, each such an answer or {"error": {"code", "message"}}

Of a list a few texts at a time are given to the model, so that it neither fills the queue nor holds up all others.
An answer comes within the deadline or not at all (503). A client that wants to wait less says so with the header
`Prefer: wait=SECONDS` (RFC 7240, 4.3). Where handlers are cancelled when their client goes away (`handler_cancellation`
of aiohttp's runner), so is the work for it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from aiohttp import web

from assistant.clock import Clock
from assistant.errors import AssistantError, BadRequest, ModelError, OutOfTime
from assistant.guard import CHARGE, read_body
from assistant.instants import read_instant, read_zone
from assistant.messages import Understanding
from assistant.understand import as_json

Understand = Callable[[str, datetime, ZoneInfo], Awaitable[Understanding]]
"""What a text means at an instant in a zone, as `Pipeline.predict` says it."""


class Predict:
    """Answers with what `understand` says, in `tz` and at the time of `clock` unless the client names others.

    `deadline` is in seconds, waiting for a model included; a list may hold `most_texts`, of which `at_once` are given
    to the model at once: one on its context and one that waits for it, for each context.
    """

    def __init__(
        self, understand: Understand, clock: Clock, tz: ZoneInfo, deadline: float = 10.0, most_texts: int = 32,
        at_once: int = 2,
    ) -> None:
        self._understand, self._clock, self._tz = understand, clock, tz
        self._deadline, self._most, self._at_once = deadline, most_texts, at_once

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/predict", self.predict), web.post("/convert", self.predict)]

    async def predict(self, request: web.Request) -> web.Response:
        body = await read_body(
            request, required={}, one_of={"text": str, "texts": list[str]}, optional={"now": str, "tz": str}
        )
        tz = read_zone(body["tz"]) if "tz" in body else self._tz
        now = read_instant(body["now"], tz) if "now" in body else self._clock.now().astimezone(tz)
        seconds = min(self._deadline, preferred_wait(request.headers.getall("Prefer", ())))
        until = asyncio.get_running_loop().time() + seconds
        turn = asyncio.Semaphore(self._at_once)

        async def answer(text: str) -> dict:
            try:
                async with asyncio.timeout_at(until), turn:
                    return as_json(await self._understand(text, now, tz))
            except TimeoutError:
                raise OutOfTime(seconds) from None

        if "text" in body:
            return web.json_response(await answer(body["text"]))
        if not 1 <= len(body["texts"]) <= self._most:
            raise BadRequest(f'"texts" must hold 1 to {self._most} texts.')
        if charge := request.get(CHARGE):  # of a key (`access.py`), which has paid for one
            charge(len(body["texts"]) - 1)
        return web.json_response({"results": await _each(answer, body["texts"])})


async def _each(answer: Callable[[str], Awaitable[dict]], texts: list[str]) -> list[dict]:
    """The answers to texts, with an error in place of one. If no model had an answer to any of them, that is
    raised: `ModelError`."""

    async def result(text: str) -> dict | AssistantError:
        try:
            return await answer(text)
        except AssistantError as e:
            return e

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(result(text), name="predict") for text in texts]
    results = [task.result() for task in asked]
    if all(isinstance(r, ModelError) for r in results):
        raise results[0]
    return [{"error": {"code": r.code, "message": str(r)}} if isinstance(r, AssistantError) else r for r in results]


def preferred_wait(headers: Iterable[str]) -> float:
    """Seconds of the preference `wait` in headers `Prefer`; infinite where there is none, or no whole number.

    Of a preference that is given twice the first one counts (RFC 7240, 2).
    """
    for preference in ",".join(headers).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            found = re.fullmatch(r'\s*("?)(\d{1,9})\1\s*', value, re.ASCII)
            return float(found[2]) if found else float("inf")
    return float("inf")
