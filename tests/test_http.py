"""The HTTP interface over real sockets: what is answered, what is refused, and in which words."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from assistant import guard
from assistant.clock import SystemClock
from assistant.errors import AddressTaken, ModelError, Unreadable
from assistant.http import Service, listening
from assistant.listen import open_socket
from assistant.pipeline import Pipeline
from assistant.store import Store
from assistant.when import Policy
from tests.fakes import ScriptedRewriter
from tests.test_predict import Held, several

LONDON = ZoneInfo("Europe/London")
SCRIPT = {
    "remind me to call mum in 2 hours": "call mum | in 2 hours",
    "remind me to take the bins out every thursday at 7": "take the bins out | every thursday 07:00",
    "remind me to buy milk": "buy milk |",
    "what is the weather": "/other",
    "what have I got": "/list",
}


class Breaks(ScriptedRewriter):
    """A rewriter with a bug."""

    async def rewrite(self, text):
        raise ZeroDivisionError("secret detail")


class Client:
    """Speaks to the service on its real port."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url, self.woken = session, url, 0

    async def __call__(self, method: str, path: str, body: object = None, **more) -> tuple[int, dict]:
        data = more.pop("data", None if body is None else json.dumps(body))
        async with self.session.request(method, self.url + path, data=data, **more) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()


@pytest.fixture
def rewriter():
    return ScriptedRewriter(SCRIPT)


@pytest.fixture
async def client(tmp_path, rewriter):
    clock, policy = SystemClock(), Policy()
    with Store.open(tmp_path / "reminders.db") as store, open_socket("127.0.0.1", 0) as socket:
        pipeline = Pipeline(rewriter, store, policy, LONDON, clock, 0.0, lambda: None)
        service = Service(pipeline)
        async with listening(service, socket) as url, aiohttp.ClientSession() as session:
            yield Client(session, url)


async def made(client: Client, text: str = "remind me to call mum in 2 hours") -> dict:
    status, answer = await client("POST", "/requests", {"text": text})
    assert status == 200
    return answer["reminders"][0]


async def test_a_request_is_answered_with_a_sentence_and_what_was_made_of_it(client):
    status, answer = await client("POST", "/requests", {"text": "remind me to call mum in 2 hours"})
    assert status == 200
    assert "call mum" in answer["reply"]
    assert (answer["kind"], answer["question"]) == ("create", False)
    [reminder] = answer["reminders"]
    assert set(reminder) == {"id", "task", "when", "due", "rrule", "state", "zone"}
    assert (reminder["task"], reminder["when"], reminder["state"]) == ("call mum", "in 2 hours", "pending")
    assert reminder["zone"] == "Europe/London"
    due = datetime.fromisoformat(reminder["due"])
    assert due.utcoffset() == due.astimezone(LONDON).utcoffset()
    assert abs(due - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=5)


async def test_a_request_without_a_time_is_answered_with_a_question(client):
    status, answer = await client("POST", "/requests", {"text": "remind me to buy milk", "channel": "kitchen"})
    assert (status, answer["kind"], answer["question"], answer["reminders"]) == (200, "needs_time", True, [])


@pytest.mark.parametrize("how", ["body", "header"])
async def test_a_request_that_arrives_twice_with_one_id_is_taken_once_and_answered_twice(client, how):
    body, headers = {"text": "remind me to call mum in 2 hours"}, {}
    if how == "body":
        body["id"] = "one-and-only"
    else:
        headers["X-Request-Id"] = "one-and-only"
    first = await client("POST", "/requests", body, headers=headers)
    second = await client("POST", "/requests", body, headers=headers)
    assert first[0] == second[0] == 200
    assert second[1]["reply"] == first[1]["reply"]
    assert [r["id"] for r in second[1]["reminders"]] == [r["id"] for r in first[1]["reminders"]]
    assert len((await client("GET", "/reminders"))[1]["reminders"]) == 1


@pytest.mark.parametrize("path", ["/predict", "/convert"])
async def test_predict_understands_and_stores_nothing(client, path):
    body = {"text": "remind me to call mum in 2 hours", "now": "2026-07-01T12:00", "tz": "America/New_York"}
    status, answer = await client("POST", path, body)
    assert status == 200
    assert answer["rewrite"] == "call mum | in 2 hours"
    [entry] = answer["reminders"]
    assert (entry["task"], entry["when"]) == ("call mum", "in 2 hours")
    assert entry["due"] == "2026-07-01T14:00:00-04:00"
    assert (answer["kind"], answer["model"]) == ("create", "scripted") and answer["ms"] >= 0
    assert (await client("GET", "/reminders"))[1] == {"reminders": []}


async def test_predict_understands_a_list(client):
    status, answer = await client("POST", "/predict", {"texts": ["remind me to buy milk", "", "what have I got"]})
    assert status == 200
    milk, blank, got = answer["results"]
    assert (milk["kind"], blank["error"]["code"], got["kind"]) == ("needs_time", "blank", "list")


