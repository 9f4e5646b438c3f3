"""Decoding that cannot invent: whatever a model wants to write, only a rewrite of the request comes out."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.decoding import Constraint, Vocabulary
from assistant.evidence import GUARDED, evidence
from assistant.grammar import automaton
from assistant.words import align, model_text, words

END = 256


def by_byte(text):
    """The simplest tokenizer: a byte a token."""
    return list(text.encode())


def in_pieces(text):
    """A greedy tokenizer of one to three bytes a token, as BPE would merge them."""
    raw, out, i = text.encode(), [], 0
    while i < len(raw):
        n = 3 if raw[i] % 3 == 0 else 2 if raw[i] % 3 == 1 else 1
        out.append(int.from_bytes(b"\x01" + raw[i : i + n], "big"))
        i += n
    return out


VOCABULARIES = [
    pytest.param(Vocabulary(by_byte, END), id="bytes"),
    pytest.param(Vocabulary(in_pieces, END), id="pieces"),
]


def wander(constraint, random):
    """A model that has learnt nothing: any allowed token, with a liking for the end. Whether it came to one."""
    for _ in range(3000):
        allowed = constraint.allowed
        assert allowed, f"no way on from {constraint.line_words}"
        constraint.take(END if END in allowed and random.random() < 0.2 else random.choice(sorted(allowed)))
        if constraint.done:
            return True
    return False


def follow(vocabulary, text, wanted):
    """Whether the constraint lets exactly `wanted` be written for `text`."""
    constraint = Constraint(vocabulary, [w.folded for w in words(text)])
    tokens = [
        t
        for n, line in enumerate(wanted.split("\n"))
        for t in ([*vocabulary.tokenize("\n")] if n else [])
        + [t for w in line.split() for t in vocabulary.tokenize(f" {w}")]
    ]
    for token in [*tokens, END]:
        if token not in constraint.allowed:
            return False
        constraint.take(token)
    return constraint.done and constraint.text == wanted


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@given(
    text=st.lists(
        st.sampled_from(
            ["call", "mum", "at", "5", "5:00?", "05:00", "|", "and", "then", "café", "all", "/list", "next", "tomorrow", "in", "12", "1", "123", "in", "every", "friday", "half", "six", "june", "twenty", "to", "monday", "week", "weekend", "month", "hours", "good", "easter", "christmas", "end"]
        ),
        min_size=1,
        max_size=14,
    ).map(" ".join),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_whatever_is_written_is_a_rewrite_in_the_request_s_own_words_and_numbers(vocabulary, text, seed):
    said = words(text)
    may = evidence([w.folded for w in said])
    reasons = may.words.union({w.folded for w in said}, *may.classes.values())
    constraint = Constraint(vocabulary, [w.folded for w in said])
    assert wander(constraint, Random(seed))
    assert automaton("rewrite").accepts(constraint.line_words)
    assert {w for w in constraint.line_words if any(c.isdigit() for c in w) or w in GUARDED} <= reasons
    if not constraint.text.startswith("/"):
        for line in constraint.text.split("\n"):
            task = line.split(" | ")[0].removesuffix(" |") if not line.startswith("|") else ""
            assert not task or align(task, said) is not None


@pytest.mark.parametrize("text", ["monday", "week", "month", "hours", "good monday", "easter friday", "end of weeks"])
def test_no_word_leads_into_a_dead_end(text):
    for seed in range(150):
        assert wander(Constraint(VOCABULARIES[0].values[0], text.split()), Random(seed))


@given(text=st.text(min_size=1, max_size=80), seed=st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_the_strangest_request_still_ends_in_a_rewrite(text, seed):
    constraint = Constraint(VOCABULARIES[0].values[0], [w.folded for w in words(model_text(" ".join(text.split())))])
    assert wander(constraint, Random(seed))
    assert automaton("rewrite").accepts(constraint.line_words)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("call mum tomorrow at five", "call mum | tomorrow 5:00?"),
        ("feed the cat and call mum at 6", "feed the cat |\ncall mum | 6:00?"),
        ("remind me", "|"),
        ("remind me at ten", "| 10:00?"),
        ("cancel all my appointments after 3 today", "/cancel all appointments | today after 15:00"),
        ("push my run back an hour", "/move run > later 1 hour"),
        ("watch 12 monkeys in 12 hours", "watch 12 monkeys | in 12 hours"),
        ("how are you", "/other"),
        ("lunch on good friday", "lunch | good friday"),
        ("gym every monday to wednesday at half six", "gym | every monday and tuesday and wednesday 6:30?"),
        ("buy 1 or 12 or 123 eggs", "buy 1 or 12 or 123 eggs |"),
    ],
)
def test_a_right_rewrite_can_be_written(vocabulary, text, wanted):
    assert follow(vocabulary, text, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("call mum", "call dad |", id="a word that was not said"),
        pytest.param("call mum", "mum call |", id="another order"),
        pytest.param("call mum", "call call |", id="a word twice that was said once"),
        pytest.param("call mum", "call mum | at five", id="a time outside the language"),
        pytest.param("call mum", "call mum", id="no bar"),
        pytest.param("call mum at 6", "call mum | 7:00?", id="an hour that was not said"),
        pytest.param("call mum at quarter to 6", "call mum | 6:45?", id="a quarter on the wrong side"),
        pytest.param("call mum on friday", "call mum | saturday", id="a day that was not said"),
        pytest.param("call mum on the 5th", "call mum | 5 june", id="a month that was not said"),
        pytest.param("call mum", "call mum | every month on the 5", id="a date that was not said"),
        pytest.param("list", "/listen", id="an unknown command"),
        pytest.param("café", "cafe |", id="another spelling"),
    ],
)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_a_wrong_rewrite_cannot_be_written(vocabulary, text, wanted):
    assert not follow(vocabulary, text, wanted)


def test_a_token_that_is_not_allowed_is_refused():
    with pytest.raises(ValueError, match="not allowed"):
        Constraint(VOCABULARIES[0].values[0], ["call"]).take(ord("x"))
