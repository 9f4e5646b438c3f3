"""Endless requests with their rewrites: hand-written frames x tasks x time expressions x spoken noise, seeded.

    python -m training.synthesize --seed 1 --count 20            # a look at them
    python -m training.synthesize --count 20000 --out data/synthetic.jsonl

What people say stands in `data/seed/`, written by hand: `frames_*.txt` (`surface => rewrite` with slots), `tasks.txt`,
`events.txt`, `clauses.txt`, `unusable.txt` (times that cannot be resolved) and `other.txt`. Times come from
`clock_times.py` and `dates.py`. Every example is checked before it is given out: each word of a task stands in the
request in the same order, and every time is a sentence of the When language.
"""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

from assistant.evidence import evidence
from assistant.grammar import is_range, is_when
from assistant.spoken import pieces
from assistant.words import align, model_text, normalise, words
from training import dates
from training.clock_times import clock, simple_span, span, time

SEED_DATA = Path(__file__).parent.parent / "data" / "seed"
MIXTURE = (
    ("frames_set", 0.52),
    ("frames_ask", 0.14),
    ("frames_list", 0.11),
    ("frames_cancel", 0.09),
    ("frames_change", 0.06),
    ("other", 0.08),
)
"""Which share of the examples comes from which file."""
LITERAL = 0.2
"""How often a frame without slots is drawn, compared with one that is new every time."""
NAMES = (
    "sam",
    "bob",
    "kim",
    "priya",
    "mike",
    "sara",
    "jo",
    "abby",
    "ravi",
    "chen",
    "fatima",
    "liam",
    "zoe",
    "mum",
    "dad",
    "ahmed",
    "ingrid",
    "tom",
    "lucy",
    "diego",
    "mei",
    "olu",
    "hannah",
    "nikhil",
    "grandma",
)
SEVERAL = 0.15
"""Besides their share among the frames, so often a request to set holds several reminders, which are hard to learn."""
TOGETHER = 0.05
"""Likewise for two requests with a time each, said one after the other: more ways than anybody writes down."""
BRIEF = 0.12
"""Likewise for frames that hold a time and little else: times are learnt from them at small cost."""
_SLOT = re.compile(r"\{(\w+?)(\d*)\}")
_KEPT = set(
    ["a", "an", "the", "my", "our", "to", "for", "at", "on", "in", "of", "and", "or", "with", "from", "by", "up", "out", "off", "about", "that", "it", "is", "i", "me", "he", "she", "we", "they", "has", "have", "be"]
)
FILLERS = ("um", "uh", "er", "er", "you know", "hmm", "erm", "ah", "um", "uh")
OPENINGS = (
    "hey",
    "hi",
    "ok",
    "okay",
    "so",
    "um",
    "uh",
    "oh",
    "right",
    "please",
    "hello",
    "well",
    "and",
    "also",
    "yeah",
    "can you",
    "could you please",
    "would you",
    "listen",
    "hey assistant",
    "assistant",
    "computer",
    "siri",
    "alexa",
    "ok google",
    "hey siri",
    "olly",
    "pda",
)
BETWEEN = (" and ", " and ", " and also ", ", and ", ". ", ". ", " then ", " and then ", " plus ", ". oh and ", "; ")
CLOSINGS = (
    "please",
    "thanks",
    "thank you",
    "ok",
    "okay",
    "cheers",
    "if you can",
    "will you",
    "for me",
    "would you",
    "ta",
    "thank you very much",
    "pls",
    "mate",
    "yeah",
    "alright",
)
_SLIPS = (
    ("remind me to", "remind me too"),
    ("remind me to", "remind me two"),
    ("remind me to", "remind me 2"),
    ("remind me to", "remind me"),
    ("remind me", "re mind me"),
    ("reminder", "remainder"),
    ("remind", "remnid"),
    ("remind", "remid"),
    ("reminder", "remider"),
    ("tomorrow", "tommorrow"),
    ("appointment", "appointmnet"),
    ("appointment", "appt"),
    ("calendar", "calender"),
    ("alarm", "alram"),
    ("alarm", "alarn"),
    ("please", "pleas"),
    ("cancel", "cancle"),
    ("minutes", "minuets"),
    ("at", "@"),
    ("for", "four"),
    ("meeting", "meetting"),
    ("schedule", "shedule"),
    ("delete", "delet"),
    ("set a", "seta"),
    ("an alarm", "a alarm"),
)
_EVENINGS, _MORNINGS, _NOONS = (
    re.compile(r"\b(dinner|supper|bedtime|bed|sunset|pub|theatre|cinema)\b"),
    re.compile(r"\b(wake|wakeup|get up|breakfast|sunrise|school run)\b"),
    re.compile(r"\b(lunch|brunch)\b"),
)
_BARE = re.compile(r"\b(\d{1,2}):(\d\d)\?")


