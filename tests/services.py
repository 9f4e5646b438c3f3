"""The model service in this process, on a real socket, with a rewriter that knows its answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from assistant.config import Config
from assistant.keys import Keys
from assistant.listen import open_socket
from assistant.sections import Serve
from assistant.serve import Service
from tests.fakes import ScriptedRewriter

CALL = "remind me to call mum tomorrow at 5 pm"


class Local(ScriptedRewriter):
    """It tells of itself what `ReloadingRewriter` does."""

    sha256 = "0" * 64
    in_flight = waiting = reloads = ended = 0

    def __init__(self) -> None:
        super().__init__({CALL: "call mum | tomorrow 17:00"})


class Client:
    """Asks the service; `key` goes with every request."""

    def __init__(self, session: aiohttp.ClientSession, service: Service, rewriter: Local) -> None:
        self.session, self.service, self.rewriter = session, service, rewriter

    async def __call__(
        self, method: str, path: str, body: object = None, key: str | None = None, **headers: str
    ) -> aiohttp.ClientResponse:
        """The answer, read; `X_Forwarded_For="..."` is a header."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        async with self.session.request(method, path, json=body, headers=given) as response:
            await response.read()
            return response

    async def predict(self, key: str | None = None, **headers: str) -> aiohttp.ClientResponse:
        return await self("POST", "/predict", {"text": CALL}, key, **headers)


@asynccontextmanager
async def serving(keys: Path, loaded: bool = True, rewriter: Local | None = None, **serve: object) -> AsyncIterator[Client]:
    """The service with these settings."""
    config = Config(serve=Serve(keys=str(keys), **serve))
    rewriter = rewriter or Local()
    service = Service(config, rewriter, 1, Keys.open(config.keys))
    if loaded:
        service.loaded()
    with open_socket("127.0.0.1", 0) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        async with service.connections.serving(service.application(), sock), aiohttp.ClientSession(url) as session:
            yield Client(session, service, rewriter)
