"""What sentences of the When language mean, as tables: what is said, when it is said, when it rings."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from assistant.errors import BadWhen
from assistant.when import (
    Once,
    Past,
    Policy,
    Repeat,
    join,
    localise,
    next_occurrence,
    occurrences_between,
    parse_when,
    split,
)

LONDON = ZoneInfo("Europe/London")
NEW_YORK = ZoneInfo("America/New_York")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
WEDNESDAY = "2026-03-11 10:00"


def at(text: str, zone: ZoneInfo = LONDON, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def parse(sentence: str, said_at: str = WEDNESDAY, zone: ZoneInfo = LONDON, policy: Policy = Policy(), fold: int = 0):  # noqa: B008
    return parse_when(sentence, at(said_at, zone, fold), zone, policy)


def rings(sentence: str, said_at: str = WEDNESDAY, n: int = 1, zone: ZoneInfo = LONDON) -> list[str]:
    """The first `n` local times at which a recurring reminder rings."""
    repeat = parse(sentence, said_at, zone)
    assert isinstance(repeat, Repeat), repeat
    due, wall = repeat.due, repeat.due.replace(tzinfo=None)
    found = [due]
    while len(found) < n and (later := next_occurrence(repeat.rrule, wall, zone, found[-1])):
        found.append(later.astimezone(zone))
    return [f"{d:%Y-%m-%d %H:%M}" for d in found]


def shown(result) -> str:
    prefix = "past " if isinstance(result, Past) else ""
    return f"{prefix}{result.due.replace(tzinfo=None).isoformat(' ', 'minutes')}"


def table(rows: str):
    """Rows of `what is said / when / when it rings`, each with what is said and when as its spoken id."""
    split_rows = [[cell.strip() for cell in row.split("/")] for row in rows.strip().splitlines()]
    return pytest.mark.parametrize(
        "said, now, due", split_rows, ids=[f"{said} said at {now}" for said, now, _ in split_rows])  # fmt: skip


@table("""
    17:00               / 2026-03-11 10:00 / 2026-03-11 17:00
    17:00               / 2026-03-11 17:00 / 2026-03-12 17:00
    09:59               / 2026-03-11 10:00 / 2026-03-12 09:59
    00:30               / 2026-03-11 23:00 / 2026-03-12 00:30
    morning             / 2026-03-11 08:59 / 2026-03-11 09:00
    morning             / 2026-03-11 10:00 / 2026-03-12 09:00
    noon                / 2026-03-11 10:00 / 2026-03-11 12:00
    afternoon           / 2026-03-11 15:00 / 2026-03-12 15:00
    evening             / 2026-03-11 10:00 / 2026-03-11 18:00
    night               / 2026-03-11 22:00 / 2026-03-12 21:00
    midnight            / 2026-03-11 10:00 / 2026-03-12 00:00
    midnight            / 2026-03-11 00:00 / 2026-03-12 00:00
    5:00?               / 2026-03-11 10:00 / 2026-03-11 17:00
    5:00?               / 2026-03-11 03:00 / 2026-03-11 17:00
    5:00?               / 2026-03-11 18:00 / 2026-03-12 17:00
    8:00?               / 2026-03-11 06:00 / 2026-03-11 08:00
    8:00?               / 2026-03-11 10:00 / 2026-03-11 20:00
    8:00?               / 2026-03-11 21:00 / 2026-03-12 08:00
    7:00?               / 2026-03-11 23:30 / 2026-03-12 07:00
    10:05?              / 2026-03-11 10:04 / 2026-03-11 10:05
    10:05?              / 2026-03-11 12:00 / 2026-03-12 10:05
    12:30?              / 2026-03-11 10:00 / 2026-03-11 12:30
    12:30?              / 2026-03-11 13:00 / 2026-03-12 12:30
    3:00?               / 2026-12-31 18:05 / 2027-01-01 15:00
""")
def test_a_time_alone_is_its_next_occurrence_and_a_bare_hour_falls_into_waking_hours(said, now, due):
    assert shown(parse(said, now)) == due


@table("""
    tonight             / 2026-03-11 10:00 / 2026-03-11 20:00
    tonight             / 2026-03-11 20:00 / 2026-03-11 21:00
    tonight             / 2026-03-11 22:59 / 2026-03-11 23:00
    tonight             / 2026-03-11 23:00 / past 2026-03-11 20:00
    tonight             / 2026-03-11 00:30 / 2026-03-11 20:00
    today               / 2026-03-11 08:00 / 2026-03-11 09:00
    today               / 2026-03-11 10:00 / 2026-03-11 12:00
    today               / 2026-03-11 11:50 / 2026-03-11 15:00
    today               / 2026-03-11 19:00 / 2026-03-11 20:00
    today               / 2026-03-11 20:30 / 2026-03-11 21:00
    today               / 2026-03-11 20:50 / past 2026-03-11 20:00
    today 09:00         / 2026-03-11 10:00 / past 2026-03-11 09:00
    today morning       / 2026-03-11 10:00 / past 2026-03-11 09:00
    today 17:00         / 2026-03-11 10:00 / 2026-03-11 17:00
    today 8:00?         / 2026-03-11 10:00 / 2026-03-11 20:00
    today 8:00?         / 2026-03-11 21:00 / past 2026-03-11 20:00
    today 3:00?         / 2026-03-11 01:00 / 2026-03-11 15:00
    today 11:00?        / 2026-03-11 13:00 / 2026-03-11 23:00
    today midnight      / 2026-03-11 10:00 / 2026-03-12 00:00
    11 march 8:00?      / 2026-03-11 10:00 / 2026-03-11 20:00
