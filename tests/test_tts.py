"""Every engine says what it is given, whatever it is, and is silent at once when it is told to be."""

import asyncio
import json
import os
import shutil
import struct
import sys
import wave
from array import array
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from assistant import doctor
from assistant.config import Config
from assistant.errors import SpeakerError
from assistant.playing import play
from assistant.sections import Notify, Tts
from assistant.tts import GET_ONE, Piper, Program, engine_of, one_line, speaker
from assistant.voice import Voice
from tests.test_aloud import longest
from tests.test_notifiers import script
from tests.virtual_microphone import VirtualMicrophone, wanted

SENTENCE = "Reminder: call mum, at a quarter to eight in the evening."


def needs(program: str):
    """Tests with a real one are skipped where it is not installed."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


REAL = [pytest.param(name, marks=needs(name)) for name in ("espeak-ng", "flite")]


def into_file(name: str, path: Path, voice: str = "") -> Program:
    """The engine as it is, but for its sound going into a WAV file."""
    engine = engine_of(Tts(engine=name, voice=voice))
    return replace(engine, argv=(*engine.argv, "-w" if name == "espeak-ng" else "-o", str(path)))


def heard(path: Path) -> tuple[float, float]:
    """Seconds of a WAV file and its loudness, the root mean square of its samples, of 32,768."""
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 2
        sound = file.readframes(file.getnframes())
        return len(sound) / 2 / file.getframerate(), loudness_of(sound)


def loudness_of(sound: bytes) -> float:
    samples = array("h", sound)
    return (sum(s * s for s in samples) / max(1, len(samples))) ** 0.5


def no_programs(tmp_path, monkeypatch, *names: str) -> Path:
    """A folder that is all of PATH, with programs of these names."""
    folder = tmp_path / "only"
    folder.mkdir()
    for name in names:
        script(folder / name, "")
    monkeypatch.setenv("PATH", str(folder))
    return folder


# Real engines


@pytest.mark.parametrize("name", REAL)
async def test_a_sentence_is_sound_of_a_plausible_length(name, tmp_path):
    await into_file(name, tmp_path / "said.wav").speak(SENTENCE)
    seconds, loudness = heard(tmp_path / "said.wav")
    assert 2 < seconds < 8 and loudness > 300


NASTY = {
    "an option": "--help",
    "an option with a value": "-o stolen -w stolen -f /etc/passwd",
    "a folder": "/",
    "quotes": "call \"mum\" 'now' `id` $(touch stolen); touch stolen | x && y",
    "lines": "one\ntwo\r\n\nthree\u2028four",
    "NUL": "one\0two",
    "pictures": "cake 🎂🇬🇧 👩‍👩‍👧",
    "half a character": "one \ud800 two",
    "markup": "<speak><break time='60s'/>one</speak>",
    "commands": "[[volm 0]] [[[[rate 1]]]] one",
    "a shell's pattern": "* ? ~ %s %n",
}


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize("name", REAL)
async def test_no_text_is_more_than_text(name, text, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    await into_file(name, here / "said.wav").speak(text)
    seconds, _ = heard(here / "said.wav")
    assert seconds < 20
    assert [p.name for p in here.iterdir()] == ["said.wav"]


@pytest.mark.parametrize("name", REAL)
async def test_of_a_text_without_end_the_beginning_is_said(name, tmp_path):
    async with Voice(into_file(name, tmp_path / "said.wav")) as voice:
        assert await voice.say("and so on, " * 20_000) is True
    assert 30 < heard(tmp_path / "said.wav")[0] < 120


@pytest.mark.parametrize("name", REAL)
async def test_the_longest_notice_is_said_before_a_notifier_counts_as_failed(name, tmp_path):
    for said in longest():
        await into_file(name, tmp_path / "said.wav").speak(said)
        assert heard(tmp_path / "said.wav")[0] < Notify().timeout_seconds - 2, said


@pytest.mark.parametrize("name", REAL)
async def test_interrupted_a_real_engine_is_gone(name, tmp_path):
    """It writes into a pipe that nobody empties, so that it is in the middle of its speech."""
    fifo = tmp_path / "said.wav"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    task = asyncio.create_task(into_file(name, fifo).speak("and so on, " * 400))
    await begun(reader)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while os.read(reader, 65536):  # an end, and no "would block": nobody holds it any more
        pass
    os.close(reader)


async def begun(reader: int) -> bytes:
    """What comes through a pipe at first; an end before that is nobody's (on macOS a pipe begins with one)."""
    return await _read(reader, bool)


