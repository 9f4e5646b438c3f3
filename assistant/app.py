"""The composition root: builds the parts from the settings, runs them as the named tasks of one TaskGroup, and stops
them cleanly. A part's bug ends the process with status 1, so that its supervisor starts it afresh; nothing that was
accepted is lost by that.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from assistant.broker import embedded
from assistant.calendars import Calendars
from assistant.changes import Changes
from assistant.chime import Chime
from assistant.clock import SystemClock
from assistant.config import Config
from assistant.delivery import Delivery, DeliveryPolicy
from assistant.echo import Echo
from assistant.errors import StoreError
from assistant.hearing import Hearing
from assistant.http import Service, listening, reminder_json, reply_json
from assistant.http_calendar import for_others
from assistant.http_callback import answering_buttons
from assistant.http_page import Page
from assistant.insistence import Insistence
from assistant.kept import answer_kept
from assistant.lifecycle import reload_on_signal, run, stop_on_signals
from assistant.listen import open_socket
from assistant.login import Login
from assistant.notifiers import AppriseNotifier, CommandNotifier, DesktopNotifier, LogNotifier, Notifier
from assistant.pipeline import Pipeline
from assistant.quiet import QuietHours
from assistant.rewriters import rewriters_of
from assistant.scheduler import Scheduler
from assistant.store import Store
from assistant.stt import transcriber
from assistant.stt_hints import MOST_TASKS
from assistant.stt_lazy import LazyTranscriber
from assistant.tts import engine_of, speaker
from assistant.voice import Speaker, Voice
from assistant.voice_notifier import VoiceNotifier
from assistant.wyoming_server import agent

if TYPE_CHECKING:
    from assistant.over_mqtt import OverMqtt
    from assistant.over_ntfy import OverNtfy

log = logging.getLogger(__name__)

STOP_SECONDS = 1.8
"""What is not finished then (a big model thinking) is left; it is taken up again at the next start."""


def run_forever(config: Config, json_log: bool = False) -> int:
    """Run the daemon until a signal stops it; the exit status. Raises `AssistantError` if it cannot start or go on."""
    return run(_serve(config), config.log, json_log)


async def _serve(config: Config) -> None:
    began = monotonic()
    stop = stop_on_signals(STOP_SECONDS, "; it is taken up at the next start")
    clock, tz, login = SystemClock(), config.when.tz, Login.of(config)
    with Store.open(config.database) as store, open_socket(config.http.host, config.http.port) as socket:
        rewriters = rewriters_of(config)
        echo = Echo(engine_of(config.tts), clock)
        hears = LazyTranscriber(transcriber(config, lambda: recent_tasks(store)))
        async with (
            rewriters.rewriter as rewriter, Voice(echo) as voice, hears, embedded(config.mqtt),
            asyncio.TaskGroup() as tasks,
        ):  # fmt: skip
            reload_on_signal(rewriters.reload, tasks, stop)
            if config.wake.mode != "push":
                tasks.create_task(hears.begin(), name="speech to text")
            mqtt = over_mqtt(config, store, lambda: {
                "model": rewriter.name, "microphone": hearing.status().microphone, "muted": hearing.muted})
            quiet = QuietHours(config.ring.quiet_from, config.ring.quiet_until, tz)
            phone = over_ntfy(config, store, quiet)
            ways = able(notifiers(config, voice, lambda: hearing.rang(), phone and phone.notifier))
            ways += [mqtt.notifier] if mqtt else []
            delivery = Delivery(store, ways, clock, delivery_policy(config), quiet=quiet)
            changes = Changes()
            told = [part.changed for part in (mqtt, phone, changes) if part]
            scheduler = Scheduler(store, clock, ring=bells(delivery.ring, *told))
            calendars = Calendars(
                store, config.calendar, config.when.policy, tz, clock, scheduler.changed, delivery.ring)
            pipeline = Pipeline(
                rewriter, store, config.when.policy, tz, clock, config.model.ask_below,
                bells(scheduler.changed, calendars.wake, *told), snooze_minutes=config.ring.snooze_minutes,
                **({"may": mqtt.may} if mqtt else {}))
            hearing = Hearing(
                config, pipeline, voice, echo, hears, reply_json, Chime().play, changed=bells(*told))
            page = Page(
                pipeline, changes, reminder_json, timedelta(seconds=config.ring.late_after_seconds),
                rewriters=rewriters, hearing=hearing, mqtt=mqtt and mqtt.connection, calendars=calendars,
                phone=config.notify.ntfy if phone else None)
            running = [
                tasks.create_task(delivery.run(), name="delivery"),
                tasks.create_task(scheduler.run(), name="scheduler"),
                tasks.create_task(answer_kept(pipeline, rewriter.worth_trying), name="kept requests"),
                tasks.create_task(rewriters.watch(), name="model pointer"),
                tasks.create_task(hearing.run(), name="hearing"),
                tasks.create_task(calendars.run(), name="calendars"),
                tasks.create_task(changes.watch(page.look), name="changes"),
                *(mqtt.begin(tasks, delivery, pipeline, hearing) if mqtt else ()),
                *(phone.begin(tasks, delivery) if phone else ()),
            ]
            service = Service(
                pipeline, rewriters, hearing, mqtt=mqtt and mqtt.connection, calendars=calendars, page=page,
                login=login)
            async with (
                listening(service, socket) as url, agent(config.wyoming, pipeline.handle, clock),
                answering_buttons(config.notify.ntfy, pipeline) if phone else nullcontext(),
                for_others(config.calendar, config.data_dir, calendars),
            ):  # fmt: skip
                facts = {"model": rewriter.name, "zone": tz.key, "database": str(config.database),
                         "wake": config.wake.mode, "ms": round((monotonic() - began) * 1000)}
                log.info("ready: %s", url, extra=facts)
                if login:
                    log.info("other machines may reach it with what `assistant address` shows")
                await stop.wait()
            for task in running:
                task.cancel()
    log.info("stopped")


def over_mqtt(config: Config, store: Store, facts: Callable[[], dict]) -> "OverMqtt | None":
    """What goes over MQTT, None where it is not enabled. Raises `ConfigError`."""
    if not config.mqtt.enabled:
        return None
    from assistant.over_mqtt import OverMqtt  # not at the top: most do without, and start sooner

    return OverMqtt(config, store, facts)


def over_ntfy(config: Config, store: Store, quiet: QuietHours) -> "OverNtfy | None":
    """The phone, None where [notify] use does not name it."""
    if "ntfy" not in config.notify.use:
        return None
    from assistant.over_ntfy import OverNtfy  # not at the top: most do without

    lead = timedelta(minutes=config.calendar.lead_minutes)
    return OverNtfy(config.notify.ntfy, store, SystemClock(), quiet, lead)


def bells(*rings: Callable[[], None]) -> Callable[[], None]:
    """All of them as one."""

    def ring() -> None:
        for one in rings:
            one()

    return ring


def recent_tasks(store: Store) -> list[str]:
    """Of the reminders ahead, those that were made last: they may be spoken of. None where they cannot be read."""
    try:
        return [r.task for r in store.in_state("pending", MOST_TASKS)]
    except StoreError:
        return []


def notifiers(
    config: Config,
    voice: Speaker | None = None,
    spoken: Callable[[], None] = lambda: None,
    phone: Notifier | None = None,
) -> list[Notifier]:
    """Those that [notify] use names; `voice` is what the one of that name speaks by, which calls `spoken` then, and
    `phone` the one called ntfy, which is left out where there is none."""
    makers = {
        "log": LogNotifier,
        "desktop": DesktopNotifier,
        "command": lambda: CommandNotifier(config.notify.command.argv),
        "apprise": lambda: AppriseNotifier(config.notify.apprise.urls),
    }
    names = dict.fromkeys(name for name in config.notify.use if name != "ntfy" or phone)
    made = {name: phone if name == "ntfy" else makers[name]() for name in names if name != "voice"}
    if "voice" in names:
        alone = not any(name != "log" and not n.problem() for name, n in made.items())
        made["voice"] = VoiceNotifier(voice or speaker(config), config.tts, config.when.tz, alone, spoken)
    return [made[name] for name in names]


def able(every: list[Notifier]) -> list[Notifier]:
    """Those that can ring on this machine; what is left out is said once, here. None can: all of them are tried."""
    problems = {n.name: problem for n in every if (problem := n.problem())}
    if len(problems) == len(every):
        problems = {}
    for name, problem in problems.items():
        log.warning("without the notifier %s: %s", name, problem)
    return [n for n in every if n.name not in problems]


def delivery_policy(config: Config) -> DeliveryPolicy:
    """How a reminder insists and how a failed delivery is tried again."""
    ring, notify = config.ring, config.notify
    return DeliveryPolicy(
        repeat_after=timedelta(minutes=ring.repeat_after_minutes),
        repeats=ring.repeats,
        late_after=timedelta(seconds=ring.late_after_seconds),
        channels={
            name: Insistence(timedelta(minutes=c.repeat_after_minutes), c.repeats) for name, c in ring.channels.items()
        },
        escalate=ring.escalate,
        tries=notify.tries,
        first_retry=timedelta(seconds=notify.first_retry_seconds),
        longest_retry=timedelta(minutes=notify.longest_retry_minutes),
        timeout=timedelta(seconds=notify.timeout_seconds),
    )
