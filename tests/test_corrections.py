"""When the person puts the assistant right, the reminder moves at once, and what the request should have become is kept."""

import json
import os
import sqlite3
import stat
import subprocess
from datetime import UTC, datetime

import pytest
import sqlite_utils
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assistant.corrections import Corrections, correction_json, merged, retimed, teachable, training_rows
from assistant.decoding import obstacle
from assistant.errors import AssistantError, NotFound, Unteachable
from assistant.local import LlamaRewriter
from assistant.meant import corrected_time, counted
from assistant.migrations import _1_remember
from assistant.overheard import OVERHEARD
from assistant.store import Store
from assistant.words import normalise, words
from tests.process import ASSISTANT, Daemon
from tests.test_conversation import Home
from tests.test_http import client, rewriter  # noqa: F401  (fixtures)
from tests.test_pipeline import LONDON, WEDNESDAY

NOW = datetime(2026, 3, 11, 10, tzinfo=UTC)
NUDGE, MUM = "schedule me a nudge for five to call mum", "remind me to call mum at five"


class Corrected(Home):
    """A person who puts the assistant right."""

    def proposals(self):
        """Text, what it became, what it should have become, and why."""
        return [(c.text, c.was, c.should, c.why) for c in self.corrections.in_state("proposed")]

    @property
    def corrections(self):
        return Corrections(self.store.db)


@pytest.fixture
def home(tmp_path):
    one = Corrected(tmp_path / "reminders.db")
    yield one
    one.close()


@pytest.fixture
def corrections(tmp_path):
    with Store.open(tmp_path / "reminders.db") as store:
        yield Corrections(store.db)


# What is a correction of a time


@pytest.mark.parametrize(
    ("said", "time"),
    [
        pytest.param("no, I meant six", "six", id="no, I meant"),
        pytest.param("No. I meant 6pm!", "6pm", id="with other marks"),
        pytest.param("no – six", "six", id="with a dash"),
        pytest.param("I said six", "six", id="I said"),
        pytest.param("i mean half six", "half six", id="I mean"),
        pytest.param("no six", "six", id="no, spoken"),
        pytest.param("no, six not five", "six", id="this, not that"),
        pytest.param("six, not five", "six", id="this, not that, without a no"),
        pytest.param("six instead of five", "six", id="instead of"),
        pytest.param("not five, six", "six", id="not that, this"),
        pytest.param("not five but six", "six", id="not that but this"),
        pytest.param("not five six", "six", id="not that, this, without a pause"),
        pytest.param("not at five, at six", "at six", id="not at that, at this"),
        pytest.param("not 5pm 6pm", "6pm", id="not that, this, with the half of the day"),
        pytest.param("not half five half six", "half six", id="not that, this, in more words"),
        pytest.param("not today tomorrow", "tomorrow", id="not that day, this day"),
        pytest.param("sorry, half past six", "half past six", id="sorry"),
        pytest.param("wait no six", "six", id="wait, no"),
        pytest.param("no it's at six", "at six", id="no, it's"),
        pytest.param("it should be friday", "friday", id="it should be"),
        pytest.param("actually tomorrow at noon", "tomorrow at noon", id="actually"),
        pytest.param("no, 5:45", "5:45", id="digits"),
        pytest.param("no, quarter to six please", "quarter to six please", id="a clock time in words"),
        pytest.param("no, I meant the day after tomorrow", "the day after tomorrow", id="a day"),
        pytest.param("no, on the 5th of febuary", "on the 5th of febuary", id="a date, misspelt"),
        pytest.param("no, every thursday", "every thursday", id="what recurs"),
        pytest.param("no, an hour later", "an hour later", id="later than that"),
        pytest.param("no, call mum at six", "call mum at six", id="with the task again"),
        pytest.param("i said remind me at six", "remind me at six", id="with the asking again"),
    ],
)
def test_a_correction_of_a_time_is_told_from_a_request(said, time):
    assert corrected_time(said, "call mum") == time


@pytest.mark.parametrize(
    "said",
    [
        "no", "no thanks", "no, not now", "not today", "six", "at six", "no reminder tomorrow", "no alarm tomorrow",
        "no meeting tomorrow", "no call mum at six", "actually remind me to call dad at six", "remind me at six, not five",
        "no the dentist, not the doctor", "no, call dad, not mum", "no, I'm busy at six", "no later than six", "cancel that",
        "no more", "I meant", "not", "no,", "...", "", "no, " + "six " * 20,
        "not at six", "no, not at six", "not 6 pm", "not on friday", "not tomorrow morning", "not this evening",
        "not five thirty", "not um six", "not this one", "no, this one", "no, pm", "sorry, last", "actually please",
    ],
)  # fmt: skip
def test_a_request_is_not_taken_for_a_correction(said):
    assert corrected_time(said, "call mum") == ""


