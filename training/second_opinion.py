"""Whether somebody else's parser reads the same time out of a request as its rewrite says.

A rewrite and a parser may agree by accident at one instant (at ten, "at 5" and `17:00` are the same), so that the
parser must agree at every one of `INSTANTS` at which the time still lies ahead, and at two of them at least. Instants
are compared at the grain that was said, what recurs by its first occurrences, as `gold.py` does; and a rule that ends
agrees only with one that ends. Of several times each must agree, in order.

A time that is only looked up (`/cancel alarm | today`) agrees if what the parser reads lies in the range, or begins or
ends it (`| today after 15:00`), a shift (`> later 1 hour`) if it is as far from now.
"""

import re
from collections.abc import Callable
from datetime import datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from assistant.evidence import evidence
from assistant.grammar import DAYPARTS, WEEKDAYS, is_when
from assistant.messages import Entry, Rewrite
from assistant.ranges import parse_range
from assistant.recurrence import fields
from assistant.understand import understand
from assistant.when import Once, Past, Policy, Repeat, localise, parse_when
from assistant.words import words
from training.gold import GoldEntry, Row, score
from training.labelled import Labelled
from training.parsers import PARSERS, Found, NotInstalled, Parser

ZONE = ZoneInfo("Europe/London")
INSTANTS = tuple(
    datetime(*at, tzinfo=ZONE)
    for at in ((2026, 3, 11, 10, 0), (2026, 6, 27, 6, 40), (2027, 10, 22, 11, 20), (2027, 2, 16, 7, 30))
)
"""A Wednesday, a Saturday, a Friday and a Tuesday; before noon, and not at the end of a month."""
JUDGES = ("recognizers", "dateparser", "recurrent")
"""Of `PARSERS`, the best first. ctparse is left out: it takes English words for German days."""
ENDS = {"UNTIL", "COUNT"}
_BOUNDED = re.compile(
    r"\b(?:un)?till?\b|\bexcept|\bbut not\b|\bapart from\b|\bfrom\b|\bstarting\b|\bthrough\b|\bup to\b"
    r"|\bfor (?:[\w'-]+ ){1,3}?(?:times|minutes|hours|days|weeks|months|years)\b",
    re.I,
)
"""How it is said that what recurs does not go on for ever; most parsers overlook it."""
_MORNING = re.compile(r"morning|\ba\.?m\b|first thing|breakfast", re.I)
_SIDE = re.compile(r"\b(after|before|between) ")
_SAID = {
    "after": re.compile(r"\bafter|\bpast\b|\blater than\b|\bfrom\b", re.I),
    "before": re.compile(r"\bbefore|\bby\b|\btill?\b|\buntil\b|\bearlier than\b", re.I),
}
"""Side of a time -> how it is said; parsers do not tell which side they have read."""
Fits = Callable[[Found], bool]
"""Whether what a parser found is one time of a rewrite."""


@cache
def judges() -> tuple[Parser, ...]:
    """Those that are installed; `dateparser` always is."""
    found = []
    for name in JUDGES:
        try:
            found.append(PARSERS[name]())
        except NotInstalled:
            continue
    return tuple(found)


def has_time(row: Labelled) -> bool:
    """Whether a row that passes `checks.check` says a time, be it only to look something up by it."""
    return any(row.whens) or row.output.startswith("/") and " | " in row.output


def second_opinion(row: Labelled) -> str:
    """The name of the first parser that reads the times of `row` as its rewrite has them; empty if there is none, or
    nothing to read.

    The row must pass `checks.check`.
    """
    if not has_time(row):
        return ""
    said = [(now, fits) for now in INSTANTS if (fits := _times(row, now))]
    if len(said) < 2:
        return ""
    return next((p.name for p in judges() if all(_agrees(p, row.input, now, fits) for now, fits in said)), "")


def overlooked(row: Labelled) -> str:
    """Who reads a time in a request whose rewrite has none: the best parser by name, or `evidence`; empty if nobody.

    They may be wrong ("the 20 minute video", "a table for two"): a person should look. Small talk (`/other`, `/done`)
    may well hold a time.
    """
    if has_time(row) or row.kind in ("other", "done"):
        return ""
    if _read(judges()[0], row.input, INSTANTS[0]):
        return judges()[0].name
    return "evidence" if evidence([w.folded for w in words(row.input)]).classes["H:MM?"] else ""


