"""The interface for other programs on this machine: JSON over HTTP.

    POST   /requests {"text", "channel"?, "id"?}      what a person said -> the answer, and what was made of it
    GET    /reminders ?state= ?limit=                 GET /reminders/{id}
    POST   /reminders/{id}/done | /snooze {"minutes" | "when"}? | /move {"when"}
    DELETE /reminders/{id}
    POST   /predict, /convert {"text", "now"?, "tz"?} understood, nothing stored
    GET    /health

A request that arrives twice with one `id` (or `X-Request-Id`) is taken once and answered twice. An error is
`{"error": {"code", "message"}}`. What is let in, and from where, is in `guard.py`.
"""

import re
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from time import monotonic
from zoneinfo import ZoneInfo

from aiohttp import web

from assistant import __version__
from assistant.clock import Clock
from assistant.errors import BadRequest, LiesBehind
from assistant.guard import MAX_BODY, only_this_machine, read_body, speak_json_errors
from assistant.instants import read_instant, read_zone
from assistant.messages import Reminder, Reply, Request
from assistant.pipeline import Pipeline
from assistant.store import Store
from assistant.understand import as_json
from assistant.when import Once, Past, Policy, Repeat, localise, parse_when

ANSWER_SECONDS = 1
"""How long an answer under way may still take when the daemon stops."""
STATES = ("active", "pending", "fired", "done", "missed", "cancelled")
MOST_MINUTES = 366 * 24 * 60
"""Of a snooze."""
MOST_REMINDERS = 1000
"""In one answer, unless the caller asks for more with `limit`."""


