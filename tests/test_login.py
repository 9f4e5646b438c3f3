"""Who is let in where other machines may reach the daemon, over real sockets, and what every answer says to browsers."""

import json
import os
import re
import subprocess
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from assistant.client import Daemon as Caller
from assistant.config import Config
from assistant.errors import ConfigError
from assistant.headers import HEADERS
from assistant.http import Service, listening
from assistant.listen import open_socket
from assistant.login import COOKIE_SECONDS, FAILURES_A_MINUTE, Login, scheme_of
from assistant.login_commands import urls
from assistant.login_page import POLICY
from assistant.login_token import LoginToken
from assistant.pipeline import Pipeline
from assistant.sections import Data, Http
from assistant.store import Store
from assistant.when import Policy
from tests import browser as browser_tests
from tests.fakes import ScriptedRewriter, StandingClock
from tests.process import ASSISTANT, Daemon
from tests.test_access import Wire
from tests.test_pipeline import WEDNESDAY
from tests.test_rate import Seconds

LAN = "192.168.1.5:8765"
"""As a phone at home names it."""
BODY = {"text": "remind me to call mum in 2 hours"}


class Browser:
    """Speaks to the service, and keeps its cookie itself, so that a test may bend whatever it sends."""

    def __init__(self, session: aiohttp.ClientSession, token: LoginToken, clock: StandingClock, seconds: Seconds) -> None:
        self.session, self.token, self.clock, self.seconds = session, token, clock, seconds

    async def __call__(
        self, method: str, path: str, body: object = None, bearer: str = "", cookie: str = "", **headers: str
    ) -> aiohttp.ClientResponse:
        """The answer, read; `X_Forwarded_Proto="..."` is a header."""
        given = {"Host": LAN} | {name.replace("_", "-"): value for name, value in headers.items()}
        given |= {"Authorization": f"Bearer {bearer}"} if bearer else {}
        given |= {"Cookie": cookie} if cookie else {}
        async with self.session.request(method, path, json=body, headers=given) as response:
            await response.read()
            return response

    async def log_in(self, **headers: str) -> str:
        """The cookie."""
        answer = await self("POST", "/login", {"token": self.token.read()}, **headers)
        assert answer.status == 200
        return answer.headers["Set-Cookie"].partition(";")[0]


