"""Trains the small rewrite model on synthetic examples, from scratch or from a model that `export.py` wrote.

    python -m training.pretrain --run training/runs/small --steps 9000
    python -m training.pretrain --run training/runs/small --steps 9000 --init models/small/model-q8_0.gguf --layers 8
    python -m training.pretrain --run training/runs/mine --steps 300 --init models/small/model-q8_0.gguf \\
        --extra data/processed/train.jsonl
    python -m training.pretrain --run training/runs/small --minutes 9 --workers 14 --batch 32768 --layers 12 --compile

A Llama-architecture decoder of 6 to 14 M parameters; the loss counts the rewrite and its end only. Every stretch of
`CHUNK` examples is drawn from a seed of its own, so that a run that was interrupted goes on from its checkpoint as if
nothing had happened. The rate of learning stands still after a warm-up and falls linearly to nothing over the last
`--fall` of the run. With `--extra` rows, labelled requests take the place of a share of the synthetic ones, which go on
so that nothing else is forgotten; with `--retell` they are said in other ways each time. A GPU is used if there is one:
it wants batches of more tokens, and worker processes that draw examples, as one core makes some thousands a second.
With `--minutes` the rate follows the clock as well, so that it has fallen to nothing when the time is over.

Writes `recipe.json`, `tokenizer.json`, `checkpoint.pt`, `log.jsonl` and, with every checkpoint, `model.safetensors`
with `config.json`.
"""

import argparse
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from itertools import count as count_from
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

from assistant.prompt import completion, prompt
from assistant.words import model_text, normalise
from training.labelled import read_labelled
from training.muon import StackedMuon
from training.synthesize import SEED_DATA, Example, Synthesizer, texts_of
from training.tokenizer import BOS, EOS, load_tokenizer, train_tokenizer
from training.warm_start import grow, read_gguf

CHUNK = 4096
LOG_EVERY = 50
VALIDATION_SEED = 7_777_777
Batch = tuple[Tensor, Tensor]
"""Token ids (batch, length) int64, padded on the right; mask of the same shape, True where the next token counts."""


def encode(example: Example, tokenizer: Tokenizer) -> tuple[list[int], int]:
    """Token ids of an example and how many of them are the prompt."""
    head = [tokenizer.token_to_id(BOS), *tokenizer.encode(prompt(example.text)).ids]
    return [*head, *tokenizer.encode(completion(example.rewrite)).ids, tokenizer.token_to_id(EOS)], len(head)


def collate(rows: list[tuple[list[int], int]]) -> Batch:
    longest = max(len(ids) for ids, _ in rows)
    tokens, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, (ids, head) in enumerate(rows):
        tokens[i, : len(ids)] = torch.tensor(ids)
        mask[i, head - 1 : len(ids) - 1] = True
    return tokens, mask


def batches(
    source: Synthesizer,
    tokenizer: Tokenizer,
    seed: int,
    size: int,
    count: int = CHUNK,
    extra: Sequence[Example] = (),
    share: float = 0.0,
    retell: bool = False,
) -> list[Batch]:
    """`count` examples of a seed in batches of like lengths, at most `size` tokens each, in random order.

    A `share` of them is drawn from `extra`, and if wished retold.
    """
    rng = Random(seed)
    drawn = rng.choices(extra, k=round(share * count)) if extra else []
    if retell:
        drawn = [source.retold(rng, e) for e in drawn]
    examples = [*islice(source.examples(seed), count - len(drawn)), *drawn]
    rows = sorted((encode(e, tokenizer) for e in examples), key=lambda r: len(r[0]))
    out: list[Batch] = []
    while rows:
        fits = max(1, next((n for n in range(len(rows), 0, -1) if n * len(rows[n - 1][0]) <= size), 1))
        out.append(collate(rows[:fits]))
        rows = rows[fits:]
    Random(seed).shuffle(out)
    return out