async def ended(reader: int) -> None:
    """Until nobody holds the other end of a pipe any more."""
    await _read(reader, lambda data: not data)


async def _read(reader: int, wanted: Callable[[bytes], bool]) -> bytes:
    loop = asyncio.get_running_loop()
    found = loop.create_future()

    def readable() -> None:
        with suppress(BlockingIOError):
            data = os.read(reader, 4096)
            if wanted(data) and not found.done():
                found.set_result(data)

    loop.add_reader(reader, readable)
    try:
        async with asyncio.timeout(60):
            return await found
    finally:
        loop.remove_reader(reader)


@pytest.fixture
def card(tmp_path, monkeypatch):
    """A sound card of which one can hear what it plays, the only one that there is."""
    (tmp_path / "card").mkdir()
    with VirtualMicrophone(tmp_path / "card") as card:
        for name, value in card.environ.items():
            monkeypatch.setenv(name, value)
        yield card


@asynccontextmanager
async def ear():
    """What the card plays, samples of 16 bits, 16,000 a second."""
    argv = ["parec", "--raw", "--format=s16le", "--rate=16000", "--channels=1", "--latency-msec=50"]
    process = await asyncio.create_subprocess_exec(*argv, "--device=speaker.monitor", stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(120):  # all that is listened for
            await process.stdout.readexactly(3200)
            yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def hear_speech(sound: asyncio.StreamReader, seconds: float = 0.5) -> None:
    """Until there was so much that is no silence."""
    while seconds > 0:
        seconds -= 0.1 * (loudness_of(await sound.readexactly(3200)) > 300)


async def hear_silence(sound: asyncio.StreamReader) -> None:
    """Until nothing has been played for a second: a busy machine makes shorter gaps."""
    silent = 0.0
    while silent < 1.0:
        silent = silent + 0.1 if loudness_of(await sound.readexactly(3200)) == 0 else 0.0


@wanted
@pytest.mark.parametrize("name", REAL)
async def test_what_is_said_is_heard_and_stopped_it_is_silent(name, card):
    async with ear() as sound, speaker(Config(tts={"engine": name})) as mouth:
        assert await mouth.say("One two.") is True
        await hear_speech(sound)
        await hear_silence(sound)
        task = asyncio.create_task(mouth.say("and so on, " * 50))
        await hear_speech(sound)
        mouth.stop()
        assert await task is False
        await hear_silence(sound)


@wanted
@needs("espeak-ng")
@pytest.mark.parametrize("player", [pytest.param(name, marks=needs(name)) for name in ("paplay", "aplay")])
async def test_what_an_engine_has_made_is_played(player, card, tmp_path):
    await into_file("espeak-ng", tmp_path / "said.wav").speak("One two.")
    async with ear() as sound:
        await play((tmp_path / "said.wav").read_bytes(), (player,))
        await hear_speech(sound)


@pytest.mark.parametrize("name", REAL)
async def test_without_a_sound_card_it_does_not_pretend(name, tmp_path, monkeypatch):
    for variable, file in (("ALSA_CONFIG_PATH", "asound.conf"), ("PULSE_CLIENTCONFIG", "client.conf")):
        (tmp_path / file).write_text("")
        monkeypatch.setenv(variable, str(tmp_path / file))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nobody")
    with pytest.raises(SpeakerError, match=f"{name} cannot play .*see whether the sound card is there"):
        await engine_of(Tts(engine=name)).speak(SENTENCE)


@pytest.mark.parametrize("name", REAL)
async def test_a_voice_that_is_not_there_is_stood_in_for(name, tmp_path):
    await into_file(name, tmp_path / "said.wav", voice="no-such-voice").speak(SENTENCE)
    assert heard(tmp_path / "said.wav")[1] > 300


@needs("espeak-ng")
async def test_a_voice_by_name_sounds_different(tmp_path):
    for voice in ("en-us", "de"):
        await into_file("espeak-ng", tmp_path / f"{voice}.wav", voice).speak(SENTENCE)
    assert (tmp_path / "de.wav").read_bytes() != (tmp_path / "en-us.wav").read_bytes()


# What engines are given


def recorded(folder: Path, name: str, out: Path) -> None:
    """A program that keeps what it is started with."""
    script(folder / name, f"open({str(out)!r}, 'w').write(json.dumps([sys.argv[1:], sys.stdin.read()]))")


@pytest.mark.parametrize(("engine", "voice", "arguments"), [
    ("say", "", ["-f", "-"]), ("say", "Samantha", ["-v", "Samantha", "-f", "-"]),
    ("espeak-ng", "", ["-b", "1", "--stdin"]), ("espeak-ng", "en-gb", ["-b", "1", "-v", "en-gb", "--stdin"]),
    ("flite", "", []), ("flite", "slt", ["-voice", "slt"]),
])  # fmt: skip
async def test_an_engine_reads_the_text_and_finds_none_of_it_in_its_arguments(tmp_path, monkeypatch, engine, voice, arguments):
    recorded(no_programs(tmp_path, monkeypatch), engine, tmp_path / "given")
    async with speaker(Config(tts={"engine": engine, "voice": voice})) as mouth:
        assert await mouth.say("--help 'me'\nnow") is True
    assert json.loads((tmp_path / "given").read_text()) == [arguments, "--help 'me' now\n"]


@pytest.mark.parametrize(("text", "given"), [
    ("[[volm 0]] x", b"[volm 0 ] x\n"), ("a[[[b]]]", b"a [b ]\n"), ("a[1]", b"a[1]\n"), ("a\x1bb\0c", b"a b c\n"),
    ("\ud800", b"?\n"), ("", b"\n"),
])  # fmt: skip
def test_no_brackets_stand_together_and_no_line_ends_early(text, given):
    line = one_line(text)
    assert b"[[" not in line and b"]]" not in line and line.count(b"\n") == 1
    assert line.replace(b" ", b"") == given.replace(b" ", b"")


# Which engine


@pytest.mark.parametrize(("there", "platform", "voice", "chosen"), [
    (("say", "espeak-ng"), "darwin", "", "say"),
    (("espeak-ng",), "darwin", "", "espeak-ng"),
    (("say", "flite"), "linux", "", "flite"),
    (("espeak-ng", "flite"), "linux", "", "espeak-ng"),
    (("piper", "aplay", "espeak-ng"), "linux", "VOICE", "piper"),
    (("piper", "aplay", "espeak-ng"), "linux", "", "espeak-ng"),
    (("piper", "espeak-ng"), "linux", "VOICE", "espeak-ng"),
    ((), "linux", "", "none"),
], ids=["a Mac", "a Mac without", "no Mac", "both", "piper with a voice", "piper without", "nothing plays", "nothing"])  # fmt: skip
def test_auto_is_what_can_speak_here(tmp_path, monkeypatch, there, platform, voice, chosen):
    no_programs(tmp_path, monkeypatch, *there)
    engine = engine_of(Tts(voice=str(voice_file(tmp_path)) if voice else ""), platform)
    assert engine.name == chosen
    assert engine.problem() == (f"Nothing here can speak: {GET_ONE}." if chosen == "none" else None)
    if chosen == "espeak-ng":
        assert "-v" not in engine.argv  # a file is no voice of its


@pytest.mark.parametrize(("engine", "advice"), [
    ("say", "macOS"), ("espeak-ng", "apt install espeak-ng"), ("flite", "apt install flite"), ("auto", "apt install espeak-ng"),
    ("none", '[tts] engine is "none"'), ("piper", "set [tts] voice"),
])  # fmt: skip
async def test_an_engine_that_is_missing_says_what_to_do(tmp_path, monkeypatch, engine, advice):
    no_programs(tmp_path, monkeypatch)
    async with speaker(Config(tts={"engine": engine}), "linux") as mouth:
        assert advice in mouth.problem()
        with pytest.raises(SpeakerError) as e:
            await mouth.say("x")
    assert str(e.value) == mouth.problem()


def test_doctor_tells_about_the_voice(tmp_path, monkeypatch):
    folder = no_programs(tmp_path, monkeypatch)
    assert [*doctor.voice(Config(tts={"engine": "none"}))] == []
    assert [*doctor.voice(Config(tts={"engine": "flite"}))] == [
        doctor.Finding("warn", "voice", "cannot speak", "flite is not found: install it (Debian: apt install flite).")]
    script(folder / "flite", "")
    assert [*doctor.voice(Config(tts={"engine": "flite"}))] == [doctor.Finding("ok", "voice", "flite can speak")]


async def test_an_engine_that_fails_says_why(tmp_path, monkeypatch):
    folder = no_programs(tmp_path, monkeypatch)
    script(folder / "flite", "sys.exit('no sound card')")
    with pytest.raises(SpeakerError, match="flite ended with status 1: no sound card"):
        await engine_of(Tts(engine="flite")).speak("x")


async def test_an_engine_that_hangs_is_stopped_with_all_that_it_has_started(tmp_path, monkeypatch):
    """A pipe has an end when nobody holds it open any more: neither the engine nor its child."""
    folder, fifo = no_programs(tmp_path, monkeypatch), tmp_path / "held"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    script(folder / "flite", f"""
held = os.open({str(fifo)!r}, os.O_WRONLY)
os.set_inheritable(held, True)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
os.write(held, b"ready")
time.sleep(600)""")
    async with speaker(Config(tts={"engine": "flite"})) as mouth:
        task = asyncio.create_task(mouth.say("x"))
        assert await begun(reader) == b"ready"
        mouth.stop()
        async with asyncio.timeout(60):
            assert await task is False
    await ended(reader)  # the child's may come a little later
    os.close(reader)


# Piper


def voice_file(folder: Path) -> Path:
    """What is taken for a voice by its name."""
    voice = folder / "en_GB-alba-medium.onnx"
    voice.write_bytes(b"")
    voice.with_name(f"{voice.name}.json").write_text("{}")
    return voice


def sound() -> bytes:
    """A short WAV file."""
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 22050, 0, "NONE", None))
        file.writeframes(struct.pack("<3h", 1, -2, 3))
    return out.getvalue()


