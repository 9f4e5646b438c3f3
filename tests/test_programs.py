"""Other programs end with the assistant, however it ends."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.process import ROOT
from tests.test_notifiers import script

ASSISTANT = """
import asyncio, logging, sys
from assistant.errors import SpeakerError
from assistant.lifecycle import stop_on_signals
from assistant.programs import run

async def main():
    stop_on_signals(float(sys.argv[1]), "")
    await run([sys.argv[2]], error=SpeakerError)

logging.basicConfig(level="INFO")
asyncio.run(main())
"""
DEAF = """
import signal
for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(sign, signal.SIG_IGN)
held = os.open({fifo!r}, os.O_WRONLY)
os.set_inheritable(held, True)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
os.write(held, str(os.getpid()).encode())
time.sleep(600)"""
"""It speaks on, and so does the program that it has started."""


def read(reader: int, seconds: float) -> bytes | None:
    """What comes through a pipe: b"" when nobody holds its other end any more, None if nothing comes in that time."""
    return os.read(reader, 100) if select.select([reader], [], [], seconds)[0] else None


@pytest.mark.parametrize(
    ("patience", "signals", "status"),
    [
        pytest.param(60, [signal.SIGINT, signal.SIGINT], 130, id="at a second interrupt"),
        pytest.param(0.1, [signal.SIGTERM], 0, id="at the end of its patience"),
    ],
)
def test_what_speaks_is_silent_when_the_assistant_ends_without_waiting(tmp_path, patience, signals, status):
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    voice = script(tmp_path / "voice", DEAF.format(fifo=str(fifo)))
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    command = [sys.executable, "-c", ASSISTANT, str(patience), str(voice)]
    writer = os.open(fifo, os.O_WRONLY)  # until the voice has it: without one a pipe is at its end
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as assistant:
        speaking = int(read(reader, 60))
        os.close(writer)
        try:
            assistant.send_signal(signals[0])
            assert "stopping" in assistant.stderr.readline()
            for again in signals[1:]:
                assistant.send_signal(again)
            assert assistant.wait(60) == status
            assert read(reader, 60) == b""
        finally:
            assistant.kill()
            with suppress(ProcessLookupError):
                os.killpg(speaking, signal.SIGKILL)
    os.close(reader)
