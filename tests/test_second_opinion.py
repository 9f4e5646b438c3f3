"""A time is agreed upon only if somebody else's parser reads the same one."""

import pytest

from training import second_opinion as so
from training.checks import check
from training.labelled import Labelled
from training.parsers import NotInstalled
from training.second_opinion import has_time, overlooked, second_opinion


def row(said: str, written: str) -> Labelled:
    return check(Labelled(said, written, "hand"))


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("remind me to call mum tomorrow at 5pm", "call mum | tomorrow 17:00"),
        ("call mum at 5", "call mum | 5:00?"),
        ("stretch in 20 minutes", "stretch | in 20 minutes"),
        ("lock the door tonight", "lock the door | tonight"),
        ("bins out tomorrow morning", "bins out | tomorrow morning"),
        ("pay the tax on 3 may", "pay the tax | 3 may"),
        ("dentist next friday", "dentist | next friday"),
        ("meeting with jo at quarter to nine on friday", "meeting with jo | friday 8:45?"),
        ("call jo on friday at 3 pm and bo on saturday at 4 pm", "call jo | friday 15:00\nbo | saturday 16:00"),
        ("take the bins out every thursday at 7 am", "take the bins out | every thursday 07:00"),
        ("every morning feed the cat", "feed the cat | every day morning"),
        ("gym every monday and wednesday at 6pm", "gym | every monday and wednesday 18:00"),
        ("pay rent on the first of every month", "pay rent | every month on the 1"),
        ("call bob at 5pm and email sam at 6pm", "call bob | 17:00\nemail sam | 18:00"),
        ("move my 3pm meeting to 4pm", "/move meeting | 15:00 > 16:00"),
        ("push my run back an hour", "/move run > later 1 hour"),
        ("snooze for ten minutes", "/snooze > in 10 minutes"),
        ("cancel all meetings tomorrow after 3pm", "/cancel all meetings | tomorrow after 15:00"),
        ("what have I got tomorrow", "/list | tomorrow"),
        ("what have I got tomorrow afternoon", "/list | tomorrow afternoon"),
        ("what is on this week", "/list | this week"),
        ("cancel my 3 pm alarm", "/cancel alarm | 15:00"),
    ],
)
def test_a_right_label_is_agreed_upon(said, written):
    assert second_opinion(row(said, written)) in so.JUDGES


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("remind me to call mum tomorrow at 5pm", "call mum | tomorrow 05:00"),
        ("call mum at 8", "call mum | 20:00"),
        ("call mum on friday at 5pm", "call mum | tomorrow 17:00"),
        ("call mum tomorrow at 5pm", "call mum | 17:00"),
        ("call mum tomorrow at 5pm", "call mum | every day 17:00"),
        ("call mum every day at 5pm", "call mum | 17:00"),
        ("take the bins out every thursday at 7 am", "take the bins out | every week 07:00"),
        ("take pills every day at 8 am for 5 days", "take pills | every day 08:00"),
        ("every 20 minutes until 6 drink water", "drink water | every 20 minutes until 6:00?"),
        ("call bob at 5pm and email sam at 6pm", "call bob | 18:00\nemail sam | 18:00"),
        ("call mum tomorrow at 5pm", "call mum | tomorrow"),
        ("call mum tomorrow", "call mum | tomorrow morning"),
        ("call mum every day at 5 pm, see you next week", "call mum | every day 17:00 for 5 weeks"),
        ("call mum today at 7 am", "call mum | today 07:00"),  # which lies ahead at one instant only
        ("call mum at 8 am tomorrow", "call mum | tomorrow morning"),
        ("call mum every day at 5pm", "call mum | every day"),
        ("what have I got tomorrow afternoon", "/list | tomorrow"),
        ("what have I got tomorrow", "/list | tomorrow morning"),
        ("cancel my 3 pm alarm tomorrow", "/cancel alarm | tomorrow afternoon"),
        ("what have I got between 2 and 3 pm", "/list | between 14:00 and 15:00"),
        ("move my 3pm meeting to 4pm", "/move meeting | 15:00 > 15:00"),
        ("push my run back 2 hours", "/move run > later 1 hour"),
        ("what have I got on friday", "/list | tomorrow"),
        ("cancel all meetings tomorrow after 3pm", "/cancel all meetings | tomorrow before 15:00"),
    ],
)
def test_a_wrong_label_or_one_that_nobody_else_can_read_is_not_agreed_upon(said, written):
    assert second_opinion(row(said, written)) == ""


