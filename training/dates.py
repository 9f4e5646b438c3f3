"""Days, recurrences and look-up ranges as people say them, each with its canonical form in the When language.

Every function takes a seeded `random.Random` and returns `(surface, canonical)`. A *day* has no preposition
("friday"), a *date* has its own ("on friday", "tomorrow").
"""

from random import Random

from assistant.grammar import MONTHS, ORDINALS, WEEKDAYS
from training.clock_times import at, clock, number, pick, plural, simple_span, span, spoken, time

SHORT_DAYS = ("mon", "tues", "wed", "thurs", "fri", "sat", "sun")
SHORT_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sept", "oct", "nov", "dec")
ORDINAL_WORDS = {**dict(enumerate("_ first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth".split())),
                 30: "thirtieth", **{20 + d: f"twenty {w}" for d, w in enumerate("_ first second third fourth fifth sixth seventh eighth ninth".split()) if d}, 31: "thirty first"}
HOLIDAYS = (
    ("christmas", "25 december"), ("christmas day", "25 december"), ("christmas eve", "24 december"), ("boxing day", "26 december"), ("new year's eve", "31 december"), ("new years eve", "31 december"),
    ("new year's day", "1 january"), ("new years day", "1 january"), ("halloween", "31 october"), ("valentine's day", "14 february"), ("valentines day", "14 february"), ("valentines", "14 february"),
    ("st patrick's day", "17 march"), ("saint patrick's day", "17 march"), ("bonfire night", "5 november"), ("guy fawkes night", "5 november"), ("independence day", "4 july"), ("the fourth of july", "4 july"),
    ("thanksgiving", "fourth thursday of november"), ("thanksgiving day", "fourth thursday of november"), ("labor day", "first monday of september"), ("memorial day", "last monday of may"),
    ("father's day", "third sunday of june"), ("fathers day", "third sunday of june"), ("easter", "easter"), ("easter sunday", "easter"), ("good friday", "good friday"), ("easter monday", "easter monday"),
    ("april fools' day", "1 april"), ("april fools", "1 april"), ("canada day", "1 july"), ("anzac day", "25 april"), ("australia day", "26 january"), ("may day", "1 may"), ("burns night", "25 january"),
    ("st george's day", "23 april"), ("veterans day", "11 november"), ("mlk day", "third monday of january"), ("midsummer's day", "24 june"),
)


def ordinal(rng: Random, d: int) -> str:
    """22 -> 22nd, twenty second, 22 nd."""
    suffix = "th" if 11 <= d <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
    x = rng.random()
    if x < 0.55:
        return f"{d}{suffix}"
    if x < 0.92:
        return ORDINAL_WORDS[d].replace(" ", rng.choice((" ", " ", "-")))
    return f"{d} {suffix}"


def _weekday(rng: Random) -> tuple[str, str]:
    i = rng.randrange(7)
    return (SHORT_DAYS[i] if rng.random() < 0.06 else WEEKDAYS[i]), WEEKDAYS[i]


def month_day(rng: Random, year: float = 0.08) -> tuple[str, str]:
    """A day of a month: `the twenty second of june` -> 22 june."""
    i = rng.randrange(12)
    d = rng.randint(1, 29 if i == 1 else 31 if i in (0, 2, 4, 6, 7, 9, 11) else 30)
    month = SHORT_MONTHS[i] if rng.random() < 0.15 else MONTHS[i]
    nth = ordinal(rng, d)
    cardinal = str(d) if rng.random() < 0.6 else number(d)
    text = pick(rng, (3, f"the {nth} of {month}"), (2.5, f"{month} {nth}"), (1.5, f"{month} the {nth}"), (1.5, f"{nth} {month}"), (1.2, f"{nth} of {month}"), (2, f"{month} {cardinal}"), (1.5, f"{cardinal} {month}"), (0.3, f"{cardinal} of {month}"))
    canonical = f"{d} {MONTHS[i]}"
    x = rng.random()
    if x < year:
        y = rng.randint(2024, 2032)
        said = str(y) if rng.random() < 0.7 else rng.choice((f"twenty {number(y - 2000)}", f"two thousand and {number(y - 2000)}"))
        return f"{text}{rng.choice((' ', ', ', ' in '))}{said}", f"{canonical} {y}"
    if x < year + 0.03:
        return f"{text} this year", canonical
    if x < year + 0.045 and d > 12:
        y = rng.randint(2015, 2032)
        return rng.choice((f"{d}/{i + 1:02}/{y}", f"{i + 1}/{d}/{y}", f"{d}.{i + 1}.{y}", f"{d:02}-{i + 1:02}-{y}", f"{y}-{i + 1:02}-{d:02}")), f"{canonical} {y}"
    if x < year + 0.055 and d > 12:
        return rng.choice((f"{i + 1}/{d}", f"{d}/{i + 1}")), canonical
    return text, canonical


