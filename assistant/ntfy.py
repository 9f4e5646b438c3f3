"""The client of an ntfy server: publish, schedule, replace and withdraw messages of one topic.

The protocol is that of https://docs.ntfy.sh/publish (docs/publish.md and server/ of binwiederhier/ntfy, 2.16 and newer
for what has a sequence id):

    POST   /                  {"topic", "message", "title", "tags", "priority", "actions", "delay", "sequence_id"}
    DELETE /TOPIC/SEQUENCE    a scheduled message is dropped, a delivered one removed from the phone
    GET    /TOPIC/json?poll=1&since=SECONDS            what was delivered since then, a JSON object a line

A message that is published under the sequence id of a scheduled one takes its place (pull request 1556), so that to
send it again does no harm, and ringing in its place is one request. Servers before 2.16 do not know sequence ids:
they take the message all the same, answer without one, and DELETE is 404 or 405 there.

Each request has a connection of its own: there are few, and one that was kept is dead after sleep.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from assistant import __version__
from assistant.errors import NtfyError
from assistant.sections import NtfyPhone

if TYPE_CHECKING:
    import aiohttp

SECONDS = 8.0
"""That one request may take."""
MOST_BYTES = 1500
"""Of a message's text: a server takes 4,096 bytes, of which an old one counts the whole JSON with its buttons."""
MOST_HISTORY = 2**20
"""Bytes of past messages that are read."""
LONGEST_TITLE = 100
SILENT = 2
"""The priority "low": neither sound nor vibration."""
_PROBE = "assistant-probe"
"""A sequence id that no message has."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    text: str
    title: str
    priority: int
    """1 to 5."""
    sequence: str | None = None
    """An id of ours, of up to 64 letters, digits, `-` and `_`."""
    at: datetime | None = None
    """Aware: when the server is to deliver it, by its defaults 10 seconds to 3 days ahead; None for at once."""
    actions: tuple[dict, ...] = ()
    """At most three buttons, as ntfy writes them."""


class Ntfy:
    """The server and topic of `settings`. Whoever sends what bears a sequence id holds `alone` meanwhile."""

    def __init__(self, settings: NtfyPhone, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self.url, self._topic, self._token = settings.url, settings.topic, settings.token.strip()
        self.alone = asyncio.Lock()

    async def publish(self, message: Message) -> None:
        """Raises `NtfyError`."""
        body = {
            "topic": self._topic, "message": _within(message.text, MOST_BYTES),
            "title": message.title[:LONGEST_TITLE], "tags": ["alarm_clock"], "priority": message.priority,
            "actions": list(message.actions), "sequence_id": message.sequence,
            "delay": str(int(message.at.timestamp())) if message.at else None,
        }  # fmt: skip
        body = {key: value for key, value in body.items() if value}
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        status, said = await self._call("POST", "/", data)
        if status != 200:
            raise self._refused(status, said)

    async def withdraw(self, sequence: str) -> None:
        """Take back what was published under an id, if anything was. Raises `NtfyError`."""
        status, said = await self._call("DELETE", f"/{self._topic}/{sequence}")
        if status != 200:
            raise self._refused(status, said)

    async def rang(self, sequence: str, since: datetime) -> bool:
        """Whether a message of that id was delivered after an instant, as far as the server remembers: 12 hours,
        unless it is set up otherwise. Raises `NtfyError`."""
        path = f"/{self._topic}/json?poll=1&since={int(since.timestamp())}"
        status, said = await self._call("GET", path, most=MOST_HISTORY)
        if status != 200:
            raise self._refused(status, said)
        return any(_is_message(line, sequence) for line in said.splitlines())

    async def withdraws(self) -> bool:
        """Whether the server lets us in and can take messages back. Raises `NtfyError`."""
        status, said = await self._call("DELETE", f"/{self._topic}/{_PROBE}")
        if status in (404, 405):
            return False
        if status != 200:
            raise self._refused(status, said)
        return True

    async def _call(self, method: str, path: str, data: bytes | None = None, most: int = 4096) -> tuple[int, str]:
        """Status and answer. A connection that breaks, and a fault of the server, is tried once more, at once: what
        bears an id of ours does no harm when it comes twice. Of a fault that may have left it half done it is told,
        however the second try fails."""
        import aiohttp

        sent = False

        async def sends(*_: object) -> None:
            nonlocal sent
            sent = True

        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(sends)
        headers = {"User-Agent": f"reminder-assistant/{__version__}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        limit = aiohttp.ClientTimeout(total=self._seconds)
        broken, fault = "", None
        try:
            async with asyncio.timeout(self._seconds):
                for again in (True, False):
                    try:
                        async with (
                            aiohttp.ClientSession(timeout=limit, trace_configs=[trace], headers=headers) as session,
                            session.request(method, self.url + path, data=data, allow_redirects=False) as answer,
                        ):
                            found = answer.status, await _text(answer.content, most)
                            if answer.status == 200 or not (fault or again) or (again and answer.status < 500):
                                return found
                            fault = fault or found
                    except (aiohttp.ClientError, OSError, ValueError) as e:
                        if isinstance(e, TimeoutError):
                            raise
                        broken = _plainly(e)
        except TimeoutError:
            broken = f"within {self._seconds:g} seconds"
        if fault:
            return fault
        detail = f"does not answer {broken}" if broken.startswith("within ") else f"does not answer ({broken})"
        raise NtfyError(self.url, detail, "see whether it runs and whether there is a network", undone=not sent)

    def _refused(self, status: int, said: str) -> NtfyError:
        why = _why(said)
        if status in (401, 403):
            return NtfyError(self.url, f"refuses us (HTTP {status})", "check [notify.ntfy] topic and token", status)
        if status == 429:
            return NtfyError(self.url, f"has had too many messages{why}", "wait, or use one with other limits", status)
        if status >= 500:
            return NtfyError(self.url, f"fails (HTTP {status}{why})", "see what its log says", status)
        return NtfyError(self.url, f"does not take this (HTTP {status}{why})", "check [notify.ntfy] url", status)


async def _text(content: "aiohttp.StreamReader", most: int) -> str:
    data = b""
    while len(data) < most and (block := await content.read(most - len(data))):
        data += block
    return data.decode("utf-8", "replace")


def _is_message(line: str, sequence: str) -> bool:
    try:
        told = json.loads(line)
        return told["event"] == "message" and told.get("sequence_id") == sequence
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _why(said: str) -> str:
    """What the server says is wrong, with a leading comma."""
    try:
        error = json.loads(said)["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f", {str(error)[:120]}" if str(error).isprintable() else ""


def _plainly(e: Exception) -> str:
    text = getattr(e, "strerror", None) or str(e) or type(e).__name__
    return text.splitlines()[0][:120].lower()


def _within(text: str, most: int) -> str:
    """As much of a text as so many bytes hold, with an ellipsis where that is not all."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return data.decode()
    return data[: most - 3].decode("utf-8", "ignore") + "…"
