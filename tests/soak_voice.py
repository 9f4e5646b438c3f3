"""Long runs by voice: requests spoken in a room to the real daemon, a thousand utterances in a row, a microphone that
is unplugged again and again. `scripts/soak` runs them; the tests a part of them.
"""

import io
import tempfile
import urllib.request
import wave
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np

from assistant.audio import RATE
from tests.process import Daemon
from tests.speech import FLITE, joined, mixed, room, speak
from tests.virtual_room import VirtualRoom

REQUESTS = (
    ("remind me to call the doctor tomorrow at five", "call the doctor", "tomorrow 5:00?"),
    ("take the garbage out every thursday at seven in the morning", "take the garbage out", "every thursday 07:00"),
    ("wake me up at half past six on friday", "wake up", "friday 06:30"),
    ("remind me in half an hour to check on the chicken", "check on the chicken", "in 30 minutes"),
    ("remind me on the first of every month to pay the rent", "pay the rent", "every month on the 1"),
    ("remind me to email the teacher about the report on friday at noon", "email the teacher about the report",
     "friday noon"),
    ("remind me to water the plants every other day", "water the plants", "every 2 days"),
    ("remind me to take my medicine at eight in the evening", "take my medicine", "20:00"),
    ("remind me to pick up the children from school at three", "pick up the children from school", "3:00?"),
    ("remind me to renew my passport next week", "renew my passport", "next week"),
    ("remind me about the meeting with the bank on monday at ten", "meeting with the bank", "monday 10:00?"),
    ("remind me to feed the cat tomorrow night", "feed the cat", "tomorrow night"),
    ("remind me to book a table on saturday evening", "book a table", "saturday evening"),
    ("remind me to turn off the oven in ten minutes", "turn off the oven", "in 10 minutes"),
    ("remind me to send the letter tomorrow at noon", "send the letter", "tomorrow noon"),
    ("remind me to bring the umbrella tomorrow morning", "bring the umbrella", "tomorrow morning"),
    ("remind me to stretch every hour", "stretch", "every hour"),
    ("remind me to lock the door at eleven at night", "lock the door", "23:00"),
    ("set an alarm for six thirty", "alarm", "6:30?"),
    ("remind me to buy some bread in two hours", "buy some bread", "in 2 hours"),
    ("remind me to visit my sister on sunday afternoon", "visit my sister", "sunday afternoon"),
    ("remind me to clean the kitchen tomorrow evening", "clean the kitchen", "tomorrow evening"),
    ("remind me to answer the letter in three days", "answer the letter", "in 3 days"),
    ("remind me to walk the dog at seven in the evening", "walk the dog", "19:00"),
    ("remind me to wash the car on saturday at ten in the morning", "wash the car", "saturday 10:00"),
    ("remind me to order a new book next monday", "order a new book", "next monday"),
    ("remind me to study for the test on wednesday at four", "study for the test", "wednesday 4:00?"),
    ("remind me to call my brother in twenty minutes", "call my brother", "in 20 minutes"),
    ("remind me to open the window every morning at eight", "open the window", "every day 08:00"),
    ("remind me to go to the market tomorrow at nine in the morning", "go to the market", "tomorrow 09:00"),
)
"""Thirty: what is said, and what is to be done when. Typed, each is understood so."""
BY = [(request, voice) for request in REQUESTS for voice in FLITE]
SETTINGS = {
    "ASSISTANT_STT__ENGINE": "pocketsphinx", "ASSISTANT_TTS__ENGINE": "flite", "ASSISTANT_WAKE__MODE": "always",
}  # fmt: skip
"""The engines that need no download."""
KINDS = ("right", "other", "asked", "nothing")
"""What becomes of a request: the task and the time that were said; another reminder; a question; nothing at all."""
BAR, MOST_OTHER = 0.33, 0.25
"""Of all 90 at least so many are right, and at most so many become another reminder. Measured twice: 35 right (39 %), 12
and 17 another (13 and 19 %), 41 and 36 asked about, as PocketSphinx is seldom sure, 2 nothing; 88 answered aloud."""
SHORT = (
    "yes", "no", "stop", "done", "snooze for ten minutes", "remind me to stretch in two hours", "good morning everybody",
)  # fmt: skip
MOST_GROWN = 24.0
"""MiB that a heap may grow which breaks into pieces; a thousandth utterance that is kept is 30 of them."""


