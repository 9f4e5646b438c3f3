"""The store remembers what it accepted, whatever happens to the process, the disk and the file."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assistant.errors import (
    AlreadyRunning,
    CorruptDatabase,
    DiskFull,
    LockedDatabase,
    NewerDatabase,
    NotFound,
    ReadOnlyFolder,
)
from assistant.messages import Reminder, Request, Understanding
from assistant.migrations import MIGRATIONS
from assistant.outbox import Advance, Outbox, Outcome
from assistant.store import NewReminder, Store, inspect

NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ROOT = Path(__file__).parent.parent
FIVE = HOUR / 12
"""`repeat_after` in these tests."""


def new(task: str = "call mum", due: datetime = NOW + HOUR, rrule: str | None = None, **more) -> NewReminder:
    return NewReminder(task, "today 15:30", due.replace(tzinfo=None), "Europe/London", rrule, due, **more)


def said(text: str = "call mum at five", id: str = "r1", channel: str = "cli") -> Request:
    return Request(id, text, channel, NOW)


def fire(store: Store, reminder: Reminder, following: datetime | None = None, now: datetime | None = None) -> None:
    assert reminder.due
    Outbox(store.db).fire([(reminder, Advance(reminder.due, 1, following))], now or reminder.due)


def ring(store: Store, at: datetime) -> None:
    """Ring whatever is to be rung."""
    outbox = Outbox(store.db)
    due = outbox.to_ring("log", at, HOUR, 100)
    outbox.record([Outcome(d.id, d.ring, "log", None, at) for d in due], FIVE)


def deliveries(store: Store) -> list[tuple]:
    return [tuple(row) for row in store.db.rows("SELECT reminder_id, ring, state FROM deliveries ORDER BY id")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "reminders.db"


@pytest.fixture
def store(path: Path):
    with Store.open(path) as store:
        yield store


# Requests


def test_a_request_is_taken_once(store):
    assert store.add_request(said())
    assert not store.add_request(said("something else"))
    assert store.request("r1").text == "call mum at five"


def test_a_request_that_was_answered_tells_how(store):
    store.add_request(said())
    u = Understanding("call mum at five", "create", "call mum | 17:00", (), None, None, 0.9, "small", 8.5)
    store.settle_request("r1", reply="OK", at=NOW + MINUTE, understanding=u, question=True)
    r = store.request("r1")
    assert (r.kind, r.rewrite, r.model, r.confidence, r.ms, r.reply, r.question, r.error, r.settled_at, r.said_at) == (
        "create", "call mum | 17:00", "small", 0.9, 8.5, "OK", True, None, NOW + MINUTE, NOW,
    )


def test_a_request_that_failed_tells_the_error(store):
    store.add_request(said())
    store.settle_request("r1", reply="Try again.", at=NOW, kind="other", error="busy")
    assert (store.request("r1").kind, store.request("r1").error) == ("other", "busy")
    assert store.unsettled_requests() == []


def test_what_was_accepted_and_not_answered_is_there_after_a_restart_oldest_first(path):
    with Store.open(path) as store:
        for id in ("b", "a", "c"):
            store.add_request(said(id=id))
        store.settle_request("a", reply="OK", at=NOW)
    with Store.open(path) as store:
        assert store.unsettled_requests() == [said(id="b"), said(id="c")]


def test_the_latest_answer_on_a_channel_is_found_again(store):
    for id, channel in (("a", "cli"), ("b", "voice"), ("c", "cli"), ("d", "cli")):
        store.add_request(said(id=id, channel=channel))
    for n, id in enumerate(("c", "a", "b")):
        store.settle_request(id, reply="OK", at=NOW + n * MINUTE)
    assert store.latest_request("cli").id == "a"
    assert store.latest_request("mqtt") is None


def test_nothing_of_a_forgotten_request_stays_in_the_file(path):
    with Store.open(path) as store:
        store.add_request(said("what a private conversation"))
        store.forget_request("r1")
        assert store.request("r1") is None
    assert b"private" not in path.read_bytes()


def test_an_unknown_request_cannot_be_settled(store):
    with pytest.raises(NotFound):
        store.settle_request("nope", reply="OK", at=NOW)


# Reminders


def test_reminders_come_back_as_they_were_made(path):
    wall = datetime(2026, 10, 25, 1, 30, fold=1)
    made = NewReminder("", "every 20 minutes", wall, "Europe/London", "FREQ=MINUTELY;INTERVAL=20", NOW + MINUTE / 7)
    with Store.open(path) as store:
        store.add_request(said())
        (kept,) = store.add_reminders("r1", [made])
    with Store.open(path) as store:
        assert store.reminder(kept.id) == kept == store.reminders_of("r1")[0]
        assert kept == Reminder(kept.id, "r1", made.task, made.when, wall, made.zone, made.rrule, made.due, "pending")
        assert (kept.wall.fold, kept.due.utcoffset()) == (1, timedelta())


def test_an_id_is_never_used_again(store):
    (first,) = store.add_reminders(None, [new()])
    store.db.execute("DELETE FROM reminders")
    assert store.add_reminders(None, [new()])[0].id > first.id


@pytest.mark.parametrize("id", [0, 7, -1, 2**63, 10**30])
def test_an_unknown_reminder_is_not_found(store, id):
    with pytest.raises(NotFound, match="no reminder"):
        store.reminder(id)


def test_active_ones_come_fired_first_and_then_by_due(store):
    late, soon, rung, over = store.add_reminders(None, [new(due=NOW + n * HOUR) for n in (3, 2, 1, 1)])
    fire(store, rung)
    store.cancel([over.id])
    assert [r.id for r in store.active()] == [rung.id, soon.id, late.id]
    assert [r.id for r in store.active(2)] == [rung.id, soon.id]
    assert store.active(0) == []
    assert store.count_active() == 3


def test_a_time_without_a_zone_is_refused(store):
    with pytest.raises(ValueError, match="zone"):
        store.add_reminders(None, [new(due=datetime(2026, 1, 1))])
    with pytest.raises(ValueError, match="zone"):
        store.add_reminders(None, [NewReminder("x", "x", NOW, "UTC", None, NOW)])
    assert store.active() == []


def test_a_fired_reminder_waits_without_a_next_time(store):
    (r,) = store.add_reminders(None, [new()])
    fire(store, r)
    assert (store.reminder(r.id).state, store.reminder(r.id).due) == ("fired", None)
    assert deliveries(store) == [(r.id, 1, "ringing")]


@pytest.mark.parametrize("rung", [False, True], ids=["before it rang", "when it rang"])
@pytest.mark.parametrize("how", ["done", "cancelled"])
def test_a_one_off_ends(store, how, rung):
    (r,) = store.add_reminders(None, [new()])
    if rung:
        fire(store, r)
    (after,) = store.done([r.id], NOW) if how == "done" else store.cancel([r.id])
    assert (after.state, after.due) == (how, None)
    assert deliveries(store) == [(r.id, 1, how)] * rung
    assert Outbox(store.db).to_ring("log", NOW + DAY, HOUR, 10) == []


def test_done_acknowledges_what_rang_and_leaves_the_recurrence(store):
    (r,) = store.add_reminders(None, [new(rrule="FREQ=DAILY")])
    fire(store, r, following=r.due + DAY)
    (after,) = store.done([r.id], NOW + HOUR)
    assert (after.state, after.due, after.rrule) == ("pending", r.due + DAY, "FREQ=DAILY")
    assert deliveries(store) == [(r.id, 1, "done")]


def test_done_takes_back_that_it_was_missed(store):
    once, often = store.add_reminders(None, [new(), new(rrule="FREQ=DAILY")])
    fire(store, once)
    fire(store, often, following=often.due + DAY)
    ring(store, NOW + HOUR)
    Outbox(store.db).insist(["log"], NOW + HOUR + FIVE, FIVE, repeats=0)
    assert [state for *_, state in deliveries(store)] == ["missed", "missed"]
    assert store.reminder(once.id).state == "missed"
    store.done([once.id, often.id], NOW + 2 * HOUR)
    assert [state for *_, state in deliveries(store)] == ["done", "done"]
    assert store.reminder(once.id).state == "done"


def test_the_last_occurrence_of_a_recurrence_ends_it_when_done(store):
    (r,) = store.add_reminders(None, [new(rrule="FREQ=DAILY;COUNT=1")])
    fire(store, r)
    assert store.done([r.id], NOW)[0].state == "done"


def test_a_snoozed_one_off_is_ahead_again(store):
    (r,) = store.add_reminders(None, [new()])
    fire(store, r)
    after = store.snooze(r.id, datetime(2026, 7, 1, 12, tzinfo=UTC), NOW)
    assert (after.id, after.state, after.due) == (r.id, "pending", datetime(2026, 7, 1, 12, tzinfo=UTC))
    assert (after.when, after.wall) == ("2026-07-01 13:00", datetime(2026, 7, 1, 13))  # summer time
    assert deliveries(store) == [(r.id, 1, "snoozed")]


def test_a_snoozed_occurrence_is_a_reminder_of_its_own(store):
    (r,) = store.add_reminders(None, [new(rrule="FREQ=DAILY")])
    fire(store, r, following=r.due + DAY)
    child = store.snooze(r.id, NOW + 2 * HOUR, NOW)
    assert (child.parent_id, child.task, child.rrule, child.due) == (r.id, r.task, None, NOW + 2 * HOUR)
    parent = store.reminder(r.id)
    assert (parent.state, parent.due, parent.wall, parent.rrule) == ("pending", r.due + DAY, r.wall, "FREQ=DAILY")
    assert deliveries(store) == [(r.id, 1, "snoozed")]


def test_snoozing_an_occurrence_again_moves_the_child_that_there_is(store):
    (r,) = store.add_reminders(None, [new(rrule="FREQ=DAILY")])
    fire(store, r, following=r.due + DAY)
    child = store.snooze(r.id, NOW + 2 * HOUR, NOW)
    assert store.snooze(r.id, NOW + 3 * HOUR, NOW).id == child.id
    fire(store, store.reminder(child.id))
    assert store.snooze(r.id, NOW + 4 * HOUR, NOW).id == child.id
    assert len(store.active()) == 2


def test_a_second_occurrence_that_is_snoozed_leaves_the_first_one_snoozed(store):
    (r,) = store.add_reminders(None, [new(rrule="FREQ=DAILY")])
    fire(store, r, following=r.due + DAY)
    first = store.snooze(r.id, NOW + 3 * DAY, NOW)
    fire(store, store.reminder(r.id), following=r.due + 2 * DAY)
    second = store.snooze(r.id, NOW + DAY + 2 * HOUR, NOW)
    assert (first.id, NOW + 3 * DAY) in [(x.id, x.due) for x in store.active()]
    assert second.id != first.id


def test_the_last_occurrence_lives_on_in_its_snoozed_child(store):
    (r,) = store.add_reminders(None, [new(rrule="FREQ=DAILY;COUNT=1")])
    fire(store, r)
    child = store.snooze(r.id, NOW + 2 * HOUR, NOW)
    assert [x.id for x in store.active()] == [child.id]


def test_cancelling_or_finishing_a_recurrence_ends_its_snoozed_occurrence(store):
    for end in (store.cancel, lambda ids: store.done(ids, NOW)):
        (r,) = store.add_reminders(None, [new(rrule="FREQ=DAILY")])
        fire(store, r, following=r.due + DAY)
        child = store.snooze(r.id, NOW + 2 * HOUR, NOW)
        end([r.id])
        assert store.reminder(child.id).state in ("cancelled", "done")
    assert [x.state for x in store.active()] == ["pending"]  # the recurrence whose occurrence was done


def test_a_moved_reminder_stops_ringing_and_rings_at_its_new_time(store):
    (r,) = store.add_reminders(None, [new()])
    fire(store, r)
    wall = datetime(2026, 3, 13, 9)
    after = store.move(r.id, when="every day 09:00", wall=wall, zone="UTC", rrule="FREQ=DAILY", due=NOW + DAY)
    assert (after.state, after.when, after.wall, after.zone, after.rrule, after.due) == (
        "pending", "every day 09:00", wall, "UTC", "FREQ=DAILY", NOW + DAY,
    )
    assert deliveries(store) == [(r.id, 1, "moved")]


@pytest.mark.parametrize("end", ["done", "cancel"])
def test_what_is_over_cannot_be_snoozed_or_moved(store, end):
    (r,) = store.add_reminders(None, [new()])
    store.done([r.id], NOW) if end == "done" else store.cancel([r.id])
    with pytest.raises(NotFound, match="make a new one"):
        store.snooze(r.id, NOW + HOUR, NOW)
    with pytest.raises(NotFound):
        store.move(r.id, when="x", wall=r.wall, zone="UTC", rrule=None, due=NOW)


@pytest.mark.parametrize("end", ["done", "cancel"])
def test_one_unknown_reminder_among_several_and_nothing_changes(store, end):
    (r,) = store.add_reminders(None, [new()])
    with pytest.raises(NotFound):
        store.done([r.id, 99], NOW) if end == "done" else store.cancel([r.id, 99])
    assert store.reminder(r.id).state == "pending"


def test_that_is_what_rang_last_and_was_not_acknowledged(store):
    first, second, third = store.add_reminders(None, [new(due=NOW + n * MINUTE) for n in (1, 2, 3)])
    assert store.latest_rung() is None
    for r in (first, second, third):
        fire(store, r)
    assert store.latest_rung() is None  # due, but nothing has rung yet
    for r in (first, second, third):
        outbox = Outbox(store.db)
        d = next(d for d in outbox.to_ring("log", NOW, HOUR, 9) if d.reminder_id == r.id)
        outbox.record([Outcome(d.id, 1, "log", None, r.due)], FIVE)
    assert store.latest_rung().id == third.id
    store.done([third.id], NOW)
    assert store.latest_rung().id == second.id
    Outbox(store.db).insist(["log"], NOW + HOUR, FIVE, repeats=0)
    assert store.latest_rung() is None
    assert store.latest_rung(since=NOW).id == second.id
    assert store.latest_rung(since=NOW + HOUR) is None


# Crashes: every operation is one commit


def test_what_happens_in_a_transaction_is_one_commit(store):
    store.add_request(said())
    with pytest.raises(RuntimeError), store.transaction():
        store.add_reminders("r1", [new(), new()])
        store.settle_request("r1", reply="OK", at=NOW)
        raise RuntimeError
    assert store.active() == []
    assert store.unsettled_requests() == [said()]


def test_a_part_of_a_transaction_can_fail_without_the_rest(store):
    with store.transaction():
        store.add_reminders(None, [new("kept")])
        with pytest.raises(NotFound), store.transaction():
            store.add_reminders(None, [new("dropped")])
            store.cancel([99])
    assert [r.task for r in store.active()] == ["kept"]


def _settle(store: Store) -> None:
    with store.transaction():
        store.add_reminders("r1", [new("one"), new("two")])
        store.settle_request("r1", reply="OK", at=NOW)


OPERATIONS = {
    "accepting a request": lambda s, b: s.add_request(said(id="r2")),
    "making reminders and answering": lambda s, b: _settle(s),
    "forgetting": lambda s, b: s.forget_request("r1"),
    "cancelling a recurrence with its child": lambda s, b: s.cancel([2]),
    "done, several at once": lambda s, b: s.done([1, 2, 3], NOW),
    "snoozing a one-off": lambda s, b: s.snooze(1, NOW + DAY, NOW),
    "snoozing an occurrence": lambda s, b: s.snooze(4, NOW + DAY, NOW),
    "moving": lambda s, b: s.move(1, when="x", wall=NOW.replace(tzinfo=None), zone="UTC", rrule=None, due=NOW + DAY),
    "firing": lambda s, b: b.fire(
        [(r, Advance(r.due, 1, r.rrule and r.due + DAY)) for r in b.due(NOW + 2 * DAY, 10)], NOW + 2 * DAY
    ),
    "recording outcomes": lambda s, b: b.record(
        [Outcome(d.id, d.ring, "mail", "x", NOW, NOW) for d in b.to_ring("mail", NOW, HOUR, 10)], FIVE
    ),
    "insisting": lambda s, b: b.insist(["log"], NOW + DAY, FIVE, 2),
    "taking back": lambda s, b: b.take_back(NOW, NOW),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_any_statement_all_of_it_is_there_or_nothing(path, tmp_path, name):
    """The files as they lie on the disk before each statement, opened again: never anything in between."""
    with Store.open(path) as store:
        outbox = Outbox(store.db)
        store.add_request(said())
        store.add_reminders(None, [new("fired"), new("recurring", rrule="FREQ=DAILY"), new("ahead", NOW + DAY)])
        store.add_reminders(None, [new("often", rrule="FREQ=HOURLY")])
        for r in outbox.due(NOW + HOUR, 10):
            fire(store, r, following=r.rrule and r.due + HOUR)
        ring(store, NOW + HOUR)
        store.snooze(2, NOW + 2 * HOUR, NOW + HOUR)
        copies: list[Path] = []

        def copy(statement: str) -> None:
            copies.append(tmp_path / f"copy{len(copies)}" / path.name)
            copies[-1].parent.mkdir()
            for file in path.parent.glob("*.db*"):
                if not file.name.endswith("-shm"):  # it is memory, and gone after a power cut
                    shutil.copy(file, copies[-1].parent)

        before = dump(path)
        store.db.sql.conn.set_trace_callback(copy)
        OPERATIONS[name](store, outbox)
        store.db.sql.conn.set_trace_callback(None)
        copy("the end")
        after = dump(path)
    assert before != after
    seen = []
    for file in copies:
        with Store.open(file) as again:
            again.db.check()
        seen.append(dump(file))
    assert seen[-1] == after
    assert seen == [before] * seen.count(before) + [after] * seen.count(after)


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [*connection.iterdump(), str(connection.execute("SELECT * FROM sqlite_sequence").fetchall())]
    finally:
        connection.close()


def test_a_killed_process_loses_nothing_that_it_said_it_had(path):
    """kill -9 in the middle of endless work: every id that it printed is there, and the lock is free."""
    program = """if True:
        import sys
        from datetime import UTC, datetime
        from pathlib import Path
        from assistant.store import NewReminder, Store
        now = datetime.now(UTC)
        with Store.open(Path(sys.argv[1])) as store:
            while True:
                made = store.add_reminders(None, [NewReminder("x", "x", now.replace(tzinfo=None), "UTC", None, now)])
                print(made[0].id, flush=True)
    """
    printed: list[int] = []
    for _ in range(3):
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            for _ in range(20):
                printed.append(int(process.stdout.readline()))
            process.send_signal(signal.SIGKILL)
            printed += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    with Store.open(path) as store:
        store.db.check()
        assert set(printed) <= {r.id for r in store.active()}
        assert len(printed) == len(set(printed)) >= 60


# The file


def test_the_folder_is_made_and_nobody_else_can_read_it(path, store):
    assert path.parent.stat().st_mode & 0o077 == 0
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def test_a_commit_waits_for_the_disk(store):
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "fullfsync", "secure_delete", "busy_timeout")
    assert [store.db.value(f"PRAGMA {p}") for p in pragmas] == ["wal", 2, 1, 1, 1, 2000]


def test_an_empty_file_becomes_a_database(path):
    path.parent.mkdir()
    path.touch()
    with Store.open(path) as store:
        assert store.active() == []
        assert store.db.value("PRAGMA user_version") == len(MIGRATIONS)


def test_a_database_from_a_newer_program_is_refused_and_stays_as_it_is(path):
    with Store.open(path) as store:
        store.add_reminders(None, [new()])
        store.db.execute("PRAGMA user_version = 42")
    before = path.read_bytes()
    with pytest.raises(NewerDatabase, match=rf"version 42 .* up to {len(MIGRATIONS)}") as e, Store.open(path):
        pass
    assert (e.value.found, e.value.known) == (42, len(MIGRATIONS))
    with pytest.raises(NewerDatabase):
        inspect(path)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_database_as_it_was(path, monkeypatch):
    def _2_broken(db):
        db.execute("CREATE TABLE half_way (id INTEGER)")
        raise RuntimeError

    with Store.open(path) as store:
        store.add_reminders(None, [new()])
    monkeypatch.setattr("assistant.migrations.MIGRATIONS", [*MIGRATIONS, _2_broken])
    with pytest.raises(RuntimeError), Store.open(path):
        pass
    monkeypatch.undo()
    with Store.open(path) as store:
        assert len(store.active()) == 1
        assert "half_way" not in store.db.sql.table_names()


def _filled(path: Path) -> None:
    with Store.open(path) as store:
        store.add_reminders(None, [new(f"reminder {n}") for n in range(300)])


DAMAGES = {
    "not a database": lambda b: b"Dear diary, " * 1000,
    "cut off": lambda b: b[: len(b) // 2],
    "a hole in the middle": lambda b: b[: len(b) // 2] + bytes(5000) + b[len(b) // 2 + 5000 :],
    "a broken header": lambda b: b[:16] + bytes(84) + b[100:],
    "a random page": lambda b: b[:4096] + bytes(range(256)) * 16 + b[8192:],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_database_is_refused_and_stays_as_it_is(path, name):
    _filled(path)
    damaged = DAMAGES[name](path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(CorruptDatabase, match="damaged .* backup"), Store.open(path):
        pass
    with pytest.raises(CorruptDatabase):
        inspect(path)
    assert path.read_bytes() == damaged


def test_damage_in_a_large_database_is_noticed_where_it_is_met(path, monkeypatch):
    """The whole of a large file is not read at every start; what cannot be read is a clear error then."""
    monkeypatch.setattr("assistant.database.SMALL", 0)
    _filled(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptDatabase), Store.open(path) as store:
        store.active()


def test_a_database_locked_by_another_program_is_refused_and_then_works(path):
    _filled(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LockedDatabase, match="close it and try again"), Store.open(path, busy_timeout=0.05):
        pass
    other.close()
    with Store.open(path) as store:
        assert store.count_active() == 300


def test_a_lock_taken_while_the_store_is_open_fails_one_operation(path):
    with Store.open(path, busy_timeout=0.05) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedDatabase):
            store.add_reminders(None, [new()])
        other.execute("COMMIT")
        other.close()
        store.add_reminders(None, [new()])
        assert store.count_active() == 1


def test_a_full_disk_refuses_what_is_new_and_keeps_what_was(path):
    """`max_page_count` makes SQLite answer as it does when the disk is full."""
    _filled(path)
    with Store.open(path) as store:
        store.db.execute(f"PRAGMA max_page_count = {store.db.value('PRAGMA page_count')}")
        with pytest.raises(DiskFull, match="free some space"):
            store.add_reminders(None, [new("x" * 500) for _ in range(100)])
        assert store.count_active() == 300
        assert store.add_request(said())  # what fits on the pages that there are
        with pytest.raises(DiskFull), store.transaction():
            store.add_request(said(id="r2"))
            store.add_reminders("r2", [new("x" * 500) for _ in range(100)])
        assert store.request("r2") is None
        store.db.execute("PRAGMA max_page_count = 1000000")
        store.add_reminders(None, [new()])
        store.db.check()
        assert store.count_active() == 301


@pytest.fixture
def small_disk(tmp_path: Path):
    """A real disk of 300 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], capture_output=True
    ).returncode:
        pytest.skip("mounting a small disk is not allowed here; max_page_count stands in for it above")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("free", [0, 4096, 8192, 20_000, 40_000, 60_000])
