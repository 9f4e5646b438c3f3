"""A request gives reason to write the times, numbers and days that it can mean, and no others."""

from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

import pytest

from assistant.evidence import GUARDED, evidence
from assistant.grammar import CLASSES
from assistant.holidays import HOLIDAYS
from assistant.when import Once, parse_when
from assistant.words import normalise, words
from tests.test_decoding import VOCABULARIES, follow
from training import clock_times, dates

VOCABULARY = VOCABULARIES[0].values[0]


WORDS = "words"
"""Instead of a class: single words that need a reason."""


def reasons(text, group):
    may = evidence([w.folded for w in words(normalise(text))])
    return may.words if group == WORDS else may.classes[group]


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
        pytest.param("every other tuesday", WORDS, "weeks", id="every other tuesday"),
        pytest.param("every first tuesday", WORDS, "month", id="every first tuesday"),
        pytest.param("every christmas", WORDS, "year", id="every christmas"),
        pytest.param("half an hour", WORDS, "minutes", id="half an hour is minutes"),
        pytest.param("5 march", "D", "5", id="a number beside a month"),
        pytest.param("on the 5", "D", "5", id="a number after the"),
        pytest.param("on the twenty second", "D", "22", id="an ordinal in words"),
        pytest.param("on the 22nd", "D", "22", id="an ordinal in digits"),
        pytest.param("until the end of june", "D", "30", id="the end of a month"),
        pytest.param("on march 5th 2027", "YYYY", "2027", id="a year"),
        pytest.param("on march 5th twenty twenty seven", "YYYY", "2027", id="a year in words"),
        pytest.param("on 14/3/27", WORDS, "march", id="a date in figures"),
        pytest.param("on 14/3/27", "YYYY", "2027", id="a year in two figures"),
        pytest.param("by the 5th of febuary", WORDS, "february", id="a slip of the pen"),
        pytest.param("on thrusday", WORDS, "thursday", id="letters that changed places"),
        pytest.param("on mondays", WORDS, "monday", id="a plural"),
        pytest.param("on weds", WORDS, "wednesday", id="an abbreviation"),
        pytest.param("monday to thursday", WORDS, "wednesday", id="a day between two"),
        pytest.param("next weekend", WORDS, "saturday", id="a weekend"),
        pytest.param("on christmas eve", "D", "24", id="a holiday's day"),
        pytest.param("on thanksgiving", WORDS, "thursday", id="a holiday's weekday"),
        pytest.param("new year's eve", WORDS, "december", id="a holiday's month"),
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
        pytest.param("call mum", WORDS, "noon", id="a noon nobody said"),
        pytest.param("call mum", WORDS, "midnight", id="a midnight nobody said"),
        pytest.param("call mum tomorrow", "HH:MM", "09:00", id="an hour nobody said"),
        pytest.param("quarter to midnight", WORDS, "midnight", id="the midnight of a quarter to it"),
        pytest.param("call mum in 2 hours", WORDS, "months", id="a unit nobody said"),
        pytest.param("call 18 people at 5", "D", "18", id="a number that is no date"),
        pytest.param("on friday", WORDS, "saturday", id="another day"),
        pytest.param("on friday", "D", "5", id="a date nobody said"),
        pytest.param("in ten minutes", "N", "20", id="another number"),
        pytest.param("on the 5th of june", WORDS, "july", id="another month"),
        pytest.param("ring mary", WORDS, "march", id="a name that begins like a month"),
        pytest.param("pay monthly", WORDS, "monday", id="a word that begins like a day"),
        pytest.param("fetch my friend", WORDS, "friday", id="a friend is no friday"),
    ],
)
def test_what_was_not_said_is_not_written(text, group, word):
    assert word not in reasons(text, group)


