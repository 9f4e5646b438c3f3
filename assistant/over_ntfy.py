"""What goes over ntfy: the notifier, and what is handed over ahead of its time. Put together here for `app.py`."""

import asyncio
from datetime import timedelta

from assistant.ahead import Ahead
from assistant.clock import Clock
from assistant.delivery import Delivery
from assistant.ntfy import Ntfy
from assistant.ntfy_notifier import NtfyNotifier
from assistant.quiet import QuietHours
from assistant.sections import NtfyPhone
from assistant.store import Store


class OverNtfy:
    """The phone of `settings`, where [notify] use names ntfy; an event rings `lead` before it begins as well."""

    def __init__(
        self,
        settings: NtfyPhone,
        store: Store,
        clock: Clock,
        quiet: QuietHours | None = None,
        lead: timedelta = timedelta(),
    ) -> None:
        self._settings, self._store, self._clock, self._quiet, self._lead = settings, store, clock, quiet, lead
        self._ntfy = Ntfy(settings)
        self.notifier = NtfyNotifier(self._ntfy, store, settings)
        self._ahead: Ahead | None = None

    def changed(self) -> None:
        """Reminders have changed: what is at the server is looked at again."""
        if self._ahead:
            self._ahead.changed()

    def begin(self, tasks: asyncio.TaskGroup, delivery: Delivery) -> list[asyncio.Task]:
        """Hand over what lies ahead from now on. Where ahead_hours is 0, it is only looked after what is there."""
        joins = delivery.first_ring(self.notifier.name)
        self._ahead = Ahead(
            self._store, self._ntfy, self._settings, self._clock, self._quiet, joins, delivery.ring, self._lead)
        return [tasks.create_task(self._ahead.run(), name="ahead")]
