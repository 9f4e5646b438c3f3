"""What an installer does to a machine: commands and files, which a dry run only prints."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn


def stop(sentence: str, status: int = 1) -> NoReturn:
    print(f"scripts/deploy/install: {sentence}", file=sys.stderr)
    sys.exit(status)


class Doing:
    """Does it, or says what it would do.

    `dry` prints it alone. `staged` is an install into a folder that must not touch the machine: then `system` does
    nothing, and files belong to whoever runs it.
    """

    def __init__(self, dry: bool, staged: bool) -> None:
        self.dry, self.staged = dry, staged

    def run(self, *command: str | Path, why: str = "", **options) -> str:
        """Runs a command; what it wrote to standard output if `capture` says so. Ends with a sentence if it fails."""
        words = shlex.join(map(str, command))
        if self.dry:
            print(f"+ {words}")
            return ""
        capture = options.pop("capture", False)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if capture else sys.stderr, text=True, **options
        )
        if done.returncode:
            stop(f"{why or 'this did not succeed'}: {words} (status {done.returncode}); what is said above tells why.")
        return done.stdout or ""

    def system(self, *command: str | Path, why: str = "") -> None:
        """A command to the machine itself, such as systemctl."""
        if not self.staged:
            self.run(*command, why=why)

    def folder(self, path: Path, mode: int = 0o755, owner: str = "root") -> None:
        if self.dry:
            if not path.is_dir():
                print(f"+ install -d -m {mode:04o} -o {owner} {path}")
            return
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        self._give(path, owner)

    def write(self, path: Path, text: str, mode: int = 0o644, group: str = "root") -> bool:
        """A file of root's, whole or not at all; whether it is another one now."""
        if path.is_file() and path.read_text("utf-8") == text:
            return False
        if self.dry:
            print(f"+ write {path} ({mode:04o}, root:{group}):")
            print("".join(f"    | {line}\n" for line in text.splitlines()), end="")
            return True
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as f:
            f.write(text)
            os.fchmod(f.fileno(), mode)
        self._give(part, "root", group)
        part.replace(path)
        return True

    def replace(self, source: Path, target: Path) -> None:
        """A copy of a file or folder in the place of `target`, whole or not at all."""
        if self.dry:
            print(f"+ copy {source} to {target}")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        new, old = (target.with_name(f".{target.name}.{word}") for word in ("new", "old"))
        self._drop(new)
        self._drop(old)
        if source.is_dir():
            shutil.copytree(source, new, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, new)
        for path in (new, *new.rglob("*")):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            self._give(path, "root")
        if target.exists():
            target.rename(old)
        new.rename(target)
        self._drop(old)

    def remove(self, path: Path) -> None:
        if path.exists() or path.is_symlink():
            if self.dry:
                print(f"+ rm -r {path}")
            else:
                self._drop(path)

    @staticmethod
    def _drop(path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _give(self, path: Path, owner: str, group: str = "") -> None:
        if not self.staged:
            shutil.chown(path, owner, group or owner)