def test_every_word_of_evidence_is_one_of_its_terminal():
    may = evidence("at half 5 or 1730 or 0030 on the 31st of may 2027 in 999 days 1000 times 2100 99th".split())
    assert set(may.classes) == set(CLASSES)
    assert all(CLASSES[terminal].fullmatch(w) for terminal, ws in may.classes.items() for w in ws)
    assert may.words <= GUARDED


def test_what_is_barred_has_no_word_left():
    barred = evidence("call mum on friday".split()).barred
    assert {"monday", "june", "noon", "HH:MM", "D", "YYYY"} <= barred
    assert not {"friday", "N", "tomorrow"} & barred


def test_every_holiday_has_a_date_that_the_program_knows():
    london = ZoneInfo("Europe/London")
    for when in HOLIDAYS.values():
        assert isinstance(parse_when(when, datetime(2026, 3, 11, 10, tzinfo=london), london), Once), when


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("at 5", "5:00?"),
        ("every 20 minutes till 6", "every 20 minutes until 6:00?"),
        ("every 15 minutes till midnight", "every 15 minutes until midnight"),
        ("every 2 hours from 9 to 5", "every 2 hours from 9:00? until 5:00?"),
        ("on 14/3", "14 march"),
        ("on 14/03/2027", "14 march 2027"),
        ("on 2027-03-14", "14 march 2027"),
        ("on the 2nd tuesday of every month", "every month on second tuesday"),
        ("every 2nd tuesday", "every month on second tuesday"),
        ("mon-fri at 7", "every monday and tuesday and wednesday and thursday and friday 7:00?"),
        ("two weeks tomorrow", "in 15 days"),
        ("in 3/4 of an hour", "in 45 minutes"),
        ("every 2.5 hours", "every 150 minutes"),
        ("half yearly", "every 6 months"),
        ("in 1h30", "in 1 hour 30 minutes"),
        ("in 10hrs", "in 10 hours"),
        ("half past for", "4:30?"),
        ("at lunchtime", "noon"),
        ("xmas eve at noon", "24 december noon"),
        ("a quarter to midnight", "23:45"),
        ("the day after tomorrow", "in 2 days"),
        ("tonight", "tonight"),
        ("every friday except in june", "every friday"),
        ("friday week", "friday in 1 week"),
        ("every other tuesday at half ten", "every 2 weeks on tuesday 10:30?"),
        ("at 18:30 on the last friday of may", "last friday of may 18:30"),
        ("twenty second of june twenty twenty seven", "22 june 2027"),
        ("hourly for the next 8 hours", "every hour for 8 hours"),
        ("once a quarter", "every 3 months"),
        ("in a year and a half", "in 18 months"),
        ("this arvo at 4", "today 16:00"),
        ("9 in the morning on sundays", "every sunday 09:00"),
        ("in another ten", "in 10 minutes"),
    ],
)
def test_what_people_say_can_be_written(text, when):
    assert follow(VOCABULARY, text, f"| {when}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("move my 8 20 to 9", "/move my | 8:20? > 9:00?"),
        ("push the two fifteen to three", "/move the | 2:15? > 3:00?"),
        ("move the meeting from 13 to 2", "/move meeting | 13:00 > 2:00?"),
        ("give me 5", "/snooze > in 5 minutes"),
        ("what's on from 22 to 6", "/list | between 22:00 and 6:00?"),
    ],
)
def test_what_people_say_of_what_is_set_can_be_written(text, line):
    assert follow(VOCABULARY, text, line)


@pytest.mark.parametrize("draw", [dates.month_day, dates.repeat, dates.once, clock_times.time])
def test_whatever_the_model_is_taught_to_write_can_be_written(draw):
    random = Random(11)
    barred = []
    for _ in range(400):
        said, when = draw(random)
        if not follow(VOCABULARY, normalise(said.lower()), f"| {when}"):
            barred.append((said, when))
    assert barred == []


def test_every_holiday_that_the_model_is_taught_gives_reason_for_its_date():
    for said, when in dates.HOLIDAYS:
        assert follow(VOCABULARY, said, f"| {when}"), said