@pytest.mark.parametrize(
    ("said", "when", "meant"),
    [
        ("six", "in 5 minutes", "in 6 minutes"),
        ("for twenty five", "in 5 minutes", "in 25 minutes"),
        ("one", "in 2 hours", "in 1 hour"),
        ("three", "in 2 days", "in 3 days"),
        ("30", "every 20 minutes", "every 30 minutes"),
        ("30 seconds", "every 20 minutes", "every 30 seconds"),
        *((said, "in 5 minutes", said) for said in ("at six", "six pm", "noon", "5th", "6:30", "an hour", "please")),
        ("six", "tomorrow 5:00?", "six"),
        ("six", "every day 07:00", "six"),
        ("two", "in 3 days 06:00", "two"),
        ("10", "in 1 hour 30 minutes", "10"),
        ("in 30 minutes", "every 20 minutes", "in 30 minutes"),
    ],
)
def test_a_number_puts_a_length_of_time_right_and_is_no_clock_time_then(said, when, meant):
    assert counted(said, when) == meant


async def test_a_timer_for_so_many_minutes_is_put_right_by_a_number(home):
    await home.hear("set a timer for five minutes", "timer | in 5 minutes")
    home.rewriter.answers["six"] = home.rewriter.answers["remind me six"] = "| 6:00?"
    assert (await home.say("no, six")).text == "OK: timer, today at 10:06."


async def test_the_time_of_what_was_just_set_is_put_right(home):
    await home.hear("call mum at five", "call mum | 5:00?")
    home.rewriter.answers["remind me six"] = "| 6:00?"
    assert (await home.say("no, I meant six")).text == "OK: call mum, today at 18:00."
    home.rewriter.answers["remind me seven"] = "| 7:00?"
    reply = await home.say("no, seven")
    assert (reply.text, reply.kind, reply.understanding.rewrite) == (
        "OK: call mum, today at 19:00.", "move", "/move that > 7:00?")  # fmt: skip
    assert home.times() == {"call mum Wed 11 19:00"}


@pytest.mark.parametrize(
    ("said", "rewrite", "instead", "means", "then"),
    [
        ("bins every thursday at seven", "bins | every thursday 07:00", "no, friday", None, "bins Fri 13 07:00"),
        ("bins every thursday at seven", "bins | every thursday 07:00", "no, 8", "| 8:00?", "bins Thu 12 08:00"),
        ("mum tomorrow at five", "mum | tomorrow 5:00?", "no, friday", None, "mum Fri 13 17:00"),
        ("mum tomorrow at five", "mum | tomorrow 5:00?", "no, an hour later", "/move > later 1 hour", "mum Thu 12 18:00"),
    ],
    ids=["another weekday of a series", "another time of a series", "another day", "an hour later"],
)
async def test_what_is_not_said_anew_stays(home, said, rewrite, instead, means, then):
    await home.hear(said, rewrite)
    if means:
        home.rewriter.answers[instead.removeprefix("no, ")] = means
    await home.say(instead)
    assert home.times() == {then}


async def test_a_look_at_the_list_in_between_does_not_matter(home):
    await home.hear("call mum at five", "call mum | 5:00?")
    await home.say("what are my reminders")
    assert (await home.say("no, friday")).text == "OK: call mum, on Friday at 17:00."


@pytest.mark.parametrize("why", ["long ago", "another channel", "another answer", "cancelled", "two at once", "a restart"])
async def test_only_what_was_just_set_alone_on_the_channel_is_put_right(home, why):
    said = ("mum at five and dad at six", "mum | 5:00?\ndad | 6:00?") if why == "two at once" else (MUM, "call mum | 5:00?")
    [mum, *_] = (await home.hear(*said)).reminders
    if why == "long ago":
        home.clock.pass_by(minutes=11)
    if why == "another answer":
        await home.say("what is the weather")
    if why == "cancelled":
        home.pipeline.cancel(mum.id)
    if why == "a restart":
        home.restart()
    before = home.times()
    reply = await home.say("no, friday", "http" if why == "another channel" else "cli")
    assert (reply.kind, home.times()) == ("other", before)


async def test_a_time_that_has_passed_is_asked_about(home):
    await home.hear("call mum at five", "call mum | 5:00?")
    home.rewriter.answers["nine this morning"] = "| today 09:00"
    asked = await home.say("no, nine this morning")
    assert (asked.text, asked.question) == ("9:00 today has passed. When should I move call mum to?", True)
    assert home.times() == {"call mum Wed 11 17:00"}


async def test_the_model_that_ships_hears_a_correction(home, model):
    async with LlamaRewriter(model) as real:
        home.pipeline.rewriter = real
        await home.say("remind me to call mum tomorrow at quarter past five")
        assert (await home.say("no, I meant quarter to six")).text == "OK: call mum, tomorrow at 17:45."
        assert (await home.say("not quarter to six, half past six")).text == "OK: call mum, tomorrow at 18:30."
        assert (await home.say("actually remind me to call dad at six")).text == "OK: call dad, today at 18:00."
        assert home.times() == {"call dad Wed 11 18:00", "call mum Thu 12 18:30"}


