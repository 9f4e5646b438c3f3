"""The confidence below which a model asks is chosen by what asking costs."""

import json
import shutil

import pytest

pytest.importorskip("tqdm")

from assistant.local import ask_below  # noqa: E402
from assistant.sections import Model  # noqa: E402
from training.calibrate import Answer, calibrate, choose, meaning, sets_reminder  # noqa: E402


def reminder(confidence, right=True):
    return Answer(sets=True, right=right, whole=right, confidence=confidence)


def test_no_more_of_the_right_ones_are_asked_about_than_may_be():
    given = [reminder(0.3), *[reminder(0.9)] * 49, *[reminder(0.5, right=False)] * 5]
    found = choose(given, most=0.02)
    assert found.ask_below == 0.9
    assert found.asked_of_right == 0.02
    assert found.wrong == 0
    assert found.wrong_if_never_asked == pytest.approx(5 / 55, abs=1e-4)


def test_where_the_right_ones_are_unsure_it_never_asks():
    found = choose([reminder(0.01)] * 10, most=0.03)
    assert found.ask_below == 0


def test_what_sets_nothing_is_neither_asked_about_nor_silently_wrong():
    given = [Answer(sets=False, right=False, whole=False, confidence=0.1), reminder(0.8)]
    found = choose(given, most=0.03)
    assert (found.wrong, found.wrong_if_never_asked, found.kind_and_times) == (0, 0, 0.5)


@pytest.mark.parametrize(
    ("rewrite", "meant", "sets"),
    [
        ("call mum | tomorrow 5:00?", ["tomorrow 5:00?"], True),
        ("buy milk |", [""], False),
        ("| in 5 minutes\nbuy milk |", ["in 5 minutes", ""], True),
        ("/cancel all alarms | today", ["/cancel"], False),
        ("/other", ["/other"], False),
    ],
)
def test_kind_and_times_are_what_a_rewrite_means(rewrite, meant, sets):
    assert meaning(rewrite) == meant
    assert sets_reminder(rewrite) is sets


def test_the_manifest_says_what_asking_costs(model, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(model, folder)
    found = calibrate(folder, count=20, most=0.03)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["calibration"]["ask_below"] == found.ask_below
    assert manifest["calibration"]["examples"] == 20
    assert manifest["sha256"] == json.loads((model / "manifest.json").read_text())["sha256"]


def test_the_assistant_asks_below_what_the_shipped_model_was_calibrated_to(model):
    calibration = json.loads((model / "manifest.json").read_text())["calibration"]
    assert Model().ask_below == "model"
    assert ask_below(model) == calibration["ask_below"]
    assert calibration["asked_of_right"] <= 0.03
