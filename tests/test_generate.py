"""The missing examples are asked for, paid for once, checked, and kept: against a server that misbehaves."""

import asyncio
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import StandingClock
from tests.openrouter import MODEL, PRICES, StandIn, Turn, made
from training import coverage, generate
from training.checks import Seen, check
from training.coverage import STYLES, Coverage, Want
from training.examples import ASKED, BUILT_IN, SCHEMA, objects, prompt, sift
from training.generate import settings
from training.generator import Generator, pause, report
from training.journal import Journal
from training.labelled import Labelled, read_labelled, write_labelled
from training.openrouter import (
    CallFailed,
    NoCredits,
    NoKey,
    OpenRouter,
    UnknownModel,
    Unreachable,
    asked_to_wait,
    back_off,
)
from training.review import main as review
from training.review import read_doubts
from training.second_opinion import has_time, second_opinion

NOW = datetime(2026, 7, 1, 14, 30, tzinfo=UTC)
ROOT = Path(__file__).parent.parent
NEEDS = ("needs_time", "none")
WANT = Want(*NEEDS, "home", "typed", 4)


@pytest.fixture
async def server():
    async with StandIn() as s:
        yield s


@pytest.fixture
def only_needs_time(monkeypatch):
    """All that is wanted are reminders without a time."""
    monkeypatch.setattr(coverage, "SHARES", {NEEDS: 1.0})


class Waits(list):
    """A pause that takes no time and remembers how long it should have been."""

    async def __call__(self, seconds: float, stop: asyncio.Event) -> None:
        self.append(seconds)


@asynccontextmanager
async def generator(server: StandIn, folder: Path, *, dollars=1.0, calls=50, silence=30.0, pause=None, **more):
    """A generator on the files of a folder, with its journal and its client."""
    with Journal(folder / "journal.jsonl", dollars, calls, lambda: NOW) as journal:
        async with OpenRouter("right", server.url, silence=silence, clock=StandingClock(NOW)) as client:
            facts = {"total": 8, "per_call": 4, "random": Random(1), "pause": Waits() if pause is None else pause} | more
            yield Generator(
                client, await client.model(MODEL), lambda name: f"openrouter:{name}", journal,
                folder / "rows.jsonl", folder / "review.jsonl", folder / "heldout.jsonl", **facts,
            )  # fmt: skip


async def run(server: StandIn, folder: Path, turns: Sequence[Turn] = (), *, concurrency=1, recheck=False, **more) -> Generator:
    """One run to its end."""
    server.turns.extend(turns)
    async with generator(server, folder, **more) as g:
        async with asyncio.timeout(60):
            await g.run(concurrency, recheck)
        return g


def inputs(path: Path) -> list[str]:
    return [row.input for row in read_labelled(path)]


# What is asked


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_a_prompt_shows_without_rows_passes_the_checks_and_is_of_its_kind(name):
    row = check(Labelled(*BUILT_IN[name], "hand"))
    assert name in (row.kind, row.family)
    assert bool(second_opinion(row)) or not has_time(row) or name == "snooze"  # "more minutes" is not read by others


def test_everything_that_can_be_wanted_can_be_asked_for():
    for kind, family in coverage.SHARES:
        for style in STYLES:
            said = prompt(Want(kind, family, "pets and garden", style, 7), [], Random(1))
            assert "Write 7 new examples" in said and ASKED[family if kind == "create" else kind] in said
            assert "pets and garden" in said and STYLES[style] in said


def test_a_prompt_shows_a_few_rows_of_what_is_wanted():
    rows = [Labelled(f"buy {thing}", f"buy {thing} |", "hand") for thing in ("milk", "tea", "salt", "oats", "rice")]
    said = prompt(WANT, rows, Random(1))
    assert sum(row.input in said for row in rows) == 3
    assert BUILT_IN["needs_time"][0] not in said


def test_a_call_asks_for_structured_output_within_the_listed_price_from_a_model_that_has_it():
    async def bodies():
        async with StandIn() as s, OpenRouter("right", s.url) as client:
            model = await client.model(MODEL)
            return model.body("hi", SCHEMA, 100), (await client.model("google/gemini-old-flash")).body("hi", SCHEMA, 100)

    rich, plain = asyncio.run(bodies())
    assert rich["response_format"]["json_schema"]["schema"] == SCHEMA and rich["max_tokens"] == 100
    assert rich["provider"] == {"require_parameters": True, "max_price": {"prompt": 1.0, "completion": 4.0}}
    assert rich["reasoning"]["effort"] == "low"
    assert set(plain) == {"model", "messages", "max_tokens", "stream", "stream_options"}


