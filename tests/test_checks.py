"""What may be trained on, what it is called, and how it is kept in files."""

import json
import sys

import pytest

from training import checks
from training.checks import SAME, Rejected, Seen, check, shingles
from training.labelled import Labelled, append_lines, as_line, read_labelled, write_labelled


def row(said: str, written: str, **more: str) -> Labelled:
    return Labelled(said, written, "hand", **more)


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("call mum tomorrow at 5", "call mum | tomorrow 5:00?"),
        ("buy milk", "buy milk |"),
        ("remind me at 10:05", "| 10:05?"),
        ("call mum at 5 pm and jo at 6 pm", "call mum | 17:00\njo | 18:00"),
        ("push my run back an hour", "/move run > later 1 hour"),
        ("what have I got this week", "/list | this week"),
        ("hello", "/other"),
    ],
)
def test_a_good_row_passes_and_stays_as_it_is(said, written):
    good = row(said, written, group="g", domain="home", style="typed", agreed="hand")
    assert check(good) == good


def test_a_row_is_tidied_where_nothing_is_lost():
    tidy = check(row("  Call  Mum\tat 5 ", " CALL  Mum |  5:00? \r\n"))
    assert (tidy.input, tidy.output) == ("Call Mum at 5", "call mum | 5:00?")


@pytest.mark.parametrize(
    ("said", "written"),
    [("fetch Mum’s cake", "fetch mum’s cake |"), ("fetch Mum's cake", "fetch mum’s cake |"), ("call Zoë", "call zoe\u0308 |")],
    ids=["both", "output", "decomposed"],
)
def test_quotes_and_accents_may_be_written_either_way(said, written):
    assert check(row(said, written)).output in ("fetch mum's cake |", "call zoë |")


@pytest.mark.parametrize(
    ("said", "written", "reason"),
    [
        ("call mum", "call mother |", "not a rewrite"),
        ("call mum", "mum call |", "not a rewrite"),
        ("call mum", "call mum", "not a rewrite"),
        ("call mum", "", "not a rewrite"),
        ("call mum", "call mum |\n\ncall mum |", "not a rewrite"),
        ("call mum at 5", "call mum | 6:00?", "not a rewrite"),
        ("call mum at 5", "call mum | at 5", "not a rewrite"),
        ("call mum at 5", "call mum |5:00?", "not a rewrite"),
        ("call mum on monday", "call mum | tuesday", "not a rewrite"),
        ("call mum", "/call mum", "not a rewrite"),
        ("move mum", "/move mum >", "not a rewrite"),
        ("call mum | 5:00?", "call mum | 5:00?", "a bar in the request"),
        (" ", "/other", "cannot be taken"),
        ("x" * 501, "/other", "cannot be taken"),
        (None, "/other", "no text"),
        ("call mum", ["call mum |"], "no text"),
    ],
)
def test_what_decoding_could_never_write_is_rejected_with_a_reason(said, written, reason):
    with pytest.raises(Rejected, match=reason) as e:
        check(row(said, written))
    assert reason in e.value.reason


def test_the_reason_is_the_same_for_the_same_fault():
    reasons = set()
    for written in ("call mother |", "call father |"):
        with pytest.raises(Rejected) as e:
            check(row("call mum", written))
        reasons.add(e.value.reason)
    assert len(reasons) == 1


# Repeats


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("call mum tomorrow at 5", "call mum tomorrow at 5"),
        ("call mum tomorrow at 5", "Call mum, tomorrow at 5!"),
        ("call mum tomorrow at 5", "call mum tomorrow at 6"),
        ("please do not let me forget to call mum tomorrow at 5", "please do not let me forget to call mum tomorrow at noon"),
        ("🎂", "🎂"),
    ],
    ids=["same", "punctuation", "number", "one word of many", "no words"],
)
def test_two_requests_are_nearly_the_same(one, other):
    assert Seen([row(one, "")]).like(other) == one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("call mum tomorrow at 5", "call dad tomorrow at 5"),
        ("mum call", "call mum"),
        ("stop", "stop it"),
        ("🎂", "🎁"),
    ],
)
def test_two_requests_are_different(one, other):
    assert Seen([row(one, "")]).like(other) is None


def test_what_is_seen_is_remembered_from_then_on():
    seen = Seen()
    assert seen.like("buy milk") is None
    seen.add("buy milk")
    assert seen.like("buy milk") == "buy milk"


def test_the_measure_is_shared_pairs_of_all_pairs():
    one, other = shingles("a b c d e f g h i"), shingles("a b c d e f g h j")
    assert len(one & other) / len(one | other) == SAME
    assert Seen([row("a b c d e f g h i", "")]).like("a b c d e f g h j")


# Kinds and families


