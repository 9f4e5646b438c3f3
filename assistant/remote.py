"""The rewriter whose model runs on another machine: one call, guarded by a circuit breaker.

What speaks against the service (no answer, no answer in time, an error of its own, a refusal, an answer of no use) is
counted by the breaker, and after several in a row the service is left alone for a while. That it is busy is not, but
nobody asks it again before the time that it named. What speaks against the request is neither: it is the person's to
say it in other words.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from types import TracebackType
from typing import Self

from assistant.breaker import Admission, CircuitBreaker, since_boot
from assistant.endpoint import Endpoint
from assistant.errors import CircuitOpen, RemoteAway, RemoteBusy, RemoteError, RemoteRefused, Unreadable
from assistant.messages import Rewrite
from assistant.remote_openai import Completions
from assistant.remote_predict import Predict
from assistant.sections import Remote

log = logging.getLogger(__name__)

BUSY_SECONDS = 1.0
"""A service that is busy and does not say for how long is left alone for so long."""
LONGEST_BUSY_SECONDS = 3600.0
ABOUT_THE_REQUEST = frozenset((400, 413, 422))
"""Refusals that say nothing about the service."""


class RemoteRewriter:
    """The `Rewriter` of `[remote]`. Entering it asks nothing yet; raises `ConfigError` for settings that cannot be.

    `rewrite` raises `RemoteError`, or `Unreadable` where the service could not read the request.
    """

    name = "remote"

    def __init__(self, settings: Remote, now: Callable[[], float] = since_boot) -> None:
        self._endpoint = Endpoint(settings)
        self.url, self._seconds, self._now = self._endpoint.url, settings.total_seconds, now
        self._api = (
            Completions(self._endpoint, settings.model, now) if settings.api == "openai" else Predict(self._endpoint)
        )
        self.breaker = CircuitBreaker(settings.failures, settings.pause_seconds, now)
        self._busy_until = 0.0
        self.failures: Counter[str] = Counter()
        """How often it did not answer, by `RemoteError.reason`."""

    @property
    def retries(self) -> int:
        """How often a broken connection was tried again."""
        return self._endpoint.retries

    async def __aenter__(self) -> Self:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._endpoint.__aexit__(kind, error, trace)

    async def rewrite(self, text: str) -> Rewrite:
        try:
            if (wait := self._busy_until - self._now()) > 0:
                raise RemoteBusy(self.url, wait)
            if (admission := self.breaker.admit()) is None:
                raise CircuitOpen(self.url, self.breaker.retry_after)
            with admission:
                return await self._judged(text, admission)
        except RemoteError as e:
            self.failures[e.reason] += 1
            raise

    async def _judged(self, text: str, admission: Admission) -> Rewrite:
        """The answer, and what it says about the service."""
        probing = self.breaker.state == "half_open"
        try:
            rewrite = await self._timed(text)
        except RemoteBusy as e:
            wait = BUSY_SECONDS if e.retry_after is None else min(e.retry_after, LONGEST_BUSY_SECONDS)
            self._busy_until = max(self._busy_until, self._now() + wait)
            raise RemoteBusy(self.url, wait) from None
        except Unreadable:
            admission.succeeded()
            raise
        except RemoteError as e:
            if not (isinstance(e, RemoteRefused) and e.found in ABOUT_THE_REQUEST):
                admission.failed()
                if self.breaker.state == "open":
                    log.info("%s is left alone for %.0f s", self.url, self.breaker.retry_after, extra={"why": e.reason})
            raise
        admission.succeeded()
        if probing:
            log.info("%s answers again", self.url)
        return rewrite

    async def _timed(self, text: str) -> Rewrite:
        began = perf_counter()
        try:
            async with asyncio.timeout(self._seconds):
                rewrite = await self._api.rewrite(text)
        except TimeoutError:
            raise RemoteAway(self.url, f"no answer within {self._seconds:g} s") from None
        return replace(rewrite, ms=round((perf_counter() - began) * 1000, 2))
