"""Several models, each the next one's fallback."""

import asyncio
import logging

import pytest

from assistant.errors import (
    Busy,
    CircuitOpen,
    ModelError,
    ModelMissing,
    NobodyAnswers,
    RemoteAway,
    RemoteBusy,
    Unfaithful,
    Unreadable,
)
from assistant.fallback import AGAIN_SECONDS, FallbackRewriter
from assistant.messages import Rewrite
from tests.fakes import ScriptedRewriter, Ticks
from tests.test_breaker import Clock

URL = "https://model.example"
AWAY = RemoteAway(URL, "no answer within 5 s")


class Source(ScriptedRewriter):
    """A `ScriptedRewriter` that tells whether it is in use, and may fail to load."""

    def __init__(self, name: str) -> None:
        super().__init__({"eat": "eat |"})
        self.name, self.entered, self.hung = name, 0, False
        self.missing: Exception | None = None
        self.asked = asyncio.Event()

    async def __aenter__(self):
        if self.missing:
            raise self.missing
        self.entered += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.entered -= 1

    async def rewrite(self, text: str) -> Rewrite:
        self.asked.set()
        if self.hung:
            await asyncio.Event().wait()
        return await super().rewrite(text)


@pytest.fixture
def local() -> Source:
    return Source("small")


@pytest.fixture
def remote() -> Source:
    return Source("remote:small")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def rewriter(local, remote, clock):
    async with FallbackRewriter({"local": local, "remote": remote}, clock) as rewriter:
        yield rewriter


def told(caplog) -> list[tuple[str, str]]:
    return [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "assistant.fallback"]


async def test_the_first_that_answers_is_taken_and_the_next_not_asked(rewriter, remote):
    rewrite = await rewriter.rewrite("eat")
    assert (rewrite.text, rewrite.model, rewrite.skipped) == ("eat |", "small", ())
    assert remote.heard == [] and rewriter.answered == {"local": 1} and not rewriter.failed


@pytest.mark.parametrize("error", [Busy(), ModelError("It is broken."), AWAY, RemoteBusy(URL, 3), CircuitOpen(URL, 9)], ids=lambda e: e.code)
async def test_where_one_cannot_the_next_does_and_the_answer_says_why(rewriter, local, error):
    local.broken = error
    rewrite = await rewriter.rewrite("eat")
    assert (rewrite.model, rewrite.skipped) == ("remote:small", (f"local: {error}",))
    assert rewriter.answered == {"remote": 1} and rewriter.failed == {("local", error.code): 1}


async def test_where_nobody_can_it_says_so_with_every_reason_and_when_to_come_back(rewriter, local, remote):
    local.broken, remote.broken = Busy(), CircuitOpen(URL, 20)
    with pytest.raises(NobodyAnswers) as nobody:
        await rewriter.rewrite("eat")
    assert nobody.value.why == (f"local: {local.broken}", f"remote: {remote.broken}")
    assert nobody.value.retry_after == 1


async def test_where_nobody_knows_for_how_long_nothing_is_promised(rewriter, local, remote):
    local.broken, remote.broken = ModelError("It is broken."), AWAY
    with pytest.raises(NobodyAnswers) as nobody:
        await rewriter.rewrite("eat")
    assert nobody.value.retry_after is None


async def test_what_one_cannot_read_another_may(rewriter, local):
    local.broken = Unreadable()
    rewrite = await rewriter.rewrite("eat")
    assert rewrite.model == "remote:small" and rewrite.skipped[0].startswith("local: I could not make sense")


@pytest.mark.parametrize("other", [Unreadable(), AWAY], ids=["nor can the other", "and the other is away"])
async def test_what_nobody_can_read_is_the_person_s_to_say_in_other_words(rewriter, local, remote, other):
    local.broken, remote.broken = Unreadable(), other
    with pytest.raises(Unreadable):
        await rewriter.rewrite("eat")
    assert rewriter.failed[("local", "unreadable")] == 1 and rewriter.failed.total() == 2


@pytest.mark.parametrize(
    ("here", "raised"), [(Unfaithful(URL, "x"), Unreadable), (Busy(), NobodyAnswers), (Unreadable(), Unreadable)],
    ids=["nor the other", "and the other may yet", "and the other cannot read it"],
)
async def test_what_a_model_answers_with_something_else_is_the_person_s_if_no_other_may_do_better(
    rewriter, local, remote, here, raised
):
    local.broken, remote.broken = here, Unfaithful(URL, "it wrote a word that was not said")
    with pytest.raises(raised):
        await rewriter.rewrite("eat")


async def test_a_model_that_is_not_there_does_not_count_as_one_that_may_do_better(local, remote):
    local.missing, remote.broken = ModelMissing("nowhere"), Unfaithful(URL, "it wrote a word that was not said")
    async with FallbackRewriter({"local": local, "remote": remote}) as rewriter:
        with pytest.raises(Unreadable):
            await rewriter.rewrite("eat")


async def test_a_bug_in_one_is_not_covered_up_by_the_next(rewriter, local):
    local.broken = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await rewriter.rewrite("eat")


async def test_a_request_that_is_cancelled_is_not_given_to_the_next(rewriter, local, remote):
    local.hung = True
    asked = asyncio.create_task(rewriter.rewrite("eat"))
    async with asyncio.timeout(10):
        await local.asked.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert remote.heard == [] and not rewriter.failed


