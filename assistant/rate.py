"""How much one caller may ask for: a token bucket each.

A bucket holds a minute's worth, so that a program that was silent may send so much at once, and fills evenly. A request
is let in while nothing is owed, whatever it then costs; so a list of texts that is longer than what is left is not
turned away half read, but has to be waited for afterwards.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from assistant.errors import TooManyRequests


class Buckets:
    """One bucket for each caller; of more than `most` callers those that were silent longest are forgotten.

    A bucket that is not there is a full one. `per_minute` is what a bucket holds, and what flows into it in a minute;
    `clock` tells seconds.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = monotonic, most: int = 10_000) -> None:
        self._holds, self._clock, self._most = float(per_minute), clock, most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Of each caller what was left, negative for what is owed, and when that was so."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: str) -> None:
        """Takes one. Raises `TooManyRequests` if there is none."""
        self._refuse_below(1, caller)
        self._set(caller, self._left(caller) - 1)

    def charge(self, caller: str, more: int) -> None:
        """Takes what a request costs beyond the one that it was let in for, owing it if need be.

        Raises `TooManyRequests` if something is owed already.
        """
        if more > 0:
            self._refuse_below(0, caller)
            self._set(caller, self._left(caller) - more)

    def _refuse_below(self, least: float, caller: str) -> None:
        if caller in self._buckets:  # it is not silent
            self._buckets.move_to_end(caller)
        missing = least - self._left(caller)
        if missing > 1e-9:  # sums of fractions
            raise TooManyRequests(math.ceil(missing * 60 / self._holds))

    def _left(self, caller: str) -> float:
        left, at = self._buckets.get(caller, (self._holds, self._clock()))
        return min(self._holds, left + (self._clock() - at) * self._holds / 60)

    def _set(self, caller: str, left: float) -> None:
        self._buckets[caller] = left, self._clock()
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
