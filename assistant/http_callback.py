"""The buttons of a notification call back: POST /callback/TOKEN.

That is the only address of the assistant that a phone need reach, so it has a socket of its own, of which nothing else
is to be had: a tunnel, a proxy or a firewall opens this port, and the interface of `http.py` stays on this machine.
Who has a token may do one thing, once (`callbacks.py`); without one nothing is told.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from assistant import replies
from assistant.callbacks import Callbacks
from assistant.guard import json_errors
from assistant.listen import open_socket
from assistant.messages import Reminder
from assistant.sections import NtfyPhone

if TYPE_CHECKING:
    from assistant.pipeline import Pipeline

MOST_BODY = 1024
"""Bytes; the buttons send none."""
SNOOZE_MINUTES = 10
TOMORROW = "tomorrow"
"""A When sentence: at the hour that [when] day says."""
_TOKEN = r"/callback/{token:[\w-]{20,100}}"


class CallbackService:
    """The one route, over the pipeline."""

    def __init__(self, pipeline: "Pipeline") -> None:
        self._pipeline, self._callbacks = pipeline, Callbacks(pipeline.store.db)

    def application(self) -> web.Application:
        errors = json_errors("the buttons of a notification", private=True)
        app = web.Application(middlewares=[_from_a_browser_too, errors], client_max_size=MOST_BODY)
        app.add_routes([web.post(_TOKEN, self.act)])
        return app

    async def act(self, request: web.Request) -> web.Response:
        pipeline = self._pipeline
        with pipeline.store.transaction():  # a button that failed may be pressed again
            callback = self._callbacks.take(request.match_info["token"], pipeline.clock.now())
            match callback.action:
                case "done":
                    reminder, said = pipeline.done(callback.reminder_id), "Done"
                case "snooze":
                    reminder, said = pipeline.snooze(callback.reminder_id, SNOOZE_MINUTES), "OK"
                case "tomorrow":
                    reminder, said = pipeline.snooze(callback.reminder_id, when=TOMORROW), "OK"
        return web.json_response({"reply": f"{said}: {self._told(reminder)}."})

    def _told(self, reminder: Reminder) -> str:
        now = self._pipeline.clock.now().astimezone(self._pipeline.tz)
        return replies.reminder(reminder, now) if reminder.due else replies.task(reminder.task)


@web.middleware
async def _from_a_browser_too(request: web.Request, handler) -> web.StreamResponse:
    """ntfy's web app calls from a page of another origin, which a browser lets read the answer only if it may."""
    answer = await handler(request)
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


@asynccontextmanager
async def answering_buttons(settings: NtfyPhone, pipeline: "Pipeline") -> AsyncIterator[str | None]:
    """Answer the buttons where the settings want any; the address on this machine. Raises `AddressTaken`."""
    if not settings.callback_url:
        yield None
        return
    with open_socket(settings.callback_host, settings.callback_port, "notify.ntfy", "callback_") as sock:
        runner = web.AppRunner(CallbackService(pipeline).application(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.SockSite(runner, sock).start()
            host, port = sock.getsockname()[:2]
            yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
        finally:
            await runner.cleanup()
