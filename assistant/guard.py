"""What the HTTP interface lets in, and how it tells what is wrong: two middlewares, and the reading of a body."""

import asyncio
import json
import logging
import math
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from aiohttp import web

from assistant.errors import AssistantError, BadRequest, Refused, TooLarge, TooSlow

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024
"""Bytes of a request's body at most."""
BODY_SECONDS = 10
"""A client that sends its body more slowly than this is refused."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
KEY_NAME = web.RequestKey("key_name", str)
"""Of a request: the name of the key that it was let in with, where the service has keys."""
CHARGE = web.RequestKey("charge", Callable[[int], None])
"""Of such a request: takes so many texts more from the bucket of its key than the one that it was let in for."""
ERROR_CODE = web.ResponseKey("error_code", str)
"""Of an answer that is an error, for whoever counts."""
FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via")
"""The headers by which a request is known to come through a proxy."""
Kinds = Mapping[str, type]
"""Key of a body -> what it must be."""


def json_errors(addresses: str, private: bool = False) -> Middleware:
    """The middleware that makes every error one JSON object with a code and a sentence; a bug is told to the log alone.

    `addresses` names what there is, for whoever asks for something else. The message of a bug may quote what a person
    said: where that is `private`, the log has only the bug's sort and where it happened.
    """

    @web.middleware
    async def speak_json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except AssistantError as e:
            answer = error_answer(e.status, e.code, str(e))
            if e.retry_after is not None:
                answer.headers["Retry-After"] = str(max(1, math.ceil(e.retry_after)))
            return answer
        except web.HTTPNotFound:
            return error_answer(404, "not_found", f"There is nothing here: see {addresses}.")
        except web.HTTPMethodNotAllowed as e:
            allowed = ", ".join(sorted(e.allowed_methods))
            answer = error_answer(405, "method_not_allowed", f"This address takes {allowed}.")
            answer.headers["Allow"] = allowed
            return answer
        except web.HTTPException as e:
            return error_answer(e.status, "http", f"{e.reason}.")
        except Exception as e:
            facts = {"method": request.method, "path": request.path[:200]}
            if private:
                log.error("a bug", extra=facts | _without_message(e))
            else:
                log.exception("a bug", extra=facts)
            return error_answer(500, "internal", "Something went wrong inside; the log there has the details.")

    return speak_json_errors


def _without_message(e: BaseException) -> dict[str, str]:
    """The sort of a bug and its innermost calls, such as `local.py:98 write < local.py:120 rewrite_now`."""
    while isinstance(e, BaseExceptionGroup):
        e = e.exceptions[0]
    frames = reversed(traceback.extract_tb(e.__traceback__)[-6:])
    return {"bug": type(e).__name__,
            "at": " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames)}


speak_json_errors = json_errors("GET /health, GET /reminders, POST /requests")


@web.middleware
async def only_this_machine(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what comes through a proxy, from a page of another origin, or by a name that was bent to this address."""
    if any(name in request.headers for name in FORWARDED):  # many a proxy writes 127.0.0.1 into Host
        raise Refused("Nobody is answered through a proxy without a login: add the name by which others reach it to "
                      "[http] names.")
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


def error_answer(status: int, code: str, message: str) -> web.Response:
    answer = web.json_response({"error": {"code": code, "message": message}}, status=status)
    answer[ERROR_CODE] = code
    return answer


async def read_bytes(request: web.Request, most: int, seconds: float) -> bytes:
    """The body of a request, of `most` bytes and within so many seconds. Raises `TooLarge`, `TooSlow`, `BadRequest`."""
    try:
        if (request.content_length or 0) > most:  # told before it is sent
            raise TooLarge(f"A request may have {most} bytes at most.")
        async with asyncio.timeout(seconds):
            return await request.clone(client_max_size=most).read()
    except TimeoutError:
        raise TooSlow(f"The request took longer than {seconds} seconds to arrive: send it again.") from None
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(f"A request may have {most} bytes at most.") from None
    except web.RequestPayloadError:
        raise BadRequest("The body is broken, or not encoded as its headers say: send plain JSON.") from None


def request_names(request: web.Request, channel: str | None, id: str | None = None) -> tuple[str, str]:
    """The id of what a person said, made up where there is none, and its channel. Raises `BadRequest`."""
    id, channel = id or request.headers.get("X-Request-Id") or str(uuid.uuid4()), "http" if channel is None else channel
    for name, value in (("id", id), ("channel", channel)):
        if not (0 < len(value) <= 100 and value.isprintable()):
            raise BadRequest(f'"{name}" must have 1 to 100 printable characters.')
    return id, channel


async def read_body(
    request: web.Request, *, required: Kinds, optional: Kinds, one_of: Kinds = MappingProxyType({})
) -> dict:
    """The JSON object of a request, its keys and types checked; of `one_of` there must be exactly one key.

    A type is `str`, `int`, `bool` or `list[str]`. Raises `BadRequest` with what is wrong.
    """
    raw = await read_bytes(request, request.client_max_size, BODY_SECONDS)
    try:
        body = json.loads(raw) if raw or required else {}
    except (ValueError, RecursionError):
        raise BadRequest('The body is not JSON: send an object such as {"text": "..."}.') from None
    if not isinstance(body, dict):
        raise BadRequest('The body must be a JSON object such as {"text": "..."}.')
    known = {**required, **one_of, **optional}
    for key, value in body.items():
        if key not in known:
            like = get_close_matches(key, known, 1)
            guess = f'did you mean "{like[0]}"? ' if like else ""
            raise BadRequest(f'"{_printable(key)}" is not known here: {guess}This takes {_names(known)}.')
        if not _is_a(value, known[key]):
            raise BadRequest(f'"{key}" must be {_TYPES[known[key]]}.')
        if isinstance(value, str):
            body[key] = _whole(value)
        elif isinstance(value, list):
            body[key] = [_whole(v) for v in value]
    if one_of and len(given := [key for key in one_of if key in body]) != 1:
        raise BadRequest(f'{"Give only one" if given else "There must be one"} of {_names(one_of)}.')
    if missing := [key for key in required if key not in body]:
        raise BadRequest(f'"{missing[0]}" is missing: this takes {_names(known)}.')
    return body


_TYPES = {str: "a string", int: "a whole number", bool: "true or false", list[str]: "a list of strings"}


def _is_a(value: object, kind: type) -> bool:
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(v, str) for v in value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _whole(text: str) -> str:
    """Without lone surrogates, which JSON can write and nothing can store."""
    return text.encode("utf-8", "replace").decode()


def _names(keys: Kinds) -> str:
    return ", ".join(f'"{k}"' for k in keys) or "no keys"


def _printable(text: str) -> str:
    return text[:40].encode("ascii", "backslashreplace").decode()
