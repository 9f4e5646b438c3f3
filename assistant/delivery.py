"""Drains the outbox: each notifier on its own, until each has rung or given up, and again until someone acknowledges.

What is due at once for a notifier is folded into one notice, oldest first. Every outcome is recorded as soon as it is
known; one that cannot be recorded (a full disk) is owed and not rung again. A reminder that is not acknowledged is rung
again as configured, and then counts as missed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from logging import getLogger
from random import Random

from assistant.clock import Clock
from assistant.copies import Copies
from assistant.database import Complaint
from assistant.errors import Away, DeliveryError, StoreError
from assistant.insistence import FOR_NOBODY, Insistence, first_rings
from assistant.lead import beginning
from assistant.messages import Delivery as Ring
from assistant.notifiers import Notice, Notifier
from assistant.outbox import Outbox, Outcome
from assistant.quiet import KEEPS_ON, QuietHours
from assistant.store import Store

POLL = 5.0
"""Seconds between two looks at the outbox at the most: the clock may have jumped."""
FOLD = 1000
"""Deliveries in one notice at the most."""
LINES = 20
"""Lines of a notice's text at the most."""

UNSURE = timedelta(seconds=15)
"""So long what a service on the network may have rung waits until it was asked; then it rings here."""

log = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How a reminder insists."""

    repeat_after: timedelta = timedelta(minutes=5)
    """From a ring that nobody acknowledged to the next one."""
    repeats: int = 2
    """Rings after the first; then the reminder counts as missed."""
    tries: int = 8
    """How often a notifier that fails is tried for one ring."""
    first_retry: timedelta = timedelta(seconds=5)
    """To the second try; the pause doubles from then on."""
    longest_retry: timedelta = timedelta(minutes=10)
    """Between two tries at the most."""
    timeout: timedelta = timedelta(seconds=20)
    """What one notifier may take for one notice."""
    late_after: timedelta = timedelta(seconds=60)
    """What rings later than this after its time says so."""
    channels: Mapping[str, Insistence] = field(default_factory=dict)
    """How often what was asked for on some channels is repeated instead (`insistence.insistence_of`)."""
    escalate: tuple[tuple[str, ...], ...] = ()
    """Steps of notifiers, the n-th of which joins at the n-th ring; empty: all ring from the first on."""

    def pause(self, tries: int, random: Random) -> timedelta:
        """Before the next try, after so many that failed; between half and all of the doubled pause."""
        longest = min(self.longest_retry, self.first_retry * 2 ** min(tries - 1, 30))
        return longest * (0.5 + random.random() / 2)


@dataclass(slots=True)
class _Worker:
    """One notifier and what it owes."""

    notifier: Notifier
    complaint: Complaint
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    owed: list[Outcome] = field(default_factory=list)


class Delivery:
    """Rings what is in the outbox of `store` by `notifiers`, whose names differ."""

    def __init__(
        self,
        store: Store,
        notifiers: Sequence[Notifier],
        clock: Clock,
        policy: DeliveryPolicy = DeliveryPolicy(),  # noqa: B008 - it is frozen
        random: Random | None = None,
        quiet: QuietHours | None = None,
    ) -> None:
        self._copies, self._quiet = Copies(store.db), quiet
        self._outbox, self._clock, self._policy, self._random = Outbox(store.db), clock, policy, random or Random()
        self._names = [notifier.name for notifier in notifiers]
        if not self._names or len(set(self._names)) < len(self._names):
            raise ValueError(f"notifiers need names that differ, not {self._names}")
        self._first = first_rings(policy.escalate, self._names)
        self._workers = [_Worker(n, Complaint(log, f"see what is due for {n.name}")) for n in notifiers]
        self._repeat = asyncio.Event()

    def ring(self) -> None:
        """The doorbell: there may be something to ring."""
        self._repeat.set()
        self._wake()

    def first_ring(self, name: str) -> int:
        """The number of the ring from which on a notifier rings; 1 for one that is not there."""
        return self._first.get(name, 1)

    def retry(self, name: str) -> None:
        """The notifier of that name can deliver again: what it still tries, it tries now. Raises `StoreError`."""
        self._outbox.try_now(name, self._clock.now())
        self._wake()

    def _wake(self) -> None:
        for worker in self._workers:
            worker.wake.set()

    async def run(self) -> None:
        """Until cancelled. Raises what a bug raised."""
        async with asyncio.TaskGroup() as tasks:
            for worker in self._workers:
                tasks.create_task(self._work(worker), name=f"notifier {worker.notifier.name}")
            tasks.create_task(self._insist(), name="repeats")

    async def _work(self, worker: _Worker) -> None:
        while True:
            worker.wake.clear()
            try:
                wait = await self._deliver(worker)
                if not worker.owed:
                    worker.complaint.over()
            except StoreError as fault:
                worker.complaint.say(fault)
                wait = POLL
            await _sleep(wait, worker.wake)

    async def _deliver(self, worker: _Worker) -> float:
        """Ring what is due for one notifier; seconds until it is to be looked at again."""
        name, policy = worker.notifier.name, self._policy
        self._pay(worker)
        owed = {(o.delivery_id, o.ring) for o in worker.owed}
        now = self._clock.now()
        owed |= self._rung_elsewhere(worker, now)
        due = self._outbox.to_ring(name, now, policy.longest_retry, FOLD, self._first[name])
        due = [d for d in due if (d.id, d.ring) not in owed]
        if not due:
            return POLL if owed else self._until(self._outbox.next_try(name))
        quiet = self._quiet is not None and self._quiet.hold(now, self._names)
        if quiet and any(d.even_at_night for d in due):  # those first, and then the others without a sound
            due, quiet = [d for d in due if d.even_at_night], False
        tries = {d.id: self._outbox.tries(name, d) + 1 for d in due}
        error = None
        if not quiet or name in KEEPS_ON:
            notice = Notice(tuple(due), text(due, now, policy.late_after), now, quiet)
            error = await self._notify(worker.notifier, notice)
        now = self._clock.now()
        again, over, said = None, set(), None if error is None else str(error)
        if error is not None:
            away = isinstance(error, Away)  # that was told already, and is nothing to give up for
            over = set() if away else {id for id, n in tries.items() if n >= policy.tries}
            again = now + policy.pause(min(tries.values()), self._random)
            log.log(10 if away else 30 + 10 * bool(over), "a notifier failed", extra={
                "notifier": name, "error": said, "deliveries": list(tries), "given_up": sorted(over),
            })
        worker.owed += [Outcome(d.id, d.ring, name, said, now, None if d.id in over else again) for d in due]
        self._pay(worker)
        return 0.0

    def _rung_elsewhere(self, worker: _Worker, now: datetime) -> set[tuple[int, int]]:
        """Record what a service on the network has rung meanwhile, as this machine slept: that was the ring. What is
        for nobody, the log, tells of it all the same. The ids and rings that this notifier leaves alone."""
        rung = self._copies.rung(now)
        for r in rung:
            done = self._copies.succeeded(r.delivery_id, r.ring) | FOR_NOBODY
            outcomes = [Outcome(r.delivery_id, r.ring, n, None, r.copy.rings_at) for n in self._names if n not in done]
            try:
                self._record(outcomes)
                self._copies.change(r.copy, "rang")
            except StoreError as fault:
                worker.complaint.say(fault)
        if worker.notifier.name in FOR_NOBODY:
            return set()
        return {(r.delivery_id, r.ring) for r in rung} | self._copies.unsure(now, UNSURE)

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        self._outbox.record(outcomes, self._policy.repeat_after, self._policy.channels)
        self._repeat.set()

    async def _notify(self, notifier: Notifier, notice: Notice) -> DeliveryError | None:
        """What went wrong, None if nothing did. A bug in one notifier must not keep the others from ringing."""
        try:
            async with asyncio.timeout(self._policy.timeout.total_seconds()) as limit:
                await notifier.notify(notice)
        except DeliveryError as e:
            return e
        except Exception as e:
            if isinstance(e, TimeoutError) and limit.expired():
                return DeliveryError(f"it took more than {self._policy.timeout.total_seconds():g} seconds")
            log.exception("a notifier has a bug", extra={"notifier": notifier.name})
            return DeliveryError(f"{type(e).__name__}: {e}")
        return None

    def _pay(self, worker: _Worker) -> None:
        """Record the outcomes that are owed, or keep owing them."""
        if not worker.owed:
            return
        try:
            self._record(worker.owed)
        except StoreError as fault:
            worker.complaint.say(fault)
            return
        worker.owed = []

    async def _insist(self) -> None:
        complaint = Complaint(log, "repeat what was not acknowledged")
        while True:
            self._repeat.clear()
            try:
                again, missed = self._outbox.insist(
                    self._names, self._clock.now(), self._policy.repeat_after, self._policy.repeats,
                    self._policy.channels, self._first,
                )
                wait = self._until(self._outbox.next_ring())
                complaint.over()
            except StoreError as fault:
                complaint.say(fault)
                again, missed, wait = [], [], POLL
            if missed:
                log.warning("nobody acknowledged", extra={"deliveries": missed})
            if again:
                self._wake()
            await _sleep(wait, self._repeat)

    def _until(self, instant: datetime | None) -> float:
        return POLL if instant is None else min(max((instant - self._clock.now()).total_seconds(), 0.0), POLL)


async def _sleep(seconds: float, wake: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass


def text(deliveries: Sequence[Ring], now: datetime, late_after: timedelta) -> str:
    """What is said for deliveries that ring together, one line each."""
    lines = [_line(d, now, late_after) for d in deliveries[:LINES]]
    if len(deliveries) > LINES:
        lines.append(f"and {len(deliveries) - LINES} more")
    return "\n".join(lines)


def _line(delivery: Ring, now: datetime, late_after: timedelta) -> str:
    """`call mum`, `Again: call mum`, `Late by 2 hours: call mum`, `Late by 2 hours, missed 3 times: take the pills`;
    `dentist, at 15:00` ahead of an event."""
    task = delivery.task or "this is your reminder"
    if delivery.begins:
        task = beginning(task, delivery.begins, delivery.zone)
    late, times = now - delivery.due, delivery.occurrences
    if delivery.ring > 1:
        return f"Again: {task}"
    often = f"{'at least ' if times >= 1000 else ''}{times} times"
    if late > late_after:
        return f"Late by {_how_long(late)}{f', missed {often}' if times > 1 else ''}: {task}"
    return f"Due {often} by now: {task}" if times > 1 else task


def _how_long(span: timedelta) -> str:
    minutes = span / timedelta(minutes=1)
    for size, unit, limit in ((1, "minute", 59.5), (60, "hour", 36 * 60), (1440, "day", float("inf"))):
        if minutes < limit:
            number = max(1, round(minutes / size))
            return f"{number} {unit}{'' if number == 1 else 's'}"
    raise AssertionError
