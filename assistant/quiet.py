"""Quiet hours, in which nothing makes a sound, and what a person says to be reminded all the same: "even at night".

In them the log and the desktop tell what they always tell, ntfy sends it so that the phone neither sounds nor shakes,
and whatever else would ring does not, which counts as delivered: to try again would only wait for the morning. Where
nothing is in use that can tell it silently, quiet hours do not hold, so that no reminder is lost in them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

TELLS_SILENTLY = frozenset({"desktop", "ntfy"})
"""Notifiers that can tell a person something without a sound."""
KEEPS_ON = TELLS_SILENTLY | {"log"}
"""Notifiers that go on in quiet hours."""
_NIGHT = (
    r"even (?:at|in|during|through) (?:the )?(?:middle of the )?night(?: ?time)?",
    r"even (?:in|during) (?:the |my )?(?:quiet|sleeping) hours",
    r"even (?:if|when|while) i(?:['’]?| a)m (?:asleep|sleeping|in bed)",
    r"even (?:if|when) it(?:['’]?| i)s (?:late|night|the middle of the night)",
)
_AT_NIGHT = re.compile(rf",? *\b(?:and |but |please )?(?:{'|'.join(_NIGHT)})\b,?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` until `end`, which may lie past midnight; none if they are the same."""

    start: time
    end: time
    zone: ZoneInfo
    """Of the person."""

    def hold(self, at: datetime, notifiers: Sequence[str]) -> bool:
        """Whether an aware instant lies in them, where these notifiers are in use."""
        if TELLS_SILENTLY.isdisjoint(notifiers):
            return False
        return within(at.astimezone(self.zone).time(), self.start, self.end)


def within(t: time, start: time, end: time) -> bool:
    """Whether a time of day lies in hours that may go past midnight; the same start and end are no hours."""
    return start <= t < end if start <= end else t >= start or t < end


def even_at_night(text: str) -> bool:
    """Whether a request says that its reminder is to make a sound in quiet hours as well."""
    return _AT_NIGHT.search(text) is not None


def without_night(text: str) -> str:
    """A request without the words that say so, which are none of its task and none of its time. Left alone where
    nothing else was said."""
    rest = " ".join(_AT_NIGHT.sub(" ", text).split()).strip(" ,;")
    return rest or text
