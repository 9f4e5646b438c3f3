"""Which tokens a model may write next: decoding that cannot invent.

A `Constraint` follows one answer token by token and knows at each step the tokens that can still lead to a rewrite of
this request (`grammar.rewrite`): words of a task are words of the request in their order, times are sentences of the
When language in hours, numbers and days that the request gives reason for (`evidence.py`), and the end comes only where
a rewrite may end. Work is done by word; inside a word a trie of its tokens is followed. The tries of the fixed words
are built once a model (`Vocabulary`), those of the request's words, numbers and days a request.
"""

from collections.abc import Iterable
from functools import lru_cache

from assistant.evidence import evidence
from assistant.grammar import CLASSES, NEWLINE, WORD, automaton
from assistant.prompt import Tokenize, word_tokens

Trie = dict
"""Token id -> Trie; under END the words that end here."""
END = -1
MAX_TASK_WORDS = 40
THE_END = "the end"
BARRED_SETS = 256
"""For so many sets of barred terminals it is remembered from where a rewrite can be ended."""
State = tuple[int, int]
"""A state of the automaton and how many words of the request have been used up on this line."""


def _insert(trie: Trie, tokens: Iterable[int], word: str) -> None:
    for token in tokens:
        trie = trie.setdefault(token, {})
    trie.setdefault(END, []).append(word)


class Vocabulary:
    """The fixed words of the languages in the tokens of one model."""

    def __init__(self, tokenize: Tokenize, end: int) -> None:
        self.tokenize, self.end = tokenize, end
        self.automaton = automaton("rewrite")
        self.arcs = [tuple(arcs) for arcs in self.automaton.arcs]
        self.tokens = lru_cache(maxsize=4096)(lambda word: word_tokens(word, tokenize))
        """Tokens of a word of the languages."""
        self.fixed = lru_cache(maxsize=2048)(self._fixed)
        self._alive: dict[frozenset[str], dict[int, bool]] = {}
        # Only states with an arc, and the final one, matter between words.
        self.closures = [
            frozenset(s for s in c if self.arcs[s] or s == self.automaton.end) for c in self.automaton.closures
        ]

    def alive(self, state: int, barred: frozenset[str]) -> bool:
        """Whether a rewrite can be ended from `state` when none of the terminals `barred` may be written."""
        if barred not in self._alive and len(self._alive) >= BARRED_SETS:
            self._alive.clear()
        known = self._alive.setdefault(barred, {})
        if state not in known:
            known[state] = False  # the only cycles are words of a task, which lead from a state to itself
            known[state] = self.automaton.end in self.closures[state] or any(
                terminal not in barred and self.alive(to, barred)
                for s in self.closures[state]
                for terminal, to in self.arcs[s]
            )
        return known[state]

    def _fixed(self, terminals: frozenset[str]) -> Trie:
        """One trie of single words."""
        trie: Trie = {}
        for terminal in sorted(terminals):
            _insert(trie, self.tokens(terminal), terminal)
        return trie


