"""Writes a trained model as a folder that `assistant` can use: GGUF (Q8_0), manifest, and a picture of its training.

    python -m training.export --run training/runs/small --out models/small

llama.cpp's own converter refuses a tokenizer that it has no name for, so the file is written with the `gguf` library:
names of tensors and metadata keys as in llama.cpp's `gguf-py/gguf/constants.py`, architecture `llama`.
"""

import argparse
import ctypes
import json
import os
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np

from assistant.models import sha256_of
from assistant.prompt import PROMPT_VERSION
from training.manifest import MANIFEST, write_json

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Part of a layer: transformers' name -> llama.cpp's."""


def _interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix from transformers' half-and-half rotary order to llama.cpp's pairs."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def split_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of `_interleave`."""
    return (
        weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def write_gguf(run: Path, file: Path, name: str) -> None:
    """The float32 GGUF of the model and tokenizer in `run`."""
    import gguf
    from safetensors.numpy import load_file

    from training.tokenizer import BOS, EOS, PRE_TOKENIZER

    config = json.loads((run / "config.json").read_text())
    tokenizer = json.loads((run / "tokenizer.json").read_text())
    heads = config["num_attention_heads"]
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    w = gguf.GGUFWriter(file, "llama")
    w.add_name(name)
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_rope_dimension_count(config["hidden_size"] // heads)
    w.add_rope_freq_base(theta)
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_vocab_size(config["vocab_size"])
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(PRE_TOKENIZER)
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if t in (BOS, EOS) else gguf.TokenType.NORMAL for t in tokens])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    w.add_bos_token_id(tokens.index(BOS))
    w.add_eos_token_id(tokens.index(EOS))
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    for key, weight in load_file(run / "model.safetensors").items():
        weight = weight.astype(np.float32)
        if key == "lm_head.weight":
            continue  # tied to the embedding
        if key == "model.embed_tokens.weight":
            w.add_tensor("token_embd.weight", weight)
        elif key == "model.norm.weight":
            w.add_tensor("output_norm.weight", weight)
        else:
            _, _, layer, part = key.split(".", 3)
            part = part.removesuffix(".weight")
            if part in ("self_attn.q_proj", "self_attn.k_proj"):
                weight = _interleave(weight, heads)
            w.add_tensor(f"blk.{layer}.{LAYER[part]}.weight", weight)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


@cache
def _silent():
    """A log callback that drops everything; cached, as llama.cpp keeps only a bare pointer to it."""
    import llama_cpp

    return llama_cpp.llama_log_callback(lambda level, text, data: None)


def quantize(source: Path, target: Path, kind: str = "Q8_0") -> None:
    """`source` quantised by llama.cpp; `kind` as in its `LLAMA_FTYPE_MOSTLY_*`. Raises RuntimeError."""
    import llama_cpp

    llama_cpp.llama_log_set(_silent(), None)  # a line a tensor says nothing to a person
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) != 0:
        raise RuntimeError(f"llama.cpp could not quantise {source}")


def export(run: Path, out: Path, extra: dict | None = None) -> Path:
    """Writes `out/model-q8_0.gguf`, `manifest.json` and `training.png`; the first two appear whole or not at all.

    The manifest holds what the run was made of (`recipe.json`) and what came of it, and `extra`. Returns the GGUF.
    """
    from training.curve import draw

    out.mkdir(parents=True, exist_ok=True)
    file = out / "model-q8_0.gguf"
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        write_gguf(run, Path(scratch, "f32.gguf"), out.name)
        quantize(Path(scratch, "f32.gguf"), Path(scratch, "q8.gguf"))
        os.replace(Path(scratch, "q8.gguf"), file)
    config = json.loads((run / "config.json").read_text())
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    recipe = json.loads((run / "recipe.json").read_text())
    draw(run, out / "training.png")
    manifest = {
        "name": out.name,
        "file": file.name,
        "sha256": sha256_of(file),
        "bytes": file.stat().st_size,
        "licence": "MIT",
        "base": "the model `init_sha256` of the recipe" if "init_sha256" in recipe else "trained from scratch",
        "architecture": {
            k: config[k]
            for k in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
        },
        "prompt": PROMPT_VERSION,
        "trained": datetime.now(UTC).date().isoformat(),
        "recipe": recipe,
        "steps": log[-1]["step"],
        "hours": round(log[-1]["seconds"] / 3600, 2),
        "validation": [r for r in log if "val_loss" in r][-1],
        **(extra or {}),
    }
    write_json(out / MANIFEST, manifest)
    return file


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", type=Path, default=Path("training/runs/small"))
    p.add_argument("--out", type=Path, default=Path("models/small"))
    o = p.parse_args()
    print(export(o.run, o.out))


if __name__ == "__main__":
    main()
