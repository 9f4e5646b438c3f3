"""Which reminders a range means, as tables: what is said, when a reminder rings next, whether it is meant."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assistant import grammar
from assistant.errors import BadWhen
from assistant.ranges import parse_range
from assistant.when import Policy, Repeat, parse_when

LONDON = ZoneInfo("Europe/London")
WEDNESDAY = datetime(2026, 3, 11, 10, tzinfo=LONDON)


def meant(said: str, due: str, rrule: str | None = None, now: datetime = WEDNESDAY, policy: Policy = Policy()) -> bool:  # noqa: B008
    return parse_range(said, now, LONDON, policy).matches(datetime.fromisoformat(due).replace(tzinfo=LONDON), rrule)


def table(rows: str):
    """Rows of `what is said / rings then, which is meant / and then, which is not`."""
    split = [[cell.strip() for cell in row.split("/")] for row in rows.strip().splitlines()]
    return pytest.mark.parametrize("said, inside, outside", split, ids=[said for said, *_ in split])


def some(cell: str) -> list[str]:
    return [due.strip() for due in cell.split(",") if due.strip()]


def check(said: str, inside: str, outside: str) -> None:
    assert [due for due in some(inside) if not meant(said, due)] == [], "these are meant too"
    assert [due for due in some(outside) if meant(said, due)] == [], "these are not meant"


@table("""
    today               / 2026-03-11 00:00, 2026-03-11 09:00, 2026-03-11 23:59:59 / 2026-03-10 23:59, 2026-03-12 00:00
    tomorrow            / 2026-03-12 00:00, 2026-03-12 23:00                      / 2026-03-11 23:59, 2026-03-13 00:00
    thursday            / 2026-03-12 09:00                                        / 2026-03-19 09:00
    wednesday           / 2026-03-11 17:00, 2026-03-18 09:00                      / 2026-03-25 09:00, 2026-03-12 09:00
    next wednesday      / 2026-03-18 09:00                                        / 2026-03-11 17:00
    friday in 2 weeks   / 2026-03-27 09:00                                        / 2026-03-13 09:00
    this week           / 2026-03-09 00:00, 2026-03-15 23:59                      / 2026-03-08 23:59, 2026-03-16 00:00
    next week           / 2026-03-16 00:00, 2026-03-22 23:59                      / 2026-03-15 23:59, 2026-03-23 00:00
    this weekend        / 2026-03-14 00:00, 2026-03-15 23:59                      / 2026-03-13 23:59, 2026-03-16 00:00
    this month          / 2026-03-01 00:00, 2026-03-31 23:59                      / 2026-04-01 00:00, 2026-02-28 12:00
    next month          / 2026-04-01 00:00, 2026-04-30 23:59                      / 2026-03-31 23:59, 2026-05-01 00:00
    this year           / 2026-01-01 00:00, 2026-12-31 23:59                      / 2027-01-01 00:00
    march               / 2026-03-01 00:00, 2026-03-31 23:59                      / 2027-03-11 09:00
    february            / 2027-02-01 00:00, 2027-02-28 23:59                      / 2026-02-11 09:00
    end of week         / 2026-03-13 09:00                                        / 2026-03-14 09:00
    end of month        / 2026-03-31 09:00                                        / 2026-03-30 09:00
    the 11              / 2026-03-11 08:00                                        / 2026-04-11 08:00
    the 5               / 2026-04-05 08:00                                        / 2026-03-05 08:00
    11 march            / 2026-03-11 08:00                                        / 2027-03-11 08:00
    5 march             / 2027-03-05 08:00                                        / 2026-03-05 08:00
    29 march 2017       / 2017-03-29 08:00                                        / 2026-03-29 08:00, 2027-03-29 08:00
    2026-03-09          / 2026-03-09 08:00                                        / 2026-03-11 08:00
    easter              / 2026-04-05 08:00                                        / 2026-04-06 08:00
    first monday of may / 2026-05-04 08:00                                        / 2026-05-11 08:00
