"""A reminder is spoken when it rings.

In quiet hours it is not, unless it was asked for even at night, and counts as delivered: what else is in [notify] use
rings, and trying again would only wait for the morning. Where nothing else rings for a person - the log does not - it
is spoken at any hour.
"""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from assistant import aloud
from assistant.errors import DeliveryError, SpeakerError
from assistant.notifiers import Notice
from assistant.quiet import within
from assistant.sections import Tts
from assistant.voice import Speaker


class VoiceNotifier:
    """Speaks by `speaker`, before any reply that waits; `alone` where nothing else rings.

    `spoken()` is called when a reminder was said to its end: the person may answer it.
    """

    name = "voice"

    def __init__(
        self, speaker: Speaker, tts: Tts, tz: ZoneInfo, alone: bool, spoken: Callable[[], None] = lambda: None
    ) -> None:
        self._speaker, self._tts, self._tz, self._alone, self._spoken = speaker, tts, tz, alone, spoken

    async def notify(self, notice: Notice) -> None:
        if not self._alone and self._is_quiet(notice.at):
            loud = [d for d in notice.deliveries if d.even_at_night]
            if not loud:
                return
            notice = notice.only(loud)
        try:
            said = await self._speaker.say(aloud.notice(notice), first=True)
        except SpeakerError as e:
            raise DeliveryError(str(e)) from e
        if said:
            self._spoken()
        if not said and self._alone and self._speaker.muted:  # perhaps since it has begun
            raise DeliveryError("The voice is muted and nothing else rings: unmute it, or add to [notify] use.")

    def problem(self) -> str | None:
        return self._speaker.problem()

    def _is_quiet(self, at: datetime) -> bool:
        return within(at.astimezone(self._tz).time(), self._tts.quiet_from, self._tts.quiet_until)
