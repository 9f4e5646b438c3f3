"""Long runs over MQTT, with a real Mosquitto and the real daemon: a burst, a broker that is killed again and again, and
what no device should send. `scripts/soak` runs them; the tests a tenth of them.
"""

import json
import queue
import signal
import tempfile
import threading
from collections import Counter
from pathlib import Path
from random import Random
from time import monotonic, sleep

from tests.mosquitto import Mosquitto
from tests.mqtt_device import Device
from tests.process import Daemon

SENDERS = 4
NO_LIMIT = {"ASSISTANT_MQTT__REQUESTS_A_MINUTE": "1000000"}


def settings(broker: Mosquitto, /, **more: str) -> dict[str, str]:
    """Of a daemon at this broker."""
    return {"ASSISTANT_MQTT__ENABLED": "true", "ASSISTANT_MQTT__URL": broker.url} | {
        f"ASSISTANT_MQTT__{k.upper()}": v for k, v in more.items()}  # fmt: skip


def words(n: int) -> str:
    return f"remind me to ring bell-{n} tomorrow at 5 pm"


def miscounted(daemon: Daemon, requests: int) -> list[str]:
    """Bells that are not set exactly once."""
    found = Counter(r["task"] for r in daemon.call("GET", "/reminders?limit=999999", seconds=60)[1]["reminders"])
    faults = [f"bell {n} was set {times} times" for n in range(requests) if (times := found.pop(f"ring bell-{n}", 0)) != 1]
    return faults + [f"{task!r} was never asked for" for task in found]


def _wait_until_set(daemon: Daemon, requests: int, seconds: float) -> None:
    until = monotonic() + seconds
    while daemon.call("GET", "/health")[1]["pending"] < requests and monotonic() < until:
        sleep(0.1)


def burst(count: int, folder: Path, version: str = "5") -> tuple[list[str], float]:
    """`count` requests at once, while the daemon is away; faults, and by how many MiB its memory grew."""
    data = folder / "data"
    data.mkdir()
    with Mosquitto(folder / "broker") as broker:
        env = settings(broker, version=version) | NO_LIMIT
        with Daemon(data, env) as daemon:  # it has a session from now on
            daemon.wait_for("the broker is there")
            daemon.stop()
        with Device(broker.url) as device:
            sent = [device.send("request", words(n), wait=False) for n in range(count)]
            for one in sent:
                one.wait_for_publish(60)
        with Daemon(data, env) as daemon:
            before = _resident(daemon)
            _wait_until_set(daemon, count, count * 0.2 + 20)
            return miscounted(daemon, count) + _crashes(daemon), _resident(daemon) - before


def _resident(daemon: Daemon) -> float:
    """MiB."""
    return int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * 4096 / 2**20


def _crashes(daemon: Daemon) -> list[str]:
    faults = [line for line in daemon.lines if "Traceback" in line or "CRITICAL" in line or " a bug" in line]
    return faults if daemon.process.poll() is None else [*faults, "the daemon has ended"]


def kills(count: int, seed: int, folder: Path, each: int = 8) -> list[str]:
    """The broker is killed with -9 at `count` random instants, the daemon at every fifth as well, while devices send
    `each` requests a kill, and send them again with the same id until they are answered; what was not set exactly once.
    """
    random, requests, data = Random(seed), count * each, folder / "data"
    data.mkdir()
    todo: queue.Queue[int] = queue.Queue()
    answered, stop = threading.Semaphore(0), threading.Event()
    with Mosquitto(folder / "broker") as broker:
        daemon = Daemon(data, settings(broker) | NO_LIMIT).start().ready()
        talkers = [threading.Thread(target=_ask_until_answered, args=(broker, f"d{i}", todo, answered, stop), daemon=True)
                   for i in range(SENDERS)]  # fmt: skip
        try:
            for t in talkers:
                t.start()
            for n in range(count):
                for number in range(n * each, (n + 1) * each):
                    todo.put(number)
                sleep(random.uniform(0.0, 0.3))
                broker.kill()
                if n % 5 == 4:
                    daemon.kill()
                    daemon.__exit__()
                    daemon = Daemon(data, settings(broker) | NO_LIMIT).start().ready()
                sleep(random.uniform(0.0, 0.2))
                broker.start()
            for _ in range(requests):
                if not answered.acquire(timeout=60):
                    return ["a request was never answered", *miscounted(daemon, requests)]
            return miscounted(daemon, requests) + _crashes(daemon)
        finally:
            stop.set()
            for t in talkers:
                t.join(30)
            daemon.__exit__()


def _ask_until_answered(
    broker: Mosquitto, name: str, todo: queue.Queue[int], answered: threading.Semaphore, stop: threading.Event
) -> None:
    with _connected(broker, name) as device:
        while not stop.is_set():
            try:
                number = todo.get(timeout=0.2)
            except queue.Empty:
                continue
            while not stop.is_set():
                device.send("request", {"text": words(number), "id": f"bell {number}", "device": name}, wait=False)
                try:
                    device.heard(f"reply/{name}", seconds=2, id=f"bell {number}")
                    break
                except (queue.Empty, AssertionError):
                    pass
            answered.release()


def _connected(broker: Mosquitto, name: str) -> Device:
    while True:
        device = Device(broker.url, f"assistant/home/reply/{name}", name=name)
        try:
            return device.__enter__()
        except (OSError, queue.Empty):
            device.__exit__()
            sleep(0.05)


