"""scripts/install-service: the assistant as a service of whoever is logged in, on macOS and on Linux."""

import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import ROOT

SCRIPT = ROOT / "scripts/install_service.py"
ODD = 'my "own" <checkout> & 100% more $HOME'
LINUX, MACOS = "linux", "darwin"
systems = pytest.mark.parametrize("system", [LINUX, MACOS])
TOOLS = {
    # What is started stands in a file; one that was stopped needs two more looks to be gone, as launchd takes its time.
    "launchctl": """
        case $1 in
            print) [ -e {state}/runs ] || exit 113; [ -e {state}/ending ] || exit 0
                   if [ -s {state}/ending ]; then rm {state}/runs {state}/ending; else echo x > {state}/ending; fi ;;
            bootout) : > {state}/ending ;;
            bootstrap) [ ! -e {state}/runs ] || exit 37; touch {state}/runs ;;
        esac""",
    "systemctl": """
        case "$*" in
            *is-active*) [ -e {state}/runs ] ;;
            *restart*) touch {state}/runs ;;
            *disable*) rm -f {state}/runs ;;
        esac""",
}
"""Tiny stand-ins that remember what they were told."""


class Checkout:
    """A checkout whose path is full of traps, and a machine with the tools of a system."""

    def __init__(self, folder: Path, system: str) -> None:
        self.top, self.home, self.system = folder / ODD, folder / "home", system
        (self.top / "scripts").mkdir(parents=True)
        shutil.copy(SCRIPT, self.top / "scripts")
        self.program = self.top / ".venv/bin/assistant"
        self.program.parent.mkdir(parents=True)
        self.program.symlink_to("/bin/true" if Path("/bin/true").exists() else "/usr/bin/true")
        self.tools, self.calls = folder / "tools", folder / "calls"
        self.tools.mkdir()
        self.calls.touch()
        (folder / "state").mkdir()
        name = "launchctl" if system == MACOS else "systemctl"
        self.tool = self.tools / name
        text = TOOLS[name].replace("{state}", str(folder / "state"))
        self.tool.write_text(f'#!/bin/sh\necho "$*" >> {self.calls}\n{text}\n')
        self.tool.chmod(0o755)
        self.file = self.home / (
            "Library/LaunchAgents/local.reminder-assistant.plist" if system == MACOS
            else ".config/systemd/user/reminder-assistant.service"
        )  # fmt: skip

    def run(self, *words: str, status: int = 0, path: str | None = None, **env: str) -> str:
        """What the script says on this system, which must end with a status."""
        program = (f"import sys, runpy; sys.platform = {self.system!r}; sys.argv = {['install_service', *words]!r}; "
                   f"runpy.run_path({str(self.top / 'scripts/install_service.py')!r}, run_name='__main__')")
        found = {"HOME": str(self.home), "PATH": path if path is not None else f"{self.tools}:{os.environ['PATH']}"}
        done = subprocess.run([sys.executable, "-c", program], env=found | env, capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    def listens(self, mode: str, deaf: bool = False) -> None:
        """Its settings have that mode, and its program says whether it hears."""
        self.program.with_name("python").write_text(f"#!/bin/sh\necho {mode}\n")
        self.program.unlink()
        self.program.write_text(f'''#!/bin/sh
            echo "assistant $* in $PWD, port $ASSISTANT_HTTP__PORT" >> {self.calls}
            {'echo "assistant: The microphone delivers silence." >&2; exit 1' if deaf else ''}''')
        for file in (self.program, self.program.with_name("python")):
            file.chmod(0o755)

    def told(self) -> list[str]:
        """What its supervisor was told that changes something."""
        asking = ("print", "--user is-active", "--user show-environment")
        return [line for line in self.calls.read_text().splitlines() if not line.startswith(asking)]


@pytest.fixture
def checkout(tmp_path, system) -> Checkout:
    return Checkout(tmp_path, system)


@pytest.mark.parametrize("system", [MACOS])
def test_the_agent_runs_this_checkout_at_login_and_again_if_it_dies(checkout):
    checkout.run()
    found = plistlib.loads(checkout.file.read_bytes())
    assert found["ProgramArguments"] == [str(checkout.program), "run"]
    assert found["WorkingDirectory"] == str(checkout.top)
    assert found["RunAtLoad"] is True and found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["ThrottleInterval"] == 10 and found["ProcessType"] == "Interactive"
    assert found["StandardErrorPath"] == str(checkout.home / "Library/Logs/reminder-assistant.log")
    assert "/opt/homebrew/bin" in found["EnvironmentVariables"]["PATH"] and "UTF-8" in found["EnvironmentVariables"]["LANG"]
    assert (checkout.home / "Library/Logs").is_dir() and checkout.file.stat().st_mode & 0o777 == 0o644
    me = f"gui/{os.getuid()}"
    assert checkout.told() == [f"enable {me}/{found['Label']}", f"bootstrap {me} {checkout.file}"]


@pytest.mark.parametrize("system", [LINUX])
def test_the_unit_is_enabled_and_started_and_it_says_what_ends_with_the_login(checkout):
    said = checkout.run()
    unit = "reminder-assistant.service"
    assert checkout.told() == ["--user daemon-reload", f"--user enable --quiet {unit}", f"--user restart {unit}"]
    assert "loginctl enable-linger" in said and str(checkout.file) in said


@pytest.mark.parametrize("system", [LINUX])
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is wanted: apt install systemd")
def test_systemd_finds_nothing_wrong_with_the_unit(checkout, tmp_path):
    checkout.run()
    (tmp_path / "run").mkdir(mode=0o700)
    command = ["systemd-analyze", "--user", "verify", "--man=no", checkout.file]
    env = {"HOME": str(checkout.home), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("system", [LINUX])
def test_the_unit_runs_this_checkout_whatever_its_path(checkout):
    checkout.run()
    lines = dict(line.split("=", 1) for line in checkout.file.read_text().splitlines() if "=" in line and line[0] != "#")
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(lines["ExecStart"])]
    assert words == ["/bin/sh", "-c", 'exec "$0" run', str(checkout.program)]
    assert lines["WorkingDirectory"].replace("%%", "%") == str(checkout.top)
    checkout.program.unlink()
    checkout.program.write_text('#!/bin/sh\necho "ran with $*"\n')
    checkout.program.chmod(0o755)
    assert subprocess.run(words, capture_output=True, text=True, timeout=30).stdout == "ran with run\n"


@systems
def test_a_second_run_changes_nothing(checkout):
    checkout.run()
    told, written = checkout.told(), checkout.file.stat()
    assert "already" in checkout.run()
    assert checkout.told() == told
    assert (checkout.file.stat().st_ino, checkout.file.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


@systems
def test_another_program_takes_the_place_of_the_one_before(checkout):
    checkout.run()
    checkout.file.write_bytes(checkout.file.read_bytes().replace(b"10", b"11").replace(b"RestartSec=5", b"RestartSec=6"))
    checkout.calls.write_text("")
    checkout.run()
    told = checkout.told()
    if checkout.system == MACOS:
        assert [line.split()[0] for line in told] == ["bootout", "enable", "bootstrap"]
    else:
        assert told[-1] == "--user restart reminder-assistant.service"


@systems
def test_one_that_was_stopped_is_started_again(checkout, tmp_path):
    checkout.run()
    (tmp_path / "state/runs").unlink()
    checkout.run()
    assert (tmp_path / "state/runs").exists()


@systems
def test_what_is_uninstalled_is_stopped_and_gone(checkout, tmp_path):
    checkout.run()
    assert "your reminders stay" in checkout.run("--uninstall")
    assert not checkout.file.exists() and not (tmp_path / "state/runs").exists()
    assert "is no service here" in checkout.run("--uninstall")


@systems
def test_a_dry_run_prints_the_file_and_changes_nothing(checkout):
    said = checkout.run("--dry-run")
    head, _, content = said.partition("\n")
    assert head == f"# {checkout.file}" and not checkout.file.exists() and not checkout.calls.read_text()
    checkout.run()
    assert content.strip() == checkout.file.read_text().strip()


@systems
def test_the_status_is_what_the_supervisor_says(checkout):
    checkout.run()
    checkout.calls.write_text("")
    checkout.run("--status")
    assert any(word in checkout.calls.read_text() for word in ("print gui/", "--user --no-pager status"))


@systems
def test_a_checkout_without_a_program_says_what_makes_it(checkout):
    checkout.program.unlink()
    assert "run scripts/start once" in checkout.run(status=1)
    assert not checkout.file.exists() and not checkout.told()


@systems
def test_a_machine_without_the_supervisor_says_so(checkout):
    said = checkout.run(status=1, path="/nowhere")
    assert ("launchctl" if checkout.system == MACOS else "no systemd") in said
    assert not checkout.file.exists()


@systems
def test_a_supervisor_that_cannot_start_it_says_where_to_look(checkout):
    checkout.tool.write_text('#!/bin/sh\ncase "$*" in *restart*|bootstrap*) exit 1;; *print*) exit 113;; *is-active*) exit 3;; esac\n')
    assert ("log in at the screen" if checkout.system == MACOS else "journalctl --user") in checkout.run(status=1)


@pytest.mark.parametrize("system", [LINUX])
def test_a_systemd_that_cannot_be_reached_says_how_it_can(checkout):
    checkout.tool.write_text("#!/bin/sh\nexit 1\n")
    assert "log in as yourself" in checkout.run(status=1)
    assert not checkout.file.exists()


@systems
def test_settings_of_this_terminal_alone_are_not_forgotten_silently(checkout):
    assert "(ASSISTANT_HTTP__PORT): put that into .env" in checkout.run(ASSISTANT_HTTP__PORT="9000")


@systems
@pytest.mark.parametrize("mode", ["word", "always"])
def test_where_it_listens_by_itself_it_is_asked_whether_sound_arrives_there(checkout, mode):
    checkout.listens(mode)
    said = checkout.run(ASSISTANT_HTTP__PORT="9000")
    told = checkout.told()
    asked = [line for line in told if line.startswith("assistant ")]
    here = f"in {checkout.top}, port "
    before = [f"assistant devices --test {here}"] if checkout.system == MACOS else []
    assert asked == [*before, f"assistant hearing --wait {here}"]
    assert told[-1] == asked[-1] and told[0] == (before or told)[0], "first in the terminal, at last in the service"
    assert "Privacy & Security" not in said and "assistant doctor" not in said


@systems
def test_where_it_waits_to_be_told_to_listen_no_microphone_is_tried(checkout):
    checkout.listens("push")
    checkout.run()
    assert not [line for line in checkout.told() if line.startswith("assistant ")]


@systems
def test_a_service_that_hears_nothing_is_there_all_the_same_and_says_what_to_do(checkout):
    checkout.listens("word", deaf=True)
    said = checkout.run()
    assert checkout.file.exists() and "The assistant runs" in said
    assert ("System Settings > Privacy & Security > Microphone" if checkout.system == MACOS else "assistant doctor") in said
    checkout.calls.write_text("")
    assert "already" in checkout.run()
    assert [line.partition(" in ")[0] for line in checkout.told()] == ["assistant hearing --wait"], "a second run asks again"


@systems
def test_the_mode_that_is_asked_for_is_that_of_the_service(checkout):
    checkout.listens("push")
    checkout.run("--wake", "word")
    if checkout.system == MACOS:
        assert plistlib.loads(checkout.file.read_bytes())["ProgramArguments"][1:] == ["run", "--wake", "word"]
    else:
        assert 'exec "$$0" run --wake word\'' in checkout.file.read_text()
    assert [line for line in checkout.told() if line.startswith("assistant hearing --wait")]
    checkout.run("--wake", "loudly", status=2)


def test_the_help_tells_all_of_the_head_of_the_script():
    done = subprocess.run([ROOT / "scripts/install-service", "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("Let the assistant start by itself")
    assert done.stdout.rstrip().endswith("2 wrong options.")


def test_the_script_in_front_runs_it(tmp_path):
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHON": sys.executable}
    command = [ROOT / "scripts/install-service", "--dry-run"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and str(ROOT / ".venv/bin/assistant") in done.stdout
