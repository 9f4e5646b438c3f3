"""A reminder rings on the phone, through ntfy.

What was handed to the server ahead of its time (`ahead.py`) is rung in place of that copy, by one request that replaces
it. Where that request fails, the copy rings in its turn, which is as good: there is exactly one ring either way, unless
the server itself fails half-way, or this machine dies between the ring and its record.
"""

from datetime import datetime
from logging import getLogger

from assistant.callbacks import Action, Callbacks
from assistant.copies import Copies, Copy, State
from assistant.errors import NtfyError, StoreError
from assistant.messages import Delivery
from assistant.notifiers import Notice
from assistant.ntfy import SILENT, Message, Ntfy
from assistant.sections import NtfyPhone
from assistant.store import Store

LABELS: dict[Action, str] = {"done": "Done", "snooze": "In 10 minutes", "tomorrow": "Tomorrow"}
"""What stands on the buttons."""

log = getLogger(__name__)


class Buttons:
    """The buttons of a notification, which call back to `settings.callback_url`; none where that is empty."""

    def __init__(self, store: Store, settings: NtfyPhone) -> None:
        self._callbacks, self._url = Callbacks(store.db), settings.callback_url

    def of(self, reminder_id: int, due: datetime, now: datetime) -> tuple[dict, ...]:
        """Those for an occurrence. None either where their tokens cannot be kept: it must ring all the same."""
        if not self._url:
            return ()
        try:
            tokens = self._callbacks.issue(reminder_id, due, now)
        except StoreError as e:
            log.warning("a notification without buttons: %s", e)
            return ()
        return tuple(
            {"action": "http", "label": LABELS[action], "url": f"{self._url}/callback/{token}", "method": "POST",
             "clear": True}
            for action, token in tokens.items()
        )  # fmt: skip


def sequence(reminder_id: int, due: datetime, ring: int) -> str:
    """The id of ours for a ring of an occurrence: the same whenever it is sent, so that a copy of it does no harm."""
    return f"assistant-{reminder_id}-{int(due.timestamp())}-{ring}"


class NtfyNotifier:
    """One message for each reminder that has a copy at the server, and one for all others that ring at once."""

    name = "ntfy"

    def __init__(self, ntfy: Ntfy, store: Store, settings: NtfyPhone) -> None:
        self._ntfy, self._priority = ntfy, settings.priority
        self._copies, self._buttons = Copies(store.db), Buttons(store, settings)
        self._sent: set[tuple[int, int]] = set()
        """Of the last notice what has rung already, should the rest of it be tried again."""

    async def notify(self, notice: Notice) -> None:
        self._sent &= {(d.id, d.ring) for d in notice.deliveries}
        failed: NtfyError | None = None
        async with self._ntfy.alone:
            others: list[Delivery] = []
            for d in notice.deliveries:
                copy = self._copies.of(d.reminder_id, d.due)
                rang = copy is not None and copy.state == "rang"
                if (d.id, d.ring) in self._sent or (rang and d.ring == 1):  # this machine died before it was recorded
                    continue
                if copy is None or rang:
                    others.append(d)
                    continue
                try:
                    await self._in_place_of(copy, notice.only([d]))
                    self._sent.add((d.id, d.ring))
                except NtfyError as e:
                    failed = e
            if others:
                await self._publish(notice.only(others), None)
                self._sent |= {(d.id, d.ring) for d in others}
        if failed:
            raise failed

    async def _in_place_of(self, copy: Copy, notice: Notice) -> None:
        try:
            await self._publish(notice, copy.sequence)
        except NtfyError as e:
            if copy.state == "handed" and (e.found is None or e.undone):
                log.warning("it is left to the copy that was handed over: %s", e, extra={"sequence": copy.sequence})
                return
            self._note(copy, "sending")
            raise
        self._note(copy, "rang")

    async def _publish(self, notice: Notice, known_as: str | None) -> None:
        first, *more = notice.deliveries
        known_as = known_as or sequence(first.reminder_id, first.due, first.ring) + (f"-{len(more)}" if more else "")
        buttons = () if more else self._buttons.of(first.reminder_id, first.due, notice.at)
        priority = min(SILENT, self._priority) if notice.quiet else self._priority
        await self._ntfy.publish(Message(notice.text, notice.title, priority, known_as, actions=buttons))

    def _note(self, copy: Copy, state: State) -> None:
        try:
            self._copies.change(copy, state)
        except StoreError as e:  # it has rung all the same, and the copy that is noted still does not ring twice
            log.warning("what became of a copy cannot be noted: %s", e, extra={"sequence": copy.sequence})

    def problem(self) -> str | None:
        return None
