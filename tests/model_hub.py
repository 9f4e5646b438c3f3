"""A model hub on this machine, as far as `huggingface_hub` asks one for a model."""

import asyncio
from pathlib import Path
from typing import Self

from aiohttp import web

from assistant.listen import open_socket

COMMIT = "c0ffee" + 34 * "0"


class ModelHub:
    """Has one model, the files of `folder`, as `repository`. An async context manager."""

    def __init__(self, repository: str, folder: Path) -> None:
        self.repository, self.folder = repository, folder
        self.sent: list[str] = []
        """The files that were asked for."""
        self.arrived, self.let_go = asyncio.Event(), asyncio.Event()
        """Of the first file; none is sent before it is let go."""
        self.let_go.set()
        self.answers = asyncio.Event()
        """Not set: it takes requests and says nothing."""
        self.answers.set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        api = f"/api/models/{self.repository}"
        app.add_routes([
            web.get(api, self._about), web.get(f"{api}/revision/{{revision}}", self._about),
            web.get(f"{api}/tree/{COMMIT}", self._tree),
            web.get(f"/{self.repository}/resolve/{COMMIT}/{{file}}", self._file), web.get("/{path:.*}", self._unknown),
        ])  # fmt: skip
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        listening = open_socket("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        await web.SockSite(self._runner, listening).start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.let_go.set()
        self.answers.set()
        await self._runner.cleanup()

    def _files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    async def _about(self, _: web.Request) -> web.Response:
        await self.answers.wait()
        siblings = [{"rfilename": file.name} for file in self._files()]
        return web.json_response({"id": self.repository, "sha": COMMIT, "siblings": siblings, "tags": []})

    async def _tree(self, _: web.Request) -> web.Response:
        return web.json_response([
            {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _etag(file)} for file in self._files()
        ])  # fmt: skip

    async def _unknown(self, _: web.Request) -> web.Response:
        return web.json_response({"error": "Repository not found"}, status=404, headers={"X-Error-Code": "RepoNotFound"})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        file = self.folder / request.match_info["file"]
        if request.method == "GET":
            self.sent.append(file.name)
            self.arrived.set()
            await self.let_go.wait()
        headers = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": COMMIT}
        return web.Response(body=file.read_bytes(), headers=headers)


def _etag(file: Path) -> str:
    """Some forty hexadecimal digits."""
    return file.name.encode().hex()[:40].ljust(40, "0")
