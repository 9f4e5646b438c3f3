"""What was missed: it stopped ringing and nobody had acknowledged it. The person is told once, at the next interaction,
and whenever they ask.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from assistant.database import to_instant, to_text
from assistant.messages import Reminder, Target, Understanding
from assistant.store import Store, read_reminder
from assistant.words import words

LINE = "/list missed"
"""What a request that asks for it is taken for; no model need know it."""
LOOK_BACK = timedelta(days=7)
"""So far back goes the answer to "what did I miss?"."""
_FILL = "hey|hi|hello|so|ok|okay|well|um|uh|please|assistant|now|then|today|thanks|just"
_AWAY = "while i was (?:away|out|gone|asleep|sleeping|in the meeting)|since (?:then|yesterday|this morning|last night)"
_ASKS = re.compile(
    rf"(?:(?:{_FILL}|tell me|show me|can you tell me|could you tell me|i wonder) )*"
    r"(?:what (?:did|have|'ve) i (?:just )?miss(?:ed)?|what(?:'ve| have)? i(?:'ve)? missed"
    r"|(?:did|have) i miss(?:ed)? (?:anything|something|any reminders?|a reminder)"
    r"|what (?:was|were|got|has been) missed|which reminders (?:did|have) i miss(?:ed)?"
    r"|(?:(?:show|list|read|give)(?: me)?|what are) (?:(?:my|the|all|all my|all the) )?"
    r"(?:missed(?: (?:reminders?|ones?))?|reminders? (?:that )?i (?:have )?missed))"
    rf"(?: (?:{_FILL}|{_AWAY}))*"
)

_ASKED_ON = (
    "EXISTS (SELECT 1 FROM reminders a JOIN requests q ON q.id = a.request_id WHERE a.id = d.reminder_id"
    " AND q.channel = ?)"
)
"""A delivery `d` is of what was asked for on a channel."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A reminder that was missed."""

    reminder: Reminder
    last: datetime
    """Aware UTC: the occurrence that was missed last."""
    times: int
    """How many occurrences were."""


def asks_for_missed(text: str) -> bool:
    """Whether a request asks what was missed, and nothing else."""
    said = " ".join(w.folded for w in words(text))
    return len(said) < 100 and _ASKS.fullmatch(said) is not None


def as_understood(text: str) -> Understanding:
    """A request that asks what was missed."""
    return Understanding(text, "list", LINE, (), Target(None, "missed", None), None, 1.0, "none", 0.0)


class Missed:
    """What was missed, in an open store."""

    def __init__(self, store: Store) -> None:
        self._db = store.db

    def lately(self, now: datetime) -> list[Miss]:
        """All that was missed in the last days and not dealt with since, oldest first."""
        return self._found("d.due_utc > ?", to_text(now - LOOK_BACK))

    def untold(self, now: datetime, channel: str | None = None) -> list[Miss]:
        """Of those, what the person was not told of; what rings again just now tells of itself. With a channel, only
        what was asked for on it."""
        ringing = "EXISTS (SELECT 1 FROM deliveries n WHERE n.reminder_id = r.id AND n.state = 'ringing')"
        which = f"d.told = 0 AND d.due_utc > ? AND NOT {ringing} AND (? IS NULL OR {_ASKED_ON})"
        return self._found(which, to_text(now - LOOK_BACK), channel, channel)

    def tell(self, channel: str | None = None) -> None:
        """The person was told of all of them, or of those of a channel. To be called inside the transaction of the
        reply."""
        self._db.execute(
            f"UPDATE deliveries AS d SET told = 1 WHERE state = 'missed' AND told = 0 AND (? IS NULL OR {_ASKED_ON})",
            (channel, channel),
        )

    def _found(self, which: str, *parameters: str | None) -> list[Miss]:
        # A one-off that is pending again was moved; an occurrence that stands for none was rung with a later one.
        rows = self._db.rows(
            "SELECT r.*, max(d.due_utc) AS last, sum(d.occurrences) AS times FROM deliveries d"
            " JOIN reminders r ON r.id = d.reminder_id WHERE d.state = 'missed' AND d.occurrences > 0"
            " AND (r.state = 'missed' OR (r.rrule IS NOT NULL AND r.state IN ('pending', 'fired')))"
            f" AND {which} GROUP BY r.id ORDER BY last, r.id",
            parameters,
        )
        return [Miss(read_reminder(row), to_instant(row["last"]), row["times"]) for row in rows]
