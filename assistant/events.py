"""Event or to-do: what the words of a request ask for.

"Put the dentist on my calendar for friday at 3" is an event: it is at three, and one wants to know before. "Remind me
to call mum at 3" is a to-do: it is to be done from three on. Whoever asks to be reminded gets a to-do, whatever else is
in the request, and so does whoever says what has to be done.
"""

import re
from typing import Literal

ItemKind = Literal["event", "todo"]

_OPENING = (
    r"^(?:(?:um|uh|er|oh|so|well|ok|okay|hey|hi|hello|right|and|please|also|now|assistant|could you|can you|would you"
    r"|will you|i(?:'d| would) like you to|i want you to|you to|let's|lets)[,.!]? +)*"
)
"""What people say before they say what they want."""
_TODO = re.compile(
    _OPENING + r"(?:remind|don'?t (?:let me )?forget|do not (?:let me )?forget|wake|alert me|notify me|nudge me|tell me"
    r"|ping me|remember|make sure|set (?:me )?(?:an? |the )?(?:alarm|reminder|timer)|alarm|timer|reminder"
    r"|i(?:'ve| have)? (?:got to|gotta|have to|need to|must|should|ought to)|i have to|i've to|i need reminding)\b"
)
_EVENT = re.compile(
    r"\b(?:calend[ae]r|diary|agenda)\b"
    r"|\b(?:meetings?|appointments?|appt|events?)\b"
    r"|" + _OPENING + r"(?:schedule|book|pencil)\b"
)


def item_kind(text: str) -> ItemKind:
    """Whether a request, as it was said, asks for an event or for a to-do. Letter case does not matter."""
    said = " ".join(text.lower().replace("’", "'").split())
    if _TODO.match(said):
        return "todo"
    return "event" if _EVENT.search(said) else "todo"
