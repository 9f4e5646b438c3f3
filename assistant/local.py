"""The rewrite model in this process: a GGUF file through llama-cpp-python, decoding greedily under a `Constraint`."""

import asyncio
import json
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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
_LOADING = threading.Lock()
"""llama-cpp-python closes the process's stderr while it loads; two at once would each put back what the other left."""


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


class Abandoned(Exception):
    """Nobody waits for this answer any more."""


def _wanted() -> bool:
    return False


class LlamaModel:
    """A loaded GGUF with its fixed vocabulary and one llama.cpp context; not to be used from two threads at once.

    Raises `ModelMissing`, or `ModelError` if llama.cpp cannot read the file.
    """

    def __init__(self, file: Path, threads: int = 1) -> None:
        import llama_cpp

        self._cpp = llama_cpp
        try:
            with _LOADING:
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

    def write(self, text: str, abandoned: Callable[[], bool] = _wanted) -> tuple[str, float]:
        """The lines for a `words.model_text` in folded words, and the `confidence` in them.

        Raises `Unreadable` if no end was found, and `Abandoned` before the next token once `abandoned` is true.
        """
        constraint = Constraint(self._vocabulary, [w.folded for w in words(text)])
        sort: float | None = None
        choices: list[tuple[int, float]] = []
        self._llm.reset()
        waiting = [*self._begin, *self.tokenize(prompt(text))]
        for _ in range(min(len(waiting) + BEYOND, CONTEXT - len(waiting))):
            allowed = constraint.allowed
            if len(allowed) > 1:
                if abandoned():
                    raise Abandoned
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
    """The `Rewriter` that runs here, off the event loop.

    `contexts` requests are worked on at once, each on a llama.cpp context of its own and `threads` threads (llama.cpp
    lets go of the GIL while it computes); `queue` more may wait, first come first served, then `Busy`.

    All contexts map the same weights from the file. A further one costs the keys and values of `CONTEXT` tokens, each
    4 bytes a layer and unit of width, and some 17 MiB besides: of models/small (10 layers of 320) 50 + 17 MiB.

    Cancelling `rewrite` abandons the request: one that waits is never begun and its place is free at once, one under
    way stops before its next token, and its context is free as soon as it has stopped.
    """

    def __init__(self, path: Path, threads: int = 1, queue: int = 64, contexts: int = 1) -> None:
        self.name = path.name if path.is_dir() else path.stem
        self._path, self._threads, self._contexts, self._room = path, threads, contexts, contexts + queue
        self._ask_below = ask_below(path)
        self._idle: list[LlamaModel] = []
        """The last to be used is the next: what it needs may still be in the processor's cache."""
        self._jobs: set[Future[Rewrite]] = set()
        """Under way or waiting. A worker may take its own out at any instant: look at a copy."""
        self.ended = 0
        """Requests that were begun and came to an end, in whatever way; while some are worked on it grows, or the model
        hangs. (Workers that end in the same instant may count as one.)"""

    @property
    def in_flight(self) -> int:
        """Requests that are worked on, those that were abandoned and have not stopped yet among them."""
        return sum(job.running() for job in self._jobs.copy())

    @property
    def waiting(self) -> int:
        """Requests for which no context is free."""
        return sum(not job.running() and not job.done() for job in self._jobs.copy())

    async def __aenter__(self) -> Self:
        self._workers = ThreadPoolExecutor(self._contexts, thread_name_prefix="rewrite")
        try:
            await asyncio.wrap_future(self._workers.submit(self._load))
        except BaseException:
            self._workers.shutdown(wait=False)
            raise
        return self

    def _load(self) -> None:
        file = model_file(self._path)
        try:
            for _ in range(self._contexts):
                self._idle.append(LlamaModel(file, self._threads))
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was asked for before is answered first."""
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._workers.shutdown()
        self._close()

    async def rewrite(self, text: str) -> Rewrite:
        if len(self._jobs) >= self._room:
            raise Busy
        abandoned = threading.Event()
        job = self._workers.submit(self.rewrite_now, text, abandoned.is_set)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        try:
            return await asyncio.wrap_future(job)  # cancelling that cancels a job that has not begun
        finally:
            abandoned.set()

    def rewrite_now(self, text: str, abandoned: Callable[[], bool] = _wanted) -> Rewrite:
        """`rewrite` on this thread, of which there are no more than contexts. Raises `Abandoned`."""
        model = self._idle.pop()
        try:
            began = perf_counter()
            lines, confidence = model.write(model_text(text), abandoned)
            ms = round((perf_counter() - began) * 1000, 2)
        finally:
            self._idle.append(model)
            self.ended += 1
        return Rewrite(lines, self.name, confidence, ms, self._ask_below)
