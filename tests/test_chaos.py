"""A tenth of the storm of `scripts/soak`: the model service goes wrong in every way, and no request is lost or doubled."""

import pytest

from tests.chaos import storm

pytestmark = pytest.mark.usefixtures("model")


def test_while_the_service_is_in_trouble_the_model_here_stands_in(tmp_path):
    tally = storm(tmp_path, 50, seed=1, order="remote,local")
    assert tally.faults == []
    assert tally.kinds == {"create": 50}
    assert tally.metric("assistant_answered_total", source="local") > 5
    assert tally.metric("assistant_answered_total", source="remote") > 5
    for state in ("open", "half_open", "closed"):
        assert tally.metric("assistant_circuit_changes_total", state=state) > 0
    assert tally.metric("assistant_circuit_open") == 0


def test_without_a_model_here_requests_are_kept_also_through_a_kill_and_set_once_each_when_the_service_is_back(tmp_path):
    tally = storm(tmp_path, 50, seed=2, order="remote", killed_daemon=True)
    assert tally.faults == []
    assert tally.kinds["kept"] > 5
    assert tally.metric("assistant_answered_total", source="remote") > 5
    assert tally.metric("assistant_kept") == 0
