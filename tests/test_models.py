"""Model folders are looked at before they are used; which one is in use is kept, changed with reason, and taken back."""

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import struct
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assistant import pointer as pointer_module
from assistant.config import load
from assistant.errors import (
    BadManifest,
    BadPointer,
    BadRequest,
    ChangedModel,
    ConfigError,
    CorruptModel,
    IncompleteModel,
    ModelError,
    NotFound,
    NotPromoted,
    OtherArchitecture,
    OtherPrompt,
)
from assistant.gguf import architecture
from assistant.models import inspect, verify
from assistant.pointer import Models, Used, models_of
from tests.conftest import MODEL
from tests.fakes import StandingClock
from tests.model_folders import break_byte, candidate, evaluation, note, sha256

pytestmark = pytest.mark.usefixtures("model")
NOON = datetime(2026, 3, 12, 12, tzinfo=UTC)
SIZE = json.loads((MODEL / "manifest.json").read_text())["bytes"]
REQUIRED = ["name", "file", "sha256", "bytes", "licence", "base", "prompt"]


# A model folder

def test_the_shipped_model_is_whole_loads_and_writes_a_rewrite(model):
    manifest = verify(model, check_load=True)
    assert (manifest.name, manifest.sha256, manifest.size) == ("small", sha256(model), manifest.file.stat().st_size)


def gguf(folder: Path) -> Path:
    return folder / "model-q8_0.gguf"


def write(folder: Path, content: bytes) -> None:
    """Another file, of which the manifest is true."""
    gguf(folder).write_bytes(content)
    note(folder)


BROKEN = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), BadManifest, "no such file"),
    "a manifest that is not JSON": (lambda f: (f / "manifest.json").write_text("{"), BadManifest, "not JSON"),
    "a manifest that is a list": (lambda f: (f / "manifest.json").write_text("[]"), BadManifest, "not an object"),
    **{f"a manifest without {k}": (lambda f, k=k: note(f, **{k: None}), BadManifest, k) for k in REQUIRED if k != "file"},
    "a size that is a word": (lambda f: note(f, bytes="many"), BadManifest, '"bytes" is wrong'),
    "a file elsewhere": (lambda f: note(f, file="../small/model-q8_0.gguf"), BadManifest, "in the folder"),
    "no file": (lambda f: gguf(f).unlink(), IncompleteModel, "0 of"),
    "a file that cannot be looked at": (lambda f: note(f, file="x" * 300), CorruptModel, "too long"),
    "half of the file": (lambda f: os.truncate(gguf(f), 3_000_000), IncompleteModel, f"3000000 of {SIZE} bytes"),
    "a flipped bit": (break_byte, CorruptModel, "SHA-256"),
    "another prompt": (lambda f: note(f, prompt=2), OtherPrompt, "version 2"),
    "another architecture": (lambda f: note(f, gguf_architecture="phi2"), OtherArchitecture, "llama"),
    "no GGUF": (lambda f: write(f, b"PK\3\4" + bytes(100)), CorruptModel, "does not begin"),
    "the head cut off": (lambda f: write(f, gguf(f).read_bytes()[:30]), CorruptModel, "cut off"),
    "the weights cut off": (lambda f: write(f, gguf(f).read_bytes()[:2_000_000]), CorruptModel, "cannot load"),
}


