"""Longer conversations: follow-ups, guesses, what rings, what recurs, and what goes wrong in between.

`hear(text, rewrite)` says a text that the scripted model rewrites so.
"""

import asyncio
from datetime import timedelta
from random import Random

import pytest

from assistant import aloud, grammar
from assistant.conversation import RUNG_SINCE
from assistant.errors import AssistantError, Busy, Unreadable
from assistant.outbox import Advance, Outbox, Outcome
from assistant.overheard import OVERHEARD
from assistant.pipeline import MOST_WAITING
from assistant.recurrence import next_occurrence
from tests.fakes import ScriptedRewriter
from tests.test_pipeline import LONDON, WEDNESDAY, Talk


class Home(Talk):
    async def hear(self, text, rewrite=None, channel="cli"):
        if rewrite is not None:
            self.rewriter.answers[text.lower()] = rewrite
        return await self.say(text, channel)

    def ring(self, reminder):
        """Let its time come."""
        self.clock.at = max(self.clock.at, reminder.due)
        following = next_occurrence(reminder.rrule, reminder.wall, LONDON, reminder.due) if reminder.rrule else None
        outbox = Outbox(self.store.db)
        outbox.fire([(reminder, Advance(reminder.due, 1, following))], self.clock.now())
        for d in outbox.to_ring("log", self.clock.now(), timedelta(hours=1), 100):
            outbox.record([Outcome(d.id, d.ring, "log", None, self.clock.now())], timedelta(minutes=5))

    def times(self):
        return {f"{r.task} {r.due.astimezone(LONDON):%a %d %H:%M}" if r.due else f"{r.task} rang" for r in self.store.active()}

    async def have(self, *lines):
        """Set these reminders, on another channel."""
        for n, line in enumerate(lines):
            said = " ".join(f"{line} set {n}".replace("|", " ").split())
            [made] = (await self.hear(said, line, channel="page")).reminders
        return made


class Slow(ScriptedRewriter):
    """A rewriter that lets others run before it answers."""

    async def rewrite(self, text):
        await asyncio.sleep(0)
        return await super().rewrite(text)


@pytest.fixture
def home(tmp_path):
    one = Home(tmp_path / "reminders.db")
    yield one
    one.close()


# When?


async def test_all_entries_without_a_time_are_asked_about_one_after_the_other(home):
    asked = await home.hear("milk at six bread and eggs", "milk | 18:00\nbread |\neggs |")
    assert asked.text == 'OK: milk, today at 18:00. When should I remind you of "bread"?'
    asked = await home.hear("tomorrow at nine", "| tomorrow 09:00")
    assert asked.text == 'OK: bread, tomorrow at 9:00. When should I remind you of "eggs"?'
    assert asked.question
    assert not (await home.hear("on friday", "| friday")).question
    assert home.times() == {"milk Wed 11 18:00", "bread Thu 12 09:00", "eggs Fri 13 09:00"}


@pytest.mark.parametrize(
    ("answer", "rewrite"),
    [
        pytest.param("18:00", None, id="a When sentence needs no model"),
        pytest.param("Today 18:00", None, id="whatever its letter case"),
        pytest.param("make it six pm", "/move that > 18:00", id="in the words of a move"),
        pytest.param("in eight hours", "/snooze > in 8 hours", id="in the words of a snooze"),
        pytest.param("yeah at six maybe", "yeah maybe | 6:00?", id="with words that say nothing"),
        pytest.param("the milk at six pm", "the milk | 18:00", id="with words of the task"),
        pytest.param("remind me to buy milk at six pm", "buy milk | 18:00", id="said all over again"),
    ],
)
async def test_a_time_answers_when(home, answer, rewrite):
    await home.say("remind me to buy milk")
    assert (await home.hear(answer, rewrite)).text == "OK: buy milk, today at 18:00."
    assert home.times() == {"buy milk Wed 11 18:00"}


