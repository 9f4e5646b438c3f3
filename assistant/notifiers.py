"""The ways in which a reminder rings: the log, the desktop, a program of the person's own, and Apprise's services.

A notifier gets a `Notice` and either has delivered it when `notify` returns, or raises `DeliveryError`. It may be
cancelled at any await, when it takes too long, and gets a notice again that it could not deliver. A notice can come
twice when the daemon was killed half-way: the ids and ring numbers of its deliveries are then the same.
"""

import asyncio
import html
import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from logging import getLogger
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from assistant.errors import DeliveryError
from assistant.messages import Delivery
from assistant.programs import run

ring_log = getLogger("assistant.ring")


@dataclass(frozen=True, slots=True)
class Notice:
    """What is rung at once: everything that is due for one notifier."""

    deliveries: tuple[Delivery, ...]
    """Oldest first."""
    text: str
    """To be read or spoken, one line a delivery; of very many the first ones."""
    at: datetime
    """Aware UTC: when it is rung."""
    quiet: bool = False
    """It is to make no sound."""

    @property
    def title(self) -> str:
        return "Reminder" if len(self.deliveries) == 1 else f"{len(self.deliveries)} reminders"

    def only(self, deliveries: Sequence[Delivery]) -> "Notice":
        """What it tells of some of its deliveries."""
        lines = self.text.split("\n")
        told = lines if len(lines) == len(self.deliveries) else lines[:-1]  # the last one counts those without a line
        wanted = {(d.id, d.ring) for d in deliveries}
        kept = [line for d, line in zip(self.deliveries, told, strict=False) if (d.id, d.ring) in wanted]
        if more := len(deliveries) - len(kept):
            kept.append(f"and {more} more" if kept else f"{more} reminders")
        return replace(self, deliveries=tuple(deliveries), text="\n".join(kept))

    def late(self, delivery: Delivery) -> int:
        """Seconds after its time."""
        return max(0, int((self.at - delivery.due).total_seconds()))

    def as_json(self) -> dict:
        """For programs. `id` and `ring` are the same when a notice is repeated because its end was not recorded."""
        return {
            "title": self.title,
            "text": self.text,
            "deliveries": [
                {
                    "id": d.id, "reminder": d.reminder_id, "task": d.task, "due": _local(d), "late": self.late(d),
                    "occurrences": d.occurrences, "ring": d.ring, "recurring": d.recurring,
                }
                for d in self.deliveries
            ],
        }


class Notifier(Protocol):
    """A way to ring."""

    name: str
    """Under which its outcomes are recorded: it stays the same from run to run."""

    async def notify(self, notice: Notice) -> None:
        """Deliver it. Raises `DeliveryError`; `Away` where it is to be tried until it succeeds."""
        ...

    def problem(self) -> str | None:
        """Why it cannot work here and what to do about it; None when nothing is known against it."""
        ...


class LogNotifier:
    """A line `RING` of the structured log for each delivery."""

    name = "log"

    async def notify(self, notice: Notice) -> None:
        for d in notice.deliveries:
            due = d.due.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
            ring_log.info("RING", extra={
                "id": d.id, "reminder": d.reminder_id, "due": due, "ring": d.ring, "late": notice.late(d),
                "occurrences": d.occurrences, "task": d.task,
            })

    def problem(self) -> str | None:
        return None


class DesktopNotifier:
    """A notification on this machine's screen: `notify-send`, on macOS `osascript`."""

    name = "desktop"
    _SCRIPT = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")

    def __init__(self, platform: str = sys.platform) -> None:
        self._mac = platform == "darwin"

    async def notify(self, notice: Notice) -> None:
        if self._mac:
            script = [part for line in self._SCRIPT for part in ("-e", line)]
            await run(["osascript", *script, notice.title, _plain(notice.text)], error=DeliveryError)
        else:  # its text is markup
            text = html.escape(_plain(notice.text), quote=False)
            urgency = "low" if notice.quiet else "critical"
            argv = ["notify-send", "--app-name=Assistant", f"--urgency={urgency}", "--", notice.title, text]
            await run(argv, error=DeliveryError)

    def problem(self) -> str | None:
        if self._mac:
            return None if shutil.which("osascript") else "osascript is not found: add /usr/bin to PATH."
        if not shutil.which("notify-send"):
            return "notify-send is not found: install it (Debian: apt install libnotify-bin), or drop desktop."
        bus = os.environ.get("XDG_RUNTIME_DIR")
        if os.environ.get("DBUS_SESSION_BUS_ADDRESS") or (bus and Path(bus, "bus").exists()):
            return None
        return "No desktop session is reachable: start the daemon inside one, or drop desktop from [notify] use."


