"""What other devices say over MQTT, and the answers to it. The topics are in `mqtt_topics.py`.

    message -> read -> may it? -> Pipeline (commit -> acknowledged -> understood) -> reply

What cannot be taken is told in one line of the log and, where there is somebody to tell, in a sentence. What cannot be
stored now stays with the broker.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from assistant import aloud, replies
from assistant.conversation import RUNG_SINCE
from assistant.errors import AssistantError, Away, BadRequest, NotFound, Refused, TooManyRequests
from assistant.http import reminder_json, reply_json
from assistant.instants import read_instant, read_zone
from assistant.messages import Reminder, Request
from assistant.mqtt import Mqtt
from assistant.mqtt_client import Message
from assistant.mqtt_hearing import Ears, SoundOfDevices
from assistant.mqtt_packets import Packet, Packets, UntilStored
from assistant.mqtt_presence import DEVICE_CHANNEL, SHARED, owner
from assistant.mqtt_replies import Address, Body, Replies, error_json
from assistant.mqtt_topics import (
    HERMES_IN,
    Acknowledgement,
    Spoken,
    acknowledgement,
    body_of,
    device_of,
    is_device,
    spoken,
)
from assistant.pipeline import Pipeline
from assistant.rate import Buckets
from assistant.sections import Mqtt as Settings

OLDEST, AHEAD = timedelta(days=1), timedelta(minutes=5)
"""Of `said_at`: a device may have been without a network for a while, and its clock is not the assistant's."""

Handle = Callable[[Message, Body, Address], Awaitable[None]]


