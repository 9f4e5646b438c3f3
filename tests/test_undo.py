"""Undo over a real store: whatever was changed is as it was, and what rings next as well; or a sentence says why not."""

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.calendar_entries import CalendarEntries
from assistant.corrections import Corrections
from assistant.database import to_instant
from assistant.errors import AssistantError, CannotUndo, Refused
from assistant.lead import ring_ahead
from assistant.outbox import Outbox, Outcome
from assistant.overheard import OVERHEARD
from assistant.store import NewReminder
from assistant.undo import UNDO_FOR, UndoLog, asks_to_undo
from tests.test_conversation import Home
from tests.test_http import client, made, rewriter  # noqa: F401  (fixtures)
from tests.test_pipeline import LONDON

MINUTE, FAR = timedelta(minutes=1), timedelta(days=400)


@pytest.fixture
def home(tmp_path):
    one = Home(tmp_path / "reminders.db")
    yield one
    one.close()


async def furnished(home: Home) -> dict[str, int]:
    """One reminder of every sort, by what it is."""
    home.ring(missed := await home.have("ring dad | 10:01"))
    home.clock.pass_by(minutes=6)
    Outbox(home.store.db).insist(["log"], home.clock.now(), 5 * MINUTE, 0)
    ids = {"missed": missed.id}
    for name, line in {"rung": "feed the cat | 10:10", "snoozed": "stretch | every day 10:12",
                       "ringing every day": "pills | every day 10:14"}.items():
        ids[name] = (made := await home.have(line)).id
        home.ring(made)
        *_, rung = Outbox(home.store.db).to_ring("desktop", home.clock.now(), 10 * MINUTE, 100)
        failed = Outcome(rung.id, 1, "desktop", "no screen", home.clock.now(), home.clock.now() + 8 * MINUTE)
        Outbox(home.store.db).record([failed], 5 * MINUTE)
    home.pipeline.snooze(ids["snoozed"], 30)
    ids["ahead"] = (await home.have("call mum | tomorrow 17:00")).id
    ids["weekly"] = (await home.have("bins | every thursday 07:00")).id
    home.clock.pass_by(minutes=1)
    return ids


def picture(home: Home, tables=("reminders", "deliveries", "outcomes")) -> dict[str, list]:
    """All rows, but for reminders that are over."""
    rows = {t: [dict(row) for row in home.store.db.rows(f"SELECT * FROM {t} ORDER BY rowid")] for t in tables}
    return rows | {"reminders": [r for r in rows["reminders"] if r["state"] != "cancelled"]}


def rings_next(home: Home) -> tuple:
    """What is ahead, when something is repeated, and what a notifier owes."""
    outbox, now = Outbox(home.store.db), home.clock.now()
    return (outbox.due(now + FAR, 1000), outbox.next_ring(), outbox.next_try("desktop"),
            [outbox.to_ring(name, now, 10 * MINUTE, 100) for name in ("log", "desktop")])


