"""scripts/release in clones of their own, the changelog, and the workflow that runs the tests elsewhere."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from assistant import __version__

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "test.yml"
NEXT = f"{Version(__version__).major + 1}.0.0"


def git(folder: Path, *command: str) -> str:
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    return subprocess.run(["git", *who, *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """A repository with one commit: the files of this checkout that are tracked or will be."""
    folder = tmp_path_factory.mktemp("origin")
    for name in filter(None, git(ROOT, "ls-files", "-coz", "--exclude-standard").split("\0")):
        if (ROOT / name).exists():  # one that is about to go is still listed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    changelog = folder / "CHANGELOG.md"
    told = re.sub(r"## Unreleased\n(?s:.*?)(?=## )", "## Unreleased\n\n### Added\n\n- A whistle.\n\n", changelog.read_text())
    changelog.write_text(told)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "All of it")
    return folder


@pytest.fixture
def clone(origin, tmp_path) -> Path:
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(origin), str(folder))
    return folder


def release(clone: Path, *words: str, test: str = "true") -> tuple[int, str, str]:
    """Exit status and words of scripts/release with a stand-in for the tests."""
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "Somebody"), ("EMAIL", "somebody@example.org"))}  # fmt: skip
    done = subprocess.run(
        [clone / "scripts/release", *words],
        env=os.environ | who | {"PYTHON": sys.executable, "RELEASE_TEST": test},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def state(clone: Path) -> tuple[str, ...]:
    """All that a release could have left behind."""
    return (
        git(clone, "status", "--porcelain", "--branch"),
        git(clone, "for-each-ref"),
        git(clone, "worktree", "list"),
        git(clone, "diff", "HEAD"),
        str(sorted(clone.glob("dist/*"))),
    )


def test_a_dry_run_checks_and_changes_nothing(clone):
    before = state(clone)
    status, said, _ = release(clone, "--dry-run", NEXT, test="touch ../tested")
    assert (status, said) == (0, f"{NEXT} can be released; nothing was changed.\n")
    assert (clone / "../tested").exists()
    assert state(clone) == before


def dirty(clone):
    (clone / "note.txt").write_text("a file that nobody tracks")


def on_a_branch(clone):
    git(clone, "switch", "-qc", "other")


def nothing_told(clone):
    changelog = clone / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("- A whistle.\n", ""))
    git(clone, "commit", "-qam", "No whistle")


def no_section(clone):
    changelog = clone / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## Unreleased", "## Some day"))
    git(clone, "commit", "-qam", "No section")


@pytest.mark.parametrize("options", [["--dry-run"], []], ids=["dry run", "release"])
@pytest.mark.parametrize(("change", "sentence"), [
    (dirty, "the tree is not clean: commit or put away what git status shows."),
    (on_a_branch, "releases are made on main: git switch main."),
    (nothing_told, 'CHANGELOG.md tells nothing under "## Unreleased": write what has changed.'),
    (no_section, 'CHANGELOG.md tells nothing under "## Unreleased": write what has changed.'),
])  # fmt: skip
def test_what_is_not_ready_is_not_released(clone, change, sentence, options):
    change(clone)
    before = state(clone)
    assert release(clone, *options, NEXT) == (1, "", f"scripts/release: {sentence}\n")
    assert state(clone) == before


def test_what_does_not_pass_its_tests_is_not_released(clone):
    before = state(clone)
    assert release(clone, NEXT, test="exit 7") == (1, "", "scripts/release: the tests do not pass.\n")
    assert state(clone) == before


@pytest.mark.parametrize(("words", "sentence"), [
    ([], "say which version: scripts/release [--dry-run] VERSION"),
    (["--force", NEXT], "--force is no option: scripts/release [--dry-run] VERSION"),
    ([NEXT, "9.9.9"], f"give one version, not {NEXT} and 9.9.9 as well."),
    (["soon"], "soon is no version: give one such as 1.2.0 or 1.2.0rc1."),
    ([f"v{NEXT}"], f"write v{NEXT} as {NEXT}."),
    ([__version__], f"{__version__} is not higher than {__version__}, the version so far."),
    (["0.0.9"], f"0.0.9 is not higher than {__version__}, the version so far."),
    ([f"{__version__}rc1"], f"{__version__}rc1 is not higher than {__version__}, the version so far."),
])  # fmt: skip
def test_a_version_that_cannot_be_taken_is_refused(clone, words, sentence):
    before = state(clone)
    assert release(clone, *words) == (2, "", f"scripts/release: {sentence}\n")
    assert state(clone) == before


def test_a_version_that_is_tagged_is_refused(clone):
    git(clone, "tag", f"v{NEXT}")
    assert release(clone, NEXT) == (2, "", f"scripts/release: v{NEXT} is tagged already.\n")


def test_a_release_ends_with_the_version_the_changelog_the_tag_and_the_archive(clone, tmp_path):
    before = git(clone, "rev-parse", "HEAD")
    status, said, complained = release(clone, NEXT)
    assert status == 0, complained

    assert git(clone, "status", "--porcelain") == "" and len(git(clone, "worktree", "list").splitlines()) == 1
    assert git(clone, "log", "-1", "--format=%s", "main") == f"Release {NEXT}"
    assert git(clone, "rev-parse", "HEAD~") == before
    assert git(clone, "diff", "--name-only", "HEAD~").split() == ["CHANGELOG.md", "assistant/__init__.py"]
    assert f'__version__ = "{NEXT}"\n' in (clone / "assistant/__init__.py").read_text()
    changelog = (clone / "CHANGELOG.md").read_text()
    assert re.search(rf"^## Unreleased\n\n## {re.escape(NEXT)} - \d{{4}}-\d\d-\d\d\n\n### Added\n\n- A whistle\.\n\n## ", changelog, re.M)

    tag = f"v{NEXT}"
    assert git(clone, "cat-file", "-t", tag) == "tag" and git(clone, "rev-parse", f"{tag}^{{}}") == git(clone, "rev-parse", "main")
    assert git(clone, "tag", "-l", "--format=%(contents)", tag) == f"Reminder assistant {NEXT}\n\n### Added\n\n- A whistle."
    assert f"git push --atomic origin main {tag}" in said

    with tarfile.open(clone / f"dist/reminder-assistant-{NEXT}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / f"reminder-assistant-{NEXT}"
    tracked = git(clone, "ls-files").splitlines()
    assert sorted(tracked) == sorted(str(f.relative_to(unpacked)) for f in unpacked.rglob("*") if f.is_file())
    assert all((unpacked / name).read_bytes() == (clone / name).read_bytes() for name in tracked)
    assert os.access(unpacked / "scripts/start", os.X_OK)

    (clone / "CHANGELOG.md").write_text(changelog.replace("## Unreleased\n", "## Unreleased\n\n- A bell.\n"))
    git(clone, "commit", "-qam", "A bell")
    later = NEXT.replace(".0.0", ".1.0")
    assert release(clone, later)[0] == 0
    assert git(clone, "tag", "-l", "--format=%(contents:body)", f"v{later}") == "- A bell."


def test_the_archive_understands_a_request_or_nothing_is_released(clone):
    (clone / "models/small/manifest.json").unlink()
    git(clone, "commit", "-qam", "A model without a manifest")
    before = state(clone)
    status, _, complained = release(clone, NEXT)
    assert status == 1
    assert complained.endswith(f"the archive does not work.\nscripts/release: {NEXT} was not released; nothing was changed.\n")
    assert state(clone) == before


def test_a_commit_that_joins_main_meanwhile_is_not_lost(clone):
    commit = "git -c user.name=n -c user.email=e@example.org commit -q --allow-empty -m Meanwhile"
    status, _, complained = release(clone, NEXT, test=commit)
    assert status == 1 and "main has changed meanwhile." in complained
    assert git(clone, "log", "-1", "--format=%s") == "Meanwhile" and git(clone, "tag") == ""
    assert git(clone, "status", "--porcelain") == ""


def test_the_help_tells_all_of_the_head_of_the_script(clone):
    status, said, _ = release(clone, "--help")
    assert status == 0 and said.startswith("Make a release") and said.rstrip().endswith("cannot be taken.")


def test_the_changelog_begins_with_what_is_unreleased_and_goes_down_from_the_version_in_the_program():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == "Unreleased"
    versions = [re.fullmatch(r"(\S+) - \d{4}-\d\d-\d\d", heading)[1] for heading in headings[1:]]
    assert versions[0] == __version__
    assert versions == sorted(versions, key=Version, reverse=True)


def test_the_workflow_runs_the_tests_on_linux_and_macos_and_may_only_read():
    found = yaml.safe_load(WORKFLOW.read_text())
    assert found["permissions"] == {"contents": "read"}
    assert found["concurrency"]["cancel-in-progress"] is True
    job = found["jobs"]["test"]
    assert job["strategy"]["matrix"] == {"os": ["ubuntu-latest", "macos-latest"], "python": ["3.11", "3.13"]}
    assert job["timeout-minutes"] <= 180 and "permissions" not in job
    steps = job["steps"]
    assert {"scripts/install test", ".venv/bin/ruff check .", "scripts/test"} <= {step.get("run") for step in steps}
    assert steps[0]["with"]["fetch-depth"] == 0
    cache = next(step["with"] for step in steps if step.get("uses", "").startswith("actions/cache@"))
    assert "hashFiles('constraints.txt')" in cache["key"]
    # A processor's own instructions must not go into a wheel that another one gets from the cache.
    assert "-DGGML_NATIVE=OFF" in job["env"]["CMAKE_ARGS"]


def test_what_the_workflow_runs_is_there():
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["test"]["steps"]
    for script in re.findall(r"\bscripts/\S+", " ".join(step.get("run", "") for step in steps)):
        assert os.access(ROOT / script, os.X_OK), script
