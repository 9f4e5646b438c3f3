"""What a request gives reason to write: the clock times, numbers, dates and days that its words can mean.

Decoding lets a model write these and no others (`decoding.py`), so that it chooses between readings of what was said
and cannot make up an hour, a weekday or a date. It is generous: everything that *could* be meant is here ("ten to six"
gives 10:00, 6:00, 5:50, 10:06 and the numbers ten and six); which of them is meant is the model's business. Only where
a clock time is beyond doubt (quarter to six, half seven, 6:30) its parts are not read in other ways.

    "alarm at quarter to six on the 3rd"  ->  5:45?  05:45  17:45  3:00?  03:00  15:00,  D 3 6,  N 1 2 3 6 15 45
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache

from assistant.grammar import MONTHS, WEEKDAYS
from assistant.holidays import HOLIDAYS

Evidence = Mapping[str, frozenset[str]]
"""Terminal of the grammar (`grammar.CLASSES`, and `WEEKDAY` and `MONTH` for the names) -> its words that may be written."""
WEEKDAY, MONTH = "WEEKDAY", "MONTH"

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_NTH = "_ first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth".split()
_TENS = {w: 10 * n for n, w in enumerate("_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()) if n > 1}
_NUMBERS = (
    {w: n for n, w in enumerate(_ONES)}
    | {w: n for n, w in enumerate(_NTH) if n}
    | _TENS
    | {"twentieth": 20, "thirtieth": 30, "oh": 0, "o": 0, "nought": 0, "fourty": 40, "noon": 12, "midday": 12}
    | {"midnight": 0, "a": 1, "an": 1, "ate": 8}
)
_SOUNDS_LIKE = {"to": 2, "too": 2, "for": 4}
"""What a recogniser writes for a number, taken for it before am or pm."""
_FILLERS = {"um", "uh", "er", "erm", "hmm", "ah", "like", "well", "please", "actually", "maybe", "you", "know"}
_BESIDE = {"the", "minutes", "minute", "mins", "min"}
"""Words that may stand inside a clock time: ten minutes to six."""
_HALVES = {"am", "pm"}
_ENDINGS = re.compile(r"(.+)(am|pm|ish)")
_CLOCK = re.compile(r"(\d{1,2})[:.](\d\d)")
_RUNS = re.compile(r"\d+|[^\W\d_]+")
_RUNS_AND_CLOCKS = re.compile(r"\d{1,2}[:.]\d\d(?!\d)|\d+|[^\W\d_]+")
_PAST, _TO = {"past", "after", "gone"}, {"to", "tae", "till", "til", "before", "of"}
_SMALL = {
    "couple": (2,), "pair": (2,), "twice": (2,), "alternate": (2,), "fortnight": (2,), "fortnightly": (2,),
    "biweekly": (2,), "few": (3,), "thrice": (3,), "dozen": (12, 6), "half": (30, 12, 36, 90), "quarter": (15, 45, 3),
    "quarters": (15, 45), "quarterly": (3,), "week": (8, 7), "year": (6, 12), "day": (24,),
}  # fmt: skip
"""Words that stand for a number after "in", "every" or "for" without being one: half an hour is 30 minutes."""


def pieces(words: Iterable[str], clocks: bool = False) -> list[str]:
    """Folded words cut into runs of letters and of digits: `7:45pm` -> 7 45 pm (with `clocks` 7:45 pm), `twenty-five`
    -> twenty five."""
    cut = _RUNS_AND_CLOCKS if clocks else _RUNS
    runs = [p for w in words for p in cut.findall(w)]
    out = []
    for run in runs:
        ending = _ENDINGS.fullmatch(run)
        out += ending.groups() if ending and ending[1] in _NUMBERS else (run,)
    return out


def _numbers(parts: list[str]) -> list[list[tuple[int, int]]]:
    """For each place the numbers that can be read from there, with the place behind: `twenty five` -> (20, 1), (25, 2)."""
    out: list[list[tuple[int, int]]] = []
    for i, part in enumerate(parts):
        if part.isdecimal():
            found = [(int(part[:6]), i + 1)]
        elif part in _NUMBERS:
            found = [(_NUMBERS[part], i + 1)]
            if part in _TENS and i + 1 < len(parts) and 1 <= _NUMBERS.get(parts[i + 1], 0) <= 9:
                found.append((_TENS[part] + _NUMBERS[parts[i + 1]], i + 2))
            if parts[i + 1 : i + 3] == ["and", "twenty"]:  # five and twenty
                found.append((_NUMBERS[part] + 20, i + 3))
        elif part in _SOUNDS_LIKE and _HALVES & set(parts[i + 1 : i + 2]):
            found = [(_SOUNDS_LIKE[part], i + 1)]
        else:
            found = []
        out.append(found)
    for size, word in ((100, "hundred"), (1000, "thousand")):  # from the right: what follows has been read
        for i in reversed(range(len(parts))):
            for n, end in list(out[i]):
                if n and n < 100 and end < len(parts) and parts[end] == word:
                    out[i].append((n * size, end + 1))
                    rest = end + 2 if parts[end + 1 : end + 2] == ["and"] else end + 1
                    if rest < len(parts):
                        out[i] += [(n * size + m, e) for m, e in out[rest] if 0 < m < size]
    return out


def _clock_times(words: list[str]) -> set[tuple[int, int]]:
    """All (hour 0 to 24, minute) that can be read from what was said."""
    parts = [p for p in pieces(words, clocks=True) if p not in _FILLERS | _BESIDE]
    numbers = _numbers(parts)
    times, sure = _sure_clock_times(parts, numbers)
    ending: list[set[int]] = [set() for _ in range(len(parts) + 1)]
    for i, found in enumerate(numbers):
        if i not in sure:
            for n, end in found:
                ending[end].add(n)
    for i, found in enumerate(numbers):
        if i in sure:
            continue
        if len(parts[i]) == 4 and parts[i].startswith("00") and parts[i].isdecimal():  # 0030
            times.add((0, int(parts[i])))
        for n, end in found:
            if 100 <= n < 2460 and n % 100 < 60:  # 530, 1715, seventeen hundred
                times.add((n // 100, n % 100))
            if n > 24:
                continue
            times.add((n, 0))
            for gap in (end, end + 1):  # six thirty; six oh five
                if gap == end or parts[end : end + 1] in (["oh"], ["o"], ["zero"], ["and"], ["h"], ["am"], ["pm"]):
                    times |= {(n, m) for m, _ in (numbers[gap] if gap < len(parts) else ()) if m < 60}
            if i and parts[i - 1] in _TO:
                times |= {((n or 24) - 1, 60 - m) for m in ending[i - 1] if 0 < m < 60}
    hours = {h for h, _ in times if h <= 24}
    for i, part in enumerate(parts[1:], 1):  # at six and again at quarter past
        fraction = {"half": {30}, "quarter": {15}}.get(parts[i - 1], set())
        if part in _PAST:
            times |= {(h, m) for h in hours for m in ending[i] | fraction if 0 < m < 60}
        elif part in _TO:
            times |= {((h or 24) - 1, 60 - m) for h in hours for m in fraction}
    return times


def _sure_clock_times(parts: list[str], numbers: list[list[tuple[int, int]]]) -> tuple[set[tuple[int, int]], set[int]]:
    """The clock times beyond doubt, and the places that they take up: 6:30, half six, twenty past six, quarter to six."""
    times, taken = set(), set()
    for i, part in enumerate(parts):
        if clock := _CLOCK.fullmatch(part):
            if int(clock[1]) <= 24 and int(clock[2]) < 60:
                times.add((int(clock[1]), int(clock[2])))
            continue
        back = i - 1 if i and parts[i - 1] in _PAST | _TO else i  # where the word between minutes and hour stands
        fraction = {"half": 30, "quarter": 15}.get(parts[back - 1]) if back else None
        minutes = {(fraction, back - 1)} if fraction else set()
        if back < i and parts[back] in _PAST:
            minutes |= {(m, j) for j in range(max(0, back - 2), back) for m, end in numbers[j] if end == back and 0 < m < 60}
        if not minutes or (back == i and fraction != 30):
            continue
        m, start = min(minutes, key=lambda found: found[1])  # the longest: twenty five past
        for n, end in numbers[i]:
            if n <= 12 and (back == i or parts[back] in _PAST):
                times.add((n, m))
                taken |= set(range(start, end))
            elif n <= 12:
                times.add(((n or 24) - 1, 60 - m))
                taken |= set(range(start, end))
    return times, taken


def _clock_words(times: set[tuple[int, int]]) -> tuple[frozenset[str], frozenset[str]]:
    """The 24-hour and the 12-hour words for clock times of which the half of the day is the model's to say."""
    whole, half = set(), set()
    for h, m in times:
        if h % 24 > 12:
            whole.add(f"{h % 24:02}:{m:02}")
        else:
            whole |= {f"{h % 12:02}:{m:02}", f"{h % 12 + 12:02}:{m:02}"}
            half.add(f"{h % 12 or 12}:{m:02}?")
    return frozenset(whole), frozenset(half)


