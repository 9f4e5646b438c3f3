"""The overview for a terminal: lines of text, none longer than the terminal is wide. Pure.

    Wednesday 11 March, 10:00
    Ringing       what rings, and what was missed
    Ahead         as many as there is room for
    Heard         what was said last, and what was answered
    microphone .. how each part is, and the last days in figures

What a person said is text, whatever is in it: neither markup of `rich` nor an escape sequence for the terminal.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rich.cells import cell_len
from rich.text import Text

from assistant import replies

NARROW = 60
"""Columns below which a line tells only what and when."""
FEWEST = 3
"""Reminders ahead that are shown however low the terminal is."""
HEARD = 5
"""Requests that are shown."""
_BARS, _ASCII_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_MARKS = {"ok": ("●", "+", "green"), "off": ("○", "-", "dim"), "warn": ("▲", "!", "yellow")}
_DAYS = {"set": "set", "on_time": "on time", "late": "late", "missed": "missed"}


def glance(
    found: dict, now: datetime, width: int, height: int | None = None, ascii_only: bool = False, away: str = ""
) -> list[Text]:
    """The lines of an overview, as `GET /overview` answers it, at the aware instant `now`.

    `height`: lines that there is room for, None for all; `away`: why what is shown may be old.
    """
    now = now.astimezone(ZoneInfo(found["zone"]))
    wide = width >= NARROW
    title = f"{now:%A} {now.day} {now:%B}, {replies.clock(now)}" if wide else f"{now:%a} {now.day} {now:%b} {now:%H:%M}"
    head = [Text(title, "bold")] + ([Text(_plain(away), "bold red")] if away else [])
    head += _section("Ringing", _ringing(found["ringing"], now, wide), "bold red")
    head += _section("Missed", _missed(found["missed"], now, wide), "yellow")
    tail = _section("Heard", _heard(found["requests"][:HEARD], now, wide), "bold")
    tail += [Text(), *_states(found["states"], ascii_only), _days(found["days"], wide, ascii_only)]
    if found["kept"]:
        tail.append(Text(replies.waiting(found["kept"]), "yellow"))
    ahead = _ahead(found, now, wide)
    room = len(ahead) if height is None else max(FEWEST, height - len(head) - len(tail) - 3)
    more = found["pending"] - min(len(ahead), room)
    lines = ahead[:room] or [Text("Nothing is set.")]
    lines += [Text(f"and {more} more", "dim")] if more > 0 else []
    every = [*head, Text(), Text(f"Ahead: {found['pending']}, today: {found['today']}", "bold"), *lines, *tail]
    for line in every:
        line.no_wrap = True
        line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    return every


def _section(title: str, rows: Sequence[Text], style: str) -> list[Text]:
    return [Text(), Text(title, style), *rows] if rows else []


def _ahead(found: dict, now: datetime, wide: bool) -> list[Text]:
    rows = []
    for r in found["upcoming"]:
        due = _instant(r["due"])
        rows.append((str(r["id"]), _when(due, now), _task(r), r["repeats"] or _in(due - now)))
    return _columns(rows, wide, ("dim", "cyan", "", "dim"))


def _ringing(ringing: Iterable[dict], now: datetime, wide: bool) -> list[Text]:
    rows = []
    for r in ringing:
        again = f"ring {r['ring']}" if r["ring"] > 1 else ""
        begins = f"begins {_when(_instant(r['begins']), now)}" if r["begins"] else ""
        rows.append((str(r["id"]), _when(_instant(r["due"]), now), _task(r), begins or again))
    return _columns(rows, wide, ("", "bold red", "bold red", "red"))


def _missed(missed: Iterable[dict], now: datetime, wide: bool) -> list[Text]:
    rows = [(str(r["id"]), _when(_instant(r["last"]), now), _task(r), f"{r['times']} times" if r["times"] > 1 else "")
            for r in missed]
    return _columns(rows, wide, ("dim", "yellow", "", "dim"))


def _heard(requests: Iterable[dict], now: datetime, wide: bool) -> list[Text]:
    lines = []
    for q in requests:
        said = Text.assemble((_when(_instant(q["said_at"]), now), "dim"), "  ", _plain(q["text"]))
        if wide:
            said.append(f"  {_plain(q['reply'] or 'not answered yet')}", "red" if q["error"] else "dim")
        lines.append(said)
    return lines


def _states(states: Iterable[dict], ascii_only: bool) -> list[Text]:
    lines = []
    for s in states:
        mark, plain, style = _MARKS[s["state"]]
        lines.append(Text.assemble((plain if ascii_only else mark, style), f" {s['part']}: {_plain(s['says'])}"))
    return lines


def _days(days: Sequence[dict], wide: bool, ascii_only: bool) -> Text:
    """The last days: figures, and how many were set on each."""
    sums = ", ".join(f"{sum(day[name] for day in days)} {named}" for name, named in _DAYS.items())
    line = Text(f"{len(days)} days: {sums}")
    bars, most = _ASCII_BARS if ascii_only else _BARS, max((day["set"] for day in days), default=0)
    if wide and most:
        line.append("  " + "".join(bars[-(-day["set"] * (len(bars) - 1) // most)] for day in days), "cyan")
    return line


def _columns(rows: Sequence[tuple[str, ...]], wide: bool, styles: tuple[str, ...]) -> list[Text]:
    """Rows under one another: number, when, what, and more where there is room."""
    widths = [max((cell_len(row[n]) for row in rows), default=0) for n in range(3)]
    lines = []
    for number, when, what, more in rows:
        line = Text(number.rjust(widths[0]), styles[0])
        line.append("  " + when.ljust(widths[1]), styles[1]).append(f"  {what}", styles[2])
        if wide and more:
            line.append(f"  {more}", styles[3])
        lines.append(line)
    return lines


def _task(r: dict) -> str:
    return _plain(replies.task(r["task"]))


def _plain(text: str) -> str:
    """On one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _when(at: datetime, now: datetime) -> str:
    """`today 17:00`, `tomorrow 7:00`, `Fri 13 Mar 17:00`, `13 Mar 2028`."""
    at, days = at.astimezone(now.tzinfo), (at.astimezone(now.tzinfo).date() - now.date()).days
    if at.year != now.year and abs(days) > 1:
        return f"{at.day} {at:%b %Y}"
    named = {0: "today", 1: "tomorrow", -1: "yesterday"}.get(days, f"{at:%a} {at.day} {at:%b}")
    return f"{named} {replies.clock(at)}"


def _in(span: timedelta) -> str:
    """`in 31 hours`, for what comes within two days."""
    minutes = round(span / timedelta(minutes=1))
    if minutes < 1:
        return "now"
    if minutes < 100:
        return f"in {replies.count(minutes, 'minute')}"
    return f"in {replies.count(round(minutes / 60), 'hour')}" if minutes < 48 * 60 else ""
