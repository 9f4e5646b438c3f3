"""Short answers to the assistant's questions, told from requests: yes, no, all, which of those read out, and when."""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from assistant.messages import Reminder, Understanding
from assistant.targets import content, due_of, stem
from assistant.words import words

_FILL = "oh|um+|uh+|er+|hmm+|well|so|now|just|please|thanks|thank you|that|that's|it|it's|is|was|them|then|very much"
_YES = (
    "yes|yeah|yea|yep|yup|aye|y|ok|okay|sure|correct|right|exactly|absolutely|definitely|indeed|fine|confirm(?:ed)?"
    "|do|do it|do so|go ahead|go for it|of course|sounds good|certainly"
)
_NO = (
    "no|nope|nah|n|cancel|stop|wrong|incorrect|never ?mind|forget|forget it|leave|don't|do not|dont|not now|none"
    "|none of them|neither|neither of them|nothing|no way|not at all|drop"
)
_ALL = "all|all of them|all of those|both|both of them|everything|every one|everyone|the lot|the whole lot|each"
_NUMBERS = {
    word: n
    for n, forms in enumerate(
        ("first 1 1st one", "second 2 2nd two", "third 3 3rd three", "fourth 4 4th four", "fifth 5 5th five"), 1
    )
    for word in forms.split()
}
_HOURS = {w: str(n) for n, w in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), 1)}
_NOISE = frozenset(
    "the one ones number option please that it is i i'd mean meant want for at on in to my a an of about with and"
    " o'clock oclock er um uh oh yes yeah reminder alarm".split()
)


LONGEST = 8
"""Words of the longest yes or no; it also keeps the patterns from trying too many ways to match."""


def _said(text: str) -> str:
    return " ".join(w.folded for w in words(text))


def _is(core: str, text: str, before: str = _FILL, after: str = _FILL) -> bool:
    said = _said(text)
    pattern = rf"(?:(?:{before}) )*(?:{core})(?: (?:{core}|{after}))*"
    return said.count(" ") < LONGEST and bool(re.fullmatch(pattern, said))


def is_yes(text: str) -> bool:
    return _is(_YES, text, after=f"{_FILL}|{_ALL}")


def is_no(text: str) -> bool:
    return _is(_NO, text, after=f"{_FILL}|{_ALL}|thank|i don't|i do not")


def is_all(text: str) -> bool:
    """All of those that were read out."""
    return _is(_ALL, text, before=f"{_FILL}|{_YES}")


_AGAINST = re.compile(r"(?:not|don't|dont|do not|never)\b")


def after_no(text: str) -> str:
    """What follows a "no" ("no, at six"); empty if there is no "no", nothing more, or another no ("no, not at six")."""
    first, _, rest = text.strip().partition(" ")
    return rest.strip() if _said(first) in ("no", "nope", "nah") and not _AGAINST.match(_said(rest)) else ""


def pick(answer: str, offered: Sequence[Reminder], now: datetime) -> Reminder | None:
    """The one of `offered` that an answer to "Which one?" means: by number, by its words, by its time.

    Every word of the answer must fit it and no other; `now` is in the person's zone.
    """
    said = [w.folded for w in words(answer)]
    plain = [w for w in said if w not in _NOISE]
    if not plain and "one" in said and len(said) <= 3:
        plain = ["one"]
    if len(plain) == 1:
        if plain == ["last"]:
            return offered[-1]
        if _NUMBERS.get(plain[0], len(offered) + 1) <= len(offered):
            return offered[_NUMBERS[plain[0]] - 1]
    wanted = {stem(_HOURS.get(w, w)) for w in plain}
    fitting = [r for r in offered if wanted and wanted <= {*content(r.task), *_times(r, now)}]
    return fitting[0] if len(fitting) == 1 else None


def _times(r: Reminder, now: datetime) -> set[str]:
    """Words by which people say when it rings."""
    due = due_of(r).astimezone(now.tzinfo)
    hour, half = due.hour % 12 or 12, "am" if due.hour < 12 else "pm"
    out = {f"{due:%A}", f"{due:%B}", f"{due.day}", f"{due.hour}:{due.minute:02}", f"{hour}:{due.minute:02}", half}
    if not due.minute:
        out |= {f"{hour}{half}", f"{hour}", f"{due.hour}"}
    out.add({0: "today", 1: "tomorrow", -1: "yesterday"}.get((due.date() - now.date()).days, ""))
    out.add("morning" if due.hour < 12 else "afternoon" if due.hour < 18 else "night")
    if due.hour >= 17:
        out.add("evening")
    if due.hour >= 18:
        out.add("tonight" if due.date() == now.date() else "")
    return {stem(w.lower()) for w in out if w}


# The answer to "When?"

_ASKING = re.compile(r"\b(re ?mind\w*|alarms?|timers?|set|wake|schedule|add|note|book)\b")
_PADDING = frozenset(
    stem(w)
    for w in "yes yeah yep ok okay sure please um uh er hmm well maybe perhaps say make let's let like around actually"
    " thanks how should do can could you will think guess i'd would prefer then just so oh remind reminder".split()
)
DOUBTFUL, CLEAR = 0.5, 0.8
"""Confidences of the model: below the one a request may be none, from the other on a time needs no second look."""
SHORT = 12
"""An answer to "When?" has at most so many words."""


def is_request(u: Understanding) -> bool:
    """Whether it says enough to be a request of its own, and no mere answer."""
    match u.kind:
        case "create" | "confirm":
            return len(u.entries) > 1 or bool(u.entries[0].task)
        case "needs_time":
            return bool(_ASKING.search(u.text.lower()))
    return u.kind != "other"


def says_when(u: Understanding) -> bool:
    """Whether a change has a new time of its own."""
    return u.shift_minutes is not None or any(e.when for e in u.entries)


def gives_time(u: Understanding, task: str | None, shift: bool = False) -> bool:
    """Whether it says when, and nothing else but words of `task`; `shift`: "an hour later" will do."""
    if len(u.entries) != 1:
        return False
    entry = u.entries[0]
    if u.target:  # "make it six" reads like a move of something
        bare = not (u.target.range or set(content(u.target.words)) - set(content(task or "")))
        return bare and u.kind in ("move", "snooze") and bool(entry.when or (shift and u.shift_minutes is not None))
    return bool(entry.when) and set(content(entry.task or "")) <= _PADDING | set(content(task or ""))


def _doubtful(u: Understanding) -> bool:
    """It may be no request of its own: a bare time reads like a move of nothing."""
    pointless = u.kind in ("move", "snooze", "done") and u.target and not content(u.target.words)
    return not is_request(u) or pointless or u.confidence < DOUBTFUL


async def hear_time(
    text: str,
    task: str | None,
    mean: Callable[[str], Awaitable[Understanding]],
    read: Callable[[str], Understanding | None],
    shift: bool = False,
) -> tuple[bool, Understanding]:
    """Whether `text` answers "When?" about `task`, and what it means, as that or as a request of its own.

    `mean` asks the model, `read` knows plain When sentences. The model knows requests and not answers, so that one it
    makes nothing of is tried as the end of a request.
    """
    if plain := read(text):
        return True, plain
    first = await mean(text)
    best = first if gives_time(first, task, shift) else None
    doubtful = best.confidence < CLEAR if best else _doubtful(first)
    if doubtful and len(words(text)) <= SHORT and not _ASKING.search(text.lower()):
        for attempt in (f"remind me {text}", f"remind me at {text}"):
            u = await mean(attempt)
            if gives_time(u, task, shift) and (best is None or u.confidence > best.confidence):
                best = u
    return best is not None, best or first
