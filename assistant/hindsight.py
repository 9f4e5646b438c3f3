"""What was said a moment ago and may be put right now, and the corrections that are proposed when it is.

Kept in memory only, as open questions are. The proposals are written inside the transaction of what was said; one that
cannot be written is told to the log, and what the person wanted is done all the same.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from assistant.clock import Clock
from assistant.corrections import Corrections, Why, retimed
from assistant.messages import Kind, Reminder
from assistant.targets import content
from assistant.when import split

log = logging.getLogger(__name__)

JUST_NOW = timedelta(minutes=10)
"""So long "no, I meant six" puts right what was set last on a channel."""
EDITED = timedelta(minutes=2)
"""So long after it was set a move puts right what was understood; later on it is a change of plans."""
REWORDED = timedelta(minutes=1)
"""So long after it was set a cancel takes a request back, and so long after that another wording may replace it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A request as it was first said, and what it was taken for."""

    request_id: str | None
    """None where the request is not kept."""
    text: str
    rewrite: str


@dataclass(frozen=True, slots=True)
class Made:
    """A request that set exactly one reminder."""

    heard: Heard
    channel: str
    reminder_id: int
    rewrite: str
    """As it has been put right so far."""
    at: datetime
    """Aware UTC: when the reminder was set."""


class Hindsight:
    """What each channel said last; used by `Conversation`, and by whoever acts by number."""

    def __init__(self, corrections: Corrections, clock: Clock, tz: ZoneInfo) -> None:
        self._corrections, self._clock, self._tz = corrections, clock, tz
        self._made: dict[int, Made] = {}
        """Reminder -> what set it."""
        self._last: dict[str, int] = {}
        """Channel -> the reminder that the last answer on it was about."""
        self._doubts: dict[str, tuple[Heard, datetime]] = {}
        """Channel -> a request of which nothing was made, or that was taken back; and when."""

    # What is remembered, after the commit

    def made(self, channel: str, heard: Heard, reminders: Sequence[Reminder], rewrite: str) -> None:
        """A request has set these, as `rewrite` if that has been put right before."""
        now = self._clock.now()
        self._doubts.pop(channel, None)
        self._made = {id: m for id, m in self._made.items() if now - m.at <= JUST_NOW}
        self._last = {c: id for c, id in self._last.items() if id in self._made}
        if len(reminders) == 1:
            id = reminders[0].id
            self._made[id] = Made(heard, channel, id, rewrite, now)

    def doubt(self, channel: str, heard: Heard) -> None:
        """Nothing was made of a request, or not what was meant: it may be said again in other words."""
        now = self._clock.now()
        self._doubts = {c: d for c, d in self._doubts.items() if now - d[1] <= REWORDED}
        self._doubts[channel] = heard, now

    def cancelled(self, reminders: Iterable[int]) -> None:
        """These were cancelled: if just set, the request is taken back."""
        for id in reminders:
            if made := self._fresh(id, REWORDED):
                self.doubt(made.channel, made.heard)

    def answered(self, channel: str, kind: Kind, reminders: Sequence[Reminder], question: bool) -> None:
        """From now on "no, I meant six" on this channel is about the one reminder that was set or moved, or no longer
        about any; a look at the list does not matter."""
        if kind == "list":
            return
        self._last.pop(channel, None)
        if kind in ("create", "move") and len(reminders) == 1 and not question and reminders[0].id in self._made:
            self._last[channel] = reminders[0].id

    def just_made(self, channel: str) -> int | None:
        """The reminder that is put right by "no, I meant six"."""
        made = self._fresh(self._last.get(channel), JUST_NOW)
        return made and made.reminder_id

    def _fresh(self, id: int | None, so_long: timedelta) -> Made | None:
        made = self._made.get(id)
        return made if made and self._clock.now() - made.at <= so_long else None

    # What is proposed, inside the transaction

    def propose(self, heard: Heard, should: str, why: Why) -> None:
        """A request should have become `should`."""
        with self._harmless():
            self._propose(heard, should, why)

    def reworded(self, channel: str, rewrite: str) -> None:
        """A request sets something: perhaps what another one just before it was to set."""
        with self._harmless():
            heard, at = self._doubts.get(channel, (None, None))
            if heard is None or self._clock.now() - at > REWORDED:
                return
            if all(content(split(line)[0]) for line in rewrite.split("\n")):  # a time alone is like anything
                self._propose(heard, rewrite, "reworded")

    def moved(self, id: int, when: str, moved: Reminder, why: Why) -> None:
        """A reminder was moved to the When sentence `when`; `moved` is what rings then."""
        with self._harmless():
            made = self._fresh(id, EDITED if why == "edit" else JUST_NOW)
            if made is None or moved.id != id or (why == "edit" and moved.rrule):
                return
            rewrite = retimed(made.rewrite, when, moved.due.astimezone(self._tz))
            if rewrite:
                self._made[id] = replace(made, rewrite=rewrite)
                self._propose(made.heard, rewrite, why)

    def _propose(self, heard: Heard, should: str, why: Why) -> None:
        now = self._clock.now()
        self._corrections.propose(heard.request_id, heard.text, heard.rewrite, should, why, now)

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Whatever goes wrong inside is undone and told to the log, and what the person wanted is done."""
        db = self._corrections.db
        try:
            with db.transaction():
                yield
        except Exception:
            if not db.sql.conn.in_transaction:  # a full disk has rolled back all that is done here
                raise
            log.exception("a correction was not kept")
