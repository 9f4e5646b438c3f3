"""What scripts/install does, on the standard library alone.

A lock keeps two installs apart, and a stamp per purpose makes the next call immediate. An install that was interrupted
has left no stamp: it goes on with what is whole, or begins afresh (pip's cache keeps what was built).
"""

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
VENV = TOP / ".venv"
LOCK = TOP / ".venv.lock"
EXTRAS = {"run": "", "train": "[training]", "test": "[training,dev]"}
"""Each holds those before it."""
CMAKE_ARGS = "-DLLAVA_BUILD=OFF -DCMAKE_C_FLAGS=-U__AMX_INT8__ -DCMAKE_CXX_FLAGS=-U__AMX_INT8__"
"""For llama.cpp. Without Intel's AMX: gcc 12 stores only the first eight bytes of the 64 that set up its tiles (its
amxtileintrin.h names no more of them as input), and every rewrite ends in a segmentation fault. A small model gains
nothing by AMX."""
SHIPPED_MODEL = TOP / "models/small"
APT_FOR_TESTS = {
    "aplay": "alsa-utils",
    "chromium": "chromium",
    "espeak-ng": "espeak-ng",
    "faketime": "faketime",
    "flite": "flite",
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "nginx": "nginx",
    "openssl": "openssl",
    "pactl": "pulseaudio-utils",
    "pulseaudio": "pulseaudio",
    "rsync": "rsync",
    "/usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so": "libasound2-plugins",
    "/usr/lib/*/libportaudio.so.2": "libportaudio2",
}
"""Command, or pattern of a file, -> Debian package: the tests move the clock of a real daemon, put a real nginx before
a real service, talk to a real MQTT broker, look at the page with a real browser, and speak with the voices of
synthesisers into a microphone that is a sound server."""


def stop(sentence: str) -> None:
    sys.exit(f"scripts/install: {sentence}")


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def fingerprint() -> str:
    """What an installation depends on: if this has changed, it is done again."""
    parts = [(TOP / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join([*parts, str(TOP).encode(), sys.version.encode()])).hexdigest()


def stamp(purpose: str) -> Path:
    return VENV / f".installed-{purpose}"


def installed(purpose: str) -> bool:
    return (VENV / "bin/python").exists() and stamp(purpose).exists() and stamp(purpose).read_text() == fingerprint()


def need_compiler() -> None:
    """llama.cpp is compiled for this machine's processor."""
    if not any(shutil.which(c) for c in ("c++", "g++", "clang++", os.environ.get("CXX", ""))):
        stop("a C and C++ compiler is needed to build llama.cpp: install one (Debian, Ubuntu: apt install "
             "build-essential; Fedora: dnf install gcc-c++; macOS: xcode-select --install).")


WHOLE = """
from importlib.metadata import distributions
import pip
for d in distributions():  # pip writes the list of a package's files when all of them are there
    if d.files is None or not all(f.locate().exists() for f in d.files if f.suffix != ".pyc"):
        raise SystemExit(1)
"""


def make_venv() -> None:
    """An environment to install into: the one that is there if every package in it is whole."""
    python = VENV / "bin/python"
    if python.exists():
        if subprocess.run([python, "-c", WHOLE], stderr=subprocess.DEVNULL).returncode == 0:
            return
        say("The last install was interrupted: starting it afresh.")
    if subprocess.run([sys.executable, "-m", "venv", "--clear", VENV]).returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        stop("Python could not make a virtual environment: install its venv module (Debian: apt install python3-venv).")


def pip(what: list[str], lock: int) -> None:
    environ = {"CMAKE_ARGS": CMAKE_ARGS, **os.environ}
    command = [VENV / "bin/python", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    command += ["-c", "constraints.txt", *what]
    # pip holds the lock as well, so that one which outlives this script is waited for.
    if subprocess.run(command, cwd=TOP, env=environ, stdin=subprocess.DEVNULL, pass_fds=[lock]).returncode:
        stop("the install did not succeed; what pip says above tells why. Run this again when that is put right.")


def runs_here() -> bool:
    """Whether llama.cpp answers with the model that ships. A library that was made for another processor, or by
    another compiler for parts of this one, ends the process with a signal; other errors are not for an install."""
    if not SHIPPED_MODEL.exists():
        return True
    trial = "import sys, pathlib; from assistant.models import verify; verify(pathlib.Path(sys.argv[1]), True)"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    return subprocess.run([VENV / "bin/python", "-c", trial, SHIPPED_MODEL], cwd=TOP, **quiet).returncode >= 0


def install(purpose: str, lock: int) -> None:
    need_compiler()
    for old in EXTRAS:
        stamp(old).unlink(missing_ok=True)
    make_venv()
    say(f"Installing into {VENV.name} (the first time this takes some minutes: llama.cpp is compiled) ...")
    pip(["-e", f".{EXTRAS[purpose]}"], lock)
    if not runs_here():
        say("llama.cpp as pip kept it does not run on this processor: compiling it anew ...")
        pip(["--force-reinstall", "--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python", "llama-cpp-python"],
            lock)
        if not runs_here():
            stop("llama.cpp does not run on this processor: set CMAKE_ARGS=-DGGML_NATIVE=OFF, remove .venv and run "
                 "this again.")
    for covered in [*EXTRAS][: [*EXTRAS].index(purpose) + 1]:
        stamp(covered).write_text(fingerprint())
    tell_of_portaudio()


def tell_of_portaudio() -> None:
    """Only hearing needs it, and elsewhere than on Linux it comes with sounddevice."""
    if sys.platform == "linux" and not find_library("portaudio"):
        say("To hear you the assistant needs the PortAudio library (Debian, Ubuntu: apt install libportaudio2; Fedora: "
            "dnf install portaudio); all else works without it.")


def is_there(what: str) -> bool:
    """A command, or a file of that pattern."""
    where = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])  # nginx is there, for root's PATH alone
    return bool(glob.glob(what) if "/" in what else shutil.which(what, path=where))


def want_apt_packages() -> None:
    """Tests skip without what they need, so what cannot be had ends nothing."""
    missing = _missing()
    if missing and not os.geteuid() and shutil.which("apt-get"):
        _apt("update")
        if not _apt("install", *missing):  # one that cannot be had keeps no other from being installed
            for package in missing:
                _apt("install", package)
        missing = _missing()
    if missing:
        say(f"Some tests will be skipped, for want of: {' '.join(missing)} (Debian: apt install {' '.join(missing)}).")


def _apt(*words: str) -> bool:
    """Whether apt-get did it."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", "Acquire::Retries=3", *words]
    return not subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode


def _missing() -> list[str]:
    return [package for what, package in APT_FOR_TESTS.items() if not is_there(what)]


def main() -> None:
    purpose = sys.argv[1] if len(sys.argv) == 2 else ""
    if purpose not in EXTRAS:
        stop(f"say what for: {', '.join(EXTRAS)}.")
    if purpose == "test":
        want_apt_packages()
    if installed(purpose):
        return
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another install is running: waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed(purpose):
            install(purpose, lock.fileno())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
