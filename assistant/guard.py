"""What the HTTP interface lets in, and how it tells what is wrong: two middlewares, and the reading of a body."""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from assistant.errors import AssistantError, BadRequest, Refused, TooLarge, TooSlow

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024
"""Bytes of a request's body at most."""
BODY_SECONDS = 10
"""A client that sends its body more slowly than this is refused."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def speak_json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is one JSON object with a code and a sentence; a bug is told to the log alone."""
    try:
        return await handler(request)
    except AssistantError as e:
        answer = _error(e.status, e.code, str(e))
        if e.retry_after is not None:
            answer.headers["Retry-After"] = str(max(1, math.ceil(e.retry_after)))
        return answer
    except web.HTTPNotFound:
        return _error(404, "not_found", "There is nothing here: see GET /health, GET /reminders, POST /requests.")
    except web.HTTPMethodNotAllowed as e:
        allowed = ", ".join(sorted(e.allowed_methods))
        answer = _error(405, "method_not_allowed", f"This address takes {allowed}.")
        answer.headers["Allow"] = allowed
        return answer
    except web.HTTPException as e:
        return _error(e.status, "http", f"{e.reason}.")
    except Exception:
        log.exception("a bug", extra={"method": request.method, "path": request.path[:200]})
        return _error(500, "internal", "Something went wrong inside; the daemon's log has the details.")


@web.middleware
async def only_this_machine(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what a page of another origin, or of a name that was bent to this address, sends."""
    host = request.headers.get("Host", "")
    if not is_loopback(host):
        raise Refused("The Host of this request is not a name of this machine: use localhost or 127.0.0.1.")
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        raise Refused("A page of another origin may not speak to the assistant.")
    return await handler(request)


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine, with any port."""
    try:
        parts = urlsplit(f"//{host}")
        name, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.netloc != host or "@" in host:
        return False
    name = name.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


async def read_body(request: web.Request, *, required: dict[str, type], optional: dict[str, type]) -> dict:
    """The JSON object of a request, its keys and types checked. Raises `BadRequest` with what is wrong."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.read()
    except TimeoutError:
        raise TooSlow(f"The request took longer than {BODY_SECONDS} seconds to arrive: send it again.") from None
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(f"A request may have {MAX_BODY} bytes at most.") from None
    try:
        body = json.loads(raw) if raw or required else {}
    except (ValueError, RecursionError):
        raise BadRequest('The body is not JSON: send an object such as {"text": "..."}.') from None
    if not isinstance(body, dict):
        raise BadRequest('The body must be a JSON object such as {"text": "..."}.')
    known = required | optional
    for key, value in body.items():
        if key not in known:
            like = get_close_matches(key, known, 1)
            guess = f'did you mean "{like[0]}"? ' if like else ""
            raise BadRequest(f'"{_printable(key)}" is not known here: {guess}This takes {_names(known)}.')
        if not _is_a(value, known[key]):
            raise BadRequest(f'"{key}" must be {_TYPES[known[key]]}.')
        if isinstance(value, str):  # a lone surrogate, which JSON can write and nothing can store
            body[key] = value.encode("utf-8", "replace").decode()
    if missing := [key for key in required if key not in body]:
        raise BadRequest(f'"{missing[0]}" is missing: this takes {_names(known)}.')
    return body


_TYPES = {str: "a string", int: "a whole number"}


def _is_a(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _names(keys: dict) -> str:
    return ", ".join(f'"{k}"' for k in keys) or "no keys"


def _printable(text: str) -> str:
    return text[:40].encode("ascii", "backslashreplace").decode()