@dataclass(frozen=True, slots=True)
class Example:
    """A request as the model reads it (`words.model_text`) and the rewrite that it should write, lines joined by newline."""

    text: str
    rewrite: str
    source: str
    """The file of its frame."""


def _lines(name: str) -> list[str]:
    return [
        line.strip()
        for line in (SEED_DATA / f"{name}.txt").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]


def _frame(line: str) -> tuple[str, str]:
    """What is said and what is written for it; a line without an arrow is not for the assistant."""
    said, _, written = line.partition("=>")
    return said.strip(), written.strip() or "/other"


def _weights(frames: list[tuple[str, str]]) -> list[float]:
    """Cumulative: how often each frame is drawn."""
    return list(accumulate(1 if "{" in said else LITERAL for said, _ in frames))


def _is_brief(said: str) -> bool:
    slots = {m[1] for m in _SLOT.finditer(said)}
    return bool(slots) and slots <= {"when", "once", "repeat", "date", "clock", "time", "span"} and len(said.split()) <= 5


_TIME_SLOTS = {"when", "once", "repeat", "date", "day", "clock", "time", "span"}


def _is_single(said: str, written: str) -> bool:
    """Whether a frame is one reminder with a time, short enough to be said beside another."""
    slots = {m[1] for m in _SLOT.finditer(said)}
    return "//" not in written and not written.startswith("/") and bool(slots & _TIME_SLOTS) and len(said.split()) <= 9


def _numbered(text: str, more: int) -> str:
    """A frame with other numbers in its slots, so that it can stand beside another: `{task}` -> `{task5}`."""
    return _SLOT.sub(lambda m: f"{{{m[1]}{int(m[2] or 1) + more}}}", text)


_TIMES = set("day days week weeks month months year years weekend weekends tonight today tomorrow morning noon afternoon evening night midnight daily weekly monthly hour hours minute minutes".split())


def _is_time(word: str) -> bool:
    """Whether a word could be read as a time: such a word is not put into the places of others."""
    may = evidence([word])
    named = may.words - {"hour", "hours", "minute", "minutes"}
    return bool(named or may.classes["HH:MM"] or may.classes["D"] or may.classes["YYYY"] or set(pieces([word])) & _TIMES)


def invented_name(rng: Random) -> str:
    """A name that stands in no list, so that copying is learnt letter by letter."""
    syllables = rng.choices(
        (
            "ka",
            "zo",
            "bri",
            "vel",
            "tor",
            "mi",
            "sha",
            "dru",
            "ny",
            "lek",
            "quo",
            "pat",
            "wen",
            "gar",
            "hul",
            "ef",
            "or",
            "ub",
            "yst",
            "cha",
            "ix",
            "ro",
            "ste",
            "phi",
            "jal",
            "ned",
            "ost",
            "wy",
            "tch",
            "ack",
            "bl",
            "en",
        ),
        k=rng.choice((2, 2, 3, 3, 4)),
    )
    return "".join(syllables) + rng.choice(
        ("", "", "", "'s", "s", "son", "ski", "ia", "-" + rng.choice(("lee", "12", "x")))
    )


def imply_half(task: str, when: str) -> str:
    """`when` with am or pm filled in where the task implies it beyond doubt (wake up at 6, dinner at 8)."""
    if " and " in when or "until" in when:
        return when

    def settle(m: re.Match) -> str:
        h, minute = int(m[1]), m[2]
        if _MORNINGS.search(task) and 4 <= h <= 11:
            return f"{h:02}:{minute}"
        if _EVENINGS.search(task) and 5 <= h <= 11:
            return f"{h + 12}:{minute}"
        if _NOONS.search(task) and h in (11, 12, 1, 2):
            return f"{h if h > 2 else h + 12:02}:{minute}"
        return m[0]

    return _BARE.sub(settle, when)


