"""Takes requests that were put aside into the data, or throws them away, once a person has looked at them.

    python -m training.review                        # what there is, numbered
    python -m training.review --accept 1 4-7 --drop 2 3

What is nearly right is put right in the file itself before it is accepted. What is accepted must pass the checks; that
a person looked takes the place of a parser's second opinion. Exit status: 0 done; 1 something was not accepted and
stays where it is; 2 what was given cannot be read.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from training.checks import Rejected, Seen, check
from training.labelled import Labelled, append_lines, as_line, read_labelled, write_whole
from training.second_opinion import has_time

DATASET = Path("data/task_dataset.jsonl")
REVIEW = Path("data/review.jsonl")


@dataclass(frozen=True, slots=True)
class Doubt:
    """A labelled request that a person should look at."""

    row: Labelled
    why: str

    @property
    def line(self) -> str:
        return as_line(self.row, why=self.why)


def read_doubts(path: Path) -> list[Doubt]:
    """What was put aside. Raises ValueError with the line's number for what is no row, and OSError."""
    rows = read_labelled(path)
    lines = path.read_text("utf-8").split("\n") if rows else []
    whys = [str(json.loads(line).get("why", "")) for line in lines if line.strip()]
    return [Doubt(row, why) for row, why in zip(rows, whys)]


def numbers(given: Sequence[str], most: int) -> set[int]:
    """`["1", "4-7"]` as numbers from 1 to `most`. Raises ValueError."""
    out: set[int] = set()
    for part in given:
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()) or not 1 <= int(first) <= int(last or first) <= most:
            raise ValueError(f'"{part}" is no number of a row: they go from 1 to {most}.')
        out |= set(range(int(first), int(last or first) + 1))
    return out


def take(
    doubts: Sequence[Doubt], accept: set[int], there: Sequence[Labelled]
) -> tuple[dict[int, Labelled], dict[int, str]]:
    """By number, the rows of `accept` as they go into the data beside those that are `there`, and why others do not."""
    seen, taken, refused = Seen(there), {}, {}
    for n in sorted(accept):
        row = doubts[n - 1].row
        try:
            row = check(row)
            if twin := seen.like(row.input):
                raise Rejected("nearly the same as another", twin)
        except Rejected as e:
            refused[n] = str(e)
            continue
        seen.add(row.input)
        taken[n] = replace(row, agreed="hand" if has_time(row) else "")
    return taken, refused


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(
        prog="python -m training.review", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--list", action="store_true", help="show them, as without any option")
    p.add_argument("--accept", nargs="+", default=[], metavar="N", help="rows to take into the data, as 3 or 5-9")
    p.add_argument("--drop", nargs="+", default=[], metavar="N", help="rows to throw away")
    p.add_argument("--review", type=Path, default=REVIEW, help="the file that they are in")
    p.add_argument("--out", type=Path, default=DATASET, help="the file that they go to")
    o = p.parse_args(argv)
    console = Console(highlight=False)
    try:
        doubts, there = read_doubts(o.review), read_labelled(o.out)
        accept, drop = numbers(o.accept, len(doubts)), numbers(o.drop, len(doubts))
        if both := accept & drop:
            raise ValueError(f"Row {min(both)} cannot be both accepted and dropped.")
        if accept or drop:
            taken, refused = take(doubts, accept, there)
            append_lines(o.out, map(as_line, taken.values()))  # first: whatever happens, nothing is in neither file
            left = [d.line for n, d in enumerate(doubts, 1) if n not in drop and n not in taken]
            write_whole(o.review, "".join(left).encode())
    except (OSError, ValueError) as e:
        print(f"review: {e}", file=sys.stderr)
        sys.exit(2)
    if accept or drop:
        for n, why in refused.items():
            print(f"review: row {n} is not accepted: {why}", file=sys.stderr)
        print(f"{len(taken)} accepted, {len(drop)} dropped, {len(left)} left.")
        sys.exit(1 if refused else 0)
    for n, d in enumerate(doubts, 1):
        written = d.row.output.replace("\n", " / ")
        console.print(f"{n:4} {d.row.input}\n     {written}   ({d.why})", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
