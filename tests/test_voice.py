"""The assistant says one thing at a time, reminders first, and is silent at once when it is told to be."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from assistant.errors import SpeakerError
from assistant.voice import MOST_CHARACTERS, MOST_WAITING, Voice


class Mouth:
    """An engine that speaks until the test lets it end."""

    name = "mouth"

    def __init__(self) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.cut: list[str] = []
        """What was interrupted."""
        self.broken: SpeakerError | None = None
        self._end = asyncio.Event()

    async def speak(self, text: str) -> None:
        self._end.clear()
        self.begun.put_nowait(text)
        if self.broken:
            raise self.broken
        try:
            await self._end.wait()
        except asyncio.CancelledError:
            self.cut.append(text)
            raise

    def problem(self) -> str | None:
        return None

    async def begins(self) -> str:
        """What it says next, waited for."""
        async with asyncio.timeout(10):
            return await self.begun.get()

    def end(self) -> None:
        self._end.set()


@pytest.fixture
def mouth():
    return Mouth()


@pytest.fixture
async def voice(mouth):
    async with Voice(mouth) as voice:
        yield voice


@asynccontextmanager
async def asking(voice: Voice, *texts: str):
    """Says each text, those with a bang first; a TaskGroup whose tasks are in order."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        tasks = []
        for text in texts:
            tasks.append(group.create_task(voice.say(text, first=text.endswith("!"))))
            await asyncio.sleep(0)  # each takes its place before the next
        yield tasks


async def test_it_says_one_thing_after_the_other(voice, mouth):
    async with asking(voice, "one", "two") as (one, two):
        assert await mouth.begins() == "one" and voice.speaking
        assert mouth.begun.empty()
        mouth.end()
        assert await mouth.begins() == "two"
        mouth.end()
    assert one.result() and two.result() and not voice.speaking


async def test_reminders_come_before_replies_and_in_their_order(voice, mouth):
    async with asking(voice, "one", "two", "ring!", "ring again!"):
        order = []
        for _ in range(4):
            order.append(await mouth.begins())
            mouth.end()
    assert order == ["one", "ring!", "ring again!", "two"]
    assert mouth.cut == []


async def test_of_too_many_replies_the_oldest_is_dropped_and_never_a_reminder(voice, mouth):
    replies = [f"reply {n}" for n in range(MOST_WAITING + 2)]
    rings = [f"{n}!" for n in range(MOST_WAITING + 2)]
    async with asking(voice, "now", *rings, *replies) as (now, *tasks):
        order = []
        for _ in range(1 + len(rings) + MOST_WAITING):
            order.append(await mouth.begins())
            mouth.end()
    assert order == ["now", *rings, *replies[2:]]
    assert [t.result() for t in tasks] == [True] * len(rings) + [False] * 2 + [True] * MOST_WAITING


async def test_stop_cuts_short_what_is_said_and_drops_the_replies_that_wait(voice, mouth):
    async with asking(voice, "one", "two", "ring!") as (one, two, ring):
        await mouth.begins()
        voice.stop()
        voice.stop()  # nobody minds
        assert await mouth.begins() == "ring!"
        mouth.end()
    assert mouth.cut == ["one"]
    assert (one.result(), two.result(), ring.result()) == (False, False, True)


async def test_a_reminder_is_stopped_like_anything_else_once_it_is_heard(voice, mouth):
    async with asking(voice, "ring!") as (ring,):
        await mouth.begins()
        voice.stop()
    assert ring.result() is False and mouth.cut == ["ring!"]


async def test_after_stop_it_speaks_again(voice, mouth):
    voice.stop()  # nothing to stop
    async with asking(voice, "one") as (one,):
        await mouth.begins()
        voice.stop()
    async with asking(voice, "two") as (two,):
        await mouth.begins()
        mouth.end()
    assert (one.result(), two.result()) == (False, True)


