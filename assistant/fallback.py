"""Several rewriters, each the next one's fallback: whoever answers first in their order has understood the request."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from assistant.breaker import since_boot
from assistant.errors import AssistantError, Busy, ModelError, NobodyAnswers, RemoteBusy, Unfaithful, Unreadable
from assistant.messages import Rewrite
from assistant.rewriter import Rewriter

log = logging.getLogger(__name__)

AGAIN_SECONDS = 2.0
"""A source that failed and did not say for how long may be worth another try after so long."""
LOOK_SECONDS = 1.0
"""So often `worth_trying` looks whether one has answered somebody else meanwhile."""


class FallbackRewriter:
    """The `Rewriter` over `sources`, name ("local", "remote") -> rewriter, in the order in which they are asked.

    Every `ModelError` of one leads to the next, and so does `Unreadable`: another model may read it. If one could not
    read the request and no other answers, that is what is raised, for asking again later would not help. So it is if
    all that were asked wrote something else than the request.
    """

    def __init__(self, sources: Mapping[str, Rewriter], now: Callable[[], float] = since_boot) -> None:
        if not sources:
            raise ValueError("nobody to ask")
        self._sources, self._now = dict(sources), now
        self._stack = AsyncExitStack()
        self.out: dict[str, ModelError] = {}
        """Those that could not be entered, and why: they are not asked before `come_back`."""
        self.answered: Counter[str] = Counter()
        """Requests by the name of whoever answered them."""
        self.failed: Counter[tuple[str, str]] = Counter()
        """Requests that one could not answer, by its name and the code of the error."""
        self._failing: dict[str, int] = {}
        """Who answers no more, and how many requests so far."""
        self._stands_in: str | None = None
        """Who answers in the place of those."""
        self._coming_back = asyncio.Lock()
        self._not_before: dict[str, float] = {}

    @property
    def name(self) -> str:
        """Of the first that is not out."""
        return next(source for name, source in self._sources.items() if name not in self.out).name

    async def __aenter__(self) -> Self:
        """Enters all of them. One whose model cannot be loaded stays out, with a warning, if another one can; raises
        the first `ModelError` if none can."""
        async with AsyncExitStack() as stack:
            for name, source in self._sources.items():
                try:
                    await stack.enter_async_context(source)
                except ModelError as e:
                    self.out[name] = e
            if len(self.out) == len(self._sources):
                raise next(iter(self.out.values()))
            for name, error in self.out.items():
                log.warning("without the %s model: %s", name, error, extra={"code": error.code})
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def come_back(self) -> None:
        """Try once more to enter those that are out. Told when one is there again, or is missing for another reason."""
        async with self._coming_back:
            for name in [*self.out]:
                try:
                    await self._stack.enter_async_context(self._sources[name])
                except ModelError as e:
                    if str(e) != str(self.out[name]):
                        log.warning("still without the %s model: %s", name, e, extra={"code": e.code})
                    self.out[name] = e
                else:
                    del self.out[name]
                    log.info("the %s model is there again", name)

    async def rewrite(self, text: str) -> Rewrite:
        """The first answer; its `skipped` says why those before did not answer.

        Raises `NobodyAnswers`, whose `retry_after` is the shortest that one of them named, or `Unreadable`.
        """
        errors: dict[str, ModelError | Unreadable] = {}
        for name, source in self._sources.items():
            if name in self.out:
                errors[name] = self.out[name]
                continue
            try:
                answer = await source.rewrite(text)
            except Unreadable as e:
                errors[name] = e
                self._goes(name)
            except ModelError as e:
                errors[name] = e
                self._fails(name, e)
            else:
                self.answered[name] += 1
                self._goes(name)
                self._count(errors)
                if name != self._stands_in and not self._failing.keys().isdisjoint(errors):
                    self._stands_in = name
                    log.info("the %s model answers in its place", name)
                return replace(answer, skipped=(*_sentences(errors), *answer.skipped))
        self._count(errors)
        for error in errors.values():
            if isinstance(error, Unreadable):
                raise error
        if all(isinstance(error, Unfaithful) for name, error in errors.items() if name not in self.out):
            raise Unreadable
        nobody = NobodyAnswers(_sentences(errors))
        nobody.retry_after = min((e.retry_after for e in errors.values() if e.retry_after is not None), default=None)
        raise nobody

    def _count(self, errors: Mapping[str, AssistantError]) -> None:
        self.failed.update((name, error.code) for name, error in errors.items())

    def _fails(self, name: str, error: ModelError) -> None:
        """Told once, when it begins; that one is busy comes and goes, and is told to the counters alone."""
        self._not_before[name] = self._now() + (AGAIN_SECONDS if error.retry_after is None else error.retry_after)
        if isinstance(error, (Busy, RemoteBusy)):
            return
        if name not in self._failing:
            log.warning("the %s model does not answer: %s", name, error, extra={"code": error.code})
        self._failing[name] = self._failing.get(name, 0) + 1

    def _goes(self, name: str) -> None:
        self._not_before.pop(name, None)
        if requests := self._failing.pop(name, 0):
            self._stands_in = None
            log.info("the %s model answers again", name, extra={"requests_without": requests})

    async def worth_trying(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Returns when one of them might answer: it has not failed, or as long ago as its error said, or it has
        answered since."""
        while (wait := min(self._wait(name) for name in self._sources if name not in self.out)) > 0:
            await sleep(min(wait, LOOK_SECONDS))

    def _wait(self, name: str) -> float:
        return self._not_before.get(name, 0.0) - self._now()


def _sentences(errors: Mapping[str, AssistantError]) -> tuple[str, ...]:
    return tuple(f"{name}: {error}" for name, error in errors.items())
