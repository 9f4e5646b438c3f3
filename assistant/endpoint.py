"""One HTTP service that answers JSON: connections kept alive, time and size bounded, every failure a `RemoteError`.

What is asked changes nothing there, so a connection that was refused, or that broke before the answer was whole (the
server closed an idle one at the moment it was used again), is tried once more, at once. What took too long is not, nor
is what was answered, with whatever status: there may be another model to ask, and the person waits.
"""

import json
import logging
import os
import ssl
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from assistant import __version__
from assistant.errors import ConfigError, RemoteAway, RemoteBusy, RemoteError, RemoteRefused, WrongAnswer
from assistant.guard import is_loopback
from assistant.sections import Remote

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024
"""Of an answer."""
KEEPALIVE_SECONDS = 60
"""An idle connection is kept for so long: less than the 75 s after which nginx and `assistant serve` close it."""

LONGEST_PLACE = 80
"""Characters that are told of an address which a service names."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    body: bytes
    retry_after: float | None = None
    """Seconds, as its header says."""
    location: str | None = None
    """Where it redirects to; not followed."""

    def json(self) -> Any:
        """None for what is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def code(self) -> str | None:
        """The word for programs in an error of `assistant serve`."""
        match self.json():
            case {"error": {"code": str(code)}}:
                return code
        return None


class Endpoint:
    """The service at `settings.url`, which stand in `section`. An async context manager.

    Raises `ConfigError` for settings that cannot be.
    """

    def __init__(self, settings: Remote, section: str = "[remote]") -> None:
        self.url, self._settings, self._section = settings.url, settings, section
        self._key = settings.key.strip()
        self.retries = 0
        """How often a broken connection was tried again."""
        try:
            url = URL(settings.url)
            self._secure, self._here = url.scheme == "https", is_loopback(url.raw_authority)
        except ValueError:
            raise ConfigError(f"{section} url is no http or https address: correct it.") from None
        if url.user is not None or url.password is not None:
            raise ConfigError(
                f"{section} url holds a password: leave it out, and put the service's key in {section} key."
            )
        if not (self._key.isascii() and self._key.isprintable()):
            raise ConfigError(f"{section} key holds characters that no key has: copy it again.")

    async def __aenter__(self) -> Self:
        if self.url and not (self._secure or self._here):
            log.warning("what is said, and the key, goes to %s unencrypted: an https address would keep it", self.url)
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # so that the bound on its size bounds what is unpacked
            "Prefer": f"wait={max(1, int(self._settings.total_seconds))}",  # RFC 7240: we are gone after that
            "User-Agent": f"reminder-assistant/{__version__}",
        }
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # whoever asks is bounded already
                keepalive_timeout=KEEPALIVE_SECONDS,
                ssl=self._trusted() if self._secure else True,
            ),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._settings.connect_seconds),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    def _trusted(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if file := self._settings.ca_file:
            try:
                context.load_verify_locations(os.path.expanduser(file))
            except (OSError, ValueError) as e:
                raise ConfigError(f"{self._section} ca_file: no certificates can be read from {file} ({e}).") from None
        return context

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(
        self, path: str, body: Mapping[str, Any] | None = None, form: Callable[[], aiohttp.FormData] | None = None
    ) -> Answer:
        """POST `body` as JSON, or what `form` makes (anew for each try), or GET without either.

        Raises `RemoteAway`, or `WrongAnswer` for what is too long or no HTTP.
        """
        id = uuid.uuid4().hex
        try:
            try:
                return await self._once(path, body, form, id)
            except aiohttp.ClientError as e:
                if not _broke(e):
                    raise
                self.retries += 1
                return await self._once(path, body, form, id)
        except aiohttp.ClientResponseError:
            raise WrongAnswer(self.url, "what it sends is no HTTP") from None
        except (aiohttp.ClientError, UnicodeError) as e:  # a name that cannot be one is a UnicodeError
            log.debug("no answer from %s: %r", self.url, e, extra={"request_id": id})
            raise RemoteAway(self.url, *self._what(e)) from None

    async def _once(
        self, path: str, body: Mapping[str, Any] | None, form: Callable[[], aiohttp.FormData] | None, id: str
    ) -> Answer:
        headers = {"X-Request-Id": id}
        data = form() if form else None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        method = "GET" if data is None else "POST"
        async with self._session.request(
            method, self.url + path, data=data, headers=headers, allow_redirects=False
        ) as response:
            raw = bytearray()
            async for chunk in response.content.iter_chunked(MOST_BYTES):
                raw += chunk
                if len(raw) > MOST_BYTES:
                    response.close()
                    raise WrongAnswer(self.url, f"more than {MOST_BYTES // 1024} KiB")
            got = response.headers
            return Answer(response.status, bytes(raw), _retry_after(got), got.get("Location"))

    def problem(self, answer: Answer) -> RemoteError | None:
        """The error that an answer of its status is; None for one that may be read."""
        match answer.status:
            case 200:
                return None
            case 429:
                return RemoteBusy(self.url, answer.retry_after)
            case 503 if answer.retry_after is not None:
                return RemoteBusy(self.url, answer.retry_after)
            case status if status >= 500 or status == 408:
                return RemoteAway(self.url, f"HTTP {status}")
            case status if status >= 400:
                return RemoteRefused(self.url, status)
            case status if status >= 300:
                return WrongAnswer(self.url, f"HTTP {status}, which leads {_where(answer.location)}")
            case status:
                return WrongAnswer(self.url, f"HTTP {status}")

    def _what(self, error: Exception) -> tuple[str] | tuple[str, str]:
        """What is wrong, in a few words that hold nothing of the request, and what to do if that is not obvious."""
        match error:
            case aiohttp.ConnectionTimeoutError():
                return (f"no connection within {self._settings.connect_seconds:g} s",)
            case aiohttp.ClientConnectorCertificateError():
                why = getattr(error.certificate_error, "verify_message", "") or "it is not trusted"
                return f"its certificate: {why.rstrip('.')}", f"correct that, or {self._section} url or ca_file"
            case aiohttp.ClientSSLError():
                return "no TLS connection", f"check the port in {self._section} url, and whether TLS is spoken there"
            case aiohttp.ClientConnectorDNSError() | UnicodeError():
                return "no such name", f"check {self._section} url, and whether this machine is on the network"
            case aiohttp.ClientConnectorError():
                return (os.strerror(error.os_error.errno).lower() if error.os_error.errno else "no connection",)
            case _:
                return ("the connection broke",)


def _broke(error: Exception) -> bool:
    """Whether the connection was refused or ended before the answer was whole."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return isinstance(error.os_error, ConnectionError)
    return isinstance(error, (
        aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError, aiohttp.ClientOSError,
        aiohttp.ClientPayloadError,
    ))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: a number of them, or a date, which is compared with the sender's own clock (RFC 9110 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])
        return max(0.0, wait.total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def _where(location: str | None) -> str:
    """The place that a redirect names, without what may be private in it."""
    try:
        url = URL(location or "")
        return f"to {url.origin()}"[:LONGEST_PLACE] if url.absolute else "elsewhere"
    except ValueError:
        return "elsewhere"
