"""A byte-level BPE tokenizer of a few thousand tokens, learnt from synthetic requests.

Digits stand alone, so that numbers are read and copied figure by figure; nothing merges across a blank. llama.cpp
knows this pre-tokenizer by the name `PRE_TOKENIZER`.
"""

from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from assistant.prompt import completion, prompt
from training.synthesize import Synthesizer

BOS, EOS = "<bos>", "<eos>"
PRE_TOKENIZER = "smollm"


def byte_level(model: models.BPE) -> Tokenizer:
    """A tokenizer around a BPE model: digits alone, then bytes."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_tokenizer(size: int, seed: int, examples: int = 60_000) -> Tokenizer:
    """`size` tokens, specials included, learnt from the first `examples` of `seed`."""
    tokenizer = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (prompt(e.text) + completion(e.rewrite) for e in islice(Synthesizer().examples(seed), examples))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))