""")
def test_a_date_is_its_whole_day_and_a_week_or_month_all_of_it(said, inside, outside):
    check(said, inside, outside)


@table("""
    17:00               / 2026-03-11 17:00, 2027-05-05 17:00:30                   / 2026-03-11 17:01, 2026-03-11 05:00
    5:00?               / 2026-03-11 17:00, 2026-03-12 05:00                      / 2026-03-11 16:59, 2026-03-11 17:01
    12:00?              / 2026-03-11 12:00, 2026-03-12 00:00                      / 2026-03-11 06:00
    morning             / 2026-03-12 05:00, 2026-03-12 11:59                      / 2026-03-12 04:59, 2026-03-12 12:00
    noon                / 2026-03-12 12:00                                        / 2026-03-12 12:01
    afternoon           / 2026-03-12 12:00, 2026-03-12 17:59                      / 2026-03-12 18:00, 2026-03-12 11:59
    evening             / 2026-03-12 17:00, 2026-03-12 22:59                      / 2026-03-12 23:00, 2026-03-12 16:59
    night               / 2026-03-12 18:00, 2026-03-12 23:59, 2026-03-12 03:59    / 2026-03-12 04:00, 2026-03-12 17:59
    midnight            / 2026-03-12 00:00                                        / 2026-03-12 00:01, 2026-03-12 12:00
    today night         / 2026-03-11 20:00, 2026-03-12 03:00                      / 2026-03-11 03:00, 2026-03-12 20:00
    today midnight      / 2026-03-12 00:00                                        / 2026-03-11 00:00
    tomorrow morning    / 2026-03-12 09:00                                        / 2026-03-12 15:00, 2026-03-13 09:00
    tomorrow 8:00?      / 2026-03-12 08:00, 2026-03-12 20:00                      / 2026-03-13 08:00
    next week evening   / 2026-03-16 18:00, 2026-03-22 18:00                      / 2026-03-16 09:00, 2026-03-15 18:00
    this weekend 10:00  / 2026-03-14 10:00, 2026-03-15 10:00                      / 2026-03-13 10:00
""")
def test_a_time_is_that_minute_or_part_of_any_day_or_of_the_date(said, inside, outside):
    check(said, inside, outside)


@table("""
    today after 15:00         / 2026-03-11 15:00:01, 2026-03-11 23:59             / 2026-03-11 15:00, 2026-03-12 16:00
    today before 15:00        / 2026-03-11 14:59:59, 2026-03-11 00:00             / 2026-03-11 15:00, 2026-03-10 09:00
    after 5:00?               / 2026-03-11 17:01, 2026-04-11 20:00                / 2026-03-11 09:00, 2026-03-11 17:00
    before 9:00?              / 2026-03-11 08:59                                  / 2026-03-11 09:00, 2026-03-11 20:00
    before noon               / 2026-03-12 11:59                                  / 2026-03-12 12:00
    after midnight            / 2026-03-12 00:30, 2026-03-12 03:59                / 2026-03-12 00:00, 2026-03-12 04:00
    today after midnight      / 2026-03-12 00:30                                  / 2026-03-11 00:30
    today before midnight     / 2026-03-11 23:59                                  / 2026-03-12 00:00
    between 09:00 and 17:00   / 2026-03-12 09:00, 2026-03-12 17:00                / 2026-03-12 08:59, 2026-03-12 17:01
    between 9:00? and 5:00?   / 2026-03-12 09:00, 2026-03-12 17:00                / 2026-03-12 18:00, 2026-03-12 06:00
    between 5:00? and 7:00?   / 2026-03-12 17:00, 2026-03-12 19:00                / 2026-03-12 06:00, 2026-03-12 20:00
    between 8:00? and 21:00   / 2026-03-12 20:00, 2026-03-12 21:00                / 2026-03-12 08:00
    between 9:00? and noon    / 2026-03-12 09:00, 2026-03-12 12:00                / 2026-03-12 13:00
    between 22:00 and 02:00   / 2026-03-12 22:00, 2026-03-12 01:00                / 2026-03-12 12:00
    tomorrow between 22:00 and 02:00 / 2026-03-12 23:00, 2026-03-13 01:00         / 2026-03-12 01:00
    between 20:00 and midnight / 2026-03-12 20:00, 2026-03-12 23:59, 2026-03-13 00:00 / 2026-03-12 19:59, 2026-03-12 01:00
    between midnight and 5:00? / 2026-03-12 00:00, 2026-03-12 04:00               / 2026-03-12 16:00
    between morning and evening / 2026-03-12 09:00, 2026-03-12 18:00              / 2026-03-12 08:00