# What is proposed


async def test_an_error_of_the_model_is_proposed_with_what_the_request_should_have_become(home):
    await home.hear("Call Mum tomorrow at quarter to six", "call mum | tomorrow 6:15?")
    home.rewriter.answers["remind me 5:45"] = "| 5:45?"
    assert (await home.say("no, 5:45")).text == "OK: Call Mum, tomorrow at 17:45."
    assert home.proposals() == [
        ("Call Mum tomorrow at quarter to six", "call mum | tomorrow 6:15?", "call mum | tomorrow 5:45?", "meant")]  # fmt: skip


async def test_a_change_of_mind_is_no_error_of_the_model(home):
    await home.hear("call mum at five", "call mum | 5:00?")
    home.rewriter.answers["remind me six"] = "| 6:00?"
    await home.say("no, I meant six")
    assert home.times() == {"call mum Wed 11 18:00"}
    assert home.corrections.in_state() == []


async def test_the_half_of_the_day_that_was_left_open_is_no_error_either(home):
    await home.hear("call mum tomorrow at seven", "call mum | tomorrow 7:00?")
    home.rewriter.answers["7pm"] = "| 19:00"
    assert (await home.say("no, 7pm")).text == "OK: call mum, tomorrow at 19:00."
    assert home.corrections.in_state() == []


async def test_a_second_correction_replaces_what_was_proposed_and_one_back_takes_it_away(home):
    await home.hear("mum at half seven or six", "mum | 6:30?")
    await home.say("no, 19:30")
    assert [p[2] for p in home.proposals()] == ["mum | 7:30?"]
    await home.say("no, 18:00")
    assert [p[2] for p in home.proposals()] == ["mum | 6:00?"]
    await home.say("no, 18:30")
    assert home.proposals() == []


async def test_a_second_correction_goes_on_from_the_first(home):
    await home.hear("mum tomorrow or friday at quarter to six", "mum | tomorrow 6:15?")
    await home.say("no, friday")
    assert home.proposals() == []  # 6:15? cannot be taught
    await home.say("no, 17:45")
    assert [p[2] for p in home.proposals()] == ["mum | friday 5:45?"]


@pytest.mark.parametrize("by", ["voice", "number"])
async def test_a_move_right_after_it_was_set_is_an_edit(home, by):
    [made] = (await home.hear("mum tomorrow at quarter to six", "mum | tomorrow 6:15?")).reminders
    home.clock.pass_by(minutes=2)
    if by == "voice":
        await home.hear("move mum to quarter to six", "/move mum > 5:45?", channel="voice")
    else:
        home.pipeline.move(made.id, "17:45")
    assert home.times() == {"mum Thu 12 17:45"}
    assert home.proposals() == [
        ("mum tomorrow at quarter to six", "mum | tomorrow 6:15?", "mum | tomorrow 5:45?", "edit")]  # fmt: skip


@pytest.mark.parametrize("why", ["later", "a series", "unsaid"])
async def test_a_change_of_plans_is_no_edit(home, why):
    said = "mum every day at quarter to six" if why == "a series" else "mum at quarter to six"
    [made] = (await home.hear(said, "mum | every day 18:15" if why == "a series" else "mum | 18:15")).reminders
    home.clock.pass_by(minutes=3 if why == "later" else 1)
    home.pipeline.move(made.id, "19:00" if why == "unsaid" else "17:45")
    assert home.proposals() == []


@pytest.mark.parametrize("channel", ["cli", "voice"])
async def test_other_words_for_what_was_no_reminder_are_what_it_should_have_become(home, channel):
    assert (await home.hear(NUDGE, "/other", channel=channel)).text == "That is not a reminder."
    home.clock.pass_by(seconds=60)
    await home.hear(MUM, "call mum | 5:00?", channel=channel)
    assert home.proposals() == [(NUDGE, "/other", "call mum | 5:00?", "reworded")]
    assert home.times() == {"call mum Wed 11 17:00"}


async def test_only_the_next_wording_that_sets_something_replaces_the_first(home):
    await home.hear(NUDGE, "/other")
    await home.hear(MUM, "call mum | 5:00?")
    await home.hear("remind me to call at five", "call | 5:00?")
    assert [p[2] for p in home.proposals()] == ["call mum | 5:00?"]


async def test_other_words_after_a_cancel_are_what_it_should_have_become(home):
    [made] = (await home.hear(NUDGE, "a nudge | 5:00?")).reminders
    await home.hear("cancel that", "/cancel that")
    await home.hear(MUM, "call mum | 5:00?")
    assert home.proposals() == [(NUDGE, "a nudge | 5:00?", "call mum | 5:00?", "reworded")]