def date(rng: Random) -> tuple[str, str]:
    """A day with its preposition: `a week on friday` -> friday in 1 week."""
    x = rng.random()
    if x < 0.30:
        return rng.choice(("tomorrow",) * 14 + ("tmrw", "tommorow", "tomorow", "tommorrow", "tmr", "on tomorrow", "for tomorrow", "tomorro")), "tomorrow"
    if x < 0.36:
        return rng.choice(("today", "today", "today", "later today", "sometime today", "to day", "by the end of today")), "today"
    if x < 0.60:
        said, day = _weekday(rng)
        return pick(rng, (8, f"on {said}"), (4, said), (1.5, f"this {said}"), (0.6, f"this coming {said}"), (0.4, f"on this {said}"), (0.5, f"coming {said}"), (0.4, f"by {said}"), (0.3, f"on the coming {said}"), (0.5, f"for {said}"), (0.3, f"on {said} this week")), day
    if x < 0.67:
        said, day = _weekday(rng)
        return pick(rng, (8, f"next {said}"), (2, f"on next {said}"), (1.5, f"{said} next week"), (1, f"on {said} next week"), (1, f"next week {said}"), (1, f"next week on {said}"), (0.5, f"on {said} of next week")), f"next {day}"
    if x < 0.70:
        said, day = _weekday(rng)
        return pick(rng, (3, f"a week on {said}"), (2, f"{said} week"), (2, f"a week from {said}"), (1, f"week on {said}"), (1, f"on {said} week"), (1, f"a week this {said}")), f"{day} in 1 week"
    if x < 0.71:
        said, day = _weekday(rng)
        return rng.choice((f"two weeks on {said}", f"two weeks from {said}", f"a fortnight on {said}", f"2 weeks on {said}", f"fortnight on {said}")), f"{day} in 2 weeks"
    if x < 0.735:
        return rng.choice(("the day after tomorrow", "the day after tomorrow", "day after tomorrow", "in two days", "in 2 days", "in two days' time", "two days from now", "in a couple of days")), "in 2 days"
    if x < 0.76:
        text, n, unit = rng.choice((("in a week", 1, "week"), ("a week today", 1, "week"), ("a week from today", 1, "week"), ("a week from now", 1, "week"), ("in a week's time", 1, "week"), ("this time next week", 1, "week"), ("today week", 1, "week"),
                                    ("a week tomorrow", 8, "day"), ("a week from tomorrow", 8, "day"), ("tomorrow week", 8, "day"), ("in a fortnight", 2, "week"), ("a fortnight today", 2, "week"), ("a fortnight from now", 2, "week"), ("in a fortnight's time", 2, "week"),
                                    ("two weeks today", 2, "week"), ("two weeks from today", 2, "week"), ("in a month", 1, "month"), ("a month from now", 1, "month"), ("a month from today", 1, "month"), ("in a year", 1, "year"), ("a year from now", 1, "year")))
        return text, f"in {plural(n, unit)}"
    if x < 0.79:
        said, canonical = simple_span(rng, "ddddwwwooy")
        return pick(rng, (4, f"in {said}"), (2, f"{said} from now"), (1, f"{said} from today"), (0.7, f"in {said} time"), (0.5, f"after {said}")), f"in {canonical}"
    if x < 0.815:
        return pick(rng, (4, "this weekend"), (2, "at the weekend"), (2, "on the weekend"), (1.5, "over the weekend"), (1, "at weekend"), (1, "sometime this weekend"), (0.5, "for the weekend")), "this weekend"
    if x < 0.822:
        return rng.choice(("next weekend", "on the weekend after this one")), "next saturday"
    if x < 0.85:
        return pick(rng, (6, "next week"), (1, "sometime next week"), (1, "early next week"), (0.7, "at the start of next week"), (0.5, "at the beginning of next week")), "next week"
    if x < 0.862:
        return pick(rng, (5, "next month"), (1, "sometime next month"), (1, "at the start of next month"), (1, "on the first of next month"), (0.7, "at the beginning of next month")), "next month"
    if x < 0.878:
        unit = rng.choice(("week", "month", "month"))
        return rng.choice((f"at the end of the {unit}", f"by the end of the {unit}", f"end of the {unit}", f"the end of the {unit}", f"at the end of this {unit}", f"end of {unit}", f"on the last day of the {unit}" if unit == "month" else "by end of week")), f"end of {unit}"
    if x < 0.915:
        d = rng.randint(1, 31)
        nth = ordinal(rng, d)
        return pick(rng, (5, f"on the {nth}"), (1.5, f"the {nth}"), (0.8, f"by the {nth}"), (0.7, f"on {nth}"), (0.5, f"on the {nth} of this month"), (0.5, f"for the {nth}"), (0.4, f"the {nth} of the month")), f"the {d}"
    if x < 0.972:
        text, canonical = month_day(rng)
        return pick(rng, (6, f"on {text}"), (3, text), (0.6, f"for {text}"), (0.5, f"by {text}")), canonical
    if x < 0.978:
        o, (said, day), i = rng.choice(ORDINALS), _weekday(rng), rng.randrange(12)
        return f"{rng.choice(('on ', ''))}the {o} {said} {rng.choice(('of', 'of', 'in'))} {MONTHS[i]}", f"{o} {day} of {MONTHS[i]}"
    text, canonical = rng.choice(HOLIDAYS)
    return f"{rng.choice(('on ', 'on ', '', 'at ' if 'day' not in text and 'eve' not in text else 'on '))}{text}", canonical