""")
def test_today_is_what_is_left_of_it(said, now, due):
    assert shown(parse(said, now)) == due


@table("""
    tomorrow            / 2026-03-11 10:00 / 2026-03-12 09:00
    tomorrow 17:00      / 2026-03-11 10:00 / 2026-03-12 17:00
    tomorrow 5:00?      / 2026-03-11 10:00 / 2026-03-12 17:00
    tomorrow 7:00?      / 2026-03-11 10:00 / 2026-03-12 07:00
    tomorrow 11:59?     / 2026-03-11 10:00 / 2026-03-12 11:59
    tomorrow 12:15?     / 2026-03-11 10:00 / 2026-03-12 12:15
    tomorrow 6:59?      / 2026-03-11 10:00 / 2026-03-12 18:59
    tomorrow midnight   / 2026-03-11 10:00 / 2026-03-13 00:00
    wednesday           / 2026-03-11 10:00 / 2026-03-18 09:00
    wednesday 17:00     / 2026-03-11 10:00 / 2026-03-18 17:00
    thursday            / 2026-03-11 10:00 / 2026-03-12 09:00
    tuesday 8:00?       / 2026-03-11 10:00 / 2026-03-17 08:00
    friday midnight     / 2026-03-11 10:00 / 2026-03-14 00:00
    next wednesday      / 2026-03-11 10:00 / 2026-03-18 09:00
    next friday         / 2026-03-11 10:00 / 2026-03-20 09:00
    next monday         / 2026-03-15 10:00 / 2026-03-16 09:00
    next sunday         / 2026-03-15 10:00 / 2026-03-22 09:00
    friday in 2 weeks   / 2026-03-11 10:00 / 2026-03-27 09:00
    wednesday in 1 week / 2026-03-11 10:00 / 2026-03-25 09:00
    next week           / 2026-03-11 10:00 / 2026-03-16 09:00
    next week           / 2026-03-15 10:00 / 2026-03-16 09:00
    next month 10:00    / 2026-03-11 10:00 / 2026-04-01 10:00
    this weekend        / 2026-03-11 10:00 / 2026-03-14 09:00
    this weekend        / 2026-03-14 08:00 / 2026-03-14 09:00
    this weekend        / 2026-03-14 10:00 / 2026-03-15 09:00
    this weekend        / 2026-03-15 08:00 / 2026-03-15 09:00
    this weekend        / 2026-03-15 10:00 / past 2026-03-15 09:00
    end of week         / 2026-03-11 10:00 / 2026-03-13 09:00
    end of week 17:00   / 2026-03-13 10:00 / 2026-03-13 17:00
    end of week         / 2026-03-13 10:00 / 2026-03-20 09:00
    end of week         / 2026-03-15 10:00 / 2026-03-20 09:00
