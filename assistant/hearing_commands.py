"""`assistant hearing`, `mute`, `unmute` and `hush`: what the running assistant hears with, and its voice."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assistant.options import ConfigFile, Host, Json, Port, print_json, settings

if TYPE_CHECKING:
    from assistant.client import Daemon

WAIT_SECONDS = 45
"""For so long `hearing --wait` waits. A microphone that delivers nothing but zeros is known to after 30."""
EVERY_SECONDS = 0.5
DEAF = ("silent", "missing")
"""States of a microphone from which no sound comes."""
Voice = Annotated[bool, typer.Option("--voice", help="Its voice instead of its microphone.")]


def hearing(
    wait: Annotated[bool, typer.Option("--wait", help="Until it is known whether sound arrives: up to 45 s.")] = False,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Say how the running assistant hears: whether it listens, is muted, and whether sound arrives.

    Ends with 1 if it wants to hear and no sound arrives.

    \b
    Example: assistant hearing
    """
    daemon = _daemon(config, host, port)
    now = _known(daemon) if wait else daemon.call("GET", "/hearing")
    _show(now, as_json)
    raise typer.Exit(1 if now["microphone"] in DEAF or (wait and _waits(now)) else 0)


def mute(
    voice: Voice = False, config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Close the microphone of the running assistant until `assistant unmute`, also if it is started anew.

    \b
    Example: assistant mute
             assistant mute --voice
    """  # fmt: skip
    _show(_daemon(config, host, port).call("POST", "/voice" if voice else "/hearing", {"muted": True}), as_json)


def unmute(
    voice: Voice = False, config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Let the running assistant hear again, or speak again.

    \b
    Example: assistant unmute
             assistant unmute --voice
    """  # fmt: skip
    _show(_daemon(config, host, port).call("POST", "/voice" if voice else "/hearing", {"muted": False}), as_json)


def hush(config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False) -> None:
    """Let the running assistant be silent at once; what comes later is said.

    \b
    Example: assistant hush
    """
    _show(_daemon(config, host, port).call("POST", "/voice/stop", {}), as_json)


def sentence(now: dict) -> str:
    """What `GET /hearing` says, for a person."""
    if now["muted"]:
        ears = "It is muted and hears nothing until `assistant unmute`."
    else:
        ears = {
            "push": "It listens when it is told to (`assistant listen`).",
            "word": f'It listens for "{now["word"]}".' if now["word"] else
                    "Its wake word cannot be heard here (`assistant doctor` says why); it listens when it is told to.",
            "always": "It listens all the time.",
        }[now["mode"]]
        if now["microphone"] != "closed" or now["mode"] == "always":
            ears += f" {now['says']}"
    return ears + (" Its voice is muted until `assistant unmute --voice`." if now["voice_muted"] else "")


def _known(daemon: "Daemon") -> dict:
    """How it hears once that is known: one that listens by itself has just been started, and may hear zeros."""
    from time import monotonic, sleep

    from assistant.errors import NotRunning

    until = monotonic() + WAIT_SECONDS
    while True:
        try:
            now = daemon.call("GET", "/hearing")
        except NotRunning:
            if monotonic() >= until:
                raise
        else:
            if now["microphone"] in DEAF or not _waits(now) or monotonic() >= until:
                return now
        sleep(EVERY_SECONDS)


def _waits(now: dict) -> bool:
    """Whether it listens by itself and has heard nothing but zeros."""
    return now["mode"] != "push" and not now["muted"] and not now["sound"]


def _daemon(config: Path | None, host: str | None, port: int | None) -> "Daemon":
    from assistant.client import Daemon

    return Daemon.of(settings(config, host, port))


def _show(now: dict, as_json: bool) -> None:
    if as_json:
        print_json(now)
    else:
        print(sentence(now), flush=True)
