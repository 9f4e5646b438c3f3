"""Long runs: a daemon killed at random instants and fed with what nobody would say; a model service that goes wrong in
every way while requests come in; an MQTT broker killed again and again, bursts, and malformed messages; requests and
utterances by voice, and a microphone that is unplugged; a retraining killed in each step.

    scripts/soak                    # 100 kills, 1,000 hostile requests, 500 requests in each of two storms, 9 steps;
                                    # by MQTT 50 kills, 50 restarts, 2,000 requests at once, 2,000 malformed messages;
                                    # by voice 30 requests in 3 voices, 1,000 utterances, 20 times unplugged
    scripts/soak --kills 500 --seed 7

Prints what it found and exits with 1 if anything was lost, doubled or answered badly.
"""

import argparse
import asyncio
import json
import logging
import sqlite3
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic, sleep

from tests import soak_calendar, soak_mqtt, soak_voice
from tests.chaos import storm
from tests.nights import nights
from tests.process import ASSISTANT, Daemon
from tests.retraining import STEPS, copy_of_checkout, smoke_killed_in


@dataclass
class Tally:
    """What a run of kills came to."""

    kills: int = 0
    accepted: dict[int, str] = field(default_factory=dict)
    """Reminders whose acknowledgement arrived, by id: the instant that was promised."""
    rung: dict[int, int] = field(default_factory=dict)
    """Rings in the log, by reminder."""
    faults: list[str] = field(default_factory=list)


def _talk(daemon: Daemon, random: Random, tally: Tally, stop: threading.Event, answered: threading.Semaphore) -> None:
    """Requests without a pause until the daemon is gone; `answered` counts the answers."""
    while not stop.is_set():
        n = random.randrange(10**6)
        text = random.choice(
            (
                f"remind me to water plant {n} in {random.randint(1, 3)} seconds",
                f"remind me to water plant {n} in 1 second",
                f"remind me to stretch every 10 seconds for {random.randint(2, 3)} times",
                f"remind me to ring {n} tomorrow at five pm",
            )
        )
        try:
            status, answer = daemon.call("POST", "/requests", {"text": text})
        except (OSError, ValueError):
            return
        answered.release()
        if status == 200:
            for r in answer["reminders"]:
                tally.accepted[r["id"]] = r["due"]
        elif status not in (503,):
            tally.faults.append(f"{status} for {text!r}: {answer}")


def kills(count: int, seed: int, folder: Path) -> Tally:
    """Kills the daemon `count` times at random instants while requests come in and reminders fire: after a random number
    of answers, so that a busy machine comes as far, and in the midst of the next one."""
    random, tally = Random(seed), Tally()
    for _ in range(count):
        with Daemon(folder) as daemon:
            stop, answered = threading.Event(), threading.Semaphore(0)
            talkers = [
                threading.Thread(target=_talk, args=(daemon, Random(random.random()), tally, stop, answered))
                for _ in range(2)
            ]
            for t in talkers:
                t.start()
            for _ in range(random.randrange(10)):
                if not answered.acquire(timeout=20):
                    tally.faults.append("the daemon did not answer for 20 seconds")
            sleep(random.uniform(0.0, 0.1))
            daemon.kill()
            tally.kills += 1
            stop.set()
            for t in talkers:
                t.join()
        _count_rings(daemon, tally)
    with Daemon(folder) as daemon:  # what is still ahead and near rings now
        until = monotonic() + 60
        while monotonic() < until and _near(daemon):
            sleep(0.2)
        if daemon.stop() != 0:
            tally.faults.append("the daemon did not stop cleanly")
    _count_rings(daemon, tally)
    _check(folder, tally)
    return tally


def _near(daemon: Daemon) -> bool:
    """Whether a reminder is pending that is due within the minute, or a fired one has no ring yet."""
    soon = datetime.now().astimezone() + timedelta(minutes=1)
    reminders = daemon.call("GET", "/reminders?state=pending&limit=100000")[1]["reminders"]
    return any(datetime.fromisoformat(r["due"]) < soon for r in reminders)


def _count_rings(daemon: Daemon, tally: Tally) -> None:
    for line in daemon.lines:
        if " RING " in f" {line}":
            id = int(line.split("reminder=")[1].split()[0])
            tally.rung[id] = tally.rung.get(id, 0) + 1