def strip(text: str) -> str:
    """A date's surface without its preposition."""
    for p in ("on the coming ", "on ", "for ", "by ", "at the ", "at "):
        if text.startswith(p) and not text.startswith(("by the end", "at the end", "at the start", "at the beginning", "at weekend")):
            return ("the " if p in ("at the ", "on the coming ") else "") + text[len(p):]
    return text


def day(rng: Random) -> tuple[str, str]:
    text, canonical = date(rng)
    return strip(text), canonical


_DAYPART_HOURS = {"morning": range(5, 12), "afternoon": range(12, 18), "evening": range(17, 23), "night": range(18, 24)}


def part_time(rng: Random, part: str) -> tuple[str, str]:
    """A clock time said without am or pm beside a daypart, which settles its half: ("7", "19:00") in the evening."""
    while True:
        text, canonical = time(rng, bare=1.0)
        if canonical.endswith("?"):
            h, m = int(canonical.split(":")[0]), canonical[-3:-1]
            for h24 in (h % 12, h % 12 + 12):
                if h24 in _DAYPART_HOURS[part]:
                    if rng.random() < 0.25 and h24 % 12:
                        text = f"{text} {'pm' if h24 >= 12 else 'am'}" if text[-1].isdigit() else text
                    return text, f"{h24:02}:{m}"


