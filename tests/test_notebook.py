"""training/fine_tuning_colab.ipynb: its cells, run in order as they stand, retrain, resume and bring a model home.

SLOW: `smoked` runs the whole of `scripts/retrain.sh --smoke` through the notebook, a minute or two.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from assistant.models import verify
from tests.retraining import copy_of_checkout

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "training" / "fine_tuning_colab.ipynb"
FOUND = json.loads(NOTEBOOK.read_text("utf-8"))
CELLS = {cell["id"]: "".join(cell["source"]) for cell in FOUND["cells"] if cell["cell_type"] == "code"}
PLAIN_RUNNER = """
import json, sys
shared = {"__name__": "__main__"}
for name, cell in json.load(sys.stdin).items():
    for _ in range(2):
        exec(compile(cell, name, "exec"), shared)
"""
"""Runs every cell twice: the second time it must find all done and change nothing."""


def run_notebook(folder: Path, cells: dict[str, str] = CELLS, **variables: str) -> tuple[int, str]:
    """Exit status and words of all cells in a process of their own that starts in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_RUNNER],
        input=json.dumps(cells),
        cwd=folder,
        env=os.environ | {"SMOKE": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    return done.returncode, done.stdout.replace("\r\n", "\n")


@pytest.fixture(scope="module")
def smoked(tmp_path_factory) -> tuple[Path, str]:
    """A copy of the checkout in which the notebook was run from end to end, and what it said."""
    checkout = copy_of_checkout(tmp_path_factory.mktemp("notebook"))
    status, said = run_notebook(checkout / "training")
    assert status == 0, said[-3000:]
    return checkout, said


def name_of_the_new_model(checkout: Path) -> str:
    return (checkout / "training/runs/retrain-smoke/name").read_text().strip()


def test_it_is_a_notebook_that_opens_on_a_t4():
    assert (FOUND["nbformat"], FOUND["nbformat_minor"]) == (4, 5)
    assert FOUND["metadata"]["accelerator"] == "GPU" and FOUND["metadata"]["colab"]["gpuType"] == "T4"
    assert FOUND["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in FOUND["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w-]{1,64}", id) for id in ids)
    for cell in FOUND["cells"]:
        assert cell["cell_type"] in ("code", "markdown")
        assert cell["metadata"] == {} and all(isinstance(line, str) for line in cell["source"])


def test_no_output_is_stored():
    for cell in FOUND["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
        else:
            assert not {"outputs", "execution_count"} & cell.keys()


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_plain_python_without_magic(name):
    ast.parse(CELLS[name])


def test_every_code_cell_is_explained_before_it():
    kinds = [cell["cell_type"] for cell in FOUND["cells"]]
    assert all(before == "markdown" for before, kind in zip(kinds, kinds[1:]) if kind == "code")


def test_the_parameters_stand_at_the_top():
    assert next(iter(CELLS)) == "parameters"
    assigned = {node.targets[0].id for node in ast.parse(CELLS["parameters"]).body if isinstance(node, ast.Assign)}
    assert assigned == {"REPOSITORY", "DRIVE", "AGAIN", "OPTIONS", "SMOKE"}


def test_run_from_end_to_end_it_ends_with_the_name_of_the_model_that_was_promoted(smoked):
    checkout, said = smoked
    pointer = json.loads((checkout / "training/runs/retrain-smoke/reminders/model.json").read_text())
    assert pointer["current"]["name"] == name_of_the_new_model(checkout)
    assert said.split()[-1] == name_of_the_new_model(checkout)


def test_the_steps_and_the_table_are_shown(smoked):
    _, said = smoked
    for step in ("data", "train", "export", "evaluate", "promote"):  # its progress stands before what came of it
        assert re.search(rf"^{step} +(?s:.+?)\(\d+ s\)$", said, re.M), step
    assert len(re.findall(r"\(\d+ s\)$", said, re.M)) == 9
    assert "all right, of" in said and "% all right, between" in said


def test_a_cell_that_is_run_again_does_not_train_again(smoked):
    _, said = smoked
    assert said.count("retraining smoke:") == 1
    assert "This run is finished" in said


def test_the_model_that_comes_home_is_whole(smoked, tmp_path):
    checkout, _ = smoked
    name = name_of_the_new_model(checkout)
    with zipfile.ZipFile(checkout / f"training/runs/kept/{name}.zip") as archive:
        archive.extractall(tmp_path)
    manifest = verify(tmp_path / name)
    assert manifest.evaluation["against_name"] == "untrained"


def test_a_session_that_broke_off_goes_on_with_what_was_kept(smoked):
    checkout, _ = smoked
    name = name_of_the_new_model(checkout)
    shutil.rmtree(checkout / "training/runs/retrain-smoke")
    status, said = run_notebook(checkout / "training")
    assert status == 0, said[-3000:]
    assert "Going on with what was kept. Done: all, base," in said and "retraining smoke:" not in said
    assert said.split()[-1] == name


def test_a_step_that_fails_stops_the_notebook_and_keeps_what_was_done(tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / "training").mkdir()
    failing = checkout / "scripts/retrain.sh"
    failing.write_text("#!/bin/sh\nmkdir -p training/runs/retrain-smoke\necho one > training/runs/retrain-smoke/name\n"
                       'echo "given: $*"\necho "train failed" >&2\nexit 1\n')  # fmt: skip
    failing.chmod(0o755)
    status, said = run_notebook(checkout / "training", RETRAIN_OPTIONS="--epochs 1", PYTHONPATH=str(ROOT))
    assert status == 1
    assert "given: --smoke --epochs 1\ntrain failed\n" in said and "returned non-zero exit status 1" in said
    assert "Before and after" not in said and "At home" not in said
    assert (checkout / "training/runs/kept/run.tar").exists()


def test_without_a_checkout_it_asks_which_repository_to_clone(tmp_path):
    status, said = run_notebook(tmp_path)
    assert status == 1 and "Say at the top which REPOSITORY is to be cloned." in said


COLAB = {
    "google/colab/__init__.py": """
class drive:
    mount = staticmethod(lambda place: print("mounted:", place))
class files:
    download = staticmethod(lambda file: print("downloaded:", file))
class userdata:
    class SecretNotFoundError(Exception): ...
    class NotebookAccessError(Exception): ...
    get = staticmethod(lambda name: "the secret " + name)
""",
    "pip/__main__.py": "import sys; print('pip', *sys.argv[1:])",
    "training/finetune.py": """
class choose_device:
    name, why = "cuda", "Tesla T4, 4-bit QLoRA"
""",
}
"""What is stood in for: Colab, pip, and the GPU."""
RETRAIN = """#!/bin/sh
run=training/runs/retrain-phi-2
echo "retrain.sh $*, $OPENROUTER_API_KEY"
[ -n "$PYTHON" ] || exit 1
mkdir -p $run/done $run/train/merged models/phi-2-x
echo phi-2-x | tee $run/name > models/phi-2-x/model
echo the table > $run/evaluate.log
touch $run/done/all $run/train/merged/model
"""


def test_in_colab_it_clones_keeps_colabs_torch_trains_phi_2_and_brings_it_home(tmp_path):
    """Twice: the second session finds on Drive what the first has kept."""
    origin, stands_in, drive = tmp_path / "origin", tmp_path / "stands_in", tmp_path / "drive"
    for name, text in COLAB.items():
        (stands_in / name).parent.mkdir(parents=True, exist_ok=True)
        (stands_in / name).with_name("__init__.py").touch()  # so that it comes before the real one
        (stands_in / name).write_text(text)
    for name in ("pyproject.toml", "constraints.txt"):
        (origin / "scripts").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, origin)
    (origin / "scripts/retrain.sh").write_text(RETRAIN)
    (origin / "scripts/retrain.sh").chmod(0o755)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", str(origin)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    # The real pip must not get to work here: it would change the environment that these tests run in.
    filled_in = f"import google.colab, pip\nassert pip.__file__.startswith({str(stands_in)!r})\nREPOSITORY, DRIVE = {str(origin)!r}, {str(drive)!r}"
    cells = {"parameters": CELLS["parameters"], "filled in": filled_in} | CELLS
    said = []
    for session in ("one", "two"):
        (tmp_path / session).mkdir()
        status, words = run_notebook(tmp_path / session, cells, SMOKE="", PYTHONPATH=str(stands_in), PIP_DRY_RUN="1")
        assert status == 0, words
        said.append(words)
    first, second = said
    assert "mounted: /content/drive" in first and "Tesla T4" in first and "the table" in first
    assert first.count("retrain.sh --base phi-2 --skip promote, the secret OPENROUTER_API_KEY\n") == 1
    pip = re.search(r"^pip install .*-c training/runs/constraints.txt (.*)$", first, re.M)[1].split()
    assert any(r.startswith("trl>=") for r in pip) and not any(r.startswith("torch") for r in pip)
    pins = (tmp_path / "one/reminder-assistant/training/runs/constraints.txt").read_text().splitlines()
    assert f"torch=={version('torch')}" in pins and "trl" in "".join(pins)
    assert re.search(r"^downloaded: .*models/phi-2-x\.zip$", first, re.M) and (drive / "phi-2-x.zip").exists()
    assert first.rstrip().endswith("assistant models promote phi-2-x")
    with tarfile.open(drive / "run.tar") as kept:
        assert "models/phi-2-x/model" in kept.getnames() and not any("merged" in name for name in kept.getnames())
    assert "Going on with what was kept. Done: all" in second and "retrain.sh --base" not in second
    assert re.search(r"^downloaded: .*models/phi-2-x\.zip$", second, re.M)