async def test_a_cancel_by_number_takes_a_request_back_as_well(home):
    [made] = (await home.hear(NUDGE, "a nudge | 5:00?")).reminders
    home.pipeline.cancel(made.id)
    await home.hear(MUM, "call mum | 5:00?")
    assert [p[2] for p in home.proposals()] == ["call mum | 5:00?"]


@pytest.mark.parametrize(
    ("why", "text", "rewrite"),
    [
        ("later", MUM, "call mum | 5:00?"),
        ("another channel", MUM, "call mum | 5:00?"),
        ("another task", "remind me to call dad at five", "call dad | 5:00?"),
        ("another order", "remind me mum call at five", "mum call | 5:00?"),
        ("another time", "remind me to call mum at six", "call mum | 6:00?"),
        ("no task", "remind me tomorrow", "| tomorrow"),
    ],
)
async def test_what_is_not_like_the_first_wording_is_a_request_of_its_own(home, why, text, rewrite):
    await home.hear(NUDGE, "/other")
    home.clock.pass_by(seconds=61 if why == "later" else 20)
    assert (await home.hear(text, rewrite, "http" if why == "another channel" else "cli")).kind == "create"
    assert home.proposals() == []


async def test_nothing_is_kept_of_chatter_beside_a_channel_that_listens(home):
    await home.hear("what is the weather", "/other", channel=OVERHEARD)
    await home.hear(MUM, "call mum | 5:00?", channel=OVERHEARD)
    assert home.corrections.in_state() == []
    assert home.store.db.value("SELECT count(*) FROM requests WHERE text LIKE '%weather%'") == 0


async def test_yes_confirms_a_rewrite(home):
    home.rewriter.confidence = 0.3
    await home.hear("mum tomorrow at five", "mum | tomorrow 5:00?")
    assert (await home.say("yes")).text == "OK: mum, tomorrow at 17:00."
    assert home.proposals() == [("mum tomorrow at five", "mum | tomorrow 5:00?", "mum | tomorrow 5:00?", "confirmed")]


async def test_no_with_another_time_puts_right_what_was_asked_about_and_keeps_its_day(home):
    home.rewriter.confidence = 0.3
    await home.hear("mum tomorrow at quarter to six", "mum | tomorrow 6:15?")
    home.rewriter.answers["at 5:45"] = "| 5:45?"
    assert (await home.say("no, at 5:45")).text == "OK: mum, tomorrow at 17:45."
    assert home.proposals() == [
        ("mum tomorrow at quarter to six", "mum | tomorrow 6:15?", "mum | tomorrow 5:45?", "meant")]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "then", "rings"),
    [
        ("no, 7pm", "| 19:00", "mum Thu 12 19:00"),
        ("no, 8pm", "| 20:00", "mum Thu 12 20:00"),
        ("no, eight", "| 8:00?", "mum Thu 12 08:00"),
        ("not seven, eight", "| 8:00?", "mum Thu 12 08:00"),
        ("sorry, 8pm", "| 20:00", "mum Thu 12 20:00"),
    ],
)
async def test_the_half_of_the_day_that_is_said_then_counts_and_teaches_nothing(home, answer, then, rings):
    home.rewriter.confidence = 0.3
    assert (await home.hear("mum tomorrow at seven", "mum | tomorrow 7:00?")).kind == "confirm"
    for time in ("7pm", "8pm", "eight"):
        home.rewriter.answers[time] = home.rewriter.answers[f"remind me {time}"] = then
    await home.say(answer)
    assert home.times() == {rings}
    assert home.corrections.in_state() == []


async def test_a_correction_after_that_goes_on_from_it(home):
    home.rewriter.confidence = 0.3
    await home.hear("mum tomorrow or friday at quarter to six", "mum | tomorrow 6:15?")
    home.rewriter.answers["at 5:45"] = "| 5:45?"
    await home.say("no, at 5:45")
    await home.say("no, friday")
    assert [p[2] for p in home.proposals()] == ["mum | friday 5:45?"]
    assert home.times() == {"mum Fri 13 17:45"}


async def test_no_not_then_is_no_time(home):
    home.rewriter.confidence = 0.3
    await home.hear("mum tomorrow at seven", "mum | tomorrow 7:00?")
    home.rewriter.answers["not tomorrow"] = home.rewriter.answers["remind me not tomorrow"] = "| tomorrow"
    assert (await home.say("no, not tomorrow")).question
    assert home.times() == set()


async def test_channels_that_have_fallen_silent_are_forgotten(home):
    for n in range(20):
        await home.hear(MUM, "call mum | 5:00?", channel=f"set {n}")
        await home.hear(NUDGE, "/other", channel=f"other {n}")
        home.clock.pass_by(minutes=11)
    hindsight = home.pipeline._conversation.hindsight
    assert max(map(len, (hindsight._made, hindsight._last, hindsight._doubts))) == 1


