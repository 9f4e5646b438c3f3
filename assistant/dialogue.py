"""Open questions: what the assistant asked on a channel and waits two minutes to be told. Kept in memory only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from assistant.messages import Entry, Reminder, Understanding

PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class When:
    """When should I remind you of this?"""

    task: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """Did you say this?"""

    understanding: Understanding
    said_at: datetime


@dataclass(frozen=True, slots=True)
class Which:
    """Which one of these, or all of them: `action` is the kind of the request that asked."""

    understanding: Understanding
    offered: tuple[Reminder, ...]
    every: bool
    """All of them were meant, and yes does it."""


Question = When | Confirm | Which


class Dialogue:
    """The open question of each channel, at most one."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Question, datetime]] = {}

    def ask(self, channel: str, question: Question, now: datetime) -> None:
        self._open = {c: o for c, o in self._open.items() if o[1] > now}  # what nobody answered
        self._open[channel] = question, now + PATIENCE

    def take(self, channel: str, now: datetime) -> Question | None:
        """The open question, which is then closed; None if there is none or it is too old."""
        question, until = self._open.pop(channel, (None, now))
        return question if until > now else None


def missing(entries: tuple[Entry, ...]) -> Entry | None:
    """The first entry that has no time to come."""
    return next((e for e in entries if e.due is None or e.past), None)
