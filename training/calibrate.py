"""Chooses below which confidence a model should ask before it sets a reminder, and writes it into the model's manifest.

    python -m training.calibrate --model models/small

On fresh synthetic requests, decoded as the assistant does it: the threshold is the highest at which no more than
`--most` of the reminders that are right would be asked about. The manifest says what it costs and what it saves.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from assistant.local import LlamaModel, model_file
from training.manifest import add_to_manifest
from training.synthesize import Example, Synthesizer, texts_of

SEED = 8_888_888
"""Of examples that no training draws: trainings count up from a small seed."""
STEP = 0.05


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model made of an example."""

    sets: bool
    """It would set a reminder."""
    right: bool
    """Kind and times are those that were meant."""
    whole: bool
    """And so is every word of the tasks."""
    confidence: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Shares from 0 to 1."""

    examples: int
    seed: int
    whole: float
    """Rewrites right to the letter."""
    kind_and_times: float
    ask_below: float
    asked_of_right: float
    """Of the reminders that are right, those that would be asked about."""
    wrong: float
    """Of all requests, those that would set a reminder that was not meant, without asking."""
    wrong_if_never_asked: float


def meaning(rewrite: str) -> list[str]:
    """Kind and times of a rewrite, without the words of tasks."""
    lines = rewrite.split("\n")
    return [line.split()[0] if line.startswith("/") else line.rpartition("|")[2].strip() for line in lines]


def sets_reminder(rewrite: str) -> bool:
    return not rewrite.startswith("/") and any(meaning(rewrite))


def answers(model: LlamaModel, examples: Iterable[Example]) -> list[Answer]:
    out = []
    for e in examples:
        written, confidence = model.write(e.text)
        right = meaning(written) == meaning(e.rewrite)
        out.append(Answer(sets_reminder(written), right, written == e.rewrite, confidence))
    return out


def choose(given: list[Answer], most: float) -> Calibration:
    """The highest threshold, in steps of `STEP`, at which at most the share `most` of right ones is asked about."""
    right = [a.confidence for a in given if a.sets and a.right]
    wrong = [a.confidence for a in given if a.sets and not a.right]

    def asked(below: float) -> float:
        return sum(c < below for c in right) / max(1, len(right))

    threshold = max(t for n in range(round(1 / STEP)) if asked(t := round(n * STEP, 2)) <= most)
    n = len(given)
    return Calibration(
        examples=n,
        seed=SEED,
        whole=round(sum(a.whole for a in given) / n, 4),
        kind_and_times=round(sum(a.right for a in given) / n, 4),
        ask_below=threshold,
        asked_of_right=round(asked(threshold), 4),
        wrong=round(sum(c >= threshold for c in wrong) / n, 4),
        wrong_if_never_asked=round(len(wrong) / n, 4),
    )


def calibrate(folder: Path, count: int, most: float, exclude: Path | None = None) -> Calibration:
    """Measures the model in `folder` and writes `calibration` into its manifest, whole or not at all."""
    model = LlamaModel(model_file(folder))
    try:
        examples = islice(Synthesizer(texts_of(exclude)).examples(SEED), count)
        found = choose(answers(model, tqdm(examples, total=count, unit="request", mininterval=1)), most)
    finally:
        model.close()
    add_to_manifest(folder, calibration=asdict(found))
    return found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, default=Path("models/small"), help="a model folder with its manifest")
    p.add_argument("--count", type=int, default=2000, help="requests to measure on")
    p.add_argument("--most", type=float, default=0.03, help="share of right reminders that may be asked about")
    p.add_argument("--exclude", type=Path, help="a gold file whose texts must not be used")
    o = p.parse_args()
    print(json.dumps(asdict(calibrate(o.model, o.count, o.most, o.exclude)), indent=2))


if __name__ == "__main__":
    main()
