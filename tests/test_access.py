"""Who is let in to the model service, how often, and what every answer says to browsers."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from assistant.access import FAILURES_A_MINUTE, SECURITY_HEADERS, Access, address_of
from assistant.errors import NoKey, Refused, TooManyRequests
from assistant.guard import KEY_NAME
from assistant.keys import KeyFile, Keys
from tests.services import CALL, serving
from tests.test_rate import Seconds


class Wire:
    """A transport that knows whom it speaks to."""

    def __init__(self, peer: str) -> None:
        self.peer = peer

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self.peer, 4711) if name == "peername" else default


@pytest.fixture
def file(tmp_path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def key(file) -> str:
    return file.add("laptop")[0]


@pytest.fixture
async def service(file, key):
    """With a key."""
    async with serving(file.path) as client:
        yield client


async def code(response) -> str:
    answer = await response.json()
    assert answer["error"]["message"].endswith(".")
    return answer["error"]["code"]


# Without keys

async def test_without_keys_it_answers_this_machine(file):
    async with serving(file.path, requests_a_minute=1) as client:
        for _ in range(20):
            assert (await client.predict()).status == 200, "without limit"


@pytest.mark.parametrize(("headers", "says"), [
    ({"Host": "evil.example"}, "Host"),
    ({"Origin": "http://evil.example"}, "origin"),
    ({"X_Forwarded_For": "203.0.113.7"}, "keys add"),
    ({"X_Real_IP": "203.0.113.7"}, "keys add"),
    ({"Forwarded": "for=203.0.113.7"}, "keys add"),
    ({"Via": "1.1 nginx"}, "keys add"),
], ids=["a bent name", "a page of another origin", "through nginx", "through another", "through a proxy", "through a gateway"])
async def test_without_keys_nobody_else_is_answered(file, headers, says):
    async with serving(file.path) as client:
        for response in (await client.predict(**headers), await client("GET", "/health", **headers)):
            assert (response.status, await code(response)) == (403, "refused")
            assert says in (await response.json())["error"]["message"]


async def test_with_the_first_key_it_asks_for_one_without_a_restart(file):
    async with serving(file.path) as client:
        assert (await client.predict()).status == 200
        key, _ = file.add("laptop")
        assert (await client.predict()).status == 401
        assert (await client.predict(key)).status == 200


# With keys

@pytest.mark.parametrize(("method", "path"), [
    ("POST", "/predict"), ("POST", "/convert"), ("GET", "/openapi.json"), ("GET", "/nothing"), ("POST", "/health"),
    ("OPTIONS", "/predict"), ("GET", "/health/x"), ("GET", "/"),
])
async def test_with_keys_whoever_has_none_learns_nothing_but_that(service, method, path):
    response = await service(method, path)
    assert (response.status, await code(response)) == (401, "no_key")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert service.rewriter.heard == []


@pytest.mark.parametrize("sent", [
    "", "Bearer", "Bearer ", "Bearer wrong", "Basic {key}", "{key}", "Bearer {key}x", "Bearer x{key}",
    "Bearer {key} {key}", "Bearer,{key}", "Bearer \udcff",
], ids=ascii)
async def test_what_is_not_quite_a_key_is_none(service, key, sent):
    async with service.session.get("/openapi.json", headers={"Authorization": sent.format(key=key)}) as response:
        assert (response.status, await code(response)) == (401, "no_key")


@pytest.mark.parametrize("sent", ["Bearer {key}", "bearer {key}", "BEARER  {key}"])
async def test_a_key_is_let_in_however_the_word_before_it_is_written(service, key, sent):
    async with service.session.get("/openapi.json", headers={"Authorization": sent.format(key=key)}) as response:
        assert response.status == 200


async def test_with_a_key_the_name_by_which_it_is_reached_does_not_matter(service, key):
    response = await service.predict(key, Host="reminders.example.org", X_Forwarded_For="203.0.113.7")
    assert response.status == 200 and (await response.json())["rewrite"] == "call mum | tomorrow 17:00"
    assert (await service("GET", "/nothing", key=key)).status == 404


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_how_it_is_needs_no_key(service, path):
    assert (await service("GET", path, X_Forwarded_For="203.0.113.7")).status == 200
    assert (await service("HEAD", path)).status == 200


async def test_figures_need_no_key_on_this_machine_alone(service, key):
    assert (await service("GET", "/metrics")).status == 200
    for header in ("X_Forwarded_For", "X_Real_IP", "Forwarded", "Via"):
        assert (await service("GET", "/metrics", **{header: "127.0.0.1"})).status == 401
    assert (await service("GET", "/metrics", key=key, X_Forwarded_For="203.0.113.7")).status == 200


async def test_a_key_is_rotated_without_an_outage(service, file, key):
    new, _ = file.add("laptop", rotate=True)
    assert (await service.predict(key)).status == (await service.predict(new)).status == 200
    file.remove("laptop", old=True)
    assert (await service.predict(key)).status == 401
    assert (await service.predict(new)).status == 200


async def test_a_key_that_is_taken_away_is_refused_at_once(service, file, key):
    assert (await service.predict(key)).status == 200
    file.remove("laptop")
    assert (await service.predict(key)).status == 401


# How often

async def test_more_than_a_minutes_worth_of_texts_is_refused_and_says_when_to_come_again(file, key):
    async with serving(file.path, requests_a_minute=3) as client:
        assert [(await client.predict(key)).status for _ in range(4)] == [200, 200, 200, 429]
        refused = await client.predict(key)
        assert await code(refused) == "too_many_requests" and 1 <= int(refused.headers["Retry-After"]) <= 20
        phone, _ = file.add("phone")
        assert (await client.predict(phone)).status == 200, "that is another key's"
        assert (await client("GET", "/health")).status == 200


async def test_a_list_of_texts_costs_as_many_as_it_has(file, key):
    async with serving(file.path, requests_a_minute=5) as client:
        assert (await client("POST", "/predict", {"texts": [CALL] * 4}, key)).status == 200
        assert (await client.predict(key)).status == 200
        assert (await client.predict(key)).status == 429


async def test_a_name_with_two_keys_has_one_bucket(file, key):
    new, _ = file.add("laptop", rotate=True)
    async with serving(file.path, requests_a_minute=2) as client:
        assert [(await client.predict(k)).status for k in (key, new, key)] == [200, 200, 429]


async def test_whoever_guesses_keys_is_told_to_stay_away_and_locks_nobody_out(service, key):
    for _ in range(FAILURES_A_MINUTE):
        assert (await service.predict("ra_guess", X_Forwarded_For="203.0.113.7")).status == 401
    refused = await service.predict("ra_guess", X_Forwarded_For="203.0.113.7")
    assert refused.status == 429 and int(refused.headers["Retry-After"]) == 3
    assert "from this address" in (await refused.json())["error"]["message"]
    assert (await service.predict("ra_guess", X_Forwarded_For="203.0.113.8")).status == 401
    assert (await service.predict("ra_guess", X_Forwarded_For="203.0.113.8, 203.0.113.7")).status == 429, "the last is true"
    assert (await service.predict(key, X_Forwarded_For="203.0.113.7")).status == 200, "somebody else behind that address"


async def test_a_guesser_is_heard_again_after_a_while(file, key):
    clock = Seconds()
    access = Access(Keys(file), 600, clock)

    async def guess(sent: str) -> str:
        async def handler(request):
            return request[KEY_NAME]

        return await access.middleware(make_mocked_request("GET", "/x", {"Authorization": f"Bearer {sent}"}), handler)

    for _ in range(FAILURES_A_MINUTE):
        with pytest.raises(NoKey):
            await guess("wrong")
    with pytest.raises(TooManyRequests):
        await guess("wrong")
    assert await guess(key) == "laptop"
    clock.at += 3
    with pytest.raises(NoKey):
        await guess("wrong")


@pytest.mark.parametrize(("peer", "told", "address"), [
    ("127.0.0.1", [], "127.0.0.1"),
    ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
    ("127.0.0.1", ["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
    ("127.0.0.1", ["203.0.113.9", "203.0.113.7"], "203.0.113.7"),
    ("127.0.0.1", ["nonsense"], "127.0.0.1"),
    ("127.0.0.1", [""], "127.0.0.1"),
    ("::1", ["203.0.113.7"], "203.0.113.7"),
    ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
    ("198.51.100.1", ["203.0.113.7"], "198.51.100.1"),
    ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
    ("::1", ["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
    ("::ffff:198.51.100.1", [], "198.51.100.1"),
    ("fe80::1%eth0", [], "fe80::/64"),
    ("", [], "unknown"),
], ids=lambda v: str(v) or "nobody")
def test_an_address_is_believed_of_a_proxy_on_this_machine_alone(peer, told, address):
    headers = CIMultiDict(("X-Forwarded-For", value) for value in told)
    assert address_of(make_mocked_request("GET", "/", headers, transport=Wire(peer))) == address


@pytest.mark.parametrize(("peer", "lets_in"), [("127.0.0.1", True), ("198.51.100.1", False)])
async def test_figures_are_for_a_peer_on_this_machine(file, key, peer, lets_in):
    async def handler(request):
        return "figures"

    request = make_mocked_request("GET", "/metrics", transport=Wire(peer))
    if lets_in:
        assert await Access(Keys(file), 600).middleware(request, handler) == "figures"
    else:
        with pytest.raises(NoKey):
            await Access(Keys(file), 600).middleware(request, handler)


# What every answer says

@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/health", 200), ("GET", "/nothing", 404), ("DELETE", "/predict", 405), ("POST", "/predict", 400),
])
async def test_every_answer_has_the_security_headers_and_names_no_version(service, key, method, path, status):
    response = await service(method, path, key=key)
    assert response.status == status
    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert response.headers.getall("Server") == ["assistant"]
    assert "Strict-Transport-Security" not in response.headers


async def test_what_is_refused_has_them_too(service):
    response = await service.predict()
    assert response.status == 401 and response.headers["Cache-Control"] == "no-store"


async def test_whoever_came_by_https_is_to_come_so_again(service):
    response = await service("GET", "/health", X_Forwarded_Proto="https")
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in (await service("GET", "/health", X_Forwarded_Proto="http")).headers


async def test_without_keys_what_is_no_request_of_this_machine_raises_before_anything_is_done(file):
    async def handler(request):
        raise AssertionError("it was let in")

    with pytest.raises(Refused):
        await Access(Keys(file), 600).middleware(make_mocked_request("GET", "/", {"Host": "evil.example"}), handler)
