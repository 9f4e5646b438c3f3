"""scripts/retrain.sh as a process, in a copy of this checkout, for tests and soak."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.process import ROOT
from training.converter import CACHE

STEPS = ("base", "untrained", "corrections", "data", "train", "export", "evaluate", "promote", "check")
"""Of the smoke test, but for `generate`, which it skips."""


def copy_of_checkout(folder: Path) -> Path:
    """What git has and would have of this checkout, as a repository of its own."""
    git = ["git", "-C", str(ROOT)]
    names = subprocess.run([*git, "ls-files", "-coz", "--exclude-standard"], check=True, capture_output=True).stdout
    for name in names.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for command in (["init", "-q"], ["add", "-A"],
                    ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "all"]):  # fmt: skip
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    if CACHE.is_dir():  # llama.cpp's converter need not be fetched again
        shutil.copytree(CACHE, folder / "training" / "runs" / "cache")
    return folder


class Retraining:
    """scripts/retrain.sh in a process group of its own, so that all of it can be killed at once."""

    def __init__(self, checkout: Path, *options: str) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            ["scripts/retrain.sh", *options], cwd=checkout, text=True,
            env=os.environ | {"PYTHON": sys.executable, "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def until(self, word: str) -> None:
        """Reads what it says up to a word."""
        while not self.said.endswith(word):
            letter = self.process.stdout.read(1)
            assert letter, self.said
            self.said += letter

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def end(self) -> str:
        """Waits for its end; all that it said."""
        self.said += self.process.communicate(timeout=900)[0]
        return self.said


def run(checkout: Path, *options: str) -> tuple[int, str]:
    retraining = Retraining(checkout, *options)
    said = retraining.end()
    return retraining.process.returncode, said


def smoke_killed_in(checkout: Path, *steps: str) -> str:
    """The smoke test, killed with -9 as it comes to each of some steps and started again; what the last start said."""
    for step in steps:
        retraining = Retraining(checkout, "--smoke")
        retraining.until(f"\n{step.ljust(12)}")
        retraining.kill()
    status, said = run(checkout, "--smoke")
    assert status == 0, said
    for step in STEPS[: STEPS.index(steps[-1])] if steps else ():
        assert f"\n{step.ljust(12)}done before\n" in said, "it goes on where it was"
    return said
