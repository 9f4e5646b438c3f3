"""A Wyoming speech server, by the package's own server, as it should be and as it can go wrong.

    ok             a transcript, after what a server that streams sends before it
    hung           no answer, until it is let go
    closes         the connection, when it has heard all; `closes_early` when the sound begins
    error          an error event
    no_text, no_json, no_object, endless (a line without an end), huge (more data than one would want to have)
"""

import asyncio
from typing import Any, Self

from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.server import AsyncEventHandler, AsyncTcpServer

RAW = {
    "no_json": b"Call Mum at five.\n",
    "no_object": b"[]\n",
    "no_type": b"{}\n",
    "endless": b"mum " * 50_000,
    "huge": b'{"type": "transcript", "data_length": 1000000000}\n',
    "negative": b'{"type": "transcript", "data_length": -5}\n',
    "half": b'{"type": "transcript", "data_length": 50}\n{"text',
}


class SpeechServer:
    """On a free port of this machine. An async context manager."""

    def __init__(self, text: str = " Call Mum at five.") -> None:
        self.text, self.mode = text, "ok"
        self.asked: list[Transcribe] = []
        self.formats: list[tuple[int, int, int]] = []
        self.sounds: list[bytes] = []
        self.arrived, self.gone, self.let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = AsyncTcpServer("127.0.0.1", 0)
        await self._server.start(lambda reader, writer: _Handler(self, reader, writer))
        self.url = f"tcp://127.0.0.1:{self._server._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.let_go.set()
        await self._server.stop()


class _Handler(AsyncEventHandler):
    def __init__(self, server: SpeechServer, *streams: Any) -> None:
        super().__init__(*streams)
        self._server, self._sound = server, b""

    async def handle_event(self, event: Event) -> bool:
        server = self._server
        if Transcribe.is_type(event.type):
            server.asked.append(Transcribe.from_event(event))
        elif AudioStart.is_type(event.type):
            start = AudioStart.from_event(event)
            server.formats.append((start.rate, start.width, start.channels))
            return server.mode != "closes_early"
        elif AudioChunk.is_type(event.type):
            self._sound += AudioChunk.from_event(event).audio
        elif AudioStop.is_type(event.type):
            server.sounds.append(self._sound)
            server.arrived.set()
            return await self._tell(server.mode)
        return True

    async def _tell(self, mode: str) -> bool:
        if mode in RAW:
            self.writer.write(RAW[mode])
            await self.writer.drain()
        elif mode == "hung":
            await self.reader.read()  # nothing comes but the end
            self._server.gone.set()
        elif mode == "error":
            await self.write_event(Error("Out of memory.\nSorry.", "oom").event())
        elif mode == "no_text":
            await self.write_event(Event("transcript", {"text": None}))
        elif mode == "ok":
            text = self._server.text
            for told in (TranscriptStart(), TranscriptChunk(text[:4]), TranscriptStop(), Transcript(text)):
                await self.write_event(told.event())
        return False