def test_the_most_that_a_call_can_cost_is_never_less_than_what_it_costs():
    async def cost():
        async with StandIn() as s, OpenRouter("right", s.url) as client:
            model = await client.model(MODEL)
            return model, model.dearest("four" * 100, SCHEMA, 50)

    model, most = asyncio.run(cost())
    assert most >= 400 * model.prompt + 50 * model.completion
    assert most == pytest.approx(50 * 4e-6, abs=2000e-6)


# What comes back


EXAMPLE = st.fixed_dictionaries({"input": st.text(), "output": st.text()})


@given(st.lists(EXAMPLE, max_size=5), st.data())
def test_of_an_answer_that_breaks_off_anywhere_all_whole_examples_are_found_and_nothing_else(examples, data):
    pieces = [json.dumps(e) for e in examples]
    text = '```json\n{"examples": [' + ",\n".join(pieces) + "]}\n``` I hope that this helps."
    cut = data.draw(st.integers(0, len(text)))
    ends, at = [], len('```json\n{"examples": [')
    for piece in pieces:
        ends.append(at + len(piece))
        at += len(piece) + 2
    assert objects(text[:cut]) == examples[: sum(end <= cut for end in ends)]


@pytest.mark.parametrize(
    "text",
    [
        '{"examples": [%s, %s]}', '[%s, %s]', '%s\n%s\n', '```json\n{"examples": [%s, %s]}\n```', 'Sure! {} [%s and %s',
        '{"examples": [%s, {"input": "c", "outp, %s', '{"thought": {"a": [1]}, "examples": [%s, %s], "b": 1}',
        '{"examples": [%s, %s',
    ],
)  # fmt: skip
def test_examples_are_found_whatever_stands_around_them(text):
    one, two = {"input": "a", "output": "a |"}, {"input": "b", "output": "b |"}
    assert objects(text % (json.dumps(one), json.dumps(two))) == [one, two]


@pytest.mark.parametrize("text", ["", "I cannot do that.", "{" * 5000, '{"a":' * 5000, "null", '{"examples": 3}'])
def test_an_answer_without_examples_has_none(text):
    assert objects(text) == []


def sifted(*pairs: tuple[object, object], want: Want = WANT, seen: Seen | None = None):
    text = json.dumps({"examples": [{"input": i, "output": o} for i, o in pairs]})
    return sift(text, want, "openrouter:m", seen or Seen())


def test_a_good_example_is_kept_with_where_it_came_from_and_who_agreed():
    want = Want("create", "clock time in digits", "family", "polite", 1)
    assert sifted(("call mum tomorrow at 5 pm", "call mum | tomorrow 17:00"), want=want).kept == [
        Labelled("call mum tomorrow at 5 pm", "call mum | tomorrow 17:00", "openrouter:m", "", "family", "polite", "recognizers")
    ]


@pytest.mark.parametrize(
    ("said", "written", "why"),
    [
        ("call mum tomorrow at 5 pm", "call mum | tomorrow 05:00", "no parser reads the same time"),
        ("call mum tomorrow at 5 pm", "call mum | tomorrow", "no parser reads the same time"),
        ("call mum tomorrow", "call mum |", "recognizers reads a time"),
        ("call mum", "/cancel mum", "asked for needs_time, not cancel"),
    ],
)
def test_what_is_doubtful_is_put_aside_with_the_reason_and_not_kept(said, written, why):
    got = sifted((said, written))
    assert (got.kept, [w for _, w in got.doubted]) == ([], [why])


def test_a_time_that_is_missing_where_one_was_wanted_is_doubtful():
    want = Want("create", "clock time in words", "family", "polite", 1)
    assert [w for _, w in sifted(("call mum", "call mum |"), want=want).doubted] == ["asked for create, not needs_time"]


