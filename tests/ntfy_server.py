"""An ntfy server on a clock of the test's: publish, schedule, replace and withdraw by sequence id, poll; limits
and faults.

It speaks what https://docs.ntfy.sh/publish says and the server does (binwiederhier/ntfy, server/server.go): a message
under the sequence id of scheduled ones takes their place, DELETE drops them and is told to the phones. What phones were
told is in `rings`. A message that a phone has shown already rings again when it is replaced.

Faults, one a request in the order of `faults`, and then none:

    away        the connection is closed before anything is done
    lost        it is done, and the connection reset before the answer
    500         nothing is done;  500_late: what was scheduled is dropped, and the message that replaces it is lost
    400, 403, 429    refused, and nothing is done
    hung        it is done, and never answered
    dies        nothing is done, and `died` is set: whoever asked is to be killed now;  dies_late: it is done
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web

from assistant.clock import Clock
from assistant.listen import open_socket

MOST_BYTES = 4096


@dataclass(frozen=True)
class Told:
    """What a phone shows and sounds."""

    at: datetime
    body: dict[str, Any]

    @property
    def sequence(self) -> str | None:
        return self.body.get("sequence_id")


class NtfyServer:
    """On a free port. An async context manager; `old`: from before 2.16, without sequence ids."""

    def __init__(self, clock: Clock, old: bool = False, token: str = "") -> None:
        self._clock, self.old, self._token = clock, old, token
        self.rings: list[Told] = []
        self.scheduled: list[Told] = []
        self.withdrawn: list[str] = []
        """Sequence ids of all DELETEs that were done."""
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.down = False
        """Whether there is no network."""
        self.died = asyncio.Event()
        self._over = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/", self.publish), web.delete("/{topic}/{sequence}", self.delete),
                        web.get("/{topic}/json", self.poll)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        listening = open_socket("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        await web.SockSite(self._runner, listening).start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._over.set()
        await self._runner.cleanup()

    def deliver(self) -> None:
        """What is due by the clock is delivered; to be called when the clock has moved."""
        now = self._clock.now()
        due = [told for told in self.scheduled if told.at <= now]
        self.scheduled = [told for told in self.scheduled if told.at > now]
        self.rings += sorted(due, key=lambda told: told.at)

    async def publish(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.requests.append("POST")
        self.deliver()
        body = json.loads(raw)
        fault = "away" if self.down else self.faults.pop(0) if self.faults else ""
        if stopped := await self._before(request, fault):
            return stopped
        if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
            return _error(403, "forbidden")
        at = self._clock.now()
        if len(raw) > MOST_BYTES or not set(body) <= _KEYS or len(body.get("actions", ())) > 3:
            return _error(400, "invalid request: request body must be message JSON")
        if delay := body.get("delay"):
            at = datetime.fromtimestamp(int(delay), UTC)
            ahead = at - self._clock.now()
            if not timedelta(seconds=10) <= ahead <= timedelta(days=3):
                return _error(400, "invalid delay parameter: too small or too large")
        known = {} if self.old or "sequence_id" not in body else {"sequence_id": body["sequence_id"]}
        if known:
            self._drop(body["sequence_id"])
        if fault == "500_late":
            return _error(500, "internal server error")
        (self.scheduled if delay else self.rings).append(Told(at, body))
        return await self._after(request, fault) or web.json_response(
            {"id": f"m{len(self.requests)}", "event": "message", **known})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        self.requests.append("DELETE")
        self.deliver()
        if self.old:
            return _error(404, "page not found")
        fault = "away" if self.down else self.faults.pop(0) if self.faults else ""
        if stopped := await self._before(request, fault):
            return stopped
        if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
            return _error(403, "forbidden")
        self._drop(request.match_info["sequence"])
        self.withdrawn.append(request.match_info["sequence"])
        return await self._after(request, fault) or web.json_response(
            {"event": "message_delete", "sequence_id": request.match_info["sequence"]})

    async def poll(self, request: web.Request) -> web.StreamResponse:
        self.requests.append("GET")
        self.deliver()
        fault = "away" if self.down else self.faults.pop(0) if self.faults else ""
        if stopped := await self._before(request, fault):
            return stopped
        since = datetime.fromtimestamp(int(request.query["since"]), UTC)
        lines = [{"event": "open"}, *({"event": "message", **told.body} for told in self.rings if told.at >= since)]
        return await self._after(request, fault) or web.Response(text="".join(json.dumps(x) + "\n" for x in lines))

    def _drop(self, sequence: str) -> None:
        self.scheduled = [told for told in self.scheduled if told.sequence != sequence]

    async def _before(self, request: web.Request, fault: str) -> web.StreamResponse | None:
        match fault:
            case "away":
                request.transport.abort()
                return web.Response()
            case "dies":
                self.died.set()
                await self._over.wait()
            case "400":
                return _error(400, "invalid request: actions invalid")
            case "403":
                return _error(403, "forbidden")
            case "429":
                return _error(429, "limit reached: too many requests, please be nice", {"Retry-After": "5"})
            case "500":
                return _error(500, "internal server error")
        return None

    async def _after(self, request: web.Request, fault: str) -> web.StreamResponse | None:
        match fault:
            case "lost":
                request.transport.abort()
                return web.Response()
            case "dies_late":
                self.died.set()
                await self._over.wait()
            case "hung":
                await self._over.wait()
        return None


_KEYS = {"topic", "message", "title", "tags", "priority", "actions", "delay", "sequence_id"}


def _error(status: int, said: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"code": status * 100 + 1, "http": status, "error": said}, status=status, headers=headers)
