"""What an engine is told before it listens: the person's own names, and what lies ahead of him.

Whisper takes it for the text so far and spells what it hears the same way.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

MOST_TASKS = 8
MOST_CHARACTERS = 200
"""Of the names, and of the tasks: what is told beforehand is read again for each utterance."""


@dataclass(frozen=True, slots=True)
class Hints:
    """`words` of the person's own, and `recent`, which gives the tasks of reminders of late, the latest first."""

    words: tuple[str, ...] = ()
    recent: Callable[[], Iterable[str]] = tuple

    @property
    def names(self) -> str:
        """`Zbigniew, Aunt Ingrid`; empty where there are none."""
        return _fitting(self.words, ", ")

    @property
    def tasks(self) -> str:
        """`call mum. take the bins out.`; empty where there are none."""
        distinct = [*dict.fromkeys(" ".join(task.split()) for task in self.recent() if task.strip())]
        tasks = _fitting(distinct[:MOST_TASKS], ". ")
        return f"{tasks}." if tasks else ""

    @property
    def prompt(self) -> str:
        """Both, for an engine that takes one text."""
        return " ".join(part for part in (f"{self.names}." if self.names else "", self.tasks) if part)


NO_HINTS = Hints()


def _fitting(parts: Iterable[str], between: str) -> str:
    """As many of the first parts as fit."""
    text = ""
    for part in parts:
        longer = f"{text}{between}{part}" if text else part
        if len(longer) > MOST_CHARACTERS:
            break
        text = longer
    return text
