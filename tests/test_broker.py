"""The embedded broker, over real sockets: what a home may rely on, and who is let in. The clients are aiomqtt's, and
`Raw` where one is to do what no proper client does."""

import asyncio
import logging
from contextlib import asynccontextmanager

import aiomqtt
import pytest
from aiomqtt import ProtocolVersion
from aiomqtt.exceptions import MqttConnectError

from assistant import amqtt_broker, broker
from assistant.config import load
from assistant.control_packets import BadPacket, Connect, OtherVersion, check_publish, read_connect, read_packet
from assistant.errors import ConfigError
from assistant.listen import open_socket
from assistant.sections import Mqtt

V311 = ProtocolVersion.V311


class Home:
    """A broker with its clients."""

    def __init__(self, port: int, inside: amqtt_broker.EmbeddedBroker) -> None:
        self.port, self.inside = port, inside

    def client(self, name: str | None = None, **how) -> aiomqtt.Client:
        how = {"protocol": V311, "clean_session": True, "timeout": 20} | how
        if how["protocol"] == ProtocolVersion.V5:
            del how["clean_session"]
        return aiomqtt.Client("127.0.0.1", self.port, identifier=name, **how)

    @asynccontextmanager
    async def raw(self, name: str = "raw", clean: bool = True, keep_alive: int = 0, **how):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            raw = Raw(reader, writer)
            await raw.send(connect(name, clean, keep_alive, **how))
            yield raw
        finally:
            writer.transport.abort()

    async def says(self, sent: bytes, end: bool = False) -> bytes:
        """All that is answered to these bytes, until it hangs up."""
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(sent)
                if end:
                    writer.write_eof()
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()