async def test_a_time_that_reads_like_a_move_of_nothing_is_an_answer_too(home):
    await home.say("remind me to buy milk")
    home.rewriter.answers["remind me yeah six pm please"] = "| 18:00"
    assert (await home.hear("yeah six pm please", "/move | 18:00")).text == "OK: buy milk, today at 18:00."


async def test_of_several_readings_of_an_answer_the_clearest_counts(home):
    await home.say("remind me to buy milk")
    home.rewriter.confidence = 0.6
    home.rewriter.answers["remind me at sixish"] = "| 18:00"
    home.rewriter.sure = {"remind me at sixish": 0.9}
    assert (await home.hear("sixish", "| in 6 years")).text == "OK: buy milk, today at 18:00."


async def test_later_is_no_time_unless_something_rings(home):
    await home.say("remind me to buy milk")
    assert (await home.hear("later", "/snooze")).text.startswith("That is not a time that I know.")
    await home.have("eggs | 11:00")
    home.ring(home.store.active()[0])
    await home.say("remind me to buy milk")
    assert (await home.hear("later", "/snooze")).text == "OK: eggs again today at 11:10."


async def test_what_is_no_time_is_asked_about_once_more_and_then_dropped(home):
    await home.say("remind me to buy milk")
    again = await home.hear("when I get home", "when get home |")
    assert (again.text, again.question) == (
        'That is not a time that I know. When should I remind you of "buy milk"?', True)  # fmt: skip
    assert (await home.hear("what is the weather")).text == "That is not a reminder."
    await home.hear("at six pm", "| 18:00")
    assert home.times() == {" Wed 11 18:00"}


async def test_another_request_without_a_time_is_asked_about_instead(home):
    await home.say("remind me to buy milk")
    asked = await home.hear("remind me to call dad", "call dad |")
    assert asked.text == 'When should I remind you of "call dad"?'
    await home.hear("six pm", "| 18:00")
    assert home.tasks() == ["call dad"]


# Did you say?


async def test_no_with_another_time_corrects_it(home):
    home.rewriter.confidence = 0.3
    await home.say("call dad at six pm")
    assert (await home.hear("at seven pm", "| 19:00")).kind == "confirm"  # no answer: a request of its own
    assert home.tasks() == []
    await home.say("call dad at six pm")
    home.rewriter.answers["at eight pm"] = "| 20:00"
    assert (await home.say("no, at eight pm")).text == "OK: call dad, today at 20:00."
    assert home.times() == {"call dad Wed 11 20:00"}


async def test_what_is_neither_yes_nor_no_is_asked_about_once_more(home):
    home.rewriter.confidence = 0.3
    await home.say("call dad at six pm")
    again = await home.hear("what is the weather")
    assert again.text == "I did not catch that. Did you say: call dad, today at 18:00?"
    assert (await home.say("yes")).text == "OK: call dad, today at 18:00."


async def test_what_the_model_is_not_sure_to_cancel_is_asked_about_first(home):
    await home.have("call mum | tomorrow 17:00")
    home.rewriter.confidence = 0.3
    asked = await home.hear("scrap mum", "/cancel mum")
    assert (asked.text, asked.question, home.tasks()) == ("Cancel call mum, tomorrow at 17:00?", True, ["call mum"])
    assert (await home.say("yes")).text == "Cancelled: call mum, tomorrow at 17:00."


# Which one?


async def test_what_fits_half_is_asked_about_first(home):
    await home.have("call mum | tomorrow 17:00")
    asked = await home.hear("cancel my call with dad", "/cancel call with dad")
    assert (asked.text, home.tasks()) == ("Cancel call mum, tomorrow at 17:00?", ["call mum"])
    assert (await home.say("no")).text == "OK, nothing is changed."
    assert home.tasks() == ["call mum"]


