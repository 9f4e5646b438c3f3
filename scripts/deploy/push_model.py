"""What scripts/deploy/push-model does, on the machine that has the model; take_model.py does the rest on the other.

Everything there but the word to systemd runs as the user of the service, in whose folder the model grows under a name
that is not looked at (`.NAME.part`).
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from places import SERVICE, USER, Places

from assistant.config import load
from assistant.errors import AssistantError
from assistant.models import Manifest, verify
from assistant.pointer import models_of

AS_SERVICE = ("sudo", "-n", "-u", USER)


def main() -> None:
    parser = argparse.ArgumentParser("scripts/deploy/push-model", usage="scripts/deploy/push-model --help")
    parser.add_argument("host")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--force", metavar="REASON")
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--root", type=Path, default=Path("/"))
    asked = parser.parse_args()
    manifest = verify((asked.folder or models_of(load()).in_use()).absolute())
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", manifest.name):
        stop(f"{manifest.name!r} cannot be a model's name there: rename its folder, in letters, digits, . - and _.", 2)
    other = Other(asked.host, Places(asked.root))
    if other.take("look", manifest) == "none":
        print(f"Copying {manifest.name} ({manifest.size / 1e6:.1f} MB) to {asked.host} ...", file=sys.stderr)
        other.copy(manifest)
    print(other.take("promote", manifest, *(["--force", asked.force] if asked.force is not None else [])))
    other.ssh("sudo", "-n", "systemctl", "restart" if asked.restart else "reload-or-restart", SERVICE)
    print(other.take("wait", manifest))


class Other:
    """The machine of the service, by ssh."""

    def __init__(self, host: str, places: Places) -> None:
        self.host, self.places = host, places

    def ssh(self, *command: str | Path, **options) -> str:
        """What a command there writes to standard output. Ends with its status if it fails: it has said why."""
        done = subprocess.run(["ssh", "--", self.host, shlex.join(map(str, command))],
                              stdout=subprocess.PIPE, text=True, **options)  # fmt: skip
        if done.returncode == 255:  # ssh(1)
            stop(f"{self.host} cannot be reached by ssh.")
        if done.returncode == 127:
            stop(f"there is no model service on {self.host}: run scripts/deploy/install there.")
        if done.returncode in (2, 3, 4):
            sys.exit(done.returncode)  # our own program there has said why
        if done.returncode:
            stop(f"{self.host} did not do it, for what it says above: {shlex.join(map(str, command[:5]))} ...")
        return done.stdout.strip()

    def take(self, what: str, manifest: Manifest, *more: str) -> str:
        program = self.places.program
        # Of a shell there, as sudo would say 1 where there is no such program.
        there = shlex.join([f"{program}/.venv/bin/python", f"{program}/scripts/deploy/take_model.py"])
        words = shlex.join([what, manifest.name, manifest.sha256, "--config", str(self.places.config), *more])
        return self.ssh(*AS_SERVICE, "sh", "-c", f"exec {there} {words}")

    def copy(self, manifest: Manifest) -> None:
        """By rsync, which goes on where it broke off, or where one of the machines has none by tar."""
        part = self.places.state / "models" / f".{manifest.name}.part"
        files = ["manifest.json", manifest.file.name]
        there = subprocess.run(["ssh", "--", self.host, "command -v rsync"], capture_output=True, text=True)
        if shutil.which("rsync") and there.returncode == 0:
            rsync = ["rsync", "--times", "--partial", f"--rsync-path={shlex.join(AS_SERVICE)} rsync"]
            if subprocess.run([*rsync, "--", *files, f"{self.host}:{part}/"], cwd=manifest.folder).returncode:
                stop(f"the copying to {self.host} broke off: run this again, and it goes on from there.")
            return
        with subprocess.Popen(["tar", "-cf", "-", "--", *files], cwd=manifest.folder, stdout=subprocess.PIPE) as tar:
            place = shlex.quote(str(part))
            self.ssh(*AS_SERVICE, "sh", "-c", f"mkdir -p {place} && tar -C {place} -xf -", stdin=tar.stdout)


def stop(sentence: str, status: int = 1) -> NoReturn:
    print(f"scripts/deploy/push-model: {sentence}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    try:
        main()
    except AssistantError as e:
        stop(str(e), e.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