def test_a_disk_too_full_to_begin_is_a_clear_error(small_disk, free):
    space = shutil.disk_usage(small_disk).free
    (small_disk / "film").write_bytes(bytes(space - free))
    with pytest.raises(DiskFull), Store.open(small_disk / "reminders.db") as store:
        store.add_reminders(None, [new("x" * 500) for _ in range(200)])
    (small_disk / "film").unlink()
    with Store.open(small_disk / "reminders.db") as store:
        store.add_reminders(None, [new()])


def test_a_disk_that_fills_up_keeps_all_that_was_accepted(small_disk):
    kept = 0
    with Store.open(small_disk / "reminders.db") as store:
        with pytest.raises(DiskFull):
            while True:
                store.add_reminders(None, [new("x" * 500)])
                kept += 1
        assert store.count_active() == kept > 0
    with Store.open(small_disk / "reminders.db") as store:
        store.db.check()
        assert store.count_active() == kept


def test_a_disk_that_fails_is_a_clear_error(path):
    """A limit on the size of files makes writing fail in the process that has it."""
    program = """if True:
        import resource, signal, sys
        from pathlib import Path
        from assistant.errors import DiskFault
        from assistant.store import Store
        from tests.test_store import new
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with Store.open(Path(sys.argv[1])) as store:
            store.add_reminders(None, [new()])
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                store.add_reminders(None, [new("x" * 500) for _ in range(1000)])
            except DiskFault as e:
                print(e, store.count_active())
    """
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert "check the disk" in done.stdout and done.stdout.endswith(" 1\n"), done
    with Store.open(path) as store:
        assert store.count_active() == 1


