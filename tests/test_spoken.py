"""Numbers and clock times are read in every way in which people can mean them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.spoken import clock_times, numbers, pieces


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        pytest.param("7:45pm", "7 45 pm", id="a clock time with its half"),
        pytest.param("fiveam", "five am", id="a recogniser's half"),
        pytest.param("sixish", "six ish", id="a vague one"),
        pytest.param("twenty-five", "twenty five", id="a hyphen"),
        pytest.param("22nd o'clock", "22 nd o clock", id="an ordinal and an apostrophe"),
        pytest.param("five um past er six", "five past six", id="fillers are left out"),
        pytest.param("team exam", "team exam", id="words that only end so"),
    ],
)
def test_words_are_cut_into_runs_of_letters_and_digits(said, parts):
    assert pieces(said.split()) == parts.split()


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("5", {5}),
        ("twenty five", {20, 25, 5}),
        ("twenty second", {20, 22, 2}),
        ("thirty first", {30, 31, 1}),
        ("three hundred and forty two", {3, 300, 340, 342, 40, 42, 2}),
        ("two thousand and twenty seven", {2, 2000, 2020, 2027, 20, 27, 7}),
        ("a hundred", {1, 100}),
        ("five and twenty", {5, 25, 20}),
        ("buy milk", set()),
    ],
)
def test_a_number_is_read_with_all_that_it_may_be_part_of(said, read):
    assert {n for found in numbers(said.split()) for n, _ in found} == read


@pytest.mark.parametrize(
    ("said", "hour", "minute"),
    [
        ("at five", 5, 0),
        ("at 5", 5, 0),
        ("half five", 5, 30),
        ("half past 5", 5, 30),
        ("quarter to eight", 7, 45),
        ("a quarter past eight", 8, 15),
        ("quarter of seven", 6, 45),
        ("twenty past three", 3, 20),
        ("twenty five past three", 3, 25),
        ("ten to six", 5, 50),
        ("ten minutes to six", 5, 50),
        ("five um past er nine", 9, 5),
        ("oh seven hundred", 7, 0),
        ("seventeen hundred hours", 17, 0),
        ("seventeen thirty", 17, 30),
        ("530am", 5, 30),
        ("0630", 6, 30),
        ("0030 hrs", 0, 30),
        ("6 30 am", 6, 30),
        ("6 : 30", 6, 30),
        ("6.30", 6, 30),
        ("18:05", 18, 5),
        ("six oh five", 6, 5),
        ("nine fifty-five", 9, 55),
        ("half past midnight", 0, 30),
        ("quarter to midnight", 23, 45),
        ("quarter past noon", 12, 15),
        ("quarter to one", 0, 45),
        ("ate pm", 8, 0),
        ("for pm", 4, 0),
        ("one thousand am", 10, 0),
    ],
)
def test_a_clock_time_is_among_those_read(said, hour, minute):
    assert (hour, minute) in clock_times(said.split())[0]


@pytest.mark.parametrize(
    ("said", "all_of_them"),
    [
        pytest.param("quarter to six", {(5, 45)}, id="quarter to"),
        pytest.param("half past six", {(6, 30)}, id="half past"),
        pytest.param("half six", {(6, 30)}, id="half"),
        pytest.param("twenty five past six", {(6, 25)}, id="minutes past"),
        pytest.param("6:30", {(6, 30)}, id="digits"),
        pytest.param("set a reminder for the second thursday", set(), id="an article and an ordinal"),
        pytest.param("on the 3rd", set(), id="an ordinal in digits"),
        pytest.param("oh and remind me at 6", {(6, 0)}, id="an exclamation"),
        pytest.param("twenty to six", {(5, 40)}, id="minutes that are no hour"),
        pytest.param("at ten to six", {(5, 50)}, id="at ten to six"),
        pytest.param("from ten to six", {(10, 0), (6, 0), (5, 50)}, id="from ten to six"),
        pytest.param("five and twenty past two", {(2, 25)}, id="five and twenty past"),
        pytest.param("ten to six", {(10, 0), (6, 0), (5, 50)}, id="but ten to six may be from ten until six"),
        pytest.param("seventeen hundred hours", {(17, 0)}, id="hundreds"),
        pytest.param("15 minutes before it starts", set(), id="a number of minutes"),
        pytest.param("at six for 5 days", {(6, 0)}, id="a number of days"),
        pytest.param("one thousand one hundred am", {(11, 0)}, id="what a recogniser makes of 11:00"),
        pytest.param("remind me to call mum", set(), id="none was said"),
        pytest.param("at 61:00", set(), id="no clock time"),
        pytest.param("at six and again at quarter past", {(6, 0), (6, 15)}, id="an hour said before"),
    ],
)
def test_where_a_time_is_beyond_doubt_it_is_not_read_in_other_ways(said, all_of_them):
    assert clock_times(said.split())[0] == all_of_them


def test_what_is_spent_on_a_time_beyond_doubt_is_no_time_of_its_own():
    assert "midnight" in clock_times("quarter to midnight".split())[1]
    assert "midnight" not in clock_times("at midnight".split())[1]
    assert "midnight" not in clock_times("quarter to midnight or midnight".split())[1]


@settings(deadline=None)
@given(st.lists(st.sampled_from("half quarter to past 5 12 45 1730 ten twenty thirty five hundred thousand and a noon midnight pm oh".split()), max_size=30))
def test_whatever_is_said_the_times_read_are_times(words):
    assert all(0 <= h <= 24 and 0 <= m < 60 for h, m in clock_times(words)[0])


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_can_be_read(text):
    clock_times(text.lower().split())
