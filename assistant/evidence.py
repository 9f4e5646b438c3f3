"""What a request gives reason to write: the clock times, numbers, dates, days and units that its words can mean.

Decoding lets a model write these and no others (`decoding.py`), so that it chooses between readings of what was said
and cannot make up an hour, a weekday or a date. What stands for itself (today, morning, weekend) needs no reason.

    "alarm at quarter to six on the 3rd"  ->  5:45?  05:45  17:45;  D 3;  N 1 2 3 6 15 45
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from assistant.grammar import CLASSES, MONTHS, ORDINALS, WEEKDAYS
from assistant.holidays import HOLIDAYS
from assistant.spoken import NTH, Clock, clock_times, numbers, pieces

UNITS = {
    "minute": ("min", "half", "quarter", "hour", "hr", "h"),
    "hour": ("hour", "hr", "h", "half", "day"),
    "week": ("week", "wk", "w", "fortnight", "biweekly"),
    "month": ("month", "mth", "mnth", "mo", "quarter", "bimonthly", "year", "annual"),
    "year": ("year", "yr", "annual"),
}
"""Unit -> how words begin that give reason for it, one of a letter or two whole. Days need none (every night)."""
GUARDED = frozenset({*WEEKDAYS, *MONTHS, "noon", "midnight", *(w for unit in UNITS for w in (unit, f"{unit}s"))})
"""Single words of the languages that need a reason."""
_SMALL = {
    "couple": (2,), "pair": (2,), "twice": (2,), "alternate": (2,), "fortnight": (2,), "fortnightly": (2,),
    "biweekly": (2,), "few": (3,), "thrice": (3,), "dozen": (12, 6), "half": (30, 12, 36, 90, 6, 18),
    "quarter": (15, 45, 3), "quarters": (15, 45), "quarterly": (3,), "week": (7,), "year": (6, 12), "day": (24,),
}  # fmt: skip
"""Words that stand for a number after "in", "every" or "for" without being one: half an hour is 30 minutes, half a day
12 hours, a day and a half 36, twice a year every 6 months."""
_ORDINAL_ENDINGS = frozenset("st nd rd th".split())
ALIKE = 0.8
"""A word of five letters or more is a slip of the pen for a name that it is so much like, as `difflib` counts."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What may be written for one request."""

    classes: Mapping[str, frozenset[str]]
    """Terminal of `grammar.CLASSES` -> its words."""
    words: frozenset[str]
    """Of `GUARDED`."""

    @property
    def barred(self) -> frozenset[str]:
        """The terminals that may not be written at all."""
        return (GUARDED - self.words) | {terminal for terminal, may in self.classes.items() if not may}


@lru_cache(maxsize=4096)
def _named(part: str) -> frozenset[str]:
    """The weekdays and months that a piece may name: `weds`, `febuary`, `munday`, but not `mary` or `month`."""
    short = part.removesuffix("s")
    if len(short) >= 3 and (found := {n for n in (*WEEKDAYS, *MONTHS) if n.startswith((part, short))}):
        return frozenset(found)
    if len(part) < 5:
        return frozenset()
    near = (n for n in (*WEEKDAYS, *MONTHS) if n[:3] == part[:3] or n[-2:] == short[-2:])
    return frozenset(n for n in near if SequenceMatcher(None, part, n).ratio() >= ALIKE)


def _names(parts: list[str]) -> set[str]:
    """The weekdays and months that are named, or lie between two that are (monday to friday, mon-fri)."""
    found = {name for part in parts for name in _named(part)}
    days = [(i, d) for i, part in enumerate(parts) for d, name in enumerate(WEEKDAYS) if name in _named(part)]
    spans = bool({"to", "through", "thru", "till", "til", "until", "between"} & set(parts))
    for (i, first), (j, last) in zip(days, days[1:]):
        if spans or j == i + 1:
            found |= {WEEKDAYS[(first + k) % 7] for k in range((last - first) % 7)}
    return found | ({"saturday", "sunday"} if {"weekend", "weekends"} & set(parts) else set())


def _clock_words(times: set[Clock]) -> tuple[frozenset[str], frozenset[str]]:
    """The 24-hour and the 12-hour words for clock times of which the half of the day is the model's to say."""
    whole, half = set(), set()
    for h, m in times:
        if h % 24 > 12:
            whole.add(f"{h % 24:02}:{m:02}")
        else:
            whole |= {f"{h % 12:02}:{m:02}", f"{h % 12 + 12:02}:{m:02}"}
            half.add(f"{h % 12 or 12}:{m:02}?")
    return frozenset(whole), frozenset(half)