def part_date(rng: Random) -> tuple[str, str, str]:
    """A day with a daypart: ("friday morning", "friday", "morning")."""
    x = rng.random()
    if x < 0.22:
        return rng.choice(("this afternoon", "this afternoon", "this arvo", "later this afternoon", "today in the afternoon", "today afternoon")), "today", "afternoon"
    if x < 0.36:
        return rng.choice(("this evening", "this evening", "later this evening", "today evening")), "today", "evening"
    if x < 0.42:
        return rng.choice(("this morning", "this morning", "later this morning", "today morning")), "today", "morning"
    if x < 0.70:
        part = rng.choice(("morning", "morning", "morning", "afternoon", "evening", "night"))
        return pick(rng, (6, f"tomorrow {part}"), (1, f"tomorrow in the {part}" if part != "night" else "tomorrow at night"), (0.5, f"on tomorrow {part}"), (0.5, f"tmrw {part}"), (0.4, f"tomorrow's {part}"), (0.6, f"the next {part}" if part == "morning" else f"tomorrow {part}"), (0.7, f"next {part}" if part == "morning" else f"tomorrow {part}"), (0.7, "first thing tomorrow" if part == "morning" else f"tomorrow {part}")), "tomorrow", part
    part = rng.choice(("morning", "morning", "afternoon", "evening", "night"))
    if rng.random() < 0.85:
        said, canonical = _weekday(rng)
        if rng.random() < 0.15:
            said, canonical = f"next {said}", f"next {canonical}"
        return pick(rng, (5, f"on {said} {part}"), (4, f"{said} {part}"), (1, f"this {said} {part}" if not said.startswith("next") else f"{said} {part}"), (1, f"on {said} in the {part}" if part != "night" else f"on {said} night")), canonical, part
    text, canonical = date(rng)
    return f"{text} in the {part}" if part != "night" else f"{text} at night", canonical, part


def tonight(rng: Random) -> str:
    return rng.choice(("tonight",) * 8 + ("later tonight", "this night", "to night", "tonite", "sometime tonight"))


def once(rng: Random) -> tuple[str, str]:
    """Any time that does not recur, with its preposition."""
    x = rng.random()
    if x < 0.20:
        return clock(rng)
    if x < 0.36:
        said, canonical = offset(rng)
        return said, canonical
    if x < 0.54:
        return date(rng)
    if x < 0.60:
        if rng.random() < 0.6:
            return tonight(rng), "tonight"
        return rng.choice((("at night", "night"), ("in the evening", "evening"), ("in the morning", "morning"), ("in the afternoon", "afternoon")))
    if x < 0.66:
        text, d, part = part_date(rng)
        return text, f"{d} {part}"
    if x < 0.76:  # a clock time beside a daypart
        if rng.random() < 0.35:
            said, canonical = part_time(rng, "night")
            text = tonight(rng)
            return (f"{text} {at(rng, said)}" if rng.random() < 0.6 else f"{at(rng, said)} {text}"), f"today {canonical}"
        text, d, part = part_date(rng)
        said, canonical = part_time(rng, part)
        return (f"{text} {at(rng, said)}" if rng.random() < 0.7 else f"{at(rng, said)} {text}"), f"{d} {canonical}"
    (text, d), (said, c) = date(rng), clock(rng, 0.03)
    if rng.random() < 0.1 and said.startswith("at "):
        said = said[3:]
    comma = ", " if rng.random() < 0.04 else " "
    return (f"{text}{comma}{said}" if rng.random() < 0.62 else f"{said}{comma}{text}"), f"{d} {c}"


def offset(rng: Random) -> tuple[str, str]:
    """A length of time from now: `half an hour from now` -> in 30 minutes."""
    said, canonical = span(rng, days=0.05)
    form = pick(rng, (7, "in {}"), (2.2, "{} from now"), (1, "after {}"), (0.4, "in about {}"), (0.3, "in another {}"), (0.3, "within {}"), (0.3, "in exactly {}"), (0.25, "in like {}"), (0.3, "in {} time"), (0.2, "in the next {}"))
    return form.format(said), f"in {canonical}"


