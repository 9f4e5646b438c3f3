"""Utterances out of sound: speech by synthesisers, in silence and in noise, and what is not speech."""

import wave
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pytest

from assistant.audio import BLOCK, BLOCK_BYTES, RATE, WavFile
from assistant.endpointing import QUIETEST
from assistant.errors import AudioError
from assistant.messages import Utterance
from assistant.vad import Gate, NoiseFloor, Silero, level, utterances
from tests import speech
from tests.speech import (
    FLITE,
    PROSE,
    SENTENCES,
    Recording,
    clipped,
    dBFS,
    joined,
    mixed,
    room,
    silence,
    speak,
    spoken,
    trimmed,
    wanted,
)

ROOT_MEAN = -3.01
"""dB: of a sine as loud as can be."""
NOISES = {"white": speech.white, "pink": speech.pink, "hum": speech.hum}
SAID = SENTENCES[0]


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


@dataclass
class Found:
    """An utterance, in samples of the recording."""

    utterance: Utterance
    first: int
    last: int
    """One after it."""
    heard: int
    """How much of the recording had been heard when the utterance was there."""


async def find(samples: np.ndarray, silero: Silero, ending="default") -> list[Found]:
    recording, found = Recording(samples), []
    async for utterance in utterances(recording, ending, silero):
        first = round(recording.seconds(utterance.began) * RATE)
        found.append(Found(utterance, first, first + len(utterance.pcm) // 2, round(recording.heard * RATE)))
    return found


def between(said: np.ndarray, noise=None, snr: float = 0) -> tuple[np.ndarray, int, int]:
    """Three seconds, what is said, two seconds, all in that noise or in a quiet room; and where it begins and ends."""
    first, last = (3 * RATE + sample for sample in spoken(said))
    if noise is None:
        return joined(room(3), said, room(2)), first, last
    sound = joined(silence(3), said, silence(2))
    return mixed(sound, noise(len(sound) / RATE), snr), first, last


@wanted
@pytest.mark.parametrize("voice", speech.VOICES)
@pytest.mark.parametrize("text", [*SENTENCES[:4], "yes", "no", "stop", "snooze"])
async def test_what_is_said_in_a_quiet_room_is_found_whole_and_soon(silero, voice, text):
    sound, first, last = between(speak(text, voice))
    (found,) = await find(sound, silero)
    assert first - 0.7 * RATE < found.first < first - 0.2 * RATE, "with a pre-roll"
    assert last + 0.05 * RATE < found.last < last + 0.6 * RATE
    assert found.heard < last + 1.1 * RATE
    assert found.utterance.pcm == sound[found.first : found.last].tobytes()
    assert found.utterance.level == pytest.approx(dBFS(sound[first:last]), abs=3)
    assert 0.1 < found.utterance.speech < 1 and not found.utterance.cut


@wanted
@pytest.mark.parametrize("snr", [20, 10, 5], ids="{} dB".format)
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("voice", speech.VOICES)
async def test_what_is_said_in_noise_is_found_whole_and_soon(silero, voice, noise, snr):
    sound, first, last = between(speak(SAID, voice), NOISES[noise], snr)
    (found,) = await find(sound, silero)
    assert first - 0.8 * RATE < found.first < first and last < found.last < last + 0.6 * RATE
    assert found.heard < last + 1.1 * RATE


@wanted
@pytest.mark.parametrize("voice", speech.VOICES)
async def test_other_people_far_in_the_background_are_no_part_of_it(silero, voice):
    sound, first, last = between(speak(SAID, voice), speech.babble, 20)
    (found,) = [each for each in await find(sound, silero) if each.first < last and each.last > first]
    assert first - 0.8 * RATE < found.first < first and last < found.last < last + 0.6 * RATE
    assert found.heard < last + 1.1 * RATE


@wanted
@pytest.mark.parametrize("snr", [10, 5], ids="{} dB".format)
@pytest.mark.parametrize("voice", speech.VOICES)
async def test_other_people_near_by_go_on_but_cut_nothing_off(silero, voice, snr):
    sound, first, last = between(speak(SAID, voice), speech.babble, snr)
    (found,) = [each for each in await find(sound, silero) if each.first < last and each.last > first]
    assert found.first < first and last < found.last


@wanted
@pytest.mark.parametrize(
    "pause, ending, count",
    [
        (0.15, "aggressive", 1), (0.45, "aggressive", 2),
        (0.4, "default", 1), (1.0, "default", 2),
        (1.0, "relaxed", 1), (1.6, "relaxed", 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("voice", FLITE)
async def test_a_pause_parts_two_sentences_or_does_not(silero, pause, ending, count, voice):
    one, two = (trimmed(speak(text, voice)) for text in SENTENCES[:2])
    found = await find(joined(room(1), one, room(pause), two, room(2)), silero, ending)
    assert len(found) == count
    for before, after in zip(found, found[1:]):
        assert before.last <= after.first


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(silence, id="digital silence"),
        pytest.param(room, id="a quiet room"),
        pytest.param(speech.white, id="white noise"),
        pytest.param(speech.pink, id="pink noise"),
        pytest.param(lambda seconds: speech.pink(seconds, -15), id="loud pink noise"),
        pytest.param(speech.hum, id="hum of the mains"),
        pytest.param(speech.tone, id="a tone of 440 Hz"),
        pytest.param(speech.music, id="music"),
        pytest.param(speech.clicks, id="something is put down hard, every second"),
        pytest.param(lambda seconds: clipped(speech.pink(seconds), 40), id="clipped noise"),
    ],
)
async def test_what_is_not_speech_begins_nothing_in_a_minute(silero, sound):
    assert not await find(sound(60), silero)


@wanted
@pytest.mark.parametrize("gain", [-25, 0, 20], ids="{} dB".format)
@pytest.mark.parametrize("voice", speech.VOICES)
async def test_it_may_be_far_away_or_far_too_loud(silero, voice, gain):
    said = clipped(speak(SAID, voice), gain)
    sound, first, last = between(said)
    (found,) = await find(sound, silero)
    assert found.first < first and last < found.last


@wanted
async def test_forty_seconds_of_speech_are_cut_in_a_pause_and_nothing_is_lost_or_twice(silero):
    parts = [part for n in range(14) for part in (trimmed(speak(PROSE[n % 6], FLITE[n % 3])), room(0.25))]
    talk = joined(*parts)
    assert len(talk) > 40 * RATE
    sound = joined(room(1), talk, room(2))
    found = await find(sound, silero)
    assert [each.utterance.cut for each in found] == [True] * (len(found) - 1) + [False]
    assert len(found) >= 2 and all(each.utterance.seconds <= 30 for each in found)
    whole = b"".join(each.utterance.pcm for each in found)
    assert whole == sound[found[0].first : found[-1].last].tobytes()
    assert found[0].first < RATE and found[-1].last > RATE + len(talk) - 0.25 * RATE
    for each in found[:-1]:
        assert dBFS(sound[each.last - 512 : each.last + 512]) < -50, "where it was cut nobody spoke"


@wanted
async def test_after_a_gap_what_follows_is_an_utterance_of_its_own(silero):
    said = speak(SAID)
    middle = len(said) // 2 // BLOCK * BLOCK

    async def asleep():
        began = Recording(silence(0)).began
        async for block in Recording(joined(room(1), said[:middle])):
            yield block
        async for block in Recording(joined(said[middle:], room(2)), began + timedelta(hours=8)):
            yield block

    first, second = [utterance async for utterance in utterances(asleep(), detector=silero)]
    assert second.began - first.began > timedelta(hours=7)
    assert first.seconds < 0.6 + middle / RATE and second.seconds < 0.5 + (len(said) - middle) / RATE


@wanted
async def test_a_recording_is_heard_as_a_microphone_is(silero, tmp_path):
    sound = joined(room(1), speak(SENTENCES[0]), room(1.5), speak(SENTENCES[1], "rms"), room(1))
    with wave.open(str(tmp_path / "said.wav"), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(RATE)
        file.writeframes(sound.tobytes())
    async with WavFile(tmp_path / "said.wav") as source:
        heard = [utterance.pcm async for utterance in utterances(source, detector=silero)]
    assert heard == [each.utterance.pcm for each in await find(sound, silero)] and len(heard) == 2


@wanted
async def test_what_is_being_said_when_the_sound_ends_is_an_utterance(silero):
    (found,) = await find(joined(room(1), trimmed(speak(SAID))), silero)
    assert found.last == found.heard


class Counting:
    """A detector that says the same of every block that it is asked about, and counts."""

    def __init__(self, answer: float = 0.0) -> None:
        self.answer, self.asked, self.resets = answer, 0, 0

    def probability(self, block: bytes) -> float:
        assert len(block) == BLOCK_BYTES
        self.asked += 1
        return self.answer

    def reset(self) -> None:
        self.resets += 1


async def asked_in(samples: np.ndarray) -> list[int]:
    """How often the detector was asked in each second of a sound."""
    counting, asked = Counting(), []
    gate = Gate(counting)
    async for block in Recording(samples):
        gate.probability(block.pcm, level(block.pcm))
        asked.append(counting.asked)
    seconds = [asked[min(len(asked), round((n + 1) * RATE / BLOCK)) - 1] for n in range(len(samples) // RATE)]
    return [after - before for before, after in zip([0, *seconds], seconds)]


async def test_silence_and_steady_noise_are_not_worth_asking_about():
    assert sum(await asked_in(silence(20))) == 0
    assert sum((await asked_in(speech.white(20)))[3:]) == 0


async def test_something_loud_is_asked_about_with_a_little_before_it_and_half_a_second_after_it():
    bang = 6
    asked = await asked_in(joined(speech.white(11.008, -60), speech.white(bang * BLOCK / RATE, -40), speech.white(3, -60)))
    assert sum(asked[3:]) == 4 + bang + 15


async def test_after_a_gap_the_detector_begins_anew_though_the_noise_goes_on():
    counting, noise = Counting(), speech.pink(5, -30)

    async def asleep():
        async for block in Recording(noise):
            yield block
        async for block in Recording(noise, Recording(noise).began + timedelta(hours=8)):
            yield block

    assert not [utterance async for utterance in utterances(asleep(), detector=counting)]
    alone = Counting()
    assert not [utterance async for utterance in utterances(Recording(noise), detector=alone)]
    assert (counting.resets, counting.asked) == (2 * alone.resets, 2 * alone.asked)


async def test_noise_that_grows_by_twenty_dB_is_the_new_floor_within_ten_seconds_and_a_fall_is_at_once():
    asked = await asked_in(joined(speech.white(10, -60), speech.white(15, -40), speech.white(10, -60)))
    assert sum(asked[4:10]) == 0
    assert all(asked[10:18]), "it might be speech"
    assert sum(asked[20:25]) == 0 and sum(asked[26:]) == 0


@wanted
async def test_speech_after_the_noise_has_grown_or_fallen_is_found(silero):
    said = speak(SAID)
    loud = mixed(joined(silence(12), said, silence(2)), speech.white(30), 15)
    sound = joined(room(10), loud, room(10), said, room(2))
    found = await find(sound, silero)
    begin = [22 * RATE + spoken(said)[0], 10 * RATE + len(loud) + 10 * RATE + spoken(said)[0]]
    assert [abs(each.first - first) < 0.7 * RATE for each, first in zip(found, begin)] == [True, True]
    assert len(found) == 2


def test_the_noise_floor_is_the_least_of_the_last_eight_seconds():
    floor = NoiseFloor()
    assert floor.level == QUIETEST
    for _ in range(40):
        floor.take(-50)
        floor.take(-20)
    assert floor.level == -50
    for _ in range(9 * 32):
        floor.take(-30)
    assert floor.level == -30
    floor.take(-55)
    assert floor.level == -55


@pytest.mark.parametrize(
    "samples, expected",
    [
        pytest.param(np.zeros(512, np.int16), QUIETEST, id="digital silence"),
        pytest.param(np.ones(512, np.int16), -90.31, id="one unit"),
        pytest.param(np.full(512, -32768, np.int16), 0, id="as loud as can be"),
        pytest.param(speech.tone(0.1, ROOT_MEAN), ROOT_MEAN, id="a sine as loud as can be"),
        pytest.param(np.zeros(0, np.int16), QUIETEST, id="nothing"),
    ],
)
def test_levels_are_relative_to_full_scale(samples, expected):
    assert level(samples.tobytes()) == pytest.approx(expected, abs=0.05)


@wanted
def test_block_by_block_it_hears_what_faster_whisper_hears_in_the_whole_and_again_after_a_reset(silero):
    from faster_whisper.vad import get_vad_model

    sound = joined(room(1), speak(SAID), room(0.5))
    sound = sound[: len(sound) // BLOCK * BLOCK]
    expected = get_vad_model()(sound.astype(np.float32) / 32768).ravel()
    for _ in range(2):
        silero.reset()
        heard = [silero.probability(sound[n : n + BLOCK].tobytes()) for n in range(0, len(sound), BLOCK)]
        assert heard[:-1] == pytest.approx(expected[:-1], abs=1e-4)  # faster-whisper silences the end of the last block
        assert max(heard) > 0.9


@pytest.mark.parametrize("content", [b"", b"not a network", None], ids=["empty", "damaged", "missing"])
def test_a_detector_that_cannot_be_loaded_says_what_to_do(tmp_path, content):
    file = tmp_path / "silero_vad.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(AudioError, match="scripts/start"):
        Silero(file)
