"""Requests that were accepted and not answered: the process ended in between, or no model understood them then.

They are run again, oldest first, as soon as a model answers, which is tried out with a request of no consequence: so
no request is blamed for a model that is away, nor a model for a request that it cannot do. What fails again and again
while the model is well rings in the person's own words, and so does what nobody understands within a day (but not at
once where the machine slept through it).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

from assistant.database import Complaint
from assistant.errors import AssistantError, Busy, ModelError, StoreError, Unreadable
from assistant.messages import Request
from assistant.models import TRIAL
from assistant.pipeline import Pipeline
from assistant.rewriter import Rewriter

log = logging.getLogger(__name__)

KEEP = timedelta(days=1)
"""So long after it was said a request waits to be understood."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two rounds while some wait; the pause doubles."""
TRIES = 5
"""So often a model that is well may fail at a request."""
LAST_ROUNDS = 5
"""So many more rounds a request gets after its day: in its first moments a machine that has slept has no network."""


async def answer_kept(
    pipeline: Pipeline,
    worth_trying: Callable[[], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Until cancelled. `worth_trying` returns when some model may answer."""
    complaint, pause = Complaint(log, "answer what was kept"), FIRST_PAUSE
    rounds = _Rounds(pipeline)
    while True:
        pipeline.keeps.clear()
        try:
            waiting = await rounds.go()
            complaint.over()
        except StoreError as fault:
            complaint.say(fault)
            waiting = True
        if waiting:
            await sleep(pause)
            await worth_trying()
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            pause = FIRST_PAUSE
            await pipeline.keeps.wait()


class _Rounds:
    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._failed: Counter[str] = Counter()
        """Requests at which a model has failed that was well before and after."""
        self._overdue: Counter[str] = Counter()
        """Requests older than `KEEP`, and rounds since they are."""

    async def go(self) -> bool:
        """One round; whether some still wait. Raises `StoreError`."""
        waiting = self._pipeline.kept()
        if waiting and await _is_well(self._pipeline.rewriter):
            await self._answer(waiting)
        still = self._pipeline.kept()
        for counts in (self._failed, self._overdue):
            for id in counts.keys() - {request.id for request in still}:
                del counts[id]
        for request in still:
            if self._pipeline.clock.now() - request.said_at > KEEP:
                self._overdue[request.id] += 1
            if self._failed[request.id] >= TRIES or self._overdue[request.id] > LAST_ROUNDS:
                await self._pipeline.give_up(request)
                log.warning("nobody understands it: it is given up", extra={"request": request.id})
        return bool(still)

    async def _answer(self, waiting: list[Request]) -> None:
        for request in waiting:
            facts = {"request": request.id}
            try:
                reply = await self._pipeline.handle(request)
            except StoreError:
                raise
            except Busy:  # too many wait on its channel
                continue
            except AssistantError as e:
                log.warning("not answered, late: %s", e, extra=facts)
                continue
            if reply.kind != "kept":
                log.info("answered late", extra=facts)
            elif await _is_well(self._pipeline.rewriter):
                self._failed[request.id] += 1
            else:
                return


async def _is_well(rewriter: Rewriter) -> bool:
    """Whether a model answers."""
    try:
        await rewriter.rewrite(TRIAL)
    except Unreadable:
        return True
    except ModelError:
        return False
    return True
