"""Reminders fire at their instant: through APScheduler, over the reminders table, by the wall clock."""

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from assistant.clock import SystemClock
from assistant.messages import Reminder
from assistant.outbox import Advance, Outbox, Outcome
from assistant.scheduler import ReminderJobStore, Scheduler, advance
from assistant.store import NewReminder, Store
from tests.fakes import StandingClock, Ticks

NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LONDON = ZoneInfo("Europe/London")


def new(due: datetime, rrule: str | None = None, zone: ZoneInfo = LONDON, task: str = "call mum") -> NewReminder:
    return NewReminder(task, "x", due.astimezone(zone).replace(tzinfo=None), zone.key, rrule, due)


def fired(store: Store) -> list[tuple[int, datetime, int]]:
    """Reminder, instant and occurrences of everything in the outbox."""
    rows = store.db.rows("SELECT reminder_id, due_utc, occurrences FROM deliveries ORDER BY due_utc, id")
    return [(row[0], datetime.fromisoformat(row[1]), row[2]) for row in rows]


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "reminders.db") as store:
        yield store


# How a reminder goes on


def wall(text: str, zone: str = "Europe/London") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


ADVANCES = [
    pytest.param(None, "2026-03-12 08:00", "2026-03-12 08:00", 1, None, id="a one-off on time"),
    pytest.param(None, "2026-03-12 08:00", "2026-05-12 08:00", 1, None, id="a one-off two months late"),
    pytest.param("FREQ=DAILY", "2026-03-12 08:00", "2026-03-12 08:00", 1, "2026-03-13 08:00", id="daily, on time"),
    pytest.param("FREQ=DAILY", "2026-03-12 08:00", "2026-03-13 07:59", 1, "2026-03-13 08:00", id="daily, a day late"),
    pytest.param("FREQ=DAILY", "2026-03-12 08:00", "2026-03-13 08:00", 2, "2026-03-14 08:00",
                 id="daily, late to the second occurrence's instant"),
    pytest.param("FREQ=DAILY", "2026-03-12 08:00", "2026-03-15 12:00", 4, "2026-03-16 08:00", id="daily, four missed"),
    pytest.param("FREQ=WEEKLY;BYDAY=TH", "2026-03-26 08:00", "2026-03-26 08:00", 1, "2026-04-02 08:00",
                 id="weekly 08:00 stays 08:00 as clocks go forward"),
    pytest.param("FREQ=WEEKLY;BYDAY=TH", "2026-10-22 08:00", "2026-10-22 08:00", 1, "2026-10-29 08:00",
                 id="weekly 08:00 stays 08:00 as clocks go back"),
    pytest.param("FREQ=WEEKLY;BYDAY=TH", "2026-03-19 08:00", "2026-04-02 08:00", 3, "2026-04-09 08:00",
                 id="missed across a clock change"),
    pytest.param("FREQ=DAILY", "2026-03-28 01:30", "2026-03-28 01:30", 1, "2026-03-29 02:30",
                 id="a 01:30 that does not exist"),
    pytest.param("FREQ=DAILY;COUNT=3", "2026-03-12 08:00", "2026-03-13 08:00", 2, "2026-03-14 08:00",
                 id="three times, two missed"),
    pytest.param("FREQ=DAILY;COUNT=3", "2026-03-12 08:00", "2027-01-01 00:00", 3, None, id="three times, all missed"),
    pytest.param("FREQ=MONTHLY;BYMONTHDAY=31", "2026-01-31 09:00", "2026-06-30 09:00", 3, "2026-07-31 09:00",
                 id="monthly on the 31st skips short months"),
    pytest.param("FREQ=MINUTELY;INTERVAL=20", "2026-03-12 08:00", "2026-03-12 18:10", 31, "2026-03-12 18:20",
                 id="every 20 minutes, ten hours missed"),
    pytest.param("FREQ=SECONDLY;INTERVAL=10", "2026-03-12 08:00", "2027-03-12 08:00:05", 1001, "2027-03-12 08:00:10",
                 id="every ten seconds, a year missed"),
    pytest.param("FREQ=YEARLY", "2024-02-29 09:00", "2026-03-12 09:00", 1, "2028-02-29 09:00", id="29 February"),
]
LAST = {
    "daily, late to the second occurrence's instant": "2026-03-13 08:00", "daily, four missed": "2026-03-15 08:00",
    "missed across a clock change": "2026-04-02 08:00", "three times, two missed": "2026-03-13 08:00",
    "three times, all missed": "2026-03-14 08:00", "monthly on the 31st skips short months": "2026-05-31 09:00",
    "every 20 minutes, ten hours missed": "2026-03-12 18:00", "every ten seconds, a year missed": "2027-03-12 08:00",
}


