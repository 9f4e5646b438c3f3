"""The events of the Wyoming protocol as strangers send them: a line of JSON, then as many bytes of data and of payload
as that line says.

    {"type": "transcript", "data_length": 28}
    {"text": "call mum at five"}

The format is that of rhasspy/wyoming (its README, "Format"), whose package writes it. It is read here all the same, as
the package's own reader takes lengths without a limit, and fails on what is no object.
"""

import asyncio
import json
from importlib.util import find_spec
from typing import Any

from assistant.errors import BadEvent

MAX_EVENT = 64 * 1024
"""Bytes of an event's line, and of its data and payload together, at most."""
_MISSING = "The package wyoming is not installed: pip install wyoming."


def missing() -> str | None:
    """What to do where the package `wyoming` is not installed; None if it is."""
    return _MISSING if find_spec("wyoming") is None else None


async def read_event(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]] | None:
    """Type and data of the next event, whose payload is left out; None when nothing more comes.

    `reader` must have a limit of `MAX_EVENT`. Raises `BadEvent` for what is no event, after which nothing can be read,
    and OSError.
    """
    try:
        line = await reader.readline()
    except ValueError:
        raise BadEvent(f"a line of more than {MAX_EVENT} bytes") from None
    if not line:
        return None
    head = _object(line)
    kind, data = head.get("type"), head.get("data") or {}
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise BadEvent("an event without a type")
    lengths = [head.get(name) or 0 for name in ("data_length", "payload_length")]
    if not all(type(n) is int and n >= 0 for n in lengths) or sum(lengths) > MAX_EVENT:
        raise BadEvent(f"data of no length, or of more than {MAX_EVENT} bytes")
    try:
        more, _ = [await reader.readexactly(n) for n in lengths]
    except asyncio.IncompleteReadError:
        raise BadEvent("half an event") from None
    return kind, {**data, **(_object(more) if more else {})}


async def is_served(host: str, port: int, seconds: float = 2.0) -> bool:
    """Whether somebody there speaks the protocol."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=MAX_EVENT)
            try:
                writer.write(b'{"type": "ping", "data": {}}\n')
                event = await read_event(reader)
            finally:
                writer.transport.abort()
    except (OSError, BadEvent):
        return False
    return event is not None and event[0] == "pong"


def _object(text: bytes) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise BadEvent("no JSON") from None
    if not isinstance(read, dict):
        raise BadEvent("no object")
    return read
