"""How a request is read: normalised, split into words, given to the model, and spelt back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import AssistantError, BlankText, TextTooLong
from assistant.words import MAX_CHARACTERS, align, model_text, normalise, respell, words


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("  call \t mum\r\n now ", "call mum now", id="white space of any kind is one blank"),
        pytest.param("cafe\u0301", "caf\u00e9", id="accents are composed"),
        pytest.param("call\x00mum\x07", "call mum", id="control characters separate"),
        pytest.param("\u202ecall mum\u202c", "call mum", id="direction marks vanish"),
        pytest.param("\ufeffcall mum", "call mum", id="byte order mark vanishes"),
        pytest.param("call \ud83d mum", "call mum", id="half a surrogate pair vanishes"),
    ],
)
def test_a_request_is_normalised_to_one_line(text, read):
    assert normalise(text) == read


@pytest.mark.parametrize("text", ["", "   ", "\x00\x01", "\u200b"])
def test_a_request_without_anything_to_read_is_refused(text):
    with pytest.raises(BlankText):
        normalise(text)


def test_a_request_of_the_limit_is_taken_and_one_character_more_is_refused():
    assert len(normalise("x" * MAX_CHARACTERS)) == MAX_CHARACTERS
    with pytest.raises(TextTooLong, match="limit is 500"):
        normalise("x" * (MAX_CHARACTERS + 1))


def test_a_request_of_a_million_characters_is_refused_by_its_length():
    with pytest.raises(TextTooLong):
        normalise("word " * 200_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Call Mum, please.", ["Call", "Mum", "please"]),
        ("pick up Zbigniew’s suit", ["pick", "up", "Zbigniew’s", "suit"]),
        ('buy "eggs" (six) - and milk!', ["buy", "eggs", "six", "and", "milk"]),
        ("at 7:30 a.m. or 5 p.m.", ["at", "7:30", "a.m", "or", "5", "p.m"]),
        ("pay $20 to C++ and a|b", ["pay", "$20", "to", "C++", "and", "a|b"]),
        ("| /list > ...", ["list"]),
    ],
)
def test_words_keep_their_spelling_and_lose_their_outer_punctuation(text, said):
    assert [w.said for w in words(text)] == said


def test_the_model_reads_lower_case_with_punctuation_standing_alone():
    assert model_text("Call Mum, please: “NOW”!") == 'call mum , please : " now " !'


def test_the_model_s_text_has_the_same_words_as_the_request():
    text = "Remind me (gently) to ring O’Brien's, at 5 p.m."
    assert [w.folded for w in words(model_text(text))] == [w.folded for w in words(text)]


def test_a_task_gets_the_person_s_own_spelling_back():
    said = words("remind me to call Mum and then call DAD about Zbigniew’s suit")
    assert respell("call dad about zbigniew's suit", said) == "call DAD about Zbigniew’s suit"


def test_a_task_with_a_word_that_was_not_said_is_no_task():
    assert respell("call granny", words("call mum")) is None
    assert respell("mum call", words("call mum")) is None


def test_the_words_of_a_task_are_found_close_together():
    assert align("call dad", words("call mum or call dad")) == [3, 4]


@given(st.text(max_size=600))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    try:
        read = normalise(text)
    except AssistantError as e:
        assert str(e).endswith(".")
    else:
        assert normalise(read) == read
        assert "\n" not in model_text(read)
        assert [w.folded for w in words(model_text(read))] == [w.folded for w in words(read)]
