"""Numbers, dates and clock times in words, to be said aloud. Pure functions; `spoken.py` is the way back."""

_ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen""".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
             "twelve": "twelfth"}  # fmt: skip
_MINUTES = {5: "five", 10: "ten", 15: "a quarter", 20: "twenty", 25: "twenty-five", 30: "half"}


def number(n: int) -> str:
    """0 to 99 in words."""
    if n < 20:
        return _ONES[n]
    return _TENS[n // 10 - 2] + (f"-{_ONES[n % 10]}" if n % 10 else "")


def ordinal(n: int) -> str:
    """1 to 99 in words, `twenty-first`."""
    head, dash, last = number(n).rpartition("-")
    return head + dash + (_ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"))


def year(n: int) -> str:
    """2000 to 2099 in words: `two thousand and nine`, `twenty twenty-eight`."""
    if n >= 2010:
        return f"twenty {number(n - 2000)}"
    return "two thousand" + (f" and {number(n - 2000)}" if n > 2000 else "")


def date(day: int, month: str, of: int | None = None) -> str:
    """`the twelfth of March twenty twenty-eight`, to stand after `on` or `until`."""
    return f"the {ordinal(day)} of {month}" + (f" {year(of)}" if of else "")


def clock(hour: int, minute: int) -> str:
    """A time by a clock of 24 hours: `five in the afternoon`, `a quarter to eight in the evening`, `midnight`.

    No two of the 1,440 are the same, and `evidence.py` reads every one of them back.
    """
    minute_said, named = _parts(hour, minute)
    if named == 0:
        return _beside("midnight", hour, minute)
    if named == 12 and (minute == 0 or minute_said.endswith("to")):
        return _beside("noon", hour, minute)
    part = "in the " + ("morning" if named < 12 else "afternoon" if named < 18 else "evening")
    said = open_clock(hour, minute).removesuffix(" o'clock")
    return f"{said} {'at night' if named >= 22 else part}"


def open_clock(hour: int, minute: int) -> str:
    """A time of which the half of the day is open: `five o'clock`, `half past five`, `five oh seven`."""
    minute_said, named = _parts(hour, minute)
    said = number((named - 1) % 12 + 1)
    if minute_said:
        return f"{minute_said} {said}"
    return f"{said} o'clock" if minute == 0 else f"{said} {'oh ' if minute < 10 else ''}{number(minute)}"


def _parts(hour: int, minute: int) -> tuple[str, int]:
    """`a quarter to`, or empty for what has no such words, and the hour that is named, 0 to 23."""
    if minute in _MINUTES:
        return f"{_MINUTES[minute]} past", hour
    if 60 - minute in _MINUTES:
        return f"{_MINUTES[60 - minute]} to", (hour + 1) % 24
    return "", hour


def _beside(name: str, hour: int, minute: int) -> str:
    said = _parts(hour, minute)[0]
    if minute == 0 or said:
        return f"{said} {name}".strip()
    return f"{number(minute)} minute{'' if minute == 1 else 's'} past {name}"
