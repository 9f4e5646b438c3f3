"""What came due is rung by every notifier, each on its own, until it is heard and acknowledged."""

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic, sleep

import pytest

from assistant.delivery import Delivery, DeliveryPolicy, text
from assistant.messages import Delivery as Ring
from assistant.messages import Reminder
from assistant.notifiers import Notice, Notifier
from assistant.outbox import Advance, Outbox
from assistant.scheduler import advance
from assistant.store import NewReminder, Store
from tests.fakes import Ear, StandingClock

NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MOMENT = timedelta(milliseconds=1)
ROOT = Path(__file__).parent.parent
IMPATIENT = DeliveryPolicy(first_retry=MOMENT, longest_retry=MOMENT, timeout=20 * SECOND)
"""Tries again at once."""


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "reminders.db") as store:
        yield store


def due(store: Store, task: str = "call mum", at: datetime = NOW, rrule: str | None = None, now: datetime = NOW):
    """A reminder that has just been fired."""
    new = NewReminder(task, "x", at.replace(tzinfo=None), "UTC", rrule, at)
    (reminder,) = store.add_reminders(None, [new])
    fire(store, reminder, now)
    return reminder


def fire(store: Store, reminder: Reminder, now: datetime) -> None:
    Outbox(store.db).fire([(reminder, advance(reminder, now))], now)


def outcomes(store: Store) -> list[tuple]:
    rows = store.db.rows("SELECT notifier, ring, tries, ok, error FROM outcomes ORDER BY delivery_id, notifier, ring")
    return [tuple(row) for row in rows]


def states(store: Store) -> list[str]:
    return [row["state"] for row in store.db.rows("SELECT state FROM deliveries ORDER BY id")]


class Moving:
    """A clock that moves by a second at each look, so that what is put off by a moment comes soon."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        self.at += SECOND
        return self.at


@asynccontextmanager
async def delivering(store: Store, notifiers: Sequence[Notifier], clock, policy: DeliveryPolicy = IMPATIENT):
    delivery = Delivery(store, notifiers, clock, policy, Random(7))
    task = asyncio.create_task(delivery.run())
    try:
        yield delivery
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


async def until(condition) -> None:
    """Let the tasks work until it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what changes is a table
            await asyncio.sleep(0.001)


# What rings


async def test_what_is_in_the_outbox_is_rung_and_recorded(store):
    ear = Ear()
    r = due(store)
    async with delivering(store, [ear], StandingClock(NOW)):
        notice = await ear.heard()
        await until(lambda: outcomes(store))
    assert notice == Notice((Ring(1, r.id, "call mum", NOW, 1, 1, "UTC", False),), "call mum", NOW)
    assert outcomes(store) == [("ear", 1, 1, 1, None)]
    assert store.latest_rung().id == r.id


async def test_the_doorbell_rings_what_has_come_due_meanwhile(store):
    ear = Ear()
    async with delivering(store, [ear], StandingClock(NOW)) as delivery:
        due(store, "first")
        delivery.ring()
        assert (await ear.heard()).text == "first"
        due(store, "second")
        delivery.ring()
        assert (await ear.heard()).text == "second"
    assert ear.calls.empty()


async def test_several_at_once_are_one_notice_oldest_first(store):
    one, other = Ear("one"), Ear("other")
    due(store, "third", NOW - MINUTE / 2)
    due(store, "first", NOW - 2 * HOUR)
    due(store, "second", NOW - HOUR)
    async with delivering(store, [one, other], StandingClock(NOW)):
        notices = [await one.heard(), await other.heard()]
        await until(lambda: len(outcomes(store)) == 6)
    assert notices[0] == notices[1]
    assert notices[0].text == "Late by 2 hours: first\nLate by 1 hour: second\nthird"
    assert notices[0].title == "3 reminders"
    assert one.calls.empty() and other.calls.empty()