def _days(parts: list[str]) -> set[int]:
    """Days of a month: ordinals, and numbers beside a month or after "the" or "on"."""
    days = set()
    for i, found in enumerate(numbers(parts)):
        for n, end in found:
            ordinal = parts[end - 1] in NTH or _ORDINAL_ENDINGS & set(parts[end : end + 1])
            beside = (*parts[max(0, i - 2) : i], *parts[end : end + 2])
            if ordinal or any(map(_named, beside)) or (i and parts[i - 1] in ("the", "on")):
                days.add(n)
    if {"end", "whole", "all"} & set(parts):  # until the end of june, for the whole of may
        days |= {1, 28, 29, 30, 31}
    return days


def _counts(parts: list[str], said: set[int], words: list[str]) -> set[int]:
    """Numbers of units: an hour is 1, the other week 2."""
    joined = f" {' '.join(parts)} "
    counts = {1, 2, *said, *(n for p in parts for n in _SMALL.get(p, ()))}
    if "tomorrow" in parts and {"week", "weeks", "fortnight"} & set(parts):
        counts |= {8, 15, 22}  # two weeks tomorrow
    if any(re.search(r"\d[.]5|1/2|½", w) for w in words) or " 1 2 " in joined or " point five " in joined:
        counts |= {30, 90, *(60 * n + 30 for n in said if n < 16)}  # 2.5 hours
    if any(re.search(r"\d[.][27]5|[13]/4|[¼¾]", w) for w in words):
        counts |= {15, 45}
    return counts


def _units(parts: list[str], names: set[str], counted: bool) -> set[str]:
    """Units of which there was talk. Every other tuesday is every 2 weeks, every first tuesday every month, every
    christmas every year; a number alone may be of minutes ("another ten")."""
    weekday, nth = bool(names & set(WEEKDAYS)), bool((set(ORDINALS) | _ORDINAL_ENDINGS) & set(parts))
    known = {"minute": counted, "week": weekday, "month": weekday and nth, "year": bool(names & set(MONTHS))}

    def said(start: str) -> bool:
        return any(p.removesuffix("s") == start or (len(start) > 2 and p.startswith(start)) for p in parts)

    return {unit for unit, starts in UNITS.items() if known.get(unit) or any(map(said, starts))}


def evidence(words: list[str]) -> Evidence:
    """What the folded words of a request give reason to write."""
    parts = pieces(words)
    said = {n for found in numbers(parts) for n, _ in found}
    joined = f" {' '.join(parts)} "
    holidays = {w for name, when in HOLIDAYS.items() if f" {name} " in joined for w in when.split()}
    names = _names(parts) | (holidays & GUARDED)
    days = _days(parts) | {int(w) for w in holidays if w.isdecimal()}
    years = {n for n in said if n >= 2000}
    for word in words:
        if re.fullmatch(r"\d{1,4}([-/.])\d{1,2}(\1\d{2,4})?", word):  # 14/3, 29.03.2027, 2027-03-29
            fields = [int(f) for f in re.split(r"[-/.]", word)]
            names |= {MONTHS[n - 1] for n in fields if 1 <= n <= 12}
            days |= set(fields)
            years |= {2000 + n for n in fields[2:] if n < 100}
    if 20 in said:  # twenty twenty seven
        years |= {2000 + n for n in said if n < 100}
    times, spent = clock_times(words)
    whole, half = _clock_words(times)
    free = set(parts) - spent
    units = _units(parts, names, counted=any(numbers([p for p in parts if p not in ("a", "an")])))
    may = {
        "HH:MM": whole,
        "H:MM?": half,
        "N": {str(n) for n in _counts(parts, said, words)},
        "D": set(map(str, days)),
        "YYYY": set(map(str, years)),
        "YYYY-MM-DD": (),  # a model writes `D MONTH YYYY`, which says the same
    }
    return Evidence(
        {terminal: frozenset(w for w in may[terminal] if CLASSES[terminal].fullmatch(w)) for terminal in CLASSES},
        frozenset(
            {
                *names,
                *(w for unit in units for w in (unit, f"{unit}s")),
                *(["noon"] if any(p.startswith(("noon", "midday", "lunch")) for p in free) else []),
                *(["midnight"] if any(p.startswith("midnight") for p in free) else []),
            }
        )
        & GUARDED,
    )
