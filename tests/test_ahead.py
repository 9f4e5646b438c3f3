"""What comes due while the laptop sleeps rings on the phone all the same, and never there as well as here."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from assistant.ahead import AFTER, MOST_COPIES, MOST_OF_ONE
from assistant.calendar_entries import CalendarEntries
from assistant.delivery import Delivery
from assistant.over_ntfy import OverNtfy
from assistant.quiet import QuietHours
from assistant.sections import NtfyPhone
from assistant.store import NewReminder
from tests.fakes import StandingClock
from tests.nights import POLICY, Laptop, Screen, nights
from tests.ntfy_server import NtfyServer
from tests.test_delivery import store as store
from tests.test_delivery import until

NOW = datetime(2026, 3, 12, 21, tzinfo=UTC)
DUE = NOW + timedelta(hours=2)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class World:
    """A laptop, its screen, an ntfy server, and the clock of them all."""

    def __init__(self, folder, server: NtfyServer, clock: StandingClock, **more) -> None:
        self.server, self.clock, self.screen = server, clock, Screen()
        self.laptop = Laptop(folder, clock, server, self.screen, **more)
        self.laptop.start()

    async def at(self, instant: datetime, asleep: bool = False) -> None:
        self.clock.at = instant
        self.server.deliver()
        if not asleep:
            await self.laptop.go_on()

    @property
    def phone(self) -> list[datetime]:
        return [told.at for told in self.server.rings]

    @property
    def there(self) -> list[tuple[str, datetime]]:
        """What is at the server, and when it will ring."""
        return [(told.body["message"], told.at) for told in self.server.scheduled]


@pytest.fixture
async def world(tmp_path, request):
    clock = StandingClock(NOW)
    more = dict(getattr(request, "param", {}))
    async with NtfyServer(clock, old=more.pop("old", False)) as server:
        world = World(tmp_path, server, clock, **more)
        yield world
        await world.laptop.kill()


async def test_what_is_due_in_the_next_hours_is_handed_over_to_ring_a_little_after_its_time(world):
    world.laptop.set("soon", DUE)
    world.laptop.set("within the hours", NOW + 12 * HOUR)
    world.laptop.set("beyond them", NOW + 12 * HOUR + SECOND)
    await world.at(NOW)
    assert world.there == [("soon", DUE + AFTER), ("within the hours", NOW + 12 * HOUR + AFTER)]
    await world.at(NOW + MINUTE)
    assert [text for text, _ in world.there] == ["soon", "within the hours", "beyond them"]
    assert world.server.requests.count("POST") == 3, "what is there is not sent again"


async def test_a_laptop_that_is_awake_rings_by_itself_and_the_copy_does_not(world):
    world.laptop.set("call mum", DUE)
    await world.at(NOW)
    await world.at(DUE)
    await world.at(DUE + AFTER + MINUTE)
    assert [at for at, _ in world.screen.rings] == world.phone == [DUE]


async def test_a_laptop_that_sleeps_is_stood_in_for_and_does_not_ring_again_when_it_wakes(world, caplog):
    world.laptop.set("call mum", DUE)
    await world.at(NOW)
    await world.at(DUE + AFTER, asleep=True)
    await world.at(DUE + 8 * HOUR)
    assert (world.phone, world.screen.rings) == ([DUE + AFTER], [])
    rows = world.laptop.store.db.rows("SELECT notifier, ok, at FROM outcomes ORDER BY notifier")
    assert [tuple(row)[:2] for row in rows] == [("desktop", 1), ("ntfy", 1)]


async def test_a_laptop_that_sleeps_for_days_does_not_ring_again_what_was_rung_meanwhile(world):
    world.laptop.set("call mum", DUE)
    await world.at(NOW)
    await world.at(DUE + AFTER, asleep=True)
    await world.at(DUE + 72 * HOUR)
    await world.at(DUE + 72 * HOUR + MINUTE)
    assert (world.phone, world.screen.rings) == ([DUE + AFTER], [])
    world.laptop.store.done([1], world.clock.now())
    await world.at(DUE + 73 * HOUR)
    assert world.laptop.store.db.value("SELECT count(*) FROM copies") == 0


@pytest.mark.parametrize("world", [{"policy": replace(POLICY, repeats=1)}], indirect=True, ids=["with one repeat"])
async def test_what_rang_on_the_phone_insists_when_the_laptop_wakes(world):
    world.laptop.set("call mum", DUE)
    await world.at(NOW)
    await world.at(DUE + AFTER, asleep=True)
    await world.at(DUE + 8 * HOUR)
    assert [at - DUE for at, _ in world.screen.rings] == [8 * HOUR]
    assert world.server.rings[-1].body["message"] == "Again: call mum"


async def test_a_laptop_that_wakes_just_before_its_copy_rings_in_its_place(world):
    world.laptop.set("call mum", DUE)
    await world.at(NOW)
    await world.at(DUE + AFTER - SECOND)
    await world.at(DUE + AFTER + MINUTE)
    assert world.phone == [DUE + AFTER - SECOND]


@pytest.mark.parametrize(("act", "left"), [
    pytest.param(lambda store, id: store.cancel([id]), [], id="cancelled"),
    pytest.param(lambda store, id: store.done([id], NOW), [], id="done"),
    pytest.param(lambda store, id: store.snooze(id, DUE + HOUR, NOW), [("x", DUE + HOUR + AFTER)], id="snoozed"),
    pytest.param(
        lambda store, id: store.move(
            id, when="x", wall=(DUE - HOUR).replace(tzinfo=None), zone="UTC", rrule=None, due=DUE - HOUR),
        [("x", DUE - HOUR + AFTER)], id="moved"),
])  # fmt: skip
async def test_what_is_not_to_ring_any_more_is_withdrawn(world, act, left):
    id = world.laptop.set("x", DUE)
    await world.at(NOW)
    act(world.laptop.store, id)
    await world.at(NOW + SECOND)
    assert world.there == left


async def test_what_has_another_name_by_now_is_handed_over_anew_in_its_place(world):
    id = world.laptop.set("call mum", DUE)
    await world.at(NOW)
    world.laptop.store.db.execute("UPDATE reminders SET task = 'call dad' WHERE id = ?", (id,))
    await world.at(NOW + SECOND)
    assert world.there == [("call dad", DUE + AFTER)]


async def test_what_was_withdrawn_in_vain_is_withdrawn_as_soon_as_there_is_a_network(world):
    id = world.laptop.set("x", DUE)
    await world.at(NOW)
    world.server.down = True
    world.laptop.store.cancel([id])
    await world.at(NOW + SECOND)
    assert world.there
    world.server.down = False
    await world.at(NOW + MINUTE)
    assert not world.there


async def test_of_what_recurs_the_next_few_are_handed_over_and_follow_when_it_is_cancelled(world):
    id = world.laptop.set("stretch", DUE, "FREQ=HOURLY")
    await world.at(NOW)
    assert [at for _, at in world.there] == [DUE + n * HOUR + AFTER for n in range(MOST_OF_ONE)]
    await world.at(DUE + 2 * HOUR + MINUTE, asleep=True)
    await world.at(DUE + 2 * HOUR + 2 * MINUTE)
    assert len(world.phone) == MOST_OF_ONE and world.screen.rings == []
    world.laptop.store.cancel([id])
    await world.at(DUE + 2 * HOUR + 3 * MINUTE)
    assert not world.there


LEAD = pytest.mark.parametrize("world", [{"lead": 15 * MINUTE}], indirect=True, ids=["a lead of 15 minutes"])


def event(world: World, task: str, at: datetime) -> int:
    id = world.laptop.set(task, at)
    CalendarEntries(world.laptop.store).set_kind(id, "event", NOW)
    return id


@LEAD
async def test_an_event_rings_on_the_phone_before_it_begins_as_well(world):
    event(world, "dentist", DUE)
    await world.at(NOW)
    assert world.there == [("dentist, at 23:00", DUE - 15 * MINUTE + AFTER), ("dentist", DUE + AFTER)]
    await world.at(DUE - 14 * MINUTE, asleep=True)
    await world.at(DUE - 10 * MINUTE)
    assert (world.phone, world.screen.rings) == ([DUE - 15 * MINUTE + AFTER], [])
    await world.at(DUE)
    assert [at for at, _ in world.screen.rings] == [DUE] == world.phone[1:]


@LEAD
async def test_ahead_of_an_event_a_laptop_that_is_awake_rings_by_itself_and_who_is_done_is_left_alone(world):
    id = event(world, "dentist", DUE)
    await world.at(NOW)
    await world.at(DUE - 15 * MINUTE)
    assert [at for at, _ in world.screen.rings] == world.phone == [DUE - 15 * MINUTE]
    assert world.server.rings[0].body["message"] == "dentist, at 23:00"
    world.laptop.store.done([id], world.clock.now())
    await world.at(DUE - 14 * MINUTE)
    await world.at(DUE + HOUR)
    assert len(world.phone) == 1 and not world.there


async def test_of_very_many_the_soonest_are_handed_over(world):
    for n in range(2 * MOST_COPIES):
        world.laptop.set(f"task {n}", DUE + n * MINUTE)
    await world.at(NOW)
    assert [text for text, _ in world.there] == [f"task {n}" for n in range(MOST_COPIES)]


async def test_what_is_due_in_a_moment_is_not_handed_over_any_more(world):
    world.laptop.set("x", NOW + 15 * SECOND)
    await world.at(NOW)
    assert not world.there and not world.server.requests


@pytest.mark.parametrize("fault", ["away", "lost", "429", "500_late"])
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice in a row"])
async def test_whatever_goes_wrong_as_it_rings_the_phone_rings_within_the_minute(world, fault, times):
    world.laptop.set("x", DUE)
    await world.at(NOW)
    world.server.faults = [fault] * times
    for n in range(0, 90, 5):
        await world.at(DUE + n * SECOND)
    assert 1 <= len(world.phone) <= 2 and world.phone[-1] <= DUE + MINUTE
    assert [at for at, _ in world.screen.rings] == [DUE]


@pytest.mark.parametrize("second", ["429", "away", "403"])
async def test_a_copy_that_a_fault_of_the_server_may_have_destroyed_is_not_relied_on(world, second):
    world.laptop.set("x", DUE)
    await world.at(NOW)
    world.server.faults = ["500_late", second]
    for n in range(0, 60, 5):
        await world.at(DUE + n * SECOND)
    assert len(world.phone) == 1


@pytest.mark.parametrize("fault", ["dies", "dies_late"])
async def test_killed_as_it_hands_over_it_hands_over_again_and_one_copy_is_there(world, fault):
    world.laptop.set("x", DUE)
    await world.at(NOW)
    world.laptop.store.cancel([1])
    world.laptop.set("y", DUE)
    world.server.faults = ["", fault]
    await world.at(NOW + SECOND)
    assert not world.laptop.lives
    world.laptop.start()
    await world.at(NOW + 4 * SECOND)
    assert world.there == [("y", DUE + AFTER)]


@pytest.mark.parametrize(("fault", "rings"), [("dies_late", 0), ("dies", 1)], ids=["it was there", "it was not"])
async def test_of_what_it_does_not_know_it_asks_the_server_before_it_rings(world, fault, rings):
    await world.at(NOW)
    world.laptop.set("x", DUE)
    world.server.faults = ["", fault]  # the first asks whether messages can be taken back
    await world.at(NOW + SECOND)
    await world.at(DUE + AFTER, asleep=True)
    world.laptop.start()
    await world.at(DUE + 8 * HOUR)
    assert len(world.screen.rings) == rings and len(world.phone) == 1


async def test_a_server_that_does_not_tell_what_has_rung_holds_up_no_other(world, caplog):
    await world.at(NOW)
    world.laptop.set("x", DUE)
    world.server.faults = ["", "dies"]
    await world.at(NOW + SECOND)
    world.laptop.start()
    world.laptop.set("y", DUE + 9 * HOUR)
    world.server.faults = ["403"]
    await world.at(DUE + 8 * HOUR)
    assert [task for _, task in world.screen.rings] == ["x"] and world.there == [("y", DUE + 9 * HOUR + AFTER)]
    assert "not to be found out" in caplog.text


async def test_a_message_that_the_server_refuses_holds_up_no_other(world, caplog):
    world.laptop.set("refused", DUE)
    world.laptop.set("taken", DUE + MINUTE)
    world.server.faults = ["", "400"]
    await world.at(NOW)
    assert [text for text, _ in world.there] == ["taken"]
    assert "actions invalid" in caplog.text


async def test_after_a_failure_it_waits_longer_and_says_so_once(world, caplog):
    caplog.set_level(logging.INFO)
    world.laptop.set("x", DUE)
    world.server.down = True
    waits = [await world.laptop.ahead.look() for _ in range(8)]
    assert waits == [20, 30, 40, 50, 60, 60, 60, 60]
    world.server.down = False
    assert await world.laptop.ahead.look() == 10
    said = [r.message for r in caplog.records if r.name == "assistant.ahead"]
    assert [said[0].startswith("reminders are not handed over ahead for now"), said[1:]] == [
        True, ["the ntfy server takes reminders ahead again"]]


@pytest.mark.parametrize("world", [{"old": True}], indirect=True, ids=["before 2.16"])
async def test_a_server_that_cannot_take_back_what_it_has_is_given_nothing_and_is_asked_again(world, caplog):
    world.laptop.set("x", DUE)
    await world.at(NOW)
    await world.at(NOW + MINUTE)
    assert not world.there and world.server.requests == ["DELETE"]
    assert "update it to 2.16" in caplog.text
    world.server.old = False
    await world.at(NOW + HOUR)
    assert world.there


@pytest.mark.parametrize("world", [
    {"policy": replace(POLICY, repeats=1, repeat_after=MINUTE, escalate=(("desktop",), ("ntfy",)))},
], indirect=True, ids=["the screen first"])  # fmt: skip
async def test_where_the_phone_comes_second_the_copy_is_withdrawn_once_the_screen_has_rung(world):
    world.laptop.set("x", DUE)
    await world.at(NOW)
    await world.at(DUE)
    await world.at(DUE + 10 * SECOND)
    assert (len(world.screen.rings), world.there, world.phone) == (1, [], [])
    await world.at(DUE + 60 * SECOND)
    assert world.phone == [DUE + 60 * SECOND] and len(world.screen.rings) == 2


@pytest.mark.parametrize(("world", "loud"), [
    ({"quiet": QuietHours(time(22), time(7), ZoneInfo("UTC"))}, False),
    ({"quiet": QuietHours(time(22), time(7), ZoneInfo("UTC"))}, True),
], indirect=["world"], ids=["as usual", "even at night"])  # fmt: skip
async def test_in_quiet_hours_a_copy_makes_a_sound_only_if_it_was_asked_for_even_at_night(world, loud):
    world.laptop.set("x", DUE, even_at_night=loud)
    await world.at(NOW)
    assert world.server.scheduled[0].body["priority"] == (4 if loud else 2)


async def test_the_task_looks_again_at_once_when_reminders_change(store):
    clock = StandingClock(NOW)
    async with NtfyServer(clock) as server:
        phone = OverNtfy(NtfyPhone(url=server.url, topic="phone"), store, clock)
        delivery = Delivery(store, [phone.notifier], clock, POLICY)
        async with asyncio.TaskGroup() as tasks:
            running = phone.begin(tasks, delivery)
            await asyncio.sleep(0)  # it has looked, and waits
            store.add_reminders(None, [NewReminder("x", "x", DUE.replace(tzinfo=None), "UTC", None, DUE)])
            phone.changed()
            await until(lambda: server.scheduled)
            for task in running:
                task.cancel()
    assert server.scheduled[0].at == DUE + AFTER


async def test_in_twenty_nights_every_reminder_rings_and_nearly_all_of_them_once(caplog):
    caplog.set_level(logging.ERROR)
    tally = await nights(20, seed=5)
    assert tally.wrong == [] and tally.rings[0] == 0, str(tally)
    assert tally.asleep >= 10 and tally.kills >= 1 and tally.once >= 0.95, str(tally)