@asynccontextmanager
async def serving(folder: Path, clock: StandingClock, seconds: Seconds, names=("laptop.local",), guarded: bool = True):
    token = LoginToken(folder)
    token.make()
    login = Login(token, names, clock, seconds) if guarded else None
    rewriter = ScriptedRewriter({BODY["text"]: "call mum | in 2 hours"})
    with Store.open(folder / "reminders.db") as store, open_socket("127.0.0.1", 0) as sock:
        pipeline = Pipeline(rewriter, store, Policy(), ZoneInfo("Europe/London"), clock, 0.0, lambda: None)
        async with (
            listening(Service(pipeline, login=login), sock) as url,
            aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            yield Browser(session, token, clock, seconds)


@pytest.fixture
async def browser(tmp_path):
    async with serving(tmp_path, StandingClock(WEDNESDAY), Seconds()) as one:
        yield one


async def code(answer: aiohttp.ClientResponse) -> str:
    error = (await answer.json())["error"]
    assert error["message"].endswith(".")
    return error["code"]


# Who gets in: what is sent, in the place of {token} and {cookie} the right ones -> status

ORIGIN = f"http://{LAN}"
READS = {
    "nothing": ({}, 401),
    "the token": ({"bearer": "{token}"}, 200),
    "the token, and another scheme's name": ({"Authorization": "bearer {token}"}, 200),
    "the token as a password": ({"Authorization": "Basic {token}"}, 401),
    "half the token": ({"bearer": "{half}"}, 401),
    "the token twice": ({"bearer": "{token}{token}"}, 401),
    "an empty token": ({"Authorization": "Bearer "}, 401),
    "a token that is no text": ({"Authorization": "Bearer \udcff\udcfe"}, 401),
    "the cookie": ({"cookie": "{cookie}"}, 200),
    "the cookie under another name": ({"cookie": "login={value}"}, 401),
    "the cookie, its date put off": ({"cookie": "{name}=9{value}"}, 401),
    "a cookie of a date alone": ({"cookie": "{name}=99999999999."}, 401),
    "a cookie of nothing": ({"cookie": "{name}="}, 401),
    "a cookie of strange digits": ({"cookie": "{name}=١٢.abc"}, 401),
    "the token as a cookie": ({"cookie": "{name}={token}"}, 401),
    "the cookie as a token": ({"bearer": "{value}"}, 401),
    "the cookie, a name of ours": ({"cookie": "{cookie}", "Host": "Laptop.local:8765"}, 200),
    "the cookie, this machine's name": ({"cookie": "{cookie}", "Host": "localhost:8765"}, 200),
    "the cookie, an address of IPv6": ({"cookie": "{cookie}", "Host": "[fd00::5]:8765"}, 200),
    "this machine, without either": ({"Host": "127.0.0.1:8765"}, 401),
    "the token, a name that was bent": ({"bearer": "{token}", "Host": "evil.example:8765"}, 403),
    "the cookie, a name that was bent": ({"cookie": "{cookie}", "Host": "laptop.local.evil.example:8765"}, 403),
    "the token, no Host": ({"bearer": "{token}", "Host": ""}, 403),
    "the token, a Host with a person in it": ({"bearer": "{token}", "Host": "evil@192.168.1.5:8765"}, 403),
    "the cookie, a page of another origin": ({"cookie": "{cookie}", "Origin": "http://evil.example"}, 403),
    "the cookie, a page of another port": ({"cookie": "{cookie}", "Origin": "http://192.168.1.5:9999"}, 403),
    "the token, a page of another origin": ({"bearer": "{token}", "Origin": "http://evil.example"}, 403),
    "the cookie, a page of no origin": ({"cookie": "{cookie}", "Origin": "null"}, 403),
    "the cookie, a page of our own": ({"cookie": "{cookie}", "Origin": ORIGIN}, 200),
}
"""GET /reminders"""
WRITES = {
    "the token": ({"bearer": "{token}"}, 200),
    "the token and our own page": ({"bearer": "{token}", "Origin": ORIGIN}, 200),
    "the token and another page": ({"bearer": "{token}", "Origin": "http://evil.example"}, 403),
    "the cookie and our own page": ({"cookie": "{cookie}", "Origin": ORIGIN}, 200),
    "the cookie and no page": ({"cookie": "{cookie}"}, 403),
    "the cookie and a page by TLS": ({"cookie": "{cookie}", "Origin": f"https://{LAN}"}, 403),
    "the cookie and our own page through a proxy that speaks TLS": (
        {"cookie": "{cookie}", "Origin": f"https://{LAN}", "X_Forwarded_Proto": "https"}, 200),
    "the cookie and a plain page through such a proxy": (
        {"cookie": "{cookie}", "Origin": ORIGIN, "X_Forwarded_Proto": "https"}, 403),
    "nothing": ({}, 401),
    "nothing, from our own page": ({"Origin": ORIGIN}, 401),
}
"""POST /requests, and every other method that changes something."""


async def filled(browser: Browser, sent: dict[str, str]) -> dict[str, str]:
    cookie, token = await browser.log_in(), browser.token.read()
    name, _, value = cookie.partition("=")
    places = {"{token}": token, "{half}": token[:20], "{cookie}": cookie, "{name}": name, "{value}": value}
    return {key: re.sub(r"\{\w+\}", lambda m: places[m[0]], text) for key, text in sent.items()}


@pytest.mark.parametrize(("sent", "status"), READS.values(), ids=READS)
async def test_reading_takes_the_token_or_a_cookie_at_a_name_of_ours(browser, sent, status):
    answer = await browser("GET", "/reminders", **await filled(browser, sent))
    assert answer.status == status
    assert answer.headers.get("WWW-Authenticate") == ('Bearer realm="assistant"' if status == 401 else None)
    if status != 200:
        assert await code(answer) == {401: "not_logged_in", 403: "refused"}[status]


@pytest.mark.parametrize(("sent", "status"), WRITES.values(), ids=WRITES)
async def test_changing_by_a_cookie_takes_a_page_of_our_own_as_well(browser, sent, status):
    answer = await browser("POST", "/requests", BODY, **await filled(browser, sent))
    assert answer.status == status
    reminders = await browser("GET", "/reminders", bearer=browser.token.read())
    assert len((await reminders.json())["reminders"]) == (status == 200), "and what was refused has done nothing"


async def test_no_route_is_open_without_a_login(browser):
    for method, path in [("GET", "/reminders/1"), ("DELETE", "/reminders/1"), ("POST", "/reminders/1/done"),
                         ("POST", "/undo"), ("POST", "/predict"), ("GET", "/corrections"), ("GET", "/health"),
                         ("GET", "/metrics"), ("GET", "/nothing"), ("POST", "/"), ("PUT", "/login"), ("GET", "/login/")]:
        answer = await browser(method, path, {} if method == "POST" else None)
        assert answer.status in (401, 405), path


# Logging in

async def test_a_browser_is_logged_in_by_a_cookie_that_scripts_and_other_pages_do_not_get(browser):
    answer = await browser("POST", "/login", {"token": browser.token.read()}, Origin=ORIGIN)
    [cookie] = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", "")
    assert int(cookie["max-age"]) == COOKIE_SECONDS
    assert browser.token.read() not in answer.headers["Set-Cookie"]


async def test_through_tls_the_cookie_is_for_tls_alone(browser):
    answer = await browser("POST", "/login", {"token": browser.token.read()}, X_Forwarded_Proto="https")
    assert "; Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(("peer", "scheme"), [("127.0.0.1", "https"), ("::1", "https"), ("192.168.1.9", "http"), (None, "http")])
def test_only_a_proxy_on_this_machine_is_believed_that_it_speaks_tls(peer, scheme):
    request = make_mocked_request("GET", "/", {"X-Forwarded-Proto": "https"}, transport=Wire(peer))
    assert scheme_of(request) == scheme


async def test_the_page_asks_for_the_token_without_a_secret_in_it(browser):
    answer = await browser("GET", "/")
    html = await answer.text()
    assert (answer.status, answer.content_type) == (401, "text/html")
    assert "<form" in html and browser.token.read() not in html
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY and not re.search(r"\son\w+=|style=", html), "nothing that the policy would stop"
    assert (await (await browser("GET", "/login")).json()) == {"logged_in": False}
    assert (await (await browser("GET", "/login", cookie=await browser.log_in())).json()) == {"logged_in": True}


async def test_a_login_outlives_a_restart_and_ends_after_its_time(tmp_path):
    clock = StandingClock(WEDNESDAY)
    async with serving(tmp_path, clock, Seconds()) as browser:
        cookie = await browser.log_in()
    async with serving(tmp_path, clock, Seconds()) as browser:
        clock.pass_by(seconds=COOKIE_SECONDS - 1)
        assert (await browser("GET", "/health", cookie=cookie)).status == 200
        clock.pass_by(seconds=1)
        assert (await browser("GET", "/health", cookie=cookie)).status == 401


async def test_a_new_token_ends_every_login_without_a_restart(browser, tmp_path):
    cookie, old = await browser.log_in(), browser.token.read()
    new = LoginToken(tmp_path).make(new=True)
    assert (await browser("GET", "/health", cookie=cookie)).status == 401
    assert (await browser("GET", "/health", bearer=old)).status == 401
    assert (await browser("GET", "/health", bearer=new)).status == 200


@pytest.mark.parametrize("loss", [Path.unlink, lambda path: path.write_bytes(b"\xff\xfe"), lambda path: path.write_text("")],
                         ids=["is lost", "is broken", "is empty"])
async def test_a_token_whose_file_is_lost_stays_in_force_and_lets_nobody_else_in(browser, loss):
    token, cookie = browser.token.read(), await browser.log_in()
    loss(browser.token.path)
    assert (await browser("GET", "/health", bearer=token)).status == 200
    assert (await browser("GET", "/health", cookie=cookie)).status == 200
    assert (await browser("POST", "/login", {"token": ""})).status == 401


# Wrong tokens

@pytest.mark.parametrize("way", ["by a page", "by a program"])
async def test_who_sends_wrong_tokens_is_told_to_stay_away_for_a_while(browser, way):
    async def wrong() -> aiohttp.ClientResponse:
        if way == "by a page":
            return await browser("POST", "/login", {"token": "guess"})
        return await browser("GET", "/reminders", bearer="guess")

    assert {(await wrong()).status for _ in range(FAILURES_A_MINUTE)} == {401}
    locked = await wrong()
    assert (locked.status, await code(locked)) == (429, "too_many_requests")
    assert int(locked.headers["Retry-After"]) > 0
    assert (await browser("GET", "/reminders", bearer=browser.token.read())).status == 200, "the owner, from there too"
    browser.seconds.at += 61
    assert (await wrong()).status == 401


async def test_an_old_cookie_is_no_wrong_token(browser):
    for _ in range(FAILURES_A_MINUTE + 5):
        assert (await browser("GET", "/reminders", cookie="assistant-8765=1.abc")).status == 401


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 5}', b'{"token": null}', b'{"token": "x", "more": "y"}'],
                         ids=["nothing", "a list", "a number", "null", "more than a token"])
