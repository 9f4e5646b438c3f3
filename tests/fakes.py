"""Tiny real classes that stand in for what a test wants to have in its hand."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from assistant.errors import DeliveryError, ModelError
from assistant.messages import Rewrite
from assistant.notifiers import Notice


class ScriptedRewriter:
    """A `Rewriter` that knows its answers: text (any case) -> lines. What it does not know is `/other`."""

    name = "scripted"

    def __init__(self, answers: Mapping[str, str] | None = None, confidence: float = 0.99) -> None:
        self.answers = {k.lower(): v for k, v in (answers or {}).items()}
        self.confidence = confidence
        self.sure: dict[str, float] = {}
        """Texts of which it has another confidence."""
        self.heard: list[str] = []
        self.broken: ModelError | None = None

    async def __aenter__(self) -> "ScriptedRewriter":
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def rewrite(self, text: str) -> Rewrite:
        self.heard.append(text)
        if self.broken:
            raise self.broken
        return Rewrite(self.answers.get(text.lower(), "/other"), self.name, self.sure.get(text, self.confidence), 0.1)


class StandingClock:
    """A `Clock` that stands where it is told."""

    def __init__(self, at: datetime) -> None:
        self.at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self.at

    def pass_by(self, **span: float) -> None:
        self.at += timedelta(**span)


class Ear:
    """A notifier that hears what is rung; while `deaf` it fails, while `hung` it never answers."""

    def __init__(self, name: str = "ear", deaf: bool = False, hung: bool = False) -> None:
        self.name, self.deaf, self.hung = name, deaf, hung
        self.calls: asyncio.Queue[Notice] = asyncio.Queue()

    async def notify(self, notice: Notice) -> None:
        self.calls.put_nowait(notice)
        if self.hung:
            await asyncio.Event().wait()
        if self.deaf:
            raise DeliveryError("It is deaf.")

    def problem(self) -> str | None:
        return None

    async def heard(self) -> Notice:
        """The next notice, waited for."""
        async with asyncio.timeout(10):
            return await self.calls.get()


class Ticks:
    """A `sleep` that ends when the test says so."""

    def __init__(self) -> None:
        self._asleep: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        self._spans: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        tick = asyncio.Event()
        self._spans.put_nowait(seconds)
        self._asleep.put_nowait(tick)
        await tick.wait()

    async def tick_on(self) -> float:
        """Wake whoever sleeps, or will; the seconds that it wanted to."""
        async with asyncio.timeout(10):
            seconds = await self._spans.get()
            (await self._asleep.get()).set()
        return seconds

    async def tick(self) -> None:
        """Wake whoever sleeps, and wait until it sleeps again."""
        async with asyncio.timeout(10):
            (await self._asleep.get()).set()
            again = await self._asleep.get()
        self._asleep.put_nowait(again)
