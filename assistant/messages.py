"""What flows through the program, one way: Request, Rewrite, Understanding, Reminder, Delivery; and Reply back."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

ASK_BELOW = 0.5
"""The confidence below which a model asks first that says nothing about it."""
Kind = Literal["create", "needs_time", "confirm", "list", "cancel", "snooze", "move", "done", "other"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something that was spoken, from a little before its first sound to a little after its last."""

    pcm: bytes
    """Samples of 16 bits, signed, little-endian, one channel, 16,000 a second."""
    began: datetime
    """Aware UTC: when its first sample was heard."""
    speech: float
    """Share of it that is speech, 0 to 1, by the voice activity detector."""
    level: float
    """Of its speech, dB relative to full scale (0 is the loudest there is)."""
    cut: bool = False
    """It was longer than an utterance may be; the next one goes on where it ends."""

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 32_000


@dataclass(frozen=True, slots=True)
class Transcript:
    """What an engine heard in an utterance."""

    text: str
    """Empty where it heard no words, or none that it can be believed in."""
    engine: str
    """Who wrote it, such as `faster-whisper:base`."""
    confidence: float
    """How sure the engine is of the words, 0 to 1."""
    ms: float
    """Milliseconds it took."""
    refused: str | None = None
    """Why what it wrote is not believed, a word for programs and figures: `silence`, `no_speech`, `repetition`, ..."""


@dataclass(frozen=True, slots=True)
class Request:
    """Something a person said, on some channel."""

    id: str
    """UUID; a request that arrives twice with the same id is taken once."""
    text: str
    """As it came, before normalisation."""
    channel: str
    """Who asked, so that a follow-up answer finds its question: `cli`, `http`, `voice`, `mqtt:kitchen`."""
    said_at: datetime
    """Aware UTC."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What a model made of a request."""

    text: str
    """One line a reminder, `task | when`; or one line that begins with a slash."""
    model: str
    """Who wrote it, `<folder name>` or `remote:<name>`."""
    confidence: float
    """How sure the model is of its kind and times, 0 to 1 (`local.confidence`)."""
    ms: float
    """Milliseconds of inference."""
    ask_below: float = ASK_BELOW
    """The confidence below which this model should ask first, by its calibration."""
    skipped: tuple[str, ...] = ()
    """Why those that should have answered first did not, a sentence each: `remote: ...`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a rewrite, resolved."""

    task: str | None
    """In the person's words; None where none was said."""
    when: str | None
    """A sentence of the When language; None where no time was said."""
    due: datetime | None = None
    """Aware, in the person's zone; for what recurs the first occurrence."""
    rrule: str | None = None
    """RFC 5545, over local wall time with DTSTART = the wall time of `due`."""
    past: bool = False
    """The time lies behind: never a reminder, the person is asked again."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which reminders a `/list /cancel /done /snooze /move` line means."""

    quantifier: Literal["all", "next", "first", "last", "that"] | None
    words: str
    """Words of the request, may be empty."""
    range: str | None
    """A sentence of the range language (`when.py`), None for any time."""


@dataclass(frozen=True, slots=True)
class Understanding:
    """A request, its rewrite and what that means at one instant in one zone. Nothing has been stored yet."""

    text: str
    kind: Kind
    rewrite: str
    entries: tuple[Entry, ...]
    """For `create`, `needs_time`, `confirm`: one a reminder. For `cancel`, `done`, `snooze`, `move`: exactly one, with
    the new time if one was said. Empty for `list` and `other`."""
    target: Target | None
    shift_minutes: int | None
    """For `move`: `later`/`earlier` by this many minutes (negative = earlier); None otherwise."""
    confidence: float
    model: str
    ms: float
    error: str | None = None
    """A code (`blank`, `too_long`, ...) where the text could not be taken at all."""
    sure: bool = True
    """Whether the confidence is high enough to act without asking first."""
    skipped: tuple[str, ...] = ()
    """Why the models that should have answered first did not."""
    ask_below: float = ASK_BELOW
    """The confidence below which the model that wrote it should ask first, by its calibration."""
    even_at_night: bool = False
    """It was said that it is to make a sound in quiet hours as well; `text` is without the words that said so."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """A row of the reminders table."""

    id: int
    request_id: str | None
    task: str
    """Empty for a bare reminder or alarm."""
    when: str
    """The When sentence that it was made from."""
    wall: datetime
    """Naive local time of the first occurrence (DTSTART of the rule)."""
    zone: str
    """IANA name."""
    rrule: str | None
    due: datetime | None
    """Aware UTC: the next occurrence; None when nothing more will ring."""
    state: Literal["pending", "fired", "done", "missed", "cancelled"]
    """`pending`: an occurrence lies ahead. `fired`: the last one has rung and waits to be acknowledged.
    `done`, `missed`, `cancelled`: over."""
    parent_id: int | None = None
    """A snoozed occurrence of a recurring reminder is a one-off of its own that names the recurring one here."""
    even_at_night: bool = False
    """It makes a sound in quiet hours as well."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the outbox: one occurrence of one reminder that is to be rung."""

    id: int
    reminder_id: int
    task: str
    due: datetime
    """Aware UTC: the instant that was asked for (of several missed occurrences the last)."""
    occurrences: int
    """1, or how many occurrences of a recurring reminder this one ring stands for; 0: it rings ahead of one."""
    ring: int
    """1 for the first ring, 2, 3 ... when it repeats because nobody acknowledged it."""
    zone: str
    recurring: bool
    even_at_night: bool = False
    """It makes a sound in quiet hours as well."""
    begins: datetime | None = None
    """Aware UTC: when the event begins that it rings ahead of."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request: a short sentence that can be spoken, and what was made of it."""

    text: str
    kind: Kind | Literal["kept", "undo"]
    """`kept`: no model answers; it will be understood when one does. `undo`: what was changed last came back."""
    request_id: str
    understanding: Understanding | None = None
    reminders: tuple[Reminder, ...] = field(default=())
    """Made, changed, listed or asked about."""
    question: bool = False
    """True when the next request on the same channel is taken as the answer to `text`."""
    skipped: tuple[str, ...] = ()
    """Of what is kept: why no model answers, a sentence each."""
    missed: tuple[Reminder, ...] = ()
    """Those that `text` tells of by the way, as they were missed."""
    undo: str | None = None
    """The id of the change that was made, by which it can be undone for a while (`undo.py`); None where none was."""
