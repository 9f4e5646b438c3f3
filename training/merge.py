"""From adapters to a model that the assistant can use: merged, converted, quantised, checked, with its manifest.

    python -m training.merge --run models/phi2-qlora --out models/phi2-qlora-gguf
    python -m training.merge --base training/runs/tiny-phi --out training/runs/baseline    # a base as it is

An interrupted one goes on: each stage leaves its file in RUN/merged, which is removed in the end. Exit status: 0 done;
1 no converter; 2 what was given cannot be used; 3 the conversion is broken.
"""

import argparse
import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from assistant.errors import AssistantError
from assistant.gguf import architecture
from assistant.models import sha256_of
from assistant.prompt import PROMPT_VERSION
from training.converter import CACHE, convert
from training.export import quantize
from training.finetune import BadBase
from training.manifest import MANIFEST, write_json
from training.parity import read_merged, require
from training.tiny_phi import PRE_TOKENIZER_NOTE

KIND = "Q4_K_M"
LICENCES = {"microsoft/phi-2": "MIT"}


def merge(base: str, adapters: Path | None, target: Path) -> Path:
    """Writes base and adapters as one model folder, whole or not at all. Raises `BadBase`."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if (target / "config.json").exists():
        return target
    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16 if big(base) else torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as e:
        raise BadBase(f"The base model {base} cannot be had ({str(e).strip().splitlines()[0]}).") from None
    if adapters:
        model = PeftModel.from_pretrained(model, adapters).merge_and_unload()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        model.save_pretrained(Path(scratch, "model"))
        tokenizer.save_pretrained(Path(scratch, "model"))
        note = Path(base, PRE_TOKENIZER_NOTE)
        if note.exists():
            shutil.copy(note, Path(scratch, "model"))
        os.replace(Path(scratch, "model"), target)
    return target


def big(base: str) -> bool:
    """Whether float32 weights may be too much for memory: anything but a small folder of one's own."""
    folder = Path(base)
    return not folder.is_dir() or sum(f.stat().st_size for f in folder.glob("*.safetensors")) > 2**30


def build(base: str, run: Path | None, out: Path) -> Path:
    """Makes the model folder `out` of the best adapters of `run` (None: of the base alone); returns the GGUF.

    Raises `BadBase`, `NoConverter`, `ConversionFailed`, `NotTheSame`; then there is no model in `out`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        work = (run or Path(scratch)) / "merged"
        done = work.with_name("merged.done")
        shutil.rmtree(done, ignore_errors=True)
        merged = merge(base, run and run / "best", work / "model")
        readings = read_merged(merged)
        full = work / "model-f16.gguf"
        if not full.exists():
            convert(merged, part := work / "model-f16.part.gguf", CACHE)
            os.replace(part, full)
        agreed = {"f16": require(full, readings, "F16")}
        out.mkdir(parents=True, exist_ok=True)
        file = out / f"model-{KIND.lower()}.gguf"
        part = out / f"{file.name}.part"
        try:
            quantize(full, part, KIND)
            agreed[KIND.lower()] = require(part, readings, KIND)
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
            if not any(out.iterdir()):
                out.rmdir()
        write_json(out / MANIFEST, _manifest(base, run, file, json.loads((merged / "config.json").read_text()), agreed))
        os.replace(work, done)  # at once, so that no half of it is gone on with
        shutil.rmtree(done)  # twice the model in 16 bits
    return file


def _manifest(base: str, run: Path | None, file: Path, config: dict, agreed: dict) -> dict:
    """What the model is, what it was made of, and what came of that."""
    known = base if not Path(base).is_dir() else Path(base).name
    sizes = ("model_type", "hidden_size", "num_hidden_layers", "vocab_size")
    facts = {
        "name": file.parent.name,
        "file": file.name,
        "sha256": sha256_of(file),
        "bytes": file.stat().st_size,
        "licence": LICENCES.get(base, "that of the base model"),
        "base": known,
        "gguf_architecture": architecture(file),
        "architecture": {k: config[k] for k in sizes if k in config},
        "prompt": PROMPT_VERSION,
        "trained": datetime.now(UTC).date().isoformat(),
        "agreement": agreed,
    }
    if run:
        recipe, done = (json.loads((run / name).read_text()) for name in ("recipe.json", "done.json"))
        facts |= {"recipe": recipe | {"base": known}, "training": done}
    return facts


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", type=Path, help="the folder of training.finetune; without it the base alone")
    p.add_argument("--base", help="the base model; of a run the one that it was made of")
    p.add_argument("--out", type=Path, default=Path("models/phi2-qlora-gguf"))
    o = p.parse_args()
    if not (o.run or o.base):
        p.error("give --run or --base")
    if o.run and not (o.run / "done.json").exists():
        p.error(f"{o.run} holds no finished run: python -m training.finetune --run {o.run}")
    base = o.base or json.loads((o.run / "recipe.json").read_text())["base"]
    try:
        print(build(base, o.run, o.out))
    except AssistantError as e:
        p.exit(e.exit_status, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    main()
