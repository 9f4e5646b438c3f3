"""The grammar of one request's rewrites as GBNF, for servers that take one: what `decoding.Constraint` does to tokens,
said in characters.

    root ::= (entry (" \\n" ...)? | slash)
    entry ::= task " |" when?
    task ::= " call" task1 | task1        a word of the request, or not; then those behind it
    task1 ::= " mum" task2 | task2
    n ::= (" 1" | " 2" | " 5")            what the request gives reason for (`evidence.py`)

A terminal for which there is no reason is left out, and with it every rule that cannot be ended without it. Tasks are
right-recursive, so that the text grows with the request and not with its square. Only `decoding.MAX_TASK_WORDS` is not
in it, which would multiply it by forty: of a request of more than 38 words it lets tasks through that are longer.

Measured with the model that ships, on one thread: requests of 5, 16 and 60 words take 24, 39 and 171 ms under their
grammar, 15, 25 and 89 ms under the mask and 17, 25 and 80 ms under neither; llama.cpp reads a grammar in 0.1 to 0.2 ms.

The format: GBNF as llama.cpp's grammars/README.md has it, which xgrammar (vLLM, SGLang) reads as well; names of rules
are letters, digits and hyphens.
"""

from assistant import grammar
from assistant.evidence import evidence
from assistant.grammar import CLASSES, NEWLINE, WORD, Alt, Loop, Seq

_NAMES = {
    id(getattr(grammar, name)): name.replace("_", "-").strip("-")
    for name in (
        "weekday", "weekdays", "month", "ordinal_weekday", "time", "date", "clockspan", "dayspan", "once", "point",
        "rule", "repeat", "when", "window", "range_", "target", "slash", "entry",
    )
}  # fmt: skip
"""The parts of the grammar that become rules of their own."""
_CLASS_NAMES = {terminal: terminal.lower().replace(":", "-").rstrip("?") for terminal in CLASSES}


def gbnf(words: list[str]) -> str:
    """The grammar of the completions (`prompt.completion`) for a request of these folded words; its root is `root`."""
    return _Writer(words).text()


def literal(text: str) -> str:
    """A string of GBNF, which may hold any character but a NUL."""
    return '"' + "".join(_ESCAPES.get(c, c) for c in text) + '"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class _Writer:
    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._evidence = evidence(words)
        self._barred = self._evidence.barred
        self._rules: dict[str, str] = {}
        self._seen: dict[int, str | None] = {}

    def text(self) -> str:
        root = self._write(grammar.rewrite)
        return "".join(f"{name} ::= {body}\n" for name, body in {"root": root, **self._rules}.items())

    def _write(self, node) -> str | None:
        """An expression for a part of the grammar; None if nothing may be written for it, "" if only nothing."""
        if id(node) not in self._seen:
            self._seen[id(node)] = self._named(node)
        return self._seen[id(node)]

    def _named(self, node) -> str | None:
        body = self._expression(node)
        name = _NAMES.get(id(node))
        if not body or not name:
            return body
        self._rules[name] = body
        return name

    def _expression(self, node) -> str | None:
        match node:
            case str() if node in self._barred:
                return None
            case str() if node in CLASSES:
                name = _CLASS_NAMES[node]
                self._rules[name] = " | ".join(literal(f" {w}") for w in sorted(self._evidence.classes[node]))
                return name
            case str():
                return literal(node if node == NEWLINE else f" {node}")
            case Seq(parts):
                written = [self._write(part) for part in parts]
                return None if None in written else " ".join(filter(None, written))
            case Alt(choices):
                return self._alternatives([w for c in choices if (w := self._write(c)) is not None])
            case Loop(part) if part == WORD:
                return self._task()
        raise TypeError(node)

    @staticmethod
    def _alternatives(written: list[str]) -> str | None:
        if not written:
            return None
        choices = list(dict.fromkeys(filter(None, written)))
        if not choices:
            return ""
        optional = "?" if "" in written else ""
        return choices[0] if len(choices) == 1 and not optional else f"({' | '.join(choices)}){optional}"

    def _task(self) -> str:
        """A subsequence of the request's words: each of them, or not, and then of those behind it."""
        if not self._words:
            return ""
        if "task0" not in self._rules:
            last = len(self._words) - 1
            for i, word in enumerate(self._words):
                said = literal(f" {word}")
                self._rules[f"task{i}"] = f"({said})?" if i == last else f"{said} task{i + 1} | task{i + 1}"
        return "task0"
