"""The calendar over HTTP.

    GET    /calendar.ics ?todos=events                what lies ahead, to subscribe to; only from this machine
    GET    /calendar                                  how it stands: addresses, and the owner's calendar
    PUT    /calendar/{id} {"kind"}                    make a reminder an "event" or a "todo"

and for other machines, on a port of its own where there is nothing else ([calendar] host):

    GET    /calendar/SECRET.ics ?todos=events         the same for whoever knows the address

Programs that show no to-dos of a subscription (Google's, Apple's) get them as events by `?todos=events`. The ETag
changes with what lies ahead.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web

from assistant.calendars import Calendars
from assistant.errors import AssistantError, BadRequest, ConfigError, Refused
from assistant.guard import error_answer, read_body
from assistant.ics import PRODID, Item, feed
from assistant.listen import open_socket
from assistant.sections import Calendar as Settings
from assistant.whole_file import locked, write_whole

log = logging.getLogger(__name__)

SECRET_BYTES = 32
"""Random bytes of the secret address, of which nobody guesses one."""
SHUTDOWN_SECONDS = 1


class CalendarService:
    """The routes, over the calendars."""

    def __init__(self, calendars: Calendars) -> None:
        self._calendars = calendars

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/calendar.ics", self.subscribe),
            web.get("/calendar", self.calendar),
            web.put(r"/calendar/{id:\d{1,40}}", self.change),
        ]

    async def subscribe(self, request: web.Request) -> web.Response:
        if not _is_here(request.remote or ""):
            raise Refused("Only this machine may read this address: `assistant calendar` shows the one for others.")
        return await _answer(request, self._calendars)

    async def calendar(self, request: web.Request) -> web.Response:
        return web.json_response({"address": f"http://{request.host}/calendar.ics", **self._calendars.as_json()})

    async def change(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={"kind": str}, optional={})
        if body["kind"] not in ("event", "todo"):
            raise BadRequest('"kind" must be "event" or "todo".')
        reminder = self._calendars.set_kind(int(request.match_info["id"]), body["kind"])
        named = "an event" if body["kind"] == "event" else "a to-do"
        return web.json_response({"reply": f'OK: "{reminder.task or "reminder"}" is {named}.', "id": reminder.id,
                                  "kind": body["kind"]})


def _is_here(peer: str) -> bool:
    """Whether a peer's address is one of this machine to itself."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


async def _answer(request: web.Request, calendars: Calendars) -> web.Response:
    """The calendar, or that it has not changed (RFC 9110, 13.1.2)."""
    todos = request.query.get("todos", "todos")
    if todos not in ("todos", "events"):
        raise BadRequest('"todos" must be "events", or not be there.')
    items = await calendars.ahead()
    if todos == "events":
        items = [replace(item, kind="event") for item in items]
    etag = _etag(items, calendars.lead.total_seconds())
    headers = {"ETag": f'"{etag}"', "Cache-Control": "private, no-cache"}
    if any(tag.value in (etag, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    text = await asyncio.to_thread(feed, items, calendars.lead)
    return web.Response(text=text, content_type="text/calendar", charset="utf-8", headers=headers)


def _etag(items: list[Item], lead: float) -> str:
    hashed = hashlib.sha256(f"{PRODID} {lead}".encode())
    for item in items:
        hashed.update(f"\n{item.uid} {item.kind} {item.sequence} {item.changed}".encode())
    return hashed.hexdigest()[:32]


def secret(data_dir: Path) -> str:
    """The secret of the address for other machines, made once and kept in the data folder. Raises `ConfigError`."""
    path = data_dir / "calendar-address"
    try:
        with locked(path):
            known = path.read_text("ascii").strip() if path.exists() else ""
            if not known:
                known = secrets.token_urlsafe(SECRET_BYTES)
                write_whole(path, known + "\n", 0o600)
            return known
    except (OSError, ValueError) as e:
        raise ConfigError(f"The file {path} cannot be read or made ({e}): make its folder writable, or move the file "
                          "away to get a new address.") from None


def secret_address(host: str, port: int, known: str) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/calendar/{known}.ics"


@asynccontextmanager
async def for_others(settings: Settings, data_dir: Path, calendars: Calendars) -> AsyncIterator[None]:
    """Serve the secret address where [calendar] host says so. Raises `ConfigError`, `AddressTaken`."""
    if not settings.host:
        yield
        return
    known = secret(data_dir)
    with open_socket(settings.host, settings.port, "calendar") as sock:
        async with serving_others(calendars, sock, known) as address:
            calendars.address = address
            yield


@asynccontextmanager
async def serving_others(calendars: Calendars, sock: socket.socket, known: str) -> AsyncIterator[str]:
    """Serve the secret address, and nothing else, on a listening socket; the address. Every other path is not found,
    and that takes as long for a secret that is nearly right."""

    async def subscribe(request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.match_info["secret"].encode(), known.encode()):
            raise web.HTTPNotFound
        try:
            return await _answer(request, calendars)
        except AssistantError as e:
            return error_answer(e.status, e.code, str(e))
        except Exception:  # without its path, which is a secret
            log.exception("a bug in the calendar for other machines")
            return error_answer(500, "internal", "Something went wrong inside; the log there has the details.")

    app = web.Application()
    app.add_routes([web.get(r"/calendar/{secret:[\w-]{1,100}}.ics", subscribe)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        host, port = sock.getsockname()[:2]
        if ip_address(host).is_unspecified:  # all addresses of this machine: its name is one of them
            host = socket.gethostname()
        yield secret_address(host, port, known)
    finally:
        await runner.cleanup()
