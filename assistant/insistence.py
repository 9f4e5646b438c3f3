"""How long a reminder insists, and by what: the number and the interval of its rings, and the steps of an escalation.

Pure data and functions; `outbox.py` and `delivery.py` act on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

FOR_NOBODY = frozenset({"log"})
"""Notifiers that no person hears or sees."""


@dataclass(frozen=True, slots=True)
class Insistence:
    """How a reminder is repeated until somebody acknowledges it."""

    repeat_after: timedelta
    """From a ring that nobody acknowledged to the next one."""
    repeats: int
    """Rings after the first; then the reminder counts as missed."""


def insistence_of(channel: str | None, usual: Insistence, channels: Mapping[str, Insistence]) -> Insistence:
    """That of the channel on which a reminder was asked for: of its whole name or of what stands before its colon
    (`mqtt` for `mqtt:kitchen`), or else the usual one."""
    name = channel or ""
    return channels.get(name) or channels.get(name.partition(":")[0]) or usual


def first_rings(steps: Sequence[Sequence[str]], names: Sequence[str]) -> dict[str, int]:
    """The number of the first ring, from 1, by each of the notifiers `names`: the n-th step joins at the n-th ring.

    What no step names rings from the first ring on. Steps of which nothing is there that a person hears or sees are
    left out, so that no time is lost on a ring for nobody.
    """
    there = [step for step in steps if any(name in names and name not in FOR_NOBODY for name in step)]
    return {name: next((n for n, step in enumerate(there, 1) if name in step), 1) for name in names}
