"""Fires reminders at their instant: APScheduler over the reminders table itself, woken against the wall clock.

    reminders table --get_due_jobs--> APScheduler --update_job / remove_job--> Outbox.fire (one commit) --> the doorbell

Nothing is kept in memory but the jobs of one pass. asyncio's clock stands still while a laptop sleeps, so a watch wakes
the scheduler every few seconds whatever its timer says. A fault of the store is said once and tried again; a bug ends
`Scheduler.run`, and with it the process.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from logging import getLogger
from zoneinfo import ZoneInfo

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from assistant.clock import Clock
from assistant.database import Complaint
from assistant.errors import StoreError
from assistant.messages import Reminder
from assistant.outbox import Advance, Outbox
from assistant.store import Store
from assistant.when import next_occurrence, occurrences_between

BATCH = 100
"""Reminders fired in one pass; between passes the event loop breathes."""
RETRY = 10.0
"""Seconds until a pass that the store failed is tried again."""
BACK = 1.0
"""Seconds that the clock must go back to be taken as set back."""
EARLY = timedelta(minutes=1)
"""A one-off that rang longer than this before its time, by a clock since set back, rings again at its time."""

log = getLogger(__name__)


def advance(reminder: Reminder, now: datetime) -> Advance:
    """How a reminder that is due goes on. What recurs and was missed several times rings once, as its last occurrence.

    A rule that cannot be read any more must not hold up the other reminders: its occurrence rings, and the log says so.
    """
    assert reminder.due is not None
    if reminder.rrule is None:
        return Advance(reminder.due, 1, None)
    try:
        following = _after(reminder, reminder.due)
        if following is None or following > now:
            return Advance(reminder.due, 1, following)
        last = _last(reminder, now)
        missed = occurrences_between(
            reminder.rrule, reminder.wall, ZoneInfo(reminder.zone), reminder.due, now
        )
        following = _after(reminder, last)
        if following is not None and following <= now:
            raise ValueError(f"the rule {reminder.rrule} goes backwards")
        return Advance(last, 1 + missed, following)
    except Exception:  # whatever it is, it concerns this one
        log.exception("a rule cannot be read and will not ring again", extra={"reminder": reminder.id})
        return Advance(reminder.due, 1, None)


def _after(reminder: Reminder, instant: datetime) -> datetime | None:
    assert reminder.rrule is not None
    return next_occurrence(reminder.rrule, reminder.wall, ZoneInfo(reminder.zone), instant)


def _last(reminder: Reminder, now: datetime) -> datetime:
    """The last occurrence up to now of a reminder of which more than one is due: look back further and further."""
    assert reminder.due is not None
    reach = timedelta(minutes=1)
    while True:
        start = max(now - reach, reminder.due)
        found = _after(reminder, start)
        if start == reminder.due or (found is not None and found <= now):
            break
        reach *= 2
    last = reminder.due
    while found is not None and last < found <= now:
        last, found = found, _after(reminder, found)
    return last


class ReminderJobStore(BaseJobStore):
    """The pending reminders as APScheduler's jobs; a job's id is the reminder's.

    Jobs come from the table and change only by firing: reminders are added, moved and cancelled through `Store`. When
    APScheduler is done with the first job of a pass, all that are due in it are fired, in one commit.
    APScheduler reads the system's clock; with a `clock` of the program's own that one decides, and what is handed to
    APScheduler is shifted by as much as it is ahead.
    """

    def __init__(self, outbox: Outbox, clock: Clock | None = None, batch: int = BATCH) -> None:
        super().__init__()
        self._outbox, self._clock, self._batch = outbox, clock, batch
        self._ahead = timedelta()
        self._now = datetime.now(UTC)
        self._pass: dict[str, _Occurrences] = {}
        self._fired = False
        self._failure: Exception | None = None

    def lookup_job(self, job_id: str) -> Job | None:
        reminder = self._outbox.pending(int(job_id)) if job_id.isdecimal() else None
        return reminder and self._job(reminder, _Occurrences(reminder, datetime.now(UTC) + self._ahead, self._ahead))

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """At most `batch` jobs, oldest first. What goes wrong is raised by `get_next_run_time`: here APScheduler would
        swallow it."""
        self._pass, self._fired, self._failure = {}, False, None
        try:
            self._now = self._clock.now() if self._clock else now
            self._ahead = self._now - now
            due = self._outbox.due(self._now, self._batch)
        except Exception as e:
            self._failure = e
            return []
        self._pass = {str(reminder.id): _Occurrences(reminder, self._now, self._ahead) for reminder in due}
        return [self._job(occurrences.reminder, occurrences) for occurrences in self._pass.values()]

    def get_next_run_time(self) -> datetime | None:
        if self._failure is not None:
            raise self._failure
        due = self._outbox.next_due()
        return due and due - self._ahead

    def get_all_jobs(self) -> list[Job]:
        now = datetime.now(UTC) + self._ahead
        return [self._job(r, _Occurrences(r, now, self._ahead)) for r in self._outbox.all_pending()]

    def update_job(self, job: Job) -> None:
        """Fire: APScheduler is done with an occurrence and there are more."""
        self._fire(job.id)

    def remove_job(self, job_id: str) -> None:
        """Fire: APScheduler is done with the last occurrence."""
        self._fire(job_id)

    def _fire(self, job_id: str) -> None:
        if job_id not in self._pass:
            raise JobLookupError(job_id)
        if not self._fired:
            self._outbox.fire([(o.reminder, o.advance) for o in self._pass.values()], self._now)
            self._fired = True

    def add_job(self, job: Job) -> None:
        raise NotImplementedError("reminders are added through Store.add_reminders")

    def remove_all_jobs(self) -> None:
        raise NotImplementedError("nothing removes all reminders")

    def _job(self, reminder: Reminder, trigger: "_Occurrences") -> Job:
        assert reminder.due is not None
        job = Job(
            self._scheduler, id=str(reminder.id), name=f"reminder {reminder.id}", func=_doorbell, args=(), kwargs={},
            trigger=trigger, executor="default", misfire_grace_time=None, coalesce=True, max_instances=1,
            next_run_time=reminder.due - self._ahead,
        )
        job._jobstore_alias = self._alias
        return job


def _doorbell() -> None:
    """What a job is said to do; `_Doorbell` does it."""


class _Occurrences(BaseTrigger):
    """When a reminder rings, for one pass: its due occurrence now, and then the first one after now."""

    __slots__ = ("_advance", "_ahead", "_now", "reminder")

    def __init__(self, reminder: Reminder, now: datetime, ahead: timedelta) -> None:
        self.reminder, self._now, self._ahead = reminder, now, ahead
        self._advance: Advance | None = None

    @property
    def advance(self) -> Advance:
        self._advance = self._advance or advance(self.reminder, self._now)
        return self._advance

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        return self.advance.following and self.advance.following - self._ahead


class _Doorbell(BaseExecutor):
    """Runs no job: notes that something fires, so that the doorbell rings after the pass and its commits."""

    rung = False

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self.rung = True

    _do_submit_job = submit_job


class _Timer(AsyncIOScheduler):
    """APScheduler whose failures are heard: an exception in a pass would otherwise stop its timer for ever."""

    def __init__(self, jobs: ReminderJobStore, ring: Callable[[], None]) -> None:
        self._bell, self._ring = _Doorbell(), ring
        self._complaint = Complaint(log, "look for due reminders")
        self.broken: asyncio.Future[None] | None = None
        super().__init__(timezone=UTC, jobstores={"default": jobs}, executors={"default": self._bell})

    def _process_jobs(self) -> float | None:
        try:
            wait = super()._process_jobs()
            self._complaint.over()
        except StoreError as fault:
            self._complaint.say(fault)
            wait = RETRY
        except Exception as bug:
            assert self.broken is not None
            if not self.broken.done():
                self.broken.set_exception(bug)
            return None
        if self._bell.rung and wait != 0:  # when all of a backlog is fired: one notice, not a burst
            self._bell.rung = False
            self._ring()
        return wait


class Scheduler:
    """Fires what is due and rings the doorbell `ring` after the commit.

    `watch_every`: seconds between two looks at the wall clock, and so the longest that a ring is late after sleep.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ring: Callable[[], None],
        *,
        watch_every: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store, self._outbox, self._clock = store, Outbox(store.db), clock
        self._watch_every, self._monotonic, self._sleep = watch_every, monotonic, sleep
        self._complaint = Complaint(log, "follow a clock that was set back")
        self._timer = _Timer(ReminderJobStore(self._outbox, clock), ring)

    def changed(self) -> None:
        """Look at the table again: it has changed, or the clock has."""
        if self._timer.running:
            self._timer.wakeup()

    async def run(self) -> None:
        """Until cancelled. Raises what a bug raised."""
        self._timer.broken = asyncio.get_running_loop().create_future()
        self._timer.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch(), name="wall clock")
                await self._timer.broken
        finally:
            self._timer.shutdown()
            await asyncio.sleep(0)  # APScheduler stops its timer in the loop's next round, before the store is closed

    async def _watch(self) -> None:
        """Wake the scheduler by the wall clock, and notice when that was changed under a steady one."""
        wall, steady = self._clock.now(), self._monotonic()
        was_fired = self._tried(self._outbox.latest_firing)
        back = was_fired is not None and was_fired > wall + timedelta(seconds=BACK)  # set back while we were away
        while True:
            if back:
                back = self._tried(self._rewind) is None
            await self._sleep(self._watch_every)
            now, ticks = self._clock.now(), self._monotonic()
            jump = (now - wall).total_seconds() - (ticks - steady)
            wall, steady = now, ticks
            if abs(jump) >= BACK:
                log.info("the clock jumped" if jump > 0 else "the clock was set back",
                         extra={"seconds": round(abs(jump), 1)})
            back = back or jump <= -BACK
            self.changed()

    def _tried(self, ask: Callable):
        try:
            answer = ask()
        except StoreError as fault:
            self._complaint.say(fault)
            return None
        self._complaint.over()
        return answer

    def _rewind(self) -> bool:
        """What was set or fired by a clock that ran ahead is ahead again; what had rung in time does not ring twice."""
        now = self._clock.now()
        with self._store.transaction():
            early = self._outbox.take_back(now + EARLY, now)
            moved = 0
            for reminder in self._outbox.recurring():
                try:
                    following = _after(reminder, now)
                except Exception:
                    log.exception("a rule cannot be read", extra={"reminder": reminder.id})
                    continue
                if following is not None and (reminder.due is None or following < reminder.due):
                    self._outbox.reschedule(reminder.id, following)
                    moved += 1
        if early or moved:
            log.info("reminders were set by a clock that ran ahead", extra={"reminders": early + moved})
        self.changed()
        return True
