"""Asks, checks, and puts what holds into the data, until nothing is missing or the budget has no room."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from training.checks import Seen
from training.coverage import Coverage, Want, cell
from training.examples import SCHEMA, prompt, sift
from training.gold import read
from training.journal import Call, Journal
from training.labelled import append_lines, as_line, read_labelled
from training.openrouter import CallFailed, Model, OpenRouter, back_off
from training.review import Doubt, read_doubts

TRIES = 6
"""So often a call is tried, if trying makes sense."""


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Waits, but not beyond `stop`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


@dataclass(slots=True)
class Tally:
    """What a run has brought."""

    received: int = 0
    kept: int = 0
    doubted: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Generator:
    """Asks for what is missing until it is there, the budget is spent, or `stop` is set."""

    def __init__(
        self, client: OpenRouter, model: Model, source: Callable[[str], str], journal: Journal,
        out: Path, review: Path, apart: Path, *, total: int, per_call: int, random: Random, beside: Sequence[Path] = (),
        changed: Callable[["Generator"], None] = lambda _: None,
        pause: Callable[[float, asyncio.Event], Awaitable[None]] = pause,
    ) -> None:  # fmt: skip
        """`source` makes a `Labelled.source` of a model's name; `apart` are gold rows that nothing may be like; rows of
        `beside` count as there.

        Raises ValueError or OSError for files that cannot be read, `BadGold` for the last.
        """
        self.client, self.model, self.source, self.journal = client, model, source, journal
        self.out, self.review, self.per_call, self.random = out, review, per_call, random
        self.rows = [row for path in (*beside, out) for row in read_labelled(path)]
        self.coverage = Coverage(self.rows, total)
        self.seen = Seen([*self.rows, *(d.row for d in read_doubts(review))])
        for row in read(apart) if apart.exists() else ():
            self.seen.add(row.text)
        self.tally, self.problem, self.out_of_budget = Tally(), None, False
        self.stop = asyncio.Event()
        self._changed, self._pause = changed, pause
        self._max_tokens = 2000 + 150 * per_call  # with room to reason

    async def run(self, concurrency: int, recheck: bool = False) -> None:
        """So many calls at a time. `recheck` looks again at answers that were used already.

        Raises `BadJournal`, or OSError for the other files.
        """
        self._use_all(recheck)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(self._work())
        except ExceptionGroup as e:
            raise e.exceptions[0] from None
        finally:
            self._use_all()  # what has come of calls that were cut off

    def _use_all(self, recheck: bool = False) -> None:
        again = [c for c in self.journal.calls.values() if c.state == "used"] if recheck else []
        for call in [*again, *self.journal.unused()]:
            self._use(call)

    async def _work(self) -> None:
        while not self.stop.is_set() and not self.coverage.done:
            if not (want := self.coverage.next(self.per_call, self.random)):
                return
            kept = None
            try:
                call = await self._call(want)
                kept = self._use(call) if call else None
            finally:
                self.coverage.settle(want, kept)
            if call is None:
                return

    async def _call(self, want: Want) -> Call | None:
        """A call that was answered; None if there is no room for it, or it must not be tried (again)."""
        text = prompt(want, [row for row in self.rows if cell(row) == want.cell], self.random)
        dearest = self.model.dearest(text, SCHEMA, self._max_tokens)
        for failures in range(1, TRIES + 1):
            call = self.journal.reserve(want, self.source(self.model.name), dearest)
            if call is None:
                self.out_of_budget = True
                return None
            self._changed(self)
            try:
                heard = partial(self.journal.part, call)
                got = await self.client.ask(self.model, text, SCHEMA, self._max_tokens, heard)
            except CallFailed as e:
                if e.unbilled:
                    self.journal.failed(call, str(e))
                if not e.passing or failures == TRIES:
                    self.problem = self.problem or e
                    self.stop.set()
                    return None
                await self._pause(back_off(failures, e, self.random), self.stop)
                if self.stop.is_set():
                    return None
            else:
                self.journal.answered(call, got.text, self.source(got.model), got.cost, got.tokens, got.whole)
                return call
        return None

    def _use(self, call: Call) -> int:
        """Takes what is good of an answer into the data; how many examples that is."""
        got = sift(call.text, call.want, call.source, self.seen)
        if got.kept:
            append_lines(self.out, map(as_line, got.kept))
        if got.doubted:
            append_lines(self.review, (Doubt(row, why).line for row, why in got.doubted))
        if call.state != "used":
            self.journal.used(call)
        for row in got.kept:
            self.rows.append(row)
            self.coverage.add(row)
        self.tally.received += got.received
        self.tally.kept += len(got.kept)
        self.tally.doubted += len(got.doubted)
        self.tally.refused += got.refused
        self._changed(self)
        return len(got.kept)


def report(g: Generator) -> dict:
    """What there is to say at the end, ready for JSON."""
    ended = g.problem.code if g.problem else "done" if g.coverage.done else "stopped" if g.stop.is_set() else "short"
    return {
        "ended": "budget" if ended == "short" and g.out_of_budget else ended,
        "model": g.model.name,
        "rows": g.coverage.cells.total(),
        "total": g.coverage.total,
        "calls": g.journal.counted,
        "dollars": round(g.journal.charged, 6),
        **asdict(g.tally),
        "given_up": [" ".join(c) for c in g.coverage.given_up],
    }
