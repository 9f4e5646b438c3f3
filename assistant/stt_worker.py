"""One thread beside the event loop, on which an engine works on one utterance at a time.

A thread cannot be stopped. Work that nobody waits for any more is asked to end (`Work` is given a question to put now
and then), and nothing is begun before it has: what follows waits for it if it was cancelled, and is refused with
`TranscriberBusy` if it has used up its time, as it may never end.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from assistant.errors import TranscriberBusy, TranscriptionTimeout

T = TypeVar("T")
Work = Callable[[Callable[[], bool]], T]
"""What is to be done; its argument says whether it was abandoned."""


class Abandoned(Exception):
    """Nobody waits for this transcript any more."""


class Worker:
    """A thread named `name`; what it does may take `seconds`. An async context manager: leaving abandons what it does
    and does not wait for it."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._turn = asyncio.Lock()
        self._job: Future[Any] | None = None
        self._abandoned = threading.Event()
        self._overdue = False

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandoned.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Work[T]) -> T:
        """What `work` returns, once those that asked before are done.

        Raises what it raises, `TranscriptionTimeout`, and `TranscriberBusy`.
        """
        async with self._turn:
            if self._overdue and not self._idle:
                raise TranscriberBusy
            self._overdue = False
            try:
                async with asyncio.timeout(self._seconds):
                    if not self._idle:
                        await asyncio.wait([_ended(self._job)])
                    return await self._begin(work)
            except TimeoutError:
                self._overdue = True
                raise TranscriptionTimeout(self._seconds) from None

    @property
    def _idle(self) -> bool:
        return self._job is None or self._job.done()

    async def _begin(self, work: Work[T]) -> T:
        self._abandoned = abandoned = threading.Event()
        self._job = self._thread.submit(work, abandoned.is_set)
        try:
            return await asyncio.wrap_future(self._job)
        finally:
            abandoned.set()


def _ended(job: Future[Any]) -> asyncio.Future[Any]:
    """Done when `job` is, whose outcome is of no interest."""
    ended = asyncio.wrap_future(job)
    ended.add_done_callback(lambda future: future.cancelled() or future.exception())
    return ended
