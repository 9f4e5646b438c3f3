"""`assistant doctor`: looks at everything that the assistant stands on, and says what to do about what is wrong."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Literal

from assistant.config import Config
from assistant.errors import AssistantError, NotRunning, RemoteError, Unreadable

MUCH_DISK, LITTLE_DISK = 500 * 2**20, 50 * 2**20
"""Bytes; below the first a warning, below the second a failure."""
LISTEN_SECONDS = 0.5
"""For so long `microphone` listens."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    state: Literal["ok", "warn", "fail"]
    name: str
    """What was looked at."""
    found: str
    advice: str = ""
    """What to do; empty if nothing need be done."""


def examine(config: Config) -> list[Finding]:
    """Every check, each on its own, so that one failure hides no other."""
    checks = (model, remote, database, zone, notify, microphone, voice, disk, daemon)
    return [finding for check in checks for finding in _run(check, config)]


def _run(check, config: Config) -> Iterator[Finding]:
    try:
        yield from check(config)
    except AssistantError as e:
        found, _, advice = str(e).rpartition(": ")
        yield Finding("fail", check.__name__, found, advice)


def model(config: Config) -> Iterator[Finding]:
    """The rewrite model in use is whole, loads and writes one line."""
    if "local" not in config.remote.order:
        return
    from assistant.local import LlamaModel, model_file
    from assistant.models import TRIAL
    from assistant.pointer import models_of
    from assistant.words import model_text

    models = models_of(config)
    if not models.fixed:
        models.check(models.read().current)
    path = models.in_use()
    began = perf_counter()
    loaded = LlamaModel(model_file(path), config.model.threads)
    ready = perf_counter()
    lines, _ = loaded.write(model_text(TRIAL))
    loaded.close()
    times = f"loaded in {(ready - began) * 1000:.0f} ms, a request in {(perf_counter() - ready) * 1000:.0f} ms"
    yield Finding("ok", "model", f'{path.name}: {times}, "{lines.splitlines()[0]}"')


def remote(config: Config) -> Iterator[Finding]:
    """The model on another machine answers."""
    import asyncio

    from assistant.models import TRIAL
    from assistant.remote import RemoteRewriter

    if not config.remote.url or "remote" not in config.remote.order:
        return

    async def try_out():
        async with RemoteRewriter(config.remote) as rewriter:
            return await rewriter.rewrite(TRIAL)

    try:
        answer = asyncio.run(try_out())
    except (RemoteError, Unreadable) as e:
        found, _, advice = str(e).rpartition(": ")
        stands_in = "local" in config.remote.order  # then nothing is lost by it
        yield Finding("warn" if stands_in else "fail", "remote", found, advice)
        return
    found = f'{config.remote.url}: {answer.model}, a request in {answer.ms:.0f} ms, "{answer.text.splitlines()[0]}"'
    yield Finding("ok", "remote", found)


def database(config: Config) -> Iterator[Finding]:
    """The database is whole and of a version that this program knows."""
    from assistant.store import inspect

    facts = inspect(config.database)
    folder = next(p for p in config.database.parents if p.exists())
    if facts is None and not (folder.is_dir() and os.access(folder, os.W_OK)):
        advice = "make it a folder that you may write to, or set [data] dir in config.toml"
        yield Finding("fail", "database", f"{folder} cannot be written to", advice)
    elif facts is None:
        yield Finding("ok", "database", f"none yet; it will be made at {config.database}")
    else:
        size = f"{facts.size / 2**20:.1f} MB"
        yield Finding("ok", "database", f"{config.database}: whole, {facts.pending} reminders ahead, {size}")


def zone(config: Config) -> Iterator[Finding]:
    """The person's time zone."""
    tz = config.when.tz
    yield Finding("ok", "zone", f"{tz.key}, where it is {datetime.now(tz):%A %H:%M}")


def notify(config: Config) -> Iterator[Finding]:
    """What each notifier itself says about whether it could ring."""
    from assistant.app import notifiers

    for notifier in notifiers(config):
        problem = notifier.problem()
        if problem:
            yield Finding("warn", f"notify {notifier.name}", "cannot ring", problem)
        else:
            yield Finding("ok", f"notify {notifier.name}", "can ring")


def microphone(config: Config) -> Iterator[Finding]:
    """Sound arrives from the microphone; muted, forbidden and missing are told apart as far as the system tells."""
    import asyncio

    from assistant import silence
    from assistant.errors import NoMicrophone, NoPortAudio, SilentMicrophone
    from assistant.microphone import Microphone, measure

    async def try_out() -> tuple[str, float]:
        async with Microphone(config.audio.microphone) as source:
            return source.device, await measure(source, LISTEN_SECONDS)

    try:
        device, loudest = asyncio.run(try_out())
    except NoPortAudio as e:
        found, _, advice = str(e).rstrip(".").partition(": ")
        yield Finding("warn", "microphone", found, advice)
    except (NoMicrophone, SilentMicrophone) as e:
        why = silence.why()
        if isinstance(e, SilentMicrophone):
            why = None if why == "muted" and config.audio.microphone else why  # it may be the default one that is muted
            found = f"{e.device} delivers silence"
            advice = "see whether it is muted, the lid closed or the permission missing; try assistant devices --test"
        else:
            found, _, advice = str(e).rstrip(".").rpartition(": ")
            why = why if why == "forbidden" else None
        yield Finding("warn", "microphone", f"{found}: it is {why}" if why else found, silence.ADVICE.get(why, advice))
    else:
        yield Finding("ok", "microphone", f"{device}: sound arrives, {loudest:.0f} dB at the loudest")


def voice(config: Config) -> Iterator[Finding]:
    """Something can speak; whether it is heard is for the person to say."""
    from assistant.tts import speaker

    if config.tts.engine == "none":
        return
    mouth = speaker(config)
    if problem := mouth.problem():
        yield Finding("warn", "voice", "cannot speak", problem)
    else:
        yield Finding("ok", "voice", f"{mouth.name} can speak")


def disk(config: Config) -> Iterator[Finding]:
    """Room where the database lies, and a folder that can be written."""

    folder = next(p for p in (config.data_dir.absolute(), *config.data_dir.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**20:,.0f} MB free at {folder}"
    if not os.access(folder, os.W_OK) or not folder.is_dir():
        yield Finding("fail", "disk", f"{folder} cannot be written", "give it to your user, or set [data] dir")
    elif free < LITTLE_DISK:
        yield Finding("fail", "disk", found, "free some space: reminders could soon not be kept")
    elif free < MUCH_DISK:
        yield Finding("warn", "disk", found, "free some space")
    else:
        yield Finding("ok", "disk", found)


def daemon(config: Config) -> Iterator[Finding]:
    """The assistant runs, or could listen where it is told to."""
    from assistant.client import Daemon
    from assistant.listen import open_socket

    host, port = config.http.host, config.http.port
    try:
        health = Daemon(host, port, timeout=5).call("GET", "/health")
        yield Finding("ok", "daemon", f"runs at {host}:{port} since {health['uptime_s'] / 60:.0f} minutes")
        if kept := health.get("kept"):
            advice = "make a model answer: see model and remote above"
            yield Finding("warn", "kept", f"{kept} not understood yet", advice)
    except NotRunning:
        open_socket(host, port).close()
        yield Finding("warn", "daemon", f"does not run; {host}:{port} is free", "start it: assistant run")
