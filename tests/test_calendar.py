"""The calendar of the running assistant: the address to subscribe to, events that ring ahead, and its commands."""

import asyncio
import re
import subprocess
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import vobject
from aiohttp import web

from assistant import aloud
from assistant.calendar_commands import sentence
from assistant.calendars import Calendars
from assistant.delivery import text
from assistant.errors import AddressTaken, ConfigError
from assistant.guard import only_this_machine, speak_json_errors
from assistant.http_calendar import CalendarService, _is_here, for_others, secret, serving_others
from assistant.lead import ring_ahead
from assistant.listen import open_socket
from assistant.messages import Request
from assistant.notifiers import Notice
from assistant.outbox import Outbox
from assistant.scheduler import advance
from assistant.sections import Calendar
from assistant.store import NewReminder, Store
from assistant.when import Policy
from tests.fakes import StandingClock
from tests.process import ASSISTANT

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 11, 10, tzinfo=UTC)
FRIDAY = datetime(2026, 3, 13, 15, tzinfo=LONDON)
LEAD = timedelta(minutes=15)


class Assistant:
    """A store with its calendars, as the daemon has them; `woken` counts what it told the others."""

    def __init__(self, store: Store, **settings) -> None:
        self.store, self.clock, self.rings, self.changes = store, StandingClock(NOW), asyncio.Event(), 0
        self.outbox, self.looked = Outbox(store.db), asyncio.Event()
        self.calendars = Calendars(
            store, Calendar(**settings), Policy(), LONDON, self.clock, self.changed, self.rings.set, Random(1),
            self.sleep)

    async def sleep(self, seconds: float) -> None:
        """It has looked, and would look again after so long."""
        self.looked.set()
        await asyncio.Event().wait()

    def changed(self) -> None:
        self.changes += 1

    def add(self, text: str, task: str, due: datetime = FRIDAY, rrule: str | None = None) -> int:
        request = Request(text, text, "cli", NOW)
        self.store.add_request(request)
        new = NewReminder(task, "x", due.replace(tzinfo=None), "Europe/London", rrule, due)
        return self.store.add_reminders(request.id, [new])[0].id

    async def at(self, instant: datetime) -> list[tuple[str, datetime]]:
        """What rings anew at an instant."""
        self.clock.at = instant.astimezone(UTC)
        before = self.rung()
        due = self.outbox.due(self.clock.now(), 9)
        self.outbox.fire([(r, advance(r, self.clock.now())) for r in due], self.clock.now())
        await self.calendars.entries.notice_all(self.clock)
        ring_ahead(self.store, self.calendars.lead, self.clock)
        return [r for r in self.rung() if r not in before]

    def rung(self) -> list[tuple[str, datetime]]:
        return [(d.task, d.due.astimezone(LONDON)) for d in self.outbox.to_ring("ear", self.clock.now(), timedelta(1), 99)]


@pytest.fixture
def assistant(tmp_path):
    with Store.open(tmp_path / "reminders.db") as store:
        yield Assistant(store)


# An event rings ahead


async def test_an_event_rings_before_it_begins_and_when_it_begins_and_a_to_do_when_it_is_due(assistant):
    assistant.add("put the dentist on my calendar for friday at 3", "dentist")
    assistant.add("remind me to buy milk on friday at 3", "buy milk")
    await assistant.calendars.entries.notice_all(assistant.clock)
    assert await assistant.at(FRIDAY - LEAD - timedelta(seconds=1)) == []
    assert await assistant.at(FRIDAY - LEAD) == [("dentist", FRIDAY - LEAD)]
    assert await assistant.at(FRIDAY - timedelta(minutes=3)) == []
    assert sorted(await assistant.at(FRIDAY)) == [("buy milk", FRIDAY), ("dentist", FRIDAY)]


async def test_what_rings_ahead_says_when_it_begins_and_what_rings_then_need_not(assistant):
    assistant.add("put the dentist on my calendar for friday at 3", "dentist")
    await assistant.calendars.entries.notice_all(assistant.clock)
    said = []
    for instant in (FRIDAY - LEAD, FRIDAY):
        await assistant.at(instant)
        *_, latest = assistant.outbox.to_ring("ear", assistant.clock.now(), timedelta(1), 99)
        line = text([latest], assistant.clock.now(), timedelta(minutes=1))
        said.append((line, aloud.notice(Notice((latest,), line, assistant.clock.now()))))
    assert said == [("dentist, at 15:00", "Dentist, at three in the afternoon."), ("dentist", "Reminder: dentist.")]


async def test_an_event_that_is_set_when_less_is_left_rings_when_it_begins(assistant):
    assistant.clock.at = (FRIDAY - timedelta(minutes=5)).astimezone(UTC)
    assistant.add("schedule a call with Bo in five minutes", "call with Bo")
    assert await assistant.at(FRIDAY - timedelta(minutes=4)) == []
    assert await assistant.at(FRIDAY) == [("call with Bo", FRIDAY)]


