"""Where a reminder moves: what is not said stays."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from assistant.dates import Here
from assistant.errors import BadWhen, PastTime
from assistant.messages import Reminder
from assistant.moves import following, new_time, retime
from assistant.recurrence import next_occurrence
from assistant.when import Policy, Repeat, localise, parse_when

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 11, 10, 0, tzinfo=LONDON)  # a Wednesday


def here(now=NOW):
    return Here(now.astimezone(UTC), LONDON, Policy())


def made(when: str, now=NOW, task="bins") -> Reminder:
    """A reminder as it is when it has just been set."""
    at = parse_when(when, now, LONDON)
    rrule = at.rrule if isinstance(at, Repeat) else None
    wall, due = at.due.replace(tzinfo=None), at.due.astimezone(UTC)
    return Reminder(1, None, task, when, wall, "Europe/London", rrule, due, "pending")


def later(r: Reminder, now: datetime) -> Reminder:
    """The same one at `now`, waiting for its next occurrence."""
    due = next_occurrence(r.rrule, r.wall, LONDON, now)
    return Reminder(1, None, r.task, r.when, r.wall, r.zone, r.rrule, due, "pending")


def moved(was: str, to=None, shift=None, now=NOW):
    move = new_time(made(was), to, shift, here(now))
    return f"{move.due.astimezone(LONDON):%a %d %b %H:%M}", move


@pytest.mark.parametrize(
    ("was", "to", "due"),
    [
        pytest.param("tomorrow 17:00", "18:00", "Thu 12 Mar 18:00", id="a clock time keeps the day"),
        pytest.param("tomorrow 17:00", "6:00?", "Thu 12 Mar 18:00", id="a bare hour, in the evening as before"),
        pytest.param("tomorrow 06:30", "6:00?", "Thu 12 Mar 06:00", id="a bare hour, in the morning as before"),
        pytest.param("tomorrow 20:00", "8:30?", "Thu 12 Mar 20:30", id="half past eight at night"),
        pytest.param("tomorrow 17:00", "evening", "Thu 12 Mar 18:00", id="a part of the day"),
        pytest.param("tomorrow 17:00", "midnight", "Fri 13 Mar 00:00", id="the midnight that ends the day"),
        pytest.param("today 17:00", "09:00", "Thu 12 Mar 09:00", id="a time that has passed is its next one"),
        pytest.param("tomorrow 17:00", "friday", "Fri 13 Mar 17:00", id="a day keeps the clock time"),
        pytest.param("tomorrow 17:00", "in 2 days", "Fri 13 Mar 17:00", id="so many days"),
        pytest.param("tomorrow 17:00", "next week", "Mon 16 Mar 17:00", id="next week"),
        pytest.param("tomorrow 17:00", "friday 10:00", "Fri 13 Mar 10:00", id="both"),
        pytest.param("tomorrow 17:00", "friday morning", "Fri 13 Mar 09:00", id="a day and a part of it"),
        pytest.param("tomorrow 17:00", "tonight", "Wed 11 Mar 20:00", id="tonight"),
        pytest.param("tomorrow 17:00", "in 20 minutes", "Wed 11 Mar 10:20", id="a span"),
    ],
)
def test_what_is_not_said_stays(was, to, due):
    at, move = moved(was, to)
    assert (at, move.rrule, move.apart) == (due, None, False)
    assert localise(move.wall, LONDON) == move.due


@pytest.mark.parametrize(
    ("was", "shift", "due"),
    [
        pytest.param("tomorrow 17:00", 60, "Thu 12 Mar 18:00", id="an hour later"),
        pytest.param("tomorrow 17:00", -90, "Thu 12 Mar 15:30", id="earlier"),
        pytest.param("tomorrow 17:00", 1440, "Fri 13 Mar 17:00", id="a day later"),
        pytest.param("28 march 2026 17:00", 1440, "Sun 29 Mar 17:00", id="a day later across a clock change"),
        pytest.param("tomorrow 23:30", 60, "Fri 13 Mar 00:30", id="past midnight"),
    ],
)
def test_later_and_earlier_are_by_the_clock_on_the_wall(was, shift, due):
    assert moved(was, shift=shift)[0] == due


def test_what_rang_long_ago_is_put_off_from_now():
    rang = made("today 17:00")
    soon, long_after = (datetime(2026, 3, 11, *at, tzinfo=LONDON) for at in ((17, 5), (20, 0)))
    assert f"{new_time(rang, None, 60, here(soon)).due.astimezone(LONDON):%H:%M}" == "18:00"
    assert f"{new_time(rang, None, 60, here(long_after)).due.astimezone(LONDON):%H:%M}" == "21:00"


@pytest.mark.parametrize(
    ("was", "to", "shift", "due", "when"),
    [
        pytest.param("every thursday 07:00", "8:30?", None, "Thu 12 Mar 08:30", "every thursday 08:30", id="every week"),
        pytest.param(
            "every 2 weeks on tuesday 09:00", "10:00", None, "Tue 17 Mar 10:00", "every 2 weeks on tuesday 10:00",
            id="every other week",
        ),
        pytest.param("every weekday 09:00", None, 30, "Thu 12 Mar 09:30", "every weekday 09:30", id="half an hour later"),
        pytest.param(
            "every day 09:00 for 5 times", "10:00", None, "Thu 12 Mar 10:00", "every day 10:00 for 5 times",
            id="so many times",
        ),
        pytest.param(
            "every month on the 31 09:00", "10:00", None, "Tue 31 Mar 10:00", "every month on the 31 10:00",
            id="every month",
        ),
        pytest.param(
            "every day 08:00 and 20:00", "09:00", None, "Thu 12 Mar 09:00", "every day 09:00",
            id="twice a day becomes once",
        ),
        pytest.param(
            "every sunday", "afternoon", None, "Sun 15 Mar 15:00", "every sunday afternoon", id="a part of the day"
        ),
        pytest.param(
            "every 20 minutes", "12:00", None, "Wed 11 Mar 12:00", "every 20 minutes 12:00",
            id="by the clock: it begins then",
        ),
    ],
)  # fmt: skip
def test_a_clock_time_moves_all_occurrences_and_keeps_their_days(was, to, shift, due, when):
    at, move = moved(was, to, shift)
    assert (at, move.when, move.apart) == (due, when, False)
    assert move.rrule
    assert "BYHOUR" not in move.rrule


def test_what_goes_by_the_clock_goes_on_from_a_later_time():
    at, move = moved("every 20 minutes", shift=30)
    assert (at, move.rrule, move.apart) == ("Wed 11 Mar 10:50", "FREQ=MINUTELY;INTERVAL=20", False)


def test_every_other_week_stays_in_step():
    now = datetime(2026, 3, 20, 10, 0, tzinfo=LONDON)
    weeks = later(made("every 2 weeks on tuesday 09:00"), now)  # 17 and 31 March
    assert f"{new_time(weeks, '10:00', None, here(now)).due.astimezone(LONDON):%d %b %H:%M}" == "31 Mar 10:00"


def test_the_count_goes_on_when_the_time_moves():
    now = datetime(2026, 3, 14, 10, 0, tzinfo=LONDON)
    five = later(made("every day 09:00 for 5 times"), now)
    move = new_time(five, "18:00", None, here(now))
    last = next_occurrence(move.rrule, move.wall, LONDON, move.due)
    assert [f"{d.astimezone(LONDON):%d %H:%M}" for d in (move.due, last)] == ["15 18:00", "16 18:00"]
    assert next_occurrence(move.rrule, move.wall, LONDON, last) is None


def test_a_series_whose_today_is_over_does_not_ring_again_today():
    now = datetime(2026, 3, 12, 8, 0, tzinfo=LONDON)
    daily = later(made("every day 07:00"), now)
    assert f"{new_time(daily, '09:00', None, here(now)).due.astimezone(LONDON):%d %H:%M}" == "13 09:00"


@pytest.mark.parametrize(
    ("to", "shift", "due"),
    [
        pytest.param("friday", None, "Fri 13 Mar 07:00", id="another day"),
        pytest.param("friday 09:00", None, "Fri 13 Mar 09:00", id="another day and time"),
        pytest.param("in 2 hours", None, "Wed 11 Mar 12:00", id="a span"),
        pytest.param(None, 1440, "Fri 13 Mar 07:00", id="a day later"),
    ],
)
def test_another_day_moves_the_next_occurrence_alone(to, shift, due):
    at, move = moved("every thursday 07:00", to, shift)
    assert (at, move.apart, move.rrule) == (due, True, None)


def test_the_occurrence_after_the_next_one():
    assert f"{following(made('every thursday 07:00')).astimezone(LONDON):%d %b %H:%M}" == "19 Mar 07:00"
    assert following(made("every thursday 07:00 for 1 times")) is None


@pytest.mark.parametrize(
    ("was", "to", "when"),
    [
        pytest.param("tomorrow 17:00", "every friday", "every friday 17:00", id="keeps its clock time"),
        pytest.param("tomorrow 17:00", "every friday 09:00", "every friday 09:00", id="or takes another"),
        pytest.param("every thursday 07:00", "every friday", "every friday 07:00", id="another day each week"),
        pytest.param("tomorrow 17:00", "every day until friday", "every day 17:00 until friday", id="before its end"),
        pytest.param("tomorrow 17:00", "every 2 hours", "every 2 hours", id="hours have no clock time"),
    ],
)
def test_every_makes_another_rule(was, to, when):
    _, move = moved(was, to)
    assert (move.when, move.apart, bool(move.rrule)) == (when, False, True)


@pytest.mark.parametrize(("to", "shift"), [("today 09:00", None), ("1 march 2026", None), (None, -3 * 1440)])
def test_into_the_past_is_refused(to, shift):
    with pytest.raises(PastTime, match="has passed"):
        moved("tomorrow 17:00", to, shift)


@pytest.mark.parametrize(("to", "shift"), [("whenever", None), ("", None), (None, 999 * 525600), (None, 1e15)])
def test_what_is_no_time_is_refused(to, shift):
    with pytest.raises(BadWhen):
        moved("tomorrow 17:00", to, shift)


@pytest.mark.parametrize(
    ("when", "out"),
    [
        ("every day", "every day 09:30"),
        ("every monday 08:00 until friday", "every monday 09:30 until friday"),
        ("every day 08:00 and 20:00 except sunday", "every day 09:30 except sunday"),
        ("every monday and friday morning", "every monday and friday 09:30"),
        ("every day 8:00? from tomorrow for 3 weeks", "every day 09:30 from tomorrow for 3 weeks"),
    ],
)
def test_a_recurring_sentence_gets_another_time(when, out):
    assert retime(when, "09:30") == out