def restarts(count: int, seed: int, folder: Path, each: int = 8) -> list[str]:
    """The broker is stopped, which has it save what it holds, and started again at `count` random instants, while a
    device publishes requests without an id, with QoS 2; what was not set exactly once."""
    random, requests, data = Random(seed), count * each, folder / "data"
    data.mkdir()
    with Mosquitto(folder / "broker") as broker, Daemon(data, settings(broker) | NO_LIMIT) as daemon:
        daemon.wait_for("the broker is there")
        with Device(broker.url, name="sender", version="3.1.1", lasting=True) as device:
            for n in range(count):
                for number in range(n * each, (n + 1) * each):  # what is said while there is no broker waits in paho
                    device.send("request", words(number), qos=2, wait=False)
                sleep(random.uniform(0.0, 0.3))
                broker.kill(signal.SIGTERM)
                broker.start()
                for _ in range(each):
                    if not device.taken.acquire(timeout=30):
                        return ["the broker has not taken a request", *miscounted(daemon, requests)]
            _wait_until_set(daemon, requests, requests * 0.2 + 20)
        return miscounted(daemon, requests) + _crashes(daemon)


def malformed_payloads(count: int, random: Random) -> list[tuple[str, bytes]]:
    """Topic and payload of what no device should send: bytes, half JSON, huge, wrong types, nested."""
    good = json.dumps({"text": "call mum tomorrow", "id": "x", "device": "kitchen", "tz": "UTC"}).encode()

    def bad_field() -> bytes:
        wrong = random.choice((5, None, True, [], {"a": {}}, 1e400, -(10**40), [["x"] * 20] * 20))
        key = random.choice(("text", "id", "device", "said_at", "tz", "reply_to"))
        fields = {"text": "call mum tomorrow", key: wrong}
        if wrong is None or (key == "id" and isinstance(wrong, int) and wrong is not True):
            fields["text"] = 7
        return json.dumps(fields).encode()

    kinds = (
        lambda: ("request", b"\xff" + random.randbytes(random.randint(1, 300))),
        lambda: ("request", good[: random.randint(1, len(good) - 1)]),
        lambda: ("request", b"x" * random.choice((70_000, 200_000))),
        lambda: ("request", bad_field()),
        lambda: ("request", b'{"text": ' * random.choice((40, 5000))),
        lambda: ("request", b"[" * random.choice((1, 60_000))),
        lambda: ("request", b'{"text": "' + b"9" * 5000 + b'", "id": ' + b"9" * 5000 + b"}"),
        lambda: ("request", json.dumps({"text": "call mum", "device": random.choice(("a/b", "#", "+", "", "x" * 50, "é"))}).encode()),
        lambda: ("request", json.dumps({"text": "call mum", "said_at": random.choice(("now", "1999-01-01", "9999-12-31T23:59"))}).encode()),
        lambda: ("request", json.dumps({"text": "call mum", "tz": "Mars/Base", "said_at": "2026-01-01"}).encode()),
        lambda: ("request", json.dumps({"text": "call mum", "reply_to": random.choice(("#", "a/+", "assistant/home/request", "$SYS/x"))}).encode()),
        lambda: ("request", random.choice((b"", b" ", b"\0", b'{"text": ""}', b"{}"))),
        lambda: ("ack", random.choice((b"don", b"{", b'{"action": "eat"}', b'{"action": "done", "id": "x"}', b"snooze 0 minutes"))),
        lambda: ("ack", json.dumps({"action": "done", "id": random.choice((0, -1, 10**30, 99999))}).encode()),
        lambda: ("mute", random.choice((b"maybe", b"{}", b"\xff"))),
        lambda: ("audio", random.randbytes(random.randint(0, 3000))),
        lambda: ("audio/kitchen/" + random.choice(("chunk", "begin")), random.randbytes(33)),
        lambda: ("audio/kit chen/start", b""),
    )  # fmt: skip
    return [random.choice(kinds)() for _ in range(count)]


def malformed(count: int, seed: int, folder: Path) -> list[str]:
    """What went wrong: a message without a line in the log, a crash, a reminder."""
    data = folder / "data"
    data.mkdir()
    with Mosquitto(folder / "broker") as broker, Daemon(data, settings(broker) | NO_LIMIT) as daemon:
        daemon.wait_for("the broker is there")
        with Device(broker.url) as device:
            sent = [device.send(topic, payload, wait=False)
                    for topic, payload in malformed_payloads(count, Random(seed))]  # fmt: skip
            for one in sent:
                one.wait_for_publish(60)
        until = monotonic() + count * 0.05 + 20
        while _not_taken(daemon) < count and monotonic() < until:
            sleep(0.02)
        faults = []
        if pending := daemon.call("GET", "/health")[1]["pending"]:
            faults.append(f"{pending} reminders were set")
        faults += _crashes(daemon)
        if daemon.stop() != 0:
            faults.append("the daemon did not stop cleanly")
        if (told := _not_taken(daemon)) != count:
            faults.append(f"{count} messages, {told} lines")
    return faults


def _not_taken(daemon: Daemon) -> int:
    """Lines of the log that say so of a message."""
    return sum(" a message is not taken: " in line for line in [*daemon.lines])


def all_of_it(count: int, seed: int) -> list[str]:
    """Prints what was done; the faults."""
    found = []
    for says, run in (
        (f"{count} requests at once by MQTT 5", lambda folder: burst(count, folder, "5")),
        (f"{count} requests at once by MQTT 3.1.1", lambda folder: burst(count, folder, "3.1.1")),
        (f"{count // 40} kills of the broker, and of the daemon at every fifth", lambda folder: kills(count // 40, seed, folder)),
        (f"{count // 40} restarts of the broker, requests without an id", lambda folder: restarts(count // 40, seed, folder)),
        (f"{count} malformed messages", lambda folder: malformed(count, seed, folder)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            faults, grown = got if isinstance(got := run(Path(folder)), tuple) else (got, None)
        print(f"{says}: {len(faults)} faults" + (f", {grown:.0f} MiB more memory" if grown is not None else ""))
        found += faults
    return found
