"""What a person writes as a reminder's new time, understood before anything is moved.

The model knows requests and not bare times, so it is asked for a move of no reminder in particular; which one moves is
known, and its own words do not get in the way. Nothing is stored here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from assistant.dates import Here
from assistant.errors import BadWhen
from assistant.grammar import is_when
from assistant.messages import Reminder
from assistant.moves import begin, new_time
from assistant.pipeline import Pipeline
from assistant.recurrence import STEPS, fields
from assistant.words import normalise


@dataclass(frozen=True, slots=True)
class Retimed:
    """Where a reminder would move."""

    when: str
    """A sentence of the When language that moves it there."""
    due: datetime
    """Aware, in the zone of the person."""
    rrule: str | None
    apart: bool
    """Of what recurs it is the next occurrence alone."""


async def retimed(pipeline: Pipeline, id: int, text: str) -> Retimed:
    """Where the reminder `id` would move to by `text`, such as `friday at six` or `an hour later`.

    Raises `NotFound`, `BadWhen`, `PastTime`, and what `Pipeline.predict` raises.
    """
    reminder = pipeline.store.reminder(id)
    said = normalise(text)
    when, shift = said.lower(), None
    if not is_when(when):
        when, shift = await _understood(pipeline, said)
    return _to(pipeline, reminder, when, shift)


async def _understood(pipeline: Pipeline, said: str) -> tuple[str | None, int | None]:
    u = await pipeline.predict(f"move it to {said}")
    when = u.entries[0].when if u.entries else None
    if u.kind != "move" or not u.sure or not (when or u.shift_minutes):
        raise BadWhen(said)
    return when, u.shift_minutes


def _to(pipeline: Pipeline, reminder: Reminder, when: str | None, shift: int | None) -> Retimed:
    here = Here(pipeline.clock.now().astimezone(UTC), pipeline.tz, pipeline.policy)
    to = new_time(reminder, when, shift, here)
    if shift is not None:
        when = to.when
        if to.rrule and fields(to.rrule)["FREQ"] in STEPS:  # "every 2 hours" alone would begin anew from now
            when = begin(when, to.wall)
            to = new_time(reminder, when, None, here)
    return Retimed(when, to.due.astimezone(pipeline.tz), to.rrule, to.apart)
