"""Pictures of the page for README.md, of the real daemon in a real browser: `python -m tests.screenshots data/page`."""

import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from assistant.messages import Request
from assistant.store import NewReminder, Store
from tests.browser import browser
from tests.process import Daemon

HOWS = {
    "light": {"color_scheme": "light", "viewport": {"width": 720, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 720, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "is_mobile": True},
}
LONDON = ZoneInfo("Europe/London")
SAID = (
    "take the bins out every thursday at 7 am", "water the plants every sunday at 10 am", "pay the rent on the first of every month",
    "hey can you remind me to call mum tomorrow at like five ish", "put lunch with Aunt Ingrid in my calendar for friday at one",
    "remind me to buy stamps tonight at 9 pm", "remind me in half an hour to check on the chicken", "remind me to stretch in one second",
)


def a_month(data: Path) -> None:
    """A month in which reminders rang, as their rows say."""
    today = datetime.now(LONDON).replace(hour=9, minute=0, second=0, microsecond=0)
    with Store.open(data / "reminders.db") as store, store.transaction():
        for ago in range(1, 30):
            for n in range(ago * 7 % 4):
                due = today - timedelta(days=ago, hours=-n)
                id, late = f"{ago}-{n}", (ago + n) % 9 == 0
                store.add_request(Request(id, "read the news", "cli", due - timedelta(hours=3)))
                store.settle_request(id, reply="OK: read the news.", at=due - timedelta(hours=3), kind="create")
                wall = due.replace(tzinfo=None)
                [made] = store.add_reminders(id, [NewReminder("read the news", f"{wall:%Y-%m-%d %H:%M}", wall, LONDON.key, None, due)])
                missed = (ago * n) % 7 == 6
                rung = due + timedelta(minutes=20 * late)
                stamp = [f"{t.astimezone(ZoneInfo('UTC')):%Y-%m-%dT%H:%M:%S.000000Z}" for t in (due, rung)]
                state = "missed" if missed else "done"
                store.db.execute("UPDATE reminders SET state = 'done', due = NULL WHERE id = ?", (made.id,))
                store.db.execute(
                    "INSERT INTO deliveries (reminder_id, due_utc, occurrences, state, fired_at, rung_at, told)"
                    " VALUES (?, ?, 1, ?, ?, ?, 1)", (made.id, stamp[0], state, *[stamp[1]] * 2))
                store.db.execute(
                    "INSERT INTO outcomes (delivery_id, notifier, ring, tries, ok, at) SELECT max(id), 'desktop', 1, 1, 1, ?"
                    " FROM deliveries", (stamp[1],))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, browser() as chromium:
        a_month(Path(data))
        with Daemon(Path(data), env={"ASSISTANT_WHEN__ZONE": LONDON.key}) as daemon:
            for text in SAID:
                daemon.say(text)
            for name, how in HOWS.items():
                page = chromium.new_context(locale="en-GB", **how).new_page()
                page.goto(f"{daemon.url}/")
                page.get_by_text("Ringing").first.wait_for()
                page.locator("#said").fill("call Zbigniew on monday at half past two")
                page.get_by_text("call Zbigniew - ").wait_for()
                page.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    main()
