"""Reminders as iCalendar objects: what other people's parsers read in them, and what is read back."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from random import Random
from zoneinfo import ZoneInfo

import ics as ics_py
import pytest
import vobject
from dateutil import tz
from dateutil.rrule import rruleset
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assistant import grammar
from assistant.errors import BadCalendarObject
from assistant.events import item_kind
from assistant.ics import BARE, Item, canonical, feed, read, summary, write
from assistant.recurrence import next_occurrence
from assistant.vtimezone import vtimezone
from assistant.when import Once, Policy, Repeat, localise, parse_when
from tests.test_when_properties import sentences

LONDON, NEW_YORK = ZoneInfo("Europe/London"), ZoneInfo("America/New_York")
NOW = datetime(2026, 3, 11, 10, tzinfo=UTC)
LEAD = timedelta(minutes=15)
FRIDAY = datetime(2026, 3, 13, 15, tzinfo=LONDON)


def todo(**more) -> Item:
    return Item(**{"uid": "a-1@x", "kind": "todo", "summary": "buy milk", "start": FRIDAY, "changed": NOW} | more)


def event(**more) -> Item:
    return todo(kind="event", **more)


# Event or to-do


@pytest.mark.parametrize("text, kind", [
    ("Put the dentist on my calendar for friday at 3", "event"),
    ("put lunch with Aunt Ingrid in my calendar for the twenty second of june at one", "event"),
    ("schedule a catch up with oyelaran in the canteen for one on monday", "event"),
    ("Could you please book the dentist for friday at 3", "event"),
    ("um, pencil in a call with Bo tomorrow at ten", "event"),
    ("i've an appointment with the podiatrist tuesday at five", "event"),
    ("team meeting every monday at 9", "event"),
    ("add the school event to my diary on the 4th at 6", "event"),
    ("add a reminder to my calendar for the MOT on 5 may", "event"),
    ("remind me to call mum tomorrow", "todo"),
    ("hey can you remind me about the meeting at 3", "todo"),
    ("remind me to book a babysitter", "todo"),
    ("please remind me to put the dentist on my calendar", "todo"),
    ("don’t let me forget my appointment on friday", "todo"),
    ("i have to email Zbigniew about the meeting on friday at noon", "todo"),
    ("take the library books back on friday", "todo"),
    ("read my book tonight", "todo"),
    ("wake me up at six for the meeting", "todo"),
    ("set an alarm for my appointment at 9", "todo"),
    ("take the bins out every thursday at 7 am", "todo"),
    ("", "todo"),
])  # fmt: skip
def test_the_words_of_a_request_decide_whether_it_is_an_event_or_a_to_do(text, kind):
    assert item_kind(text) == kind


# What others read


def test_a_to_do_is_due_with_an_alarm_at_that_instant_for_a_parser_that_did_not_write_it():
    [found] = vobject.readOne(write(todo(), LEAD)).vtodo_list
    assert (found.summary.value, found.due.value, found.uid.value) == ("buy milk", FRIDAY, "a-1@x")
    assert (found.status.value, found.sequence.value) == ("NEEDS-ACTION", "0")
    assert (found.dtstamp.value, found.last_modified.value) == (NOW, NOW)
    assert (found.valarm.action.value, found.valarm.trigger.value) == ("DISPLAY", timedelta())
    assert found.valarm.trigger.params["RELATED"] == ["END"]
    [other] = ics_py.Calendar(write(todo(), LEAD)).todos
    assert (other.name, other.due.datetime, other.uid) == ("buy milk", FRIDAY, "a-1@x")


def test_an_event_begins_at_its_time_with_an_alarm_before_it_for_a_parser_that_did_not_write_it():
    found = vobject.readOne(write(event(), LEAD)).vevent
    assert (found.dtstart.value, found.valarm.trigger.value) == (FRIDAY, -LEAD)
    [other] = ics_py.Calendar(write(event(), LEAD)).events
    assert (other.name, other.begin.datetime) == ("buy milk", FRIDAY)
    assert [a.trigger for a in other.alarms] == [-LEAD]


def test_a_time_has_its_zone_with_the_rules_of_that_zone_beside_it():
    summer = todo(start=datetime(2026, 7, 1, 9, tzinfo=NEW_YORK))
    text = write(summer, LEAD)
    assert "DUE;TZID=America/New_York:20260701T090000" in text
    assert vobject.readOne(text).vtodo.due.value == summer.start  # by the VTIMEZONE, which is all that vobject knows
    assert vobject.readOne(text).vtimezone.tzid.value == "America/New_York"


def test_a_rule_over_local_time_ends_in_utc():
    text = write(todo(start=datetime(2026, 7, 1, 8, tzinfo=LONDON), rrule="FREQ=DAILY;UNTIL=20260710T235959"), LEAD)
    assert "DTSTART;TZID=Europe/London:20260701T080000" in text
    assert "UNTIL=20260710T225959Z" in text


def test_what_recurs_within_the_day_counts_elapsed_time_across_a_clock_change():
    start = datetime(2026, 3, 29, 0, 30, tzinfo=LONDON)
    text = write(todo(start=start, rrule="FREQ=MINUTELY;INTERVAL=40;COUNT=4"), LEAD)
    rules: rruleset = vobject.readOne(text).vtodo.getrruleset(True)
    ours, at = [], start - timedelta(seconds=1)
    while at := next_occurrence("FREQ=MINUTELY;INTERVAL=40;COUNT=4", start.replace(tzinfo=None), LONDON, at):
        ours.append(at)
    assert [at.replace(tzinfo=UTC) if at.tzinfo is None else at for at in rules] == ours


@pytest.mark.parametrize("words", [
    pytest.param("tea, cake; and \\ more", id="commas, semicolons and backslashes"),
    pytest.param("naïve café über 東京 🎂 " * 12, id="long and not ASCII, folded in the midst of letters"),
    pytest.param("BEGIN:VALARM", id="what looks like a line of the format"),
    pytest.param('say "hi": \'ok\' ^n', id="quotes and colons"),
])  # fmt: skip
def test_words_are_escaped_and_folded_so_that_others_read_what_was_said(words):
    words = words.strip()
    text = write(todo(summary=words), LEAD)
    assert max(len(line.encode()) for line in text.split("\r\n")) <= 75
    assert vobject.readOne(text).vtodo.summary.value == words
    assert [t.name for t in ics_py.Calendar(text).todos] == [words]
    assert read(text, LONDON).summary == words


def test_occurrences_that_are_left_out_are_left_out_for_others():
    daily = todo(rrule="FREQ=DAILY;COUNT=4", skipped=((FRIDAY + timedelta(days=1)).astimezone(UTC),))
    days = [at.day for at in vobject.readOne(write(daily, LEAD)).vtodo.getrruleset(True)]
    assert days == [13, 15, 16]


def test_all_that_lies_ahead_is_one_calendar_with_each_zone_once():
    items = [todo(), event(uid="b"), todo(uid="c", start=FRIDAY.astimezone(NEW_YORK)), todo(uid="d", rrule="FREQ=DAILY")]
    text = feed(items, LEAD)
    calendar = vobject.readOne(text)
    assert [z.tzid.value for z in calendar.vtimezone_list] == ["America/New_York", "Europe/London"]
    assert {c.uid.value for c in [*calendar.vtodo_list, *calendar.vevent_list]} == {"a-1@x", "b", "c", "d"}
    other = ics_py.Calendar(text)
    assert (len(other.todos), len(other.events)) == (3, 1)
    assert feed([], LEAD).startswith("BEGIN:VCALENDAR")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example("every 10 seconds for 999 months", "stretch", "todo", LONDON, "open", 0)
@given(when=sentences(grammar.when), words=st.text(max_size=120), kind=st.sampled_from(["event", "todo"]),
       zone=st.sampled_from([LONDON, NEW_YORK, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("UTC")]),
       status=st.sampled_from(["open", "done"]), sequence=st.integers(0, 10**6))
def test_every_reminder_is_read_as_what_it_is_by_us_and_by_others(when, words, kind, zone, status, sequence):
    # What vobject knows of zones ends with 2037.
    match parse_when(when, NOW, zone, Policy()):
        case Once(due=due) if due.year < 2037:
            item = event(start=due, rrule=None)
        case Repeat(due=due, rrule=rrule) if due.year < 2037:
            wall = due.replace(tzinfo=None, fold=0)
            item = event(start=localise(wall, zone), rrule=canonical(rrule))
        case _:
            return
    item = Item(f"{sequence}@x", kind, summary(words), item.start, item.rrule, (),
                status if kind == "todo" else "open", sequence, NOW)
    text = write(item, LEAD)
    back = read(text, zone)
    assert back == item
    component = vobject.readOne(text)
    [found] = [*component.contents.get("vtodo", ()), *component.contents.get("vevent", ())]
    name = "due" if kind == "todo" and not item.rrule else "dtstart"
    assert (found.summary.value, found.contents[name][0].value) == (item.summary, item.start)
    other = ics_py.Calendar(text)
    [named] = [*other.todos, *other.events]
    assert (named.name, named.uid) == (item.summary, item.uid)


@pytest.mark.parametrize("key", [
    "Europe/London", "Europe/Dublin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Gaza",
    "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "UTC",
])  # fmt: skip
def test_a_zone_that_was_written_out_shows_the_same_time_to_a_parser_that_did_not_write_it(key):
    theirs, ours, random = tz.tzical(StringIO(vtimezone(key, 2025))).get(key), ZoneInfo(key), Random(key)
    for _ in range(300):
        wall = datetime(2025, 1, 2) + timedelta(minutes=random.randrange(12 * 365 * 1440))
        if wall.replace(tzinfo=ours).utcoffset() == wall.replace(tzinfo=ours, fold=1).utcoffset():
            assert wall.replace(tzinfo=theirs).utcoffset() == wall.replace(tzinfo=ours).utcoffset(), wall


# What calendar programs made of it


def test_what_a_program_added_stays_and_what_is_ours_changes():
    theirs = write(event(), LEAD).replace(
        "END:VEVENT",
        "LOCATION:High Street\r\nDTEND;TZID=Europe/London:20260313T160000\r\nX-COLOUR:red\r\nEND:VEVENT")
    moved = event(summary="dentist", start=FRIDAY + timedelta(days=1), sequence=4)
    found = vobject.readOne(write(moved, timedelta(hours=1), theirs)).vevent
    assert (found.summary.value, found.location.value, found.x_colour.value) == ("dentist", "High Street", "red")
    assert (found.dtstart.value, found.dtend.value) == (moved.start, moved.start + timedelta(hours=1))
    assert [a.trigger.value for a in found.valarm_list] == [-LEAD]  # it is the owner's by now
    assert found.sequence.value == "4"


def test_an_event_of_a_whole_day_stays_one_while_only_its_name_changes():
    theirs = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a-1@x\nDTSTART;VALUE=DATE:20260313\nSUMMARY:fair\nEND:VEVENT\nEND:VCALENDAR"
    item = read(theirs, LONDON)
    assert item.start == datetime(2026, 3, 13, 9, tzinfo=LONDON)
    renamed = event(summary="village fair", start=item.start)
    assert "DTSTART;VALUE=DATE:20260313" in write(renamed, LEAD, theirs)


def _object(lines: str, kind: str = "VEVENT") -> str:
    return f"BEGIN:VCALENDAR\nBEGIN:{kind}\nUID:u\nSUMMARY:s\n{lines}\nEND:{kind}\nEND:VCALENDAR\n"


@pytest.mark.parametrize("lines, start", [
    pytest.param("DTSTART:20260701T080000Z", datetime(2026, 7, 1, 9, tzinfo=LONDON), id="in UTC"),
    pytest.param("DTSTART:20260701T080000", datetime(2026, 7, 1, 8, tzinfo=LONDON), id="without a zone"),
    pytest.param("DTSTART;VALUE=DATE:20260701", datetime(2026, 7, 1, 9, tzinfo=LONDON), id="a date"),
    pytest.param("DTSTART;TZID=America/New_York:20260701T080000", datetime(2026, 7, 1, 8, tzinfo=NEW_YORK), id="elsewhere"),
    pytest.param("DTSTART;TZID=Eastern Standard Time:20260701T080000", datetime(2026, 7, 1, 8, tzinfo=NEW_YORK),
                 id="a name of Windows"),
    pytest.param("DTSTART;TZID=Nowhere/Atlantis:20260701T080000", datetime(2026, 7, 1, 8, tzinfo=LONDON),
                 id="a zone that nobody knows"),
    pytest.param("DTSTART;TZID=Europe/London:20260329T013000", datetime(2026, 3, 29, 2, 30, tzinfo=LONDON),
                 id="a time that the clock leaves out"),
])  # fmt: skip
def test_a_start_is_read_however_it_is_written(lines, start):
    assert read(_object(lines), LONDON).start == start


def test_a_zone_that_the_object_explains_under_an_abbreviation_is_read_by_its_explanation():
    calendar = vobject.iCalendar()
    component = calendar.add("vevent")
    component.add("uid").value = "u"
    component.add("dtstart").value = datetime(2026, 7, 1, 8, tzinfo=tz.gettz("Europe/London"))
    text = calendar.serialize()
    assert "TZID=GMT" in text  # and its VTIMEZONE has summer time
    assert read(text, NEW_YORK).start == datetime(2026, 7, 1, 8, tzinfo=LONDON)


@pytest.mark.parametrize("lines, status", [
    ("DUE:20260701T080000Z\nSTATUS:COMPLETED", "done"),
    ("DUE:20260701T080000Z\nCOMPLETED:20260601T080000Z", "done"),
    ("DUE:20260701T080000Z\nSTATUS:CANCELLED", "cancelled"),
    ("DUE:20260701T080000Z\nSTATUS:IN-PROCESS", "open"),
    ("DUE:20260701T080000Z", "open"),
])  # fmt: skip
def test_a_to_do_says_whether_it_is_done(lines, status):
    assert read(_object(lines, "VTODO"), LONDON).status == status


def test_an_occurrence_that_was_moved_on_its_own_is_left_out_of_its_series_and_stands_beside_it():
    text = _object("DTSTART;TZID=Europe/London:20260701T080000\nRRULE:FREQ=DAILY\nEND:VEVENT\nBEGIN:VEVENT\nUID:u\n"
                   "SUMMARY:later\nRECURRENCE-ID;TZID=Europe/London:20260703T080000\n"
                   "DTSTART;TZID=Europe/London:20260703T110000")
    item = read(text, LONDON)
    assert item.skipped == (datetime(2026, 7, 3, 7, tzinfo=UTC),)
    [one] = item.apart
    assert (one.summary, one.start) == ("later", datetime(2026, 7, 3, 11, tzinfo=LONDON))


@pytest.mark.parametrize("text, why", [
    pytest.param("", "cannot be read", id="nothing"),
    pytest.param("nonsense", "cannot be read", id="what is no calendar"),
    pytest.param("BEGIN:VCALENDAR\nEND:VCALENDAR", "no event", id="an empty calendar"),
    pytest.param(_object("PRIORITY:1", "VTODO"), "no time", id="a to-do without a time"),
    pytest.param(_object("DTSTART:2026-07-01"), "no time|cannot be read", id="a date in another format"),
    pytest.param(_object("DTSTART:20260701T080000Z\nRDATE:20260702T080000Z"), "more than one", id="dates of its own"),
    pytest.param(_object("DTSTART:20260701T080000Z\nRRULE:FREQ=DAILY;INTERVAL=0"), "too often", id="an interval of nothing"),
    pytest.param(_object("DTSTART:20260701T080000Z\nRRULE:FREQ=SECONDLY"), "ten seconds", id="every second"),
    pytest.param(_object("DTSTART:20260701T080000Z\nRRULE:FREQ=HOURLY;BYMONTH=2"), "not known", id="hours of a month"),
    pytest.param(_object("DTSTART:20260701T080000Z\nRRULE:FREQ=DAILY;COUNT=99999"), "too often", id="a hundred thousand"),
])  # fmt: skip
def test_what_no_reminder_can_be_is_refused_with_a_reason(text, why):
    with pytest.raises(BadCalendarObject, match=why):
        read(text, LONDON)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_object_that_was_damaged_is_read_or_refused_and_nothing_else(data):
    text = write(todo(rrule="FREQ=WEEKLY;BYDAY=FR", skipped=(FRIDAY.astimezone(UTC),)), LEAD)
    at = data.draw(st.integers(text.index("BEGIN:VTODO"), len(text) - 1))
    damaged = text[:at] + data.draw(st.text(max_size=8)) + text[at + data.draw(st.integers(0, 40)):]
    with suppress(BadCalendarObject):
        read(damaged, LONDON)


def test_a_reminder_of_nothing_has_a_name_in_a_calendar():
    assert summary(" \x00\n ") == BARE
    assert summary("a\x00b\n c" + "x" * 600) == ("a b c" + "x" * 600)[:500]
