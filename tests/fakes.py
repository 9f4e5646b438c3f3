"""Tiny real classes that stand in for what a test wants to have in its hand."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from assistant.errors import ModelError
from assistant.messages import Rewrite


class ScriptedRewriter:
    """A `Rewriter` that knows its answers: text (any case) -> lines. What it does not know is `/other`."""

    name = "scripted"

    def __init__(self, answers: Mapping[str, str] | None = None, confidence: float = 0.99) -> None:
        self.answers = {k.lower(): v for k, v in (answers or {}).items()}
        self.confidence = confidence
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
        return Rewrite(self.answers.get(text.lower(), "/other"), self.name, self.confidence, 0.1)


class StandingClock:
    """A `Clock` that stands where it is told."""

    def __init__(self, at: datetime) -> None:
        self.at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self.at

    def pass_by(self, **span: float) -> None:
        self.at += timedelta(**span)
