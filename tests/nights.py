"""Nights of a laptop that sleeps and wakes, beside a phone and an ntfy server, by a clock of their own.

    python -m tests.nights --nights 200 --seed 1

The parts are the program's own: the store on a real disk, firing, delivery, the notifier and what is handed over ahead,
over HTTP. Reminders are set in the evening, some of them cancelled, done or moved. In most nights the lid is closed,
with short wakings in between; there are outages of the network, faults of the server at one request in fifty, and
kills: at random, and in the middle of a request before and after the server has done it. Prints how often each
reminder rang; two rings by one machine at one instant, on its screen and on the phone, are one ring.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from assistant.ahead import AFTER, Ahead
from assistant.copies import Copies
from assistant.delivery import UNSURE, Delivery, DeliveryPolicy
from assistant.insistence import first_rings
from assistant.lead import ring_ahead
from assistant.notifiers import Notice
from assistant.ntfy import Ntfy
from assistant.ntfy_notifier import NtfyNotifier
from assistant.outbox import Outbox
from assistant.quiet import QuietHours
from assistant.scheduler import advance
from assistant.sections import NtfyPhone
from assistant.store import NewReminder, Store
from tests.fakes import StandingClock
from tests.ntfy_server import NtfyServer

EVENING = datetime(2026, 3, 12, 21, tzinfo=UTC)
LAST = EVENING + timedelta(hours=12.5)
"""From then on nothing goes wrong any more."""
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
FAULTS = ("away", "lost", "500", "500_late", "429", "dies", "dies_late")
AT_ONE_REQUEST_IN = 50
POLICY = DeliveryPolicy(repeats=0, first_retry=5 * SECOND, longest_retry=MINUTE)
"""Of the rings after the first, which somebody who sleeps has not asked for, there are none."""


class Screen:
    """The laptop's own notifier."""

    name = "desktop"

    def __init__(self) -> None:
        self.rings: list[tuple[datetime, str]] = []

    async def notify(self, notice: Notice) -> None:
        self.rings += [(notice.at, d.task) for d in notice.deliveries]

    def problem(self) -> str | None:
        return None


class Laptop:
    """The assistant on a data folder, while it lives."""

    def __init__(
        self,
        folder: Path,
        clock: StandingClock,
        server: NtfyServer,
        screen: Screen,
        policy: DeliveryPolicy = POLICY,
        quiet: QuietHours | None = None,
        lead: timedelta = timedelta(),
    ) -> None:
        self._lead = lead
        self._folder, self._clock, self._server, self._screen = folder, clock, server, screen
        self._policy, self._quiet, self.lives = policy, quiet, False

    def start(self) -> None:
        self._opened = Store.open(self._folder / "reminders.db")
        self.store = self._opened.__enter__()
        settings = NtfyPhone(url=self._server.url, topic="phone")
        ntfy = Ntfy(settings)
        ways = [self._screen, NtfyNotifier(ntfy, self.store, settings)]
        self._first = first_rings(self._policy.escalate, [way.name for way in ways])
        self._delivery = Delivery(self.store, ways, self._clock, self._policy, Random(7), self._quiet)
        self.ahead = Ahead(
            self.store, ntfy, settings, self._clock, self._quiet, self._first["ntfy"], self._delivery.ring,
            self._lead)
        self._task = asyncio.create_task(self._delivery.run())
        self.lives = True

    def set(self, task: str, due: datetime, rrule: str | None = None, even_at_night: bool = False) -> int:
        new = NewReminder(task, "x", due.replace(tzinfo=None), "UTC", rrule, due, None, even_at_night)
        (made,) = self.store.add_reminders(None, [new])
        return made.id

    async def kill(self) -> None:
        """As the process is when it is killed: what was asked for is not waited for, what was not committed is lost."""
        if self.lives:
            self.lives = False
            self._task.cancel()
            await asyncio.wait([self._task])
            self._opened.__exit__(None, None, None)

    async def go_on(self) -> None:
        """All that it does at this instant. Killed if the server says so."""
        look = asyncio.create_task(self.ahead.look())
        outbox = Outbox(self.store.db)
        now = self._clock.now()
        outbox.fire([(r, advance(r, now)) for r in outbox.due(now, 100)], now)
        ring_ahead(self.store, self._lead, self._clock)
        self._delivery.ring()
        died = asyncio.create_task(self._server.died.wait())
        settled = asyncio.create_task(self._settled(outbox, look))
        await asyncio.wait([died, settled], return_when=asyncio.FIRST_COMPLETED)
        dead = self._server.died.is_set()
        for task in (died, settled, look):
            task.cancel()
        await asyncio.wait([died, settled, look])
        if dead:
            self._server.died.clear()
            await self.kill()

    async def _settled(self, outbox: Outbox, look: asyncio.Task) -> None:
        await look
        async with asyncio.timeout(30):
            while self._owes(outbox):  # noqa: ASYNC110 - what changes is a table
                await asyncio.sleep(0.001)

    def _owes(self, outbox: Outbox) -> bool:
        now = self._clock.now()
        longest = self._policy.longest_retry
        due = {(d.id, d.ring) for n, ring in self._first.items() for d in outbox.to_ring(n, now, longest, 100, ring)}
        lapsed = outbox.next_ring()
        return bool(due - Copies(self.store.db).unsure(now, UNSURE)) or (lapsed is not None and lapsed <= now)