def test_a_parser_must_find_each_of_several_times_and_no_other():
    two = row("call bob at 5pm and email sam at 6pm", "call bob | 17:00\nemail sam | 18:00")
    assert second_opinion(two)
    three = row("call bob at 5pm, email sam at 6pm and eat at 7pm", "call bob | 17:00\nemail sam | 18:00\neat |")
    assert second_opinion(three) == ""


def test_what_says_no_time_needs_no_opinion():
    for said, written in [("buy milk", "buy milk |"), ("cancel it", "/cancel that"), ("hello", "/other")]:
        assert not has_time(row(said, written)) and second_opinion(row(said, written)) == ""


def test_a_time_that_is_only_looked_up_is_a_time():
    assert has_time(row("what have I got tomorrow", "/list | tomorrow"))
    assert has_time(row("move it to noon", "/move that > noon"))


def test_two_readings_that_coincide_at_one_instant_do_not_agree(monkeypatch):
    class AtTen:
        """Reads five in the afternoon of the very day of the first instant in everything."""

        name = "at ten"

        def understand(self, text, now, tz):
            return [(so.INSTANTS[0].replace(hour=17, tzinfo=None), None)]

    monkeypatch.setattr(so, "judges", lambda: (AtTen(),))
    assert second_opinion(row("call mum at 5 pm", "call mum | 17:00")) == ""
    monkeypatch.setattr(so, "INSTANTS", so.INSTANTS[:1] * 2)
    assert second_opinion(row("call mum at 5 pm", "call mum | 17:00")) == "at ten"


def test_nobody_is_asked_on_the_very_weekday_that_is_said(monkeypatch):
    asked, best = [], so.judges()[0]

    class Asked:
        name = "asked"

        def understand(self, text, now, tz):
            asked.append(now)
            return best.understand(text, now, tz)

    monkeypatch.setattr(so, "judges", lambda: (Asked(),))
    assert second_opinion(row("call mum on friday at 5 pm", "call mum | friday 17:00")) == "asked"
    assert [now.weekday() for now in asked] == [2, 5, 1]


def test_the_opinion_is_that_of_the_first_parser_that_agrees(monkeypatch):
    class Stumbles:
        name = "stumbles"

        def understand(self, text, now, tz):
            raise ZeroDivisionError

    judges = (Stumbles(), *so.judges())
    monkeypatch.setattr(so, "judges", lambda: judges)
    assert second_opinion(row("call mum tomorrow at 5pm", "call mum | tomorrow 17:00")) == so.JUDGES[0]


def test_parsers_that_are_not_installed_are_left_out(monkeypatch):
    def missing():
        raise NotInstalled("no")

    monkeypatch.setattr(so, "PARSERS", {**so.PARSERS, "recognizers": missing, "recurrent": missing})
    so.judges.cache_clear()
    try:
        assert [p.name for p in so.judges()] == ["dateparser"]
        assert second_opinion(row("call mum tomorrow at 5pm", "call mum | tomorrow 17:00")) == "dateparser"
    finally:
        so.judges.cache_clear()


@pytest.mark.parametrize(
    ("said", "written", "who"),
    [
        ("buy milk tomorrow", "buy milk |", so.JUDGES[0]),
        ("cancel the 5 o'clock alarm", "/cancel alarm", so.JUDGES[0]),
        ("half five call jo", "call jo |", "evidence"),
        ("buy milk", "buy milk |", ""),
        ("what is the weather tomorrow", "/other", ""),
        ("call mum tomorrow", "call mum | tomorrow", ""),
    ],
)
def test_a_time_that_was_said_and_not_written_is_noticed(said, written, who):
    assert overlooked(row(said, written)) == who
