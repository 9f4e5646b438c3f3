"""The way of a big model, on a tiny Phi of random weights: 4-bit QLoRA, merged, converted by llama.cpp's own converter,
quantised, and checked to say what it said before."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from assistant.local import LlamaModel
from assistant.models import verify
from training import converter, merge, parity
from training.converter import CACHE, ConversionFailed, NoConverter, convert
from training.finetune import BadBase, BadData, Recipe, beginning, choose_device, encode, finetune, last_checkpoint
from training.labelled import Labelled, read_labelled, write_labelled
from training.parity import PROMPTS, NotTheSame, agreement, read_merged, require
from training.tiny_phi import make

ROOT = Path(__file__).parent.parent
ROWS = read_labelled(ROOT / "data" / "task_dataset.jsonl")[:80]
TRAIN, VALIDATION = ROWS[:64], ROWS[64:]
KILLED = """
import os, signal, sys
from pathlib import Path
import trl
from training.finetune import Recipe, finetune
from training.labelled import read_labelled

class Killed(trl.SFTTrainer):
    def training_step(self, *args, **kwargs):
        if self.state.global_step == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(*args, **kwargs)

trl.SFTTrainer = Killed
base, data, run = sys.argv[1:]
rows = [read_labelled(Path(data, name)) for name in ("train.jsonl", "val.jsonl")]
finetune(Recipe(base, epochs=2, rate=3e-3), *rows, Path(run), save_every=5)
"""
"""A training that is killed in its seventh step, after it saved the fifth."""


@pytest.fixture(scope="module", autouse=True)
def on_the_cpu():
    """Whatever this machine has, so that the figures are the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINING_DEVICE", "cpu")
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("base") / "tiny-phi")


@pytest.fixture(scope="module")
def run(base, tmp_path_factory) -> Path:
    """A run that was trained for two epochs."""
    folder = tmp_path_factory.mktemp("run") / "run"
    finetune(Recipe(str(base), epochs=2, rate=3e-3), TRAIN, VALIDATION, folder, say=lambda _: None)
    return folder


@pytest.fixture(scope="module")
def built(base, run, tmp_path_factory) -> Path:
    """The model folder made of a copy of that run."""
    copy = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(run, copy)
    return merge.build(str(base), copy, tmp_path_factory.mktemp("models") / "tiny").parent


@pytest.fixture(scope="module")
def merged(base, tmp_path_factory) -> Path:
    return merge.merge(str(base), None, tmp_path_factory.mktemp("merged") / "model")


@pytest.fixture(scope="module")
def full(merged, tmp_path_factory) -> Path:
    """The f16 GGUF of the base."""
    convert(merged, file := tmp_path_factory.mktemp("gguf") / "model.gguf", CACHE)
    return file


@pytest.fixture(scope="module")
def readings(merged):
    """What the base says to the prompts."""
    return read_merged(merged)


def log_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