@pytest.mark.parametrize("where", ["below a file", "a folder in its place"])
def test_a_place_where_no_file_can_be_is_refused(tmp_path, where):
    path = tmp_path / "place" / "reminders.db"
    if where == "below a file":
        (tmp_path / "place").write_text("a file")
    else:
        path.mkdir(parents=True)
    with pytest.raises(ReadOnlyFolder, match="make its folder writable"), Store.open(path):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_may_not_be_written_is_refused_and_stays_as_it_is(path, what):
    _filled(path)
    before = path.read_bytes()
    closed = path.parent if what == "folder" else path
    closed.chmod(0o500 if what == "folder" else 0o400)
    try:
        with pytest.raises(ReadOnlyFolder), Store.open(path):
            pass
    finally:
        closed.chmod(0o700)
    assert path.read_bytes() == before


def test_an_unchangeable_file_is_refused_as_read_only(path):
    """Stands in for a read-only folder where the tests run as root: SQLite itself answers "readonly"."""
    _filled(path)
    with Store.open(path) as store:
        store.db.execute("PRAGMA query_only = ON")
        with pytest.raises(ReadOnlyFolder):
            store.add_reminders(None, [new()])
        assert store.count_active() == 300


def test_a_second_daemon_is_refused_and_the_first_one_goes_on(path, store):
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"), Store.open(path):
        pass
    store.add_reminders(None, [new()])
    assert store.count_active() == 1


