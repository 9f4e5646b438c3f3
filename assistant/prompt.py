"""The one text format that a model reads and writes; training and inference share it.

    <bos> call mum tomorrow at five<newline> call mum | tomorrow 5:00?<eos>

Every word has one blank before it, the first as well, so that a word has the same tokens wherever it stands; the
newline ends the request and separates entries. A model of any tokenizer that splits at blanks can be used so.
"""

from collections.abc import Callable

PROMPT_VERSION = 1
"""A model's manifest names the version that it was trained for; one of another version is not used."""
Tokenize = Callable[[str], list[int]]
"""Text to token ids, adding nothing of its own."""


def prompt(text: str) -> str:
    """What the model is given for a `words.model_text`, apart from the beginning-of-sequence token."""
    return f" {text}\n"


def completion(rewrite: str) -> str:
    """What the model writes for a rewrite of one or more lines, apart from the end-of-sequence token."""
    return "\n".join(f" {line}" for line in rewrite.split("\n"))


def word_tokens(word: str, tokenize: Tokenize) -> tuple[int, ...]:
    """The tokens of one word of a completion; the newline is a word without a blank."""
    return tuple(tokenize(word if word == "\n" else f" {word}"))
