"""Figures of the model service: requests a second, how long one takes, errors and memory, beside llama-cpp-python's own
server with the same model.

scripts/bench serve                 # a table
scripts/bench serve --seconds 20 --json
"""

import asyncio
import json
import math
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from assistant.gbnf import gbnf
from assistant.local import model_file
from assistant.prompt import prompt
from assistant.words import model_text, words
from tests.llama_server import llama_server
from tests.process import ROOT, Service

CLIENTS = (1, 8, 64)
GOLD = ROOT / "data" / "heldout.jsonl"


@dataclass
class Load:
    """What some clients saw of a server, each sending its next request as soon as it had an answer."""

    clients: int
    seconds: float
    statuses: Counter = field(default_factory=Counter)
    times: dict[int, list[float]] = field(default_factory=dict)
    """Milliseconds of the answers, by status."""

    def row(self) -> dict:
        good = sorted(self.times.get(200, [0.0]))
        refused = sorted(self.times.get(503, []))
        others = sum(n for status, n in self.statuses.items() if status not in (200, 503))
        row = {
            "clients": self.clients, "requests/s": round(self.statuses[200] / self.seconds, 1),
            "p50 ms": round(statistics.median(good), 1), "p95 ms": _share(good, 0.95), "p99 ms": _share(good, 0.99),
            "errors": others,
        }
        return row | ({"503": len(refused), "503 p95 ms": _share(refused, 0.95)} if refused else {})


def _share(ordered: list[float], share: float) -> float:
    return round(ordered[math.ceil(share * len(ordered)) - 1], 1)


def texts() -> list[str]:
    """Requests of all kinds and lengths."""
    return [json.loads(line)["text"] for line in GOLD.read_text().splitlines()]


async def load(call: Callable[[str], Awaitable[int]], clients: int, seconds: float) -> Load:
    """`call` sends one text and returns the status of the answer."""
    seen, said = Load(clients, seconds), texts()
    until = perf_counter() + seconds

    async def client(n: int) -> None:
        while perf_counter() < until:
            began = perf_counter()
            status = await call(said[n % len(said)])
            seen.statuses[status] += 1
            seen.times.setdefault(status, []).append((perf_counter() - began) * 1000)
            n += clients
            if status == 503:
                await asyncio.sleep(0.05)  # it was told to come again later

    began = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for n in range(clients):
            tasks.create_task(client(n), name=f"client {n}")
    seen.seconds = perf_counter() - began
    return seen


async def loads(url: str, body: Callable[[str], dict], seconds: float, clients=CLIENTS) -> list[dict]:
    """The rows of a server, after a few requests that nobody times."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(text: str) -> int:
            try:
                async with session.post(url, json=body(text)) as answer:
                    await answer.read()
                    return answer.status
            except aiohttp.ClientError:
                return 0

        await load(call, 2, 1.0)
        return [(await load(call, n, seconds)).row() for n in clients]


def _resident(pid: int) -> float:
    """MiB in memory."""
    return round(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


@contextmanager
def _service(**settings: int):
    env = {f"ASSISTANT_SERVE__{k.upper()}": str(v) for k, v in settings.items()}
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder), env) as service:
        yield service


def serve(figures: dict, seconds: float) -> None:
    def ours(text: str) -> dict:
        return {"text": text}

    with _service() as service:
        pid = service.process.pid
        asyncio.run(loads(f"{service.url}/predict", ours, 2.0, (8,)))
        before = _resident(pid)
        figures["assistant serve"] = asyncio.run(loads(f"{service.url}/predict", ours, seconds))
        figures["its memory before and after, MiB"] = [before, _resident(pid)]
    with _service(contexts=1) as service:
        figures["assistant serve, one context"] = asyncio.run(loads(f"{service.url}/predict", ours, seconds))
    with _service(queue=4) as service:
        figures["assistant serve, overloaded (queue = 4)"] = asyncio.run(
            loads(f"{service.url}/predict", ours, seconds, (64,)))


def others(figures: dict, seconds: float) -> None:
    """llama-cpp-python's server writes the rewrite alone, with and without the grammar."""

    def plain(text: str) -> dict:
        return {"prompt": prompt(model_text(text)), "max_tokens": 64, "temperature": 0}

    def constrained(text: str) -> dict:
        said = model_text(text)
        return plain(text) | {"grammar": gbnf([w.folded for w in words(said)])}

    with llama_server(model_file(ROOT / "models" / "small")) as (address, pid):
        url = f"{address}/v1/completions"
        figures["llama_cpp.server, no grammar"] = asyncio.run(loads(url, plain, seconds))
        figures["llama_cpp.server, our grammar"] = asyncio.run(loads(url, constrained, seconds, (8,)))
        figures["its memory, MiB"] = _resident(pid)
