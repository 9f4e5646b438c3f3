"""scripts/retrain.sh with stand-ins for all that its steps call: what it does when something fails or it is killed."""

import os
import shutil
import signal
import subprocess
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from tests.process import ROOT

STANDS_IN = """#!/bin/bash
echo "$*" >> asked
case $* in
    "-c from assistant.config"*) echo models ;;
    -c*) exec "$REAL" "$@" ;;
    *corrections\\ export*) touch "$6" ;;
    "-m training.generate"*) : ;;
    "-m training.warm_start") echo first.gguf ;;
    "-m training.pretrain"*|"-m training.finetune"*) mkdir -p "$RUN/train"; echo trained > "$RUN/train/log.jsonl" ;;
    *--is-ahead*) exit "${AHEAD:-0}" ;;
    *"models promote"*) echo "$5" > in_use ;;
    *"models rollback") echo untrained > in_use; [ -e killed ] || { touch killed; kill -9 0; } ;;
    "-m assistant run") echo " ready: "; exec sleep 60 ;;
    "-m assistant say"*) echo '{"understanding": {"model": "'"$(cat in_use)"'"}}' ;;
esac
"""


class Retrain:
    """The script in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/retrain.sh", folder / "scripts")
        (folder / "python").write_text(STANDS_IN)
        (folder / "python").chmod(0o755)

    def __call__(self, *options: str, **variables: str) -> tuple[int, str]:
        """Exit status and words."""
        run = "training/runs/retrain-" + ("smoke" if "--smoke" in options else "small")
        done = subprocess.run(
            ["scripts/retrain.sh", *options], cwd=self.folder, text=True, timeout=60, start_new_session=True,
            env=os.environ | {"PYTHON": "./python", "REAL": sys.executable, "RUN": run} | variables,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout

    @property
    def asked(self) -> str:
        return (self.folder / "asked").read_text()

    def run(self, name: str) -> Path:
        """A file of the run."""
        return self.folder / "training/runs/retrain-small" / name


@pytest.fixture
def retrain(tmp_path) -> Retrain:
    return Retrain(tmp_path)


@pytest.mark.parametrize("file", ["init", "name"])
def test_a_file_that_it_was_killed_in_before_it_wrote_anything_is_written_again(retrain, file):
    retrain.run(file).parent.mkdir(parents=True)
    retrain.run(file).touch()
    status, said = retrain()
    assert status == 0, said
    assert "--init first.gguf" in retrain.asked
    assert "models/small-20" in said.splitlines()[0]


def test_where_nothing_is_generated_it_goes_on(retrain):
    status, said = retrain(OPENROUTER_API_KEY="key")
    assert status == 0 and "\ngenerate    0 rows generated so far" in said, said


def test_a_comparison_that_cannot_be_read_fails_and_is_no_verdict(retrain):
    status, said = retrain(AHEAD="1")
    assert status == 1 and "\npromote     failed (exit status 1)" in said
    status, said = retrain(AHEAD="4")
    assert status == 0 and "the new model is no better: the one in use stays" in said and "promote" not in retrain.asked


def test_a_new_run_does_not_take_the_folder_of_one_that_works(retrain):
    retrain.run("train").mkdir(parents=True)
    with retrain.run("train").parent.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        status, said = retrain("--new")
    assert status == 1 and "another retraining works" in said
    assert retrain.run("train").exists()
    status, said = retrain("--new")
    assert status == 0 and not retrain.run("train").parent.with_suffix(".old").exists(), said


def test_the_smoke_test_killed_when_it_has_rolled_back_goes_on_and_ends(retrain):
    status, said = retrain("--smoke")
    assert status == -signal.SIGKILL and "\ncheck " in said, said
    status, said = retrain("--smoke")
    assert status == 0 and "it answered, rolled back the untrained one did, promoted again it did" in said, said