CHANGES = {
    "what rings is done": lambda p, ids: p.done(ids["rung"]),
    "what rings is snoozed": lambda p, ids: p.snooze(ids["rung"], 15),
    "what rings is moved": lambda p, ids: p.move(ids["rung"], "friday 10:00"),
    "what rings is cancelled": lambda p, ids: p.cancel(ids["rung"]),
    "what was missed is done": lambda p, ids: p.done(ids["missed"]),
    "what was missed is snoozed": lambda p, ids: p.snooze(ids["missed"]),
    "what recurs and rings is done": lambda p, ids: p.done(ids["ringing every day"]),
    "what recurs and rings is snoozed": lambda p, ids: p.snooze(ids["ringing every day"]),
    "what recurs and rings is cancelled": lambda p, ids: p.cancel(ids["ringing every day"]),
    "what recurs is cancelled with its snoozed occurrence": lambda p, ids: p.cancel(ids["snoozed"]),
    "what recurs is done with its snoozed occurrence": lambda p, ids: p.done(ids["snoozed"]),
    "a snoozed occurrence is snoozed again": lambda p, ids: p.snooze(ids["snoozed"], 60),
    "what is ahead is done": lambda p, ids: p.done(ids["ahead"]),
    "what is ahead is snoozed": lambda p, ids: p.snooze(ids["ahead"], 60),
    "what is ahead is moved": lambda p, ids: p.move(ids["ahead"], "in 3 hours"),
    "what is ahead is made to recur": lambda p, ids: p.move(ids["ahead"], "every day 08:00"),
    "what is ahead is cancelled": lambda p, ids: p.cancel(ids["ahead"]),
    "a rule is moved": lambda p, ids: p.move(ids["weekly"], "08:30"),
    "another rule is given": lambda p, ids: p.move(ids["weekly"], "every monday 09:00"),
    "one occurrence of a rule is moved": lambda p, ids: p.move(ids["weekly"], "saturday 10:00"),
    "what recurs and is ahead is cancelled": lambda p, ids: p.cancel(ids["weekly"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_was_changed_by_number_is_as_before_and_rings_as_before(home, change):
    ids = await furnished(home)
    before, next_before = picture(home), rings_next(home)
    change(home.pipeline, ids)
    assert picture(home) != before
    after, changes = picture(home), home.changes
    undone = home.pipeline.undo(home.pipeline.undo_log.last)
    assert (picture(home), rings_next(home)) == (before, next_before)
    assert home.changes == changes + 1, "calendar, broker and phone are told"
    assert undone.back
    home.pipeline.undo(undone.change)
    assert picture(home) == after, "undoing the undo does it again"


SAID = {
    "a reminder is set": ("call granny at noon", "call granny | noon", "OK, undone: call granny is no longer set."),
    "two are set": ("milk at six and bread at seven", "milk | 18:00\nbread | 19:00",
                    "OK, undone: milk and bread are no longer set."),
    "what recurs is set": ("tea every day at four", "tea | every day 16:00", "OK, undone: tea is no longer set."),
    "one is cancelled": ("cancel call mum", "/cancel call mum", "OK, undone: call mum, tomorrow at 17:00."),
    "one is moved": ("call mum on friday", "/move call mum > friday", "OK, undone: call mum, tomorrow at 17:00."),
    "one occurrence is moved": ("bins on saturday", "/move bins > saturday 10:00",
                                "OK, undone: bins, every Thursday at 7:00, next tomorrow."),
    "what rings is done": ("the cat is fed", "/done cat", "OK, undone: feed the cat, which rang today at 10:10."),
}


@pytest.mark.parametrize(("said", "rewrite", "answer"), SAID.values(), ids=SAID)
async def test_undo_is_said_and_answered_with_what_came_back(home, said, rewrite, answer):
    await furnished(home)
    before, next_before = picture(home), rings_next(home)
    done = await home.hear(said, rewrite)
    if done.question:
        done = await home.hear("yes")
    assert done.undo and rings_next(home) != next_before
    undone = await home.hear("undo that")
    assert (undone.text, undone.kind, undone.question) == (answer, "undo", False)
    assert (picture(home), rings_next(home)) == (before, next_before)
    assert undone.undo not in (None, done.undo)


async def test_all_that_one_request_cancelled_comes_back(home):
    await furnished(home)
    before, next_before = picture(home), rings_next(home)
    await home.hear("cancel everything", "/cancel all")
    await home.hear("yes")
    assert home.store.active() == []
    said = (await home.hear("please undo that")).text
    assert said.startswith("OK, undone: 6 reminders")
    assert (picture(home), rings_next(home)) == (before, next_before)


WORDS = {"undo": True, "Undo that, please!": True, "no wait undo it": True, "put it back": True, "revert the last change": True,
         "can you undo what you just did": True, "undo the dentist": False, "remind me to undo that": False,
         "take the bins out": False, "put it back at six": False, "": False}


@pytest.mark.parametrize(("text", "asks"), WORDS.items(), ids=[w or "nothing" for w in WORDS])
def test_only_plain_words_ask_for_it(text, asks):
    assert asks_to_undo(text) is asks


async def test_undo_needs_no_model_and_ends_an_open_question(home):
    ids = await furnished(home)
    home.pipeline.cancel(ids["ahead"])
    await home.hear("cancel everything", "/cancel all")
    heard = list(home.rewriter.heard)
    assert "call mum" in (await home.hear("undo")).text
    assert home.rewriter.heard == heard
    tasks = home.tasks()
    await home.hear("yes")
    assert home.tasks() == tasks, "what was asked before is not done any more"


async def test_overheard_it_is_meant_for_the_assistant_if_there_is_something_to_undo(home):
    assert await home.pipeline.directed(home.request("undo that", OVERHEARD)) is None
    await home.have("milk | 18:00")
    assert await home.pipeline.directed(home.request("undo that", OVERHEARD)) is not None


async def test_undo_again_goes_further_back_and_ends_with_a_sentence(home):
    await furnished(home)
    home.clock.pass_by(minutes=11)
    for task in ("milk", "bread"):
        await home.hear(f"{task} at six", f"{task} | 18:00")
    assert [(await home.hear(words)).text for words in ("undo", "undo again")] == [
        "OK, undone: bread is no longer set.", "OK, undone: milk is no longer set."]
    none = await home.hear("undo")
    assert none.text.startswith("There is nothing to undo") and none.undo is None


async def test_what_was_undone_and_done_again_is_what_undo_means(home):
    await home.hear("milk at six", "milk | 18:00")
    [bread] = (await home.hear("bread at six", "bread | 18:00")).reminders
    home.pipeline.undo(home.pipeline.undo().change)
    assert home.tasks() == ["milk", "bread"]
    assert (await home.hear("undo")).reminders[0].id == bread.id


@pytest.mark.parametrize(("then", "says"), [
    pytest.param(lambda home, r: home.ring(home.store.reminder(r.id)), "has rung meanwhile", id="it has rung"),
    pytest.param(lambda home, r: home.pipeline.move(r.id, "friday"), "was changed again", id="it was moved again"),
    pytest.param(lambda home, r: home.store.db.execute("UPDATE reminders SET task = 'tea' WHERE id = ?", (r.id,)),
                 "was changed again", id="a calendar has renamed it"),
    pytest.param(lambda home, r: home.pipeline.undo(), "undone already", id="it was undone"),
    pytest.param(lambda home, r: home.clock.pass_by(minutes=10, seconds=1), "ten minutes ago", id="it is long ago"),
    pytest.param(lambda home, r: home.restart(), "ten minutes ago", id="the daemon was restarted"),
])  # fmt: skip
async def test_what_cannot_be_undone_any_more_stays_as_it_is_and_is_told_why(home, then, says):
    await home.have("milk | 10:09")
    reply = await home.hear("bread at nine past ten", "bread | 10:09")
    then(home, reply.reminders[0])
    before = picture(home)
    with pytest.raises(CannotUndo, match=says):
        home.pipeline.undo(reply.undo)
    assert picture(home) == before


async def test_a_ring_that_another_one_has_followed_does_not_come_back(home):
    ids = await furnished(home)
    home.pipeline.done(ids["ringing every day"])
    change = home.pipeline.undo_log.last
    home.clock.pass_by(minutes=1)
    home.ring(home.store.reminder(ids["ringing every day"]))
    home.clock.pass_by(days=-1)
    with pytest.raises(CannotUndo, match="pills.*has rung"):
        home.pipeline.undo(change)


async def test_what_was_acknowledged_rings_again_only_when_what_was_left_has_passed(home):
    ids = await furnished(home)
    ring = dict(home.store.db.one("SELECT * FROM deliveries WHERE reminder_id = ?", (ids["ringing every day"],)))
    home.pipeline.done(ids["ringing every day"])
    home.clock.pass_by(minutes=9)
    home.pipeline.undo()
    back = dict(home.store.db.one("SELECT * FROM deliveries WHERE id = ?", (ring["id"],)))
    assert (back["state"], back["ring"], back["acknowledged_at"]) == ("ringing", ring["ring"], None)
    assert Outbox(home.store.db).to_ring("log", home.clock.now(), 10 * MINUTE, 10) == []
    assert to_instant(back["next_ring"]) == to_instant(ring["next_ring"]) + 9 * MINUTE > home.clock.now()


async def test_what_came_due_while_it_was_cancelled_rings_once_it_is_back(home):
    made = await home.have("milk | 10:05")
    home.pipeline.cancel(made.id)
    home.clock.pass_by(minutes=8)
    home.pipeline.undo()
    assert Outbox(home.store.db).due(home.clock.now(), 10) == [home.store.reminder(made.id)] == [made]


async def test_the_correction_that_a_move_proposed_goes_with_it(home):
    [mum] = (await home.hear("remind me to call mum on friday at 5 or 6", "call mum | friday 17:00")).reminders
    home.pipeline.move(mum.id, "18:00")
    proposed = Corrections(home.store.db).in_state("proposed")
    home.pipeline.undo()
    assert (len(proposed), Corrections(home.store.db).in_state()) == (1, [])


async def test_a_change_of_nothing_is_none(home):
    ids = await furnished(home)
    home.pipeline.done(ids["weekly"])
    assert home.pipeline.undo_log.last is None
    assert (await home.hear("what is there", "/list")).undo is None


async def test_a_change_that_was_taken_back_by_the_database_is_none(home):
    ids = await furnished(home)
    before = home.pipeline.undo_log.latest()
    with pytest.raises(ZeroDivisionError), home.pipeline.undo_log.recording():
        home.store.cancel([ids["ahead"]])
        raise ZeroDivisionError
    assert home.pipeline.undo_log.latest() == before
    home.store.cancel([ids["ahead"]])
    assert home.store.db.value("SELECT count(*) FROM undo_open") == 0, "and nothing goes on being recorded"


async def test_an_answer_that_is_told_twice_has_the_same_change(home):
    request = home.request("milk at six")
    home.rewriter.answers["milk at six"] = "milk | 18:00"
    first, second = await home.pipeline.handle(request), await home.pipeline.handle(request)
    assert first.undo == second.undo is not None
    home.pipeline.undo(first.undo)
    assert (await home.pipeline.handle(request)).undo is None


async def test_who_may_not_do_everything_undoes_only_what_was_done_there(home):
    await home.have("milk | 18:00")
    home.pipeline._may = lambda channel: frozenset({"create", "list"}) if channel == "mqtt" else None
    assert (await home.hear("undo", channel="mqtt")).text.startswith("There is nothing to undo")
    await home.hear("bread at six", "bread | 18:00", channel="mqtt")
    with pytest.raises(Refused):
        await home.hear("cancel bread", "/cancel bread", channel="mqtt")
    assert (await home.hear("undo", channel="mqtt")).text == "OK, undone: bread is no longer set."
    assert home.tasks() == ["milk"]


async def test_a_change_of_very_many_is_made_and_not_kept(home):
    await furnished(home)
    few = UndoLog(home.store, home.clock, most_rows=5)
    before = few.latest()
    with few.recording() as recording:
        home.store.cancel([r.id for r in home.store.active()])
    assert (recording.change, few.latest()) == (None, before) and home.store.count_active() == 0


async def test_after_ten_minutes_nothing_of_it_is_kept(home):
    await furnished(home)
    home.clock.pass_by(seconds=UNDO_FOR.total_seconds() + 1)
    await home.hear("bread at six", "bread | 18:00")
    assert home.store.db.value("SELECT count(*) FROM undo_changes") == 1


# Over HTTP

@pytest.mark.parametrize("change", [
    pytest.param(("POST", "/done", None), id="done"), pytest.param(("POST", "/snooze", {"minutes": 5}), id="snoozed"),
    pytest.param(("POST", "/move", {"when": "tomorrow 17:00"}), id="moved"),
    pytest.param(("POST", "/rename", {"task": "call dad"}), id="given other words"),
    pytest.param(("DELETE", "", None), id="cancelled"),
])  # fmt: skip
async def test_over_http_an_answer_says_by_what_it_is_undone(client, change):  # noqa: F811
    mum = await made(client)
    method, path, body = change
    _, done = await client(method, f"/reminders/{mum['id']}{path}", body)
    status, undone = await client("POST", "/undo", {"change": done["undo"]})
    assert (status, undone["reminders"]) == (200, [mum]) and undone["reply"].startswith("OK, undone: call mum, ")
    status, again = await client("POST", "/undo", {"change": done["undo"]})
    assert (status, again["error"]["code"]) == (409, "cannot_undo")
    assert (await client("POST", "/undo", {"change": undone["undo"]}))[1]["reminders"] == [done["reminder"]]


async def test_over_http_what_was_changed_last_is_undone(client):  # noqa: F811
    bins = await made(client, "remind me to take the bins out every thursday at 7")
    assert "undo" not in (await client("POST", f"/reminders/{bins['id']}/done"))[1], "nothing has changed"
    assert (await client("POST", "/undo"))[1]["reminders"][0]["state"] == "cancelled"
    assert (await client("POST", "/undo"))[0] == 409
    assert (await client("POST", "/undo", {"change": 5}))[0] == 400


# Calendars

def content(home: Home, id: int) -> tuple:
    row = home.store.db.one("SELECT content, sequence FROM calendar_entries WHERE reminder_id = ?", (id,))
    return row["content"], row["sequence"]


async def test_an_occurrence_that_was_moved_away_and_is_back_is_in_the_calendar_again(home):
    ids = await furnished(home)
    entries, bins = CalendarEntries(home.store), home.store.reminder(ids["weekly"])
    entries.notice(home.clock.now())
    was, sequence = content(home, bins.id)
    apart = home.pipeline.move(bins.id, "saturday 10:00")
    entries.notice(home.clock.now())
    assert content(home, bins.id)[0] != was
    home.pipeline.undo()
    entries.notice(home.clock.now())
    assert home.store.reminder(bins.id) == bins, "the calendar does not leave it out once more"
    now_there, later = content(home, bins.id)
    assert now_there == was and later > sequence + 1, "which the owner's calendar is told"
    assert '"cancelled"' in content(home, apart.id)[0]


@pytest.mark.parametrize("noticed", [True, False], ids=["the calendar has seen it", "the calendar has not seen it yet"])
async def test_through_snoozes_and_their_undo_a_calendar_shows_the_time_that_was_asked_for(home, noticed):
    entries = CalendarEntries(home.store)
    cat = await home.have("feed the cat | 10:10")
    entries.notice(home.clock.now())
    was, _ = content(home, cat.id)
    home.ring(cat)
    home.pipeline.snooze(cat.id, 5)
    home.ring(home.store.reminder(cat.id))
    home.pipeline.snooze(cat.id, 5)
    if noticed:
        entries.notice(home.clock.now())
    home.pipeline.undo(home.pipeline.undo().change)
    home.pipeline.undo()
    entries.notice(home.clock.now())
    assert content(home, cat.id) == (was, 0)


async def test_an_event_that_rings_ahead_of_its_moved_time_does_so_no_more(home):
    meeting = await home.have("schedule a meeting | 15:00")
    entries = CalendarEntries(home.store)
    home.store.db.execute("UPDATE calendar_entries SET kind = 'event'")
    entries.notice(home.clock.now())
    home.pipeline.move(meeting.id, "14:00")
    home.clock.pass_by(seconds=1)
    change = home.pipeline.undo_log.last
    entries.notice(home.clock.now())
    home.clock.pass_by(minutes=9)
    assert ring_ahead(home.store, timedelta(hours=3, minutes=52), home.clock) == 1
    home.pipeline.undo(change)
    assert Outbox(home.store.db).to_ring("log", home.clock.now(), 10 * MINUTE, 10) == []
    assert home.store.reminder(meeting.id) == meeting


# Any change of any household

ACTS = st.sampled_from(["set", "set what recurs", "done", "cancel", "snooze", "move", "move to recur", "move apart", "ring"])
STEPS = st.lists(st.tuples(ACTS, st.integers(0, 5), st.integers(0, 12)), max_size=10)


def act(home: Home, what: str, which: int) -> None:
    """Do one thing to one reminder; what cannot be done to it is not."""
    pipeline, now = home.pipeline, home.clock.now().replace(microsecond=0)
    if what.startswith("set"):
        due = now + (1 + which) * 40 * MINUTE
        wall = due.astimezone(LONDON).replace(tzinfo=None)
        rule = "FREQ=DAILY" if "recurs" in what else None
        with pipeline.undo_log.recording():
            home.store.add_reminders(None, [NewReminder(f"task {which}", "x", wall, LONDON.key, rule, due)])
        return
    every = [row["id"] for row in home.store.db.rows("SELECT id FROM reminders ORDER BY id")]
    if not every:
        return
    id = every[which % len(every)]
    reminder = home.store.reminder(id)
    try:
        match what:
            case "ring" if reminder.due:
                home.ring(reminder)
            case "done":
                pipeline.done(id)
            case "cancel":
                pipeline.cancel(id)
            case "snooze":
                pipeline.snooze(id, 5 + which)
            case "move":
                pipeline.move(id, f"{8 + which}:15".rjust(5, "0"))
            case "move to recur":
                pipeline.move(id, "every day 08:00")
            case "move apart":
                pipeline.move(id, "in 9 days")
    except AssistantError:
        pass


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, ACTS.filter(lambda what: what != "ring"), st.integers(0, 5))
def test_any_change_and_its_undo_leave_everything_as_before(steps, what, which):
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "reminders.db")
        for step, nth, minutes in steps:
            act(home, step, nth)
            home.clock.pass_by(minutes=minutes)
        before, next_before = picture(home), rings_next(home)
        home.pipeline.undo_log.last = None
        act(home, what, which)
        after, change = picture(home), home.pipeline.undo_log.last
        if change is None:
            assert after == before
        else:
            undone = home.pipeline.undo(change)
            assert (picture(home), rings_next(home)) == (before, next_before)
            home.pipeline.undo(undone.change)
            assert picture(home) == after
        home.close()