class Service:
    """The routes, over the pipeline for what is said and over the store for what is pressed."""

    def __init__(
        self, pipeline: Pipeline, store: Store, clock: Clock, tz: ZoneInfo, policy: Policy, snooze: timedelta,
        changed: Callable[[], None], model: str,
    ) -> None:
        self._pipeline, self._store, self._clock = pipeline, store, clock
        self._tz, self._policy, self._snooze = tz, policy, snooze
        self._changed, self._model = changed, model
        self._began = monotonic()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[speak_json_errors, only_this_machine], client_max_size=MAX_BODY)
        one = r"/reminders/{id:\d{1,18}}"
        app.add_routes([
            web.post("/requests", self.say),
            web.get("/reminders", self.reminders),
            web.get(one, self.reminder),
            web.delete(one, self.cancel),
            web.post(one + "/done", self.done),
            web.post(one + "/snooze", self.snooze),
            web.post(one + "/move", self.move),
            web.post("/predict", self.predict),
            web.post("/convert", self.predict),
            web.get("/health", self.health),
        ])
        return app

    async def say(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={"text": str}, optional={"channel": str, "id": str})
        id = body.get("id") or request.headers.get("X-Request-Id") or str(uuid.uuid4())
        channel = body.get("channel", "http")
        for name, value in (("id", id), ("channel", channel)):
            if not (0 < len(value) <= 100 and value.isprintable()):
                raise BadRequest(f'"{name}" must have 1 to 100 printable characters.')
        reply = await self._pipeline.handle(Request(id, body["text"], channel, self._clock.now()))
        return web.json_response(reply_json(reply))

    async def predict(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={"text": str}, optional={"now": str, "tz": str})
        tz = read_zone(body["tz"]) if "tz" in body else self._tz
        now = read_instant(body["now"], tz) if "now" in body else self._clock.now().astimezone(tz)
        return web.json_response(as_json(await self._pipeline.predict(body["text"], now, tz)))

    async def reminders(self, request: web.Request) -> web.Response:
        state = request.query.get("state", "active")
        limit = request.query.get("limit", str(MOST_REMINDERS))
        if state not in STATES:
            raise BadRequest(f'"state" must be one of {", ".join(STATES)}.')
        if not re.fullmatch(r"[1-9]\d{0,5}", limit, re.ASCII):
            raise BadRequest('"limit" must be a number from 1 to 999999.')
        found = self._store.active(int(limit)) if state == "active" else self._store.in_state(state, int(limit))
        return web.json_response({"reminders": [reminder_json(r) for r in found]})

    async def reminder(self, request: web.Request) -> web.Response:
        return web.json_response(reminder_json(self._store.reminder(_id(request))))

    async def done(self, request: web.Request) -> web.Response:
        await read_body(request, required={}, optional={})
        [reminder] = self._store.done([_id(request)], self._clock.now())
        return _changed_json("Done", reminder)

    async def cancel(self, request: web.Request) -> web.Response:
        [reminder] = self._store.cancel([_id(request)])
        return _changed_json("Cancelled", reminder)

    async def snooze(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={}, optional={"minutes": int, "when": str})
        now = self._clock.now()
        if len(body) > 1:
            raise BadRequest('Give "minutes" or "when", not both.')
        if "when" in body:
            match parse_when(body["when"].strip().lower(), now.astimezone(self._tz), self._tz, self._policy):
                case Once(due=until):
                    pass
                case Past():
                    raise LiesBehind(body["when"])
                case _:
                    raise BadRequest("A snooze ends once: give a time that does not recur.")
        elif not 1 <= body.get("minutes", 1) <= MOST_MINUTES:
            raise BadRequest(f'"minutes" must be a number from 1 to {MOST_MINUTES}.')
        else:
            until = now + (timedelta(minutes=body["minutes"]) if body else self._snooze)
        reminder = self._store.snooze(_id(request), until, now)
        self._changed()
        return _changed_json("Snoozed", reminder)

    async def move(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={"when": str}, optional={})
        when = body["when"].strip().lower()
        to = parse_when(when, self._clock.now().astimezone(self._tz), self._tz, self._policy)
        if isinstance(to, Past):
            raise LiesBehind(body["when"])
        rrule = to.rrule if isinstance(to, Repeat) else None
        wall = to.due.replace(tzinfo=None)
        reminder = self._store.move(_id(request), when=when, wall=wall, zone=self._tz.key, rrule=rrule, due=to.due)
        self._changed()
        return _changed_json("Moved", reminder)

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({
            "status": "ok", "version": __version__, "model": self._model,
            "pending": self._store.count_active(), "uptime_s": round(monotonic() - self._began, 1),
        })


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _changed_json(what: str, reminder: Reminder) -> web.Response:
    facts = reminder_json(reminder)
    due = datetime.fromisoformat(facts["due"]) if facts["due"] else None
    until = f", {due:%A} {due.day} {due:%B} at {due.hour}:{due:%M}" if due else ""
    return web.json_response({"reply": f"{what}: {reminder.task or 'the reminder'}{until}.", "reminder": facts})


@asynccontextmanager
async def listening(service: Service, sock: socket.socket) -> AsyncIterator[str]:
    """Serve on a listening socket; the address to reach it at."""
    runner = web.AppRunner(
        service.application(), access_log=None, keepalive_timeout=75, shutdown_timeout=ANSWER_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        host, port = sock.getsockname()[:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()


def reminder_json(r: Reminder) -> dict:
    """A reminder as other programs see it; `due` is local time with its offset, also of one that has rung."""
    tz = ZoneInfo(r.zone)
    due: datetime | None = r.due.astimezone(tz) if r.due else localise(r.wall, tz) if r.state == "fired" else None
    return {
        "id": r.id, "task": r.task, "when": r.when, "due": due and due.isoformat(), "rrule": r.rrule,
        "state": r.state, "zone": r.zone,
    }


def reply_json(reply: Reply) -> dict:
    """An answer as other programs see it."""
    return {
        "id": reply.request_id, "reply": reply.text, "kind": reply.kind, "question": reply.question,
        "reminders": [reminder_json(r) for r in reply.reminders],
        "understanding": reply.understanding and as_json(reply.understanding),
    }
