"""What the assistant says is put into words for the ear, and the person's own words stay as they were said."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant import aloud, numerals, replies
from assistant.delivery import text as ringing
from assistant.evidence import evidence
from assistant.messages import Delivery, Entry, Reply, Target, Understanding
from assistant.notifiers import Notice
from assistant.words import normalise, words
from tests.test_moves import NOW, made

DAY = [(h, m) for h in range(24) for m in range(60)]


# Clock times, dates and numbers


@pytest.mark.parametrize(("written", "said"), [
    ("17:00", "five in the afternoon"), ("9:00", "nine in the morning"), ("12:00", "noon"),
    ("0:30", "half past midnight"), ("17:05", "five past five in the afternoon"),
    ("19:45", "a quarter to eight in the evening"), ("21:45", "a quarter to ten at night"),
    ("11:45", "a quarter to noon"), ("23:45", "a quarter to midnight"), ("0:45", "a quarter to one in the morning"),
    ("12:30", "half past twelve in the afternoon"), ("17:35", "twenty-five to six in the evening"),
    ("17:43", "five forty-three in the afternoon"), ("7:07", "seven oh seven in the morning"),
    ("0:01", "one minute past midnight"), ("0:52", "fifty-two minutes past midnight"), ("23:59", "eleven fifty-nine at night"),
])  # fmt: skip
def test_a_clock_time_is_said_as_people_say_it(written, said):
    assert aloud.reply(f"OK: call mum, tomorrow at {written}.") == f"OK: call mum, tomorrow at {said}."


def test_no_two_minutes_of_the_day_sound_the_same():
    assert len({numerals.clock(*at) for at in DAY}) == len(DAY)


def test_the_program_understands_every_minute_of_the_day_that_it_says():
    lost = [at for at in DAY if f"{at[0]:02}:{at[1]:02}" not in read_back(f"stretch at {numerals.clock(*at)}")]
    assert lost == []


def read_back(request: str) -> frozenset[str]:
    """The 24-hour times that the program finds reason for in a request."""
    return evidence([w.folded for w in words(normalise(request))]).classes["HH:MM"]


def test_the_half_of_the_day_is_said_and_is_the_right_one():
    """By the person's own reading: midnight and the hours after it are night or morning, those after noon are not."""
    for hour, minute in DAY:
        said = numerals.clock(hour, minute)
        before_noon = said.endswith((" in the morning", " noon", " past midnight")) and not said.endswith("past noon")
        assert before_noon == (hour < 12) or said in ("noon", "midnight"), said


@pytest.mark.parametrize(("at", "said"), [
    ((5, 0), "five o'clock"), ((12, 0), "twelve o'clock"), ((5, 30), "half past five"), ((12, 50), "ten to one"),
    ((5, 7), "five oh seven"), ((11, 43), "eleven forty-three"),
])  # fmt: skip
def test_of_a_time_whose_half_of_the_day_is_open_none_is_said(at, said):
    assert numerals.open_clock(*at) == said


@pytest.mark.parametrize(("written", "said"), [
    ("bins, every Thursday at 7:00, next on 12 March.", "bins, every Thursday at seven in the morning, next on the twelfth of March."),
    ("rent, every month on the 1st at 9:00.", "rent, every month on the first at nine in the morning."),
    ("cake, on 31 January 2027 at 9:00", "cake, on the thirty-first of January twenty twenty-seven at nine in the morning"),
    ("water, every hour until 5 June", "water, every hour until the fifth of June"),
    ("gym, on 3 May 2009", "gym, on the third of May two thousand and nine"),
    ("7 reminders tomorrow: a; b; and 2 more.", "seven reminders tomorrow: a; b; and two more."),
    ("Which one: 1, a, today at 17:00 or 2, b (and 12 more)?", "Which one: one, a, today at five in the afternoon or two, b, and twelve more?"),
    ("stretch, in 30 seconds", "stretch, in thirty seconds"),
    ("stretch, every 20 minutes for 5 days", "stretch, every twenty minutes for five days"),
    ("Due at least 1000 times by now: a", "Due at least 1000 times by now: a"),
    ('When should I remind you of "buy milk"?', "When should I remind you of buy milk?"),
    ("9:00 today has passed. When should I remind you?", "nine in the morning today has passed. When should I remind you?"),
    ("2026-03-12T14:30 and 0.5 and 17:60 and 25:00", "2026-03-12T14:30 and 0.5 and 17:60 and 25:00"),
    ("alarm, tomorrow at 0:00", "alarm, at midnight tonight"),
    ("water, every hour until tomorrow at 0:00", "water, every hour until midnight tonight"),
    ("alarm, on Friday at 0:00", "alarm, on Friday at midnight, at the start of the day"),
    ("That is not a reminder.", "That is not a reminder."),
])  # fmt: skip
def test_dates_and_counts_of_the_programs_own_are_said_in_words(written, said):
    assert aloud.reply(written) == said


@pytest.mark.parametrize(("n", "said"), [
    (1, "first"), (2, "second"), (3, "third"), (5, "fifth"), (8, "eighth"), (9, "ninth"), (12, "twelfth"), (14, "fourteenth"),
    (20, "twentieth"), (21, "twenty-first"), (30, "thirtieth"), (31, "thirty-first"),
])  # fmt: skip
def test_a_day_of_the_month_is_an_ordinal(n, said):
    assert numerals.ordinal(n) == said


def test_every_date_that_a_reply_holds_is_said_without_a_digit():
    for ahead in range(900):
        said = aloud.reply(replies.day(NOW.date() + timedelta(days=ahead), date(2026, 3, 11)))
        assert not any(c.isdigit() for c in said), said


# The person's own words