@pytest.mark.parametrize("first", ["no", None], ids=["after a no", "at once"])
async def test_other_words_for_what_was_asked_about_are_what_it_should_have_become(home, first):
    home.rewriter.confidence = 0.3
    await home.hear(NUDGE, "a nudge | 5:00?")
    if first:
        await home.say(first)
    home.rewriter.confidence = 0.9
    await home.hear(MUM, "call mum | 5:00?")
    assert home.proposals() == [(NUDGE, "a nudge | 5:00?", "call mum | 5:00?", "reworded")]


async def test_what_was_dropped_is_not_proposed_again(home):
    for _ in range(2):
        await home.hear(NUDGE, "/other")
        await home.hear(MUM, "call mum | 5:00?")
        for c in home.corrections.in_state("proposed"):
            home.corrections.drop(c.id, NOW)
    assert [c.state for c in home.corrections.in_state()] == ["dropped"]


# A correction must never cost a reminder


async def test_a_correction_that_cannot_be_kept_costs_no_reminder(home, caplog):
    home.store.db.execute("CREATE TRIGGER no BEFORE INSERT ON corrections BEGIN SELECT RAISE(ABORT, 'no'); END")
    await home.hear(NUDGE, "/other")
    assert (await home.hear(MUM, "call mum | 5:00?")).text == "OK: call mum, today at 17:00."
    assert home.times() == {"call mum Wed 11 17:00"}
    assert home.store.unsettled_requests() == []
    assert "a correction was not kept" in caplog.text


async def test_a_bug_in_the_proposal_costs_no_reminder(home, monkeypatch):
    monkeypatch.setattr("assistant.corrections.teachable", lambda text, rewrite: 1 / 0)
    await home.hear(NUDGE, "/other")
    assert (await home.hear(MUM, "call mum | 5:00?")).text == "OK: call mum, today at 17:00."
    assert home.times() == {"call mum Wed 11 17:00"}


async def test_a_bug_in_what_a_move_teaches_costs_no_move(home, monkeypatch):
    await home.hear("mum tomorrow at quarter to six", "mum | tomorrow 6:15?")
    monkeypatch.setattr("assistant.hindsight.retimed", lambda *_: 1 / 0)
    await home.say("no, 17:45")
    assert home.times() == {"mum Thu 12 17:45"}


