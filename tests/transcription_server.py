"""A server that takes OpenAI's transcriptions, as it should be and as it can go wrong.

    ok            the transcript that it was given, as verbose_json with how sure it is, or as json
    plain         refuses verbose_json, as OpenAI's newer models do
    cpp           whisper.cpp's server: only /inference
    hung          no answer, until it is let go
    500, 401 ...  that status; `busy` 503 with Retry-After
    no_json, no_text, huge, no_http, odd (numbers that are none)
    closes_once   the connection, without an answer, the next time
"""

import asyncio
import io
import ssl
import wave
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from assistant.listen import open_socket

MOST_BYTES = 2**21


class TranscriptionServer:
    """On a free port of this machine. An async context manager."""

    def __init__(
        self, text: str = " Call Mum at five.", logprob: float = -0.1, no_speech: float = 0.01,
        certificate: Path | None = None,
    ) -> None:  # fmt: skip
        self._certificate = certificate
        self.text, self.logprob, self.no_speech = text, logprob, no_speech
        self.mode = "ok"
        self.forms: list[dict[str, str]] = []
        """The fields of each request, but for the sound."""
        self.sounds: list[bytes] = []
        """Its samples."""
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.arrived, self.gone, self.let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MOST_BYTES)
        app.add_routes([web.post("/{path:.*}", self._answer)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        listening = open_socket("127.0.0.1", 0)
        tls = None
        if self._certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self._certificate)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{listening.getsockname()[1]}"
        await web.SockSite(self._runner, listening, ssl_context=tls).start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.let_go.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        self.paths.append(request.path)
        self.keys.append(request.headers.get("Authorization"))
        self.forms.append({k: v for k, v in form.items() if isinstance(v, str)})
        self.sounds.append(_samples(form["file"].file.read()))
        self.arrived.set()
        mode = self.mode
        if mode == "closes_once":
            self.mode = "ok"
            request.transport.abort()
        if mode.isdecimal():
            return web.json_response({"error": {"message": "So it is."}}, status=int(mode))
        if (request.path == "/inference") != (mode == "cpp"):
            raise web.HTTPNotFound
        return await getattr(self, f"_{mode}", self._ok)(request)

    def _transcript(self) -> dict[str, Any]:
        if self.forms[-1].get("response_format") != "verbose_json":
            return {"text": self.text}
        segment = {"id": 0, "text": self.text, "avg_logprob": self.logprob, "no_speech_prob": self.no_speech}
        return {"task": "transcribe", "language": "english", "text": self.text, "segments": [segment]}

    async def _ok(self, _: web.Request) -> web.Response:
        return web.json_response(self._transcript())

    async def _plain(self, _: web.Request) -> web.Response:
        if self.forms[-1]["response_format"] != "json":
            error = {"message": "response_format 'verbose_json' is not compatible with this model. Use 'json'."}
            return web.json_response({"error": error}, status=400)
        return web.json_response(self._transcript())

    async def _hung(self, request: web.Request) -> web.Response:
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.gone.set()
            raise
        return await self._ok(request)

    async def _busy(self, _: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "Later."}}, status=503, headers={"Retry-After": "7"})

    async def _no_json(self, _: web.Request) -> web.Response:
        return web.Response(text="Call Mum at five.")

    async def _no_text(self, _: web.Request) -> web.Response:
        return web.json_response({"segments": []})

    async def _huge(self, _: web.Request) -> web.Response:
        return web.json_response({"text": "mum " * 50_000})

    async def _odd(self, _: web.Request) -> web.Response:
        segments = [None, {}, {"avg_logprob": "high", "no_speech_prob": True}, {"avg_logprob": 3, "no_speech_prob": -1}]
        return web.json_response({"text": self.text, "segments": segments})

    async def _no_http(self, request: web.Request) -> web.Response:
        request.transport.write(b"never heard of it\r\n\r\n")
        request.transport.close()
        raise web.HTTPGone


def _samples(file: bytes) -> bytes:
    with wave.open(io.BytesIO(file)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 16_000)
        return sound.readframes(sound.getnframes())
