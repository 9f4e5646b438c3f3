"""The rewrite model in this process: a GGUF file through llama-cpp-python, decoding greedily under a `Constraint`."""

import asyncio
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

from assistant.decoding import Constraint, Vocabulary
from assistant.errors import Busy, ModelError, ModelMissing, Unreadable
from assistant.grammar import NEWLINE
from assistant.messages import ASK_BELOW, Rewrite
from assistant.prompt import prompt, word_tokens
from assistant.words import model_text, words

BEYOND = 200
"""Tokens by which an answer may be longer than its request, for times; one that is longer is no answer."""
CONTEXT = 4096
"""Tokens: 500 characters of four bytes each at one token a byte, twice."""


def model_file(path: Path) -> Path:
    """The GGUF of a model folder, as its manifest names it, or `path` itself if it is a file. Raises `ModelMissing`."""
    if path.is_dir():
        manifest = path / "manifest.json"
        try:
            path = path / json.loads(manifest.read_text())["file"]
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelMissing(manifest) from None
    if not path.is_file():
        raise ModelMissing(path)
    return path


def ask_below(path: Path) -> float:
    """The confidence below which the model of a folder was calibrated to ask; `ASK_BELOW` where nothing is said."""
    try:
        return float(json.loads((path / "manifest.json").read_text())["calibration"]["ask_below"])
    except (OSError, ValueError, KeyError, TypeError):
        return ASK_BELOW


def confidence(written: list[str], sort: float, choices: list[tuple[int, float]]) -> float:
    """How sure a model is of the kind and the times of what it wrote, 0 to 1.

    `sort` is the probability that a command begins here, or that none does; `choices` are the place in `written` of
    each further choice and the probability of what was chosen. Which words a task has does not count: a reminder with a
    word too many still rings at its time.
    """
    timed, counts = False, {len(written)}
    for place, word in enumerate(written):
        if timed or word == NEWLINE or word.startswith("/"):
            counts.add(place)
        timed = word != NEWLINE and (timed or word in ("|", ">"))
    return sort * math.prod(p for place, p in choices if place in counts)


class LlamaModel:
    """A loaded GGUF with its fixed vocabulary; not to be used from two threads at once.

    Raises `ModelMissing`, or `ModelError` if llama.cpp cannot read the file.
    """

    def __init__(self, file: Path, threads: int = 1) -> None:
        import llama_cpp

        self._cpp = llama_cpp
        try:
            self._llm = llama_cpp.Llama(
                str(file),
                n_ctx=CONTEXT,
                n_batch=512,
                n_threads=threads,
                n_threads_batch=threads,
                n_gpu_layers=0,
                verbose=False,
            )
        except (ValueError, RuntimeError, OSError) as e:
            raise ModelError(
                f"The model {file} cannot be loaded ({e}): fetch it again, or set [model] path in config.toml."
            ) from None
        bos = self._llm.token_bos()
        self._begin = [bos] if bos >= 0 else []  # some models have none
        self._vocabulary = Vocabulary(self.tokenize, self._llm.token_eos())
        self._slash = word_tokens("/list", self.tokenize)[0]

    def tokenize(self, text: str) -> list[int]:
        return self._llm.tokenize(text.encode(), add_bos=False, special=False)

    def _choose(self, allowed: set[int]) -> tuple[int, dict[int, float]]:
        """The likeliest of the allowed tokens, and how likely each of them is among them."""
        import numpy

        logits = numpy.ctypeslib.as_array(
            self._cpp.llama_get_logits_ith(self._llm.ctx, -1), shape=(self._llm.n_vocab(),)
        )
        tokens = list(allowed)
        scores = logits[tokens]
        best = int(scores.argmax())
        share = numpy.exp(scores - scores[best])
        share /= share.sum()
        return tokens[best], dict(zip(tokens, share.tolist()))

    def write(self, text: str) -> tuple[str, float]:
        """The lines for a `words.model_text` in folded words, and the `confidence` in them. Raises `Unreadable` if no
        end was found."""
        constraint = Constraint(self._vocabulary, [w.folded for w in words(text)])
        sort: float | None = None
        choices: list[tuple[int, float]] = []
        self._llm.reset()
        waiting = [*self._begin, *self.tokenize(prompt(text))]
        for _ in range(min(len(waiting) + BEYOND, CONTEXT - len(waiting))):
            allowed = constraint.allowed
            if len(allowed) > 1:
                self._llm.eval(waiting)
                waiting = []
                token, shares = self._choose(allowed)
                constraint.take(token)
                if sort is None:
                    command = shares.get(self._slash, 0.0)
                    sort = command if token == self._slash else 1 - command
                else:
                    choices.append((len(constraint.line_words), shares[token]))
            else:  # no choice: the model is told, not asked
                (token,) = allowed
                constraint.take(token)
            if constraint.done:
                return constraint.text, confidence(constraint.line_words, 1.0 if sort is None else sort, choices)
            waiting.append(token)
        raise Unreadable

    def close(self) -> None:
        self._llm.close()


class LlamaRewriter:
    """The `Rewriter` that runs here. One request at a time, off the event loop; `queue` more may wait, then `Busy`."""

    def __init__(self, path: Path, threads: int = 1, queue: int = 64) -> None:
        self.name = path.name if path.is_dir() else path.stem
        self._path, self._threads, self._room = path, threads, queue + 1
        self._ask_below = ask_below(path)

    async def __aenter__(self) -> Self:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="rewrite")
        try:
            self._model = await self._run(lambda: LlamaModel(model_file(self._path), self._threads))
        except BaseException:
            self._worker.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._run(self._model.close)
        self._worker.shutdown()

    async def _run(self, work):
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def rewrite(self, text: str) -> Rewrite:
        if self._room <= 0:
            raise Busy
        self._room -= 1
        try:
            return await self._run(lambda: self.rewrite_now(text))
        finally:
            self._room += 1

    def rewrite_now(self, text: str) -> Rewrite:
        """`rewrite` on this thread."""
        began = perf_counter()
        lines, confidence = self._model.write(model_text(text))
        ms = round((perf_counter() - began) * 1000, 2)
        return Rewrite(lines, self.name, confidence, ms, self._ask_below)
