"""A request gives reason to write the times, numbers and days that it can mean, and no others."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from assistant.evidence import MONTH, WEEKDAY, evidence
from assistant.grammar import CLASSES
from assistant.holidays import HOLIDAYS
from assistant.when import Once, parse_when
from assistant.words import normalise, words
from training import dates


def reasons(text, group):
    return evidence([w.folded for w in words(normalise(text))])[group]


@pytest.mark.parametrize(
    ("text", "group", "word"),
    [
        pytest.param("call mum at five", "H:MM?", "5:00?", id="a bare hour"),
        pytest.param("call mum at five", "HH:MM", "17:00", id="a bare hour, if the sentence implies the half"),
        pytest.param("wake me at half six", "HH:MM", "06:30", id="a British half"),
        pytest.param("at 14:20", "HH:MM", "14:20", id="24 hours"),
        pytest.param("half past midnight", "HH:MM", "00:30", id="after midnight"),
        pytest.param("in half an hour", "N", "30", id="half an hour"),
        pytest.param("in three quarters of an hour", "N", "45", id="three quarters"),
        pytest.param("in an hour and a half", "N", "1", id="an hour"),
        pytest.param("in 2.5 hours", "N", "30", id="a decimal"),
        pytest.param("in a couple of days", "N", "2", id="a couple"),
        pytest.param("in a fortnight", "N", "2", id="a fortnight"),
        pytest.param("a week tomorrow", "N", "8", id="a week tomorrow"),
        pytest.param("twice a year", "N", "6", id="twice a year"),
        pytest.param("every other tuesday", "week", "weeks", id="every other tuesday"),
        pytest.param("every first tuesday", "month", "month", id="every first tuesday"),
        pytest.param("every christmas", "year", "year", id="every christmas"),
        pytest.param("half an hour", "minute", "minutes", id="half an hour is minutes"),
        pytest.param("5 march", "D", "5", id="a number beside a month"),
        pytest.param("on the 5", "D", "5", id="a number after the"),
        pytest.param("on the twenty second", "D", "22", id="an ordinal in words"),
        pytest.param("on the 22nd", "D", "22", id="an ordinal in digits"),
        pytest.param("until the end of june", "D", "30", id="the end of a month"),
        pytest.param("on march 5th 2027", "YYYY", "2027", id="a year"),
        pytest.param("on march 5th twenty twenty seven", "YYYY", "2027", id="a year in words"),
        pytest.param("on 14/3/27", MONTH, "march", id="a date in figures"),
        pytest.param("on 14/3/27", "YYYY", "2027", id="a year in two figures"),
        pytest.param("by the 5th of febuary", MONTH, "february", id="a slip of the pen"),
        pytest.param("on thrusday", WEEKDAY, "thursday", id="letters that changed places"),
        pytest.param("on mondays", WEEKDAY, "monday", id="a plural"),
        pytest.param("on weds", WEEKDAY, "wednesday", id="an abbreviation"),
        pytest.param("monday to thursday", WEEKDAY, "wednesday", id="a day between two"),
        pytest.param("next weekend", WEEKDAY, "saturday", id="a weekend"),
        pytest.param("on christmas eve", "D", "24", id="a holiday's day"),
        pytest.param("on thanksgiving", WEEKDAY, "thursday", id="a holiday's weekday"),
        pytest.param("new year's eve", MONTH, "december", id="a holiday's month"),
    ],
)
def test_what_was_said_gives_reason_for_a_word(text, group, word):
    assert word in reasons(text, group)


@pytest.mark.parametrize(
    ("text", "group", "word"),
    [
        pytest.param("quarter to six", "H:MM?", "6:45?", id="the quarter on the wrong side"),
        pytest.param("quarter to six", "H:MM?", "6:00?", id="the hour without its quarter"),
        pytest.param("at 7:30", "H:MM?", "7:00?", id="the hour without its minutes"),
        pytest.param("call mum tomorrow", "HH:MM", "09:00", id="an hour nobody said"),
        pytest.param("quarter to midnight", "midnight", "midnight", id="the midnight of a quarter to it"),
        pytest.param("call mum in 2 hours", "month", "months", id="a unit nobody said"),
        pytest.param("call 18 people at 5", "D", "18", id="a number that is no date"),
        pytest.param("on friday", WEEKDAY, "saturday", id="another day"),
        pytest.param("on friday", "D", "5", id="a date nobody said"),
        pytest.param("in ten minutes", "N", "20", id="another number"),
        pytest.param("on the 5th of june", MONTH, "july", id="another month"),
        pytest.param("ring mary", MONTH, "march", id="a name that begins like a month"),
        pytest.param("pay monthly", WEEKDAY, "monday", id="a word that begins like a day"),
        pytest.param("fetch my friend", WEEKDAY, "friday", id="a friend is no friday"),
    ],
)
def test_what_was_not_said_is_not_written(text, group, word):
    assert word not in reasons(text, group)


def test_every_word_of_evidence_is_one_of_its_terminal():
    for group, may in evidence("at half 5 or 1730 or 0030 on the 31st of may 2027 in 999 days 1000 times".split()).items():
        if group in CLASSES:
            assert all(CLASSES[group].fullmatch(w) for w in may), group


def test_every_holiday_has_a_date_that_the_program_knows():
    london = ZoneInfo("Europe/London")
    for when in HOLIDAYS.values():
        assert isinstance(parse_when(when, datetime(2026, 3, 11, 10, tzinfo=london), london), Once), when


def test_every_holiday_that_the_model_is_taught_gives_reason_for_its_date():
    for said, when in dates.HOLIDAYS:
        found = evidence([w.folded for w in words(said)])
        allowed = {w for may in found.values() for w in may}
        free = {"of", "first", "second", "third", "fourth", "last", "good", "easter"}
        assert set(when.split()) <= allowed | free, said
