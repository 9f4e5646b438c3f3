"""Whether a GGUF file says what the model that it was made of says: token for token, on the same prompts.

Both are given the merged model's own greedy continuation and asked at every place for the likeliest next token. A
conversion that mixes up weights, heads or the tokenizer agrees at few places; weights of four bits change some.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assistant.errors import AssistantError
from assistant.prompt import prompt
from assistant.words import model_text
from training.finetune import beginning, choose_device

CONTINUATION = 12
"""Tokens after each prompt; the end is not taken for one of them."""
LEAST = {"F16": 0.97, "Q4_K_M": 0.5}
"""Shares of places at which the likeliest token must be the same. An f16 file shows whether the conversion is right,
and differs by ties alone; what four bits change depends on how sure a model is: 0.63 was seen of random weights, 0.95
of the same after a minute of training (training/LOG.md)."""
PROMPTS = (
    "hey can you remind me to call mum tomorrow at like five ish",
    "wake me up at six thirty on friday",
    "take the bins out every thursday at 7 am",
    "um remind me in half an hour to check on the chicken",
    "set an alarm for 7:45 tonight",
    "pay the rent on the first of every month",
    "don't let me forget to buy stamps",
    "what have I got on tomorrow?",
    "cancel my appointment with Dr Okonkwo",
    "push my run back an hour",
    "snooze",
    "I've watered the plants",
    "turn the lights off in the kitchen",
    "remind me to email Zbigniew about the quarterly report at noon, and to ring the vet at 4",
    "every other tuesday at 18:30 put the recycling out until christmas",
    "lunch with Aunt Ingrid on the twenty second of june at one",
    "move the 5 o'clock alarm to 6 pm",
    "in a fortnight ask the bank about the card",
    "remind me to stretch every 20 minutes until 6",
    "note to self: Ålesund tickets, Sunday morning",
)


class NotTheSame(AssistantError):
    """A conversion that changed what the model says; it is not shipped."""

    code, exit_status = "parity", 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model says to one prompt."""

    tokens: tuple[int, ...]
    """Of the prompt and the greedy continuation."""
    likeliest: tuple[int, ...]
    """After each token, from the last one of the prompt on, the likeliest next."""


def read_merged(folder: Path, texts: Sequence[str] = PROMPTS) -> list[Reading]:
    """The merged model's greedy answers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    device = choose_device().name
    dtype = torch.float32 if device == "cpu" else torch.float16
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    begin = beginning(tokenizer, model.config)
    length = {"min_new_tokens": CONTINUATION, "max_new_tokens": CONTINUATION}
    out = []
    for text in texts:
        ids = begin + tokenizer.encode(prompt(model_text(text)), add_special_tokens=False)
        given = torch.tensor([ids], device=device)
        with torch.inference_mode():
            whole = model.generate(given, attention_mask=torch.ones_like(given), do_sample=False, **length)
            likeliest = model(whole).logits[0, len(ids) - 1 : -1].argmax(-1)
        out.append(Reading(tuple(whole[0].tolist()), tuple(likeliest.tolist())))
    return out


def agreement(gguf: Path, readings: Sequence[Reading], texts: Sequence[str] = PROMPTS) -> float:
    """The share of places, 0 to 1, at which the file's likeliest token is the merged model's.

    Raises `NotTheSame` if it reads a prompt in other tokens.
    """
    import llama_cpp

    llm = llama_cpp.Llama(str(gguf), n_ctx=512, n_gpu_layers=0, logits_all=True, verbose=False)
    same = places = 0
    try:
        begin = [llm.token_bos()] if llm.token_bos() >= 0 else []
        for text, reading in zip(texts, readings):
            ids = begin + llm.tokenize(prompt(model_text(text)).encode(), add_bos=False, special=False)
            if tuple(ids) != reading.tokens[: len(ids)] or len(reading.tokens) != len(ids) + CONTINUATION:
                raise NotTheSame(f'{gguf.name} reads "{text}" in other tokens than the model that it was made of.')
            llm.reset()
            llm.eval(list(reading.tokens[:-1]))
            said = np.asarray(llm.scores[len(ids) - 1 : len(reading.tokens) - 1]).argmax(-1)
            same += int((said == np.asarray(reading.likeliest)).sum())
            places += len(reading.likeliest)
    finally:
        llm.close()
    return same / places


def require(gguf: Path, readings: Sequence[Reading], kind: str, texts: Sequence[str] = PROMPTS) -> float:
    """The agreement. Raises `NotTheSame` if it is less than a file of this kind may have."""
    found = agreement(gguf, readings, texts)
    if found < LEAST[kind]:
        raise NotTheSame(
            f"{gguf.name} says the same as the model that it was made of at {found:.0%} of places only, and "
            f"{LEAST[kind]:.0%} are needed: the conversion is broken, and the model is not shipped."
        )
    return round(found, 4)
