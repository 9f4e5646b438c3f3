"""What a rewrite means at an instant, and what `assistant parse --json` prints of it."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from assistant.messages import Rewrite, Target
from assistant.understand import as_json, understand
from assistant.when import Policy

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 11, 10, 0, tzinfo=LONDON)


def meaning(text, lines, confidence=0.9, ask_below=0.5):
    return understand(Rewrite(lines, "small", confidence, 3.2), text, NOW, LONDON, Policy(), ask_below)


@pytest.mark.parametrize(
    ("text", "lines", "kind"),
    [
        ("call mum at five", "call mum | 5:00?", "create"),
        ("call mum", "call mum |", "needs_time"),
        ("remind me", "|", "needs_time"),
        ("milk tomorrow and bread", "milk | tomorrow\nbread |", "create"),
        ("call mum at nine today", "call mum | today 09:00", "needs_time"),
        ("what do i have", "/list", "list"),
        ("cancel it", "/cancel that", "cancel"),
        ("done", "/done", "done"),
        ("snooze", "/snooze", "snooze"),
        ("move mum to six", "/move mum > 6:00?", "move"),
        ("hello", "/other", "other"),
    ],
)
def test_the_kind_follows_from_the_lines(text, lines, kind):
    assert meaning(text, lines).kind == kind


def test_a_task_is_spelt_as_the_person_spelt_it():
    (entry,) = meaning("Ring Zbigniew's MUM tomorrow!", "ring zbigniew's mum | tomorrow").entries
    assert entry.task == "Ring Zbigniew's MUM"


@pytest.mark.parametrize(("when", "kind"), [
    ("31 february", "confirm"), ("31 april 2027", "confirm"), ("every year on 30 february", "confirm"),
    ("29 february", "create"), ("31 march", "create"), ("31 march 2027", "create"),
])  # fmt: skip
def test_a_day_that_there_is_not_is_asked_about(when, kind):
    assert meaning("pay the rent", f"pay | {when}").kind == kind


def test_a_create_of_little_confidence_is_to_be_confirmed():
    assert meaning("call mum at five", "call mum | 5:00?", confidence=0.2).kind == "confirm"
    assert meaning("call mum", "call mum |", confidence=0.2).kind == "needs_time"


@pytest.mark.parametrize(
    ("lines", "error"), [("call granny | tomorrow", "invented"), ("/cancel granny", "invented"), ("call mum | soonish", "invented"), ("/move mum > soonish", "bad_when")]
)
def test_a_rewrite_that_cannot_be_is_not_acted_on(lines, error):
    u = meaning("call mum", lines)
    assert (u.kind, u.entries, u.error) == ("other", (), error)


@pytest.mark.parametrize(
    ("text", "lines", "target"),
    [
        ("cancel all my meetings tomorrow", "/cancel all meetings | tomorrow", Target("all", "meetings", "tomorrow")),
        ("cancel the Dentist", "/cancel the dentist", Target(None, "the Dentist", None)),
        ("delete everything", "/cancel all", Target("all", "", None)),
        ("the next one is done", "/done next", Target("next", "", None)),
        ("what is next", "/list next", Target("next", "", None)),
    ],
)
def test_a_target_is_taken_apart(text, lines, target):
    assert meaning(text, lines).target == target


@pytest.mark.parametrize(
    ("lines", "minutes"), [("/move run > later 1 hour", 60), ("/move run > earlier 1 hour 30 minutes", -90), ("/move run > later 2 days", 2880)]
)
def test_later_and_earlier_are_minutes(lines, minutes):
    u = meaning("push my run", lines)
    assert (u.kind, u.shift_minutes, u.entries[0].due) == ("move", minutes, None)


def test_what_parse_prints_has_every_field_in_its_form():
    assert as_json(meaning("bins every thursday at seven", "bins | every thursday 07:00")) == {
        "text": "bins every thursday at seven",
        "kind": "create",
        "rewrite": "bins | every thursday 07:00",
        "reminders": [
            {"task": "bins", "when": "every thursday 07:00", "due": "2026-03-12T07:00:00+00:00", "rrule": "FREQ=WEEKLY;BYDAY=TH"}
        ],
        "confidence": 0.9,
        "ask_below": 0.5,
        "model": "small",
        "ms": 3.2,
    }


def test_a_past_time_is_marked_and_a_target_is_printed():
    past = as_json(meaning("call mum at nine today", "call mum | today 09:00"))["reminders"][0]
    assert (past["past"], past["due"]) == (True, "2026-03-11T09:00:00+00:00")
    moved = as_json(meaning("move mum to six pm", "/move mum > 18:00"))
    assert moved["target"] == {"quantifier": None, "words": "mum", "range": None}
    assert moved["reminders"] == [{"task": "mum", "when": "18:00", "due": "2026-03-11T18:00:00+00:00", "rrule": None}]
