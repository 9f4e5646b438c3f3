"""The journal keeps what was paid for, and a budget, whatever happens to the process that writes it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.coverage import Want
from training.journal import BadJournal, Journal

WANT = Want("create", "recurrence", "home", "typed", 8)


def journal(path: Path, dollars: float = 1.0, calls: int = 100) -> Journal:
    return Journal(path, dollars, calls, lambda: datetime(2026, 7, 1, 12, tzinfo=UTC))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "generated" / "journal.jsonl"


def test_a_call_is_on_disk_before_it_may_be_sent(path):
    with journal(path) as j:
        call = j.reserve(WANT, "openrouter:m", 0.25)
        assert json.loads(path.read_text()) == {
            "reserve": call.id, "source": "openrouter:m", "dollars": 0.25, "at": "2026-07-01T12:00:00+00:00",
            "want": {"kind": "create", "family": "recurrence", "domain": "home", "style": "typed", "count": 8},
        }


def test_what_was_reserved_counts_until_it_is_known_what_it_cost(path):
    with journal(path) as j:
        call = j.reserve(WANT, "s", 0.25)
        assert (j.charged, j.counted) == (0.25, 1)
        j.answered(call, "text", "s", 0.01, (5, 6), True)
        assert (j.charged, j.counted) == (0.01, 1)


def test_an_answer_whose_cost_nobody_knows_counts_for_the_most_that_it_can_cost(path):
    with journal(path) as j:
        j.answered(j.reserve(WANT, "s", 0.25), "text", "s", None, None, False)
        assert j.charged == 0.25


def test_a_failure_that_cost_nothing_gives_its_room_back(path):
    with journal(path, dollars=0.25, calls=1) as j:
        call = j.reserve(WANT, "s", 0.25)
        assert j.reserve(WANT, "s", 0.01) is None
        j.failed(call, "rate limited")
        assert (j.charged, j.counted) == (0, 0)
        assert j.reserve(WANT, "s", 0.25)


def test_there_is_no_room_for_a_call_that_might_overrun_the_dollars(path):
    with journal(path, dollars=1.0) as j:
        assert j.reserve(WANT, "s", 0.6)
        assert j.reserve(WANT, "s", 0.41) is None
        assert j.reserve(WANT, "s", 0.4)


def test_there_is_no_room_for_one_call_too_many(path):
    with journal(path, calls=2) as j:
        assert j.reserve(WANT, "s", 0) and j.reserve(WANT, "s", 0)
        assert j.reserve(WANT, "s", 0) is None


def test_the_next_run_knows_all_that_the_last_one_did(path):
    with journal(path) as j:
        used, answered, cut, failed = (j.reserve(WANT, "s", 0.1) for _ in range(4))
        j.answered(used, "one", "s", 0.01, (1, 2), True)
        j.used(used)
        j.part(cut, '{"inp')
        j.answered(answered, "two", "openrouter:better", 0.02, (1, 2), True)
        j.part(cut, "ut")
        j.failed(failed, "no")
    with journal(path) as j:
        assert [(c.id, c.text, c.source) for c in j.unused()] == [
            (answered.id, "two", "openrouter:better"), (cut.id, '{"input', "s")]  # fmt: skip
        assert j.charged == pytest.approx(0.01 + 0.02 + 0.1)
        assert j.counted == 3
        assert j.unused()[0].want == WANT
        assert j.reserve(WANT, "s", 0.1).id not in (used.id, answered.id, cut.id, failed.id)


def test_what_has_been_used_is_not_offered_again_even_if_it_was_cut_off(path):
    with journal(path) as j:
        call = j.reserve(WANT, "s", 0.1)
        j.part(call, "text")
        j.used(call)
    with journal(path) as j:
        assert j.unused() == []
        assert j.charged == 0.1


def test_a_last_line_that_is_half_there_is_cut_off_and_written_over(path):
    with journal(path) as j:
        j.answered(j.reserve(WANT, "s", 0.1), "text", "s", 0.02, None, True)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"reserve": 2, "wan')
    with journal(path) as j:
        assert j.charged == 0.02
        j.reserve(WANT, "s", 0.1)
    assert path.read_bytes().startswith(whole) and path.read_bytes().count(b'"reserve"') == 2
    with journal(path) as j:
        assert j.counted == 2


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", '{"answer": 9, "text": "x", "source": "s", "cost": 0}', '{"else": 1}', '{"reserve": 2}'],
    ids=["no JSON", "no object", "of no call", "unknown", "not all there"],
)  # fmt: skip
def test_a_damaged_line_is_named_and_nothing_is_done(path, line):
    with journal(path) as j:
        j.reserve(WANT, "s", 0.1)
    before = path.read_bytes() + line.encode() + b"\n"
    path.write_bytes(before)
    with pytest.raises(BadJournal, match="Line 2 of the journal"), journal(path):
        pass
    assert path.read_bytes() == before


def test_only_one_run_at_a_time_writes_a_journal(path):
    with journal(path), pytest.raises(BadJournal, match="Another run"), journal(path):
        pass
    with journal(path):
        pass


def test_a_journal_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(BadJournal, match="cannot be written"), journal(tmp_path):
        pass


COSTS = st.floats(0, 1)
STEPS = st.lists(st.tuples(st.sampled_from("reserve part answer unknown failed used".split()), st.integers(0, 5), COSTS), max_size=25)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.floats(0.1, 3), st.data())
def test_wherever_a_run_was_cut_off_the_next_stays_within_the_budget_and_pays_for_nothing_twice(
    tmp_path_factory, steps, dollars, data
):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    billed: dict[int, float] = {}  # call -> what the server takes for it, at most what was reserved
    with journal(path, dollars, 12) as j:
        calls = []
        for step, which, cost in steps:
            open_ones = [c for c in calls if c.state == "open"]
            if step == "reserve" and (call := j.reserve(WANT, "s", cost)):
                calls.append(call)
                billed[call.id] = cost * 0.9
            elif open_ones and step in ("part", "answer", "unknown", "failed"):
                call = open_ones[which % len(open_ones)]
                if step == "part":
                    j.part(call, "{é")
                elif step == "failed" and not call.text:
                    billed[call.id] = 0
                    j.failed(call, "x")
                elif step != "failed":
                    j.answered(call, call.text + "}", "s", billed[call.id] if step == "answer" else None, None, True)
            elif step == "used" and (unused := j.unused()):
                j.used(unused[which % len(unused)])
    raw = path.read_bytes()
    cut = raw[: data.draw(st.integers(0, len(raw)))]
    path.write_bytes(cut)
    lines = [json.loads(line) for line in cut.split(b"\n")[:-1]]
    sent = {line["reserve"] for line in lines if "reserve" in line}
    answered = {line["answer"]: line["text"] for line in lines if "answer" in line}
    used = {line["used"] for line in lines if "used" in line}
    with journal(path, dollars, 12) as j:
        assert j.charged >= sum(billed[n] for n in sent if j.calls[n].state != "failed") - 1e-9
        assert {c.id for c in j.unused()} >= answered.keys() - used
        assert not {c.id for c in j.unused()} & used
        assert all(j.calls[n].text == text for n, text in answered.items())
        spent = sum(billed[n] for n in sent)
        while call := j.reserve(WANT, "s", 0.3):
            assert call.id not in sent
            spent += 0.3
        assert spent <= dollars + 1e-9
        assert j.charged <= dollars and j.counted <= 12