def _check(folder: Path, tally: Tally) -> None:
    (file,) = folder.glob("*.db")
    db = sqlite3.connect(file)
    if db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
        tally.faults.append("the database is damaged")
    kept = {id: (due, rule) for id, due, rule in db.execute("SELECT id, due, rrule FROM reminders")}
    for id in tally.accepted:
        if id not in kept:
            tally.faults.append(f"reminder {id} was acknowledged and is not there")
    for id, times, different in db.execute(
        "SELECT reminder_id, count(*), count(DISTINCT due_utc) FROM deliveries GROUP BY reminder_id"
    ):
        if times != different:
            tally.faults.append(f"an occurrence of reminder {id} is recorded twice")
    delivered = {
        id
        for (id,) in db.execute(
            "SELECT reminder_id FROM deliveries d WHERE EXISTS (SELECT 1 FROM outcomes o WHERE o.delivery_id = d.id AND o.ok)"
        )
    }
    for id, (due, rule) in kept.items():
        if due is None and id not in delivered:
            tally.faults.append(f"reminder {id} is over and was never delivered")
        if due is None and not tally.rung.get(id):
            tally.faults.append(f"reminder {id} is over and no ring of it is in the log")
        count = rule and [p for p in rule.split(";") if p.startswith("COUNT=")]
        if due is None and count:
            heard = db.execute("SELECT sum(occurrences) FROM deliveries WHERE reminder_id = ?", (id,)).fetchone()[0]
            if heard != int(count[0][6:]):
                tally.faults.append(f"reminder {id}: {heard} occurrences of {count[0][6:]} were delivered")
    db.close()


def hostile_texts(count: int, random: Random) -> list[str]:
    """What no person would say: bytes, emoji, right-to-left, ten thousand words, SQL, shell, JSON, control characters."""
    kinds = (
        lambda: bytes(random.randrange(256) for _ in range(random.randint(1, 200))).decode("utf-8", "replace"),
        lambda: "".join(random.choice("🎂😀👨‍👩‍👧‍👦🏳️‍🌈é́́́") for _ in range(random.randint(1, 300))),
        lambda: "ذكرني " + "".join(chr(random.randint(0x590, 0x6FF)) for _ in range(random.randint(1, 80))),
        lambda: "word " * random.choice((90, 1000, 10_000)),
        lambda: random.choice(
            (
                "'; DROP TABLE reminders; --",
                "1 OR 1=1",
                '"; DELETE FROM requests; --',
                "x') UNION SELECT * FROM reminders--",
            )
        ),
        lambda: random.choice(
            ("$(reboot)", "`rm -rf ~`", "; shutdown now", "| cat /etc/passwd", "&& :(){ :|:& };:", "../../etc/passwd")
        ),
        lambda: json.dumps({"text": {"nested": [1] * random.randint(1, 50)}}),
        lambda: "".join(chr(random.randrange(32)) for _ in range(random.randint(1, 50))) + "x",
        lambda: "remind me in " + "9" * random.randint(1, 480) + " minutes",
        lambda: (
            "remind me to "
            + random.choice(
                ("| tomorrow 17:00", "/cancel all", "> in 5 minutes", "<bos> <eos>", "call mum |", "\\n\\n /other")
            )
        ),
        lambda: "every " * random.randint(2, 90) + "day",
        lambda: "x" * random.randint(1, 600),
        lambda: " ".join(str(random.randrange(10 ** random.randint(1, 12))) for _ in range(30)),
        lambda: (
            "remind me on the "
            + str(random.randint(0, 99999))
            + "th of "
            + random.choice(("february", "nonsense", "\u202efebruary"))
            + " at 25:61"
        ),
        lambda: random.choice(("", " ", "\t", "\u200b", ".", "?!", "|", "/", ">")),
    )
    return [random.choice(kinds)() for _ in range(count)]


