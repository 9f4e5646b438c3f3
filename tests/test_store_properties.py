"""Whatever people and the clock do, in whatever order, and however often the process is killed: the store and a model
of it in a few lines agree, and every occurrence that came due is in the outbox exactly once.
"""

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from assistant.errors import NotFound
from assistant.outbox import Outbox, Outcome
from assistant.scheduler import advance
from assistant.store import NewReminder, Store

START = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
"""An hour before the clocks go forward in London."""
ZONE = ZoneInfo("Europe/London")
REPEAT_AFTER, REPEATS, TRIES = timedelta(minutes=5), 2, 3
MINUTES = st.integers(1, 300).map(lambda n: timedelta(minutes=n))


@dataclass
class Expected:
    """What one reminder should look like."""

    due: datetime | None
    every: timedelta | None
    state: str = "pending"
    ringing: datetime | None = None
    """The occurrence that rings."""
    ring: int = 0
    lapses: datetime | None = None
    """When it rings again or is missed."""
    passed: int = 0
    """Occurrences that have come due since it was made."""
    parent: int | None = None
    children: list[int] = field(default_factory=list)


class StoreMachine(RuleBasedStateMachine):
    ids = Bundle("ids")

    @initialize()
    def begin(self) -> None:
        self.now, self.folder, self.stack, self.deaths = START, Path(tempfile.mkdtemp()), ExitStack(), 0
        self.expected: dict[int, Expected] = {}
        self._open(self.folder / "0" / "reminders.db")

    def _open(self, path: Path) -> None:
        self.path, self.store = path, self.stack.enter_context(Store.open(path))
        self.store.db.execute("PRAGMA synchronous = OFF")  # the files are copied, not torn from a disk
        self.outbox = Outbox(self.store.db)

    def teardown(self) -> None:
        self.stack.close()
        shutil.rmtree(self.folder)

    # What people do

    @rule(target=ids, after=MINUTES)
    def add_once(self, after: timedelta) -> int:
        return self._add(after, None)

    @rule(target=ids, after=MINUTES, every=MINUTES)
    def add_recurring(self, after: timedelta, every: timedelta) -> int:
        return self._add(after, every)

    def _add(self, after: timedelta, every: timedelta | None, parent: int | None = None) -> int:
        due = self.now + after
        (made,) = self.store.add_reminders(None, [NewReminder("x", "x", _wall(due), ZONE.key, _rule(every), due, parent)])
        self.expected[made.id] = Expected(due, every)
        return made.id

    @rule(id=ids)
    def cancel(self, id: int) -> None:
        self.store.cancel([id])
        self._end(id, "cancelled", ("pending", "fired"))

    @rule(id=ids)
    def done(self, id: int) -> None:
        self.store.done([id], self.now)
        e = self.expected[id]
        if e.every is None or e.state != "pending":
            self._end(id, "done", ("pending", "fired", "missed"))
        else:
            e.ringing = None
            self._end_children(id, "done")

    def _end(self, id: int, state: str, states: tuple[str, ...]) -> None:
        e = self.expected[id]
        self._end_children(id, state)
        if e.state in states:
            e.state, e.due, e.ringing = state, None, None

    def _end_children(self, id: int, state: str) -> None:
        for child in self.expected[id].children:
            self._end(child, state, ("pending", "fired"))

    @rule(target=ids, id=ids, after=MINUTES)
    def snooze(self, id: int, after: timedelta):
        e, until = self.expected[id], self.now + after
        if e.state in ("done", "cancelled"):
            with pytest.raises(NotFound):
                self.store.snooze(id, until, self.now)
            return multiple()
        snoozed = self.store.snooze(id, until, self.now)
        active = [c for c in e.children if self.expected[c].state in ("pending", "fired")]
        if e.every is None:
            assert snoozed.id == id
        elif active and e.ringing is None:
            assert snoozed.id == active[-1]
        else:
            assert snoozed.id not in self.expected
            e.children.append(snoozed.id)
            e.ringing = None
            e.state = e.state if e.state == "pending" else "done"
            self.expected[snoozed.id] = Expected(until, None, parent=id)
        s = self.expected[snoozed.id]
        s.due, s.state, s.ringing = until, "pending", None
        return snoozed.id

    @rule(id=ids, after=MINUTES, every=st.none() | MINUTES)
    def move(self, id: int, after: timedelta, every: timedelta | None) -> None:
        e, due = self.expected[id], self.now + after
        time = {"when": "x", "wall": _wall(due), "zone": ZONE.key, "rrule": _rule(every), "due": due}
        if e.state in ("done", "cancelled"):
            with pytest.raises(NotFound):
                self.store.move(id, **time)
            return
        self.store.move(id, **time)
        if every and e.parent:
            self.expected[e.parent].children.remove(id)
            e.parent = None
        e.due, e.every, e.state, e.ringing = due, every, "pending", None

    # What time does

    @rule(span=MINUTES)
    def time_passes(self, span: timedelta) -> None:
        """Or the machine slept; then everything that came due is fired, in small batches as the scheduler does."""
        self.now += span
        while due := self.outbox.due(self.now, 2):
            self.outbox.fire([(r, advance(r, self.now)) for r in due], self.now)
        for e in self.expected.values():
            if e.state == "pending" and e.due <= self.now:
                missed = 1 + ((self.now - e.due) // e.every if e.every else 0)
                e.ringing, e.ring, e.lapses = e.due + (missed - 1) * (e.every or timedelta()), 1, None
                e.passed += missed
                e.due = e.ringing + e.every if e.every else None
                e.state = "pending" if e.every else "fired"

    @rule(heard=st.booleans())
    def ring(self, heard: bool) -> None:
        for d in self.outbox.to_ring("log", self.now, timedelta(days=365), 100):
            tries = self.outbox.tries("log", d) + 1
            again = None if heard or tries == TRIES else self.now
            self.outbox.record(
                [Outcome(d.id, d.ring, "log", None if heard else "deaf", self.now, again)], REPEAT_AFTER
            )
            e = self.expected[d.reminder_id]
            assert (e.ringing, e.ring) == (d.due, d.ring) or e.state == "missed"
            if e.ringing and heard:
                e.lapses = e.lapses or self.now + REPEAT_AFTER

    @rule()
    def nobody_acknowledges(self) -> None:
        given_up = {
            row[0] for row in self.store.db.rows(
                "SELECT d.reminder_id FROM deliveries d JOIN outcomes o ON o.delivery_id = d.id AND o.ring = d.ring"
                " WHERE d.state = 'ringing' AND d.next_ring IS NULL AND o.next_try IS NULL AND NOT o.ok"
            )
        }
        self.outbox.insist(["log"], self.now, REPEAT_AFTER, REPEATS)
        for id, e in self.expected.items():
            if e.ringing and id in given_up:
                e.lapses = self.now + REPEAT_AFTER
            elif e.ringing and e.lapses and e.lapses <= self.now:
                e.ring, e.lapses = e.ring + 1, None
                if e.ring > 1 + REPEATS:
                    e.ringing = None
                    e.state = "missed" if e.state == "fired" else e.state

    @rule()
    def killed(self) -> None:
        """The files as they are, without closing anything, are what the next process finds."""
        self.deaths += 1
        copy = self.folder / str(self.deaths) / self.path.name
        copy.parent.mkdir()
        for file in self.path.parent.glob("*.db*"):
            if not file.name.endswith(("-shm", ".lock")):
                shutil.copy(file, copy.parent)
        self.stack.close()
        self._open(copy)

    # What always holds

    @invariant()
    def every_reminder_is_as_expected(self) -> None:
        rows = {r["id"]: r for r in self.store.db.rows("SELECT id FROM reminders")}
        assert rows.keys() == self.expected.keys()
        for id, e in self.expected.items():
            r = self.store.reminder(id)
            assert (r.state, r.due, r.parent_id) == (e.state, e.due, e.parent)

    @invariant()
    def what_rings_is_as_expected(self) -> None:
        rows = self.store.db.rows("SELECT reminder_id, due_utc, ring FROM deliveries WHERE state = 'ringing'")
        assert sorted((r["reminder_id"], datetime.fromisoformat(r["due_utc"]), r["ring"]) for r in rows) == sorted(
            (id, e.ringing, e.ring) for id, e in self.expected.items() if e.ringing
        )

    @invariant()
    def every_occurrence_is_in_the_outbox_exactly_once(self) -> None:
        counts = {id: e.passed for id, e in self.expected.items() if e.passed}
        rows = self.store.db.rows("SELECT reminder_id, sum(occurrences) n FROM deliveries GROUP BY reminder_id")
        assert {row["reminder_id"]: row["n"] for row in rows} == counts

    @invariant()
    def nothing_is_tried_again_of_what_is_over(self) -> None:
        assert not self.store.db.rows(
            "SELECT 1 FROM outcomes o JOIN deliveries d ON d.id = o.delivery_id WHERE o.next_try IS NOT NULL"
            " AND (d.state NOT IN ('ringing', 'missed') OR o.ring <> d.ring OR o.ok)"
        )


def _wall(instant: datetime) -> datetime:
    return instant.astimezone(ZONE).replace(tzinfo=None)


def _rule(every: timedelta | None) -> str | None:
    return every and f"FREQ=MINUTELY;INTERVAL={every // timedelta(minutes=1)}"


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