@dataclass
class Tally:
    """What the nights came to."""

    nights: int = 0
    rings: Counter = field(default_factory=Counter)
    """How many reminders rang so many times."""
    asleep: int = 0
    """Reminders that came due with the lid closed, and rang on time all the same."""
    overslept: int = 0
    """... and rang only when it was opened, as no copy had got through."""
    kills: int = 0
    outages: int = 0
    faults: int = 0
    """Requests that went wrong."""
    strays: int = 0
    """Reminders that were over and rang all the same, as the network was away when it should have been told."""
    wrong: list[str] = field(default_factory=list)

    @property
    def once(self) -> float:
        """The share of reminders that rang once."""
        return self.rings[1] / max(1, self.rings.total())

    def __str__(self) -> str:
        rang = ", ".join(f"{count} rang {times} times" for times, count in sorted(self.rings.items()))
        return (
            f"{self.nights} nights, {self.kills} kills, {self.outages} outages, {self.faults} faulty requests:"
            f" {self.rings.total()} reminders, {rang} ({100 * self.once:.1f} % once); with the lid closed {self.asleep}"
            f" rang on time and {self.overslept} late; {self.strays} rang that were over; {len(self.wrong)} faults"
        )


class Faulty(list):
    """The faults of the requests to come, without end."""

    def __init__(self, random: Random, tally: Tally) -> None:
        super().__init__()
        self._random, self._tally = random, tally

    def __bool__(self) -> bool:
        return self._random.randrange(AT_ONE_REQUEST_IN) == 0

    def pop(self, _: int = 0) -> str:
        self._tally.faults += 1
        return self._random.choice(FAULTS)


def _asleep(random: Random) -> list[tuple[datetime, datetime]]:
    """When the lid is closed: most nights, with short wakings."""
    if random.random() < 0.25:
        return []
    began, end = EVENING + random.uniform(0.5, 3) * HOUR, EVENING + random.uniform(8, 12) * HOUR
    spans = []
    for wakes in sorted(began + random.random() * (end - began) for _ in range(random.choice((0, 0, 1, 2)))):
        if wakes > began:
            spans.append((began, wakes))
            began = wakes + random.uniform(0.1, 20) * MINUTE
    return [*spans, (began, end)] if began < end else spans


