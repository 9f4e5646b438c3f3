"""While no model answers, what is said is kept, and understood when one does as of when it was said."""

import asyncio
from datetime import timedelta

import pytest

from assistant.errors import Busy, ModelError, Unreadable
from assistant.kept import KEEP, TRIES, answer_kept
from assistant.replies import CANNOT_THINK, KEPT
from tests.fakes import Ticks
from tests.test_pipeline import WEDNESDAY, Talk

AWAY = ModelError("The model is away: wait.")


class Rewriters:
    """What `answer_kept` asks whether it is worth trying again."""

    def __init__(self):
        self.asked = 0

    async def worth_trying(self):
        self.asked += 1


class Later(Talk):
    """With the task that answers what was kept; `tick` is a pause of it."""

    ticks, sources, task = Ticks(), Rewriters(), None

    def begin(self):
        self.ticks, self.sources = Ticks(), Rewriters()
        self.task = asyncio.create_task(answer_kept(self.pipeline, self.sources.worth_trying, self.ticks.sleep))

    async def end(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def settled(self, id):
        async with asyncio.timeout(10):
            while (stored := self.store.request(id)).settled_at is None:  # noqa: ASYNC110 - a row has no event
                await asyncio.sleep(0)
        return stored


@pytest.fixture
async def talk(tmp_path):
    one = Later(tmp_path / "reminders.db")
    yield one
    if one.task:
        await one.end()
    one.close()


@pytest.mark.parametrize("error", [AWAY, Busy()], ids=["no model answers", "too many wait for it"])
async def test_what_no_model_understands_is_kept_and_said_so(talk, error):
    talk.rewriter.broken = error
    reply = await talk.say("call dad at six pm", id="abc")
    assert (reply.kind, reply.text, reply.question) == ("kept", KEPT, False)
    assert [r.id for r in talk.store.unsettled_requests()] == ["abc"]
    assert talk.tasks() == []


async def test_it_is_set_when_a_model_answers_again_as_of_when_it_was_said(talk):
    talk.begin()
    talk.rewriter.broken = AWAY
    await talk.say("remind me to call mum tomorrow at five", id="abc")
    await talk.ticks.tick_on()
    talk.clock.pass_by(hours=20)
    talk.rewriter.broken = None
    assert (await talk.settled("abc")).kind == "create"
    (reminder,) = talk.store.active()
    assert reminder.due == WEDNESDAY.replace(day=12, hour=17)


async def test_a_reminder_whose_time_has_passed_by_then_is_due_at_once(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="abc")
    talk.clock.pass_by(hours=9)
    talk.rewriter.broken = None
    talk.begin()
    await talk.settled("abc")
    (reminder,) = talk.store.active()
    assert reminder.due == WEDNESDAY.replace(hour=18) < talk.clock.now()


async def test_what_was_kept_survives_a_restart(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="abc")
    talk.restart()
    talk.rewriter.broken = None
    talk.begin()
    await talk.settled("abc")
    assert talk.tasks() == ["call dad"]


async def test_a_client_that_asks_again_with_its_id_gets_the_answer_and_one_reminder(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="abc")
    assert (await talk.say("call dad at six pm", id="abc")).kind == "kept"
    talk.rewriter.broken = None
    assert (await talk.say("call dad at six pm", id="abc")).kind == "create"
    assert (await talk.say("call dad at six pm", id="abc")).text == "OK: call dad, today at 18:00."
    assert talk.tasks() == ["call dad"]


async def test_who_changes_what_was_kept_finds_it_set(talk):
    talk.rewriter.broken = AWAY
    await talk.say("remind me to call mum tomorrow at five", id="kept")
    talk.rewriter.broken = None
    assert (await talk.say("cancel my reminder to call mum")).text == "Cancelled: call mum, tomorrow at 17:00."
    assert talk.tasks() == []


async def test_a_request_of_another_channel_does_not_wait_for_what_was_kept(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", channel="kitchen", id="kept")
    talk.rewriter.broken = None
    await talk.say("remind me to call mum on friday")
    assert talk.tasks() == ["call mum"]


async def test_an_answer_to_a_question_is_asked_for_again(talk):
    await talk.say("remind me to buy milk")
    talk.rewriter.broken = AWAY
    reply = await talk.say("tomorrow at five")
    assert (reply.text, reply.question) == (CANNOT_THINK, True)
    talk.rewriter.broken = None
    assert (await talk.say("tomorrow at five")).text == "OK: buy milk, tomorrow at 17:00."
    assert talk.store.unsettled_requests() == []


async def test_who_puts_right_what_was_just_set_is_asked_to_say_it_again(talk):
    await talk.say("call dad at six pm")
    talk.rewriter.broken = AWAY
    assert (await talk.say("no, i meant seven ish")).text == CANNOT_THINK
    assert talk.store.unsettled_requests() == []


@pytest.mark.parametrize(
    ("said", "rings"),
    [
        pytest.param("remind me to buy milk", "buy milk", id="no time was said"),
        pytest.param("call mum at nine this morning", "call mum", id="the time had passed when it was said"),
        pytest.param("move call mum to friday", "move call mum to friday", id="there is nothing to move"),
        pytest.param("cancel that", "cancel that", id="that may be something else by now"),
        pytest.param("remind me to call granny", "remind me to call granny", id="no rewrite of it"),
    ],
)
async def test_what_would_be_asked_about_rings_at_once_as_nobody_listens_any_more(talk, said, rings):
    talk.rewriter.broken = AWAY
    await talk.say(said, id="abc")
    talk.rewriter.broken = None
    talk.clock.pass_by(hours=2)
    talk.begin()
    assert not (await talk.settled("abc")).question
    assert [(r.task, r.due) for r in talk.store.active()] == [(rings, talk.clock.now())]


async def test_what_a_model_is_not_sure_of_rings_in_the_person_s_words(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="abc")
    talk.rewriter.broken, talk.rewriter.confidence = None, 0.2
    talk.begin()
    await talk.settled("abc")
    assert [(r.task, r.due) for r in talk.store.active()] == [("call dad at six pm", WEDNESDAY)]


async def test_chatter_that_was_kept_is_not_rung(talk):
    talk.rewriter.broken = AWAY
    await talk.say("what is the weather", id="abc")
    talk.rewriter.broken = None
    talk.begin()
    assert (await talk.settled("abc")).kind == "other"
    assert talk.tasks() == []


async def test_what_is_unreadable_is_settled_and_holds_up_nothing(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="bad")
    await talk.say("remind me to call mum on friday", channel="http", id="good")
    talk.rewriter.broken, rewrite = None, talk.rewriter.rewrite

    async def sometimes(text):
        if text == "call dad at six pm":
            raise Unreadable
        return await rewrite(text)

    talk.rewriter.rewrite = sometimes
    talk.begin()
    assert (await talk.settled("good")).kind == "create"
    assert talk.store.request("bad").error == "unreadable"


async def test_while_nobody_answers_few_are_tried_and_the_pause_grows(talk):
    talk.rewriter.broken = AWAY
    for n in range(2 * TRIES):
        await talk.say("call dad at six pm", channel=f"c{n}", id=f"r{n}")
    talk.rewriter.heard.clear()
    talk.begin()
    pauses = [await talk.ticks.tick_on() for _ in range(7)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert len(talk.rewriter.heard) == 7 * TRIES
    assert talk.sources.asked == 6


async def test_some_that_no_model_can_do_hold_up_no_others(talk):
    talk.rewriter.broken = AWAY
    for n in range(TRIES):
        await talk.say("call dad at six pm", channel=f"c{n}")
    await talk.say("remind me to call mum on friday", id="good")
    talk.rewriter.broken, rewrite = None, talk.rewriter.rewrite

    async def sometimes(text):
        if text == "call dad at six pm":
            raise AWAY
        return await rewrite(text)

    talk.rewriter.rewrite = sometimes
    talk.begin()
    await talk.ticks.tick_on()
    assert (await talk.settled("good")).kind == "create"


async def test_what_nobody_understands_for_a_day_rings_in_the_person_s_words(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="abc")
    talk.clock.pass_by(seconds=KEEP.total_seconds() - 1)
    talk.begin()
    await talk.ticks.tick_on()
    assert talk.tasks() == []
    talk.clock.pass_by(seconds=2)
    await talk.settled("abc")
    assert [(r.task, r.due) for r in talk.store.active()] == [("call dad at six pm", WEDNESDAY + KEEP + timedelta(seconds=1))]
