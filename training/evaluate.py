"""Measures a rewrite model on gold files: how much is right, where it is not, and how other parsers do beside it.

    python -m training.evaluate data/heldout.jsonl
    python -m training.evaluate data/heldout.jsonl --model models/small --worst 30
    python -m training.evaluate data/heldout.jsonl --against dateparser --against recognizers --json > report.json

Rows on which two sensible people would disagree are left out. `gold.py` says what the figures mean, `parsers.py` what
there is to compare with. Exit status: 0 done; 2 what was given cannot be read; 3 the model.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from assistant.config import SHIPPED_MODEL
from assistant.errors import AssistantError, BadRequest
from assistant.local import LlamaRewriter
from assistant.messages import Entry, Kind, Understanding
from assistant.rewriter import Rewriter
from assistant.sections import Model
from assistant.understand import as_json, understand
from assistant.when import Policy
from assistant.words import normalise
from training.gold import BadGold, Row, Score, read, score, tally
from training.parsers import PARSERS, Parser

FIGURES = [field.name for field in fields(Score)]
BESIDE = ("due", "strict", "recur", "wrong")
"""What can be asked of a parser that knows neither kinds nor tasks."""
CLOCKS = ("clock time in digits", "clock time in words")
FAMILIES = ("several reminders", "recurrence", "offset", *CLOCKS, "daypart", "day only", "none")
LENGTHS = {"1-5": 5, "6-10": 10, "11-20": 20, "more": 10**6}
"""Name -> the most words."""
BY = {"kind": "kind", "family": "family of time expression", "length": "length in words"}
BINS = 5
_SHORT = r"(?:seconds|secs?|minutes?|mins?|hours?|hrs?)\b"
_OFFSET = {
    "minute": re.compile(rf"\bfrom now\b|(?<!hundred )(?<!out of )(?:\b|\d){_SHORT}(?! past)", re.I),
    "day": re.compile(r"\bfrom now\b|\bin (?:[\w'-]+ ){1,3}?(?:days?|weeks?|months?|years?|fortnight)\b", re.I),
}
_DIGITS = re.compile(rf"(?<![\d:.])(\d{{1,2}})(?:[:.]?\d\d)?(?!\d)(?! ?(?:st|nd|rd|th)\b|[ -]?{_SHORT})", re.I)


@dataclass(frozen=True, slots=True)
class Case:
    """A row and what was made of it."""

    row: Row
    given: Understanding
    score: Score
    unasked: Score
    """What the score would be if the assistant never asked "Did you say ...?"."""


def family(row: Row) -> str:
    """Of which family the time of a row is, by its meaning and, between ways to say the same, by its text."""
    times = [e for e in row.entries if e.due]
    if len(row.entries) > 1:
        return "several reminders"
    if any(e.rrule for e in row.entries):
        return "recurrence"
    if not times:
        return "none"
    due, grain = times[0].due, times[0].grain
    hours = {due.hour % 12} | ({(due.hour + 1) % 12} if due.minute > 30 else set())  # "quarter to 8"
    if grain == "daypart":
        return "daypart"
    if grain == "minute" and any(int(hour) % 12 in hours for hour in _DIGITS.findall(row.text)):
        return CLOCKS[0]
    if _OFFSET["minute" if grain == "minute" else "day"].search(row.text):
        return "offset"
    return CLOCKS[1] if grain == "minute" else "day only"


def length(row: Row) -> str:
    return next(name for name, most in LENGTHS.items() if len(row.text.split()) <= most)


async def answer(rewriter: Rewriter, row: Row, ask_below: float | Literal["model"]) -> Case:
    """What the assistant makes of a row, as `assistant parse` does. Raises `ModelError`."""
    try:
        text = normalise(row.text)
        rewrite = await rewriter.rewrite(text)
        given, sure = (understand(rewrite, text, row.now, row.tz, Policy(), below) for below in (ask_below, 0.0))
    except BadRequest as e:  # an answer too, if no good one
        given = sure = Understanding(row.text, "other", "", (), None, None, 0.0, rewriter.name, 0.0, error=e.code)
    return Case(row, given, score(row, given.kind, given.entries), score(row, sure.kind, sure.entries))


def parser_score(parser: Parser, row: Row) -> Score:
    """A parser that found a time sets a reminder for the first one; one that found none asks."""
    try:
        found = parser.understand(row.text, row.now, row.tz)
    except Exception:  # some of them stumble over texts that they were not made for: nothing was found
        found = []
    return score(row, "create" if found else "needs_time", [Entry(None, None, *(found[0] if found else ()))])


def figures(scores: Iterable[Score]) -> dict[str, dict]:
    return {name: {"percent": share.percent, "n": share.of} for name, share in tally(scores).items()}


def grouped(cases: Sequence[Case], key: Callable[[Row], str], order: Iterable[str]) -> dict[str, dict]:
    """The figures of each group that is not empty, in `order`."""
    groups = {name: [c.score for c in cases if key(c.row) == name] for name in order}
    return {name: {"n": len(scores), **figures(scores)} for name, scores in groups.items() if scores}


def calibration(cases: Sequence[Case]) -> list[dict]:
    """Of each bin of confidence how much is right, and how much apart from the words of tasks, if nothing is asked."""
    bins = []
    for n in range(BINS):
        inside = [c for c in cases if min(int(c.given.confidence * BINS), BINS - 1) == n]
        scores = [c.unasked for c in inside]
        part = {
            "confidence": [c.given.confidence for c in inside],
            "all": [s.all for s in scores],
            "kind_and_times": [s.kind and s.due is not False and s.recur is not False for s in scores],
        }
        means = {name: round(statistics.mean(values), 3) if values else None for name, values in part.items()}
        bins.append({"from": n / BINS, "to": (n + 1) / BINS, "n": len(inside), **means})
    return bins


def worst(cases: Sequence[Case], most: int) -> list[dict]:
    """The answers that are not all right, the surest first."""
    wrong = sorted((c for c in cases if not c.score.all), key=lambda c: -c.given.confidence)
    return [
        {
            "id": c.row.id,
            "text": c.row.text,
            "confidence": round(c.given.confidence, 4),
            "silently": c.score.wrong,
            "gold": {"kind": c.row.kind, "reminders": [asdict(e) for e in c.row.entries]},
            "given": {"kind": c.given.kind, "rewrite": c.given.rewrite, "reminders": as_json(c.given)["reminders"]},
        }
        for c in wrong[:most]
    ]


def report(cases: Sequence[Case], against: dict[str, list[Score]], most: int) -> dict:
    """All that was measured, ready for JSON but for the instants of gold rows."""
    kinds, ms = get_args(Kind), sorted(c.given.ms for c in cases)
    confusion = {kind: Counter(c.given.kind for c in cases if c.row.kind == kind) for kind in kinds}
    beside = {cases[0].given.model: [c.score for c in cases]} | against
    return {
        "rows": len(cases),
        "overall": figures(c.score for c in cases),
        "by_kind": grouped(cases, lambda row: row.kind, kinds),
        "by_family": grouped(cases, family, FAMILIES),
        "by_length": grouped(cases, length, LENGTHS),
        "confusion": {kind: dict(given) for kind, given in confusion.items() if given},
        "ms": {"p50": round(statistics.median(ms), 1), "p95": round(ms[int(0.95 * (len(ms) - 1))], 1)},
        "calibration": calibration(cases),
        "worst": worst(cases, most),
        "beside": {name: {k: v for k, v in figures(s).items() if k in BESIDE} for name, s in beside.items()},
    }


def show(found: dict, console: Console) -> None:
    """The report for a person."""

    def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        t = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=0)
        for n, column in enumerate(columns):
            t.add_column(column, justify="right" if n else "left", no_wrap=True)
        for row in rows:
            t.add_row(*("-" if cell is None else str(cell) for cell in row))
        console.print(t)

    def percents(figures: dict, names: Iterable[str]) -> list[float | None]:
        return [figures.get(name, {}).get("percent") for name in names]

    table("Overall", ["", "%", "of"], ((k, v["percent"], v["n"]) for k, v in found["overall"].items()))
    for by in BY:
        rows = [(group, f["n"], *percents(f, FIGURES)) for group, f in found[f"by_{by}"].items()]
        table(f"By {BY[by]}, %", ["", "n", *FIGURES], rows)
    given = [kind for kind in get_args(Kind) if any(kind in row for row in found["confusion"].values())]
    rows = [(kind, *(row.get(k) for k in given)) for kind, row in found["confusion"].items()]
    table("Kind that was meant (down) and that was understood (across)", ["", *given], rows)
    rows = [(f"{b['from']} - {b['to']}", *list(b.values())[2:]) for b in found["calibration"]]
    table("Share right by confidence, if nothing is asked", ["", "n", "mean", "all", "kind and times"], rows)
    if len(found["beside"]) > 1:
        rows = [(name, *percents(f, BESIDE)) for name, f in found["beside"].items()]
        table("Side by side, %", ["", *BESIDE], rows)
    console.print(f"ms: p50 {found['ms']['p50']}, p95 {found['ms']['p95']}", highlight=False)
    for case in found["worst"]:
        lines = [f"{case['confidence']:.2f} {case['text']}{'  (silently wrong)' if case['silently'] else ''}"]
        for who in ("gold", "given"):
            told = (f"{e['task']}, {e['due']}, {e['rrule']}".replace("None", "-") for e in case[who]["reminders"])
            lines.append(f"     {who:5} {case[who]['kind']}: {'; '.join(told)}")
        console.print("", *lines, sep="\n", markup=False, highlight=False, soft_wrap=True)


async def measure(rewriter: Rewriter, rows: Iterable[Row], ask_below: float | Literal["model"]) -> list[Case]:
    """Every row answered by a rewriter, which is entered for it. Raises `ModelError`."""
    async with rewriter:
        return [await answer(rewriter, row, ask_below) for row in rows]


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("gold", nargs="+", type=Path, metavar="FILE", help="gold rows, JSON lines")
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="a GGUF file or a folder that holds one")
    p.add_argument("--ask-below", type=lambda b: b if b == "model" else float(b), default=Model().ask_below,
                   help='confidence below which it asks first; "model": what it was calibrated to')
    p.add_argument("--against", action="append", choices=PARSERS, default=[], help="a parser to compare with")
    p.add_argument("--worst", type=int, default=10, metavar="N", help="how many wrong answers to show")
    p.add_argument("--json", action="store_true", help="print one object")
    o = p.parse_args(argv)
    errors = Console(stderr=True)
    try:
        rows = [row for file in o.gold for row in read(file) if not row.ambiguous]
        if not rows:
            raise BadGold(f"There is no row to measure in {', '.join(map(str, o.gold))}.")
        parsers = [PARSERS[name]() for name in dict.fromkeys(o.against)]
        with Progress(console=errors, disable=not errors.is_terminal, transient=True) as progress:
            answered = measure(LlamaRewriter(o.model), progress.track(rows, description=o.model.name), o.ask_below)
            cases = asyncio.run(answered)
            against = {
                parser.name: [parser_score(parser, row) for row in progress.track(rows, description=parser.name)]
                for parser in parsers
            }
    except AssistantError as e:
        print(f"evaluate: {e}", file=sys.stderr)
        sys.exit(e.exit_status)
    found = {"model": str(o.model), "gold": [str(f) for f in o.gold], "ask_below": o.ask_below}
    found |= report(cases, against, max(0, o.worst))
    print(json.dumps(found, default=datetime.isoformat)) if o.json else show(found, Console())


if __name__ == "__main__":
    main()
