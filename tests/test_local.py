"""The shipped model in process: it loads, answers, refuses and survives."""

import asyncio
import json
from pathlib import Path

import pytest

from assistant.errors import Busy, ModelError, ModelMissing, Unreadable
from assistant.grammar import automaton
from assistant.local import LlamaRewriter, confidence, model_file
from assistant.words import align, normalise, words

MODEL = Path(__file__).parent.parent / "models" / "small"


@pytest.fixture
async def rewriter():
    async with LlamaRewriter(MODEL) as loaded:
        yield loaded


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
