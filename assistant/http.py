"""The interface for other programs on this machine: JSON over HTTP.

    POST   /requests {"text", "channel"?, "id"?}      what a person said -> the answer, and what was made of it
                                                      ... or a recording of it (`http_hearing.py`)
    GET    /reminders ?state= ?limit=                 GET /reminders/{id}
    POST   /reminders/{id}/done | /snooze {"minutes" | "when"}? | /move {"when"} | /rename {"task"}
    DELETE /reminders/{id}
    POST   /undo {"change"?}                          undo what was changed last, or the change of that id
    POST   /predict, /convert {"text" | "texts", "now"?, "tz"?} understood, nothing stored (`predict.py`)
    POST   /model/reload                              the model that the pointer names, from now on
    GET    /health, /metrics                          how it is, for people and for Prometheus

A request that arrives twice with one `id` (or `X-Request-Id`) is taken once and answered twice. An answer that changed
something has the id of that change as "undo" (`undo.py`). An error is `{"error": {"code", "message"}}`. What is let in,
and from where, is in `guard.py`; corrections are in `http_corrections.py`, hearing and its voice in `http_hearing.py`,
the calendar in `http_calendar.py`, the page and what it lives on in `http_page.py`.
"""

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from aiohttp import web

from assistant import __version__, aloud, replies
from assistant.corrections import Corrections
from assistant.errors import BadRequest
from assistant.guard import MAX_BODY, only_this_machine, read_body, request_names, speak_json_errors
from assistant.headers import secure
from assistant.http_calendar import CalendarService
from assistant.http_corrections import CorrectionService
from assistant.http_hearing import HearingService
from assistant.messages import Reminder, Reply, Request
from assistant.metrics import Metrics
from assistant.pipeline import Pipeline
from assistant.predict import Predict
from assistant.rewriters import Rewriters
from assistant.understand import as_json
from assistant.when import localise

if TYPE_CHECKING:
    from assistant.calendars import Calendars
    from assistant.hearing import Hearing
    from assistant.http_page import Page
    from assistant.login import Login
    from assistant.mqtt import Mqtt

ANSWER_SECONDS = 1
"""How long an answer under way may still take when the daemon stops."""
PREDICT_SECONDS = 60
"""A big model on a slow machine takes its time."""
STATES = ("active", "pending", "fired", "done", "missed", "cancelled")
MOST_MINUTES = 366 * 24 * 60
"""Of a snooze."""
MOST_REMINDERS = 1000
"""In one answer, unless the caller asks for more with `limit`."""


