"""Which tokens a model may write next: decoding that cannot invent.

A `Constraint` follows one answer token by token and knows at each step the tokens that can still lead to a rewrite of
this request (`grammar.rewrite`): words of a task are words of the request in their order, times are sentences of the
When language, and the end comes only where a rewrite may end. Work is done by word; inside a word a trie of its tokens
is followed. The tries of the fixed words are built once a model (`Vocabulary`), that of the request's words a request.
"""

from collections.abc import Iterable

from assistant.grammar import CLASSES, NEWLINE, WORD, automaton, spellings
from assistant.prompt import Tokenize, word_tokens

Trie = dict
"""Token id -> Trie; under END the words that end here."""
END = -1
MAX_TASK_WORDS = 40
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
        self._tries: dict[str, Trie] = {}
        self._fixed: dict[frozenset[str], tuple[Trie, ...]] = {}
        self.arcs = [tuple(arcs) for arcs in self.automaton.arcs]
        # Only states with an arc, and the final one, matter between words.
        self.closures = [
            frozenset(s for s in c if self.arcs[s] or s == self.automaton.end) for c in self.automaton.closures
        ]

    def trie(self, terminal: str) -> Trie:
        """All spellings of a terminal."""
        if terminal not in self._tries:
            trie: Trie = {}
            for word in spellings(terminal):
                _insert(trie, word_tokens(word, self.tokenize), word)
            self._tries[terminal] = trie
        return self._tries[terminal]

    def fixed(self, terminals: frozenset[str]) -> tuple[Trie, ...]:
        """Tries for a set of terminals: one that holds all single words, and one for each class."""
        if terminals not in self._fixed:
            single: Trie = {}
            for terminal in sorted(terminals):
                if terminal not in CLASSES:
                    _insert(single, word_tokens(terminal, self.tokenize), terminal)
            self._fixed[terminals] = tuple(
                t for t in (single, *(self.trie(c) for c in sorted(terminals) if c in CLASSES)) if t
            )
        return self._fixed[terminals]


class Constraint:
    """One answer, from its first token to the end.

    `words` are the folded words of the request. `allowed` holds the token ids that may come next (never empty until the
    end has been taken); `take` moves on by one of them.
    """

    def __init__(self, vocabulary: Vocabulary, words: list[str]) -> None:
        self._v = vocabulary
        self._words = words
        self._tokens = [word_tokens(w, vocabulary.tokenize) for w in words]
        self._states: frozenset[State] = frozenset((s, 0) for s in vocabulary.closures[0])
        self._used = 0
        self._nodes: list[Trie] = []
        self._next: list[Trie] = []
        self.done = False
        self.line_words: list[str] = []
        """Every whole word so far, newlines included."""
        self._between_words()

    def _between_words(self) -> None:
        """Gathers the tries of all words that may come next."""
        terminals, earliest = set(), None
        for state, place in self._states:
            for terminal, _ in self._v.arcs[state]:
                if terminal == WORD:
                    earliest = place if earliest is None else min(earliest, place)
                else:
                    terminals.add(terminal)
        self._next = list(self._v.fixed(frozenset(terminals)))
        if earliest is not None and self._used < MAX_TASK_WORDS:
            said: Trie = {}
            for word, tokens in zip(self._words[earliest:], self._tokens[earliest:]):
                _insert(said, tokens, word)
            if said:
                self._next.append(said)
        self._allow()

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
