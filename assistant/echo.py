"""When the assistant itself spoke: what the microphone heard then, and a moment later, is its own voice.

Half-duplex: whoever has it speak, a reply or a reminder, is not heard over it. What is heard may be looked at late, so
what counts is when a block was heard, and not when it is asked about.
"""

from collections import deque
from datetime import datetime, timedelta

from assistant.clock import Clock
from assistant.endpointing import LENGTH
from assistant.voice import Engine

ECHO = timedelta(seconds=0.3)
"""For so long after the assistant has spoken the microphone may still hear it."""
KEPT = timedelta(minutes=1)
"""So long it is remembered when it spoke; a block waits ten seconds or so at the most."""


class Echo:
    """An `Engine` that remembers when it spoke."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._since: datetime | None = None
        self._spoke: deque[tuple[datetime, datetime]] = deque()
        """From when until when, the oldest first."""

    @property
    def name(self) -> str:
        return self._engine.name

    def problem(self) -> str | None:
        return self._engine.problem()

    async def speak(self, text: str) -> None:
        self._since = began = self._clock.now()
        try:
            await self._engine.speak(text)
        finally:
            self._since, now = None, self._clock.now()
            self._spoke.append((began, now + ECHO))
            self._forget(now)

    def covers(self, at: datetime) -> bool:
        """Whether it may be heard in a block of that instant."""
        self._forget(at)
        if self._since and at + LENGTH > self._since:
            return True
        return any(began - LENGTH < at < ended for began, ended in self._spoke)

    def _forget(self, at: datetime) -> None:
        """What is too old to be asked about."""
        while self._spoke and at - self._spoke[0][1] > KEPT:
            self._spoke.popleft()
