"""Where an utterance begins and ends: a state machine over how likely each block of sound is speech.

    quiet     3 of 5 blocks are speech             -> speaking, from half a second before the first of them
    speaking  no speech for 0.7 s                  -> quiet, and what was said is an utterance
              30 s, and it goes on                 -> speaking; it is cut where it was quietest of late
    either    the time of a block does not follow  -> quiet (the machine slept, the microphone was opened anew)

It has no clock and no model: time comes with the blocks, and `vad.py` says how likely they are speech. Each block is in
at most one utterance. The names (pre-roll, hysteresis, endpointing) are those of the field; that two thresholds and a
count of silent blocks decide is what Silero's own `VADIterator` does (github.com/snakers4/silero-vad, utils_vad.py).
"""

import heapq
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal

from assistant.audio import BLOCK, RATE, Block
from assistant.messages import Utterance

Ending = Literal["relaxed", "default", "aggressive"]
SILENCE: dict[Ending, float] = {"relaxed": 1.2, "default": 0.7, "aggressive": 0.4}
"""Seconds without speech that end an utterance."""
BEGINS, CONTINUES = 0.5, 0.35
"""How likely a block must be speech, after one that is not and after one that is."""
QUIETEST = -96.0
"""dB relative to full scale of digital silence; one unit of 16 bits is -90."""
LENGTH = timedelta(seconds=BLOCK / RATE)
"""Of a block."""
GAP = timedelta(seconds=0.5)
"""By how much a block may come before or after its time; a busy machine hands several over at once."""


def blocks(seconds: float) -> int:
    """As many as last at least so long."""
    return math.ceil(seconds * RATE / BLOCK)


PRE_ROLL, POST_ROLL = blocks(0.5), blocks(0.3)
"""Blocks that an utterance has before its first block of speech and after its last."""
START, AMONG = 3, 5
"""So many blocks of speech among so many begin an utterance; a click or a knock is one or two."""
SHORTEST = 6
"""Blocks of speech that an utterance has at the least. That is 0.3 s of it, as Silero takes up to four to notice: "no",
"stop" and "done" by five synthesisers are 0.27 to 0.5 s long and 6 to 15 blocks."""
LOUDEST = 10
"""The level of what is being said is that of its loudest blocks, so many."""
FAINT = 15.0
"""dB below that level: what is fainter does not keep an utterance going, though it be speech, such as a television in
the next room. Of 61 sentences, by five synthesisers and by people (the recordings that pocketsphinx is tested with),
every stretch of 0.7 s has speech within 8 dB, and what is fainter than 15 at the end lasts 0.2 s at the most."""
LONGEST = int(30 * RATE / BLOCK)
"""Blocks of an utterance at the most: what Whisper hears at once."""
RECENT = blocks(5)
"""Blocks among which the place of a cut is looked for."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A block and what is thought of it."""

    block: Block
    speech: bool
    level: float
    """dB relative to full scale."""


class Endpointer:
    """Takes blocks in their order, tells when one of them completes an utterance."""

    def __init__(self, ending: Ending = "default") -> None:
        self._patience = blocks(SILENCE[ending])
        self._clear()

    def _clear(self) -> None:
        self._held: list[Heard] = []
        """While quiet as much as a pre-roll needs, while speaking all of the utterance so far."""
        self._speaking = self._goes_on = False
        """`_goes_on`: what is held is the rest of an utterance that was cut."""
        self._silent = 0
        """Blocks since the last one that keeps the utterance going."""
        self._loudest: list[float] = []
        """A heap of the levels of the loudest blocks of speech in the utterance."""
        self._next: datetime | None = None
        """When the next block should be."""

    @property
    def speaking(self) -> bool:
        """Whether an utterance is under way."""
        return self._speaking

    def follows(self, block: Block) -> bool:
        """Whether it goes on where the last one ended; the first one does."""
        return self._next is None or abs(block.at - self._next) <= GAP

    def take(self, block: Block, probability: float, level: float) -> Utterance | None:
        """The utterance that ends with this block, or ended before it; None where none does.

        `probability` is how likely the block is speech, 0 to 1, and `level` its dB relative to full scale.
        """
        ended = None if self.follows(block) else self.end()
        self._next = block.at + LENGTH
        needed = CONTINUES if self._held and self._held[-1].speech else BEGINS
        heard = Heard(block, probability >= needed, level)
        self._held.append(heard)
        if not self._speaking:
            self._listen()
            return ended
        self._weigh(heard)
        self._silent = 0 if self._counts(heard) else self._silent + 1
        if self._silent >= self._patience:
            return self._finish()
        return self._cut() if len(self._held) >= LONGEST else None

    def end(self) -> Utterance | None:
        """There is no more sound, or what comes does not follow: the utterance that was under way. It begins anew."""
        utterance = self._finish() if self._speaking else None
        self._clear()
        return utterance

    def _weigh(self, *heard: Heard) -> None:
        for each in heard:
            if each.speech:
                heapq.heappush(self._loudest, each.level)
        while len(self._loudest) > LOUDEST:
            heapq.heappop(self._loudest)

    def _counts(self, heard: Heard) -> bool:
        """Whether it is speech, and not too faint to be of this utterance."""
        return heard.speech and (len(self._loudest) < LOUDEST or heard.level >= self._loudest[0] - FAINT)

    def _listen(self) -> None:
        held, recent = self._held, self._held[-AMONG:]
        if sum(heard.speech for heard in recent) < START:
            del held[: -PRE_ROLL - AMONG]
            return
        before = len(held) - len(recent) + sum(1 for _ in takewhile(lambda heard: not heard.speech, recent))
        del held[: max(0, before - PRE_ROLL)]
        self._speaking, self._silent, self._loudest = True, 0, []
        self._weigh(*held)

    def _finish(self) -> Utterance | None:
        """What was said, if it is enough; what was heard after it may be the pre-roll of the next utterance."""
        stop = len(self._held) - max(0, self._silent - POST_ROLL)
        said = self._said(stop, cut=False)
        self._held, self._speaking, self._goes_on = self._held[stop:], False, False
        return said

    def _cut(self) -> Utterance | None:
        """The first part of what is being said. The rest has enough speech to be an utterance, whatever follows."""
        held, latest, speech = self._held, len(self._held), 0
        while speech < SHORTEST:
            latest -= 1
            speech += held[latest].speech
        # Three blocks on either side: the middle of a pause rather than its edge, or the closure of a "t".
        levels = [heard.level for heard in held]
        place = min(range(latest - RECENT, latest + 1), key=lambda place: sum(levels[place - 3 : place + 3]))
        said = self._said(place, cut=True)
        self._held, self._goes_on, self._loudest = held[place:], True, []
        self._weigh(*self._held)
        return said

    def _said(self, stop: int, cut: bool) -> Utterance | None:
        """An utterance of the first blocks that are held, without those before it that turn out to be too faint."""
        held = self._held[:stop]
        speech = [n for n, heard in enumerate(held) if self._counts(heard)]
        if len(speech) < SHORTEST:
            return None
        first = 0 if self._goes_on else max(0, speech[0] - PRE_ROLL)
        power = sum(10 ** (held[n].level / 10) for n in speech) / len(speech)
        pcm = b"".join(heard.block.pcm for heard in held[first:])
        share = len(speech) / (stop - first)
        return Utterance(pcm, held[first].block.at, share, 10 * math.log10(power), cut)
