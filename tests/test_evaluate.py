"""How right an answer is, as tables; and the evaluation of the shipped model, done for real."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from assistant.errors import Unreadable
from assistant.local import LlamaRewriter
from assistant.messages import Entry
from assistant.understand import as_json
from tests.fakes import ScriptedRewriter
from training import evaluate, gold
from training.gold import GoldEntry, Row, Score, Share, score, tally
from training.parsers import PARSERS, NotInstalled

ROOT = Path(__file__).parents[1]
HELDOUT = ROOT / "data/heldout.jsonl"
EVAL = Path(__file__).parents[2] / "shared/eval"
LONDON = ZoneInfo("Europe/London")
needs_eval = pytest.mark.skipif(not EVAL.is_dir(), reason=f"there is no {EVAL.parent.name}/{EVAL.name} beside the checkout")


def meant(task="call mum", due="2026-03-12T17:00", grain="minute", rrule=None, alt=()) -> GoldEntry:
    return GoldEntry(task, tuple(alt), datetime.fromisoformat(due) if due else None, grain, rrule)


def told(task="call mum", due="2026-03-12T17:00", rrule=None) -> Entry:
    return Entry(task, None, datetime.fromisoformat(due) if due else None, rrule)


def row(*entries: GoldEntry, kind="create", text="call mum", zone="Europe/London") -> Row:
    tz = ZoneInfo(zone)
    return Row("1", text, datetime(2026, 3, 11, 10, 0, tzinfo=tz), tz, kind, entries, False)


INSTANTS = {
    "the same minute": (meant(), told(), True, True),
    "seconds do not count": (meant(), told(due="2026-03-12T17:00:59"), True, True),
    "the next minute": (meant(), told(due="2026-03-12T17:01"), False, False),
    "twelve hours off": (meant(), told(due="2026-03-12T05:00"), False, False),
    "no time at all": (meant(), told(due=None), False, False),
    "with its offset": (meant(), told(due="2026-03-12T17:00+00:00"), True, True),
    "in another zone's offset": (meant(), told(due="2026-03-12T12:00-05:00"), True, True),
    "an hour off by a summer offset": (meant(due="2026-07-06T17:00"), told(due="2026-07-06T17:00+00:00"), False, False),
    "a day at another hour": (meant(due="2026-03-12T09:00", grain="day"), told(), True, False),
    "a day at nine": (meant(due="2026-03-12T09:00", grain="day"), told(due="2026-03-12T09:00"), True, True),
    "the day after": (meant(due="2026-03-12T09:00", grain="day"), told(due="2026-03-13T00:00"), False, False),
    "the same day only by its offset": (meant(due="2026-03-12T09:00", grain="day"), told(due="2026-03-11T20:00-05:00"), True, False),
    "a morning at five": (meant(due="2026-03-12T09:00", grain="daypart"), told(due="2026-03-12T05:00"), True, False),
    "a morning at noon": (meant(due="2026-03-12T09:00", grain="daypart"), told(due="2026-03-12T12:00"), False, False),
    "tonight just before midnight": (meant(due="2026-03-12T20:00", grain="daypart"), told(due="2026-03-12T23:59"), True, False),
    "an evening on another day": (meant(due="2026-03-12T18:00", grain="daypart"), told(due="2026-03-13T18:00"), False, False),
    "an hour of its own as a part of the day": (meant(due="2026-03-12T07:00", grain="daypart"), told(due="2026-03-12T07:30"), True, False),
}  # fmt: skip


@pytest.mark.parametrize("asked, answer, due, strict", INSTANTS.values(), ids=INSTANTS.keys())
def test_an_instant_is_right_at_the_grain_that_was_said_and_strictly_to_the_minute(asked, answer, due, strict):
    s = score(row(asked), "create", [answer])
    assert (s.due, s.strict, s.wrong) == (due, strict, not due)


RULES = {
    "the same rule": ("FREQ=DAILY", "FREQ=DAILY", True),
    "its name before it": ("FREQ=DAILY", "RRULE:FREQ=DAILY", True),
    "the same days in other words": ("FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU", True),
    "another interval": ("FREQ=DAILY", "FREQ=DAILY;INTERVAL=2", False),
    "a difference that comes after what is compared": ("FREQ=DAILY", "FREQ=DAILY;COUNT=6", True),
    "too few": ("FREQ=DAILY", "FREQ=DAILY;COUNT=5", False),
    "as many": ("FREQ=DAILY;COUNT=3", "FREQ=DAILY;COUNT=3", True),
    "until the day of the last one": ("FREQ=DAILY;COUNT=3", "FREQ=DAILY;UNTIL=20260314", True),
    "until a clock time earlier on that day": ("FREQ=DAILY;UNTIL=20260314", "FREQ=DAILY;UNTIL=20260314T080000Z", True),
    "until a day too soon": ("FREQ=DAILY;UNTIL=20260314", "FREQ=DAILY;UNTIL=20260313T170000", False),
    "every 20 minutes until six": ("FREQ=MINUTELY;INTERVAL=20;COUNT=2", "FREQ=MINUTELY;INTERVAL=20;UNTIL=20260312T173000", False),
    "it does not recur": ("FREQ=DAILY", None, False),
    "a rule that is none": ("FREQ=DAILY", "every day", False),
    "an empty rule": ("FREQ=DAILY", "", False),
}  # fmt: skip


@pytest.mark.parametrize("asked, answer, right", RULES.values(), ids=RULES.keys())
def test_a_recurrence_is_right_if_it_rings_the_first_times_when_it_should(asked, answer, right):
    s = score(row(meant(rrule=asked)), "create", [told(rrule=answer)])
    assert (s.recur, s.all, s.wrong) == (right, right, not right)


def test_what_recurs_though_it_was_to_ring_once_is_silently_wrong():
    s = score(row(meant()), "create", [told(rrule="FREQ=DAILY")])
    assert (s.due, s.recur, s.all, s.wrong) == (True, None, False, True)


TASKS = {
    "the same words": (meant(), "call mum", True),
    "another case, and punctuation": (meant("ring Zbigniew's mum"), "Ring zbigniew’s Mum!", True),
    "a small word at the beginning": (meant("the bins"), "my bins", True),
    "a small word inside": (meant("take the bins out"), "take bins out", False),
    "another wording that is right": (meant(alt=["ring mum", "mum"]), "Mum", True),
    "one word less": (meant("call mum back"), "call mum", False),
    "no task where one was said": (meant(), None, False),
    "none was said, none was found": (meant(None), None, True),
    "none was said, its noun was found": (meant(None), "alarms", True),
    "none was said, its noun with a small word": (meant(None), "the next alarm", True),
    "none was said, all of them were meant": (meant(None), "all my reminders", True),
    "none was said but to wake up": (meant(None), "wake me up", True),
    "none was said, a word too many": (meant(None), "alarm clock", False),
    "none was said, but this would do": (meant(None, alt=["dinner"]), "dinner", True),
}  # fmt: skip


@pytest.mark.parametrize("asked, answer, right", TASKS.values(), ids=TASKS.keys())
def test_a_task_is_right_by_its_words(asked, answer, right):
    s = score(row(asked), "create", [told(answer)])
    assert s.all is right
    assert s.task is (right if asked.task else None)


_MOVE = row(meant(due="2026-03-13T11:10"), kind="move")
_SNOOZE = row(meant(None, due="2026-03-11T10:30"), kind="snooze")
_CANCEL = row(meant("the eye test", None, None), kind="cancel")
_UNTIMED = row(meant("buy milk", None, None), kind="needs_time")
_TWO = row(meant(), meant("buy milk", "2026-03-13T09:00", "day"))
_ALL_RIGHT = {"kind": True, "all": True, "wrong": False}
_WHOLE = {
    "a reminder as it was meant": (row(meant()), "create", [told()], Score(True, True, True, None, True, True, False, False)),
    "one that is asked about first": (row(meant()), "confirm", [told()], Score(False, False, False, None, True, False, False, True)),
    "one of which the time was missed": (row(meant()), "needs_time", [told(due=None)], Score(False, False, False, None, True, False, False, True)),
    "a time that lies behind": (row(meant()), "needs_time", [Entry("call mum", "today 08:00", datetime(2026, 3, 11, 8, tzinfo=LONDON), past=True)], Score(False, False, False, None, True, False, False, True)),
    "the second of two is missing": (_TWO, "create", [told()], Score(True, False, False, None, False, False, True, False)),
    "two in the wrong order": (_TWO, "create", [told("buy milk", "2026-03-13T09:00"), told()], Score(True, False, False, None, False, False, True, False)),
    "two as they were meant": (_TWO, "create", [told(), told("buy milk", "2026-03-13T10:00")], Score(True, True, False, None, True, True, False, False)),
    "a reminder for a question": (row(kind="list"), "create", [told()], Score(False, None, None, None, None, False, True, None)),
    "a question as it was meant": (row(kind="list"), "list", [], Score(True, None, None, None, None, True, False, None)),
    "a time that nobody said": (_UNTIMED, "create", [told("buy milk")], Score(False, None, None, None, True, False, True, None)),
    "no time, as nobody said one": (_UNTIMED, "needs_time", [told("buy milk", None)], Score(True, None, None, None, True, True, False, None)),
    "the right one to cancel": (_CANCEL, "cancel", [told("eye test", None)], Score(True, None, None, None, True, True, False, None)),
    "another one to cancel": (_CANCEL, "cancel", [told("test", None)], Score(True, None, None, None, False, False, False, None)),
    "moved to the clock time on another day": (_MOVE, "move", [told(due="2026-03-11T11:10")], Score(True, None, None, None, True, True, False, None)),
    "moved to another clock time": (_MOVE, "move", [told(due="2026-03-13T11:20")], Score(True, None, None, None, True, False, False, None)),
    "moved to no time": (_MOVE, "move", [told(due=None)], Score(True, None, None, None, True, False, False, None)),
    "snoozed as long as was said": (_SNOOZE, "snooze", [told(None, "2026-03-11T10:30")], Score(True, None, None, None, None, True, False, None)),
    "snoozed to that time tomorrow": (_SNOOZE, "snooze", [told(None, "2026-03-12T10:30")], Score(True, None, None, None, None, False, False, None)),
    "nothing was made of it": (row(meant()), "other", [], Score(False, False, False, None, False, False, False, False)),
}  # fmt: skip


@pytest.mark.parametrize("asked, kind, answer, right", _WHOLE.values(), ids=_WHOLE.keys())
def test_an_answer_is_scored_as_a_whole(asked, kind, answer, right):
    assert score(asked, kind, answer) == right


def test_the_right_answer_to_every_held_out_row_is_all_right():
    rows = [r for r in gold.read(HELDOUT) if not r.ambiguous]
    scores = [score(r, r.kind, [Entry(e.task, None, e.due, e.rrule) for e in r.entries]) for r in rows]
    shares = {figure: share.percent for figure, share in tally(scores).items()}
    assert shares == dict.fromkeys("kind due strict recur task all".split(), 100.0) | {"wrong": 0.0, "asked": 0.0}


def test_a_tally_counts_each_figure_over_the_rows_that_it_concerns():
    scores = [score(*case[:3]) for case in (_WHOLE["a reminder as it was meant"], _WHOLE["a reminder for a question"])]
    assert tally([*scores, scores[0]]) == {
        "kind": Share(2, 3), "due": Share(2, 2), "strict": Share(2, 2), "task": Share(2, 2), "all": Share(2, 3),
        "wrong": Share(1, 3), "asked": Share(0, 2),
    }  # fmt: skip
    assert Share(2, 3).percent == 66.7


_ROW = json.loads(HELDOUT.read_text().splitlines()[0])
_UNFIT = {
    "it is not JSON": "# rows",
    "it is no object": "[1]",
    "it lacks its kind": json.dumps({k: v for k, v in _ROW.items() if k != "kind"}),
    "its kind is none": json.dumps(_ROW | {"kind": "remember"}),
    "its zone is none": json.dumps(_ROW | {"tz": "Europe/Londinium"}),
    "its time is none": json.dumps(_ROW | {"ref": "noon"}),
}


@pytest.mark.parametrize("line", _UNFIT.values(), ids=_UNFIT.keys())
def test_a_line_that_is_no_gold_row_is_named(line, tmp_path):
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(_ROW)}\n\n{line}\n")
    with pytest.raises(gold.BadGold, match="Line 3 of .*rows.jsonl is no gold row"):
        gold.read(tmp_path / "rows.jsonl")


FAMILIES = {
    "call mum at 5 and dad at 6": (row(meant(), meant("dad")), "several reminders"),
    "every day at 5": (row(meant(rrule="FREQ=DAILY")), "recurrence"),
    "call mum in twenty minutes": (row(meant(due="2026-03-11T10:20")), "offset"),
    "a 10 minute timer": (row(meant(due="2026-03-11T10:10")), "offset"),
    "in two weeks": (row(meant(due="2026-03-25T09:00", grain="day")), "offset"),
    "nine days from now": (row(meant(due="2026-03-20T09:00", grain="day")), "offset"),
    "call mum tomorrow at 5:00": (row(meant()), "clock time in digits"),
    "call mum tomorrow at quarter to 6": (row(meant(due="2026-03-12T17:45")), "clock time in digits"),
    "on the 12th at five": (row(meant()), "clock time in words"),
    "alarm at seventeen hundred hours": (row(meant()), "clock time in words"),
    "one minute past five": (row(meant(due="2026-03-12T17:01")), "clock time in words"),
    "tomorrow evening": (row(meant(due="2026-03-12T18:00", grain="daypart")), "daypart"),
    "the twenty second of june": (row(meant(due="2026-06-22T09:00", grain="day")), "day only"),
    "cancel the one at 5": (row(meant("the one", None, None), kind="cancel"), "none"),
    "what is on today": (row(kind="list"), "none"),
}  # fmt: skip


@pytest.mark.parametrize("text", FAMILIES)
def test_a_time_belongs_to_a_family(text):
    asked, family = FAMILIES[text]
    assert evaluate.family(row(*asked.entries, kind=asked.kind, text=text)) == family


@pytest.mark.parametrize("words, name", [(1, "1-5"), (5, "1-5"), (6, "6-10"), (20, "11-20"), (21, "more")])
def test_a_text_has_a_length_in_words(words, name):
    assert evaluate.length(row(text="word " * words)) == name


async def test_what_is_only_asked_about_counts_as_right_for_the_confidence_but_not_as_set():
    rewriter = ScriptedRewriter({"call mum": "call mum | tomorrow 17:00"}, confidence=0.3)
    cases = await evaluate.measure(rewriter, [row(meant())], ask_below=0.5)
    assert (cases[0].given.kind, cases[0].score.all, cases[0].unasked.all) == ("confirm", False, True)
    bins = evaluate.calibration(cases)
    assert [b["n"] for b in bins] == [0, 1, 0, 0, 0]
    assert bins[1] == {"from": 0.2, "to": 0.4, "n": 1, "confidence": 0.3, "all": 1, "kind_and_times": 1}


async def test_the_surest_of_the_wrong_answers_come_first():
    texts = ["call mum", "call dad", "call sam"]
    rewriter = ScriptedRewriter({t: f"{t} | tomorrow 05:00" for t in texts})
    rewriter.sure = dict(zip(texts, (0.6, 0.9, 0.7)))
    cases = await evaluate.measure(rewriter, [row(meant(t), text=t) for t in texts], ask_below=0.5)
    assert [w["text"] for w in evaluate.worst(cases, 2)] == ["call dad", "call sam"]


async def test_a_text_that_cannot_be_taken_is_an_answer_too():
    class Lost(ScriptedRewriter):
        async def rewrite(self, text):
            raise Unreadable

    cases = await evaluate.measure(Lost(), [row(meant()), row(meant(), text="x" * 501)], ask_below=0.5)
    assert [(c.given.kind, c.given.error) for c in cases] == [("other", "unreadable"), ("other", "too_long")]


@pytest.fixture
def parser(request):
    try:
        return PARSERS[request.param]()
    except NotInstalled as e:
        if request.param == "dateparser":
            raise
        pytest.skip(str(e))


FOUND = [
    ("dateparser recognizers ctparse recurrent", "call mum tomorrow at 5pm", "2026-03-12T17:00", None),
    ("dateparser recognizers ctparse recurrent", "call mum in 20 minutes", "2026-03-11T10:20", None),
    ("dateparser recognizers ctparse", "call mum on friday", "2026-03-13T09:00", None),
    ("recognizers ctparse", "call mum on friday from 3pm to 4pm", "2026-03-13T15:00", None),
    ("recognizers", "call mum at 5", "2026-03-11T17:00", None),
    ("recognizers", "set a timer for 20 minutes", "2026-03-11T10:20", None),
    ("recognizers recurrent", "every tuesday at 7pm", "2026-03-17T19:00", "FREQ=WEEKLY;BYDAY=TU"),
    ("recognizers recurrent", "every 20 minutes", "2026-03-11T10:20", "FREQ=MINUTELY;INTERVAL=20"),
    ("recognizers", "drink water every day at 9", "2026-03-12T09:00", "FREQ=DAILY"),
    ("recurrent", "every 2 weeks on monday", "2026-03-16T09:00", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO"),
    ("dateparser recognizers recurrent", "buy milk", None, None),
]
_EACH = [(name, *rest) for names, *rest in FOUND for name in names.split()]


@pytest.mark.parametrize("parser, text, due, rrule", _EACH, indirect=["parser"], ids=[f"{n}: {t}" for n, t, *_ in _EACH])
def test_a_parser_finds_the_time_that_it_can_read(parser, text, due, rrule):
    asked = row(meant(None, due, rrule=rrule), text=text)
    found = parser.understand(text, asked.now, asked.tz)
    if due is None:
        assert found == []
    else:
        assert (found[0][0], found[0][1] is None) == (datetime.fromisoformat(due), rrule is None)
        s = evaluate.parser_score(parser, asked)
        assert (s.strict, s.recur) == (True, True if rrule else None)


def test_a_parser_that_stumbles_has_found_nothing():
    class Stumbling:
        name = "stumbling"

        def understand(self, text, now, tz):
            raise TypeError("'<' not supported")

    assert evaluate.parser_score(Stumbling(), row(meant())).asked


def run(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "training.evaluate", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("gold") / "twenty.jsonl"
    file.write_text("".join(HELDOUT.read_text().splitlines(keepends=True)[:20]))
    return file


def test_the_shipped_model_is_measured_from_end_to_end(model, twenty):
    done = run(twenty, "--json", "--worst", 3, "--against", "dateparser")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    rows = sum(not r.ambiguous for r in gold.read(twenty))
    assert found["rows"] == rows == found["overall"]["all"]["n"]
    for by in ("by_kind", "by_family", "by_length"):
        assert sum(group["n"] for group in found[by].values()) == rows
    assert sum(sum(given.values()) for given in found["confusion"].values()) == rows
    assert sum(b["n"] for b in found["calibration"]) == rows
    assert found["overall"]["all"]["percent"] > 40
    assert 0 < found["ms"]["p50"] <= found["ms"]["p95"]
    assert len(found["worst"]) <= 3
    assert set(found["beside"]) == {"small", "dateparser"}
    assert found["beside"]["small"]["due"] == found["overall"]["due"]


def test_a_person_gets_tables(model, twenty, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    evaluate.main([str(twenty), str(twenty), "--against", "dateparser", "--worst", "1"])
    out = capsys.readouterr().out
    for title in ("Overall", "By kind", "By family", "By length", "Kind that was meant", "by confidence", "Side by side"):
        assert title in out
    assert "needs_time" in out and "…" not in out


NO_GOLD = {
    "a file that is not there": lambda folder: folder / "nowhere.jsonl",
    "a folder": lambda folder: folder,
    "a file that holds something else": lambda _: ROOT / "README.md",
    "a file without a row": lambda _: os.devnull,
}


@pytest.mark.parametrize("file", NO_GOLD.values(), ids=NO_GOLD.keys())
def test_what_cannot_be_measured_is_refused_in_one_sentence(file, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main([str(file(tmp_path)), "--json"])
    out, err = capsys.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("evaluate: ")


def test_a_missing_model_is_the_models_exit_status(tmp_path, twenty, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main([str(twenty), "--model", str(tmp_path)])
    assert stop.value.code == 3 and "There is no model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, module, how",
    [
        ("recognizers", "recognizers_date_time", "pip install -e '.[training]'"),
        ("recurrent", "recurrent.event_parser", "pip install -e '.[training]'"),
        ("ctparse", "ctparse", "pip install --no-deps ctparse"),
    ],
)
def test_a_parser_that_is_not_installed_says_how_to_get_it(name, module, how, twenty, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as stop:
        evaluate.main([str(twenty), "--against", name])
    assert stop.value.code == 2 and how in capsys.readouterr().err


def test_the_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--help"])
    assert stop.value.code == 0 and "python -m training.evaluate data/heldout.jsonl --" in capsys.readouterr().out


def as_gold_json(asked: Row) -> dict:
    entries = [asdict(e) | {"due": e.due.isoformat() if e.due else None} for e in asked.entries]
    return {"kind": asked.kind, "tz": asked.tz.key, "reminders": entries}


@needs_eval
def test_these_tables_are_scored_alike_by_the_measure_from_outside():
    spec = importlib.util.spec_from_file_location("outside_score", EVAL / "score.py")
    outside = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(outside)
    cases = [(a, k, e) for a, k, e, _ in _WHOLE.values()]
    cases += [(row(a), "create", [e]) for a, e, *_ in INSTANTS.values()]
    cases += [(row(meant(rrule=a)), "create", [told(rrule=b)]) for a, b, _ in RULES.values()]
    cases += [(row(a), "create", [told(b)]) for a, b, _ in TASKS.values()]
    for asked, kind, entries in cases:
        given = [{"task": e.task, "due": e.due.isoformat() if e.due else None, "rrule": e.rrule} for e in entries]
        ours = {k: v for k, v in asdict(score(asked, kind, entries)).items() if v is not None}
        assert ours == outside.score(as_gold_json(asked), {"kind": kind, "reminders": given}), (asked, kind, entries)


REPLAY = """
import json, sys
answers, ref, tz = json.load(open(sys.argv[1])), sys.argv[3], sys.argv[5]
for line in sys.stdin:
    print(json.dumps(answers[" ".join([ref, tz, *line.split()])].pop(0)))
"""


@needs_eval
def test_the_measure_from_outside_comes_to_the_same_figures_from_the_same_answers(model, tmp_path):
    file = EVAL / "dev.jsonl"
    raw = [r for r in map(json.loads, file.read_text().splitlines()) if not r["ambiguous"]]
    rows = [r for r in gold.read(file) if not r.ambiguous]
    cases = asyncio.run(evaluate.measure(LlamaRewriter(model), rows, ask_below=0.5))
    answers = defaultdict(list)
    for r, case in zip(raw, cases):
        answers[" ".join([r["ref"], r["tz"], *r["text"].split()])].append(as_json(case.given))
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    (tmp_path / "replay.py").write_text(REPLAY)
    replay = f"{sys.executable} {tmp_path / 'replay.py'} {tmp_path / 'answers.json'}"
    command = [sys.executable, EVAL / "score.py", file, "--json", "--cmd", replay]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    ours = evaluate.report(cases, {}, 0)
    assert ours["overall"] == {name: theirs[name] for name in ours["overall"]}
    assert set(theirs) - set(ours["overall"]) == {"by_kind", "ms"}
    assert {kind: group["all"] for kind, group in ours["by_kind"].items()} == theirs["by_kind"]
    assert ours["ms"] == theirs["ms"]
