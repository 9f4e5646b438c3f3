"""Which transcripts are believed: nothing that was invented, everything that was said."""

from datetime import UTC, datetime

import pytest

from assistant.believable import Signs, compression, refusal, repeats, tidy, unheard
from assistant.messages import Utterance

SURE, UNSURE = Signs(0.02, -0.2), Signs(0.3, -0.9)


def utterance(seconds: float = 2.0, speech: float = 0.7, level: float = -30.0) -> Utterance:
    return Utterance(bytes(2 * round(seconds * 16_000)), datetime(2026, 3, 11, 10, tzinfo=UTC), speech, level)


@pytest.mark.parametrize(
    ("heard", "why"),
    [
        pytest.param(utterance(0), "short", id="nothing"),
        pytest.param(utterance(0.05), "short", id="a click"),
        pytest.param(utterance(level=-70), "silence", id="a quiet room"),
        pytest.param(utterance(level=float("-inf")), "silence", id="digital silence"),
        pytest.param(utterance(speech=0.0), "no_speech", id="noise"),
        pytest.param(utterance(1.1, 0.27), None, id="the shortest that voice activity makes"),
        pytest.param(utterance(level=-60), None, id="somebody at the other end of the room"),
    ],
)
def test_an_engine_is_asked_only_where_somebody_spoke(heard, why):
    assert unheard(heard) == why


@pytest.mark.parametrize("signs", [SURE, UNSURE, Signs()], ids=["sure", "unsure", "an engine that tells nothing"])
@pytest.mark.parametrize(
    "text",
    [
        "Remind me to call Mum tomorrow at five.", "remind me in ten minutes to check the oven", "no", "Yes, please.",
        "Snooze.", "Cancel, cancel, cancel!", "No no no no.", "Call Zbigniew. Call Zbigniew's brother.",
        "remind me to subscribe to the newsletter", "Watch the video about the garden at 6", "okay", "make it six",
        "remind me to get a translation by friday",
    ],
)  # fmt: skip
def test_what_people_say_is_believed(text, signs):
    assert refusal(text, utterance(2.0, 0.7), signs) is None


@pytest.mark.parametrize("text", ["Thank you.", "Thank you very much!", "thanks", "Bye.", "you"])
def test_a_thank_you_that_was_spoken_clearly_is_believed(text):
    assert refusal(text, utterance(1.3, 0.4), SURE) is None


@pytest.mark.parametrize(
    ("text", "heard", "signs", "why"),
    [
        pytest.param("", utterance(), SURE, "no_words", id="nothing"),
        pytest.param("Thank you.", utterance(), Signs(0.4, -0.4), "subtitle", id="thanks when perhaps nobody spoke"),
        pytest.param("Thanks for watching!", utterance(), Signs(0.02, -0.8), "subtitle", id="thanks that are unlikely"),
        pytest.param("you", utterance(level=-55), Signs(), "subtitle", id="a word out of a quiet noise"),
        pytest.param("Thank you.", utterance(3, 0.2), SURE, "subtitle", id="thanks out of little speech"),
        pytest.param("Subtitles by the Amara.org community", utterance(3), UNSURE, "subtitle", id="a translator"),
        pytest.param("Call mum.", utterance(), Signs(0.9, -1.2), "no_speech", id="an engine that heard nobody"),
        pytest.param("Call mum.", utterance(), Signs(0.1, -2.0), "unlikely", id="one that guesses"),
        pytest.param("and then " * 20, utterance(20), SURE, "repetition", id="one that cannot stop"),
        pytest.param("no no no no no", utterance(), SURE, "repetition", id="a word five times"),
        pytest.param("the the cat sat " * 5, utterance(10), SURE, "repetition", id="several words five times"),
        pytest.param("Remind me to take the bins out every Thursday.", utterance(1.0, 0.5), SURE, "too_fast", id="more than can be said"),
    ],
)
def test_what_was_invented_is_refused_and_why(text, heard, signs, why):
    assert refusal(tidy(text), heard, signs) == why


@pytest.mark.parametrize(("text", "why"), [("Zbigniew.", "prompt"), ("call mum", "prompt"), ("call", "prompt"), ("cal", None), ("Call dad.", None)])
def test_a_text_that_the_engine_was_told_beforehand_is_refused_where_little_was_heard(text, why):
    prompt = "Zbigniew, Ingrid. call mum. take the bins out."
    assert refusal(text, utterance(), UNSURE, prompt) == why
    assert refusal(text, utterance(), SURE, prompt) is None


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        pytest.param("  Call\n Mum  at five. ", "Call Mum at five.", id="white space"),
        pytest.param("[BLANK_AUDIO]", "", id="what whisper.cpp writes for silence"),
        pytest.param("(music) (applause).", "", id="what is heard in parentheses"),
        pytest.param("[Music] Call Mum *sighs* at five", "Call Mum at five", id="noises between words"),
        pytest.param("♪ la la ♪ Call Mum ♪", "Call Mum", id="song"),
        pytest.param("<|nospeech|> ...", "", id="no word at all"),
        pytest.param("Call Mum (the old number)", "Call Mum (the old number)", id="parentheses of the person's"),
        pytest.param("Call\x1b[31m Mum\x00", "Call [31m Mum", id="control characters"),
        pytest.param("Zbigniew's café", "Zbigniew's café", id="letters with accents"),
    ],
)
def test_a_text_is_one_line_of_the_words_that_were_said(text, tidied):
    assert tidy(text) == tidied


@pytest.mark.parametrize(
    ("text", "often"), [("", 1), ("call mum", 1), ("no no", 2), ("call mum call mum call mum now", 3), ("A, a! a", 3)]
)
def test_repeats_are_counted_in_words(text, often):
    assert repeats(text) == often


def test_what_repeats_itself_compresses_well():
    assert compression("Thanks for watching! " * 10) > 2.4 > compression("Remind me to call Mum tomorrow at five, please.")
