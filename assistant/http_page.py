"""The page for people, and what it and `assistant show` live on.

    GET    /                                          the page: one HTML answer that already holds the first overview
    GET    /page/recorder.js                          its recorder, fetched when a person speaks into it
    GET    /overview ?limit=                          all there is to see (`overview.py`), with so many reminders ahead
    GET    /events                                    server-sent events: that it has changed
    POST   /reminders/{id}/preview {"text"}           where a new time would move a reminder; nothing is stored

An event is `changed`, with the id of the newest change, or `alive`, every few seconds. Whoever comes is told of a
change at once, unless `Last-Event-ID` says that he knows it. What people said is in the page as data, never as HTML,
and the page may fetch nothing from elsewhere: see `POLICY`.
"""

import asyncio
import hashlib
import json
import socket
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from assistant import __version__, states
from assistant.changes import Changes, Reader
from assistant.errors import AssistantError, BadRequest
from assistant.guard import read_body
from assistant.overview import Json, overview, repeats
from assistant.pipeline import Pipeline
from assistant.retiming import retimed

if TYPE_CHECKING:
    from assistant.calendars import Calendars
    from assistant.hearing import Hearing
    from assistant.mqtt import Mqtt
    from assistant.rewriters import Rewriters
    from assistant.sections import NtfyPhone

