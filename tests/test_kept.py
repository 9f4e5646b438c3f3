"""While no model answers, what is said is kept, and understood when one does as of when it was said."""

import asyncio
from datetime import timedelta

import pytest

from assistant.errors import Busy, LockedDatabase, ModelError, NobodyAnswers, Unreadable
from assistant.kept import KEEP, LAST_ROUNDS, TRIES, answer_kept
from assistant.models import TRIAL
from assistant.pipeline import MOST_WAITING
from assistant.replies import CANNOT_THINK, KEPT
from tests.fakes import ScriptedRewriter, Ticks
from tests.test_pipeline import ANSWERS, WEDNESDAY, Talk

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

    def fails_at(self, text, error):
        """From now on a model answers everything but `text`."""
        self.rewriter.broken, rewrite = None, ScriptedRewriter(ANSWERS).rewrite

        async def sometimes(said):
            if said == text:
                raise error
            return await rewrite(said)

        self.rewriter.rewrite = sometimes

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


@pytest.mark.parametrize("error", [Unreadable(), ZeroDivisionError()], ids=["unreadable", "a bug"])
async def test_what_cannot_be_done_when_a_model_is_back_rings_in_the_person_s_words(talk, error):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="bad")
    talk.fails_at("call dad at six pm", error)
    talk.begin()
    await talk.settled("bad")
    assert talk.tasks() == ["call dad at six pm"]


async def test_what_is_unreadable_holds_up_nothing(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="bad")
    await talk.say("remind me to call mum on friday", id="good")
    talk.fails_at("call dad at six pm", Unreadable())
    talk.begin()
    assert (await talk.settled("good")).kind == "create"