@pytest.mark.parametrize("rrule, due, now, times, following", ADVANCES)
def test_a_reminder_rings_once_for_all_that_it_missed_and_goes_on_after_now(rrule, due, now, times, following, request):
    reminder = Reminder(1, None, "x", "x", datetime.fromisoformat(due), "Europe/London", rrule, wall(due), "pending")
    rings = wall(LAST.get(request.node.callspec.id, due))
    assert advance(reminder, wall(now)) == Advance(rings, times, following and wall(following))


@pytest.mark.parametrize("broken", [{"rrule": "FREQ=SOMETIMES"}, {"zone": "Mars/Olympus"}, {"rrule": "nonsense"}],
                         ids=["rule", "zone", "no rule at all"])
def test_what_cannot_be_read_any_more_rings_and_is_said(broken, caplog):
    good = {"zone": "UTC", "rrule": "FREQ=DAILY"}
    reminder = Reminder(7, None, "x", "x", NOW.replace(tzinfo=None), due=NOW, state="pending", **good | broken)
    assert advance(reminder, NOW + HOUR) == Advance(NOW, 1, None)
    assert "will not ring again" in caplog.text


# The job store, by the behaviour that APScheduler's own tests ask of every job store


@pytest.fixture
async def jobs(store):
    jobs = ReminderJobStore(Outbox(store.db), batch=3)
    scheduler = AsyncIOScheduler(timezone=UTC, jobstores={"default": jobs})
    scheduler.start(paused=True)
    yield jobs
    scheduler.shutdown()
    await asyncio.sleep(0)


def ids(jobs) -> list[int]:
    return [int(job.id) for job in jobs]


async def test_a_job_is_looked_up_by_the_number_of_its_reminder(store, jobs):
    (r,) = store.add_reminders(None, [new(NOW)])
    job = jobs.lookup_job(str(r.id))
    assert (job.id, job.next_run_time, job.misfire_grace_time, job.coalesce) == (str(r.id), NOW, None, True)


@pytest.mark.parametrize("id", ["99", "nonsense", "", "-1"])
async def test_an_unknown_job_is_not_there(jobs, id):
    assert jobs.lookup_job(id) is None


async def test_what_does_not_ring_any_more_is_no_job(store, jobs):
    (r,) = store.add_reminders(None, [new(NOW)])
    store.cancel([r.id])
    assert jobs.lookup_job(str(r.id)) is None
    assert jobs.get_all_jobs() == []


async def test_due_jobs_come_oldest_first(store, jobs):
    later, sooner, ahead = store.add_reminders(None, [new(NOW + n * MINUTE) for n in (2, 1, 3)])
    assert jobs.get_due_jobs(NOW) == []
    assert ids(jobs.get_due_jobs(NOW + 2 * MINUTE)) == [sooner.id, later.id]
    assert ids(jobs.get_all_jobs()) == [sooner.id, later.id, ahead.id]


async def test_a_job_is_due_at_its_very_instant(store, jobs):
    store.add_reminders(None, [new(NOW)])
    assert len(jobs.get_due_jobs(NOW - timedelta(microseconds=1))) == 0
    assert len(jobs.get_due_jobs(NOW)) == 1


async def test_no_more_than_a_batch_is_due_at_once(store, jobs):
    made = store.add_reminders(None, [new(NOW + n * MINUTE) for n in range(5)])
    assert ids(jobs.get_due_jobs(NOW + DAY)) == [r.id for r in made[:3]]


async def test_the_next_run_time_is_that_of_the_earliest(store, jobs):
    assert jobs.get_next_run_time() is None
    store.add_reminders(None, [new(NOW + n * HOUR) for n in (3, 1, 2)])
    assert jobs.get_next_run_time() == NOW + HOUR


async def test_updating_a_due_job_fires_it(store, jobs):
    (r,) = store.add_reminders(None, [new(NOW, "FREQ=DAILY")])
    (job,) = jobs.get_due_jobs(NOW + MINUTE)
    assert job.trigger.get_next_fire_time(NOW, NOW + MINUTE) == NOW + DAY
    jobs.update_job(job)
    assert (store.reminder(r.id).state, store.reminder(r.id).due) == ("pending", NOW + DAY)
    assert fired(store) == [(r.id, NOW, 1)]


