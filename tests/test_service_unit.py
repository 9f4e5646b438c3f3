"""The unit of the model service, as systemd's own tools judge it, and the model in the harshest part of it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nginx import Places
from tests.process import ROOT
from tests.test_deploy import linux, machine

EXPOSURE = 1.0
"""Of systemd-analyze security, from 0 (safe) to 10; it says 0.9."""
pytestmark = linux
wants_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is wanted: apt install systemd"
)


@pytest.fixture
def unit(tmp_path) -> Path:
    """The unit, with the places in it those of a folder that has the program."""
    places = Places(machine(tmp_path / "machine"))
    places.unit.parent.mkdir(parents=True)
    places.unit.write_text(places.here((ROOT / "scripts/deploy/assistant.service").read_text()))
    return places.unit


@wants_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(unit):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@wants_systemd
def test_the_service_is_hardly_exposed(unit):
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]


WRITE_OR_RUN = """
import ctypes, mmap, sys
from pathlib import Path
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1  # prctl(2), Linux 6.3; what MemoryDenyWriteExecute= asks for
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    sys.exit("memory that is both was given")
except PermissionError:
    pass
import assistant.serve
from assistant.models import verify
verify(Path(sys.argv[1]), check_load=True)
"""


def test_the_service_needs_no_memory_that_is_both_written_and_run(model):
    command = [sys.executable, "-c", WRITE_OR_RUN, model]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if done.returncode == 77:
        pytest.skip("this Linux is older than 6.3")
    assert done.returncode == 0, done.stderr
