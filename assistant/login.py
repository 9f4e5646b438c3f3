"""Who is let in where other machines may reach the daemon: who has the login token.

    GET    /                     without a login: the page that asks for the token (`login_page.py`), status 401
    GET    /login                whether this browser is logged in
    POST   /login {"token"}      log it in: sets a cookie

A browser is logged in by a cookie, which the address with `#token=...` fetches by itself; a fragment is sent to nobody.
Programs send `Authorization: Bearer TOKEN` (RFC 6750). The cookie is `EXPIRES.HMAC(token, EXPIRES)`: nothing is stored,
so that it outlives a restart, and no cookie outlives its token. A name that was bent to this address (DNS rebinding) is
refused, for a Host must be an address, or one of [http] names; and so is a page of another origin: whatever changes
something by a cookie must come from a page of our own.

Whoever sends wrong tokens is told to stay away for a while. The right one is let in all the same: several devices may
come from one address, and nobody guesses 256 random bits.
"""

import hmac
from collections.abc import Callable, Collection, Iterable
from time import monotonic
from urllib.parse import urlsplit

from aiohttp import web

from assistant.access import address_of, ip_of
from assistant.clock import Clock, SystemClock
from assistant.config import Config
from assistant.errors import NotLoggedIn, Refused, TooManyRequests
from assistant.guard import Handler, is_loopback, read_body
from assistant.login_page import login_page
from assistant.login_token import LoginToken
from assistant.rate import Buckets

FAILURES_A_MINUTE = 10
"""So often an address may send a wrong token."""
MOST_ADDRESSES = 10_000
"""Of which that is remembered."""
COOKIE_SECONDS = 90 * 24 * 3600
"""A browser is asked for the token again after so long."""
_READS = ("GET", "HEAD")


class Login:
    """`middleware`, over the token; `seconds` tells seconds, for the rate of failures."""

    def __init__(
        self, token: LoginToken, names: Collection[str], clock: Clock, seconds: Callable[[], float] = monotonic
    ) -> None:
        self._token, self._names, self._clock = token, {name.lower() for name in names}, clock
        self._failures = Buckets(FAILURES_A_MINUTE, seconds, MOST_ADDRESSES)

    @classmethod
    def of(cls, config: Config) -> "Login | None":
        """None where only this machine reaches the daemon. Raises `ConfigError`."""
        if not config.http.needs_login:
            return None
        token = LoginToken(config.data_dir)
        token.make()
        return cls(token, config.http.names, SystemClock())

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/login", self.state), web.post("/login", self.log_in)]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if not self._is_ours(host):
            raise Refused("The Host of this request is no name of this assistant: use its address, or add the name to "
                          "[http] names.")
        if origin is not None and origin.lower() != f"{scheme_of(request)}://{host.lower()}":
            raise Refused("A page of another origin may not speak to the assistant.")
        if request.path == "/login" or self._has_token(request):
            return await handler(request)
        if not self._has_cookie(request):
            if request.path == "/" and request.method in _READS:
                return login_page()
            raise NotLoggedIn
        if origin is None and request.method not in _READS:
            raise Refused("A page must say where it comes from: use a browser that sends Origin, or a token.")
        return await handler(request)

    async def state(self, request: web.Request) -> web.Response:
        return web.json_response({"logged_in": self._has_cookie(request)})

    async def log_in(self, request: web.Request) -> web.Response:
        body = await read_body(request, required={"token": str}, optional={})
        if not self._token.is_right(body["token"]):
            self._fail(request)
        expires = str(int(self._clock.now().timestamp()) + COOKIE_SECONDS)
        answer = web.json_response({"reply": "This browser is logged in."})
        answer.set_cookie(
            _cookie(request), f"{expires}.{self._token.sign(expires)}", max_age=COOKIE_SECONDS, httponly=True,
            samesite="Strict", secure=scheme_of(request) == "https")
        return answer

    def _has_token(self, request: web.Request) -> bool:
        """Whether a program sends the token. Raises `NotLoggedIn` for a wrong one, `TooManyRequests`."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        if not self._token.is_right(token.strip()):
            self._fail(request)
        return True

    def _has_cookie(self, request: web.Request) -> bool:
        expires, _, signed = request.cookies.get(_cookie(request), "").partition(".")
        if not (expires.isascii() and expires.isdecimal() and len(expires) < 12 and signed.isascii()):
            return False
        return hmac.compare_digest(signed, self._token.sign(expires)) and (
            int(expires) > self._clock.now().timestamp())

    def _fail(self, request: web.Request) -> None:
        try:
            self._failures.take(address_of(request))
        except TooManyRequests as e:
            raise TooManyRequests(e.retry_after, "Too many wrong tokens came from this address") from None
        raise NotLoggedIn

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header is an address, whichever, a name of this machine to itself, or one of [http] names."""
        if is_loopback(host):
            return True
        try:
            parts = urlsplit(f"//{host}")
            name, _port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.netloc != host or "@" in host:
            return False
        return name.rstrip(".") in self._names or ip_of(name) is not None


def scheme_of(request: web.Request) -> str:
    """By which a browser came: a proxy on this machine is believed in what it says."""
    peer = ip_of(request.remote)
    said = request.headers.get("X-Forwarded-Proto", "").lower()
    return "https" if said == "https" and peer is not None and peer.is_loopback else "http"


def _cookie(request: web.Request) -> str:
    """The cookie's name. Browsers keep one jar for all ports of a host, so that it has the port in it."""
    return f"assistant-{request.url.port or 0}"