async def test_reminders_are_listed_by_state_and_at_most_so_many(client):
    bins = await made(client, "remind me to take the bins out every thursday at 7")
    mum = await made(client)
    _, answer = await client("GET", "/reminders")
    assert {r["id"] for r in answer["reminders"]} == {bins["id"], mum["id"]}
    assert len((await client("GET", "/reminders?limit=1"))[1]["reminders"]) == 1
    await client("POST", f"/reminders/{mum['id']}/done")
    assert [r["id"] for r in (await client("GET", "/reminders"))[1]["reminders"]] == [bins["id"]]
    assert [r["id"] for r in (await client("GET", "/reminders?state=done"))[1]["reminders"]] == [mum["id"]]
    assert await client("GET", f"/reminders/{bins['id']}") == (200, bins)


async def test_a_reminder_is_cancelled(client):
    reminder = await made(client)
    status, answer = await client("DELETE", f"/reminders/{reminder['id']}")
    assert (status, answer["reminder"]["state"]) == (200, "cancelled")
    assert "call mum" in answer["reply"]


async def test_done_with_what_recurs_leaves_the_recurrence(client):
    bins = await made(client, "remind me to take the bins out every thursday at 7")
    status, answer = await client("POST", f"/reminders/{bins['id']}/done")
    assert (status, answer["reminder"]["state"], answer["reminder"]["due"]) == (200, "pending", bins["due"])


@pytest.mark.parametrize(
    ("body", "minutes"),
    [({"when": "in 90 minutes"}, 90), ({"when": " In 1 Hour "}, 60)],
    ids=["a When sentence", "a When sentence in capitals"],
)
async def test_a_reminder_is_snoozed_until_a_time(client, body, minutes):
    reminder = await made(client)
    status, answer = await client("POST", f"/reminders/{reminder['id']}/snooze", body)
    assert status == 200
    due = datetime.fromisoformat(answer["reminder"]["due"])
    assert abs(due - datetime.now(UTC) - timedelta(minutes=minutes)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("body", "minutes"), [(None, 10), ({}, 10), ({"minutes": 25}, 25)], ids=["nothing said", "an empty object", "minutes"]
)
async def test_a_snooze_of_what_has_not_rung_counts_from_its_time(client, body, minutes):
    reminder = await made(client)
    status, answer = await client("POST", f"/reminders/{reminder['id']}/snooze", body)
    assert status == 200
    later = datetime.fromisoformat(answer["reminder"]["due"]) - datetime.fromisoformat(reminder["due"])
    assert later == timedelta(minutes=minutes)


async def test_what_is_over_in_another_way_is_neither_done_nor_cancelled(client):
    reminder = await made(client)
    assert (await client("DELETE", f"/reminders/{reminder['id']}"))[0] == 200
    assert (await client("POST", f"/reminders/{reminder['id']}/done"))[0] == 404
    assert (await client("DELETE", f"/reminders/{reminder['id']}"))[0] == 200


async def test_snoozing_what_recurs_makes_a_reminder_of_its_own(client):
    bins = await made(client, "remind me to take the bins out every thursday at 7")
    _, answer = await client("POST", f"/reminders/{bins['id']}/snooze", {"minutes": 5})
    assert answer["reminder"]["id"] != bins["id"] and answer["reminder"]["rrule"] is None
    assert await client("GET", f"/reminders/{bins['id']}") == (200, bins)


async def test_a_reminder_is_moved_also_to_a_recurrence(client):
    reminder = await made(client)
    status, answer = await client("POST", f"/reminders/{reminder['id']}/move", {"when": "every day 08:00"})
    assert (status, answer["reminder"]["rrule"]) == (200, "FREQ=DAILY")
    assert answer["reminder"]["due"][11:16] == "08:00"


async def test_a_reminder_gets_other_words_and_keeps_its_time(client):
    reminder = await made(client)
    status, answer = await client("POST", f"/reminders/{reminder['id']}/rename", {"task": "  call   dad "})
    assert (status, answer["reminder"]) == (200, reminder | {"task": "call dad"})
    assert (await client("POST", f"/reminders/{reminder['id']}/rename", {"task": " "}))[0] == 400
    await client("DELETE", f"/reminders/{reminder['id']}")
    assert (await client("POST", f"/reminders/{reminder['id']}/rename", {"task": "call mum"}))[0] == 404


async def test_metrics_count_requests_by_route(client):
    await made(client)
    async with client.session.get(client.url + "/metrics") as answer:
        assert 'assistant_requests_total{key="",route="/requests",status="200"} 1.0' in await answer.text()