@pytest.fixture
def piper(tmp_path, monkeypatch) -> Piper:
    """A Piper that makes the same sound of every text, in a folder of programs that is all of PATH."""
    folder = no_programs(tmp_path, monkeypatch)
    (tmp_path / "sound").write_bytes(sound())
    script(folder / "piper", f"""
open({str(tmp_path / "given")!r}, "w").write(json.dumps([sys.argv[1:], sys.stdin.read()]))
sys.stdout.buffer.write(open({str(tmp_path / "sound")!r}, "rb").read())""")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return Piper(str(voice_file(tmp_path)))


def plays(path: Path, out: Path, of: str = "sys.stdin.buffer") -> None:
    """A player that keeps what it plays."""
    script(path, f"open({str(out)!r}, 'wb').write({of}.read())\nprint(sys.argv)")


async def test_piper_synthesises_and_another_program_plays(piper, tmp_path):
    plays(tmp_path / "only/paplay", tmp_path / "played")
    assert piper.problem() is None
    await piper.speak("--help\nme")
    arguments, given = json.loads((tmp_path / "given").read_text())
    assert arguments == ["--model", str(tmp_path / "en_GB-alba-medium.onnx"), "--output_file", "-"]
    assert given == "--help me\n"
    assert (tmp_path / "played").read_bytes() == sound()