async def test_removing_a_due_job_fires_it_for_the_last_time(store, jobs):
    (r,) = store.add_reminders(None, [new(NOW)])
    (job,) = jobs.get_due_jobs(NOW)
    jobs.remove_job(job.id)
    assert (store.reminder(r.id).state, store.reminder(r.id).due) == ("fired", None)
    assert fired(store) == [(r.id, NOW, 1)]


async def test_firing_twice_records_it_once(store, jobs):
    (r,) = store.add_reminders(None, [new(NOW, "FREQ=DAILY")])
    (job,) = jobs.get_due_jobs(NOW)
    jobs.update_job(job)
    jobs.update_job(job)
    assert fired(store) == [(r.id, NOW, 1)]


async def test_what_was_moved_between_looking_and_firing_is_not_fired(store, jobs):
    (r,) = store.add_reminders(None, [new(NOW)])
    (job,) = jobs.get_due_jobs(NOW)
    store.snooze(r.id, NOW + HOUR, NOW)
    jobs.remove_job(job.id)
    assert store.reminder(r.id).due == NOW + HOUR
    assert fired(store) == []


@pytest.mark.parametrize("change", ["update", "remove"])
async def test_a_job_that_is_not_due_cannot_be_changed(store, jobs, change):
    (r,) = store.add_reminders(None, [new(NOW)])
    job = jobs.lookup_job(str(r.id))
    with pytest.raises(JobLookupError):
        jobs.update_job(job) if change == "update" else jobs.remove_job(job.id)
    assert store.reminder(r.id).state == "pending"


async def test_apscheduler_itself_can_neither_add_nor_empty(store, jobs):
    (r,) = store.add_reminders(None, [new(NOW)])
    with pytest.raises((NotImplementedError, ConflictingIdError)):
        jobs.add_job(jobs.lookup_job(str(r.id)))
    with pytest.raises(NotImplementedError):
        jobs.remove_all_jobs()
    assert store.count_active() == 1


async def test_a_clock_that_is_ahead_of_the_system_is_followed(store):
    jobs = ReminderJobStore(Outbox(store.db), StandingClock(NOW + DAY))
    jobs.start(AsyncIOScheduler(timezone=UTC), "default")
    (r,) = store.add_reminders(None, [new(NOW + DAY)])
    (job,) = jobs.get_due_jobs(NOW)
    assert job.next_run_time == NOW
    jobs.remove_job(job.id)
    assert store.reminder(r.id).state == "fired"


# The scheduler as it runs


class Bell:
    """A doorbell that counts."""

    def __init__(self) -> None:
        self.rings, self._rung = 0, asyncio.Event()

    def __call__(self) -> None:
        self.rings += 1
        self._rung.set()

    async def rung(self) -> None:
        async with asyncio.timeout(10):
            await self._rung.wait()
        self._rung.clear()


