"""scripts/install: immediate when nothing has changed, and right again after an interruption."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def checkout(tmp_path):
    """A project with an environment that says it was installed for `run`."""
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    module = runpy.run_path(str(tmp_path / "scripts/install.py"))
    module["stamp"]("run").write_text(module["fingerprint"]())
    return tmp_path


def install(checkout: Path, purpose: str = "run", tools: tuple[str, ...] = ("sh", "dirname")) -> tuple[int, str]:
    """Exit status and words of `scripts/install` where nothing but `tools` and Python are to be found."""
    tools_only = checkout / "tools"
    tools_only.mkdir(exist_ok=True)
    for tool in tools:
        (tools_only / tool).symlink_to(shutil.which(tool))
    env = {"PATH": str(tools_only), "PYTHON": sys.executable, "HOME": os.environ["HOME"]}
    answer = subprocess.run([checkout / "scripts/install", purpose], env=env, capture_output=True, text=True, timeout=30)
    return answer.returncode, answer.stderr


def test_what_is_installed_is_not_installed_again(checkout):
    assert install(checkout) == (0, "")


@pytest.mark.parametrize("change", [
    lambda top: (top / "pyproject.toml").write_text("changed"),
    lambda top: (top / "constraints.txt").write_text("changed"),
    lambda top: (top / ".venv/.installed-run").unlink(),
    lambda top: (top / ".venv/bin/python").unlink(),
    lambda top: shutil.rmtree(top / ".venv"),
], ids=["other dependencies", "other versions", "an interrupted install", "a Python that is gone", "no environment"])
def test_an_install_is_due_and_without_a_compiler_says_which_to_get_after(checkout, change):
    change(checkout)
    status, said = install(checkout)
    assert status == 1
    assert "compiler" in said and "build-essential" in said and "Traceback" not in said


def test_an_install_for_tests_is_another_one(checkout):
    status, said = install(checkout, "test")
    assert status == 1 and "compiler" in said


def test_a_purpose_that_is_none_is_refused(checkout):
    status, said = install(checkout, "play")
    assert status == 1 and "run, train, test" in said


def test_without_a_python_that_is_new_enough_it_says_which_to_get(checkout):
    (checkout / "tools").mkdir()
    old = checkout / "tools/python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    (checkout / "tools/dirname").symlink_to(shutil.which("dirname"))
    env = {"PATH": str(checkout / "tools")}
    command = [shutil.which("sh"), checkout / "scripts/install", "run"]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert answer.returncode == 1 and "Python 3.11 or newer is needed" in answer.stderr


class Trial:
    """The install script with an environment whose Python does as it is told."""

    def __init__(self, checkout, python: str) -> None:
        (checkout / "models/small").mkdir(parents=True)
        (checkout / ".venv/bin/python").write_text(f"#!/bin/sh\n{python}\n")
        (checkout / ".venv/bin/python").chmod(0o755)
        self.module = runpy.run_path(str(checkout / "scripts/install.py"))


@pytest.mark.parametrize(("python", "runs"), [
    ("exit 0", True), ("exit 1", True), ("kill -SEGV $$", False), ("kill -ILL $$", False),
], ids=["an answer", "an error that is told elsewhere", "compiled wrongly", "made for another processor"])
def test_a_library_that_ends_the_process_does_not_run_here(checkout, python, runs):
    assert Trial(checkout, python).module["runs_here"]() is runs


def test_a_kept_library_that_does_not_run_here_is_compiled_anew_once(checkout, monkeypatch):
    python = """case "$*" in
      *--no-cache-dir*) touch "$(dirname "$0")/anew" ;;
      *verify*) [ -e "$(dirname "$0")/anew" ] || kill -SEGV $$ ;;
    esac"""
    module = Trial(checkout, python).module
    monkeypatch.setitem(module["install"].__globals__, "need_compiler", lambda: None)
    module["install"]("run", os.open(checkout / "pyproject.toml", os.O_RDONLY))
    assert (checkout / ".venv/bin/anew").exists()
    assert module["installed"]("run")


def test_one_that_never_runs_here_leaves_no_stamp_and_says_what_to_do(checkout, monkeypatch):
    module = Trial(checkout, """case "$*" in *verify*) kill -SEGV $$ ;; esac""").module
    monkeypatch.setitem(module["install"].__globals__, "need_compiler", lambda: None)
    with pytest.raises(SystemExit, match="GGML_NATIVE=OFF"):
        module["install"]("run", os.open(checkout / "pyproject.toml", os.O_RDONLY))
    assert not module["installed"]("run")


@pytest.mark.parametrize("found", ["libportaudio.so.2", None], ids=["there", "missing"])
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it comes with sounddevice")
def test_an_install_says_what_hearing_needs_where_portaudio_is(checkout, monkeypatch, capsys, found):
    module = Trial(checkout, "exit 0").module
    monkeypatch.setitem(module["install"].__globals__, "need_compiler", lambda: None)
    monkeypatch.setitem(module["install"].__globals__, "find_library", lambda name: found)
    module["install"]("run", os.open(checkout / "pyproject.toml", os.O_RDONLY))
    assert ("apt install libportaudio2" in capsys.readouterr().err) is (found is None)
    assert module["installed"]("run")


@pytest.mark.parametrize(("what", "there"), [
    ("sh", True), ("no-such-command", False), ("/bi*/sh", True), ("/usr/lib/*/no-such-library.so", False),
], ids=["a command", "no command", "a file", "no file"])
def test_what_tests_need_is_a_command_or_a_file(checkout, what, there):
    assert Trial(checkout, "exit 0").module["is_there"](what) is there


@pytest.mark.parametrize(("apt", "lacks"), [
    ("exit 100", ["first", "second"]),
    ("""case "$*" in *first*) exit 100 ;; *"install second") : > {tools}/two ;; esac""", ["first"]),
    ("""case "$*" in *"install first second") : > {tools}/one; : > {tools}/two ;; esac""", []),
], ids=["no network", "one that cannot be had", "all can be had"])
def test_what_tests_need_and_cannot_be_had_is_named_and_ends_nothing(checkout, monkeypatch, capfd, apt, lacks):
    module = Trial(checkout, "exit 0").module
    tools = checkout / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text("#!/bin/sh\n" + apt.replace("{tools}", str(tools)))
    (tools / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    wanted = {str(tools / "one"): "first", str(tools / "two"): "second"}
    monkeypatch.setitem(module["want_apt_packages"].__globals__, "APT_FOR_TESTS", wanted)
    module["want_apt_packages"]()
    names = " ".join(lacks)
    sentence = f"Some tests will be skipped, for want of: {names} (Debian: apt install {names}).\n"
    assert capfd.readouterr().err == (sentence if lacks else "")
