"""Which reminders are meant by "my dentist appointment", "the 7 o'clock alarm", "all meetings tomorrow".

A reminder is meant beyond doubt when its task has every telling word of the target. One that has half of them, or has
them spelt otherwise, is a guess: the caller asks before it acts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from functools import lru_cache
from zoneinfo import ZoneInfo

from assistant.errors import BadWhen
from assistant.messages import Reminder, Target
from assistant.ranges import parse_range
from assistant.when import Policy, localise
from assistant.words import fold, words

KINDS = {"alarm": {"alarm", "wak"}, "timer": {"timer"}, "meeting": {"meeting"}, "appointment": {"appointment"}}
"""Nouns that mean any reminder, for want of one whose task has a word of such a stem."""
CARRIERS = frozenset(
    {*KINDS, *"reminder event thing entry item task one calendar notification schedul agenda list".split()}
)
"""Stems of all nouns that name the thing set rather than its content; the others mean any reminder."""
_STOP = frozenset(
    "a an the my our your his her their to for of at on in about with that this it is i me we have has be set and"
    " from there these those".split()
)
_POINTING = frozenset("a an the my that this it one these those".split())
LIKE = 0.8
"""Words of four letters or more that agree so far are one word spelt in two ways; 1 is equal."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a target may mean."""

    found: tuple[Reminder, ...]
    """Equally good candidates, soonest first."""
    everything: bool = False
    """All of them were meant."""
    sure: bool = True
    """False: this is a guess, ask first."""


def due_of(r: Reminder) -> datetime:
    """The aware instant of a reminder: of its next occurrence, or of the one that rang last."""
    return r.due or localise(r.wall, ZoneInfo(r.zone))


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """A word without possessive, plural, -ing and -ed: "mum's" is "mums", "calling" is "called", "running" is "run"."""
    word = fold(word).replace("'s", "").replace("'", "")
    if word in KINDS:  # a meeting is not what is met
        return word
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word.removesuffix("es") if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]
    if word in KINDS:
        return word
    if len(word) > 4 and word.endswith("ie"):  # berries, berry
        word = word[:-2] + "y"
    for ending in ("ing", "ed"):
        if len(word) - len(ending) >= 3 and word.endswith(ending):
            word = word.removesuffix(ending)
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word.removesuffix("e") if len(word) > 3 else word


def content(text: str) -> list[str]:
    """The stems that tell one reminder from another."""
    said = [w.folded for w in words(text)]
    return [stem(w) for w in said if w not in _STOP] or [stem(w) for w in said if w not in _POINTING]


def is_bare(target: Target) -> bool:
    """It says no more than "it", "that" or "the alarm"."""
    telling = any(w not in CARRIERS for w in content(target.words))
    return not (telling or target.range) and target.quantifier in (None, "that")


def find(
    target: Target,
    active: Sequence[Reminder],
    now: datetime,
    tz: ZoneInfo,
    policy: Policy,
    that: Sequence[Reminder] = (),
) -> Match:
    """The reminders of `active` that `target` may mean; `that`: those that "that" may point at, best first."""
    chosen, sure = in_range(target.range, active, now, tz, policy), True
    asked = content(target.words)
    telling = [w for w in asked if w not in CARRIERS]
    kinds = [w for w in asked if w in KINDS]
    if telling:
        chosen, sure = _by_words(telling, chosen)
        if len(chosen) > 1 and kinds:
            chosen = [r for r in chosen if _of_kind(r, kinds)] or chosen
    elif kinds:
        named = [r for r in chosen if _of_kind(r, kinds)]
        sure = bool(named)
        chosen = named or ([] if target.quantifier == "all" else chosen)
    if target.quantifier == "all":
        return Match(tuple(chosen), everything=True, sure=sure)
    return Match(tuple(_quantified(target, chosen, that)), sure=sure)


def _quantified(target: Target, chosen: list[Reminder], that: Sequence[Reminder]) -> list[Reminder]:
    ahead = sorted((r for r in chosen if r.state == "pending"), key=due_of)
    match target.quantifier:
        case "next" if ahead:  # two at one instant are both the next
            return [r for r in ahead if due_of(r) == due_of(ahead[0])]
        case "next" | "first" if chosen:
            chosen = sorted(chosen, key=due_of)
            return [r for r in chosen if due_of(r) == due_of(chosen[0])]
        case "last" if chosen:  # the last one tomorrow, or else the one set last
            return [max(chosen, key=(lambda r: (due_of(r), r.id)) if target.range else (lambda r: r.id))]
        case "that":
            return next(([c] for r in that for c in chosen if c.id == r.id), chosen)
    return chosen


def in_range(
    text: str | None, active: Sequence[Reminder], now: datetime, tz: ZoneInfo, policy: Policy
) -> list[Reminder]:
    """Those whose next occurrence lies in a range."""
    if text is None:
        return list(active)
    try:
        look = parse_range(text, now, tz, policy)
    except BadWhen:
        return []
    return [r for r in active if look.matches(due_of(r).astimezone(tz), r.rrule)]


def _of_kind(r: Reminder, kinds: list[str]) -> bool:
    has = set(content(r.task))
    return any(KINDS[k] & has for k in kinds)


def _by_words(asked: list[str], reminders: list[Reminder]) -> tuple[list[Reminder], bool]:
    """Those that agree best with the words asked for, and whether beyond doubt.

    All words must agree, and then a task of no other words comes first; or else half of them, or words like them.
    """
    best, found, exact = 0.0, [], []
    for r in reminders:
        if not any(word[:2] in r.task.lower() for word in asked):  # most of 100,000 are not even like it
            continue
        has = set(content(r.task))
        score = sum(1.0 if w in has else 0.9 if _like(w, has) else 0.0 for w in asked) / len(asked)
        if score >= 0.5 and score >= best:
            found = [r] if score > best else [*found, r]
            best = score
        if has - CARRIERS == set(asked):
            exact.append(r)
    return (exact if exact and best == 1 else found), best == 1


def _like(word: str, others: set[str]) -> bool:
    return len(word) > 3 and any(
        len(o) > 3 and o[:2] == word[:2] and SequenceMatcher(None, word, o).ratio() >= LIKE for o in others
    )