def _days_list(rng: Random) -> tuple[str, str]:
    n = pick(rng, (6, "1"), (3, "2"), (1.2, "3"), (0.2, "4"))
    chosen = sorted(rng.sample(range(7), int(n)))
    if rng.random() < 0.2:
        rng.shuffle(chosen)
    plural = rng.random() < 0.4
    said = [WEEKDAYS[i] + ("s" if plural else "") for i in chosen]
    text = said[0] if len(said) == 1 else (", ".join(said[:-1]) + " and " + said[-1] if rng.random() < 0.6 else " and ".join(said) if rng.random() < 0.7 else " ".join(said))
    canonical = " and ".join(WEEKDAYS[i] for i in chosen)
    if plural:
        return rng.choice(("on ", "on ", "")) + text, canonical
    if len(said) == 1:
        return rng.choice((f"every {text}", f"every {text}", f"every single {text}", f"each {text}", f"weekly on {text}", f"every week on {text}", f"once a week on {text}", f"{text} every week")), canonical
    return rng.choice((f"every {text}", f"every {text}", f"each {text}", f"every week on {text}", "every " + " and every ".join(said))), canonical


def rule(rng: Random) -> tuple[str, str, str]:
    """A recurrence without time of day: (surface, canonical rule, what kind of time may follow: day, part, fast)."""
    x = rng.random()
    if x < 0.22:
        return rng.choice(("every day", "every day", "every day", "everyday", "everyday", "daily", "each day", "every single day", "each and every day", "on a daily basis", "once a day", "all days", "day in day out")), "day", "day"
    if x < 0.34:
        part = rng.choice(("morning", "morning", "evening", "night", "night", "afternoon"))
        return rng.choice((f"every {part}", f"every {part}", f"each {part}", f"every single {part}", "nightly" if part == "night" else f"every {part}", f"daily in the {part}" if part != "night" else "daily at night")), f"day {part}", "part"
    if x < 0.43:
        return rng.choice(("every weekday", "every weekday", "on weekdays", "weekdays", "monday to friday", "monday through friday", "monday thru friday", "mon to fri", "every work day", "every working day", "on workdays", "each weekday", "every day monday to friday", "monday till friday", "during the week", "every day of the work week")), "weekday", "day"
    if x < 0.46:
        return rng.choice(("every weekend", "on weekends", "weekends", "at weekends", "each weekend")), "weekend", "day"
    if x < 0.62:
        text, canonical = _days_list(rng)
        return text, canonical, "day"
    if x < 0.635:
        a = rng.randrange(0, 4)
        b = rng.randrange(a + 2, 7)
        return rng.choice((f"every {WEEKDAYS[a]} to {WEEKDAYS[b]}", f"{WEEKDAYS[a]} through {WEEKDAYS[b]}", f"{WEEKDAYS[a]} to {WEEKDAYS[b]}", f"{WEEKDAYS[a]} thru {WEEKDAYS[b]}")), ("weekday" if (a, b) == (0, 4) else " and ".join(WEEKDAYS[a:b + 1])), "day"
    if x < 0.67:
        n = rng.choice((2, 2, 2, 3, 3, 4, 5, 10))
        text = rng.choice(("every other day", "every other day", "every second day", "every alternate day", "on alternate days", "every two days", "every 2 days")) if n == 2 else rng.choice((f"every {spoken(rng, n)} days", f"once every {spoken(rng, n)} days", f"every {ORDINAL_WORDS[n]} day"))
        return text, f"{n} days", "day"
    if x < 0.71:
        said, d = _weekday(rng)
        n = rng.choice((2, 2, 2, 2, 3, 4))
        text = rng.choice((f"every other {said}", f"every second {said}", f"every alternate {said}", f"every two weeks on {said}", f"fortnightly on {said}", f"every fortnight on {said}", f"biweekly on {said}", f"{said} every two weeks", f"every other week on {said}")) if n == 2 else rng.choice((f"every {spoken(rng, n)} weeks on {said}", f"every {ORDINAL_WORDS[n]} {said}" if n == 3 else f"every {spoken(rng, n)} weeks on {said}"))
        return text, f"{n} weeks on {d}", "day"
    if x < 0.755:
        text, canonical = rng.choice((("every week", "week"), ("weekly", "week"), ("once a week", "week"), ("each week", "week"), ("on a weekly basis", "week"), ("every other week", "2 weeks"), ("every two weeks", "2 weeks"), ("fortnightly", "2 weeks"), ("every fortnight", "2 weeks"), ("biweekly", "2 weeks"), ("every three weeks", "3 weeks"), ("every 6 weeks", "6 weeks"),
                                      ("every month", "month"), ("monthly", "month"), ("once a month", "month"), ("each month", "month"), ("every two months", "2 months"), ("every other month", "2 months"), ("every three months", "3 months"), ("quarterly", "3 months"), ("every quarter", "3 months"), ("every 6 months", "6 months"), ("every six months", "6 months"), ("twice a year", "6 months"),
                                      ("every year", "year"), ("yearly", "year"), ("once a year", "year"), ("annually", "year"), ("each year", "year"), ("every two years", "2 years"), ("every other year", "2 years")))
        return text, canonical, "day"
    if x < 0.79:
        d = rng.randint(1, 31)
        nth = ordinal(rng, d)
        return rng.choice((f"every month on the {nth}", f"on the {nth} of every month", f"on the {nth} of each month", f"monthly on the {nth}", f"every {nth} of the month", f"the {nth} of every month", f"each month on the {nth}", f"on the {nth} every month", f"on the {nth} each month")), f"month on the {d}", "day"
    if x < 0.83:
        o, (said, d) = rng.choice(ORDINALS), _weekday(rng)
        return rng.choice((f"on the {o} {said} of every month", f"the {o} {said} of each month", f"every {o} {said} of the month", f"every month on the {o} {said}", f"on the {o} {said} of the month", f"monthly on the {o} {said}", f"on the {o} {said} of each month", f"{o} {said} of every month", f"every {o} {said}" if o not in ("second", "third", "fourth") else f"the {o} {said} of every month")), f"month on {o} {d}", "day"
    if x < 0.89:
        text, canonical = month_day(rng, year=0)
        if text[-1:].isdigit() and "/" in text or canonical.count(" ") != 1:
            text, canonical = "march 5th", "5 march"
        text = text.removesuffix(" this year")
        return rng.choice((f"every year on {text}", f"on {text} every year", f"{text} every year", f"every {text}", f"yearly on {text}", f"on {text} of every year", f"annually on {text}", f"each year on {text}", f"on {text} each year", f"{text} yearly", f"{text} repeat every year", f"{text} and repeat yearly")), f"year on {canonical}", "day"
    said, canonical = simple_span(rng, "mmmmmhhhs")
    n, unit = canonical.split()
    if int(n) == 1:
        text, canonical = (rng.choice(("every hour", "hourly", "each hour", "once an hour")), "hour") if unit == "hour" else (f"every {unit}", unit)
    else:
        if unit == "second" and int(n) < 10:
            canonical, said = "30 seconds", "30 seconds"
        text = rng.choice((f"every {said}", f"every {said}", f"once every {said}", f"each {said}"))
    if rng.random() < 0.1:
        text, canonical = rng.choice((("every half hour", "30 minutes"), ("every half an hour", "30 minutes"), ("every quarter of an hour", "15 minutes"), ("every other hour", "2 hours"), ("every couple of hours", "2 hours"), ("half hourly", "30 minutes"), ("every second hour", "2 hours")))
    return text, canonical, "fast"


