"""A candidate beside the model in use: what is right, whether a difference is more than noise, and where it is noted."""

import json
import shutil
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from assistant.errors import ModelError
from assistant.models import verify
from training.gold import score
from training.labelled import Labelled, write_labelled
from training.side_by_side import (
    NOW,
    TZ,
    Measured,
    apart,
    as_gold,
    bootstrap,
    evaluation,
    is_ahead,
    main,
    rows_of,
    show,
)

ROWS = [
    Labelled("remind me to call mum tomorrow at 5 pm", "call mum | tomorrow 17:00", "hand"),
    Labelled("take the bins out every thursday at 7 am", "take the bins out | every thursday 07:00", "hand"),
    Labelled("don't let me forget to buy stamps", "buy stamps |", "hand"),
    Labelled("cancel my dentist appointment", "/cancel dentist appointment", "correction"),
]
GOLD = [as_gold(row, f"{row.source}-{n}") for n, row in enumerate(ROWS)]


def test_a_labelled_request_means_what_its_rewrite_means():
    bins = GOLD[1]
    assert (bins.kind, bins.now, bins.tz) == ("create", NOW, TZ)
    [entry] = bins.entries
    assert entry.task == "take the bins out" and entry.grain == "minute"
    assert f"{entry.due:%a %d %b %H:%M}" == "Thu 12 Mar 07:00" and entry.rrule.startswith("FREQ=WEEKLY")


class TestTheBootstrap:
    def test_the_same_answers_are_the_same(self):
        right = [n % 3 > 0 for n in range(300)]
        assert bootstrap(right, right).verdict == "same" and bootstrap(right, right).difference == 0

    def test_much_better_is_better_and_much_worse_is_worse(self):
        good, bad = [n % 10 > 0 for n in range(300)], [n % 3 > 0 for n in range(300)]
        ahead, behind = bootstrap(good, bad), bootstrap(bad, good)
        assert (ahead.verdict, behind.verdict) == ("better", "worse")
        assert ahead.interval[0] > 0 > behind.interval[1] and ahead.difference == -behind.difference

    def test_one_row_more_of_three_hundred_is_noise(self):
        less = [n % 3 > 0 for n in range(300)]
        more = [True, *less[1:]]
        assert bootstrap(more, less).difference > 0 and bootstrap(more, less).verdict == "same"

    def test_few_rows_prove_little(self):
        assert bootstrap([True] * 2 + [False] * 2, [False] * 4).verdict == "same"

    def test_models_that_are_equally_good_are_told_apart_in_one_case_of_twenty(self):
        rng, apart_ = Random(5), 0
        for _ in range(400):
            pairs = [(rng.random() < 0.8, rng.random() < 0.8) for _ in range(200)]
            apart_ += bootstrap(*zip(*pairs)).verdict != "same"
        assert 5 <= apart_ <= 40

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
    def test_the_difference_lies_in_its_interval(self, pairs):
        found = bootstrap(*zip(*pairs))
        assert found.interval[0] - 0.01 <= found.difference <= found.interval[1] + 0.01


def measured(name, right):
    scores = tuple(score(row, row.kind if ok else "other", ()) for row, ok in zip(GOLD, right))
    return Measured(name, name * 8, 1_000_000, scores, (5.0, 9.0), 70)


class TestTheEvaluation:
    def test_corrections_are_a_family_of_their_own(self, model):
        found = evaluation(GOLD, apart(model, GOLD), measured("old", [False] * 4))
        assert found["by_family"]["corrections"] == {"n": 1, "candidate": 100.0, "current": 0.0}
        assert found["candidate"]["all"] == 100.0 and found["verdict"] == "better"
        assert found["candidate"]["mib"] > 0 and found["candidate"]["p50_ms"] > 0

    def test_a_broken_model_is_said_so(self, model, tmp_path):
        shutil.copytree(model, tmp_path / "broken")
        with (tmp_path / "broken" / "model-q8_0.gguf").open("r+b") as f:
            f.seek(100_000)
            f.write(b"nonsense")
        with pytest.raises(ModelError, match="SHA-256"):
            apart(tmp_path / "broken", GOLD)

    def test_it_stands_in_the_manifest_and_the_model_stays_whole(self, model, tmp_path, monkeypatch, capsys):
        shutil.copytree(model, tmp_path / "again")
        write_labelled(tmp_path / "val.jsonl", ROWS)
        monkeypatch.setattr("sys.argv", ["side_by_side", "--candidate", str(tmp_path / "again"), "--current", str(model),
                                         "--rows", str(tmp_path / "val.jsonl"), "--json"])  # fmt: skip
        main()
        told = json.loads(capsys.readouterr().out)
        manifest = verify(tmp_path / "again")
        assert manifest.evaluation == told and told["against"] == verify(model).sha256
        assert told["verdict"] == "same" and not is_ahead(tmp_path / "again"), "a twin is no better"

    def test_a_person_sees_before_and_after(self, model):
        found = evaluation(GOLD, measured("new", [True] * 4), measured("old", [False] * 4))
        console = Console(record=True, width=100)
        show(found, ("old", "new"), console)
        text = console.export_text()
        assert "all right, of 4" in text and "silently wrong" in text and "corrections (1)" in text

    @pytest.mark.parametrize(
        ("difference", "verdict", "ahead"),
        [pytest.param(1.2, "same", True, id="a little better"), pytest.param(3.0, "better", True, id="better"),
         pytest.param(0.0, "same", False, id="the same"), pytest.param(-0.5, "same", False, id="a little worse"),
         pytest.param(-4.0, "worse", False, id="worse")],
    )  # fmt: skip
    def test_ahead_is_who_gets_more_right(self, tmp_path, difference, verdict, ahead):
        facts = {"evaluation": {"difference": difference, "verdict": verdict}}
        (tmp_path / "manifest.json").write_text(json.dumps(facts))
        assert is_ahead(tmp_path) is ahead

    def test_a_model_that_was_not_compared_is_not_taken_for_one_that_is_no_better(self, tmp_path, monkeypatch):
        monkeypatch.setattr("sys.argv", ["side_by_side", "--is-ahead", str(tmp_path)])
        facts = tmp_path / "manifest.json"
        facts.write_text(json.dumps({"evaluation": {"difference": 0.0, "verdict": "same"}}))
        with pytest.raises(SystemExit, match="4"):
            main()
        facts.write_text("{}")
        with pytest.raises(KeyError):
            main()

    def test_a_gold_file_leaves_out_what_is_ambiguous_or_was_trained_on(self, tmp_path):
        held_out = Path(__file__).parent.parent / "data" / "heldout.jsonl"
        lines = [json.loads(line) for line in held_out.read_text().splitlines()[:3]]
        lines[0]["ambiguous"] = True
        (tmp_path / "gold.jsonl").write_text("\n".join(map(json.dumps, lines)))
        assert [row.id for row in rows_of([], [tmp_path / "gold.jsonl"])] == [line["id"] for line in lines[1:]]
        write_labelled(tmp_path / "train.jsonl", [Labelled(lines[1]["text"] + " please", "/other", "correction")])
        left = rows_of([], [tmp_path / "gold.jsonl"], [tmp_path / "train.jsonl"])
        assert [row.id for row in left] == [lines[2]["id"]]