async def test_a_thousand_are_one_notice_and_each_is_recorded(store):
    ear = Ear()
    new = [NewReminder(f"task {n}", "x", NOW.replace(tzinfo=None), "UTC", None, NOW) for n in range(1000)]
    Outbox(store.db).fire([(r, Advance(r.due, 1, None)) for r in store.add_reminders(None, new)], NOW)
    async with delivering(store, [ear], StandingClock(NOW)):
        notice = await ear.heard()
        await until(lambda: len(outcomes(store)) == 1000)
    assert len(notice.deliveries) == 1000
    assert notice.text.endswith("task 19\nand 980 more")
    assert ear.calls.empty()


def ring(task: str = "call mum", late: timedelta = timedelta(), times: int = 1, number: int = 1) -> Ring:
    return Ring(1, 1, task, NOW - late, times, number, "UTC", times > 1)


@pytest.mark.parametrize("delivery, said", [
    pytest.param(ring(), "call mum", id="on time"),
    pytest.param(ring(late=60 * SECOND), "call mum", id="a minute is not late"),
    pytest.param(ring(late=61 * SECOND), "Late by 1 minute: call mum", id="a little more is"),
    pytest.param(ring(late=59 * MINUTE), "Late by 59 minutes: call mum", id="an hour, nearly"),
    pytest.param(ring(late=HOUR), "Late by 1 hour: call mum", id="an hour"),
    pytest.param(ring(late=2 * HOUR + 20 * MINUTE), "Late by 2 hours: call mum", id="hours"),
    pytest.param(ring(late=35 * HOUR), "Late by 35 hours: call mum", id="a night and a day"),
    pytest.param(ring(late=3 * DAY), "Late by 3 days: call mum", id="days"),
    pytest.param(ring(late=400 * DAY), "Late by 400 days: call mum", id="more than a year"),
    pytest.param(ring(late=2 * HOUR, times=3), "Late by 2 hours, missed 3 times: call mum", id="missed three times"),
    pytest.param(ring(late=DAY, times=1001), "Late by 24 hours, missed at least 1001 times: call mum", id="too many"),
    pytest.param(ring(times=3), "Due 3 times by now: call mum", id="the last of three is on time"),
    pytest.param(ring(late=5 * MINUTE, number=2), "Again: call mum", id="repeated"),
    pytest.param(ring(task=""), "this is your reminder", id="no task"),
    pytest.param(ring(late=-HOUR), "call mum", id="before its time, by a clock set back"),
])
def test_what_is_said(delivery, said):
    assert text([delivery], NOW, MINUTE) == said


# Each notifier on its own


async def test_one_that_fails_is_tried_again_and_the_others_are_not(store):
    good, bad = Ear("good"), Ear("bad", deaf=True)
    due(store)
    async with delivering(store, [good, bad], Moving(NOW)):
        for _ in range(3):
            await bad.heard()
        bad.deaf = False
        await until(lambda: any(name == "bad" and ok for name, _, _, ok, _ in outcomes(store)))
    assert good.calls.qsize() == 1
    assert outcomes(store)[1] == ("good", 1, 1, 1, None)
    bad_one = outcomes(store)[0]
    assert bad_one[2] >= 4 and bad_one[3:] == (1, None)


async def test_one_that_hangs_holds_up_no_other(store):
    good, stuck = Ear("good"), Ear("stuck", hung=True)
    due(store, "first")
    async with delivering(store, [stuck, good], StandingClock(NOW)) as delivery:
        await stuck.heard()
        assert (await good.heard()).text == "first"
        due(store, "second")
        delivery.ring()
        assert (await good.heard()).text == "second"
        assert stuck.calls.empty()


async def test_one_that_hangs_is_given_up_after_a_while_and_tried_again(store):
    stuck = Ear("stuck", hung=True)
    due(store)
    policy = DeliveryPolicy(first_retry=MOMENT, longest_retry=MOMENT, timeout=10 * MOMENT)
    async with delivering(store, [stuck], Moving(NOW), policy):
        await stuck.heard()
        await stuck.heard()
        stuck.hung = False
        await until(lambda: outcomes(store) and outcomes(store)[0][3])