async def test_a_player_without_its_server_leaves_it_to_the_next(piper, tmp_path):
    script(tmp_path / "only/paplay", "sys.exit('Connection refused')")
    plays(tmp_path / "only/aplay", tmp_path / "played")
    await piper.speak("x")
    assert (tmp_path / "played").read_bytes() == sound()
    script(tmp_path / "only/aplay", "sys.exit('no soundcards found')")
    with pytest.raises(SpeakerError, match="aplay ended with status 1: no soundcards found"):
        await piper.speak("x")


async def test_a_player_that_takes_a_file_gets_one_that_is_gone_afterwards(piper, tmp_path):
    plays(tmp_path / "only/afplay", tmp_path / "played", of="open(sys.argv[1], 'rb')")
    await piper.speak("x")
    assert (tmp_path / "played").read_bytes() == sound()
    assert [*(tmp_path / "tmp").iterdir()] == []


async def test_interrupted_while_it_synthesises_no_file_of_its_own_is_left(piper, tmp_path):
    fifo = tmp_path / "playing"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    plays(tmp_path / "only/aplay", tmp_path / "played")
    script(tmp_path / "only/piper", f"""
import tempfile
with tempfile.NamedTemporaryFile():
    os.write(os.open({str(fifo)!r}, os.O_WRONLY), b'x')
    time.sleep(600)""")
    task = asyncio.create_task(piper.speak("x"))
    await begun(reader)
    [folder] = (tmp_path / "tmp").iterdir()
    assert len([*folder.iterdir()]) == 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    os.close(reader)
    assert [*(tmp_path / "tmp").iterdir()] == []