class TestFineTuning:
    def test_the_weights_are_four_bits_and_only_adapters_are_trained(self, run):
        assert json.loads((run / "recipe.json").read_text())["four_bit"] is choose_device().four_bit
        adapters = json.loads((run / "best" / "adapter_config.json").read_text())
        assert (adapters["r"], adapters["lora_alpha"]) == (8, 16)
        assert set(adapters["target_modules"]) == {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"}
        assert json.loads((run / "done.json").read_text())["trainable"] < 100_000

    def test_adapters_are_float32_as_the_gradient_scaler_of_float16_wants_them(self, run):
        from safetensors.torch import load_file  # numpy has no bfloat16

        trained = [load_file(file) for file in (run / "checkpoints").glob("*/adapter_model.safetensors")]
        assert {str(weight.dtype) for adapters in trained for weight in adapters.values()} == {"torch.float32"}

    def test_each_epoch_ends_with_a_validation_loss_and_it_falls(self, run):
        losses = [row["eval_loss"] for row in log_of(run) if "eval_loss" in row]
        assert len(losses) == 2 and losses[1] < losses[0]

    def test_what_is_finished_is_not_done_again(self, base, run):
        before = (run / "log.jsonl").read_text()
        said = []
        finetune(Recipe(str(base), epochs=2, rate=3e-3), TRAIN, VALIDATION, run, say=said.append)
        assert "finished already" in said[0] and (run / "log.jsonl").read_text() == before

    def test_the_folder_of_another_run_is_refused(self, base, run):
        with pytest.raises(BadData, match="holds another run"):
            finetune(Recipe(str(base), epochs=3, rate=3e-3), TRAIN, VALIDATION, run)

    def test_it_stops_when_the_validation_loss_no_longer_falls(self, base, tmp_path):
        recipe = Recipe(str(base), epochs=9, rate=1e-12, patience=1)  # so small a rate changes nothing
        finetune(recipe, TRAIN[:8], VALIDATION[:4], tmp_path / "run", say=lambda _: None)
        assert json.loads((tmp_path / "run" / "done.json").read_text())["epochs"] < 9

    def test_killed_in_the_middle_it_goes_on_and_ends_like_one_that_was_not(self, base, run, tmp_path):
        data = tmp_path / "data"
        write_labelled(data / "train.jsonl", TRAIN)
        write_labelled(data / "val.jsonl", VALIDATION)
        again = tmp_path / "run"
        command = [sys.executable, "-c", KILLED, str(base), str(data), str(again)]
        killed = subprocess.run(command, cwd=ROOT, capture_output=True)
        assert killed.returncode == -signal.SIGKILL and not (again / "done.json").exists()
        assert [row["step"] for row in log_of(again) if "eval_loss" in row] == [4]
        finetune(Recipe(str(base), epochs=2, rate=3e-3), TRAIN, VALIDATION, again, say=lambda _: None)
        assert [row["step"] for row in log_of(again) if "eval_loss" in row] == [4, 8], "the first epoch is not repeated"
        assert json.loads((again / "done.json").read_text())["steps"] == 8
        ends = [json.loads((r / "done.json").read_text())["eval_loss"] for r in (run, again)]
        assert ends[0] == pytest.approx(ends[1], abs=0.02)

    def test_half_a_checkpoint_is_not_gone_on_with(self, tmp_path):
        for step, state in ((5, "{}"), (10, '{"global_st')):
            (tmp_path / f"checkpoint-{step}").mkdir()
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
        assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-5")
        assert last_checkpoint(tmp_path / "none") is None

    def test_the_loss_counts_the_rewrite_and_its_end_and_nothing_before(self, base):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(base)
        row = Labelled("Call Mum at 5, and buy milk", "call mum | 5:00?\nbuy milk |", "hand")
        example = encode(row, tokenizer, [tokenizer.bos_token_id])
        counted = [t for t, m in zip(example["input_ids"], example["completion_mask"]) if m]
        assert tokenizer.decode(counted) == " call mum | 5:00?\n buy milk |<eos>"
        assert tokenizer.decode(example["input_ids"]).startswith("<bos> call mum at 5 , and buy milk\n")

    def test_a_tokenizer_without_a_beginning_takes_the_models(self, base):
        from transformers import AutoConfig, AutoTokenizer

        tokenizer, config = AutoTokenizer.from_pretrained(base), AutoConfig.from_pretrained(base)
        tokenizer.bos_token, config.bos_token_id = None, 7
        assert beginning(tokenizer, config) == [7]
        config.bos_token_id = None
        assert beginning(tokenizer, config) == []

    def test_a_base_that_cannot_be_had_is_said_so(self, tmp_path):
        with pytest.raises(BadBase, match="give a folder, or a name of the hub and a network"):
            finetune(Recipe(str(tmp_path / "nothing")), TRAIN, VALIDATION, tmp_path / "run", say=lambda _: None)

    def test_without_data_it_says_how_to_make_some(self, base, tmp_path):
        with pytest.raises(BadData, match="training.dataset"):
            finetune(Recipe(str(base)), [], VALIDATION, tmp_path / "run")


class TestConversion:
    def test_the_folder_is_one_that_the_assistant_takes(self, built):
        manifest = verify(built, check_load=True)
        assert manifest.facts["gguf_architecture"] == "phi2" and manifest.file.name == "model-q4_k_m.gguf"
        assert manifest.facts["agreement"]["f16"] >= 0.97 and manifest.facts["training"]["epochs"] == 2

    def test_it_answers_under_the_constraint(self, built):
        model = LlamaModel(built / "model-q4_k_m.gguf")
        written, _ = model.write("call mum tomorrow at five")
        model.close()
        assert written

    def test_the_f16_file_says_token_for_token_what_the_merged_model_says(self, readings, full):
        assert agreement(full, readings) >= 0.97

    def test_merging_adds_what_was_trained(self, base, run, merged, tmp_path):
        from safetensors.numpy import load_file

        trained = merge.merge(str(base), run / "best", tmp_path / "model")
        name = "model.layers.0.self_attn.q_proj.weight"
        before, after = (load_file(f / "model.safetensors")[name] for f in (merged, trained))
        assert before.shape == after.shape and not np.array_equal(before, after)

    @pytest.mark.parametrize("part", ["attn_q.weight", "ffn_down.weight"])
    def test_a_conversion_that_mixed_up_a_matrix_is_refused(self, readings, full, part, tmp_path):
        broken = tmp_path / "broken.gguf"
        shutil.copy(full, broken)
        scramble(broken, part)
        with pytest.raises(NotTheSame, match="the conversion is broken, and the model is not shipped"):
            require(broken, readings, "F16")

    def test_a_conversion_with_another_tokenizer_is_refused(self, readings, full):
        wrong = [parity.Reading((r.tokens[0], r.tokens[1] + 1, *r.tokens[2:]), r.likeliest) for r in readings]
        with pytest.raises(NotTheSame, match="in other tokens"):
            agreement(full, wrong)

    def test_killed_as_it_clears_up_it_ends_all_the_same_when_it_is_started_again(self, base, run, tmp_path, monkeypatch):
        copy, out = tmp_path / "run", tmp_path / "tiny"
        shutil.copytree(run, copy)

        def killed(folder, *_, **__):
            for weights in Path(folder).rglob("*.safetensors"):
                weights.unlink()
                raise InterruptedError

        with monkeypatch.context() as patched:
            patched.setattr(merge.shutil, "rmtree", killed)
            with pytest.raises(InterruptedError):
                merge.build(str(base), copy, out)
        merge.build(str(base), copy, out)
        verify(out)
        assert not list(copy.glob("merged*"))

    def test_a_refused_model_leaves_nothing_behind(self, base, tmp_path, monkeypatch):
        monkeypatch.setitem(parity.LEAST, "Q4_K_M", 1.01)
        with pytest.raises(NotTheSame):
            merge.build(str(base), None, tmp_path / "models" / "tiny")
        assert not (tmp_path / "models" / "tiny").exists()

    def test_what_the_converter_does_not_know_is_said_so(self, merged, tmp_path):
        unknown = tmp_path / "unknown"
        shutil.copytree(merged, unknown)
        config = json.loads((unknown / "config.json").read_text()) | {"architectures": ["NobodyKnowsForCausalLM"]}
        (unknown / "config.json").write_text(json.dumps(config))
        with pytest.raises(ConversionFailed, match="does not take unknown"):
            convert(unknown, tmp_path / "out.gguf", CACHE)

    def test_a_source_distribution_that_is_another_is_refused(self, tmp_path):
        (tmp_path / "source.tar.gz").write_bytes(b"something else")
        with pytest.raises(NoConverter, match="is not the one expected"):
            converter.check_source(tmp_path / "source.tar.gz", next(iter(converter.KNOWN)))

    def test_an_unknown_version_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.setattr(converter, "KNOWN", {})
        with pytest.raises(NoConverter, match="is not known here"):
            convert(tmp_path, tmp_path / "out.gguf", tmp_path / "cache")

    def test_there_are_twenty_prompts(self):
        assert len(set(PROMPTS)) == 20


def scramble(file: Path, part: str) -> None:
    """Reverses the rows of one matrix of a GGUF file."""
    import gguf

    reader = gguf.GGUFReader(file, "r+")
    tensor = next(t for t in reader.tensors if t.name == f"blk.0.{part}")
    tensor.data[:] = tensor.data[::-1].copy()
    reader.data.flush()
