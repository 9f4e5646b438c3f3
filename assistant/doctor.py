"""`assistant doctor`: looks at everything that the assistant stands on, and says what to do about what is wrong."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Literal

from assistant.config import Config
from assistant.errors import AssistantError, NotRunning, NoWakeWord, NtfyError, RemoteError, Unreadable

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
    checks = (
        model, remote, database, zone, notify, ntfy, microphone, wake, hearing, voice, mqtt, wyoming, calendar, disk,
        daemon,
    )  # fmt: skip
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


def ntfy(config: Config) -> Iterator[Finding]:
    """The ntfy server lets us in, and can take back what it is handed ahead of time. Nothing rings by it."""
    import asyncio

    from assistant.ntfy import Ntfy

    settings = config.notify.ntfy
    if "ntfy" not in config.notify.use:
        return
    try:
        withdraws = asyncio.run(Ntfy(settings).withdraws())
    except NtfyError as e:
        found, _, advice = str(e).rstrip(".").rpartition(": ")
        yield Finding("warn", "ntfy", found, advice)
        return
    if settings.ahead_hours and not withdraws:
        advice = "update the server to ntfy 2.16, or set [notify.ntfy] ahead_hours = 0"
        found = f"{settings.url} cannot take messages back: nothing rings while this machine sleeps"
        yield Finding("warn", "ntfy", found, advice)
    else:
        ahead = f", {settings.ahead_hours:g} hours are handed over ahead" if settings.ahead_hours else ""
        buttons = "" if settings.callback_url else ", without buttons (callback_url is empty)"
        yield Finding("ok", "ntfy", f"{settings.url} takes messages{ahead}{buttons}")


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


def wake(config: Config) -> Iterator[Finding]:
    """The detector of the wake word is installed and loads, where it is wanted."""
    from assistant.wake import wake_word

    if config.wake.mode != "word":
        return
    try:
        yield Finding("ok", "wake word", f'it listens for "{wake_word(config.wake.word).name}"')
    except NoWakeWord as e:
        found, _, advice = str(e).rstrip(".").rpartition(": ")
        yield Finding("fail", "wake word", found, advice)


def hearing(config: Config) -> Iterator[Finding]:
    """How the assistant hears, and what the running one says of its own microphone."""
    from assistant.client import Answered, Daemon
    from assistant.hearing_commands import DEAF, sentence

    try:
        now = Daemon.of(config, timeout=5).call("GET", "/hearing")
    except (NotRunning, Answered):
        yield Finding("ok", "hearing", f'[wake] mode is "{config.wake.mode}", [stt] engine "{config.stt.engine}"')
        return
    found = f"{sentence(now)} Speech is transcribed by {now['engine']}"
    if now["muted"]:
        yield Finding("warn", "hearing", found, "assistant unmute")
    elif now["microphone"] in DEAF:
        yield Finding("warn", "hearing", found, "see microphone above; run assistant devices --test")
    else:
        yield Finding("ok", "hearing", found)


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


def mqtt(config: Config) -> Iterator[Finding]:
    """The broker lets the assistant in, where there is to be one."""
    import asyncio

    from assistant.broker import check
    from assistant.errors import Away
    from assistant.listen import open_socket

    settings = config.mqtt
    if not settings.enabled:
        return
    from assistant.mqtt import try_out

    try:
        yield Finding("ok", "mqtt", asyncio.run(try_out(settings)))
    except Away as e:
        if settings.broker != "embedded":
            found, _, advice = str(e).rstrip(".").rpartition(": ")
            yield Finding("fail", "mqtt", found, advice)
            return
        check()
        open_socket(settings.broker_host, settings.broker_port, "mqtt", "broker_").close()
        yield Finding("ok", "mqtt", "the embedded broker starts with the assistant; its port is free")


def wyoming(config: Config) -> Iterator[Finding]:
    """Home Assistant can talk to the assistant, or could if it ran."""
    import asyncio

    from assistant.errors import NotInstalled
    from assistant.listen import open_socket
    from assistant.wyoming_events import is_served, missing

    host, port = config.wyoming.host, config.wyoming.port
    if not config.wyoming.enabled:
        return
    if problem := missing():
        raise NotInstalled(problem)
    if port and asyncio.run(is_served(host, port)):
        yield Finding("ok", "wyoming", f"answers at {host}:{port}")
    else:
        open_socket(host, port, "wyoming").close()
        yield Finding("ok", "wyoming", f"listens when the assistant runs; {host}:{port} is free")


def calendar(config: Config) -> Iterator[Finding]:
    """The owner's calendar is kept equal, or at least could be."""
    import asyncio
    from urllib.parse import urlsplit

    from assistant.caldav import calendar_server
    from assistant.calendar_commands import sentence
    from assistant.client import Answered, Daemon
    from assistant.errors import CalendarError
    from assistant.guard import is_loopback

    c = config.calendar
    if not c.url:
        return

    async def reach() -> None:
        async with calendar_server(c.url, c.user, c.password, c.ca_file) as server:
            await server.reach()

    parts = urlsplit(c.url)
    if parts.scheme == "http" and c.password and not is_loopback(parts.netloc):
        yield Finding("warn", "calendar", f"the password goes to {parts.hostname} for all to read",
                      "begin [calendar] url with https://")
    try:
        now = Daemon.of(config, timeout=5).call("GET", "/calendar")["caldav"]
    except (NotRunning, Answered):
        now = None
    if now and now["state"] == "well":
        yield Finding("ok", "calendar", sentence(now))
        return
    try:
        asyncio.run(reach())
    except CalendarError as e:
        found, _, advice = str(e).rstrip(".").rpartition(": ")
        yield Finding("warn", "calendar", found, advice)
    else:
        if now and now["state"] == "failing":
            found, _, advice = now["said"].rstrip(".").rpartition(": ")
            yield Finding("warn", "calendar", found, advice)
        else:
            yield Finding("ok", "calendar", f"a server answers at {c.url}")


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
        health = Daemon.of(config, timeout=5).call("GET", "/health")
        yield Finding("ok", "daemon", f"runs at {host}:{port} since {health['uptime_s'] / 60:.0f} minutes")
        if kept := health.get("kept"):
            advice = "make a model answer: see model and remote above"
            yield Finding("warn", "kept", f"{kept} not understood yet", advice)
    except NotRunning:
        open_socket(host, port).close()
        yield Finding("warn", "daemon", f"does not run; {host}:{port} is free", "start it: assistant run")
