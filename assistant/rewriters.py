"""Which models understand requests, by the settings: the one here, the one on another machine, or both in order."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from assistant.config import Config
from assistant.errors import NotFound
from assistant.fallback import FallbackRewriter
from assistant.pointer import models_of
from assistant.reload import Reloaded, ReloadingRewriter
from assistant.remote import RemoteRewriter

COME_BACK_SECONDS = 60.0
"""So often a model here that could not be loaded is tried again."""


@dataclass(frozen=True, slots=True)
class Rewriters:
    """The rewriter to use, which is to be entered, and its parts; None for what the settings leave out."""

    rewriter: FallbackRewriter
    local: ReloadingRewriter | None
    remote: RemoteRewriter | None

    @property
    def loaded(self) -> ReloadingRewriter | None:
        """The model here, if it could be loaded."""
        return None if "local" in self.rewriter.out else self.local

    async def reload(self) -> Reloaded:
        """Use the model that the pointer names now, or say why not.

        Raises `NotFound` where the settings leave the model here out, and `ModelError` where it still cannot be loaded.
        """
        if self.local is None:
            raise NotFound("No model runs here: put local into [remote] order first.")
        if self.loaded:
            return await self.local.reload()
        await self.rewriter.come_back()
        if not self.loaded:
            raise self.rewriter.out["local"]
        return Reloaded(self.local.name, self.local.sha256, True, None)

    async def watch(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Load the model here if it could not be, then reload it whenever another one is promoted; until cancelled."""
        if self.local is None:
            return
        while not self.loaded:
            await sleep(COME_BACK_SECONDS)
            await self.rewriter.come_back()
        await self.local.watch(sleep)


def rewriters_of(config: Config) -> Rewriters:
    """Those of the settings; without `[remote] url` the model here alone."""
    remote = RemoteRewriter(config.remote) if config.remote.url and "remote" in config.remote.order else None
    local = None
    if "local" in config.remote.order or remote is None:
        local = ReloadingRewriter(models_of(config), config.model.threads, config.model.queue)
    found = {"local": local, "remote": remote}
    return Rewriters(FallbackRewriter({n: found[n] for n in config.remote.order if found[n]}), local, remote)