class Constraint:
    """One answer, from its first token to the end.

    `words` are the folded words of the request. `allowed` holds the token ids that may come next (never empty until the
    end has been taken); `take` moves on by one of them.
    """

    def __init__(self, vocabulary: Vocabulary, words: list[str]) -> None:
        self._v = vocabulary
        self._words = words
        self._tokens = [word_tokens(w, vocabulary.tokenize) for w in words]
        self._evidence = evidence(words)
        self._barred = self._evidence.barred
        self._tries: dict[str, Trie] = {}
        self._states: frozenset[State] = frozenset((s, 0) for s in self._v.closures[0])
        self._used = 0
        self._nodes: list[Trie] = []
        self._next: list[Trie] = []
        self.done = False
        self.line_words: list[str] = []
        """Every whole word so far, newlines included."""
        self._between_words()

    def _between_words(self) -> None:
        """Gathers the tries of all words that may come next."""
        fixed, classes, earliest = set(), set(), None
        for state, place in self._states:
            for terminal, to in self._v.arcs[state]:
                if terminal == WORD:
                    earliest = place if earliest is None else min(earliest, place)
                elif terminal not in self._barred and self._v.alive(to, self._barred):
                    (classes if terminal in CLASSES else fixed).add(terminal)
        self._next = [t for t in (self._v.fixed(frozenset(fixed)), *map(self._said, sorted(classes))) if t]
        if earliest is not None and self._used < MAX_TASK_WORDS:
            said: Trie = {}
            for word, tokens in zip(self._words[earliest:], self._tokens[earliest:]):
                _insert(said, tokens, word)
            if said:
                self._next.append(said)
        self._allow()

    def _said(self, terminal: str) -> Trie:
        """The words of a class for which the request gives reason."""
        if terminal not in self._tries:
            trie = self._tries[terminal] = {}
            for word in sorted(self._evidence.classes[terminal]):
                _insert(trie, self._v.tokens(word), word)
        return self._tries[terminal]

    def _allow(self) -> None:
        allowed = {t for node in self._nodes for t in node if t != END}
        whole = not self._nodes or any(END in node for node in self._nodes)
        if whole:
            if self._nodes:
                self._after_word()
            allowed |= {t for trie in self._next for t in trie}
            if any(s == self._v.automaton.end for s, _ in self._states):
                allowed.add(self._v.end)
        self.allowed = allowed

    def _after_word(self) -> None:
        """A whole word stands here (it may yet grow longer): the states and tries behind it, kept for `take`."""
        word = next(w for node in self._nodes for w in node.get(END, ()))
        inside, self._nodes = self._nodes, []
        before, used = self._states, self._used
        reached: set[State] = set()
        for state, place in self._states:
            for terminal, to in self._v.arcs[state]:
                if terminal == WORD:
                    if word in self._words[place:]:
                        after = self._words.index(word, place) + 1
                        reached.update((s, after) for s in self._v.closures[to])
                elif terminal == word or (terminal in CLASSES and CLASSES[terminal].fullmatch(word)):
                    reached.update((s, 0 if word == NEWLINE else place) for s in self._v.closures[to])
        self._states = frozenset(reached)
        self._used = 0 if word == NEWLINE else self._used + 1
        self._between_words()
        self._nodes, self._back = inside, (before, used)
        self._word = word

    def take(self, token: int) -> None:
        """Moves on by `token`, one of `allowed`."""
        if token not in self.allowed:
            raise ValueError(f"token {token} is not allowed here")
        longer = [node[token] for node in self._nodes if token in node]
        whole = any(END in node for node in self._nodes)
        if longer:  # the word goes on; if it was whole, that was only its beginning
            if whole:
                self._states, self._used = self._back
            self._nodes = longer
            self._allow()
            return
        if whole:
            self.line_words.append(self._word)
        if token == self._v.end:
            self.done = True
            self.allowed = set()
            return
        self._nodes = [trie[token] for trie in self._next if token in trie]
        self._allow()

    @property
    def text(self) -> str:
        """The lines written so far, in whole words."""
        return " ".join(self.line_words).replace(" \n ", "\n")


@lru_cache(maxsize=1)
def _bytes() -> Vocabulary:
    """A vocabulary without a model: a token a byte."""
    return Vocabulary(lambda text: list(text.encode()), 256)


def obstacle(rewrite: str, words: list[str]) -> str | None:
    """The first word of `rewrite` that no model could write for a request of these folded words; None if all of it can
    be written. At a rewrite that may not end where it does, that is `THE_END`."""
    vocabulary = _bytes()
    constraint = Constraint(vocabulary, words)
    for word in rewrite.replace("\n", f" {NEWLINE} ").split(" "):
        for token in word_tokens(word, vocabulary.tokenize):
            if token not in constraint.allowed:
                return word
            constraint.take(token)
    return None if vocabulary.end in constraint.allowed else THE_END
