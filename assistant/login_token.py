"""The login token: by it who comes from another machine is known to be the owner. Made once, in the data folder.

The file is the owner's alone (0600), as the database beside it is, and holds the token itself: it is shown again for
every new device. A new one ends every login that was made with the one before.
"""

import hmac
import logging
import secrets
from hashlib import sha256
from pathlib import Path

from assistant.errors import ConfigError
from assistant.whole_file import locked, write_whole

log = logging.getLogger(__name__)

FILE = "login-token"
TOKEN_BYTES = 32
"""Random bytes of a token, of which nobody guesses one."""


class LoginToken:
    """The token in a data folder. The file is read again whenever it was replaced."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE
        self._stamp: tuple[int, int] | None = None
        self._known = ""

    def read(self) -> str | None:
        """The token, None if none has been made. Raises `ConfigError`."""
        try:
            return self.path.read_text("ascii").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as e:
            raise self._fault(e) from None

    def make(self, new: bool = False) -> str:
        """The token, which is made if there is none, or if there is to be a `new` one. Raises `ConfigError`."""
        try:
            with locked(self.path):
                token = None if new else self.read()
                if token is None:
                    token = secrets.token_urlsafe(TOKEN_BYTES)
                    write_whole(self.path, token + "\n", 0o600)
                self._known = token
                return token
        except OSError as e:
            raise self._fault(e) from None

    def is_right(self, sent: str) -> bool:
        """Whether that is the token; how long that takes does not depend on how much of it is right."""
        known = self._current()
        return bool(known) and hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), known.encode())

    def sign(self, text: str) -> str:
        """What only who knows the token can have made of a text: HMAC-SHA256 (RFC 2104) in hexadecimal."""
        return hmac.new(self._current().encode(), text.encode(), sha256).hexdigest()

    def _current(self) -> str:
        """The token in force; of a file that was lost or broken meanwhile the one before."""
        try:
            stat = self.path.stat()
            if (stamp := (stat.st_ino, stat.st_mtime_ns)) != self._stamp:
                self._known, self._stamp = self.read() or self._known, stamp
        except (OSError, ConfigError) as e:
            if self._stamp:
                log.error("the login token of before stays in force: %s", e)
            self._stamp = None
        return self._known

    def _fault(self, e: Exception) -> ConfigError:
        return ConfigError(f"The file {self.path} cannot be read or made ({e}): make its folder writable, or move the "
                           "file away to get a new token.")
