"""The model changes while requests come in: none is lost, and what cannot be used is not."""

import asyncio
import json
import logging
import os
import pty
import shutil
import signal
import threading
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from assistant.clock import SystemClock
from assistant.errors import ModelError, ModelMissing
from assistant.fallback import FallbackRewriter
from assistant.http import Service, listening
from assistant.listen import open_socket
from assistant.local import LlamaRewriter
from assistant.pipeline import Pipeline
from assistant.pointer import Models
from assistant.reload import ReloadingRewriter
from assistant.rewriters import Rewriters
from assistant.store import Store
from assistant.when import Policy
from tests.conftest import MODEL
from tests.fakes import ScriptedRewriter, Ticks
from tests.held import HeldModels
from tests.model_folders import break_byte, candidate, sha256
from tests.process import Daemon
from tests.test_life_cycle import patched

pytestmark = pytest.mark.usefixtures("model")
EAT = "remind me to eat tomorrow"
CALL = "remind me to call mum tomorrow at 5 pm"


@pytest.fixture
def models(tmp_path) -> Models:
    """Two models, neither of them in use, and the one that ships."""
    folder = tmp_path / "models"
    for name in ("first", "fresh"):
        candidate(folder, name)
    return Models(folder, tmp_path / "model.json", MODEL)


@pytest.fixture
async def rewriter(models):
    async with ReloadingRewriter(models, queue=500) as rewriter:
        yield rewriter


@pytest.fixture
def held(monkeypatch):
    with HeldModels(monkeypatch) as held:
        yield held


