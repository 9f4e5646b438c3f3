"""Requests that were accepted and not answered: the process ended in between, or no model understood them then.

They are run again, oldest first (but those that failed again last), as soon as a model may answer. What nobody
understands within a day rings in the person's own words.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

from assistant.database import Complaint
from assistant.errors import AssistantError, StoreError
from assistant.pipeline import Pipeline

log = logging.getLogger(__name__)

KEEP = timedelta(days=1)
"""So long after it was said a request waits to be understood."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two tries while nobody answers; the pause doubles."""
TRIES = 3
"""Of so many requests in a row none could be understood: it is not worth trying the others yet."""


async def answer_kept(
    pipeline: Pipeline,
    worth_trying: Callable[[], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Until cancelled. `worth_trying` returns when some model may answer."""
    complaint, pause = Complaint(log, "answer what was kept"), FIRST_PAUSE
    tries: Counter[str] = Counter()
    while True:
        pipeline.keeps.clear()
        try:
            waiting = await _answer_all(pipeline, tries)
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
            tries.clear()
            await pipeline.keeps.wait()


async def _answer_all(pipeline: Pipeline, tries: Counter[str]) -> bool:
    """Whether some still wait; `tries` says how often each was tried. Raises `StoreError`."""
    failed = 0
    for request in sorted(pipeline.store.unsettled_requests(), key=lambda r: tries[r.id]):
        facts = {"request": request.id}
        try:
            reply = await pipeline.handle(request)
        except StoreError:
            raise
        except AssistantError as e:
            log.warning("not answered, late: %s", e, extra=facts)
            continue
        if reply.kind != "kept":
            failed = 0
            log.info("answered late", extra=facts)
        elif pipeline.clock.now() - request.said_at > KEEP:
            pipeline.give_up(request)
            log.warning("nobody understands it: it rings in its own words", extra=facts)
        else:
            failed += 1
            tries[request.id] += 1
            if failed == TRIES:
                break
    return failed > 0
