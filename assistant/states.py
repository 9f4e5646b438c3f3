"""How each part of the daemon is: a state, and a sentence for a person.

Pure: from the parts as they are to what the page shows. `off`: it is not set up, or was switched off. `warn`: something
is to be done about it, which the sentence says.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from assistant import replies
from assistant.database import Database

if TYPE_CHECKING:
    from assistant.calendars import Calendars
    from assistant.hears import Hears
    from assistant.mqtt import Mqtt
    from assistant.rewriters import Rewriters
    from assistant.sections import NtfyPhone

Part = Literal["microphone", "voice", "model", "mqtt", "calendar", "phone"]
LOOK_BACK = 1000
"""Outcomes of notifiers among which the last one of the phone is looked for."""


@dataclass(frozen=True, slots=True)
class State:
    """How one part is."""

    part: Part
    state: Literal["ok", "off", "warn"]
    says: str
    """A sentence."""


def microphone(now: "Hears") -> State:
    if now.muted:
        return State("microphone", "off", "It is muted and hears nothing.")
    if now.microphone in ("silent", "missing", "reopening"):
        return State("microphone", "warn", now.says)
    if now.mode == "word" and not now.word:
        return State("microphone", "warn", "Its wake word cannot be heard here: `assistant doctor` says why.")
    says = {"push": "It listens when it is told to.", "word": f'It listens for "{now.word}".',
            "always": "It listens all the time."}[now.mode]  # fmt: skip
    return State("microphone", "ok", f"{says} {now.says}" if now.microphone != "closed" else says)


def voice(now: "Hears") -> State:
    if now.voice_muted:
        return State("voice", "off", "Its voice is muted.")
    if now.voice == "none":
        return State("voice", "off", "It does not speak: see [tts] engine.")
    return State("voice", "ok", f"It speaks by {now.voice}.")


def model(rewriters: "Rewriters", kept: int) -> State:
    """`kept`: requests that wait for a model."""
    remote = rewriters.remote
    trouble = [str(error) for error in rewriters.rewriter.out.values()]
    if remote and remote.breaker.state != "closed":
        trouble.append(f"The model service at {remote.url} does not answer and is left alone for a while.")
    if kept:
        trouble.append(replies.waiting(kept))
    if trouble:
        return State("model", "warn", " ".join(trouble))
    where = f"at {remote.url}" if remote and rewriters.rewriter.name == remote.name else "here"
    return State("model", "ok", f"The model {rewriters.rewriter.name} understands requests, {where}.")


def mqtt(connection: "Mqtt | None") -> State:
    if connection is None:
        return State("mqtt", "off", "No broker is set up: see [mqtt].")
    return State("mqtt", "ok" if connection.connected else "warn", connection.says)


def calendar(calendars: "Calendars | None") -> State:
    """The owner's calendar."""
    state = calendars and calendars.state
    if not state:
        return State("calendar", "off", "No calendar is kept equal: see [calendar] url.")
    if state.state == "failing":
        return State("calendar", "warn", state.said)
    return State("calendar", "ok", "Your calendar is kept equal." if state.state == "well" else "It is being read.")


def phone(settings: "NtfyPhone | None", db: Database) -> State:
    """`settings`: where [notify] use names ntfy. Raises `StoreError`."""
    if settings is None:
        return State("phone", "off", 'No phone is set up: put "ntfy" into [notify] use.')
    last = db.one(
        "SELECT ok, error FROM outcomes WHERE notifier = 'ntfy' AND rowid >"
        " (SELECT max(rowid) FROM outcomes) - ? ORDER BY at DESC LIMIT 1",
        (LOOK_BACK,),
    )
    if last and not last["ok"]:
        return State("phone", "warn", f"The last ring did not reach it: {last['error']}")
    return State("phone", "ok", f"It is rung through {settings.url}.")