async def test_the_log_tells_when_one_begins_to_fail_and_when_it_is_back_and_nothing_between(rewriter, local, caplog):
    caplog.set_level(logging.INFO)
    local.broken = AWAY
    await rewriter.rewrite("eat")
    local.broken = CircuitOpen(URL, 30)
    for _ in range(5):
        await rewriter.rewrite("eat")
    local.broken = None
    await rewriter.rewrite("eat")
    await rewriter.rewrite("eat")
    assert told(caplog) == [
        ("WARNING", f"the local model does not answer: {AWAY}"),
        ("INFO", "the remote model answers in its place"),
        ("INFO", "the local model answers again"),
    ]
    assert caplog.records[-1].requests_without == 6


async def test_that_one_is_busy_is_counted_and_not_logged(rewriter, local, caplog):
    local.broken = Busy()
    await rewriter.rewrite("eat")
    assert told(caplog) == [] and rewriter.failed == {("local", "busy"): 1}


# Entering

async def test_all_are_entered_and_left(local, remote):
    async with FallbackRewriter({"local": local, "remote": remote}) as rewriter:
        assert (local.entered, remote.entered) == (1, 1) and rewriter.name == "small"
    assert (local.entered, remote.entered) == (0, 0)


async def test_without_a_model_here_it_starts_if_there_is_another(local, remote, caplog):
    local.missing = ModelMissing("nowhere")
    async with FallbackRewriter({"local": local, "remote": remote}) as rewriter:
        assert rewriter.name == "remote:small" and rewriter.out == {"local": local.missing}
        rewrite = await rewriter.rewrite("eat")
    assert (rewrite.model, rewrite.skipped) == ("remote:small", (f"local: {local.missing}",))
    assert told(caplog) == [("WARNING", f"without the local model: {local.missing}")]
    assert (local.entered, remote.entered) == (0, 0)


async def test_the_only_one_has_to_be_there(local):
    local.missing = ModelMissing("nowhere")
    with pytest.raises(ModelMissing):
        async with FallbackRewriter({"local": local}):
            pass


async def test_an_error_in_the_settings_of_one_ends_the_start_and_leaves_the_others(local, remote):
    remote.missing = ValueError("not a model error")
    with pytest.raises(ValueError, match="not a model"):
        async with FallbackRewriter({"local": local, "remote": remote}):
            pass
    assert local.entered == 0


async def test_one_that_was_missing_can_be_taken_back_in(local, remote, caplog):
    caplog.set_level(logging.INFO)
    local.missing = ModelMissing("nowhere")
    async with FallbackRewriter({"local": local, "remote": remote}) as rewriter:
        await rewriter.come_back()
        local.missing = ModelError("There is no room for it.")
        await rewriter.come_back()
        assert (await rewriter.rewrite("eat")).skipped == ("local: There is no room for it.",)
        local.missing = None
        await rewriter.come_back()
        assert (await rewriter.rewrite("eat")).model == "small"
        assert local.entered == 1
    assert local.entered == 0
    assert [message for _, message in told(caplog)][1:] == [
        "still without the local model: There is no room for it.",
        "the local model is there again",
    ]


async def test_one_that_was_missing_is_taken_back_in_once_however_many_ask_for_it(local, remote):
    local.missing = ModelMissing("nowhere")
    async with FallbackRewriter({"local": local, "remote": remote}) as rewriter:
        local.missing, enter, may = None, local.__class__.__aenter__, asyncio.Event()

        class Slow(Source):
            async def __aenter__(self):
                await may.wait()
                return await enter(self)

        local.__class__ = Slow
        both = [asyncio.create_task(rewriter.come_back()) for _ in range(2)]
        await asyncio.sleep(0)
        may.set()
        await asyncio.gather(*both)
        assert local.entered == 1
    assert local.entered == 0


def test_there_must_be_somebody_to_ask():
    with pytest.raises(ValueError, match="nobody to ask"):
        FallbackRewriter({})


# When it is worth trying again

async def fail_both(rewriter, local, remote, here: ModelError, there: ModelError) -> None:
    local.broken, remote.broken = here, there
    with pytest.raises(NobodyAnswers):
        await rewriter.rewrite("eat")


async def test_it_is_worth_trying_at_once_where_none_has_failed(rewriter):
    async with asyncio.timeout(10):
        await rewriter.worth_trying(sleep=no_sleep)


async def test_it_is_worth_trying_when_the_first_of_them_may_be_back(rewriter, local, remote, clock):
    await fail_both(rewriter, local, remote, ModelError("It is broken."), CircuitOpen(URL, 1.5))
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds

    await rewriter.worth_trying(sleep)
    assert sum(slept) == 1.5 < AGAIN_SECONDS and max(slept) <= 1


async def test_it_is_worth_trying_as_soon_as_one_has_answered_somebody_else(rewriter, local, remote):
    await fail_both(rewriter, local, remote, ModelError("It is broken."), CircuitOpen(URL, 1000))
    ticks = Ticks()
    waiting = asyncio.create_task(rewriter.worth_trying(ticks.sleep))
    await ticks.tick()
    assert not waiting.done()
    local.broken = None
    await rewriter.rewrite("eat")
    (await ticks._asleep.get()).set()
    async with asyncio.timeout(10):
        await waiting


async def no_sleep(seconds: float) -> None:
    raise AssertionError(f"it wanted to sleep for {seconds} s")