OWN = ["meet room 17:30", "pay 20 euros", "flight at 9:05 on 12 March", "2", "42 17", "the 1st draft", "a+b (c) 17:00"]


@pytest.mark.parametrize("task", OWN)
def test_the_persons_words_are_never_put_into_others(task):
    reminder = made("tomorrow 17:05", task=task)
    reply = Reply(f"OK: {replies.reminder(reminder, NOW)}.", "create", "1", None, (reminder,))
    assert aloud.answer(reply) == f"OK: {aloud.clean(task)}, tomorrow at five past five in the afternoon."


def test_the_words_of_a_request_are_the_persons_own_before_anything_is_set():
    entry = Entry("pay 20 euros", "17:00", NOW.replace(hour=17))
    u = Understanding("...", "confirm", "...", (entry,), Target(None, "room 12", None), None, 0.4, "test", 1.0)
    said = replies.confirm([entry], NOW)
    assert aloud.answer(Reply(said, "confirm", "1", u)) == "Did you say: pay 20 euros, today at five in the afternoon?"
    none = replies.none_about("room 12", " on 12 March")
    assert aloud.answer(Reply(none, "list", "1", u)) == "I have no reminder about room 12 on the twelfth of March."


@pytest.mark.parametrize(("text", "said"), [
    ("R&D: ~5% of €20, £3.50 or $1,000", "R and D: about 5 percent of 20 euros, 3.50 pounds or 1,000 dollars"),
    ("€5k, £2bn, $ 3m, US$20 and -$5", "5k euros, 2bn pounds, 3m dollars, US 20 dollars and -5 dollars"),
    ("see https://www.example.org/a/b?c=1#d.", "see example.org."),
    ("(http://me:secret@example.org:8080/x), www.example.com!", "example.org, example.com!"),
    ("call “mum” & ‘dad’ don't", "call mum and dad don't"),
    ("a\0b\x07c\r\nd\te\u2028f\u202eg", "a b c d e fg"),
    ("cake 🎂 now 👩‍👩‍👧 1️⃣ 🇬🇧 ™ a🎂b co\u00adop", "cake now 1 a b coop"),
    ("می‌خواهم", "می‌خواهم"),
    ("[[volm 0]] <b>x</b> *y* `z` _w_ \\v |u", "volm 0 b x /b y z w v u"),
    ("milk - eggs — bread", "milk, eggs, bread"),
    ("- buy #3 #todo", "buy number 3 todo"),
    ("Zürich, naïve, Łódź, 日本", "Zürich, naïve, Łódź, 日本"),
    ("20°", "20 degrees"), ("lone \ud800 half", "lone half"), ("", ""), ('""', ""), ("🎂", ""),
])  # fmt: skip
def test_what_cannot_be_said_is_left_out_or_named(text, said):
    assert aloud.clean(text) == said


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=200))
def test_whatever_is_said_is_one_line_that_an_engine_can_hold(text):
    said = aloud.reply(text)
    assert said == " ".join(said.split()) and said.isprintable() or "\u200c" in said or "\u200d" in said
    assert not set(said) & set('"[]<>{}\0')
    said.encode()  # no half characters


# What rings


def rings(task: str, late: int = 0, **more) -> Delivery:
    facts = {"occurrences": 1, "ring": 1, "zone": "Europe/London", "recurring": False} | more
    return Delivery(1, 7, task, datetime(2026, 3, 11, 10, tzinfo=UTC) - timedelta(seconds=late), **facts)


def said_of(*deliveries: Delivery) -> str:
    now = datetime(2026, 3, 11, 10, tzinfo=UTC)
    return aloud.notice(Notice(deliveries, ringing(deliveries, now, timedelta(minutes=1)), now))


@pytest.mark.parametrize(("deliveries", "said"), [
    ([rings("call mum")], "Reminder: call mum."),
    ([rings("call mum!")], "Reminder: call mum!"),
    ([rings("")], "This is your reminder."),
    ([rings("call mum", 7200)], "Late by two hours: call mum."),
    ([rings("", 7200)], "Late by two hours: this is your reminder."),
    ([rings("take 2 pills", 7200, occurrences=3)], "Late by two hours, missed three times: take 2 pills."),
    ([rings("call mum", 300, ring=2)], "Again: call mum."),
    ([rings("a"), rings("b")], "Two reminders: a; b."),
    ([rings("a", 7200), rings("b"), rings("c"), rings("d")], "Four reminders: Late by two hours: a; b; c; and one more."),
    ([rings("see https://example.org/x/y")], "Reminder: see example.org."),
], ids=["one", "its own end", "bare", "late", "late and bare", "missed", "again", "two", "four", "a URL"])  # fmt: skip
def test_what_rings_is_said_with_how_late_it_is(deliveries, said):
    assert said_of(*deliveries) == said


def longest() -> list[str]:
    """Notices of what takes longest to say."""
    tasks = ("call the dentist and the bank " * 20, "07700900123 " * 40, "% " * 200, "BBC NHS DVLA HMRC " * 20, "日本" * 200)
    return [said_of(*[rings(task, 90000, occurrences=2000)] * n) for task in tasks for n in (1, 3, 1000)]


@pytest.mark.parametrize("said", longest(), ids=lambda said: said[:20])
def test_however_much_rings_it_is_said_within_the_time_that_a_notifier_has(said):
    """`test_tts.py` has it spoken by real voices."""
    assert sum(4 if c.isalnum() and not c.islower() else 1 for c in said) < 200


def test_what_is_left_out_is_told_or_counted():
    assert said_of(rings("x" * 500)).endswith("x and so on.")
    assert said_of(*[rings("a")] * 1000).endswith("; and 997 more.")
