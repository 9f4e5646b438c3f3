"""A rewrite that was written elsewhere, in the form in which a model here would have written it, or none at all.

    Call Mum tomorrow 17:00  ->  call mum | tomorrow 17:00

It may come from `assistant serve`, with the person's own spelling, from a model that no grammar held, or from someone
else's `/predict`, which writes a task and a time on a plain line. Whoever wrote it, it is held to what the request
gives reason for (`decoding.obstacle`), so that nothing is acted on that was not said.
"""

from assistant.decoding import THE_END, obstacle
from assistant.evidence import GUARDED
from assistant.grammar import MAX_ENTRIES
from assistant.when import join, split
from assistant.words import fold, words

MOST_WHEN_WORDS = 64
"""More than the longest When sentence has."""


def canonical(rewrite: str, said: list[str]) -> str:
    """The lines of `rewrite` in folded words, for a request of the folded words `said`.

    Raises `ValueError`, which says what kind of thing is wrong and nothing of the text.
    """
    lines = [line for line in rewrite.split("\n") if line.strip()]
    if not lines:
        raise ValueError("an empty rewrite")
    if len(lines) > MAX_ENTRIES or any(len(line.split()) > len(said) + MOST_WHEN_WORDS for line in lines):
        raise ValueError("it wrote more than was said")
    written = "\n".join(_slash(line) if line.lstrip().startswith("/") else _entry(line) for line in lines)
    match obstacle(written, said):
        case None:
            return written
        case word if word == THE_END:
            raise ValueError("a rewrite without its end")
        case word if word in GUARDED or word[:1].isdigit():
            raise ValueError("it wrote a time that was not said")
        case _:
            raise ValueError("it wrote a word that was not said")


def _slash(line: str) -> str:
    return " ".join(map(fold, line.split()))


def _entry(line: str) -> str:
    task, when = split(line)
    return join(" ".join(w.folded for w in words(task)), when)