@pytest.mark.parametrize(
    ("answer", "rewrite", "left"),
    [
        pytest.param("the friday one", None, {"call Thu 12 17:00"}, id="by its day"),
        pytest.param("the later one", "/cancel last", {"call Thu 12 17:00"}, id="by its order"),
        pytest.param("cancel that", "/cancel that", {"call Thu 12 17:00", "call Fri 13 09:00"}, id="not by pointing"),
        pytest.param("cancel friday's", "/cancel | friday", {"call Thu 12 17:00"}, id="as a request"),
        pytest.param("both", None, set(), id="both"),
    ],
)
async def test_which_one_is_told_in_many_ways(home, answer, rewrite, left):
    await home.have("call | tomorrow 17:00", "call | friday 09:00")
    assert (await home.hear("cancel the call", "/cancel call")).question
    await home.hear(answer, rewrite)
    assert home.times() == left


async def test_which_one_may_be_told_in_words_that_only_the_model_knows(home):
    await home.have("call | tomorrow 17:00", "call | friday 09:00")
    await home.hear("cancel the call", "/cancel call")
    home.rewriter.answers["cancel the one at the end of the working week"] = "/cancel one | friday"
    assert (await home.hear("the one at the end of the working week", "/other")).text == "Cancelled: call, on Friday at 9:00."


async def test_a_new_request_is_not_taken_for_the_name_of_one(home):
    await home.have("call mum | tomorrow 17:00", "pay the bill | tomorrow 18:00")
    assert (await home.hear("cancel tomorrow's", "/cancel | tomorrow")).question
    await home.hear("remind me to call granny on friday", "call granny | friday")
    assert home.tasks() == ["call mum", "pay the bill", "call granny"]


async def test_one_that_is_gone_by_the_time_of_the_answer_is_not_touched(home):
    await home.have("call | tomorrow 17:00", "call | friday 09:00")
    asked = await home.hear("cancel the call", "/cancel call")
    home.pipeline.cancel(asked.reminders[0].id)
    assert (await home.say("1")).text == "That is no longer set."
    assert home.times() == {"call Fri 13 09:00"}


# That, done, snooze


async def test_done_is_about_what_rang_last(home):
    await home.have("eggs | 11:00", "flour | 12:00")
    home.ring(home.store.active()[0])
    assert (await home.hear("done", "/done")).text == "Done: eggs."
    assert home.times() == {"flour Wed 11 12:00"}


@pytest.mark.parametrize(
    ("said", "rewrite"), [("snooze", "/snooze"), ("snooze the alarm", "/snooze alarm"), ("snooze that", "/snooze that")]
)
async def test_snooze_puts_off_what_rang_last(home, said, rewrite):
    home.ring(await home.have("eggs | 11:00"))
    await home.have("flour | tomorrow 12:00")
    assert (await home.hear(said, rewrite)).text == "OK: eggs again today at 11:10."
    assert home.times() == {"eggs Wed 11 11:10", "flour Thu 12 12:00"}


async def test_done_still_means_one_that_has_stopped_ringing_a_while_ago(home):
    home.ring(await home.have("eggs | 11:00"))
    home.clock.at += RUNG_SINCE / 2
    assert (await home.hear("done", "/done")).text == "Done: eggs."
    assert home.tasks() == []


async def test_of_two_alike_done_means_the_one_that_rang(home):
    first = await home.have("call mum | 11:00")
    await home.have("call mum | tomorrow 11:00")
    home.ring(first)
    assert (await home.hear("i called mum", "/done called mum")).text == "Done: call mum."
    assert home.times() == {"call mum Thu 12 11:00"}


async def test_that_is_what_rings_and_for_a_move_what_was_just_set(home):
    home.ring(await home.have("eggs | 11:00"))
    await home.hear("flour tomorrow", "flour | tomorrow")
    assert (await home.hear("make that ten", "/move that > 10:00?")).text == "OK: flour, tomorrow at 10:00."
    assert (await home.hear("cancel that", "/cancel that")).text == "Cancelled: eggs, which rang today at 11:00."


async def test_that_is_not_what_was_set_long_ago(home):
    await home.have("flour | tomorrow")
    await home.hear("eggs tomorrow", "eggs | tomorrow 10:00")
    home.clock.pass_by(hours=1)
    assert (await home.hear("cancel that", "/cancel that")).question
    assert len(home.tasks()) == 2


