"""What a request gives reason to write: the clock times, numbers, dates and days that its words can mean.

Decoding lets a model write these and no others (`decoding.py`), so that it chooses between readings of what was said
and cannot make up an hour, a weekday or a date.

    "alarm at quarter to six on the 3rd"  ->  5:45?  05:45  17:45  3:00?  03:00  15:00;  D 3 6;  N 1 2 3 6 15 45
"""

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from functools import lru_cache

from assistant.grammar import MONTHS, ORDINALS, WEEKDAYS
from assistant.holidays import HOLIDAYS
from assistant.spoken import NTH, Clock, clock_times, numbers, pieces

Evidence = Mapping[str, frozenset[str]]
"""Terminal of the grammar (`grammar.CLASSES`; `WEEKDAY` and `MONTH` for the names) -> its words that may be written."""
WEEKDAY, MONTH = "WEEKDAY", "MONTH"

_SMALL = {
    "couple": (2,), "pair": (2,), "twice": (2,), "alternate": (2,), "fortnight": (2,), "fortnightly": (2,),
    "biweekly": (2,), "few": (3,), "thrice": (3,), "dozen": (12, 6), "half": (30, 12, 36, 90), "quarter": (15, 45, 3),
    "quarters": (15, 45), "quarterly": (3,), "week": (8, 7), "year": (6, 12), "day": (24,),
}  # fmt: skip
"""Words that stand for a number after "in", "every" or "for" without being one: half an hour is 30 minutes, a week
tomorrow is in 8 days, twice a year is every 6 months."""
UNITS = {
    "minute": ("min", "m", "half", "quarter", "hour", "hr"),
    "hour": ("hour", "hr", "h", "half", "day"),
    "week": ("week", "wk", "fortnight", "biweekly"),
    "month": ("month", "quarter", "bimonthly", "year", "annual"),
    "year": ("year", "yr", "annual"),
}
"""Unit -> how words begin that give reason for it, one of a single letter whole."""
_DAYS_NTH = frozenset("st nd rd th".split())
_NAMES = {name[:3]: name for name in (*WEEKDAYS, *MONTHS)}
_NAMES |= {"wen": "wednesday", "thr": "thursday", "tus": "tuesday"}
"""First letters -> weekday or month."""
ALIKE = 0.8
"""A word of five letters or more is a slip of the pen for a name that it is so much like, as `difflib` counts."""


@lru_cache(maxsize=4096)
def _name(part: str) -> str | None:
    """The weekday or month that a piece names: `weds`, `febuary`, but not `mary` or `month`."""
    name = _NAMES.get(part[:3])
    if name is None or name.startswith((part, part.removesuffix("s"))):
        return name
    return name if len(part) > 4 and SequenceMatcher(None, part, name).ratio() >= ALIKE else None


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


def _names(parts: list[str]) -> set[str]:
    """The weekdays and months that are named, or lie between two that are (monday to friday)."""
    names = [name for p in parts if (name := _name(p))]
    days = [WEEKDAYS.index(n) for n in names if n in WEEKDAYS]
    found = set(names)
    if {"to", "through", "thru", "till", "til", "until"} & set(parts):
        for first, last in zip(days, days[1:]):
            found |= {WEEKDAYS[(first + k) % 7] for k in range((last - first) % 7)}
    return found | ({"saturday", "sunday"} if {"weekend", "weekends"} & set(parts) else set())


def _days(parts: list[str]) -> set[int]:
    """Days of a month: ordinals, and numbers beside a month or after "the" or "on"."""
    days = set()
    for i, found in enumerate(numbers(parts)):
        for n, end in found:
            last = parts[end - 1]
            beside = (*parts[max(0, i - 2) : i], *parts[end : end + 2])
            if (
                (not last.isdecimal() and last in NTH)
                or _DAYS_NTH & set(parts[end : end + 1])
                or any(map(_name, beside))
                or (i and parts[i - 1] in ("the", "on"))
            ):
                days.add(n)
    return {n for n in days if 1 <= n <= 31}


def _units(parts: list[str], names: set[str]) -> dict[str, frozenset[str]]:
    """Units of which there was talk; every other tuesday is every 2 weeks, every first tuesday every month, every
    christmas every year."""
    weekday = bool(names & set(WEEKDAYS))
    named = {"week": weekday, "month": weekday and bool(set(ORDINALS) & set(parts)), "year": bool(names & set(MONTHS))}
    out = {}
    for unit, starts in UNITS.items():
        said = any(p == s or (len(s) > 1 and p.startswith(s)) for p in parts for s in starts)
        out[unit] = frozenset({unit, f"{unit}s"} if said or named.get(unit) else ())
    return out


def evidence(words: list[str]) -> Evidence:
    """What the folded words of a request give reason to write."""
    parts = pieces(words)
    said = {n for found in numbers(parts) for n, _ in found}
    joined = f" {' '.join(parts)} "
    holidays = {w for name, when in HOLIDAYS.items() if f" {name} " in joined for w in when.split()}
    names = _names(parts) | holidays
    years = {n for n in said if 2000 <= n <= 2099}
    for word in words:
        if re.fullmatch(r"\d{1,4}([-/.])\d{1,2}(\1\d{2,4})?", word):  # 14/3, 29.03.2027, 2027-03-29
            fields = [int(f) for f in re.split(r"[-/.]", word)]
            names |= {MONTHS[n - 1] for n in fields if 1 <= n <= 12}
            years |= {2000 + n for n in fields[2:] if n < 100}
    if 20 in said:  # twenty twenty seven
        years |= {2000 + n for n in said if n < 100}
    days = _days(parts) | {int(w) for w in holidays if w.isdecimal()}
    if {"end", "whole", "all"} & set(parts):  # until the end of june, for the whole of may
        days |= {1, 28, 29, 30, 31}
    counts = {1, 2, *(n for n in said if 1 <= n <= 999), *(n for p in parts for n in _SMALL.get(p, ()))}
    if " 1 2 " in joined or " 5 " in joined or "½" in "".join(words):  # 1 1/2 hours, 2.5 hours
        counts |= {30, 90}
    times, spent = clock_times(words)
    whole, half = _clock_words(times)
    return {
        "HH:MM": whole,
        "H:MM?": half,
        "N": frozenset(map(str, counts)),
        "D": frozenset(map(str, days)),
        "YYYY": frozenset(map(str, years)),
        "YYYY-MM-DD": frozenset(),  # a model writes `D MONTH YYYY`, which says the same
        WEEKDAY: frozenset(names & set(WEEKDAYS)),
        MONTH: frozenset(names & set(MONTHS)),
        "midnight": frozenset({"midnight"} - spent),
        "noon": frozenset() if {"noon", "midday"} & spent else frozenset({"noon"}),
        **_units(parts, names),
    }