def repeat(rng: Random) -> tuple[str, str]:
    """Any recurrence, with time of day, bounds and exceptions."""
    if rng.random() < 0.03:
        return rng.choice((("twice a day", "every day morning and evening"), ("twice daily", "every day morning and evening"), ("two times a day", "every day morning and evening"), ("three times a day", "every day morning and afternoon and evening"), ("morning and evening every day", "every day morning and evening"), ("every morning and evening", "every day morning and evening"), ("every morning and night", "every day morning and night")))
    text, canonical, kind = rule(rng)
    canonical = f"every {canonical}"
    if kind == "day" and rng.random() < 0.68:
        if rng.random() < 0.06:
            (a, ca), (b, cb) = time(rng, 0.3), time(rng, 0.3)
            said, c = f"at {a} and {rng.choice(('', 'at ', 'again at '))}{b}", f"{ca} and {cb}"
        elif rng.random() < 0.12:
            part = rng.choice(("morning", "evening", "afternoon", "night"))
            said, c = ("at night" if part == "night" else f"in the {part}"), part
            if rng.random() < 0.6:
                t, c = part_time(rng, part)
                said = f"{at(rng, t)} {said}"
        else:
            said, c = clock(rng, 0.03)
        text = f"{text} {said}" if rng.random() < 0.72 else f"{said} {text}"
        canonical += f" {c}"
    elif kind == "part" and rng.random() < 0.6:
        base, part = canonical.rsplit(" ", 1)
        t, c = part_time(rng, part)
        said = at(rng, t)
        text = f"{text} {said}" if rng.random() < 0.7 else f"{said} {text}"
        canonical = f"{base} {c}"
    x = rng.random()
    if x < (0.12 if kind != "fast" else 0.06):
        d, c = day(rng)
        while c.startswith("in "):
            d, c = day(rng)
        text = f"{text} {rng.choice(('starting', 'starting from', 'from', 'beginning', 'starting on'))} {d}"
        canonical += f" from {c}"
    x = rng.random()
    if kind == "fast" and x < 0.4:
        if x < 0.16:
            t, c = time(rng)
            if rng.random() < 0.4:
                t0, c0 = time(rng)
                text, canonical = f"{text} from {t0}", canonical.split(" from ")[0] + f" from {c0}"
            text, canonical = f"{text} {rng.choice(('until', 'until', 'till', 'til', 'up to', 'to'))} {t}", f"{canonical} until {c}"
        elif x < 0.36:
            said, c = simple_span(rng, "mmhhh")
            n, unit = c.split()
            said = rng.choice((f"for {said}", f"for the next {said}", f"for next {said}", f"over the next {said}", f"for a period of {said}")) if int(n) > 1 else rng.choice((f"for {said}", f"for the next {unit}"))
            text, canonical = f"{text} {said}", f"{canonical} for {c}"
        else:
            n = rng.randint(2, 12)
            text, canonical = f"{text} {spoken(rng, n)} times", f"{canonical} for {n} times"
    elif kind != "fast" and x < 0.12:
        if x < 0.04:
            d, c = day(rng)
            while c.startswith("in ") or c == "today":
                d, c = day(rng)
            text, canonical = f"{text} {rng.choice(('until', 'till', 'up to', 'ending'))} {d}", f"{canonical} until {c}"
        elif x < 0.10:
            said, c = simple_span(rng, "dddwwwo")
            n, unit = c.split()
            said = rng.choice((f"for {said}", f"for the next {said}", f"for {said}", f"over the next {said}")) if int(n) > 1 else rng.choice((f"for {said}", f"for the next {unit}", f"for one {unit}"))
            text, canonical = (f"{text} {said}" if rng.random() < 0.75 else f"{said} {text}"), f"{canonical} for {c}"
        else:
            n = rng.randint(2, 12)
            text, canonical = f"{text} {rng.choice(('', 'for '))}{spoken(rng, n)} times", f"{canonical} for {n} times"
    if canonical.startswith(("every day", "every hour", "every weekday")) and rng.random() < 0.06:
        said, d = _weekday(rng)
        text, canonical = f"{text} {rng.choice(('except', 'except on', 'but not on', 'apart from', 'excluding', 'except for'))} {d}{rng.choice(('s', 's', ''))}", f"{canonical} except {d}"
    return text, canonical