async def test_to_cancel_a_series_while_it_rings_is_asked_about_first(home):
    home.ring(await home.have("pills | every day 11:00"))
    asked = await home.hear("cancel that", "/cancel that")
    assert asked.text == "Cancel pills, every day at 11:00, next tomorrow?"
    await home.say("yes")
    assert home.tasks() == []


async def test_done_with_one_ring_of_a_series_leaves_the_series(home):
    home.ring(await home.have("pills | every day 11:00"))
    assert (await home.hear("done", "/done")).text == "Done: pills."
    assert home.times() == {"pills Thu 12 11:00"}


async def test_a_snooze_into_the_past_is_asked_about(home):
    home.ring(await home.have("eggs | 11:00"))
    asked = await home.hear("snooze till nine this morning", "/snooze > today 09:00")
    assert asked.text == "9:00 today has passed. Until when should I snooze eggs?"
    assert (await home.hear("noon", "| noon")).text == "OK: eggs again today at 12:00."


async def test_several_are_snoozed_at_once_after_asking(home):
    await home.have("eggs | 11:00", "flour | 12:00")
    assert (await home.hear("snooze all", "/snooze all > in 1 hour")).text == "Snooze all 2 reminders?"
    assert (await home.say("yes")).text == "OK: eggs and flour again today at 11:00."


# Move


async def test_a_move_without_a_time_asks_for_one(home):
    await home.have("call mum | tomorrow 17:00")
    asked = await home.hear("reschedule mum", "/move mum")
    assert (asked.text, asked.question) == ("When should I move call mum to?", True)
    assert (await home.hear("friday", None)).text == "OK: call mum, on Friday at 17:00."


async def test_a_question_about_a_reminder_tells_which_it_is_so_that_its_words_are_spoken_as_they_are(home):
    await home.have("meet room 17:30 | tomorrow 12:00")
    asked = await home.hear("reschedule meet room 17:30", "/move meet")
    assert [r.task for r in asked.reminders] == ["meet room 17:30"]
    assert aloud.answer(asked) == "When should I move meet room 17:30 to?"


async def test_a_move_may_be_answered_with_how_much_later(home):
    await home.have("call mum | tomorrow 17:00")
    await home.hear("reschedule mum", "/move mum")
    assert (await home.hear("an hour later", "/move > later 1 hour")).text == "OK: call mum, tomorrow at 18:00."


async def test_a_move_into_the_past_is_asked_about(home):
    await home.have("call mum | tomorrow 17:00")
    assert (await home.hear("mum this morning", "/move mum > today 09:00")).question
    assert (await home.hear("friday morning", None)).text == "OK: call mum, on Friday at 9:00."


async def test_one_of_a_series_is_moved_and_the_series_stays(home):
    bins = await home.have("bins | every thursday 07:00")
    reply = await home.hear("bins on friday this week", "/move bins > friday")
    assert reply.text == "OK: bins, on Friday at 7:00, this time only."
    assert home.times() == {"bins Fri 13 07:00", "bins Thu 19 07:00"}
    assert home.store.reminder(bins.id).rrule == bins.rrule


async def test_the_ring_of_a_series_is_moved_and_the_next_one_stays(home):
    home.ring(await home.have("pills | every day 11:00"))
    await home.hear("pills at tonight instead", "/move that > tonight")
    assert home.times() == {"pills Wed 11 20:00", "pills Thu 12 11:00"}


async def test_the_last_of_a_series_is_moved_as_a_whole(home):
    await home.have("pills | every day 11:00 for 1 time")
    await home.hear("pills on friday", "/move pills > friday")
    assert home.times() == {"pills Fri 13 11:00"}


async def test_a_time_out_of_the_calendar_is_refused_in_a_sentence(home):
    await home.have("call mum | tomorrow 17:00")
    reply = await home.hear("mum in an age", "/move mum > later 999 years")
    assert "is not a time that I know" in reply.text
    assert home.times() == {"call mum Thu 12 17:00"}


