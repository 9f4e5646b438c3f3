"""The tables of config.toml: every key, its type, its default, and under it in words which values are right."""

from dataclasses import fields
from datetime import time
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from assistant.errors import BadZone
from assistant.instants import local_zone, read_zone
from assistant.when import Policy


def _clock_time(value: object) -> object:
    """`"9:00"` and TOML's own `09:00:00` are times of day; a bare number is not."""
    if isinstance(value, str) and value.count(":") == 1:
        return value.rjust(5, "0")
    if isinstance(value, time):
        return value
    raise ValueError("not a time of day")


def _confidence(value: object) -> object:
    """`"model"` or a number from 0 to 1, which a variable holds as text."""
    try:
        if value == "model" or 0 <= float(value) <= 1:
            return value
    except TypeError:
        pass
    raise ValueError("not a confidence")


TimeOfDay = Annotated[time, BeforeValidator(_clock_time)]
AskBelow = Annotated[float | Literal["model"], BeforeValidator(_confidence)]


class Section(BaseModel):
    """One table of config.toml. The docstring under a key says which values are right, here and in error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            # pydantic would read `port = true` as 1
            raise ValueError("true and false are no values here")
        return value


class When(Section):
    """What words about time mean; the fields of `when.Policy` and the zone."""

    zone: str = "local"
    """an IANA name such as "Europe/London", or "local" for the system's own zone"""
    morning: TimeOfDay = time(9)
    """a time of day such as "09:00\""""
    noon: TimeOfDay = time(12)
    """a time of day such as "12:00\""""
    afternoon: TimeOfDay = time(15)
    """a time of day such as "15:00\""""
    evening: TimeOfDay = time(18)
    """a time of day such as "18:00\""""
    tonight: TimeOfDay = time(20)
    """a time of day such as "20:00\""""
    night: TimeOfDay = time(21)
    """a time of day such as "21:00\""""
    day: TimeOfDay = time(9)
    """the time of day for a date without a time, such as "09:00\""""
    waking_from: TimeOfDay = time(7)
    """a time of day before waking_until, such as "07:00\""""
    waking_until: TimeOfDay = time(22)
    """a time of day after waking_from, such as "22:00\""""
    next_weekday: Literal["next_week", "nearest"] = "next_week"
    """"next_week" ("next friday" is the Friday of next week) or "nearest" (the next one to come)"""

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            return zone if zone == "local" else read_zone(zone).key
        except BadZone as e:
            raise ValueError(e) from None

    @model_validator(mode="after")
    def _awake(self) -> "When":
        if self.waking_from >= self.waking_until:
            raise ValueError("waking_from must be earlier than waking_until")
        return self

    @property
    def policy(self) -> Policy:
        return Policy(**{f.name: getattr(self, f.name) for f in fields(Policy)})

    @property
    def tz(self) -> ZoneInfo:
        return local_zone() if self.zone == "local" else read_zone(self.zone)


class Model(Section):
    """The rewrite model."""

    path: str = ""
    """a GGUF file or a folder that holds one; empty for the one that `assistant models` shows as in use"""
    dir: str = ""
    """a folder of model folders; empty for the program's own"""
    threads: int = Field(1, ge=1, le=64)
    """a number of threads, 1 to 64"""
    queue: int = Field(64, ge=1, le=10_000)
    """how many requests may wait, 1 to 10000"""
    ask_below: AskBelow = "model"
    """a confidence from 0 (never ask) to 1 (always ask), or "model" for what the model was calibrated to"""


class Http(Section):
    """The programming interface on this machine."""

    host: str = Field("127.0.0.1", min_length=1)
    """a name or address of this machine to listen on"""
    port: int = Field(8765, ge=0, le=65535)
    """a TCP port, 1 to 65535; 0 for any that is free"""


class Serve(Section):
    """The model service, `assistant serve`."""

    host: str = Field("127.0.0.1", min_length=1)
    """a name or address of this machine to listen on"""
    port: int = Field(8000, ge=0, le=65535)
    """a TCP port, 1 to 65535; 0 for any that is free"""
    contexts: int = Field(0, ge=0, le=256)
    """how many requests are worked on at once, 1 to 256; 0 for as many as it may use cores"""
    queue: int = Field(64, ge=1, le=10_000)
    """how many requests may wait, 1 to 10000"""
    deadline_seconds: float = Field(10, gt=0, le=600)
    """seconds that a request may take, waiting included, above 0 to 600"""
    most_texts: int = Field(32, ge=1, le=1000)
    """how many texts one request may hold, 1 to 1000"""
    keys: str = ""
    """the file of the keys that `assistant keys` makes; empty for keys.json in the data folder"""
    requests_a_minute: int = Field(600, ge=1, le=1_000_000)
    """how many texts a key may send in a minute, 1 to 1000000"""
    log_text: bool = False
    """true or false: whether the log shows what people say"""


class Elsewhere(Section):
    """A service that is not part of this program."""

    url: str = ""
    """an http or https address such as "https://reminders.example.org"; empty for none"""
    key: str = ""
    """the key that the service wants, if it wants one"""
    ca_file: str = ""
    """a file of certificates to trust, for a service with a certificate of your own; empty for the system's"""

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
            raise ValueError("not an address")
        return url.rstrip("/")


