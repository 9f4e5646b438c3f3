"""What a service tells systemd: that it is ready, that it reloads or stops, and that it is alive.

The protocol is that of sd_notify(3): lines `KEY=VALUE` in one datagram to the socket that $NOTIFY_SOCKET names. Without
such a socket nothing is told, and nothing that goes wrong with it stops the service.
(https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html)
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic_ns

log = logging.getLogger(__name__)


class Systemd:
    """The service manager that started this process, if it wants to be told; `environ` as it set it."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog = _watchdog_seconds(environ)
        """Within so many seconds it wants a sign of life, None for never; from sd_watchdog_enabled(3)."""

    def tell(self, **state: object) -> None:
        """Such as `tell(READY=1, STATUS="the model small is in use")`."""
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address  # @: abstract (unix(7))
        message = "\n".join(f"{key}={value}" for key, value in state.items()).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                s.settimeout(1)
                s.sendto(message, address)
        except OSError as e:
            log.warning("systemd could not be told: %s", e, extra={"state": " ".join(state)})

    def ready(self, status: str) -> None:
        self.tell(READY=1, STATUS=status)

    def reloading(self) -> None:
        """`ready` ends it. The time is for `Type=notify-reload`: systemd.service(5)."""
        self.tell(RELOADING=1, MONOTONIC_USEC=monotonic_ns() // 1000)

    def stopping(self) -> None:
        self.tell(STOPPING=1)

    async def keep_alive(
        self, alive: Callable[[], bool], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """A sign of life at half of the watchdog's time as long as `alive` says so, for ever.

        Once it stays away for the whole time systemd kills and restarts the service, also if the event loop hangs.
        """
        while self.watchdog:
            if alive():
                self.tell(WATCHDOG=1)
            else:
                log.error("the model has stopped working: no sign of life for systemd")
            await sleep(self.watchdog / 2)


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    try:
        seconds = int(environ["WATCHDOG_USEC"]) / 1e6
        meant = int(environ.get("WATCHDOG_PID", os.getpid())) == os.getpid()
    except (KeyError, ValueError):
        return None
    return seconds if meant and seconds > 0 else None
