"""Has a large language model write the labelled requests that are missing, within a budget.

    python -m training.generate --dry-run                    # what it would ask, and about what that costs
    python -m training.generate --total 1000 --dollars 1     # asks, checks, and appends what holds

`.env` or the environment: OPENROUTER_API_KEY (openrouter.ai/settings/keys makes one), and GEN_MODEL to use another
model than google/gemini-3.8-flash. OPENROUTER_BASE_URL names another server that speaks OpenAI's chat completions, and
GEN_PRICE what it takes (0.75,3.75: dollars per million tokens of prompt and answer) if it does not say so itself.

`coverage.py` says what is missing, `examples.py` what is asked and what is kept, `journal.py` how nothing that was paid
for is lost, `generator.py` does it. --dollars and --calls are the budget of all runs with one journal. Ctrl-C lets
calls under way come to their end, as they are paid for anyway; a second one does not wait. Either way the next run goes
on from there.

Exit status: 0 done, or the budget is; 2 what was given cannot be used; 5 the server; 130 Ctrl-C.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from assistant.clock import SystemClock
from assistant.errors import AssistantError, BadRequest
from training.coverage import Coverage, cell
from training.examples import prompt
from training.generator import Generator, report
from training.journal import Journal
from training.labelled import read_labelled
from training.openrouter import BASE_URL, NoCredits, NoKey, OpenRouter
from training.review import DATASET, REVIEW

MODEL = "google/gemini-3.8-flash"
JOURNAL = Path("data/generated/journal.jsonl")
HELD_OUT = Path("data/heldout.jsonl")
"""Requests to measure on: nothing that is nearly the same may be trained on."""
YIELD = 0.6
"""Guess of how much of what comes is kept, for --dry-run."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to ask, from the environment and `.env`."""

    key: str
    model: str
    base: str
    price: tuple[float, float] | None
    """Dollars per million tokens of prompt and answer, for servers that name none."""

    def source(self, model: str) -> str:
        """What stands as `Labelled.source` for a model there: the truth, also about other servers."""
        host = urlsplit(self.base).netloc
        return f"{'openrouter' if host == urlsplit(BASE_URL).netloc else host}:{model}"


def settings(environ: Mapping[str, str], dot_env: Path) -> Settings:
    """Raises `BadRequest`. An environment variable wins over the file."""
    from dotenv import dotenv_values

    try:
        given = {k: v for k, v in dotenv_values(dot_env, interpolate=False).items() if v} | dict(environ)
        price = tuple(map(float, given["GEN_PRICE"].split(","))) if given.get("GEN_PRICE") else None
        if price and (len(price) != 2 or min(price) < 0):
            raise ValueError("two prices, of a million tokens of prompt and of answer: 0.75,3.75")
    except (OSError, ValueError) as e:
        raise BadRequest(f"GEN_PRICE or the file {dot_env} cannot be read: {e}.") from None
    model, base = given.get("GEN_MODEL") or MODEL, given.get("OPENROUTER_BASE_URL") or BASE_URL
    return Settings(given.get("OPENROUTER_API_KEY", "").strip(), model, base, price)


def show(found: dict, console: Console) -> None:
    table = Table(show_header=False, box=None)
    for name in ("model", "calls", "dollars", "received", "kept"):
        table.add_row(name, str(found[name]))
    table.add_row("to review", str(found["doubted"]))
    for reason, count in sorted(found["refused"].items(), key=lambda r: -r[1]):
        table.add_row(f"refused: {reason}", str(count))
    table.add_row("rows", f"{found['rows']} of {found['total']}")
    console.print(table, highlight=False)
    if found["ended"] == "budget":
        console.print("The budget of this journal is used up: raise --dollars or --calls to go on.")
    if found["given_up"]:
        console.print(f"Nothing usable comes for: {', '.join(found['given_up'])}. Write some of them by hand.")


async def dry_run(o: argparse.Namespace, s: Settings, console: Console) -> None:
    """The first prompts, and an estimate."""
    rows, random = [row for path in (*o.beside, o.out) for row in read_labelled(path)], Random(o.seed)
    coverage, prompts = Coverage(rows, o.total), []
    while want := coverage.next(o.per_call, random):
        prompts.append((want, prompt(want, [r for r in rows if cell(r) == want.cell], random)))
    for want, text in prompts[:2]:
        console.print(f"--- {want}", text, sep="\n", markup=False, highlight=False, soft_wrap=True)
    sent, back = sum(len(p) for _, p in prompts) / 3.5, sum(300 + 60 * w.count for w, _ in prompts)
    calls = round(len(prompts) / YIELD)
    console.print(f"About {calls} calls, {sent / YIELD:.0f} tokens there and {back / YIELD:.0f} back.", highlight=False)
    try:
        async with OpenRouter(s.key, s.base) as client:
            m = await client.model(s.model, s.price)
        dollars = (sent * m.prompt + back * m.completion) / YIELD + calls * m.request
        budget = f"the budget is ${o.dollars:g} and {o.calls} calls"
        console.print(f"{s.model}: about ${dollars:.2f}; {budget}.", highlight=False)
    except AssistantError as e:
        console.print(f"What that costs is not known: {e}", highlight=False)


