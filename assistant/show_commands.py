"""`assistant show`: what the page shows, in the terminal, live."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from assistant.options import ConfigFile, Host, Json, Port, print_json, settings

if TYPE_CHECKING:
    from rich.console import Console

    from assistant.client import Daemon

AGAIN_SECONDS = 2.0
"""Until a daemon that went away is tried again."""
REDRAW_SECONDS = 20.0
"""What is told as `in 5 minutes` is drawn anew so often."""
PIPED_WIDTH = 200
"""Columns where nobody says how many there are."""
_QUIT = (b"q", b"Q", b"\x04", b"")
"""Keys that end it: the third is Ctrl-D, and the last that there is no terminal any more."""
News = tuple[Literal["overview", "away", "quit", "resized"], object]
"""What the loop waits for: an overview, why there is none, or a wish of the person's."""


def show(
    once: Annotated[bool, typer.Option("--once", help="Print it once.")] = False,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Show what rings, what was missed, what lies ahead, what was heard and how all is; live, until q or Ctrl-C.

    \b
    Example: assistant show
             assistant show --once
    """
    from rich.console import Console

    from assistant.client import Daemon

    daemon = Daemon.of(settings(config, host, port))
    found = daemon.call("GET", "/overview")
    if as_json:
        print_json(found)
        return
    live = sys.stdout.isatty()
    console = Console(width=None if live else PIPED_WIDTH, highlight=False)
    if once or not live:
        _draw(console, found)
    else:
        _follow(console, daemon, found)


def _draw(console: "Console", found: dict) -> None:
    from assistant.glance import glance

    for line in glance(found, datetime.now(UTC), console.width, ascii_only=console.options.ascii_only):
        console.print(line)


def _follow(console: "Console", daemon: "Daemon", found: dict) -> None:
    """Draw it anew whenever something has changed, until the person ends it."""
    from rich.console import Group
    from rich.live import Live

    from assistant.glance import glance

    news: SimpleQueue[News] = SimpleQueue()
    away = ""

    def picture() -> Group:
        lines = glance(found, datetime.now(UTC), console.width, console.height, console.options.ascii_only, away)
        return Group(*lines[: console.height])

    with _signals(news), _keys(news), Live(picture(), console=console, screen=True, auto_refresh=False) as live:
        Thread(target=_listen, args=(daemon, news), name="events", daemon=True).start()
        while True:
            kind, told = _next(news)
            if kind == "quit":
                return
            if kind == "overview":
                found, away = told, ""
            elif kind == "away":
                away = told
            live.update(picture(), refresh=True)


def _next(news: "SimpleQueue[News]") -> News:
    try:
        return news.get(timeout=REDRAW_SECONDS)
    except Empty:
        return "resized", None  # drawn anew all the same


def _listen(daemon: "Daemon", news: "SimpleQueue[News]") -> None:
    """Tell of every change, and try again for ever when the daemon is away. It ends with the program."""
    from assistant.errors import AssistantError

    while True:
        try:
            for event in daemon.events("/events"):
                if event == "changed":
                    news.put(("overview", daemon.call("GET", "/overview")))
        except AssistantError as e:
            news.put(("away", f"Trying again: {e}"))
        else:
            news.put(("away", "Trying again: the assistant has stopped."))
        time.sleep(AGAIN_SECONDS)


@contextmanager
def _keys(news: "SimpleQueue[News]") -> Iterator[None]:
    """Hear single keys, and leave the terminal as it was."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        Thread(target=_hear_keys, args=(terminal, news), name="keys", daemon=True).start()
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _hear_keys(terminal: int, news: "SimpleQueue[News]") -> None:
    while os.read(terminal, 1) not in _QUIT:
        pass
    news.put(("quit", None))


@contextmanager
def _signals(news: "SimpleQueue[News]") -> Iterator[None]:
    """Hear Ctrl-C and SIGTERM, so that the terminal is left in order, and that its size has changed."""
    kinds = {signal.SIGINT: "quit", signal.SIGTERM: "quit", signal.SIGWINCH: "resized"}
    before = {number: signal.signal(number, lambda n, _: news.put((kinds[n], None))) for number in kinds}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