async def test_what_is_no_login_is_refused(browser, body):
    async with browser.session.post("/login", data=body, headers={"Host": LAN}) as answer:
        assert (answer.status, await code(answer)) == (400, "bad_request")


# Every answer

@pytest.mark.parametrize("guarded", [True, False], ids=["with logins", "on this machine alone"])
async def test_every_answer_has_the_headers_that_browsers_heed(tmp_path, guarded):
    async with serving(tmp_path, StandingClock(WEDNESDAY), Seconds(), guarded=guarded) as browser:
        bearer = browser.token.read()
        for method, path, host in [("GET", "/health", LAN), ("GET", "/health", "localhost"), ("GET", "/nothing", "localhost"),
                                   ("POST", "/requests", "localhost"), ("GET", "/metrics", "localhost")]:
            answer = await browser(method, path, bearer=bearer, Host=host)
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, path


async def test_on_this_machine_alone_nobody_is_asked_for_a_token(tmp_path):
    async with serving(tmp_path, StandingClock(WEDNESDAY), Seconds(), guarded=False) as browser:
        assert (await browser("POST", "/requests", BODY, Host="localhost")).status == 200
        assert (await browser("GET", "/health")).status == 403


@pytest.mark.parametrize("header", ["X_Forwarded_For", "X_Real_IP", "Forwarded", "Via"])
async def test_on_this_machine_alone_nobody_comes_through_a_proxy(tmp_path, header):
    async with serving(tmp_path, StandingClock(WEDNESDAY), Seconds(), guarded=False) as browser:
        assert await code(await browser("GET", "/reminders", Host="localhost", **{header: "192.0.2.7"})) == "refused"


