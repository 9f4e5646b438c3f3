"""The shipped model in process: it loads, answers, refuses and survives."""

import asyncio
import json
from pathlib import Path

import pytest

from assistant import local
from assistant.errors import Busy, ModelError, ModelMissing, Unreadable
from assistant.grammar import automaton
from assistant.local import Abandoned, LlamaModel, LlamaRewriter, confidence, model_file
from assistant.words import align, normalise, words
from tests.held import HeldModels

MODEL = Path(__file__).parent.parent / "models" / "small"
EAT = "remind me to eat tomorrow"


@pytest.fixture
async def rewriter():
    async with LlamaRewriter(MODEL) as loaded:
        yield loaded


@pytest.fixture
def held(monkeypatch):
    with HeldModels(monkeypatch) as held:
        yield held


async def test_a_request_becomes_a_task_and_a_time(rewriter):
    rewrite = await rewriter.rewrite("hey can you remind me to call mum tomorrow at like five ish")
    assert rewrite.text == "call mum | tomorrow 5:00?"
    assert rewrite.model == "small"
    assert 0.3 < rewrite.confidence <= 1
    assert rewrite.ms > 0


async def test_many_requests_at_once_get_each_its_own_answer(rewriter):
    names = ["mum", "dad", "sam", "priya", "zbigniew", "the bank"]
    answers = await asyncio.gather(*(rewriter.rewrite(f"remind me to call {n} tomorrow") for n in names))
    assert [a.text for a in answers] == [f"call {n} | tomorrow" for n in names]


async def test_a_full_queue_says_so_and_loses_nothing_that_waits():
    async with LlamaRewriter(MODEL, queue=2) as rewriter:
        answers = await asyncio.gather(
            *(rewriter.rewrite("remind me to eat tomorrow") for _ in range(8)), return_exceptions=True
        )
        assert [type(a).__name__ for a in answers] == ["Rewrite"] * 3 + ["Busy"] * 5
        assert isinstance(answers[-1], Busy)
        assert (await rewriter.rewrite("remind me to eat tomorrow")).text == "eat | tomorrow"


# Several contexts, and work that is abandoned

@pytest.fixture(scope="module")
def loaded():
    model = LlamaModel(model_file(MODEL))
    yield model
    model.close()


def all_(*texts: str, of: LlamaRewriter) -> list[asyncio.Task]:
    return [asyncio.create_task(of.rewrite(text)) for text in texts]


async def test_parallel_contexts_give_the_same_answers_as_one(loaded):
    texts = [f"{ask} {what} {when}"
             for ask in ("remind me to", "hey um can you")
             for what in ("call mum", "take the bins out", "buy milk and eggs")
             for when in ("tomorrow at like five ish", "every thursday at 7 am", "in half an hour")]
    async with LlamaRewriter(MODEL, contexts=3) as rewriter:
        answers = await asyncio.gather(*all_(*texts, of=rewriter))
    assert [(a.text, a.confidence) for a in answers] == [loaded.write(text) for text in texts]


async def test_as_many_requests_as_contexts_are_worked_on_at_once_and_the_rest_waits_its_turn(held):
    texts = [f"remind me to call {name} tomorrow" for name in ("mum", "dad", "sam", "priya", "kim")]
    async with LlamaRewriter(MODEL, contexts=2, queue=3) as rewriter:
        asked = all_(*texts, of=rewriter)
        assert await asyncio.to_thread(held.wait_begun, 2) == set(texts[:2])
        assert (rewriter.in_flight, rewriter.waiting) == (2, 3)
        with pytest.raises(Busy):
            await rewriter.rewrite(EAT)
        held.go_on.set()
        assert [a.text for a in await asyncio.gather(*asked)] == [
            f"call {name} | tomorrow" for name in ("mum", "dad", "sam", "priya", "kim")]
        assert (rewriter.in_flight, rewriter.waiting) == (0, 0)
        assert held.begun.get() == texts[2], "first come, first served"


async def test_a_cancelled_request_that_waits_is_never_begun_and_leaves_its_place_at_once(held):
    async with LlamaRewriter(MODEL, queue=1) as rewriter:
        first, waits = all_("remind me to eat tomorrow", "remind me to sleep tomorrow", of=rewriter)
        await asyncio.to_thread(held.wait_begun)
        waits.cancel()
        await asyncio.wait([waits])
        assert waits.cancelled() and (rewriter.in_flight, rewriter.waiting) == (1, 0)
        [other] = all_("remind me to run tomorrow", of=rewriter)
        held.go_on.set()
        assert [a.text for a in await asyncio.gather(first, other)] == ["eat | tomorrow", "run | tomorrow"]
    assert held.ended == [("remind me to eat tomorrow", "written"), ("remind me to run tomorrow", "written")]


async def test_a_cancelled_request_under_way_stops_and_only_then_its_context_takes_the_next(held):
    async with LlamaRewriter(MODEL, queue=1) as rewriter:
        first, other = all_("remind me to eat tomorrow", "remind me to run tomorrow", of=rewriter)
        await asyncio.to_thread(held.wait_begun)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled() and (rewriter.in_flight, rewriter.waiting) == (1, 1)
        with pytest.raises(Busy):
            await rewriter.rewrite(EAT)
        held.go_on.set()
        assert (await other).text == "run | tomorrow"
        assert rewriter.in_flight == 0
    assert held.ended == [("remind me to eat tomorrow", "abandoned"), ("remind me to run tomorrow", "written")]


