"""`assistant listen`: push to talk, from a microphone or a recording; `assistant say --audio` is it in silence.

Where the daemon listens by itself this is heard there: two microphones would make two requests of one.
"""

import sys
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assistant.options import ConfigFile, Host, Json, Port, print_json, settings

if TYPE_CHECKING:
    import asyncio

    from assistant.client import Daemon
    from assistant.config import Config
    from assistant.push_to_talk import Turn
    from assistant.stt import Transcriber
    from assistant.voice import Speaker

Audio = Annotated[
    Path | None, typer.Option("--audio", metavar="FILE", help="Hear a recording (WAV, FLAC ...), no microphone.")
]


def listen(
    audio: Audio = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing aloud.")] = False,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Listen to what you say, once, and for your answer if the assistant asks back.

    Bind it to a key. It ends when you have said nothing for ten seconds.

    \b
    Example: assistant listen
             assistant listen --audio recording.wav --quiet
    """
    hear(settings(config, host, port), audio, quiet, as_json)


def hear(found: "Config", audio: Path | None, quiet: bool, as_json: bool) -> None:
    """Listen, ask the daemon, print and say what it answers, and exit: 0 if it did something, else 1."""
    import asyncio

    from assistant.client import Daemon
    from assistant.errors import Muted

    daemon = Daemon.of(found)
    now = daemon.call("GET", "/hearing")  # before anybody speaks in vain
    if not audio and now["muted"]:
        raise Muted
    if not audio and now["mode"] != "push":
        last = _by_daemon(daemon, now["device"], quiet, as_json)
    else:
        last = asyncio.run(_converse(found, daemon, audio, quiet, as_json))
    if last is None:
        print("Nothing was heard.", file=sys.stderr)
    nothing = last is None or last.answer is None or (last.answer["kind"] == "other" and not last.answer["question"])
    raise typer.Exit(1 if nothing else 0)


def _by_daemon(daemon: "Daemon", device: str, quiet: bool, as_json: bool) -> "Turn | None":
    """Let the daemon listen, and show each turn when it tells of it; the last one."""
    from assistant.messages import Transcript
    from assistant.push_to_talk import Turn

    last = None
    _invite(device or "its microphone")
    for said in daemon.lines("POST", "/listen", {"quiet": quiet}):
        transcript = Transcript(said["heard"], said["engine"], said["confidence"], said["ms"])
        last = Turn(transcript, None if said["kind"] == "unsure" else said, said["reply"], ends=not said["question"])
        _show(last, as_json)
        if last.question:
            _invite(device or "its microphone")
    return last


async def _converse(found: "Config", daemon: "Daemon", audio: Path | None, quiet: bool, as_json: bool) -> "Turn | None":
    """The last turn."""
    import asyncio

    from assistant.audio import WavFile
    from assistant.clock import SystemClock
    from assistant.echo import ECHO
    from assistant.errors import NoMicrophone, SilentMicrophone
    from assistant.microphone import Microphone
    from assistant.push_to_talk import PATIENCE, Attention, turns
    from assistant.stt import transcriber
    from assistant.vad import Silero

    async def ask(text: str) -> dict:
        return await asyncio.to_thread(daemon.call, "POST", "/requests", {"text": text, "channel": "voice"})

    last = None
    async with AsyncExitStack() as parts:
        # The microphone first: what is said while the engine loads waits in it.
        source = await parts.enter_async_context(WavFile(audio) if audio else Microphone(found.audio.microphone))
        hears = await parts.enter_async_context(transcriber(found))
        loading = asyncio.create_task(_load(hears), name="load the engine")
        parts.push_async_callback(_end, loading)
        voice = None if quiet else await _voice(found, parts)
        patience = inf if audio else PATIENCE
        attention = Attention(source, await asyncio.to_thread(Silero), patience)
        if not audio:
            inviting = asyncio.create_task(_invite_once(attention.began, source.device), name="invite")
            parts.callback(inviting.cancel)
        said = turns(attention, found.audio.ending, hears, ask, found.stt.confidence)
        async for last in await parts.enter_async_context(aclosing(said)):
            _show(last, as_json)
            spoken = voice and await _say(last, voice)
            attention.wait_anew(SystemClock().now() + ECHO if spoken and not audio else None)
            if last.question and not audio:
                _invite(source.device)
        if attention.ended and not audio and (last is None or last.question):
            raise NoMicrophone(f"{source.device} has ended")
        if last is None and attention.silent and not audio:
            raise SilentMicrophone(source.device)
    return last


async def _load(engine: "Transcriber") -> None:
    """While the person begins to speak. What goes wrong is told when the first utterance is to be transcribed."""
    from assistant.errors import TranscriptionError

    with suppress(TranscriptionError, OSError):
        await engine.load()


async def _end(task: "asyncio.Task") -> None:
    import asyncio

    task.cancel()
    await asyncio.wait([task])


async def _invite_once(began: "asyncio.Event", device: str) -> None:
    await began.wait()
    _invite(device)


def _invite(device: str) -> None:
    print(f"Listening to {device} ...", file=sys.stderr, flush=True)


async def _voice(found: "Config", parts: AsyncExitStack) -> "Speaker | None":
    from assistant.tts import speaker

    if found.tts.engine == "none":
        return None
    voice = await parts.enter_async_context(speaker(found))
    problem = voice.problem()
    if problem and found.tts.engine != "auto":
        print(f"Nothing is said aloud: {problem}", file=sys.stderr)
    return None if problem else voice


def _show(turn: "Turn", as_json: bool) -> None:
    if as_json:
        print_json({"transcript": asdict(turn.transcript), "answer": turn.answer, "reply": turn.reply})
        return
    if turn.transcript.text:
        print(f'"{turn.transcript.text}"')
    print(turn.reply, flush=True)


async def _say(turn: "Turn", voice: "Speaker") -> bool:
    """Whether something was said aloud."""
    from assistant import aloud
    from assistant.errors import SpeakerError

    try:
        await voice.say(turn.answer["spoken"] if turn.answer else aloud.clean(turn.reply))
    except SpeakerError:  # it was printed
        return False
    return True
