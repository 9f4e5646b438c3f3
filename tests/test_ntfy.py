"""A reminder reaches the phone by ntfy, and its buttons reach the assistant."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from assistant import ntfy as client
from assistant.callbacks import ACTIONS, Callbacks
from assistant.config import load
from assistant.doctor import ntfy as check
from assistant.errors import AddressTaken, ConfigError, NotFound, NtfyError
from assistant.http_callback import answering_buttons
from assistant.listen import open_socket
from assistant.messages import Delivery
from assistant.notifiers import Notice
from assistant.ntfy import Message, Ntfy
from assistant.ntfy_notifier import NtfyNotifier
from assistant.pipeline import Pipeline
from assistant.sections import NtfyPhone
from assistant.when import Policy
from tests.fakes import ScriptedRewriter, StandingClock
from tests.ntfy_server import NtfyServer
from tests.test_delivery import due, fire
from tests.test_delivery import store as store

NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)
LONDON = ZoneInfo("Europe/London")


@pytest.fixture
async def server():
    async with NtfyServer(StandingClock(NOW)) as server:
        yield server


def settings(server: NtfyServer, **more: object) -> NtfyPhone:
    return NtfyPhone(url=server.url, topic="phone", **more)


def ring(id: int = 1, task: str = "call mum", number: int = 1) -> Delivery:
    return Delivery(id, id, task, NOW, 1, number, "UTC", False)


def notice(*deliveries: Delivery, quiet: bool = False) -> Notice:
    return Notice(deliveries, "\n".join(d.task for d in deliveries), NOW, quiet)


# What is published


async def test_a_reminder_is_a_message_with_title_priority_and_an_id_of_ours(server, store):
    await NtfyNotifier(Ntfy(settings(server)), store, settings(server)).notify(notice(ring(task='"Zoë" 🎂')))
    (told,) = server.rings
    assert told.body == {
        "topic": "phone", "message": '"Zoë" 🎂', "title": "Reminder", "tags": ["alarm_clock"], "priority": 4,
        "sequence_id": f"assistant-1-{int(NOW.timestamp())}-1",
    }  # fmt: skip


async def test_in_quiet_hours_the_phone_shows_it_without_a_sound(server, store):
    await NtfyNotifier(Ntfy(settings(server)), store, settings(server)).notify(notice(ring(), quiet=True))
    assert server.rings[0].body["priority"] == client.SILENT


async def test_several_at_once_are_one_message_without_buttons(server, store):
    with_buttons = settings(server, callback_url="https://me.example")
    await NtfyNotifier(Ntfy(with_buttons), store, with_buttons).notify(notice(ring(1, "a"), ring(2, "b")))
    (told,) = server.rings
    assert (told.body["message"], told.body["title"]) == ("a\nb", "2 reminders")
    assert "actions" not in told.body


async def test_a_message_of_a_thousand_long_tasks_is_cut_to_what_the_server_takes(server):
    await Ntfy(settings(server)).publish(Message('"🎂"\n' * 5000, "x" * 500, 3))
    text = server.rings[0].body["message"]
    assert text.endswith("…") and len(text.encode()) <= client.MOST_BYTES


@pytest.mark.parametrize(("fault", "undone", "said"), [
    pytest.param("away", False, "does not answer", id="away"),
    pytest.param("lost", False, "does not answer", id="a lost answer"),
    pytest.param("500", False, "fails (HTTP 500, internal server error): see what its log says", id="a fault of its own"),
    pytest.param("429", True, "has had too many messages, limit reached", id="too many messages"),
    pytest.param("hung", False, "does not answer within 1 seconds", id="hung"),
])  # fmt: skip
async def test_what_goes_wrong_is_a_sentence_that_says_what_to_do(server, fault, undone, said):
    server.faults = [fault, fault]
    phone = Ntfy(settings(server), 1 if fault == "hung" else client.SECONDS)
    with pytest.raises(NtfyError) as e:
        await phone.publish(Message("x", "y", 3))
    assert said in str(e.value) and str(e.value).endswith(".") and e.value.undone is undone


@pytest.mark.parametrize("fault", ["away", "500"])
async def test_what_breaks_is_tried_once_more_at_once(server, fault):
    server.faults = [fault]
    await Ntfy(settings(server)).publish(Message("x", "y", 3))
    assert [told.body["message"] for told in server.rings] == ["x"]


async def test_a_server_that_is_not_there_has_certainly_done_nothing():
    with pytest.raises(NtfyError, match="does not answer .*: see whether it runs") as e:
        await Ntfy(NtfyPhone(url="http://127.0.0.1:1", topic="x")).publish(Message("x", "y", 3))
    assert e.value.undone


@pytest.mark.parametrize(("token", "lets_in"), [("tk_right", True), ("tk_wrong", False)])
async def test_the_token_is_sent_and_a_wrong_one_is_told(token, lets_in):
    async with NtfyServer(StandingClock(NOW), token="tk_right") as server:
        phone = Ntfy(settings(server, token=token))
        if lets_in:
            await phone.publish(Message("x", "y", 3))
            assert len(server.rings) == 1
        else:
            with pytest.raises(NtfyError, match=r"refuses us \(HTTP 403\): check \[notify.ntfy\] topic and token"):
                await phone.publish(Message("x", "y", 3))


# doctor


@pytest.mark.parametrize(("old", "token", "state", "said"), [
    pytest.param(False, "", "ok", "12 hours are handed over ahead, without buttons", id="all is well"),
    pytest.param(True, "", "warn", "cannot take messages back", id="too old to take messages back"),
    pytest.param(False, "x", "warn", "refuses us", id="it refuses us"),
])  # fmt: skip
async def test_doctor_asks_the_server_and_nothing_rings_by_it(old, token, state, said):
    async with NtfyServer(StandingClock(NOW), old, token) as server:
        config = load(environ={}, notify={"use": ["ntfy"], "ntfy": {"url": server.url, "topic": "phone"}})
        (finding,) = await asyncio.to_thread(lambda: list(check(config)))
        assert (finding.state, said in finding.found) == (state, True)
        assert not server.rings and not server.scheduled
    assert list(check(load(environ={}))) == []


# Buttons


@asynccontextmanager
async def buttons_of(store, server, reminder, at=NOW):
    """Rings a reminder on the phone; its buttons by label, and the clock of the assistant."""
    clock = StandingClock(at)
    pipeline = Pipeline(ScriptedRewriter(), store, Policy(), LONDON, clock, 0.5, lambda: None)
    free = settings(server, callback_url="http://x", callback_port=0)
    async with answering_buttons(free, pipeline) as url:
        told = settings(server, callback_url=url)
        (row,) = store.db.rows("SELECT * FROM deliveries ORDER BY id DESC LIMIT 1")
        d = Delivery(row["id"], reminder.id, reminder.task, reminder.due, 1, row["ring"], "UTC", False)
        await NtfyNotifier(Ntfy(told), store, told).notify(Notice((d,), d.task, at))
        yield {b["label"]: b["url"] for b in server.rings[-1].body["actions"]}, clock


async def press(url: str, method: str = "POST") -> tuple[int, dict]:
    async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(("label", "said", "rings"), [
    pytest.param("Done", "Done: call mum.", None, id="done"),
    pytest.param("In 10 minutes", "OK: call mum, today at 14:40.", NOW + timedelta(minutes=10), id="in ten minutes"),
    pytest.param("Tomorrow", "OK: call mum, tomorrow at 9:00.", datetime(2026, 3, 13, 9, tzinfo=UTC), id="tomorrow"),
])  # fmt: skip
async def test_a_button_does_what_it_says_once(store, server, label, said, rings):
    r = due(store, at=NOW)
    async with buttons_of(store, server, r) as (urls, _):
        assert await press(urls[label]) == (200, {"reply": said})
        assert store.reminder(r.id).due == rings
        for url in urls.values():  # nor does any other of this ring do anything any more
            status, answer = await press(url)
            assert (status, answer["error"]["code"]) == (404, "not_found")
        assert store.reminder(r.id).due == rings


async def test_a_button_is_void_after_two_days(store, server):
    async with buttons_of(store, server, due(store, at=NOW)) as (urls, clock):
        clock.pass_by(days=2)
        assert (await press(urls["Done"]))[0] == 404


async def test_an_old_notification_does_not_touch_a_reminder_that_was_moved_since(store, server):
    r = due(store, at=NOW)
    async with buttons_of(store, server, r) as (urls, _):
        store.move(r.id, when="x", wall=r.wall, zone="UTC", rrule=None, due=NOW + timedelta(days=3))
        status, answer = await press(urls["Done"])
        assert (status, "dealt with in another way" in answer["error"]["message"]) == (404, True)
        assert store.reminder(r.id).state == "pending"


async def test_yesterdays_button_of_what_recurs_does_not_touch_what_rings_today(store, server):
    r = due(store, "take the pills", NOW, "FREQ=DAILY", NOW)
    async with buttons_of(store, server, replace(r, due=NOW)) as (urls, clock):
        clock.pass_by(days=1)
        fire(store, store.reminder(r.id), clock.now())
        status, answer = await press(urls["Done"])
        assert (status, "has rung again since" in answer["error"]["message"]) == (404, True)
        assert store.db.value("SELECT count(*) FROM deliveries WHERE state = 'ringing'") == 1


async def test_a_port_that_is_taken_is_told_with_the_setting_of_another(server):
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTaken, match=r"\[notify.ntfy\] callback_port"):
            async with answering_buttons(settings(server, callback_url="http://x", callback_port=port), None):
                pass


@pytest.mark.parametrize("url", ["https://me:secret@ntfy.sh", "ntfy.sh", "https://ntfy.sh:port"])
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url):
    with pytest.raises(ConfigError, match="notify.ntfy.url"):
        load(environ={}, notify={"ntfy": {"url": url}})


@pytest.mark.parametrize(("method", "path", "status"), [
    pytest.param("POST", "/callback/" + "a" * 43, 404, id="a made-up token"),
    pytest.param("POST", "/callback/..%2f..%2freminders", 404, id="another address in the token"),
    pytest.param("GET", "/callback/" + "a" * 43, 405, id="a preview that only looks"),
    pytest.param("GET", "/reminders", 404, id="the reminders"),
    pytest.param("POST", "/requests", 404, id="a request"),
    pytest.param("GET", "/health", 404, id="health"),
])  # fmt: skip
async def test_nothing_but_the_buttons_is_to_be_had_where_the_phone_calls(store, server, method, path, status):
    async with buttons_of(store, server, due(store, at=NOW)) as (urls, _):
        assert (await press(urls["Done"].split("/callback")[0] + path, method))[0] == status


async def test_a_button_that_could_not_be_followed_may_be_pressed_again(store, server):
    r = due(store, at=NOW)
    async with buttons_of(store, server, r) as (urls, _):
        store.db.execute("CREATE TRIGGER broken BEFORE UPDATE ON reminders BEGIN SELECT raise(ABORT, 'no'); END")
        assert (await press(urls["Done"]))[0] == 500
        store.db.execute("DROP TRIGGER broken")
        assert (await press(urls["Done"]))[0] == 200


def test_tokens_are_kept_as_hashes_and_forgotten_when_they_have_expired(store):
    callbacks = Callbacks(store.db)
    tokens = callbacks.issue(1, NOW, NOW)
    kept = [row["sha256"] for row in store.db.rows("SELECT sha256 FROM callbacks")]
    assert len(set(kept)) == len(ACTIONS) and not set(kept) & set(tokens.values())
    callbacks.issue(2, NOW, NOW + timedelta(days=3))
    assert store.db.value("SELECT count(*) FROM callbacks") == len(ACTIONS)
    with pytest.raises(NotFound):
        callbacks.take(tokens["done"], NOW + timedelta(days=3))


async def test_without_a_callback_address_nothing_listens_and_there_are_no_buttons(store, server):
    async with answering_buttons(settings(server), None) as url:
        assert url is None
    due(store, at=NOW)
    await NtfyNotifier(Ntfy(settings(server)), store, settings(server)).notify(notice(ring()))
    assert "actions" not in server.rings[0].body