async def test_programs_move_cancel_snooze_and_end_by_number(home):
    mum = await home.have("call mum | tomorrow 17:00")
    assert home.pipeline.move(mum.id, "friday").due.astimezone(LONDON).strftime("%a %H:%M") == "Fri 17:00"
    ahead = home.store.reminder(mum.id).due
    assert home.pipeline.snooze(mum.id, minutes=5).due == ahead + timedelta(minutes=5)  # never sooner than it was
    assert home.pipeline.snooze(mum.id, when="tonight").due.astimezone(LONDON).hour == 20
    assert home.pipeline.done(mum.id).state == "done"
    assert home.pipeline.cancel((await home.have("eggs | 11:00")).id).state == "cancelled"


# List


@pytest.mark.parametrize(
    ("rewrite", "answer"),
    [
        ("/list next", "1 reminder: eggs, today at 11:00."),
        ("/list that", "1 reminder: flour, tomorrow at 12:00."),
        ("/list | friday", "No reminders on Friday."),
        ("/list flour | friday", "I have no reminder about flour on Friday."),
        ("/list all", "2 reminders: eggs, today at 11:00; flour, tomorrow at 12:00."),
    ],
)
async def test_a_list_may_be_of_some(home, rewrite, answer):
    await home.hear("eggs", "eggs | 11:00")
    await home.hear("flour", "flour | tomorrow 12:00")
    assert (await home.hear("list flour", rewrite)).text == answer


# What goes wrong


async def test_a_failure_is_told_again_to_who_asks_again(home):
    home.rewriter.broken = Unreadable()
    for _ in range(2):
        with pytest.raises(AssistantError, match="fewer and plainer words") as raised:
            await home.say("call dad at six pm", id="abc")
        assert raised.value.code == "unreadable"
        home.rewriter.broken = None
    assert home.tasks() == []


async def test_a_bug_in_one_request_does_not_come_back_at_the_next_start(home):
    home.rewriter.broken = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await home.say("call dad at six pm", id="abc")
    assert home.store.unsettled_requests() == []
    with pytest.raises(AssistantError):
        await home.say("call dad at six pm", id="abc")


