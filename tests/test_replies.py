"""What the assistant says, word for word."""

from datetime import date, datetime, timedelta

import pytest

from assistant import replies
from assistant.messages import Entry, Reminder
from tests.test_moves import NOW, made


@pytest.mark.parametrize(
    ("d", "said"),
    [
        pytest.param(date(2026, 3, 11), "today", id="today"),
        pytest.param(date(2026, 3, 12), "tomorrow", id="tomorrow"),
        pytest.param(date(2026, 3, 10), "yesterday", id="yesterday"),
        pytest.param(date(2026, 3, 13), "on Friday", id="within a week"),
        pytest.param(date(2026, 3, 17), "on Tuesday", id="the last day within a week"),
        pytest.param(date(2026, 3, 18), "on 18 March", id="in a week, when the weekday would be today's"),
        pytest.param(date(2026, 3, 9), "on 9 March", id="two days ago"),
        pytest.param(date(2027, 1, 1), "on 1 January 2027", id="another year"),
    ],
)
def test_a_day_is_said_as_people_say_it(d, said):
    assert replies.day(d, NOW.date()) == said


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(minutes=5), "today at 10:05"),
        (timedelta(seconds=30), "in 30 seconds"),
        (timedelta(seconds=1), "in 1 second"),
        (timedelta(hours=21), "tomorrow at 7:00"),
        (timedelta(0), "today at 10:00"),
        (timedelta(minutes=-1), "today at 9:59"),
    ],
)
def test_an_instant_is_said_by_a_clock_of_24_hours(span, said):
    assert replies.instant(NOW + span, NOW) == said


@pytest.mark.parametrize(
    ("task", "when", "said"),
    [
        ("call mum", "14:32", "call mum, today at 14:32"),
        ("alarm", "tomorrow 07:00", "alarm, tomorrow at 7:00"),
        ("", "10:05", "reminder, today at 10:05"),
        ("bins", "every thursday 07:00", "bins, every Thursday at 7:00, next tomorrow"),
        ("bins", "every wednesday 07:00", "bins, every Wednesday at 7:00, next on 18 March"),
        ("pills", "every day 08:00 and 20:00", "pills, every day at 8:00 and at 20:00, next today at 20:00"),
        ("pills", "every day 8:00? and 9:30?",
         "pills, every day at eight o'clock and at half past nine, next tomorrow at 8:00"),
        ("stretch", "every 20 minutes", "stretch, every 20 minutes, next today at 10:20"),
        ("stretch", "every hour", "stretch, every hour, next today at 11:00"),
        ("stand-up", "every weekday 09:00", "stand-up, every weekday at 9:00, next tomorrow"),
        ("swim", "every weekend 10:00", "swim, every Saturday and Sunday at 10:00, next on Saturday"),
        ("gym", "every monday and wednesday and friday 18:00",
         "gym, every Monday, Wednesday and Friday at 18:00, next today"),
        ("rent", "every month on last friday 09:00", "rent, every month on the last Friday at 9:00, next on 27 March"),
        ("rent", "every month on the 1 09:00", "rent, every month on the 1st at 9:00, next on 1 April"),
        ("cake", "every year on 5 june", "cake, every year on 5 June at 9:00, next on 5 June"),
        ("pay", "every 2 weeks on friday 09:00", "pay, every 2 weeks on Friday at 9:00, next on Friday"),
        ("pills", "every day 08:00 for 5 days", "pills, every day at 8:00 for 5 days, next tomorrow"),
        ("pills", "every day 08:00 for 1 time", "pills, every day at 8:00 for 1 time, next tomorrow"),
        ("water", "every day 18:00 until friday", "water, every day at 18:00 until Friday, next today"),
        ("water", "every hour until 17:00", "water, every hour until today at 17:00, next today at 11:00"),
        ("water", "every day 18:00 except sunday", "water, every day at 18:00 except Sunday, next today"),
        ("water", "every day 18:00 from monday", "water, every day at 18:00, next on Monday"),
    ],
)  # fmt: skip
def test_a_reminder_is_said_with_task_and_time(task, when, said):
    assert replies.reminder(made(when, task=task), NOW) == said


