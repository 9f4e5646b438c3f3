"""What was paid for, written down before it is looked at; and a budget that cannot be overrun.

A journal is JSON lines, every one of them appended whole:

    {"reserve": 7, "want": {...}, "source": "openrouter:google/gemini-3.8-flash", "dollars": 0.04, "at": "..."}
    {"part": 7, "text": "{\\"examples\\": [{\\"inp"}
    {"answer": 7, "want": {...}, "source": "...", "text": "...", "cost": 0.0061, "tokens": [2100, 640], "whole": true,
     "at": "..."}
    {"failed": 7, "why": "rate limited"}
    {"used": 7}

A call is reserved for at the most that it can cost, on disk, before it is sent. Its answer takes the place of the
reservation, a failure that is known to have cost nothing takes it away; whatever else happens - a dropped connection, a
power cut, kill -9 - the reservation stands. So what was spent is never more than what the journal says, and a call for
which there is no room is not sent. Parts are written down as they come, so that of a call that was cut off the text so
far can be used. `used` says that its examples are in the data; what is not used yet, the next run begins with.

One process at a time writes a journal. Of a last line that is only half there, the call was not sent or its parts tell
the same; it is cut off.
"""

import fcntl
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from assistant.errors import AssistantError
from training.coverage import Want


class BadJournal(AssistantError):
    """It cannot be read or written."""

    code, exit_status = "journal", 2


@dataclass(slots=True)
class Call:
    """One call, as far as the journal knows it."""

    id: int
    want: Want
    source: str
    """As in `Labelled.source`."""
    dollars: float
    """What it costs at most."""
    text: str = ""
    """What has come, an end or not."""
    cost: float | None = None
    """Dollars; None while it is not known."""
    state: str = "open"
    """`open`, `answered`, `failed` (it cost nothing) or `used`."""
    parts: list[str] = field(default_factory=list)

    @property
    def charge(self) -> float:
        """Dollars that it counts for."""
        if self.state == "failed":
            return 0.0
        return self.dollars if self.cost is None else self.cost


class Journal:
    """A context manager. Raises `BadJournal`."""

    def __init__(self, path: Path, dollars: float, calls: int, now: Callable[[], datetime]) -> None:
        """`dollars` and `calls` are the budget of all runs with this journal together."""
        self.path, self.dollars, self.most_calls, self._now = path, dollars, calls, now
        self.calls: dict[int, Call] = {}
        self._file: int | None = None

    def __enter__(self) -> "Journal":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sync_folder(self.path.parent)
            raw = self.path.read_bytes()
            whole = raw.rfind(b"\n") + 1
            self._read(raw[:whole])
            os.ftruncate(self._file, whole)
        except BlockingIOError:
            self.__exit__()
            raise BadJournal(f"Another run writes to {self.path}: wait for it or give another --journal.") from None
        except OSError as e:
            self.__exit__()
            raise BadJournal(f"The journal {self.path} cannot be written: {e.strerror}.") from None
        except BadJournal:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self, raw: bytes) -> None:
        for number, line in enumerate(raw.split(b"\n")[:-1], 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                raise BadJournal(
                    f"Line {number} of the journal {self.path} is damaged ({type(e).__name__}: {e}): put a copy in its "
                    "place, or move it away to begin anew; what it says was paid for."
                ) from None
        for call in self.calls.values():
            call.text = call.text or "".join(call.parts)

    def _take(self, line: dict) -> None:
        if "reserve" in line:
            self.calls[line["reserve"]] = Call(
                line["reserve"], Want(**line["want"]), line["source"], float(line["dollars"])
            )
        elif "part" in line:
            self.calls[line["part"]].parts.append(line["text"])
        elif "answer" in line:
            call = self.calls[line["answer"]]
            call.text, call.source, call.cost, call.state = line["text"], line["source"], line["cost"], "answered"
        elif "failed" in line:
            self.calls[line["failed"]].state = "failed"
        elif "used" in line:
            self.calls[line["used"]].state = "used"
        else:
            raise KeyError("no known entry")

    def _write(self, line: dict, sync: bool = True) -> None:
        data = json.dumps(line, ensure_ascii=True).encode() + b"\n"
        try:
            done = os.write(self._file, data)
            if done < len(data):
                raise OSError(0, "the disk is full")
            if sync:
                os.fsync(self._file)
        except OSError as e:
            raise BadJournal(f"The journal {self.path} cannot be written: {e.strerror}.") from None

    @property
    def charged(self) -> float:
        """Dollars that were spent, and may be spent by calls whose end is not known."""
        return math.fsum(call.charge for call in self.calls.values())

    @property
    def counted(self) -> int:
        """Calls that were or may have been billed."""
        return sum(call.state != "failed" for call in self.calls.values())

    def reserve(self, want: Want, source: str, dollars: float) -> Call | None:
        """Room for one more call that costs at most `dollars`; None if the budget has none."""
        if self.counted + 1 > self.most_calls or self.charged + dollars > self.dollars:
            return None
        call = Call(max(self.calls, default=0) + 1, want, source, dollars)
        at = self._now().isoformat(timespec="seconds")
        self._write({"reserve": call.id, "want": asdict(want), "source": source, "dollars": dollars, "at": at})
        self.calls[call.id] = call
        return call

    def part(self, call: Call, text: str) -> None:
        """Some text has come. It outlives this process; only the end makes sure that it outlives the machine."""
        self._write({"part": call.id, "text": text}, sync=False)
        call.parts.append(text)
        call.text += text

    def answered(
        self, call: Call, text: str, source: str, cost: float | None, tokens: tuple[int, int] | None, whole: bool
    ) -> None:
        """It has ended. `source` names the model that has answered; `cost` is None where nobody knows."""
        at = self._now().isoformat(timespec="seconds")
        self._write(
            {"answer": call.id, "want": asdict(call.want), "source": source, "text": text, "cost": cost,
             "tokens": tokens, "whole": whole, "at": at}
        )  # fmt: skip
        call.text, call.source, call.cost, call.state = text, source, cost, "answered"

    def failed(self, call: Call, why: str) -> None:
        """It is known to have cost nothing."""
        self._write({"failed": call.id, "why": why})
        call.state = "failed"

    def used(self, call: Call) -> None:
        """Its examples are in the data."""
        self._write({"used": call.id})
        call.state = "used"

    def unused(self) -> list[Call]:
        """Calls with text that has not been used, the oldest first; while calls are under way, theirs too."""
        return [call for call in self.calls.values() if call.text and call.state in ("open", "answered")]


def _sync_folder(path: Path) -> None:
    """So that a new file in it outlives a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