async def generate(o: argparse.Namespace, s: Settings, console: Console) -> Generator:
    """One run. Raises `AssistantError`, ValueError or OSError if it cannot begin."""
    if not s.key:
        raise NoKey("There is no OPENROUTER_API_KEY: make one at openrouter.ai/settings/keys and put it into .env.")
    clock = SystemClock()
    with Journal(o.journal, o.dollars, o.calls, clock.now) as journal:
        async with OpenRouter(s.key, s.base, clock=clock) as client:
            left = await client.left()
            if left is not None and left <= 0:
                raise NoCredits("The limit of this key is used up: raise it at openrouter.ai/settings/keys.")
            model = await client.model(s.model, s.price)
            bar = Progress(
                TextColumn("{task.completed}/{task.total}"), BarColumn(), TextColumn("{task.description}"),
                console=console, disable=not console.is_terminal, transient=True,
            )  # fmt: skip
            task = bar.add_task("", total=o.total)

            def changed(g: Generator) -> None:
                good = f"{g.tally.kept}/{g.tally.received} kept"
                told = f"${journal.charged:.3f} of ${journal.dollars:g}, {journal.counted} calls, {good}"
                bar.update(task, completed=g.coverage.cells.total(), description=told)

            generator = Generator(
                client, model, s.source, journal, o.out, o.review, HELD_OUT,
                total=o.total, per_call=o.per_call, random=Random(o.seed), beside=o.beside, changed=changed,
            )  # fmt: skip
            with bar:
                work = asyncio.current_task()

                def interrupted() -> None:
                    if generator.stop.is_set():
                        work.cancel()
                    else:
                        console.print("Waiting for the calls under way; Ctrl-C again does not wait.")
                    generator.stop.set()

                asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted)
                with contextlib.suppress(asyncio.CancelledError):
                    await generator.run(o.concurrency, o.recheck)
            return generator


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(
        prog="python -m training.generate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def number(text: str) -> int:
        if (n := int(text)) < 1:
            raise ValueError
        return n

    p.add_argument("--total", type=number, default=1000, metavar="N", help="rows wanted, those that are there included")
    def dollars(text: str) -> float:
        if not 0 < (n := float(text)) < float("inf"):  # nan is no limit
            raise ValueError
        return n

    p.add_argument("--dollars", type=dollars, default=1.0, help="the most that all runs with this journal may cost")
    p.add_argument("--calls", type=number, default=200, metavar="N", help="the most calls that may be billed")
    p.add_argument("--concurrency", type=number, default=4, metavar="N", help="calls at a time")
    p.add_argument("--per-call", type=number, default=8, metavar="N", help="examples to ask for at once")
    p.add_argument("--seed", type=int, default=1, help="of what is asked")
    p.add_argument("--out", type=Path, default=DATASET, help="the data; rows that are there stay as they are")
    p.add_argument("--beside", type=Path, action="append", default=[], help="other rows that count as there")
    p.add_argument("--review", type=Path, default=REVIEW, help="what a person should look at (training.review)")
    p.add_argument("--journal", type=Path, default=JOURNAL, help="what was paid for")
    p.add_argument("--has-key", action="store_true", help="only say by exit status, 0 or 4, whether there is a key")
    p.add_argument("--recheck", action="store_true", help="look again at all answers, once the checks have changed")
    p.add_argument("--dry-run", action="store_true", help="ask nothing: show prompts and an estimate")
    p.add_argument("--json", action="store_true", help="print one object")
    o = p.parse_args(argv)
    console = Console(stderr=True)
    try:
        s = settings(os.environ, Path(".env"))
        if o.has_key:
            sys.exit(0 if s.key else 4)
        if o.dry_run:
            asyncio.run(dry_run(o, s, Console()))
            return
        g = asyncio.run(generate(o, s, console))
    except AssistantError as e:
        print(f"generate: {e}", file=sys.stderr)
        sys.exit(e.exit_status)
    except (OSError, ValueError) as e:
        print(f"generate: {e}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    found = report(g)
    print(json.dumps(found)) if o.json else show(found, Console())
    if g.problem:
        print(f"generate: {g.problem}", file=sys.stderr)
        sys.exit(g.problem.exit_status)
    if g.stop.is_set():
        sys.exit(130)


if __name__ == "__main__":
    main()
