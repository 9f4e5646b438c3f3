"""Corrections over HTTP.

    GET    /corrections ?state=                       proposed (unless it is said), accepted, dropped or all
    POST   /corrections {"text", "rewrite"}           added by hand, accepted at once
    POST   /corrections/{id}/accept {"rewrite"?}      to be taught so, or as `rewrite`
    POST   /corrections/{id}/drop

A rewrite that cannot be taught for its request is refused (422) with a sentence that says why.
"""

from collections.abc import Iterable

from aiohttp import web

from assistant.clock import Clock
from assistant.corrections import STATES, Correction, Corrections, correction_json
from assistant.errors import BadRequest
from assistant.guard import read_body


class CorrectionService:
    """The routes, over the corrections."""

    def __init__(self, corrections: Corrections, clock: Clock) -> None:
        self._corrections, self._clock = corrections, clock

    def routes(self) -> Iterable[web.RouteDef]:
        one = r"/corrections/{id:\d{1,40}}"
        return [
            web.get("/corrections", self.corrections),
            web.post("/corrections", self.add),
            web.post(one + "/accept", self.accept),
            web.post(one + "/drop", self.drop),
        ]

    async def corrections(self, request: web.Request) -> web.Response:
        state = request.query.get("state", "proposed")
        if state not in (*STATES, "all"):
            raise BadRequest(f'"state" must be one of {", ".join(STATES)}, all.')
        found = self._corrections.in_state(None if state == "all" else state)
        return web.json_response({"corrections": [correction_json(c) for c in found]})

    async def add(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={"text": str, "rewrite": str}, optional={})
        return _answer("Added", self._corrections.add(body["text"], body["rewrite"], self._clock.now()))

    async def accept(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={}, optional={"rewrite": str})
        return _answer("Accepted", self._corrections.accept(_id(request), self._clock.now(), body.get("rewrite")))

    async def drop(self, request: web.Request) -> web.Response:
        await read_body(request, required={}, optional={})
        return _answer("Dropped", self._corrections.drop(_id(request), self._clock.now()))


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _answer(what: str, correction: Correction) -> web.Response:
    return web.json_response({"reply": f"{what}: {correction.should}", "correction": correction_json(correction)})