# The settings, the file and the command

NEEDED = {
    "this machine": ({}, False), "its name": ({"host": "localhost"}, False), "IPv6": ({"host": "::1"}, False),
    "all addresses": ({"host": "0.0.0.0"}, True), "one address": ({"host": "192.168.1.5"}, True),
    "a name of the machine": ({"host": "laptop"}, True), "a proxy on this machine": ({"names": ("laptop.local",)}, True),
}


@pytest.mark.parametrize(("http", "needed"), NEEDED.values(), ids=NEEDED)
def test_a_login_is_needed_wherever_others_may_reach_it(tmp_path, http, needed):
    config = Config(http=Http(**http), data=Data(dir=str(tmp_path)))
    assert (Login.of(config) is not None) is (tmp_path / "login-token").exists() is needed


def test_the_token_is_made_once_and_is_its_owners_alone(tmp_path):
    token = LoginToken(tmp_path / "new")
    assert token.read() is None
    assert token.make() == token.make() == LoginToken(tmp_path / "new").read() != token.make(new=True)
    assert len(token.read()) >= 43 and token.path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_have_it_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="make its folder writable"):
        LoginToken(tmp_path / "file").make()


def test_the_address_of_this_machine_has_no_token():
    assert urls(Http()) == ["http://127.0.0.1:8765/"]


