"""The composition root: builds the parts from the settings, runs them as the named tasks of one TaskGroup, and stops
them cleanly. A part's bug ends the process with status 1, so that its supervisor starts it afresh; nothing that was
accepted is lost by that.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from datetime import timedelta
from time import monotonic

from assistant.clock import SystemClock
from assistant.config import Config
from assistant.delivery import Delivery, DeliveryPolicy
from assistant.errors import AssistantError
from assistant.guard import is_loopback
from assistant.http import Service, listening
from assistant.listen import open_socket
from assistant.log import start_log
from assistant.notifiers import AppriseNotifier, CommandNotifier, DesktopNotifier, LogNotifier, Notifier
from assistant.pipeline import Pipeline
from assistant.pointer import models_of
from assistant.reload import ReloadingRewriter
from assistant.scheduler import Scheduler
from assistant.store import Store

log = logging.getLogger(__name__)

STOP_SECONDS = 1.8
"""What is not finished then (a big model thinking) is left; it is taken up again at the next start."""


def run_forever(config: Config, json_log: bool = False) -> int:
    """Run the daemon until a signal stops it; the exit status. Raises `AssistantError` if it cannot start or go on."""
    start_log(config.log.level, "json" if json_log else config.log.format)
    try:
        asyncio.run(_serve(config))
    except BaseExceptionGroup as group:
        expected, bugs = group.split(AssistantError)
        if bugs:
            log.critical("a bug ends the assistant", exc_info=bugs)
            return 1
        raise _first(expected) from None
    return 0


def _first(group: BaseException) -> BaseException:
    return _first(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group


async def _serve(config: Config) -> None:
    began = monotonic()
    stop = _stop_on_signals()
    clock, tz = SystemClock(), config.when.tz
    with Store.open(config.database) as store, open_socket(config.http.host, config.http.port) as socket:
        rewriter = ReloadingRewriter(models_of(config), config.model.threads, config.model.queue)
        async with rewriter, asyncio.TaskGroup() as tasks:
            _reload_on_signal(rewriter, tasks, stop)
            delivery = Delivery(store, able(notifiers(config)), clock, delivery_policy(config))
            scheduler = Scheduler(store, clock, ring=delivery.ring)
            pipeline = Pipeline(
                rewriter, store, config.when.policy, tz, clock, config.model.ask_below, scheduler.changed,
                snooze_minutes=config.ring.snooze_minutes)
            running = [
                tasks.create_task(delivery.run(), name="delivery"),
                tasks.create_task(scheduler.run(), name="scheduler"),
                tasks.create_task(_answer_unsettled(pipeline, store), name="unsettled requests"),
                tasks.create_task(rewriter.watch(), name="model pointer"),
            ]
            service = Service(pipeline, rewriter)
            async with listening(service, socket) as url:
                facts = {"model": rewriter.name, "zone": tz.key, "database": str(config.database),
                         "ms": round((monotonic() - began) * 1000)}
                log.info("ready: %s", url, extra=facts)
                if not is_loopback(url.removeprefix("http://")):
                    log.warning("other machines may reach %s, and nobody is asked for a password", url)
                await stop.wait()
            for task in running:
                task.cancel()
    log.info("stopped")


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set. A second SIGINT ends the process at once, as does the end of patience."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def received(name: str) -> None:
        if stop.is_set():
            if name == "SIGINT":
                os._exit(130)
            return
        log.info("stopping", extra={"signal": name})
        stop.set()
        patience = threading.Timer(STOP_SECONDS, _give_up)
        patience.daemon = True
        patience.start()

    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, received, sign.name)
    return stop


def _reload_on_signal(rewriter: ReloadingRewriter, tasks: asyncio.TaskGroup, stop: asyncio.Event) -> None:
    """SIGHUP looks at the model pointer. It is also what comes when the terminal is closed: then it stops."""
    on_terminal = sys.stdin is not None and sys.stdin.isatty()

    def received() -> None:
        if on_terminal and not sys.stdin.isatty():
            os.kill(os.getpid(), signal.SIGTERM)
        elif not stop.is_set():
            tasks.create_task(rewriter.reload(), name="reload the model")

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, received)


def _give_up() -> None:
    log.warning("stopped without waiting for what was under way; it is taken up at the next start")
    os._exit(0)


async def _answer_unsettled(pipeline: Pipeline, store: Store) -> None:
    """What was accepted before a crash and has no answer yet."""
    for request in store.unsettled_requests():
        try:
            await pipeline.handle(request)
            log.info("answered after a restart", extra={"request": request.id})
        except AssistantError as e:
            log.warning("not answered after a restart: %s", e, extra={"request": request.id})


def notifiers(config: Config) -> list[Notifier]:
    """Those that [notify] use names."""
    makers = {
        "log": LogNotifier,
        "desktop": DesktopNotifier,
        "command": lambda: CommandNotifier(config.notify.command.argv),
        "apprise": lambda: AppriseNotifier(config.notify.apprise.urls),
    }
    return [makers[name]() for name in dict.fromkeys(config.notify.use)]


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
        tries=notify.tries,
        first_retry=timedelta(seconds=notify.first_retry_seconds),
        longest_retry=timedelta(minutes=notify.longest_retry_minutes),
        timeout=timedelta(seconds=notify.timeout_seconds),
    )