@pytest.mark.parametrize("tokens", [0, 1, 4])
def test_what_is_abandoned_stops_before_its_next_token_and_leaves_no_trace(loaded, monkeypatch, tokens):
    text = "remind me to call mum tomorrow at 5 pm"
    evaluated, evaluate = [], loaded._llm.eval
    monkeypatch.setattr(loaded._llm, "eval", lambda waiting: evaluated.append(1) or evaluate(waiting))
    with pytest.raises(Abandoned):
        loaded.write(text, lambda: len(evaluated) == tokens)
    assert len(evaluated) == tokens
    assert loaded.write("remind me to eat tomorrow") == loaded.write("remind me to eat tomorrow")
    assert loaded.write(text)[0] == "call mum | tomorrow 17:00"


async def test_of_64_requests_at_once_each_gets_its_own_answer_though_every_third_is_cancelled():
    times = [f"{hour}:{minute}" for hour in range(4, 12) for minute in range(10, 58, 6)]
    async with LlamaRewriter(MODEL, contexts=2, queue=62) as rewriter:
        asked = all_(*(f"wake me up at {time} am tomorrow" for time in times), of=rewriter)
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        for task in asked[::3]:
            task.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        told = {time: a.text for time, a in zip(times, answers) if not isinstance(a, asyncio.CancelledError)}
        assert 64 * 2 // 3 <= len(told) < 64
        assert told == {time: f"wake up | tomorrow {time.rjust(5, '0')}" for time in told}
        assert (rewriter.in_flight, rewriter.waiting) == (0, 0)


async def test_leaving_answers_what_was_asked_for_before(held):
    async with LlamaRewriter(MODEL, contexts=2) as rewriter:
        asked = all_(*[EAT] * 5, of=rewriter)
        await asyncio.to_thread(held.wait_begun, 2)
        asyncio.get_running_loop().call_soon(held.go_on.set)
    assert {(await a).text for a in asked} == {"eat | tomorrow"}


async def test_contexts_that_were_loaded_are_freed_when_one_cannot_be(monkeypatch):
    made, closed = [], []

    class Scarce(LlamaModel):
        def __init__(self, *args):
            if len(made) == 2:
                raise ModelError("There is no room for it.")
            super().__init__(*args)
            made.append(self)

        def close(self):
            super().close()
            closed.append(self)

    monkeypatch.setattr(local, "LlamaModel", Scarce)
    with pytest.raises(ModelError, match="no room"):
        async with LlamaRewriter(MODEL, contexts=3):
            pass
    assert len(made) == 2 and set(closed) == set(made)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("🎂" * 500, id="five hundred emoji"),
        pytest.param("a " * 249, id="hundreds of short words"),
        pytest.param("x" * 500, id="one word of five hundred letters"),
        pytest.param("1234567890" * 50, id="a number without end"),
        pytest.param("'; DROP TABLE reminders; -- <script>alert(1)</script> $(rm -rf /)", id="code"),
        pytest.param("<bos> <eos> | /cancel all > in 1 minute", id="our own signs"),
        pytest.param("ذكرني غدا في الخامسة 明天提醒我 напомни", id="other scripts"),
    ],
)
async def test_the_strangest_text_gets_a_rewrite_in_its_own_words_or_a_clear_error(rewriter, text):
    text = normalise(text)
    try:
        rewrite = await rewriter.rewrite(text)
    except Unreadable as e:
        assert str(e).endswith(".")
    else:
        assert automaton("rewrite").accepts(rewrite.text.replace("\n", " \n ").split(" "))
        for line in rewrite.text.split("\n"):
            if not line.startswith(("/", "|")):
                assert align(line.split(" |")[0], words(text)) is not None


async def test_the_same_request_gets_the_same_answer(rewriter):
    text = "wake me up at six thirty on friday"
    assert (await rewriter.rewrite(text)).text == (await rewriter.rewrite(text)).text


async def test_a_missing_model_is_named_with_what_to_do(tmp_path):
    with pytest.raises(ModelMissing, match="restore the models folder"):
        async with LlamaRewriter(tmp_path / "nowhere"):
            pass


@pytest.mark.parametrize("manifest", ["", "{}", "[]", '{"file": "gone.gguf"}'])
async def test_a_broken_manifest_is_a_missing_model(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ModelMissing):
        model_file(tmp_path)


async def test_a_file_that_is_no_model_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(model_file(MODEL).read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        async with LlamaRewriter(tmp_path / "broken.gguf"):
            pass


def test_the_manifest_is_true_of_the_file_that_ships():
    import hashlib

    manifest = json.loads((MODEL / "manifest.json").read_text())
    file = model_file(MODEL)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == manifest["sha256"]
    assert file.stat().st_size == manifest["bytes"] <= 20_000_000


@pytest.mark.parametrize(
    ("written", "choices", "sure"),
    [
        pytest.param("call mum | tomorrow 17:00", [(0, 0.1), (1, 0.2), (2, 0.3)], 0.9, id="words of the task and the bar"),
        pytest.param("call mum | tomorrow 17:00", [(3, 0.5), (4, 0.4)], 0.9 * 0.2, id="the time"),
        pytest.param("call mum | tomorrow 17:00", [(5, 0.5)], 0.45, id="that it ends here"),
        pytest.param("call mum |", [(1, 0.5), (3, 0.5)], 0.45, id="that no time was said"),
        pytest.param("a | noon \n b | 5:00?", [(3, 0.5), (4, 0.1), (6, 0.5)], 0.9 * 0.25, id="that another follows, and its time"),
        pytest.param("/cancel alarm | today", [(0, 0.5), (1, 0.1), (3, 0.5)], 0.9 * 0.25, id="which command, and its range"),
        pytest.param("/move run > 5:00?", [(1, 0.1), (3, 0.5)], 0.45, id="the new time"),
    ],
)
def test_confidence_counts_kind_and_times_and_not_the_words_of_a_task(written, choices, sure):
    assert confidence(written.replace("\\n", "\n").split(" "), 0.9, choices) == pytest.approx(sure)
