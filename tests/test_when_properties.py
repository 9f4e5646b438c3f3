"""Properties of the When language: each sentence of it resolves, to what it says, wherever and whenever it is said."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from random import Random
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assistant import grammar
from assistant.dates import named_day
from assistant.errors import BadWhen
from assistant.grammar import MONTHS, ORDINALS, WEEKDAYS, is_range, is_when
from assistant.ranges import parse_range
from assistant.recurrence import STEPS, fields
from assistant.syntax import CLOCK_UNITS, Delay, Point, Repetition, read_range, read_when
from assistant.when import (
    Once,
    Past,
    Policy,
    Repeat,
    join,
    localise,
    next_occurrence,
    occurrences_between,
    parse_when,
    split,
)

ZONES = [
    ZoneInfo(name)
    for name in ("Europe/London", "America/New_York", "Australia/Sydney", "Asia/Kathmandu", "America/Sao_Paulo")
]
DAY = timedelta(days=1)
POLICY = Policy()
# Clock changes of 2026 and, in São Paulo where they fell on midnight, of 2018.
CHANGES = [datetime(2026, *day, tzinfo=UTC) for day in ((3, 8), (3, 29), (4, 4), (10, 3), (10, 25), (11, 1))] + [
    datetime(2018, *day, tzinfo=UTC) for day in ((2, 18), (11, 4))]  # fmt: skip

zones = st.sampled_from(ZONES)
instants = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),
    st.datetimes(datetime(2015, 1, 1), datetime(2045, 12, 31), timezones=st.just(UTC)),
    st.builds(lambda day, s: day + timedelta(seconds=s), st.sampled_from(CHANGES), st.integers(-90_000, 90_000)),
)
randoms = st.randoms(use_true_random=False)
WORDS = sorted({
    "every", "in", "and", "from", "until", "for", "except", "on", "of", "the", "today", "tomorrow", "tonight", "this",
    "next", "end", "after", "before", "between", "weekday", "weekend", "easter", "good", "day", "days", "week", "weeks",
    "month", "months", "year", "hour", "minutes", "times", "5", "31", "999", "17:00", "5:00?", "2027", "2027-02-29",
    "call", *WEEKDAYS, *MONTHS, *ORDINALS, *grammar.DAYPARTS,
})  # fmt: skip


def sentences(tree):
    return randoms.map(lambda random: " ".join(grammar.sample(tree, random)))


@st.composite
def nearly_sentences(draw, tree):
    """A sentence in which a few words were left out, put in or exchanged."""
    words = draw(sentences(tree)).split()
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(words)))
        words[place : place + draw(st.integers(0, 1))] = draw(st.lists(st.sampled_from(WORDS), max_size=1))
    return " ".join(words)


@settings(max_examples=800, deadline=None)
@given(nearly_sentences(grammar.when))
def test_the_parser_takes_the_sentences_of_the_when_language_and_no_others(text):
    assert reads(read_when, text) == is_when(text)


@settings(max_examples=500, deadline=None)
@given(nearly_sentences(grammar.range_))
def test_the_parser_takes_the_sentences_of_the_range_language_and_no_others(text):
    assert reads(read_range, text) == is_range(text)


def reads(read, text) -> bool:
    try:
        read(text)
    except BadWhen:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)), instants, zones)
def test_any_text_resolves_or_is_refused(text, now, zone):
    for parse in (parse_when, parse_range):
        try:
            parse(text, now, zone)
        except BadWhen:
            assert not (is_when if parse is parse_when else is_range)(text.lower())


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from([*WORDS, "|"])).map(" ".join)))
def test_any_line_parts_into_words_of_it_and_a_sentence_or_nothing(line):
    task, when = split(line)
    assert when == "" or is_when(when)
    assert split(join(task, when)) == (task, when)


words = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1).filter(
    lambda word: word.split() == [word])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(words, st.sampled_from([*WORDS, "|", "a|b"]))), st.one_of(st.just(""), sentences(grammar.when)))
def test_what_was_joined_parts_again(task, when):
    """Even a task that ends in a time, or holds a bar."""
    task = " ".join(task)
    assert split(join(task, when)) == (task, when)


@settings(max_examples=1500, deadline=None)
@given(sentences(grammar.when), instants, zones)
def test_every_sentence_resolves_to_what_it_names(sentence, now, zone):
    check(sentence, now, zone)


EVERY_FORM = [
    "17:00", "00:30", "01:30", "5:00?", "11:45?", "12:10?", "morning", "noon", "midnight", "tonight", "today", "today 9:30?",
    "today 16:00", "tomorrow", "tomorrow 01:30", "tomorrow 02:30", "tomorrow midnight", "monday", "sunday 02:30",
    "wednesday 8:00?", "next friday", "next sunday 01:30", "tuesday in 3 weeks", "this weekend", "this weekend 02:15",
    "next week", "next month evening", "end of week", "end of month", "end of month 23:30", "the 31", "the 1 00:15", "the 29",
    "29 february", "31 february", "25 december 8:00?", "28 march 01:30", "2026-10-25 01:30", "2031-02-29", "1 may 2027",
    "first sunday of april 02:30", "last sunday of october 01:30", "easter", "good friday night", "easter monday",
    "in 90 minutes", "in 1 hour 1 minute", "in 999 seconds", "in 1 day 02:30", "in 6 weeks", "in 13 months", "in 4 years",
    "every day", "every day 01:30 and 02:30 and noon", "every 3 days 02:30", "every weekday 7:00?", "every weekend midnight",
    "every sunday 01:30", "every 2 weeks on monday and sunday 08:00 and 18:30", "every week", "every month", "every month on the 31",
    "every 2 months on last sunday 02:30", "every year", "every year on 29 february", "every year on first sunday of november 01:30",
    "every 50 minutes", "every 7 hours 09:00 except sunday", "every 10 seconds until 18:00", "every day from next monday for 3 weeks",
    "every 90 minutes from 8:00? for 10 hours", "every day until end of month except monday and tuesday",
]  # fmt: skip


@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.key)
def test_every_form_resolves_on_every_day_of_a_year(zone):
    """A third of the days in each of five zones: every day in at least one of them."""
    random = Random(zone.key)
    for day in range(365):
        for sentence in EVERY_FORM[(day + ZONES.index(zone)) % 3 :: 3]:
            now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=random.randrange(86400))
            check(sentence, now, zone)


# What a sentence says, read off its words. ------------------------------------------------------------------------


def check(sentence: str, now: datetime, zone: ZoneInfo) -> None:
    result = parse_when(sentence, now, zone)
    assert result.due.tzinfo is zone and result.due.microsecond == 0
    if isinstance(result, Past):
        assert result.due.astimezone(UTC) <= now or "until" in sentence
        return
    assert result.due.astimezone(UTC) > now
    said = read_when(sentence)
    match said:
        case Delay(span=((_, unit), *_)) if unit in CLOCK_UNITS:
            seconds = sum(n * {"second": 1, "minute": 60, "hour": 3600}[unit] for n, unit in said.span)
            assert result.due.astimezone(UTC) - now.replace(microsecond=0) == timedelta(seconds=seconds)
        case Delay():
            check_clock((said.time,), result.due, zone)
        case Point():
            assert isinstance(result, Once)
            check_point(said, result.due, now.astimezone(zone).date(), zone)
        case Repetition():
            assert isinstance(result, Repeat)
            check_repetition(said, result, zone)


def check_clock(said: tuple, due: datetime, zone: ZoneInfo) -> None:
    """It is one of the times said, or a clock change moved it there."""
    meant = set()
    for word in said:
        if word is None:
            meant.add(POLICY.day)
        elif word == "midnight":
            meant.add(time())
        elif word in grammar.DAYPARTS:
            meant.add(getattr(POLICY, word))
        elif word.endswith("?"):
            hour, minute = map(int, word[:-1].split(":"))
            meant |= {time(hour % 12, minute), time(hour % 12 + 12, minute)}
        else:
            meant.add(time.fromisoformat(word))
    assert any(at_wall(due.date(), t, zone) == due for t in meant), (said, due)


def at_wall(day: date, t: time, zone: ZoneInfo) -> datetime:
    return localise(datetime.combine(day, t), zone)


def check_point(said: Point, due: datetime, today: date, zone: ZoneInfo) -> None:
    if said.date not in (("tonight",), ("today",)) or said.time:
        check_clock((said.time,), due, zone)
    named = due.date() - DAY if said.time == "midnight" else due.date()
    month_end = (named + DAY).day == 1
    match said.date:
        case ("today",) | ("tonight",):
            assert named == today
        case ("tomorrow",):
            assert named == today + DAY
        case ("this", "weekend"):
            assert named.weekday() in (5, 6) and named - today < 6 * DAY
        case ("next", "week"):
            assert named.weekday() == 0 and DAY <= named - today <= 7 * DAY
        case ("next", "month"):
            assert named.day == 1 and DAY <= named - today <= 31 * DAY
        case ("end", "of", "week"):
            assert named.weekday() == 4 and named - today <= 7 * DAY
        case ("end", "of", "month"):
            assert month_end and named - today <= 31 * DAY
        case ("the", d):
            assert named.day == int(d)
        case ("easter",):
            assert named.weekday() == 6 and named.month in (3, 4)
        case ("good" | "easter", _):
            assert named.weekday() == {"good": 4, "easter": 0}[said.date[0]]
        case (ordinal, weekday, "of", month):
            assert (named.weekday(), named.month) == (WEEKDAYS.index(weekday), MONTHS.index(month) + 1)
            nth = ORDINALS.index(ordinal)
            assert (named + 7 * DAY).month != named.month if nth == 4 else (named.day - 1) // 7 == nth
        case ("next", weekday):
            assert named.weekday() == WEEKDAYS.index(weekday) and DAY <= named - today <= 13 * DAY
        case (weekday, "in", n, _):
            weeks = timedelta(weeks=int(n))
            assert named.weekday() == WEEKDAYS.index(weekday) and weeks < named - today <= weeks + 7 * DAY
        case (d, month, *year):
            assert named.month == MONTHS.index(month) + 1 and (named.day == int(d) or month_end)
            assert not year or named.year == int(year[0])
        case (word,) if word in WEEKDAYS:
            assert named.weekday() == WEEKDAYS.index(word) and DAY <= named - today <= 7 * DAY
        case (iso,):
            assert named.isoformat() == iso or (month_end and named.isoformat()[:7] == iso[:7])


def check_repetition(said: Repetition, repeat: Repeat, zone: ZoneInfo) -> None:
    wall, due = repeat.due.replace(tzinfo=None), repeat.due.astimezone(UTC)
    if repeat.due.fold == 0:  # what is stored does not say which of two equal wall times it is
        assert next_occurrence(repeat.rrule, wall, zone, due - timedelta(seconds=1)) == due
        assert occurrences_between(repeat.rrule, wall, zone, due - timedelta(seconds=1), due) == 1
    if said.unit in CLOCK_UNITS:
        assert said.excluded == () or repeat.due.weekday() not in said.excluded or "BYDAY" not in repeat.rrule
        return
    spoken = said.times or ((said.start.time if said.start else None),)
    check_clock(spoken, repeat.due, zone)
    # A midnight may be that of the day before.
    named = {wall.weekday(), *([(wall.weekday() - 1) % 7] if "midnight" in spoken else [])}
    allowed = set(said.weekdays) - set(said.excluded) or set(said.weekdays)
    assert not said.weekdays or named & allowed
    if said.on and "midnight" not in spoken:
        match said.on:
            case ("the", d):
                assert wall.day == int(d)
            case (d, month) if month in MONTHS:
                assert wall.month == MONTHS.index(month) + 1 and (wall.day == int(d) or (wall + DAY).day == 1)
            case (_, weekday, *_):
                assert wall.weekday() == WEEKDAYS.index(weekday)


# Occurrences, the slow way. ---------------------------------------------------------------------------------------


def walls(rule: str, start: datetime) -> list[datetime]:
    """DTSTART and what dateutil makes of the rule, without any short cut."""
    times = (t for t in rrulestr(rule, dtstart=start) if t != start)
    count = fields(rule).get("COUNT")
    return [start, *islice(times, int(count) - 1 if count else 3000)]


@settings(max_examples=200, deadline=None)
@given(sentences(grammar.repeat), instants, zones, st.floats(0, 1), st.floats(0, 1))
def test_jumping_to_an_instant_finds_what_walking_there_finds(sentence, now, zone, a, b):
    repeat = parse_when(sentence, now, zone)
    assume(isinstance(repeat, Repeat) and fields(repeat.rrule)["FREQ"] not in STEPS)
    start = repeat.due.replace(tzinfo=None)
    nominal = walls(repeat.rrule, start)
    found = sorted({localise(wall, zone).astimezone(UTC) for wall in nominal})
    horizon = found[-1] - timedelta(days=2)
    after, until = (found[0] - DAY + x * max(horizon - found[0] + DAY, DAY) for x in sorted((a, b)))
    expected = [at for at in found if at > after]
    assume(expected or len(nominal) < 3000)
    assert next_occurrence(repeat.rrule, start, zone, after) == (expected[0] if expected else None)
    between = len([at for at in expected if at <= until])
    assert occurrences_between(repeat.rrule, start, zone, after, until) == min(between, 1000)


times_of_day = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))


@st.composite
def rules(draw):
    """A sentence without its times, whether a day fits it, and whether it fits the rhythm that a first day begins."""
    n = draw(st.integers(1, 5))
    weekdays = draw(st.sets(st.integers(0, 6), min_size=1))
    named = " and ".join(WEEKDAYS[day] for day in weekdays)
    d, month, ordinal = draw(st.integers(1, 31)), draw(st.integers(1, 12)), draw(st.integers(0, 4))
    weekday = draw(st.integers(0, 6))
    months = lambda day: day.year * 12 + day.month  # noqa: E731
    nth = lambda day: (day + 7 * DAY).month != day.month if ordinal == 4 else (day.day - 1) // 7 == ordinal  # noqa: E731
    return draw(st.sampled_from([
        (f"every {n} days", lambda day: True, lambda day, first: (day - first).days % n == 0),
        (f"every {named}", lambda day: day.weekday() in weekdays, lambda day, first: True),
        (f"every {n} weeks on {named}", lambda day: day.weekday() in weekdays,
         lambda day, first: (monday(day) - monday(first)).days // 7 % n == 0),
        (f"every {n} weeks", lambda day: True, lambda day, first: (day - first).days % (7 * n) == 0),
        (f"every {n} months on the {d}", lambda day: day.day == d, lambda day, first: (months(day) - months(first)) % n == 0),
        (f"every {n} months on {ORDINALS[ordinal]} {WEEKDAYS[weekday]}", lambda day: day.weekday() == weekday and nth(day),
         lambda day, first: (months(day) - months(first)) % n == 0),
        (f"every {n} months", lambda day: True, lambda day, first: (months(day) - months(first)) % n == 0
         and (day.day == first.day or (day.day < first.day and (day + DAY).day == 1))),
        (f"every year on {min(d, 28)} {MONTHS[month - 1]}", lambda day: (day.month, day.day) == (month, min(d, 28)),
         lambda day, first: True),
    ]))  # fmt: skip


def monday(day: date) -> date:
    return day - day.weekday() * DAY


@settings(max_examples=300, deadline=None)
@given(rules(), st.sets(times_of_day, min_size=1, max_size=3), st.sets(st.integers(0, 6), max_size=2), instants, zones)
def test_what_recurs_rings_as_its_words_say(rule, times, excluded, now, zone):
    """Against a reference that knows nothing of RFC 5545: it looks at each day in turn."""
    sentence, fits, in_rhythm = rule
    exception = f" except {' and '.join(WEEKDAYS[day] for day in sorted(excluded))}" if excluded else ""
    today = now.astimezone(zone).date()
    if excluded and all(day.weekday() in excluded for day in (today + n * DAY for n in range(4400)) if fits(day)):
        excluded = set()  # an exception that leaves nothing is ignored

    def rung(day: date) -> list[datetime]:
        return [] if day.weekday() in excluded else [at_wall(day, t, zone).astimezone(UTC) for t in times]

    first = next(day for day in (today + n * DAY for n in range(-1, 3000)) if fits(day) and any(at > now for at in rung(day)))
    assume(all(at_wall(first, t, zone).time() == t for t in times))  # not moved by a clock change on the very first day
    assume(not (excluded and first.day > 28 and sentence.endswith("months")))  # the last of the month may stand in
    expected: list[datetime] = []
    day = first
    while len(expected) < 8 and day < first + 4000 * DAY:
        if fits(day) and in_rhythm(day, first):
            expected += sorted({at for at in rung(day) if at > now} - set(expected))
        day += DAY
    spoken = " and ".join(f"{t:%H:%M}" for t in sorted(times))
    repeat = parse_when(f"{sentence} {spoken}{exception}", now, zone)
    found = [repeat.due.astimezone(UTC)]
    while len(found) < len(expected):
        found.append(next_occurrence(repeat.rrule, repeat.due.replace(tzinfo=None), zone, found[-1]))
    assert found == expected


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 999), st.sampled_from(["second", "minute", "hour"]), st.sets(st.integers(0, 6), max_size=6),
    st.one_of(st.none(), st.integers(1, 999)), instants, zones, st.integers(0, 2000),
)  # fmt: skip
def test_what_recurs_within_the_day_keeps_its_distance(n, unit, excluded, count, now, zone, skip):
    """Elapsed time from the first instant, whatever clocks do; an exception is a day of local time."""
    now = now.replace(microsecond=0)
    step = max(n * {"second": 1, "minute": 60, "hour": 3600}[unit], 10)
    exception = f" except {' and '.join(WEEKDAYS[day] for day in sorted(excluded))}" if excluded else ""
    repeat = parse_when(f"every {n} {unit}s" + (f" for {count} times" if count else "") + exception, now, zone)
    wall = repeat.due.replace(tzinfo=None)
    assume(localise(wall, zone) == repeat.due)  # what is stored does not say which of two equal wall times it is
    if "BYDAY" not in repeat.rrule:  # none, or nothing would be left
        excluded = set()
    everything = (now + timedelta(seconds=step * i) for i in range(1, 10**7))
    allowed = (at for at in everything if at.astimezone(zone).weekday() not in excluded)
    expected = list(islice(allowed, min(count or 3000, 3000) if not excluded else min(count or 30, 30)))
    assert repeat.due.astimezone(UTC) == expected[0]
    at = skip % len(expected)
    following = expected[at + 1 : at + 2] or ([None] if count == len(expected) else [])
    assert [next_occurrence(repeat.rrule, wall, zone, expected[at])][: len(following)] == following
    assert occurrences_between(repeat.rrule, wall, zone, now, expected[at]) == min(at + 1, 1000)


@settings(max_examples=100, deadline=None)
@given(st.dates(date(2000, 1, 1), date(2060, 12, 31)), st.integers(1, 999), st.integers(0, 6))
def test_dateparser_and_the_calendar_agree(today, n, weekday):
    """On all phrases that it is given, as the calendar has them."""
    assert named_day(f"in {n} days", today) == today + n * DAY
    assert named_day(f"in {n} weeks", today) == today + 7 * n * DAY
    months = today.year * 12 + today.month - 1 + n
    assert divmod(months, 12) == ((got := named_day(f"in {n} months", today)).year, got.month - 1)
    assert got.day == today.day or (got.day < today.day and (got + DAY).day == 1)
    assert named_day(WEEKDAYS[weekday], today) == today + ((weekday - today.weekday() - 1) % 7 + 1) * DAY
    assert named_day(f"{today.day} {MONTHS[today.month - 1]} {today.year}", date(2026, 3, 11)) == today
    assert named_day(today.isoformat(), date(2026, 3, 11)) == today


def test_a_phrase_that_dateparser_reads_wrongly_is_refused():
    """Two of its traps: it takes "next friday" for this one, and cannot read "monday next week"."""
    for phrase in ("next friday", "monday next week", "the 5"):
        with pytest.raises(BadWhen):
            named_day(phrase, date(2026, 3, 11))
