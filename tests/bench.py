"""Figures, never assertions: how fast, how big, how late.

scripts/bench            # a table of the model and the daemon
scripts/bench serve      # of the model service, beside llama-cpp-python's own server
scripts/bench voice      # of hearing, of wake words, and of writing down what is said
scripts/bench mqtt       # of other devices, by a real Mosquitto
scripts/bench --json
"""

import argparse
import json
import math
import os
import statistics
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, perf_counter, sleep

from assistant.decoding import Constraint
from assistant.prompt import word_tokens
from assistant.store import NewReminder, Store
from assistant.words import model_text, words
from tests.process import Daemon

SENTENCES = {
    5: "call mum tomorrow at five",
    15: "hey could you please remind me to take the bins out on thursday morning at seven",
    60: "so i was talking to my sister the other day about the garden and she said that we should really do something about it "
    "before the summer comes and anyway what i wanted to say is please remind me to order four bags of compost and a new "
    "watering can from the garden centre on the twenty second of june at half past ten",
}


def _quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"p50": round(statistics.median(ordered), 2), "p95": round(ordered[math.ceil(0.95 * len(ordered)) - 1], 2)}


def _resident(pid: int) -> float:
    """MiB in memory."""
    return round(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _cpu(pid: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _mask_alone(loaded, text: str) -> float:
    """Milliseconds that the mask takes while a rewrite of `text` is written, without the model."""
    vocabulary, said = loaded._vocabulary, [w.folded for w in words(text)]
    lines = loaded.write(text)[0].replace("\n", " \n ").split(" ")
    tokens = [t for word in lines for t in word_tokens(word, loaded.tokenize)]
    times = []
    for _ in range(40):
        began = perf_counter()
        constraint = Constraint(vocabulary, said)
        for token in tokens:
            constraint.take(token)
        times.append((perf_counter() - began) * 1000)
    return statistics.median(times)


def model(figures: dict) -> None:
    from assistant.local import LlamaModel, model_file
    from tests.test_local import MODEL

    before, began = _resident(os.getpid()), perf_counter()
    loaded = LlamaModel(model_file(MODEL))
    figures["model load ms"] = round((perf_counter() - began) * 1000, 1)
    for n, text in SENTENCES.items():
        times = []
        for _ in range(40):
            began = perf_counter()
            loaded.write(model_text(text))
            times.append((perf_counter() - began) * 1000)
        figures[f"rewrite of {n} words ms"] = _quantiles(times)
        mask = _mask_alone(loaded, model_text(text))
        figures[f"share of the mask in it, {n} words, %"] = round(100 * mask / statistics.median(times))
    figures["model memory MiB"] = round(_resident(os.getpid()) - before, 1)
    loaded.close()


def daemon(figures: dict, idle: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        began = perf_counter()
        with Daemon(Path(folder)) as running:
            figures["start to ready ms"] = round((perf_counter() - began) * 1000)
            times = []
            for _ in range(200):
                began = perf_counter()
                answer = running.say("remind me to call the plumber tomorrow at five pm")
                times.append((perf_counter() - began) * 1000)
                assert answer["kind"] == "create", answer
            figures["text to committed reminder over HTTP ms"] = _quantiles(times)
            figures["daemon memory MiB"] = _resident(running.process.pid)
            cpu = _cpu(running.process.pid)
            sleep(idle)
            figures[f"idle CPU over {idle:.0f} s, % of a core"] = round(
                100 * (_cpu(running.process.pid) - cpu) / idle, 2
            )


def many(figures: dict, count: int) -> None:
    """A daemon with `count` pending reminders: how late it rings, and its memory."""
    with tempfile.TemporaryDirectory() as folder:
        path, now = Path(folder), datetime.now(UTC)
        with Daemon(path) as running:
            running.stop()
        (file,) = path.glob("*.db")
        with Store.open(file) as store:
            began = perf_counter()
            far = [
                NewReminder(
                    f"task {n}",
                    "in 2 years",
                    (now + timedelta(days=700, seconds=n)).replace(tzinfo=None),
                    "UTC",
                    None,
                    now + timedelta(days=700, seconds=n),
                )
                for n in range(count)
            ]
            for start in range(0, count, 1000):
                store.add_reminders(None, far[start : start + 1000])
            added = perf_counter() - began
            began = perf_counter()
            store.active(limit=5)
            found = perf_counter() - began
        with Daemon(path) as running:
            said = [running.say(f"remind me to stretch in {seconds} seconds") for seconds in range(2, 22)]
            due = {r["id"]: datetime.fromisoformat(r["due"]) for answer in said for r in answer["reminders"]}
            assert len(due) == len(said), "some were asked about"
            late, until = [], monotonic() + 60
            while len(late) < len(due) and monotonic() < until:
                line = running.wait_for(r"RING .*reminder=(\d+)", 30)
                if int(line[1]) in due:
                    late.append((datetime.now(UTC) - due[int(line[1])]).total_seconds() * 1000)
            memory = _resident(running.process.pid)
    figures[f"{count} pending"] = {
        "add ms each": round(added * 1000 / count, 3),
        "find the next 5 ms": round(found * 1000, 2),
        "ring late ms": _quantiles(late),
        "memory MiB": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("daemon", "serve", "voice", "mqtt"), default="daemon")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--idle", type=float, default=30, help="seconds of idleness to measure")
    parser.add_argument("--seconds", type=float, default=10, help="seconds of each load of the model service, and of listening")
    options = parser.parse_args()
    figures: dict = {}
    if options.what == "serve":
        from tests.bench_serve import others, serve

        serve(figures, options.seconds)
        others(figures, options.seconds)
    elif options.what == "voice":
        from tests import bench_hearing
        from tests.bench_voice import listening, transcription, waking

        listening(figures, options.seconds)
        bench_hearing.listening(figures, options.seconds)
        waking(figures, options.seconds)
        transcription(figures)
        bench_hearing.stages(figures)
    elif options.what == "mqtt":
        from tests.bench_mqtt import devices

        devices(figures, _quantiles)
    else:
        model(figures)
        daemon(figures, options.idle)
        for count in (10, 100_000):
            many(figures, count)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            for part in value if isinstance(value, list) and isinstance(value[0], dict) else [value]:
                print(f"{name:45} {', '.join(f'{k} {v}' for k, v in part.items()) if isinstance(part, dict) else part}")


if __name__ == "__main__":
    main()
