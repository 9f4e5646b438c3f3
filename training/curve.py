"""Draws how a training went: loss and, at the checkpoints, whole rewrites right, over steps.

    python -m training.curve --run training/runs/small --out models/small/training.png
"""

import argparse
import json
from pathlib import Path


def draw(run: Path, out: Path) -> None:
    """Writes the picture of `run/log.jsonl` to `out` (PNG)."""
    import matplotlib

    matplotlib.use("Agg")  # no screen is needed
    from matplotlib import pyplot

    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    checked = [r for r in rows if "val_loss" in r]
    figure, losses = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    losses.plot([r["step"] for r in rows], [r["loss"] for r in rows], color="tab:gray", label="training loss")
    losses.plot([r["step"] for r in checked], [r["val_loss"] for r in checked], "o-", label="validation loss")
    losses.set(xlabel="steps", ylabel="loss a token, nats", yscale="log")
    shares = losses.twinx()
    shares.plot([r["step"] for r in checked], [100 * r["val_whole"] for r in checked], "s-", color="tab:green")
    shares.set_ylabel("whole rewrites right, % (green)")
    losses.legend(loc="lower left")
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", type=Path, default=Path("training/runs/small"))
    p.add_argument("--out", type=Path, default=Path("models/small/training.png"))
    o = p.parse_args()
    draw(o.run, o.out)


if __name__ == "__main__":
    main()