class Remote(Elsewhere):
    """The model on another machine."""

    api: Literal["predict", "openai"] = "predict"
    """"predict" (`assistant serve`) or "openai" (llama-server, vLLM and others: completions)"""
    model: str = ""
    """the name that an "openai" server knows the model by; empty for its first one"""
    order: tuple[Literal["local", "remote"], ...] = Field(("local", "remote"), min_length=1, max_length=2)
    """a list of "local" and "remote", who is asked first; or one of them alone"""
    connect_seconds: float = Field(2, gt=0, le=60)
    """seconds to get a connection in, above 0 to 60"""
    total_seconds: float = Field(5, gt=0, le=600)
    """seconds to get an answer in, above 0 to 600"""
    failures: int = Field(3, ge=1, le=100)
    """after so many failures in a row it is left alone for a while, 1 to 100"""
    pause_seconds: float = Field(30, gt=0, le=3600)
    """seconds until it is tried again then, above 0 to 3600"""

    @model_validator(mode="after")
    def _sensible(self) -> "Remote":
        if len(set(self.order)) < len(self.order):
            raise ValueError("order names one of them twice")
        if self.order == ("remote",) and not self.url:
            raise ValueError('order is "remote" alone, but url is empty')
        return self


class Audio(Section):
    """What the assistant hears with."""

    microphone: str = ""
    """a name, or a part of one, that `assistant devices` lists; empty for the system's default"""
    ending: Literal["relaxed", "default", "aggressive"] = "default"
    """how soon a pause ends what you say: "relaxed", "default" or "aggressive\""""


class Stt(Elsewhere):
    """Speech to text."""

    engine: Literal["auto", "faster-whisper", "pocketsphinx", "openai"] = "auto"
    """"auto", "faster-whisper", "pocketsphinx" or "openai" (any server that takes OpenAI's transcriptions)"""
    model: str = ""
    """a size such as "base.en" or a folder (faster-whisper), the server's name for it (openai); empty for the usual"""
    language: str = Field("en", pattern="^[a-z]{2,3}$")
    """a language code such as "en\""""
    words: tuple[str, ...] = ()
    """a list of names and words of yours that are hard to hear, such as "Zbigniew\""""
    timeout_seconds: float = Field(30, gt=0, le=600)
    """seconds that an utterance may take, above 0 to 600"""
    confidence: float = Field(0.5, ge=0, le=1)
    """below which the assistant asks whether it heard right, from 0 (never) to 1 (always)"""

    @model_validator(mode="after")
    def _complete(self) -> "Stt":
        if self.engine == "openai" and not self.url:
            raise ValueError('engine is "openai", but url is empty')
        return self


class Tts(Section):
    """The assistant's voice."""

    engine: Literal["auto", "say", "espeak-ng", "flite", "piper", "none"] = "auto"
    """"auto" (what is there), "say" (macOS), "espeak-ng", "flite", "piper" or "none\""""
    voice: str = ""
    """the engine's name for a voice, for piper the file of one; empty for its usual one"""
    quiet_from: TimeOfDay = time(22)
    """a time of day such as "22:00" from which no reminder is said aloud"""
    quiet_until: TimeOfDay = time(7)
    """a time of day such as "07:00" until which no reminder is said aloud; the same as quiet_from for never quiet"""


class Data(Section):
    """Where reminders are kept."""

    dir: str = ""
    """a folder; empty for the user's data folder"""


class Ring(Section):
    """How a reminder insists."""

    repeat_after_minutes: float = Field(5, gt=0, le=1440)
    """minutes until a reminder that nobody acknowledged rings again, above 0 to 1440"""
    repeats: int = Field(2, ge=0, le=100)
    """how often it rings again before it counts as missed, 0 to 100"""
    snooze_minutes: int = Field(10, ge=1, le=1440)
    """minutes of a snooze for which no time was said, 1 to 1440"""
    late_after_seconds: float = Field(60, ge=1, le=86400)
    """seconds after which a reminder is marked as late, 1 to 86400"""


class Command(Section):
    """A program of the person's own."""

    argv: tuple[str, ...] = ()
    """a list of a program and its arguments"""


class Apprise(Section):
    """Phone, mail and many services by URL."""

    urls: tuple[str, ...] = ()
    """a list of Apprise URLs"""


class Notify(Section):
    """By what a reminder rings."""

    use: tuple[Literal["log", "desktop", "voice", "command", "apprise"], ...] = Field(("log", "desktop"), min_length=1)
    """a list of "log", "desktop", "voice", "command" and "apprise\""""
    timeout_seconds: float = Field(20, gt=0, le=600)
    """seconds that one of them may take, above 0 to 600"""
    tries: int = Field(8, ge=1, le=100)
    """how often one that fails is tried, 1 to 100"""
    first_retry_seconds: float = Field(5, gt=0, le=3600)
    """seconds until the second try, above 0 to 3600; it doubles from then on"""
    longest_retry_minutes: float = Field(10, gt=0, le=1440)
    """minutes between two tries at the most, above 0 to 1440"""
    command: Command = Command()
    apprise: Apprise = Apprise()

    @model_validator(mode="after")
    def _complete(self) -> "Notify":
        if "command" in self.use and not self.command.argv:
            raise ValueError('use names "command", but [notify.command] argv is empty')
        if "apprise" in self.use and not self.apprise.urls:
            raise ValueError('use names "apprise", but [notify.apprise] urls is empty')
        return self


class Log(Section):
    """What the daemon tells about its work, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """"debug", "info", "warning" or "error\""""
    format: Literal["text", "json"] = "text"
    """"text" (for people) or "json" (an object a line)"""