async def test_an_answer_that_cannot_be_stored_makes_no_reminder(home):
    home.store.db.execute("CREATE TRIGGER no BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(Exception, match="no"):
        await home.say("call dad at six pm", id="abc")
    assert (home.tasks(), home.changes) == ([], 0)
    home.store.db.execute("DROP TRIGGER no")
    assert [r.id for r in home.store.unsettled_requests()] == ["abc"]
    assert (await home.say("call dad at six pm", id="abc")).text == "OK: call dad, today at 18:00."


async def test_a_question_that_cannot_be_stored_is_not_open(home):
    home.store.db.execute("CREATE TRIGGER no BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(Exception, match="no"):
        await home.say("remind me to buy milk")
    home.store.db.execute("DROP TRIGGER no")
    await home.hear("six pm", "| 18:00")
    assert home.tasks() == [""]


async def test_one_id_on_two_channels_at_once_is_one_request(home):
    home.pipeline.rewriter = Slow(home.rewriter.answers)
    one, two = await asyncio.gather(
        home.say("call dad at six pm", "cli", id="abc"), home.say("call dad at six pm", "http", id="abc")
    )
    assert one.text == two.text
    assert home.tasks() == ["call dad"]


async def test_chatter_that_arrives_twice_at_once_is_not_kept(home):
    home.pipeline.rewriter = Slow({})
    heard = await asyncio.gather(*(home.say("what is the weather", OVERHEARD, id="abc") for _ in range(3)))
    assert {r.text for r in heard} == {"That is not a reminder."}
    assert home.store.request("abc") is None


async def test_a_channel_on_which_too_many_wait_is_refused_before_anything_is_stored(home):
    home.pipeline.rewriter = Slow({})
    told = await asyncio.gather(
        *(home.say("what is the weather", id=f"r{n}") for n in range(MOST_WAITING + 5)), return_exceptions=True
    )
    home.pipeline.rewriter = home.rewriter
    refused = [n for n, r in enumerate(told) if isinstance(r, Busy)]
    assert len(refused) == 5
    assert all(home.store.request(f"r{n}") is None for n in refused)
    assert (await home.say("call dad at six pm")).kind == "create"


async def test_letters_that_are_none_do_no_harm(home):
    reply = await home.say("call \ud800 dad\u0000 \u202e now")
    assert home.store.request(reply.request_id).text == "call dad now"


# After a crash


def accept(home, text, rewrite=None):
    """A request that was accepted and not answered, because the daemon was killed."""
    if rewrite:
        home.rewriter.answers[text] = rewrite
    request = home.request(text)
    home.store.add_request(request)
    home.restart()
    return request


async def test_what_names_its_reminder_is_done_after_a_crash(home):
    await home.have("call mum | tomorrow 17:00", "eggs | 11:00")
    request = accept(home, "cancel mum")
    await home.pipeline.handle(request)
    assert home.tasks() == ["eggs"]


@pytest.mark.parametrize("rewrite", ["/cancel next", "/cancel that", "/cancel", "/cancel | tomorrow"])
async def test_what_may_mean_another_reminder_by_now_is_not_done_after_a_crash(home, rewrite):
    await home.have("call mum | tomorrow 17:00", "eggs | tomorrow 11:00")
    request = accept(home, "cancel it", rewrite)
    home.clock.pass_by(minutes=5)
    assert "interrupted" in (await home.pipeline.handle(request)).text
    assert home.tasks() == ["cancel it", "call mum", "eggs"] or home.tasks() == ["cancel it", "eggs", "call mum"]
    assert home.store.request(request.id).error == "interrupted"


async def test_a_question_that_nobody_heard_is_not_open(home):
    request = accept(home, "remind me to buy milk")
    reply = await home.pipeline.handle(request)
    assert (reply.question, home.store.unsettled_requests()) == (False, [])
    assert [r.due for r in home.store.active()] == [home.clock.now()]  # it rings instead
    await home.hear("six pm", "| 18:00")
    assert home.tasks() == ["buy milk", ""]


async def test_a_span_counts_from_when_it_was_said(home):
    request = accept(home, "eggs in ten minutes", "eggs | in 10 minutes")
    home.clock.pass_by(hours=2)
    await home.pipeline.handle(request)
    assert home.store.active()[0].due == WEDNESDAY + timedelta(minutes=10)


async def test_open_questions_do_not_outlive_the_daemon(home):
    await home.say("remind me to buy milk")
    home.restart()
    await home.hear("six pm", "| 18:00")
    assert home.tasks() == [""]


async def test_a_request_sent_again_after_a_crash_counts_from_when_it_was_first_said(home):
    request = accept(home, "eggs in ten minutes", "eggs | in 10 minutes")
    home.clock.pass_by(minutes=3)
    await home.say(request.text, id=request.id)
    assert home.store.active()[0].due == WEDNESDAY + timedelta(minutes=10)




# Anything at all

WORDS = ("call", "mum", "the", "alarm", "bins", "one", "yes", "no", "2", "friday", "all", "that", "at", "six")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_said_and_however_it_is_rewritten_it_is_answered_and_settled(home, seed):
    random, answered = Random(seed), 0
    for _ in range(100):
        text = " ".join(random.choices(WORDS, k=random.randint(1, 6)))
        rewrite = " ".join(grammar.sample(grammar.rewrite, random, tuple(text.split()))).replace(" \n ", "\n")
        home.rewriter.confidence = random.choice((0.2, 0.99))
        reply = await home.hear(text, rewrite, random.choice(("cli", "voice")))
        assert reply.text.endswith((".", "?")), (text, rewrite)
        answered += bool(reply.reminders)
        for due in [r for r in home.store.active() if r.due and r.due <= home.clock.now()]:
            home.ring(due)
        home.clock.pass_by(seconds=random.choice((5, 5, 5, 200, 4000)))
    assert answered
    assert home.store.unsettled_requests() == []
