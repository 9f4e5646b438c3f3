"""Small files that several processes read and change: one change at a time, and whole or not at all."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One change at a time, of all processes; the system lets go of the lock when a process ends. Makes the folder.

    Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace the file at once, on the disk when this returns. Raises OSError.

    What root writes belongs to who has the file, or its folder, already: `sudo assistant keys add` is for a service
    that is not root.
    """
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
        if os.geteuid() == 0:
            owner = (path if path.exists() else path.parent).stat()
            os.chown(f.fileno(), owner.st_uid, owner.st_gid)
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