@pytest.mark.parametrize(("breaks", "kind", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_model_is_refused_in_one_sentence_that_names_it(tmp_path, breaks, kind, says):
    folder = candidate(tmp_path, "fresh")
    breaks(folder)
    with pytest.raises(kind) as refused:
        verify(folder, check_load=True)
    said = str(refused.value)
    assert "fresh" in said and says in said and said.endswith(".") and "\n" not in said
    assert isinstance(refused.value, ModelError) and refused.value.exit_status == 3


def test_each_way_of_being_broken_has_a_code_of_its_own():
    kinds = {kind for _, kind, _ in BROKEN.values()} | {ChangedModel, NotPromoted, BadPointer, ModelError}
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_the_architecture_of_the_manifest_may_be_right(tmp_path):
    assert verify(candidate(tmp_path, "fresh", gguf_architecture="llama")).name == "fresh"


def test_what_costs_nothing_is_looked_at_without_the_hash(tmp_path):
    folder = candidate(tmp_path, "fresh")
    break_byte(folder)
    assert inspect(folder).name == "fresh"


@pytest.mark.parametrize("noted", [
    None, "good", [], {"verdict": "better"}, {"candidate": {}, "current": {"all": 1}},
], ids=["none", "a word", "a list", "half of one", "one without figures"])
def test_an_evaluation_that_is_not_properly_noted_is_none(tmp_path, noted):
    assert inspect(candidate(tmp_path, "fresh", evaluation=noted)).evaluation is None


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def head(*pairs: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs)


PHI = string(b"general.architecture") + struct.pack("<I", 8) + string(b"phi2")
PAIRS = {
    "nothing": b"",
    "a number": string(b"a") + struct.pack("<IH", 2, 7),
    "a string": string(b"a") + struct.pack("<I", 8) + string(b"general.architecture"),
    "an array of numbers": string(b"a") + struct.pack("<IIQ3f", 9, 6, 3, 1, 2, 3),
    "an array of strings": string(b"a") + struct.pack("<IIQ", 9, 8, 2) + string(b"x") + string(b"general.architecture"),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_the_architecture_is_found_behind(tmp_path, pair):
    (tmp_path / "x.gguf").write_bytes(head(*[p for p in (pair, PHI) if p]))
    assert architecture(tmp_path / "x.gguf") == "phi2"


@pytest.mark.parametrize("content", [
    b"", b"GGUF", head(), head(string(b"a") + struct.pack("<I", 99)), head(struct.pack("<Q", 2**60)), head(PHI)[:-1],
], ids=["nothing", "four letters", "no pairs", "a type that is none", "a length without end", "all but a letter"])
def test_a_head_without_an_architecture_is_no_gguf(tmp_path, content):
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ValueError):
        architecture(tmp_path / "x.gguf")


# Which one is in use

@pytest.fixture
def models(tmp_path) -> Models:
    """An empty folder of models, no pointer, and the model that ships."""
    (tmp_path / "models").mkdir()
    return Models(tmp_path / "models", tmp_path / "data/model.json", MODEL, clock=StandingClock(NOON))


def better(models: Models, name: str, than: Path | None = None) -> Path:
    return candidate(models.folder, name, evaluation=evaluation(than or models.in_use()))


def used(models: Models) -> str:
    return models.read().current.name


def test_without_a_pointer_the_shipped_model_is_in_use(models):
    assert models.in_use() == MODEL
    assert models.read().current == Used("small", None, sha256(MODEL))
    assert not models.pointer.exists(), "reading writes nothing"


def test_the_settings_name_the_folder_of_models_and_that_of_the_pointer(tmp_path):
    found = models_of(load(environ={"ASSISTANT_MODEL__DIR": str(tmp_path / "m"), "ASSISTANT_DATA__DIR": str(tmp_path)}))
    assert (found.folder, found.pointer, found.fixed) == (tmp_path / "m", tmp_path / "model.json", None)
    assert models_of(load(environ={})).folder == MODEL.parent


def test_a_model_that_is_better_than_the_one_in_use_is_promoted_and_noted(models):
    folder = better(models, "fresh")
    change = models.promote("fresh")
    assert models.in_use() == folder
    noted = json.loads(models.pointer.read_text())
    fresh = {"name": "fresh", "path": str(folder), "sha256": sha256(folder)}
    assert noted == {
        "current": fresh,
        "before": [{"name": "small", "path": None, "sha256": sha256(MODEL)}],
        "history": [fresh | {"at": "2026-03-12T12:00:00+00:00", "by": "promote", "reason": None, "forced": False,
                             "evaluation": evaluation(MODEL)}],
    }
    assert models.read().history == (change,)


def test_one_that_is_the_same_may_be_promoted(models):
    candidate(models.folder, "fresh", evaluation=evaluation(MODEL, "same"))
    assert models.promote("fresh")


OBJECTIONS = {
    "not evaluated": (lambda models: None, "has not been evaluated"),
    "worse": (lambda models: evaluation(MODEL, "worse", 85.0), "worse than small (85.0 % of the rows right, not 90.0 %)"),
    "evaluated against another": (
        lambda models: evaluation(candidate(models.folder.parent, "older")), "against older and small is in use"),
}


@pytest.mark.parametrize(("noted", "says"), OBJECTIONS.values(), ids=OBJECTIONS)
def test_without_a_good_evaluation_it_is_promoted_only_with_a_reason_that_is_kept(models, noted, says):
    candidate(models.folder, "fresh", evaluation=noted(models))
    with pytest.raises(NotPromoted) as refused:
        models.promote("fresh")
    assert says in str(refused.value) and "--force" in str(refused.value)
    assert used(models) == "small"
    models.promote("fresh", "the gold rows do not know names")
    [change] = models.read().history
    assert (change.name, change.forced, change.reason) == ("fresh", True, "the gold rows do not know names")
    assert used(models) == "fresh"


def test_a_reason_that_was_not_needed_is_kept_and_nothing_was_forced(models):
    better(models, "fresh")
    change = models.promote("fresh", "just so")
    assert (change.forced, change.reason) == (False, "just so")


def test_an_empty_reason_is_none(models):
    candidate(models.folder, "fresh")
    with pytest.raises(BadRequest):
        models.promote("fresh", " ")


@pytest.mark.parametrize(("breaks", "kind", "says"), BROKEN.values(), ids=BROKEN)
def test_no_reason_promotes_a_broken_model(models, breaks, kind, says):
    breaks(better(models, "fresh"))
    with pytest.raises(kind):
        models.promote("fresh", "I insist")
    assert used(models) == "small" and not models.pointer.exists()


def test_promoting_the_one_in_use_changes_nothing(models):
    better(models, "fresh")
    models.promote("fresh")
    before = models.pointer.read_bytes(), models.stamp()
    assert models.promote("fresh") is None
    assert (models.pointer.read_bytes(), models.stamp()) == before
    assert models.promote("small", "back") is not None
    assert models.promote("small") is None


def test_one_that_was_trained_again_in_its_place_is_another(models):
    folder = better(models, "fresh")
    models.promote("fresh")
    shutil.rmtree(folder)
    shutil.copytree(candidate(models.folder.parent, "again"), folder)
    assert models.promote("fresh", "trained again") is not None
    assert models.rollback().name == "small", "what it took the place of is gone"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../small", "/etc", "fresh/", "a\nb"])
def test_what_is_no_name_of_a_folder_is_refused(models, name):
    with pytest.raises(BadRequest):
        models.promote(name, "x")


def test_a_name_that_no_folder_has_is_not_found(models):
    with pytest.raises(NotFound, match="models list"):
        models.promote("gone", "x")


def test_a_file_is_no_model(models):
    (models.folder / "fresh").write_text("x")
    with pytest.raises(NotFound):
        models.promote("fresh", "x")


def test_each_rollback_goes_one_further_back_and_promoting_goes_on_from_there(models):
    for name in ("first", "other"):
        better(models, name)
        models.promote(name)
    assert [models.rollback().name, used(models)] == ["first", "first"]
    assert [models.rollback().name, used(models)] == ["small", "small"]
    before = models.pointer.read_bytes()
    with pytest.raises(NotFound, match="in use before"):
        models.rollback()
    assert models.pointer.read_bytes() == before
    models.promote("other", "again")
    assert [c.by for c in models.read().history] == ["promote", "promote", "rollback", "rollback", "promote"]
    assert models.rollback().name == "small"


def test_without_a_pointer_there_is_nothing_to_go_back_to(models):
    with pytest.raises(NotFound):
        models.rollback()


def test_the_shipped_model_can_be_promoted_again_and_taken_back(models):
    better(models, "fresh")
    models.promote("fresh")
    models.promote("small", "it was better")
    assert models.read().current.path is None
    assert models.rollback().name == "fresh"
    assert models.rollback().name == "small"


@pytest.mark.parametrize(("breaks", "kind"), [
    (break_byte, CorruptModel), (shutil.rmtree, BadManifest), (lambda f: (break_byte(f), note(f)), ChangedModel),
], ids=["a flipped bit", "the folder is gone", "trained again in its place"])
def test_what_was_in_use_before_is_looked_at_before_it_is_used_again(models, breaks, kind):
    first = better(models, "first")
    models.promote("first")
    better(models, "other")
    models.promote("other")
    before = models.pointer.read_bytes()
    breaks(first)
    with pytest.raises(kind):
        models.rollback()
    assert models.pointer.read_bytes() == before


def test_a_model_of_the_settings_must_be_taken_out_of_them_first(models):
    better(models, "fresh")
    fixed = Models(models.folder, models.pointer, MODEL, fixed=models.folder / "fresh")
    assert fixed.in_use().name == "fresh"
    for change in (lambda: fixed.promote("small"), fixed.rollback):
        with pytest.raises(ConfigError, match=r"empty \[model\] path"):
            change()
    assert not models.pointer.exists()


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", "{}", '{"current": null, "before": [], "history": []}',
    '{"current": {"name": "x", "path": 3, "sha256": "y"}, "before": [], "history": []}',
    '{"current": {"name": "x", "path": null, "sha256": "y"}, "before": [], "history": [{"path": null}]}', "[" * 100_000,
], ids=["nothing", "half", "a list", "null", "no keys", "no model", "a path that is none", "half a change", "deep"])
def test_a_pointer_that_makes_no_sense_is_told_with_what_to_do_and_not_overwritten(models, text):
    models.pointer.parent.mkdir()
    models.pointer.write_text(text)
    better(models, "fresh", MODEL)
    for act in (models.read, models.rollback, lambda: models.promote("fresh")):
        with pytest.raises(BadPointer, match="move it away"):
            act()
    assert models.pointer.read_text() == text