def test_what_cannot_be_trained_on_is_refused_and_counted_by_reason():
    got = sifted(("call mum", "ring mum |"), ("call dad", "ring dad |"), (3, "x"), ("call jo", None), ("a b", "a b |"))
    assert got.refused == {"not a rewrite of this request": 2, "no input and output": 2}
    assert got.received == 5 and len(got.kept) == 1


def test_repeats_and_near_repeats_are_dropped():
    seen = Seen([Labelled("water the red plants in the hall", "", "hand")])
    got = sifted(
        ("water the red plants in the hall", "water the red plants in the hall |"), ("buy milk", "buy milk |"),
        ("Buy milk!", "buy milk |"), seen=seen,
    )  # fmt: skip
    assert [row.input for row in got.kept] == ["buy milk"]
    assert got.refused == {"nearly the same as another": 2}


def test_a_newline_that_was_escaped_twice_is_one():
    assert sifted(("feed cat wash dog", "feed cat |\\nwash dog |")).kept[0].output == "feed cat |\nwash dog |"


# A run


async def test_it_asks_until_nothing_is_missing_and_every_row_says_where_it_came_from(server, tmp_path):
    g = await run(server, tmp_path, total=60, concurrency=3)
    rows = read_labelled(tmp_path / "rows.jsonl")
    assert len(rows) == 60 and report(g)["ended"] == "done"
    assert Coverage(rows, 60).missing == dict.fromkeys(coverage.SHARES, 0)
    assert {row.source for row in rows} == {f"openrouter:{MODEL}"}
    assert all(row.domain in coverage.DOMAINS and row.style in STYLES for row in rows)
    assert all(bool(row.agreed) == has_time(row) for row in rows)
    assert g.journal.charged == pytest.approx(sum(server.billed))
    assert not (tmp_path / "review.jsonl").exists()


async def test_no_more_calls_run_at_once_than_allowed_and_as_many_do(server, tmp_path):
    server.release_at = 3
    await run(server, tmp_path, [Turn(hang=0)] * 3, total=40, concurrency=3)
    assert server.most_at_once == 3


async def test_rows_that_are_there_stay_byte_by_byte_and_count(server, tmp_path, only_needs_time):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input":"buy milk", "output":"buy milk |", "source":"hand", "mine": 1}')
    before = path.read_bytes()
    await run(server, tmp_path, total=5)
    assert path.read_bytes().startswith(before + b"\n") and len(inputs(path)) == 5
    assert '"buy milk"' in server.asked[0]["messages"][0]["content"]


async def test_what_is_like_a_held_out_request_or_one_under_review_is_refused(server, tmp_path, only_needs_time):
    held_out, reviewed = made("needs_time", 1000), made("needs_time", 2000)
    gold = {"id": "1", "text": held_out["input"], "ref": "2026-03-11T10:00", "tz": "Europe/London", "kind": "needs_time"}
    (tmp_path / "heldout.jsonl").write_text(json.dumps(gold | {"reminders": [], "ambiguous": False}))
    (tmp_path / "review.jsonl").write_text(json.dumps(reviewed | {"source": "openrouter:m", "why": "x"}) + "\n")
    g = await run(server, tmp_path, [Turn(examples=[held_out, reviewed])], total=2, per_call=2)
    assert g.tally.refused == {"nearly the same as another": 2}
    assert not {held_out["input"], reviewed["input"]} & set(inputs(tmp_path / "rows.jsonl"))


async def test_what_is_doubtful_goes_to_the_review_and_is_asked_for_again(server, tmp_path, only_needs_time):
    wrong = [{"input": "call mum tomorrow at 5 pm", "output": "call mum | tomorrow 05:00"}, {"input": "a", "output": "b |"}]
    g = await run(server, tmp_path, [Turn(examples=wrong)], total=2, per_call=2)
    assert [(d.row.input, d.why) for d in read_doubts(tmp_path / "review.jsonl")] == [
        ("call mum tomorrow at 5 pm", "no parser reads the same time")]  # fmt: skip
    assert (g.tally.received, g.tally.kept, g.tally.doubted, g.tally.refused.total()) == (4, 2, 1, 1)
    assert len(server.billed) == 2


