"""Requests with the rewrite that a model should write for them: the rows of `data/task_dataset.jsonl`.

One JSON object a line: `{"input", "output", "source", "group", "domain", "style", "agreed"}`.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from assistant.syntax import Delay, Point, Repetition, read_when
from assistant.when import split

KINDS = ("create", "needs_time", "list", "cancel", "move", "snooze", "done", "other")
FAMILIES = ("several reminders", "recurrence", "offset", "clock time in digits", "clock time in words", "daypart",
            "day only", "none")  # fmt: skip
"""Of times, as `evaluate.family` calls them."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A request and its rewrite."""

    input: str
    """As a person says, types or dictates it."""
    output: str
    """Lines of `prompt.completion`, joined by a newline: `call mum | tomorrow 17:00`, `/list | today`."""
    source: str
    """Truly where it is from: `hand`, `openrouter:MODEL` or `correction`."""
    group: str = ""
    """Wordings of one request share it, so that they never stand on both sides of a split; empty: of its own."""
    domain: str = ""
    """What it is about: one of `coverage.DOMAINS`; empty for a correction."""
    style: str = ""
    """How it is said: one of `coverage.STYLES`; empty for a correction."""
    agreed: str = ""
    """Who agrees about the time: an independent parser by name, `hand` for a person who looked again; empty where the
    output has none."""

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        if self.output.startswith("/"):
            return self.output.split()[0][1:]
        return "create" if any(self.whens) else "needs_time"

    @property
    def whens(self) -> list[str]:
        """The When sentence of each line, empty where there is none; of a command the new time."""
        if self.output.startswith("/"):
            _, _, new = self.output.partition(" > ")
            return [new]
        return [split(line)[1] for line in self.output.split("\n")]

    @property
    def family(self) -> str:
        """One of `FAMILIES`, by its first time; shifts (`later 1 hour`) are offsets."""
        if "\n" in self.output:
            return "several reminders"
        [when] = self.whens
        if not when:
            return "none"
        if when.startswith(("later ", "earlier ")):
            return "offset"
        match read_when(when):
            case Repetition():
                return "recurrence"
            case Delay():
                return "offset"
            case Point(date=date, time=time):
                if time is None:
                    return "daypart" if date == ("tonight",) else "day only"
                if ":" not in time:
                    return "daypart"
        return "clock time in digits" if _HOUR.search(self.input) else "clock time in words"


_HOUR = re.compile(r"(?<![\d/])(?:\d{1,2}|[0-2]\d[0-5]\d)(?![\d/]|st|nd|rd|th)", re.I)


def read_labelled(path: Path) -> list[Labelled]:
    """The rows of a file; none if there is no file. Raises ValueError with the line's number for what is no row."""
    known, rows = {f.name for f in fields(Labelled)}, []
    if not path.exists():
        return []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            row = Labelled(**{k: v for k, v in raw.items() if k in known})
            if not all(isinstance(v, str) for v in asdict(row).values()):
                raise TypeError("every value is a text")
        except (ValueError, TypeError, AttributeError) as e:
            raise ValueError(f"line {number} of {path} is no labelled request: {e}") from None
        rows.append(row)
    return rows


def as_line(row: Labelled, **more: str) -> str:
    """A row as it stands in a file, values that are empty left out, with its line end."""
    return json.dumps({k: v for k, v in (asdict(row) | more).items() if v}, ensure_ascii=False) + "\n"


def write_labelled(path: Path, rows: Iterable[Labelled]) -> None:
    """Writes a file whole or not at all."""
    write_whole(path, "".join(map(as_line, rows)).encode())


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Puts lines of `as_line` behind what a file holds, which stays as it is, byte by byte; all of them or none."""
    there = path.read_bytes() if path.exists() else b""
    end = b"" if there.endswith(b"\n") or not there else b"\n"
    write_whole(path, there + end + "".join(lines).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all, whatever happens to this process or its machine."""
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.replace(part, path)
