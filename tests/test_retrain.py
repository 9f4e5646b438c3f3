"""scripts/retrain.sh: the whole way from corrections to a promoted model, in a copy of this checkout."""

import subprocess
from pathlib import Path

import pytest

from tests.retraining import copy_of_checkout, run, smoke_killed_in


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("retrain") / "checkout")


def test_killed_as_it_trains_it_ends_all_the_same_with_a_better_model_in_use(checkout):
    said = smoke_killed_in(checkout, "train")
    name = (checkout / "training" / "runs" / "retrain-smoke" / "name").read_text().strip()
    assert f"{name} is promoted" in said
    assert "it answered, rolled back the untrained one did, promoted again it did" in said
    assert "\nbetter: +" in said and "all right, of" in said, "the table before and after"
    status = subprocess.run(["git", "-C", str(checkout), "status", "--porcelain"], capture_output=True, text=True)
    assert status.stdout == "", "nothing in the checkout changed"
    assert sorted(p.name for p in (checkout / "models").iterdir()) == ["small"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(["--bases", "small"], "--bases is no option", id="a slip of the pen"),
        pytest.param(["--base"], "--base wants a value", id="a value left out"),
        pytest.param(["--smoke", "--skip", "promote"], "--smoke has a base of its own", id="a smoke test without its end"),
        pytest.param(["--skip", "train"], "--skip takes corrections, generate or promote", id="what cannot be left out"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_done(checkout, options, sentence):
    status, said = run(checkout, *options)
    assert status == 2 and sentence in said


def test_help_shows_the_ways_to_call_it(checkout):
    status, said = run(checkout, "--help")
    assert status == 0 and "scripts/retrain.sh --base phi-2" in said and "set -euo" not in said


def test_a_base_that_is_not_there_fails_at_its_step_and_says_how_to_go_on(checkout, tmp_path):
    data = ["--data", str(tmp_path / "reminders")]
    status, said = run(checkout, "--base", "no/such-model", "--skip", "generate", *data)
    assert status == 1 and "\ntrain       failed (exit status 2)" in said
    assert "The base model no/such-model cannot be had" in said
    assert "Run the same command again when that is put right" in said
