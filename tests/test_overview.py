"""What the page lives on: the overview of a real store, and the events over real sockets."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from assistant import changes, http, http_page, states
from assistant.changes import Changes
from assistant.corrections import Corrections
from assistant.errors import DiskFault, ModelMissing, TooManyReaders
from assistant.hears import Hears
from assistant.http import Service, listening, reminder_json
from assistant.http_page import Page, as_data
from assistant.listen import open_socket
from assistant.messages import Request
from assistant.outbox import Advance, Outbox, Outcome
from assistant.overview import DAYS, REQUESTS, overview
from assistant.pipeline import Pipeline
from assistant.store import NewReminder, Store
from assistant.when import Policy
from tests.fakes import ScriptedRewriter, StandingClock, Ticks

LONDON = ZoneInfo("Europe/London")
NOW = datetime(2026, 3, 11, 10, tzinfo=LONDON)
LATE = timedelta(minutes=1)
SCRIPT = {
    "call mum at 5": "call mum | 17:00",
    "bins every thursday at 7": "bins | every thursday 07:00",
    "move it to half past six": "/move that > 6:30?",
    "move it to an hour later": "/move that > later 1 hour",
    "move it to every friday at 8": "/move that > every friday 08:00",
}


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "reminders.db") as store:
        yield store


def new(store: Store, task: str, due: datetime, rrule: str | None = None, request: str | None = None, when: str = ""):
    wall = due.astimezone(LONDON).replace(tzinfo=None)
    return store.add_reminders(request, [NewReminder(task, when or f"{wall:%Y-%m-%d %H:%M}", wall, LONDON.key, rrule, due)])[0]


def rings(store: Store, reminder, late: timedelta = timedelta(0), notifiers: tuple[str, ...] = ("log", "desktop")) -> int:
    """It comes due; whoever rings it does so that much later, but for the log. The id of its delivery."""
    outbox = Outbox(store.db)
    outbox.fire([(reminder, Advance(reminder.due, 1, None))], reminder.due)
    [id] = [row["id"] for row in store.db.rows("SELECT id FROM deliveries WHERE reminder_id = ?", (reminder.id,))]
    for name in notifiers:
        at = reminder.due if name == "log" else reminder.due + late
        outbox.record([Outcome(id, 1, name, None, at)], timedelta(minutes=5))
    return id


def seen(store: Store, limit: int = 200, now: datetime = NOW) -> dict:
    return overview(store, now, LONDON, LATE, limit, reminder_json)


# The overview

def test_what_is_ahead_is_soonest_first_and_at_most_so_many_while_all_are_counted(store):
    for hours in (30, 1, 3):
        new(store, f"in {hours}", NOW + timedelta(hours=hours))
    found = seen(store, limit=2)
    assert [r["task"] for r in found["upcoming"]] == ["in 1", "in 3"]
    assert (found["pending"], found["today"]) == (3, 2)
    assert found["upcoming"][0]["due"] == "2026-03-11T11:00:00+00:00" and found["upcoming"][0]["repeats"] is None


def test_what_recurs_is_told_with_its_rule_in_words_however_far_ahead_it_is(store):
    new(store, "soon", NOW + timedelta(hours=1))
    new(store, "bins", NOW + timedelta(days=300), "FREQ=WEEKLY;BYDAY=TH", when="every thursday 07:00")
    [bins] = seen(store, limit=1)["recurring"]
    assert (bins["task"], bins["repeats"]) == ("bins", "every Thursday at 10:00")


def test_what_rings_and_what_was_missed_stand_apart(store):
    rings(store, new(store, "stretch", NOW - timedelta(minutes=2)))
    delivery = rings(store, missed := new(store, "pills", NOW - timedelta(hours=2)))
    store.db.execute("UPDATE deliveries SET state = 'missed' WHERE id = ?", (delivery,))
    store.db.execute("UPDATE reminders SET state = 'missed' WHERE id = ?", (missed.id,))
    found = seen(store)
    [ringing], [pills] = found["ringing"], found["missed"]
    assert (ringing["task"], ringing["due"], ringing["ring"]) == ("stretch", "2026-03-11T09:58:00+00:00", 1)
    assert (pills["task"], pills["last"], pills["times"]) == ("pills", "2026-03-11T08:00:00+00:00", 1)
    assert found["upcoming"] == []


def test_each_day_is_counted_by_what_was_set_and_how_it_rang(store):
    def asked(id: str, at: datetime) -> str:
        store.add_request(Request(id, "x", "cli", at))
        return id

    yesterday, long_ago = NOW - timedelta(days=1), NOW - timedelta(days=DAYS)
    rings(store, new(store, "old", long_ago, request=asked("old", long_ago)))
    rings(store, new(store, "on time", yesterday, request=asked("a", yesterday)), timedelta(seconds=5))
    rings(store, new(store, "late", yesterday, request=asked("b", yesterday)), timedelta(minutes=9))
    rings(store, new(store, "log alone", NOW, request=asked("c", NOW)), notifiers=("log",))
    delivery = rings(store, new(store, "missed", NOW - timedelta(hours=1)))
    store.db.execute("UPDATE deliveries SET state = 'missed' WHERE id = ?", (delivery,))
    rings(store, new(store, "nobody has heard it yet", NOW - timedelta(minutes=1)), notifiers=())
    ahead = rings(store, new(store, "ahead of an event", NOW))
    store.db.execute("UPDATE deliveries SET occurrences = 0 WHERE id = ?", (ahead,))
    days = seen(store)["days"]
    assert len(days) == DAYS and days[0]["day"] == "2026-02-10"
    assert days[-2:] == [
        {"day": "2026-03-10", "set": 2, "on_time": 1, "late": 1, "missed": 0},
        {"day": "2026-03-11", "set": 1, "on_time": 1, "late": 0, "missed": 1}]
    assert all(sum(day[k] for k in ("set", "on_time", "late", "missed")) == 0 for day in days[:-2])


def test_a_day_is_one_of_the_persons_own_zone(store):
    summer = datetime(2026, 7, 1, 23, 30, tzinfo=UTC)  # half past midnight in London
    rings(store, new(store, "late film", summer))
    days = seen(store, now=summer + timedelta(hours=9))["days"]
    assert [(d["day"], d["on_time"]) for d in days[-2:]] == [("2026-07-01", 0), ("2026-07-02", 1)]


def test_the_last_requests_are_told_with_what_they_made_and_what_they_should_have_been(store):
    for n in range(REQUESTS + 2):
        store.add_request(Request(f"r{n}", f"call mum at {n}", "page:1", NOW + timedelta(minutes=n)))
    made = new(store, "call mum", NOW + timedelta(days=1), request="r11")
    store.settle_request("r11", reply="OK: call mum.", at=NOW, kind="create")
    Corrections(store.db).add("call mum at 11", "mum | 11:00?", NOW)
    found = seen(store)["requests"]
    assert [r["id"] for r in found] == [f"r{n}" for n in range(REQUESTS + 1, 1, -1)]
    assert (found[0]["reminders"], found[0]["reply"], found[0]["kind"]) == ([made.id], "OK: call mum.", "create")
    assert (found[0]["correction"]["should"], found[0]["correction"]["state"]) == ("mum | 11:00?", "accepted")
    assert (found[1]["reply"], found[1]["correction"]) == (None, None)


def test_no_character_of_what_was_said_can_end_the_data_in_the_page():
    said = {"text": "</script><!--<script> & \u2028 é"}
    text = as_data(said)
    assert json.loads(text) == said and not set("<>&\u2028") & set(text)


# States

HEARS = {"mode": "push", "state": "closed", "muted": False, "voice_muted": False, "microphone": "closed",
         "says": "The microphone is closed.", "device": "", "sound": False, "reopened": 0, "drops": 0, "xruns": 0,
         "engine": "e", "voice": "flite", "word": None}  # fmt: skip


@pytest.mark.parametrize(("now", "state", "says"), [
    ({}, "ok", "It listens when it is told to."),
    ({"muted": True}, "off", "It is muted and hears nothing."),
    ({"mode": "word", "word": "okay nabu", "microphone": "listening", "says": "Listening to Built-in."}, "ok",
     'It listens for "okay nabu". Listening to Built-in.'),
    ({"mode": "word"}, "warn", "Its wake word cannot be heard here: `assistant doctor` says why."),
    ({"mode": "always", "microphone": "silent", "says": "It delivers silence."}, "warn", "It delivers silence."),
], ids=["push", "muted", "wake word", "no detector", "silent"])  # fmt: skip
def test_how_the_microphone_is_is_a_sentence(now, state, says):
    assert astuple(states.microphone(Hears(**HEARS | now))) == ("microphone", state, says)


@pytest.mark.parametrize(("out", "circuit", "kept", "state", "says"), [
    ({}, None, 0, "ok", "The model small understands requests, here."),
    ({"local": ModelMissing("/m")}, None, 0, "warn", "/m"),
    ({}, "open", 0, "warn", "The model service at http://far does not answer and is left alone for a while."),
    ({}, "closed", 2, "warn", "2 requests wait until I can think again."),
], ids=["well", "missing", "circuit open", "something is kept"])  # fmt: skip
def test_how_the_model_is_is_a_sentence(out, circuit, kept, state, says):
    remote = circuit and SimpleNamespace(url="http://far", name="remote", breaker=SimpleNamespace(state=circuit))
    rewriters = SimpleNamespace(rewriter=SimpleNamespace(name="small", out=out), remote=remote)
    found = states.model(rewriters, kept)
    assert found.state == state and says in found.says


def test_the_phone_is_told_of_by_its_last_ring(store):
    settings = SimpleNamespace(url="https://ntfy.example")
    assert states.phone(None, store.db).state == "off"
    assert states.phone(settings, store.db).says == "It is rung through https://ntfy.example."
    delivery = rings(store, new(store, "x", NOW), notifiers=("ntfy",))
    Outbox(store.db).record([Outcome(delivery, 2, "ntfy", "it is away", NOW + LATE)], LATE)
    assert astuple(states.phone(settings, store.db))[1:] == ("warn", "The last ring did not reach it: it is away")


# The broadcast

async def test_changes_that_nobody_has_looked_at_yet_are_one():
    changes = Changes("run")
    with changes.reader() as reader:
        for _ in range(3):
            changes.changed()
        assert await reader.next() == "run-3"
        waiting = asyncio.ensure_future(reader.next())
        changes.changed()
        assert await waiting == "run-4"


def test_only_so_many_look_on_at_once(monkeypatch):
    monkeypatch.setattr(changes, "MOST_READERS", 1)
    told = Changes()
    with told.reader(), pytest.raises(TooManyReaders, match="close one of them"), told.reader():
        pass
    with told.reader():
        assert told.readers == 1


async def test_what_changes_without_a_word_is_seen_while_somebody_looks_on():
    told, ticks, now = Changes("run"), Ticks(), ["well"]
    watching = asyncio.create_task(told.watch(lambda: now[0], ticks.sleep))
    with told.reader() as reader:
        await ticks.tick()
        assert told.newest == "run-0"
        now[0] = "broken"
        await ticks.tick()
        assert await reader.next() == "run-1"
    watching.cancel()


# Over HTTP

class Served:
    """The service on its port, whose page is told of changes."""

    def __init__(self, tmp_path, kind: type[Store] = Store) -> None:
        self.folder, self.kind, self.changes, self.clock = tmp_path, kind, Changes("run"), StandingClock(NOW)

    @asynccontextmanager
    async def __call__(self):
        with self.kind.open(self.folder / "reminders.db") as store, open_socket("127.0.0.1", 0) as sock:
            pipeline = Pipeline(ScriptedRewriter(SCRIPT), store, Policy(), LONDON, self.clock, 0.5, self.changes.changed)
            page = Page(pipeline, self.changes, reminder_json, LATE)
            self.service = Service(pipeline, page=page)
            async with listening(self.service, sock) as self.url, aiohttp.ClientSession() as self.session:
                yield self

    async def call(self, method: str, path: str, body: dict | None = None, **headers: str) -> tuple[int, dict]:
        async with self.session.request(method, self.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    @asynccontextmanager
    async def events(self, **headers: str):
        async with asyncio.timeout(10), self.session.get(self.url + "/events", headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            yield Events(answer)


class Events:
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> dict[str, str]:
        """The next event, its fields."""
        lines = (await self._answer.content.readuntil(b"\n\n")).decode().splitlines()
        return dict(line.split(": ", 1) for line in lines if line)


@pytest.fixture
async def served(tmp_path):
    async with Served(tmp_path)() as served:
        yield served


async def test_whoever_looks_on_is_told_of_the_present_and_of_every_change(served):
    async with served.events() as events:
        assert await events.next() == {"retry": "2000"}
        assert await events.next() == {"id": "run-0", "event": "changed", "data": '{"change": "run-0"}'}
        await served.call("POST", "/requests", {"text": "call mum at 5"})
        assert (await events.next())["id"] == served.changes.newest == (await served.call("GET", "/overview"))[1]["change"]


async def test_whoever_comes_again_and_knows_it_all_is_told_that_it_is_alive(served, monkeypatch):
    monkeypatch.setattr(http_page, "ALIVE_SECONDS", 0.01)
    async with served.events(**{"Last-Event-ID": "run-0"}) as events:
        await events.next()
        for _ in range(3):
            assert await events.next() == {"event": "alive", "data": json.dumps({"now": NOW.isoformat()})}


async def test_whoever_takes_nothing_is_dropped_and_keeps_nobody_waiting(served, monkeypatch, caplog):
    monkeypatch.setattr(http_page, "STUCK_SECONDS", 0.05)
    host, _, port = served.url.removeprefix("http://").partition(":")
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((host, int(port)))
        stuck.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(20):
            while not served.changes.readers:
                await served.call("GET", "/health")
            while served.changes.readers:
                served.changes.changed()
                await asyncio.sleep(0)
    assert (await served.call("GET", "/health"))[0] == 200
    assert [record.message for record in caplog.records] == []


async def test_only_who_reads_the_events_may_ask_for_them(served):
    async with asyncio.timeout(10), served.session.head(served.url + "/events") as answer:
        assert (answer.status, answer.headers["Allow"], served.changes.readers) == (405, "GET", 0)


async def test_too_many_who_look_on_are_told_so(served, monkeypatch):
    monkeypatch.setattr(changes, "MOST_READERS", 1)
    async with served.events() as events:
        await events.next()
        status, answer = await served.call("GET", "/events")
        assert (status, answer["error"]["code"]) == (503, "too_many_readers")


async def test_who_looks_on_does_not_keep_the_daemon_from_stopping(tmp_path, monkeypatch):
    monkeypatch.setattr(http, "ANSWER_SECONDS", 60)
    async with asyncio.timeout(20), aiohttp.ClientSession() as elsewhere:
        async with Served(tmp_path)() as served:
            answer = await elsewhere.get(served.url + "/events")
            await answer.content.readuntil(b"\n\n")
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


@pytest.mark.parametrize("limit", ["0", "10001", "ten", "-1", "²"])
async def test_a_limit_that_is_none_is_refused(served, limit):
    status, answer = await served.call("GET", f"/overview?limit={limit}")
    assert (status, answer["error"]["code"]) == (400, "bad_request")


async def test_the_page_brings_its_data_and_may_run_nothing_but_itself(served):
    await served.call("POST", "/requests", {"text": "call mum at 5"})
    async with served.session.get(served.url + "/") as answer:
        text, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    data = text.partition('id="overview">')[2].partition("</script>")[0]
    assert json.loads(data)["upcoming"][0]["task"] == "call mum"
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"


class Faulty(Store):
    """Of a disk that cannot be read."""

    def ahead(self, limit: int):
        raise DiskFault(self.db.path, "it is broken")


async def test_while_the_database_cannot_be_read_the_page_comes_and_says_so(tmp_path):
    async with Served(tmp_path, Faulty)() as served, served.session.get(served.url + "/") as answer:
        assert answer.status == 200
        data = (await answer.text()).partition('id="overview">')[2].partition("</script>")[0]
        assert "it is broken" in json.loads(data)["error"]


@pytest.mark.parametrize(("text", "when", "due", "repeats"), [
    ("half past six", "6:30?", "2026-03-11T18:30:00+00:00", None),
    ("an hour later", "11 march 2026 18:00", "2026-03-11T18:00:00+00:00", None),
    ("tomorrow", "tomorrow", "2026-03-12T17:00:00+00:00", None),
    ("every friday at 8", "every friday 08:00", "2026-03-13T08:00:00+00:00", "every Friday at 8:00"),
], ids=["another hour", "later", "another day", "from now on"])  # fmt: skip
async def test_another_time_is_told_and_then_taken_exactly_so(served, text, when, due, repeats):
    _, made = await served.call("POST", "/requests", {"text": "call mum at 5"})
    path = f"/reminders/{made['reminders'][0]['id']}"
    status, to = await served.call("POST", f"{path}/preview", {"text": text})
    assert (status, to["when"], to["due"], to["repeats"]) == (200, when, due, repeats)
    assert (await served.call("GET", path))[1] == made["reminders"][0]
    _, moved = await served.call("POST", f"{path}/move", {"when": to["when"]})
    assert moved["reminder"]["due"] == due


@pytest.mark.parametrize(("when", "then"), [
    ("every 2 hours", "every 2 hours from 2026-03-11 13:00"),
    ("every 2 hours from 11 march 2026 12:00 until friday", "every 2 hours from 2026-03-11 13:00 until friday"),
    ("every 2 hours 12:00 for 3 times", "every 2 hours from 2026-03-11 13:00 for 3 times"),
], ids=["for ever", "until a day", "so often"])  # fmt: skip
async def test_what_recurs_by_the_hour_goes_on_from_the_time_that_was_told(served, when, then):
    _, made = await served.call("POST", "/requests", {"text": "call mum at 5"})
    path = f"/reminders/{made['reminders'][0]['id']}"
    await served.call("POST", f"{path}/move", {"when": when})
    _, to = await served.call("POST", f"{path}/preview", {"text": "an hour later"})
    assert (to["when"], to["due"]) == (then, "2026-03-11T13:00:00+00:00")
    _, moved = await served.call("POST", f"{path}/move", {"when": to["when"]})
    assert (moved["reminder"]["due"], moved["reminder"]["rrule"]) == (to["due"], to["rrule"])


@pytest.mark.parametrize(("path", "text", "status", "code"), [
    ("/reminders/1/preview", "a walrus", 422, "bad_when"), ("/reminders/1/preview", "today 09:00", 422, "past"),
    ("/reminders/9/preview", "tomorrow", 404, "not_found"), ("/reminders/1/preview", " ", 400, "blank"),
], ids=["no time", "a time that has passed", "no reminder", "nothing"])  # fmt: skip
async def test_another_time_that_is_none_is_told_to_be(served, path, text, status, code):
    await served.call("POST", "/requests", {"text": "call mum at 5"})
    found, answer = await served.call("POST", path, {"text": text})
    assert (found, answer["error"]["code"]) == (status, code)


async def test_no_page_of_another_origin_may_write_anywhere_or_look_on(served):
    app = served.service.application()
    routes = {(r.method, r.resource.canonical) for r in app.router.routes() if r.method != "HEAD"}
    assert {("POST", "/requests"), ("DELETE", "/reminders/{id}"), ("GET", "/events"), ("GET", "/")} <= routes
    for method, path in sorted(routes):
        status, answer = await served.call(method, path.replace("{id}", "1"), Origin="http://evil.example")
        assert (status, answer["error"]["code"]) == (403, "refused"), (method, path)
