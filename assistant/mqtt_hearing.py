"""Sound over MQTT: recordings and what is spoken in chunks, and the assistant's own microphone."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

from assistant.audio import AudioSource, WavFile
from assistant.errors import BadRequest, NotFound, TooLarge, TooManyRequests
from assistant.http_hearing import turn_json
from assistant.mqtt_client import Message
from assistant.mqtt_packets import Packets, UntilStored
from assistant.mqtt_presence import DEVICE_CHANNEL, SHARED
from assistant.mqtt_replies import Address, Body, Replies
from assistant.mqtt_sound import Chunks, Streams
from assistant.mqtt_topics import MOST_SOUND, is_device, switch
from assistant.pipeline import Pipeline
from assistant.push_to_talk import PATIENCE, Turn

MOST_LISTENING = 4
"""Conversations at the assistant's own microphone that devices have begun."""


class Ears(Protocol):
    """What is needed of `hearing.py`."""

    muted: bool

    def listen(self, quiet: bool = False) -> AbstractAsyncContextManager[AsyncIterator[Turn]]: ...

    def hear(
        self, source: AudioSource, channel: str, quiet: bool = True, id: str | None = None
    ) -> AsyncGenerator[Turn, None]: ...


class SoundOfDevices:
    """Handles messages, each method one topic's. `ears` is None where nothing hears."""

    def __init__(
        self, replies: Replies, pipeline: Pipeline, ears: Ears | None, packets: Packets, until_stored: UntilStored
    ) -> None:
        self._replies, self._pipeline, self._ears = replies, pipeline, ears
        self._packets, self._until_stored = packets, until_stored
        self._streams = Streams(lambda: Chunks(pipeline.clock))
        self._conversations: set[Address] = set()

    async def recording(self, message: Message, _: Body, address: Address) -> None:
        if (size := len(message.payload)) > MOST_SOUND:
            raise TooLarge(f"A recording has {MOST_SOUND} bytes at most, and this one {size}: send less.")
        ears, clock, packet = self._able_to_hear(), self._pipeline.clock, self._packets.of(message)

        async def attempt() -> None:
            sound = WavFile(message.payload, clock)
            await self._tell(ears.hear(sound, SHARED, id=packet.id(clock.now())), address)

        await self._until_stored(message, attempt)

    async def chunks(self, message: Message, _: Body, address: Address) -> None:
        device, what = message.topic.rsplit("/", 2)[1:]
        if not is_device(device) or what not in ("start", "chunk", "stop"):
            raise BadRequest("Sound is sent to audio/DEVICE/start, chunk and stop.")
        message.taken()  # what was half said when the assistant stopped is said again
        if what == "chunk":
            self._streams.chunk(device, message.payload)
        elif what == "stop":
            self._streams.stop(device)
        else:
            ears, chunks = self._able_to_hear(), self._streams.start(device)
            try:
                await self._tell(ears.hear(chunks, DEVICE_CHANNEL + device), address)
            finally:
                self._streams.ended(device, chunks)

    async def listen(self, message: Message, body: Body, address: Address) -> None:
        ears = self._able_to_hear()
        message.taken()  # whoever presses a button is not there any more when the assistant is started again
        if address in self._conversations:
            return
        if len(self._conversations) >= MOST_LISTENING:
            raise TooManyRequests(PATIENCE, "Too many devices have the assistant listen")
        self._conversations.add(address)
        try:
            async with ears.listen(isinstance(body, dict) and body.get("quiet") is True) as turns:
                async for turn in turns:
                    await self._replies.tell(address, turn_json(turn))
        finally:
            self._conversations.discard(address)

    async def mute(self, message: Message, body: Body, address: Address) -> None:
        self._able_to_hear().muted = switch(body)

    async def _tell(self, heard: AsyncGenerator[Turn, None], address: Address) -> None:
        async with aclosing(heard) as turns:
            async for turn in turns:
                await self._replies.tell(address, turn_json(turn))

    def _able_to_hear(self) -> Ears:
        if self._ears is None:
            raise NotFound("This assistant has no ears: send text.")
        return self._ears