def chunks(
    source: Synthesizer,
    tokenizer: Tokenizer,
    seed: int,
    first: int,
    workers: int,
    size: int,
    count: int,
    extra: Sequence[Example],
    share: float,
    retell: bool,
) -> Iterator[tuple[int, list[Batch]]]:
    """The numbers of the stretches of `count` examples from `first` on, each with its batches.

    With `workers` so many processes draw ahead; the batches are the same.
    """
    how = (size, count, extra, share, retell)
    if not workers:
        for chunk in count_from(first):
            yield chunk, batches(source, tokenizer, seed + 1 + chunk, *how)
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_begin_worker,
        initargs=(source.exclude, tokenizer.to_str(), seed, how),
    )
    try:
        ahead: deque = deque()
        for chunk in count_from(first):
            while len(ahead) < 2 * workers:
                ahead.append(pool.submit(_draw, chunk + len(ahead)))
            yield chunk, [(torch.from_numpy(t).long(), torch.from_numpy(m)) for t, m in ahead.popleft().result()]
    finally:
        pool.shutdown(cancel_futures=True)


_worker: tuple = ()
"""In a worker process: its synthesizer, its tokenizer, the seed of the run and how batches are made."""


def _begin_worker(exclude: frozenset[str], tokenizer: str, seed: int, how: tuple) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = (Synthesizer(exclude), Tokenizer.from_str(tokenizer), seed, how)


