"""What is trained on and validated with: split by groups, evenly, the same way each time; and the data that is committed."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.checks import Seen, check
from training.dataset import DATASET, WEIGHT, build, card, fit, groups_of, split
from training.labelled import FAMILIES, KINDS, Labelled, read_labelled

ROOT = Path(__file__).parent.parent
HELD_OUT = ROOT / "data" / "heldout.jsonl"


def row(text, output, group="", source="hand"):
    return Labelled(text, output, source, group)


ROWS = [row(f"remind me to {verb} the {thing}", f"{verb} the {thing} |", f"{verb}-{n % 4}")
        for verb in ("water", "paint", "fetch", "sell", "mend") for n, thing in enumerate(
            "ferns piano kettle lamp carpet bicycle wardrobe trombone".split())]  # fmt: skip


def test_wordings_of_one_request_stand_on_one_side():
    train, validation = split(ROWS)
    assert not {r.group for r in train} & {r.group for r in validation}
    assert validation, "and there are some to validate with"


def test_requests_that_are_nearly_the_same_stand_together_whatever_their_groups():
    twins = [row("remind me to call Ana at 5 tomorrow please", "call ana | tomorrow 5:00?", "a"),
             row("remind me to call Ana at 6 tomorrow please", "call ana | tomorrow 6:00?", "b"),
             row("ring the bank", "ring the bank |", "b")]  # fmt: skip
    assert [len(g) for g in groups_of(twins)] == [3]


def test_what_is_nearly_the_same_as_two_others_keeps_both_with_it():
    said = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo"
    wordings = [row(f"{said} {end}", "alpha |") for end in ("mike", "lima please", "lima")]
    assert [len(g) for g in groups_of(wordings)] == [3]


def test_more_rows_leave_the_others_on_their_side():
    """A model may begin with one that was trained on fewer; it is validated with what that has not seen either."""
    new = [row(f"boomerang thing{n} on part{n}", f"thing{n} on part{n} |", source="correction") for n in range(20)]
    before, after = ({r.input for r in split(rows)[1]} for rows in (ROWS, [*new[:10], *ROWS, *new[10:]]))
    assert len(before - after) <= 2 and len({r.input for r in ROWS} & after - before) <= 2


def test_a_fifth_of_every_kind_is_for_validation():
    rows = [row(f"remind me to see number {n}x{n}y{n}z", f"see number {n}x{n}y{n}z |") for n in range(100)]
    rows += [row(f"cancel thing{n} of{n} mine{n}", f"/cancel thing{n}") for n in range(50)]
    _, validation = split(rows)
    assert Counter(r.kind for r in validation) == {"needs_time": 20, "cancel": 10}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(ROWS), unique=True), st.integers(0, 5))
def test_every_row_comes_out_once_and_the_same_seed_splits_the_same(rows, seed):
    train, validation = split(rows, seed)
    assert sorted(train + validation, key=str) == sorted(rows, key=str)
    assert split(rows, seed) == (train, validation)


def test_a_correction_counts_as_often_as_its_weight_in_training_only(tmp_path):
    corrections = [row(f"boomerang thing{n} on part{n}", f"thing{n} on part{n} |", source="correction") for n in range(10)]
    build(ROWS, corrections, tmp_path)
    train, validation = (read_labelled(tmp_path / name) for name in ("train.jsonl", "val.jsonl"))
    trained = Counter(r.input for r in train if r.source == "correction")
    validated = Counter(r.input for r in validation if r.source == "correction")
    assert set(trained.values()) == {WEIGHT} and set(validated.values()) == {1}
    assert trained.keys() | validated.keys() == {c.input for c in corrections} and not trained.keys() & validated.keys()
    assert max(Counter(r.input for r in train if r.source == "hand").values()) == 1


def test_a_correction_replaces_what_the_data_say_of_the_same_request(tmp_path):
    build([*ROWS, row("ring the bell at five", "ring | 5:00?")], [row("Ring the bell at five", "ring the bell | 5:00?")], tmp_path)
    rows = read_labelled(tmp_path / "train.jsonl") + read_labelled(tmp_path / "val.jsonl")
    assert {r.output for r in rows if "bell" in r.input} == {"ring the bell | 5:00?"}


def test_a_row_that_no_model_could_write_is_left_out_with_its_reason():
    good, bad = fit([row("call mum at five", "call mum | 5:00?"), row("call mum at five", "call dad | 5:00?")])
    assert [r.output for r in good] == ["call mum | 5:00?"]
    assert len(bad) == 1 and '"dad" cannot be written' in bad[0]


def test_a_line_that_is_no_row_is_named(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"input": "a", "output": "a |", "source": "hand"}\n{"input": 5}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_labelled(tmp_path / "c.jsonl")


# What is committed

COMMITTED = read_labelled(DATASET)


def test_there_are_about_a_thousand_requests_of_every_kind_and_time_family():
    assert len(COMMITTED) >= 950
    assert {r.kind for r in COMMITTED} == set(KINDS) and {r.family for r in COMMITTED} == set(FAMILIES)


def test_every_committed_row_passes_the_checks_and_is_stored_as_checked():
    assert [r for r in COMMITTED if check(r) != r] == []


def test_no_two_committed_rows_are_nearly_the_same():
    seen, twins = Seen(), []
    for r in COMMITTED:
        twins += [(r.input, twin)] if (twin := seen.like(r.input)) else []
        seen.add(r.input)
    assert twins == []


def test_every_committed_row_says_where_it_is_from_and_who_agrees_about_its_time():
    assert {r.source.split(":")[0] for r in COMMITTED} <= {"hand", "openrouter", "correction"}
    assert [r.input for r in COMMITTED if any(r.whens) and not r.agreed] == []


def test_no_request_to_measure_with_is_trained_on():
    import json

    seen = Seen(COMMITTED)
    measured = [json.loads(line)["text"] for line in HELD_OUT.read_text().splitlines()]
    assert [text for text in measured if seen.like(text)] == []


def test_the_card_counts_what_is_there():
    assert (ROOT / "data" / "README.md").read_text() == card(COMMITTED)
