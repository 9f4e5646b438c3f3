"""The languages of a rewrite, as automaton and as sampler."""

from random import Random

import pytest

from assistant import grammar
from assistant.grammar import automaton, is_range, is_when, sample, spellings


@pytest.mark.parametrize(
    "sentence",
    [
        "tomorrow 17:00",
        "10:05?",
        "every thursday 07:00",
        "in 20 minutes",
        "in 1 hour 30 minutes",
        "in 3 days 10:00",
        "friday in 2 weeks",
        "next tuesday morning",
        "29 march 2027",
        "2027-03-29 09:00",
        "the 5 noon",
        "tonight",
        "end of month",
        "first monday of september",
        "easter monday",
        "every 2 weeks on tuesday 18:00",
        "every day 08:00 and 18:30",
        "every month on last friday",
        "every 20 minutes until 6:00?",
        "every day 06:00 except sunday",
        "every 15 minutes for 2 hours",
        "every year on 5 march",
        "every weekday from next monday until 5 may",
    ],
)
def test_a_sentence_of_the_when_language_is_known(sentence):
    assert is_when(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "tomorrow at 5",
        "25:00",
        "13:00?",
        "in 0 minutes",
        "in 1000 minutes",
        "the 32",
        "in two days",
        "every",
        "5",
        "tomorrow tomorrow",
        "17:00 tomorrow",
        "every month on the",
        "later",
        "call mum",
    ],
)
def test_what_is_no_sentence_of_the_when_language_is_not(sentence):
    assert not is_when(sentence)


@pytest.mark.parametrize(
    "sentence",
    ["this week", "march", "today after 15:00", "between noon and 1:00?", "every weekday", "29 march 2017", "friday"],
)
def test_a_range_is_known(sentence):
    assert is_range(sentence)


@pytest.mark.parametrize("name", ["when", "range", "target", "rewrite"])
def test_what_is_drawn_from_a_language_belongs_to_it(name):
    tree = {"when": grammar.when, "range": grammar.range_, "target": grammar.target, "rewrite": grammar.rewrite}[name]
    random = Random(1)
    for _ in range(2000):
        sentence = sample(tree, random)
        assert automaton(name).accepts(sentence), sentence


def test_a_rewrite_has_at_most_five_entries_and_a_slash_line_stands_alone():
    accepts = automaton("rewrite").accepts
    assert accepts(["a", "|", "\n", "b", "|", "\n", "c", "|", "\n", "d", "|", "\n", "e", "|"])
    assert not accepts(["a", "|", "\n", "b", "|", "\n", "c", "|", "\n", "d", "|", "\n", "e", "|", "\n", "f", "|"])
    assert not accepts(["/list", "\n", "a", "|"])


def test_every_spelling_of_a_class_matches_its_pattern():
    for name, pattern in grammar.CLASSES.items():
        assert all(pattern.fullmatch(word) for word in spellings(name))
    assert len(spellings("HH:MM")) == 1440
