"""Token buckets: how much at once, how much in a minute, and what a long list owes."""

import pytest

from assistant.errors import TooManyRequests
from assistant.rate import Buckets


class Seconds:
    """A clock that stands where it is told."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def taken(buckets: Buckets, caller: str = "laptop") -> int:
    """How many it lets in before it refuses."""
    for n in range(100_000):
        try:
            buckets.take(caller)
        except TooManyRequests:
            return n
    raise AssertionError("it refuses nothing")


def test_a_minutes_worth_may_come_at_once_and_no_more(clock):
    assert taken(Buckets(60, clock)) == 60


@pytest.mark.parametrize(("seconds", "more"), [(0.5, 0), (1, 1), (10, 10), (59, 59), (3600, 60)])
def test_it_fills_evenly_and_never_beyond_a_minutes_worth(clock, seconds, more):
    buckets = Buckets(60, clock)
    taken(buckets)
    clock.at += seconds
    assert taken(buckets) == more


def test_in_the_long_run_no_more_is_let_in_than_the_rate(clock):
    buckets = Buckets(90, clock)
    let_in = taken(buckets)
    for _ in range(1000):
        clock.at += 0.7
        let_in += taken(buckets)
    assert let_in == 90 + 700 * 90 // 60


def test_who_is_refused_is_told_for_how_long_and_is_let_in_then(clock):
    buckets = Buckets(10, clock)
    taken(buckets)
    with pytest.raises(TooManyRequests) as refused:
        buckets.take("laptop")
    assert refused.value.retry_after == 6
    clock.at += refused.value.retry_after
    buckets.take("laptop")


def test_to_be_refused_costs_nothing(clock):
    buckets = Buckets(60, clock)
    taken(buckets)
    for _ in range(100):
        with pytest.raises(TooManyRequests):
            buckets.take("laptop")
    clock.at += 1
    assert taken(buckets) == 1


def test_one_caller_does_not_pay_for_another(clock):
    buckets = Buckets(5, clock)
    assert taken(buckets, "laptop") == taken(buckets, "phone") == 5


def test_a_list_that_is_longer_than_what_is_left_is_let_in_and_owed(clock):
    buckets = Buckets(60, clock)
    for _ in range(59):
        buckets.take("laptop")
    buckets.take("laptop")
    buckets.charge("laptop", 31)
    with pytest.raises(TooManyRequests) as refused:
        buckets.take("laptop")
    assert refused.value.retry_after == 32
    clock.at += 32
    assert taken(buckets) == 1


def test_a_second_long_list_is_not_let_in_on_top_of_what_is_owed(clock):
    buckets = Buckets(2, clock)
    buckets.take("laptop")
    buckets.take("laptop")  # both came at once
    buckets.charge("laptop", 9)
    with pytest.raises(TooManyRequests):
        buckets.charge("laptop", 9)
    clock.at += 300
    assert taken(buckets) == 1, "the second one is not owed"


def test_a_list_of_one_costs_no_more_than_a_text(clock):
    buckets = Buckets(1, clock)
    buckets.take("laptop")
    buckets.charge("laptop", 0)


def test_it_remembers_so_many_callers_and_forgets_those_that_were_silent_longest(clock):
    buckets = Buckets(1, clock, most=3)
    for caller in ("a", "b", "c"):
        taken(buckets, caller)
    with pytest.raises(TooManyRequests):  # refused, but not silent
        buckets.take("a")
    taken(buckets, "d")
    assert len(buckets) == 3
    for caller in ("a", "c", "d"):
        with pytest.raises(TooManyRequests):
            buckets.take(caller)
    buckets.take("b")
    assert len(buckets) == 3
