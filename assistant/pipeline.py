"""From a request to what is remembered and answered.

    accept (commit) -> rewrite -> understand -> act and settle (one commit) -> Reply

Nothing is answered before its commit, and nothing that was accepted vanishes: what a crash left unanswered, and what no
model could understand just then, is kept and run again (`kept.py`), its times read from when it was said. What failed
in another way is settled as failed: the person was told, so that it is not run behind their back, and a bug in one
request cannot end every start. Of what was kept nobody is there to be told: it rings in the person's own words.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from assistant import replies
from assistant.actions import move, once_at, snooze_from
from assistant.answers import is_request
from assistant.clock import Clock
from assistant.conversation import Conversation
from assistant.dates import Here
from assistant.errors import (
    AssistantError,
    BadRequest,
    Busy,
    ModelError,
    NobodyAnswers,
    NotFound,
    Refused,
    StoreError,
    kind_of,
)
from assistant.grammar import is_when
from assistant.messages import Reminder, Reply, Request, Rewrite, Understanding
from assistant.missed import asks_for_missed
from assistant.overheard import OVERHEARD, sounds_like_request
from assistant.rewriter import Rewriter
from assistant.settling import Turn
from assistant.store import Store, StoredRequest
from assistant.understand import understand, understand_normalised, understand_text
from assistant.undo import UndoLog, Undone
from assistant.when import Policy, join
from assistant.words import normalise

log = logging.getLogger(__name__)

MOST_WAITING = 64
"""Requests on one channel, which are handled one after the other."""


class Pipeline:
    """Handles requests, those of one channel one after the other.

    `changed()` is called after every commit that may have set a time; `ask_below` is a confidence, 0 to 1, or
    "model": what the model that wrote a rewrite was calibrated to. `may` tells the kinds that a channel may ask for,
    None for all.
    """

    def __init__(
        self,
        rewriter: Rewriter,
        store: Store,
        policy: Policy,
        tz: ZoneInfo,
        clock: Clock,
        ask_below: float | Literal["model"],
        changed: Callable[[], None],
        listening_channels: frozenset[str] = frozenset({OVERHEARD}),
        snooze_minutes: int = 10,
        may: Callable[[str], frozenset[str] | None] = lambda channel: None,
    ) -> None:
        self.rewriter, self.store, self.policy, self.tz, self.clock = rewriter, store, policy, tz, clock
        self._ask_below, self._changed, self._snooze = ask_below, changed, timedelta(minutes=snooze_minutes)
        self.undo_log = UndoLog(store, clock)
        self._conversation = Conversation(
            store, policy, tz, clock, changed, listening_channels, self._snooze, self.undo_log)
        self._may = may
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._listening = listening_channels
        self._apart: set[str] = set()
        """Requests that are not settled and not kept either: they are answered for the first time, or failed, which
        was told and could not be stored."""
        self.keeps = asyncio.Event()
        """Set when a request was kept, for want of a model that answers."""

    async def predict(self, text: str, now: datetime | None = None, tz: ZoneInfo | None = None) -> Understanding:
        """Understand `text` and store nothing. Raises `BlankText`, `TextTooLong`, `ModelError`, `Busy`."""
        return await understand_text(
            self.rewriter, text, now or self.clock.now(), tz or self.tz, self.policy, self._ask_below)

    async def handle(self, request: Request, accepted: Callable[[], None] = lambda: None) -> Reply:
        """Raises `BlankText`, `TextTooLong`, `Unreadable`, `Refused`, `StoreError`, and `Busy` before it is accepted.
        `accepted` is called as soon as it is committed, which is long before it is answered.

        A request that was accepted is settled all the same, but for one that no model understands now: that is kept,
        and its reply has the kind `kept`. What was kept on its channel before is tried first.
        """
        request = replace(request, text=normalise(request.text))
        if self._waiting.get(request.channel, 0) >= MOST_WAITING:
            raise Busy
        new = self.store.add_request(request)
        accepted()
        if not new and (stored := self.store.request(request.id)):  # as it was said the first time
            request = Request(stored.id, stored.text, stored.channel, stored.said_at)
        if new:
            self._apart.add(request.id)
        try:
            async with self._alone(request.channel):
                stored = self.store.request(request.id)
                if stored is None:  # heard twice at once, and not kept
                    return Reply(replies.OTHER, "other", request.id)
                if stored.settled_at is not None:
                    return self._with_undo(self._known(stored))
                await self._catch_up(request)
                return self._with_undo(await self._answer(request, resumed=not new))
        except asyncio.CancelledError:  # whoever asked went away, and was not told anything
            self._apart.discard(request.id)
            self.keeps.set()
            raise

    def _with_undo(self, reply: Reply) -> Reply:
        return replace(reply, undo=self.undo_log.of_request(reply.request_id))

    async def overhear(self, request: Request) -> Reply | None:
        """Handle what was overheard if it is meant for the assistant, and else keep nothing of it: None.

        Raises what `handle` does.
        """
        directed = await self.directed(request)
        return await self.handle(directed) if directed else None

    async def directed(self, request: Request, doubted: bool = False) -> Request | None:
        """What was overheard, as it is to be handled; None if it is not meant for the assistant. Nothing is stored.

        Meant is what answers an open question or puts right what was just set, and a request of which the model is
        sure. Where it is not, or the words themselves are `doubted`, they must sound like one; and where no model
        answers, which puts it on the channel of what may turn out to be none.
        """
        try:
            request = replace(request, text=normalise(request.text))
        except BadRequest:
            return None
        turn, likely = self._turn(request, resumed=False), sounds_like_request(request.text)
        try:
            if asks_for_missed(request.text):  # said to many: it is meant where there is an answer
                return request if likely or (not doubted and self._conversation.missed_any()) else None
            if not doubted and await self._conversation.awaits(turn):
                return request
            u = await turn.mean(request.text)
            sure = u.sure and is_request(u) and not doubted and self._conversation.concerns(turn, u)
        except (BadRequest, StoreError):  # who speaks to it says it again; anybody else is not to be bothered
            return None
        except ModelError:
            return replace(request, channel=OVERHEARD) if likely else None
        return request if u.kind != "other" and (sure or likely) else None

    def kept(self) -> list[Request]:
        """Requests that wait until a model answers, oldest first. Raises `StoreError`."""
        unsettled = self.store.unsettled_requests()
        self._apart &= {r.id for r in unsettled}
        return [r for r in unsettled if r.id not in self._apart]

    async def _catch_up(self, request: Request) -> None:
        """Whoever says "cancel the milk" means the milk that was asked for before, and kept."""
        for older in [r for r in self.kept() if r.channel == request.channel]:
            if older.id == request.id:
                break
            try:
                if (await self._answer(older, resumed=True)).kind == "kept":
                    break
            except AssistantError as e:  # it has nothing to do with this request
                log.warning("what was kept cannot be answered: %s", e, extra={"request": older.id})
            except Exception:
                log.exception("a bug in answering what was kept", extra={"request": older.id})

    async def give_up(self, request: Request) -> None:
        """Ring a kept request in its own words, now, as nobody understands it; forget it if it was only overheard, as
        then nobody counts on it. Raises `StoreError`."""
        async with self._alone(request.channel):
            stored = self.store.request(request.id)
            if not stored or stored.settled_at is not None:
                return
            if request.channel in self._listening:
                self.store.forget_request(request.id)
            else:
                self._conversation.ring_words(self._turn(request, resumed=True))

    @asynccontextmanager
    async def _alone(self, channel: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(channel, asyncio.Lock())
        self._waiting[channel] = self._waiting.get(channel, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[channel] -= 1
            if not self._waiting[channel]:
                del self._waiting[channel], self._locks[channel]

    def _known(self, stored: StoredRequest) -> Reply:
        """The answer that a request of this id got before."""
        if stored.error and stored.kind is None:
            error, kind = AssistantError(stored.reply), kind_of(stored.error)
            error.code, error.status, error.exit_status = stored.error, kind.status, kind.exit_status
            raise error
        made = tuple(self.store.reminders_of(stored.id))
        return Reply(stored.reply or "", stored.kind or "other", stored.id, None, made, stored.question)

    def _resolve(self, rewrite: Rewrite, text: str, now: datetime, tz: ZoneInfo) -> Understanding:
        return understand(rewrite, text, now.astimezone(tz), tz, self.policy, self._ask_below)

    def _turn(self, request: Request, resumed: bool) -> Turn:
        async def mean(text: str) -> Understanding:
            return await understand_normalised(
                self.rewriter, text, request.said_at, self.tz, self.policy, self._ask_below)

        def read(text: str) -> Understanding | None:
            if not is_when(sentence := text.lower()):
                return None
            return self._resolve(Rewrite(join("", sentence), "none", 1.0, 0.0), text, request.said_at, self.tz)

        return Turn(request, mean, read, resumed, self._may(request.channel))

    async def _answer(self, request: Request, resumed: bool) -> Reply:
        turn = self._turn(request, resumed)
        rings = resumed and request.channel not in self._listening
        try:
            return await self._conversation.answer(turn)
        except ModelError as e:
            log.log(logging.DEBUG if resumed else logging.WARNING, "kept, as no model understands it now: %s", e,
                    extra={"request": request.id})
            self._apart.discard(request.id)
            self.keeps.set()
            skipped = e.why if isinstance(e, NobodyAnswers) else (str(e),)
            return Reply(replies.KEPT, "kept", request.id, skipped=skipped)
        except StoreError as e:
            if resumed:  # it was promised
                self.keeps.set()
            else:
                self._fail(request, e.code, str(e))
            raise
        except AssistantError as e:
            if not rings or isinstance(e, Refused):
                self._fail(request, e.code, str(e))
                raise
            log.warning("it rings in the person's own words: %s", e, extra={"request": request.id})
            return self._conversation.ring_words(turn)
        except Exception:
            if rings:
                with suppress(StoreError):
                    self._conversation.ring_words(turn)
            else:
                self._fail(request, "internal", "Something went wrong inside.")
            raise

    def _fail(self, request: Request, code: str, said: str) -> None:
        with suppress(StoreError, NotFound):
            if request.channel in self._listening:
                self.store.forget_request(request.id)
                return
            self.store.settle_request(request.id, reply=said, at=self.clock.now(), error=code)

    # Acting by number, for programs

    def done(self, id: int) -> Reminder:
        """Acknowledge a reminder. Raises `NotFound`, as do the three below, for one that is over in another way."""
        with self.undo_log.recording():
            done = self.store.done([id], self.clock.now())[0]
            if done.state == "cancelled":
                raise NotFound(f"Reminder {id} is cancelled: there is nothing to be done with.")
        self._changed()
        return done

    def cancel(self, id: int) -> Reminder:
        with self.undo_log.recording():
            cancelled = self.store.cancel([id])[0]
            if cancelled.state != "cancelled":
                raise NotFound(f"Reminder {id} is over ({cancelled.state}): there is nothing to cancel.")
        self._conversation.hindsight.cancelled([id])
        self._changed()
        return cancelled

    def snooze(self, id: int, minutes: int | None = None, when: str | None = None) -> Reminder:
        """Ring so many minutes later, or at a When sentence. Raises `BadWhen`, `PastTime`.

        The minutes count from now; of one that has not rung yet from its time, so that it never comes sooner.
        """
        now = self.clock.now()
        span = timedelta(minutes=minutes) if minutes else self._snooze
        until = once_at(when, self._here()) if when else snooze_from(self.store, id, now) + span
        with self.undo_log.recording():
            snoozed = self.store.snooze(id, until, now)
        self._changed()
        return snoozed

    def move(self, id: int, when: str) -> Reminder:
        """Move to a When sentence as `moves.py` says; what will ring then. Raises `BadWhen`, `PastTime`."""
        with self.undo_log.recording():
            moved = move(self.store, self.store.reminder(id), when, None, self._here())
            self._conversation.hindsight.moved(id, when, moved, "edit")
        self._changed()
        return moved

    def rename(self, id: int, task: str) -> Reminder:
        """Give it other words. Raises `BlankText`, `TextTooLong`."""
        with self.undo_log.recording():
            renamed = self.store.rename(id, normalise(task))
        self._changed()
        return renamed

    def undo(self, change: str | None = None) -> Undone:
        """Undo the change of that id, or what was changed last. Raises `CannotUndo`."""
        undone = self.undo_log.undo(self.undo_log.latest() if change is None else change)
        self._conversation.undone(undone)
        return undone

    def _here(self) -> Here:
        return Here(self.clock.now().astimezone(UTC), self.tz, self.policy)