def _draw(chunk: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Arrays, as torch would send each tensor through a file descriptor of its own."""
    source, tokenizer, seed, how = _worker
    return [(t.int().numpy(), m.numpy()) for t, m in batches(source, tokenizer, seed + 1 + chunk, *how)]


def completion_logits(model: LlamaForCausalLM, batch: Batch, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Logits (n, vocabulary) and right tokens (n) at the places that count, on the `device`; it is never waited for."""
    tokens, mask = batch
    [places] = mask.flatten().nonzero(as_tuple=True)
    sent = [tokens, places, torch.roll(tokens, -1, dims=1).flatten()[places]]
    if device == "cuda":
        sent = [t.pin_memory().to(device, non_blocking=True) for t in sent]
    tokens, places, right = sent
    hidden = model.model(input_ids=tokens).last_hidden_state.flatten(0, 1).index_select(0, places)
    return model.lm_head(hidden).float(), right


@torch.no_grad()
def validate(model: LlamaForCausalLM, held_out: list[Batch], device: str) -> dict[str, float]:
    """Mean loss a token, and the share of rewrites of which every token comes out right (given the ones before)."""
    model.eval()
    loss = tokens = whole = rows = 0.0
    for batch in held_out:
        with torch.autocast(device, torch.bfloat16):
            logits, right = completion_logits(model, batch, device)
        loss += torch.nn.functional.cross_entropy(logits, right, reduction="sum").item()
        tokens += len(right)
        row = batch[1].nonzero()[:, 0].to(device)
        wrong = torch.zeros(len(batch[0]), device=device).index_add_(0, row, (logits.argmax(-1) != right).float())
        whole += (wrong == 0).sum().item()
        rows += len(batch[0])
    model.train()
    return {"val_loss": round(loss / tokens, 4), "val_whole": round(whole / rows, 4)}


def optimizers(model: LlamaForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings and gains."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    others = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "embed" not in n and "lm_head" not in n)]
    kind = StackedMuon if matrices[0].is_cuda else torch.optim.Muon
    return [
        kind(matrices, lr=10 * rate, weight_decay=0.01, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=rate, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def schedule(step: int, done: float, warmup: int = 200, fall: float = 0.33) -> float:
    """Factor of the rate of learning at a step, when the share `done` of the run lies behind."""
    return min(1.0, (step + 1) / warmup, max(0.0, 1 - done) / max(1e-9, fall))


def data_hash() -> str:
    """SHA-256 over the seed data and the files beside this one that make examples of it."""
    code = (Path(__file__).parent / f"{name}.py" for name in ("clock_times", "dates", "synthesize"))
    digest = hashlib.sha256()
    for file in sorted((*SEED_DATA.glob("*.txt"), *code), key=lambda f: f.name):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def new_model(
    vocabulary: int, width: int, layers: int, heads: int, feed_forward: int, attention: str = "eager"
) -> LlamaForCausalLM:
    """`attention`: "eager" is a fifth faster on a CPU at such lengths, "sdpa" on a GPU."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        attn_implementation=attention,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def save(path: Path, state: dict) -> None:
    """A checkpoint that is either the old or the new one, whenever the machine stops."""
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def _refuse_another_run(run: Path, recipe: dict) -> None:
    """A folder with the checkpoint of a run that began otherwise is not gone on with."""
    if not (run / "checkpoint.pt").exists():
        return
    there = json.loads((run / "recipe.json").read_text())
    if any(there.get(key) != recipe.get(key) for key in ("seed", "init_sha256", "extra_sha256")):
        raise ValueError(f"{run} holds another run: name another folder with --run, or remove it")


def train(
    run: Path,
    *,
    steps: int | None,
    width: int,
    layers: int | None,
    vocabulary: int,
    batch: int,
    rate: float,
    seed: int,
    fall: float = 0.33,
    init: Path | None = None,
    exclude: Path | None = None,
    extra: Path | None = None,
    share: float = 0.25,
    retell: bool = False,
    minutes: float | None = None,
    workers: int = 0,
    compiled: bool = False,
    checkpoint_every: int = 500,
    validation: int = 1024,
) -> Path:
    """Trains or goes on training in `run`; returns the folder of the finished model.

    With `init` width and vocabulary are those of that model, and so are `layers` unless said; `extra` are labelled
    requests, which make up `share` of the examples. It ends after `steps` or when `minutes` of training are over,
    whichever comes first; None is without end. Raises `ValueError` if `run` holds another run, or `extra` is no file of
    labelled requests.
    """
    run.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    attention = "sdpa" if device == "cuda" else "eager"
    torch.manual_seed(seed)
    source = Synthesizer(texts_of(exclude))
    recipe = ({"steps": steps} if steps else {}) | {"tokens_a_batch": batch, "rate": rate, "fall": fall, "seed": seed}
    recipe["data_sha256"] = data_hash()
    if exclude:
        recipe["exclude_sha256"] = hashlib.sha256(exclude.read_bytes()).hexdigest()
    if minutes:
        recipe["minutes"] = minutes
    if device == "cuda":
        recipe["device"] = torch.cuda.get_device_name()
    rows = [Example(model_text(normalise(r.input)), r.output, "extra") for r in read_labelled(extra)] if extra else []
    if extra:
        recipe |= {"extra_sha256": hashlib.sha256(extra.read_bytes()).hexdigest(), "share": share}
        recipe |= {"retell": True} if retell else {}
    if init is None:
        if not (run / "tokenizer.json").exists():
            train_tokenizer(vocabulary, seed).save(str(run / "tokenizer.json"))
        tokenizer = load_tokenizer(run / "tokenizer.json")
        feed_forward = -(-width * 8 // 3 // 32) * 32
        model = new_model(tokenizer.get_vocab_size(), width, layers or 6, width // 64, feed_forward, attention)
    else:
        start = read_gguf(init)
        layers = layers or start.layers
        recipe["init_sha256"] = hashlib.sha256(init.read_bytes()).hexdigest()
        start.tokenizer.save(str(run / "tokenizer.json"))
        tokenizer = start.tokenizer
        model = new_model(tokenizer.get_vocab_size(), start.width, layers, start.heads, start.feed_forward, attention)
        grown = {k: torch.from_numpy(w.copy()) for k, w in grow(start, layers).items()}
        model.load_state_dict(grown | {"lm_head.weight": grown["model.embed_tokens.weight"]})
    model.to(device)
    _refuse_another_run(run, recipe)
    (run / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n")
    tools = optimizers(model, rate)
    step, chunk, place, spent = 0, 0, 0, 0.0
    if (run / "checkpoint.pt").exists():
        state = torch.load(run / "checkpoint.pt", map_location=device, weights_only=False)
        model.load_state_dict(state["model"])
        for tool, s in zip(tools, state["optimizers"]):
            tool.load_state_dict(s)
        step, chunk, place, spent = (state[k] for k in ("step", "chunk", "place", "seconds"))
    if compiled:
        for layer in model.model.layers:  # layer by layer: what is compiled for one serves all
            layer.compile(dynamic=True)
    held_out = batches(source, tokenizer, VALIDATION_SEED, batch, validation)
    stretch = CHUNK * max(1, batch // 6144)  # so that batches of like lengths can be made
    drawn = chunks(source, tokenizer, seed, chunk, workers, batch, stretch, rows, share, retell)
    began, losses = time.monotonic() - spent, []

    def done() -> float:
        """The share of the run that lies behind."""
        return max(step / steps if steps else 0.0, (time.monotonic() - began) / (60 * minutes) if minutes else 0.0)

    with (
        (run / "log.jsonl").open("a") as log,
        tqdm(total=steps, initial=step, unit="step", mininterval=5) as bar,
        closing(drawn),
    ):
        ends = done() >= 1
        while not ends:
            chunk, made = next(drawn)
            for one in made[place:]:
                factor = schedule(step, done(), fall=fall)
                for tool, base in zip(tools, (10 * rate, rate)):
                    for group in tool.param_groups:
                        group["lr"] = base * factor
                with torch.autocast(device, torch.bfloat16):
                    logits, right = completion_logits(model, one, device)
                loss = torch.nn.functional.cross_entropy(logits, right)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for tool in tools:
                    tool.step()
                    tool.zero_grad(set_to_none=True)
                losses.append(loss.detach())
                step, place = step + 1, place + 1
                bar.update()
                ends = done() >= 1
                if step % LOG_EVERY == 0 or step % checkpoint_every == 0 or ends:
                    row = {
                        "step": step,
                        "loss": round(torch.stack(losses).mean().item(), 4),
                        "seconds": round(time.monotonic() - began),
                    }
                    losses.clear()
                    if step % checkpoint_every == 0 or ends:
                        row |= validate(model, held_out, device)
                        save(
                            run / "checkpoint.pt",
                            {
                                "model": model.state_dict(),
                                "optimizers": [t.state_dict() for t in tools],
                                "step": step,
                                "chunk": chunk,
                                "place": place,
                                "seconds": time.monotonic() - began,
                            },
                        )
                        model.save_pretrained(run)
                    bar.set_postfix(row)
                    print(json.dumps(row), file=log, flush=True)
                if ends:
                    break
            place = 0
    return run


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", type=Path, default=Path("training/runs/small"))
    p.add_argument("--steps", type=int, help="9000, or with --minutes as many as there is time for")
    p.add_argument("--width", type=int, help="256, or with --init that of the model")
    p.add_argument("--layers", type=int, help="6, or with --init those of the model")
    p.add_argument("--vocabulary", type=int, help="4096, or with --init that of the model")
    p.add_argument("--batch", type=int, default=6144, help="tokens a batch, padding included")
    p.add_argument("--rate", type=float, default=2e-3)
    p.add_argument("--fall", type=float, default=0.33, help="share of the run over which the rate falls to nothing")
    p.add_argument("--init", type=Path, help="a GGUF file to begin with; its width and tokenizer are kept")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--extra", type=Path, help="labelled requests that are trained on beside the synthetic ones")
    p.add_argument("--share", type=float, default=0.25, help="the share of examples that --extra makes up")
    p.add_argument("--retell", action="store_true", help="say labelled requests in other ways each time")
    p.add_argument("--minutes", type=float, help="end after so many, the rate fallen to nothing, if not before")
    p.add_argument("--workers", type=int, default=0, help="processes that draw examples; 0: between the steps")
    p.add_argument("--compile", dest="compiled", action="store_true", help="torch.compile, which pays on a GPU")
    p.add_argument("--checkpoint-every", type=int, default=500, metavar="STEPS")
    p.add_argument("--exclude", type=Path, help="a gold file whose texts must not be trained on")
    o = p.parse_args()
    o.steps = o.steps or (None if o.minutes else 9000)
    if o.init and (o.width or o.vocabulary):
        p.error("--init keeps the width and the vocabulary of its model: leave --width and --vocabulary out")
    try:
        train(**vars(o) | {"width": o.width or 256, "vocabulary": o.vocabulary or 4096})
    except ValueError as e:
        p.error(str(e))


if __name__ == "__main__":
    main()
