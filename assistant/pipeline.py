"""From a request to what is remembered and answered.

    accept (commit) -> rewrite -> understand -> act and settle (one commit) -> Reply

Nothing is answered before its commit, and nothing that was accepted vanishes: what a crash left unanswered is run again
at the next start, its times read from when it was said.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from assistant import replies
from assistant.actions import PastTime, act, move, once_at
from assistant.clock import Clock
from assistant.dialogue import Confirm, Dialogue, Question, When, Which, missing
from assistant.errors import AssistantError, BadRequest, NotFound
from assistant.grammar import is_when
from assistant.messages import Entry, Reminder, Reply, Request, Target, Understanding
from assistant.rewriter import Rewriter
from assistant.store import NewReminder, Store
from assistant.targets import content, find, is_no, is_yes, pick
from assistant.understand import understand
from assistant.when import Policy
from assistant.words import normalise, words

RUNG_SINCE = timedelta(hours=1)
"""So long "done" and "snooze" mean a reminder that has stopped ringing."""
SHORT_ANSWER = 12
"""An answer to "When?" has at most so many words."""


class Pipeline:
    """Handles requests, those of one channel one after the other; calls `changed()` after commits that set times."""

    def __init__(
        self,
        rewriter: Rewriter,
        store: Store,
        policy: Policy,
        tz: ZoneInfo,
        clock: Clock,
        ask_below: float,
        changed: Callable[[], None],
        listening_channels: frozenset[str] = frozenset({"voice"}),
        snooze_minutes: int = 10,
    ) -> None:
        self.rewriter, self.store, self.policy, self.tz, self.clock = rewriter, store, policy, tz, clock
        self._ask_below, self._changed, self._listening, self._snooze = (
            ask_below,
            changed,
            listening_channels,
            timedelta(minutes=snooze_minutes),
        )
        self._dialogue = Dialogue()
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    async def predict(self, text: str, now: datetime | None = None, tz: ZoneInfo | None = None) -> Understanding:
        """Understand `text` and store nothing. Raises `BlankText`, `TextTooLong`, `ModelError`, `Busy`."""
        return await self._understand(normalise(text), now or self.clock.now(), tz or self.tz)

    async def handle(self, request: Request) -> Reply:
        """Raises what `predict` raises; a request that was accepted is settled all the same."""
        text = normalise(request.text)
        new = self.store.add_request(request)
        channel = request.channel
        lock = self._locks.setdefault(channel, asyncio.Lock())
        self._waiting[channel] = self._waiting.get(channel, 0) + 1
        try:
            async with lock:
                if not new and (known := self._known(request.id)):
                    return known
                return await self._answer(request, text)
        finally:
            self._waiting[channel] -= 1
            if not self._waiting[channel]:
                del self._waiting[channel], self._locks[channel]

    def _known(self, id: str) -> Reply | None:
        """The answer that a request of this id got before."""
        stored = self.store.request(id)
        if stored is None or stored.settled_at is None:
            return None
        return Reply(
            stored.reply or "", stored.kind or "other", id, None, tuple(self.store.reminders_of(id)), stored.question
        )

    async def _understand(self, text: str, now: datetime, tz: ZoneInfo | None = None) -> Understanding:
        tz = tz or self.tz
        return understand(await self.rewriter.rewrite(text), text, now.astimezone(tz), tz, self.policy, self._ask_below)

    async def _answer(self, request: Request, text: str) -> Reply:
        try:
            question = self._dialogue.take(request.channel, self.clock.now())
            reply = await self._follow_up(request, text, question) if question else None
            return reply or self._act(request, await self._understand(text, request.said_at))
        except AssistantError as e:
            if self.store.request(request.id):
                self.store.settle_request(request.id, reply=str(e), at=self.clock.now(), error=e.code)
            raise

    # Acting by number, for programs

    def done(self, id: int) -> Reminder:
        """Acknowledge a reminder. Raises `NotFound`, as do the three below."""
        return self.store.done([id], self.clock.now())[0]

    def cancel(self, id: int) -> Reminder:
        return self.store.cancel([id])[0]

    def snooze(self, id: int, minutes: int | None = None, when: str | None = None) -> Reminder:
        """Ring again in so many minutes, or at a When sentence. Raises `BadWhen`, `PastTime`."""
        now = self._now()
        until = (
            once_at(when, now, self.tz, self.policy)
            if when
            else now + (timedelta(minutes=minutes) if minutes else self._snooze)
        )
        snoozed = self.store.snooze(id, until, now)
        self._changed()
        return snoozed

    def move(self, id: int, when: str) -> Reminder:
        """Move to a When sentence; a bare clock time keeps the day, a bare day the clock time.

        Raises `BadWhen`, `PastTime`.
        """
        moved = move(self.store, self.store.reminder(id), when, None, self._now(), self.tz, self.policy)
        self._changed()
        return moved

    # A new request

    def _act(self, request: Request, u: Understanding) -> Reply:
        match u.kind:
            case "create" | "needs_time":
                return self._create(request, u, u.entries, request.said_at)
            case "confirm":
                question = Confirm(u, request.said_at)
                return self._reply(request, replies.confirm(u.entries, self._now()), u, question=question)
            case "list":
                return self._list(request, u)
            case "cancel" | "done" | "snooze" | "move":
                return self._change(request, u)
        if u.error:
            return self._reply(request, replies.UNREADABLE, u)
        if request.channel in self._listening:
            self.store.forget_request(request.id)
            return Reply(replies.OTHER, "other", request.id, u)
        return self._reply(request, replies.OTHER, u)

    def _create(self, request: Request, u: Understanding, entries: Iterable[Entry], said_at: datetime) -> Reply:
        entries = tuple(entries)
        ready = [e for e in entries if e.due and not e.past]
        open_entry = missing(entries)
        said = []
        with self.store.transaction():
            made = self.store.add_reminders(request.id, [self._new(e) for e in ready])
            if made:
                said.append("OK: " + "; ".join(replies.reminder(r, self._now()) for r in made) + ".")
            if open_entry:
                said.append(
                    replies.past(open_entry, self._now()) if open_entry.past else replies.ask_when(open_entry.task)
                )
            reply = self._reply(request, " ".join(said), u, made, When(open_entry.task or "") if open_entry else None)
        if made:
            self._changed()
        return reply

    def _new(self, e: Entry) -> NewReminder:
        assert e.due is not None
        return NewReminder(
            e.task or "", e.when or "", e.due.astimezone(self.tz).replace(tzinfo=None), self.tz.key, e.rrule, e.due
        )

    def _list(self, request: Request, u: Understanding) -> Reply:
        target = u.target or Target(None, "", None)
        every = replace(target, quantifier=None) if target.quantifier == "all" else target
        found = self._find(every).found
        found = tuple(r for r in found if r.state == "pending") or found
        if not found and content(target.words):
            return self._reply(request, replies.none_about(target.words, _span(target.range)), u)
        return self._reply(request, replies.listing(found, _span(target.range), self._now()), u, found)

    def _change(self, request: Request, u: Understanding) -> Reply:
        target = u.target or Target(None, "", None)
        rung = self.store.latest_rung(self.clock.now() - RUNG_SINCE)
        if (
            u.kind in ("done", "snooze")
            and not target.words
            and not target.range
            and target.quantifier in (None, "that")
            and rung
        ):
            return self._do(request, u, (rung,))
        match = self._find(target, rung, request)
        if not match.found:
            return self._reply(request, replies.none_about(target.words, _span(target.range)), u)
        if match.everything and len(match.found) > 1:
            doing = {"cancel": "Cancel", "done": "Mark as done", "snooze": "Snooze", "move": "Move"}[u.kind]
            return self._reply(
                request,
                f"{doing} all {replies.count(len(match.found))}?",
                u,
                match.found,
                Which(u, match.found, every=True),
            )
        if len(match.found) > 1 or (u.kind in ("done", "snooze") and not target.words and not target.range):
            return self._reply(
                request, replies.which(match.found, self._now()), u, match.found, Which(u, match.found, every=False)
            )
        return self._do(request, u, match.found)

    def _find(self, target: Target, rung: Reminder | None = None, request: Request | None = None):
        latest = self._latest(request.channel) if request else None
        return find(target, self.store.active(), self._now(), self.tz, self.policy, rung, latest)

    def _latest(self, channel: str) -> Reminder | None:
        """What the last answered request on a channel set."""
        stored = self.store.latest_request(channel)
        made = self.store.reminders_of(stored.id) if stored else []
        return made[-1] if made else None

    def _do(self, request: Request, u: Understanding, meant: tuple[Reminder, ...]) -> Reply:
        try:
            with self.store.transaction():
                changed, said = act(self.store, meant, u, self._now(), self.tz, self.policy, self._snooze)
                reply = self._reply(request, said, u, changed)
        except PastTime as e:
            return self._reply(request, str(e), u)
        except (NotFound, BadRequest) as e:
            return self._reply(request, str(e), u)
        self._changed()
        return reply

    # The answer to a question

    async def _follow_up(self, request: Request, text: str, question: Question) -> Reply | None:
        """None if this is no answer but a request of its own."""
        if is_no(text):
            return self._reply(request, replies.DROPPED, None)
        match question:
            case Confirm(understanding, said_at) if is_yes(text):
                return self._create(request, understanding, understanding.entries, said_at)
            case Which(understanding, offered, every):
                still = tuple(r for r in offered if self.store.reminder(r.id).state in ("pending", "fired"))
                if is_yes(text) and (every or "all" in text.lower()):
                    return self._do(request, understanding, still) if still else None
                if not every and (one := pick(text, offered, self._now(), self.tz)) and one in still:
                    return self._do(request, understanding, (one,))
            case When(task):
                if entry := await self._time_in(text, request.said_at):
                    u = await self._settled_time(request, text, task, entry)
                    return self._create(request, u, u.entries, request.said_at)
        return None

    async def _time_in(self, text: str, now: datetime) -> Entry | None:
        """The time that an answer to "When?" gives, None if it is something else."""
        if len(words(text)) > SHORT_ANSWER:
            return None
        sentence = " ".join(text.lower().split())
        for attempt in (text, f"remind me {text}"):
            u = await self._understand(attempt[:500], now)
            if u.kind in ("create", "confirm") and len(u.entries) == 1 and not u.entries[0].task:
                return u.entries[0]
            if u.kind in ("create", "confirm", "list", "cancel", "done", "snooze", "move") and not is_when(sentence):
                return None
            if len(u.entries) == 1 and u.entries[0].past and not u.entries[0].task:
                return u.entries[0]
        return None

    async def _settled_time(self, request: Request, text: str, task: str, entry: Entry) -> Understanding:
        u = await self._understand(text, request.said_at)
        kind = "needs_time" if entry.past else "create"
        return replace(u, kind=kind, entries=(replace(entry, task=task or None),), target=None)

    # Answering

    def _now(self) -> datetime:
        return self.clock.now().astimezone(self.tz)

    def _reply(
        self,
        request: Request,
        text: str,
        u: Understanding | None,
        reminders: Iterable[Reminder] = (),
        question: Question | None = None,
    ) -> Reply:
        """Settles the request; the reply to give after the commit."""
        kind = u.kind if u else "other"
        self.store.settle_request(
            request.id, reply=text, at=self.clock.now(), understanding=u, kind=kind, question=question is not None
        )
        if question:
            self._dialogue.ask(request.channel, question, self.clock.now())
        return Reply(text, kind, request.id, u, tuple(reminders), question is not None)


def _span(range_: str | None) -> str:
    """A range in words: ` on friday`, ` tomorrow`, ` in march`."""
    if not range_:
        return ""
    spoken = replies.words_of(range_.split())
    first = range_.split()[0]
    if first in ("today", "tomorrow", "this", "next", "after", "before", "between", "every", "end"):
        return f" {spoken}"
    if first[0].isdigit() and ":" in first:
        return f" at {spoken}"
    if len(range_.split()) == 1 and spoken.istitle() and first not in replies.WEEKDAYS:
        return f" in {spoken}"
    return f" on {spoken}"
