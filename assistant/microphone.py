"""The microphone, and a supervisor that keeps it open whatever happens to it.

    capture (a process) -> Microphone -> SteadyMicrophone -> blocks

A laptop's lid closes, a headset comes and goes, a permission is missing, a sound server starts again: in other
assistants that is when they go deaf without a word.
"""

import asyncio
import json
import logging
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy

from assistant.audio import BLOCK_BYTES, RATE, AudioSource, Block, Blocks
from assistant.capture import HEADER
from assistant.coreaudio import default_input
from assistant.errors import AudioError, NoMicrophone, NoPortAudio, SilentMicrophone
from assistant.resample import Resampler, to_pcm

log = logging.getLogger(__name__)

OPEN_SECONDS = 15.0
"""Within so many a microphone must be open; a Bluetooth headset takes two or three."""
END_SECONDS = 1.0
"""Within so many the process that hears ends by itself, or is killed."""
FIRST_SECONDS, STALL_SECONDS = 6.0, 3.0
"""Without a block for so long a microphone delivers nothing: the first one (PulseAudio's may take two), and others."""
SILENT_BLOCKS = 30 * RATE * 2 // BLOCK_BYTES
"""After so many blocks of zeros, half a minute, a microphone is silent. No real one is: it hears its own noise."""
SILENT_MOST = 16
"""A silent one is opened again after that time, then after twice as much, up to so many times of it: eight minutes."""
GOOD_BLOCKS = 3 * RATE * 2 // BLOCK_BYTES
"""After so many blocks, three seconds, a microphone is well; also how often it is asked which one is the default."""
PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a microphone is opened: the first if it was well until now, then the others, the last for ever."""
ZEROS = bytes(BLOCK_BYTES)


class Opened(AudioSource, Protocol):
    """A source that is a device."""

    device: str
    """Its name, once it is open."""
    drops: int
    """Blocks that were dropped because they were not asked for in time."""
    xruns: int
    """Times that the device lost some sound because the machine was too busy."""


class Microphone:
    """The microphone that a name, or a part of one, means; "" is the system's default. See `AudioSource`.

    What nobody asks for is kept for ten seconds and more, then the oldest is dropped. It ends when its device does.
    Entering raises `NoMicrophone`.
    """

    def __init__(self, device: str = "") -> None:
        self.device = device
        self.drops = self.xruns = 0

    async def __aenter__(self) -> Self:
        command = [sys.executable, "-P", "-m", "assistant.capture", self.device]
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, start_new_session=True)
        except OSError as e:  # out of memory, of processes, of open files: not for ever
            raise NoMicrophone(f"no process can be started: {(e.strerror or str(e)).lower()}") from None
        try:
            self._opened(await self._first_line())
        except BaseException:
            await self._end()
            raise
        return self

    async def _first_line(self) -> dict:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                return json.loads(await self._process.stdout.readline())
        except TimeoutError:
            raise NoMicrophone(f"it did not open within {OPEN_SECONDS:.0f} seconds") from None
        except ValueError:
            raise NoMicrophone("the process that hears has ended") from None

    def _opened(self, told: dict) -> None:
        if code := told.get("code"):
            raise NoPortAudio if code == NoPortAudio.code else NoMicrophone(told["detail"])
        self.device, self._channels = told["device"], told["channels"]
        self._frame = HEADER.size + 2 * self._channels * told["samples"]
        self._resampler = None
        if told["rate"] != RATE or self._channels > 1:
            self._resampler = Resampler(told["rate"], RATE)
        self._cutter, self._blocks = Blocks(), deque[Block]()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        """The process ends when its input does. One that does not is killed; one that hangs in its driver the system
        ends when that lets go."""
        self._process.stdin.close()
        for last in (self._process.kill, None):
            try:
                async with asyncio.timeout(END_SECONDS):
                    while await self._process.stdout.read(65_536):  # asyncio waits for the end of its pipe as well
                        pass
                    await self._process.wait()
                return
            except TimeoutError:
                if last:
                    with suppress(ProcessLookupError):
                        last()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Block:
        while not self._blocks:
            try:
                frame = await self._process.stdout.readexactly(self._frame)
            except asyncio.IncompleteReadError:
                raise StopAsyncIteration from None
            until, self.xruns, self.drops = HEADER.unpack_from(frame)
            self._blocks.extend(self._cutter.cut(self._pcm(frame[HEADER.size :]), datetime.fromtimestamp(until, UTC)))
        return self._blocks.popleft()

    def _pcm(self, samples: bytes) -> bytes:
        """As the device has them, in 16,000 a second of one channel."""
        if not self._resampler:
            return samples
        channels = numpy.frombuffer(samples, "<i2").reshape(-1, self._channels)
        return to_pcm(self._resampler.take(channels.mean(axis=1, dtype=numpy.float32) / 32768))


State = Literal["listening", "silent", "missing", "reopening"]


class SteadyMicrophone:
    """A microphone that is opened again when it ends, errs, delivers nothing for 3 s or zeros for 30 s, and when the
    system's default becomes another one.

    It never ends and never raises an `AudioError`: as long as there is no microphone there are no blocks. What is wrong
    is told to the log once, and once that it is over. It opens the microphone, and watches it, while somebody waits for
    a block. `open` makes a source of a device's name; `default` names the system's default, as far as it is known;
    `timeout` is that of asyncio.
    """

    def __init__(
        self, device: str = "", *, open: Callable[[str], Opened] = Microphone,
        default: Callable[[], object] = default_input, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timeout: Callable[[float], AbstractAsyncContextManager] = asyncio.timeout,
    ) -> None:  # fmt: skip
        self._wanted, self._open, self._default, self._sleep, self._timeout = device, open, default, sleep, timeout
        self._source: Opened | None = None
        self.device = device
        """Its name, once it was open; before, what was asked for."""
        self.state: State = "reopening"
        self.says = "The microphone is being opened."
        """The state as a sentence for a person."""
        self.fault: AudioError | None = None
        """Why it is missing."""
        self.blocks = 0
        """Blocks that it delivered."""
        self._opens = self._drops = self._xruns = 0
        self._tries = self._good = self._zeros = 0
        """Since it was last well: how often it was opened; blocks since it was opened, and of them zeros in a row."""
        self._silent_blocks = SILENT_BLOCKS
        self._told: set[State] = set()
        """What is wrong and was told to the log."""

    @property
    def sound(self) -> bool:
        """Whether more than zeros has come from it since it was opened."""
        return self._zeros < self._good

    @property
    def reopened(self) -> int:
        """How often it was opened again."""
        return max(0, self._opens - 1)

    @property
    def drops(self) -> int:
        """Blocks that were dropped because they were not asked for in time."""
        return self._drops + (self._source.drops if self._source else 0)

    @property
    def xruns(self) -> int:
        """Times that the device lost some sound because the machine was too busy."""
        return self._xruns + (self._source.xruns if self._source else 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Block:
        while True:
            if not self._source:
                await self._open_again()
            elif trouble := self._trouble():
                await self._close()
                self._is(*trouble)
            else:
                try:
                    async with self._timeout(STALL_SECONDS if self._good else FIRST_SECONDS):
                        block = await anext(self._source)
                except TimeoutError:
                    wrong = f"The microphone {self.device} delivers nothing: it is opened again."
                except StopAsyncIteration:
                    wrong = f"The microphone {self.device} has ended: it is opened again."
                except AudioError as e:
                    wrong = str(e)
                else:
                    self._heard(block)
                    return block
                await self._close()
                self._is("reopening", wrong)

    async def _open_again(self) -> None:
        while True:
            if pause := PAUSES[min(self._tries, len(PAUSES) - 1)]:
                await self._sleep(pause)
            self._tries += 1
            source = self._open(self._wanted)
            self._default_then = self._default()
            try:
                await source.__aenter__()
            except AudioError as e:
                self.fault = e
                self._is("missing", str(e))
            else:
                break
        self._source, self.device, self.fault = source, source.device, None
        self._good = self._zeros = 0
        self._opens += 1

    async def _close(self) -> None:
        if source := self._source:
            self._source, self._drops, self._xruns = None, self.drops, self.xruns
            await source.__aexit__(None, None, None)

    def _heard(self, block: Block) -> None:
        self.blocks += 1
        self._good += 1
        self._zeros = self._zeros + 1 if block.pcm == ZEROS else 0
        if not self._zeros:
            self._silent_blocks = SILENT_BLOCKS
        if self.state != "listening" and (self.state != "silent" or not self._zeros):
            self.state, self.says = "listening", f"Listening to {self.device}."
        if self._good >= GOOD_BLOCKS and self.state == "listening":
            self._tries = 0
            if self._told:
                self._told.clear()
                log.info("the microphone is well again", extra={"device": self.device})

    def _trouble(self) -> tuple[State, str, int] | None:
        """Why a microphone that delivers blocks is to be opened again: its state then, and how grave that is."""
        if self._zeros >= self._silent_blocks:
            self._silent_blocks = min(2 * self._silent_blocks, SILENT_MOST * SILENT_BLOCKS)
            return "silent", str(SilentMicrophone(self.device)), logging.WARNING
        if not self._wanted and self._good % GOOD_BLOCKS == 0 and self._default() != self._default_then:
            return "reopening", "Another microphone has become the system's default: it is opened.", logging.INFO
        return None

    def _is(self, state: State, says: str, level: int = logging.WARNING) -> None:
        """It is not well; a silent one stays silent while it is opened again."""
        if state == "reopening" and self.state == "silent":
            return
        self.state, self.says = state, says
        if state not in self._told:
            self._told.add(state)
            log.log(level, "%s", says, extra={"state": state})


async def measure(source: Opened, seconds: float, tell: Callable[[float], None] = lambda level: None) -> float:
    """The level of the loudest block of so many seconds, in dB relative to full scale; `tell` hears that of each.

    Raises `NoMicrophone` if it delivers nothing, `SilentMicrophone` if nothing but zeros.
    """
    from assistant.endpointing import QUIETEST
    from assistant.vad import level

    levels = []
    try:
        for _ in range(round(seconds * RATE * 2 / BLOCK_BYTES)):
            async with asyncio.timeout(STALL_SECONDS if levels else FIRST_SECONDS):
                block = await anext(source)
            levels.append(QUIETEST if block.pcm == ZEROS else level(block.pcm))
            tell(levels[-1])
    except (TimeoutError, StopAsyncIteration):
        raise NoMicrophone(f"{source.device} delivers nothing") from None
    if max(levels) == QUIETEST:
        raise SilentMicrophone(source.device)
    return max(levels)
