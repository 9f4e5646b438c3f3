"""A reminder is spoken when it rings, except at night where something else rings."""

import asyncio
import os
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from assistant.app import able, notifiers
from assistant.config import Config
from assistant.errors import DeliveryError, SpeakerError
from assistant.messages import Delivery
from assistant.notifiers import Notice
from assistant.sections import Tts
from assistant.voice import Voice
from assistant.voice_notifier import VoiceNotifier, within
from tests.fakes import Ear, StandingClock
from tests.process import Daemon
from tests.test_delivery import delivering, due, outcomes, until
from tests.test_delivery import store as store
from tests.test_notifiers import script
from tests.test_tts import begun, ended

LONDON = ZoneInfo("Europe/London")
NOON, NIGHT = datetime(2026, 7, 1, 11, tzinfo=UTC), datetime(2026, 7, 1, 21, 30, tzinfo=UTC)
"""In London 12:00 and 22:30."""


class Parrot:
    """An engine that keeps what it is given to say."""

    name = "parrot"

    def __init__(self, error: str | None = None) -> None:
        self.said: list[str] = []
        self.error = error

    async def speak(self, text: str) -> None:
        if self.error:
            raise SpeakerError(self.error)
        self.said.append(text)

    def problem(self) -> str | None:
        return self.error


def notice(at: datetime) -> Notice:
    return Notice((Delivery(12, 7, "call mum", at, 1, 1, "Europe/London", False),), "call mum", at)


def voice_of(parrot: Parrot, alone: bool = False, **tts: object) -> VoiceNotifier:
    return VoiceNotifier(Voice(parrot), Tts(**tts), LONDON, alone)


@pytest.mark.parametrize(("at", "alone", "quiet", "spoken"), [
    pytest.param(NOON, False, {}, True, id="by day"),
    pytest.param(NIGHT, False, {}, False, id="at night, when something else rings"),
    pytest.param(NIGHT, True, {}, True, id="at night, when nothing else rings"),
    pytest.param(NIGHT, False, {"quiet_from": "23:00"}, True, id="before the person's own night"),
    pytest.param(NOON, False, {"quiet_from": "11:00", "quiet_until": "13:00"}, False, id="in a nap after lunch"),
    pytest.param(NIGHT, False, {"quiet_from": "07:00"}, True, id="at night, where no hours are quiet"),
])  # fmt: skip
async def test_a_reminder_is_spoken_unless_it_is_night_and_something_else_rings(at, alone, quiet, spoken):
    parrot = Parrot()
    await voice_of(parrot, alone, **quiet).notify(notice(at))
    assert parrot.said == (["Reminder: call mum."] if spoken else [])


async def test_at_night_only_what_was_asked_for_even_at_night_is_spoken():
    parrot = Parrot()
    bins = Delivery(12, 7, "bins", NIGHT, 1, 1, "Europe/London", False)
    pills = Delivery(13, 8, "pills", NIGHT, 1, 1, "Europe/London", False, even_at_night=True)
    await voice_of(parrot).notify(Notice((bins, pills), "bins\npills", NIGHT))
    assert parrot.said == ["Reminder: pills."]


@pytest.mark.parametrize(("at", "quiet"), [
    ("21:59", False), ("22:00", True), ("23:59", True), ("00:00", True), ("06:59", True), ("07:00", False),
])  # fmt: skip
def test_quiet_hours_begin_and_end_on_the_minute_and_go_past_midnight(at, quiet):
    assert within(time.fromisoformat(at), time(22), time(7)) is quiet


async def test_what_is_not_spoken_at_night_is_rung_by_the_others_and_not_tried_again(store):
    parrot, ear = Parrot(), Ear()
    due(store, "call mum", NIGHT, now=NIGHT)
    async with delivering(store, [voice_of(parrot), ear], StandingClock(NIGHT)):
        assert (await ear.heard()).text == "call mum"
        await until(lambda: len(outcomes(store)) == 2)
    assert sorted(outcomes(store)) == [("ear", 1, 1, 1, None), ("voice", 1, 1, 1, None)]
    assert parrot.said == []


@pytest.mark.parametrize(("at", "muted", "told"), [(NOON, False, 1), (NIGHT, False, 0), (NOON, True, 0)], ids=[
    "by day", "at night", "muted"])
async def test_it_tells_when_a_reminder_was_said_so_that_it_may_be_answered(at, muted, told):
    spoken = []
    voice = Voice(Parrot())
    voice.muted = muted
    await VoiceNotifier(voice, Tts(), LONDON, False, lambda: spoken.append(1)).notify(notice(at))
    assert len(spoken) == told


