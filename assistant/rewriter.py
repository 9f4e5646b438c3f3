"""What every rewriter does, wherever its model runs."""

from types import TracebackType
from typing import Protocol, Self

from assistant.messages import Rewrite


class Rewriter(Protocol):
    """Turns a request into lines `task | when`. An async context manager: entering loads, leaving frees.

    `rewrite` takes a text that `words.normalise` has passed and raises `ModelError`, or `Busy` when too many wait.
    """

    name: str

    async def rewrite(self, text: str) -> Rewrite: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