class Devices:
    """Subscribes `mqtt` to all that devices say, and handles it. `ears` is None where nothing hears."""

    def __init__(self, mqtt: Mqtt, pipeline: Pipeline, settings: Settings, ears: Ears | None) -> None:
        self._mqtt, self._pipeline, self._may = mqtt, pipeline, frozenset(settings.may)
        self._requests, self._complaints = (Buckets(settings.requests_a_minute) for _ in range(2))
        self._replies, self._packets, self._until_stored = Replies(mqtt), Packets(pipeline.store), UntilStored()
        self._private, topics = not settings.publish_private, mqtt.topics
        sound = SoundOfDevices(self._replies, pipeline, ears, self._packets, self._until_stored)
        mqtt.on(topics.request, self._handler(self._request))
        mqtt.on(topics.ack, self._handler(self._acknowledge))
        mqtt.on(topics.listen, self._handler(sound.listen, may="listen"))
        mqtt.on(topics.mute, self._handler(sound.mute, may="mute"))
        mqtt.on(topics.audio, self._handler(sound.recording, reads=False))
        mqtt.on(topics.of("audio", "+", "+"), self._handler(sound.chunks, reads=False))
        if settings.hermes:
            mqtt.on(HERMES_IN, self._handler(self._hermes))

    def _handler(
        self, handle: Handle, *, reads: bool = True, may: str | None = None
    ) -> Callable[[Message], Awaitable[None]]:
        """`handle` with the payload read; what is wrong is told to the sender, and then to the log."""

        async def handler(message: Message) -> None:
            address = self._replies.address(message)
            try:
                body = body_of(message.payload) if reads else ""
                address = self._replies.address(message, body)
                self._let_in(message, body)
                if may:
                    self._permit(may)
                await handle(message, body, address)
            except Away:
                raise
            except AssistantError as e:
                message.taken()
                try:
                    self._complaints.take("")
                except TooManyRequests:  # a flood: neither the log nor the broker is to drown in it
                    return
                with suppress(Away):
                    await self._replies.tell(address, error_json(e))
                raise
            except Exception:
                message.taken()
                with suppress(Away):
                    await self._replies.tell(address, error_json(AssistantError("Something went wrong: see the log.")))
                raise

        return handler

    def _let_in(self, message: Message, body: Body) -> None:
        """Raises `TooManyRequests`."""
        if message.topic.endswith("/chunk"):
            return
        try:
            self._requests.take(self._replies.device(message, body) or SHARED)
        except TooManyRequests as e:
            raise TooManyRequests(e.retry_after, "This device has sent too many requests") from None

    def _permit(self, kind: str) -> None:
        """Raises `Refused`."""
        if kind not in self._may:
            raise Refused(f'Nobody may "{kind}" from here: ask in another way, or allow it in the settings.')

    # Requests

    async def _request(self, message: Message, body: Body, address: Address) -> None:
        said = spoken(body)
        to = body.get("reply_to") if isinstance(body, dict) else None
        if to is not None and not self._mqtt.topics.answerable(to):
            raise BadRequest('"reply_to" must be a topic without wildcards that is none of the assistant\'s own.')
        await self._answer(message, said, address)

    async def _hermes(self, message: Message, body: Body, address: Address) -> None:
        fields = body if isinstance(body, dict) else {}
        text, site = fields.get("text"), fields.get("siteId", "default")
        if not isinstance(text, str) or not isinstance(site, str) or not is_device(site):
            raise BadRequest('A captured text must be JSON with "text" and "siteId".')
        if text.strip():  # else nothing was heard
            await self._answer(message, Spoken(text, device=site), address)

    async def _answer(self, message: Message, said: Spoken, address: Address) -> None:
        pipeline, said_at, accepted = self._pipeline, self._said_at(said), False
        channel, packet = DEVICE_CHANNEL + said.device if said.device else SHARED, self._packets.of(message)

        def accept() -> None:
            nonlocal accepted
            accepted = True
            message.taken()

        async def attempt() -> None:
            own = f"mqtt:{said.device or ''}:{said.id}" if said.id else None
            id = own or packet.id(pipeline.clock.now())
            try:
                answer = reply_json(await pipeline.handle(Request(id, said.text, channel, said_at), accept))
            except AssistantError as e:
                if not accepted:
                    raise
                answer = error_json(e)
            await self._replies.tell(address, answer)

        await self._until_stored(message, attempt)

    def _said_at(self, said: Spoken) -> datetime:
        """Aware UTC. Raises `BadRequest`."""
        now = self._pipeline.clock.now()
        tz = read_zone(said.tz) if said.tz else self._pipeline.tz
        at = read_instant(said.said_at, tz).astimezone(UTC) if said.said_at else now
        if not now - OLDEST <= at <= now + AHEAD:
            raise BadRequest('"said_at" must lie within the last day: set the clock of the device.')
        return min(at, now)

    # Acknowledgements

    async def _acknowledge(self, message: Message, body: Body, address: Address) -> None:
        ack = acknowledgement(body)
        self._permit(ack.action)
        device, packet = device_of(body), self._packets.of(message)

        async def attempt() -> None:
            told = self._act(packet, ack, device)
            message.taken()
            await self._replies.tell(address, told)

        await self._until_stored(message, attempt)

    def _act(self, packet: Packet, ack: Acknowledgement, device: str | None) -> dict:
        """Acknowledge, once: it is kept as a request is. Raises `NotFound`, `StoreError`."""
        pipeline, store = self._pipeline, self._pipeline.store
        now, channel = pipeline.clock.now(), DEVICE_CHANNEL + device if device else SHARED
        id = packet.id(now)
        said = f"{ack.action} {ack.minutes} minutes" if ack.minutes else ack.action
        with store.transaction():
            if not store.add_request(Request(id, said, channel, now)):
                return {"reply": (before := store.request(id).reply), "spoken": before}
            number = ack.reminder if ack.reminder is not None else self._rung(now)
            changed = pipeline.done(number) if ack.action == "done" else pipeline.snooze(number, ack.minutes)
            told = self._told(ack.action, changed, device)
            store.settle_request(id, reply=told["reply"], at=now, kind=ack.action)
        return told

    def _rung(self, now: datetime) -> int:
        store = self._pipeline.store
        if (ringing := store.ringing()) is not None:  # a quick device answers before it is recorded that it was told
            return ringing
        if (rung := store.latest_rung(now - RUNG_SINCE)) is not None:
            return rung.id
        raise NotFound("Nothing has rung within the last hour: say which one by its id.")

    def _told(self, action: str, changed: Reminder, device: str | None) -> dict:
        """`device` acknowledged it: the words of another one's own are not for it. Raises `StoreError`."""
        did = "Done" if action == "done" else "OK"
        if self._private and owner(self._pipeline.store, changed.id) not in (None, device):
            hidden = reminder_json(changed) | {"task": "", "private": True}
            return {"reply": f"{did}.", "spoken": f"{did}.", "reminder": hidden}
        now = self._pipeline.clock.now().astimezone(self._pipeline.tz)
        what = replies.reminder(changed, now) if changed.due else replies.task(changed.task)
        said = f"{did}: {what}."
        return {"reply": said, "spoken": aloud.reply(said, [changed.task]), "reminder": reminder_json(changed)}
