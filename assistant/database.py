"""The SQLite file: opened by one process at a time, checked, migrated, and every fault of it in its own error.

A transaction that was committed is on the disk (WAL, `synchronous=FULL`); one that was not leaves no trace.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from logging import Logger
from pathlib import Path

import sqlite_utils

from assistant.errors import (
    AlreadyRunning,
    CorruptDatabase,
    DiskFault,
    DiskFull,
    LockedDatabase,
    ReadOnlyFolder,
    StoreError,
)
from assistant.migrations import migrate

SMALL = 4 * 2**20
"""Bytes up to which the whole file is checked when it is opened; that takes some milliseconds."""


def to_text(instant: datetime) -> str:
    """An aware instant as it is stored: UTC in a fixed width, so that text sorts as time does."""
    if instant.tzinfo is None:
        raise ValueError("an instant has a zone")
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def to_instant(text: str) -> datetime:
    """What `to_text` wrote, aware UTC."""
    return datetime.fromisoformat(text)


class Database:
    """An open SQLite file. Used on one thread; a transaction never spans an `await`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.sql = sqlite_utils.Database(connection, recursive_triggers=False, execute_plugins=False)
        connection.row_factory = sqlite3.Row

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing, in one commit. Inside another one it is a part of that."""
        connection = self.sql.conn
        with _faults(self.path):
            if connection.in_transaction:
                with self.sql.atomic():
                    yield
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has rolled back by itself
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    def execute(self, sql: str, parameters: Sequence | dict = ()) -> sqlite3.Cursor:
        with _faults(self.path):
            return self.sql.conn.execute(sql, parameters)

    def rows(self, sql: str, parameters: Sequence | dict = ()) -> list[sqlite3.Row]:
        with _faults(self.path):
            return self.sql.conn.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence | dict = ()) -> sqlite3.Row | None:
        with _faults(self.path):
            return self.sql.conn.execute(sql, parameters).fetchone()

    def value(self, sql: str, parameters: Sequence | dict = ()):
        """The first column of the first row, None where there is no row."""
        row = self.one(sql, parameters)
        return None if row is None else row[0]

    def check(self, whole: bool = True) -> None:
        """Raise `CorruptDatabase` for a damaged file; not `whole`: look at both ends of every table only."""
        if whole:
            said = self.value("PRAGMA quick_check(1)")
            if said != "ok":
                raise CorruptDatabase(self.path, said.splitlines()[-1])
        for table in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
            self.one(f'SELECT min(rowid), max(rowid) FROM "{table["name"]}"')


@contextmanager
def open_database(path: Path, busy_timeout: float = 2.0) -> Iterator[Database]:
    """Open or make the database, for this process alone, and bring it to the present version."""
    with _locked(path), _connected(path, str(path), busy_timeout) as db:
        with _faults(path):
            migrate(db.sql, path, dry=True)  # one from a newer program is not touched
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY",
                           "fullfsync=ON", "checkpoint_fullfsync=ON",  # macOS: down to the platter
                           "secure_delete=ON", "journal_size_limit=4194304"):
                db.sql.conn.execute(f"PRAGMA {pragma}").fetchall()
            db.check(whole=path.stat().st_size <= SMALL)
            with db.transaction():  # fails at once where nothing can be written
                migrate(db.sql, path)
        yield db


@dataclass(frozen=True, slots=True)
class Facts:
    """What `inspect` found."""

    version: int
    """Number of the last migration."""
    pending: int
    """Reminders that have an occurrence ahead."""
    size: int
    """Bytes."""


def inspect(path: Path) -> Facts | None:
    """Check the whole file without changing it, also while a daemon uses it; None if there is none."""
    if not path.exists():
        return None
    with _connected(path, path.absolute().as_uri() + "?mode=ro", 2.0, uri=True) as db:
        version = db.value("PRAGMA user_version")
        with _faults(path):
            migrate(db.sql, path, dry=True)
        db.check()
        pending = db.value("SELECT count(*) FROM reminders WHERE state = 'pending'") if version else 0
        return Facts(version, pending, path.stat().st_size)


@contextmanager
def _connected(path: Path, name: str, busy_timeout: float, uri: bool = False) -> Iterator[Database]:
    with _faults(path):
        connection = sqlite3.connect(name, timeout=busy_timeout, isolation_level=None, uri=uri)
    try:
        yield Database(path, connection)
    finally:
        connection.close()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file beside the database; the system lets go of it when the process ends, however it ends."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as e:
        raise _os_fault(path, e) from e
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # reminders are nobody else's business
        except BlockingIOError:
            raise AlreadyRunning(path, os.pread(lock, 20, 0).decode("ascii", "replace").strip()) from None
        except OSError as e:
            raise _os_fault(path, e) from e
        yield
    finally:
        os.close(lock)  # the file stays: removing it would let two processes lock two files of one name


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn what SQLite says of the file, the disk and the lock into our errors; a mistake in our SQL stays one."""
    try:
        yield
    except sqlite3.Error as e:
        fault = _fault(path, e)
        if fault is None:
            raise
        raise fault from e


def _os_fault(path: Path, e: OSError) -> StoreError:
    if e.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(path)
    if e.errno == errno.EIO:
        return DiskFault(path, e.strerror)
    return ReadOnlyFolder(path, (e.strerror or str(e)).lower())


def _fault(path: Path, e: sqlite3.Error) -> StoreError | None:
    exact = getattr(e, "sqlite_errorcode", sqlite3.SQLITE_OK)
    code = exact & 0xFF
    if code == sqlite3.SQLITE_FULL or exact == sqlite3.SQLITE_IOERR_SHMSIZE:
        return DiskFull(path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptDatabase(path, str(e))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return LockedDatabase(path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return ReadOnlyFolder(path, str(e))
    if code == sqlite3.SQLITE_IOERR:
        return DiskFault(path, str(e))
    return None


class Complaint:
    """Says a fault of the database once, not at every try, and once that it is over."""

    def __init__(self, log: Logger, doing: str) -> None:
        self._log, self._doing, self._said = log, doing, ""

    def say(self, fault: StoreError) -> None:
        if str(fault) != self._said:
            self._said = str(fault)
            self._log.error("cannot %s, trying again: %s", self._doing, fault)

    def over(self) -> None:
        if self._said:
            self._said = ""
            self._log.info("can %s again", self._doing)
