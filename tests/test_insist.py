"""A reminder insists until it is done: by steps, as its channel wants, quietly at night; and what was missed is told."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from assistant import aloud
from assistant.delivery import DeliveryPolicy
from assistant.errors import ModelError
from assistant.insistence import Insistence, first_rings, insistence_of
from assistant.messages import Request
from assistant.migrations import MIGRATIONS
from assistant.missed import Missed, asks_for_missed
from assistant.outbox import Outbox
from assistant.pipeline import Pipeline
from assistant.quiet import QuietHours, even_at_night, without_night
from assistant.store import NewReminder, Store
from assistant.understand import as_json, understand_text
from assistant.when import Policy
from tests.fakes import Ear, ScriptedRewriter, StandingClock
from tests.test_delivery import IMPATIENT, MINUTE, NOW, Delivery, Random, asyncio, due, fire, outcomes, states, until
from tests.test_delivery import store as store

LONDON = ZoneInfo("Europe/London")
NIGHT = datetime(2026, 3, 12, 23, 30, tzinfo=UTC)
HOURS = QuietHours(time(22), time(7), LONDON)
USUAL = Insistence(5 * MINUTE, 2)


# Tables


@pytest.mark.parametrize(("steps", "names", "first"), [
    pytest.param([], ["log", "desktop"], {"log": 1, "desktop": 1}, id="no steps: all at once"),
    pytest.param([["desktop"], ["voice"], ["ntfy"]], ["desktop", "voice", "ntfy"],
                 {"desktop": 1, "voice": 2, "ntfy": 3}, id="one after the other"),
    pytest.param([["desktop", "voice"], ["ntfy"]], ["desktop", "voice", "ntfy"],
                 {"desktop": 1, "voice": 1, "ntfy": 2}, id="two in one step"),
    pytest.param([["desktop"], ["ntfy"]], ["log", "desktop", "command", "ntfy"],
                 {"log": 1, "desktop": 1, "command": 1, "ntfy": 2}, id="what no step names rings at once"),
    pytest.param([["desktop"], ["voice"], ["ntfy"]], ["log", "ntfy"], {"log": 1, "ntfy": 1},
                 id="what is not there is not waited for"),
    pytest.param([["log"], ["voice"]], ["log", "voice"], {"log": 1, "voice": 1}, id="the log alone is no step"),
    pytest.param([["desktop"], ["desktop", "voice"]], ["desktop", "voice"], {"desktop": 1, "voice": 2},
                 id="named twice, it joins at its first step"),
])  # fmt: skip
def test_each_step_joins_at_its_ring(steps, names, first):
    assert first_rings(steps, names) == first


@pytest.mark.parametrize(("channel", "repeats"), [
    pytest.param("voice", 9, id="a channel of its own"),
    pytest.param("mqtt:kitchen", 7, id="a device that is named"),
    pytest.param("mqtt:hall", 5, id="another device"),
    pytest.param("cli", 2, id="any other channel"),
    pytest.param(None, 2, id="nobody asked for it"),
])
def test_a_channel_insists_as_it_is_set_or_as_usual(channel, repeats):
    channels = {name: Insistence(MINUTE, n) for name, n in (("voice", 9), ("mqtt", 5), ("mqtt:kitchen", 7))}
    assert insistence_of(channel, USUAL, channels).repeats == repeats


@pytest.mark.parametrize(("at", "names", "quiet"), [
    pytest.param("21:59", ["desktop"], False, id="a minute before"),
    pytest.param("22:00", ["desktop"], True, id="as they begin"),
    pytest.param("03:00", ["log", "ntfy", "voice"], True, id="in the night"),
    pytest.param("06:59", ["desktop"], True, id="their last minute"),
    pytest.param("07:00", ["desktop"], False, id="as they end"),
    pytest.param("03:00", ["log", "voice"], False, id="where nothing could tell it silently"),
])
def test_quiet_hours(at, names, quiet):
    instant = datetime.combine(datetime(2026, 3, 12), time.fromisoformat(at), LONDON)
    assert HOURS.hold(instant, names) is quiet


@pytest.mark.parametrize(("said", "rest"), [
    ("remind me to take my pills at 3 am, even at night", "remind me to take my pills at 3 am"),
    ("even at night remind me to call Zbigniew at eleven", "remind me to call Zbigniew at eleven"),
    ("wake me at 4 and even in the middle of the night please", "wake me at 4 please"),
    ("remind me at 23:00 even if I'm asleep to check the oven", "remind me at 23:00 to check the oven"),
    ("call the vet at 5 even during my quiet hours", "call the vet at 5"),
    ("check on the baby at 2 even if it's late", "check on the baby at 2"),
    ("check on the baby at 2 even if I’m asleep", "check on the baby at 2"),
    ("Even at night", "Even at night"),
], ids=lambda text: text[:40])
def test_even_at_night_is_heard_and_is_no_part_of_the_task(said, rest):
    assert even_at_night(said) and without_night(said) == rest


@pytest.mark.parametrize("said", [
    "remind me to water the plants at night", "book two nights in Rome even if it's expensive", "call mum tonight",
    "water them at 8 and also at night", "even out the lawn at 5", "say good night to the kids at 8", "evening shift at night school tomorrow",
])
def test_other_nights_are_left_alone(said):
    assert not even_at_night(said) and without_night(said) == said


@pytest.mark.parametrize("said", [
    "what did I miss?", "What have I missed while I was away", "did i miss anything",
    "hey, what did I miss today", "/list missed", "list my missed reminders", "show me the reminders I missed", "have I missed any reminders?",
])
def test_who_asks_what_was_missed_is_understood(said):
    assert asks_for_missed(said)


@pytest.mark.parametrize("said", [
    "remind me what I missed in class tomorrow", "I miss you", "list my reminders", "cancel the missed call from mum",
    "what did I miss on the shopping list, remind me at 5", "call the people I missed",
])
def test_who_speaks_of_missing_something_else_is_not(said):
    assert not asks_for_missed(said)


# Delivery


class Ring:
    """A store whose deliveries are rung by ears, on a clock that is moved."""

    def __init__(self, store, names, at=NOW, policy=IMPATIENT, quiet=None) -> None:
        self.store, self.clock, self.ears = store, StandingClock(at), {name: Ear(name) for name in names}
        self.delivery = Delivery(store, list(self.ears.values()), self.clock, policy, Random(7), quiet)

    async def __aenter__(self):
        self._task = asyncio.create_task(self.delivery.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def lapse(self, minutes: float = 5) -> None:
        """The next ring, or the end of ringing."""
        before = self.store.db.value("SELECT max(ring) FROM deliveries")
        await until(lambda: Outbox(self.store.db).next_ring() is not None)
        self.clock.pass_by(minutes=minutes)
        self.delivery.ring()
        await until(lambda: "missed" in states(self.store)
                    or self.store.db.value("SELECT max(ring) FROM deliveries") > before)

    def rang(self) -> dict[str, list[int]]:
        out = {}
        for notifier, ring, _, ok, _ in outcomes(self.store):
            out.setdefault(notifier, []).append(ring) if ok else None
        return out


async def test_each_ring_adds_the_next_step_and_keeps_the_earlier_ones(store):
    policy = DeliveryPolicy(repeat_after=5 * MINUTE, repeats=2, escalate=(("desktop",), ("voice",), ("ntfy",)))
    due(store)
    async with Ring(store, ["log", "desktop", "voice", "ntfy"], policy=policy) as ring:
        for n, names in enumerate((["log", "desktop"], ["voice"], ["ntfy"])):
            await until(lambda n=n, names=names: all(n + 1 in ring.rang().get(name, []) for name in names))
            await ring.lapse()
    assert ring.rang() == {"desktop": [1, 2, 3], "log": [1, 2, 3], "ntfy": [3], "voice": [2, 3]}
    assert states(store) == ["missed"]


async def test_a_step_that_fails_for_good_is_followed_by_the_next_all_the_same(store):
    policy = DeliveryPolicy(tries=1, repeats=1, escalate=(("desktop",), ("ntfy",)))
    due(store)
    async with Ring(store, ["desktop", "ntfy"], policy=policy) as ring:
        ring.ears["desktop"].deaf = True
        await until(lambda: outcomes(store))
        ring.delivery.ring()
        await ring.lapse()
        await ring.ears["ntfy"].heard()


async def test_what_was_asked_for_by_voice_insists_as_that_channel_is_set(store):
    channels = {"voice": Insistence(MINUTE, 3)}
    for channel in ("voice", "cli"):
        store.add_request(Request(channel, "x", channel, NOW))
        (r,) = store.add_reminders(channel, [NewReminder(channel, "x", NOW.replace(tzinfo=None), "UTC", None, NOW)])
        fire(store, r, NOW)
    async with Ring(store, ["ear"], policy=DeliveryPolicy(repeats=0, channels=channels)) as ring:
        await until(lambda: len(outcomes(store)) == 2)
        for n in (1, 2, 3):
            ring.clock.pass_by(minutes=1)
            ring.delivery.ring()
            await until(lambda n=n: n + 1 in {ring for _, ring, *_ in outcomes(store)})
        ring.clock.pass_by(minutes=1)
        ring.delivery.ring()
        await until(lambda: states(store)[0] == "missed")
    assert [o[1] for o in outcomes(store)] == [1, 2, 3, 4, 1]


@pytest.mark.parametrize(("at", "loud", "rung"), [
    pytest.param(NOW, False, {"voice": [False], "desktop": [False], "log": [False]}, id="by day"),
    pytest.param(NIGHT, False, {"voice": [], "desktop": [True], "log": [True]}, id="at night"),
    pytest.param(NIGHT, True, {"voice": [False], "desktop": [False], "log": [False]}, id="even at night"),
])
async def test_in_quiet_hours_only_what_can_be_silent_tells_of_a_reminder(store, at, loud, rung):
    (r,) = store.add_reminders(
        None, [NewReminder("x", "x", at.replace(tzinfo=None), "UTC", None, at, even_at_night=loud)])
    fire(store, r, at)
    async with Ring(store, rung, at=at, quiet=HOURS) as ring:
        await until(lambda: len(outcomes(store)) == 3)
    heard = {name: [ear.calls.get_nowait().quiet for _ in range(ear.calls.qsize())] for name, ear in ring.ears.items()}
    assert heard == rung
    assert ring.rang() == dict.fromkeys(sorted(rung), [1]), "what makes no sound counts as delivered"


async def test_of_several_at_night_those_for_the_night_ring_and_the_others_are_shown(store):
    for task, loud in (("pills", True), ("bins", False)):
        new = NewReminder(task, "x", NIGHT.replace(tzinfo=None), "UTC", None, NIGHT, even_at_night=loud)
        fire(store, store.add_reminders(None, [new])[0], NIGHT)
    async with Ring(store, ["voice", "desktop"], at=NIGHT, quiet=HOURS) as ring:
        await until(lambda: len(outcomes(store)) == 4)
    told = [(n.text, n.quiet) for n in (ring.ears["desktop"].calls.get_nowait() for _ in range(2))]
    assert told == [("pills", False), ("bins", True)]
    assert [ring.ears["voice"].calls.get_nowait().text] == ["pills"] and ring.ears["voice"].calls.empty()


# What was missed


class Talk:
    """A person who talks to the assistant, two hours after something has rung."""

    def __init__(self, store, **answers: str) -> None:
        self.store, self.clock, self.rewriter = store, StandingClock(NOW), ScriptedRewriter(answers)
        self.pipeline = Pipeline(
            self.rewriter, store, Policy(), LONDON, self.clock, 0.5, lambda: None,
            may=lambda channel: frozenset({"create", "list"}) if channel.startswith("mqtt") else None)
        self._n = 0

    def request(self, text: str, channel: str = "cli") -> Request:
        self._n += 1
        return Request(f"r{self._n}", text, channel, self.clock.now())

    async def say(self, text: str, channel: str = "cli"):
        return await self.pipeline.handle(self.request(text, channel))

    def miss(self, task: str = "call mum", rrule: str | None = None):
        """A reminder that has rung now, and that nobody acknowledges."""
        r, outbox = due(self.store, task, self.clock.now(), rrule, self.clock.now()), Outbox(self.store.db)
        self.store.db.execute("UPDATE deliveries SET state = 'missed' WHERE reminder_id = ?", (r.id,))
        self.store.db.execute("UPDATE reminders SET state = 'missed' WHERE id = ? AND state = 'fired'", (r.id,))
        assert outbox.next_ring() is None
        return r


LIST = {"what is on": "/list"}


async def test_what_was_missed_is_told_once_after_the_next_answer(store):
    talk = Talk(store, **LIST)
    talk.miss("call mum")
    talk.clock.pass_by(hours=2)
    reply = await talk.say("what is on")
    assert reply.text == "No reminders. By the way, while you were away: call mum, today at 14:30."
    assert aloud.answer(reply).endswith("call mum, today at half past two in the afternoon.")
    assert store.request("r1").reply == reply.text
    assert (await talk.say("what is on")).text == "No reminders."


async def test_digits_of_a_missed_task_are_spoken_as_they_were_said(store):
    talk = Talk(store, **LIST)
    talk.miss("meet room 17:30")
    assert "meet room 17:30, today at half past two" in aloud.answer(await talk.say("what is on"))


async def test_what_was_done_meanwhile_or_moved_is_not_told(store):
    talk = Talk(store, **LIST)
    done, moved, cancelled = talk.miss("a"), talk.miss("b"), talk.miss("c")
    store.done([done.id], NOW)
    store.move(moved.id, when="x", wall=NOW.replace(tzinfo=None), zone="UTC", rrule=None, due=NOW + timedelta(days=1))
    store.db.execute("UPDATE reminders SET state = 'cancelled' WHERE id = ?", (cancelled.id,))
    assert "By the way" not in (await talk.say("what is on")).text


async def test_a_question_of_the_assistants_comes_first(store):
    talk = Talk(store, **LIST | {"buy milk": "buy milk |", "in 5 minutes": "| in 5 minutes"})
    talk.miss()
    asked = await talk.say("buy milk")
    assert asked.question and "By the way" not in asked.text
    assert "By the way, while you were away: call mum" in (await talk.say("in 5 minutes")).text


async def test_of_very_many_some_are_named_and_what_recurs_is_counted(store):
    talk = Talk(store, **LIST)
    r = talk.miss("stretch", "FREQ=HOURLY")
    talk.clock.pass_by(hours=1)
    fire(store, store.reminder(r.id), talk.clock.now())
    store.db.execute("UPDATE deliveries SET state = 'missed'")
    for n in range(6):
        talk.clock.pass_by(minutes=1)
        talk.miss(f"task {n}")
    text = (await talk.say("what is on")).text.partition("By the way")[2]
    assert "stretch, 2 times, last today at 15:30; task 0" in text and text.endswith("and 2 more.")


async def test_who_asks_what_was_missed_is_told_again_and_the_model_is_not_asked(store):
    talk = Talk(store)
    assert (await talk.say("what did I miss?")).text == "You have missed nothing lately."
    talk.miss()
    first = await talk.say("did I miss anything")
    assert (first.text, first.kind) == ("You have missed 1 reminder: call mum, today at 14:30.", "list")
    assert (await talk.say("/list missed")).text == first.text
    talk.clock.pass_by(days=8)
    assert (await talk.say("what did I miss?")).text == "You have missed nothing lately."


async def test_a_device_is_told_by_the_way_only_of_what_was_asked_for_from_it(store):
    talk = Talk(store, **LIST)
    for channel in ("cli", "mqtt:hall"):
        r = talk.miss(channel)
        store.add_request(talk.request("x", channel))
        store.db.execute("UPDATE reminders SET request_id = ? WHERE id = ?", (f"r{talk._n}", r.id))
    assert (await talk.say("what is on", "mqtt:kitchen")).text == "No reminders."
    assert (await talk.say("what is on", "mqtt:hall")).text.endswith("while you were away: mqtt:hall, today at 14:30.")
    assert (await talk.say("what is on")).text.endswith("while you were away: cli, today at 14:30.")


async def test_who_asks_what_was_missed_is_overheard_only_where_there_is_an_answer(store):
    talk = Talk(store)
    assert await talk.pipeline.overhear(talk.request("what did I miss?", "voice")) is None
    assert (await talk.pipeline.overhear(talk.request("did I miss any reminders?", "voice"))).kind == "list"
    talk.miss()
    assert "call mum" in (await talk.pipeline.overhear(talk.request("what did I miss?", "voice"))).text


async def test_a_reminder_for_the_night_is_kept_as_one_and_stays_one_when_it_is_snoozed(store):
    talk = Talk(store, **{"remind me to take my pills": "take my pills |", "at 23:00": "| 23:00",
                          "take my pills daily at 3": "take my pills | every day 03:00",
                          "call mum at 23:00": "call mum | 23:00"})
    await talk.say("remind me to take my pills, even at night")
    (once,) = (await talk.say("at 23:00")).reminders
    (daily,) = (await talk.say("take my pills daily at 3 even at night")).reminders
    assert once.even_at_night and daily.even_at_night and daily.task == "take my pills"
    fire(store, daily, daily.due)
    assert store.snooze(daily.id, daily.due + MINUTE, daily.due).even_at_night
    (plain,) = (await talk.say("call mum at 23:00")).reminders
    assert not plain.even_at_night


async def test_a_question_that_was_never_answered_does_not_make_another_reminder_ring_at_night(store):
    talk = Talk(store, **{"remind me to take my pills": "take my pills |", "call mum at 23:00": "call mum | 23:00"})
    await talk.say("remind me to take my pills, even at night")
    talk.clock.pass_by(minutes=30)
    (plain,) = (await talk.say("call mum at 23:00")).reminders
    assert not plain.even_at_night


@pytest.mark.parametrize("said", ["move call mum to 23:00 even at night", "move call mum, even at night"])
async def test_what_is_moved_with_these_words_rings_at_night_from_then_on(store, said):
    talk = Talk(store, **{"call mum at 22:00": "call mum | 22:00", "move call mum to 23:00": "/move call mum > 23:00",
                          "move call mum": "/move call mum", "at 23:00": "| 23:00"})
    await talk.say("call mum at 22:00")
    reply = await talk.say(said)
    (moved,) = (reply if not reply.question else await talk.say("at 23:00")).reminders
    assert store.reminder(moved.id).even_at_night and moved.due.hour == 23


async def test_the_one_occurrence_that_is_moved_rings_at_night_as_the_others_do(store):
    talk = Talk(store, **{"pills daily at 23:00": "pills | every day 23:00", "move the pills": "/move pills > tomorrow 22:00"})
    await talk.say("pills daily at 23:00 even at night")
    (apart,) = (await talk.say("move the pills")).reminders
    assert apart.rrule is None and apart.even_at_night


async def test_what_no_model_understands_rings_at_night_in_its_own_words_if_these_are_among_them(store):
    talk = Talk(store)
    talk.rewriter.broken = ModelError("It is away.")
    request = talk.request("pills even at night")
    await talk.pipeline.handle(request)
    await talk.pipeline.give_up(request)
    assert store.reminders_of(request.id)[0].even_at_night


async def test_an_answer_of_one_endless_word_is_no_error(store):
    talk = Talk(store, **{"buy milk": "buy milk |"})
    await talk.say("buy milk")
    assert (await talk.say("x" * 495)).question


async def test_parse_and_predict_leave_the_words_out_as_the_daemon_does():
    rewriter = ScriptedRewriter({"call mum at 23:00": "call mum | 23:00"})
    u = await understand_text(rewriter, "call mum at 23:00 even at night", NOW, LONDON, Policy(), 0.5)
    assert (u.kind, u.entries[0].task, as_json(u)["even_at_night"]) == ("create", "call mum", True)
    u = await understand_text(rewriter, "call mum at 23:00", NOW, LONDON, Policy(), 0.5)
    assert "even_at_night" not in as_json(u)


def test_what_was_missed_before_there_was_somebody_to_tell_is_not_told(tmp_path, monkeypatch):
    before = next(n for n, step in enumerate(MIGRATIONS) if step.__name__.endswith("_insist"))
    with monkeypatch.context() as older:
        older.setattr("assistant.migrations.MIGRATIONS", MIGRATIONS[:before])
        with Store.open(tmp_path / "old.db") as old:
            old.db.execute('INSERT INTO reminders (id, task, "when", wall, fold, zone, state)'
                           " VALUES (1, 'x', 'x', '2026-03-12T14:30:00.000000', 0, 'UTC', 'missed')")
            old.db.execute("INSERT INTO deliveries (reminder_id, due_utc, occurrences, state, fired_at)"
                           " VALUES (1, '2026-03-12T14:30:00.000000Z', 1, 'missed', '2026-03-12T14:30:00.000000Z')")
    with Store.open(tmp_path / "old.db") as store:
        missed = Missed(store)
        assert missed.untold(NOW + MINUTE) == [] and len(missed.lately(NOW + MINUTE)) == 1
        assert not store.reminder(1).even_at_night
