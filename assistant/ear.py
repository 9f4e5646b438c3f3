"""What of the sound in a room is listened to: nothing while the assistant speaks itself, the wake word, or utterances.

    push      nobody is listened to                  ...
    word      the wake word alone is listened for    ... until the window opens: utterances, meant for the assistant
                                                     (after a reminder has rung, both)
    always    utterances, overheard                  ...

The window closes when nobody has spoken in it for so many seconds of sound. It has no clock: time comes with the
blocks, and stands still while the assistant speaks.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from assistant.audio import Block
from assistant.endpointing import GAP, LENGTH, POST_ROLL, blocks
from assistant.messages import Utterance
from assistant.vad import Segmenter
from assistant.wake import BEFORE, WakeWord

Mode = Literal["push", "word", "always"]
ALONE = timedelta(seconds=0.4)
"""An utterance that ends so soon after the wake word was noticed was that alone; it is noticed up to 0.3 s before its
end. That needs no transcript, and some engines make other words of it."""
Window = Literal["addressed", "likely"]
"""What is said is meant for the assistant; or, after a reminder has rung, likely so."""


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance, and to whom it was said."""

    utterance: Utterance
    addressed: bool
    """To the assistant; else it was overheard."""


class Ear:
    """Takes the blocks of a microphone in their order, tells when one completes an utterance.

    `covers` says of an instant whether the assistant may be heard then (`Echo`), `seconds` are those of the window, and
    `woke()` is called when the wake word was said, which has opened it.
    """

    def __init__(
        self, mode: Mode, seconds: float, covers: Callable[[datetime], bool], woke: Callable[[], None]
    ) -> None:
        self._mode, self._blocks, self._covers, self._woke = mode, blocks(seconds), covers, woke
        self.window: Window | None = None
        self.segmenter: Segmenter | None = None
        """Set before the first block comes, as is the next; they are big."""
        self.word: WakeWord | None = None
        self._left = 0
        """Blocks until the window closes."""
        self._recent: deque[Block] = deque(maxlen=BEFORE + 1)
        """What may be the beginning of what is said in the same breath as the wake word. Of the word itself no more is
        kept: an engine makes other words of it."""
        self._covered = False
        self._woken: datetime | None = None
        """When the wake word was noticed, until what follows it has been said."""
        self._next: datetime | None = None

    @property
    def listens(self) -> bool:
        """Whether it wants to hear anything."""
        return self.window is not None or self._mode == "always" or (self._mode == "word" and self.word is not None)

    @property
    def speaking(self) -> bool:
        """Whether an utterance is under way."""
        return self.segmenter is not None and self.segmenter.speaking

    def open(self, window: Window = "addressed") -> None:
        """Open the window, or begin it anew. What was under way before was said to somebody else."""
        if window == "likely" and self.window == "addressed":
            return
        if not self.window:
            self.drop()
        self.window, self._left = window, self._blocks

    def close(self) -> None:
        if self.window:
            self.window = None
            self.drop()

    def drop(self) -> None:
        """What comes next does not follow what was heard."""
        self._recent.clear()
        self._woken = self._next = None
        if self.segmenter:
            self.segmenter.end()
        if self.word:
            self.word.reset()

    def take(self, block: Block) -> Said | None:
        """What was said, if it ends with this block.

        What is under way when the assistant begins to speak is dropped: who interrupts it must say it again.
        """
        if self._covers(block.at):
            if not self._covered:
                self.drop()
            self._covered = True
            return None
        self._covered = False
        if self.word and self.window != "addressed" and self._wakes(block, self.word):
            return None
        return self._listen(block) if self.window or self._mode == "always" else None

    def _wakes(self, block: Block, word: WakeWord) -> bool:
        """Whether the wake word has just been said; then it is listened to."""
        if self._next and abs(block.at - self._next) > GAP:
            self.drop()
        self._next = block.at + LENGTH
        self._recent.append(block)
        if not word.take(block.pcm):
            return False
        said = [*self._recent]
        self.close()
        self.open()
        for earlier in said:
            self.segmenter.take(earlier)
        self._woken = block.at + LENGTH
        self._woke()
        return True

    def _listen(self, block: Block) -> Said | None:
        utterance = self.segmenter.take(block)
        addressed, woken = self.window == "addressed", self._woken
        if self.window:
            self._left = self._blocks if addressed and self.speaking else self._left - 1
            over = utterance or not (self.speaking or self.segmenter.speech)
            if self._left <= 0 and over:  # after a reminder it closes at a cut as well: that is a television
                self.close()
        if not utterance:
            return None
        self._woken = None
        if woken and _end(utterance) <= woken + ALONE:
            return None
        return Said(utterance, addressed)


def _end(utterance: Utterance) -> datetime:
    """When its last sound was heard."""
    return utterance.began + timedelta(seconds=utterance.seconds) - POST_ROLL * LENGTH
