"""The grammar that servers are given, read by llama.cpp itself: it lets the same rewrites through as the mask here."""

import ctypes
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant import grammar
from assistant.decoding import MAX_TASK_WORDS, Constraint, Vocabulary, obstacle
from assistant.errors import BlankText
from assistant.gbnf import gbnf, literal
from assistant.local import model_file
from assistant.prompt import completion
from assistant.words import normalise, words
from tests.conftest import MODEL


class LlamaCpp:
    """llama.cpp's own reading of a grammar, in the tokens of the model that ships."""

    def __init__(self) -> None:
        import llama_cpp

        self._cpp = llama_cpp
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(str(model_file(MODEL)).encode(), parameters)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._end = llama_cpp.llama_vocab_eos(self._vocab)

    def close(self) -> None:
        self._cpp.llama_model_free(self._model)

    def tokens(self, text: str) -> list[int]:
        raw = text.encode()
        room = (self._cpp.llama_token * (len(raw) + 8))()
        count = self._cpp.llama_tokenize(self._vocab, raw, len(raw), room, len(room), False, False)
        return room[:count]

    def accepts(self, gbnf: str, text: str) -> bool:
        """Whether `text` and then the end can be written under the grammar."""
        sampler = self._cpp.llama_sampler_init_grammar(self._vocab, gbnf.encode(), b"root")
        assert sampler, f"llama.cpp cannot read {gbnf}"
        try:
            for token in [*self.tokens(text), self._end]:
                candidate = (self._cpp.llama_token_data * 1)(self._cpp.llama_token_data(token, 0.0, 0.0))
                candidates = self._cpp.llama_token_data_array(candidate, 1, -1, False)
                self._cpp.llama_sampler_apply(sampler, ctypes.byref(candidates))
                if candidate[0].logit == float("-inf"):
                    return False
                if token != self._end:
                    self._cpp.llama_sampler_accept(sampler, token)
            return True
        finally:
            self._cpp.llama_sampler_free(sampler)


@pytest.fixture(scope="module")
def llama():
    llama = LlamaCpp()
    yield llama
    llama.close()


def folded(text: str) -> list[str]:
    return [w.folded for w in words(normalise(text))]


BYTES = Vocabulary(lambda text: list(text.encode()), 256)
SAID = st.lists(
    st.sampled_from(
        ["call", "mum", "at", "5", "7:45", "and", "then", "café", "all", "next", "tomorrow", "in", "12", "an", "every", "friday", "half", "six", "june", "twenty", "to", "monday", "week", "month", "hours", "good", "easter", "christmas", "end", "noon", "first", "2027", "2nd"]
    ),
    min_size=1,
    max_size=14,
)


@given(said=SAID, seed=st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_a_sentence_of_the_language_is_accepted_where_the_mask_lets_it_be_written(llama, said, seed):
    random = Random(seed)
    line = grammar.sample(grammar.rewrite, random, tuple(said))
    rewrite = " ".join(line).replace(" \n ", "\n")
    assert llama.accepts(gbnf(said), completion(rewrite)) == (obstacle(rewrite, said) is None), rewrite


@given(said=SAID, seed=st.integers(0, 10**6))
@settings(max_examples=120, deadline=None)
def test_whatever_the_mask_lets_be_written_is_accepted_and_not_when_it_is_cut_short_or_changed(llama, said, seed):
    random = Random(seed)
    rewrite = wander(said, random)
    assert llama.accepts(gbnf(said), completion(rewrite)), rewrite
    parts = rewrite.replace("\n", " \n ").split(" ")
    parts[random.randrange(len(parts))] = random.choice([*said, "|", ">", "5:00?", "friday", "/list", "hours", "2"])
    for other in (" ".join(parts[: random.randint(1, len(parts))]), " ".join(parts)):
        other = other.replace(" \n ", "\n").replace(" \n", "\n").replace("\n ", "\n")
        assert llama.accepts(gbnf(said), completion(other)) == (obstacle(other, said) is None), other


def wander(said: list[str], random: Random) -> str:
    """What a model writes that has learnt nothing, a byte a token."""
    constraint = Constraint(BYTES, said)
    while not constraint.done:
        allowed = constraint.allowed
        constraint.take(256 if 256 in allowed and random.random() < 0.2 else random.choice(sorted(allowed)))
    return constraint.text


@pytest.mark.parametrize(
    ("text", "rewrite"),
    [
        pytest.param('call "o\'neil\\smith" now', "call o'neil\\smith |", id="a backslash and a quote inside a word"),
        pytest.param('say a"b"c now', 'say a"b"c |', id="double quotes inside a word"),
        pytest.param("buy [x]y]z tomorrow", "buy x]y]z | tomorrow", id="brackets"),
        pytest.param("feed the 🐈‍⬛ at 6", "feed the 🐈‍⬛ | 6:00?", id="an emoji of several code points"),
        pytest.param("réveiller Zoë à 7", "réveiller zoë à 7 |", id="accents"),
        pytest.param("tell 母 tomorrow", "tell 母 | tomorrow", id="another script"),
        pytest.param("run a::=b (c|d)*e tomorrow", "run a::=b c|d)*e | tomorrow", id="signs that mean something in a grammar"),
        pytest.param("task0 root slash today", "task0 root slash | today", id="names of its own rules"),
        pytest.param("mail \\n to \\x41 today", "mail n to x41 | today", id="what looks like an escape"),
    ],
)
def test_words_of_any_signs_are_themselves_and_nothing_else(llama, text, rewrite):
    said = folded(text)
    assert obstacle(rewrite, said) is None
    assert llama.accepts(gbnf(said), completion(rewrite))
    assert not llama.accepts(gbnf(said), completion(f"{rewrite}x"))


@given(text=st.text(min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_request_whatsoever_has_a_grammar_that_llama_cpp_reads(llama, text):
    try:
        said = folded(text)
    except BlankText:
        said = []
    assert llama.accepts(gbnf(said), completion(" ".join([*said[:MAX_TASK_WORDS], "|"])))


@given(text=st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8))
@settings(deadline=None)
def test_a_literal_accepts_its_own_text_alone(llama, text):
    assert llama.accepts(f"root ::= {literal(text)}\n", text)
    assert not llama.accepts(f"root ::= {literal(text)}\n", text + "x")


def test_a_request_without_a_word_has_a_grammar(llama):
    assert llama.accepts(gbnf([]), " |") and llama.accepts(gbnf([]), " /other")
    assert not llama.accepts(gbnf([]), " call |")


@pytest.mark.parametrize("count", [20, 40, 80])
def test_it_grows_with_the_request_and_not_with_its_square(count):
    def tasks(n: int) -> int:
        return sum(len(rule) for rule in gbnf([f"w{i:03}" for i in range(n)]).split("\n") if rule.startswith("task"))

    assert tasks(2 * count) < 2.2 * tasks(count)


def test_of_a_long_request_it_lets_longer_tasks_through_than_the_mask(llama):
    said = [f"w{i}" for i in range(60)]
    longest, longer = (" ".join([*said[:n], "|"]) for n in (MAX_TASK_WORDS, MAX_TASK_WORDS + 1))
    assert obstacle(longest, said) is None and llama.accepts(gbnf(said), completion(longest))
    assert obstacle(longer, said) and llama.accepts(gbnf(said), completion(longer))