async def test_interrupted_while_it_plays_no_file_is_left(piper, tmp_path):
    fifo = tmp_path / "playing"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    script(tmp_path / "only/afplay", f"os.write(os.open({str(fifo)!r}, os.O_WRONLY), b'x')\ntime.sleep(600)")
    task = asyncio.create_task(piper.speak("x"))
    await begun(reader)
    assert len([*(tmp_path / "tmp").iterdir()]) == 1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    os.close(reader)
    assert [*(tmp_path / "tmp").iterdir()] == []


@pytest.mark.parametrize(("without", "advice"), [
    ("en_GB-alba-medium.onnx", "There is no voice at"), ("en_GB-alba-medium.onnx.json", "There is no voice at"),
    ("only/piper", "pip install piper-tts"), ("only/aplay", "apt install alsa-utils"),
])  # fmt: skip
async def test_piper_says_what_it_lacks(piper, tmp_path, monkeypatch, without, advice):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    plays(tmp_path / "only/aplay", tmp_path / "played")
    assert piper.problem() is None
    (tmp_path / without).unlink()
    assert advice in piper.problem()
    with pytest.raises(SpeakerError) as e:
        await piper.speak("x")
    assert str(e.value) == piper.problem()


async def test_another_program_of_the_same_name_makes_no_sound(piper, tmp_path):
    """Debian's package piper configures mice."""
    plays(tmp_path / "only/aplay", tmp_path / "played")
    (tmp_path / "sound").write_bytes(b"")
    with pytest.raises(SpeakerError, match="makes no sound: see whether it is Piper"):
        await piper.speak("x")
    assert not (tmp_path / "played").exists()


async def test_piper_is_found_beside_this_python(piper, tmp_path, monkeypatch):
    plays(tmp_path / "only/aplay", tmp_path / "played")
    (tmp_path / "venv").mkdir()
    (tmp_path / "only/piper").rename(tmp_path / "venv/piper")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/python"))
    await piper.speak("x")
    assert (tmp_path / "played").read_bytes() == sound()
