"""Which reminders are meant by what a person says."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from assistant.messages import Reminder, Target
from assistant.targets import content, find, is_bare, stem
from assistant.when import Policy

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 11, 10, 0, tzinfo=LONDON)  # a Wednesday


def reminder(id: int, task: str, due: str, rrule: str | None = None, state: str = "pending") -> Reminder:
    wall = datetime.fromisoformat(due)
    at = wall.replace(tzinfo=LONDON) if state == "pending" else None
    return Reminder(id, None, task, due, wall, "Europe/London", rrule, at, state)


HOUSEHOLD = [
    reminder(1, "call mum", "2026-03-11 17:00"),
    reminder(2, "call the bank about the loan", "2026-03-12 09:00"),
    reminder(3, "take the bins out", "2026-03-12 07:00", "FREQ=WEEKLY;BYDAY=TH"),
    reminder(4, "alarm", "2026-03-12 06:30"),
    reminder(5, "dentist appointment", "2026-03-13 15:00"),
    reminder(6, "", "2026-03-11 12:00"),
    reminder(7, "Pick up Zbigniew's suit", "2026-03-14 11:00"),
    reminder(8, "meeting with Priya", "2026-03-12 15:00"),
    reminder(9, "meeting with Tom", "2026-03-13 15:00"),
]


def meant(words="", quantifier=None, range=None, among=HOUSEHOLD, that=()):
    match = find(Target(quantifier, words, range), among, NOW, LONDON, Policy(), that)
    return [r.id for r in match.found], match


@pytest.mark.parametrize(
    ("words", "range", "ids"),
    [
        pytest.param("call mum", None, [1], id="all its words"),
        pytest.param("mum", None, [1], id="one of its words"),
        pytest.param("my call to mum", None, [1], id="with words that tell nothing"),
        pytest.param("calling mum", None, [1], id="another form of a verb"),
        pytest.param("the bin", None, [3], id="singular for plural"),
        pytest.param("zbigniew suit", None, [7], id="without possessive, in small letters"),
        pytest.param("ZBIGNIEW’S SUIT", None, [7], id="a curly quote, in capitals"),
        pytest.param("the dentist", None, [5], id="with an article"),
        pytest.param("dentist reminder", None, [5], id="with a noun for any reminder"),
        pytest.param("alarm", None, [4], id="an alarm is what is called so"),
        pytest.param("meetings", None, [8, 9], id="meetings are what is called so"),
        pytest.param("meeting with tom", None, [9], id="a noun of a kind and a telling word"),
        pytest.param("call", None, [1, 2], id="two have the word"),
        pytest.param("", "today", [1, 6], id="by day"),
        pytest.param("", "tomorrow 6:30?", [4], id="by time"),
        pytest.param("meeting", "friday", [9], id="by kind and day"),
        pytest.param("", "every thursday", [3], id="by recurrence"),
        pytest.param("", "today after 13:00", [1], id="by part of a day"),
        pytest.param("reminder", None, [1, 2, 3, 4, 5, 6, 7, 8, 9], id="reminder is any"),
    ],
)
def test_a_reminder_is_found_by_its_words_and_time(words, range, ids):
    found, match = meant(words, range=range)
    assert (found, match.sure) == (ids, True)


@pytest.mark.parametrize("words", ["granny", "the plumber", "run", "call", "mum and dad and the neighbours"])
def test_what_has_less_than_half_of_the_words_is_not_meant(words):
    assert meant(words, among=[HOUSEHOLD[4], HOUSEHOLD[6]])[0] == []


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        pytest.param("call dad", [1, 2], id="half of the words"),
        pytest.param("the dentsit", [5], id="a slip of the finger"),
        pytest.param("zbignew's suit", [7], id="a name heard wrongly"),
        pytest.param("timer", [r.id for r in HOUSEHOLD], id="a kind of which there is none"),
    ],
)
def test_what_fits_half_is_a_guess(words, ids):
    found, match = meant(words)
    assert (found, match.sure) == (ids, False)


def test_of_two_that_have_all_words_the_one_with_no_others_is_meant():
    two = [reminder(1, "call mum", "2026-03-12 09:00"), reminder(2, "call mum about the car", "2026-03-12 10:00")]
    assert meant("call mum", among=two)[0] == [1]
    assert meant("mum", among=two)[0] == [1, 2]


def test_a_task_of_words_that_tell_nothing_is_found_by_them():
    among = [reminder(1, "be there", "2026-03-12 09:00"), HOUSEHOLD[0]]
    assert meant("be there", among=among)[0] == [1]


@pytest.mark.parametrize(
    ("quantifier", "words", "range", "ids"),
    [
        pytest.param("next", "", None, [6], id="the soonest"),
        pytest.param("next", "meeting", None, [8], id="the soonest of a kind"),
        pytest.param("first", "", "tomorrow", [4], id="the first of a day"),
        pytest.param("last", "", None, [9], id="the one set last"),
        pytest.param("last", "", "tomorrow", [8], id="the last of a day"),
        pytest.param("last", "meeting", None, [9], id="the one of a kind that was set last"),
        pytest.param("all", "meetings", None, [8, 9], id="all of a kind"),
        pytest.param("all", "", "today", [1, 6], id="all of a day"),
        pytest.param("all", "timers", None, [], id="all of a kind of which there is none"),
        pytest.param("all", "reminders", None, [1, 2, 3, 4, 5, 6, 7, 8, 9], id="all reminders"),
    ],
)
def test_a_quantifier_chooses_among_those_that_fit(quantifier, words, range, ids):
    assert meant(words, quantifier, range)[0] == ids


def test_two_at_one_instant_are_both_the_next():
    two = [reminder(1, "eggs", "2026-03-12 09:00"), reminder(2, "flour", "2026-03-12 09:00")]
    assert meant(quantifier="next", among=two)[0] == [1, 2]


def test_next_lies_ahead_and_first_may_have_rung():
    among = [reminder(1, "eggs", "2026-03-11 09:00", state="fired"), reminder(2, "flour", "2026-03-12 09:00")]
    assert meant(quantifier="next", among=among)[0] == [2]
    assert meant(quantifier="first", among=among)[0] == [1]
    assert meant(quantifier="next", among=among[:1])[0] == [1]


def test_that_is_the_first_of_those_it_may_point_at_which_fits():
    assert meant(quantifier="that", that=(HOUSEHOLD[0], HOUSEHOLD[4]))[0] == [1]
    assert meant("appointment", "that", that=(HOUSEHOLD[0], HOUSEHOLD[4]))[0] == [5]


def test_that_without_anything_to_point_at_is_any():
    assert len(meant(quantifier="that")[0]) == len(HOUSEHOLD)


def test_all_are_marked_as_everything():
    assert meant(quantifier="all")[1].everything
    assert not meant("mum")[1].everything


@pytest.mark.parametrize(
    ("target", "bare"),
    [
        (Target(None, "", None), True),
        (Target("that", "", None), True),
        (Target(None, "the alarm", None), True),
        (Target("next", "", None), False),
        (Target(None, "mum", None), False),
        (Target(None, "", "today"), False),
    ],
)
def test_a_bare_target_says_no_more_than_that(target, bare):
    assert is_bare(target) == bare


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mum's", "mums"), ("bins", "bin"), ("boxes", "box"), ("berries", "berry"), ("calling", "called"),
        ("running", "run"), ("taking", "take"), ("Friday", "friday"), ("watered", "water"), ("shoes", "shoe"),
    ],
)  # fmt: skip
def test_forms_of_a_word_have_one_stem(one, other):
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("meeting", "meet"), ("dress", "dre"), ("mum", "mud"), ("ring", "r")])
def test_different_words_keep_different_stems(one, other):
    assert stem(one) != stem(other)


def test_words_that_tell_nothing_are_left_out():
    assert content("my call to the bank about it") == ["call", "bank"]


def test_one_of_many_thousands_is_found():
    crowd = [reminder(n, f"task number {n}", "2026-03-12 09:00") for n in range(20_000)]
    crowd.append(reminder(20_001, "Pick up Zbigniew's suit", "2026-03-14 11:00"))
    assert meant("zbigniew", among=crowd)[0] == [20_001]


def test_a_range_that_is_none_means_nothing():
    assert meant(range="the day of the whale")[0] == []


def test_a_reminder_of_another_zone_is_found_by_the_time_here():
    due, tokyo = NOW.replace(hour=17) + timedelta(days=1), ZoneInfo("Asia/Tokyo")
    far = Reminder(1, None, "call", "x", due.astimezone(tokyo).replace(tzinfo=None), tokyo.key, None, due, "pending")
    assert meant(range="tomorrow 17:00", among=[far])[0] == [1]
