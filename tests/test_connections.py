"""Connections to the model service: how many, from where, and how long one may be silent."""

import asyncio
import errno

import pytest
from aiohttp import web

from assistant import connections
from tests.services import serving


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The status line of a request on a connection."""
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await reader.readexactly(length)
    return head.partition(b"\r\n")[0]


async def test_more_connections_than_it_keeps_are_told_so_and_the_others_go_on(tmp_path):
    async with serving(tmp_path / "keys.json") as client:
        client.service.connections._most = 2
        host, port = client.session._base_url.host, client.session._base_url.port
        first, second, third = [await asyncio.open_connection(host, port) for _ in range(3)]
        assert await ask(*first) == await ask(*second) == b"HTTP/1.1 200 OK"
        async with asyncio.timeout(10):
            told = await third[0].read()
        assert told.startswith(b"HTTP/1.1 503 ") and b"Too many connections" in told and b"Retry-After: 1" in told
        first[1].close()
        await first[1].wait_closed()
        async with asyncio.timeout(10):
            while True:  # until the service has noticed
                fourth = await asyncio.open_connection(host, port)
                try:
                    assert await ask(*fourth) == b"HTTP/1.1 200 OK"
                    break
                except (AssertionError, ValueError):
                    fourth[1].close()
        for _, writer in (second, third, fourth):
            writer.close()


class Peer(asyncio.Transport):
    """The transport of a connection from somewhere."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1)})
        self.told = b""

    def write(self, data):
        self.told += data

    def write_eof(self):
        pass

    def set_protocol(self, protocol):
        pass

    def is_closing(self):
        return False

    def close(self):
        pass

    def abort(self):
        pass


async def test_one_address_may_not_take_all_connections(tmp_path):
    async with serving(tmp_path / "keys.json") as client:
        reasons: list[str] = []
        door = connections.Connections(reasons.append, most=100, most_of_one=2)
        server = web.Server(client.service.health)
        addresses = ["203.0.113.7", "203.0.113.7", "203.0.113.7", "2001:db8::1", "2001:db8::2", "2001:db8::3", "127.0.0.1",
                     "127.0.0.1", "127.0.0.1"]
        peers = [Peer(address) for address in addresses]
        for peer in peers:
            door.let_in(server, peer)
        assert [bool(peer.told) for peer in peers] == [False, False, True] * 2 + [False] * 3
        assert reasons == ["connections"] * 2
        await server.shutdown(0.01)


async def test_one_that_is_turned_away_and_has_gone_away_is_closed(tmp_path, monkeypatch):
    class Gone(Peer):
        closed = asyncio.Event()

        def write_eof(self):
            raise OSError(errno.ENOTCONN, "not connected")

        def abort(self):
            self.closed.set()

    monkeypatch.setattr(connections, "READ_SECONDS", 0)
    door = connections.Connections(most=0)
    door.let_in(web.Server(lambda request: None), Gone("203.0.113.7"))
    async with asyncio.timeout(10):
        await Gone.closed.wait()


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: loc"], ids=["nothing", "half a header"])
async def test_a_connection_that_does_not_come_to_the_point_is_closed(tmp_path, monkeypatch, sent):
    monkeypatch.setattr(connections, "FIRST_SECONDS", 0.05)
    async with serving(tmp_path / "keys.json") as client:
        url = client.session._base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(sent)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        assert (await client("GET", "/health")).status == 200


