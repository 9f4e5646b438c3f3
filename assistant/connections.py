"""The HTTP connections of a service that anybody may reach: how many there are, how long each may be silent, what is
answered to what is no HTTP, and how they end.

aiohttp has a limit for neither their number nor the time until the first request; the rest of what keeps a slow client
from holding a place for ever is its own (silence between requests, and ten seconds for a body that nobody wants) and
the system's (`UNREAD_SECONDS`).
"""

import asyncio
import logging
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from assistant.access import SECURITY_HEADERS, ip_of, network_of
from assistant.guard import Handler, error_answer

log = logging.getLogger(__name__)

MOST = 512
"""Connections at once; fewer where the system allows the process fewer files."""
MOST_OF_ONE = 64
"""... of one address of another machine."""
FIRST_SECONDS = 10
"""Within which the headers of the first request must be there."""
IDLE_SECONDS = 75
"""How long a connection may be silent between two requests: longer than the 60 of nginx, so that nginx closes first."""
UNREAD_SECONDS = 30
"""After which the system closes a connection whose client takes nothing of its answer (tcp(7), TCP_USER_TIMEOUT)."""
GRACE_SECONDS = 0.1
"""When the service stops, who has just connected is still let in for so long."""
MOST_TURNED_AWAY = 64
"""Connections at once that are told that there are too many; further ones are closed without a word."""
READ_SECONDS = 1
"""... and have so long to read it."""
BACKLOG = 512
_TOO_MANY = b'{"error": {"code": "connections", "message": "Too many connections are open: try again in a moment."}}'


class Connections:
    """Lets clients in to an application until it is told to stop; `refused` is called with why one was not let in.

    `middleware` goes around all others of the application: it knows what is under way.
    """

    def __init__(
        self, refused: Callable[[str], None] = lambda reason: None, most: int = MOST, most_of_one: int = MOST_OF_ONE
    ) -> None:
        self._refused, self._of_one = refused, most_of_one
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = most if files == resource.RLIM_INFINITY else min(most, files // 2)
        self._under_way, self._quiet = 0, asyncio.Event()
        self._quiet.set()
        self._turned_away: set[asyncio.TimerHandle] = set()
        self.draining = False
        """No new connection is let in, and every answer is the last on its connection."""

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._under_way += 1
        self._quiet.clear()
        try:
            answer = await handler(request)
            if self.draining:
                answer.force_close()
            return answer
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()

    @asynccontextmanager
    async def serving(self, app: web.Application, sock: socket.socket) -> AsyncIterator[None]:
        """Serve `app` on a listening socket; leaving closes every connection."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # whoever is let in inherits it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        # A client that goes away cancels its handler, so that nothing is worked out for nobody.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Gate(self, runner.server), sock=sock, backlog=BACKLOG)
        try:
            yield
        finally:
            self.draining = True
            self._listener.close()
            await runner.cleanup()

    async def drain(self, seconds: float) -> None:
        """Let nobody in any more, and wait until what is under way is answered, but no longer than that."""
        self.draining = True
        await asyncio.sleep(GRACE_SECONDS)
        self._listener.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._quiet.wait()

    def let_in(self, server: web.Server, transport: asyncio.Transport) -> None:
        """Hand a new connection to aiohttp, or turn it away."""
        here = server.connections
        peer = ip_of((transport.get_extra_info("peername") or ("",))[0])
        if len(here) >= self._most or (peer and not peer.is_loopback and self._has_enough(network_of(peer), here)):
            self._refused("connections")
            self._turn_away(transport)
            return
        connection = _Connection(server, self._refused)
        transport.set_protocol(connection)
        connection.connection_made(transport)

    def _has_enough(self, network: str, here: list[web.RequestHandler]) -> bool:
        peers = (ip_of((c.peername or ("",))[0]) for c in here)
        return sum(network_of(p) == network for p in peers if p) >= self._of_one

    def _turn_away(self, transport: asyncio.Transport) -> None:
        if len(self._turned_away) >= MOST_TURNED_AWAY:
            transport.abort()
            return
        headers = {"Content-Type": "application/json", "Content-Length": len(_TOO_MANY), "Retry-After": 1,
                   "Connection": "close", **SECURITY_HEADERS}
        head = ["HTTP/1.1 503 Service Unavailable", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        transport.write("\r\n".join(head).encode() + _TOO_MANY)
        with suppress(OSError):  # it has gone away already
            transport.write_eof()

        def close() -> None:  # not before the client had time to read: what it sent and nobody read resets it
            self._turned_away.discard(timer)
            transport.abort()

        timer = asyncio.get_running_loop().call_later(READ_SECONDS, close)
        self._turned_away.add(timer)


class _Gate(asyncio.Protocol):
    """The protocol of a connection until it is known whose it is."""

    def __init__(self, connections: Connections, server: web.Server) -> None:
        self._connections, self._server = connections, server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.let_in(self._server, transport)


class _Connection(web.RequestHandler):
    """aiohttp's connection, which hurries the first request and answers what is no HTTP as everything else."""

    __slots__ = ("_late", "_refused")

    def __init__(self, server: web.Server, refused: Callable[[str], None]) -> None:
        super().__init__(
            server, loop=asyncio.get_running_loop(), keepalive_timeout=IDLE_SECONDS, access_log=None, lingering_time=10
        )
        self._refused, self._late = refused, None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._late = self._loop.call_later(FIRST_SECONDS, self._close_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._late.cancel()
        super().connection_lost(exc)

    def _close_silent(self) -> None:
        if not self._request_count:
            self._refused("silent")
            self.force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """An error that aiohttp raises before any middleware, such as 417, is told as every other is."""
        if isinstance(resp, web.HTTPException):
            resp = error_answer(resp.status, "http", f"{resp.reason}.")
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp answers by itself: 400 to what it cannot read, 500 to a bug outside of all middlewares.

        Neither the answer nor the log quotes what was sent.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        if status < 500:
            self._refused("not_http")
            log.debug("not HTTP", extra={"error": type(exc).__name__})
            answer = error_answer(status, "not_http", "This is not HTTP as this service reads it: check what sends it.")
        else:
            log.error("a bug in answering", extra={"error": type(exc).__name__})
            answer = error_answer(500, "internal", "Something went wrong inside; the log there has the details.")
        answer.headers.update(SECURITY_HEADERS)
        answer.force_close()
        return answer
