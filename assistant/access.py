"""Who may ask the model service, how often, and what every answer says to browsers.

Without keys it is for programs of this machine alone, by `guard.only_this_machine`, and unlimited. With keys every
route but `GET /health...` wants `Authorization: Bearer KEY` (RFC 6750), and each key has its bucket of texts
(`rate.py`).
Whoever sends keys that are not known is told to stay away for a while. A key that is known is let in all the same: many
people may come from one address, that of a proxy on another machine, and nobody guesses 256 random bits.
"""

from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from time import monotonic

from aiohttp import web

from assistant.errors import NoKey, Refused, TooManyRequests
from assistant.guard import CHARGE, FORWARDED, KEY_NAME, Handler, only_this_machine
from assistant.keys import Keys
from assistant.rate import Buckets

FAILURES_A_MINUTE = 20
"""So often an address may send a key that is not known, or none."""
MOST_ADDRESSES = 10_000
"""Of which that is remembered."""
SECURITY_HEADERS = {
    "Server": "assistant",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer, errors too, and no versions; from the OWASP list for interfaces without pages
(https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html)."""
HSTS_SECONDS = 31_536_000
"""For a year a browser that came by HTTPS comes by nothing else (RFC 6797)."""
_OPEN = {"/health", "/health/live", "/health/ready"}


class Access:
    """`middleware`, over the keys; `clock` tells seconds."""

    def __init__(self, keys: Keys, texts_a_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._keys = keys
        self._texts = Buckets(texts_a_minute, clock)
        self._failures = Buckets(FAILURES_A_MINUTE, clock, MOST_ADDRESSES)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._keys.refresh()
        if not self._keys.wanted:
            if any(name in request.headers for name in FORWARDED):
                raise Refused(
                    "This service has no keys, so it answers this machine alone and nobody through a proxy: "
                    "make one with `assistant keys add NAME`."
                )
            return await only_this_machine(request, handler)
        if not _is_open(request):
            name = self._authenticate(request)
            self._texts.take(name)
            request[KEY_NAME], request[CHARGE] = name, partial(self._texts.charge, name)
        return await handler(request)

    def _authenticate(self, request: web.Request) -> str:
        """The name of the key that was sent. Raises `NoKey`, or `TooManyRequests` where that is not the first time."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        name = self._keys.who(key.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            try:
                self._failures.take(address_of(request))
            except TooManyRequests as e:
                raise TooManyRequests(e.retry_after, "Too many wrong keys, or none, came from this address") from None
            raise NoKey
        return name


def _is_open(request: web.Request) -> bool:
    """Whether a request needs no key: how it is, for whoever watches over it, and figures for this very machine."""
    if request.method not in ("GET", "HEAD"):
        return False
    if request.path == "/metrics":
        return _from_this_machine(request) and not any(name in request.headers for name in FORWARDED)
    return request.path in _OPEN


def _from_this_machine(request: web.Request) -> bool:
    address = ip_of(request.remote)
    return address is not None and address.is_loopback


def address_of(request: web.Request) -> str:
    """Where a request comes from, as far as one can know.

    A proxy on this machine is believed in what it put last into X-Forwarded-For; what stands before that, and what
    others say, anybody can write.
    """
    address = ip_of(request.remote)
    told = request.headers.getall("X-Forwarded-For", [])
    if told and address is not None and address.is_loopback:
        address = ip_of(told[-1].rpartition(",")[2].strip()) or address
    return network_of(address) if address else "unknown"


def ip_of(text: str | None) -> IPv4Address | IPv6Address | None:
    """The address that is written so, None if it is none."""
    try:
        address = ip_address((text or "").partition("%")[0])  # fe80::1%eth0
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network_of(address: IPv4Address | IPv6Address) -> str:
    """What one caller has to itself: an address, of IPv6 a network (/64)."""
    return str(ip_network((address, 64), strict=False) if address.version == 6 else address)


async def secure(request: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`: the headers that every answer has, and none that names versions."""
    response.headers.update(SECURITY_HEADERS)
    if response.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="assistant"'
    if _from_this_machine(request) and request.headers.get("X-Forwarded-Proto", "").lower() == "https":
        response.headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
