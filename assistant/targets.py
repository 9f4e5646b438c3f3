"""Which reminders are meant by "my dentist appointment", "the 7 o'clock alarm", "all meetings tomorrow"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from assistant.errors import BadWhen
from assistant.messages import Reminder, Target
from assistant.ranges import parse_range
from assistant.when import Policy, localise
from assistant.words import fold, words

CARRIERS = frozenset(
    "alarm reminder event appointment meeting timer thing entry item task one calendar notification".split()
)
"""Nouns that name the thing set rather than its content; alone they mean any reminder."""
_STOP = frozenset(
    "a an the my our your his her to for of at on in about with that this it is i me have has be set and from".split()
)


@dataclass(frozen=True, slots=True)
class Match:
    """What a target may mean."""

    found: tuple[Reminder, ...]
    """Equally good candidates, soonest first."""
    everything: bool = False
    """All of them were meant."""


def due_of(r: Reminder) -> datetime:
    """The aware instant of a reminder: of its next occurrence, or of the one that rang last."""
    return r.due or localise(r.wall, ZoneInfo(r.zone))


def stem(word: str) -> str:
    """A word without possessive, plural and -ing, so that "mum's" finds "mums" and "running" finds "run"."""
    word = fold(word).replace("'s", "").replace("'", "")
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word.removesuffix("es") if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]
    return word


def content(text: str) -> list[str]:
    """The stems that tell one reminder from another."""
    return [stem(w.folded) for w in words(text) if w.folded not in _STOP]


def find(
    target: Target,
    active: Sequence[Reminder],
    now: datetime,
    tz: ZoneInfo,
    policy: Policy,
    rung: Reminder | None = None,
    latest: Reminder | None = None,
) -> Match:
    """The reminders of `active` that `target` may mean.

    `rung`: the one that rang last and was not acknowledged; `latest`: the one made last on the person's channel.
    """
    chosen = in_range(target.range, active, now, tz, policy)
    asked = content(target.words)
    telling = [w for w in asked if w not in CARRIERS]
    if telling:
        scores = {r.id: _score(telling, content(r.task)) for r in chosen}
        best = max(scores.values(), default=0.0)
        chosen = [r for r in chosen if best and scores[r.id] == best]
    elif asked:  # "alarm": those that are called so, else any
        named = [r for r in chosen if set(asked) & set(content(r.task))]
        bare = [r for r in chosen if not r.task]
        chosen = named or (bare if bare and "reminder" in asked else chosen)
    match target.quantifier:
        case "all":
            return Match(tuple(chosen), everything=True)
        case "next" | "first":
            ahead = sorted((r for r in chosen if r.state == "pending"), key=due_of)
            return Match(tuple(ahead[:1]))
        case "last":
            return Match(tuple(sorted(chosen, key=lambda r: -r.id)[:1]))
        case "that" if not telling:
            meant = [r for r in (rung, latest) if r is not None and any(c.id == r.id for c in chosen)]
            return Match((meant[0],) if meant else tuple(chosen))
    return Match(tuple(chosen))


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


def _score(asked: list[str], has: list[str]) -> float:
    """0 if too little is shared; more, the more of what was asked and of what is there agrees."""
    shared = len(set(asked) & set(has))
    if shared * 2 < len(set(asked)):
        return 0.0
    return shared / len(set(asked)) + 0.1 * shared / max(1, len(set(has)))


_NUMBERS = {
    w: n
    for n, forms in enumerate(
        ("first one 1 1st", "second two 2 2nd", "third three 3 3rd", "fourth four 4 4th", "fifth five 5 5th"), 1
    )
    for w in forms.split()
}


def pick(answer: str, offered: Sequence[Reminder], now: datetime, tz: ZoneInfo) -> Reminder | None:
    """The one of `offered` that an answer to "Which one?" means: by number, by its words, by its time of day."""
    said = [w.folded for w in words(answer)]
    plain = [w for w in said if w not in _STOP and w not in ("number", "please", "one")]
    if all(w in _NUMBERS for w in plain) and (plain or "one" in said):
        n = _NUMBERS[plain[0]] if plain else 1
        return offered[n - 1] if n <= len(offered) else None
    if plain == ["last"]:
        return offered[-1]
    scores = [len(set(content(answer)) & (set(content(r.task)) | _spoken_times(r, tz))) for r in offered]
    best = max(scores, default=0)
    return offered[scores.index(best)] if best and scores.count(best) == 1 else None


def _spoken_times(r: Reminder, tz: ZoneInfo) -> set[str]:
    due = due_of(r).astimezone(tz)
    out = {
        due.strftime("%A").lower(),
        due.strftime("%B").lower(),
        f"{due.hour}:{due.minute:02}",
        f"{due.hour % 12 or 12}:{due.minute:02}",
    }
    if due.minute == 0:
        half = "am" if due.hour < 12 else "pm"
        out |= {f"{due.hour % 12 or 12}{half}", f"{due.hour % 12 or 12}", half}
    return {stem(w) for w in out}


YES = frozenset(
    ["yes", "yeah", "yep", "yup", "y", "ok", "okay", "sure", "correct", "right", "do it", "go ahead", "please do"]
    + ["yes please", "that's right", "exactly", "of course", "absolutely", "all", "all of them", "every one"]
)
NO = frozenset(
    ["no", "nope", "nah", "n", "cancel", "stop", "never mind", "nevermind", "forget it", "don't", "no thanks"]
    + ["no thank you", "none", "neither", "none of them", "leave it", "wrong"]
)


def is_yes(text: str) -> bool:
    return " ".join(w.folded for w in words(text)) in YES


def is_no(text: str) -> bool:
    return " ".join(w.folded for w in words(text)) in NO