class Service:
    """The routes, over the pipeline; `rewriters` are its models, of which it then tells, `hearing` its ears,
    `mqtt` its connection to a broker, `calendars` what stands in them, `page` what people look at,
    `login` who is let in; without it that is this machine alone."""

    def __init__(
        self, pipeline: Pipeline, rewriters: Rewriters | None = None, hearing: "Hearing | None" = None,
        mqtt: "Mqtt | None" = None, calendars: "Calendars | None" = None, page: "Page | None" = None,
        login: "Login | None" = None,
    ) -> None:  # fmt: skip
        self._pipeline, self._rewriters, self._mqtt = pipeline, rewriters, mqtt
        self._hearing = HearingService(hearing) if hearing else None
        self._calendar = CalendarService(calendars) if calendars else None
        self._page, self._login = page, login
        self._began, self._metrics = monotonic(), Metrics()
        if rewriters:
            self._metrics.watch_sources(rewriters, lambda: len(pipeline.kept()))
        if hearing:
            self._metrics.watch_hearing(hearing)
        if mqtt:
            self._metrics.watch_mqtt(mqtt)

    def application(self) -> web.Application:
        guard = self._login.middleware if self._login else only_this_machine
        app = web.Application(
            middlewares=[self._metrics.middleware, speak_json_errors, guard], client_max_size=MAX_BODY)
        app.on_response_prepare.append(secure)
        one = r"/reminders/{id:\d{1,40}}"
        app.add_routes([
            web.post("/requests", self.say),
            web.get("/reminders", self.reminders),
            web.get(one, self.reminder),
            web.delete(one, self.cancel),
            web.post(one + "/done", self.done),
            web.post(one + "/snooze", self.snooze),
            web.post(one + "/move", self.move),
            web.post(one + "/rename", self.rename),
            web.post("/undo", self.undo),
            web.get("/health", self.health),
            web.get("/metrics", self._metrics.answer),
        ])
        pipeline = self._pipeline
        app.add_routes(Predict(pipeline.predict, pipeline.clock, pipeline.tz, PREDICT_SECONDS).routes())
        app.add_routes(CorrectionService(Corrections(self._pipeline.store.db), self._pipeline.clock).routes())
        if self._rewriters:
            app.add_routes([web.post("/model/reload", self.reload)])
        if self._hearing:
            app.add_routes(self._hearing.routes())
            app.on_shutdown.append(self._hearing.end)
        if self._calendar:
            app.add_routes(self._calendar.routes())
        if self._page:
            app.add_routes(self._page.routes())
            app.on_shutdown.append(self._page.end)
        if self._login:
            app.add_routes(self._login.routes())
        return app

    async def say(self, request: web.Request) -> web.Response:
        if self._hearing and (request.content_type.startswith("audio/") or request.content_type == "application/ogg"):
            return await self._hearing.hear(request)
        body = await read_body(request, required={"text": str}, optional={"channel": str, "id": str})
        id, channel = request_names(request, body.get("channel"), body.get("id"))
        reply = await self._pipeline.handle(Request(id, body["text"], channel, self._pipeline.clock.now()))
        return web.json_response(reply_json(reply), status=202 if reply.kind == "kept" else 200)

    async def reminders(self, request: web.Request) -> web.Response:
        state = request.query.get("state", "active")
        limit = request.query.get("limit", str(MOST_REMINDERS))
        if state not in STATES:
            raise BadRequest(f'"state" must be one of {", ".join(STATES)}.')
        if not re.fullmatch(r"[1-9]\d{0,5}", limit, re.ASCII):
            raise BadRequest('"limit" must be a number from 1 to 999999.')
        store = self._pipeline.store
        found = store.active(int(limit)) if state == "active" else store.in_state(state, int(limit))
        return web.json_response({"reminders": [reminder_json(r) for r in found]})

    async def reminder(self, request: web.Request) -> web.Response:
        return web.json_response(reminder_json(self._pipeline.store.reminder(_id(request))))

    async def done(self, request: web.Request) -> web.Response:
        await read_body(request, required={}, optional={})
        return self._changed("Done", self._pipeline.done(_id(request)))

    async def cancel(self, request: web.Request) -> web.Response:
        return self._changed("Cancelled", self._pipeline.cancel(_id(request)))

    async def snooze(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={}, optional={"minutes": int, "when": str})
        if len(body) > 1:
            raise BadRequest('Give "minutes" or "when", not both.')
        if not 1 <= body.get("minutes", 1) <= MOST_MINUTES:
            raise BadRequest(f'"minutes" must be a number from 1 to {MOST_MINUTES}.')
        return self._changed("OK", self._pipeline.snooze(_id(request), body.get("minutes"), _when(body)))

    async def move(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={"when": str}, optional={})
        return self._changed("OK", self._pipeline.move(_id(request), _when(body)))

    async def rename(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={"task": str}, optional={})
        return self._changed("OK", self._pipeline.rename(_id(request), body["task"]))

    async def undo(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={}, optional={"change": str})
        undone = self._pipeline.undo(body.get("change"))
        now = self._pipeline.clock.now().astimezone(self._pipeline.tz)
        return web.json_response({
            "reply": replies.undone(undone.back, undone.gone, now),
            "reminders": [reminder_json(r) for r in (*undone.back, *undone.gone)], "undo": undone.change})

    async def reload(self, request: web.Request) -> web.Response:
        await read_body(request, required={}, optional={})
        return web.json_response(asdict(await self._rewriters.reload()))

    async def health(self, _: web.Request) -> web.Response:
        local = self._rewriters and self._rewriters.loaded
        remote = self._rewriters and self._rewriters.remote
        store = self._pipeline.store
        return web.json_response({
            "status": "ok", "version": __version__, "model": self._pipeline.rewriter.name,
            "model_sha256": local and local.sha256, "model_pointer": local and str(local.pointer),
            "remote": remote and {"url": remote.url, "circuit": remote.breaker.state},
            "pending": store.count_active(), "kept": len(self._pipeline.kept()),
            "uptime_s": round(monotonic() - self._began, 1), "hearing": self._hearing and self._hearing.health(),
            "mqtt": self._mqtt and {
                "broker": self._mqtt.broker, "connected": self._mqtt.connected, "says": self._mqtt.says},
        })

    def _changed(self, what: str, reminder: Reminder) -> web.Response:
        now = self._pipeline.clock.now().astimezone(self._pipeline.tz)
        told = replies.reminder(reminder, now) if reminder.due else replies.task(reminder.task)
        change = self._pipeline.undo_log.last
        return web.json_response({"reply": f"{what}: {told}.", "reminder": reminder_json(reminder)}
                                 | ({"undo": change} if change else {}))


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _when(body: dict) -> str | None:
    """A When sentence is written in small letters with single blanks; a person need not know."""
    return " ".join(body["when"].lower().split()) if "when" in body else None


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
        "id": reply.request_id, "reply": reply.text, "spoken": aloud.answer(reply), "kind": reply.kind,
        "question": reply.question,
        "reminders": [reminder_json(r) for r in reply.reminders],
        "understanding": reply.understanding and as_json(reply.understanding),
    } | ({"skipped": list(reply.skipped)} if reply.skipped else {}) | ({"undo": reply.undo} if reply.undo else {})
