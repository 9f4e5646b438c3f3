"""Clock times, dayparts and lengths of time as people say them, each with its canonical form in the When language.

Every function takes a seeded `random.Random` and returns `(surface, canonical)`.
"""

from random import Random

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


def number(n: int) -> str:
    """`n` below 1,000 in words: 342 -> three hundred and forty two."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (f" {ONES[n % 10]}" if n % 10 else "")
    rest = n % 100
    return f"{ONES[n // 100]} hundred" + (f" and {number(rest)}" if rest else "")


def spoken(rng: Random, n: int) -> str:
    """`n` in digits or words."""
    if rng.random() < 0.55:
        return str(n)
    words = number(n)
    return words.replace(" ", "-") if 20 < n < 100 and rng.random() < 0.2 else words


def pick(rng: Random, *weighted: tuple[float, str]) -> str:
    return rng.choices([w for _, w in weighted], [p for p, _ in weighted])[0]


def _minute(rng: Random) -> int:
    x = rng.random()
    if x < 0.42:
        return 0
    if x < 0.58:
        return 30
    if x < 0.74:
        return rng.choice((15, 45))
    if x < 0.92:
        return rng.choice((5, 10, 20, 25, 35, 40, 50, 55))
    return rng.randrange(60)


def _minute_words(rng: Random, m: int) -> str:
    return (rng.choice(("oh ", "o ")) + ONES[m]) if m < 10 else number(m).replace(" ", rng.choice((" ", " ", "-")))


def _twelve(rng: Random, h: int, m: int, marked: bool) -> str:
    """A 12-hour reading, h 1..12, without am or pm (`marked`: one follows)."""
    next_hour = h % 12 + 1
    forms: list[tuple[float, str]] = []
    if m == 0:
        forms = [(5, str(h)), (3, ONES[h]), (1.5, f"{h}:00"), (0.5, f"{h} : 00"), (0.3, f"{h}.00")]
        forms += [(1, f"{h} o'clock"), (1.2, f"{ONES[h]} o'clock"), (0.3, f"{ONES[h]} oclock"), (0.2, f"{h} oclock")]
    else:
        forms = [(6, f"{h}:{m:02}"), (1, f"{h} : {m:02}"), (1, f"{h} {m:02}"), (1, f"{h}{m:02}"), (0.6, f"{h}.{m:02}"), (4, f"{ONES[h]} {_minute_words(rng, m)}")]
        if not marked or rng.random() < 0.3:
            hour, after = rng.choice((ONES[h], str(h))), rng.choice((ONES[next_hour], str(next_hour)))
            if m == 30:
                forms += [(3, f"half past {hour}"), (1.5, f"half {ONES[h]}")]
            if m == 15:
                forms += [(4, f"quarter past {hour}"), (0.5, f"a quarter past {hour}"), (0.8, f"quarter after {hour}")]
            if m == 45:
                forms += [(4, f"quarter to {after}"), (0.5, f"a quarter to {after}"), (0.4, f"quarter of {after}"), (0.4, f"quarter till {after}")]
            if m in (5, 10, 20, 25):
                forms += [(4, f"{rng.choice((number(m), str(m)))} {rng.choice(('past', 'past', 'after'))} {hour}")]
            if m in (35, 40, 50, 55):
                forms += [(4, f"{rng.choice((number(60 - m), str(60 - m)))} {rng.choice(('to', 'to', 'till', 'before'))} {after}")]
    return pick(rng, *forms)


def _am(rng: Random, half: str, bare: str) -> str:
    """`bare` with am or pm in one of its spellings."""
    spelled = pick(rng, (6, f" {half}m"), (4 if bare[-1].isdigit() else 0.3, f"{half}m"), (1.2, f" {half}.m."), (0.4, f" {half}.m"), (0.6, f" {half} m"), (0.2, f" {half}. m."))
    return bare + spelled


def _when_in_day(rng: Random, h: int) -> str | None:
    if 1 <= h < 12:
        return "in the morning"
    if 12 <= h < 18:
        return "in the afternoon"
    if 18 <= h < 20:
        return "in the evening"
    if 20 <= h < 24:
        return rng.choice(("at night", "in the evening"))
    return None


def time(rng: Random, bare: float = 0.4) -> tuple[str, str]:
    """A clock time without preposition: `half five` -> 5:30?, `5 p.m.` -> 17:00, `noon`. `bare`: share without am/pm."""
    x = rng.random()
    if x < 0.05:
        return rng.choice(("noon", "noon", "12 noon", "twelve noon", "midday", "12 midday")), "noon"
    if x < 0.07:
        return rng.choice(("midnight", "midnight", "12 midnight", "twelve midnight")), "midnight"
    m = _minute(rng)
    if x < 0.13:  # beyond doubt in 24 hours
        h = rng.choice((rng.randint(13, 23), rng.randint(0, 23)))
        forms = [(4.0, f"{h:02}:{m:02}"), (0.5, f"{h:02}.{m:02}"), (0.5, f"{h:02}{m:02} hours"), (0.5, f"{h:02}{m:02} hrs")]
        if h >= 13:
            forms += [(1, f"{h}{m:02}"), (1.5, f"{number(h)} {_minute_words(rng, m) if m else 'hundred'}"), (0.3, f"{number(h)} hundred hours" if not m else f"{h} {m:02}")]
        elif 1 <= h <= 9:
            forms += [(0.8, f"oh {ONES[h]} {_minute_words(rng, m) if m else 'hundred'}"), (0.4, f"0{h}{m:02}")]
        return pick(rng, *forms), f"{h:02}:{m:02}"
    h = rng.choices(range(1, 13), (3, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4))[0]
    if rng.random() < bare:
        return _twelve(rng, h, m, False), f"{h}:{m:02}?"
    half = rng.choice("ap") if 6 <= h <= 11 else pick(rng, (1, "a"), (3, "p"))
    h24 = h % 12 + (12 if half == "p" else 0)
    text = _twelve(rng, h, m, True)
    part = _when_in_day(rng, h24)
    if part and rng.random() < 0.12:
        return f"{text} {part}", f"{h24:02}:{m:02}"
    if rng.random() < 0.003 and not m and half == "a" and h in (10, 11):  # what a recogniser makes of "11:00 am"
        return f"one thousand {'one hundred ' if h == 11 else ''}am", f"{h:02}:00"
    return _am(rng, half, text), f"{h24:02}:{m:02}"


PARTS = {
    "morning": ("in the morning", "in the morning", "first thing in the morning", "first thing", "early morning", "in the am"),
    "afternoon": ("in the afternoon", "in the afternoon", "in the arvo", "mid afternoon"),
    "evening": ("in the evening", "in the evening", "early evening", "of an evening"),
    "night": ("at night", "at night", "late at night"),
    "noon": ("at lunchtime", "at lunch time", "around lunchtime"),
}


def clock(rng: Random, parts: float = 0.12) -> tuple[str, str]:
    """A clock time or, in a share of `parts`, a daypart, with its preposition: `at around five`."""
    if rng.random() < parts:
        part = rng.choice(("morning", "morning", "afternoon", "evening", "evening", "night", "noon"))
        return rng.choice(PARTS[part]), part
    text, canonical = time(rng)
    return at(rng, text), canonical


def at(rng: Random, text: str) -> str:
    """`text`, a clock time, with "at" or one of its vaguer fellows."""
    x = rng.random()
    if x < 0.68:
        return f"at {text}"
    if x < 0.74 and text[-1] in "0123456789":
        return rng.choice((f"at {text}ish", f"at {text} ish", f"around {text}ish"))
    if x < 0.76:
        return f"at like {text} ish"
    if x < 0.79:
        return f"{rng.choice(('at ', ''))}{text} {rng.choice(('sharp', 'on the dot', 'exactly', 'or so', 'ish'))}"
    if x < 0.86:
        return f"{text}"
    return rng.choice(("around", "about", "at around", "at about", "by", "at exactly", "at roughly", "before", "for", "at like", "@")) + f" {text}"


def plural(n: int, unit: str) -> str:
    return f"{n} {unit}" + ("" if n == 1 else "s")


def simple_span(rng: Random, units: str = "mmmmhhs") -> tuple[str, str]:
    """A number and one unit: `twenty mins` -> 20 minutes. `units`: letters of s m h d w o(month) y, drawn equally."""
    u = rng.choice(units)
    unit = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "o": "month", "y": "year"}[u]
    most = {"s": (10, 15, 20, 30, 40, 45, 50, 60, 90), "m": (1, 2, 3, 4, 5, 5, 6, 7, 8, 10, 10, 10, 12, 15, 15, 20, 20, 25, 30, 30, 35, 40, 45, 45, 50, 55, 60, 75, 90),
            "h": (1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 10, 12, 18, 24, 36, 48), "d": (1, 2, 2, 3, 3, 4, 5, 6, 7, 10, 14, 21, 30, 90), "w": (1, 2, 2, 3, 4, 5, 6, 8, 10, 12),
            "o": (1, 2, 3, 4, 6, 9, 18), "y": (1, 2, 3, 5, 10)}[u]
    n = rng.choice(most) if rng.random() < 0.9 else rng.randint(1, 120 if u in "ms" else 30)
    said = spoken(rng, n)
    if n == 1 and rng.random() < 0.6:
        said = "an" if u == "h" else "a"
    if n == 2 and rng.random() < 0.2:
        said = rng.choice(("a couple of", "a couple", "couple of"))
    short = {"second": ("sec", "secs", "s"), "minute": ("min", "mins", "m"), "hour": ("hr", "hrs", "h"), "day": ("day", "days", "day"), "week": ("wk", "wks", "week"),
             "month": ("month", "months", "month"), "year": ("yr", "yrs", "year")}[unit]
    x = rng.random()
    if x < 0.14:
        return f"{said} {short[0] if n == 1 else short[1]}", plural(n, unit)
    if x < 0.18 and said.isdigit() and u in "smh":
        return f"{said}{rng.choice(short)}", plural(n, unit)
    if x < 0.21 and n != 1:
        return f"{said} {unit}", plural(n, unit)
    return f"{said} {unit}" + ("" if n == 1 else "s"), plural(n, unit)


def span(rng: Random, days: float = 0.08) -> tuple[str, str]:
    """A length of time without preposition: `an hour and a half` -> 1 hour 30 minutes. `days`: share of days and longer."""
    x = rng.random()
    if x < days:
        if rng.random() < 0.12:
            return rng.choice(("a fortnight", "fortnight")), "2 weeks"
        return simple_span(rng, "dddwwo")
    if x < 0.82:
        return simple_span(rng)
    half = [
        (4, "half an hour", "30 minutes"), (1.5, "half hour", "30 minutes"), (1, "a half hour", "30 minutes"), (1, "a half an hour", "30 minutes"), (1, "a quarter of an hour", "15 minutes"), (0.7, "quarter of an hour", "15 minutes"),
        (1, "three quarters of an hour", "45 minutes"), (2.5, "an hour and a half", "1 hour 30 minutes"), (0.5, "hour and a half", "1 hour 30 minutes"), (0.8, "one hour and a half", "1 hour 30 minutes"),
        (1, "one and a half hours", "1 hour 30 minutes"), (0.8, "1.5 hours", "1 hour 30 minutes"), (0.5, "1 1 / 2 hours", "1 hour 30 minutes"), (0.5, "1 1/2 hours", "1 hour 30 minutes"),
        (0.6, "an hour and a quarter", "1 hour 15 minutes"), (0.3, "half a day", "12 hours"), (0.3, "half a minute", "30 seconds"), (0.4, "a minute and a half", "90 seconds"), (0.3, "a day and a half", "36 hours"), (0.3, "an hour and three quarters", "1 hour 45 minutes"),
    ]
    if rng.random() < 0.6:
        _, text, canonical = rng.choices(half, [w for w, _, _ in half])[0]
        return text, canonical
    h = rng.randint(2, 8)
    if rng.random() < 0.4:
        text = rng.choice((f"{ONES[h]} and a half hours", f"{h} and a half hours", f"{h}.5 hours", f"{h} 1 / 2 hours", f"{h} 1/2 hours", f"{ONES[h]} hours and a half"))
        return text, f"{h} hours 30 minutes"
    h, m = rng.randint(1, 6), rng.choice((5, 10, 10, 15, 20, 20, 25, 30, 40, 45, 50))
    hours = "an hour" if h == 1 and rng.random() < 0.5 else f"{spoken(rng, h)} {'hour' if h == 1 else rng.choice(('hours', 'hours', 'hrs'))}"
    return f"{hours} {rng.choice(('and ', 'and ', ''))}{spoken(rng, m)} {rng.choice(('minutes', 'minutes', 'mins'))}", f"{plural(h, 'hour')} {m} minutes"