async def test_why_one_failed_is_recorded(store, caplog):
    due(store)
    policy = DeliveryPolicy(timeout=MOMENT)
    async with delivering(store, [Ear("deaf", deaf=True), Ear("stuck", hung=True)], StandingClock(NOW), policy):
        await until(lambda: len(outcomes(store)) == 2)
    assert [(name, ok, error) for name, _, _, ok, error in outcomes(store)] == [
        ("deaf", 0, "It is deaf."), ("stuck", 0, "it took more than 0.001 seconds"),
    ]
    assert [r.error for r in caplog.records] == ["It is deaf.", "it took more than 0.001 seconds"]


async def test_a_bug_in_one_notifier_is_its_own_trouble(store, caplog):
    class Broken(Ear):
        async def notify(self, notice):
            raise ZeroDivisionError

    good = Ear("good")
    due(store)
    async with delivering(store, [Broken("broken"), good], StandingClock(NOW)):
        await good.heard()
        await until(lambda: len(outcomes(store)) == 2)
    assert "a notifier has a bug" in caplog.text and "ZeroDivisionError" in caplog.text


async def test_a_timeout_of_its_own_is_not_taken_for_ours(store):
    class Slow(Ear):
        async def notify(self, notice):
            raise TimeoutError("no answer from the phone")

    due(store)
    async with delivering(store, [Slow()], StandingClock(NOW)):
        await until(lambda: outcomes(store))
    assert outcomes(store)[0][4] == "TimeoutError: no answer from the phone"


async def test_after_enough_tries_it_is_recorded_as_failed_and_not_tried_again(store, caplog):
    good, bad = Ear("good"), Ear("bad", deaf=True)
    due(store)
    policy = DeliveryPolicy(first_retry=MOMENT, longest_retry=MOMENT, tries=3)
    async with delivering(store, [good, bad], Moving(NOW), policy) as delivery:
        await until(lambda: outcomes(store)[:1] == [("bad", 1, 3, 0, "It is deaf.")])
        delivery.ring()
        await asyncio.sleep(0.02)
    assert bad.calls.qsize() == 3
    assert [r.given_up for r in caplog.records] == [[], [], [1]]
    assert states(store) == ["ringing"]


def test_the_pauses_between_tries_double_with_some_chance_in_them():
    policy = DeliveryPolicy(first_retry=5 * SECOND, longest_retry=10 * MINUTE)
    longest = [5, 10, 20, 40, 80, 160, 320, 600, 600]
    for seed in range(50):
        pauses = [policy.pause(n, Random(seed)).total_seconds() for n in range(1, 10)]
        assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len({policy.pause(1, Random(seed)) for seed in range(50)}) == 50
    assert policy.pause(10**6, Random(1)) <= 10 * MINUTE


async def test_a_retry_put_off_by_a_clock_since_set_back_is_made_now(store):
    ear, clock = Ear(deaf=True), StandingClock(NOW + 3650 * DAY)
    due(store)
    async with delivering(store, [ear], clock, DeliveryPolicy(first_retry=MINUTE, longest_retry=HOUR)) as delivery:
        await ear.heard()
        await until(lambda: outcomes(store))
        clock.at = NOW
        delivery.ring()
        await ear.heard()


@pytest.mark.parametrize("names", [[], ["a", "a"]], ids=["none", "two of one name"])
def test_notifiers_need_names_that_differ(store, names):
    with pytest.raises(ValueError, match="names"):
        Delivery(store, [Ear(name) for name in names], StandingClock(NOW))


# Insisting

QUICK = DeliveryPolicy(repeat_after=5 * MINUTE, repeats=2)


async def repeated(store: Store, ear: Ear, clock: StandingClock, delivery: Delivery) -> Notice:
    """Let five minutes go by after the outcomes are in."""
    await until(lambda: Outbox(store.db).next_ring() is not None)
    clock.pass_by(minutes=5)
    delivery.ring()
    return await ear.heard()


