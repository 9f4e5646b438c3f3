"""Synthetic examples: every one of them can be written under the constraint, and they cover what people say."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from assistant.grammar import automaton, is_range, is_when
from assistant.words import model_text, normalise
from tests.test_decoding import VOCABULARIES, follow
from training import clock_times, dates, synthesize
from training.synthesize import SEED_DATA, Example, Synthesizer, check, imply_half

GOLD = Path(__file__).parent.parent.parent / "shared" / "eval" / "dev.jsonl"


@pytest.fixture(scope="module")
def synthesizer():
    return Synthesizer()


def test_the_same_seed_gives_the_same_examples_and_another_seed_others(synthesizer):
    def first(seed):
        return list(islice(synthesizer.examples(seed), 20))

    assert first(1) == first(1) != first(2)


def test_every_example_can_be_written_under_the_constraint(synthesizer):
    vocabulary = VOCABULARIES[0].values[0]
    for example in islice(synthesizer.examples(3), 600):
        assert follow(vocabulary, example.text, example.rewrite), example


def test_all_kinds_and_many_lengths_come_out(synthesizer):
    examples = list(islice(synthesizer.examples(4), 3000))
    heads = Counter(
        e.rewrite.split()[0] if e.rewrite.startswith("/") else "set" if not e.rewrite.endswith("|") else "ask"
        for e in examples
    )
    assert {"/list", "/cancel", "/move", "/snooze", "/done", "/other", "set", "ask"} <= set(heads)
    assert any("every " in e.rewrite for e in examples)
    assert any("\n" in e.rewrite for e in examples)
    assert len({len(e.text.split()) for e in examples}) > 20


@pytest.mark.parametrize(
    "draw", [dates.once, dates.repeat, dates.date, dates.day, dates.to, clock_times.clock, clock_times.time]
)
def test_every_time_that_is_said_has_a_sentence_of_the_when_language(draw):
    random = Random(5)
    for _ in range(3000):
        said, written = draw(random)
        assert is_when(written), (said, written)


def test_every_range_that_is_said_has_a_sentence_of_the_range_language():
    random = Random(6)
    for _ in range(3000):
        said, written = dates.range_(random)
        assert is_range(written), (said, written)


def test_every_frame_yields_an_example(synthesizer):
    random = Random(7)
    barren = []
    for source, frames in list(synthesizer.frames.items()):
        for frame in frames:
            one = Synthesizer.__new__(Synthesizer)
            only = {"frames": {source: [frame]}, "weights": {source: [1.0]}, "several": [frame], "brief": [frame]}
            only["single"] = [frame]
            one.__dict__ = synthesizer.__dict__ | only
            if not any(one._example(random, source) for _ in range(12)):
                barren.append((source, frame))
    assert barren == []


@pytest.mark.parametrize(
    ("task", "when", "implied"),
    [
        ("wake up", "6:00?", "06:00"),
        ("cook dinner", "friday 8:00?", "friday 20:00"),
        ("lunch with sam", "tomorrow 1:00?", "tomorrow 13:00"),
        ("call mum", "5:00?", "5:00?"),
        ("wake up", "in 2 hours", "in 2 hours"),
    ],
)
def test_the_task_settles_the_half_of_the_day_where_it_is_beyond_doubt(task, when, implied):
    assert imply_half(task, when) == implied


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("remind me to call mum", "call dad |"),
        ("remind me to call mum", "mum call |"),
        ("call mum at five", "call mum | at five"),
        ("cancel the gym", "/cancel gym | whenever"),
    ],
)
def test_an_example_that_cannot_be_written_is_dropped(said, line):
    assert check(said, [line], "here") is None


def test_nothing_out_of_the_evaluation_set_stands_in_the_seed_data(synthesizer):
    if not GOLD.exists():
        pytest.skip("the evaluation set is not at hand")
    gold = {model_text(normalise(json.loads(line)["text"])) for line in GOLD.open()}
    texts = [
        line.split("=>")[0]
        for file in SEED_DATA.glob("*.txt")
        for line in file.read_text().splitlines()
        if line.strip()
    ]
    copied = [t for t in texts if len(t.split()) >= 5 and model_text(normalise(t)) in gold]
    assert copied == []


def test_a_text_that_is_excluded_never_comes_out():
    common = next(Synthesizer().examples(9)).text
    assert all(e.text != common for e in islice(Synthesizer(frozenset({common})).examples(9), 50))


def test_two_requests_said_one_after_the_other_hold_the_reminders_of_both(synthesizer, monkeypatch):
    for share, value in (("SEVERAL", 0), ("BRIEF", 0), ("TOGETHER", 1)):
        monkeypatch.setattr(synthesize, share, value)
    random, made = Random(11), []
    while len(made) < 200:
        made += filter(None, [synthesizer._example(random, "frames_set")])
    assert all(line.count("|") == 1 for e in made for line in e.rewrite.split("\n"))
    assert {e.rewrite.count("\n") for e in made} == {1}
    vocabulary = VOCABULARIES[0].values[0]
    assert all(follow(vocabulary, e.text, e.rewrite) for e in made)


@pytest.mark.parametrize(
    ("text", "rewrite", "other_tasks"),
    [
        ("tell me to check on the notary upload in forty minutes .", "check on the notary upload | in 40 minutes", True),
        ("wake me at six , dinner is at eight", "wake | 06:00\ndinner | 20:00", False),
        ("i want to hear nothing more about to do lists", "/other", False),
    ],
)
def test_a_request_that_is_retold_means_at_the_same_time_what_it_meant(synthesizer, text, rewrite, other_tasks):
    random, example = Random(12), Example(text, rewrite, "extra")
    told = [synthesizer.retold(random, example) for _ in range(60)]
    assert len({e.text for e in told}) > 10
    assert {e.rewrite.partition("|")[2] for e in told} == {rewrite.partition("|")[2]}
    assert (len({e.rewrite for e in told}) > 1) == other_tasks


def test_the_rewrite_language_is_what_is_trained(synthesizer):
    accepts = automaton("rewrite").accepts
    for example in islice(synthesizer.examples(10), 500):
        assert accepts(example.rewrite.replace("\n", " \n ").split(" ")), example


def test_there_is_as_much_seed_data_as_the_readme_says(synthesizer):
    said = {said for frames in synthesizer.frames.values() for said, _ in frames if "{" in said}
    things = {*synthesizer.phrases["task"], *synthesizer.phrases["event"]}
    assert sum(len({s for s, _ in frames}) for frames in synthesizer.frames.values()) >= 10_000
    assert len(said) >= 5_000
    assert len(things) >= 5_600
