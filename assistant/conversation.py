"""What a request becomes: reminders that are set or changed, a list, or a question; and the answers to questions.

Whatever changes the store is one transaction with settling the request, and a question is open only after its commit.
Nothing is cancelled or moved on a guess: several candidates, one that fits half, or a model that is not sure of its
rewrite end in a question.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from assistant import replies
from assistant.actions import act, at_time, needs_time
from assistant.answers import after_no, hear_time, is_all, is_no, is_request, is_yes, pick, says_when
from assistant.clock import Clock
from assistant.corrections import Corrections, Why, merged, other_days, retimed
from assistant.dates import Here
from assistant.dialogue import Confirm, Dialogue, Question, To, When, Which, missing
from assistant.errors import BadRequest, BadWhen, CannotUndo, ModelError, NotFound, PastTime, Refused, StoreError
from assistant.hindsight import JUST_NOW, Heard, Hindsight
from assistant.meant import corrected_time, counted
from assistant.messages import Entry, Reminder, Reply, Target, Understanding
from assistant.missed import LINE, Miss, Missed, as_understood, asks_for_missed
from assistant.quiet import even_at_night, without_night
from assistant.settling import Settler, Turn, new_reminder
from assistant.store import Store
from assistant.targets import Match, content, find, is_bare
from assistant.undo import UndoLog, Undone, asks_to_undo
from assistant.when import Policy, join

log = logging.getLogger(__name__)

RUNG_SINCE = timedelta(hours=1)
"""So long "done" and "snooze" mean a reminder that has stopped ringing."""


class Conversation:
    """Answers requests, one at a time on each channel; the answers to open questions among them."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        tz: ZoneInfo,
        clock: Clock,
        changed: Callable[[], None],
        listening: frozenset[str],
        snooze: timedelta,
        undo_log: UndoLog,
    ) -> None:
        self._undo_log = undo_log
        self.store, self.policy, self.tz, self.clock = store, policy, tz, clock
        self._changed, self._listening, self._snooze = changed, listening, snooze
        self._dialogue, self._missed = Dialogue(), Missed(store)
        self.hindsight = Hindsight(Corrections(store.db), clock, tz)
        self._settler = Settler(store, clock, tz, self._dialogue, self.hindsight, changed, listening)

    async def answer(self, turn: Turn) -> Reply:
        reply = await self._answered(turn)
        may_hear = turn.may is None or "list" in turn.may
        return self._by_the_way(turn, reply) if may_hear and not (turn.resumed or reply.question) else reply

    async def _answered(self, turn: Turn) -> Reply:
        channel = turn.request.channel
        if not turn.resumed and asks_for_missed(turn.request.text):  # an open question stays open
            return self._act(turn, as_understood(turn.request.text))
        if not turn.resumed and asks_to_undo(turn.request.text):
            return self._undo(turn)
        question = None if turn.resumed else self._dialogue.take(channel, self.clock.now())
        if question:
            try:
                return await self._follow_up(turn, question)
            except ModelError:  # an answer makes no sense later, without its question
                return self._settler.reply(turn, replies.CANNOT_THINK, None, question=question)
        return await self._put_right(turn) or self._act(turn, await turn.mean(turn.request.text))

    def missed_any(self) -> bool:
        """Whether anything was missed lately. Raises `StoreError`."""
        return bool(self._missed.lately(self.clock.now()))

    def _undo(self, turn: Turn) -> Reply:
        """Undo what was changed last; on a channel that may not ask for everything, what was changed last there."""
        request = turn.request
        self._dialogue.take(request.channel, self.clock.now())
        try:
            with self.store.transaction():
                change = self._undo_log.latest(None if turn.may is None else request.channel)
                undone = self._undo_log.undo(change, request.id)
                said = replies.undone(undone.back, undone.gone, self._settler.now())
                self.store.settle_request(request.id, reply=said, at=self.clock.now(), kind="undo")
        except CannotUndo as e:
            return self._settler.reply(turn, str(e), None)
        self.undone(undone)
        self.hindsight.answered(request.channel, "undo", (), False)
        return Reply(said, "undo", request.id, None, undone.back or undone.gone)

    def undone(self, undone: Undone) -> None:
        """To be called after the commit of an undo."""
        self.hindsight.cancelled(r.id for r in undone.gone if r.state == "cancelled")
        self._changed()

    def _by_the_way(self, turn: Turn, reply: Reply) -> Reply:
        """An answer, and once what was missed. That it cannot be told now is no reason to fail."""
        own = _own(turn)
        try:
            if self.store.request(reply.request_id) is None:
                return reply
            if not (missed := self._missed.untold(self.clock.now(), own)):
                return reply
            text = f"{reply.text} {replies.by_the_way(self._told(missed))}"
            with self.store.transaction():
                self.store.db.execute("UPDATE requests SET reply = ? WHERE id = ?", (text, reply.request_id))
                self._missed.tell(own)
        except StoreError as e:
            log.warning("what was missed cannot be told: %s", e)
            return reply
        return replace(reply, text=text, missed=tuple(m.reminder for m in missed))

    def _told(self, missed: Sequence[Miss]) -> list[str]:
        now = self._settler.now()
        return [replies.missed(m.reminder.task, m.last.astimezone(self.tz), m.times, now) for m in missed]

    # What was overheard

    async def awaits(self, turn: Turn) -> bool:
        """Whether a text answers the open question, or puts right what was just set. It does neither yet, so that
        nobody else's small talk uses the question up. Raises `ModelError`."""
        text, now = turn.request.text, self.clock.now()
        if asks_to_undo(text):
            return self._undo_log.latest() is not None
        question = self._dialogue.pending(turn.request.channel, now)
        if question is None:
            id = self.hindsight.just_made(turn.request.channel)
            return bool(id and corrected_time(text, self.store.reminder(id).task))
        if is_no(text):
            return True
        match question:
            case When(entries=(first, *_)):
                return await self._says_time(turn, first.task)
            case To(understanding=asked, meant=meant):
                return await self._says_time(turn, replies.tasks(meant), asked.kind == "move")
            case Confirm(understanding=asked):
                return is_yes(text) or bool(corrected_time(text, asked.entries[0].task or ""))
            case Which(offered=offered, every=every):
                if is_all(text) or is_yes(text):
                    return True
                return not every and pick(text, offered, now.astimezone(self.tz)) is not None

    async def _says_time(self, turn: Turn, task: str | None, shift: bool = False) -> bool:
        answered, u = await hear_time(turn.request.text, task, turn.mean, turn.read, shift)
        return answered and u.sure

    def concerns(self, turn: Turn, u: Understanding) -> bool:
        """Whether there is what a change may be about: something that rings, or that its words name."""
        if u.kind not in ("cancel", "done", "snooze", "move"):
            return True
        target = u.target or Target(None, "", None)
        rung = self.store.latest_rung(self.clock.now() - RUNG_SINCE)
        if u.kind in ("done", "snooze") and is_bare(target):
            return rung is not None
        return bool(self._find(turn, target, rung).found)

    async def _put_right(self, turn: Turn) -> Reply | None:
        """Correct the time of what was just set: "no, I meant six"; None if that is not what is said."""
        text, id = turn.request.text, None if turn.resumed else self.hindsight.just_made(turn.request.channel)
        reminder = self.store.reminder(id) if id else None
        if reminder is None or reminder.state in ("done", "cancelled"):
            return None
        if not (time := corrected_time(text, reminder.task)):
            return None
        time = counted(time, reminder.when)
        try:
            answered, u = await hear_time(time, reminder.task, turn.mean, turn.read, shift=True)
        except ModelError:
            return self._settler.reply(turn, replies.CANNOT_THINK, None)
        if not answered:
            return None
        entry = replace(u.entries[0], task=reminder.task or None)
        if entry.when:
            when = (reminder.rrule and other_days(reminder.when, entry.when)) or entry.when
            entry, u = replace(entry, when=when), replace(u, rewrite=f"/move that > {when}", shift_minutes=None)
        u = replace(u, text=text, kind="move", entries=(entry,), target=Target("that", "", None))
        return self._do_still(turn, u, (reminder,), "meant")

    # A new request

    def _act(self, turn: Turn, u: Understanding) -> Reply:
        kind = "create" if u.kind in ("needs_time", "confirm") else u.kind
        if turn.may is not None and kind not in (*turn.may, "other"):
            raise Refused(f'Nobody may "{kind}" from here: ask in another way, or allow it in the settings.')
        if turn.resumed and (u.error or not u.sure) and turn.request.channel in self._listening:
            return self._settler.forget(turn)
        match u.kind:
            case "create" | "needs_time":
                return self._create(turn, u, u.entries)
            case "confirm":
                return self._settler.ask(turn, u, Confirm(u, turn.request.id))
            case "list":
                return self._list(turn, u)
            case "cancel" | "done" | "snooze" | "move":
                return self._change(turn, u)
        if turn.resumed and (u.error or not u.sure):
            return self._settler.ring_words(turn, u)
        return self._settler.reply(turn, replies.UNREADABLE if u.error else replies.OTHER, u)

    def _create(
        self,
        turn: Turn,
        u: Understanding,
        entries: Sequence[Entry],
        asked: Confirm | None = None,
        why: Why = "confirmed",
        loud: bool = False,
    ) -> Reply:
        """Set what has a time and ask about the rest; `asked` is the question that this answers, and `why` how that
        puts right what was asked about. `loud`: it was said before that it is to ring even at night."""
        channel, heard = turn.request.channel, _heard(asked) if asked else Heard(turn.request.id, u.text, u.rewrite)
        if turn.resumed:  # there is nobody to ask when: it rings now
            entries = [e if e.due and not e.past else self._settler.due_now(e.task) for e in entries]
        ready, without = [e for e in entries if e.due and not e.past], missing(tuple(entries))
        loud = loud or _loud(turn, u) or bool(asked and asked.understanding.even_at_night)
        said, question = [], When(without, even_at_night=loud) if without else None
        u = replace(u, kind="create" if ready else "needs_time", entries=tuple(entries))
        should = self._should(heard, u, why) if asked else u.rewrite
        with self._undo_log.recording(channel, turn.request.id):
            new = [replace(new_reminder(e, self.tz), even_at_night=loud) for e in ready]
            made = self.store.add_reminders(turn.request.id, new)
            if made:
                said.append("OK: " + "; ".join(replies.reminder(r, self._settler.now()) for r in made) + ".")
            if question:
                said.append(self._settler.asked(question))
            self._settler.settle(turn, " ".join(said), u, question)
            if asked and not question:
                self.hindsight.propose(heard, should, why)
            elif made and not question:
                self.hindsight.reworded(channel, u.rewrite)
        if made and not turn.resumed:
            self.hindsight.made(channel, heard, made, should)
        if made:
            self._changed()
        return self._settler.tell(turn, " ".join(said), u, made, question)

    def _should(self, heard: Heard, u: Understanding, why: Why) -> str:
        """What a request should have become: its time put right leaves the half of the day open if that was."""
        entry = u.entries[0]
        if why == "confirmed" or not (entry.when and entry.due):
            return u.rewrite
        return retimed(heard.rewrite, entry.when, entry.due.astimezone(self.tz)) or u.rewrite

    def _list(self, turn: Turn, u: Understanding) -> Reply:
        if u.rewrite == LINE:
            missed = self._missed.lately(self.clock.now())
            with self.store.transaction():
                self._missed.tell(_own(turn))
                said = replies.missed_listing(self._told(missed))
                return self._settler.reply(turn, said, u, [m.reminder for m in missed])
        target = u.target or Target(None, "", None)
        found = self._find(turn, target).found
        found = tuple(r for r in found if r.state == "pending") or found
        span = replies.in_range(target.range)
        if not found and content(target.words):
            return self._settler.reply(turn, replies.none_about(target.words, span), u)
        return self._settler.reply(turn, replies.listing(found, span, self._settler.now()), u, found)

    def _change(self, turn: Turn, u: Understanding) -> Reply:
        target = u.target or Target(None, "", None)
        if turn.resumed and not content(target.words):  # "the next one" may be another one by now
            return self._settler.ring_words(turn, replace(u, error="interrupted"), replies.INTERRUPTED)
        rung = self.store.latest_rung(self.clock.now() - RUNG_SINCE)
        acknowledges, bare = u.kind in ("done", "snooze"), is_bare(target)
        if acknowledges and bare and rung:
            return self._do(turn, u, (rung,))
        match = self._find(turn, target, rung, newest_first=u.kind == "move")
        found = match.found
        if rung and acknowledges and not match.everything and any(r.id == rung.id for r in found):
            found = (rung,)
        if not found and turn.resumed and u.kind == "move":  # whoever said it counts on being reminded
            return self._settler.ring_words(turn, u)
        if not found:
            return self._settler.reply(turn, replies.none_about(target.words, replies.in_range(target.range)), u)
        if len(found) > 1:
            return self._settler.ask(turn, u, Which(u, found, match.everything))
        series = u.kind == "cancel" and found[0].rrule and rung and rung.id == found[0].id  # or just this ring of it?
        if not match.sure or not u.sure or (acknowledges and bare) or series:
            return self._settler.ask(turn, u, Which(u, found))
        return self._do(turn, u, found)

    def _find(self, turn: Turn, target: Target, rung: Reminder | None = None, newest_first: bool = False) -> Match:
        """What a target may mean. "that" is what rings, or else what was just set; for a move the other way round."""
        active = self.store.active()
        if rung and all(r.id != rung.id for r in active):
            active.append(rung)
        that = [r for r in (rung or self.store.latest_rung(), self._latest(turn.request.channel)) if r]
        that = that[::-1] if newest_first else that
        return find(target, active, turn.request.said_at.astimezone(self.tz), self.tz, self.policy, that)

    def _latest(self, channel: str) -> Reminder | None:
        """What the last answered request on a channel set, unless that is long ago."""
        stored = self.store.latest_request(channel)
        if stored is None or self.clock.now() - stored.settled_at > JUST_NOW:
            return None
        return next(iter(self.store.reminders_of(stored.id)[::-1]), None)

    def _do(self, turn: Turn, u: Understanding, meant: tuple[Reminder, ...], why: Why = "edit") -> Reply:
        if needs_time(u):
            return self._settler.ask(turn, u, To(u, meant))
        try:
            with self._undo_log.recording(turn.request.channel, turn.request.id):
                here = self._here(turn.request.said_at)
                changed, said = act(self.store, meant, u, here, self._settler.now(), self._snooze)
                if u.kind in ("move", "snooze") and _loud(turn, u):
                    self.store.ring_at_night(r.id for r in changed)
                self._settler.settle(turn, said, u)
                if u.kind == "move" and len(meant) == 1 and (when := u.entries[0].when):
                    self.hindsight.moved(meant[0].id, when, changed[0], why)
        except PastTime as e:
            return self._settler.ask(turn, u, To(u, meant), f"{e.passed}. ")
        except (NotFound, BadRequest, BadWhen) as e:
            return self._settler.reply(turn, str(e), u)
        self._changed()
        if u.kind == "cancel":
            self.hindsight.cancelled(r.id for r in changed)
        return self._settler.tell(turn, said, u, changed)

    # The answer to a question

    async def _follow_up(self, turn: Turn, question: Question) -> Reply:
        text = without_night(turn.request.text)
        if is_no(text):
            sets = isinstance(question, When | Confirm)
            self._doubt(turn, question)
            return self._settler.reply(turn, replies.DROPPED if sets else replies.UNCHANGED, None)

        match question:
            case When(entries=(first, *others), even_at_night=loud):
                answered, u = await hear_time(text, first.task, turn.mean, turn.read)
                if answered:
                    u = _timed(u, text, first)
                    return self._create(turn, u, [u.entries[0], *others], loud=loud)
            case To(understanding=asked, meant=meant):
                answered, u = await hear_time(
                    text, replies.tasks(meant), turn.mean, turn.read, shift=asked.kind == "move"
                )
                if answered:
                    return self._do_still(turn, at_time(asked, u), meant)
            case Confirm(understanding=asked):
                if is_yes(text):
                    return self._create(turn, asked, asked.entries, question)
                first = asked.entries[0]
                instead = corrected_time(text, first.task or "") or after_no(text)
                if len(asked.entries) == 1 and instead:
                    instead = counted(instead, first.when) if first.when else instead
                    answered, u = await hear_time(instead, first.task, turn.mean, turn.read)
                    if answered:
                        u = _timed(_at_day_of(first, u, turn.read), text, first)
                        return self._create(turn, u, u.entries, question, "meant")
                u = await turn.mean(text)
            case Which(understanding=asked, offered=offered, every=every):
                if is_all(text) or (is_yes(text) and (every or len(offered) == 1)):
                    return self._do_still(turn, asked, offered)
                one = None if every else pick(text, offered, self._settler.now())
                u = None if one else await turn.mean(text)
                if u and not every and (not is_request(u) or (u.kind == asked.kind and not says_when(u))):
                    one = self._one_of(offered, u) or self._one_of(offered, await turn.mean(f"cancel {text}"[:500]))
                if one:
                    return self._do_still(turn, asked, (one,))
        vague = isinstance(question, When | To) and u.kind in ("snooze", "move") and is_bare(u.target)  # "later"
        if question.again or (is_request(u) and not (vague and self.store.latest_rung() is None)):
            self._doubt(turn, question)
            reply = self._act(turn, u)
            if u.kind == "list":  # who looks something up in between may still answer
                self._dialogue.ask(turn.request.channel, question, self.clock.now())
            return reply
        sorry = replies.NO_TIME if isinstance(question, When | To) else replies.NO_ANSWER
        return self._settler.ask(turn, u, replace(question, again=True), f"{sorry} ")

    def _one_of(self, offered: Sequence[Reminder], u: Understanding) -> Reminder | None:
        """The one of those read out that a request names."""
        target = u.target
        if target is None or is_bare(target):
            return None
        if target.quantifier in ("first", "next", "last") and not (content(target.words) or target.range):
            return offered[-1 if target.quantifier == "last" else 0]
        match = find(target, offered, self._settler.now(), self.tz, self.policy)
        return match.found[0] if match.sure and len(match.found) == 1 else None

    def _doubt(self, turn: Turn, question: Question) -> None:
        """Whoever does not say yes to "Did you say ...?" may say it in other words."""
        if isinstance(question, Confirm):
            self.hindsight.doubt(turn.request.channel, _heard(question))

    def _do_still(self, turn: Turn, u: Understanding, meant: Sequence[Reminder], why: Why = "edit") -> Reply:
        """Do it to those that have not been cancelled or done since the question."""
        fresh = (self.store.reminder(r.id) for r in meant)
        still = tuple(r for r in fresh if r.state not in ("done", "cancelled"))
        return self._do(turn, u, still, why) if still else self._settler.reply(turn, replies.GONE, u)

    def ring_words(self, turn: Turn) -> Reply:
        """Ring what was said in its own words, now."""
        return self._settler.ring_words(turn, None)

    def _here(self, instant: datetime) -> Here:
        return Here(instant.astimezone(UTC), self.tz, self.policy)


