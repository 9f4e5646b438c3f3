"""One thing is said at a time: the queue before the assistant's mouth.

Reminders come before replies, in the order in which they came. When too many replies wait, the oldest is dropped; a
reminder never is. `stop` cuts short what is being said and drops the replies that wait; `muted` lets nothing be said.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from assistant.aloud import shorten
from assistant.errors import SpeakerError

MOST_WAITING = 5
"""Replies; who has asked five more things does not wait for the answer to the first."""
MOST_CHARACTERS = 1000
"""Said at once: a good minute."""
START_SECONDS, CHARACTERS_A_SECOND = 15.0, 5.0
"""A voice that needs longer to begin, or speaks more slowly, hangs. Usual are 15 characters a second."""


class Engine(Protocol):
    """What turns text into sound."""

    name: str

    async def speak(self, text: str) -> None:
        """Say one line of text; returns when it has been spoken, and is silent at once when cancelled.

        Raises `SpeakerError`.
        """
        ...

    def problem(self) -> str | None:
        """Why it cannot speak here and what to do about it; None when nothing is known against it."""
        ...


class Speaker(Protocol):
    """The assistant's mouth, an async context manager."""

    name: str
    muted: bool
    """Whether nothing is said; setting it ends what is being said."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def say(self, text: str, first: bool = False) -> bool:
        """Say `text` in its turn, before all replies if it is `first`; False if it was not said to its end, because
        it was stopped, dropped or muted. Raises `SpeakerError`."""
        ...

    def stop(self) -> None:
        """Be silent at once."""
        ...

    def problem(self) -> str | None:
        """As of an engine."""
        ...


@dataclass(slots=True, eq=False)
class _Turn:
    """Someone who wants to say something."""

    first: bool
    comes: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """True when it is its turn, False if it is dropped."""
    speaking: asyncio.Timeout | None = None
    stopped: bool = False


def seconds_for(text: str) -> float:
    """How long a text may take."""
    return START_SECONDS + len(text) / CHARACTERS_A_SECOND


class Voice:
    """A `Speaker` over an engine. Whoever leaves it waits until it is silent."""

    def __init__(self, engine: Engine, limit: Callable[[str], float] = seconds_for) -> None:
        self.name = engine.name
        self._engine, self._limit = engine, limit
        self._muted = False
        self._turn: _Turn | None = None
        self._waiting: list[_Turn] = []
        self._silent = asyncio.Event()
        self._silent.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for turn in [*self._waiting]:
            self._drop(turn)
        self.stop()
        await self._silent.wait()

    @property
    def speaking(self) -> bool:
        """Whether something is being said."""
        return self._turn is not None

    @property
    def muted(self) -> bool:
        return self._muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._muted = muted
        if muted:
            self.stop()

    def problem(self) -> str | None:
        return self._engine.problem()

    async def say(self, text: str, first: bool = False) -> bool:
        text = shorten(text, MOST_CHARACTERS)
        if self._muted or not text.strip():
            return False
        turn = _Turn(first)
        if not await self._comes(turn):
            return False
        try:
            return not self._muted and not turn.stopped and await self._speak(turn, text)
        finally:
            self._next()

    def stop(self) -> None:
        for turn in [t for t in self._waiting if not t.first]:
            self._drop(turn)
        turn = self._turn
        if turn is None or turn.stopped:
            return
        if turn.speaking is None:
            turn.stopped = not turn.first  # a reminder that has not begun is still to be heard
        elif not turn.speaking.expired():
            turn.stopped = True
            turn.speaking.reschedule(asyncio.get_running_loop().time())

    async def _speak(self, turn: _Turn, text: str) -> bool:
        seconds = self._limit(text)
        try:
            async with asyncio.timeout(seconds) as turn.speaking:
                await self._engine.speak(text)
        except TimeoutError as e:
            if turn.stopped:
                return False
            if not turn.speaking.expired():
                raise
            raise SpeakerError(
                f"{self.name} was not done after {seconds:g} seconds: see whether the sound card is there and free."
            ) from e
        return True

    async def _comes(self, turn: _Turn) -> bool:
        """Wait for the turn; False if it is dropped."""
        if self._turn is None:
            self._turn = turn
            self._silent.clear()
            return True
        self._waiting.append(turn)
        replies = [t for t in self._waiting if not t.first]
        if len(replies) > MOST_WAITING:
            self._drop(replies[0])
        try:
            return await turn.comes
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif self._turn is turn:  # it had just come
                self._next()
            raise

    def _next(self) -> None:
        """Let the next one speak."""
        self._waiting = [t for t in self._waiting if not t.comes.done()]  # of those whose caller is gone
        self._turn = next((t for t in self._waiting if t.first), next(iter(self._waiting), None))
        if self._turn:
            self._waiting.remove(self._turn)
            self._turn.comes.set_result(True)
        else:
            self._silent.set()

    def _drop(self, turn: _Turn) -> None:
        self._waiting.remove(turn)
        if not turn.comes.done():
            turn.comes.set_result(False)
