"""The owner's calendar and the reminders kept equal, with a real Radicale and a calendar program that is not ours."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from assistant.caldav_sync import FIRST_PAUSE, LONGEST_PAUSE, CalendarSync
from assistant.calendar_entries import CalendarEntries
from assistant.messages import Request
from assistant.sections import Calendar
from assistant.store import NewReminder, Store
from tests.fakes import StandingClock
from tests.radicale import PASSWORD, USER, CalendarProgram, Radicale, main
from tests.soak_calendar import both_ends_differ, edits

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 11, 10, tzinfo=UTC)
FRIDAY = datetime(2026, 3, 13, 15, tzinfo=LONDON)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Radicale(tmp_path_factory.mktemp("radicale")) as radicale:
        yield radicale


class Home:
    """The assistant's side: a store, and its synchronisation with a calendar of the test's own."""

    def __init__(self, store: Store, server: Radicale, name: str, **settings) -> None:
        self.store, self.clock, self.ticks = store, StandingClock(NOW), 0
        self.settings = Calendar(**{
            "url": server.url, "user": USER, "password": PASSWORD, "name": name, "lead_minutes": 15} | settings)
        self.entries = CalendarEntries(store)
        self.phone = CalendarProgram(server.port, f"/{USER}/{name.lower()}/", self.clock.now)
        self.restart()

    def restart(self) -> None:
        self.sync = CalendarSync(self.entries, self.settings, LONDON, self.clock, Random(1))

    def add(self, task: str, due: datetime = FRIDAY, rrule: str | None = None, said: str = "remind me") -> int:
        self.ticks += 1
        request = Request(str(self.ticks), f"{said} {task}", "cli", NOW)
        self.store.add_request(request)
        wall = due.replace(tzinfo=None)
        return self.store.add_reminders(request.id, [NewReminder(task, "x", wall, "Europe/London", rrule, due)])[0].id

    async def round(self) -> None:
        """A round that must go well; a minute passes before it, so that no two edits are of one instant."""
        self.clock.pass_by(minutes=1)
        assert await self.sync.once(), self.sync.state.said
        assert self.sync.state.state == "well", self.sync.state.said

    def move(self, id: int, due: datetime) -> None:
        wall = due.replace(tzinfo=None)
        rrule = self.store.reminder(id).rrule
        self.store.move(id, when="x", wall=wall, zone="Europe/London", rrule=rrule, due=due)

    def equal(self) -> None:
        assert not both_ends_differ(self.store, self.phone)


@pytest.fixture
async def home(tmp_path, server, request):
    with Store.open(tmp_path / "reminders.db") as store:
        yield Home(store, server, request.node.name[5:40])


# From here to there


async def test_a_calendar_is_made_and_a_reminder_is_put_into_it_as_a_to_do_and_an_event_as_an_event(home):
    home.add("buy milk")
    home.add("dentist", said="put on my calendar")
    await home.round()
    found = {c.summary.value: c for c in home.phone.components().values()}
    assert (found["buy milk"].name, found["buy milk"].due.value) == ("VTODO", FRIDAY)
    assert (found["dentist"].name, found["dentist"].dtstart.value) == ("VEVENT", FRIDAY)
    assert found["dentist"].valarm.trigger.value == -timedelta(minutes=15)
    home.equal()


async def test_what_is_moved_renamed_done_and_cancelled_here_is_so_there(home):
    moved, done, gone = home.add("moved"), home.add("done"), home.add("gone")
    await home.round()
    home.move(moved, FRIDAY + DAY)
    home.store.done([done], home.clock.now())
    home.store.cancel([gone])
    await home.round()
    found = {c.summary.value: c for c in home.phone.components().values()}
    assert found.keys() == {"moved", "done"}
    assert (found["moved"].due.value, found["moved"].sequence.value) == (FRIDAY + DAY, "1")
    assert (found["done"].status.value, found["done"].percent_complete.value) == ("COMPLETED", "100")


async def test_that_a_reminder_rang_or_was_snoozed_is_no_change_to_a_calendar(home):
    from assistant.outbox import Outbox
    from assistant.scheduler import advance

    once, daily = home.add("once"), home.add("daily", rrule="FREQ=DAILY")
    await home.round()
    before = home.phone.objects()
    home.clock.at = FRIDAY.astimezone(UTC) + timedelta(minutes=1)
    outbox = Outbox(home.store.db)
    outbox.fire([(r, advance(r, home.clock.now())) for r in outbox.due(home.clock.now(), 9)], home.clock.now())
    await home.round()
    for id in (once, daily):
        home.store.snooze(id, home.clock.now() + timedelta(minutes=10), home.clock.now())
    await home.round()
    assert home.phone.objects() == before
    home.move(once, FRIDAY + DAY)  # that is one
    await home.round()
    assert home.phone.find("once")[1].vtodo.due.value == FRIDAY + DAY


async def test_an_occurrence_that_was_moved_on_its_own_leaves_its_series_there(home):
    daily = home.add("pills", rrule="FREQ=DAILY")
    await home.round()
    r = home.store.reminder(daily)
    home.store.move(daily, when=r.when, wall=r.wall, zone=r.zone, rrule=r.rrule, due=FRIDAY + DAY)
    home.store.add_reminders(None, [
        NewReminder("pills", "x", datetime(2026, 3, 13, 18), "Europe/London", None, FRIDAY + timedelta(hours=3), daily)])
    await home.round()
    todos = list(home.phone.components().values())
    series = next(c for c in todos if "rrule" in c.contents)
    assert [at for dates in series.exdate_list for at in dates.value] == [FRIDAY]
    assert [c.due.value for c in todos if c is not series] == [FRIDAY + timedelta(hours=3)]
    home.equal()


# From there to here


async def test_what_is_renamed_moved_completed_and_deleted_there_is_so_here(home):
    ids = [home.add(task) for task in ("renamed", "moved", "completed", "deleted")]
    await home.round()
    home.clock.pass_by(minutes=1)
    home.phone.edit("renamed", summary="new name")
    home.phone.edit("moved", due=FRIDAY + DAY)
    home.phone.edit("completed", status="COMPLETED")
    home.phone.delete("deleted")
    await home.round()
    found = [home.store.reminder(id) for id in ids]
    assert [r.state for r in found] == ["pending", "pending", "done", "cancelled"]
    assert (found[0].task, found[1].due) == ("new name", FRIDAY + DAY)
    before = home.phone.objects()
    await home.round()
    assert home.phone.objects() == before  # nothing is said back
    home.equal()


async def test_what_is_made_there_becomes_a_reminder_once(home):
    home.add("ours")
    await home.round()
    home.phone.add("theirs-1", "event", summary="concert", dtstart=FRIDAY)
    home.phone.add("theirs-2", "todo", summary="taxes", due=FRIDAY, rrule="FREQ=YEARLY")
    home.phone.add("theirs-3", "event", summary="long ago", dtstart=FRIDAY - 99 * DAY)
    home.phone.add("theirs-4", "todo", summary="some day")
    await home.round()
    await home.round()
    home.restart()
    home.entries.set_token(None)  # all is read again
    await home.round()
    found = {r.task: r for r in home.store.active()}
    assert found.keys() == {"ours", "concert", "taxes"}
    assert (found["concert"].due, home.entries.kind_of(found["concert"].id)) == (FRIDAY, "event")
    assert (found["taxes"].rrule, found["taxes"].due) == ("FREQ=YEARLY", FRIDAY)
    assert len(home.phone.objects()) == 5
    home.equal()


async def test_what_was_added_to_an_object_there_stays_when_it_changes_here(home):
    id = home.add("dentist", said="put on my calendar")
    await home.round()
    home.phone.edit("dentist", location="High Street", description="bring the x-ray")
    await home.round()
    home.move(id, FRIDAY + DAY)
    await home.round()
    event = home.phone.find("dentist")[1].vevent
    assert (event.location.value, event.dtstart.value) == ("High Street", FRIDAY + DAY)


async def test_a_to_do_that_is_opened_again_there_is_set_again_here(home):
    id = home.add("buy milk")
    await home.round()
    home.store.done([id], home.clock.now())
    await home.round()
    home.clock.pass_by(minutes=1)
    path, calendar = home.phone.find("buy milk")
    for name in ("completed", "percent-complete"):
        main(calendar).contents.pop(name, None)
    home.phone.change(path, calendar, status="NEEDS-ACTION", due=FRIDAY + DAY)
    await home.round()
    [r] = home.store.active()
    assert (r.task, r.due) == ("buy milk", FRIDAY + DAY)
    assert len(home.phone.objects()) == 1
    home.equal()


async def test_what_is_over_may_be_renamed_there_and_is_not_named_back(home):
    todo, event = home.add("buy milk"), home.add("dentist", said="put on my calendar")
    await home.round()
    home.store.done([todo, event], home.clock.now())
    await home.round()
    home.clock.pass_by(minutes=1)
    home.phone.edit("buy milk", summary="bought milk")
    home.phone.edit("dentist", summary="Dr. Tooth")
    await home.round()
    await home.round()
    assert {c.summary.value for c in home.phone.components().values()} == {"bought milk", "Dr. Tooth"}
    assert [home.store.reminder(id).state for id in (todo, event)] == ["done", "done"]
    home.equal()


async def test_a_to_do_that_is_made_due_in_the_past_there_rings_now_and_an_event_is_over(home):
    todo, event = home.add("buy milk"), home.add("dentist", said="put on my calendar")
    await home.round()
    home.clock.pass_by(minutes=1)
    home.phone.edit("buy milk", due=NOW - DAY)
    home.phone.edit("dentist", dtstart=NOW - DAY)
    await home.round()
    assert (home.store.reminder(todo).state, home.store.reminder(todo).due) == ("pending", NOW - DAY)
    assert home.store.reminder(event).state == "done"
    home.equal()


async def test_an_occurrence_that_is_left_out_there_does_not_ring_here(home):
    from assistant.outbox import Outbox
    from assistant.scheduler import advance

    daily = home.add("pills", rrule="FREQ=DAILY")
    await home.round()
    home.clock.pass_by(minutes=1)
    home.phone.edit("pills", exdate=[FRIDAY, FRIDAY + 2 * DAY])
    await home.round()
    assert home.store.reminder(daily).due == FRIDAY + DAY
    home.clock.at = (FRIDAY + DAY).astimezone(UTC)
    outbox = Outbox(home.store.db)
    outbox.fire([(r, advance(r, home.clock.now())) for r in outbox.due(home.clock.now(), 9)], home.clock.now())
    await home.round()
    assert home.store.reminder(daily).due == FRIDAY + 3 * DAY


async def test_an_occurrence_that_is_moved_there_becomes_a_reminder_beside_its_series(home):
    daily = home.add("pills", rrule="FREQ=DAILY")
    await home.round()
    home.clock.pass_by(minutes=1)
    path, calendar = home.phone.find("pills")
    one = calendar.add("vtodo")
    one.add("uid").value = main(calendar).uid.value
    one.add("summary").value = "pills, later"
    for name, at in (("recurrence-id", FRIDAY), ("due", FRIDAY + timedelta(hours=3))):
        one.add(name).value = at.astimezone(UTC).replace(tzinfo=None)
        one.contents[name][0].value = one.contents[name][0].value.replace(tzinfo=main(calendar).dtstart.value.tzinfo)
    home.phone.put(path, calendar)
    await home.round()
    await home.round()
    assert home.store.reminder(daily).due == FRIDAY + DAY
    assert {(r.task, r.due) for r in home.store.active()} == {
        ("pills", FRIDAY + DAY), ("pills, later", FRIDAY + timedelta(hours=3))}
    assert len(home.phone.objects()) == 2
    home.equal()


async def test_an_object_that_makes_no_sense_is_left_alone_and_stops_nothing(home, caplog):
    home.add("buy milk")
    await home.round()
    path, _ = home.phone.find("buy milk")
    home.phone.edit("buy milk", rrule="FREQ=SECONDLY")
    home.phone.add("fine", "todo", summary="fine", due=FRIDAY)
    with caplog.at_level(logging.WARNING):
        await home.round()
    assert "left alone" in caplog.text
    assert {r.task for r in home.store.active()} == {"buy milk", "fine"}
    assert "SECONDLY" in home.phone.objects()[path]


async def test_in_a_calendar_that_was_there_before_only_our_own_objects_are_touched(home):
    home.phone.call("MKCALENDAR", home.phone.path, f"""<c:mkcalendar xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">
        <d:set><d:prop><d:displayname>{home.settings.name}</d:displayname></d:prop></d:set></c:mkcalendar>""")
    home.phone.add("foreign", "event", summary="secret meeting", dtstart=FRIDAY)
    home.add("buy milk")
    await home.round()
    home.phone.edit("buy milk", summary="buy butter")
    home.phone.edit("secret meeting", dtstart=FRIDAY + DAY)
    await home.round()
    assert {r.task for r in home.store.active()} == {"buy butter"}
    assert {c.summary.value for c in home.phone.components().values()} == {"secret meeting", "buy butter"}


# Both at once, and neither


async def test_of_two_edits_the_later_one_wins_and_the_other_is_in_the_log(home, caplog):
    first, second = home.add("first"), home.add("second")
    await home.round()
    home.clock.pass_by(minutes=1)
    home.phone.edit("first", summary="first, theirs")
    home.store.move(second, when="x", wall=FRIDAY.replace(tzinfo=None), zone="Europe/London", rrule=None,
                    due=FRIDAY + 2 * DAY)
    await home.entries.notice_all(home.clock)
    home.clock.pass_by(minutes=1)
    home.move(first, FRIDAY + DAY)
    home.phone.edit("second", due=FRIDAY + 3 * DAY)
    with caplog.at_level(logging.WARNING):
        await home.round()
    assert (home.store.reminder(first).task, home.store.reminder(first).due) == ("first", FRIDAY + DAY)
    assert home.store.reminder(second).due == FRIDAY + 3 * DAY
    others = {(r.kept, r.other_summary, r.other_start) for r in caplog.records if hasattr(r, "kept")}
    assert others == {("ours", "first, theirs", FRIDAY.isoformat()),
                      ("theirs", "second", (FRIDAY + 2 * DAY).isoformat())}
    home.equal()


async def test_what_is_deleted_there_and_changed_here_is_made_there_again(home):
    id = home.add("buy milk")
    await home.round()
    home.phone.delete("buy milk")
    home.move(id, FRIDAY + DAY)
    await home.round()
    assert home.store.reminder(id).state == "pending"
    assert home.phone.find("buy milk")[1].vtodo.due.value == FRIDAY + DAY
    home.equal()


async def test_a_server_that_is_away_is_told_of_once_and_nothing_is_lost_or_doubled(tmp_path, caplog):
    with Radicale(tmp_path / "r") as server, Store.open(tmp_path / "reminders.db") as store:
        home = Home(store, server, "away")
        kept, gone = home.add("kept"), home.add("gone")
        await home.round()
        server.kill()
        home.move(kept, FRIDAY + DAY)
        home.store.cancel([gone])
        home.add("new")
        with caplog.at_level(logging.INFO):
            assert not await home.sync.once()
            assert not await home.sync.once()
        assert [r.getMessage().partition(":")[0] for r in caplog.records] == ["the calendar"]
        assert "cannot be reached" in home.sync.state.said
        home.restart()  # and the daemon, too
        server.start()
        await home.round()
        assert {c.summary.value for c in home.phone.components().values()} == {"kept", "new"}
        home.equal()


async def test_a_round_that_was_killed_between_writing_and_noting_it_doubles_nothing(home):
    id = home.add("buy milk")
    await home.round()
    home.store.db.execute("UPDATE calendar_entries SET pushed = NULL")
    home.store.db.execute("DELETE FROM calendar_objects")  # as if it had ended right after the server took it
    home.store.db.execute("UPDATE calendar_state SET token = NULL")
    home.restart()
    await home.round()
    assert (len(home.phone.objects()), len(home.store.active()), home.entries.waiting()) == (1, 1, 0)
    home.move(id, FRIDAY + DAY)
    await home.round()
    home.equal()


async def test_a_calendar_that_was_deleted_or_emptied_is_filled_again(home):
    for n in range(4):
        home.add(f"task {n}")
    await home.round()
    home.phone.call("DELETE", home.phone.path)
    await home.round()
    assert len(home.phone.objects()) == 4
    for n in range(4):
        home.phone.delete(f"task {n}")
    home.entries.set_token(None)
    await home.round()
    assert len(home.phone.objects()) == 4
    assert len(home.store.active()) == 4


async def test_a_wrong_password_is_told_with_what_to_do(home, server):
    home.settings = Calendar(url=server.url, user=USER, password="wrong", name="x")
    home.restart()
    assert not await home.sync.once()
    assert "ASSISTANT_CALENDAR__PASSWORD" in home.sync.state.said


async def test_a_server_that_knows_no_tokens_is_read_by_its_etags(home, server):
    def refuse(method: str, body: bytes) -> bool:
        return b"sync-collection" in body

    async with between(server.port, refuse) as port:
        home.settings = home.settings.model_copy(update={"url": f"http://127.0.0.1:{port}/"})
        home.restart()
        kept, gone = home.add("kept"), home.add("gone")
        await home.round()
        assert home.entries.collection()[2] is None
        home.phone.edit("kept", due=FRIDAY + DAY)
        home.phone.delete("gone")
        await home.round()
        assert (home.store.reminder(kept).due, home.store.reminder(gone).state) == (FRIDAY + DAY, "cancelled")


async def test_what_changes_there_while_a_round_goes_on_is_not_written_over(home, server):
    id = home.add("buy milk")
    await home.round()

    def edit_there(method: str, body: bytes) -> bool:
        if method == "PUT" and not edited:
            edited.append(True)
            home.clock.pass_by(minutes=1)
            home.phone.edit("buy milk", summary="buy butter")
        return False

    edited = []
    home.move(id, FRIDAY + DAY)
    async with between(server.port, edit_there) as port:
        home.settings = home.settings.model_copy(update={"url": f"http://127.0.0.1:{port}{home.phone.path}"})
        home.store.db.execute("UPDATE calendar_state SET collection = ?", (home.settings.url,))
        home.restart()
        await home.round()
    assert edited
    assert home.store.reminder(id).task == "buy butter"  # the later edit
    home.equal()


@asynccontextmanager
async def between(port: int, refuses: Callable[[str, bytes], bool]):
    """A proxy in front of the server, that refuses what it is told to; its port."""
    import aiohttp
    from aiohttp import web

    async with aiohttp.ClientSession() as session:

        async def forward(request: web.Request) -> web.Response:
            body = await request.read()
            if await asyncio.to_thread(refuses, request.method, body):
                return web.Response(status=501)
            headers = {k: v for k, v in request.headers.items() if k not in ("Host", "Content-Length")}
            url = f"http://127.0.0.1:{port}{request.raw_path}"
            async with session.request(request.method, url, data=body, headers=headers) as answer:
                kept = {k: v for k, v in answer.headers.items() if k in ("ETag", "Content-Type")}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


async def test_rounds_come_later_and_later_while_the_server_is_away_and_at_once_when_something_changes(home, server):
    pauses: asyncio.Queue[float] = asyncio.Queue()
    on = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        pauses.put_nowait(seconds)
        await on.acquire()

    away = home.settings.model_copy(update={"url": "http://127.0.0.1:9/"})  # the discard service, which nobody runs
    sync = CalendarSync(home.entries, away, LONDON, home.clock, Random(3), sleep)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(sync.run())
        told = []
        for _ in range(12):
            told.append(await pauses.get())
            on.release()
        running.cancel()
    for n, pause in enumerate(told):
        longest = min(FIRST_PAUSE * 2**n, LONGEST_PAUSE)
        assert longest / 2 <= pause <= longest
    sync = CalendarSync(home.entries, home.settings, LONDON, home.clock, Random(3), sleep)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(sync.run())
        while not pauses.empty():
            pauses.get_nowait()
        assert await pauses.get() == home.settings.every_seconds
        home.add("buy milk")
        sync.wake()
        assert await pauses.get() == home.settings.every_seconds
        running.cancel()
    assert len(home.phone.objects()) == 1


async def test_random_edits_on_both_sides_with_outages_between_end_equal_and_nothing_is_doubled(tmp_path):
    with Radicale(tmp_path / "r") as server, Store.open(tmp_path / "reminders.db") as store:
        report = await edits(store, server, count=20, seed=8)
    assert report.faults == []
    assert report.edits == 20