@pytest.mark.parametrize(("http", "found"), [
    pytest.param({"host": "192.168.1.5"}, ["http://192.168.1.5:8765/"], id="an address"),
    pytest.param({"host": "fd00::5", "port": 80}, ["http://[fd00::5]:80/"], id="one of IPv6"),
    pytest.param({"host": "192.168.1.5", "names": ("laptop.local",)},
                 ["http://laptop.local:8765/", "http://192.168.1.5:8765/"], id="a name as well"),
    pytest.param({"names": ("home.example.org",)}, ["https://home.example.org/"], id="a proxy that speaks TLS"),
])  # fmt: skip
def test_the_addresses_for_others_are_those_that_they_can_reach(http, found):
    assert urls(Http(**http)) == found


def test_on_all_addresses_the_one_of_this_machine_is_shown():
    assert [re.fullmatch(r"http://\d+\.\d+\.\d+\.\d+:8765/", url) is not None for url in urls(Http(host="0.0.0.0"))] in ([True], [])


def test_address_prints_the_token_and_makes_a_new_one(tmp_path):
    env = os.environ | {"ASSISTANT_DATA__DIR": str(tmp_path), "ASSISTANT_HTTP__HOST": "192.168.1.5"}

    def address(*options: str) -> str:
        return subprocess.run([*ASSISTANT, "address", *options], env=env, capture_output=True, text=True, timeout=60).stdout

    assert address() == f"http://192.168.1.5:8765/#token={(first := LoginToken(tmp_path).read())}\n"
    told = json.loads(address("--new", "--json"))
    assert told["token"] == LoginToken(tmp_path).read() != first
    assert told["addresses"] == [f"http://192.168.1.5:8765/#token={told['token']}"]


# A daemon that others may reach

@pytest.fixture(scope="module")
def reached(model, tmp_path_factory):
    """As through a proxy: by its own address, and by the name laptop.localhost, which a browser knows for this machine."""
    with Daemon(tmp_path_factory.mktemp("data"), env={"ASSISTANT_HTTP__NAMES": "laptop.localhost"}) as daemon:
        yield daemon


def test_the_commands_reach_a_daemon_that_wants_a_login_and_strangers_do_not(reached):
    assert reached.call("GET", "/health")[0] == 401
    http = Http(port=int(reached.url.rpartition(":")[2]), names=("laptop.localhost",))
    config = Config(http=http, data=Data(dir=str(reached.data)))
    assert Caller.of(config).call("GET", "/health")["status"] == "ok"
    token = LoginToken(reached.data).read()
    assert not [line for line in reached.lines if token in line], "it stands in no log"
    assert token not in repr(Caller.of(config))


@browser_tests.wanted
def test_a_browser_comes_in_by_the_address_by_the_token_and_by_a_link_from_elsewhere(reached):
    from playwright.sync_api import expect

    token, port = LoginToken(reached.data).read(), reached.url.rpartition(":")[2]
    url = f"http://laptop.localhost:{port}/"
    with browser_tests.browser() as chromium:
        context = chromium.new_context()
        context.set_default_timeout(15_000)
        page, complaints = context.new_page(), []
        page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(f"{url}#token=wrong")
        expect(page.get_by_role("alert")).to_contain_text("wants its login token")
        assert browser_tests.serious(page) == []
        page.get_by_label("Token").fill(f" {token} ")
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_title("Reminders")
        expect(page.locator("#link")).to_contain_text("Live")
        page.goto(f"data:text/html,<a href='{url}'>to the page</a>")
        page.get_by_role("link").click()
        expect(page).to_have_title("Reminders")
        context.clear_cookies()
        page = context.new_page()
        page.goto(f"{url}#token={token}")
        expect(page).to_have_title("Reminders")
        assert page.url == url, "the token is in no history"
        assert page.evaluate("document.cookie") == "" and complaints == []