def test_a_folder_that_cannot_be_written_is_told(models):
    better(models, "fresh")
    models.pointer.with_name("model.json.part").mkdir(parents=True)
    with pytest.raises(BadPointer):
        models.promote("fresh")
    assert used(models) == "small"


def test_what_a_promote_that_died_left_half_written_is_nothing(models):
    models.pointer.parent.mkdir()
    models.pointer.with_name("model.json.part").write_text('{"current": ')
    assert used(models) == "small"
    better(models, "fresh")
    assert models.promote("fresh") and used(models) == "fresh"


def dies(models: Models, after: bool) -> None:
    real = os.replace

    def replace(*names):
        if after:
            real(*names)
        os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    models.promote("fresh")


@pytest.mark.parametrize(("after", "name"), [(False, "small"), (True, "fresh")], ids=["before", "after"])
def test_killed_in_the_instant_the_pointer_changes_it_is_the_old_or_the_new_one_and_nothing_is_locked(models, after, name):
    better(models, "fresh")
    process = multiprocessing.get_context("spawn").Process(target=dies, args=(models, after))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert used(models) == name
    assert models.promote("small", "x") is None if name == "small" else models.rollback()


def test_a_change_holds_the_lock_while_it_looks_at_a_model(models, monkeypatch):
    """So that two promotes come one after the other, and each is compared with what is in use then."""
    better(models, "fresh")
    looking, go_on = threading.Event(), threading.Event()

    def slow(*args, **more):
        looking.set()
        assert go_on.wait(30)
        return verify(*args, **more)

    monkeypatch.setattr(pointer_module, "verify", slow)
    promote = threading.Thread(target=models.promote, args=("fresh",))
    promote.start()
    assert looking.wait(30)
    with models.pointer.with_name("model.json.lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        go_on.set()
        promote.join(30)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert used(models) == "fresh"


def test_of_two_that_are_better_than_the_same_one_the_second_is_refused(models):
    better(models, "fresh")
    better(models, "other")
    models.promote("fresh")
    with pytest.raises(NotPromoted, match="fresh is in use"):
        models.promote("other")


def test_falling_back_leaves_a_pointer_alone_that_names_another_one_by_now(models):
    for name in ("fresh", "other"):
        better(models, name)
        models.promote(name)
    pointer = models.read()
    models.fall_back(pointer.before[-1], pointer.before[0], "it was broken a moment ago")
    assert models.read() == pointer


def test_falling_back_goes_on_from_what_was_in_use_before_that(models):
    for name in ("first", "other", "third"):
        better(models, name)
        models.promote(name)
    pointer = models.read()
    models.fall_back(pointer.current, pointer.before[1], "broken")
    assert used(models) == "first"
    assert models.read().history[-1].by == "fallback" and models.read().history[-1].reason == "broken"
    assert models.rollback().name == "small"
