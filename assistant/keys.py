"""The keys of the model service: who may ask it, in one JSON file that `assistant keys` writes.

    {"keys": [{"name", "sha256", "made_at", "hint"}, ...]}

A key is shown once, when it is made; the file keeps its SHA-256. A fast hash is right here: slow ones (bcrypt, Argon2)
make up for passwords that people think of, and of 256 random bits nobody finds the right ones, however fast the hash.

A name has one key, or two while it is rotated: `add NAME --rotate` makes the new one beside the old one, which goes on
being let in until `remove NAME --old`, so that there is no instant at which neither is.
"""

import hmac
import json
import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC
from hashlib import sha256
from pathlib import Path

from assistant.clock import Clock, SystemClock
from assistant.errors import BadRequest, ConfigError, NotFound
from assistant.whole_file import locked, write_whole

log = logging.getLogger(__name__)

PREFIX = "ra_"
"""Every key begins with it, so that one which leaks into a log or a repository is recognised."""
KEY_BYTES = 32
"""Random bytes of a key."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key."""

    name: str
    """Whose it is; shown in the log and the metrics."""
    sha256: str
    """Of the whole key, in hexadecimal."""
    made_at: str
    """ISO 8601, UTC."""
    hint: str
    """The last four characters of the key, to tell two of them apart."""


class Keys:
    """The keys that a running service knows. The file is read again whenever it was replaced.

    Raises `ConfigError` at the start if the file makes no sense. While the service runs that is told to the log, once,
    and the keys that were good last go on: a slip of the pen locks nobody out and lets nobody in.
    """

    def __init__(self, file: "KeyFile") -> None:
        self._file = file
        self._stamp = file.stamp()
        self._keys = file.read()
        self.wanted = bool(self._keys)
        """Whether a key is asked for. True for good as soon as there was one: to take the last key away must not open
        the service to everybody."""

    @classmethod
    def open(cls, path: Path) -> "Keys":
        return cls(KeyFile(path))

    def __len__(self) -> int:
        return len(self._keys)

    def refresh(self) -> None:
        """Read the file again if it is another one by now; one call of the operating system if not."""
        if (stamp := self._file.stamp()) == self._stamp:
            return
        self._stamp = stamp
        try:
            if stamp is None:
                raise ConfigError(f"The file of keys {self._file.path} is gone: restore it, or make new keys.")
            self._keys = self._file.read()
        except ConfigError as e:
            log.error("the keys of before stay in force: %s", e)
            return
        self.wanted = self.wanted or bool(self._keys)
        log.info("the keys were read again", extra={"keys": len(self._keys)})

    def who(self, key: str) -> str | None:
        """The name that a key belongs to, None if it is not known.

        How long that takes does not depend on how much of a key is right, nor on whose it is.
        """
        hashed = _hash(key)
        name = None
        for known in self._keys:
            if hmac.compare_digest(hashed, known.sha256):
                name = known.name
        return name


class KeyFile:
    """The file itself, and how it changes: whole or not at all, one change at a time of all processes."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path, self._clock = path, clock or SystemClock()

    def stamp(self) -> tuple[int, int, int] | None:
        """Changes whenever the file is replaced or written; None if there is none."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError:
            return 0, 0, 0  # `read` says what is wrong
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def read(self) -> tuple[Key, ...]:
        """All keys, none if there is no file. Raises `ConfigError`."""
        try:
            found = json.loads(self.path.read_text("utf-8"))
            keys = tuple(Key(**key) for key in found["keys"])
        except FileNotFoundError:
            return ()
        except OSError as e:
            raise ConfigError(
                f"The file of keys {self.path} cannot be read ({_reason(e)}): let this user read it, "
                "or set [serve] keys to another."
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._no_sense() from None
        for key in keys:
            if not all(isinstance(value, str) for value in asdict(key).values()):
                raise self._no_sense()
            if not _NAME.fullmatch(key.name) or not re.fullmatch(r"[0-9a-f]{64}", key.sha256):
                raise self._no_sense()
        return keys

    def _no_sense(self) -> ConfigError:
        return ConfigError(
            f"The file of keys {self.path} makes no sense: put a copy in its place, "
            "or move it away and make new keys with `assistant keys add NAME`."
        )

    def add(self, name: str, rotate: bool = False) -> tuple[str, Key]:
        """A new key for `name`: the key, which is known to nobody afterwards, and what is kept of it.

        `rotate` is for a name that has a key already, which it keeps until `remove(name, old=True)`. Raises
        `BadRequest` for what is no name or has a key without `rotate`, `NotFound` for `rotate` without a key,
        `ConfigError`.
        """
        if not _NAME.fullmatch(name):
            raise BadRequest(
                f"{name[:60]!r} cannot name a key: use 1 to 40 letters, digits, dots, dashes and underscores."
            )
        with self._faults(), locked(self.path):
            keys = self.read()
            has = sum(key.name == name for key in keys)
            if has and not rotate:
                raise BadRequest(f"{name} has a key: give --rotate for a second one, which lets both in for a while.")
            if rotate and not has:
                raise NotFound(f"{name} has no key yet: make one without --rotate.")
            if has > 1:
                raise BadRequest(f"{name} has two keys: `assistant keys remove {name} --old` first.")
            key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
            made_at = self._clock.now().astimezone(UTC).isoformat(timespec="seconds")
            kept = Key(name, _hash(key), made_at, key[-4:])
            self._write((*keys, kept))
            return key, kept

    def remove(self, name: str, old: bool = False) -> tuple[Key, ...]:
        """Takes away all keys of `name`, or all but its newest; those that are gone. Raises `NotFound`."""
        with self._faults(), locked(self.path):
            keys = self.read()
            gone = tuple(key for key in keys if key.name == name)
            if not gone:
                raise NotFound(f"There is no key of the name {name[:60]}: `assistant keys list` shows what there is.")
            if old:
                gone = gone[:-1]  # the newest stands last
                if not gone:
                    raise NotFound(f"{name} has only one key: there is no old one to remove.")
            self._write(tuple(key for key in keys if key not in gone))
            return gone

    def _write(self, keys: tuple[Key, ...]) -> None:
        write_whole(self.path, json.dumps({"keys": [asdict(key) for key in keys]}, indent=2) + "\n", 0o600)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise ConfigError(
                f"The file of keys {self.path} cannot be written ({_reason(e)}): make its folder writable, "
                "or set [serve] keys to another file."
            ) from None


def _hash(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _reason(e: OSError) -> str:
    return (e.strerror or str(e)).lower()
