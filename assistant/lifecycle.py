"""How a process of ours lives: its log starts, it runs until a signal stops it, reloads at another, and ends with a
status. A part's bug ends it with status 1, so that its supervisor starts it afresh.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import NoReturn

from assistant import programs
from assistant.errors import AssistantError
from assistant.log import start_log
from assistant.sections import Log

log = logging.getLogger(__name__)


def run(main: Coroutine[None, None, None], config: Log, json_log: bool) -> int:
    """Run `main` until it ends; the exit status. Raises the first `AssistantError` that it cannot go on with."""
    start_log(config.level, "json" if json_log else config.format)
    try:
        asyncio.run(main)
    except BaseExceptionGroup as group:
        expected, bugs = group.split(AssistantError)
        if bugs:
            log.critical("a bug ends the assistant", exc_info=bugs)
            return 1
        raise _first(expected) from None
    return 0


def _first(group: BaseException) -> BaseException:
    return _first(group.exceptions[0]) if isinstance(group, BaseExceptionGroup) else group


def stop_on_signals(patience: float, impatient: str) -> asyncio.Event:
    """An event that SIGINT and SIGTERM set.

    A second SIGINT ends the process at once with status 130. So does the end of `patience` seconds, with status 0 and
    the words `impatient` in the log. SIGHUP means nothing until there is something to reload (`reload_on_signal`).
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def give_up() -> None:
        log.warning("stopped without waiting for what was under way%s", impatient)
        _exit(0)

    def received(name: str) -> None:
        if stop.is_set():
            if name == "SIGINT":
                _exit(130)
            return
        log.info("stopping", extra={"signal": name})
        stop.set()
        timer = threading.Timer(patience, give_up)
        timer.daemon = True
        timer.start()

    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, received, sign.name)
    _on_hangup(lambda: None)
    return stop


def _exit(status: int) -> NoReturn:
    """End the process at once, and the programs that it runs: a voice would go on to the end of its sentence."""
    programs.kill_all()
    os._exit(status)


def _on_hangup(act: Callable[[], object]) -> None:
    """`act` at SIGHUP. That is also what comes when the terminal is closed: then the process stops."""
    on_terminal = sys.stdin is not None and sys.stdin.isatty()

    def received() -> None:
        if on_terminal and not sys.stdin.isatty():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            act()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, received)


def reload_on_signal(reload: Callable[[], Awaitable[object]], tasks: asyncio.TaskGroup, stop: asyncio.Event) -> None:
    """SIGHUP runs `reload`; an expected error of it is told to the log."""

    async def told() -> None:
        try:
            await reload()
        except AssistantError as e:
            log.warning("nothing is reloaded: %s", e, extra={"code": e.code})

    def received() -> None:
        if not stop.is_set():
            tasks.create_task(told(), name="reload the model")

    _on_hangup(received)
