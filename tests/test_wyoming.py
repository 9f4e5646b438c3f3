"""The conversation agent, spoken to by the `wyoming` package's client as Home Assistant uses it. Real sockets, real store."""

import asyncio
import json
import logging
import random
import re
import socket
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from wyoming.asr import Transcript
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event, async_read_event
from wyoming.handle import Handled, NotHandled
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from assistant import mdns
from assistant.config import load
from assistant.doctor import wyoming as doctor
from assistant.errors import AddressTaken, NobodyAnswers
from assistant.listen import open_socket
from assistant.pipeline import Pipeline
from assistant.sections import Wyoming
from assistant.store import Store
from assistant.when import Policy
from assistant.wyoming_events import MAX_EVENT, is_served
from assistant.wyoming_server import WyomingServer, agent
from tests.fakes import ScriptedRewriter, StandingClock
from tests.process import Daemon

LONDON = ZoneInfo("Europe/London")
WEDNESDAY = datetime(2026, 3, 11, 10, tzinfo=LONDON)
ANSWERS = {
    "remind me to call mum tomorrow at five": "call mum | tomorrow 5:00?",
    "remind me to buy milk": "buy milk |",
    "tomorrow at five": "| tomorrow 5:00?",
    "what is the weather": "/other",
}


class Home:
    """A Home Assistant that has found the agent."""

    def __init__(self, port: int, store: Store | None = None, rewriter: ScriptedRewriter | None = None) -> None:
        self.port, self.store, self.rewriter = port, store, rewriter
        self.changed = asyncio.Event()

    def client(self) -> AsyncTcpClient:
        return AsyncTcpClient("127.0.0.1", self.port, connect_timeout=20, read_timeout=20)

    async def describe(self) -> Info:
        """As data.py does it."""
        async with self.client() as client:
            await client.write_event(Describe().event())
            return Info.from_event(await client.read_event())

    async def say(self, text: str, **context: object) -> Handled | NotHandled:
        """As conversation.py does it: a connection for each sentence."""
        async with self.client() as client:
            return await self.say_on(client, text, **context)

    async def say_on(self, client: AsyncTcpClient, text: str, **context: object) -> Handled | NotHandled:
        await client.write_event(Transcript(text, context=context or None, language="en").event())
        event = await client.read_event()
        kind = {"handled": Handled, "not-handled": NotHandled}[event.type]
        return kind.from_event(event)

    async def send(self, raw: bytes, end: bool = True) -> list[Event]:
        """All that is answered to these bytes."""
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            events = []
            with suppress(OSError):  # closed while it sent
                writer.write(raw)
                if end:
                    writer.write_eof()
                while event := await async_read_event(reader):
                    events.append(event)
            writer.close()
            return events

    @property
    def tasks(self) -> list[str]:
        return [r.task for r in self.store.active()]


@asynccontextmanager
async def serving(path, most: int = 64, idle: float = 60):
    rewriter, clock = ScriptedRewriter(ANSWERS), StandingClock(WEDNESDAY)
    with Store.open(path) as store, open_socket("127.0.0.1", 0) as sock:
        home = Home(sock.getsockname()[1], store, rewriter)
        pipeline = Pipeline(rewriter, store, Policy(), LONDON, clock, 0.5, home.changed.set)
        async with WyomingServer(pipeline.handle, clock).serving(sock, most, idle):
            yield home


@pytest.fixture
async def home(tmp_path):
    async with serving(tmp_path / "reminders.db") as home:
        yield home


# What it is

async def test_home_assistant_finds_an_agent_that_handles_english_and_controls_nothing(home):
    info = await home.describe()
    (program,) = info.handle
    assert program.name == "Reminder Assistant" and program.installed and not program.supports_home_control
    assert [(m.installed, m.languages) for m in program.models] == [(True, ["en"])]
    assert not (info.asr or info.tts or info.intent or info.wake or info.satellite)


async def test_it_answers_a_ping(home):
    async with home.client() as client:
        await client.write_event(Ping("there?").event())
        assert Pong.from_event(await client.read_event()).text == "there?"


# What is said

async def test_a_sentence_sets_a_reminder_and_is_answered_for_the_ear(home):
    answer = await home.say("remind me to call mum tomorrow at five", conversation_id="01A")
    assert isinstance(answer, Handled) and answer.text == "OK: call mum, tomorrow at five in the afternoon."
    assert home.tasks == ["call mum"]


