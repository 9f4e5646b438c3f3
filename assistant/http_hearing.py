"""What the assistant hears and says, over HTTP.

    GET    /hearing                                   how it hears: `hearing.Hears`
    POST   /hearing {"muted"}                         close the microphone, or open it again
    POST   /voice {"muted"}                           the same for its voice
    POST   /voice/stop                                be silent at once
    POST   /listen {"quiet"?}                         listen now: a JSON object a line for each turn, as it happens
    POST   /requests ?channel=                        with `Content-Type: audio/...`: a recording instead of words

All but the last two answer with what `GET /hearing` says then. What is heard is answered as words are, and with
"heard", "confidence", "engine" and "ms" besides; where it is not believed nothing is done, the kind is "unsure", and
whoever knows it to be right sends "heard" as a text. `POST /listen` sends an empty line each second (which readers of
ndjson pass over), so that a client that went away is noticed; an error that ends it is its last line.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from aiohttp import web

from assistant import aloud
from assistant.audio import BLOCK, RATE, Block, WavFile
from assistant.errors import AssistantError, NothingHeard, TooMuchSound
from assistant.guard import read_body, read_bytes, request_names

if TYPE_CHECKING:
    from assistant.hearing import Hearing
    from assistant.push_to_talk import Turn

MOST_BYTES = 16 * 2**20
"""Of a recording. A minute of 48,000 samples a second, two channels and 16 bits takes 12 MB."""
MOST_SECONDS = 60
"""Of a recording: an utterance may have 30, and its answer some more."""
UPLOAD_SECONDS = MOST_SECONDS + 10
"""A recording may be sent while it is made."""
ALIVE_SECONDS = 1.0
"""Between the empty lines of `POST /listen`."""


class HearingService:
    """The routes, over the daemon's ears."""

    def __init__(self, hearing: "Hearing") -> None:
        self._hearing = hearing
        self._listening: set[asyncio.Task] = set()
        """Handlers of `POST /listen` under way."""

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/hearing", self.hearing),
            web.post("/hearing", self.mute),
            web.post("/voice", self.mute_voice),
            web.post("/voice/stop", self.hush),
            web.post("/listen", self.listen),
        ]

    async def end(self, _: web.Application) -> None:
        """The daemon stops: who listens is not waited for."""
        for task in self._listening:
            task.cancel()

    def health(self) -> dict:
        """What `GET /health` tells of it."""
        now = self._hearing.status()
        return {"mode": now.mode, "state": now.state, "muted": now.muted, "voice_muted": now.voice_muted}

    async def hearing(self, _: web.Request) -> web.Response:
        return self._status()

    async def mute(self, request: web.Request) -> web.Response:
        self._hearing.muted = (await read_body(request, required={"muted": bool}, optional={}))["muted"]
        return self._status()

    async def mute_voice(self, request: web.Request) -> web.Response:
        self._hearing.voice_muted = (await read_body(request, required={"muted": bool}, optional={}))["muted"]
        return self._status()

    async def hush(self, request: web.Request) -> web.Response:
        await read_body(request, required={}, optional={})
        self._hearing.hush()
        return self._status()

    def _status(self) -> web.Response:
        return web.json_response(asdict(self._hearing.status()))

    async def listen(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, required={}, optional={"quiet": bool})
        self._listening.add(task := asyncio.current_task())
        try:
            return await self._tell(request, body.get("quiet", False))
        finally:
            self._listening.discard(task)

    async def _tell(self, request: web.Request, quiet: bool) -> web.StreamResponse:
        async with self._hearing.listen(quiet) as turns:
            answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await answer.prepare(request)
            try:
                async with asyncio.TaskGroup() as tasks:
                    alive = tasks.create_task(_alive(answer), name="client of listen")
                    async for turn in turns:
                        await _line(answer, turn_json(turn))
                    alive.cancel()
            except* ConnectionError:  # the client went away
                pass
            except* AssistantError as errors:
                e = errors.exceptions[0]
                with suppress(ConnectionError):
                    await _line(answer, {"error": {"code": e.code, "message": str(e)}})
        return answer

    async def hear(self, request: web.Request) -> web.Response:
        """A recording in the place of `POST /requests`' text. Raises `TooLarge`, `UnreadableSound`, `TooMuchSound`,
        `NothingHeard`, and what `Hearing.hear` raises."""
        id, channel = request_names(request, request.query.get("channel"))
        recorded = await _Recorded.of(await read_bytes(request, MOST_BYTES, UPLOAD_SECONDS))
        async with aclosing(self._hearing.hear(recorded, channel, id=id)) as hears:
            turns = [turn async for turn in hears]
        told = [t for t in turns if t.answer] or [t for t in turns if t.transcript.text]
        if not told:
            raise NothingHeard
        found = turn_json(told[-1]) | {"id": id}
        return web.json_response(found, status=202 if found["kind"] == "kept" else 200)


def turn_json(turn: "Turn") -> dict:
    """A turn as other programs see it: the answer as that to a text has it, what was heard, how sure the engine is,
    which one it is, and the milliseconds that it took."""
    not_asked = {"reply": turn.reply, "spoken": aloud.clean(turn.reply), "kind": "unsure", "question": turn.question,
                 "reminders": [], "understanding": None}
    heard = turn.transcript
    return (turn.answer or not_asked) | {
        "heard": heard.text, "confidence": round(heard.confidence, 2), "engine": heard.engine, "ms": heard.ms}


async def _line(answer: web.StreamResponse, value: dict) -> None:
    await answer.write(json.dumps(value).encode() + b"\n")


async def _alive(answer: web.StreamResponse) -> None:
    """Raises `ConnectionError` once the client is gone."""
    while True:
        await asyncio.sleep(ALIVE_SECONDS)
        await answer.write(b"\n")


class _Recorded:
    """A recording that is whole and in memory, an `AudioSource`: nothing is done about a half of one."""

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = iter(blocks)

    @classmethod
    async def of(cls, data: bytes) -> Self:
        """Raises `UnreadableSound`, `TooMuchSound`."""
        blocks = []
        async with WavFile(data) as source:
            async for block in source:
                blocks.append(block)
                if len(blocks) * BLOCK > MOST_SECONDS * RATE:
                    raise TooMuchSound(MOST_SECONDS)
        return cls(blocks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    def __aiter__(self) -> AsyncIterator[Block]:
        return self

    async def __anext__(self) -> Block:
        for block in self._blocks:
            return block
        raise StopAsyncIteration
