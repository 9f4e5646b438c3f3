"""What the labelled requests cover, what is missing, and what to ask for next.

    python -m training.coverage data/task_dataset.jsonl

A *cell* is a kind of request and, for reminders to set, the family of their time; `SHARES` says how much of the data
belongs into each. Inside a cell, domains and styles are to be spread evenly.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from training.labelled import Labelled, read_labelled

DOMAINS = (
    "home", "shopping", "health", "family", "work", "study", "money", "travel", "pets and garden", "cooking",
    "sport and hobbies", "car and repairs", "events", "paperwork", "self care",
)  # fmt: skip
STYLES = {
    "command": "an order to an assistant, nothing else: 'remind me to ...', 'set an alarm for ...'",
    "hint": "the wish is only hinted at: 'I really must not forget ...', 'the bins go out on ...'",
    "question": "put as a question: 'could you ...?', 'can I get a reminder ...?', 'what have I got ...?'",
    "telegram": "as few words as possible, no verbs of asking: 'dentist fri 3pm', 'bins thursday 7'",
    "hesitant": "spoken with um, uh, like, pauses, and a slip that is put right: 'at 5, no wait, 6'",
    "dictated": "speech recognised by a machine: all small letters, no punctuation, numbers in words or digits",
    "typed": "typed in haste on a phone: short forms, missing letters, no apostrophes, but names and numbers right",
    "polite": "full polite sentences: 'would you be so kind as to ...', 'please', 'thank you'",
    "regional": "words of Britain, Ireland, Scotland, India, Australia, the US: 'half five', 'arvo', 'fortnight'",
    "learner": "somebody whose first language is not English: word order, articles and tenses a little off",
}
"""Name -> what it is, as a prompt says it."""

Cell = tuple[str, str]
"""Kind and family; the family is "none" for all but `create`."""
_CREATE = {
    "recurrence": 20, "several reminders": 12, "offset": 12, "clock time in digits": 20, "clock time in words": 16,
    "daypart": 10, "day only": 10,
}  # fmt: skip
_OTHERS = {"needs_time": 15, "list": 10, "cancel": 9, "move": 5, "snooze": 4, "done": 3, "other": 4}
SHARES: dict[Cell, float] = {("create", family): percent / 200 for family, percent in _CREATE.items()} | {
    (kind, "none"): percent / 100 for kind, percent in _OTHERS.items()
}
"""How much of the whole each cell is to have; together 1."""
GIVE_UP = 40
"""After so many examples in a row that were asked for and not one kept, a cell is no longer asked for."""


@dataclass(frozen=True, slots=True)
class Want:
    """What one call asks for."""

    kind: str
    family: str
    """One of `labelled.FAMILIES`; "none" for all kinds but `create`."""
    domain: str
    style: str
    count: int

    @property
    def cell(self) -> Cell:
        return self.kind, self.family


def cell(row: Labelled) -> Cell:
    """Where a row that passes `checks.check` belongs."""
    return row.kind, row.family if row.kind == "create" else "none"


def targets(total: int) -> dict[Cell, int]:
    """How many of `total` examples belong into each cell: whole numbers that add up, by the largest remainders."""
    exact = {c: share * total for c, share in SHARES.items()}
    whole = {c: int(x) for c, x in exact.items()}
    for c in sorted(SHARES, key=lambda c: whole[c] - exact[c])[: total - sum(whole.values())]:
        whole[c] += 1
    return whole


class Coverage:
    """How many examples there are of everything, and how many were asked for and are still to come."""

    def __init__(self, rows: Iterable[Labelled], total: int) -> None:
        self.total, self.targets = total, targets(total)
        self.cells: Counter[Cell] = Counter()
        self.domains: Counter[str] = Counter()
        self.styles: Counter[str] = Counter()
        self._inside: Counter[tuple[Cell, str]] = Counter()
        """By cell and domain or style, those to come included; and so are the next two."""
        self._spread: Counter[str] = Counter()
        self._coming: Counter[Cell] = Counter()
        self._barren: Counter[Cell] = Counter()
        for row in rows:
            self.add(row)

    def add(self, row: Labelled) -> None:
        self.cells[cell(row)] += 1
        self.domains[row.domain] += 1
        self.styles[row.style] += 1
        self._weigh(cell(row), row.domain, row.style, 1)

    def _weigh(self, where: Cell, domain: str, style: str, count: int) -> None:
        for name in (domain, style):
            self._inside[where, name] += count
            self._spread[name] += count

    @property
    def missing(self) -> dict[Cell, int]:
        """How many each cell lacks, those to come taken as there."""
        return {c: max(0, n - self.cells[c] - self._coming[c]) for c, n in self.targets.items()}

    @property
    def done(self) -> bool:
        return self.cells.total() >= self.total

    @property
    def given_up(self) -> list[Cell]:
        """Cells for which nothing that was kept has come for long."""
        return [c for c in SHARES if self._barren[c] >= GIVE_UP]

    def next(self, most: int, random: Random) -> Want | None:
        """What to ask for now, at most `most` examples, in the cell that lacks the largest part of its share.

        They count as coming until `settle` is told. None if nothing (more) is missing.
        """
        room = self.total - self.cells.total() - self._coming.total()
        lacking = {c: n for c, n in self.missing.items() if n and self._barren[c] < GIVE_UP}
        if room <= 0 or not lacking:
            return None
        where = max(lacking, key=lambda c: (lacking[c] / self.targets[c], random.random()))

        def rarest(names: Iterable[str]) -> str:
            return min(names, key=lambda n: (self._inside[where, n], self._spread[n], random.random()))

        want = Want(*where, rarest(DOMAINS), rarest(STYLES), min(most, lacking[where], room))
        self._coming[where] += want.count
        self._weigh(where, want.domain, want.style, want.count)
        return want

    def settle(self, want: Want, kept: int | None) -> None:
        """A call that `next` gave has ended; what it brought is told by `add`. `kept` is None where nothing came."""
        self._coming[want.cell] -= want.count
        self._weigh(want.cell, want.domain, want.style, -want.count)
        if kept is not None:
            self._barren[want.cell] = 0 if kept else self._barren[want.cell] + want.count


def show(coverage: Coverage, console: Console) -> None:
    """The tables for a person."""

    def table(title: str, rows: Iterable[tuple[str, int, int]]) -> None:
        t = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for n, column in enumerate(("", "there", "wanted", "missing")):
            t.add_column(column, justify="right" if n else "left", no_wrap=True)
        for name, there, wanted in rows:
            t.add_row(name, str(there), str(wanted), str(max(0, wanted - there) or "-"))
        console.print(t)

    def named(c: Cell) -> str:
        return c[0] if c[1] == "none" else f"{c[0]}: {c[1]}"

    strange = [c for c in coverage.cells if c not in SHARES]
    table(
        f"{coverage.cells.total()} of {coverage.total} examples",
        [(named(c), coverage.cells[c], coverage.targets.get(c, 0)) for c in (*SHARES, *strange)],
    )
    for title, names, counts in (("Domain", DOMAINS, coverage.domains), ("Style", STYLES, coverage.styles)):
        others = sorted(n for n in counts if n not in names)
        even = -(-coverage.total // len(names))
        table(title, [(n or "(none)", counts[n], even if n in names else 0) for n in (*names, *others)])


def main() -> None:
    p = argparse.ArgumentParser(
        prog="python -m training.coverage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("file", type=Path, help="a file of labelled requests")
    p.add_argument("--total", type=int, default=1000, help="how many examples are wanted")
    o = p.parse_args()
    try:
        rows = read_labelled(o.file)
    except (OSError, ValueError) as e:
        print(f"coverage: {e}", file=sys.stderr)
        sys.exit(2)
    show(Coverage(rows, o.total), Console())


if __name__ == "__main__":
    main()
