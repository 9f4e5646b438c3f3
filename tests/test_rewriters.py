"""Which models a daemon asks, by its settings, and what becomes of a model that cannot be loaded."""

import pytest

from assistant.config import Config, load
from assistant.errors import ConfigError, ModelError, NotFound
from assistant.fallback import FallbackRewriter
from assistant.reload import Reloaded
from assistant.rewriters import COME_BACK_SECONDS, Rewriters, rewriters_of
from tests.fakes import ScriptedRewriter, Ticks

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("remote", "asked"),
    [
        pytest.param({}, ["local"], id="nothing is said"),
        pytest.param({"url": URL}, ["local", "remote"], id="an address"),
        pytest.param({"url": URL, "order": ["remote", "local"]}, ["remote", "local"], id="the other first"),
        pytest.param({"url": URL, "order": ["local"]}, ["local"], id="the model here alone"),
        pytest.param({"url": URL, "order": ["remote"]}, ["remote"], id="the other alone"),
        pytest.param({"order": ["remote", "local"]}, ["local"], id="no address"),
    ],
)
def test_the_settings_say_who_is_asked_in_which_order(remote, asked):
    found = rewriters_of(Config(remote=remote))
    assert list(found.rewriter._sources) == asked
    assert (found.local is not None, found.remote is not None) == ("local" in asked, "remote" in asked)


def test_api_base_url_is_the_address_unless_the_setting_itself_is_there():
    assert load(environ={"API_BASE_URL": URL}).remote.url == URL
    assert load(environ={"API_BASE_URL": URL, "ASSISTANT_REMOTE__URL": "https://other"}).remote.url == "https://other"


def test_an_empty_api_base_url_says_nothing(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(f'[remote]\nurl = "{URL}"\n')
    assert load(file, environ={"API_BASE_URL": ""}).remote.url == URL


@pytest.mark.parametrize("name", ["API_BASE_URL", "ASSISTANT_REMOTE__URL"])
def test_a_wrong_address_is_told_by_the_name_of_the_variable_that_holds_it(name):
    with pytest.raises(ConfigError, match=f"In {name}: remote.url cannot be 'me'"):
        load(environ={name: "me"})


@pytest.mark.parametrize(
    ("remote", "says"),
    [
        pytest.param({"url": "reminders.example.org"}, "http or https address", id="no scheme"),
        pytest.param({"url": "ftp://x"}, "http or https address", id="another scheme"),
        pytest.param({"order": ["local", "local"]}, "twice", id="one twice"),
        pytest.param({"order": ["remote"]}, "url is empty", id="the other alone without an address"),
        pytest.param({"order": []}, "local", id="nobody"),
        pytest.param({"api": "opnai"}, "openai", id="an interface misspelt"),
    ],
)
def test_settings_that_cannot_be_are_told_with_what_would_be_right(remote, says):
    with pytest.raises(ConfigError, match=says):
        load(environ={}, remote=remote)


class Broken(ScriptedRewriter):
    """A local model that cannot be loaded until it is `whole`."""

    name, sha256, whole = "small", "0" * 64, False

    async def __aenter__(self):
        if not self.whole:
            raise ModelError("The model is damaged: copy it again.")
        return self

    async def reload(self):
        return Reloaded(self.name, self.sha256, False, None)

    async def watch(self, sleep):
        await sleep(0)


@pytest.fixture
async def half():
    """The model here cannot be loaded, the other is there."""
    local = Broken()
    rewriters = Rewriters(FallbackRewriter({"local": local, "remote": ScriptedRewriter()}), local, None)
    async with rewriters.rewriter:
        yield rewriters


async def test_a_model_here_that_cannot_be_loaded_is_tried_again_now_and_then(half):
    from asyncio import create_task, gather

    ticks = Ticks()
    watching = create_task(half.watch(ticks.sleep))
    assert await ticks.tick_on() == COME_BACK_SECONDS
    assert half.loaded is None
    assert await ticks.tick_on() == COME_BACK_SECONDS
    half.local.whole = True
    assert await ticks.tick_on() == 0  # now its pointer is watched
    assert half.loaded is half.local
    watching.cancel()
    await gather(watching, return_exceptions=True)


async def test_a_reload_tries_it_as_well_and_says_why_it_cannot_be(half):
    with pytest.raises(ModelError, match="damaged"):
        await half.reload()
    half.local.whole = True
    assert (await half.reload()).changed
    assert not (await half.reload()).changed


async def test_where_no_model_runs_here_there_is_none_to_reload():
    with pytest.raises(NotFound, match="order"):
        await rewriters_of(Config(remote={"url": URL, "order": ["remote"]})).reload()
