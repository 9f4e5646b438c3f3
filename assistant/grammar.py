"""The languages that a model may write, as a grammar over words.

One definition serves the parser's property tests (`sample`), the recogniser (`accepts`), and the mask that keeps a
model inside it (`decoding.py`). Words are what stands between blanks, so a sentence is `" ".join(words)`.

    when    = once | repeat
    once    = date [time] | time | "tonight" | "in" clockspan | "in" dayspan [time]
    date    = "today" | "tomorrow" | ["next"] WEEKDAY | WEEKDAY "in" N weeks
            | "this" "weekend" | "next" ("week" | "month") | "end" "of" ("week" | "month")
            | YYYY-MM-DD | D MONTH [YYYY] | "the" D | ORDINAL WEEKDAY "of" MONTH
            | "easter" | "good" "friday" | "easter" "monday"
    time    = HH:MM                      24-hour, said or implied beyond doubt
            | H:MM?                      12-hour, am or pm not said
            | "morning" | "noon" | "afternoon" | "evening" | "night" | "midnight"
    clockspan = N hours [N minutes] | N minutes | N seconds
    dayspan = N days | N weeks | N months | N years
    repeat  = "every" rule [time {"and" time}] ["from" point] ["until" point | "for" N (times | a unit)]
              ["except" WEEKDAY {"and" WEEKDAY}]
    rule    = "day" | "weekday" | "weekend" | WEEKDAY {"and" WEEKDAY} | unit | N units
            | ("week" | N weeks) "on" WEEKDAY {"and" WEEKDAY} | ("month" | N months) "on" ("the" D | ORDINAL WEEKDAY)
            | "year" "on" (D MONTH | ORDINAL WEEKDAY "of" MONTH)
    point   = date [time] | time
    range   = "this" ("week" | "month" | "year") | MONTH | [date] [window] | repeat
    window  = time | "after" time | "before" time | "between" time "and" time
    ORDINAL = "first" | "second" | "third" | "fourth" | "last"

    rewrite = entry {NEWLINE entry} | slash          at most five entries
    entry   = {WORD} "|" [when]                      WORD: a word of the request, in the request's order
    slash   = "/other" | ("/list" | "/cancel" | "/done") target
            | "/snooze" target [">" when] | "/move" target [">" (when | ("later" | "earlier") (clockspan | dayspan))]
    target  = ["all" | "next" | "first" | "last" | "that"] {WORD} ["|" range]

N is 1 to 999 without leading zeros, D 1 to 31, YYYY 2000 to 2099; a unit after N may stand in the singular or plural;
a list has at most `MAX_LIST` members.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from random import Random

MAX_LIST = 7
MAX_ENTRIES = 5
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
ORDINALS = ("first", "second", "third", "fourth", "last")
DAYPARTS = ("morning", "noon", "afternoon", "evening", "night", "midnight")
QUANTIFIERS = ("all", "next", "first", "last", "that")
NEWLINE = "\n"
"""A word of its own between entries."""
WORD = "WORD"
"""The terminal that stands for a word of the request."""

CLASSES = {
    "N": re.compile(r"[1-9]\d{0,2}", re.ASCII),
    "D": re.compile(r"[1-9]|[12]\d|3[01]", re.ASCII),
    "YYYY": re.compile(r"20\d\d", re.ASCII),
    "HH:MM": re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII),
    "H:MM?": re.compile(r"([1-9]|1[0-2]):[0-5]\d\?", re.ASCII),
    "YYYY-MM-DD": re.compile(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", re.ASCII),
}
"""Terminals that stand for many words."""


@cache
def spellings(terminal: str) -> tuple[str, ...]:
    """All words of a terminal that a model may write; none for YYYY-MM-DD, as `D MONTH YYYY` says the same."""
    match terminal:
        case "N":
            return tuple(str(n) for n in range(1, 1000))
        case "D":
            return tuple(str(n) for n in range(1, 32))
        case "YYYY":
            return tuple(str(y) for y in range(2000, 2100))
        case "HH:MM":
            return tuple(f"{h:02}:{m:02}" for h in range(24) for m in range(60))
        case "H:MM?":
            return tuple(f"{h}:{m:02}?" for h in range(1, 13) for m in range(60))
        case "YYYY-MM-DD" | "WORD":
            return ()
        case _:
            return (terminal,)


# A grammar is a tree of these; strings are terminals.
@dataclass(frozen=True)
class Seq:
    parts: tuple


@dataclass(frozen=True)
class Alt:
    choices: tuple


def seq(*parts):
    return Seq(parts)


def alt(*choices):
    return Alt(choices)


def opt(*parts):
    return Alt((Seq(parts), Seq(())))


def chain(member, separator: str, most: int = MAX_LIST):
    """`member {separator member}` with at most `most` members."""
    tail = Seq(())
    for _ in range(most - 1):
        tail = opt(separator, member, tail)
    return Seq((member, tail))


@dataclass(frozen=True)
class Loop:
    """Any number of one terminal."""

    part: str


def _unit(*names: str):
    return alt(*(w for n in names for w in (n, n + "s")))


weekday = alt(*WEEKDAYS)
weekdays = chain(weekday, "and")
month = alt(*MONTHS)
ordinal_weekday = seq(alt(*ORDINALS), weekday)
time = alt("HH:MM", "H:MM?", *DAYPARTS)
date = alt(
    "today",
    "tomorrow",
    seq(opt("next"), weekday),
    seq(weekday, "in", "N", _unit("week")),
    seq("this", "weekend"),
    seq("next", alt("week", "month")),
    seq("end", "of", alt("week", "month")),
    "YYYY-MM-DD",
    seq("D", month, opt("YYYY")),
    seq("the", "D"),
    seq(ordinal_weekday, "of", month),
    "easter",
    seq("good", "friday"),
    seq("easter", "monday"),
)
clockspan = alt(
    seq("N", _unit("hour"), opt("N", _unit("minute"))), seq("N", _unit("minute")), seq("N", _unit("second"))
)
dayspan = seq("N", _unit("day", "week", "month", "year"))
once = alt(seq(date, opt(time)), time, "tonight", seq("in", clockspan), seq("in", dayspan, opt(time)))
point = alt(seq(date, opt(time)), time)
rule = alt(
    "day",
    "weekday",
    "weekend",
    weekdays,
    "second",
    "minute",
    "hour",
    "week",
    "month",
    "year",
    seq("N", _unit("second", "minute", "hour", "day", "week", "month", "year")),
    seq(alt("week", seq("N", _unit("week"))), "on", weekdays),
    seq(alt("month", seq("N", _unit("month"))), "on", alt(seq("the", "D"), ordinal_weekday)),
    seq("year", "on", alt(seq("D", month), seq(ordinal_weekday, "of", month))),
)
repeat = seq(
    "every",
    rule,
    opt(chain(time, "and", 4)),
    opt("from", point),
    opt(
        alt(
            seq("until", point),
            seq("for", "N", _unit("time", "second", "minute", "hour", "day", "week", "month", "year")),
        )
    ),
    opt("except", weekdays),
)
when = alt(once, repeat)
window = alt(time, seq(alt("after", "before"), time), seq("between", time, "and", time))
range_ = alt(seq("this", alt("week", "month", "year")), month, seq(date, opt(window)), window, repeat)
target = seq(opt(alt(*QUANTIFIERS)), Loop(WORD), opt("|", range_))
slash = alt(
    "/other",
    seq(alt("/list", "/cancel", "/done"), target),
    seq("/snooze", target, opt(">", when)),
    seq("/move", target, opt(">", alt(when, seq(alt("later", "earlier"), alt(clockspan, dayspan))))),
)
entry = seq(Loop(WORD), "|", opt(when))
rewrite = alt(chain(entry, NEWLINE, MAX_ENTRIES), slash)


@dataclass
class Automaton:
    """A nondeterministic automaton over words: from each state, arcs to others by terminal.

    State 0 is the start; `closures[s]` are the states reached from `s` without a word, `s` included.
    """

    arcs: list[list[tuple[str, int]]] = field(default_factory=list)
    closures: list[frozenset[int]] = field(default_factory=list)
    end: int = 0

    def start(self) -> frozenset[int]:
        return self.closures[0]

    def step(self, states: frozenset[int], word: str) -> frozenset[int]:
        """The states after `word`; empty if it does not fit. WORD fits any word that can be said (`words.words`)."""
        said = word not in ("|", ">", NEWLINE) and not word.startswith("/")
        reached: set[int] = set()
        for s in states:
            for terminal, to in self.arcs[s]:
                if (
                    terminal == word
                    or (terminal == WORD and said)
                    or (terminal in CLASSES and CLASSES[terminal].fullmatch(word))
                ):
                    reached |= self.closures[to]
        return frozenset(reached)

    def accepts(self, words: list[str]) -> bool:
        states = self.start()
        for word in words:
            states = self.step(states, word)
        return self.end in states


def compile_grammar(tree) -> Automaton:
    """Thompson's construction."""
    arcs: list[list[tuple[str, int]]] = []
    free: list[list[int]] = []

    def new() -> int:
        arcs.append([])
        free.append([])
        return len(arcs) - 1

    def build(node, begin: int) -> int:
        match node:
            case str():
                end = new()
                arcs[begin].append((node, end))
                return end
            case Seq(parts):
                for part in parts:
                    begin = build(part, begin)
                return begin
            case Loop(part):
                hub = new()
                free[begin].append(hub)
                arcs[hub].append((part, hub))
                return hub
            case Alt(choices):
                end = new()
                for choice in choices:
                    gate = new()
                    free[begin].append(gate)
                    free[build(choice, gate)].append(end)
                return end
        raise TypeError(node)

    end = build(tree, new())

    def closure(state: int) -> frozenset[int]:
        seen, todo = {state}, [state]
        while todo:
            for to in free[todo.pop()]:
                if to not in seen:
                    seen.add(to)
                    todo.append(to)
        return frozenset(seen)

    return Automaton(arcs, [closure(s) for s in range(len(arcs))], end)


@cache
def automaton(name: str) -> Automaton:
    """The automaton of `when`, `range`, `target` or `rewrite`."""
    return compile_grammar({"when": when, "range": range_, "target": target, "rewrite": rewrite}[name])


def is_when(text: str) -> bool:
    """Whether `text` is a sentence of the When language."""
    return automaton("when").accepts(text.split())


def is_range(text: str) -> bool:
    """Whether `text` is a sentence of the range language."""
    return automaton("range").accepts(text.split())


def sample(tree, random: Random, words: tuple[str, ...] = ("call", "mum")) -> list[str]:
    """A sentence drawn from a grammar tree, every choice equally likely; WORD is drawn from `words`."""
    match tree:
        case "YYYY-MM-DD":
            return [f"20{random.randrange(100):02}-{random.randint(1, 12):02}-{random.randint(1, 28):02}"]
        case "WORD":
            return [random.choice(words)]
        case str():
            return [random.choice(spellings(tree))]
        case Seq(parts):
            return [w for part in parts for w in sample(part, random, words)]
        case Alt(choices):
            return sample(random.choice(choices), random, words)
        case Loop(part):
            return [w for _ in range(random.randint(0, 4)) for w in sample(part, random, words)]
    raise TypeError(tree)