async def test_what_nobody_acknowledges_rings_again_and_then_counts_as_missed(store, caplog):
    ear, clock = Ear(), StandingClock(NOW)
    r = due(store)
    async with delivering(store, [ear], clock, QUICK) as delivery:
        assert (await ear.heard()).text == "call mum"
        again = [await repeated(store, ear, clock, delivery) for _ in range(2)]
        assert [(n.text, n.deliveries[0].ring, n.deliveries[0].id) for n in again] == [
            ("Again: call mum", 2, 1), ("Again: call mum", 3, 1),
        ]
        await until(lambda: Outbox(store.db).next_ring() is not None)
        clock.pass_by(minutes=5)
        delivery.ring()
        await until(lambda: states(store) == ["missed"])
    assert store.reminder(r.id).state == "missed"
    assert "nobody acknowledged" in caplog.text
    assert [tuple(o[:4]) for o in outcomes(store)] == [("ear", n, 1, 1) for n in (1, 2, 3)]
    assert ear.calls.empty()


async def test_it_does_not_ring_again_before_its_time(store):
    ear, clock = Ear(), StandingClock(NOW)
    due(store)
    async with delivering(store, [ear], clock, QUICK) as delivery:
        await ear.heard()
        await until(lambda: Outbox(store.db).next_ring() == NOW + 5 * MINUTE)
        clock.pass_by(minutes=4, seconds=59)
        delivery.ring()
        await asyncio.sleep(0.02)
    assert ear.calls.empty()


@pytest.mark.parametrize("act", ["done", "snooze", "cancel", "move"])
async def test_whoever_acts_on_it_stops_it(store, act):
    ear, clock = Ear(), StandingClock(NOW)
    r = due(store)
    async with delivering(store, [ear], clock, QUICK) as delivery:
        await ear.heard()
        await until(lambda: Outbox(store.db).next_ring() is not None)
        {
            "done": lambda: store.done([r.id], NOW),
            "snooze": lambda: store.snooze(r.id, NOW + DAY, NOW),
            "cancel": lambda: store.cancel([r.id]),
            "move": lambda: store.move(r.id, when="x", wall=r.wall, zone="UTC", rrule=None, due=NOW + DAY),
        }[act]()
        clock.pass_by(hours=1)
        delivery.ring()
        await asyncio.sleep(0.02)
    assert ear.calls.empty()
    assert states(store)[0] in ("done", "snoozed", "cancelled", "moved")


async def test_what_is_done_while_a_notifier_still_hangs_stays_done(store):
    stuck = Ear(hung=True)
    r = due(store)
    policy = DeliveryPolicy(first_retry=MOMENT, longest_retry=MOMENT, timeout=50 * MOMENT)
    async with delivering(store, [stuck], Moving(NOW), policy):
        await stuck.heard()
        store.done([r.id], NOW)
        await until(lambda: outcomes(store))
        await asyncio.sleep(0.02)
    assert states(store) == ["done"]
    assert stuck.calls.empty()
    assert store.db.value("SELECT next_try FROM outcomes") is None


async def test_a_phone_that_cannot_be_reached_gets_it_even_after_it_counts_as_missed(store):
    log, phone, clock = Ear("log"), Ear("phone", deaf=True), StandingClock(NOW)
    policy = DeliveryPolicy(repeat_after=5 * MINUTE, repeats=0, first_retry=HOUR, longest_retry=HOUR)
    due(store)
    async with delivering(store, [log, phone], clock, policy) as delivery:
        await phone.heard()
        await until(lambda: len(outcomes(store)) == 2)
        clock.pass_by(minutes=6)
        delivery.ring()
        await until(lambda: states(store) == ["missed"])
        phone.deaf = False
        clock.pass_by(hours=1)
        delivery.ring()
        assert (await phone.heard()).text == "Late by 1 hour: call mum"
        await until(lambda: outcomes(store)[1][3])
    assert log.calls.qsize() == 1


async def test_when_every_notifier_has_given_up_it_rings_again_all_the_same(store):
    bad, clock = Ear(deaf=True), StandingClock(NOW)
    due(store)
    async with delivering(store, [bad], clock, DeliveryPolicy(tries=1, repeats=1)) as delivery:
        await bad.heard()
        await until(lambda: outcomes(store))
        delivery.ring()
        again = await repeated(store, bad, clock, delivery)
        assert again.deliveries[0].ring == 2
        await until(lambda: len(outcomes(store)) == 2)
        delivery.ring()
        await until(lambda: Outbox(store.db).next_ring() is not None)
        clock.pass_by(minutes=5)
        delivery.ring()
        await until(lambda: states(store) == ["missed"])