async def test_the_context_comes_back_with_the_answer(home):
    context = {"conversation_id": "01A", "satellite_id": "assist_satellite.kitchen"}
    assert (await home.say("remind me to buy milk", **context)).context == context


async def test_a_follow_up_is_answered_in_its_conversation_on_another_connection(home):
    assert "When" in (await home.say("remind me to buy milk", conversation_id="01A", device_id="d1")).text
    assert (await home.say("tomorrow at five", conversation_id="01A", device_id="d1")).text.startswith("OK: buy milk")
    assert home.tasks == ["buy milk"]


async def test_a_question_is_not_answered_in_another_conversation(home):
    await home.say("remind me to buy milk", conversation_id="01A")
    assert not (await home.say("tomorrow at five", conversation_id="01B")).text.startswith("OK: buy milk")
    assert (await home.say("tomorrow at five", conversation_id="01A")).text.startswith("OK: buy milk")


@pytest.mark.parametrize("place", ["satellite_id", "device_id"])
async def test_without_a_conversation_it_is_the_satellite_s_or_the_device_s(home, place):
    await home.say("remind me to buy milk", **{place: "kitchen"})
    assert (await home.say("tomorrow at five", **{place: "kitchen"})).text.startswith("OK: buy milk")


@pytest.mark.parametrize("id", ["", "x" * 81, "a\nb", 5, None, ["01A"]], ids=["empty", "long", "of two lines", "a number", "none", "a list"])
async def test_who_names_no_conversation_has_one_as_long_as_the_connection(home, id):
    async with home.client() as client:
        await home.say_on(client, "remind me to buy milk", conversation_id=id)
        assert not (await home.say("tomorrow at five", conversation_id=id)).text.startswith("OK: buy milk")
        assert (await home.say_on(client, "tomorrow at five", conversation_id=id)).text.startswith("OK: buy milk")


async def test_a_context_that_is_none_is_no_context(home):
    (answer,) = await home.send(b'{"type": "transcript", "data": {"text": "remind me to buy milk", "context": [1]}}\n')
    assert answer.type == "handled"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("what is the weather", "not a reminder", id="something else"),
        pytest.param("  ", "nothing in this request", id="nothing"),
        pytest.param("mum " * 200, "the limit is 500", id="too much"),
        pytest.param("\ud800", "not a reminder", id="half a character"),
    ],
)
async def test_what_is_not_set_is_not_handled_and_answered_with_a_sentence(home, text, says):
    (event,) = await home.send(b'{"type": "transcript", "data": {"text": %s}}\n' % json.dumps(text).encode())
    assert event.type == "not-handled" and says in event.data["text"]


async def test_what_no_model_understands_now_is_kept_and_promised(home):
    home.rewriter.broken = NobodyAnswers(("It is away.",))
    assert isinstance(await home.say("remind me to buy milk"), Handled)
    assert [r.text for r in home.store.unsettled_requests()] == ["remind me to buy milk"]


async def test_a_bug_is_told_to_the_log_and_the_next_sentence_is_answered(home, caplog):
    home.rewriter.broken = ZeroDivisionError("secret")
    async with home.client() as client:
        answer = await home.say_on(client, "remind me to buy milk")
        assert isinstance(answer, NotHandled) and "went wrong inside" in answer.text and "secret" not in answer.text
        home.rewriter.broken = None
        assert isinstance(await home.say_on(client, "remind me to call mum tomorrow at five"), Handled)
    assert "ZeroDivisionError" in caplog.text


async def test_who_goes_away_before_the_answer_has_said_it_all_the_same(home):
    async with home.client() as client:
        await client.write_event(Transcript("remind me to call mum tomorrow at five").event())
    async with asyncio.timeout(20):
        await home.changed.wait()
    assert home.tasks == ["call mum"] and (await home.describe()).handle


# What is no event