class Synthesizer:
    """Reads the seed data once; `examples(seed)` yields without end, the same for the same seed.

    `exclude`: texts that must never come out, as `words.model_text` (those of a test set).
    """

    def __init__(self, exclude: frozenset[str] = frozenset()) -> None:
        self.exclude = exclude
        self.frames = {name: [_frame(line) for line in _lines(name)] for name, _ in MIXTURE}
        self.weights = {name: _weights(frames) for name, frames in self.frames.items()}
        self.several = [f for f in self.frames["frames_set"] if "//" in f[1]]
        self.brief = [f for f in self.frames["frames_set"] if _is_brief(f[0])]
        self.single = [f for f in self.frames["frames_set"] if _is_single(*f)]
        self.phrases = {
            "task": _lines("tasks"),
            "event": _lines("events"),
            "clause": _lines("clauses"),
            "vague": _lines("unusable"),
        }
        self.vocabulary = sorted(
            {
                w
                for kind in ("task", "event", "clause")
                for line in self.phrases[kind]
                for w in line.split()
                if w.lower() not in _KEPT and not _is_time(w.lower())
            }
        )

    def examples(self, seed: int) -> Iterator[Example]:
        rng = Random(seed)
        names, weights = zip(*MIXTURE)
        while True:
            example = self._example(rng, rng.choices(names, weights)[0])
            if example is not None and example.text not in self.exclude:
                yield example

    def _phrase(self, rng: Random, kind: str) -> str:
        text = rng.choice(self.phrases[kind])
        if kind == "vague":
            return text
        parts = text.split()
        if rng.random() < 0.25:  # new words in old places, so that tasks are copied and not remembered
            places = [i for i, w in enumerate(parts) if w.lower() not in _KEPT]
            for i in rng.sample(places, min(len(places), rng.choice((1, 1, 2)))):
                parts[i] = invented_name(rng) if rng.random() < 0.35 else rng.choice(self.vocabulary)
        x = rng.random()
        if x < 0.03:
            parts += ["for", rng.choice((invented_name(rng), rng.choice(NAMES)))]
        elif x < 0.05:
            parts += ["with", rng.choice((invented_name(rng), rng.choice(NAMES)))]
        elif x < 0.06:
            parts += [rng.choice(("at", "from", "near")), rng.choice(self.vocabulary)]
        elif x < 0.07:
            parts.insert(rng.randint(1, len(parts)), str(rng.randint(1, 400)))
        text = " ".join(parts)
        if rng.random() < 0.15:
            text = text.replace("'", "")
        return text

    def _fill(self, rng: Random, slot: str, surface: str, rewrite: str) -> tuple[str, str]:
        """(what is said, what is written) for one slot of a frame."""
        match slot:
            case "task" | "event" | "clause" | "vague":
                said = self._phrase(rng, slot)
                return said, " ".join(w.folded for w in words(normalise(said)))
            case "name":
                said = rng.choice(NAMES) if rng.random() < 0.7 else invented_name(rng)
                return said, said
            case "when":
                if "/snooze" in rewrite:
                    return dates.offset(rng) if rng.random() < 0.6 else dates.once(rng)
                return dates.when(rng)
            case "once":
                return dates.once(rng)
            case "repeat":
                return dates.repeat(rng)
            case "date":
                return dates.date(rng)
            case "day":
                return dates.day(rng)
            case "clock":
                return clock(rng, 0.1)
            case "time":
                return time(rng)
            case "span":
                if "every {span" in rewrite:
                    said, written = simple_span(rng, "mmmmhhs")
                    return said, written.removeprefix("1 ")
                if re.search(r"\b(a|an|my|the) \{span", surface):  # "a 20 minute timer"
                    said, written = simple_span(rng, "mmmmmmhhs")
                    said = re.sub(r"^(a|an) ", "one ", said)
                    return (said.removesuffix("s") if rng.random() < 0.7 else said), written
                return span(rng)
            case "range":
                return dates.range_(rng)
            case "to":
                return dates.to(rng)
        raise ValueError(f"unknown slot {{{slot}}} in a frame of data/seed")

    def _example(self, rng: Random, source: str) -> Example | None:
        x = rng.random() if source == "frames_set" else 1.0
        if x < SEVERAL:
            surface, rewrite = rng.choice(self.several)
        elif x < SEVERAL + BRIEF:
            surface, rewrite = rng.choice(self.brief)
        elif x < SEVERAL + BRIEF + TOGETHER:
            (one, first), (two, second) = rng.choice(self.single), rng.choice(self.single)
            surface = one.rstrip(".?! ") + rng.choice(BETWEEN) + _numbered(two, 4)
            rewrite = f"{first} // {_numbered(second, 4)}"
        else:
            surface, rewrite = rng.choices(self.frames[source], cum_weights=self.weights[source])[0]
        filled = {m[0]: self._fill(rng, m[1], surface, rewrite) for m in _SLOT.finditer(surface)}
        if "{range}" in filled and " {range}" in surface and rng.random() < 0.12:
            # preposition lost: "my reminders tomorrow"
            filled["{range}"] = (dates.strip(filled["{range}"][0]), filled["{range}"][1])
        said = _SLOT.sub(lambda m: filled[m[0]][0], surface)
        written = _SLOT.sub(lambda m: filled[m[0]][1] if m[0] in filled else m[0], rewrite)
        said = self._correct_self(rng, said, filled)
        said = self._noise(rng, said)
        return check(said, [line.strip() for line in written.split("//")], source)

    def retold(self, rng: Random, example: Example) -> Example:
        """`example` with spoken noise, now and then with another task; as it is where that would change its meaning."""
        text, rewrite = example.text, example.rewrite
        task, bar, when = rewrite.partition(" |")
        alone = bar and "\n" not in rewrite and not rewrite.startswith("/") and f" {text} ".count(f" to {task} ") == 1
        if alone and imply_half(task, "8:00? 12:00?") == "8:00? 12:00?" and rng.random() < 0.5:
            _, other = self._fill(rng, "task", "", "")
            text = f" {text} ".replace(f" to {task} ", f" to {other} ").strip()
            rewrite = f"{other} |{when}"
        made = check(self._noise(rng, text), rewrite.split("\n"), example.source)
        return made if made and made.rewrite == rewrite else example

    def _correct_self(self, rng: Random, said: str, filled: dict) -> str:
        """Now and then another time is said first and taken back: "at five, no, make it six"."""
        if rng.random() > 0.012:
            return said
        for slot, draw in (("{when}", dates.once), ("{once}", dates.once), ("{clock}", clock), ("{date}", dates.date)):
            if slot in filled:
                wrong = draw(rng)[0]
                regret = rng.choice(
                    (
                        "no wait",
                        "no",
                        "sorry",
                        "no make it",
                        "i mean",
                        "wait no",
                        "actually no",
                        "no sorry",
                        "scratch that",
                        "or rather",
                    )
                )
                return said.replace(filled[slot][0], f"{wrong} {regret} {filled[slot][0]}", 1)
        return said

    def _noise(self, rng: Random, said: str) -> str:
        if rng.random() < 0.10:
            said = f"{rng.choice(OPENINGS)}{rng.choice((' ', ' ', ', '))}{said}"
        if rng.random() < 0.06:
            said = f"{said.rstrip('.?!')}{rng.choice((' ', ' ', ', '))}{rng.choice(CLOSINGS)}"
        if rng.random() < 0.05:
            old, new = rng.choice(_SLIPS)
            said = re.sub(rf"\b{re.escape(old)}\b", new, said, count=1)
        if rng.random() < 0.05:
            parts = said.split()
            for _ in range(rng.choice((1, 1, 2))):
                parts.insert(rng.randint(1, len(parts)), rng.choice(FILLERS) + rng.choice(("", "", ",")))
            said = " ".join(parts)
        if rng.random() < 0.01:
            parts = said.split()
            i = rng.randrange(len(parts))
            said = " ".join(parts[:i] + [parts[i]] + parts[i:])
        x = rng.random()
        if x < 0.25:
            said = said.rstrip(".?! ") + rng.choice((".", ".", " .", "?", "!"))
        elif x < 0.7:
            said = re.sub(r"[,;!?]|\.(?=\s|$)", " ", said)
        return said