def test_a_damaged_lock_file_says_nothing_and_locks_none_the_less(path, store):
    path.with_name(path.name + ".lock").write_bytes(b"\xff\xfe")
    with pytest.raises(AlreadyRunning), Store.open(path):
        pass


def test_it_can_be_inspected_while_it_is_in_use(path, store):
    store.add_reminders(None, [new(), new()])
    facts = inspect(path)
    assert (facts.version, facts.pending) == (len(MIGRATIONS), 2)
    assert facts.size > 0


def test_where_there_is_no_database_there_is_nothing_to_inspect(path):
    assert inspect(path) is None
    assert not path.parent.exists()


def test_no_question_asked_again_and_again_reads_a_whole_table(store):
    """Every statement of a day's work finds its rows by an index, however many reminders and deliveries there are."""
    statements: set[str] = set()
    store.add_reminders(None, [new(rrule="FREQ=DAILY"), new()])
    outbox = Outbox(store.db)
    store.db.sql.conn.set_trace_callback(statements.add)
    outbox.next_due()
    for r in outbox.due(NOW + HOUR, 10):
        fire(store, r, following=r.rrule and r.due + DAY)
    ring(store, NOW + HOUR)
    outbox.next_try("log")
    outbox.insist(["log", "mail"], NOW + DAY, FIVE, 2)
    outbox.next_ring()
    store.latest_rung(NOW)
    store.add_request(said())
    store.unsettled_requests()
    store.latest_request("cli")
    store.active(5)
    store.snooze(1, NOW + HOUR, NOW)
    store.done([1, 2], NOW)
    store.db.sql.conn.set_trace_callback(None)
    seen = 0
    for statement in statements:
        if re.match("SELECT|UPDATE|INSERT|DELETE", statement):
            plan = [row["detail"] for row in store.db.rows(f"EXPLAIN QUERY PLAN {statement}")]
            assert not [step for step in plan if step.startswith("SCAN") and "INDEX" not in step
                        and re.search("reminders|deliveries|requests|outcomes", step)], (statement, plan)
            seen += 1
    assert seen > 20
