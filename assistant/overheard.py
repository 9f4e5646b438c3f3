"""Speech that was overheard, and whether it is meant for the assistant (device-directed speech detection). Pure.

Somebody who speaks to it sounds like it; what his neighbour says, or the television, is none of its business. Where the
model is not sure, or nobody is, these words decide whether it is worth asking about.
"""

import re

from assistant.words import words

OVERHEARD = "overheard"
"""The channel of what was overheard while no model answered: nobody knows yet whether it was meant for the assistant,
so it is forgotten where it turns out not to be, or is never understood, instead of ringing in its own words."""
_REQUEST = re.compile(
    r"remind(?:er|ers|ed|s)?|re mind|alarms?|timers?|snooze|appointments?|calendar|schedule"
    r"|wake (?:me|us)|(?:don't|dont|do not|not|never) (?:let (?:me|us) )?forget"
)
"""Said to an assistant for reminders, and seldom else."""


def sounds_like_request(text: str) -> bool:
    """Whether words of a text are those of a request, whatever the model makes of it."""
    said = " ".join(word.folded for word in words(text))
    return bool(re.search(rf"(?<!\S)(?:{_REQUEST.pattern})(?!\S)", said))
