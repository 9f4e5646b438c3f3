"""The assistant's sentences for the ear. Pure functions.

What the program itself wrote - clock times, dates, counts - is put into words; the person's own words stay as they are.
From both goes what cannot be said: quotes, markup, control characters, pictures.

    OK: meet room 17:30, tomorrow at 17:05.  ->  OK: meet room 17:30, tomorrow at five past five in the afternoon.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import accumulate

from assistant.grammar import MONTHS
from assistant.messages import Reply
from assistant.notifiers import Notice
from assistant.numerals import clock, date, number, ordinal

NAMED = 3
"""So many reminders that ring together are named; the rest is counted."""
LONGEST = 100
"""Characters of the tasks of one notice at the most."""
MOST_SPOKEN = 180
"""Small letters of a whole notice at the most. Slow voices speak 12 a second, and a notifier has 20 seconds."""
_SLOWLY = 4
"""So many small letters take as long as a digit or a capital, which may be read out by itself."""
_WRITTEN = re.compile(
    r"(?<![\w.,:/€£$~#-])(?:"
    r"(?P<tonight>(?P<until>until )?tomorrow at 0:00)\b"
    rf"|(?P<day>\d{{1,2}}) (?P<month>{'|'.join(m.title() for m in MONTHS)})\b(?: (?P<year>20\d\d)\b)?"
    r"|(?P<nth>\d{1,2})(?:st|nd|rd|th)\b"
    r"|(?P<hour>\d{1,2}):(?P<minute>\d\d)\b"
    r"|(?P<count>\d{1,2})(?![\w:/-]|[.,]\d|\s?[%€£$°])"
    r")"
)
"""What the program writes with digits (`replies.py`, `delivery.py`)."""
_URL = re.compile(
    r"(?:https?://|\bwww\.)(?:[^\s/?#@]*@)?(?:www\.)?([^\s/?#:]+)\S*?(?=[.,;!?)]*(?:\s|$))", re.IGNORECASE)
_MONEY = re.compile(r"(\w?)([€£$])\s?(\d+(?:[.,]\d+)*\w*)")
_CURRENCIES = {"€": "euros", "£": "pounds", "$": "dollars"}
_SYMBOLS = str.maketrans({
    "&": " and ", "%": " percent ", "€": " euros ", "£": " pounds ", "$": " dollars ", "°": " degrees ", "@": " at ",
    "+": " plus ", "=": " equals ", "×": " times ", "÷": " divided by ", "(": ", ", ")": ", ", "‘": "'", "’": "'",
    **dict.fromkeys('"“”„«»*_|\\<>^`[]{}#~≈', " "),
})  # fmt: skip
_APART = {"Cc", "Cs", "Co", "Cn", "So", "Sk"}
"""Unicode categories of what is not said and parts words: control characters, pictures, what is no character."""
_WITHIN = {"Cf", "Me"}
"""Of what is not said and may stand within a word, such as soft hyphens."""
_JOINERS = "\u200c\u200d"
"""Of that, part of the spelling in Persian, Hindi and others, unless they stand alone."""
_VARIATIONS = {chr(n) for n in range(0xFE00, 0xFE10)}
"""They choose between pictures."""


def reply(text: str, own: Iterable[str] = ()) -> str:
    """A sentence of the program's for the ear; `own` are the person's words that stand in it, such as tasks."""
    # Only digits are put into other words, so that what has none needs no protection.
    kept = sorted({words for words in own if words in text and re.search(r"\d", words)}, key=len, reverse=True)
    theirs = "|".join(map(re.escape, kept)) or r"\Z"
    parts = re.split(rf"(?<![\w:])({theirs})(?![\w:])", text)
    spoken = [part if i % 2 else _respoken(part) for i, part in enumerate(parts)]
    return clean("".join(spoken))


def answer(said: Reply) -> str:
    """A reply for the ear."""
    u = said.understanding
    own = [r.task for r in (*said.reminders, *said.missed)]
    if u:
        own += [entry.task or "" for entry in u.entries] + ([u.target.words] if u.target else [])
    return reply(said.text, own)


def notice(rung: Notice) -> str:
    """What rings, for the ear: `Reminder: call mum.`, `Late by two hours: call mum.`, `Three reminders: a; b; c.`"""
    told = rung.deliveries[:NAMED]
    longest = LONGEST // len(told)
    lines = []
    for d, line in zip(told, rung.text.split("\n")):
        task = shorten(d.task, longest)
        lines.append(reply(line.replace(d.task, task) if d.task else line, [task]))
    if len(rung.deliveries) == 1:
        said = f"Reminder: {lines[0]}" if rung.text == told[0].task else lines[0]
    else:
        more = len(rung.deliveries) - len(told)
        said = _respoken(f"{len(rung.deliveries)} reminders: ") + "; ".join(lines)
        said += _respoken(f"; and {more} more") if more else ""
    said = _in_time(said[:1].upper() + said[1:])
    return said if said.endswith((".", "!", "?")) else f"{said}."


def shorten(text: str, longest: int) -> str:
    """The first words of a text that is too long, and `and so on`."""
    if len(text) <= longest:
        return text
    head = text[:longest]
    return f"{head.rpartition(' ')[0] or head} and so on"


def _in_time(text: str) -> str:
    """As much of a text as `MOST_SPOKEN` allows."""
    spent = accumulate(_SLOWLY if c.isalnum() and not c.islower() else 1 for c in text)
    return shorten(text, sum(letters <= MOST_SPOKEN for letters in spent))


def clean(text: str) -> str:
    """Text of which every character can be said, on one line: `R&D: 5%` -> `R and D: 5 percent`; of a URL the host."""
    text = _URL.sub(r"\1", unicodedata.normalize("NFC", text))
    text = _MONEY.sub(lambda m: f"{m[1] and m[1] + ' '}{m[3]} {_CURRENCIES[m[2]]}", text)
    text = re.sub(r"#(?=\d)", " number ", re.sub(r"[~≈]\s?(?=\d)", " about ", text))
    text = re.sub(r"(?:^|\s)[-–—]+\s|—", ", ", text).replace("–", "-").translate(_SYMBOLS)
    text = "".join(map(_sayable, text))
    text = re.sub(rf"(?<!\S)[{_JOINERS}]+|[{_JOINERS}]+(?!\S)|(?<!\w)'|'(?!\w)", "", text)
    text = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(text.split()))
    return re.sub(r"[,;:]+([,.;:!?])", r"\1", text).strip(" ,;")


def _sayable(c: str) -> str:
    category = unicodedata.category(c)
    if c.isspace() or category in _APART:
        return " "
    return "" if c in _VARIATIONS or (category in _WITHIN and c not in _JOINERS) else c


def _respoken(text: str) -> str:
    """The program's own words with what it writes in digits in words."""
    return _WRITTEN.sub(_said, text)


def _said(found: re.Match) -> str:
    if found["tonight"]:
        return f"{found['until'] or 'at '}midnight tonight"
    if found["month"] and 1 <= int(found["day"]) <= 31:
        return date(int(found["day"]), found["month"], int(found["year"]) if found["year"] else None)
    if found["nth"] and int(found["nth"]):
        return ordinal(int(found["nth"]))
    if found["hour"] and int(found["hour"]) < 24 and int(found["minute"]) < 60:
        said = clock(int(found["hour"]), int(found["minute"]))
        return f"{said}, at the start of the day" if said == "midnight" else said  # else one thinks of its end
    return number(int(found["count"])) if found["count"] else found[0]
