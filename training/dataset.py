"""Builds what a model is trained on and validated with, out of hand-written, generated and corrected requests.

    python -m training.dataset                                                 # data/processed/{train,val}.jsonl
    python -m training.dataset --corrections corrections.jsonl --out training/runs/mine/data
    python -m training.dataset --card > data/README.md

Four fifths for training, one fifth for validation: by groups, so that two wordings of one request never stand on both
sides, and of every kind and time family alike. A correction counts as often as its weight says, in training only.
"""

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from assistant.words import model_text
from training.checks import Rejected, Seen, check
from training.labelled import FAMILIES, KINDS, Labelled, read_labelled, write_labelled

DATASET = Path(__file__).parent.parent / "data" / "task_dataset.jsonl"
PROCESSED = Path(__file__).parent.parent / "data" / "processed"
VALIDATION = 0.2
WEIGHT = 8
"""How often a correction is seen for every other row. Of 50 corrections of one new way of speaking, 4 taught 20 of 24
other such requests and 8 taught 22 (training/LOG.md)."""
CARD = """# The data

`task_dataset.jsonl` holds {rows} requests with their rewrites, one JSON object a line (`training/labelled.py`):
{groups} different ones, some in several wordings. Where they are from: {sources}. Each passes `training/checks.py`: its
rewrite is one that decoding can write for that request. Of the {timed} with a time an independent parser reads the same
time in {agreed}; the others were looked at a second time.

`python -m training.dataset` writes `processed/train.jsonl` ({train} rows) and `processed/val.jsonl` ({val} rows), which
are not tracked. `seed/` holds the phrases of which synthetic requests are made (`training/synthesize.py`),
`heldout.jsonl` requests to measure with, which nothing is trained on. The licence is that of the project (MIT).

{tables}"""


def groups_of(rows: Sequence[Labelled]) -> list[list[Labelled]]:
    """Rows that must stay together: those of one `group`, and those that are nearly the same."""
    home = list(range(len(rows)))

    def find(i: int) -> int:
        while home[i] != i:
            i = home[i]
        return i

    seen, first, named = Seen(), {}, {}
    for i, row in enumerate(rows):
        for twin in seen.all_like(row.input):
            home[find(i)] = find(first[twin])
        if row.group and (other := named.setdefault(row.group, i)) != i:
            home[find(i)] = find(other)
        seen.add(row.input)
        first.setdefault(row.input, i)
    groups: dict[int, list[Labelled]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(find(i), []).append(row)
    return list(groups.values())


def split(rows: Sequence[Labelled], seed: int = 1) -> tuple[list[Labelled], list[Labelled]]:
    """Rows for training and for validation; the same rows and seed give the same split.

    When rows are added, nearly all others stay on their side: the next model may begin with one that was trained on
    this split, and must be measured on what neither has seen.
    """

    def place(group: list[Labelled]) -> bytes:
        return hashlib.sha256(f"{seed} {group[0].input}".encode()).digest()

    strata: dict[tuple[str, str], list[list[Labelled]]] = defaultdict(list)
    for group in groups_of(rows):
        strata[group[0].kind, group[0].family].append(group)
    train, validation = [], []
    for stratum in sorted(strata):
        groups = sorted(strata[stratum], key=place)
        wanted, taken = VALIDATION * sum(map(len, groups)), 0
        for group in groups:
            if taken + len(group) / 2 <= wanted:
                validation += group
                taken += len(group)
            else:
                train += group
    return train, validation


def fit(rows: Iterable[Labelled]) -> tuple[list[Labelled], list[str]]:
    """The rows that can be trained on, and why others cannot."""
    good, bad = [], []
    for row in rows:
        try:
            good.append(check(row))
        except Rejected as e:
            bad.append(f"{row.input}: {e}")
    return good, bad


def build(rows: Sequence[Labelled], corrections: Sequence[Labelled], out: Path, seed: int = 1) -> tuple[int, int]:
    """Writes `train.jsonl` and `val.jsonl` in `out`; how many rows each has. A correction replaces what `rows` say of
    the same request."""
    corrected = {model_text(c.input) for c in corrections}
    train, validation = split([*(r for r in rows if model_text(r.input) not in corrected), *corrections], seed)
    weighted = [row for row in train for _ in range(WEIGHT if row.source == "correction" else 1)]
    Random(seed).shuffle(weighted)
    write_labelled(out / "val.jsonl", validation)
    write_labelled(out / "train.jsonl", weighted)
    return len(weighted), len(validation)


def _table(head: str, counts: Counter, order: Iterable[str]) -> str:
    rows = [f"| {name} | {counts[name]} |" for name in order if counts[name]]
    return "\n".join([f"| {head} | rows |", "|---|---|", *rows, ""])


def card(rows: Sequence[Labelled], seed: int = 1) -> str:
    """The page about the data, with counts."""
    train, validation = split(rows, seed)
    sources = Counter(row.source for row in rows)
    made = {"hand": "hand", "correction": "corrections"}
    timed = [row for row in rows if any(row.whens)]
    shown = (("kind", "kind", KINDS), ("time family", "family", FAMILIES), ("domain", "domain", None),
             ("style", "style", None))  # fmt: skip
    tables = []
    for head, field, order in shown:
        counts = Counter(getattr(row, field) or "(not said)" for row in rows)
        tables.append(_table(head, counts, order or sorted(counts)))
    return CARD.format(
        rows=len(rows),
        groups=len(groups_of(rows)),
        sources=", ".join(f"{made.get(s, s)} ({n})" for s, n in sorted(sources.items())),
        timed=len(timed),
        agreed=sum(row.agreed not in ("", "hand") for row in timed),
        train=len(train),
        val=len(validation),
        tables="\n".join(tables),
    )


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", type=Path, action="append", help="labelled requests, data/task_dataset.jsonl by default")
    p.add_argument("--corrections", type=Path, help="what `assistant corrections export` wrote")
    p.add_argument("--out", type=Path, default=PROCESSED)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--card", action="store_true", help="print the page about the data and write nothing")
    p.add_argument("--json", action="store_true", help="print JSON")
    o = p.parse_args()
    try:
        rows = [row for path in o.rows or [DATASET] for row in read_labelled(path)]
        if o.card:
            print(card(rows, o.seed), end="")
            return
        corrected = read_labelled(o.corrections) if o.corrections else []
    except ValueError as e:
        p.error(str(e))
    (rows, bad), (good, worse) = fit(rows), fit(replace(row, source="correction") for row in corrected)
    if not rows and not good:
        p.error("there are no labelled requests in these files")
    train, validation = build(rows, good, o.out, o.seed)
    found = {"train": train, "validation": validation, "corrections": len(good), "refused": bad + worse}
    if o.json:
        print(json.dumps(found))
        return
    for reason in bad + worse:
        print(f"left out: {reason}")
    print(f"{train} rows to train on and {validation} to validate with, {len(good)} corrections among them: {o.out}")


if __name__ == "__main__":
    main()
