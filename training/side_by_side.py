"""A candidate beside the model in use, on the same requests; the verdict goes into the candidate's manifest.

    python -m training.side_by_side --candidate models/mine --rows data/processed/val.jsonl --gold data/heldout.jsonl
    python -m training.side_by_side --is-ahead models/mine && assistant models promote mine

Right is what `gold.py` calls all right: kind, task, instant and recurrence. The verdict is that of a paired bootstrap
(Efron and Tibshirani 1993; Koehn 2004 for systems on the same rows): "worse" or "better" if the interval that holds the
difference with 95 % lies on one side of nought, else "same". `assistant models promote` reads it. Each model runs in a
process of its own, so that memory is told apart. Exit status: 0 done; 2 what was given cannot be read; 3 a model; 4 it
is not ahead.
"""

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import psutil
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from assistant.config import load
from assistant.errors import AssistantError, ModelError
from assistant.local import LlamaRewriter
from assistant.messages import Rewrite
from assistant.models import verify
from assistant.pointer import models_of
from assistant.understand import understand
from assistant.when import Past, Policy, parse_when
from training.checks import Seen
from training.evaluate import FAMILIES, answer, family
from training.gold import GoldEntry, Row, Score, read, tally
from training.labelled import Labelled, read_labelled
from training.manifest import add_to_manifest, read_manifest

DRAWS = 10_000
TZ = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 11, 10, 0, tzinfo=TZ)
"""When a labelled request is taken to be said: a Wednesday morning on which nothing special happens."""
CORRECTIONS = "corrections"
"""The family, in the table, of rows that corrections made."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model made of the rows."""

    name: str
    sha256: str
    bytes: int
    scores: tuple[Score, ...]
    ms: tuple[float, float]
    """p50 and p95 of a request, milliseconds."""
    mib: int
    """Memory that the model took, MiB."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far the candidate is ahead in rows that are all right, in per cent of the rows."""

    difference: float
    interval: tuple[float, float]
    verdict: str
    """`better`, `same` or `worse`."""


def as_gold(row: Labelled, id: str) -> Row:
    """A labelled request as a gold row: what its rewrite means when it is said at `NOW`."""
    u = understand(Rewrite(row.output, row.source, 1.0, 0.0), row.input, NOW, TZ, Policy())
    entries = []
    for e in u.entries:
        grain = None
        if e.when and not isinstance(found := parse_when(e.when, NOW, TZ), Past):
            grain = found.grain
        due = e.due.astimezone(TZ).replace(tzinfo=None) if e.due else None
        entries.append(GoldEntry(e.task, (), due, grain, e.rrule))
    return Row(id, row.input, NOW, TZ, u.kind, tuple(entries), False)


def measure(folder: Path, rows: Sequence[Row]) -> Measured:
    """Loads the model in this process and answers every row. Raises `ModelError`."""
    manifest, before = verify(folder), _resident()

    async def run() -> tuple[list, int]:
        async with LlamaRewriter(folder) as rewriter:
            bar = tqdm(rows, desc=folder.name, unit="request", mininterval=1, disable=None)  # only on a terminal
            return [await answer(rewriter, row, "model") for row in bar], _resident() - before

    cases, memory = asyncio.run(run())
    ms = sorted(c.given.ms for c in cases)
    speed = (round(statistics.median(ms), 1), round(ms[int(0.95 * (len(ms) - 1))], 1))
    scores = tuple(c.score for c in cases)
    return Measured(manifest.name, manifest.sha256, manifest.size, scores, speed, memory >> 20)


def _resident() -> int:
    """The memory of this process, bytes."""
    return psutil.Process().memory_info().rss


def apart(folder: Path, rows: Sequence[Row]) -> Measured:
    """`measure` in a process of its own. Raises `ModelError`."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(_measure_or_say, folder, rows).result()
    if isinstance(found, str):
        raise ModelError(found)
    return found


def _measure_or_say(folder: Path, rows: Sequence[Row]) -> Measured | str:
    """The sentence of an error, which itself cannot travel between processes."""
    try:
        return measure(folder, rows)
    except ModelError as e:
        return str(e)


def bootstrap(candidate: Sequence[bool], current: Sequence[bool], seed: int = 1) -> Verdict:
    """Whether the candidate is right more often than the noise of drawing rows explains; row by row the same rows."""
    steps = [int(a) - int(b) for a, b in zip(candidate, current, strict=True)]
    n = len(steps)
    shares = [steps.count(step) / n for step in (1, -1, 0)]
    # Of n rows drawn with replacement it matters only how many speak for either side.
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=DRAWS)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / n, (2.5, 97.5))
    verdict = "better" if low > 0 else "worse" if high < 0 else "same"
    return Verdict(round(100 * sum(steps) / n, 2), (round(100 * low, 2), round(100 * high, 2)), verdict)


def grouped(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Which rows are of each time family; those of corrections in one of their own."""
    groups = {name: [i for i, row in enumerate(rows) if not _corrected(row) and family(row) == name]
              for name in FAMILIES}  # fmt: skip
    groups[CORRECTIONS] = [i for i, row in enumerate(rows) if _corrected(row)]
    return {name: places for name, places in groups.items() if places}