def counted(daemon: Daemon, name: str) -> int:
    """A figure of `GET /metrics`."""
    with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=20) as answer:
        [line] = [text for text in answer.read().decode().splitlines() if text.startswith(f"assistant_{name} ")]
    return round(float(line.split()[1]))


def hears(daemon: Daemon) -> dict:
    return daemon.call("GET", "/hearing")[1]


def idle(daemon: Daemon) -> bool:
    """It neither thinks nor speaks, and its microphone is open."""
    now = hears(daemon)
    return now["state"] in ("waiting", "listening") and now["microphone"] == "listening"


def in_the_room(said: np.ndarray) -> np.ndarray:
    """As it is heard there: with its noise, 40 dB quieter, and some of that before and after. Who speaks at once when the
    assistant is silent is not heard for the first 0.3 s (`echo.ECHO`)."""
    return joined(room(0.5), mixed(said, room(len(said) / RATE + 1), 40), room(0.3))


def say(sound: VirtualRoom, daemon: Daemon, text: str, voice: str, to_the_end: bool = False) -> bool:
    """Speak to it; whether it says something, which it is told to leave off unless it is to be heard to its end."""
    before = counted(daemon, "utterances_total")
    sound.forget()
    sound.play(in_the_room(speak(text, voice)))
    sound.forget()
    answered = sound.voice(lambda: counted(daemon, "utterances_total") > before and idle(daemon))
    if answered and not to_the_end:
        daemon.call("POST", "/voice/stop", {})
    if answered:
        sound.until(lambda: idle(daemon))
    return answered


def understood(cases: Sequence[tuple[tuple[str, str, str], str]], folder: Path) -> Counter:
    """Of requests in voices, said one after the other to a daemon that listens all the time, how many were of each of
    `KINDS`; how many it answered aloud, `spoke`; and how often the microphone lost sound, `xruns`."""
    tally: Counter = Counter()
    (folder / "sound").mkdir()
    (folder / "data").mkdir()
    with VirtualRoom(folder / "sound") as sound, Daemon(folder / "data", sound.environ | SETTINGS) as daemon:
        sound.until(lambda: idle(daemon))
        for (text, *meant), voice in cases:
            try:
                answered = say(sound, daemon, text, voice)
            except AssertionError:  # it has not noticed that somebody spoke
                answered = False
            tally["spoke"] += answered
            made = daemon.call("GET", "/reminders")[1]["reminders"]
            if [[r["task"], r["when"]] for r in made] == [meant]:
                tally["right"] += 1
            else:
                tally["other" if made else "asked" if answered else "nothing"] += 1
            for reminder in made:
                daemon.call("DELETE", f"/reminders/{reminder['id']}")
            leave(sound, daemon)
        tally["xruns"] = (now := hears(daemon))["xruns"] + now["drops"]
        tally["crashes"] = sum("Traceback" in line for line in daemon.lines)
    return tally


def leave(sound: VirtualRoom, daemon: Daemon) -> None:
    """End a conversation in which it has asked something."""
    if hears(daemon)["state"] != "waiting":
        daemon.call("POST", "/hearing", {"muted": True})
        daemon.call("POST", "/hearing", {"muted": False})
        sound.until(lambda: idle(daemon))


def unplugged(count: int, seed: int, folder: Path) -> list[str]:
    """The sound server is killed under an open microphone `count` times, for a random while, and started again; whether
    what is said then is heard, and answered."""
    random, faults = Random(seed), []
    (folder / "sound").mkdir()
    (folder / "data").mkdir()
    with VirtualRoom(folder / "sound") as sound, Daemon(folder / "data", sound.environ | SETTINGS) as daemon:
        sound.until(lambda: idle(daemon))
        for n in range(count):
            replug(sound, daemon, tries=random.randint(0, 2))
            try:
                say(sound, daemon, "what are my reminders for tomorrow", random.choice(FLITE))
            except AssertionError as e:
                faults.append(f"after it was unplugged {n + 1} times: {e}: {hears(daemon)}")
            leave(sound, daemon)
        if (reopened := hears(daemon)["reopened"]) < count:
            faults.append(f"unplugged {count} times, opened again {reopened} times")
        if (open_now := sound.hearers()) != 1:
            faults.append(f"the microphone is open {open_now} times")
        faults += [line for line in daemon.lines if "Traceback" in line]
    return faults