def hostile(count: int, seed: int, folder: Path) -> list[str]:
    """`count` hostile texts by HTTP and through `assistant parse`; what went wrong."""
    random, faults = Random(seed), []
    texts = hostile_texts(count, random)
    with Daemon(folder) as daemon:
        for n, text in enumerate(texts):
            status, answer = daemon.call("POST", "/requests", {"text": text, "channel": f"hostile-{n}"})
            if not (
                status == 200 and answer["reply"] or 400 <= status < 500 and answer["error"]["message"].endswith(".")
            ):
                faults.append(f"{status} {answer} for {text[:80]!r}")
        for raw in (
            b"",
            b"{",
            b"\xff\xfe",
            b"[" * 50_000,
            b'{"text": 5}',
            b'{"text": null}',
            b'"text"',
            b"x" * 200_000,
        ):
            status, answer = daemon.call("POST", "/requests", raw=raw)
            if not 400 <= status < 500:
                faults.append(f"{status} {answer} for the body {raw[:40]!r}")
        if daemon.call("GET", "/health")[0] != 200:
            faults.append("the daemon is not well")
        if daemon.stop() != 0:
            faults.append("the daemon did not stop cleanly")
        faults += [line for line in daemon.lines if "Traceback" in line or "CRITICAL" in line]
    lines = [" ".join(t.split()) for t in texts]
    lines = [line.encode("utf-8", "replace").decode() for line in lines]
    if not lines:
        return faults
    done = subprocess.run(
        [*ASSISTANT, "parse", "--json", "--now", "2026-03-11T10:00", "--tz", "Europe/London"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        cwd=folder,
    )
    answers = done.stdout.splitlines()
    if len(answers) != len(lines):
        faults.append(f"{len(lines)} lines in, {len(answers)} out: {done.stderr[-300:]}")
    for line, answer in zip(lines, answers):
        got = json.loads(answer)
        if got["kind"] == "other" and not got.get("error") and not line:
            faults.append("a blank line has no error")
        if len(line) > 500 and not (got["kind"] == "other" and got["error"]):
            faults.append(f"{len(line)} characters were taken")
    (file,) = folder.glob("*.db")
    if sqlite3.connect(file).execute("PRAGMA integrity_check").fetchone()[0] != "ok":
        faults.append("the database is damaged")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--hostile", type=int, default=1000)
    parser.add_argument("--storm", type=int, default=500)
    parser.add_argument("--mqtt", type=int, default=2000, help="requests and messages over MQTT; a fortieth of it kills")
    parser.add_argument("--voice", type=int, default=1000, help="utterances; a fiftieth of it times unplugged; 0 for none")
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--edits", type=int, default=200, help="of a calendar, on both sides")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-retraining", action="store_true", help="leave the retraining out")
    options = parser.parse_args()
    if not options.no_retraining:
        with tempfile.TemporaryDirectory() as folder:
            smoke_killed_in(copy_of_checkout(Path(folder)), *STEPS)  # raises if it does not end well
        print(f"a retraining killed in each of {len(STEPS)} steps: it went on and ended with a better model in use")
    logging.disable(logging.ERROR)
    slept = asyncio.run(nights(options.nights, options.seed))
    logging.disable(logging.NOTSET)
    print(slept)
    storms = []
    for order, killed_daemon in (("remote,local", False), ("remote", True)):
        with tempfile.TemporaryDirectory() as folder:
            seen = storm(Path(folder), options.storm, options.seed, order, killed_daemon)
        storms.extend(seen.faults)
        print(f"{options.storm} requests while the model service goes wrong, order {order}: {dict(seen.kinds)}, "
              f"circuit opened {seen.metric('assistant_circuit_changes_total', state='open'):.0f} times, "
              f"{len(seen.faults)} faults")
    devices = soak_mqtt.all_of_it(options.mqtt, options.seed)
    devices += soak_voice.all_of_it(options.voice, options.seed)
    edited = soak_calendar.run(options.edits, options.seed)
    print(f"{edited.edits} edits of a calendar, {edited.outages} outages: {len(edited.faults)} faults")
    devices += edited.faults
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        tally = kills(options.kills, options.seed, Path(a))
        faults = hostile(options.hostile, options.seed, Path(b))
    print(
        f"{tally.kills} kills: {len(tally.accepted)} reminders acknowledged, {len(tally.rung)} rang {sum(tally.rung.values())} times, {len(tally.faults)} faults"
    )
    print(f"{options.hostile} hostile requests by HTTP and by parse: {len(faults)} faults")
    for fault in [*slept.wrong, *storms, *devices, *tally.faults, *faults][:40]:
        print(" -", fault)
    return 1 if slept.wrong or storms or devices or tally.faults or faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
