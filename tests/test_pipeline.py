"""Conversations: what is said, what is answered, what is remembered. Real store, real parser, scripted model."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from assistant.errors import BlankText, ModelError, TextTooLong, Unreadable
from assistant.messages import Request
from assistant.overheard import OVERHEARD
from assistant.pipeline import Pipeline
from assistant.store import Store
from assistant.when import Policy
from tests.fakes import ScriptedRewriter, StandingClock

LONDON = ZoneInfo("Europe/London")
WEDNESDAY = datetime(2026, 3, 11, 10, 0, tzinfo=LONDON)

ANSWERS = {
    "remind me to call mum tomorrow at five": "call mum | tomorrow 5:00?",
    "remind me to call mum on friday": "call mum | friday",
    "call dad at six pm": "call dad | 18:00",
    "bins every thursday at seven": "bins | every thursday 07:00",
    "stretch every twenty minutes": "stretch | every 20 minutes",
    "remind me to buy milk": "buy milk |",
    "remind me": "|",
    "remind me at noon today": "| today noon",
    "call mum at nine this morning": "call mum | today 09:00",
    "milk tomorrow and bread": "milk | tomorrow\nbread |",
    "eggs at eleven and flour on friday": "eggs | 11:00\nflour | friday",
    "tomorrow at five": "| tomorrow 5:00?",
    "remind me at six": "| 6:00?",
    "yesterday": "| 10 march 2026",
    "wake me up at seven": "wake up | 07:00",
    "set an alarm for eight": "alarm | 8:00?",
    "what are my reminders": "/list",
    "what is on tomorrow": "/list | tomorrow",
    "do i have anything about the dentist": "/list dentist",
    "cancel my reminder to call mum": "/cancel call mum",
    "cancel mum": "/cancel mum",
    "cancel call": "/cancel call",
    "cancel the dentist": "/cancel the dentist",
    "cancel all reminders": "/cancel all reminders",
    "cancel everything tomorrow": "/cancel all | tomorrow",
    "cancel": "/cancel",
    "cancel that": "/cancel that",
    "cancel the next one": "/cancel next",
    "cancel the alarm": "/cancel alarm",
    "done": "/done",
    "snooze": "/snooze",
    "snooze for an hour": "/snooze > in 1 hour",
    "move call mum to six": "/move call mum > 6:00?",
    "move call mum to friday": "/move call mum > friday",
    "move call mum to this morning": "/move call mum > today 09:00",
    "push call mum back an hour": "/move call mum > later 1 hour",
    "bins at half past eight instead": "/move bins > 8:30?",
    "make call mum weekly": "/move call mum > every wednesday 17:00",
    "what is the weather": "/other",
    "remind me to call granny": "call grandpa | tomorrow",
}


class Talk:
    """A person, a pipeline and a database file."""

    def __init__(self, path, confidence=0.99):
        self.path, self.clock = path, StandingClock(WEDNESDAY)
        self.rewriter, self.changes = ScriptedRewriter(ANSWERS, confidence), 0
        self._open()

    def _open(self):
        self._entered = Store.open(self.path)
        self.store = self._entered.__enter__()
        self.pipeline = Pipeline(self.rewriter, self.store, Policy(), LONDON, self.clock, 0.5, self._changed)

    def close(self):
        self._entered.__exit__(None, None, None)

    def restart(self):
        self.close()
        self._open()

    def _changed(self):
        self.changes += 1

    def request(self, text, channel="cli", id=None):
        return Request(id or str(uuid4()), text, channel, self.clock.now())

    async def say(self, text, channel="cli", id=None):
        return await self.pipeline.handle(self.request(text, channel, id))

    def tasks(self):
        return [r.task for r in self.store.active()]


@pytest.fixture
def talk(tmp_path):
    one = Talk(tmp_path / "reminders.db")
    yield one
    one.close()


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        pytest.param(
            "remind me to call mum tomorrow at five", "OK: call mum, tomorrow at 17:00.", id="tomorrow at a bare hour"
        ),
        pytest.param("remind me to call mum on friday", "OK: call mum, on Friday at 9:00.", id="a weekday"),
        pytest.param("call dad at six pm", "OK: call dad, today at 18:00.", id="today"),
        pytest.param(
            "bins every thursday at seven", "OK: bins, every Thursday at 7:00, next tomorrow.", id="every week"
        ),
        pytest.param(
            "stretch every twenty minutes", "OK: stretch, every 20 minutes, next today at 10:20.", id="by the clock"
        ),
        pytest.param("remind me at noon today", "OK: reminder, today at 12:00.", id="no task"),
        pytest.param(
            "eggs at eleven and flour on friday",
            "OK: eggs, today at 11:00; flour, on Friday at 9:00.",
            id="two at once",
        ),
        pytest.param("set an alarm for eight", "OK: alarm, today at 20:00.", id="an alarm"),
    ],
)
async def test_a_request_with_a_time_is_set_and_repeated(talk, said, answered):
    reply = await talk.say(said)
    assert reply.text == answered
    assert reply.kind == "create"
    assert not reply.question
    assert [r.id for r in reply.reminders] == [r.id for r in talk.store.active()]
    assert talk.changes == 1


async def test_what_was_said_is_kept_with_what_it_became(talk):
    reply = await talk.say("remind me to call mum tomorrow at five")
    kept = talk.store.request(reply.request_id)
    assert (kept.text, kept.channel, kept.kind, kept.rewrite, kept.reply) == (
        "remind me to call mum tomorrow at five",
        "cli",
        "create",
        "call mum | tomorrow 5:00?",
        reply.text,
    )


async def test_without_a_time_it_asks_and_takes_the_next_request_as_the_answer(talk):
    asked = await talk.say("remind me to buy milk")
    assert (asked.text, asked.question, talk.tasks()) == ('When should I remind you of "buy milk"?', True, [])
    assert (await talk.say("tomorrow at five")).text == "OK: buy milk, tomorrow at 17:00."
    assert talk.tasks() == ["buy milk"]


async def test_a_bare_time_that_the_model_knows_only_as_a_request_is_an_answer_too(talk):
    await talk.say("remind me to buy milk")
    assert (await talk.say("at six")).text == "OK: buy milk, today at 18:00."


async def test_an_answer_on_another_channel_is_none(talk):
    await talk.say("remind me to buy milk")
    await talk.say("tomorrow at five", channel="kitchen")
    assert talk.tasks() == [""]


async def test_after_two_minutes_an_answer_is_a_request_of_its_own(talk):
    await talk.say("remind me to buy milk")
    talk.clock.pass_by(minutes=2, seconds=1)
    await talk.say("tomorrow at five")
    assert talk.tasks() == [""]


async def test_a_new_request_drops_the_open_question(talk):
    await talk.say("remind me to buy milk")
    assert (await talk.say("call dad at six pm")).text == "OK: call dad, today at 18:00."
    await talk.say("tomorrow at five")
    assert talk.tasks() == ["call dad", ""]


async def test_never_mind_drops_the_open_question(talk):
    await talk.say("remind me to buy milk")
    assert (await talk.say("never mind")).text == "OK, nothing is set."
    assert talk.tasks() == []


async def test_a_time_that_has_passed_is_asked_about_and_not_set(talk):
    asked = await talk.say("call mum at nine this morning")
    assert asked.text == '9:00 today has passed. When should I remind you of "call mum"?'
    assert (asked.question, talk.tasks()) == (True, [])
    await talk.say("tomorrow at five")
    assert talk.tasks() == ["call mum"]


async def test_an_answer_that_has_passed_is_asked_about_again(talk):
    await talk.say("remind me to buy milk")
    assert "has passed" in (await talk.say("yesterday")).text
    await talk.say("tomorrow at five")
    assert talk.tasks() == ["buy milk"]


async def test_of_several_those_with_a_time_are_set_and_the_other_is_asked_about(talk):
    reply = await talk.say("milk tomorrow and bread")
    assert reply.text == 'OK: milk, tomorrow at 9:00. When should I remind you of "bread"?'
    await talk.say("tomorrow at five")
    assert talk.tasks() == ["milk", "bread"]


@pytest.mark.parametrize(("answer", "set_"), [("yes", ["call dad"]), ("yep", ["call dad"]), ("no", []), ("Nope.", [])])
async def test_what_the_model_is_not_sure_of_is_asked_about_first(tmp_path, answer, set_):
    talk = Talk(tmp_path / "r.db", confidence=0.3)
    asked = await talk.say("call dad at six pm")
    assert (asked.text, asked.kind, asked.question, talk.tasks()) == (
        "Did you say: call dad, today at 18:00?",
        "confirm",
        True,
        [],
    )
    await talk.say(answer)
    assert talk.tasks() == set_
    talk.close()


@pytest.mark.parametrize("channel", ["cli", "voice"])
async def test_what_is_no_reminder_is_answered_shortly_and_kept(talk, channel):
    told = await talk.say("what is the weather", channel)
    assert told.text == "That is not a reminder."
    assert talk.store.request(told.request_id).kind == "other"


# What is overheard

async def overhear(talk, text, channel="voice"):
    return await talk.pipeline.overhear(talk.request(text, channel))


def kept(talk):
    return talk.store.db.value("SELECT count(*) FROM requests")


@pytest.mark.parametrize("text", ["what is the weather", "remind me to call granny", "", "word " * 200], ids=[
    "no request", "one that is not understood", "nothing", "a long speech"])
async def test_of_what_is_overheard_and_no_request_nothing_is_kept(talk, text, caplog):
    caplog.set_level("DEBUG")
    assert await overhear(talk, text) is None
    assert (kept(talk), caplog.text, talk.changes) == (0, "", 0)


async def test_a_request_that_is_overheard_is_handled_like_any_other(talk):
    assert (await overhear(talk, "call dad at six pm")).text == "OK: call dad, today at 18:00."
    assert (await overhear(talk, "what are my reminders")).kind == "list"


@pytest.mark.parametrize(("text", "rewrite", "asks"), [
    ("remind me to call dad at six", "call dad | 18:00", True),
    ("don't let me forget the keys at six", "the keys | 18:00", True),
    ("we called dad at six", "called dad | 18:00", False),
    ("do not forget yourself at six", "yourself | 18:00", True),
    ("never say never at six", "never | 18:00", False),
], ids=["remind", "forget", "small talk", "do not forget", "never"])  # fmt: skip
async def test_what_the_model_is_not_sure_of_is_asked_about_only_if_it_sounds_like_a_request(talk, text, rewrite, asks):
    talk.rewriter.answers[text], talk.rewriter.sure[text] = rewrite, 0.3
    reply = await overhear(talk, text)
    assert (reply and reply.kind) == ("confirm" if asks else None)
    assert kept(talk) == asks and talk.tasks() == []


@pytest.mark.parametrize(("text", "rewrite"), [
    ("we need milk", "milk |"), ("see you at six pm", "| 18:00"), ("i am done", "/done"), ("snooze it then", "/snooze"),
    ("let's move the sofa to friday", "/move the sofa > friday"),
], ids=["no time", "no task", "done with nothing", "snooze nothing", "move no reminder"])  # fmt: skip
async def test_what_would_be_asked_about_and_does_not_sound_like_a_request_is_none(talk, text, rewrite):
    talk.rewriter.answers[text] = rewrite
    reply = await overhear(talk, text)
    assert (reply is None) == ("snooze" not in text)
    assert kept(talk) == ("snooze" in text)


async def test_while_no_model_answers_only_what_sounds_like_a_request_is_kept_and_told(talk):
    talk.rewriter.broken = ModelError("It is away.")
    assert await overhear(talk, "we should call dad") is None
    assert (await overhear(talk, "remind me to call mum tomorrow at five")).kind == "kept"
    talk.rewriter.broken = None
    [waiting] = talk.pipeline.kept()
    assert waiting.channel == OVERHEARD
    await talk.pipeline.handle(waiting)
    assert talk.tasks() == ["call mum"]


@pytest.mark.parametrize("turns_out", ["no request", "unsure", "never understood", "unreadable"])
async def test_what_was_overheard_and_kept_and_is_none_is_forgotten_and_never_rings(talk, turns_out):
    text = "the car alarm rang at six pm"
    talk.rewriter.broken = ModelError("It is away.")
    assert (await overhear(talk, text)).kind == "kept"
    [waiting] = talk.pipeline.kept()
    if turns_out == "never understood":
        await talk.pipeline.give_up(waiting)
    else:
        talk.rewriter.broken = Unreadable() if turns_out == "unreadable" else None
        if turns_out == "unsure":
            talk.rewriter.answers[text], talk.rewriter.sure[text] = "car alarm | 18:00", 0.3
        with suppress(Unreadable):
            await talk.pipeline.handle(waiting)
    assert (kept(talk), talk.tasks()) == (0, [])


async def test_what_was_addressed_and_never_understood_rings_in_its_own_words_as_was_promised(talk):
    talk.rewriter.broken = ModelError("It is away.")
    await talk.say("remind me to call mum", "voice")
    await talk.pipeline.give_up(*talk.pipeline.kept())
    assert talk.tasks() == ["remind me to call mum"]


@pytest.mark.parametrize("answer", ["tomorrow at five", "six pm"])
async def test_small_talk_leaves_a_question_open_and_what_answers_it_is_taken(talk, answer):
    talk.rewriter.answers["six pm"] = "| 18:00"
    await talk.say("remind me to buy milk", "voice")
    assert await overhear(talk, "what is the weather") is None
    assert await overhear(talk, "yeah I think so") is None
    assert (await overhear(talk, answer)).kind == "create"
    assert talk.tasks() == ["buy milk"]


@pytest.mark.parametrize(("answer", "tasks"), [("yes", ["call dad"]), ("no", [])])
async def test_an_overheard_yes_or_no_answers_what_was_asked_and_nothing_else(talk, answer, tasks):
    assert await overhear(talk, answer) is None
    talk.rewriter.sure["call dad at six pm"] = 0.3
    assert (await talk.say("call dad at six pm", "voice")).kind == "confirm"
    assert await overhear(talk, "we had a nice day") is None
    assert await overhear(talk, answer)
    assert talk.tasks() == tasks


async def test_which_one_is_answered_by_what_was_overheard(talk):
    await talk.say("remind me to call mum on friday")
    await talk.say("call dad at six pm")
    assert (await talk.say("cancel call", "voice")).question
    assert await overhear(talk, "it is a lovely day") is None
    assert (await overhear(talk, "the second one")).kind == "cancel"
    assert len(talk.tasks()) == 1


async def test_what_was_just_set_is_put_right_by_what_was_overheard(talk):
    talk.rewriter.answers["seven pm"] = "| 19:00"
    await talk.say("call dad at six pm", "voice")
    assert await overhear(talk, "what is the weather") is None
    await overhear(talk, "no, I meant seven pm")
    assert [r.due.astimezone(LONDON).hour for r in talk.store.active()] == [19]


async def test_what_was_misheard_perhaps_is_meant_only_if_it_sounds_like_a_request(talk):
    talk.rewriter.answers["remind me to call dad at six pm"] = "call dad | 18:00"
    assert await talk.pipeline.directed(talk.request("call dad at six pm"), doubted=True) is None
    assert await talk.pipeline.directed(talk.request("remind me to call dad at six pm"), doubted=True)
    assert kept(talk) == 0


async def test_a_rewrite_with_a_word_that_was_not_said_sets_nothing(talk):
    reply = await talk.say("remind me to call granny")
    assert (reply.kind, talk.tasks()) == ("other", [])
    assert "did not understand" in reply.text


async def test_reminders_are_listed_with_their_number(talk):
    await talk.say("remind me to call mum tomorrow at five")
    await talk.say("call dad at six pm")
    assert (
        await talk.say("what are my reminders")
    ).text == "2 reminders: call dad, today at 18:00; call mum, tomorrow at 17:00."
    assert (await talk.say("what is on tomorrow")).text == "1 reminder tomorrow: call mum, tomorrow at 17:00."
    assert (await talk.say("do i have anything about the dentist")).text == "I have no reminder about dentist."


async def test_no_reminders_are_none(talk):
    assert (await talk.say("what are my reminders")).text == "No reminders."


async def test_the_one_that_is_meant_is_cancelled(talk):
    await talk.say("remind me to call mum tomorrow at five")
    await talk.say("call dad at six pm")
    assert (await talk.say("cancel my reminder to call mum")).text == "Cancelled: call mum, tomorrow at 17:00."
    assert talk.tasks() == ["call dad"]


async def test_what_is_not_there_is_not_cancelled(talk):
    await talk.say("call dad at six pm")
    assert (await talk.say("cancel the dentist")).text == "I have no reminder about the dentist."
    assert talk.tasks() == ["call dad"]


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        pytest.param("the second", ["call dad"], id="by ordinal"),
        pytest.param("2", ["call dad"], id="by number"),
        pytest.param("number one please", ["call mum"], id="by number in words"),
        pytest.param("the one about mum", ["call dad"], id="by its words"),
        pytest.param("the 6pm one", ["call mum"], id="by its time"),
        pytest.param("all of them", [], id="all"),
        pytest.param("none", ["call dad", "call mum"], id="none"),
        pytest.param("what is the weather", ["call dad", "call mum"], id="something else"),
    ],
)
async def test_of_two_that_may_be_meant_it_asks_which(talk, answer, left):
    await talk.say("remind me to call mum tomorrow at five")
    await talk.say("call dad at six pm")
    asked = await talk.say("cancel call")
    assert asked.text == "Which one: 1, call dad, today at 18:00 or 2, call mum, tomorrow at 17:00?"
    assert (asked.question, talk.tasks()) == (True, ["call dad", "call mum"])
    await talk.say(answer)
    assert talk.tasks() == left


@pytest.mark.parametrize(("answer", "left"), [("yes", []), ("no", ["call dad", "call mum"])])
async def test_before_all_are_cancelled_it_says_how_many_and_asks_once(talk, answer, left):
    await talk.say("remind me to call mum tomorrow at five")
    await talk.say("call dad at six pm")
    assert (await talk.say("cancel all reminders")).text == "Cancel all 2 reminders?"
    await talk.say(answer)
    assert talk.tasks() == left


async def test_all_of_one_is_done_at_once(talk):
    await talk.say("remind me to call mum tomorrow at five")
    await talk.say("call dad at six pm")
    await talk.say("cancel everything tomorrow")
    assert talk.tasks() == ["call dad"]


@pytest.mark.parametrize(("said", "left"), [("cancel that", ["call dad"]), ("cancel the next one", ["call mum"])])
async def test_that_is_the_one_just_set_and_next_is_the_soonest(talk, said, left):
    await talk.say("call dad at six pm")
    await talk.say("remind me to call mum tomorrow at five")
    await talk.say(said)
    assert talk.tasks() == left


async def test_cancel_alone_takes_the_only_one_and_asks_among_two(talk):
    await talk.say("call dad at six pm")
    await talk.say("remind me to call mum tomorrow at five")
    assert (await talk.say("cancel")).question
    await talk.say("1")
    assert talk.tasks() == ["call mum"]
    await talk.say("cancel")
    assert talk.tasks() == []


async def test_a_noun_such_as_alarm_means_the_one_that_is_called_so(talk):
    await talk.say("call dad at six pm")
    await talk.say("set an alarm for eight")
    await talk.say("cancel the alarm")
    assert talk.tasks() == ["call dad"]


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        pytest.param(
            "move call mum to six", "OK: call mum, tomorrow at 18:00.", id="a clock time keeps the day and its half"
        ),
        pytest.param("move call mum to friday", "OK: call mum, on Friday at 17:00.", id="a day keeps the clock time"),
        pytest.param("push call mum back an hour", "OK: call mum, tomorrow at 18:00.", id="later"),
        pytest.param("make call mum weekly", "OK: call mum, every Wednesday at 17:00, next today.", id="to recur"),
        pytest.param(
            "move call mum to this morning",
                "9:00 today has passed. When should I move call mum to?",
                id="not into the past",
        ),
    ],
)
async def test_a_reminder_is_moved(talk, said, answered):
    await talk.say("remind me to call mum tomorrow at five")
    assert (await talk.say(said)).text == answered
    assert talk.tasks() == ["call mum"]


async def test_a_recurring_reminder_keeps_its_days_when_its_time_is_moved(talk):
    await talk.say("bins every thursday at seven")
    assert (
        await talk.say("bins at half past eight instead")
    ).text == "OK: bins, every Thursday at 8:30, next tomorrow."


async def test_done_and_snooze_without_anything_that_rang_ask_which(talk):
    await talk.say("call dad at six pm")
    assert (await talk.say("done")).question
    await talk.say("no")
    assert (await talk.say("snooze")).question
    assert talk.tasks() == ["call dad"]


async def test_the_same_request_twice_is_done_once_and_answered_twice(talk):
    one = await talk.say("call dad at six pm", id="abc")
    two = await talk.say("call dad at six pm", id="abc")
    assert (one.text, [r.id for r in one.reminders]) == (two.text, [r.id for r in two.reminders])
    assert talk.tasks() == ["call dad"]


async def test_the_same_request_twice_at_once_is_done_once(talk):
    replies = await asyncio.gather(*(talk.say("call dad at six pm", id="abc") for _ in range(5)))
    assert len({r.text for r in replies}) == 1
    assert talk.tasks() == ["call dad"]


async def test_requests_on_many_channels_at_once_do_not_mix(talk):
    await asyncio.gather(*(talk.say("remind me to buy milk", channel=f"c{n}") for n in range(8)))
    await asyncio.gather(*(talk.say("tomorrow at five", channel=f"c{n}") for n in range(0, 8, 2)))
    assert talk.tasks() == ["buy milk"] * 4


@pytest.mark.parametrize(("text", "error"), [("   ", BlankText), ("x" * 501, TextTooLong)])
async def test_what_cannot_be_taken_is_refused_and_leaves_no_trace(talk, text, error):
    with pytest.raises(error):
        await talk.say(text, id="bad")
    assert talk.store.request("bad") is None


async def test_what_a_crash_left_unanswered_is_understood_as_of_when_it_was_said(talk):
    request = talk.request("call dad at six pm")
    assert talk.store.add_request(request)
    talk.clock.pass_by(hours=9)
    talk.restart()
    (left,) = talk.store.unsettled_requests()
    await talk.pipeline.handle(left)
    (reminder,) = talk.store.active()
    assert reminder.due == WEDNESDAY.replace(hour=18)  # it has passed meanwhile: it rings at once, late
    assert talk.store.unsettled_requests() == []


async def test_understanding_alone_stores_nothing(talk):
    u = await talk.pipeline.predict("call dad at six pm")
    assert (u.kind, u.entries[0].due) == ("create", WEDNESDAY + timedelta(hours=8))
    assert talk.tasks() == []
    assert talk.store.unsettled_requests() == []


async def test_looking_something_up_leaves_the_open_question_open(talk):
    await talk.say("remind me to buy milk")
    assert (await talk.say("what are my reminders")).text == "No reminders."
    await talk.say("tomorrow at five")
    assert talk.tasks() == ["buy milk"]


async def test_a_change_with_a_time_of_its_own_is_no_answer_to_which_one(talk):
    talk.rewriter.answers |= {"move call to friday": "/move call > friday", "change call mum to 3pm": "/move call mum > 15:00"}
    await talk.say("remind me to call mum tomorrow at five")
    await talk.say("call dad at six pm")
    assert (await talk.say("move call to friday")).question
    assert (await talk.say("change call mum to 3pm")).text == "OK: call mum, tomorrow at 15:00."
