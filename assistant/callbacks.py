"""What the buttons of a notification may do: a random token each, kept as its SHA-256, good once, for one action on one
occurrence of one reminder, for two days. When one of an occurrence was used, the others are void.

A fast hash is right here, as in `keys.py`: of 256 random bits nobody finds the right ones.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, get_args

from assistant.database import Database, to_instant, to_text
from assistant.errors import NotFound

Action = Literal["done", "snooze", "tomorrow"]
ACTIONS: tuple[Action, ...] = get_args(Action)
TOKEN_BYTES = 32
"""Random bytes of a token."""
GOOD_FOR = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Callback:
    """What a token stands for."""

    reminder_id: int
    due: datetime
    """Aware UTC: the occurrence that the notification told of."""
    action: Action


class Callbacks:
    """The tokens in an open database; `random` makes one of so many bytes."""

    def __init__(self, db: Database, random: Callable[[int], str] = secrets.token_urlsafe) -> None:
        self.db, self._random = db, random

    def issue(self, reminder_id: int, due: datetime, now: datetime) -> dict[Action, str]:
        """A token for each action; what has expired is forgotten. Raises `StoreError`."""
        tokens = {action: self._random(TOKEN_BYTES) for action in ACTIONS}
        with self.db.transaction():
            self.db.execute("DELETE FROM callbacks WHERE expires_at <= ?", (to_text(now),))
            for action, token in tokens.items():
                self.db.execute(
                    "INSERT INTO callbacks (sha256, reminder_id, due_utc, action, expires_at) VALUES (?, ?, ?, ?, ?)",
                    (_hash(token), reminder_id, to_text(due), action, to_text(max(now, due) + GOOD_FOR)),
                )
        return tokens

    def take(self, token: str, now: datetime) -> Callback:
        """What a token stands for, which is void from then on, as are the others of its occurrence.

        Raises `NotFound`, also where the occurrence was dealt with in another way, or a later one of its reminder has
        rung since: nobody who acknowledges yesterday's pills means today's.
        """
        with self.db.transaction():
            row = self.db.one("SELECT * FROM callbacks WHERE sha256 = ? AND expires_at > ?",
                              (_hash(token), to_text(now)))
            if row is None:
                raise NotFound("This button was used before, or is too old: tell the assistant itself.")
            of_it = (row["reminder_id"], row["due_utc"])
            self.db.execute("DELETE FROM callbacks WHERE reminder_id = ? AND due_utc = ?", of_it)
            state = self.db.value("SELECT state FROM deliveries WHERE reminder_id = ? AND due_utc = ?", of_it)
            ahead = self.db.value("SELECT 1 FROM reminders WHERE id = ? AND due = ?", of_it)  # rung, not yet fired here
            if state not in ("ringing", "missed") and not ahead:
                raise NotFound("This reminder was dealt with in another way: `assistant list` shows what is set.")
            if self.db.value("SELECT 1 FROM deliveries d JOIN reminders r ON r.id = d.reminder_id WHERE r.id = ?"
                             " AND d.due_utc > ? AND r.rrule IS NOT NULL", of_it):
                raise NotFound("This reminder has rung again since: use the button of the last notification.")
        return Callback(row["reminder_id"], to_instant(row["due_utc"]), row["action"])


def _hash(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()