async def test_what_is_kept_is_accepted_and_not_done(client, rewriter):
    rewriter.broken = ModelError("The model is away: wait.")
    status, answer = await client("POST", "/requests", {"text": "call mum tomorrow at five"})
    assert (status, answer["kind"], answer["reminders"]) == (202, "kept", [])
    assert (await client("GET", "/health"))[1]["kept"] == 1


async def test_a_client_that_asks_again_with_its_id_gets_the_same_error(client, rewriter):
    rewriter.broken = Unreadable()
    answers = [await client("POST", "/requests", {"text": "call mum tomorrow at five", "id": "abc"}) for _ in range(2)]
    assert answers[0] == answers[1] and answers[0][0] == 422


async def test_health_tells_version_model_and_how_much_is_pending(client):
    await made(client)
    status, answer = await client("GET", "/health")
    assert status == 200
    assert (answer["status"], answer["model"], answer["pending"]) == ("ok", "scripted", 1)
    assert set(answer) == {
        "status", "version", "model", "model_sha256", "model_pointer", "remote", "pending", "kept",
        "uptime_s", "hearing", "mqtt"}


REFUSED = {
    "no JSON": ("POST", "/requests", b"remind me", 400, "bad_request"),
    "nothing at all": ("POST", "/requests", b"", 400, "bad_request"),
    "a list": ("POST", "/requests", b'["remind me"]', 400, "bad_request"),
    "half an object": ("POST", "/requests", b'{"text": "remi', 400, "bad_request"),
    "not UTF-8": ("POST", "/requests", b'{"text": "\xff\xfe"}', 400, "bad_request"),
    "brackets without end": ("POST", "/requests", b"[" * 60_000, 400, "bad_request"),
    "a number without end": ("POST", "/requests", b'{"text": ' + b"9" * 60_000 + b"}", 400, "bad_request"),
    "no text": ("POST", "/requests", b"{}", 400, "bad_request"),
    "a text that is a number": ("POST", "/requests", b'{"text": 5}', 400, "bad_request"),
    "a text that is null": ("POST", "/predict", b'{"text": null}', 400, "bad_request"),
    "a key that is not known": ("POST", "/requests", b'{"text": "x", "chanel": "y"}', 400, "bad_request"),
    "an empty channel": ("POST", "/requests", b'{"text": "x", "channel": ""}', 400, "bad_request"),
    "a long channel": ("POST", "/requests", b'{"text": "x", "channel": "%s"}' % (b"y" * 101), 400, "bad_request"),
    "a blank text": ("POST", "/requests", b'{"text": " \\n "}', 400, "blank"),
    "a long text": ("POST", "/requests", json.dumps({"text": "word " * 200}).encode(), 400, "too_long"),
    "a blank text to predict": ("POST", "/predict", b'{"text": ""}', 400, "blank"),
    "a huge body": ("POST", "/requests", b'{"text": "' + b"x" * 70_000 + b'"}', 413, "too_large"),
    "a now that is none": ("POST", "/predict", b'{"text": "x", "now": "soon"}', 400, "bad_instant"),
    "a zone that is none": ("POST", "/predict", b'{"text": "x", "tz": "Mars/Base"}', 400, "bad_zone"),
    "an address that is none": ("GET", "/nothing", None, 404, "not_found"),
    "a method that is none": ("DELETE", "/health", None, 405, "method_not_allowed"),
    "a reminder that is none": ("GET", "/reminders/99", None, 404, "not_found"),
    "a reminder that is a word": ("GET", "/reminders/mum", None, 404, "not_found"),
    "a reminder of eighteen digits": ("DELETE", f"/reminders/{'9' * 18}", None, 404, "not_found"),
    "a reminder of a hundred digits": ("DELETE", f"/reminders/{'9' * 100}", None, 404, "not_found"),
    "a state that is none": ("GET", "/reminders?state=happy", None, 400, "bad_request"),
    "a limit of none": ("GET", "/reminders?limit=0", None, 400, "bad_request"),
    "a limit that is a word": ("GET", "/reminders?limit=many", None, 400, "bad_request"),
    "to move nowhere": ("POST", "/reminders/1/move", b"{}", 400, "bad_request"),
    "to move to no time": ("POST", "/reminders/1/move", b'{"when": "soonish"}', 422, "bad_when"),
    "to move to the past": ("POST", "/reminders/1/move", b'{"when": "2001-01-01"}', 422, "past"),
    "to snooze for ever": ("POST", "/reminders/1/snooze", b'{"minutes": 999999999999999999999}', 400, "bad_request"),
    "to snooze for no time": ("POST", "/reminders/1/snooze", b'{"minutes": 0}', 400, "bad_request"),
    "to snooze for true": ("POST", "/reminders/1/snooze", b'{"minutes": true}', 400, "bad_request"),
    "to snooze every day": ("POST", "/reminders/1/snooze", b'{"when": "every day"}', 400, "bad_request"),
    "to snooze doubly": ("POST", "/reminders/1/snooze", b'{"minutes": 5, "when": "tomorrow"}', 400, "bad_request"),
}