async def test_a_transaction_that_a_correction_broke_is_not_said_to_be_done(home):
    home.store.db.execute("CREATE TRIGGER no BEFORE INSERT ON corrections BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
    await home.hear(NUDGE, "/other")
    with pytest.raises(sqlite3.IntegrityError):  # the fault itself, not that there is nothing to commit
        await home.hear(MUM, "call mum | 5:00?")
    assert home.times() == set()


async def test_what_cannot_be_settled_proposes_nothing(home):
    await home.hear(NUDGE, "/other")
    home.store.db.execute("CREATE TRIGGER no BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(Exception, match="no"):
        await home.hear(MUM, "call mum | 5:00?")
    assert (home.times(), home.corrections.in_state()) == (set(), [])


# What can be taught


@pytest.mark.parametrize(
    ("text", "rewrite", "kept"),
    [
        ("Call Mum at quarter to six", "Call Mum | 5:45?", "call mum | 5:45?"),
        ("call mum tomorrow at five pm", "call mum  tomorrow 17:00", "call mum | tomorrow 17:00"),
        ("feed the cat and call mum at 6", "feed the cat |\n\n call mum | 6:00?", "feed the cat |\ncall mum | 6:00?"),
        ("what is this", "/other", "/other"),
        ("push my run back an hour", "/move run > later 1 hour", "/move run > later 1 hour"),
        ("Zbigniew’s suit on friday", "Zbigniew’s suit | friday", "zbigniew's suit | friday"),
        ("remind me at ten", "| 10:00?", "| 10:00?"),
    ],
)
def test_what_a_model_could_write_can_be_taught(text, rewrite, kept):
    assert teachable(text, rewrite) == kept


@pytest.mark.parametrize(
    ("text", "rewrite", "says"),
    [
        pytest.param("call mum at 6", "call dad | 6:00?", '"dad" was not said', id="a word that was not said"),
        pytest.param("call mum at 6", "mum call | 6:00?", "keep the order", id="another order"),
        pytest.param("call mum at 6", "call mum | at six", '"at six" is not a time', id="a time that is none"),
        pytest.param("call mum at 6", "call mum | 7:00?", '"7:00?" cannot be written', id="an hour that was not said"),
        pytest.param("call mum", "call mum | friday", '"friday" cannot be written', id="a day that was not said"),
        pytest.param("call mum", "/ring mum", '"/ring" cannot be written', id="a command that is none"),
        pytest.param("call mum", " \n ", "to its end", id="nothing"),
        pytest.param("call mum | 6", "call mum | 6:00?", 'with a "|"', id="a bar in the request"),
    ],
)
def test_what_no_model_could_write_is_refused_with_a_sentence_that_says_why(text, rewrite, says):
    with pytest.raises(AssistantError, match=".*") as e:
        teachable(text, rewrite)
    assert says in str(e.value)
    assert (e.value.status, e.value.exit_status) == (422, 2)


@pytest.mark.parametrize(
    ("old", "new", "due", "then"),
    [
        ("tomorrow 6:15?", "5:45?", "17:45", "tomorrow 5:45?"),
        ("tomorrow 18:15", "5:45?", "17:45", "tomorrow 17:45"),
        ("tomorrow 6:15?", "17:45", "17:45", "tomorrow 5:45?"),
        ("tomorrow 6:15?", "friday", "18:15", "friday 6:15?"),
        ("tomorrow", "6:00?", "18:00", "tomorrow 6:00?"),
        ("tomorrow 6:15?", "noon", "12:00", "tomorrow noon"),
        ("tonight", "9:00?", "21:00", "today 9:00?"),
        ("in 2 days 09:00", "10:00?", "10:00", "in 2 days 10:00"),
        ("in 2 hours", "6:00?", "18:00", "6:00?"),
        ("6:00?", "in 2 hours", "12:00", "in 2 hours"),
        ("thursday 7:00?", "every thursday", "07:00", "every thursday 7:00?"),
        ("every thursday 07:00", "friday", "07:00", "every friday 07:00"),
        ("every day 07:00 from monday", "friday", "07:00", "friday"),
        ("every 2 weeks on thursday 07:00", "friday", "07:00", "every 2 weeks on friday 07:00"),
        ("every monday and thursday 07:00 until 5 june", "8:00?", "08:00", "every monday and thursday 08:00 until 5 june"),
        ("tomorrow 6:15?", "friday 17:45", "17:45", "friday 5:45?"),
        ("", "friday", "09:00", "friday"),
    ],
)
def test_a_time_that_is_put_right_keeps_what_is_not_said_anew(old, new, due, then):
    due = datetime.combine(WEDNESDAY.date(), datetime.strptime(due, "%H:%M").time(), LONDON)
    assert merged(old, new, due) == then


@pytest.mark.parametrize("rewrite", ["milk | 18:00\nbread |", "/move mum > 6:00?"])
def test_several_reminders_and_commands_have_no_one_time(rewrite):
    assert retimed(rewrite, "noon", WEDNESDAY) is None


# Kept, accepted, dropped, exported


def exported(corrections):
    return [(r["input"], r["output"]) for r in training_rows(map(correction_json, corrections.in_state("accepted")))]


def test_only_what_was_accepted_is_exported(corrections):
    for n, text in enumerate(("call mum at 6", "call dad at 6", "call granny at 6")):
        corrections.propose(None, text, "/other", f"{text[:-5]} | 6:00?", "reworded", NOW)
        assert len(corrections.in_state("proposed")) == n + 1
    mum, dad, granny = corrections.in_state()
    assert corrections.accept(mum.id, NOW).state == "accepted"
    assert corrections.drop(dad.id, NOW).state == "dropped"
    assert training_rows(map(correction_json, corrections.in_state("accepted"))) == [{
        "input": "call mum at 6", "output": "call mum | 6:00?", "source": "correction", "at": "2026-03-11T10:00:00.000000Z"}]  # fmt: skip
    corrections.drop(mum.id, NOW)
    assert exported(corrections) == []


def test_one_may_be_accepted_as_something_else_that_can_be_taught(corrections):
    corrections.propose(None, "call mum at 6", "/other", "call mum | 6:00?", "reworded", NOW)
    [one] = corrections.in_state()
    with pytest.raises(Unteachable, match='"dad" was not said'):
        corrections.accept(one.id, NOW, "call dad | 6:00?")
    assert corrections.correction(one.id) == one
    assert corrections.accept(one.id, NOW, "Mum | 6:00?").should == "mum | 6:00?"


def test_of_two_for_one_request_the_later_one_is_taught(corrections):
    first = corrections.add("Call mum at 6", "call mum | 6:00?", NOW)
    corrections.add("call mum at 6", "mum | 6:00?", NOW)
    assert exported(corrections) == [("call mum at 6", "mum | 6:00?")]
    corrections.accept(first.id, NOW)
    assert exported(corrections) == [("Call mum at 6", "call mum | 6:00?")]


def test_one_that_is_added_twice_is_one(corrections):
    once = corrections.add("call  mum at 6", "call mum | 6:00?", NOW)
    corrections.drop(once.id, NOW)
    assert corrections.add("call mum at 6", "call mum | 6:00?", NOW) == once
    assert (once.why, once.state, once.was, once.text) == ("added", "accepted", None, "call mum at 6")


@pytest.mark.parametrize("id", [7, 2**70])
def test_one_that_is_not_there_is_not_found(corrections, id):
    for act in (corrections.accept, corrections.drop):
        with pytest.raises(NotFound, match="corrections list"):
            act(id, NOW)


async def test_a_correction_outlives_its_request(home):
    await home.hear(NUDGE, "/other", channel="cli")
    await home.hear(MUM, "call mum | 5:00?")
    [kept] = home.corrections.in_state()
    assert home.store.request(kept.request_id).text == NUDGE
    home.store.forget_request(kept.request_id)
    [kept] = home.corrections.in_state()
    assert (kept.request_id, kept.text) == (None, NUDGE)


@given(
    text=st.one_of(st.text(max_size=60), st.lists(st.sampled_from("call mum at six quarter to friday every 6 pm, | Zoë".split()), max_size=9).map(" ".join)),
    rewrite=st.one_of(st.text(max_size=60), st.lists(st.sampled_from("call mum | 6:00? 5:45? friday every /other /cancel \n zoë".split(" ")), max_size=9).map(" ".join)),
)
@example("call mum at six", "call mum | 6:00?")
@example("call mum\ud800", "call mum\ud800 |")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_added_is_refused_with_a_sentence_or_can_be_written_by_a_model(corrections, text, rewrite):
    try:
        one = corrections.add(text, rewrite, NOW)
    except AssistantError as e:
        assert str(e).endswith(".")
        return
    [row] = [r for r in training_rows(map(correction_json, corrections.in_state("accepted"))) if r["input"] == one.text]
    assert obstacle(row["output"], [w.folded for w in words(normalise(row["input"]))]) is None
    assert teachable(row["input"], row["output"]) == row["output"]


def test_a_database_of_version_1_keeps_everything(tmp_path):
    path = tmp_path / "reminders.db"
    old = sqlite_utils.Database(path)
    _1_remember(old)
    old.execute("INSERT INTO requests (id, text, channel, said_at) VALUES ('r1', 'call mum', 'cli', '2026-03-11T10:00:00.000000Z')")
    old.execute(
        'INSERT INTO reminders (request_id, task, "when", wall, fold, zone, due, state) VALUES (\'r1\', \'call mum\', \'noon\','
        " '2026-03-11T12:00:00.000000', 0, 'Europe/London', '2026-03-11T12:00:00.000000Z', 'pending')")  # fmt: skip
    old.execute("PRAGMA user_version = 1")
    old.conn.commit()
    old.close()
    with Store.open(path) as store:
        assert store.db.value("PRAGMA user_version") >= 2
        assert [(r.task, r.request_id) for r in store.active()] == [("call mum", "r1")]
        Corrections(store.db).propose("r1", "call mum at 6", "/other", "call mum | 6:00?", "meant", NOW)
        assert [c.request_id for c in Corrections(store.db).in_state()] == ["r1"]


# Over HTTP


async def test_corrections_are_added_listed_accepted_and_dropped(client):  # noqa: F811
    status, answer = await client("POST", "/corrections", {"text": "ring mum at quarter to six", "rewrite": "ring mum | 5:45?"})
    assert (status, answer["reply"]) == (200, "Added: ring mum | 5:45?")
    one = answer["correction"]
    assert set(one) == {"id", "text", "was", "should", "why", "state", "at"}
    assert await client("GET", "/corrections") == (200, {"corrections": []})
    assert await client("GET", "/corrections?state=accepted") == (200, {"corrections": [one]})
    status, answer = await client("POST", f"/corrections/{one['id']}/drop")
    assert (status, answer["correction"]["state"]) == (200, "dropped")
    status, answer = await client("POST", f"/corrections/{one['id']}/accept", {"rewrite": "mum | 5:45?"})
    assert (answer["correction"]["state"], answer["correction"]["should"]) == ("accepted", "mum | 5:45?")
    assert len((await client("GET", "/corrections?state=all"))[1]["corrections"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/corrections", {"text": "call mum at 6", "rewrite": "call dad | 6:00?"}, 422, '"dad" was not said'),
        ("POST", "/corrections", {"text": "call mum at 6", "rewrite": "call mum | soon"}, 422, '"soon" is not a time'),
        ("POST", "/corrections", {"text": "call mum at 6", "rewrite": "call mum | 7:00?"}, 422, '"7:00?" cannot be written'),
        ("POST", "/corrections", {"text": "call mum at 6"}, 400, '"rewrite" is missing'),
        ("GET", "/corrections?state=mine", None, 400, '"state" must be one of'),
        ("POST", "/corrections/99/accept", None, 404, "no correction 99"),
        ("POST", "/corrections/99/drop", None, 404, "no correction 99"),
    ],
)
async def test_what_cannot_be_taken_is_refused_in_a_sentence(client, method, path, body, status, says):  # noqa: F811
    got, answer = await client(method, path, body)
    assert (got, says in answer["error"]["message"]) == (status, True), answer


# The commands


def run(*words, data=None, port="1", **more):
    """`assistant corrections ...`, on a port where nobody answers unless it is said."""
    command = [*ASSISTANT, "corrections", *words, "--port", port, *(("--data", str(data)) if data else ())]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **more)


def listed(*words, **where):
    answer = run("list", "--json", *words, **where)
    assert answer.returncode == 0, answer.stderr
    return [(c["text"], c["was"], c["should"], c["why"], c["state"]) for c in json.loads(answer.stdout)["corrections"]]


def test_a_correction_goes_from_the_daemon_through_the_commands_into_a_file(tmp_path, model):
    data = tmp_path / "data"
    data.mkdir()
    out = tmp_path / "corrections.jsonl"
    with Daemon(data) as daemon:
        here = {"port": daemon.url.rsplit(":", 1)[1]}
        [made] = daemon.say("remind me to ring mum tomorrow at quarter past or quarter to six", channel="cli")["reminders"]
        was = made["when"]
        other = "17:45" if "6:15" in was or "18:15" in was else "18:15"
        assert daemon.call("POST", f"/reminders/{made['id']}/move", {"when": other})[0] == 200
        [(text, _, should, why, state)] = listed(**here)
        assert (text[:21], why, state) == ("remind me to ring mum", "edit", "proposed")
        assert should != f"ring mum | {was}"
        assert "should" in run("list", **here).stdout
        assert run("accept", "--all", **here).returncode == 0
        added = run("add", "nudge me at noon to eat", "eat | noon", "--data", str(data), port=here["port"])
        assert added.returncode == 0, added.stderr
        assert run("export", "--out", str(out), **here).returncode == 0
        held = run("list", data=data)
        assert (held.returncode, "already uses" in held.stderr) == (4, True)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["input"], r["output"], r["source"]) for r in rows] == [
        (text, should, "correction"), ("nudge me at noon to eat", "eat | noon", "correction")]  # fmt: skip
    assert stat.S_IMODE(os.stat(out).st_mode) == 0o600
    assert run("export", data=data).stdout == out.read_text()  # no daemon runs any more