BAD = {
    "no JSON": b"remind me to buy milk\n",
    "no object": b"[1]\n",
    "no type": b'{"data": {}}\n',
    "a type that is none": b'{"type": 5}\n',
    "data that is none": b'{"type": "transcript", "data": [1]}\n',
    "data of text without JSON": b'{"type": "transcript", "data_length": 2}\n{]',
    "a transcript without a text": b'{"type": "transcript"}\n',
    "a text that is none": b'{"type": "transcript", "data": {"text": 5}}\n',
    "a length that is none": b'{"type": "transcript", "data_length": "9"}\n',
    "a length below nothing": b'{"type": "transcript", "data_length": -1}\n',
    "a length of truth": b'{"type": "transcript", "payload_length": true}\n',
    "data without end": b'{"type": "transcript", "data_length": 10000000000}\n',
    "a payload without end": b'{"type": "audio-chunk", "payload_length": 10000000000}\n',
    "a line without end": b'{"type": "' + b"x" * MAX_EVENT,
    "nested beyond sense": b"[" * 60_000 + b"\n",
    "half a line": b'{"type": "transcript", "da',
    "half of the data": b'{"type": "transcript", "data_length": 50}\n{"te',
    "no UTF-8": b'{"type": "\xff\xfe"}\n',
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
async def test_what_is_no_event_ends_its_connection_with_a_sentence_and_no_other(home, raw, caplog):
    async with home.client() as other:
        answers = await home.send(raw)
        assert [a.type for a in answers] == ["error"]
        error = Error.from_event(answers[0])
        assert error.code == "bad_event" and error.text.endswith("check what sends it.")
        assert isinstance(await home.say_on(other, "remind me to buy milk"), Handled)
    assert [r.levelname for r in caplog.records if r.name.startswith("assistant.wyoming")] == ["WARNING"]


async def test_a_web_page_cannot_speak_here(home):
    transcript = b'{"type": "transcript", "data": {"text": "remind me to call mum tomorrow at five"}}\n'
    answers = await home.send(b"POST / HTTP/1.1\r\nHost: localhost:10400\r\nContent-Length: %d\r\n\r\n%s" % (len(transcript), transcript))
    assert [a.type for a in answers] == ["error"] and home.rewriter.heard == []


async def test_events_that_are_not_known_are_dropped_with_their_payload(home):
    async with home.client() as client:
        await client.write_event(Event("audio-chunk", {"rate": 16000}, bytes(MAX_EVENT // 2)))
        await client.write_event(Event("select-program", {"name": "x"}))
        assert isinstance(await home.say_on(client, "remind me to buy milk"), Handled)


async def test_no_bytes_harm_it(home):
    chance, pieces = random.Random(7), [*BAD.values(), b"{", b"}", b"\n", b"\0", b'"text"', b"\xff" * 40]
    for _ in range(200):
        await home.send(b"".join(chance.choice(pieces)[: chance.randrange(1, 60)] for _ in range(chance.randrange(1, 6))))
    assert (await home.describe()).handle and home.tasks == []


# Connections

async def test_a_silent_connection_is_closed(tmp_path):
    async with serving(tmp_path / "reminders.db", idle=0.05) as home:
        assert await home.send(b'{"type": "tran', end=False) == []


async def test_one_connection_too_many_is_closed_and_let_in_when_another_has_left(tmp_path):
    async with serving(tmp_path / "reminders.db", most=1) as home:
        async with home.client() as client:
            assert isinstance(await home.say_on(client, "remind me to buy milk"), Handled)
            assert await home.send(b'{"type": "describe"}\n') == []
        async with asyncio.timeout(20):
            while not await home.send(b'{"type": "describe"}\n'):
                pass


async def test_leaving_closes_what_is_open_and_keeps_what_is_under_way(tmp_path):
    began = asyncio.Event()

    async def think_for_ever(text):
        began.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        async with serving(tmp_path / "reminders.db") as home:
            home.rewriter.rewrite = think_for_ever
            client, silent = home.client(), home.client()
            await client.connect()
            await silent.connect()
            await client.write_event(Transcript("remind me to buy milk").event())
            await began.wait()
        assert await client.read_event() is None and await silent.read_event() is None
    with Store.open(tmp_path / "reminders.db") as store:
        assert [r.text for r in store.unsettled_requests()] == ["remind me to buy milk"]


# As a part of the daemon

async def nobody(request):
    raise AssertionError


async def test_it_is_not_there_unless_it_is_enabled(caplog):
    caplog.set_level(logging.INFO)
    async with agent(Wyoming(), nobody, StandingClock(WEDNESDAY)):
        assert caplog.text == ""


async def test_a_port_that_is_taken_is_told_and_keeps_nobody_from_starting(caplog):
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        async with agent(Wyoming(enabled=True, port=port), nobody, StandingClock(WEDNESDAY)):
            pass
    assert f"Port {port} of 127.0.0.1 is taken by another program: stop that, or set another with [wyoming] port." in caplog.text


@pytest.mark.usefixtures("model")
def test_the_real_daemon_sets_what_a_satellite_heard_and_asks_back(tmp_path):
    settings = {"ASSISTANT_WYOMING__ENABLED": "true", "ASSISTANT_WYOMING__PORT": "0"}
    with Daemon(tmp_path, settings) as daemon:
        port = next(int(found[1]) for line in daemon.lines if (found := re.search(r"conversation agent .* port=(\d+)", line)))

        async def talk():
            home = Home(port)
            assert (await home.describe()).handle
            first = await home.say("remind me to buy milk", conversation_id="01A")
            return first.text, (await home.say("tomorrow at 5 pm", conversation_id="01A")).text

        asked, answered = asyncio.run(talk())
        assert "When" in asked and answered == "OK: buy milk, tomorrow at five in the afternoon."
        reminders = daemon.call("GET", "/reminders")[1]["reminders"]
        assert [r["task"] for r in reminders] == ["buy milk"]
        assert daemon.stop() == 0


# Found by others

@asynccontextmanager
async def looking(service: str):
    """What is announced on this machine alone, as it comes: name -> ServiceInfo, or None when it is gone."""
    from zeroconf import IPVersion
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

    changes: asyncio.Queue = asyncio.Queue()
    async with AsyncZeroconf(interfaces=["127.0.0.1"]) as network:

        def changed(zeroconf, service_type, name, state_change):
            changes.put_nowait((name, state_change.name))

        async def addresses(name):
            found = AsyncServiceInfo(service, name)
            await found.async_request(network.zeroconf, 5000)
            return found.parsed_addresses(IPVersion.V4Only), found.port

        browser = AsyncServiceBrowser(network.zeroconf, service, handlers=[changed])
        yield changes, addresses
        await browser.async_cancel()


async def test_it_is_found_and_when_it_leaves_it_is_gone():
    async with asyncio.timeout(20), looking(mdns.WYOMING) as (changes, addresses):
        async with mdns.advertised(mdns.WYOMING, 10400, "127.0.0.1", on=["127.0.0.1"]):
            name, change = await changes.get()
            assert change == "Added" and name == f"{mdns.instance()}.{mdns.WYOMING}"
            assert await addresses(name) == (["127.0.0.1"], 10400)
        assert await changes.get() == (name, "Removed")


class Told(logging.Handler):
    """Knows when something is said to the log."""

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.told.set()


async def test_that_it_cannot_be_told_is_said_once_with_what_to_do(caplog):
    mdns.log.addHandler(told := Told())
    async with asyncio.timeout(20), mdns.advertised(mdns.WYOMING, 10400, "127.0.0.1", on=["203.0.113.9"]):
        await told.told.wait()
    mdns.log.removeHandler(told)
    (said,) = [r.getMessage() for r in caplog.records if r.name == "assistant.mdns"]
    assert re.search(r"not found by itself \(.+\): type this machine's address and port 10400", said)


async def test_the_doctor_knows_whether_it_is_the_agent_that_answers(home):
    assert await is_served("127.0.0.1", home.port)
    with open_socket("127.0.0.1", 0) as silent:
        assert not await is_served("127.0.0.1", silent.getsockname()[1], seconds=0.05)


def test_the_doctor_says_whether_its_port_can_be_had():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        config = load(environ={}, wyoming={"enabled": True, "port": other.getsockname()[1]})
        with pytest.raises(AddressTaken, match="port"):
            [*doctor(config)]
    (finding,) = doctor(config)
    assert finding.state == "ok" and finding.found.endswith("is free")
    assert [*doctor(load(environ={}))] == []


def test_all_addresses_are_those_that_others_can_reach():
    assert mdns.addresses("127.0.0.1") == ["127.0.0.1"]
    assert not any(a.startswith(("127.", "169.254.")) or ":" in a for a in mdns.addresses("0.0.0.0"))