async def test_what_cannot_be_said_is_a_failure_with_its_reason():
    notifier = voice_of(Parrot("The parrot is asleep: wake it."))
    with pytest.raises(DeliveryError, match="asleep: wake it"):
        await notifier.notify(notice(NOON))
    assert notifier.problem() == "The parrot is asleep: wake it."


async def test_while_the_voice_is_muted_others_ring_and_alone_it_has_failed():
    parrot = Parrot()
    muted = Voice(parrot)
    muted.muted = True
    await VoiceNotifier(muted, Tts(), LONDON, alone=False).notify(notice(NOON))
    with pytest.raises(DeliveryError, match="muted and nothing else rings: unmute it"):
        await VoiceNotifier(muted, Tts(), LONDON, alone=True).notify(notice(NOON))
    assert parrot.said == []


async def test_muted_while_it_speaks_and_nothing_else_rings_it_has_failed():
    parrot = Parrot()
    voice = Voice(parrot)

    async def mutes(text: str) -> None:
        voice.muted = True
        await asyncio.sleep(0)

    parrot.speak = mutes
    with pytest.raises(DeliveryError, match="muted and nothing else rings"):
        await VoiceNotifier(voice, Tts(), LONDON, alone=True).notify(notice(NOON))


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs; there are no others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize(("use", "there", "spoken"), [
    pytest.param(("voice",), "", True, id="the voice alone"),
    pytest.param(("log", "voice"), "", True, id="the log is no ring"),
    pytest.param(("desktop", "voice"), "", True, id="a desktop that cannot ring"),
    pytest.param(("voice", "command"), "ring", False, id="a command that can"),
])  # fmt: skip
async def test_at_night_the_voice_is_silent_only_where_something_else_can_ring(programs, use, there, spoken):
    if there:
        script(programs / there, "")
    parrot = Parrot()
    every = notifiers(Config(notify={"use": use, "command": {"argv": ["ring"]}}, when={"zone": "Europe/London"}), Voice(parrot))
    assert [n.name for n in every] == [*use]
    [voice] = [n for n in able(every) if n.name == "voice"]
    await voice.notify(notice(NIGHT))
    assert bool(parrot.said) is spoken


def test_without_an_engine_the_voice_is_left_out_and_how_to_get_one_is_said_once(programs, caplog):
    every = notifiers(Config(notify={"use": ("log", "voice")}))
    assert [n.name for n in able(every)] == ["log"]
    assert caplog.text.count("apt install espeak-ng") == 1


@pytest.fixture
def mouth(tmp_path):
    """What is said by a daemon with these settings whose engine is a program that goes on as `body` says."""
    fifo, folder = tmp_path / "said", tmp_path / "bin"
    os.mkfifo(fifo)
    (tmp_path / "data").mkdir()

    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    def speaking(body: str = "") -> tuple[Daemon, int]:
        script(folder / "espeak-ng", f"""
mouth = open({str(fifo)!r}, 'w')
print(sys.stdin.read(), end='', file=mouth, flush=True)
{body}""")
        env = {"ASSISTANT_NOTIFY__USE": "log,voice", "ASSISTANT_TTS__ENGINE": "espeak-ng",
               "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
        return Daemon(tmp_path / "data", env), reader

    yield speaking
    os.close(reader)


async def test_the_daemon_speaks_what_rings(model, mouth):
    daemon, said = mouth()
    with daemon:
        answer = daemon.say("remind me to stretch in one second")
        assert answer["spoken"].startswith("OK: stretch, ")
        assert await begun(said) == b"Reminder: stretch.\n"


async def test_a_daemon_that_stops_in_the_middle_of_a_sentence_leaves_no_engine_behind(model, mouth):
    """A pipe has an end when nobody holds it open any more."""
    daemon, said = mouth("time.sleep(600)")
    with daemon:
        daemon.say("remind me to stretch in one second")
        assert await begun(said) == b"Reminder: stretch.\n"
        assert daemon.stop() == 0
        await ended(said)


async def test_an_answer_is_there_for_the_ear_as_well(model, mouth):
    daemon, _ = mouth()
    with daemon:
        answer = daemon.say("remind me to call mum tomorrow at 17:05")
        assert answer["reply"] == "OK: call mum, tomorrow at 17:05."
        assert answer["spoken"] == "OK: call mum, tomorrow at five past five in the afternoon."