def test_the_end_of_a_series_is_said_as_of_now():
    assert "until tomorrow" in replies.reminder(made("every day 18:00 until friday"), NOW + timedelta(days=1))


def test_what_has_rung_says_so():
    rung = Reminder(1, None, "call mum", "09:00", datetime(2026, 3, 11, 9), "Europe/London", None, None, "fired")
    assert replies.reminder(rung, NOW) == "call mum, which rang today at 9:00"


def test_five_are_read_out_and_the_rest_is_counted():
    seven = [made(f"tomorrow 0{n}:00", task=f"task {n}") for n in range(7)]
    assert replies.listing(seven[:1], " tomorrow", NOW) == "1 reminder tomorrow: task 0, tomorrow at 0:00."
    assert replies.listing(seven, "", NOW).endswith("task 4, tomorrow at 4:00; and 2 more.")
    assert replies.listing(seven, "", NOW).startswith("7 reminders: task 0")
    assert replies.which(seven, NOW).endswith("or 5, task 4, tomorrow at 4:00 (and 2 more)?")
    assert replies.tasks(seven) == "7 reminders"
    assert replies.listing([], " tomorrow", NOW) == "No reminders tomorrow."


@pytest.mark.parametrize(
    ("range_", "said"),
    [
        (None, ""), ("today", " today"), ("tomorrow morning", " tomorrow morning"), ("friday", " on Friday"),
        ("next friday", " next Friday"), ("march", " in March"), ("this week", " this week"), ("17:00", " at 17:00"),
        ("tomorrow 17:00", " tomorrow at 17:00"), ("friday 5:00?", " on Friday at five o'clock"),
        ("after 15:00", " after 15:00"), ("morning", " in the morning"), ("noon", " at noon"), ("every day", " every day"),
        ("5 march", " on 5 March"), ("today between 12:00 and 13:00", " today between 12:00 and 13:00"),
        ("5:00?", " at five o'clock"), ("friday after 5:30?", " on Friday after half past five"), ("the 2", " on the 2nd"),
        ("the 13", " on the 13th"), ("09:00", " at 9:00"), ("00:30", " at 0:30"),
        ("first monday of march", " on the first Monday of March"),
    ],
)  # fmt: skip
def test_a_range_is_said_with_its_preposition(range_, said):
    assert replies.in_range(range_) == said


def test_questions_name_what_they_are_about():
    mum, bank = made("17:00", task="call mum"), made("friday 09:00", task="call the bank")
    assert replies.ask_to("move", [mum]) == "When should I move call mum to?"
    assert replies.ask_to("snooze", [mum, bank]) == "Until when should I snooze call mum and call the bank?"
    assert replies.shall_i("cancel", [mum], NOW) == "Cancel call mum, today at 17:00?"
    assert replies.shall_i("done", [mum], NOW) == "Is this done: call mum, today at 17:00?"
    assert replies.shall_i("done", [mum, bank], NOW) == "Mark all 2 reminders as done?"
    assert replies.shall_i("move", [mum, bank], NOW) == "Move all 2 reminders?"
    assert replies.which([mum, bank], NOW) == (
        "Which one: 1, call mum, today at 17:00 or 2, call the bank, on Friday at 9:00?"
    )
    passed = Entry("call mum", "today 09:00", NOW - timedelta(hours=1), past=True)
    assert replies.past(passed, NOW).startswith("9:00 today has passed. When should I remind you")
    entries = [Entry("call mum", "17:00", NOW.replace(hour=17)), Entry(None, None)]
    assert replies.confirm(entries, NOW) == "Did you say: call mum, today at 17:00 and reminder?"