@asynccontextmanager
async def running(scheduler: Scheduler):
    """The scheduler as a task that is cancelled at the end, as in the daemon."""
    task = asyncio.create_task(scheduler.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_what_is_due_is_fired_at_its_instant_and_the_doorbell_rings_after_the_commit(store):
    bell, clock = Bell(), SystemClock()
    due = clock.now() + 0.3 * SECOND
    (r,) = store.add_reminders(None, [new(due)])
    async with running(Scheduler(store, clock, bell, watch_every=60)):
        await bell.rung()
        assert clock.now() >= due
        assert fired(store) == [(r.id, due, 1)]
        assert not store.db.sql.conn.in_transaction


async def test_what_is_made_while_it_runs_is_seen_when_it_is_told(store):
    bell, clock = Bell(), SystemClock()
    store.add_reminders(None, [new(clock.now() + DAY)])
    scheduler = Scheduler(store, clock, bell, watch_every=60)
    scheduler.changed()  # before it runs: nothing happens
    async with running(scheduler):
        await asyncio.sleep(0)
        (r,) = store.add_reminders(None, [new(clock.now() + 0.1 * SECOND)])
        scheduler.changed()
        await bell.rung()
        assert [id for id, *_ in fired(store)] == [r.id]


async def test_what_came_due_while_nothing_ran_is_fired_at_once(store):
    bell, clock = Bell(), SystemClock()
    now = clock.now().replace(microsecond=0)
    once, often = store.add_reminders(None, [new(now - 2 * HOUR), new(now - 2 * DAY - MINUTE, "FREQ=DAILY")])
    async with running(Scheduler(store, clock, bell)):
        await bell.rung()
    assert fired(store) == [(once.id, now - 2 * HOUR, 1), (often.id, now - MINUTE, 3)]
    assert store.reminder(often.id).due == now - MINUTE + DAY


async def test_a_thousand_that_are_due_ring_the_doorbell_once(store):
    bell, clock = Bell(), SystemClock()
    store.add_reminders(None, [new(clock.now() - n * SECOND) for n in range(1000)])
    async with running(Scheduler(store, clock, bell)):
        await bell.rung()
        assert len(fired(store)) == 1000
        assert bell.rings == 1


async def test_a_laptop_that_slept_fires_when_it_looks_at_the_clock(store):
    """The wall clock jumps while asyncio's own stands still, and no timer ends: the watch sees it."""
    bell, clock, ticks = Bell(), StandingClock(NOW), Ticks()
    store.add_reminders(None, [new(NOW + 8 * HOUR)])
    async with running(Scheduler(store, clock, bell, monotonic=lambda: 0.0, sleep=ticks.sleep)):
        await ticks.tick()
        assert bell.rings == 0
        clock.pass_by(hours=10)
        await ticks.tick()
        await bell.rung()
        assert len(fired(store)) == 1


async def test_the_watch_looks_at_the_clock_more_often_than_every_15_seconds(store):
    asked: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        asked.put_nowait(seconds)
        await asyncio.Event().wait()

    async with running(Scheduler(store, SystemClock(), Bell(), sleep=sleep)), asyncio.timeout(10):
        assert 0 < await asked.get() <= 15


async def test_a_jump_of_the_clock_is_logged(store, caplog):
    caplog.set_level(logging.INFO)
    clock, ticks = StandingClock(NOW), Ticks()
    async with running(Scheduler(store, clock, Bell(), monotonic=lambda: 0.0, sleep=ticks.sleep)):
        await ticks.tick()
        assert "jumped" not in caplog.text
        clock.pass_by(hours=1)
        await ticks.tick()
        assert "the clock jumped" in caplog.text


async def test_a_clock_that_was_set_back_gets_its_reminders_again(store):
    """A wrong clock fired everything up to 2035; when it is put right, what lies ahead is ahead again."""
    bell, clock, ticks = Bell(), StandingClock(NOW), Ticks()
    daily, ended, once, over = store.add_reminders(
        None,
        [new(NOW + HOUR, "FREQ=DAILY"), new(NOW + HOUR, "FREQ=DAILY;COUNT=2"), new(NOW + 2 * HOUR), new(NOW + HOUR)],
    )
    async with running(Scheduler(store, clock, bell, monotonic=lambda: 0.0, sleep=ticks.sleep)):
        clock.pass_by(days=3650)
        await ticks.tick()
        await bell.rung()
        assert [store.reminder(r.id).state for r in (daily, ended, once)] == ["pending", "fired", "fired"]
        store.done([over.id], clock.now())
        clock.pass_by(days=-3650)
        await ticks.tick()
        await ticks.tick()
        assert [store.reminder(r.id).due for r in (daily, ended, once)] == [NOW + HOUR, NOW + HOUR, NOW + 2 * HOUR]
        assert store.reminder(over.id).state == "done"
        before = len(fired(store))
        clock.pass_by(hours=3)
        await ticks.tick()
        await bell.rung()
        assert (once.id, NOW + 2 * HOUR, 1) in fired(store)
        assert len(fired(store)) == before + 2  # the one-off's row, which was there, rings again


async def test_a_clock_set_back_while_the_daemon_was_off_is_noticed_at_the_start(store):
    (r,) = store.add_reminders(None, [new(NOW + HOUR, "FREQ=DAILY")])
    ahead = NOW + 3650 * DAY
    outbox = Outbox(store.db)
    outbox.fire([(store.reminder(r.id), advance(r, ahead))], ahead)
    ticks = Ticks()
    async with running(Scheduler(store, StandingClock(NOW), Bell(), sleep=ticks.sleep)):
        await ticks.tick()
        assert store.reminder(r.id).due == NOW + HOUR
    assert outbox.latest_firing() == NOW  # and not again at the next start


async def test_a_clock_that_is_set_back_a_little_rings_nothing_twice(store):
    """The time service put the clock right by three seconds, just after something rang."""
    bell, clock, ticks = Bell(), StandingClock(NOW), Ticks()
    daily, once, last = store.add_reminders(
        None, [new(NOW, "FREQ=DAILY"), new(NOW), new(NOW, "FREQ=DAILY;COUNT=1")]
    )
    async with running(Scheduler(store, clock, bell, monotonic=lambda: 0.0, sleep=ticks.sleep)):
        await bell.rung()
        outbox = Outbox(store.db)
        due = outbox.to_ring("log", NOW, HOUR, 10)
        outbox.record([Outcome(d.id, d.ring, "log", None, NOW) for d in due], HOUR)
        clock.pass_by(seconds=-3)
        await ticks.tick()
        clock.pass_by(seconds=5)
        await ticks.tick()
        await ticks.tick()
        assert len(fired(store)) == len(due) == 3
        assert outbox.to_ring("log", NOW + MINUTE, HOUR, 10) == []
        assert [store.reminder(r.id).state for r in (daily, once, last)] == ["pending", "fired", "fired"]
        assert store.reminder(daily.id).due == NOW + DAY


async def test_a_rule_that_cannot_be_read_does_not_hold_up_the_others(store, caplog):
    bell = Bell()
    bad, good = store.add_reminders(None, [new(NOW, "FREQ=SOMETIMES"), new(NOW + MINUTE)])
    async with running(Scheduler(store, StandingClock(NOW + HOUR), bell)):
        await bell.rung()
        assert [id for id, *_ in fired(store)] == [bad.id, good.id]


async def test_a_full_disk_is_said_once_and_tried_again_until_there_is_room(store, caplog):
    bell, ticks = Bell(), Ticks()
    made = store.add_reminders(None, [new(NOW) for _ in range(100)])
    store.db.execute(f"PRAGMA max_page_count = {store.db.value('PRAGMA page_count')}")
    async with running(Scheduler(store, StandingClock(NOW), bell, sleep=ticks.sleep)) as task:
        for _ in range(3):
            await ticks.tick()
        assert {store.reminder(r.id).state for r in made} == {"pending"}
        assert fired(store) == []
        assert [x.levelname for x in caplog.records if "disk" in x.getMessage()] == ["ERROR"]
        store.db.execute("PRAGMA max_page_count = 1000000")
        await ticks.tick()
        assert {store.reminder(r.id).state for r in made} == {"fired"}
        assert len(fired(store)) == 100
        assert not task.done()


async def test_a_bug_ends_the_scheduler_and_is_not_swallowed(store):
    """APScheduler would log it and sleep for ever."""
    store.add_reminders(None, [new(NOW)])
    scheduler = Scheduler(store, StandingClock(NOW), Bell(), sleep=Ticks().sleep)
    store.db.execute("DROP TABLE outcomes")
    store.db.execute("DROP TABLE deliveries")
    async with asyncio.timeout(10):
        with pytest.raises(BaseExceptionGroup) as e:
            await scheduler.run()
    assert "deliveries" in repr(e.value.exceptions)


async def test_a_bug_in_looking_for_reminders_is_not_swallowed_either(store):
    scheduler = Scheduler(store, StandingClock(NOW), Bell(), sleep=Ticks().sleep)
    store.db.execute("DROP INDEX reminders_due")
    store.db.execute('ALTER TABLE reminders RENAME COLUMN task TO "what"')
    store.db.execute("INSERT INTO reminders (what, \"when\", wall, fold, zone, due, state)"
                     " VALUES ('x', 'x', '2026-01-01', 0, 'UTC', '2026-01-01T00:00:00.000000Z', 'pending')")
    async with asyncio.timeout(10):
        with pytest.raises(BaseExceptionGroup):
            await scheduler.run()


async def test_when_it_has_stopped_it_does_not_touch_the_store_again(tmp_path):
    """The timer that was set is gone: a store that is closed would answer it with an exception in the loop."""
    loop, trouble = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: trouble.append(context))
    with Store.open(tmp_path / "reminders.db") as store:
        store.add_reminders(None, [new(SystemClock().now() + 0.05 * SECOND)])
        scheduler = Scheduler(store, SystemClock(), Bell())
        async with running(scheduler):
            await asyncio.sleep(0)
    scheduler.changed()
    past = asyncio.Event()
    loop.call_later(0.2, past.set)
    await past.wait()
    assert trouble == []