class Raw:
    """A client that says what it is told to, packet by packet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, packet: bytes) -> None:
        self._writer.write(packet)
        await self._writer.drain()

    async def read(self) -> bytes:
        """The next packet; nothing when the broker has hung up."""
        async with asyncio.timeout(20):
            try:
                return await read_packet(self._reader, broker.MAX_PACKET)
            except (asyncio.IncompleteReadError, ConnectionResetError):
                return b""

    async def subscribe(self, filter: str, qos: int = 1) -> None:
        await self.send(packet(0x82, b"\x00\x01" + text(filter) + bytes([qos])))
        while (await self.read())[:1] != b"\x90":
            pass


def text(value: str | bytes) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return len(value).to_bytes(2) + value


def packet(first: int, body: bytes) -> bytes:
    length, out = len(body), b""
    while True:
        length, low = divmod(length, 128)
        out += bytes([low | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + out + body


def connect(name: str, clean: bool = True, keep_alive: int = 0, *, user: str = "", password: str = "", will: str = "", level: int = 4) -> bytes:
    flags = clean * 0x02 | bool(will) * 0x0C | bool(user) * 0x80 | bool(password) * 0x40
    body = text("MQTT") + bytes([level, flags]) + keep_alive.to_bytes(2) + (b"\x00" if level == 5 else b"") + text(name)
    for field in (*((will, "gone") if will else ()), *filter(None, (user, password))):
        body += text(field)
    return packet(0x10, body)


def publish(topic: str | bytes, payload: str, id: int = 1) -> bytes:
    return packet(0x32, text(topic) + id.to_bytes(2) + payload.encode())


@asynccontextmanager
async def running(user: str = "", password: str = ""):
    with open_socket("127.0.0.1", 0) as sock:
        async with broker.serving(sock, user, password) as inside:
            yield Home(sock.getsockname()[1], inside)


@pytest.fixture
async def home():
    async with running() as home:
        yield home


async def heard(client: aiomqtt.Client, many: int = 1) -> list[tuple[str, str]]:
    """Topic and text of the next messages."""
    async with asyncio.timeout(20):
        messages = aiter(client.messages)
        told = [await anext(messages) for _ in range(many)]
    return [(str(m.topic), m.payload.decode()) for m in told]


async def nothing_more(client: aiomqtt.Client) -> bool:
    """What is published after it would have come is the next thing to come."""
    await client.subscribe("the/end", 1)
    await client.publish("the/end", "end", 1)
    return await heard(client) == [("the/end", "end")]


# Messages

@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_what_is_published_reaches_who_has_subscribed(home, qos):
    async with home.client() as kitchen, home.client() as button:
        await kitchen.subscribe("a/+", 2)
        await button.publish("a/b", "tea", qos)
        await button.publish("b/b", "coffee", qos)
        assert await heard(kitchen) == [("a/b", "tea")] and await nothing_more(kitchen)


async def test_what_is_retained_is_told_to_who_subscribes_later_until_it_is_removed(home):
    async with home.client() as button:
        await button.publish("status", "online", 1, retain=True)
        async with home.client() as kitchen:
            await kitchen.subscribe("status", 1)
            assert await heard(kitchen) == [("status", "online")]
        await button.publish("status", b"", 1, retain=True)
        async with home.client() as kitchen:
            await kitchen.subscribe("status", 1)
            assert await nothing_more(kitchen)


async def test_who_connects_is_not_told_what_others_have_subscribed_to(home):
    async with home.client() as button, home.client() as kitchen:
        await kitchen.subscribe("#", 1)
        await button.publish("status", "online", 1, retain=True)
        async with home.client() as stranger:
            assert await nothing_more(stranger)


async def test_what_comes_while_a_device_is_away_reaches_it_in_order_and_once(home):
    async with home.client("kitchen", clean_session=False) as kitchen:
        await kitchen.subscribe("due", 1)
    async with home.client() as button:
        for n in range(100):
            await button.publish("due", str(n), 1)
    async with home.client("kitchen", clean_session=False) as kitchen:
        async with asyncio.timeout(20):
            messages = aiter(kitchen.messages)
            told = [await anext(messages) for _ in range(100)]
        assert [(m.payload.decode(), m.retain) for m in told] == [(str(n), False) for n in range(100)]
        assert await nothing_more(kitchen)


async def test_a_device_that_wants_no_lasting_session_is_told_nothing_of_the_past(home):
    async with home.client("kitchen") as kitchen:
        await kitchen.subscribe("due", 1)
    async with home.client() as button:
        await button.publish("due", "tea", 1)
    async with home.client("kitchen") as kitchen:
        assert await nothing_more(kitchen)


async def test_all_that_a_device_sent_is_passed_on_in_order_though_it_leaves_at_once(home):
    async with home.client() as kitchen:
        await kitchen.subscribe("request", 1)
        async with home.raw() as button:
            await button.send(b"".join(publish("request", str(n), n + 1) for n in range(200)) + b"\xe0\x00")
            while await button.read():
                pass
        assert [t for _, t in await heard(kitchen, 200)] == [str(n) for n in range(200)]


async def test_of_a_burst_nothing_is_lost_while_others_come_and_go(home):
    async with home.client("daemon", clean_session=False) as daemon:
        await daemon.subscribe("request", 1)

        async def device(n: int) -> None:
            async with home.client() as client:
                await client.subscribe(f"reply/{n}", 1)
                for i in range(10):
                    await client.publish("request", f"{n}.{i}", 1)
                await client.unsubscribe(f"reply/{n}")

        async with asyncio.TaskGroup() as tasks:
            for n in range(20):
                tasks.create_task(device(n))
            came = await heard(daemon, 200)
        assert sorted(t for _, t in came) == sorted(f"{n}.{i}" for n in range(20) for i in range(10))


async def test_what_was_not_acknowledged_is_sent_again_over_the_next_connection(home):
    async with home.raw("daemon", clean=False) as daemon:
        assert await daemon.read() == b"\x20\x02\x00\x00"
        await daemon.subscribe("request")
        async with home.client() as button:
            await button.publish("request", "tea", 1)
        first = await daemon.read()
        assert first[0] == 0x32 and first.endswith(b"tea")
    async with home.raw("daemon", clean=False) as daemon:
        assert await daemon.read() == b"\x20\x02\x01\x00"  # the session is there
        again = await daemon.read()
        assert again == bytes([0x3A]) + first[1:]  # with DUP, and the same id
        await daemon.send(packet(0x40, again[11:13]))
        await daemon.send(b"\xc0\x00")
        assert await daemon.read() == b"\xd0\x00"
    async with home.raw("daemon", clean=False) as daemon:
        await daemon.read()
        await daemon.send(b"\xc0\x00")
        assert await daemon.read() == b"\xd0\x00"


async def test_no_more_is_sent_than_a_device_is_able_to_acknowledge_in_time(home):
    async with home.raw("slow") as slow:
        await slow.read()
        await slow.subscribe("request")
        async with home.client() as button:
            for n in range(50):
                await button.publish("request", str(n), 1)
            got = [await slow.read() for _ in range(amqtt_broker.MOST_IN_FLIGHT)]
            await slow.send(b"\xc0\x00")
            assert await slow.read() == b"\xd0\x00"
            for n in range(amqtt_broker.MOST_IN_FLIGHT, 50):
                await slow.send(packet(0x40, got[n - amqtt_broker.MOST_IN_FLIGHT][11:13]))
                got.append(await slow.read())
    assert [p[13:].decode() for p in got] == [str(n) for n in range(50)]


# Last words

async def test_when_a_device_is_gone_without_a_word_its_last_will_is_published(home):
    async with home.client() as kitchen:
        await kitchen.subscribe("status", 1)
        async with home.raw("daemon", will="status") as daemon:
            await daemon.read()
        assert await heard(kitchen) == [("status", "gone")]


async def test_who_says_goodbye_has_no_last_will(home):
    async with home.client() as kitchen:
        await kitchen.subscribe("status", 1)
        async with home.client(will=aiomqtt.Will("status", "gone", 1)):
            pass
        assert await nothing_more(kitchen)


async def test_who_says_nothing_for_one_and_a_half_times_what_it_promised_is_gone(home):
    async with home.client() as kitchen:
        await kitchen.subscribe("status", 1)
        async with home.raw("daemon", keep_alive=1, will="status") as daemon:
            await daemon.read()
            assert await heard(kitchen) == [("status", "gone")]
            assert await daemon.read() == b""


@pytest.mark.parametrize("topic", ["a/#", "a/+/b", "$SYS/x", "", "a\0", "x" * 257, b"\xff"], ids=["a wildcard", "another", "the broker's own", "none", "a zero", "a long one", "no text"])
async def test_who_publishes_where_nobody_may_is_hung_up_on_and_forgotten(home, topic):
    async with home.client() as kitchen:
        await kitchen.subscribe("status", 1)
        async with home.raw("daemon", will="status") as daemon:
            await daemon.read()
            await daemon.send(publish(topic, "tea"))
            while await daemon.read():
                pass
        assert await heard(kitchen) == [("status", "gone")]


async def test_a_device_that_does_not_read_is_disconnected_and_the_others_are_told(home, monkeypatch, caplog):
    monkeypatch.setattr(amqtt_broker, "UNREAD_SECONDS", 0.5)
    told, hears = asyncio.Event(), logging.Handler()
    hears.emit = lambda record: told.set()
    monkeypatch.setattr(amqtt_broker.log, "handlers", [hears])
    async with home.client() as kitchen, home.client() as button:
        await kitchen.subscribe("due", 0)
        async with home.raw("deaf") as deaf:
            await deaf.read()
            await deaf.subscribe("due", 0)
            much = "x" * 2**20
            for n in range(12):
                await button.publish("due", f"{n} {much}", 1)
            assert [t.split()[0] for _, t in await heard(kitchen, 12)] == [str(n) for n in range(12)]
            async with asyncio.timeout(20):
                await told.wait()
    assert caplog.text.count("does not read") == 1


async def test_a_device_that_comes_back_takes_the_place_of_its_former_connection(home):
    async with home.raw("kitchen", clean=False) as former:
        await former.read()
        await former.subscribe("due")
        async with home.client("kitchen", clean_session=False) as kitchen:
            assert await former.read() == b""
            await kitchen.publish("due", "tea", 1)
            assert await heard(kitchen) == [("due", "tea")]


# Who is let in

async def test_with_a_password_nobody_is_let_in_without_it(monkeypatch, caplog):
    monkeypatch.setattr(broker, "WRONG_SECONDS", 0.0)
    async with running("home", "secret") as home:
        for how in ({}, {"username": "home"}, {"username": "home", "password": "Secret"}, {"username": "me", "password": "secret"}):
            with pytest.raises(MqttConnectError):
                async with home.client(**how):
                    pass
        assert "give it the user and password of [mqtt]" in caplog.text and "Secret" not in caplog.text
        async with home.client(username="home", password="secret") as client:
            assert await nothing_more(client)


async def test_a_stranger_under_the_name_of_a_device_harms_neither_its_session_nor_its_connection(monkeypatch):
    monkeypatch.setattr(broker, "WRONG_SECONDS", 0.0)
    known = {"username": "home", "password": "secret"}
    async with running("home", "secret") as home, home.client("kitchen", clean_session=False, **known) as kitchen:
        await kitchen.subscribe("due", 1)
        for clean in (True, False):
            assert await home.says(connect("kitchen", clean, user="home", password="guess")) == b"\x20\x02\x00\x05"
        async with home.client(**known) as button:
            await button.publish("due", "tea", 1)
        assert await heard(kitchen) == [("due", "tea")]


async def test_mqtt_5_is_told_so_in_its_own_words_and_3_1_in_its():
    async with running() as home:
        with pytest.raises(MqttConnectError, match="[Uu]nsupported protocol version"):
            async with home.client(protocol=ProtocolVersion.V5):
                pass
        assert await home.says(connect("old", level=3)) == b"\x20\x02\x00\x01"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="HTTP"),
        pytest.param(packet(0x30, text("a")), id="another packet"),
        pytest.param(b"\x10\xff\xff\xff\xff\xff", id="a length without end"),
        pytest.param(b"\x10\xff\xff\xff\x7f", id="a packet without end"),
        pytest.param(packet(0x10, text("MQTT")), id="half a CONNECT"),
        pytest.param(packet(0x10, text("AMQP") + b"\x04\x02\x00\x00" + text("me")), id="another protocol"),
        pytest.param(packet(0x10, b""), id="an empty CONNECT"),
        pytest.param(connect("x" * 129), id="too long a name"),
        pytest.param(connect("a\nb"), id="a name of two lines"),
        pytest.param(packet(0x10, text("MQTT") + b"\x04\x02\x00\x00" + text(b"\xff")), id="a name that is no text"),
    ],
)
async def test_what_is_no_mqtt_is_hung_up_on_in_one_line(home, sent, caplog):
    assert await home.says(sent, end=True) == b""
    assert [r.levelname for r in caplog.records if r.name.startswith("assistant")] == ["WARNING"]
    async with home.client() as client:
        assert await nothing_more(client)


async def test_a_packet_of_more_than_the_largest_recording_ends_its_connection(home):
    async with home.raw() as big:
        await big.read()
        await big.send(b"\x30\xff\xff\xff\x7f")
        assert await big.read() == b""


async def test_the_largest_recording_passes(home):
    async with home.client() as kitchen, home.client() as button:
        await kitchen.subscribe("audio", 1)
        sound = bytes(8 * 2**20)
        await button.publish("audio", sound, 1)
        async with asyncio.timeout(20):
            assert (await anext(aiter(kitchen.messages))).payload == sound


async def test_who_does_not_say_who_it_is_is_hung_up_on(home, monkeypatch):
    monkeypatch.setattr(broker, "CONNECT_SECONDS", 0.05)
    assert await home.says(b"\x10") == b""


async def test_of_more_devices_than_there_is_room_for_the_last_is_refused(home, monkeypatch):
    monkeypatch.setattr(amqtt_broker, "MOST_SESSIONS", 1)
    async with home.client("one", clean_session=False):
        pass
    assert await home.says(connect("two")) == b"\x20\x02\x00\x03"
    async with home.client("one", clean_session=False) as one:
        assert await nothing_more(one)


async def test_what_is_retained_and_kept_has_a_bound(home, monkeypatch):
    monkeypatch.setattr(amqtt_broker, "MOST_RETAINED", 2)
    monkeypatch.setattr(amqtt_broker, "MOST_QUEUED", 3)
    async with home.client("kitchen", clean_session=False) as kitchen:
        await kitchen.subscribe("due", 1)
    async with home.client() as button:
        for n in range(5):
            await button.publish(f"retained/{n}", "x", 1, retain=True)
            await button.publish("due", str(n), 1)
        await button.publish("retained/1", "y", 1, retain=True)
        async with home.client() as other:
            await other.subscribe("retained/+", 1)
            assert sorted(await heard(other, 2)) == [("retained/0", "x"), ("retained/1", "y")] and await nothing_more(other)
    async with home.client("kitchen", clean_session=False) as kitchen:
        assert [t for _, t in await heard(kitchen, 3)] == ["0", "1", "2"] and await nothing_more(kitchen)


# Its packets

def test_a_connect_is_read_with_all_that_it_may_hold():
    sent = connect("kitchen", False, 30, user="me", password="secret", will="status")
    assert read_connect(sent) == Connect("kitchen", b"me", b"secret", 30)
    assert read_connect(connect("")) == Connect("", b"", b"", 0)
    with pytest.raises(OtherVersion, match="5"):
        read_connect(connect("kitchen", level=5))


def test_no_connect_that_is_cut_short_is_read():
    sent = connect("kitchen", False, 30, user="me", password="secret", will="status")
    for end in range(2, len(sent)):
        with pytest.raises(BadPacket):
            read_connect(sent[:end])


@pytest.mark.parametrize("sent", [packet(0x36, text("a") + b"\0\1x"), packet(0x32, text("a") + b"\0\0x"), packet(0x32, text("a"))], ids=["a third quality", "the id 0", "no id"])
def test_a_message_has_a_quality_and_an_id_that_there_is(sent):
    with pytest.raises(BadPacket):
        check_publish(sent)


# As a part of the daemon

def settings(**mqtt) -> Mqtt:
    return load(environ={}, mqtt={"enabled": True, "broker": "embedded"} | mqtt).mqtt


@pytest.mark.parametrize(
    ("mqtt", "says"),
    [
        pytest.param({"broker_host": "0.0.0.0"}, "could be reached by other machines: set user and password", id="all addresses without a password"),
        pytest.param({"broker_host": "192.168.1.5", "user": "home"}, "set user and password", id="the network with a user alone"),
        pytest.param({"user": "home"}, "both user and password", id="a user without a password"),
        pytest.param({"broker_port": 1884}, 'url must be "mqtt://localhost:1884"', id="an address elsewhere"),
        pytest.param({"url": "mqtts://localhost"}, 'url must be "mqtt://localhost:1883"', id="TLS"),
        pytest.param({"broker": "builtin"}, "embedded", id="a name that is none"),
    ],
)
def test_settings_that_would_let_anybody_in_or_nobody_are_refused(mqtt, says):
    with pytest.raises(ConfigError, match=says):
        settings(**mqtt)


async def test_a_port_that_is_taken_is_told_and_keeps_nobody_from_starting(caplog):
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        async with broker.embedded(settings(broker_port=port, url=f"mqtt://localhost:{port}")):
            pass
    assert f"Port {port} of 127.0.0.1 is taken by another program: stop that, or set another with [mqtt] broker_port." in caplog.text


async def test_without_being_asked_for_it_is_not_there(caplog):
    caplog.set_level(logging.INFO)
    async with broker.embedded(Mqtt(enabled=True)), broker.embedded(Mqtt(broker="embedded")):
        assert caplog.text == ""


async def test_that_it_fails_is_told_and_ends_nothing_else(caplog):
    async with running() as home, home.raw() as client:
        await client.read()
        home.inside._broadcast_task.cancel()
        assert await client.read() == b""
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR" and r.name.startswith("assistant")] == [
        "the embedded broker has failed: start the assistant again, or use another broker ([mqtt] url)"
    ]