def warnings(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def point_at(models: Models, folder: Path) -> None:
    """Write the pointer by hand, without looking at what it names."""
    pointer = {"current": {"name": folder.name, "path": str(folder), "sha256": sha256(folder)},
               "before": [{"name": "small", "path": None, "sha256": sha256(MODEL)}], "history": []}
    models.pointer.with_name("new").write_text(json.dumps(pointer))
    os.replace(models.pointer.with_name("new"), models.pointer)


async def test_without_a_pointer_the_shipped_model_answers(rewriter):
    assert (await rewriter.rewrite(EAT)).model == rewriter.name == "small"
    assert rewriter.sha256 == sha256(MODEL)


async def test_what_was_asked_before_a_reload_ends_on_the_old_model_and_what_comes_after_begins_on_the_new(rewriter, models):
    models.promote("fresh", "x")
    asked = [asyncio.create_task(rewriter.rewrite(EAT)) for _ in range(100)]
    reload = asyncio.create_task(rewriter.reload())
    while not reload.done():
        asked.append(asyncio.create_task(rewriter.rewrite(EAT)))
        await asyncio.wait([asked[-1], reload], return_when=asyncio.FIRST_COMPLETED)
    later = await asyncio.gather(*(rewriter.rewrite(EAT) for _ in range(20)))
    answers = await asyncio.gather(*asked)
    assert {a.text for a in answers + later} == {"eat | tomorrow"}
    assert [a.model for a in answers] == sorted((a.model for a in answers), reverse=True), "small, then fresh"
    assert {a.model for a in answers[:100]} == {"small"} and {a.model for a in later} == {"fresh"}
    done = reload.result()
    assert (done.model, done.sha256, done.changed, done.problem) == ("fresh", sha256(models.folder / "fresh"), True, None)
    assert (rewriter.name, rewriter.sha256) == (done.model, done.sha256)


async def test_the_old_model_is_closed_after_its_last_request_even_when_all_of_it_ends_meanwhile(models, monkeypatch):
    events, go_on = [], threading.Event()
    close, write = LlamaRewriter.__aexit__, LlamaRewriter.rewrite_now

    async def closed(self, *exc):
        await close(self, *exc)
        events.append(f"{self.name} closed")

    def written(self, text, abandoned):
        assert self.name == "fresh" or go_on.wait(30)
        events.append(f"{self.name} wrote")
        return write(self, text, abandoned)

    monkeypatch.setattr(LlamaRewriter, "__aexit__", closed)
    monkeypatch.setattr(LlamaRewriter, "rewrite_now", written)
    async with ReloadingRewriter(models) as rewriter:
        models.promote("fresh", "x")
        asked = [asyncio.create_task(rewriter.rewrite(EAT)) for _ in range(10)]
        assert (await rewriter.reload()).changed
        assert (await rewriter.rewrite(EAT)).model == "fresh"
        assert events == ["fresh wrote"]
        go_on.set()
    assert sorted(events) == ["fresh closed", "fresh wrote", "small closed"] + ["small wrote"] * 10
    assert [e for e in events if e.startswith("small")][-1] == "small closed"
    assert {(await answer).model for answer in asked} == {"small"}


async def test_requests_on_the_model_before_are_counted_until_they_are_answered(models, held):
    async with ReloadingRewriter(models, queue=5, contexts=2) as rewriter:
        models.promote("fresh", "x")
        old = [asyncio.create_task(rewriter.rewrite(EAT)) for _ in range(3)]
        await asyncio.to_thread(held.wait_begun, 2)
        assert (await rewriter.reload()).changed
        new = [asyncio.create_task(rewriter.rewrite(EAT)) for _ in range(2)]
        await asyncio.to_thread(held.wait_begun, 2)
        assert (rewriter.in_flight, rewriter.waiting) == (4, 1)
        held.go_on.set()
        assert [a.model for a in await asyncio.gather(*old, *new)] == ["small"] * 3 + ["fresh"] * 2
        assert (rewriter.in_flight, rewriter.waiting) == (0, 0)


async def test_of_two_reloads_at_once_one_changes_the_model(rewriter, models):
    models.promote("fresh", "x")
    done = await asyncio.gather(rewriter.reload(), rewriter.reload())
    assert [(d.model, d.changed) for d in done] == [("fresh", True), ("fresh", False)]


async def test_a_reload_without_news_changes_nothing(rewriter, caplog):
    done = await rewriter.reload()
    assert (done.model, done.changed, done.problem) == ("small", False, None)
    assert warnings(caplog) == []


@pytest.mark.parametrize("breaks", [break_byte, shutil.rmtree], ids=["a flipped bit", "the folder is gone"])
async def test_a_model_that_broke_after_it_was_promoted_is_not_used_and_the_pointer_is_written_back(
    rewriter, models, caplog, breaks
):
    models.promote("first", "x")
    await rewriter.reload()
    models.promote("fresh", "x")
    breaks(models.folder / "fresh")
    done = await rewriter.reload()
    assert (done.model, done.changed) == ("first", False) and "fresh" in done.problem
    assert (await rewriter.rewrite(EAT)).model == "first"
    [warning] = warnings(caplog)
    assert done.problem in warning
    pointer = models.read()
    assert pointer.current.name == "first" and [u.name for u in pointer.before] == ["small"]
    assert (pointer.history[-1].by, pointer.history[-1].name, pointer.history[-1].reason) == ("fallback", "first", done.problem)


async def test_a_model_that_fails_to_load_is_not_used(rewriter, models, monkeypatch):
    models.promote("fresh", "x")

    async def no(self):
        raise ModelError("There is no room for it.")

    monkeypatch.setattr(LlamaRewriter, "__aenter__", no)
    assert (await rewriter.reload()).problem == "There is no room for it."
    assert (await rewriter.rewrite(EAT)).model == models.read().current.name == "small"


async def test_a_model_promoted_while_another_one_fails_to_load_is_the_next_to_be_used(rewriter, models, monkeypatch):
    models.promote("fresh", "x")
    real = LlamaRewriter.__aenter__

    async def meanwhile(self):
        if self.name == "fresh":
            models.promote("first", "y")
            raise ModelError("There is no room for it.")
        return await real(self)

    monkeypatch.setattr(LlamaRewriter, "__aenter__", meanwhile)
    assert (await rewriter.reload()).model == "small"
    assert models.read().current.name == "first"
    assert (await rewriter.reload()).model == "first"


async def test_a_pointer_that_makes_no_sense_is_put_aside(rewriter, models, caplog):
    models.pointer.write_text("{")
    done = await rewriter.reload()
    assert done.model == "small" and "makes no sense" in done.problem
    assert len(warnings(caplog)) == 1
    assert models.pointer.with_name("model.json.broken").read_text() == "{"
    assert models.read().current.name == "small"


async def test_where_the_pointer_cannot_be_written_back_it_goes_on_all_the_same(rewriter, models, caplog):
    models.promote("fresh", "x")
    shutil.rmtree(models.folder / "fresh")
    models.pointer.with_name("model.json.part").mkdir()
    assert (await rewriter.reload()).problem
    assert (await rewriter.rewrite(EAT)).model == "small"
    assert "not corrected" in warnings(caplog)[-1]


# At the start

async def test_at_the_start_it_goes_back_to_the_last_that_can_be_used(models, caplog):
    models.promote("first", "x")
    models.promote("fresh", "x")
    break_byte(models.folder / "fresh")
    async with ReloadingRewriter(models) as rewriter:
        assert (await rewriter.rewrite(EAT)).model == "first"
    assert len(warnings(caplog)) == 1
    last = models.read().history[-1]
    assert (models.read().current.name, last.by) == ("first", "fallback") and "fresh" in last.reason


async def test_at_the_start_it_goes_back_as_far_as_the_shipped_model_and_warns_of_each(models, caplog):
    for name in ("first", "fresh"):
        models.promote(name, "x")
        break_byte(models.folder / name) if name == "fresh" else None
    shutil.rmtree(models.folder / "first")
    async with ReloadingRewriter(models) as rewriter:
        assert (await rewriter.rewrite(EAT)).model == "small"
    assert [name in w for name, w in zip(("fresh", "first"), warnings(caplog), strict=True)] == [True, True]
    assert models.read().current.path is None and models.read().before == ()


async def test_a_start_with_a_pointer_that_makes_no_sense_uses_the_shipped_model(models, caplog):
    models.pointer.write_text("nonsense")
    async with ReloadingRewriter(models) as rewriter:
        assert rewriter.name == "small"
    assert len(warnings(caplog)) == 1 and models.read().history[-1].by == "fallback"


async def test_without_any_model_that_can_be_used_it_does_not_start(models, tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        async with ReloadingRewriter(Models(models.folder, models.pointer, tmp_path / "nowhere")):
            pass


async def test_a_model_of_the_settings_is_used_whatever_the_pointer_says(models):
    models.promote("fresh", "x")
    before = models.pointer.read_bytes()
    fixed = Models(models.folder, models.pointer, MODEL, fixed=models.folder / "first")
    async with ReloadingRewriter(fixed) as rewriter:
        assert (await rewriter.rewrite(EAT)).model == "first"
        assert rewriter.sha256 == sha256(models.folder / "first")
        done = await rewriter.reload()
        assert (done.model, done.changed) == ("first", False) and "[model] path" in done.problem
    assert models.pointer.read_bytes() == before


async def test_a_model_of_the_settings_that_is_missing_is_an_error_and_nothing_stands_in_for_it(models, tmp_path):
    with pytest.raises(ModelMissing):
        async with ReloadingRewriter(Models(models.folder, models.pointer, MODEL, fixed=tmp_path / "nowhere")):
            pass


# Watching the pointer

async def test_it_looks_at_the_pointer_by_itself(rewriter, models):
    ticks = Ticks()
    watch = asyncio.create_task(rewriter.watch(ticks.sleep))
    await ticks.tick()
    assert rewriter.name == "small"
    models.promote("fresh", "x")
    await ticks.tick()
    assert rewriter.name == "fresh"
    models.rollback()
    await ticks.tick()
    assert rewriter.name == "small"
    watch.cancel()


async def test_it_reads_the_pointer_only_when_that_was_replaced(rewriter, models, monkeypatch):
    point_at(models, models.folder / "fresh")
    await rewriter.reload()
    reads = []
    monkeypatch.setattr(rewriter, "reload", lambda: reads.append(1))
    ticks = Ticks()
    watch = asyncio.create_task(rewriter.watch(ticks.sleep))
    for _ in range(3):
        await ticks.tick()
    assert reads == [] and not watch.done()
    watch.cancel()


# The threshold

async def test_the_confidence_below_which_it_asks_is_that_of_the_model_in_use(models, tmp_path):
    candidate(models.folder, "cautious", calibration={"ask_below": 1.0})
    candidate(models.folder, "silent", calibration=None)
    with Store.open(tmp_path / "reminders.db") as store:
        async with ReloadingRewriter(models) as rewriter:
            async def kind(ask_below) -> str:
                pipeline = Pipeline(rewriter, store, Policy(), ZoneInfo("Europe/London"), SystemClock(), ask_below, lambda: None)
                return (await pipeline.predict(CALL)).kind

            assert await kind("model") == "create"
            models.promote("cautious", "x")
            await rewriter.reload()
            assert await kind("model") == "confirm"
            assert await kind(0.5) == "create", "a number in the settings wins"
            models.promote("silent", "x")
            await rewriter.reload()
            assert (await rewriter.rewrite(CALL)).ask_below == 0.5
            assert await kind("model") == "create"


async def test_a_rewriter_without_a_manifest_asks_below_one_half(tmp_path):
    rewriter = ScriptedRewriter({EAT: "eat | tomorrow"}, confidence=0.49)
    with Store.open(tmp_path / "reminders.db") as store:
        pipeline = Pipeline(rewriter, store, Policy(), ZoneInfo("Europe/London"), SystemClock(), "model", lambda: None)
        assert (await pipeline.predict(EAT)).kind == "confirm"
        rewriter.confidence = 0.5
        assert (await pipeline.predict(EAT)).kind == "create"


# By HTTP

async def test_http_reloads_and_tells_which_model_is_in_use(rewriter, models, tmp_path):
    with Store.open(tmp_path / "reminders.db") as store, open_socket("127.0.0.1", 0) as socket:
        pipeline = Pipeline(rewriter, store, Policy(), ZoneInfo("UTC"), SystemClock(), "model", lambda: None)
        rewriters = Rewriters(FallbackRewriter({"local": rewriter}), rewriter, None)
        async with listening(Service(pipeline, rewriters), socket) as url, aiohttp.ClientSession(url) as session:
            async def call(method: str, path: str, body: dict | None = None) -> dict:
                async with session.request(method, path, json=body) as response:
                    assert response.status == 200
                    return await response.json()

            async def health() -> tuple[str, str]:
                told = await call("GET", "/health")
                assert told["model_pointer"] == str(models.pointer)
                return told["model"], told["model_sha256"]

            assert await health() == ("small", sha256(MODEL))
            models.promote("fresh", "x")
            fresh = sha256(models.folder / "fresh")
            assert await call("POST", "/model/reload") == {
                "model": "fresh", "sha256": fresh, "changed": True, "problem": None}
            assert await health() == ("fresh", fresh)
            assert (await call("POST", "/predict", {"text": EAT}))["model"] == "fresh"


# The daemon as a process

NEVER_LOOKS = "import assistant.reload\nassistant.reload.LOOK_SECONDS = 1e6"


@pytest.fixture
def settings(models) -> dict[str, str]:
    return {"ASSISTANT_MODEL__DIR": str(models.folder), "ASSISTANT_MODEL__QUEUE": "1000"}


def in_use(daemon: Daemon) -> str:
    return daemon.call("GET", "/health")[1]["model"]


def test_a_daemon_takes_a_broken_model_back_out_of_use_by_itself(models, tmp_path, settings):
    with Daemon(tmp_path, settings) as daemon:
        break_byte(models.folder / "fresh")
        point_at(models, models.folder / "fresh")
        daemon.wait_for("warning .*small stays in use: The model fresh is damaged")
        assert daemon.call("POST", "/predict", {"text": EAT})[1]["model"] == "small"
        answer = daemon.call("POST", "/model/reload")[1]  # after the one that wrote it back
        assert (answer["model"], answer["problem"]) == ("small", None)
    last = models.read().history[-1]
    assert (models.read().current.name, last.by) == ("small", "fallback") and "damaged" in last.reason


def test_a_daemon_starts_with_a_pointer_that_makes_no_sense(models, tmp_path, settings):
    models.pointer.write_text("{")
    daemon = Daemon(tmp_path, settings).start()
    try:
        daemon.wait_for("warning .*makes no sense")
        assert in_use(daemon.ready()) == "small"
    finally:
        daemon.__exit__()


def test_a_daemon_starts_although_the_model_in_use_is_gone(models, tmp_path, settings):
    models.promote("fresh", "x")
    shutil.rmtree(models.folder / "fresh")
    daemon = Daemon(tmp_path, settings).start()
    try:
        daemon.wait_for("warning .*cannot use the model fresh")
        assert in_use(daemon.ready()) == "small"
        assert daemon.say(CALL)["understanding"]["model"] == "small"
    finally:
        daemon.__exit__()


def test_a_hangup_makes_it_look_at_the_pointer(models, tmp_path, settings):
    with patched(Daemon(tmp_path, settings), NEVER_LOOKS) as daemon:
        models.promote("fresh", "x")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("model fresh is in use")
        assert in_use(daemon) == "fresh"
        assert daemon.stop() == 0


def test_closing_its_terminal_stops_it_cleanly(tmp_path, settings):
    master, slave = pty.openpty()
    daemon = Daemon(tmp_path, settings)
    daemon._command = ["sh", "-c", f'exec "$@" < {os.ttyname(slave)}', "sh", *daemon._command]
    daemon.start()
    try:
        daemon.ready()
        os.close(slave)
        os.close(master)
        assert daemon.stop(signal.SIGHUP) == 0
        daemon.wait_for("stopped$")
    finally:
        daemon.__exit__()


DIES_LOADING = """
import os, assistant.local
real = assistant.local.LlamaRewriter.__aenter__
async def enter(self):
    if self.name == "fresh":
        os.kill(os.getpid(), 9)
    return await real(self)
assistant.local.LlamaRewriter.__aenter__ = enter
"""


def test_killed_while_it_loads_the_new_model_it_uses_that_at_the_next_start(models, tmp_path, settings):
    with patched(Daemon(tmp_path, settings), DIES_LOADING) as daemon:
        reminder = daemon.say(CALL)["reminders"][0]
        models.promote("fresh", "x")
        assert daemon.process.wait(30) == -signal.SIGKILL
    with Daemon(tmp_path, settings) as daemon:
        assert in_use(daemon) == "fresh"
        assert daemon.call("GET", "/reminders")[1]["reminders"] == [reminder]
    assert [c.by for c in models.read().history] == ["promote"]
