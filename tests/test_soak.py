"""A seeded tenth of `scripts/soak`."""

from tests import soak


def test_killed_at_ten_random_instants_the_daemon_loses_nothing_and_doubles_nothing(tmp_path):
    tally = soak.kills(10, seed=1, folder=tmp_path)
    assert tally.faults == []
    assert len(tally.accepted) > 20
    assert len(tally.rung) > 5


def test_a_hundred_hostile_requests_get_a_clear_answer_each(tmp_path):
    assert soak.hostile(100, seed=1, folder=tmp_path) == []
