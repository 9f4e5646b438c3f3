"""What time it is, as an argument: everything that needs the time is handed a clock."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Something that knows the time."""

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        ...


class SystemClock:
    """The wall clock of the machine: it jumps forth when a laptop wakes, and may be set back."""

    def now(self) -> datetime:
        return datetime.now(UTC)