@pytest.mark.parametrize(("method", "path", "data", "status", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_taken_is_refused_with_a_code_and_a_sentence(client, method, path, data, status, code):
    await made(client)
    got, answer = await client(method, path, data=data)
    assert (got, answer["error"]["code"]) == (status, code)
    message = answer["error"]["message"]
    assert message.endswith(".") and len(message) < 300 and "Traceback" not in message
    assert (await client("GET", "/health"))[1]["pending"] == 1, "nothing has changed"


async def test_a_typing_mistake_in_a_key_is_answered_with_the_key_that_was_meant(client):
    _, answer = await client("POST", "/requests", {"text": "x", "chanel": "y"})
    assert 'did you mean "channel"?' in answer["error"]["message"]


async def test_half_a_surrogate_pair_is_taken_and_leaves_the_service_alive(client):
    status, answer = await client("POST", "/requests", data=b'{"text": "call \\ud83d mum \\u0000"}')
    assert (status, answer["kind"]) == (200, "other")


class TestOfABug:
    @pytest.fixture
    def rewriter(self):
        return Breaks({})

    async def test_a_bug_is_told_to_the_log_and_not_to_the_caller(self, client, caplog):
        status, answer = await client("POST", "/predict", {"text": "hello"})
        assert (status, answer["error"]["code"]) == (500, "internal")
        assert "secret" not in str(answer) and "Traceback" not in str(answer)
        assert "secret detail" in caplog.text
        assert (await client("GET", "/health"))[0] == 200


class TestOfAClientThatGoesAway:
    @pytest.fixture
    def rewriter(self):
        return Held()

    async def test_what_it_asked_for_is_done_all_the_same(self, client, rewriter):
        _, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rpartition(":")[2]))
        body = b'{"text": "call mum in 2 hours"}'
        writer.write(b"POST /requests HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await several(rewriter.begun, 1)
        writer.close()
        assert (await client("GET", "/reminders"))[1] == {"reminders": []}
        assert rewriter.abandoned.empty()
        rewriter.go_on.set()
        async with asyncio.timeout(10):
            while not (made := (await client("GET", "/reminders"))[1]["reminders"]):
                pass
        assert [r["task"] for r in made] == ["call mum"]


@pytest.mark.parametrize("origin", [
    "http://evil.example", "https://localhost", "null", "http://localhost:1", "file://", "http://127.0.0.1.evil.example",
])
async def test_a_page_of_another_origin_is_refused(client, origin):
    headers = {"Origin": origin, "Content-Type": "text/plain"}
    status, answer = await client("POST", "/requests", {"text": "remind me to call mum in 2 hours"}, headers=headers)
    assert (status, answer["error"]["code"]) == (403, "refused")
    assert (await client("GET", "/reminders"))[1] == {"reminders": []}


async def test_a_page_of_our_own_is_served(client):
    assert (await client("GET", "/health", headers={"Origin": client.url}))[0] == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:8765", "LOCALHOST:1", "127.0.0.1", "127.8.9.10:80", "[::1]",
                                  "[::1]:8765", "page.localhost:99", "localhost."])
async def test_a_host_that_is_a_loopback_name_is_served_with_any_port(client, host):
    assert (await client("GET", "/health", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "192.168.1.5", "0.0.0.0", "127.1", "",
                                  "localhost.evil.example", "evil.example@localhost", "localhost@evil.example",
                                  "[::2]", "[::1", "localhost:port", "localhost/evil.example"])
async def test_a_host_that_was_bent_to_this_machine_is_refused(client, host):
    status, answer = await client("GET", "/health", headers={"Host": host})
    assert (status, answer["error"]["code"]) == (403, "refused")


async def test_a_body_that_never_comes_is_given_up(client, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def slowly():
        yield b'{"text": '
        await asyncio.Event().wait()

    status, answer = await client("POST", "/requests", data=slowly())
    assert (status, answer["error"]["code"]) == (408, "too_slow")


async def test_what_is_no_http_at_all_leaves_the_service_alive(client):
    port = int(client.url.rpartition(":")[2])
    tls, short, negative = b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"
    for garbage in (tls, short, negative):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(garbage)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 5)
        assert b"Traceback" not in answer
        writer.close()
    assert (await client("GET", "/health"))[0] == 200


def test_a_port_that_is_taken_is_told_with_what_to_do():
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTaken, match=f"Port {port} .* --port"):
            open_socket("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "x" * 300])
def test_a_host_that_is_not_ours_is_told_with_what_to_do(host):
    with pytest.raises(AddressTaken, match="127.0.0.1"):
        open_socket(host, 0)