def _own(turn: Turn) -> str | None:
    """The channel of a device that may not ask for everything, which is told by the way only of what was asked for from
    it: what others have missed is for them, and told once. None for the rest."""
    return turn.request.channel if turn.may is not None else None


def _loud(turn: Turn, u: Understanding) -> bool:
    """Whether a request, or what it answers, says that its reminder is to ring even at night."""
    return u.even_at_night or even_at_night(turn.request.text)


def _timed(answer: Understanding, text: str, asked: Entry) -> Understanding:
    """What was asked about, with the time that an answer gives."""
    entry = replace(answer.entries[0], task=asked.task)
    rewrite = join(asked.task or "", entry.when or "")
    return replace(answer, text=text, rewrite=rewrite, entries=(entry,), target=None, shift_minutes=None)


def _heard(question: Confirm) -> Heard:
    """What was asked about."""
    return Heard(question.request_id, question.understanding.text, question.understanding.rewrite)


def _at_day_of(asked: Entry, answer: Understanding, read: Callable[[str], Understanding | None]) -> Understanding:
    """An answer that puts a time right, on the day that was asked about if it says none."""
    entry = answer.entries[0]
    if not (asked.when and entry.when and entry.due):
        return answer
    resolved = read(merged(asked.when, entry.when, entry.due, exact=True))
    return replace(answer, entries=resolved.entries) if resolved and not resolved.entries[0].past else answer