def _read(parser: Parser, text: str, now: datetime) -> list[Found]:
    try:
        return parser.understand(text, now, ZONE)
    except Exception:  # some of them stumble over texts that they were not made for: nothing was found
        return []


def _agrees(parser: Parser, text: str, now: datetime, fits: list[Fits]) -> bool:
    """Beside a single time a parser may find more, in the words of the task; of several it must find those alone."""
    found = _read(parser, text, now)
    as_many = len(found) == len(fits) if len(fits) > 1 else bool(found)
    return as_many and all(fit(f) for fit, f in zip(fits, found))


def _times(row: Labelled, now: datetime) -> list[Fits]:
    """What must be found in the request at `now`, in order.

    Nothing if one of the times lies behind by then, if no parser can judge it, or where opinions differ anyway: whether
    "friday" said on a Friday is today.
    """
    if WEEKDAYS[now.weekday()] in row.output.split() and "every" not in row.output:
        return []
    meant = understand(Rewrite(row.output, "", 1.0, 0.0), row.input, now, ZONE, Policy())
    whens = [e.when for e in meant.entries if e.when]
    fits: list[Fits] = []
    if meant.target and meant.target.range:
        looked_up = meant.target.range
        if side := _SIDE.search(looked_up):
            looked_up = _SIDE.sub("", looked_up)
            if side[1] == "between" or not _SAID[side[1]].search(row.input) or not is_when(looked_up):
                return []
            whens.insert(0, looked_up)
        else:
            fits.append(lambda found: _inside(looked_up, row.input, found, now))
    if meant.shift_minutes is not None:
        span = timedelta(minutes=abs(meant.shift_minutes))
        fits.append(lambda found: abs(found[0] - now.replace(tzinfo=None)) == span)
    resolved = [parse_when(when, now, ZONE) for when in whens]
    if any(isinstance(r, Past) for r in resolved):
        return []
    return fits + [lambda found, r=r: _same(r, row.input, found, now) for r in resolved]


def _same(meant: Once | Repeat, text: str, found: Found, now: datetime) -> bool:
    (at, rule), rrule = found, getattr(meant, "rrule", None)
    grain = meant.grain if meant.grain in ("minute", "day") else "daypart"
    same = _scored(meant.due, None, grain, at, None, now)
    # A day at its default hour is a day of which no hour was read; and no parser tells a morning from it.
    if not (same.strict if grain == "day" else same.due) or (grain == "daypart" and not _is_daypart(text, at)):
        return False
    if not rrule or not rule:
        return not rrule and not rule
    ends, due = not ENDS.isdisjoint(fields(rule)), meant.due
    if ends == ENDS.isdisjoint(fields(rrule)) or (not ends and _BOUNDED.search(text)):
        return False
    if grain != "minute":  # the hours are somebody's defaults
        due, at = (datetime.combine(t, time(9)) for t in (due, at))
        rrule, rule = (_days_only(r) for r in (rrule, rule))
    return bool(_scored(due, rrule, "minute", at, rule, now).recur)


def _inside(looked_up: str, text: str, found: Found, now: datetime) -> bool:
    """Whether a time that was found is in a range, and as exact as it."""
    at, rule = found
    if not parse_range(looked_up, now, ZONE).matches(localise(at, ZONE), rule):
        return False
    if ":" in looked_up or rule:
        return True
    if not set(looked_up.split()).isdisjoint(DAYPARTS):
        return _is_daypart(text, at)
    return at.time() == Policy().day


def _is_daypart(text: str, at: datetime) -> bool:
    """Whether a request can say a part of a day and no hour, where a parser has read `at`."""
    if evidence([w.folded for w in words(text)]).classes["H:MM?"]:
        return False
    return at.hour != Policy().day.hour or bool(_MORNING.search(text))


def _scored(due: datetime, rrule: str | None, grain: str, at: datetime, rule: str | None, now: datetime):
    row = Row("", "", now, ZONE, "create", (GoldEntry(None, (), due, grain, rrule),), False)
    return score(row, "create", [Entry(None, None, at, rule)])


def _days_only(rrule: str) -> str:
    return ";".join(f"{k}={v}" for k, v in fields(rrule).items() if k not in ("BYHOUR", "BYMINUTE", "BYSECOND"))
