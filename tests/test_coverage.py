"""What is asked for next is what is missing most."""

import sys
from collections import Counter
from random import Random

import pytest
from rich.console import Console

from training import coverage
from training.coverage import DOMAINS, GIVE_UP, STYLES, Coverage, Want, cell, show, targets
from training.labelled import Labelled, write_labelled

NEEDS, DAILY, LIST = ("needs_time", "none"), ("create", "recurrence"), ("list", "none")


def rows(count: int, output: str = "call mum |", domain: str = "home", style: str = "typed") -> list[Labelled]:
    return [Labelled("call mum", output, "hand", domain=domain, style=style)] * count


def all_wants(c: Coverage, most: int = 8, seed: int = 1) -> list[Want]:
    random, wants = Random(seed), []
    while want := c.next(most, random):
        wants.append(want)
    return wants


@pytest.mark.parametrize("total", [1, 7, 100, 999, 1000])
def test_the_targets_of_all_cells_add_up(total):
    assert sum(targets(total).values()) == total
    assert min(targets(total).values()) >= 0


def test_of_a_thousand_half_are_reminders_with_a_time_and_a_fifth_of_those_recur():
    found = targets(1000)
    assert sum(n for (kind, _), n in found.items() if kind == "create") == 500
    assert found[DAILY] == 100 and found[NEEDS] == 150 and found["done", "none"] == 30


@pytest.mark.parametrize(
    ("output", "where"),
    [
        ("call mum | every day", DAILY),
        ("call mum | 5:00?", ("create", "clock time in words")),
        ("call mum |", NEEDS),
        ("/move mum > 5:00?", ("move", "none")),
        ("call |\nmum |", NEEDS),
        ("call |\nmum | 5:00?", ("create", "several reminders")),
    ],
)
def test_a_row_belongs_to_its_kind_and_a_new_reminder_to_the_family_of_its_time(output, where):
    assert cell(rows(1, output)[0]) == where


def test_with_nothing_there_exactly_everything_is_asked_for():
    wants = all_wants(Coverage([], 200))
    asked = Counter()
    for want in wants:
        asked[want.cell] += want.count
    assert asked == Counter(targets(200))
    assert max(want.count for want in wants) == 8


def test_rows_that_are_there_count():
    asked = Counter(want.cell for want in all_wants(Coverage(rows(30), 200), most=1))
    assert NEEDS not in asked and asked.total() == 170


def test_no_more_is_asked_for_than_the_total_lacks_even_where_a_cell_has_too_many():
    assert sum(want.count for want in all_wants(Coverage(rows(90), 100))) == 10


def test_nothing_is_asked_for_when_the_total_is_there():
    c = Coverage(rows(100), 100)
    assert c.done and c.next(8, Random(1)) is None


def test_the_cell_that_lacks_the_largest_part_of_its_share_comes_first():
    c = Coverage([], 1000)
    for where, target in targets(1000).items():
        c.cells[where] = target // 2
    c.cells["done", "none"] = 3  # of 30; others lack more examples, but less of their share
    assert c.next(8, Random(1)).cell == ("done", "none")


def test_what_is_under_way_counts_as_coming_until_it_has_ended():
    c = Coverage([], 1)
    [where] = [where for where, n in targets(1).items() if n]
    want = c.next(8, Random(1))
    assert (want.cell, want.count) == (where, 1)
    assert c.next(8, Random(1)) is None
    c.settle(want, None)
    assert c.next(8, Random(1)).cell == where


def test_domains_and_styles_are_spread_evenly_in_a_cell(monkeypatch):
    monkeypatch.setattr(coverage, "SHARES", {NEEDS: 1.0})
    wants = all_wants(Coverage([], len(DOMAINS) * 2), most=1)
    assert set(Counter(w.domain for w in wants).values()) == {2}
    assert set(Counter(w.style for w in wants).values()) == {len(DOMAINS) * 2 // len(STYLES)}


def test_a_domain_and_a_style_that_are_there_already_come_last(monkeypatch):
    monkeypatch.setattr(coverage, "SHARES", {NEEDS: 1.0})
    wants = all_wants(Coverage(rows(5), 5 + len(DOMAINS) - 1), most=1)
    assert "home" not in {w.domain for w in wants}
    assert "typed" not in {w.style for w in wants[: len(STYLES) - 1]}


def test_the_seed_decides_what_is_asked():
    assert all_wants(Coverage([], 100), seed=1) == all_wants(Coverage([], 100), seed=1)
    assert all_wants(Coverage([], 100), seed=1) != all_wants(Coverage([], 100), seed=2)


def test_a_cell_from_which_nothing_usable_comes_for_long_is_given_up(monkeypatch):
    monkeypatch.setattr(coverage, "SHARES", {NEEDS: 0.5, LIST: 0.5})
    c, random, asked = Coverage([], 100), Random(1), Counter()
    while want := c.next(8, random):
        asked[want.cell] += want.count
        good = want.count if want.cell == LIST else 0
        for row in rows(good, "/list"):
            c.add(row)
        c.settle(want, good)
    assert c.given_up == [NEEDS]
    assert c.cells[LIST] == 50 and GIVE_UP <= asked[NEEDS] < GIVE_UP + 8


def test_a_call_that_failed_says_nothing_about_its_cell():
    c = Coverage([], 1)
    for _ in range(GIVE_UP + 1):
        c.settle(c.next(8, Random(1)), None)
    assert c.given_up == []


def test_the_table_shows_what_is_there_wanted_and_missing():
    console = Console(record=True, width=100)
    show(Coverage([*rows(3), *rows(2, "call mum | every day", "", "")], 100), console)
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["needs_time", "3", "15", "12"] in lines
    assert ["create:", "recurrence", "2", "10", "8"] in lines
    assert ["home", "3", "7", "4"] in lines and ["(none)", "2", "0", "-"] in lines


def test_the_command_prints_the_table_of_a_file(tmp_path, monkeypatch, capsys):
    write_labelled(tmp_path / "rows.jsonl", rows(3))
    monkeypatch.setattr(sys, "argv", ["coverage", str(tmp_path / "rows.jsonl"), "--total", "10"])
    coverage.main()
    assert "3 of 10 examples" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_with_a_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "rows.jsonl").write_text("nonsense\n")
    monkeypatch.setattr(sys, "argv", ["coverage", str(tmp_path / "rows.jsonl")])
    with pytest.raises(SystemExit) as e:
        coverage.main()
    assert e.value.code == 2 and "line 1" in capsys.readouterr().err