class CommandNotifier:
    """A program of the person's own.

    It reads the notice as JSON on standard input, and finds ASSISTANT_TASK, ASSISTANT_DUE and ASSISTANT_ID of its first
    delivery in the environment. Status 0 is success; else the last line of its standard error says why.
    """

    name = "command"

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)

    async def notify(self, notice: Notice) -> None:
        first = notice.deliveries[0]
        facts = {"ASSISTANT_TASK": _plain(first.task), "ASSISTANT_DUE": _local(first), "ASSISTANT_ID": str(first.id)}
        await run(self._argv, json.dumps(notice.as_json()).encode(), facts, error=DeliveryError)

    def problem(self) -> str | None:
        if shutil.which(self._argv[0]):
            return None
        return f"The program {self._argv[0]} is not found or not executable: correct [notify.command] argv."


class AppriseNotifier:
    """Phone, mail and a hundred services by URL, through the Apprise library. One that has it is not sent it again."""

    name = "apprise"

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = list(urls)
        self._sent: dict[int, set[tuple[int, int]]] = {}
        self._busy = False

    async def notify(self, notice: Notice) -> None:
        if self._busy:  # a thread cannot be stopped
            raise DeliveryError("Apprise has not finished the last notice: check the network.")
        wanted = {(d.id, d.ring) for d in notice.deliveries}
        self._sent = {i: sent & wanted for i, sent in self._sent.items()}
        self._busy = True
        try:
            errors = await _in_daemon_thread(self._send, notice, wanted)
        except RuntimeError:  # there can be no more threads
            self._busy = False
            raise
        if errors:
            raise DeliveryError("; ".join(errors))

    def _send(self, notice: Notice, wanted: set[tuple[int, int]]) -> list[str]:
        try:
            import apprise

            errors = []
            for i, url in enumerate(self._urls):
                if self._sent.get(i) == wanted:
                    continue
                service = apprise.Apprise()
                if not service.add(url):
                    errors.append(self._unknown(url))
                    continue
                result = service.notify(notice.text, title=notice.title, body_format=apprise.NotifyFormat.TEXT)
                if result:
                    self._sent[i] = wanted
                else:
                    said = [entry.message for entry in result.logs() if entry.level in ("WARNING", "ERROR")]
                    errors.append(f"{_scheme(url)}: {said[-1][:300] if said else 'it was refused'}")
            return errors
        finally:
            self._busy = False

    def problem(self) -> str | None:
        try:
            import apprise
        except ImportError as e:
            return f"Apprise cannot be loaded ({e}): install the project again."
        return next((self._unknown(url) for url in self._urls if not apprise.Apprise().add(url)), None)

    @staticmethod
    def _unknown(url: str) -> str:
        return f"Apprise does not understand the {_scheme(url)} URL: correct [notify.apprise] urls."  # it holds secrets


async def _in_daemon_thread(work, *arguments):
    """Like `asyncio.to_thread`, but a thread that hangs does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    def settle(result, error) -> None:
        if not answer.done():  # it was cancelled
            answer.set_exception(error) if error else answer.set_result(result)

    def run() -> None:
        result = error = None
        try:
            result = work(*arguments)
        except Exception as e:
            error = e
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="notifier", daemon=True).start()
    return await answer


def _local(delivery: Delivery) -> str:
    return delivery.due.astimezone(ZoneInfo(delivery.zone)).isoformat(timespec="seconds")


def _plain(text: str) -> str:
    """Text that an argument or environment variable can hold."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:10_000]


def _scheme(url: str) -> str:
    return url.partition(":")[0][:20]