""")
def test_days_are_counted_from_the_day_on_which_they_are_said(said, now, due):
    assert shown(parse(said, now)) == due


@table("""
    the 11 17:00             / 2026-03-11 10:00 / 2026-03-11 17:00
    the 11                   / 2026-03-11 10:00 / 2026-04-11 09:00
    the 5                    / 2026-03-11 10:00 / 2026-04-05 09:00
    the 31                   / 2026-03-31 10:00 / 2026-05-31 09:00
    the 30                   / 2026-01-31 10:00 / 2026-03-30 09:00
    the 29                   / 2027-02-01 10:00 / 2027-03-29 09:00
    10 october               / 2026-03-11 10:00 / 2026-10-10 09:00
    4 february 14:00         / 2026-03-28 20:00 / 2027-02-04 14:00
    11 march                 / 2026-03-11 10:00 / 2027-03-11 09:00
    5 march 2027             / 2026-03-11 10:00 / 2027-03-05 09:00
    5 march 2020             / 2026-03-11 10:00 / past 2020-03-05 09:00
    2027-03-05 18:30         / 2026-03-11 10:00 / 2027-03-05 18:30
    2026-03-11 09:00         / 2026-03-11 10:00 / past 2026-03-11 09:00
    end of month             / 2026-03-11 10:00 / 2026-03-31 09:00
    end of month             / 2026-01-31 10:00 / 2026-02-28 09:00
    end of month 12:00       / 2026-01-31 10:00 / 2026-01-31 12:00
    end of month             / 2028-02-11 10:00 / 2028-02-29 09:00
    29 february              / 2026-03-11 10:00 / 2028-02-29 09:00
    29 february              / 2028-02-29 10:00 / 2032-02-29 09:00
    29 february 12:00        / 2028-02-29 10:00 / 2028-02-29 12:00
    29 february              / 2096-03-01 10:00 / 2104-02-29 09:00
    29 february 2028         / 2026-03-11 10:00 / 2028-02-29 09:00
    29 february 2027         / 2026-03-11 10:00 / 2027-02-28 09:00
    2027-02-29               / 2026-03-11 10:00 / 2027-02-28 09:00
    31 february              / 2026-03-11 10:00 / 2027-02-28 09:00
    31 february              / 2027-03-11 10:00 / 2028-02-29 09:00
    31 april 08:00           / 2026-03-11 10:00 / 2026-04-30 08:00
    first monday of march    / 2026-03-11 10:00 / 2027-03-01 09:00
    second wednesday of march 17:00 / 2026-03-11 10:00 / 2026-03-11 17:00
    last friday of may       / 2026-03-11 10:00 / 2026-05-29 09:00
    fourth thursday of november / 2026-03-11 10:00 / 2026-11-26 09:00
    easter                   / 2026-03-11 10:00 / 2026-04-05 09:00
    good friday              / 2026-03-11 10:00 / 2026-04-03 09:00
    easter monday            / 2026-04-06 10:00 / 2027-03-29 09:00
""")
def test_dates_are_the_next_such_day_whose_time_is_ahead(said, now, due):
    assert shown(parse(said, now)) == due


@table("""
    09:00                    / 2026-12-31 18:05 / 2027-01-01 09:00
    tomorrow                 / 2026-12-31 18:05 / 2027-01-01 09:00
    friday                   / 2026-12-31 18:05 / 2027-01-01 09:00
    next week                / 2026-12-31 18:05 / 2027-01-04 09:00
    next tuesday 20:00       / 2026-12-31 18:05 / 2027-01-05 20:00
    next month               / 2026-12-31 18:05 / 2027-01-01 09:00
    end of month             / 2026-12-31 18:05 / 2027-01-31 09:00
    the 1                    / 2026-12-31 18:05 / 2027-01-01 09:00
    31 december              / 2026-12-31 18:05 / 2027-12-31 09:00
    31 december 23:59        / 2026-12-31 18:05 / 2026-12-31 23:59
    midnight                 / 2026-12-31 18:05 / 2027-01-01 00:00
    in 3 weeks               / 2026-12-31 18:05 / 2027-01-21 09:00
    this weekend             / 2026-12-31 18:05 / 2027-01-02 09:00
    end of week              / 2026-12-31 18:05 / 2027-01-01 09:00
""")
def test_new_years_eve_leads_into_the_new_year(said, now, due):
    assert shown(parse(said, now)) == due


@table("""
    in 20 minutes            / 2026-03-11 10:00 / 2026-03-11 10:20
    in 1 hour 30 minutes     / 2026-03-11 23:00 / 2026-03-12 00:30
    in 2 hours               / 2026-03-29 00:30 / 2026-03-29 03:30
    in 2 hours               / 2026-10-25 00:30 / 2026-10-25 01:30
    in 3 days                / 2026-03-11 10:00 / 2026-03-14 09:00
    in 1 day 8:00?           / 2026-03-11 10:00 / 2026-03-12 08:00
    in 1 day midnight        / 2026-03-11 10:00 / 2026-03-13 00:00
    in 2 weeks 18:00         / 2026-03-11 10:00 / 2026-03-25 18:00
    in 1 month               / 2026-01-31 10:00 / 2026-02-28 09:00
    in 1 year                / 2028-02-29 10:00 / 2029-02-28 09:00
    in 999 years             / 2026-03-11 10:00 / 3025-03-11 09:00
