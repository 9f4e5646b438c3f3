"""A circuit breaker: what has failed several times in a row is left alone for a while, then tried by one call.

    closed --N failures in a row--> open --pause--> half open --the probe succeeds--> closed
                                      ^---------------- fails -----------'

The pattern and its names are M. Nygard's (Release It!, 2007). A call asks to be admitted and tells how it went; how
one that was admitted before the last change of state ends says nothing about now, and is not counted.
"""

import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

State = Literal["closed", "open", "half_open"]
PROBE_SECONDS = 1.0
"""Whoever comes while a probe is under way may ask again after so long."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def since_boot() -> float:
    """Seconds on a clock that is never set and that goes on while the machine sleeps.

    Linux's CLOCK_MONOTONIC, which is `time.monotonic`, stands still then: a service that was away when the lid closed
    would be left alone after it is opened. CLOCK_BOOTTIME counts the sleep, as CLOCK_MONOTONIC does on macOS.
    """
    return time.clock_gettime(_CLOCK)


class CircuitBreaker:
    """Opens after `failures` in a row, for `pause` seconds; then one probe at a time is let through."""

    def __init__(self, failures: int, pause: float, now: Callable[[], float] = since_boot) -> None:
        self._most, self._pause, self._now = failures, pause, now
        self._state: State = "closed"
        self._failed = 0
        self._until = 0.0
        self._era = 0
        self._probe: Admission | None = None
        self.transitions: Counter[State] = Counter()
        """How often each state was entered."""

    @property
    def state(self) -> State:
        if self._state == "open" and self._now() >= self._until:
            self._move("half_open")
        return self._state

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be admitted; 0 where one would be now."""
        match self.state:
            case "open":
                return self._until - self._now()
            case "half_open" if self._probe:
                return PROBE_SECONDS
            case _:
                return 0.0

    def admit(self) -> "Admission | None":
        """Leave to make a call, to be used in `with`; None if it is to be left alone."""
        if self.state == "open" or self._probe:
            return None
        admission = Admission(self, self._era)
        if self._state == "half_open":
            self._probe = admission
        return admission

    def _move(self, state: State) -> None:
        self._state, self._failed, self._probe = state, 0, None
        self._era += 1
        self.transitions[state] += 1

    def _settle(self, admission: "Admission", verdict: Literal["succeeded", "failed", "unknown"]) -> None:
        if admission.era != self._era:
            return
        probing, self._probe = self._state == "half_open", None
        if verdict == "succeeded":
            self._failed = 0
            if probing:
                self._move("closed")
        elif verdict == "failed":
            self._failed += 1
            if probing or self._failed >= self._most:
                self._until = self._now() + self._pause
                self._move("open")


class Admission:
    """Leave for one call. Left without a word about how it went (it was cancelled, or says nothing about whoever was
    called), it counts as neither, and the next call may be the probe in its place."""

    def __init__(self, breaker: CircuitBreaker, era: int) -> None:
        self._breaker, self.era = breaker, era
        self._settled = False

    def succeeded(self) -> None:
        self._settle("succeeded")

    def failed(self) -> None:
        self._settle("failed")

    def _settle(self, verdict: Literal["succeeded", "failed", "unknown"]) -> None:
        if not self._settled:
            self._settled = True
            self._breaker._settle(self, verdict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._settle("unknown")