async def test_a_machine_that_slept_rings_ahead_late_but_not_after_the_beginning(assistant):
    assistant.add("put the dentist on my calendar", "dentist")
    assistant.add("put lunch on my calendar", "lunch", FRIDAY - timedelta(hours=2))
    await assistant.calendars.entries.notice_all(assistant.clock)
    found = await assistant.at(FRIDAY - timedelta(minutes=1))
    assert sorted(found) == [("dentist", FRIDAY - LEAD), ("lunch", FRIDAY - timedelta(hours=2))]


async def test_a_recurring_event_rings_ahead_of_each_occurrence(assistant):
    assistant.add("team meeting every day at 3", "team meeting", rrule="FREQ=DAILY")
    await assistant.calendars.entries.notice_all(assistant.clock)
    for day in range(3):
        begins = FRIDAY + timedelta(days=day)
        assert await assistant.at(begins - LEAD) == [("team meeting", begins - LEAD)]
        assert await assistant.at(begins) == [("team meeting", begins)]


async def test_an_event_that_was_acknowledged_or_snoozed_before_it_begins_does_not_ring_at_its_beginning(assistant):
    ids = [assistant.add(f"put {task} on my calendar", task) for task in ("done", "snoozed")]
    await assistant.calendars.entries.notice_all(assistant.clock)
    assert len(await assistant.at(FRIDAY - LEAD)) == 2
    assistant.store.done(ids[:1], assistant.clock.now())
    assistant.store.snooze(ids[1], FRIDAY + timedelta(minutes=5), assistant.clock.now())
    assert await assistant.at(FRIDAY) == []
    [item] = [item for item in await assistant.calendars.ahead() if item.summary == "snoozed"]
    assert item.start == FRIDAY  # the calendar goes on showing when it is
    assert await assistant.at(FRIDAY + timedelta(minutes=5)) == [("snoozed", FRIDAY + timedelta(minutes=5))]


async def test_with_a_lead_of_nothing_an_event_rings_when_it_begins(tmp_path):
    with Store.open(tmp_path / "reminders.db") as store:
        assistant = Assistant(store, lead_minutes=0)
        assistant.add("put the dentist on my calendar", "dentist")
        assert await assistant.at(FRIDAY - timedelta(seconds=1)) == []
        assert await assistant.at(FRIDAY) == [("dentist", FRIDAY)]


async def test_the_task_notices_what_changes_and_rings_ahead_when_it_is_woken(assistant):
    assistant.add("put the dentist on my calendar", "dentist")
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(assistant.calendars.run())
        await assistant.looked.wait()
        assistant.clock.at = (FRIDAY - LEAD).astimezone(UTC)
        assistant.calendars.wake()
        await assistant.rings.wait()
        running.cancel()
    assert assistant.rung() == [("dentist", FRIDAY - LEAD)]


async def test_reminders_of_before_the_calendar_are_in_it_once_they_ring_again(assistant):
    id = assistant.add("remind me to buy milk", "buy milk")
    assistant.store.db.execute("DELETE FROM calendar_entries")
    assistant.store.move(id, when="x", wall=FRIDAY.replace(tzinfo=None), zone="Europe/London", rrule=None, due=FRIDAY)
    assert [item.summary for item in await assistant.calendars.ahead()] == ["buy milk"]


# Subscribing


@pytest.mark.parametrize("peer, here", [
    ("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.168.1.5", False), ("fe80::1%eth0", False), ("", False),
])  # fmt: skip
def test_only_this_machine_reads_the_address_without_a_secret(peer, here):
    assert _is_here(peer) == here


@pytest.fixture
async def url(assistant):
    app = web.Application(middlewares=[speak_json_errors, only_this_machine])
    app.add_routes(CalendarService(assistant.calendars).routes())
    assistant.calendars.address = "http://x/calendar/s.ics"
    runner = web.AppRunner(app)
    await runner.setup()
    with open_socket("127.0.0.1", 0) as socket:
        await web.SockSite(runner, socket).start()
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
        await runner.cleanup()


async def test_what_lies_ahead_is_served_and_not_again_until_it_changes(assistant, url):
    id = assistant.add("remind me to buy milk", "buy milk")
    assistant.add("put the dentist on my calendar", "dentist")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/calendar.ics") as first:
            assert (first.status, first.content_type) == (200, "text/calendar")
            calendar, etag = vobject.readOne(await first.text()), first.headers["ETag"]
        assert calendar.vtodo.summary.value == "buy milk"
        assert (calendar.vevent.summary.value, calendar.vevent.valarm.trigger.value) == ("dentist", -LEAD)
        for tag, status in ((etag, 304), (f'"other", {etag}', 304), (f"W/{etag}", 304), ('"other"', 200)):
            async with session.get(f"{url}/calendar.ics", headers={"If-None-Match": tag}) as again:
                assert (again.status, again.headers["ETag"]) == (status, etag)
        assistant.store.cancel([id])
        async with session.get(f"{url}/calendar.ics", headers={"If-None-Match": etag}) as changed:
            assert changed.status == 200
            assert "buy milk" not in await changed.text()


