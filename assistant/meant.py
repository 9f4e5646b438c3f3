"""Corrections told from requests: "no, I meant six", "not five, six", "six, not five". Pure.

Only one that says nothing but another time is told here: a word that belongs to no time, or to no task that was just
set, makes it a request, which is the model's to understand ("no reminder tomorrow", "no, call dad").
"""

import re

from assistant.answers import SHORT, is_no
from assistant.evidence import evidence
from assistant.grammar import WEEKDAYS
from assistant.spoken import NTH, numbers, pieces
from assistant.syntax import CLOCK_UNITS, Delay, Repetition, read_when
from assistant.targets import content, stem
from assistant.words import model_text

_GLUE = frozenset(
    "at on in by around about like the of to too past till til until from before after and half quarter o clock oclock"
    " am pm m p ish sharp today tomorrow tonight morning afternoon evening night midday lunchtime weekend this next"
    " last every each day days daily later earlier now st nd rd th instead please thanks".split()
)
"""Words of times that are neither numbers nor names of days, months and units."""
_POINTLESS = _GLUE - frozenset(
    "today tomorrow tonight morning afternoon evening night midday lunchtime weekend day days daily now later earlier"
    .split()
)
"""Those that say no time by themselves: "no, pm", "sorry, last"."""
_THIS_ONE = re.compile(r"\b(?:this|that|the|next|last) one$")
_AGAIN = frozenset(map(stem, "remind me reminder set alarm timer a an for wake up".split()))
"""What is said again with the time: "I said remind me at six"."""
_DAYS = frozenset((*WEEKDAYS, "today", "tomorrow", "tonight"))
_DAYPARTS = frozenset("morning noon midday afternoon evening night midnight".split())
_FILL = "oh|um+|uh+|er+|hmm+|ah|well|wait|hang on|hold on|ok|okay"
_NO = "no|nope|nah|sorry|oops|actually|that's wrong|that is wrong|wrong"
_OPENING = re.compile(rf"((?:(?:{_FILL}|{_NO})(?: ,)? )*)(.*)")
_MEANT = re.compile(
    r"(?:i (?:meant|mean|said)(?: to say)?|(?:it |that )?(?:should|was meant to) (?:be|have been))(?: ,)? (.+)"
)
_IT_IS = re.compile(r"(?:it's|it is|it was) ")
_CONTRASTS = tuple(
    map(
        re.compile,
        (
            r"not (?P<old>.+?)(?: , but| but| ,) (?P<new>.+)",
            r"(?P<new>.+?)(?: ,)?(?: and)? (?:not|instead of|rather than) (?P<old>.+)",
        ),
    )
)


def corrected_time(text: str, task: str) -> str:
    """The words for the time that a correction of the reminder of `task` gives; empty if it is none.

    "no" needs a pause behind it before words of the task may follow: "no meeting tomorrow" is no correction.
    """
    said = re.sub(r"(?: [.,;:!?-])+(?= |$)", " ,", f" {model_text(text)}").strip(" ,")
    opening, rest = _OPENING.fullmatch(said).groups()
    opened = re.search(rf"\b(?:{_NO})\b", opening)
    paused = opening.rstrip().endswith(",")
    again = _MEANT.fullmatch(rest)
    if again:
        rest, paused = again[1], True
    elif opened:
        rest = _IT_IS.sub("", rest, count=1)
    contrast = _contrast(rest)
    if contrast:
        rest, old = contrast
        paused = True
        if not _is_time(old, task, again=False):
            return ""
    if not (opened or again or contrast) or is_no(text):
        return ""
    time = rest.replace(" ,", "")
    if _THIS_ONE.search(time) or all(p in _POINTLESS for p in pieces(time.split())):
        return ""
    return time if _is_time(time, task if paused else "", again=bool(again)) else ""


def _contrast(said: str) -> tuple[str, str] | None:
    """What is meant and what is not: of "not five, six", "six not five", or spoken without a pause "not five six"."""
    for pattern in _CONTRASTS:
        if found := pattern.fullmatch(said):
            return found["new"], found["old"]
    spoken = said.split()
    half = len(spoken) // 2
    if spoken[:1] == ["not"] and len(spoken) % 2 and half:
        old, new = spoken[1 : half + 1], spoken[half + 1 :]
        if old != new and all(a == b or _alike(a, b) for a, b in zip(old, new)):  # "not at six" is no contrast
            return " ".join(new), " ".join(old)
    return None


def _alike(old: str, new: str) -> bool:
    """Whether one may stand in the place of the other: two hours, two days, two parts of a day."""
    if all(word in _DAYS for word in (old, new)) or all(word in _DAYPARTS for word in (old, new)):
        return True
    return all(any(0 < n <= 12 for here in numbers(pieces([word]))[:1] for n, _ in here) for word in (old, new))


def _is_time(said: str, task: str, again: bool) -> bool:
    """Whether it is short, and every word belongs to a time, or is one of `task`, or one that is said `again`."""
    spoken = said.replace(" ,", "").split()
    own = set(content(task)) | (_AGAIN if again else set())
    return 0 < len(spoken) <= SHORT and all(
        stem(word) in own or all(p in _GLUE or any(numbers([p])) or evidence([p]).words for p in pieces([word]))
        for word in spoken
    )


_NO_COUNT = frozenset(("a", "an", "o", "oh", "noon", "midday", "midnight", "ate", *NTH))
"""Read as numbers, and not said for how many."""
_COUNTED = re.compile(rf"(?:(in|for|every) )?(.+?)(?: ({'|'.join(CLOCK_UNITS)})s?)?")


def counted(time: str, when: str) -> str:
    """A number that puts `when` right, if that is a length of time: "six" for `in 5 minutes` is `in 6 minutes`, and no
    clock time. Anything else stays as it is."""
    match read_when(when):
        case Delay(span=((_, unit),), time=None):
            begin, before = "in", ("in", "for", None)
        case Repetition(unit=unit, start=None, until=None, length=None) if unit in CLOCK_UNITS:
            begin, before = "every", ("every", None)
        case _:
            return time
    said = _COUNTED.fullmatch(" ".join(pieces(time.split())))
    if said is None:
        return time
    opening, number, other = said.groups()
    parts = number.split()
    whole = [n for n, end in numbers(parts)[0] if end == len(parts)]
    if opening not in before or not whole or not _NO_COUNT.isdisjoint(parts):
        return time
    return f"{begin} {whole[0]} {other or unit}{'s' * (whole[0] != 1)}"
