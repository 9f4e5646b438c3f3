"""A rewriter whose model changes while it works: the one that the pointer names, loaded beside the old one.

No request is lost by that: those under way end on the old model, which is closed after them. A model that cannot be
used is not: the one before goes on, and the pointer is written back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from assistant.errors import BadPointer, ModelError
from assistant.local import LlamaRewriter, model_file
from assistant.messages import Rewrite
from assistant.models import sha256_of
from assistant.pointer import Models, Used

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""So often `watch` looks whether the pointer was replaced."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of looking at the pointer."""

    model: str
    """The name of the model in use now."""
    sha256: str
    changed: bool
    problem: str | None
    """Why the model that the pointer named is not in use, one sentence."""


class ReloadingRewriter:
    """The `Rewriter` of the model in use; `threads`, `queue` and `contexts` as `LlamaRewriter` has them."""

    def __init__(self, models: Models, threads: int = 1, queue: int = 64, contexts: int = 1) -> None:
        self._models, self._threads, self._queue, self._contexts = models, threads, queue, contexts
        self._one_at_a_time = asyncio.Lock()
        self._closing: dict[asyncio.Task, LlamaRewriter] = {}
        self.reloads = 0
        """Times that another model came into use."""

    @property
    def name(self) -> str:
        """Of the model in use."""
        return self._rewriter.name

    @property
    def sha256(self) -> str:
        """Of the GGUF in use, in hexadecimal."""
        return self._used.sha256

    @property
    def pointer(self) -> Path:
        """The file that says which model is in use, absolute."""
        return self._models.pointer.absolute()

    @property
    def in_flight(self) -> int:
        """Requests that are worked on, those on the models before among them; `waiting` likewise."""
        return sum(r.in_flight for r in (self._rewriter, *self._closing.values()))

    @property
    def waiting(self) -> int:
        """Requests for which no context is free."""
        return sum(r.waiting for r in (self._rewriter, *self._closing.values()))

    @property
    def ended(self) -> int:
        """Requests that came to an end on the model in use; another one begins anew."""
        return self._rewriter.ended

    async def __aenter__(self) -> Self:
        """Loads the model in use or, with a warning each, what was in use before, the model that ships in the end.

        Raises `ModelError` if none of them can be used, or the one that the settings name cannot.
        """
        if self._models.fixed:
            self._rewriter = await self._open(self._models.fixed)
            sha256 = await asyncio.to_thread(sha256_of, model_file(self._models.fixed))
            self._used = Used(self._rewriter.name, self._models.fixed, sha256)
        else:
            await self._start()
        return self

    async def _start(self) -> None:
        self._stamp = self._models.stamp()
        broken: Used | None = None
        problems: list[ModelError] = []
        candidates = [self._models.shipped_model()]
        try:
            pointer = self._models.read()
            broken = pointer.current
            candidates = [pointer.current, *reversed(pointer.before), *candidates]
        except BadPointer as e:
            problems.append(e)
            log.warning("the model pointer is of no use: %s", e)
        for used in dict.fromkeys(candidates):
            try:
                self._rewriter = await self._load(used)
                self._used = used
                break
            except ModelError as e:
                problems.append(e)
                log.warning("cannot use the model %s: %s", used.name, e)
        else:
            raise problems[-1]
        if problems:
            await self._write_back(broken, problems[0])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._rewriter.__aexit__(kind, error, trace)
        await asyncio.gather(*self._closing)

    async def rewrite(self, text: str) -> Rewrite:
        return await self._rewriter.rewrite(text)

    async def reload(self) -> Reloaded:
        """Use the model that the pointer names now, or say why not; never raises an expected error."""
        async with self._one_at_a_time:
            self._stamp = self._models.stamp()
            try:
                wanted = self._models.read().current
            except BadPointer as e:
                return await self._keep(None, e)
            if self._models.fixed:
                problem = f"The settings name the model {self.name}, whatever is promoted: empty [model] path first."
                return self._now(problem=problem if wanted.path else None)
            if wanted == self._used:
                return self._now()
            try:
                rewriter = await self._load(wanted)
            except ModelError as e:
                return await self._keep(wanted, e)
            old, self._rewriter, self._used = self._rewriter, rewriter, wanted
            self.reloads += 1
            # What was asked of it before stands in its queue before this.
            closing = asyncio.create_task(old.__aexit__(None, None, None), name=f"close the model {old.name}")
            self._closing[closing] = old
            closing.add_done_callback(self._closing.pop)
            log.info("the model %s is in use", self.name, extra={"before": old.name, "sha256": self.sha256})
            return self._now(changed=True)

    async def watch(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Reload whenever the pointer was replaced, for ever."""
        while True:
            await sleep(LOOK_SECONDS)
            if not self._models.fixed and self._models.stamp() != self._stamp:
                await self.reload()

    def _now(self, changed: bool = False, problem: str | None = None) -> Reloaded:
        return Reloaded(self.name, self.sha256, changed, problem)

    async def _keep(self, broken: Used | None, problem: ModelError) -> Reloaded:
        log.warning("the model %s stays in use: %s", self.name, problem)
        await self._write_back(broken, problem)
        return self._now(problem=str(problem))

    async def _write_back(self, broken: Used | None, problem: ModelError) -> None:
        """So that the next start uses what is in use now."""
        if self._models.fixed:
            return
        try:
            await asyncio.to_thread(self._models.fall_back, broken, self._used, str(problem))
        except BadPointer as e:
            log.warning("the model pointer is not corrected: %s", e)

    async def _load(self, used: Used) -> LlamaRewriter:
        await asyncio.to_thread(self._models.check, used)
        return await self._open(self._models.place(used))

    async def _open(self, path: Path) -> LlamaRewriter:
        return await LlamaRewriter(path, self._threads, self._queue, self._contexts).__aenter__()
