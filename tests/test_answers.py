"""Short answers told from requests."""

from datetime import datetime

import pytest

from assistant.answers import after_no, gives_time, is_all, is_no, is_request, is_yes, pick
from assistant.messages import Entry, Target, Understanding
from tests.test_targets import NOW, reminder


@pytest.mark.parametrize(
    "text",
    ["yes", "Yes.", "yeah", "yep", "y", "ok", "OK!", "sure", "correct", "that's right", "do it", "yes please", "go ahead",
     "oh yes do it please", "yes, that is correct", "of course", "yes all of them", "um, yes", "sounds good"],
)  # fmt: skip
def test_yes(text):
    assert is_yes(text)
    assert not is_no(text)


@pytest.mark.parametrize(
    "text",
    ["no", "No!", "nope", "nah", "n", "cancel", "never mind", "nevermind", "no thanks", "forget it", "no, none of them",
     "stop", "don't", "no don't", "leave it", "no that's wrong", "no thank you very much", "neither"],
)  # fmt: skip
def test_no(text):
    assert is_no(text)
    assert not is_yes(text)


@pytest.mark.parametrize("text", ["all", "all of them", "both", "both of them please", "yes all of them", "everything"])
def test_all(text):
    assert is_all(text)
    assert not is_no(text)


@pytest.mark.parametrize(
    "text",
    ["call mum", "yes remind me to call mum", "no remind me at six", "cancel mum", "tomorrow", "", "please", "yes no",
     "all meetings tomorrow", "is it", "ok computer play music", "cancel everything tomorrow"],
)  # fmt: skip
def test_a_request_is_neither_yes_nor_all(text):
    assert not is_yes(text)
    assert not is_all(text)


@pytest.mark.parametrize("text", ["cancel mum", "cancel the dentist", "no, at six", "stop the alarm", "forget the milk"])
def test_a_no_with_more_to_it_is_no_mere_no(text):
    assert not is_no(text)


@pytest.mark.parametrize("text", ["do it " * 80, "yes yes " * 60 + "x", "that that's it it's " * 25])
def test_a_long_text_is_not_matched_in_every_possible_way(text):
    assert not (is_yes(text) or is_no(text) or is_all(text))  # which would not end


@pytest.mark.parametrize(
    ("text", "rest"), [("no, at six", "at six"), ("No at six", "at six"), ("no", ""), ("at six", ""), ("now at six", "")]
)
def test_what_follows_a_no(text, rest):
    assert after_no(text) == rest


THREE = [
    reminder(1, "call mum", "2026-03-11 17:00"),
    reminder(2, "call mum", "2026-03-13 09:00"),
    reminder(3, "call the bank", "2026-03-12 07:30"),
]


@pytest.mark.parametrize(
    ("answer", "id"),
    [
        ("1", 1), ("two", 2), ("the first", 1), ("the second one", 2), ("number three please", 3), ("3rd", 3), ("last", 3),
        ("the last one", 3), ("one", 1), ("number one", 1), ("the bank", 3), ("the one about the bank", 3), ("bank please", 3),
        ("friday", 2), ("the friday one", 2), ("on Friday", 2), ("today", 1), ("the one today", 1), ("today's", 1),
        ("tomorrow", 3), ("5 pm", 1), ("5pm", 1), ("the 17:00 one", 1), ("9 o'clock", 2), ("at nine", 2), ("7:30", 3),
        ("the afternoon one", 1), ("the one this evening", None), ("mum on friday", 2), ("the one", 1),
        ("mum", None), ("the morning one", None), ("4", None), ("ten", None), ("dentist", None), ("", None),
        ("remind me to call granny", None), ("remind me to pay the bank", None), ("call the bank tomorrow at nine", None),
    ],
)  # fmt: skip
def test_which_is_told_by_number_words_or_time_and_every_word_must_fit(answer, id):
    one = pick(answer, THREE, NOW)
    assert (one and one.id) == id


def understanding(kind, *entries, text="x", target=None, shift=None):
    return Understanding(text, kind, "x", entries, target, shift, 1.0, "m", 0.0)


DUE = datetime(2026, 3, 12, 9, tzinfo=NOW.tzinfo)
TOMORROW = Entry(None, "tomorrow", DUE)
THAT = Target("that", "", None)


@pytest.mark.parametrize(
    ("u", "gives"),
    [
        pytest.param(understanding("create", TOMORROW), True, id="a time alone"),
        pytest.param(understanding("confirm", TOMORROW), True, id="not sure, but a time"),
        pytest.param(understanding("needs_time", Entry(None, "today", DUE, past=True)), True, id="one that has passed"),
        pytest.param(understanding("create", Entry("yeah maybe", "tomorrow", DUE)), True, id="with padding"),
        pytest.param(understanding("create", Entry("the milk", "tomorrow", DUE)), True, id="with the task again"),
        pytest.param(understanding("create", Entry("call dad", "tomorrow", DUE)), False, id="with another task"),
        pytest.param(understanding("needs_time", Entry("milk", None)), False, id="no time"),
        pytest.param(understanding("create", TOMORROW, TOMORROW), False, id="two times"),
        pytest.param(understanding("move", Entry(None, "18:00", DUE), target=THAT), True, id="make it six"),
        pytest.param(understanding("snooze", Entry(None, "in 1 hour", DUE), target=THAT), True, id="in an hour"),
        pytest.param(
            understanding("move", Entry("run", "18:00", DUE), target=Target(None, "run", None)), False, id="another one"
        ),
        pytest.param(understanding("move", Entry(None, None), target=THAT, shift=60), False, id="later than what"),
        pytest.param(understanding("cancel", Entry(None, None), target=THAT), False, id="cancel"),
        pytest.param(understanding("other"), False, id="something else"),
    ],
)
def test_an_answer_to_when_gives_a_time_and_nothing_else(u, gives):
    assert gives_time(u, "buy milk") == gives


@pytest.mark.parametrize(
    ("u", "own"),
    [
        pytest.param(understanding("create", Entry("call dad", "tomorrow", DUE)), True, id="a task and a time"),
        pytest.param(understanding("create", TOMORROW), False, id="a time alone"),
        pytest.param(understanding("needs_time", Entry("x", None), text="Remind me to call dad"), True, id="remind me"),
        pytest.param(understanding("needs_time", Entry("x", None), text="when I get home"), False, id="nothing asked for"),
        pytest.param(understanding("list", target=Target(None, "", None)), True, id="list"),
        pytest.param(understanding("other"), False, id="other"),
    ],
)
def test_a_request_of_its_own_says_enough(u, own):
    assert is_request(u) == own