""")
def test_a_length_of_time_is_counted_from_now(said, now, due):
    assert shown(parse(said, now)) == due


def test_seconds_are_kept_in_a_length_of_time_and_fractions_are_not():
    now = datetime(2026, 3, 11, 10, 0, 30, 999_999, tzinfo=UTC)
    assert parse_when("in 1 second", now, LONDON).due == datetime(2026, 3, 11, 10, 0, 31, tzinfo=UTC)
    assert parse_when("in 5 minutes", now, LONDON).due == datetime(2026, 3, 11, 10, 5, 30, tzinfo=UTC)


# London: 2026-03-29 01:00 -> 02:00, 2026-10-25 02:00 -> 01:00. São Paulo, 2018: 11-04 00:00 -> 01:00, 02-18 00:00 -> 23:00.
@pytest.mark.parametrize(
    "said, now, fold, due, offset",
    [
        pytest.param("01:30", "2026-03-28 22:00", 0, "2026-03-29 02:30", 1, id="a 01:30 that does not exist is an hour later"),
        pytest.param("tomorrow 01:30", "2026-03-28 22:00", 0, "2026-03-29 02:30", 1, id="also when its date is said"),
        pytest.param("1:30?", "2026-03-28 22:00", 0, "2026-03-29 13:30", 1, id="a bare 1:30 is in the afternoon anyway"),
        pytest.param("02:00", "2026-03-28 22:00", 0, "2026-03-29 02:00", 1, id="02:00 exists on that day"),
        pytest.param("08:00", "2026-03-28 22:00", 0, "2026-03-29 08:00", 1, id="08:00 is in summer time then"),
        pytest.param("01:30", "2026-03-29 02:40", 0, "2026-03-30 01:30", 1, id="once it is over it is tomorrow's"),
        pytest.param("01:30", "2026-10-24 22:00", 0, "2026-10-25 01:30", 1, id="a 01:30 that occurs twice is the first"),
        pytest.param("01:30", "2026-10-25 01:40", 0, "2026-10-25 01:30", 0, id="or the second where the first is over"),
        pytest.param("01:30", "2026-10-25 01:40", 1, "2026-10-26 01:30", 0, id="and tomorrow's where both are over"),
        pytest.param("today 01:30", "2026-10-25 01:40", 0, "2026-10-25 01:30", 0, id="today's second one is still today's"),
        pytest.param("in 60 minutes", "2026-10-25 01:30", 0, "2026-10-25 01:30", 0, id="an hour later it is 01:30 again"),
        pytest.param("in 1 minute", "2026-03-29 00:59", 0, "2026-03-29 02:00", 1, id="a minute later it is 02:00"),
    ],
)  # fmt: skip
def test_clock_changes_in_london(said, now, fold, due, offset):
    got = parse(said, now, fold=fold).due
    assert (got.replace(tzinfo=None).isoformat(" ", "minutes"), got.utcoffset().total_seconds() / 3600) == (due, offset)


@pytest.mark.parametrize(
    "said, now, due",
    [
        pytest.param("midnight", "2018-11-03 22:00", "2018-11-04 01:00", id="a midnight that does not exist is one o'clock"),
        pytest.param("saturday midnight", "2018-11-02 22:00", "2018-11-04 01:00", id="also as the end of Saturday"),
        pytest.param("midnight", "2018-02-17 22:00", "2018-02-18 00:00", id="the hour before midnight occurs twice"),
    ],
)  # fmt: skip
def test_clock_changes_at_midnight(said, now, due):
    assert shown(parse(said, now, SAO_PAULO)) == due


def test_a_wall_time_that_occurs_twice_is_the_first_unless_its_fold_says_otherwise():
    wall = datetime(2026, 10, 25, 1, 30)
    assert localise(wall, LONDON).astimezone(UTC).hour == 0
    assert localise(wall.replace(fold=1), LONDON).astimezone(UTC).hour == 1


def test_a_wall_time_that_does_not_exist_is_moved_later_whatever_its_fold():
    for fold in (0, 1):
        assert localise(datetime(2026, 3, 29, 1, 30, fold=fold), LONDON).isoformat() == "2026-03-29T02:30:00+01:00"


@pytest.mark.parametrize(
    "said, grain",
    [
        ("17:00", "minute"), ("5:00?", "minute"), ("noon", "minute"), ("friday midnight", "minute"), ("in 2 hours", "minute"),
        ("in 2 days 08:00", "minute"), ("every 20 minutes", "minute"), ("every day 08:00 and 18:00", "minute"),
        ("morning", "daypart"), ("tonight", "daypart"), ("friday evening", "daypart"), ("every day morning and 18:00", "daypart"),
        ("tomorrow", "day"), ("today", "day"), ("in 2 days", "day"), ("every monday", "day"), ("every day from monday", "day"),
        ("every day from monday 18:00", "minute"),
    ],
)  # fmt: skip
def test_the_grain_is_what_was_said(said, grain):
    assert parse(said).grain == grain


@pytest.mark.parametrize(
    "said, policy, due",
    [
        pytest.param("tomorrow", Policy(day=time(7, 30)), "2026-03-12 07:30", id="a day begins at half past seven"),
        pytest.param("next friday", Policy(next_weekday="nearest"), "2026-03-13 09:00", id="next friday is the nearest"),
        pytest.param("evening", Policy(evening=time(19)), "2026-03-11 19:00", id="evening is at seven"),
        pytest.param("8:00?", Policy(waking_until=time(19)), "2026-03-12 08:00", id="eight in the evening is bedtime"),
        pytest.param("5:00?", Policy(waking_until=time(12)), "2026-03-11 17:00", id="neither half is awake: the next"),
    ],
)  # fmt: skip
def test_the_settings_of_a_person_count(said, policy, due):
    assert shown(parse(said, policy=policy)) == due


@pytest.mark.parametrize(
    "said, rrule, due",
    [
        ("every day", "FREQ=DAILY", "2026-03-12 09:00"),
        ("every day 15:00", "FREQ=DAILY", "2026-03-11 15:00"),
        ("every day 08:00 and 18:30", "FREQ=DAILY;BYHOUR=8,18;BYMINUTE=0,30;BYSETPOS=1,4", "2026-03-11 18:30"),
        ("every day 9:00? and 1:00? and 6:00?", "FREQ=DAILY;BYHOUR=9,13,18;BYMINUTE=0", "2026-03-11 13:00"),
        ("every day except sunday", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA", "2026-03-12 09:00"),
        ("every 3 days", "FREQ=DAILY;INTERVAL=3", "2026-03-12 09:00"),
        ("every 3 days 11:00 except wednesday", "FREQ=DAILY;INTERVAL=3;BYDAY=MO,TU,TH,FR,SA,SU", "2026-03-12 11:00"),
        ("every weekday 16:00", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "2026-03-11 16:00"),
        ("every weekend", "FREQ=WEEKLY;BYDAY=SA,SU", "2026-03-14 09:00"),
        ("every monday", "FREQ=WEEKLY;BYDAY=MO", "2026-03-16 09:00"),
        ("every wednesday", "FREQ=WEEKLY;BYDAY=WE", "2026-03-18 09:00"),
        ("every wednesday 10:01", "FREQ=WEEKLY;BYDAY=WE", "2026-03-11 10:01"),
        ("every friday and tuesday", "FREQ=WEEKLY;BYDAY=TU,FR", "2026-03-13 09:00"),
        ("every week on monday", "FREQ=WEEKLY;BYDAY=MO", "2026-03-16 09:00"),
        ("every week", "FREQ=WEEKLY;BYDAY=TH", "2026-03-12 09:00"),
        ("every week 11:00", "FREQ=WEEKLY;BYDAY=WE", "2026-03-11 11:00"),
        ("every 2 weeks on tuesday", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU", "2026-03-17 09:00"),
        ("every friday midnight", "FREQ=WEEKLY;BYDAY=SA", "2026-03-14 00:00"),
        ("every day midnight", "FREQ=DAILY", "2026-03-12 00:00"),
        ("every month", "FREQ=MONTHLY;BYMONTHDAY=12", "2026-03-12 09:00"),
        ("every month on the 5", "FREQ=MONTHLY;BYMONTHDAY=5", "2026-04-05 09:00"),
        ("every 3 months on the 11 12:00", "FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=11", "2026-03-11 12:00"),
        ("every month on second thursday", "FREQ=MONTHLY;BYDAY=2TH", "2026-03-12 09:00"),
        ("every month on last friday", "FREQ=MONTHLY;BYDAY=-1FR", "2026-03-27 09:00"),
        ("every month on the 5 except sunday", "FREQ=MONTHLY;BYMONTHDAY=5;BYDAY=MO,TU,WE,TH,FR,SA", "2026-05-05 09:00"),
        ("every year", "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=12", "2026-03-12 09:00"),
        ("every year on 5 march", "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=5", "2027-03-05 09:00"),
        ("every year on 29 february", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "2028-02-29 09:00"),
        ("every year on 31 april", "FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=-1", "2026-04-30 09:00"),
        ("every year on first monday of may", "FREQ=YEARLY;BYMONTH=5;BYDAY=1MO", "2026-05-04 09:00"),
        ("every 20 minutes", "FREQ=MINUTELY;INTERVAL=20", "2026-03-11 10:20"),
        ("every hour", "FREQ=HOURLY", "2026-03-11 11:00"),
        ("every 2 hours 09:00", "FREQ=HOURLY;INTERVAL=2", "2026-03-12 09:00"),
        ("every 2 hours from 14:00", "FREQ=HOURLY;INTERVAL=2", "2026-03-11 14:00"),
        ("every 2 hours from today 09:00", "FREQ=HOURLY;INTERVAL=2", "2026-03-11 11:00"),
        ("every 2 hours from today", "FREQ=HOURLY;INTERVAL=2", "2026-03-11 12:00"),
        ("every hour from tomorrow", "FREQ=HOURLY", "2026-03-12 09:00"),
        ("every hour except wednesday", "FREQ=HOURLY;BYDAY=MO,TU,TH,FR,SA,SU", "2026-03-12 00:00"),
        ("every 5 seconds", "FREQ=SECONDLY;INTERVAL=10", "2026-03-11 10:00"),
        ("every second for 5 times", "FREQ=SECONDLY;INTERVAL=10;COUNT=5", "2026-03-11 10:00"),
        ("every 15 minutes for 2 hours", "FREQ=MINUTELY;INTERVAL=15;COUNT=8", "2026-03-11 10:15"),
        ("every 45 seconds for 9 minutes", "FREQ=SECONDLY;INTERVAL=45;COUNT=12", "2026-03-11 10:00"),
        ("every hour for 20 minutes", "FREQ=HOURLY;COUNT=1", "2026-03-11 11:00"),
        ("every day 09:00 for 5 days", "FREQ=DAILY;UNTIL=20260317T085959", "2026-03-12 09:00"),
        ("every monday for 3 times", "FREQ=WEEKLY;BYDAY=MO;COUNT=3", "2026-03-16 09:00"),
        ("every 20 minutes until 18:00", "FREQ=MINUTELY;INTERVAL=20;UNTIL=20260311T180000", "2026-03-11 10:20"),
        ("every day until friday", "FREQ=DAILY;UNTIL=20260313T235959", "2026-03-12 09:00"),
        ("every day from monday until friday", "FREQ=DAILY;UNTIL=20260320T235959", "2026-03-16 09:00"),
        ("every day from monday 18:00", "FREQ=DAILY", "2026-03-16 18:00"),
        ("every 2 days 08:00 from 1 march 2026", "FREQ=DAILY;INTERVAL=2", "2026-03-13 08:00"),
        ("every monday except monday", "FREQ=WEEKLY;BYDAY=MO", "2026-03-16 09:00"),
    ],
)  # fmt: skip
def test_what_recurs_becomes_a_rule_and_its_first_occurrence(said, rrule, due):
    repeat = parse(said)
    assert (repeat.rrule, shown(repeat)) == (rrule, due)


@pytest.mark.parametrize(
    "said, due",
    [
        ("every day until 5 march 2020", "2020-03-05 23:59"),
        ("every day 09:00 until 18:00", "2026-03-11 18:00"),
        ("every 20 minutes until 10:10", "2026-03-11 10:10"),
        ("every monday until friday", "2026-03-13 23:59"),
    ],
)
def test_what_ends_before_it_begins_is_past(said, due):
    assert shown(parse(said)) == f"past {due}"


@pytest.mark.parametrize(
    "said, now, expected",
    [
        pytest.param("every saturday and sunday 08:00", "2026-03-27 12:00",
                     ["2026-03-28 08:00", "2026-03-29 08:00", "2026-04-04 08:00"], id="08:00 stays 08:00 in spring"),
        pytest.param("every sunday 08:00", "2026-10-17 12:00",
                     ["2026-10-18 08:00", "2026-10-25 08:00", "2026-11-01 08:00"], id="08:00 stays 08:00 in autumn"),
        pytest.param("every day 01:30", "2026-03-27 12:00",
                     ["2026-03-28 01:30", "2026-03-29 02:30", "2026-03-30 01:30"], id="a day without 01:30 has 02:30"),
        pytest.param("every day 01:30", "2026-03-28 12:00",
                     ["2026-03-29 02:30", "2026-03-30 01:30", "2026-03-31 01:30"], id="also if it is the first day"),
        pytest.param("every day 01:30", "2026-10-24 01:00",
                     ["2026-10-24 01:30", "2026-10-25 01:30", "2026-10-26 01:30"], id="a day with two 01:30 rings once"),
        pytest.param("every day 01:30 for 3 times", "2026-03-28 12:00",
                     ["2026-03-29 02:30", "2026-03-30 01:30", "2026-03-31 01:30"], id="a moved first one counts"),
        pytest.param("every day 01:30 and 02:00", "2026-03-28 01:40",
                     ["2026-03-28 02:00", "2026-03-29 02:00", "2026-03-29 02:30", "2026-03-30 01:30"],
                     id="a moved one may come after the next"),
        pytest.param("every day 01:30 and 02:30", "2026-03-28 12:00",
                     ["2026-03-29 02:30", "2026-03-30 01:30", "2026-03-30 02:30"], id="two that fall together ring once"),
        pytest.param("every 20 minutes", "2026-03-29 00:30",
                     ["2026-03-29 00:50", "2026-03-29 02:10", "2026-03-29 02:30"], id="20 minutes are 20 minutes in spring"),
        pytest.param("every 40 minutes", "2026-10-25 00:30",
                     ["2026-10-25 01:10", "2026-10-25 01:50", "2026-10-25 01:30", "2026-10-25 02:10"], id="and in autumn"),
        pytest.param("every hour except sunday", "2026-10-24 22:30",
                     ["2026-10-24 23:30", "2026-10-26 00:30", "2026-10-26 01:30"], id="an exception is a day of local time"),
        pytest.param("every month on the 31", "2026-03-11 10:00",
                     ["2026-03-31 09:00", "2026-05-31 09:00", "2026-07-31 09:00"], id="on the 31st: short months are left out"),
        pytest.param("every month", "2026-01-30 10:00",
                     ["2026-01-31 09:00", "2026-02-28 09:00", "2026-03-31 09:00"], id="every month means every month"),
        pytest.param("every month 08:00 and 18:30", "2026-01-29 20:00",
                     ["2026-01-30 08:00", "2026-01-30 18:30", "2026-02-28 08:00", "2026-02-28 18:30", "2026-03-30 08:00"],
                     id="with two times a day too"),
        pytest.param("every year", "2028-02-28 10:00",
                     ["2028-02-29 09:00", "2029-02-28 09:00", "2030-02-28 09:00"], id="every year means every year"),
        pytest.param("every year on 29 february", "2026-03-11 10:00",
                     ["2028-02-29 09:00", "2032-02-29 09:00"], id="on 29 february: only in leap years"),
        pytest.param("every 2 weeks on monday and thursday 08:00 and 18:30", "2026-03-12 12:00",
                     ["2026-03-12 18:30", "2026-03-23 08:00", "2026-03-23 18:30", "2026-03-26 08:00", "2026-03-26 18:30",
                      "2026-04-06 08:00"], id="a first week cut short"),
        pytest.param("every sunday and monday 20:00 and midnight", "2026-03-11 10:00",
                     ["2026-03-15 20:00", "2026-03-16 00:00", "2026-03-16 20:00", "2026-03-17 00:00", "2026-03-22 20:00"],
                     id="a midnight ends its weekday"),
        pytest.param("every day 09:00 for 3 days", "2026-03-11 10:00",
                     ["2026-03-12 09:00", "2026-03-13 09:00", "2026-03-14 09:00"], id="for three days is three days"),
        pytest.param("every 6 hours until tomorrow 10:00", "2026-03-11 10:00",
                     ["2026-03-11 16:00", "2026-03-11 22:00", "2026-03-12 04:00", "2026-03-12 10:00"], id="until includes"),
        pytest.param("every weekday 07:00 until 17 march", "2026-03-13 10:00",
                     ["2026-03-16 07:00", "2026-03-17 07:00"], id="until a date includes it"),
        pytest.param("every day 08:00 from friday for 2 times", "2026-03-11 10:00",
                     ["2026-03-13 08:00", "2026-03-14 08:00"], id="from a day"),
    ],
)  # fmt: skip
def test_what_recurs_rings(said, now, expected):
    """One more is asked for than is expected: what ends has ended."""
    ends = any(word in said for word in ("until", " for "))
    assert rings(said, now, len(expected) + ends) == expected


def test_weekly_at_eight_stays_at_eight_for_years():
    """Across every clock change of ten years, in a zone with two a year."""
    repeat = parse("every monday 08:00", zone=NEW_YORK)
    wall, due = repeat.due.replace(tzinfo=None), repeat.due
    for _ in range(520):
        due = next_occurrence(repeat.rrule, wall, NEW_YORK, due).astimezone(NEW_YORK)
        assert (due.weekday(), due.hour, due.minute) == (0, 8, 0)
    assert due.date().isoformat() == "2036-03-03"


@pytest.mark.parametrize("sentence", ["every 10 seconds", "every 10 seconds except monday", "every day 08:00 and 18:30"])
def test_a_rule_that_began_long_ago_costs_no_more_than_a_new_one(sentence):
    """Nothing is asserted on time: walking a billion occurrences would not end at all."""
    repeat = parse(sentence, "2001-01-03 10:00")
    wall = repeat.due.replace(tzinfo=None)
    for year in range(2002, 2400):
        after = datetime(year, 7, 11, 3, tzinfo=UTC)
        assert next_occurrence(repeat.rrule, wall, LONDON, after) > after
        assert occurrences_between(repeat.rrule, wall, LONDON, after, after.replace(month=12)) >= 300


def test_occurrences_are_counted_after_and_up_to_an_instant():
    wall = datetime(2026, 3, 11, 9)
    count = lambda rule, a, b: occurrences_between(rule, wall, LONDON, at(a), at(b))  # noqa: E731
    assert count("FREQ=DAILY", "2026-03-11 09:00", "2026-03-14 09:00") == 3
    assert count("FREQ=DAILY", "2026-03-11 08:59", "2026-03-14 08:59") == 3
    assert count("FREQ=DAILY;COUNT=2", "2026-03-01 00:00", "2026-03-14 08:59") == 2
    assert count("FREQ=HOURLY", "2026-03-11 09:00", "2026-03-12 09:00") == 24
    assert count("FREQ=HOURLY;BYDAY=TH", "2026-03-11 09:00", "2026-03-20 00:00") == 48
    assert count("FREQ=SECONDLY;INTERVAL=10", "2026-03-11 09:00", "2030-03-14 08:59") == 1000
    assert count("FREQ=DAILY", "2026-03-11 09:00", "2036-03-14 08:59") == 1000
    assert count("FREQ=DAILY;UNTIL=20260312T235959", "2026-03-11 09:00", "2036-03-14 08:59") == 1


@pytest.mark.parametrize("rrule", ["FREQ=YEARLY;INTERVAL=999", "FREQ=DAILY", "FREQ=HOURLY", "FREQ=HOURLY;BYDAY=MO", "FREQ=MONTHLY;INTERVAL=999"])
def test_at_the_end_of_the_calendar_nothing_rings_any_more(rrule):
    wall, end = datetime(2026, 3, 11, 9), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for zone in (LONDON, NEW_YORK, ZoneInfo("Asia/Kathmandu")):
        assert next_occurrence(rrule, wall, zone, end) is None
        assert occurrences_between(rrule, wall, zone, end, end) == 0


def test_a_rule_as_rfc_5545_allows_it_to_be_written_rings_as_well():
    """With its name in front, and with the day left to DTSTART."""
    wall, after = datetime(2026, 1, 5, 9), at("2028-06-01 00:00")
    for rrule, due in (("RRULE:FREQ=WEEKLY", "2028-06-05"), ("FREQ=MONTHLY", "2028-06-05"), ("FREQ=YEARLY", "2029-01-05")):
        assert next_occurrence(rrule, wall, LONDON, after).date().isoformat() == due


@pytest.mark.parametrize("said", ["Tomorrow 17:00", "  EVERY Day\t08:00 ", "IN 2 Hours"])
def test_letter_case_and_blanks_do_not_matter(said):
    assert parse(said) == parse(" ".join(said.lower().split()))


@pytest.mark.parametrize("said", ["", " ", "5", "tomorrow at 5", "in 0 minutes", "every 1000 days", "every", "tomorrow 25:00", "in 2 hours 17:00", "the 32", "5 march 1999", "tomorrow 1٧:00", "every day 08:00 and"])
def test_what_is_no_sentence_is_refused(said):
    with pytest.raises(BadWhen):
        parse(said)


def test_a_clock_that_shows_an_absurd_year_is_refused():
    with pytest.raises(BadWhen):
        parse_when("in 999 years", datetime(9500, 1, 1, tzinfo=UTC), LONDON)


@pytest.mark.parametrize(
    "line, parts",
    [
        pytest.param("call mum | tomorrow 17:00", ("call mum", "tomorrow 17:00"), id="task and time"),
        pytest.param("buy milk |", ("buy milk", ""), id="no time"),
        pytest.param("| 10:05?", ("", "10:05?"), id="no task"),
        pytest.param("|", ("", ""), id="neither"),
        pytest.param("call mum tomorrow 17:00", ("call mum", "tomorrow 17:00"), id="a plain line"),
        pytest.param("take the bins out every thursday 07:00", ("take the bins out", "every thursday 07:00"), id="a plain line that recurs"),
        pytest.param("Call Mum Tomorrow 17:00", ("Call Mum", "tomorrow 17:00"), id="a plain line with capitals"),
        pytest.param("10:05?", ("", "10:05?"), id="a plain time"),
        pytest.param("buy milk", ("buy milk", ""), id="a plain task"),
        pytest.param("", ("", ""), id="nothing"),
        pytest.param("dinner on sunday | tomorrow", ("dinner on sunday", "tomorrow"), id="a task that ends in a time"),
        pytest.param("call a|b | 17:00", ("call a|b", "17:00"), id="a bar inside a word"),
        pytest.param("call mum| tomorrow 17:00", ("call mum", "tomorrow 17:00"), id="a bar stuck to the task"),
        pytest.param("call mum |tomorrow 17:00", ("call mum", "tomorrow 17:00"), id="a bar stuck to the time"),
        pytest.param("call mum | dad tomorrow", ("call mum | dad", "tomorrow"), id="a bar that parts nothing"),
    ],
)  # fmt: skip
def test_a_line_parts_into_task_and_time(line, parts):
    assert split(line) == parts


def test_a_line_is_joined_from_task_and_time():
    assert [join("call mum", "17:00"), join("buy milk", ""), join("", "10:05?"), join("", "")] == [
        "call mum | 17:00", "buy milk |", "| 10:05?", "|"]  # fmt: skip


def test_the_instant_may_come_in_any_zone_and_the_answer_is_in_the_persons():
    due = parse_when("17:00", datetime(2026, 7, 11, 12, tzinfo=UTC), ZoneInfo("Asia/Kathmandu")).due
    assert due.isoformat() == "2026-07-12T17:00:00+05:45"
    assert isinstance(parse_when("17:00", at(WEDNESDAY, NEW_YORK), LONDON), Once)
