"""scripts/deploy/push-model, to a service that runs on this machine behind an ssh that leads nowhere else."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MODEL
from tests.model_folders import break_byte, candidate, evaluation, sha256
from tests.nginx import free_port
from tests.process import ROOT, Service
from tests.test_deploy import install, linux, machine, needs_openssl, script

pytestmark = [linux, needs_openssl, pytest.mark.usefixtures("model")]
PUSH = ROOT / "scripts/deploy/push_model.py"
TOOLS = {
    # ssh [--] HOST COMMAND
    "ssh": '[ "$1" != -- ] || shift; shift; case "$*" in "command -v rsync") [ ! -e {state}/no-rsync ];; *) exec sh -c "$*";; esac',
    "sudo": '[ "$1" = -n ] || exit 1; shift; [ "$1" != -u ] || shift 2; exec "$@"',
    "systemctl": 'echo "$*" >> {state}/told; kill -HUP "$(cat {state}/pid)"',
}


class Cloud:
    """An installed model service that runs; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.root, self.tools, self.state = machine(folder / "machine"), folder / "tools", folder / "state"
        self.home, self.folder = folder / "home", folder / "models"
        for made in (self.tools, self.state, self.home, self.root / "etc/reminder-assistant"):
            made.mkdir()
        for name, text in TOOLS.items():
            script(self.tools / name, text.replace("{state}", str(self.state)))
        self.data = self.root / "var/lib/reminder-assistant"
        config = (ROOT / "scripts/deploy/config.toml").read_text().replace("/var/lib", f"{self.root}/var/lib")
        config = config.replace("port = 8000", f"port = {free_port()}")
        self.config = self.root / "etc/reminder-assistant/config.toml"
        self.config.write_text(config)
        status, _, complained = install(self.root, "--name", "localhost")
        assert status == 0, complained
        port = config.partition("port = ")[2].split()[0]
        self.service = Service(self.data, {"ASSISTANT_LOG__FORMAT": "text"}, options=("--config", str(self.config), "--port", port))

    def __enter__(self) -> "Cloud":
        self.service.__enter__()
        (self.state / "pid").write_text(str(self.service.process.pid))
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.service.stop(signal.SIGTERM) == 0
        self.service.__exit__(*exc)

    def push(self, *words: str | Path, status: int = 0) -> str:
        """What push-model says, which must end with a status."""
        env = {"HOME": str(self.home), "PATH": f"{self.tools}:{os.environ['PATH']}"}
        command = [sys.executable, PUSH, "--root", self.root, "cloud.example.org", *words]
        done = subprocess.run(command, env=env, cwd=self.home, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def told(self) -> str:
        """What systemd was told since the last time."""
        told = self.state / "told"
        found = told.read_text() if told.exists() else ""
        told.unlink(missing_ok=True)
        return found

    def in_use(self) -> str:
        return self.service.call("GET", "/health")[1]["model_sha256"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ASSISTANT_")]:
            patch.delenv(name)
        with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
            yield cloud


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is wanted: apt install rsync")
def test_a_model_is_copied_promoted_and_in_use(cloud):
    folder = candidate(cloud.folder, "fresh")
    said = cloud.push(folder, "--force", "a test")
    assert "fresh is promoted, against its evaluation." in said and "The service uses fresh now" in said
    assert cloud.in_use() == sha256(folder) and cloud.told() == "reload-or-restart assistant\n"
    assert_whole(cloud.data / "models/fresh")

    again = cloud.push(folder)
    assert "Copying" not in again and "fresh is promoted already." in again
    cloud.told()


def test_it_is_copied_by_tar_where_there_is_no_rsync_and_needs_no_reason_if_its_evaluation_is_good(cloud):
    (cloud.state / "no-rsync").touch()
    in_use = cloud.service.call("GET", "/health")[1]["model"]
    current = cloud.data / "models" / in_use if in_use != "small" else MODEL
    folder = candidate(cloud.folder, "better", evaluation=evaluation(current))
    assert "better is promoted." in cloud.push(folder, "--restart")
    assert cloud.in_use() == sha256(folder) and cloud.told() == "restart assistant\n"
    assert_whole(cloud.data / "models/better")


def assert_whole(there: Path) -> None:
    assert sorted(p.name for p in there.iterdir()) == ["manifest.json", "model-q8_0.gguf"]
    assert not list(there.parent.glob(".*"))


def test_what_was_not_evaluated_is_there_and_not_in_use_until_there_is_a_reason(cloud):
    before = cloud.in_use()
    folder = candidate(cloud.folder, "untried")
    assert "or give --force and a reason." in cloud.push(folder, status=3)
    assert cloud.in_use() == before and not cloud.told()
    assert "Copying" not in cloud.push(folder, "--force", "it's \"new\" & $HOME")
    assert cloud.in_use() == sha256(folder)
    assert 'it\'s \\"new\\" & $HOME' in (cloud.data / "model.json").read_text()


def test_a_damaged_model_is_not_even_copied(cloud):
    folder = candidate(cloud.folder, "damaged")
    break_byte(folder)
    assert "SHA-256" in cloud.push(folder, "--force", "a test", status=3)
    assert not list((cloud.data / "models").glob("*damaged*"))


def test_what_is_damaged_on_its_way_is_not_used_and_the_next_try_is_right(cloud):
    before, folder = cloud.in_use(), candidate(cloud.folder, "on-its-way")
    (cloud.state / "no-rsync").touch()
    tar = shutil.which("tar")
    script(cloud.tools / "tar", f'case $1 in -C) {tar} "$@" && truncate -s 1000 "$2/model-q8_0.gguf";; *) exec {tar} "$@";; esac')
    assert "1000" in cloud.push(folder, "--force", "a test", status=3)
    assert cloud.in_use() == before and not (cloud.data / "models/on-its-way").exists()
    (cloud.tools / "tar").unlink()
    cloud.push(folder, "--force", "a test")
    assert cloud.in_use() == sha256(folder)


def test_another_model_of_the_same_name_is_not_written_over(cloud, tmp_path):
    shutil.copytree(MODEL, cloud.data / "models/twice")
    there = sha256(MODEL)
    other = candidate(tmp_path, "twice")
    assert "another model of the name twice" in cloud.push(other, "--force", "a test", status=2)
    assert sha256(cloud.data / "models/twice") == there


def test_by_default_it_is_the_model_in_use_here(cloud):
    cloud.push("--force", "a test")
    assert cloud.in_use() == sha256(MODEL)


@pytest.mark.parametrize(("answer", "status", "sentence"), [
    ("exit 255", 1, "cloud.example.org cannot be reached by ssh."),
    ('shift 2; PATH=$PATH:/; exec sh -c "$(echo "$*" | sed s#/opt/#/nowhere/#g)"', 1, "run scripts/deploy/install there."),
    ("echo 'sudo: a password is required' >&2; exit 1", 1, "sudo: a password is required"),
], ids=["away", "not installed", "password"])  # fmt: skip
def test_a_machine_that_cannot_take_a_model_says_why(cloud, answer, status, sentence):
    ssh = cloud.tools / "ssh"
    before = ssh.read_text()
    script(ssh, answer)
    try:
        assert sentence in cloud.push(status=status)
    finally:
        ssh.write_text(before)


def test_a_name_that_a_shell_might_misread_is_refused(cloud, tmp_path):
    assert "rename its folder" in cloud.push(candidate(tmp_path, "a b;c"), status=2)


def test_the_help_tells_all_of_the_head_of_the_script():
    done = subprocess.run([ROOT / "scripts/deploy/push-model", "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("Copy a model to a model service")
    assert done.stdout.rstrip().endswith("3 the model is not taken.")
