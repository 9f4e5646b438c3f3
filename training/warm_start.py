"""Begins a training with the weights and the tokenizer of a GGUF file that `export.py` wrote, grown to more layers.

A new layer is a copy of the one before it whose two output matrices are nought, so that the grown model says at first
exactly what the old one did (depth growth: Gong et al. 2019, Chen et al. 2016 "Net2Net").

    python -m training.warm_start    # prints which file to begin with: of the model in use, else of the one that ships
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import BPE

from assistant.config import load
from assistant.errors import ModelError
from assistant.local import model_file
from assistant.pointer import models_of
from training.export import LAYER, split_halves
from training.tokenizer import byte_level

_SILENT = ("self_attn.o_proj", "mlp.down_proj")


@dataclass(frozen=True)
class Start:
    """What a GGUF file holds, in transformers' names."""

    weights: dict[str, np.ndarray]
    """float32, as in `LlamaForCausalLM.state_dict` without the tied head."""
    layers: int
    width: int
    heads: int
    feed_forward: int
    tokenizer: Tokenizer


def read_gguf(file: Path) -> Start:
    """The weights, dequantised, and the tokenizer of a GGUF file of `export.py`.

    Raises OSError if it cannot be read, ValueError if it is no such file.
    """
    import gguf

    reader = gguf.GGUFReader(file)
    try:
        return _start(reader)
    except KeyError as e:
        raise ValueError(f"{file} is no model of training/export.py: it has no or another {e}") from None


def _start(reader) -> Start:
    import gguf

    def value(key: str):
        return reader.fields[key].contents()

    heads, layers = value("llama.attention.head_count"), value("llama.block_count")
    names = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for i in range(layers):
        names |= {f"blk.{i}.{theirs}.weight": f"model.layers.{i}.{ours}.weight" for ours, theirs in LAYER.items()}
    weights = {}
    for tensor in reader.tensors:
        name = names[tensor.name]
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        weights[name] = split_halves(weight, heads) if name.endswith(("q_proj.weight", "k_proj.weight")) else weight
    vocabulary = {token: i for i, token in enumerate(value("tokenizer.ggml.tokens"))}
    merges = [tuple(m.split(" ")) for m in value("tokenizer.ggml.merges")]
    tokenizer = byte_level(BPE(vocab=vocabulary, merges=merges))
    return Start(
        weights, layers, value("llama.embedding_length"), heads, value("llama.feed_forward_length"), tokenizer
    )


def grow(start: Start, layers: int) -> dict[str, np.ndarray]:
    """`start.weights` with new layers spread between the old ones, `layers` in all."""
    if layers < start.layers:
        raise ValueError(f"the model to start from has {start.layers} layers already")
    out = {k: w for k, w in start.weights.items() if not k.startswith("model.layers.")}
    old_of = [i * start.layers // layers for i in range(layers)]  # 6 to 8: 0 0 1 2 3 3 4 5
    for new, old in enumerate(old_of):
        copied = new > 0 and old_of[new - 1] == old
        for part in LAYER:
            weight = start.weights[f"model.layers.{old}.{part}.weight"]
            silent = copied and part in _SILENT
            out[f"model.layers.{new}.{part}.weight"] = np.zeros_like(weight) if silent else weight
    return out


def main() -> None:
    models = models_of(load())
    for model in (models.in_use, lambda: models.shipped):
        with suppress(ModelError, ValueError, OSError):
            read_gguf(file := model_file(model()))
            print(file)
            return
    raise SystemExit("training.warm_start: no model here can be trained on: restore the models folder.")


if __name__ == "__main__":
    main()