async def test_the_next_occurrence_takes_over_from_one_that_nobody_acknowledged(store):
    ear, clock = Ear(), StandingClock(NOW)
    r = due(store, rrule="FREQ=DAILY")
    async with delivering(store, [ear], clock, QUICK) as delivery:
        await ear.heard()
        await until(lambda: outcomes(store))
        clock.pass_by(days=1)
        fire(store, store.reminder(r.id), clock.now())
        delivery.ring()
        assert (await ear.heard()).deliveries[0].due == NOW + DAY
        await until(lambda: len(outcomes(store)) == 2)
    assert states(store) == ["missed", "ringing"]
    assert ear.calls.empty()


async def test_the_next_occurrence_stands_for_those_that_nobody_could_hear(store):
    bad, clock = Ear(deaf=True), StandingClock(NOW)
    r = due(store, rrule="FREQ=DAILY")
    async with delivering(store, [bad], clock, DeliveryPolicy(first_retry=HOUR, longest_retry=HOUR)) as delivery:
        await bad.heard()
        await until(lambda: outcomes(store))
        clock.pass_by(days=1)
        fire(store, store.reminder(r.id), clock.now())
        delivery.ring()
        assert (await bad.heard()).text == "Due 2 times by now: call mum"
        await until(lambda: len(outcomes(store)) == 2)
    assert states(store) == ["missed", "ringing"]
    assert store.db.value("SELECT count(*) FROM outcomes WHERE next_try IS NOT NULL") == 1


# Crashes and full disks


async def test_killed_before_it_rang_it_rings_after_the_restart(store, tmp_path):
    due(store)
    ear = Ear()
    with copied(store, tmp_path) as again:
        async with delivering(again, [ear], StandingClock(NOW)):
            assert (await ear.heard()).text == "call mum"


async def test_killed_between_ringing_and_recording_it_rings_again_by_the_same_id(store, tmp_path):
    due(store)
    first, second = Ear(hung=True), Ear()
    async with delivering(store, [first], StandingClock(NOW)):
        before = await first.heard()
        with copied(store, tmp_path) as again:
            async with delivering(again, [second], StandingClock(NOW)):
                assert await second.heard() == before


async def test_killed_after_recording_only_those_ring_that_have_not_yet(store, tmp_path):
    due(store)
    one, other = Ear("one"), Ear("other", hung=True)
    async with delivering(store, [one, other], StandingClock(NOW)):
        await other.heard()
        await until(lambda: outcomes(store) == [("one", 1, 1, 1, None)])
        one_again, other_again = Ear("one"), Ear("other")
        with copied(store, tmp_path) as again:
            async with delivering(again, [one_again, other_again], StandingClock(NOW)):
                await other_again.heard()
                await until(lambda: len(outcomes(again)) == 2)
                assert one_again.calls.empty()


@contextmanager
def copied(store: Store, folder: Path):
    """The store as the next process finds it when this one is killed now."""
    copy = folder / "copy" / store.db.path.name
    copy.parent.mkdir()
    for file in folder.glob("*.db*"):
        if not file.name.endswith(("-shm", ".lock")):
            shutil.copy(file, copy.parent)
    with Store.open(copy) as again:
        yield again


async def test_what_cannot_be_recorded_is_not_rung_again_and_holds_up_nothing(store, caplog):
    ear = Ear()
    due(store, "first")
    store.db.execute("PRAGMA query_only = ON")  # nothing can be written, as on a full disk
    async with delivering(store, [ear], Moving(NOW)) as delivery:
        assert (await ear.heard()).text == "first"
        for _ in range(3):
            delivery.ring()
            await asyncio.sleep(0.01)
        assert ear.calls.empty()
        store.db.execute("PRAGMA query_only = OFF")
        due(store, "second")
        store.db.execute("PRAGMA query_only = ON")
        delivery.ring()
        assert (await ear.heard()).text == "second"
        assert outcomes(store) == []
        store.db.execute("PRAGMA query_only = OFF")
        delivery.ring()
        await until(lambda: len(outcomes(store)) == 2)
    errors = [r for r in caplog.records if r.levelname == "ERROR" and "due for ear" in r.getMessage()]
    assert len(errors) == 1