def when(rng: Random, recurring: float = 0.16) -> tuple[str, str]:
    return repeat(rng) if rng.random() < recurring else once(rng)


def range_(rng: Random) -> tuple[str, str]:
    """A look-up range with its preposition: `after 3 pm today` -> today after 15:00."""
    x = rng.random()
    if x < 0.34:
        text, canonical = rng.choice((("today", "today"), ("for today", "today"), ("tomorrow", "tomorrow"), ("for tomorrow", "tomorrow"), ("tonight", "today night"), ("for tonight", "today night"), ("this evening", "today evening"), ("this morning", "today morning"), ("this afternoon", "today afternoon"),
                                      ("tomorrow morning", "tomorrow morning"), ("for tomorrow morning", "tomorrow morning"), ("tomorrow night", "tomorrow night"), ("tomorrow afternoon", "tomorrow afternoon"), ("tomorrow evening", "tomorrow evening")))
        return text, canonical
    if x < 0.52:
        text, canonical = date(rng)
        while canonical.startswith("in ") or "in 1" in canonical:
            text, canonical = date(rng)
        return (text if rng.random() < 0.6 else f"for {strip(text)}"), canonical
    if x < 0.68:
        return rng.choice((("this week", "this week"), ("for this week", "this week"), ("for the week", "this week"), ("this month", "this month"), ("for the month", "this month"), ("next week", "next week"), ("for next week", "next week"), ("next month", "next month"), ("this weekend", "this weekend"), ("for the weekend", "this weekend"), ("this year", "this year"), ("over the weekend", "this weekend"),
                           ("in the coming week", "this week"), ("later this week", "this week"), ("the rest of the week", "this week")))
    if x < 0.73:
        m = rng.choice(MONTHS)
        return rng.choice((f"in {m}", f"for {m}", f"for the month of {m}", f"in the month of {m}", f"during {m}")), m
    if x < 0.77:
        d, part = rng.choice(WEEKDAYS), rng.choice(("morning", "afternoon", "evening", "night"))
        return rng.choice((f"on {d} {part}", f"for {d} {part}", f"{d} {part}")), f"{d} {part}"
    if x < 0.80:
        text, canonical, _ = rule(rng)
        return text, f"every {canonical}"
    said, c = time(rng, 0.45)
    x = rng.random()
    if x < 0.4:
        text, window = at(rng, said), c
        if text.startswith(("by ", "before ", "for ")):
            text = f"at {said}"
    elif x < 0.62:
        text, window = f"{rng.choice(('after', 'after', 'later than', 'from'))} {said}", f"after {c}"
    elif x < 0.78:
        text, window = f"{rng.choice(('before', 'before', 'until', 'earlier than'))} {said}", f"before {c}"
    else:
        s2, c2 = time(rng, 0.45)
        text, window = rng.choice((f"between {said} and {s2}", f"from {said} to {s2}", f"from {said} until {s2}", f"between {said} and {s2}")), f"between {c} and {c2}"
    if rng.random() < 0.4:
        d, cd = rng.choice((("today", "today"), ("tomorrow", "tomorrow"), ("tomorrow", "tomorrow"), ("today", "today"), *(((f"on {w}", w)) for w in WEEKDAYS)))
        return (f"{d} {text}" if rng.random() < 0.4 else f"{text} {d}"), f"{cd} {window}"
    return text, window


def to(rng: Random) -> tuple[str, str]:
    """A new time as it stands after "to": `6 pm`, `friday at five`."""
    x = rng.random()
    if x < 0.5:
        return time(rng, 0.4)
    if x < 0.7:
        return day(rng)
    if x < 0.8:
        text, d, part = part_date(rng)
        return strip(text), f"{d} {part}"
    (text, d), (said, c) = day(rng), time(rng)
    return (f"{text} at {said}" if rng.random() < 0.7 else f"{said} {strip(text) if text.startswith('this') else text}"), f"{d} {c}"