async def test_while_nobody_answers_that_is_found_out_by_one_trial_and_the_pause_grows(talk):
    talk.rewriter.broken = AWAY
    for n in range(5):
        await talk.say("call dad at six pm", channel=f"c{n}", id=f"r{n}")
    talk.rewriter.heard.clear()
    talk.begin()
    pauses = [await talk.ticks.tick_on() for _ in range(7)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert talk.rewriter.heard == [TRIAL] * 7
    assert talk.sources.asked == 6


async def test_what_a_model_that_is_well_cannot_do_holds_up_no_others_and_rings_in_the_end(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="bad")
    await talk.say("remind me to call mum on friday", id="good")
    talk.fails_at("call dad at six pm", AWAY)
    talk.begin()
    for _ in range(TRIES - 1):
        await talk.ticks.tick_on()
    assert (await talk.settled("good")).kind == "create" and talk.tasks() == ["call mum"]
    await talk.ticks.tick_on()
    await talk.settled("bad")
    assert sorted(talk.tasks()) == ["call dad at six pm", "call mum"]


async def test_what_was_kept_is_set_in_the_order_in_which_it_was_said(talk):
    talk.rewriter.broken = AWAY
    talk.begin()
    await talk.say("remind me to call mum tomorrow at five", id="a")
    await talk.ticks.tick_on()
    talk.clock.pass_by(hours=-1)  # the clock is put right
    await talk.say("cancel my reminder to call mum", id="b")
    await talk.say("call dad at six pm", id="c")
    await talk.ticks.tick_on()
    talk.rewriter.broken = None
    assert (await talk.settled("b")).reply.startswith("Cancelled: call mum")
    await talk.settled("c")
    assert talk.tasks() == ["call dad"]


async def test_who_changes_what_was_kept_before_a_restart_finds_it_set(talk):
    talk.rewriter.broken = AWAY
    await talk.say("remind me to call mum tomorrow at five", id="a")
    talk.restart()
    talk.rewriter.broken = None
    assert (await talk.say("cancel my reminder to call mum")).text == "Cancelled: call mum, tomorrow at 17:00."


async def test_what_is_kept_on_a_channel_on_which_many_wait_is_tried_again(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="abc")
    talk.rewriter.broken = None
    talk.pipeline._waiting["cli"] = MOST_WAITING
    talk.begin()
    await talk.ticks.tick_on()
    talk.pipeline._waiting["cli"] = 0
    assert (await talk.settled("abc")).kind == "create"


async def test_a_fault_of_the_database_leaves_what_was_kept_to_be_tried_again(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="abc")
    talk.fails_at("call dad at six pm", LockedDatabase("x.db"))
    talk.begin()
    await talk.ticks.tick_on()
    assert [r.id for r in talk.pipeline.kept()] == ["abc"]
    talk.fails_at("nothing", AWAY)
    assert (await talk.settled("abc")).kind == "create"


async def test_a_failure_that_was_told_and_could_not_be_stored_is_not_done_behind_the_person_s_back(talk):
    talk.store.db.execute("CREATE TRIGGER no BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(Exception, match="no"):
        await talk.say("call dad at six pm", id="abc")
    talk.store.db.execute("DROP TRIGGER no")
    await talk.say("remind me to call mum on friday")
    assert talk.tasks() == ["call mum"]
    assert talk.pipeline.kept() == []


async def test_a_request_that_is_cancelled_while_it_is_answered_is_kept(talk):
    asked, rewrite = asyncio.Event(), talk.rewriter.rewrite

    async def hung(_):
        asked.set()
        await asyncio.Event().wait()

    talk.rewriter.rewrite = hung
    saying = asyncio.create_task(talk.say("call dad at six pm", id="abc"))
    async with asyncio.timeout(10):
        await asked.wait()
    saying.cancel()
    await asyncio.gather(saying, return_exceptions=True)
    assert [r.id for r in talk.pipeline.kept()] == ["abc"]
    talk.rewriter.rewrite = rewrite
    talk.begin()
    assert (await talk.settled("abc")).kind == "create"


async def test_a_request_that_is_being_answered_is_not_kept(talk):
    asked, may = asyncio.Event(), asyncio.Event()
    rewrite = talk.rewriter.rewrite

    async def slowly(text):
        asked.set()
        await may.wait()
        return await rewrite(text)

    talk.rewriter.rewrite = slowly
    saying = asyncio.create_task(talk.say("call dad at six pm"))
    async with asyncio.timeout(10):
        await asked.wait()
    assert len(talk.store.unsettled_requests()) == 1 and talk.pipeline.kept() == []
    may.set()
    await saying


@pytest.mark.parametrize(
    ("error", "skipped"),
    [(AWAY, (str(AWAY),)), (NobodyAnswers(("local: It is broken.", "remote: It is away.")), ("local: It is broken.", "remote: It is away."))],
    ids=["one", "several"],
)
async def test_the_reply_says_why_no_model_answers(talk, error, skipped):
    talk.rewriter.broken = error
    assert (await talk.say("call dad at six pm")).skipped == skipped


async def test_what_nobody_understands_for_a_day_rings_in_the_person_s_words(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="abc")
    talk.clock.pass_by(seconds=KEEP.total_seconds() + 1)
    talk.begin()
    for _ in range(LAST_ROUNDS):
        await talk.ticks.tick_on()
    assert talk.tasks() == []
    await talk.ticks.tick_on()
    await talk.settled("abc")
    assert [(r.task, r.due) for r in talk.store.active()] == [("call dad at six pm", WEDNESDAY + KEEP + timedelta(seconds=1))]


async def test_what_a_machine_slept_through_is_understood_when_its_network_is_back(talk):
    talk.rewriter.broken = AWAY
    await talk.say("call dad at six pm", id="abc")
    talk.begin()
    await talk.ticks.tick_on()
    talk.clock.pass_by(days=3)
    for _ in range(LAST_ROUNDS - 1):
        await talk.ticks.tick_on()
    talk.rewriter.broken = None
    assert (await talk.settled("abc")).kind == "create" and talk.tasks() == ["call dad"]