@pytest.mark.parametrize(("text", "said"), [("two", False), ("ring!", True)])
async def test_stop_just_before_something_begins_spares_the_reminder_only(voice, mouth, text, said):
    async with asking(voice, "one", text) as (_, task):
        await mouth.begins()
        mouth.end()
        asyncio.get_running_loop().call_soon(voice.stop)  # right after the turn is given, before it is taken
        if said:
            await mouth.begins()
            mouth.end()
    assert task.result() is said


async def test_muted_it_says_nothing_and_says_so(voice, mouth):
    async with asking(voice, "one", "ring!", "two") as tasks:
        await mouth.begins()
        voice.muted = True
    assert [t.result() for t in tasks] == [False] * 3 and mouth.cut == ["one"]
    assert await voice.say("three", first=True) is False
    assert mouth.begun.empty() and voice.muted
    voice.muted = False
    async with asking(voice, "four") as (four,):
        await mouth.begins()
        mouth.end()
    assert four.result()


async def test_whoever_goes_away_while_it_speaks_silences_it_and_lets_the_next_one_speak(voice, mouth):
    one = asyncio.create_task(voice.say("one"))
    await mouth.begins()
    async with asking(voice, "two"):
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        assert await mouth.begins() == "two"
        mouth.end()
    assert mouth.cut == ["one"]


async def test_whoever_goes_away_while_waiting_leaves_no_gap(voice, mouth):
    async with asking(voice, "one") as _:
        await mouth.begins()
        gone = asyncio.create_task(voice.say("gone"))
        await asyncio.sleep(0)
        async with asking(voice, "two"):
            gone.cancel()
            mouth.end()
            assert await mouth.begins() == "two"
            mouth.end()
    assert gone.cancelled()


async def test_whoever_goes_away_as_its_turn_comes_passes_it_on(voice, mouth):
    one = asyncio.create_task(voice.say("one"))
    await mouth.begins()
    gone = asyncio.create_task(voice.say("gone"))
    await asyncio.sleep(0)
    async with asking(voice, "two"):
        mouth.end()
        asyncio.get_running_loop().call_soon(gone.cancel)  # right after the turn is given, before it is taken
        assert await mouth.begins() == "two"
        mouth.end()
    assert await one and gone.cancelled()


async def test_an_engine_that_hangs_is_cut_off_and_the_next_one_speaks(mouth):
    async with Voice(mouth, limit=lambda text: 0.01 if text == "hangs" else 20) as voice:
        with pytest.raises(SpeakerError, match="mouth was not done after 0.01 seconds: see whether the sound card"):
            await voice.say("hangs")
        await mouth.begins()
        async with asking(voice, "goes on") as (task,):
            await mouth.begins()
            mouth.end()
    assert mouth.cut == ["hangs"] and task.result()


async def test_an_engine_that_fails_says_why_and_the_next_one_speaks(voice, mouth):
    mouth.broken = SpeakerError("It is hoarse.")
    with pytest.raises(SpeakerError, match="hoarse"):
        await voice.say("one")
    await mouth.begins()
    mouth.broken = None
    async with asking(voice, "two") as (two,):
        await mouth.begins()
        mouth.end()
    assert two.result()


async def test_leaving_it_ends_what_is_said_and_waits_for_silence(mouth):
    async with Voice(mouth) as voice:
        tasks = [asyncio.create_task(voice.say(text, first=text.endswith("!"))) for text in ("one", "two", "ring!")]
        await mouth.begins()
    assert not voice.speaking and mouth.cut == ["one"]
    assert await asyncio.gather(*tasks) == [False] * 3


async def test_nothing_is_not_said_and_too_much_is_cut_at_a_word(voice, mouth):
    assert await voice.say("  ") is False
    async with asking(voice, "word " * 10_000):
        said = await mouth.begins()
        mouth.end()
    assert len(said) < MOST_CHARACTERS + 20 and said.endswith("word and so on")
