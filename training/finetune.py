"""Fine-tunes a causal model of the hub on labelled requests, by QLoRA where 4-bit weights can be had.

    python -m training.finetune --base microsoft/phi-2 --run models/phi2-qlora
    python -m training.finetune --base training/runs/tiny-phi --run training/runs/tiny --epochs 1

4-bit NF4 weights with double quantisation (Dettmers et al. 2023, "QLoRA"), adapters of rank 8 and alpha 16 on every
projection, the loss on the rewrite and the end-of-sequence token only. Each epoch ends with the validation loss; the
best adapters are kept in RUN/best, and training stops when the loss no longer falls. A run that was interrupted goes on
from its last checkpoint. Exit status: 0 done; 2 what was given cannot be used.
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.errors import AssistantError
from assistant.prompt import completion, prompt, word_tokens
from assistant.words import model_text, normalise
from training.labelled import Labelled, read_labelled
from training.manifest import write_json

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of faster kernels that it can do without
PHI = ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]
"""Phi-2's projections; of another architecture every linear layer but the head is adapted."""
LONGEST = 768
"""Tokens of an example; a longer one is left out."""


class BadBase(AssistantError):
    """The base model cannot be had or used."""

    code, exit_status = "base", 2


class BadData(AssistantError):
    code, exit_status = "data", 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what a run becomes."""

    base: str
    """A folder, or a name of the hub such as `microsoft/phi-2`."""
    epochs: int = 3
    rank: int = 8
    alpha: int = 16
    rate: float = 2e-4
    batch: int = 4
    accumulate: int = 4
    """Batches before a step: what a step sees is `batch * accumulate` examples."""
    patience: int = 1
    """Epochs without a lower validation loss before it stops."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Device:
    """Where training runs, and why so."""

    name: str
    """`cuda`, `mps` or `cpu`."""
    four_bit: bool
    half: bool
    """Whether weights are bfloat16; else float32, or float16 on a CUDA card without bfloat16."""
    why: str


def choose_device() -> Device:
    """CUDA, else Apple's MPS, else the CPU; 4-bit weights where bitsandbytes has a kernel. TRAINING_DEVICE=cpu in the
    environment means the CPU whatever there is."""
    import torch

    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        bits, without = False, "bitsandbytes is not installed, so plain LoRA"
    else:
        bits, without = True, ""
    if os.environ.get("TRAINING_DEVICE") == "cpu":
        return Device("cpu", bits, False, f"the CPU, as TRAINING_DEVICE says, {'4-bit QLoRA' if bits else without}")
    if torch.cuda.is_available():
        half = torch.cuda.is_bf16_supported(including_emulation=False)
        card = torch.cuda.get_device_name()
        return Device("cuda", bits, half, f"{card}, {'4-bit QLoRA' if bits else without}")
    if torch.backends.mps.is_available():
        return Device("mps", False, True, "Apple MPS, which has no 4-bit weights, so plain LoRA")
    return Device("cpu", bits, False, f"no GPU was found, so the CPU, {'4-bit QLoRA' if bits else without}")


