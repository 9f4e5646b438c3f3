"""The circuit breaker, against a model of it in a few lines."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from assistant.breaker import CircuitBreaker, since_boot

FAILURES, PAUSE = 3, 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock) -> CircuitBreaker:
    return CircuitBreaker(FAILURES, PAUSE, clock)


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with breaker.admit() as admission:
            admission.failed()


def test_it_opens_after_so_many_failures_in_a_row(breaker):
    fail(breaker, FAILURES - 1)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open" and breaker.admit() is None
    assert breaker.retry_after == PAUSE


def test_a_success_between_failures_begins_the_count_anew(breaker):
    fail(breaker, FAILURES - 1)
    breaker.admit().succeeded()
    fail(breaker, FAILURES - 1)
    assert breaker.state == "closed"


def test_after_the_pause_exactly_one_probe_is_let_through(breaker, clock):
    fail(breaker, FAILURES)
    clock.now += PAUSE - 0.001
    assert breaker.admit() is None
    clock.now += 0.001
    assert breaker.state == "half_open" and breaker.retry_after == 0
    probe = breaker.admit()
    assert probe and [breaker.admit() for _ in range(5)] == [None] * 5
    assert breaker.retry_after > 0
    probe.succeeded()
    assert breaker.state == "closed" and breaker.admit() and breaker.admit()


def test_a_probe_that_fails_opens_it_for_another_pause(breaker, clock):
    fail(breaker, FAILURES)
    clock.now += PAUSE
    fail(breaker)
    assert breaker.state == "open" and breaker.retry_after == PAUSE


async def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next(breaker, clock):
    fail(breaker, FAILURES)
    clock.now += PAUSE
    under_way = asyncio.Event()

    async def call() -> None:
        with breaker.admit():
            under_way.set()
            await asyncio.Event().wait()

    probe = asyncio.create_task(call())
    await under_way.wait()
    assert breaker.admit() is None
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert breaker.state == "half_open" and breaker.admit()


def test_a_call_from_before_it_opened_says_nothing_about_now(breaker, clock):
    early = [breaker.admit() for _ in range(FAILURES + 2)]
    for admission in early[:FAILURES]:
        admission.failed()
    early[FAILURES].succeeded()
    assert breaker.state == "open"
    clock.now += PAUSE
    probe = breaker.admit()
    early[FAILURES + 1].failed()
    assert breaker.state == "half_open" and breaker.admit() is None
    probe.succeeded()
    assert breaker.state == "closed"


def test_how_a_call_went_is_counted_once(breaker):
    with breaker.admit() as admission:
        for _ in range(FAILURES):
            admission.failed()
    assert breaker.state == "closed"


def test_it_counts_how_often_each_state_was_entered(breaker, clock):
    for _ in range(2):
        fail(breaker, FAILURES)
        clock.now += PAUSE
        breaker.admit().succeeded()
    assert breaker.transitions == {"open": 2, "half_open": 2, "closed": 2}


def test_its_clock_goes_on():
    before = since_boot()
    assert since_boot() >= before > 0


class AgainstItsModel(RuleBasedStateMachine):
    """Calls that overlap and end in any order. The model keeps the history of what counts and looks at its end."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker(FAILURES, PAUSE, self.clock)
        self.opened_at: float | None = None
        self.row = 0
        self.era = 0
        self.probe: object = None

    @property
    def waiting(self) -> bool:
        return self.opened_at is not None and self.clock.now < self.opened_at + PAUSE

    @rule(target=calls)
    def call(self):
        admission = self.breaker.admit()
        refused = self.waiting or (self.opened_at is not None and self.probe is not None)
        assert (admission is None) == refused
        if admission and self.opened_at is not None:
            self.probe = admission
        return admission, self.era, self.opened_at is not None

    @rule(call=consumes(calls), end=st.sampled_from(["succeeded", "failed", "unknown"]))
    def ends(self, call, end):
        admission, era, probing = call
        if admission is None:
            return
        with admission:
            if end != "unknown":
                getattr(admission, end)()
        if era != self.era:
            return
        self.probe = None
        self.row = {"succeeded": 0, "failed": self.row + 1, "unknown": self.row}[end]
        if end == "failed" and (probing or self.row == FAILURES):
            self.opened_at, self.row, self.era = self.clock.now, 0, self.era + 1
        elif end == "succeeded" and probing:
            self.opened_at, self.row, self.era = None, 0, self.era + 1

    @rule(seconds=st.sampled_from([0.5, PAUSE / 2, PAUSE]))
    def time_goes_by(self, seconds):
        self.clock.now += seconds

    @invariant()
    def it_is_in_the_state_of_its_model(self):
        assert self.breaker.state == ("open" if self.waiting else "closed" if self.opened_at is None else "half_open")
        assert (self.breaker.retry_after == 0) == (not self.waiting and self.probe is None)


TestAgainstItsModel = AgainstItsModel.TestCase
TestAgainstItsModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