@pytest.mark.parametrize(
    "turn",
    [Turn(form="```json\n{}\n```"), Turn(form="Here you are:\n{}\nAnything else?"), Turn(whole=True), Turn(tell_cost=False)],
    ids=["fenced", "talkative", "not streamed", "no cost told"],
)
async def test_an_answer_in_another_form_is_taken_all_the_same(server, tmp_path, only_needs_time, turn):
    g = await run(server, tmp_path, [turn], total=4, per_call=4)
    assert len(inputs(tmp_path / "rows.jsonl")) == 4
    assert g.journal.charged == pytest.approx(sum(server.billed))


@pytest.mark.parametrize(
    "turn", [Turn(cut=3), Turn(cut=3, error={"code": 502, "message": "Provider disconnected"})], ids=["dropped", "error"]
)  # fmt: skip
async def test_of_a_stream_that_breaks_off_the_whole_examples_are_kept_and_the_call_counts_in_full(server, tmp_path, only_needs_time, turn):
    g = await run(server, tmp_path, [turn], total=4, per_call=4, calls=1)
    rows = inputs(tmp_path / "rows.jsonl")
    assert rows == [e["input"] for e in server.delivered] and len(rows) == 3
    [call] = g.journal.calls.values()
    assert g.journal.charged == call.dollars >= sum(server.billed)
    assert '"whole": false' in (tmp_path / "journal.jsonl").read_text()


async def test_after_a_stream_broke_off_only_the_rest_is_asked_for(server, tmp_path, only_needs_time):
    await run(server, tmp_path, [Turn(cut=3)], total=4, per_call=4)
    assert len(server.asked) == 2 and "Write 1 new examples" in server.asked[1]["messages"][0]["content"]
    assert len(inputs(tmp_path / "rows.jsonl")) == 4


async def test_garbage_is_paid_for_counted_and_asked_for_again(server, tmp_path, only_needs_time):
    g = await run(server, tmp_path, [Turn(form="I would rather not.")], total=4, per_call=4)
    assert len(inputs(tmp_path / "rows.jsonl")) == 4
    assert g.journal.counted == 2 and g.journal.charged == pytest.approx(sum(server.billed))


async def test_a_cell_for_which_only_garbage_comes_is_given_up_with_the_budget_unspent(server, tmp_path, only_needs_time):
    g = await run(server, tmp_path, [Turn(form="no")] * 50, total=100, per_call=8)
    assert (report(g)["ended"], report(g)["given_up"]) == ("short", ["needs_time none"])
    assert len(server.asked) == coverage.GIVE_UP // 8


# Failures


