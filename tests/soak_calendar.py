"""Random edits here and in the owner's calendar, with outages between: in the end both are equal, nothing is doubled, and
what was done last to an object is what became of it.

    .venv/bin/python -m tests.soak_calendar              # 200 edits
    .venv/bin/python -m tests.soak_calendar --edits 1000 --seed 7
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from assistant.caldav_sync import CalendarSync
from assistant.calendar_entries import CalendarEntries
from assistant.ics import read, write
from assistant.sections import Calendar
from assistant.store import NewReminder, Store
from tests.fakes import StandingClock
from tests.radicale import PASSWORD, USER, CalendarProgram, Radicale, main

LONDON = ZoneInfo("Europe/London")
START = datetime(2026, 3, 11, 10, tzinfo=UTC)
RULES = (None, None, None, "FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,TH", "FREQ=MONTHLY;BYMONTHDAY=13", "FREQ=HOURLY;INTERVAL=5")


@dataclass
class Report:
    """What a run came to."""

    edits: int = 0
    kinds: Counter = field(default_factory=Counter)
    outages: int = 0
    faults: list[str] = field(default_factory=list)


def both_ends_differ(store: Store, phone: CalendarProgram) -> list[str]:
    """What is not the same here and there, or is there twice."""
    faults = []
    there: dict[str, str] = {}
    for text in phone.objects().values():
        uid = main_uid(text)
        if uid in there:
            faults.append(f"{uid} is there twice")
        there[uid] = text
    entries = CalendarEntries(store)
    rows = store.db.rows("SELECT e.uid, r.id, r.state FROM calendar_entries e JOIN reminders r ON r.id = e.reminder_id"
                         " WHERE e.uid IS NOT NULL AND NOT e.hidden")
    for row in rows:
        entry = entries.of_uid(row["uid"])
        text = there.pop(row["uid"], None)
        if entry.waits:
            faults.append(f"{row['uid']} still waits")
        if row["state"] == "cancelled":
            if text and read(text, LONDON).status != "cancelled":
                faults.append(f"{row['uid']} is cancelled here and still there")
            continue
        if text is None:
            if row["state"] != "done":
                faults.append(f"{row['uid']} ({row['state']}) is not there")
            continue
        ours = read(write(entry.item, timedelta(minutes=15)), LONDON)
        theirs = read(text, entry.item.start.tzinfo)
        for name in ("summary", "start", "rrule", "skipped", "status"):
            if getattr(ours, name) != getattr(theirs, name):
                faults.append(f"{row['uid']}: {name} is {getattr(ours, name)} here, {getattr(theirs, name)} there")
        reminder = store.reminder(row["id"])
        if reminder.state == "pending" and reminder.rrule is None and reminder.due != theirs.start:
            faults.append(f"{row['uid']} rings at {reminder.due}, and is at {theirs.start} there")
    left_alone = {row["uid"] for row in store.db.rows("SELECT uid FROM calendar_objects") if row["uid"]}
    faults += [f"{uid} is only there" for uid in there if uid in left_alone]
    tasks = Counter(r.task for r in store.active())
    faults += [f'"{task}" is here {n} times' for task, n in tasks.items() if n > 1 and task.startswith("task ")]
    return faults


def main_uid(text: str) -> str:
    import vobject

    return main(vobject.readOne(text)).uid.value


async def edits(store: Store, server: Radicale, count: int, seed: int) -> Report:
    """So many edits on both sides; a task in four is met by an outage of the server, a restart, or both."""
    random, clock, report = Random(seed), StandingClock(START), Report()
    phone = CalendarProgram(server.port, f"/{USER}/soak/", clock.now)
    settings = Calendar(url=server.url, user=USER, password=PASSWORD, name="Soak")
    entries = CalendarEntries(store)

    def fresh() -> CalendarSync:
        return CalendarSync(entries, settings, LONDON, clock, Random(seed))

    sync, up, names, last = fresh(), True, iter(range(10**6)), {}
    await sync.once()
    while report.edits < count:
        clock.pass_by(minutes=1)
        if up and random.random() < 0.12:
            server.kill()
            up, report.outages = False, report.outages + 1
            await sync.once()
        elif not up and random.random() < 0.3:
            server.start()
            up = True
        if random.random() < 0.1:
            sync = fresh()
        there = up and random.random() < 0.6
        edit = _edit_there(phone, random, names) if there else _edit_here(store, random, clock, names)
        await entries.notice_all(clock)
        if edit:
            report.edits += 1
            report.kinds[f"{'there' if there else 'here'} {edit.what}"] += 1
            last[edit.uid or entries.uid_of(edit.reminder)] = edit
        if random.random() < 0.4:
            clock.pass_by(seconds=20)
            await sync.once()
    if not up:
        server.start()
    clock.pass_by(minutes=1)
    await sync.once()
    if sync.state.said:
        report.faults.append(sync.state.said)
    report.faults += both_ends_differ(store, phone) + _not_done(phone, last)
    before = phone.objects()
    await sync.once()
    if phone.objects() != before:
        report.faults.append("a round in which nothing had changed changed something")
    return report


@dataclass(frozen=True)
class Edit:
    """One edit of one object: its uid, or the number of the reminder."""

    what: str
    value: object = None
    uid: str | None = None
    reminder: int | None = None


def _not_done(phone: CalendarProgram, last: dict[str, Edit]) -> list[str]:
    """New names and times that were given last to an object, and that it does not have."""
    there, faults = {main_uid(text): text for text in phone.objects().values()}, []
    for uid, edit in last.items():
        if edit.what in ("make", "rename", "move"):
            item = read(there[uid], LONDON) if uid in there else None
            found = item and (item.start if edit.what == "move" else item.summary)
            if found != edit.value:
                faults.append(f"{uid}: the last {edit.what} was to {edit.value}, and there is {found}")
    return faults


def _when(random: Random) -> datetime:
    return datetime(2026, 3, 20, tzinfo=LONDON) + timedelta(hours=random.randrange(24 * 40), minutes=random.randrange(60))


def _edit_here(store: Store, random: Random, clock: StandingClock, names: Iterator[int]) -> Edit:
    active = store.active()
    what = random.choices(("make", "move", "rename", "done", "cancel"), (3, 4, 4, 1, 1))[0] if active else "make"
    due, name, r = _when(random), f"task {next(names)}", random.choice(active) if active else None
    wall = due.replace(tzinfo=None, fold=0)
    match what:
        case "make":
            new = NewReminder(name, "x", wall, LONDON.key, random.choice(RULES), due)
            return Edit(what, name, reminder=store.add_reminders(None, [new])[0].id)
        case "move":
            store.move(r.id, when="x", wall=wall, zone=LONDON.key, rrule=r.rrule, due=due)
        case "rename":
            store.db.execute("UPDATE reminders SET task = ? WHERE id = ?", (name, r.id))
        case "done":
            store.done([r.id], clock.now())
        case "cancel":
            store.cancel([r.id])
    return Edit(what, due if what == "move" else name, reminder=r.id)


def _edit_there(phone: CalendarProgram, random: Random, names: Iterator[int]) -> Edit | None:
    import vobject

    found = {main_uid(text): (path, vobject.readOne(text)) for path, text in phone.objects().items()}
    kinds = ("make", "move", "rename", "note", "complete", "delete")
    what = random.choices(kinds, (2, 4, 4, 2, 1, 1))[0] if found else "make"
    due, n = _when(random), next(names)
    name = f"task {n}"
    if what == "make":
        kind, time = random.choice((("event", "dtstart"), ("todo", "due")))
        phone.add(f"phone-{n}", kind, summary=name, **{time: due})
        return Edit(what, name, f"phone-{n}")
    uid = random.choice(sorted(found, key=lambda uid: main(found[uid][1]).summary.value))
    path, calendar = found[uid]
    component = main(calendar)
    match what:
        case "move":
            time = "due" if component.name == "VTODO" and "rrule" not in component.contents else "dtstart"
            component.contents.pop("exdate", None)
            phone.change(path, calendar, **{time: due})
        case "rename":
            phone.change(path, calendar, summary=name)
        case "note":
            phone.change(path, calendar, description="a note of the owner's")
            return None  # to us it is none
        case "complete":
            if component.name != "VTODO":
                return None
            phone.change(path, calendar, status="COMPLETED")
        case "delete":
            assert phone.call("DELETE", path)[0] == 200
    return Edit(what, due if what == "move" else name, uid)


def run(count: int, seed: int) -> Report:
    """In folders of its own."""

    async def go(folder: Path) -> Report:
        with Radicale(folder / "radicale") as server, Store.open(folder / "reminders.db") as store:
            return await edits(store, server, count, seed)

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(go(Path(folder)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    report = run(given.edits, given.seed)
    print(f"{report.edits} edits, {report.outages} outages, {len(report.faults)} faults; {dict(report.kinds)}")
    print(*report.faults, sep="\n")
    sys.exit(bool(report.faults))
