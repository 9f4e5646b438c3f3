"""Open questions: what the assistant asked on a channel and waits two minutes to be told.

They are kept in memory only: after a restart an answer is a request of its own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from assistant.messages import Entry, Reminder, Understanding

PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class When:
    """When should I remind you of this?"""

    entries: tuple[Entry, ...]
    """Those without a time to come, at least one; the answer is for the first, the others are asked about after it."""
    again: bool = False
    """It was asked for the second time: what is no answer now ends it."""
    even_at_night: bool = False
    """They are to make a sound in quiet hours as well."""


@dataclass(frozen=True, slots=True)
class To:
    """To when should I move, or snooze, these?"""

    understanding: Understanding
    meant: tuple[Reminder, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Confirm:
    """Did you say this?"""

    understanding: Understanding
    request_id: str
    """Of the request that is understood so."""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Which:
    """Which one of these? Or, of a single one and of all of them: shall I? `understanding` says what to do."""

    understanding: Understanding
    offered: tuple[Reminder, ...]
    every: bool = False
    """All of them are meant, and yes does it."""
    again: bool = False


Question = When | To | Confirm | Which


class Dialogue:
    """The open question of each channel, at most one."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Question, datetime]] = {}

    def ask(self, channel: str, question: Question, now: datetime) -> None:
        self._open = {c: o for c, o in self._open.items() if o[1] > now}  # what nobody answered
        self._open[channel] = question, now + PATIENCE

    def pending(self, channel: str, now: datetime) -> Question | None:
        """The open question, which stays open; None if there is none or it is too old."""
        question, until = self._open.get(channel, (None, now))
        return question if until > now else None

    def take(self, channel: str, now: datetime) -> Question | None:
        """The open question, which is then closed; None if there is none or it is too old."""
        question, until = self._open.pop(channel, (None, now))
        return question if until > now else None


def missing(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries that have no time to come."""
    return tuple(e for e in entries if e.due is None or e.past)