FOLDER = Path(__file__).parent / "page"
SCRIPTS = ("page.js", "box.js", "rows.js", "live.js")
"""In this order they are one script."""
LIMIT, MOST = 200, 10_000
"""Reminders ahead in an overview: unless the caller says so, and at most."""
ALIVE_SECONDS = 15.0
"""Between two events `alive`."""
STUCK_SECONDS = 10.0
"""A reader that takes nothing for so long is dropped."""
RETRY_MS = 2000
"""After so long a browser that was cut off comes again."""
BUFFER = 16 * 1024
"""Bytes that are held for one reader, here and in the system."""
POLICY = (
    "default-src 'none'; script-src 'self' '{script}'; style-src '{style}'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Content Security Policy (https://www.w3.org/TR/CSP3/): the two hashes are of the page's own script and style."""


class Page:
    """The routes. `json` makes of a reminder what other programs see; the parts are those of which it tells."""

    def __init__(
        self, pipeline: Pipeline, changes: Changes, json: Json, late_after: timedelta, *,
        rewriters: "Rewriters | None" = None, hearing: "Hearing | None" = None, mqtt: "Mqtt | None" = None,
        calendars: "Calendars | None" = None, phone: "NtfyPhone | None" = None,
    ) -> None:  # fmt: skip
        self._pipeline, self._changes, self._json, self._late_after = pipeline, changes, json, late_after
        self._rewriters, self._hearing, self._mqtt = rewriters, hearing, mqtt
        self._calendars, self._phone = calendars, phone
        self._reading: set[asyncio.Task] = set()
        """Handlers of `GET /events` under way."""
        self._head, self._tail, policy = _page()
        self._headers = {
            "Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff", "Permissions-Policy": "microphone=(self)",
        }  # fmt: skip

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/", self.page),
            web.get("/page/recorder.js", self.recorder),
            web.get("/overview", self.overview),
            web.get("/events", self.events, allow_head=False),  # an answer to HEAD would have no end
            web.post(r"/reminders/{id:\d{1,40}}/preview", self.preview),
        ]

    async def end(self, _: web.Application) -> None:
        """The daemon stops: who looks on is not waited for."""
        for task in self._reading:
            task.cancel()

    def look(self) -> object:
        """What differs when there may be something new to see; for `Changes.watch`."""
        return self._pipeline.store.db.sql.conn.total_changes, tuple(self._parts(0))

    async def page(self, _: web.Request) -> web.Response:
        try:
            data = self._overview(LIMIT)
        except AssistantError as e:
            data = {"error": str(e)}
        text = self._head + as_data(data) + self._tail
        return web.Response(text=text, content_type="text/html", charset="utf-8", headers=self._headers)

    async def recorder(self, _: web.Request) -> web.Response:
        text = (FOLDER / "recorder.js").read_text("utf-8")
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        return web.Response(text=text, content_type="text/javascript", charset="utf-8", headers=headers)

    async def overview(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", str(LIMIT))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= MOST):
            raise BadRequest(f'"limit" must be a number from 1 to {MOST}.')
        found = self._overview(int(limit))
        text = await asyncio.to_thread(json.dumps, found)  # with thousands of reminders it takes its time
        return web.Response(text=text, content_type="application/json", headers={"Cache-Control": "no-store"})

    def _overview(self, limit: int) -> dict:
        store, now = self._pipeline.store, self._pipeline.clock.now()
        heard, kept = self._hearing and self._hearing.status(), len(self._pipeline.kept())
        found = [*self._parts(kept), states.phone(self._phone, store.db)]
        return {
            "version": __version__, "change": self._changes.newest,
            **overview(store, now, self._pipeline.tz, self._late_after, limit, self._json),
            "kept": kept, "states": [asdict(state) for state in found],
            "muted": heard and heard.muted, "voice_muted": heard and heard.voice_muted,
        }  # fmt: skip

    def _parts(self, kept: int) -> list[states.State]:
        found = []
        if self._hearing:
            now = self._hearing.status()
            found += [states.microphone(now), states.voice(now)]
        if self._rewriters:
            found.append(states.model(self._rewriters, kept))
        return [*found, states.mqtt(self._mqtt), states.calendar(self._calendars)]

    async def preview(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={"text": str}, optional={})
        to = await retimed(self._pipeline, int(request.match_info["id"]), body["text"])
        now = self._pipeline.clock.now().astimezone(self._pipeline.tz)
        return web.json_response(asdict(to) | {
            "due": to.due.isoformat(), "repeats": repeats(to.when, to.due, to.rrule, now)})

    async def events(self, request: web.Request) -> web.StreamResponse:
        with self._changes.reader() as reader:
            answer = web.StreamResponse(headers={
                "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
            self._reading.add(task := asyncio.current_task())
            try:
                await answer.prepare(request)
                _hold_little(request)
                await self._tell(answer, reader, request.headers.get("Last-Event-ID", ""))
            except (ConnectionError, TimeoutError):  # he went away, or takes nothing
                if request.transport:
                    request.transport.abort()
            finally:
                self._reading.discard(task)
        return answer

    async def _tell(self, answer: web.StreamResponse, reader: Reader, known: str) -> None:
        """Until the reader is gone. Raises `ConnectionError`, `TimeoutError`."""
        await _send(answer, f"retry: {RETRY_MS}\n\n")
        if known != self._changes.newest:
            reader.wake()
        else:
            await _send(answer, self._alive())
        while True:
            change = None
            with suppress(TimeoutError):
                async with asyncio.timeout(ALIVE_SECONDS):
                    change = await reader.next()
            if change is None:
                await _send(answer, self._alive())
            else:
                data = json.dumps({"change": change})
                await _send(answer, f"id: {change}\nevent: changed\ndata: {data}\n\n")

    def _alive(self) -> str:
        now = self._pipeline.clock.now().astimezone(self._pipeline.tz)
        return f"event: alive\ndata: {json.dumps({'now': now.isoformat()})}\n\n"


def _hold_little(request: web.Request) -> None:
    """For a reader that takes nothing."""
    if request.transport and (connection := request.transport.get_extra_info("socket")):
        request.transport.set_write_buffer_limits(high=BUFFER)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)


async def _send(answer: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(STUCK_SECONDS):
        await answer.write(text.encode())


def as_data(value: object) -> str:
    """JSON to stand inside a `script` element: no character of it can end that, or begin anything else."""
    text = json.dumps(value)  # ASCII alone
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _page() -> tuple[str, str, str]:
    """The page before and after its data, and its policy."""
    html, style = ((FOLDER / name).read_text("utf-8") for name in ("index.html", "page.css"))
    style, script = f"\n{style}", "\n" + "\n".join((FOLDER / name).read_text("utf-8") for name in SCRIPTS)
    head, tail = html.replace("{STYLE}", style).split("{DATA}")
    return head, tail.replace("{SCRIPT}", script), POLICY.format(style=_hash(style), script=_hash(script))


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