def encode(row: Labelled, tokenizer, begin: list[int]) -> dict[str, list[int]]:
    """`input_ids` and `completion_mask` of an example, the rewrite word by word as decoding does it."""

    def tokenize(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    head = [*begin, *tokenize(prompt(model_text(normalise(row.input))))]
    tail: list[int] = []
    for number, line in enumerate(completion(row.output).split("\n")):
        tail += word_tokens("\n", tokenize) if number else ()
        for word in line.split():
            tail += word_tokens(word, tokenize)
    tail.append(tokenizer.eos_token_id)
    return {"input_ids": head + tail, "completion_mask": [0] * len(head) + [1] * len(tail)}


def beginning(tokenizer, config) -> list[int]:
    """What stands before a prompt: the beginning-of-sequence token, where there is one. llama.cpp's converter likewise
    takes it from the model's `config.json` if the tokenizer names none."""
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else getattr(config, "bos_token_id", None)
    return [token] if token is not None else []


def load_base(base: str, device: Device):
    """Model and tokenizer, ready for adapters. Raises `BadBase`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    dtype = torch.bfloat16 if device.half else torch.float16 if device.name == "cuda" else torch.float32
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=dtype, device_map=device.name, quantization_config=four_bit if device.four_bit else None
        )
    except (OSError, ValueError) as e:
        told = str(e).strip().splitlines()[0]
        raise BadBase(
            f"The base model {base} cannot be had ({told}): give a folder, or a name of the hub and a network."
        ) from None
    if tokenizer.eos_token_id is None:
        raise BadBase(f"The tokenizer of {base} has no end-of-sequence token: a model could not learn where to stop.")
    return model, tokenizer


def with_adapters(model, recipe: Recipe, four_bit: bool):
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if four_bit:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # the trainer sees to that
    targets = PHI if model.config.model_type == "phi" else "all-linear"
    return get_peft_model(
        model,
        LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=0.05, target_modules=targets,
                   task_type="CAUSAL_LM"),  # fmt: skip
    )


def rows_hash(*parts: list[Labelled]) -> str:
    """SHA-256 over the rows that are trained on and validated with."""
    text = json.dumps([[(r.input, r.output) for r in rows] for rows in parts])
    return hashlib.sha256(text.encode()).hexdigest()


def _start(run: Path, recipe: dict) -> None:
    """Notes what the run is made of; a folder that holds another run is not gone on with."""
    run.mkdir(parents=True, exist_ok=True)
    file = run / "recipe.json"
    if file.exists() and json.loads(file.read_text()) != recipe:
        raise BadData(f"{run} holds another run: name another folder with --run, or remove it.")
    write_json(file, recipe)


def finetune(
    recipe: Recipe,
    train: list[Labelled],
    validation: list[Labelled],
    run: Path,
    save_every: int = 50,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains adapters, or goes on training them; returns the folder of the best ones, RUN/best.

    Writes `recipe.json`, `log.jsonl` and `done.json`. Raises `BadBase`, `BadData`.
    """
    import torch
    from datasets import Dataset, disable_progress_bars
    from tqdm import tqdm
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, TrainerCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    if not train or not validation:
        raise BadData("There is nothing to train on: make the data first with `python -m training.dataset`.")
    device = choose_device()
    _start(run, {**asdict(recipe), "four_bit": device.four_bit, "data_sha256": rows_hash(train, validation)})
    best = run / "best"
    if (run / "done.json").exists():
        say(f"{run.name} is finished already.")
        return best
    say(f"Training on {device.why}.")
    set_seed(recipe.seed)
    disable_progress_bars()  # of steps that take no time
    model, tokenizer = load_base(recipe.base, device)
    model = with_adapters(model, recipe, device.four_bit)
    begin = beginning(tokenizer, model.config)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token

    def dataset(rows: list[Labelled]) -> Dataset:
        encoded = (encode(row, tokenizer, begin) for row in rows)
        return Dataset.from_list([e for e in encoded if len(e["input_ids"]) <= LONGEST])

    class Watch(TrainerCallback):
        """Shows and logs how it goes, and saves between epochs too, so that little is lost."""

        def on_train_begin(self, args, state, control, **_):
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", mininterval=1)

        def on_step_end(self, args, state, control, **_):
            self.bar.update()
            if state.global_step % save_every == 0:
                control.should_save = True

        def on_log(self, args, state, control, logs=None, **_):
            row = {k: round(v, 4) for k, v in (logs or {}).items() if k in ("loss", "eval_loss")}
            if row:
                self.bar.set_postfix(row)
                with (run / "log.jsonl").open("a") as log:
                    log.write(json.dumps({"step": state.global_step, "epoch": round(state.epoch or 0, 2)} | row) + "\n")

        def on_train_end(self, args, state, control, **_):
            self.bar.close()

    half = device.name == "cuda"
    arguments = SFTConfig(
        output_dir=str(run / "checkpoints"),
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulate,
        activation_checkpointing=device.name == "cuda",
        activation_checkpointing_kwargs={"use_reentrant": False},
        include_num_input_tokens_seen="non_padding",
        max_grad_norm=0.3,
        completion_only_loss=True,
        max_length=LONGEST,
        packing=False,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=10,
        report_to="none",
        bf16=half and device.half,
        fp16=half and not device.half,
        use_cpu=device.name == "cpu",
        dataloader_pin_memory=device.name == "cuda",
        seed=recipe.seed,
        data_seed=recipe.seed,
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset(train),
        eval_dataset=dataset(validation),
        processing_class=tokenizer,
        callbacks=[EarlyStoppingCallback(recipe.patience), Watch()],
    )
    # SFTTrainer makes the adapters of 4-bit weights bfloat16, which float16's gradient scaler (T4) does not take.
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    for shown in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(shown)
    began, resumed = time.monotonic(), last_checkpoint(run / "checkpoints")
    before = json.loads(Path(resumed, "trainer_state.json").read_text())["num_input_tokens_seen"] if resumed else 0
    trainer.train(resume_from_checkpoint=resumed)
    seconds = time.monotonic() - began
    trainer.save_model(str(best))
    tokenizer.save_pretrained(best)
    done = {
        "device": device.name,
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0, 2),
        "eval_loss": trainer.state.best_metric,
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "tokens_per_second": round((int(trainer.state.num_input_tokens_seen) - before) / seconds),
    }
    if device.name == "cuda":
        done["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    write_json(run / "done.json", done)
    return best


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that is whole; halves of one, of a machine that stopped while saving, are removed."""
    from transformers.trainer_utils import get_last_checkpoint

    while folder.is_dir() and (newest := get_last_checkpoint(str(folder))):
        try:  # what is written last
            json.loads(Path(newest, "trainer_state.json").read_text())
            return newest
        except (OSError, ValueError):
            shutil.rmtree(newest)
    return None


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Recipe("microsoft/phi-2")
    p.add_argument("--base", default=usual.base, help="a folder, or a name of the hub")
    p.add_argument("--run", type=Path, default=Path("models/phi2-qlora"))
    p.add_argument("--data", type=Path, default=Path("data/processed"), help="the folder of train.jsonl and val.jsonl")
    p.add_argument("--epochs", type=int, default=usual.epochs)
    p.add_argument("--rate", type=float, default=usual.rate)
    p.add_argument("--batch", type=int, default=usual.batch)
    p.add_argument("--accumulate", type=int, default=usual.accumulate)
    p.add_argument("--seed", type=int, default=usual.seed)
    o = p.parse_args()
    recipe = Recipe(o.base, o.epochs, rate=o.rate, batch=o.batch, accumulate=o.accumulate, seed=o.seed)
    try:
        train, validation = (read_labelled(o.data / name) for name in ("train.jsonl", "val.jsonl"))
        print(finetune(recipe, train, validation, o.run))
    except ValueError as e:
        p.error(str(e))
    except AssistantError as e:
        p.exit(e.exit_status, f"{p.prog}: {e}\n")


if __name__ == "__main__":
    main()