def check(said: str, lines: list[str], source: str) -> Example | None:
    """An example if `lines` can be written for `said` at all, else None."""
    try:
        said = normalise(said)
    except ValueError:
        return None
    spoken, out = words(said), []
    for line in lines:
        line = " ".join(line.split()).lower()
        if not line.startswith("/"):
            task, _, when = line.rpartition("|")
            task, when = task.strip(), imply_half(task, when.strip())
            if when and not is_when(when):
                return None
            target = task
            line = f"{task} | {when}".strip()
        else:
            head, _, new = line.partition(" > ")
            head, _, looked_up = head.partition(" | ")
            target = " ".join(head.split()[1:])
            span = new.removeprefix("later ").removeprefix("earlier ")
            if (looked_up and not is_range(looked_up)) or (
                new and not is_when(new) and not (span != new and is_when(f"in {span}"))
            ):
                return None
            if target.split(" ")[0] in ("all", "next", "first", "last", "that") and align(target, spoken) is None:
                target = " ".join(target.split()[1:])
        if target and align(target, spoken) is None:
            return None
        out.append(line)
    return Example(model_text(said), "\n".join(out), source) if len(out) <= 5 else None


def texts_of(gold: Path | None) -> frozenset[str]:
    """The texts of a gold file in the form of `Example.text`; none for None."""
    return frozenset(model_text(normalise(json.loads(line)["text"])) for line in gold.open()) if gold else frozenset()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--exclude", type=Path, help="a gold file whose texts must not come out")
    parser.add_argument("--out", type=Path, help="a JSON-lines file; without it they are printed")
    options = parser.parse_args()
    stream = Synthesizer(texts_of(options.exclude)).examples(options.seed)
    if options.out is None:
        for _ in range(options.count):
            e = next(stream)
            print(f"{e.text}\n    {e.rewrite.replace(chr(10), chr(10) + '    ')}")
        return
    with options.out.open("w") as f:
        for _ in range(options.count):
            e = next(stream)
            f.write(json.dumps({"text": e.text, "rewrite": e.rewrite, "source": e.source}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