""")
def test_after_before_and_between_are_parts_of_the_day(said, inside, outside):
    check(said, inside, outside)


@pytest.mark.parametrize(
    "said, inside, outside",
    [
        ("every day", ["every day", "every day 20:00"], ["tomorrow", "every weekday", "every 2 days", "every hour"]),
        ("every day 08:00", ["every day 08:00", "every day 08:00 and 18:30"], ["every day 18:30", "every monday 08:00"]),
        ("every day 8:00?", ["every day 08:00", "every day 20:00"], ["every day 09:00"]),
        ("every day 18:00", ["every day 18:00 and 20:30"], ["every day 18:30 and 20:00"]),
        ("every day morning", ["every day 07:30"], ["every day 18:30"]),
        ("every day midnight", ["every day midnight", "every day 00:00"], ["every day noon"]),
        ("every monday", ["every monday 07:00", "every week on monday"], ["every weekday", "every monday and friday", "every 2 weeks on monday"]),
        ("every weekday", ["every weekday", "every day except saturday and sunday"], ["every day", "every monday"]),
        ("every 2 weeks", ["every 2 weeks on tuesday", "every 2 weeks"], ["every week", "every tuesday", "every 2 months"]),
        ("every week", ["every week", "every friday"], ["every weekday", "every day", "every weekend"]),
        ("every friday midnight", ["every friday midnight"], ["every saturday 10:00"]),
        ("every month", ["every month on the 5", "every month on last friday", "every month"], ["every 2 months", "every year"]),
        ("every month on the 5", ["every month on the 5 18:00"], ["every month on the 6", "every month on last friday"]),
        ("every month on last friday", ["every month on last friday"], ["every month on first friday", "every friday"]),
        ("every year", ["every year on 5 march", "every year"], ["every month"]),
        ("every year on 5 march", ["every year on 5 march"], ["every year on 5 may", "5 march"]),
        ("every 60 minutes", ["every hour", "every 60 minutes", "every hour except sunday"], ["every 2 hours", "every day"]),
        ("every day from monday until friday", ["every day"], ["every monday"]),
    ],
)  # fmt: skip
def test_a_recurrence_is_what_recurs_on_the_same_days_and_at_these_times(said, inside, outside):
    found = parse_range(said, WEDNESDAY, LONDON)
    for sentences, expected in ((inside, True), (outside, False)):
        for sentence in sentences:
            reminder = parse_when(sentence, WEDNESDAY, LONDON)
            assert found.matches(reminder.due, getattr(reminder, "rrule", None)) is expected, sentence


def test_what_recurs_is_found_by_when_it_rings_next():
    assert meant("tomorrow", "2026-03-12 08:00", "FREQ=DAILY")
    assert not meant("friday", "2026-03-12 08:00", "FREQ=DAILY")


def test_the_day_is_that_of_the_persons_zone():
    found = parse_range("tomorrow", WEDNESDAY, ZoneInfo("Australia/Sydney"))
    assert found.matches(datetime(2026, 3, 11, 13, 30, tzinfo=UTC), None)
    assert not found.matches(datetime(2026, 3, 12, 13, 30, tzinfo=UTC), None)


def test_a_part_of_the_day_includes_the_persons_own_time_for_it():
    early = Policy(morning=time(4, 30))
    assert meant("morning", "2026-03-12 04:30", policy=early)
    assert meant("every day morning", "2026-03-12 04:30", "FREQ=DAILY", policy=early)


@pytest.mark.parametrize("said", ["", "after", "between 5:00? and", "march 09:00", "in 2 hours", "this decade", "tonight", "next"])
def test_what_is_no_range_is_refused(said):
    with pytest.raises(BadWhen):
        parse_range(said, WEDNESDAY, LONDON)


ZONES = ("Europe/London", "America/New_York", "Australia/Sydney", "Asia/Kathmandu", "America/Sao_Paulo")
instants = st.datetimes(datetime(2015, 1, 1), datetime(2045, 12, 31), timezones=st.just(UTC))
zones = st.sampled_from(ZONES).map(ZoneInfo)


def sentences(tree):
    return st.randoms(use_true_random=False).map(lambda random: " ".join(grammar.sample(tree, random)))


@settings(max_examples=400, deadline=None)
@given(sentences(grammar.range_), sentences(grammar.when), instants, zones)
def test_every_range_answers_for_every_reminder(said, sentence, now, zone):
    reminder = parse_when(sentence, now, zone)
    assert parse_range(said, now, zone).matches(reminder.due, getattr(reminder, "rrule", None)) in (True, False)


@settings(max_examples=400, deadline=None)
@given(sentences(grammar.seq(grammar.date, grammar.opt(grammar.time))), instants)
def test_a_reminder_is_found_by_the_words_it_was_set_with(sentence, now):
    """Unless they mean today, and a later such day when its time is over. No clock change moves anything here."""
    zone = ZoneInfo("Asia/Kathmandu")
    reminder, found = parse_when(sentence, now, zone), parse_range(sentence, now, zone)
    today = now.astimezone(zone).date()
    assume(not any(first <= today <= last for first, last in found.days) or reminder.due.date() == today)
    assert found.matches(reminder.due, None)


@settings(max_examples=300, deadline=None)
@given(sentences(grammar.repeat), instants, zones)
def test_what_recurs_is_found_by_the_words_it_was_set_with(sentence, now, zone):
    reminder = parse_when(sentence, now, zone)
    if isinstance(reminder, Repeat) and "from" not in sentence:
        assert parse_range(sentence, now, zone).matches(reminder.due, reminder.rrule)
