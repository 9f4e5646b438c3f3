"""Numbers and clock times as people say, write and dictate them, in every way in which they can be read.

Readings are generous: "ten to six" is 10:00, 6:00 and 5:50; which of them is meant is somebody else's business. Only
where a clock time is beyond doubt (quarter to six, half seven, 6:30) its parts are not read in other ways.
"""

import re
from collections.abc import Iterable

Clock = tuple[int, int]
"""Hour 0 to 24, minute; which half of the day an hour up to 12 is in stays open."""
Number = tuple[int, int]
"""A number, and the place behind it in the list that it was read from."""

FILLERS = frozenset("um uh er erm hmm ah like well please actually maybe you know".split())
_ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen""".split()
NTH = """first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth""".split()
_TENS = {word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_TENS["fourty"] = 40
_NUMBERS = {
    **{word: n for n, word in enumerate(_ONES)},
    **{word: n for n, word in enumerate(NTH[:-1], 1)},
    **_TENS,
    "thirtieth": 30,
    "oh": 0,
    "o": 0,
    "nought": 0,
    "a": 1,
    "an": 1,
    "noon": 12,
    "midday": 12,
    "midnight": 0,
    "ate": 8,
}
_SOUNDS_LIKE = {"to": 2, "too": 2, "for": 4}
"""What a recogniser writes for a number, taken for it where nothing but an hour can stand: half past for, to pm."""
_HALVES = {"am", "pm"}
_ENDINGS = re.compile(r"(.+)(am|pm|ish)")
_BESIDE = {"the", "minutes", "minute", "mins", "min"}
"""Words that may stand inside a clock time: ten minutes to six."""
_NO_HOUR = {"a", "an", "oh", "o", *NTH}
"""Numbers that are no hour of a clock by themselves: a reminder, the second thursday."""
_MAKES_NO_HOUR = {"st", "nd", "rd", "th", "hundred", "thousand"}
"""What makes a number before it none either."""
_JOINTS = {"oh", "o", "zero", "and", "h", "am", "pm"}
"""Words that may stand between hour and minute: six oh five."""
_AT = {"at", "by", "around", "about"}
_PAST, _TO = {"past", "after", "gone"}, {"to", "too", "tae", "till", "til", "before", "of"}
_APART = {"from", "every", "between"}
"""Behind these a number begins a range or counts: every 20 minutes till 6."""
_UNIT = re.compile(r"(min|minute|hour|hr|week|month|year)s?|(sec|second|day|time)s")
_FRACTIONS = {"half": 30, "quarter": 15}
_CLOCK = re.compile(r"(\d{1,2})[:.](\d\d)")
_RUNS = re.compile(r"\d+|[^\W\d_]+")
_RUNS_AND_CLOCKS = re.compile(r"\d{1,2}[:.]\d\d(?!\d)|\d+|[^\W\d_]+")


def pieces(words: Iterable[str], clocks: bool = False) -> list[str]:
    """Folded words cut into runs of letters and of digits: `7:45pm` -> 7 45 pm (with `clocks` 7:45 pm), `twenty-five`
    -> twenty five. Fillers are left out."""
    out: list[str] = []
    for word in words:
        for run in (_RUNS_AND_CLOCKS if clocks else _RUNS).findall(word):
            ending = _ENDINGS.fullmatch(run)
            out += ending.groups() if ending and ending[1] in _NUMBERS else (run,)
    return [p for p in out if p not in FILLERS]


def _at(parts: list[str], i: int) -> str:
    """The piece at a place, empty beyond the ends."""
    return parts[i] if 0 <= i < len(parts) else ""


def _is_homophone(parts: list[str], i: int) -> bool:
    before, after = _at(parts, i - 1), _at(parts, i + 1)
    return after in _HALVES or before in ("half", "past") or (before == "at" and _NUMBERS.get(after, 0) >= 10)


def numbers(parts: list[str]) -> list[list[Number]]:
    """For each place of `pieces` the numbers read from there: `twenty five` -> [(20, 1), (25, 2)], [(5, 2)]."""
    out: list[list[Number]] = []
    for i, part in enumerate(parts):
        found: list[Number] = []
        if part.isdecimal():
            found.append((int(part[:6]), i + 1))
        elif part in _NUMBERS:
            found.append((_NUMBERS[part], i + 1))
            if part in _TENS and 1 <= _NUMBERS.get(_at(parts, i + 1), 0) <= 9:
                found.append((_TENS[part] + _NUMBERS[parts[i + 1]], i + 2))
            if parts[i + 1 : i + 3] == ["and", "twenty"]:  # five and twenty
                found.append((_NUMBERS[part] + 20, i + 3))
        elif part in _SOUNDS_LIKE and _is_homophone(parts, i):
            found.append((_SOUNDS_LIKE[part], i + 1))
        out.append(found)
    for size, word in ((100, "hundred"), (1000, "thousand")):  # from the right: what follows has been read
        for i in reversed(range(len(parts))):
            for n, end in list(out[i]):
                if n < 100 and _at(parts, end) == word:
                    out[i].append((n * size, end + 1))
                    rest = end + 2 if _at(parts, end + 1) == "and" else end + 1
                    out[i] += [(n * size + m, e) for m, e in (out[rest] if rest < len(parts) else ()) if 0 < m < size]
    return out


def clock_times(words: Iterable[str]) -> tuple[set[Clock], set[str]]:
    """All clock times that can be read from folded words, and the words that are spent on those beyond doubt: in
    "quarter to midnight" midnight is not a time of its own."""
    every = pieces(words, clocks=True)
    # Whether a unit follows a number, which is no hour then, must be known before "minutes" is left out.
    kept = [(part, bool(_UNIT.fullmatch(_at(every, i + 1)))) for i, part in enumerate(every) if part not in _BESIDE]
    parts, counted = [part for part, _ in kept], [unit for _, unit in kept]
    found = [_without_parts(i, here, parts) for i, here in enumerate(numbers(parts))]
    times, sure = _beyond_doubt(parts, found)
    spent = {parts[i] for i in sure} - {p for i, p in enumerate(parts) if i not in sure}
    found = [[] if i in sure else here for i, here in enumerate(found)]
    ending: list[set[int]] = [set() for _ in range(len(parts) + 1)]
    for here in found:
        for n, end in here:
            ending[end].add(n)
    for i, here in enumerate(found):
        if len(parts[i]) == 4 and parts[i].startswith("00") and parts[i].isdecimal():  # 0030
            times.add((0, int(parts[i])))
        for n, end in here:
            if 100 <= n < 2460 and n % 100 < 60:  # 530, 1715, seventeen hundred
                times.add((n // 100, n % 100))
            if n > 24 or counted[end - 1] or parts[i] in _NO_HOUR or _at(parts, end) in _MAKES_NO_HOUR:
                continue
            times.add((n, 0))
            behind = [end, end + 1] if _at(parts, end) in _JOINTS else [end]
            minutes = [(m, e) for at in behind if at < len(parts) for m, e in found[at]]
            times |= {(n, m) for m, e in minutes if m < 60 and not counted[e - 1]}  # six thirty
            if _at(parts, i - 1) in _TO:  # ten to six
                times |= {((n or 24) - 1, 60 - m) for m in ending[i - 1] if 0 < m < 60}
    return times | _without_hour(parts, ending, sure, times), spent


def _without_hour(parts: list[str], ending: list[set[int]], sure: set[int], times: set[Clock]) -> set[Clock]:
    """Minutes without their hour take one that was said: at six and again at quarter past."""
    hours = {h for h, _ in times} | {(h + 1) % 24 for h, m in times if m > 30}
    more: set[Clock] = set()
    for i, part in enumerate(parts[1:], 1):
        fraction = {_FRACTIONS[parts[i - 1]]} if parts[i - 1] in _FRACTIONS else set()
        if i in sure:
            continue
        if part in _PAST:
            more |= {(h, m) for h in hours for m in ending[i] | fraction if 0 < m < 60}
        elif part in _TO:
            more |= {((h or 24) - 1, 60 - m) for h in hours for m in fraction}
    return more


def _without_parts(i: int, here: list[Number], parts: list[str]) -> list[Number]:
    """The numbers read at place `i`, of thousands only the whole: in "one thousand one hundred" is no one hundred."""
    if _at(parts, i - 1) == "thousand":
        return []
    longest = max((end for _, end in here), default=i)
    return [(n, end) for n, end in here if end == longest] if "thousand" in parts[i:longest] else here


def _begins_range(parts: list[str], found: list[list[Number]], j: int) -> bool:
    """Whether a number at `j` belongs to something else than an hour behind it: from 22 to 6, the 8 20 to 9."""
    return _at(parts, j - 1) in _APART or any(end == j for here in found[max(0, j - 3) : j] for _, end in here)


def _are_minutes(parts: list[str], found: list[list[Number]], j: int, joint: str) -> bool:
    """Whether a number at `j` with `joint` behind it can be nothing but minutes: five past, at ten to."""
    return joint in ("past", "gone") or (_at(parts, j - 1) in _AT and not _begins_range(parts, found, j))


def _beyond_doubt(parts: list[str], found: list[list[Number]]) -> tuple[set[Clock], set[int]]:
    """Clock times beyond doubt, and the places that they take up: 6:30, half six, twenty past six, quarter to six."""
    times: set[Clock] = set()
    taken: set[int] = set()
    for i, part in enumerate(parts):
        if clock := _CLOCK.fullmatch(part):
            if int(clock[1]) <= 24 and int(clock[2]) < 60:
                times.add((int(clock[1]), int(clock[2])))
            continue
        joint = _at(parts, i - 1) if _at(parts, i - 1) in _PAST | _TO else ""
        back = i - 1 if joint else i  # what stands before it are the minutes
        minutes: list[Number] = []  # and where they begin
        if _at(parts, back - 1) in _FRACTIONS and (joint or parts[back - 1] == "half"):
            minutes.append((_FRACTIONS[parts[back - 1]], back - 1))
        elif joint:
            for j in range(max(0, back - 3), back):
                if _are_minutes(parts, found, j, joint):
                    minutes += [(m, j) for m, end in found[j] if end == back and 0 < m < 60]
                elif joint in _TO - {"before", "of"} and not _begins_range(parts, found, j):
                    minutes += [(m, j) for m, end in found[j] if end == back and m in (20, 25)]  # twenty to six
        if not minutes:
            continue
        m, start = minutes[0]  # the longest: twenty five past
        for hour, end in found[i]:
            if hour <= 12:
                times.add(((hour or 24) - 1, 60 - m) if joint in _TO else (hour, m))
                taken |= set(range(start, end))
    return times, taken