async def test_after_429_it_waits_at_least_as_long_as_asked(server, tmp_path):
    waits, limited = Waits(), {"code": 429, "message": "Rate limit exceeded"}
    reset = {"X-RateLimit-Reset": str(int((NOW + timedelta(seconds=40)).timestamp() * 1000))}
    date = (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    g = await run(
        server, tmp_path,
        [
            Turn(429, {"Retry-After": "17"}, limited),
            Turn(429, {"Retry-After": date}, limited),
            Turn(429, {}, limited | {"metadata": {"headers": reset}}),
            Turn(429, {}, limited),
        ],
        total=1, pause=waits,
    )  # fmt: skip
    assert 17 <= waits[0] <= 20 and 90 <= waits[1] <= 95 and 40 <= waits[2] <= 49 and 8 <= waits[3] <= 16
    assert (g.journal.counted, report(g)["ended"]) == (1, "done")


@pytest.mark.parametrize(
    "turn",
    [
        Turn(500), Turn(503, {"Retry-After": "1"}, {"code": 503, "message": "no provider"}),
        Turn(502, {}, {"code": 502, "message": "down"}), Turn(200, {}, {"code": 429, "message": "upstream"}),
        Turn(402, {"Retry-After": "3"}, {"code": 402, "message": "in flight"}),
        Turn(cut=0, error={"code": 502, "message": "Provider returned error"}),
    ],
    ids=["500", "503", "502", "429 inside 200", "402 to be waited for", "error before any text"],
)  # fmt: skip
async def test_what_passes_is_tried_again(server, tmp_path, turn):
    waits = Waits()
    g = await run(server, tmp_path, [turn], total=1, pause=waits)
    assert len(waits) == 1 and len(inputs(tmp_path / "rows.jsonl")) == 1
    assert len(server.asked) == 2 and report(g)["ended"] == "done"


async def test_what_failed_without_cost_takes_nothing_from_the_budget(server, tmp_path):
    g = await run(server, tmp_path, [Turn(500), Turn(429)], total=1, calls=1)
    assert g.journal.counted == 1 and g.journal.charged == pytest.approx(sum(server.billed))


async def test_a_call_that_may_have_been_billed_keeps_its_reservation(server, tmp_path):
    g = await run(server, tmp_path, [Turn(504), Turn(cut=0)], total=1)
    assert g.journal.counted == 3
    assert g.journal.charged > 2 * [*g.journal.calls.values()][0].dollars


async def test_a_server_that_falls_silent_is_not_waited_for_for_ever(server, tmp_path):
    g = await run(server, tmp_path, [Turn(silent=True)], total=1, silence=0.2)
    assert len(inputs(tmp_path / "rows.jsonl")) == 1
    assert g.journal.counted == 2  # nobody knows what the first will be billed


async def test_of_a_stream_that_falls_silent_what_came_is_kept(server, tmp_path, only_needs_time):
    await run(server, tmp_path, [Turn(hang=2)], total=4, per_call=4, silence=0.3, calls=1)
    assert len(inputs(tmp_path / "rows.jsonl")) == 2


async def test_a_server_that_keeps_failing_ends_the_run_after_some_tries(server, tmp_path):
    waits = Waits()
    g = await run(server, tmp_path, [Turn(500)] * 99, total=4, pause=waits)
    assert report(g)["ended"] == "call_failed" and g.problem.exit_status == 5
    assert len(server.asked) == 6 and waits == sorted(waits) and len(waits) == 5
    assert g.journal.charged == 0


@pytest.mark.parametrize(
    ("turn", "kind", "status"),
    [
        (Turn(402, {}, {"code": 402, "message": "Insufficient credits"}), NoCredits, 2),
        (Turn(403, {}, {"code": 403, "message": "x", "metadata": {"limit_source": "openrouter_key_limit"}}), NoCredits, 2),
        (Turn(401, {}, {"code": 401, "message": "User not found."}), NoKey, 2),
        (Turn(400, {}, {"code": 400, "message": "bad schema"}), CallFailed, 5),
        (Turn(429, {"Retry-After": "86400"}, {"code": 429, "message": "daily limit"}), CallFailed, 5),
    ],
    ids=["no credits", "key limit", "bad key", "bad request", "a day's wait"],
)
async def test_what_does_not_pass_ends_the_run_with_what_there_is(server, tmp_path, only_needs_time, turn, kind, status):
    g = await run(server, tmp_path, [Turn(), turn], total=20, per_call=4)
    assert type(g.problem) is kind and g.problem.exit_status == status
    assert len(inputs(tmp_path / "rows.jsonl")) == 4 and len(server.asked) == 2
    assert g.journal.charged == pytest.approx(sum(server.billed))


async def test_calls_under_way_come_to_their_end_when_another_ends_the_run(server, tmp_path, only_needs_time):
    server.turns.extend([Turn(hang=1), Turn(402, {}, {"code": 402, "message": "Insufficient credits"})])
    async with generator(server, tmp_path, total=20) as g, asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(g.run(2))
        await g.stop.wait()
        await server.hanging.wait()
        server.release.set()
    assert len(inputs(tmp_path / "rows.jsonl")) == 4


@pytest.mark.parametrize("dollars", [0.02, 0.05, 0.08])
async def test_the_dollars_are_never_overrun_however_many_calls_run_at_once(server, tmp_path, dollars):
    g = await run(server, tmp_path, [Turn(), Turn(cut=2), Turn(504)], total=500, concurrency=8, dollars=dollars)
    assert 0 < sum(server.billed) <= g.journal.charged <= dollars
    assert report(g)["ended"] == "budget"
    assert dollars - g.journal.charged < g.model.dearest("x" * 5000, SCHEMA, 2600)  # and what there is is spent


async def test_the_calls_are_never_overrun_across_runs(server, tmp_path):
    for _ in range(2):
        g = await run(server, tmp_path, total=500, concurrency=4, calls=3)
    assert len(server.asked) == 3 and report(g)["ended"] == "budget"


def test_it_backs_off_longer_each_time_and_never_less_than_asked():
    asked = CallFailed("x", wait=7.0)
    waits = [back_off(n, asked, Random(1)) for n in range(1, 7)]
    assert waits == sorted(waits) and waits[0] >= 8 and waits[-1] <= 67


def test_a_wait_that_lies_behind_or_cannot_be_read_is_none():
    assert asked_to_wait({"Retry-After": "-3"}, NOW) == 0
    assert asked_to_wait({"retry-after": "soon"}, NOW) is None
    assert asked_to_wait({}, NOW) is None


async def test_a_pause_ends_when_the_run_is_stopped():
    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(10):
        await pause(3600, stop)


# The server, the key, the model


async def test_a_model_that_is_not_there_is_told_with_names_alike(server):
    async with OpenRouter("right", server.url) as client:
        with pytest.raises(UnknownModel, match=f"did you mean {MODEL}"):
            await client.model("google/gemini-test-flahs")


async def test_no_budget_can_be_kept_without_a_price_unless_it_is_given(server):
    server.models = [{"id": "mine"}, {"id": "auto", "pricing": PRICES | {"prompt": "-1"}}]
    async with OpenRouter("", server.url) as client:
        for name in ("mine", "auto"):
            with pytest.raises(UnknownModel, match="GEN_PRICE"):
                await client.model(name)
        model = await client.model("mine", (1.0, 4.0))
        assert (model.prompt, model.completion) == (1e-6, 4e-6)


async def test_nobody_there_is_told_as_such(unused_tcp_port):
    async with OpenRouter("right", f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(Unreachable, match="check the connection"):
            await client.model(MODEL)


def test_the_environment_wins_over_the_file(tmp_path):
    (tmp_path / ".env").write_text("OPENROUTER_API_KEY=file\nGEN_MODEL=a/b\nGEN_PRICE=1,2\n")
    s = settings({"OPENROUTER_API_KEY": "mine"}, tmp_path / ".env")
    assert (s.key, s.model, s.price, s.base) == ("mine", "a/b", (1.0, 2.0), "https://openrouter.ai/api/v1")
    assert settings({}, tmp_path / "none").model == generate.MODEL


def test_rows_of_another_server_do_not_claim_to_be_openrouters():
    assert settings({}, Path("none")).source("a/b") == "openrouter:a/b"
    assert settings({"OPENROUTER_BASE_URL": "http://localhost:8080/v1"}, Path("none")).source("m") == "localhost:8080:m"


# The command


class Command:
    """`python -m training.generate` as a process, in a folder."""

    def __init__(self, folder: Path, server: StandIn) -> None:
        self.folder, self.server = folder, server
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENROUTER_", "GEN_"))}
        self.env |= {"OPENROUTER_BASE_URL": server.url, "OPENROUTER_API_KEY": "right", "GEN_MODEL": MODEL}
        self.env |= {"PYTHONPATH": str(ROOT)}

    async def start(self, *options: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "training.generate", "--out", "rows.jsonl", "--review", "review.jsonl",
            "--journal", "journal.jsonl", "--per-call", "4", "--json", *options,
            cwd=self.folder, env=self.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, *options: str) -> tuple[int, str, str]:
        async with asyncio.timeout(120):
            process = await self.start(*options)
            out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async def told(self, process: asyncio.subprocess.Process, words: str) -> None:
        """Waits until the process says so."""
        async with asyncio.timeout(60):
            while words not in (line := (await process.stderr.readline()).decode()):
                assert line, "it has ended"

    async def heard(self, call: int, examples: int) -> None:
        """Waits until so many whole examples of a call stand in the journal."""
        path = self.folder / "journal.jsonl"
        async with asyncio.timeout(60):
            while True:
                lines = [json.loads(x) for x in path.read_text().split("\n")[:-1]] if path.exists() else []
                text = "".join(x["text"] for x in lines if x.get("part") == call)
                if len(objects(text)) >= examples:
                    return
                await asyncio.sleep(0.02)


@pytest.fixture
def command(tmp_path, server) -> Command:
    return Command(tmp_path, server)


async def test_killed_at_any_moment_it_uses_and_pays_for_each_answer_once(command, server, tmp_path):
    server.turns.extend([Turn(), Turn(hang=2), Turn(silent=True)])
    for wait in (lambda: command.heard(2, 2), server.hanging.wait):
        server.hanging.clear()
        process = await command.start("--total", "60", "--concurrency", "1")
        async with asyncio.timeout(60):
            await wait()
        process.kill()
        await process.wait()
    status, out, err = await command("--total", "60", "--concurrency", "1")
    assert status == 0, err
    delivered = [e["input"] for e in server.delivered]
    assert Counter(inputs(tmp_path / "rows.jsonl")) == Counter(delivered) and len(set(delivered)) == 60
    found = json.loads(out)
    assert found["calls"] == len(server.asked)
    assert sum(server.billed) <= found["dollars"] <= 1.0


async def test_killed_again_and_again_it_stays_within_its_budget(command, server, tmp_path):
    server.turns.extend([Turn(hang=1)] * 20)
    for call in (1, 2, 3):
        process = await command.start("--total", "500", "--dollars", "0.04", "--concurrency", "1")
        async with asyncio.timeout(60):
            _, pending = await asyncio.wait(
                [asyncio.ensure_future(command.heard(call, 1)), asyncio.ensure_future(process.wait())],
                return_when=asyncio.FIRST_COMPLETED,
            )
        for task in pending:
            task.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    server.turns.clear()
    status, out, err = await command("--total", "500", "--dollars", "0.04", "--concurrency", "4")
    assert status == 0, err
    found = json.loads(out)
    assert found["ended"] == "budget" and sum(server.billed) <= found["dollars"] <= 0.04
    assert {e["input"] for e in server.delivered} == set(inputs(tmp_path / "rows.jsonl"))


async def test_ctrl_c_lets_calls_under_way_end_and_keeps_what_they_bring(command, server, tmp_path):
    server.turns.append(Turn(hang=1))
    process = await command.start("--total", "30", "--concurrency", "1")
    async with asyncio.timeout(60):
        await command.heard(1, 1)
        process.send_signal(signal.SIGINT)
        await command.told(process, "under way")
        server.release.set()
        out, _ = await process.communicate()
    assert process.returncode == 130 and len(server.asked) == 1
    assert json.loads(out)["ended"] == "stopped"
    assert inputs(tmp_path / "rows.jsonl") == [e["input"] for e in server.delivered] != []


async def test_a_second_ctrl_c_does_not_wait_and_keeps_what_has_come(command, server, tmp_path):
    server.turns.append(Turn(hang=2))
    process = await command.start("--total", "30", "--concurrency", "1")
    async with asyncio.timeout(60):
        await command.heard(1, 2)
        process.send_signal(signal.SIGINT)
        await command.told(process, "under way")
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 130
    assert inputs(tmp_path / "rows.jsonl") == [e["input"] for e in server.delivered][:2]


async def test_the_command_runs_as_many_calls_at_once_as_told(command, server):
    server.release_at = 3
    server.turns.extend([Turn(hang=0)] * 3)
    status, out, _ = await command("--total", "20", "--concurrency", "3")
    assert (status, json.loads(out)["rows"], server.most_at_once) == (0, 20, 3)


async def test_without_a_key_it_says_where_to_get_one(command):
    command.env.pop("OPENROUTER_API_KEY")
    status, _, err = await command()
    assert status == 2 and "OPENROUTER_API_KEY" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("env", "status", "said"),
    [
        ({"OPENROUTER_API_KEY": "wrong"}, 2, "does not take this key"),
        ({"GEN_MODEL": "google/gemini-tset-flash"}, 2, "did you mean"),
        ({"GEN_PRICE": "cheap"}, 2, "GEN_PRICE"),
        ({"OPENROUTER_BASE_URL": "http://127.0.0.1:1/v1"}, 5, "cannot be reached"),
    ],
    ids=["key", "model", "price", "server"],
)
async def test_what_is_wrong_is_said_in_a_sentence_before_anything_is_asked(command, server, env, status, said):
    command.env |= env
    got, _, err = await command()
    assert (got, server.asked) == (status, []) and said in err and "Traceback" not in err


async def test_a_key_whose_limit_is_used_up_is_told_before_anything_is_asked(command, server):
    server.left = 0
    status, _, err = await command()
    assert (status, server.asked) == (2, []) and "limit of this key" in err


async def test_a_file_that_cannot_be_read_is_named(command, tmp_path):
    (tmp_path / "rows.jsonl").write_text("nonsense\n")
    status, _, err = await command()
    assert status == 2 and "line 1 of" in err and "Traceback" not in err


async def test_a_dry_run_shows_prompts_and_an_estimate_and_asks_nothing(command, server, tmp_path):
    command.env.pop("OPENROUTER_API_KEY")
    status, out, _ = await command("--dry-run", "--total", "100")
    assert (status, server.asked) == (0, [])
    assert "Write 4 new examples" in out and re.search(r"About \d+ calls", out) and re.search(r"about \$0\.\d\d", out)
    assert list(tmp_path.iterdir()) == []


async def test_answers_can_be_looked_at_again_once_the_checks_have_changed(server, tmp_path, only_needs_time, monkeypatch):
    monkeypatch.setattr("training.examples.second_opinion", lambda row: "")
    monkeypatch.setattr("training.examples.overlooked", lambda row: "a bug")
    await run(server, tmp_path, total=4, calls=1)
    assert inputs(tmp_path / "rows.jsonl") == [] and len(inputs(tmp_path / "review.jsonl")) == 4
    (tmp_path / "review.jsonl").unlink()
    monkeypatch.undo()
    await run(server, tmp_path, total=4, calls=1)
    assert inputs(tmp_path / "rows.jsonl") == []
    await run(server, tmp_path, total=4, calls=1, recheck=True)
    assert inputs(tmp_path / "rows.jsonl") == [e["input"] for e in server.delivered]
    assert len(server.asked) == 1


# The review


@pytest.fixture
def doubts(tmp_path) -> list[str]:
    """Options for a review of four rows, the third of which is wrong."""
    pairs = [("call mum at 5", "call mum | 5:00?"), ("buy milk", "buy milk |"), ("a", "b |"), ("call dad at 6", "call dad | 6:00?")]
    lines = [json.dumps({"input": i, "output": o, "source": "openrouter:m", "why": f"why {i}"}) for i, o in pairs]
    (tmp_path / "review.jsonl").write_text("\n".join(lines) + "\n")
    return ["--review", str(tmp_path / "review.jsonl"), "--out", str(tmp_path / "rows.jsonl")]


def test_the_review_lists_what_there_is_with_numbers_and_reasons(doubts, capsys):
    review(["--list", *doubts])
    out = capsys.readouterr().out
    assert "1 call mum at 5" in out and "call mum | 5:00?   (why call mum at 5)" in out and "4 call dad" in out


def test_accepted_rows_go_into_the_data_as_looked_at_by_hand_and_dropped_ones_go(doubts, tmp_path, capsys):
    with pytest.raises(SystemExit) as e:
        review([*doubts, "--accept", "1-2", "--drop", "4"])
    assert e.value.code == 0 and "2 accepted, 1 dropped, 1 left" in capsys.readouterr().out
    rows = read_labelled(tmp_path / "rows.jsonl")
    assert [(r.input, r.agreed, r.source) for r in rows] == [
        ("call mum at 5", "hand", "openrouter:m"), ("buy milk", "", "openrouter:m")]  # fmt: skip
    assert [(d.row.input, d.why) for d in read_doubts(tmp_path / "review.jsonl")] == [("a", "why a")]


def test_what_fails_the_checks_or_is_there_already_is_not_accepted_and_stays(doubts, tmp_path, capsys):
    write_labelled(tmp_path / "rows.jsonl", [Labelled("Buy milk", "buy milk |", "hand")])
    with pytest.raises(SystemExit) as e:
        review([*doubts, "--accept", "2", "3"])
    err = capsys.readouterr().err
    assert e.value.code == 1 and "row 2 is not accepted: nearly the same" in err and "row 3 is not accepted: not a" in err
    assert inputs(tmp_path / "rows.jsonl") == ["Buy milk"] and len(inputs(tmp_path / "review.jsonl")) == 4


@pytest.mark.parametrize("given", [["0"], ["5"], ["2-9"], ["3-1"], ["x"], ["-1-2"], ["1", "--drop", "1"]])
def test_numbers_that_are_none_are_refused_and_nothing_changes(doubts, tmp_path, given):
    before = (tmp_path / "review.jsonl").read_bytes()
    with pytest.raises(SystemExit) as e:
        review([*doubts, "--accept", *given])
    assert e.value.code == 2
    assert (tmp_path / "review.jsonl").read_bytes() == before and not (tmp_path / "rows.jsonl").exists()
