"""The page in a real browser, over the real daemon: what one sees, does, and may rely on."""

import wave
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from assistant.audio import RATE
from assistant.listen import open_socket
from assistant.store import NewReminder, Store
from tests import browser, speech
from tests.process import Daemon

pytestmark = browser.wanted
ENV = {"ASSISTANT_STT__ENGINE": "pocketsphinx", "ASSISTANT_TTS__ENGINE": "none", "ASSISTANT_WHEN__ZONE": "Europe/London"}
LONDON = ZoneInfo("Europe/London")
CALL = "remind me to call the doctor tomorrow morning"
PATIENCE = 15_000
"""Milliseconds within which what is expected has to be seen, on a machine that is busy with other things."""
MOST_BLOCKED = 200
"""Milliseconds for which a page of thousands of reminders may not answer."""


def free_port() -> int:
    with open_socket("127.0.0.1", 0) as socket:
        return socket.getsockname()[1]


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> Path | None:
    """What the browser's microphone hears."""
    if speech.MISSING:
        return None
    clean = speech.speak(CALL, "rms")
    sound = speech.joined(speech.room(0.5), speech.mixed(clean, speech.room(len(clean) / RATE + 1), 40), speech.room(60))
    path = tmp_path_factory.mktemp("sound") / "said.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)  # as a browser's own device has it
        file.writeframes(np.repeat(sound, 48_000 // RATE).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def chromium(said):
    with browser.browser(said) as chromium:
        from playwright.sync_api import expect

        expect.set_options(timeout=PATIENCE)
        yield chromium


@pytest.fixture(scope="module")
def daemon(model, tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("data"), env=ENV) as daemon:
        yield daemon


class Tabs:
    """Opens the page; what it asks for, and what goes wrong in it, is kept."""

    def __init__(self, chromium, **how) -> None:
        self.context = chromium.new_context(locale="en-GB", **how)
        self.context.set_default_timeout(PATIENCE)
        self.asked, self.errors = [], []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def open(self, daemon: Daemon):
        page = self.context.new_page()
        page.goto(f"{daemon.url}/")
        return page


@pytest.fixture
def tabs(chromium):
    """After each test: no request has left for another host, and no script has failed."""
    tabs = Tabs(chromium)
    yield tabs
    tabs.context.close()
    assert {urlsplit(url).hostname for url in tabs.asked if not url.startswith("data:")} == {"127.0.0.1"}
    assert tabs.errors == []


@pytest.fixture
def page(tabs, daemon):
    """Live, and without what the tests before it have set."""
    for reminder in daemon.call("GET", "/reminders")[1]["reminders"]:
        daemon.call("DELETE", f"/reminders/{reminder['id']}")
    page = tabs.open(daemon)
    sees(page.locator("#link"), "Live")
    return page


def sees(where, *what: str) -> None:
    from playwright.sync_api import expect

    for text in what:
        expect(where).to_contain_text(text)


def counts(where, n: int) -> None:
    from playwright.sync_api import expect

    expect(where).to_have_count(n)


def types(page, text: str) -> None:
    page.locator("#said").fill(text)


def sets(page, text: str) -> None:
    types(page, text)
    page.keyboard.press("Enter")
    sees(page.locator("#answer"), "OK:")


def row(page, task: str, section: str = "main"):
    return page.locator(f"{section} section:not(#requests) li" if section == "main" else f"{section} li").filter(has_text=task)


def test_the_first_paint_needs_one_answer_and_nothing_else(tabs, daemon):
    daemon.say("remind me to water the ferns tomorrow at 8 am")
    tabs.context.route("**/*", lambda route: route.continue_() if route.request.url == f"{daemon.url}/" else route.abort())
    page = tabs.open(daemon)
    sees(row(page, "water the ferns", "#later"), "08:00")
    sees(page.locator("#states"), "The model small understands requests, here.")
    assert [urlsplit(url).path for url in tabs.asked] == ["/", "/events"]


def test_what_is_typed_is_shown_as_understood_and_set_by_enter_in_every_tab(tabs, daemon, page):
    other = tabs.open(daemon)
    day = (datetime.now(LONDON) + timedelta(days=1)).strftime("%A %-d %B")
    types(page, "call mum tomorrow at five")
    sees(page.locator("#preview"), f"call mum - {day}, 17:00 - in ")
    assert daemon.call("GET", "/reminders")[1]["reminders"] == []
    page.keyboard.press("Enter")
    sees(page.locator("#answer"), "OK: call mum, tomorrow at 17:00.")
    for tab in (page, other):
        counts(row(tab, "call mum", "#later"), 1)
        sees(row(tab, "call mum", "#requests").first, "“call mum tomorrow at five”", "call mum | tomorrow 5:00?")
    assert page.locator("#said").input_value() == ""


def test_what_it_asks_is_answered_in_the_same_tab(page):
    types(page, "remind me to buy milk")
    sees(page.locator("#preview"), "buy milk - when?")
    page.keyboard.press("Enter")
    sees(page.locator("#said-label"), 'When should I remind you of "buy milk"?')
    sets(page, "tomorrow at noon")
    sees(row(page, "buy milk", "#later"), "12:00")
    sees(page.locator("#said-label"), "What should I remind you of")


def test_what_could_not_be_sent_stays_in_the_box_and_is_set_once(tabs, page):
    tabs.context.set_offline(True)
    types(page, "remind me to sing tomorrow at 6 pm")
    page.keyboard.press("Enter")
    sees(page.locator("#answer"), "The assistant does not answer")
    tabs.context.set_offline(False)
    page.keyboard.press("Enter")
    sees(page.locator("#answer"), "OK: sing")
    counts(row(page, "sing", "#later"), 1)


def test_a_ring_arrives_and_is_done(page, daemon):
    sets(page, "remind me to stretch in one second")
    sees(page.locator("#ringing"), "stretch")
    sees(page.locator("#alert"), "Ringing: stretch")
    assert page.title().startswith("(1) stretch")
    page.get_by_role("button", name="Done: stretch").first.click()
    sees(page.locator("#answer"), "Done: stretch")
    counts(row(page, "stretch"), 0)
    assert daemon.call("GET", "/reminders?state=done")[1]["reminders"][0]["task"] == "stretch"


def test_a_cancelled_reminder_is_brought_back(page):
    sets(page, "remind me to feed the cat tomorrow at 6 pm")
    page.get_by_role("button", name="Cancel: feed the cat").click()
    sees(page.locator("#answer"), "Cancelled: feed the cat")
    counts(row(page, "feed the cat"), 0)
    page.get_by_role("button", name="Undo").click()
    counts(row(page, "feed the cat", "#later"), 1)


def test_another_time_is_shown_before_it_is_taken(page, daemon):
    sets(page, "remind me to pay the rent tomorrow at 6 pm")
    page.get_by_role("button", name="Another time: pay the rent").click()
    page.get_by_label("Another time for pay the rent").fill("at half past seven")
    sees(row(page, "pay the rent").locator("form"), "19:30 - in ")
    assert daemon.call("GET", "/reminders")[1]["reminders"][0]["due"][11:16] == "18:00"
    page.keyboard.press("Enter")
    sees(row(page, "pay the rent").locator("time"), "19:30")
    page.get_by_role("button", name="Another time: pay the rent").click()
    page.get_by_label("Another time for pay the rent").fill("a walrus")
    sees(row(page, "pay the rent").locator("form"), "is not a time that I know")


def test_a_reminder_gets_other_words(page, daemon):
    sets(page, "remind me to post the letter tomorrow at 6 pm")
    page.get_by_role("button", name="Other words: post the letter").click()
    page.get_by_label("Other words for post the letter").fill("post the <b>parcel</b>")
    page.keyboard.press("Enter")
    counts(row(page, "post the <b>parcel</b>", "#later"), 1)
    assert daemon.call("GET", "/reminders")[1]["reminders"][0]["task"] == "post the <b>parcel</b>"


def test_the_keys_do_what_the_buttons_do(page):
    for task in ("read the news", "sweep the floor"):
        sets(page, f"remind me to {task} tomorrow at 9 am")
    counts(row(page, "sweep the floor"), 1)
    page.keyboard.press("Escape")
    page.locator("#said").blur()
    for key in ("ArrowDown", "s"):
        page.keyboard.press(key)
    sees(page.locator("#answer"), "OK: read the news, tomorrow at 9:10.")
    sees(row(page, "read the news", "#later").locator("time"), "09:10")
    row(page, "sweep the floor").focus()
    page.keyboard.press("x")
    counts(row(page, "sweep the floor"), 0)
    page.keyboard.press("u")
    counts(row(page, "sweep the floor"), 1)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "said"
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    page.keyboard.press("m")
    sees(page.locator("#states"), "It is muted and hears nothing.")
    page.get_by_role("button", name="Mute the microphone", pressed=True).click()
    sees(page.locator("#states"), "It listens when it is told to.")


def test_what_was_misunderstood_is_put_right(page, daemon):
    said = f"remind me to boomerang the gutters tomorrow at {datetime.now(UTC).minute % 9 + 1} pm"
    sets(page, said)
    wrong = page.locator("#requests li").filter(has_text=said)
    wrong.get_by_role("button", name="That's wrong").click()
    page.get_by_label("What it should have understood").fill("polish the gutters | tomorrow 17:00")
    page.keyboard.press("Enter")
    sees(wrong, '"polish" was not said')
    page.get_by_label("What it should have understood").fill("the gutters | tomorrow")
    page.keyboard.press("Enter")
    sees(wrong, "Put right: the gutters | tomorrow")
    [correction] = daemon.call("GET", "/corrections?state=accepted")[1]["corrections"]
    assert (correction["text"], correction["should"]) == (said, "the gutters | tomorrow")


def test_what_a_person_says_is_text_and_never_html(page, daemon):
    said = "</script><b>bold</b><img src=x onerror=alert(1)>"
    daemon.say(said, channel="hostile")
    counts(row(page, said, "#requests"), 1)
    page.reload()  # where it comes in the page itself
    sees(page.locator("#link"), "Live")
    counts(row(page, said, "#requests"), 1)
    counts(page.locator("main img, main b"), 0)


@speech.wanted
def test_what_is_spoken_into_the_page_is_set(page):
    page.get_by_role("button", name="Speak").click()
    sees(page.locator("#record"), "(4 s)")  # it has been said by then
    page.locator("#record").click()
    sees(page.locator("#answer"), f"“{CALL}”")
    counts(row(page, "call the doctor", "#later"), 1)


@pytest.fixture(scope="module")
def much(daemon):
    """The daemon with something in every list."""
    for text in ("take the bins out every thursday at 7 am", "remind me to stretch in one second", "buy milk tonight"):
        daemon.say(text, channel="much")
    return daemon


@pytest.mark.parametrize("how", [
    {"color_scheme": "light"}, {"color_scheme": "dark"},
    {"color_scheme": "light", "viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
], ids=["light", "dark", "phone"])  # fmt: skip
def test_nothing_serious_keeps_anybody_from_using_it(chromium, much, how):
    tabs = Tabs(chromium, **how)
    try:
        page = tabs.open(much)
        sees(page.locator("#ringing"), "stretch")
        row(page, "buy milk").first.get_by_role("button", name="Another time").click()
        page.locator("#help summary").click()
        types(page, "water the ferns tomorrow")
        sees(page.locator("#preview"), "09:00")
        assert browser.serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    finally:
        tabs.context.close()


# A daemon of its own: with thousands of reminders, and killed under the page

def seeded(data: Path, n: int) -> None:
    start = datetime.now(LONDON).replace(microsecond=0, second=0) + timedelta(days=2)
    with Store.open(data / "reminders.db") as store, store.transaction():
        for i in range(n):
            due = start + timedelta(minutes=7 * i)
            wall = due.replace(tzinfo=None)
            store.add_reminders(None, [NewReminder(f"task number {i}", f"{wall:%Y-%m-%d %H:%M}", wall, LONDON.key, None, due)])


WATCHES = """
() => new Promise((seen) => {
    window.longest = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
        seen();
    }).observe({type: "longtask"});
    setTimeout(() => { const began = performance.now(); while (performance.now() - began < 60); });
})
"""
"""Resolves once it has seen a task that blocks the page for 60 ms."""


def there(page, selector: str) -> None:
    """Waits for it. A failing `expect` describes the whole page, which takes half a minute for thousands of rows."""
    page.locator(selector).wait_for(state="attached")


def test_five_thousand_reminders_block_nothing_and_a_restart_of_the_daemon_loses_none(model, tabs, tmp_path):
    seeded(tmp_path, 5000)
    options = ("--port", str(free_port()))
    with Daemon(tmp_path, env=ENV, options=options) as daemon:
        page = tabs.open(daemon)
        page.evaluate(WATCHES)
        page.locator("#all").press("Enter")
        there(page, "#later li:nth-child(5000):last-child")
        daemon.say("remind me to call mum tomorrow at 5 pm")
        there(page, "#later li:nth-child(5001):last-child")
        assert 50 < page.evaluate("window.longest") <= MOST_BLOCKED
        daemon.kill()
        there(page, "#link.broken")
    with Daemon(tmp_path, env=ENV, options=options) as daemon:
        daemon.say("remind me to sing tomorrow at 6 pm")
        there(page, "#link:not(.broken)")
        there(page, "#later li:nth-child(5002):last-child")
        assert row(page, "sing", "#later").count() == row(page, "call mum", "#later").count() == 1
