"""`assistant devices`: what can hear and be heard, and whether a microphone delivers sound."""

import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from assistant.hearing_commands import sentence
from assistant.options import ConfigFile, Json, print_json, print_table, settings

if TYPE_CHECKING:
    from assistant.config import Config

TEST_SECONDS = 3
QUIET = -60.0
"""dB relative to full scale that a voice surpasses in any room; a microphone alone does not."""
LEFT_END = -70.0
"""Of the meter, in dB relative to full scale; the right end is 0."""


def devices(
    test: Annotated[bool, typer.Option("--test", help="Listen for three seconds, with a level meter.")] = False,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which one to test, or a part of it.")] = None,
    config: ConfigFile = None, as_json: Json = False,
) -> None:
    """List microphones and loudspeakers, or test a microphone.

    \b
    Example: assistant devices
             assistant devices --test
             assistant devices --test headset
    """
    found = settings(config)
    chosen = found.audio.microphone
    if test:
        _test(chosen if name is None else name, as_json)
    elif name is not None:
        raise typer.BadParameter("a name is for --test")
    else:
        _list(chosen, _running(found), as_json)


def _running(found: "Config") -> dict | None:
    """What the running assistant says of its own microphone; None if there is none."""
    from assistant.client import Answered, Daemon
    from assistant.errors import NotRunning

    try:
        return Daemon.of(found, timeout=2).call("GET", "/hearing")
    except (NotRunning, Answered):
        return None


def _list(chosen: str, running: dict | None, as_json: bool) -> None:
    from assistant.capture import choose
    from assistant.capture import devices as all_devices
    from assistant.errors import NoMicrophone

    found = all_devices()
    try:
        used = choose(found, chosen).index
    except NoMicrophone as e:
        used, problem = None, e
    if as_json:
        rows = [asdict(d) | {"used": d.index == used} for d in found]
        print_json({"devices": rows, "hearing": running})
        return
    for head, channels, default in (
        ("microphone", "inputs", "default_input"), ("loudspeaker", "outputs", "default_output"),
    ):  # fmt: skip
        rows = [
            (d.name, d.api, f"{d.rate:,.0f} Hz", str(getattr(d, channels)), "default" if getattr(d, default) else "",
             "used" if head == "microphone" and d.index == used else "")
            for d in found if getattr(d, channels)
        ]  # fmt: skip
        if rows:
            print_table((head, "by", "rate", "channels", "", ""), rows)
    if running:
        print(f"The assistant runs. {sentence(running)}")
    if used is None:
        print(problem, file=sys.stderr)


def _test(name: str, as_json: bool) -> None:
    import asyncio

    from assistant.microphone import Microphone, measure

    async def test() -> tuple[str, float]:
        async with Microphone(name) as source:
            with _meter(source.device, as_json) as tell:
                return source.device, await measure(source, TEST_SECONDS, tell)

    device, loudest = asyncio.run(test())
    if as_json:
        print_json({"device": device, "loudest_db": round(loudest, 1), "quiet": loudest < QUIET})
        return
    advice = "; that is very quiet: speak, or turn it up" if loudest < QUIET else ""
    print(f"Sound arrives from {device}, {loudest:.0f} dB at the loudest{advice}.")


@contextmanager
def _meter(device: str, as_json: bool):
    """What shows the level of each block: a bar where there is a terminal."""
    if as_json or not sys.stderr.isatty():
        yield lambda level: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[db]:>4.0f} dB"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(f"{device}: say something", total=-LEFT_END, db=LEFT_END)
        yield lambda level: progress.update(bar, completed=max(0, level - LEFT_END), db=level)