def replug(sound: VirtualRoom, daemon: Daemon, tries: int = 0) -> None:
    """Unplug the microphone, plug it in again once the daemon has missed it, and wait until it is well."""
    sound.stop()
    daemon.wait_for("microphone: ", 20)
    for _ in range(tries):  # a while, in which it is looked for
        sound.start()
        sound.stop()
    sound.start()
    daemon.wait_for("the microphone is well again", 60)
    sound.until(lambda: idle(daemon))


def utterances(count: int, seed: int, folder: Path) -> tuple[list[str], float]:
    """`count` recordings in a row to one daemon, by HTTP: requests, answers, small talk, a room in which nobody speaks;
    what went wrong, and by how many MiB it and its engine had grown since the first tenth."""
    random, faults, warm = Random(seed), [], 0.0
    recordings = [wav(in_the_room(speak(text, voice))) for text in SHORT for voice in FLITE] + [wav(room(1.5))]
    (folder / "data").mkdir()
    with Daemon(folder / "data", SETTINGS | {"ASSISTANT_WAKE__MODE": "push"}) as daemon:
        for n in range(count):
            if n == count // 10:
                warm = memory(daemon)
            status, answer = daemon.call(
                "POST", "/requests?channel=soak", raw=random.choice(recordings),
                headers={"Content-Type": "audio/wav"}, seconds=60)
            if status != 200 and answer.get("error", {}).get("code") != "nothing_heard":
                faults.append(f"utterance {n}: {status} {answer}")
        grown = memory(daemon) - warm
        faults += [line for line in daemon.lines if "Traceback" in line]
        if daemon.stop() != 0:
            faults.append("the daemon did not stop cleanly")
    return faults, grown


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", None))
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def family(pid: int) -> list[int]:
    """A process, its children, and theirs."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [pid, *(p for child in children.read_text().split() for p in family(int(child)))] if children.exists() else []


def memory(daemon: Daemon) -> float:
    """MiB of the daemon and its processes, what they share counted once (proportional set size)."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in family(daemon.process.pid)]
    return sum(int(line.split()[1]) for text in rollups for line in text.splitlines() if line.startswith("Pss:")) / 1024


def shares(tally: Counter) -> str:
    """The figure: how many were understood, of how many."""
    count = sum(tally[kind] for kind in KINDS)
    return ", ".join(f"{kind} {tally[kind]}" for kind in KINDS) + f" of {count}; answered aloud {tally['spoke']}; " + (
        f"the microphone lost sound {tally['xruns']} times")


def all_of_it(count: int, seed: int) -> list[str]:
    """Prints what was done; the faults."""
    if not count:
        return []
    with tempfile.TemporaryDirectory() as folder:
        tally = understood(BY, Path(folder))
    print(f"{len(BY)} requests spoken in a room: {shares(tally)}")
    bad = tally["right"] < BAR * len(BY) or tally["other"] > MOST_OTHER * len(BY)
    found = [f"requests spoken in a room: {shares(tally)}"] if bad else []
    found += ["a bug while it listened"] * tally["crashes"]
    with tempfile.TemporaryDirectory() as folder:
        faults, grown = utterances(count, seed, Path(folder))
    print(f"{count} utterances in a row: {len(faults)} faults, {grown:.1f} MiB more memory")
    found += faults + ([f"its memory grew by {grown:.0f} MiB"] if grown > MOST_GROWN else [])
    with tempfile.TemporaryDirectory() as folder:
        faults = unplugged(count // 50, seed, Path(folder))
    print(f"{count // 50} times unplugged: {len(faults)} faults")
    return found + faults