class Night:
    """One night: what is set in the evening, what befalls the laptop, and what ought to ring."""

    def __init__(self, number: int, random: Random, tally: Tally) -> None:
        self._random, self._tally, self.asleep = random, tally, _asleep(random)
        self.due = {f"task-{number}-{n}": EVENING + random.uniform(0.1, 11) * HOUR for n in range(random.randint(1, 3))}
        self.expected: dict[str, datetime | None] = dict(self.due)
        """When each is to ring; None for what was cancelled or done before."""
        self.acts = {
            task: EVENING + random.uniform(0, 0.9) * (due - EVENING)
            for task, due in self.due.items() if random.random() < 0.2
        }
        """When the person does something with one, if the lid is open then."""
        self.kill = EVENING + random.uniform(0, 11) * HOUR if random.random() < 0.2 else None
        broke = EVENING + random.uniform(0, 11) * HOUR
        out = random.random() < 0.1
        tally.outages += out
        self.outage = (broke, broke + random.uniform(1, 30) * MINUTE) if out else (EVENING, EVENING)

    def closed(self, t: datetime) -> bool:
        return any(began <= t < end for began, end in self.asleep)

    def instants(self) -> list[datetime]:
        """At which something happens, or may be seen to."""
        found = {EVENING, *self.acts.values(), *self.outage, *(t for span in self.asleep for t in span)}
        found |= {EVENING + n * 10 * MINUTE for n in range(76)} | {LAST + n * MINUTE for n in range(1, 6)}
        around = (-60, -15, 0, 0.3, 5, 10, 20, 30, 40, 45, 50, 60, 90)
        found |= {due + late + n * SECOND for due in self.due.values() for late in (0 * HOUR, HOUR) for n in around}
        found |= {woken + n * SECOND for _, woken in self.asleep for n in (0.3, 5, 10, 20, 30)}
        return sorted(found | ({self.kill} if self.kill else set()))

    async def pass_by(self, folder: Path) -> None:
        clock, screen, dead_until = StandingClock(EVENING), Screen(), EVENING
        async with NtfyServer(clock) as server:
            server.faults = Faulty(self._random, self._tally)
            laptop = Laptop(folder, clock, server, screen)
            laptop.start()
            ids = {task: laptop.set(task, due) for task, due in self.due.items()}
            for t in self.instants():
                clock.at = t
                server.down = self.outage[0] <= t < self.outage[1]
                server.faults = [] if t > LAST else server.faults
                server.deliver()
                if self.closed(t) or (not laptop.lives and t < dead_until):
                    continue
                if not laptop.lives:
                    laptop.start()
                for task in [task for task, at in self.acts.items() if at <= t]:
                    self._act(laptop, task, ids[task], t)
                if self.kill and t >= self.kill:
                    self.kill = None
                    await laptop.kill()
                else:
                    await laptop.go_on()
                if not laptop.lives:
                    self._tally.kills += 1
                    dead_until = t + 3 * SECOND
            await laptop.kill()
            self._count(screen, server)

    def _act(self, laptop: Laptop, task: str, id: int, now: datetime) -> None:
        del self.acts[task]
        if self.due[task] <= now:
            return
        match self._random.choice(("cancel", "done", "move")):
            case "cancel":
                laptop.store.cancel([id])
                self.expected[task] = None
            case "done":
                laptop.store.done([id], now)
                self.expected[task] = None
            case "move":
                later = self.expected[task] = self.due[task] + HOUR
                wall = later.replace(tzinfo=None)
                laptop.store.move(id, when="x", wall=wall, zone="UTC", rrule=None, due=later)

    def _count(self, screen: Screen, server: NtfyServer) -> None:
        tally = self._tally
        tally.nights += 1
        for task, due in self.expected.items():
            at = {t for t, rung in screen.rings if rung == task}
            rang = sorted(at | {told.at for told in server.rings if task in told.body["message"].splitlines()})
            if due is None:
                tally.strays += bool(rang)
                continue
            tally.rings[len(rang)] += 1
            if self.closed(due):
                on_time = bool(rang) and rang[0] <= due + AFTER + MINUTE
                tally.asleep += on_time
                tally.overslept += not on_time
            told = f"{task}, due {due:%H:%M:%S}, rang at {', '.join(f'{t:%H:%M:%S}' for t in rang) or 'no time'}"
            if not 1 <= len(rang) <= 2 or rang[-1] - rang[0] > MINUTE:
                tally.wrong.append(told)


async def nights(count: int, seed: int) -> Tally:
    """So many nights, each on a folder of its own."""
    random, tally = Random(seed), Tally()
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            await Night(number, random, tally).pass_by(Path(folder))
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tally = asyncio.run(nights(options.nights, options.seed))
    print(tally)
    for wrong in tally.wrong[:40]:
        print(" -", wrong)
    return 1 if tally.wrong or tally.once < 0.99 else 0


if __name__ == "__main__":
    sys.exit(main())
