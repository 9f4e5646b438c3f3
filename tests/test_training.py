"""Training, export and loading, done for real on a model of a few thousand parameters."""

import hashlib
import json
from itertools import islice
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

torch.set_num_threads(1)

from assistant.grammar import automaton  # noqa: E402
from assistant.local import LlamaModel  # noqa: E402
from assistant.prompt import completion, prompt  # noqa: E402
from training import export, pretrain  # noqa: E402
from training.muon import StackedMuon  # noqa: E402
from training.synthesize import Synthesizer  # noqa: E402
from training.tokenizer import load_tokenizer, train_tokenizer  # noqa: E402
from training.warm_start import grow, read_gguf  # noqa: E402

TINY = {
    "width": 64,
    "layers": 1,
    "vocabulary": 600,
    "batch": 600,
    "rate": 2e-3,
    "seed": 1,
    "checkpoint_every": 4,
    "validation": 32,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model that was trained for a dozen steps."""
    folder = tmp_path_factory.mktemp("run")
    train_tokenizer(600, seed=1, examples=3000).save(str(folder / "tokenizer.json"))
    return pretrain.train(folder, steps=12, **TINY)


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    loaded = LlamaModel(export.export(run, tmp_path_factory.mktemp("models") / "tiny"))
    yield loaded
    loaded.close()


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls(run):
    rows = [r for r in log(run) if "val_loss" in r]
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(run, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((run / "tokenizer.json").read_bytes())
    stopped = {**TINY, "checkpoint_every": 8}

    class Stop(Exception):
        pass

    class Bar:
        def __init__(self, *a, **k):
            self.n = 0

        def __enter__(self):
            return self

        def __exit__(self, *a):
            pass

        def set_postfix(self, *a):
            pass

        def update(self):
            self.n += 1
            if self.n == 10:
                raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "tqdm", Bar)
        with pytest.raises(Stop):
            pretrain.train(tmp_path, steps=12, **stopped)
    pretrain.train(tmp_path, steps=12, **stopped)
    one, two = (torch.load(r / "checkpoint.pt", weights_only=False)["model"] for r in (run, tmp_path))
    assert all(torch.allclose(one[k], two[k], atol=1e-3) for k in one)


def test_the_mask_counts_the_rewrite_and_its_end_alone(run):
    tokenizer = load_tokenizer(run / "tokenizer.json")
    example = next(Synthesizer().examples(2))
    ids, head = pretrain.encode(example, tokenizer)
    tokens, mask = pretrain.collate([(ids, head), (ids[:head] + ids[-1:], head)])
    counted = torch.roll(tokens, -1, dims=1)[mask].tolist()
    assert counted == [*tokenizer.encode(completion(example.rewrite)).ids, 1, 1]


def test_llama_cpp_reads_text_in_the_same_tokens_as_training(run, model):
    tokenizer = load_tokenizer(run / "tokenizer.json")
    for e in islice(Synthesizer().examples(3), 300):
        for text in (prompt(e.text), completion(e.rewrite), prompt("naïve café 日本 🎂 a_b 12:30pm it's 'quoted'")):
            assert model.tokenize(text) == tokenizer.encode(text).ids


def test_llama_cpp_computes_what_was_trained(run, model):
    import numpy
    from transformers import LlamaForCausalLM

    ids = [0, *model.tokenize(prompt("remind me to call mum tomorrow at five"))]
    with torch.no_grad():
        right = LlamaForCausalLM.from_pretrained(run).float()(torch.tensor([ids])).logits[0, -1].numpy()
    model._llm.reset()
    model._llm.eval(ids)
    got = numpy.ctypeslib.as_array(model._cpp.llama_get_logits_ith(model._llm.ctx, -1), shape=(len(right),))
    assert numpy.abs(right - got).max() < 0.05 * numpy.abs(right).max()  # eight bits a weight


def test_a_model_that_has_hardly_learnt_still_writes_rewrites(model):
    for e in islice(Synthesizer().examples(4), 40):
        text, probability = model.write(e.text)
        assert automaton("rewrite").accepts(text.replace("\n", " \n ").split(" "))
        assert 0 <= probability <= 1


def test_the_manifest_says_what_the_file_is(run, tmp_path):
    file = export.export(run, tmp_path / "named", {"data": "synthetic"})
    manifest = json.loads((tmp_path / "named" / "manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert manifest["file"] == file.name
    assert manifest["steps"] == 12
    assert manifest["recipe"]["seed"] == 1
    assert manifest["recipe"]["data_sha256"] == pretrain.data_hash()
    assert manifest["data"] == "synthetic"
    names = sorted(p.name for p in (tmp_path / "named").iterdir())
    assert names == ["manifest.json", "model-q8_0.gguf", "training.png"]


def test_no_batch_holds_more_tokens_than_it_may_and_no_example_is_lost():
    tokenizer = train_tokenizer(600, seed=1, examples=2000)
    made = pretrain.batches(Synthesizer(), tokenizer, seed=5, size=700, count=300)
    assert sum(len(tokens) for tokens, _ in made) == 300
    assert all(tokens.numel() <= 700 or len(tokens) == 1 for tokens, _ in made)


def test_worker_processes_draw_the_same_batches_in_the_same_order():
    how = {"size": 700, "count": 40, "extra": [next(Synthesizer().examples(6))], "share": 0.1, "retell": True}
    source, tokenizer = Synthesizer(), train_tokenizer(600, seed=1, examples=2000)
    drawn = []
    for workers in (0, 1):
        stream = pretrain.chunks(source, tokenizer, seed=1, first=3, workers=workers, **how)
        drawn.append(list(islice(stream, 2)))
        stream.close()
    alone, beside = drawn
    assert [chunk for chunk, _ in alone] == [chunk for chunk, _ in beside] == [3, 4]
    for (_, one), (_, other) in zip(alone, beside):
        assert all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y))


def test_a_run_that_has_minutes_ends_by_the_clock_with_its_rate_fallen(run, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((run / "tokenizer.json").read_bytes())
    factors, told = [], pretrain.schedule

    def schedule(*a, **k):
        factors.append(told(*a, warmup=1, **k))
        return factors[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "schedule", schedule)
        patch.setattr(pretrain, "CHUNK", 100)
        pretrain.train(tmp_path, steps=None, minutes=0.02, fall=1.0, **TINY)
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] < 0.5
    assert "val_loss" in log(tmp_path)[-1]
    assert (tmp_path / "model.safetensors").exists()
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["minutes"] == 0.02
    assert "steps" not in recipe


def test_muon_over_stacked_matrices_steps_as_the_one_of_torch():
    shapes = ((8, 8), (8, 8), (24, 8), (8, 24), (24, 8))
    torch.manual_seed(1)
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in mine]
    how = {"lr": 0.02, "weight_decay": 0.01, "adjust_lr_fn": "original"}
    tools = StackedMuon(mine, **how), torch.optim.Muon(theirs, **how)
    for _ in range(3):
        for p, q in zip(mine, theirs):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        for tool in tools:
            tool.step()
    assert all(torch.allclose(p, q, atol=1e-4) for p, q in zip(mine, theirs))


def test_a_model_that_was_exported_can_be_trained_on(run, model, tmp_path):
    """What llama.cpp's file holds is what was trained, but for the rounding to eight bits."""
    from transformers import LlamaForCausalLM

    start = read_gguf(Path(model._llm.model_path))
    trained = LlamaForCausalLM.from_pretrained(run).state_dict()
    for name, weight in start.weights.items():
        assert abs(trained[name].float().numpy() - weight).max() < 0.02 * abs(weight).max(), name
    example = next(Synthesizer().examples(2))
    assert start.tokenizer.encode(example.text).ids == load_tokenizer(run / "tokenizer.json").encode(example.text).ids


def test_a_grown_model_says_at_first_what_the_old_one_said(model):
    start = read_gguf(Path(model._llm.model_path))
    ids = torch.tensor([start.tokenizer.encode(prompt("remind me to call mum at five")).ids])
    logits = []
    for layers in (start.layers, start.layers + 2):
        one = pretrain.new_model(start.tokenizer.get_vocab_size(), start.width, layers, start.heads, start.feed_forward)
        weights = {k: torch.from_numpy(w.copy()) for k, w in grow(start, layers).items()}
        one.load_state_dict(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]})
        with torch.no_grad():
            logits.append(one(ids).logits)
    assert torch.allclose(*logits, atol=1e-4)


def test_a_folder_with_another_run_is_left_alone(run):
    with pytest.raises(ValueError, match="another run"):
        pretrain.train(run, steps=20, **{**TINY, "seed": 2})


def test_a_foreign_model_is_refused(tmp_path):
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "foreign.gguf", "phi2")
    writer.add_name("foreign")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ValueError, match="no model of"):
        read_gguf(tmp_path / "foreign.gguf")


def test_a_model_cannot_shrink(model):
    start = read_gguf(Path(model._llm.model_path))
    with pytest.raises(ValueError, match="layers already"):
        grow(start, start.layers - 1)


def test_a_run_that_begins_with_a_model_begins_with_what_it_knows(run, model, tmp_path):
    file = Path(model._llm.model_path)
    pretrain.train(tmp_path, steps=1, init=file, **{**TINY, "layers": 2, "checkpoint_every": 1, "rate": 1e-9})
    before, after = log(run)[-1]["val_loss"], log(tmp_path)[-1]["val_loss"]
    assert after == pytest.approx(before, rel=0.02)
    assert json.loads((tmp_path / "recipe.json").read_text())["init_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