def test_another_folder_than_the_daemon_s_is_opened_beside_it(tmp_path, model):
    (tmp_path / "mine").mkdir()
    with Store.open(tmp_path / "theirs" / "reminders.db") as store:
        Corrections(store.db).add("call mum at 6", "call mum | 6:00?", NOW)
    with Daemon(tmp_path / "mine") as daemon:
        port = daemon.url.rsplit(":", 1)[1]
        assert [c[0] for c in listed("--state", "all", port=port, data=tmp_path / "theirs")] == ["call mum at 6"]
        assert listed("--state", "all", port=port) == []


def test_without_a_daemon_the_commands_use_the_database(tmp_path):
    with Store.open(tmp_path / "reminders.db") as store:
        corrections = Corrections(store.db)
        for who in ("mum", "dad"):
            corrections.propose(None, f"call {who} at 6", "/other", f"call {who} | 6:00?", "reworded", NOW)
    assert run("accept", "1", "--as", "mum | 6:00?", data=tmp_path).stdout == 'Accepted 1: "call mum at 6" should be \'mum | 6:00?\'.\n'
    assert json.loads(run("drop", "2", "--json", data=tmp_path).stdout)["corrections"][0]["state"] == "dropped"
    assert [c[2:] for c in listed("--state", "all", data=tmp_path)] == [
        ("mum | 6:00?", "reworded", "accepted"), ("call dad | 6:00?", "reworded", "dropped")]  # fmt: skip
    assert [json.loads(line)["output"] for line in run("export", data=tmp_path).stdout.splitlines()] == ["mum | 6:00?"]
    assert run("list", data=tmp_path).stdout == "No correction is proposed.\n"


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        (("add", "call mum at 6", "call dad | 6:00?"), 2, '"dad" was not said'),
        (("accept", "99"), 1, "no correction 99"),
        (("drop", "99"), 1, "no correction 99"),
        (("accept",), 2, "--all"),
        (("accept", "1", "2", "--as", "x |"), 2, "exactly one"),
        (("list", "--state", "mine"), 2, "proposed, accepted, dropped, all"),
        (("export", "--out", "/nowhere/x.jsonl"), 2, "--out"),
    ],
    ids=lambda c: " ".join(c) if isinstance(c, tuple) else None,
)
def test_a_command_that_cannot_be_done_says_why(tmp_path, command, status, says):
    with Store.open(tmp_path / "reminders.db"):
        pass
    answer = run(*command, data=tmp_path)
    assert (answer.returncode, says in answer.stderr, answer.stdout) == (status, True, ""), answer.stderr


def test_a_folder_without_reminders_is_not_made_by_looking_at_it(tmp_path):
    answer = run("list", data=tmp_path / "typo")
    assert (answer.returncode, "no reminders in" in answer.stderr) == (1, True)
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("command", ["list", "accept", "drop", "add", "export"])
def test_each_command_has_an_example(command):
    text = run(command, "--help").stdout
    assert f"Example: assistant corrections {command}" in text
    assert "--json" in text
