"""The request as the rewrite model reads it: one line of words, each of which remembers how it was said.

A *word* is a run between spaces with its outer punctuation taken off. The model sees it in lower case and with
straight quotes, punctuation standing alone ("Call Mum, please." -> `call mum , please .`), so that it need not learn
every word in three cases; a task written by a model gets the person's own spelling back from `respell`.
"""

import unicodedata
from dataclasses import dataclass

from assistant.errors import BlankText, TextTooLong

MAX_CHARACTERS = 500
_OUTER = ".,;:!?\"()[]{}<>|/\\…“”«»‘’'`-–—~_^"
_STRAIGHT = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": ".", "\u00a0": " "})


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a request."""

    said: str
    """As the person wrote it, outer punctuation taken off: `Zbigniew's`."""
    folded: str
    """As the model reads and writes it: lower case, straight quotes: `zbigniew's`."""


def normalise(text: str) -> str:
    """`text` in NFC on one line: control and format characters gone, runs of white space one blank, trimmed.

    Raises `BlankText`, or `TextTooLong` above 500 characters.
    """
    if len(text) > 20 * MAX_CHARACTERS:  # do not spend time on what will be refused
        raise TextTooLong(len(text), MAX_CHARACTERS)
    text = unicodedata.normalize("NFC", text)
    text = "".join(" " if c.isspace() or unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cs") or c in "\u200c\u200d")
    text = " ".join(text.split())
    if len(text) > MAX_CHARACTERS:
        raise TextTooLong(len(text), MAX_CHARACTERS)
    if not text:
        raise BlankText
    return text


def fold(word: str) -> str:
    """Lower case with straight quotes, the form in which words are compared."""
    return word.translate(_STRAIGHT).lower()


def _split_run(run: str) -> tuple[str, str, str]:
    core = run.strip(_OUTER)
    if not core:
        return run, "", ""
    start = run.index(core)
    return run[:start], core, run[start + len(core) :]


def words(text: str) -> list[Word]:
    """The words of a normalised text, in order; runs of nothing but punctuation are no words."""
    return [Word(core, fold(core)) for run in text.split(" ") if (core := _split_run(run)[1])]


def model_text(text: str) -> str:
    """What the model reads for a normalised `text`: folded words and punctuation marks, a blank between them."""
    parts: list[str] = []
    for run in text.split(" "):
        before, core, after = _split_run(run)
        parts += [*fold(before), fold(core), *fold(after)] if core else [*fold(before)]
    return " ".join(p for p in parts if p)


def align(task: str, said: list[Word]) -> list[int] | None:
    """Positions in `said` of the words of `task`, in order and close together; None if one was not said."""
    wanted = [fold(w) for w in task.split()]
    best: list[int] | None = None
    for start, word in enumerate(said):
        if wanted and word.folded == wanted[0]:
            places, at = [start], start + 1
            for w in wanted[1:]:
                at = next((i for i in range(at, len(said)) if said[i].folded == w), -1)
                if at < 0:
                    return best
                places.append(at)
                at += 1
            if best is None or places[-1] - places[0] < best[-1] - best[0]:
                best = places
    return best


def respell(task: str, said: list[Word]) -> str | None:
    """`task` as the person spelt it, or None if it holds a word that was not said."""
    if not task.strip():
        return ""
    places = align(task, said)
    return None if places is None else " ".join(said[i].said for i in places)
