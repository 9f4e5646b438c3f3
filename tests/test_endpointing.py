"""Where utterances begin and end, by how likely each block is speech: the state machine alone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.audio import BLOCK_BYTES, Block
from assistant.endpointing import LENGTH, LONGEST, LOUDEST, POST_ROLL, PRE_ROLL, SHORTEST, SILENCE, Endpointer, blocks
from assistant.messages import Utterance

BEGAN = datetime(2026, 3, 11, 10, tzinfo=UTC)
PAUSE = {ending: blocks(seconds) for ending, seconds in SILENCE.items()}
"""Blocks without speech that end an utterance."""


@dataclass
class Listening:
    """An endpointer and the blocks that it has heard. Each block holds its own number."""

    endpointer: Endpointer
    at: datetime = BEGAN
    count: int = 0

    def hear(self, probabilities, level: float = -30) -> list[Utterance]:
        """What is complete with one of these blocks."""
        found = []
        for probability in probabilities:
            block = Block(self.count.to_bytes(4, "little") * (BLOCK_BYTES // 4), self.at)
            found.append(self.endpointer.take(block, probability, level))
            self.at += LENGTH
            self.count += 1
        return [utterance for utterance in found if utterance]


@pytest.fixture
def listening() -> Listening:
    return Listening(Endpointer())


def numbers(utterance: Utterance) -> list[int]:
    """Of the blocks of an utterance."""
    assert len(utterance.pcm) % BLOCK_BYTES == 0
    return [int.from_bytes(utterance.pcm[i : i + 4], "little") for i in range(0, len(utterance.pcm), BLOCK_BYTES)]


def test_an_utterance_has_half_a_second_before_its_speech_and_a_little_after_it(listening):
    assert not listening.hear([0] * 50 + [1] * 20)
    assert listening.endpointer.speaking
    assert not listening.hear([0] * (PAUSE["default"] - 1))
    (utterance,) = listening.hear([0])
    assert numbers(utterance) == list(range(50 - PRE_ROLL, 70 + POST_ROLL))
    assert utterance.began == BEGAN + (50 - PRE_ROLL) * LENGTH
    assert (PRE_ROLL, POST_ROLL) == (16, 10), "of 32 ms each"
    assert utterance.speech == 20 / (20 + PRE_ROLL + POST_ROLL)
    assert not utterance.cut and not listening.endpointer.speaking


@pytest.mark.parametrize("ending", SILENCE)
def test_a_pause_ends_it_that_is_as_long_as_the_settings_say(ending):
    listening = Listening(Endpointer(ending))
    assert not listening.hear(([1] * 20 + [0] * (PAUSE[ending] - 1)) * 3)
    assert len(listening.hear([0])) == 1


@pytest.mark.parametrize(
    "probabilities, begins",
    [
        pytest.param([1, 1], False, id="two blocks are a knock"),
        pytest.param([1, 1, 1], True, id="three blocks"),
        pytest.param([1, 0, 1, 0, 1], True, id="three of five"),
        pytest.param([1, 0, 0, 1, 0, 0] * 20, False, id="knocking"),
        pytest.param([0.49] * 100, False, id="all a little unlikely"),
        pytest.param([0.5, 0.35, 0.35], True, id="once it is speech, less is enough for it to be so still"),
        pytest.param([0.5, 0.34, 0.49, 0.49], False, id="and after one that is not, more is wanted again"),
    ],
)
def test_what_begins_an_utterance(listening, probabilities, begins):
    listening.hear([0] * 10 + probabilities)
    assert listening.endpointer.speaking == begins


def test_the_first_blocks_of_all_may_be_speech(listening):
    (utterance,) = listening.hear([1] * 20 + [0] * 30)
    assert numbers(utterance)[0] == 0 and utterance.began == BEGAN


@pytest.mark.parametrize("speech, found", [(SHORTEST - 1, 0), (SHORTEST, 1)])
def test_less_speech_than_a_word_has_is_no_utterance(listening, speech, found):
    assert len(listening.hear([0] * 20 + [1] * speech + [0] * 40)) == found


def test_what_came_after_an_utterance_is_the_pre_roll_of_the_next(listening):
    first, second = listening.hear([1] * 20 + [0] * PAUSE["default"] + [1] * 20 + [0] * 40)
    assert numbers(first)[-1] + 1 == numbers(second)[0]


def test_the_level_is_that_of_the_speech_by_its_power(listening):
    listening.hear([0] * 20, -70)
    listening.hear([1] * 10, -20)
    listening.hear([1] * 10, -30)
    (utterance,) = listening.hear([0] * 30, -70)
    assert utterance.level == pytest.approx(-22.60, abs=0.01), "half of -20 and half of -30"


def test_fainter_speech_in_the_background_does_not_keep_an_utterance_going(listening):
    listening.hear([1] * 20, -20)
    (utterance,) = listening.hear([1] * PAUSE["default"], -36)
    assert numbers(utterance) == list(range(20 + POST_ROLL))
    assert not listening.hear([1] * 20, -20)
    assert not listening.hear([1] * 100, -34)


def test_fainter_speech_before_it_is_not_of_an_utterance(listening):
    listening.hear([1] * 100, -40)
    listening.hear([1] * 20, -20)
    (utterance,) = listening.hear([0] * 30, -70)
    assert numbers(utterance) == list(range(100 - PRE_ROLL, 120 + POST_ROLL))
    assert utterance.level == pytest.approx(-20)


def test_a_knock_in_an_utterance_does_not_make_its_speech_faint(listening):
    listening.hear([1] * 20, -40)
    listening.hear([1] * (LOUDEST - 1), -5)
    assert not listening.hear([1] * 100, -40)


def test_what_is_too_long_is_cut_inside_its_latest_pause_and_goes_on(listening):
    listening.hear([1] * (LONGEST - 120))
    listening.hear([0] * 10, -60)
    (first,) = listening.hear([1] * 120)
    assert first.cut and LONGEST - 117 <= len(numbers(first)) <= LONGEST - 113
    (second,) = listening.hear([0] * PAUSE["default"])
    assert not second.cut and numbers(second)[0] == len(numbers(first))


def test_the_rest_of_what_was_cut_begins_where_it_was_cut_even_with_a_long_pause():
    listening = Listening(Endpointer("relaxed"))
    listening.hear([1] * (LONGEST - 60))
    listening.hear([0] * 36, -60)
    (first,) = listening.hear([1] * 24)
    rest = listening.endpointer.end()
    assert len(numbers(rest)) > 24 + PRE_ROLL
    assert numbers(first) + numbers(rest) == list(range(LONGEST))


def test_a_pause_of_long_ago_is_no_place_for_a_cut(listening):
    listening.hear([1] * 400)
    listening.hear([0] * 10, -60)
    (first,) = listening.hear([1] * (LONGEST - 410))
    assert len(numbers(first)) > LONGEST - 200


def test_the_end_of_the_sound_ends_what_is_being_said(listening):
    assert not listening.hear([0] * 40 + [1] * 20)
    assert numbers(listening.endpointer.end()) == list(range(40 - PRE_ROLL, 60))
    assert listening.endpointer.end() is None


@pytest.mark.parametrize("by", [timedelta(seconds=8 * 3600), timedelta(seconds=1), timedelta(seconds=-60)], ids=str)
def test_a_gap_in_time_ends_what_was_being_said_and_nothing_from_before_it_is_kept(listening, by):
    assert not listening.hear([0] * 40 + [1] * 20)
    listening.at += by
    (utterance,) = listening.hear([1])
    assert numbers(utterance)[-1] == 59
    assert not listening.endpointer.speaking
    resumed = listening.at - LENGTH
    (after,) = listening.hear([1] * 20 + [0] * 40)
    assert numbers(after)[0] == 60 and after.began == resumed


def test_blocks_that_come_a_little_late_or_all_at_once_are_no_gap(listening):
    for late in (0.4, 0, 0.2, 0.1, 0.3) * 8:
        listening.at = BEGAN + listening.count * LENGTH + timedelta(seconds=late)
        assert not listening.hear([1])
    assert numbers(listening.endpointer.end()) == list(range(40))


RUNS = st.lists(
    st.tuples(st.integers(1, 400) | st.just(1000), st.sampled_from([0, 0.02, 0.3, 0.6, 1]), st.booleans()), max_size=5
)
"""Of so many blocks, so large a part of them speech; and whether a gap comes before."""


@settings(max_examples=50, deadline=None)
@given(RUNS, st.sampled_from([*SILENCE]), st.sampled_from([0, 10, 60]), st.integers(0, 2**32))
def test_whatever_is_heard_each_block_is_in_one_utterance_at_most_and_all_are_within_their_bounds(runs, ending, spread, seed):
    random, listening, found = Random(seed), Listening(Endpointer(ending)), []
    gaps, speech = set(), []
    for length, share, gap in runs:
        if gap and listening.count:
            listening.at += timedelta(seconds=5)
            gaps.add(listening.count)
        for _ in range(length):
            speech.append(random.random() < share)
            found += listening.hear([random.uniform(*((0.5, 1) if speech[-1] else (0, 0.34)))], -20 - random.uniform(0, spread))
    if last := listening.endpointer.end():
        found.append(last)
    heard = [numbers(utterance) for utterance in found]
    for utterance, its in zip(found, heard):
        assert its == list(range(its[0], its[-1] + 1)), "nothing is left out, nothing is twice"
        assert SHORTEST <= len(its) <= LONGEST
        assert SHORTEST <= round(utterance.speech * len(its)) <= sum(speech[n] for n in its)
        assert -20.001 - spread <= utterance.level <= -19.999
        assert not gaps & set(its[1:])
    for utterance, before, after in zip(found, heard, heard[1:]):
        assert before[-1] < after[0]
        assert not utterance.cut or before[-1] + 1 == after[0], "what is cut goes on"
    assert not (found and found[-1].cut), "and is never the last"