async def test_programs_that_show_no_to_dos_get_them_as_events(assistant, url):
    assistant.add("remind me to buy milk", "buy milk")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/calendar.ics?todos=events") as answer:
            assert vobject.readOne(await answer.text()).vevent.dtstart.value == FRIDAY
        async with session.get(f"{url}/calendar.ics?todos=none") as answer:
            assert answer.status == 400


async def test_a_reminder_is_made_an_event_and_a_to_do_again(assistant, url):
    id = assistant.add("remind me to see the dentist", "see the dentist")
    async with aiohttp.ClientSession() as session:
        for kind, said in (("event", "an event"), ("todo", "a to-do")):
            async with session.put(f"{url}/calendar/{id}", json={"kind": kind}) as answer:
                assert (await answer.json())["reply"] == f'OK: "see the dentist" is {said}.'
            [item] = await assistant.calendars.ahead()
            assert item.kind == kind
        async with session.put(f"{url}/calendar/{id}", json={"kind": "party"}) as answer:
            assert answer.status == 400
        async with session.put(f"{url}/calendar/99", json={"kind": "event"}) as answer:
            assert answer.status == 404


async def test_other_machines_have_the_secret_address_and_nothing_else(assistant, tmp_path, caplog):
    assistant.add("remind me to buy milk", "buy milk")
    known = secret(tmp_path)
    assert secret(tmp_path) == known
    assert (tmp_path / "calendar-address").stat().st_mode & 0o777 == 0o600
    with open_socket("127.0.0.1", 0) as socket:
        async with serving_others(assistant.calendars, socket, known) as address, aiohttp.ClientSession() as session:
            assert address.endswith(f"/calendar/{known}.ics")
            other = {"Host": "laptop.example.org"}
            async with session.get(address, headers=other) as answer:
                assert vobject.readOne(await answer.text()).vtodo.summary.value == "buy milk"
            root = address.partition("/calendar")[0]
            for path in (f"/calendar/{known[:-1]}.ics", f"/calendar/{known}x.ics", "/calendar.ics", "/calendar",
                         "/reminders", "/health", "/", f"/calendar/{known}.ics/", "/calendar/%F0%9F%98%80.ics"):
                async with session.get(root + path) as answer:
                    assert answer.status == 404
                    assert "milk" not in await answer.text()
            async with session.post(address) as answer:
                assert answer.status == 405
    assert known not in caplog.text


def test_a_secret_that_cannot_be_kept_is_told(tmp_path):
    (tmp_path / "calendar-address").mkdir()
    with pytest.raises(ConfigError, match="calendar-address"):
        secret(tmp_path)


async def test_a_port_that_is_taken_is_told_with_the_setting_of_another(tmp_path, assistant):
    with open_socket("127.0.0.1", 0) as taken:
        settings = Calendar(host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(AddressTaken, match=r"\[calendar\] port"):
            async with for_others(settings, tmp_path, assistant.calendars):
                pass


# Commands


@pytest.mark.parametrize("caldav, said", [
    pytest.param(None, "No calendar of yours is kept equal: name one in [calendar] url.", id="none"),
    pytest.param({"url": "https://x/", "state": "well", "said": "", "at": "noon", "waiting": 0},
                 "https://x/ is kept equal, last at noon.", id="well"),
    pytest.param({"url": "https://x/", "state": "failing", "said": "It is away: wait.", "at": None, "waiting": 2},
                 "https://x/: It is away: wait. 2 changes wait.", id="failing"),
    pytest.param({"url": "https://x/", "state": "starting", "said": "", "at": None, "waiting": 1},
                 "https://x/ has not been spoken to yet. 1 change waits.", id="starting"),
])  # fmt: skip
def test_how_it_stands_is_told_in_words(caldav, said):
    assert sentence(caldav) == said


async def test_the_command_shows_the_addresses_and_makes_events(assistant, url):
    id = assistant.add("remind me to see the dentist", "see the dentist")

    async def run(*words: str) -> str:
        command = [*ASSISTANT, "calendar", *words, "--port", url.rpartition(":")[2]]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = await run()
    assert re.search(rf"{url}/calendar\.ics|http://localhost:\d+/calendar\.ics", shown)
    assert "http://x/calendar/s.ics" in shown
    assert await run("event", str(id)) == 'OK: "see the dentist" is an event.\n'