async def test_a_bug_ends_it(store):
    store.db.execute("DROP TABLE outcomes")
    async with asyncio.timeout(10):
        with pytest.raises(BaseExceptionGroup):
            await Delivery(store, [Ear()], StandingClock(NOW)).run()


DAEMON = """if True:
    import asyncio, sys
    from pathlib import Path
    from assistant.clock import SystemClock
    from assistant.delivery import Delivery
    from assistant.scheduler import Scheduler
    from assistant.store import Store

    class File:
        name = "file"

        async def notify(self, notice):
            with open(sys.argv[2], "a") as file:
                for d in notice.deliveries:
                    file.write(f"{d.id} {d.ring} {d.reminder_id} {d.due.isoformat()}\\n")

    async def main():
        with Store.open(Path(sys.argv[1])) as store:
            delivery = Delivery(store, [File()], SystemClock())
            scheduler = Scheduler(store, SystemClock(), delivery.ring)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(delivery.run())
                tasks.create_task(scheduler.run())
                print("ready", flush=True)

    asyncio.run(main())
"""


def test_killed_again_and_again_while_it_rings_every_occurrence_is_heard_and_recorded_once(tmp_path):
    """kill -9 at random instants of a process that fires and rings 300 one-offs and 20 recurring reminders."""
    path, heard, random = tmp_path / "reminders.db", tmp_path / "heard", Random(11)
    start = datetime.now(UTC).replace(microsecond=0) + SECOND
    rule = "FREQ=SECONDLY;COUNT=4"
    with Store.open(path) as store:
        wall = start.replace(tzinfo=None)
        once = [NewReminder("x", "x", wall, "UTC", None, start + n * 10 * MOMENT) for n in range(300)]
        made = store.add_reminders(None, once + [NewReminder("x", "x", wall, "UTC", rule, start)] * 20)
    command = [sys.executable, "-c", DAEMON, str(path), str(heard)]
    for life in range(9):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout.readline() == "ready\n"
            if life < 8:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(random.uniform(0, 0.5))
            else:
                wait_until(lambda: finished(path))
            process.send_signal(signal.SIGKILL)
    lines = {tuple(line.split()) for line in heard.read_text().splitlines()}
    with Store.open(path) as store:
        store.db.check()
        rows = store.db.rows("SELECT id, ring, reminder_id, due_utc, occurrences, state FROM deliveries")
        counts = store.db.rows("SELECT reminder_id, sum(occurrences) FROM deliveries GROUP BY reminder_id")
        assert {store.reminder(r.id).state for r in made} == {"fired"}
    assert dict(map(tuple, counts)) == {r.id: 4 if r.rrule else 1 for r in made}
    known = {(str(r["id"]), str(r["ring"]), str(r["reminder_id"]), datetime.fromisoformat(r["due_utc"]).isoformat())
             for r in rows}
    assert lines <= known  # nothing was rung that is not recorded
    assert {reminder for _, _, reminder, _ in lines} == {str(r.id) for r in made}
    unheard = [r for r in rows if str(r["id"]) not in {id for id, *_ in lines}]
    assert [r for r in unheard if r["occurrences"]] == []  # one that nobody heard was taken over by the next


def finished(path: Path) -> bool:
    """Whether everything that was to ring has been heard by the notifier."""
    connection = sqlite3.connect(path)
    try:
        ahead = connection.execute("SELECT count(*) FROM reminders WHERE state = 'pending'").fetchone()[0]
        unheard = connection.execute(
            "SELECT count(*) FROM deliveries d WHERE state = 'ringing'"
            " AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.delivery_id = d.id AND o.ok)"
        ).fetchone()[0]
        return not ahead and not unheard
    finally:
        connection.close()


def wait_until(condition) -> None:
    until = monotonic() + 60
    while not condition():
        assert monotonic() < until, "it takes too long"
        sleep(0.02)
