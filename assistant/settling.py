"""How a request is settled: its answer is committed, told, and the question in it is open from then on.

Whoever is not listening any more is asked nothing: what would be asked about rings, in the person's own words.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from assistant import replies
from assistant.clock import Clock
from assistant.dialogue import Confirm, Dialogue, Question, To, When, Which
from assistant.hindsight import Heard, Hindsight
from assistant.messages import Entry, Reminder, Reply, Request, Understanding
from assistant.quiet import even_at_night
from assistant.store import NewReminder, Store


@dataclass(frozen=True, slots=True)
class Turn:
    """A request that is being answered."""

    request: Request
    """Its text is normalised."""
    mean: Callable[[str], Awaitable[Understanding]]
    """What a text means as of when the request was said, by the model. Raises `ModelError` if none answers."""
    read: Callable[[str], Understanding | None]
    """The same for a plain When sentence, which needs no model; None for anything else."""
    resumed: bool
    """It was accepted before a crash, or kept until a model answered: the person is not listening any more."""
    may: frozenset[str] | None = None
    """The kinds that may be asked for on its channel, None for all."""


def new_reminder(e: Entry, tz: ZoneInfo) -> NewReminder:
    """What an entry with a time sets."""
    wall = e.due.astimezone(tz).replace(tzinfo=None, fold=0)
    return NewReminder(e.task or "", e.when or "", wall, tz.key, e.rrule, e.due)


class Settler:
    """`listening` are the channels on which not everything is meant for the assistant: what is not is forgotten."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        tz: ZoneInfo,
        dialogue: Dialogue,
        hindsight: Hindsight,
        changed: Callable[[], None],
        listening: frozenset[str],
    ) -> None:
        self._store, self._clock, self._tz = store, clock, tz
        self._dialogue, self._hindsight, self._changed, self._listening = dialogue, hindsight, changed, listening

    def now(self) -> datetime:
        """In the person's zone."""
        return self._clock.now().astimezone(self._tz)

    def asked(self, question: Question) -> str:
        """A question in words."""
        match question:
            case When(entries=(first, *_)):
                return replies.past(first, self.now()) if first.past else replies.ask_when(first.task)
            case To(understanding=u, meant=meant):
                return replies.ask_to(u.kind, meant)
            case Confirm(understanding=u):
                return replies.confirm(u.entries, self.now())
            case Which(understanding=u, offered=offered, every=every):
                if every or len(offered) == 1:
                    return replies.shall_i(u.kind, offered, self.now())
                return replies.which(offered, self.now())

    def ask(self, turn: Turn, u: Understanding, question: Question, before: str = "") -> Reply:
        """Answer with a question, after the sentence `before`."""
        if turn.resumed:
            return self.ring_words(turn, u)
        about = question.offered if isinstance(question, Which) else question.meant if isinstance(question, To) else ()
        return self.reply(turn, before + self.asked(question), u, about, question)

    def ring_words(self, turn: Turn, u: Understanding | None, said: str = replies.RUNG) -> Reply:
        """Ring what was said in its own words, now."""
        with self._store.transaction():
            rings = new_reminder(self.due_now(turn.request.text), self._tz)
            rings = replace(rings, even_at_night=even_at_night(turn.request.text))
            made = self._store.add_reminders(turn.request.id, [rings])
            self.settle(turn, said, u)
        self._changed()
        return self.tell(turn, said, u, made)

    def due_now(self, task: str | None) -> Entry:
        now = self.now().replace(microsecond=0)
        return Entry(task, f"{now:%Y-%m-%d %H:%M}", now)

    def reply(
        self,
        turn: Turn,
        said: str,
        u: Understanding | None,
        reminders: Sequence[Reminder] = (),
        question: Question | None = None,
    ) -> Reply:
        """Answer what changed nothing."""
        if u and u.kind == "other" and turn.request.channel in self._listening:
            return self.forget(turn)
        self.settle(turn, said, u, question)
        if u and u.kind == "other" and not turn.resumed:
            self._hindsight.doubt(turn.request.channel, Heard(turn.request.id, u.text, u.rewrite))
        return self.tell(turn, said, u, reminders, question)

    def forget(self, turn: Turn) -> Reply:
        """Keep nothing of what was not meant for the assistant."""
        self._store.forget_request(turn.request.id)
        return Reply(replies.OTHER, "other", turn.request.id)

    def settle(self, turn: Turn, said: str, u: Understanding | None, question: Question | None = None) -> None:
        """To be called inside the transaction of what was done."""
        kind, asks = u.kind if u else "other", question is not None and not turn.resumed
        self._store.settle_request(
            turn.request.id, reply=said, at=self._clock.now(), understanding=u, kind=kind, question=asks
        )

    def tell(
        self,
        turn: Turn,
        said: str,
        u: Understanding | None,
        reminders: Sequence[Reminder] = (),
        question: Question | None = None,
    ) -> Reply:
        """The reply, after the commit; from now on the channel may answer its question."""
        kind, asks = u.kind if u else "other", question is not None and not turn.resumed
        self._hindsight.answered(turn.request.channel, kind, reminders, asks)
        if asks:
            self._dialogue.ask(turn.request.channel, question, self._clock.now())
        return Reply(said, kind, turn.request.id, u, tuple(reminders), asks)
