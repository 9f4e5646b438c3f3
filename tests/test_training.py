"""Training, export and loading, done for real on a model of a few thousand parameters."""

import hashlib
import json
from itertools import islice

import pytest

torch = pytest.importorskip("torch")

torch.set_num_threads(1)

from assistant.grammar import automaton  # noqa: E402
from assistant.local import LlamaModel  # noqa: E402
from assistant.prompt import completion, prompt  # noqa: E402
from training import export, pretrain  # noqa: E402
from training.synthesize import Synthesizer  # noqa: E402
from training.tokenizer import load_tokenizer, train_tokenizer  # noqa: E402

TINY = {
    "width": 64,
    "layers": 1,
    "vocabulary": 600,
    "batch": 16,
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
    assert rows[-1]["val_loss"] < 6.4  # of ln 600, that of a guess


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
    assert manifest["data"] == "synthetic"
    assert sorted(p.name for p in (tmp_path / "named").iterdir()) == ["manifest.json", "model-q8_0.gguf"]
