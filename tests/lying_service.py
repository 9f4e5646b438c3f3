"""The model service as it can go wrong: it answers as `assistant serve` does, until it is told to misbehave.

    python -m tests.lying_service [--port 8000] [--certificate good.pem --other other.pem]   says "ready: URL"
    curl -X POST localhost:8000/mode -d '{"mode": "hung"}'      until another mode is set

    ok              the right answer, of the model that ships
    plain           the same without a bar, as someone else's service writes it
    slow            the right answer after `seconds`
    hung            no answer, ever
    500, 502, 401, 403, 404, 400, 418      that status; `busy` 503 and `limited` 429 with Retry-After: `retry_after`
    unreadable      422, the text makes no sense to it
    no_json, wrong_schema, huge, invented, no_http, compressed
    redirects       to `location`
    closes          the connection, without an answer; `closes_once` only the next time
    resets          the connection, in the middle of an answer; `resets_once` likewise
    wrong_certificate      shows the other certificate to whoever connects anew, and drops who is connected

A mode can also be given as a list: one for each request, the last for all that follow.
"""

import argparse
import asyncio
import socket
import ssl
import struct
import sys
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from aiohttp import web

from assistant.clock import SystemClock
from assistant.dates import Policy
from assistant.listen import open_socket
from assistant.local import LlamaRewriter
from assistant.rewriter import Rewriter
from assistant.understand import as_json, understand_text

MODEL = Path(__file__).parent.parent / "models" / "small"


class LyingService:
    """The service over a rewriter, on a free port. An async context manager; `seen` are the requests that came."""

    def __init__(self, rewriter: Rewriter, certificate: Path | None = None, other: Path | None = None) -> None:
        self._rewriter, self._certificate, self._other = rewriter, certificate, other
        self._modes: list[str] = ["ok"]
        self.options: dict[str, Any] = {"retry_after": 1, "seconds": 0.5, "location": "http://localhost:9/"}
        self.seen: list[web.BaseRequest] = []
        self.peers: list[tuple] = []
        """Of each request, the address that it came from: the same for one connection."""
        self.arrived = asyncio.Event()
        """Set by every request that comes; to be cleared by whoever waits for the next one."""
        self._over = asyncio.Event()

    def lie(self, *modes: str, **options: Any) -> None:
        """Misbehave so, one mode a request and the last from then on."""
        for mode in modes:
            if not mode.isdecimal() and not hasattr(self, f"_{mode.removesuffix('_once')}"):
                raise ValueError(f"no mode {mode}")
        self._modes = list(modes)
        self.options |= options
        if self._tls:
            self._tls.load_cert_chain(self._other if modes[0] == "wrong_certificate" else self._certificate)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        self._tls = None
        if self._certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(self._certificate)
        app = web.Application(client_max_size=64 * 1024)
        app.add_routes([web.post("/mode", self.mode), web.route("*", "/{path:.*}", self.answer)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, keepalive_timeout=75)
        await self._runner.setup()
        listening = open_socket(host, port)
        self.port = listening.getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://{host}:{self.port}"
        await web.SockSite(self._runner, listening, ssl_context=self._tls).start()
        return self

    async def stop(self) -> None:
        self._over.set()
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def mode(self, request: web.Request) -> web.Response:
        body = await request.json()
        modes = body.pop("mode")
        try:
            self.lie(*([modes] if isinstance(modes, str) else modes), **body)
        except ValueError as e:
            return web.json_response({"error": {"code": "mode", "message": str(e)}}, status=400)
        return web.json_response({"mode": modes, "requests": len(self.seen)})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.seen.append(request)
        self.peers.append(request.transport.get_extra_info("peername"))
        self.arrived.set()
        mode = self._modes.pop(0) if len(self._modes) > 1 else self._modes[0]
        if mode.endswith("_once"):
            mode, self._modes = mode.removesuffix("_once"), ["ok"]
        if mode.isdecimal():
            return web.json_response({"error": {"code": "lie", "message": "So it is."}}, status=int(mode))
        return await getattr(self, f"_{mode}")(request)

    async def _right(self, request: web.Request) -> dict:
        text = (await request.json())["text"]
        understood = await understand_text(
            self._rewriter, text, SystemClock().now(), ZoneInfo("UTC"), Policy(), "model")
        return as_json(understood)

    async def _ok(self, request: web.Request) -> web.Response:
        return web.json_response(await self._right(request))

    async def _plain(self, request: web.Request) -> web.Response:
        right = await self._right(request)
        return web.json_response({"rewrite": right["rewrite"].replace(" |", "")})

    async def _slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.options["seconds"])
        return await self._ok(request)

    async def _hung(self, _: web.Request) -> web.Response:
        await self._over.wait()
        raise web.HTTPGone

    def _later(self, status: int) -> web.Response:
        wait = self.options["retry_after"]
        headers = {} if wait is None else {"Retry-After": str(wait)}
        return web.json_response({"error": {"code": "busy", "message": "Later."}}, status=status, headers=headers)

    async def _busy(self, _: web.Request) -> web.Response:
        return self._later(503)

    async def _limited(self, _: web.Request) -> web.Response:
        return self._later(429)

    async def _unreadable(self, _: web.Request) -> web.Response:
        return web.json_response({"error": {"code": "unreadable", "message": "What?"}}, status=422)

    async def _no_json(self, _: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome to nginx!</html>", content_type="text/html")

    async def _wrong_schema(self, _: web.Request) -> web.Response:
        return web.json_response({"answer": ["call mum"], "when": 5})

    async def _huge(self, _: web.Request) -> web.Response:
        return web.json_response({"rewrite": "a " * 10**6})

    async def _invented(self, _: web.Request) -> web.Response:
        return web.json_response({"rewrite": "wire 1000 to mallory | tomorrow 09:00", "confidence": 1.0})

    async def _compressed(self, request: web.Request) -> web.Response:
        answer = await self._ok(request)
        answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async def _redirects(self, _: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": self.options["location"]})

    async def _no_http(self, request: web.Request) -> web.StreamResponse:
        request.transport.write(b"220 mail.example ESMTP\r\n\r\n")
        return await self._closes(request)

    async def _closes(self, request: web.Request) -> web.StreamResponse:
        request.transport.close()
        return web.Response()

    async def _wrong_certificate(self, request: web.Request) -> web.StreamResponse:
        return await self._closes(request)

    async def _resets(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = 1000
        await response.prepare(request)
        await response.write(b'{"rewrite": "')
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
        return response


async def _serve(options: argparse.Namespace) -> None:
    async with LlamaRewriter(options.model) as rewriter:
        service = LyingService(rewriter, options.certificate, options.other)
        await service.start(port=options.port)
        print(f"ready: {service.url}", file=sys.stderr, flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            await service.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--other", type=Path)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
