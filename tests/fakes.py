"""Tiny real parts for tests that are about something else."""

from assistant.messages import Rewrite


class ScriptedRewriter:
    """A `Rewriter` that knows a few requests by heart; anything else is `/other`."""

    name = "scripted"

    def __init__(self, lines: dict[str, str], confidence: float = 1.0) -> None:
        self.lines, self.confidence = lines, confidence

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def rewrite(self, text: str) -> Rewrite:
        return Rewrite(self.lines.get(text, "/other"), self.name, self.confidence, 0.1)