def _corrected(row: Row) -> bool:
    return row.id.startswith("correction")


def evaluation(rows: Sequence[Row], candidate: Measured, current: Measured) -> dict:
    """What goes into the candidate's manifest."""
    found = bootstrap([s.all for s in candidate.scores], [s.all for s in current.scores])
    by_family = {
        name: {"n": len(places)}
        | {who: _percent([m.scores[i].all for i in places])
           for who, m in (("candidate", candidate), ("current", current))}  # fmt: skip
        for name, places in grouped(rows).items()
    }
    texts = json.dumps([(row.text, row.now.isoformat()) for row in rows])
    return {
        "rows": len(rows),
        "rows_sha256": hashlib.sha256(texts.encode()).hexdigest(),
        "against": current.sha256,
        "against_name": current.name,
        "candidate": _figures(candidate),
        "current": _figures(current),
        "by_family": by_family,
        **asdict(found),
    }


def _percent(right: Sequence[bool]) -> float:
    return round(100 * sum(right) / len(right), 1)


def _figures(m: Measured) -> dict:
    shares = {name: share.percent for name, share in tally(m.scores).items()}
    return shares | {"p50_ms": m.ms[0], "p95_ms": m.ms[1], "mib": m.mib, "mb": round(m.bytes / 1e6, 1)}


def show(found: dict, names: tuple[str, str], console: Console) -> None:
    """Before and after, for a person."""
    now, new = found["current"], found["candidate"]
    table = Table("", names[0], names[1], "", box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = [(f"all right, of {found['rows']}", now["all"], new["all"], "%")]
    rows += [(f"  {name} ({g['n']})", g["current"], g["candidate"], "%") for name, g in found["by_family"].items()]
    for title, figure, unit in (("silently wrong", "wrong", "%"), ("a request, p50", "p50_ms", "ms"),
                                ("memory", "mib", "MiB"), ("file", "mb", "MB")):  # fmt: skip
        rows.append((title, now[figure], new[figure], unit))
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)
    low, high = found["interval"]
    ahead = f"{found['difference']:+} % all right, between {low:+} and {high:+} with 95 %"
    console.print(f"{found['verdict']}: {ahead}", highlight=False)


def is_ahead(folder: Path) -> bool:
    """Whether the model of a folder got more rows right than the one in use, and none the worse beyond the noise."""
    found = read_manifest(folder)["evaluation"]
    return found["difference"] > 0 and found["verdict"] != "worse"


def rows_of(labelled: Sequence[Path], gold: Sequence[Path], trained: Sequence[Path] = ()) -> list[Row]:
    """The rows to compare on. Raises ValueError, `BadGold`.

    Gold rows are left out on which sensible people would disagree, and that are nearly the same as one of `trained`.
    """
    seen = Seen(row for path in trained for row in read_labelled(path))
    rows = []
    for path in labelled:
        read_rows = read_labelled(path)
        rows += [as_gold(row, f"{row.source}-{n}") for n, row in enumerate(read_rows, 1)]
    return rows + [row for path in gold for row in read(path) if not (row.ambiguous or seen.like(row.text))]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--candidate", type=Path, help="a model folder")
    p.add_argument("--current", type=Path, help="a model folder; else the one in use")
    p.add_argument("--rows", type=Path, action="append", default=[], help="labelled requests, JSON lines")
    p.add_argument("--gold", type=Path, action="append", default=[], help="gold rows, JSON lines")
    p.add_argument("--trained", type=Path, action="append", default=[], help="labelled requests that were trained on")
    p.add_argument("--is-ahead", type=Path, metavar="DIR", help="only say by exit status whether it was found ahead")
    p.add_argument("--json", action="store_true", help="print JSON")
    o = p.parse_args()
    if o.is_ahead:
        raise SystemExit(0 if is_ahead(o.is_ahead) else 4)
    if not o.candidate:
        p.error("give --candidate")
    try:
        rows = rows_of(o.rows, o.gold, o.trained)
        if not rows:
            p.error("give rows to compare on: --rows data/processed/val.jsonl")
        current = o.current or models_of(load()).in_use()
        candidate, now = apart(o.candidate, rows), apart(current, rows)
    except ValueError as e:
        p.error(str(e))
    except AssistantError as e:
        p.exit(e.exit_status, f"{p.prog}: {e}\n")
    found = evaluation(rows, candidate, now)
    add_to_manifest(o.candidate, evaluation=found)
    if o.json:
        print(json.dumps(found))
    else:
        show(found, (now.name, candidate.name), Console())


if __name__ == "__main__":
    main()
