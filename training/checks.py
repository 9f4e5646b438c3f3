"""What a labelled request must pass before a model is trained on it, whoever wrote it.

    python -m training.checks data/task_dataset.jsonl

The rewrite must be one that decoding could write for this very request: every word of a task was said, in order; every
time is a sentence of the When language with hours, numbers and days that the request gives reason for. And what
`when.split` takes apart, `when.join` puts together again.
"""

import argparse
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from assistant.decoding import obstacle
from assistant.errors import AssistantError
from assistant.when import join, split
from assistant.words import fold, model_text, normalise, words
from training.labelled import Labelled, read_labelled

SAME = 0.8
"""Two requests that share so much of their pairs of words (Jaccard index) are nearly the same."""


class Rejected(ValueError):
    """It cannot be trained on. `reason` is a short phrase that stays the same for the same fault."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


def check(row: Labelled) -> Labelled:
    """The row, its output in small letters with single blanks. Raises `Rejected`."""
    if not isinstance(row.input, str) or not isinstance(row.output, str):
        raise Rejected("no text")
    try:
        text = normalise(row.input)
    except AssistantError as e:
        raise Rejected("the request cannot be taken", str(e)) from None
    written = fold(unicodedata.normalize("NFC", row.output.strip()))
    output = "\n".join(" ".join(line.split()) for line in written.split("\n"))
    if "|" in text:
        raise Rejected("a bar in the request")
    if word := obstacle(output, [w.folded for w in words(text)]):
        raise Rejected("not a rewrite of this request", f'"{word}" cannot be written in "{output}"')
    checked = Labelled(text, output, row.source, row.group, row.domain, row.style, row.agreed)
    for line in output.split("\n"):
        if not line.startswith("/") and join(*split(line)) != line:
            raise Rejected("task and time do not part again", line)
    return checked


def shingles(text: str) -> frozenset[tuple[str, str]]:
    """Pairs of neighbouring words of a request, its beginning included; numbers count as one and the same."""
    said = ["", *("0" if w.isdigit() else w for w in model_text(normalise(text)).split() if w[0].isalnum())]
    return frozenset(zip(said, said[1:]))


class Seen:
    """Requests so far, to tell those that are nearly the same as one of them."""

    def __init__(self, rows: Iterable[Labelled] = ()) -> None:
        self._texts: list[str] = []
        self._shingles: list[frozenset] = []
        self._holding: dict[tuple[str, str], list[int]] = {}
        for row in rows:
            self.add(row.input)

    def add(self, text: str) -> None:
        number, pairs = len(self._texts), shingles(text)
        self._texts.append(text)
        self._shingles.append(pairs)
        for pair in pairs:
            self._holding.setdefault(pair, []).append(number)

    def like(self, text: str) -> str | None:
        """A request that is nearly the same as `text`; one without words is like none but itself."""
        return next(self.all_like(text), None)

    def all_like(self, text: str) -> Iterator[str]:
        """Every such request."""
        pairs, shared = shingles(text), {}
        if not pairs and text in self._texts:
            yield text
        for pair in pairs:
            for number in self._holding.get(pair, ()):
                shared[number] = shared.get(number, 0) + 1
        for number, both in shared.items():
            if both >= SAME * (len(pairs) + len(self._shingles[number]) - both):
                yield self._texts[number]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", type=Path, help="a file of labelled requests")
    o = p.parse_args()
    seen, bad = Seen(), 0
    for number, row in enumerate(read_labelled(o.file), 1):
        try:
            check(row)
            if twin := seen.like(row.input):
                raise Rejected("nearly the same as another", twin)
            seen.add(row.input)
        except Rejected as e:
            bad += 1
            print(f"{o.file}:{number}: {e}\n    {row.input}\n    {row.output!r}")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