@pytest.mark.parametrize(
    ("said", "written", "kind", "family"),
    [
        ("call mum at 5", "call mum | 5:00?", "create", "clock time in digits"),
        ("call mum at five", "call mum | 5:00?", "create", "clock time in words"),
        ("call mum at five on the 3rd", "call mum | the 3 5:00?", "create", "clock time in words"),
        ("call mum in 2 hours", "call mum | in 2 hours", "create", "offset"),
        ("call mum every day at 5", "call mum | every day 5:00?", "create", "recurrence"),
        ("call mum tonight", "call mum | tonight", "create", "daypart"),
        ("call mum tomorrow morning", "call mum | tomorrow morning", "create", "daypart"),
        ("call mum on friday", "call mum | friday", "create", "day only"),
        ("call mum", "call mum |", "needs_time", "none"),
        ("call mum and at 5 jo", "call mum |\njo | 5:00?", "create", "several reminders"),
        ("push it an hour", "/move it > later 1 hour", "move", "offset"),
        ("move it to 5", "/move that > 5:00?", "move", "clock time in digits"),
        ("snooze", "/snooze", "snooze", "none"),
        ("what is on tomorrow", "/list | tomorrow", "list", "none"),
    ],
)
def test_a_row_knows_its_kind_and_the_family_of_its_time(said, written, kind, family):
    good = check(row(said, written))
    assert (good.kind, good.family) == (kind, family)


# Files


def test_rows_come_back_from_a_file_as_they_were(tmp_path):
    rows = [row("call Zoë at 5", "call zoë | 5:00?\nx |", domain="home", agreed="hand"), row("hello", "/other")]
    write_labelled(tmp_path / "new" / "rows.jsonl", rows)
    assert read_labelled(tmp_path / "new" / "rows.jsonl") == rows
    assert "Zoë" in (tmp_path / "new" / "rows.jsonl").read_text("utf-8")
    assert "group" not in json.loads((tmp_path / "new" / "rows.jsonl").read_text("utf-8").split("\n")[0])


def test_no_file_has_no_rows(tmp_path):
    assert read_labelled(tmp_path / "rows.jsonl") == []


def test_blank_lines_and_keys_that_are_not_known_do_not_matter(tmp_path):
    (tmp_path / "rows.jsonl").write_text('\n{"input": "a", "output": "/other", "source": "hand", "why": "x"}\n\n')
    assert read_labelled(tmp_path / "rows.jsonl") == [row("a", "/other")]


@pytest.mark.parametrize(
    "line", ["{", "[]", '"a"', "null", '{"input": "a", "output": "b"}', '{"input": 1, "output": "b", "source": "hand"}'],
)  # fmt: skip
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text(as_line(row("a", "/other")) + line + "\n")
    with pytest.raises(ValueError, match="line 2 of"):
        read_labelled(tmp_path / "rows.jsonl")


def test_what_is_appended_leaves_every_byte_that_was_there(tmp_path):
    path = tmp_path / "rows.jsonl"
    before = '{"input": "a",  "output": "/other", "source": "hand", "note": "ë"}'.encode()
    path.write_bytes(before)
    append_lines(path, [as_line(row("b", "/other"))])
    append_lines(path, [as_line(row("c", "/other"))])
    assert path.read_bytes().startswith(before + b"\n")
    assert [r.input for r in read_labelled(path)] == ["a", "b", "c"]
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_file_that_cannot_be_written_whole_is_not_touched(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_labelled(path, [row("a", "/other")])

    def lines():
        yield as_line(row("b", "/other"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        append_lines(path, lines())
    assert [r.input for r in read_labelled(path)] == ["a"]


# The command


def test_the_command_names_rows_that_do_not_pass_and_repeats(tmp_path, monkeypatch, capsys):
    write_labelled(tmp_path / "rows.jsonl", [row("call mum", "call mum |"), row("call dad", "call mum |"), row("call mum", "/other")])
    monkeypatch.setattr(sys, "argv", ["checks", str(tmp_path / "rows.jsonl")])
    with pytest.raises(SystemExit) as e:
        checks.main()
    out = capsys.readouterr().out
    assert e.value.code == 1
    assert "rows.jsonl:1:" not in out
    assert "rows.jsonl:2: not a rewrite" in out and "rows.jsonl:3: nearly the same as another: call mum" in out


def test_the_command_is_content_with_good_rows(tmp_path, monkeypatch):
    write_labelled(tmp_path / "rows.jsonl", [row("call mum", "call mum |")])
    monkeypatch.setattr(sys, "argv", ["checks", str(tmp_path / "rows.jsonl")])
    with pytest.raises(SystemExit) as e:
        checks.main()
    assert e.value.code == 0
