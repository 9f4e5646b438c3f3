"""Makes a Phi of two layers with random weights, to try the way of a big model where none can be fetched.

    python -m training.tiny_phi training/runs/tiny-phi

A folder as the hub has them: `config.json`, `model.safetensors`, and the tokenizer of the shipped small model. Its
sizes are the smallest that Q4_K_M takes (rows of 256 weights).
"""

import argparse
import json
from pathlib import Path

from assistant.config import SHIPPED_MODEL
from assistant.local import model_file

PRE_TOKENIZER_NOTE = "pre_tokenizer.json"
"""Beside a model whose tokenizer llama.cpp has no name for: `{"name"}` of the pre-tokenizer that it should use."""


def make(folder: Path, seed: int = 1, width: int = 256, layers: int = 2) -> Path:
    """Writes the model and returns its folder; the same seed makes the same weights."""
    import torch
    from transformers import PhiConfig, PhiForCausalLM, PreTrainedTokenizerFast

    from training.tokenizer import BOS, EOS, PRE_TOKENIZER
    from training.warm_start import read_gguf

    tokenizer = read_gguf(model_file(SHIPPED_MODEL)).tokenizer
    torch.manual_seed(seed)
    model = PhiForCausalLM(
        PhiConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            max_position_embeddings=2048,
            partial_rotary_factor=0.5,
            bos_token_id=tokenizer.token_to_id(BOS),
            eos_token_id=tokenizer.token_to_id(EOS),
            resid_pdrop=0.0,
            initializer_range=0.1,  # of 0.02 the logits of so narrow a model are all alike, and adapters cannot help it
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS).save_pretrained(folder)
    (folder / PRE_TOKENIZER_NOTE).write_text(json.dumps({"name": PRE_TOKENIZER}) + "\n")
    return folder


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    print(make(o.folder, o.seed))


if __name__ == "__main__":
    main()