@cache
def _name_starts() -> dict[str, str]:
    """First letters -> weekday or month; slips of the pen count by their first letters ("wensday")."""
    return {n[:3]: n for n in (*WEEKDAYS, *MONTHS)} | {"wen": "wednesday", "thr": "thursday", "tus": "tuesday"}


def _names(parts: list[str]) -> set[str]:
    names = [_name_starts().get(p[:3]) for p in parts if not p.startswith("month")]
    found = {n for n in names if n}
    days = [WEEKDAYS.index(n) for n in names if n in WEEKDAYS]
    if len(days) > 1 and {"to", "through", "thru", "till", "til", "until"} & set(parts):  # monday to friday
        for first, last in zip(days, days[1:]):
            found |= {WEEKDAYS[(first + k) % 7] for k in range((last - first) % 7 + 1)}
    return found | ({"saturday", "sunday"} if {"weekend", "weekends"} & set(parts) else set())


def evidence(words: list[str]) -> Evidence:
    """What the folded words of a request give reason to write."""
    parts = [p for p in pieces(words) if p not in _FILLERS]
    numbers = {n for found in _numbers(parts) for n, _ in found}
    names = _names(parts)
    joined = f" {' '.join(parts)} "
    holidays = [w for name, when in HOLIDAYS.items() if f" {name} " in joined for w in when.split()]
    names |= set(holidays)
    days = {n for n in numbers if 1 <= n <= 31} | {int(w) for w in holidays if w.isdecimal()}
    if {"end", "whole", "all"} & set(parts):  # until the end of june, for the whole of may
        days |= {1, 28, 29, 30, 31}
    years = {n for n in numbers if 2000 <= n <= 2099}
    for word in words:
        if re.fullmatch(r"\d{1,4}([-/.])\d{1,2}(\1\d{2,4})?", word):  # 14/3, 29.03.2027, 2027-03-29
            fields = [int(f) for f in re.split(r"[-/.]", word)]
            names |= {MONTHS[n - 1] for n in fields if 1 <= n <= 12}
            years |= {2000 + n for n in fields[2:] if n < 100}
    if 20 in numbers:  # twenty twenty seven
        years |= {2000 + n for n in numbers if n < 100}
    counts = {n for n in numbers if 1 <= n <= 999} | {1, 2}
    counts |= {n for part in parts for n in _SMALL.get(part, ())}
    if any(pair in joined for pair in (" 1 2 ", " 5 ")) or "½" in "".join(words):  # 1 1/2 hours, 2.5 hours
        counts |= {30, 90}
    whole, half = _clock_words(_clock_times(words))
    return {
        "HH:MM": whole,
        "H:MM?": half,
        "N": frozenset(map(str, counts)),
        "D": frozenset(map(str, days)),
        "YYYY": frozenset(map(str, years)),
        "YYYY-MM-DD": frozenset(),  # a model writes `D MONTH YYYY`, which says the same
        WEEKDAY: names & frozenset(WEEKDAYS),
        MONTH: names & frozenset(MONTHS),
    }
