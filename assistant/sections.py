"""The tables of config.toml: every key, its type, its default, and under it in words which values are right."""

from dataclasses import fields
from datetime import time
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from assistant.errors import BadZone
from assistant.instants import local_zone, read_zone
from assistant.listen import is_here
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
    """The page and the programming interface."""

    host: str = Field("127.0.0.1", min_length=1)
    """a name or address of this machine to listen on"""
    port: int = Field(8765, ge=0, le=65535)
    """a TCP port, 1 to 65535; 0 for any that is free"""
    names: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")], ...] = ()
    """a list of names by which other machines reach it, such as ["laptop.local"], without ports"""

    @property
    def needs_login(self) -> bool:
        """Whether other machines may reach it, by themselves or through a proxy here: whoever comes needs the token."""
        return bool(self.names) or not is_here(self.host)


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

    schemes: ClassVar[tuple[str, ...]] = ("http", "https")
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
        if url and (parts.scheme not in cls.schemes or not parts.hostname or parts.query or parts.fragment):
            raise ValueError("not an address")
        if parts.scheme == "tcp" and not parts.port:  # there is no usual one
            raise ValueError("no port")
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
    keep: bool = False
    """true or false: whether what became a request is kept as sound"""


class Wake(Section):
    """When the daemon listens by itself."""

    mode: Literal["push", "word", "always"] = "push"
    """"push" (when it is told to), "word" (after the wake word) or "always\""""
    word: str = Field("okay_nabu", min_length=1)
    """the name of a wake word such as "okay_nabu", or the .tflite file of a model"""
    window_seconds: float = Field(8, ge=2, le=60)
    """seconds in which what you say is meant for the assistant, 2 to 60"""
    chime: bool = True
    """true or false: whether a chime says that the wake word was heard"""


class Stt(Elsewhere):
    """Speech to text."""

    schemes: ClassVar[tuple[str, ...]] = ("http", "https", "tcp")
    engine: Literal["auto", "faster-whisper", "pocketsphinx", "openai", "wyoming"] = "auto"
    """"auto", "faster-whisper", "pocketsphinx", "openai" (a server that takes OpenAI's transcriptions) or "wyoming\""""
    url: str = ""
    """an http or https address such as "http://localhost:8080" (openai), or "tcp://localhost:10300" (wyoming)"""
    model: str = ""
    """a size such as "base.en" or a folder (faster-whisper), the server's name for it (others); empty for the usual"""
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
        if self.engine in ("openai", "wyoming") and not self.url:
            raise ValueError(f'engine is "{self.engine}", but url is empty')
        if self.url and (self.engine == "wyoming") != self.url.startswith("tcp:"):
            raise ValueError('url begins with "tcp://" if engine is "wyoming", and only then')
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


class Wyoming(Section):
    """A conversation agent for Home Assistant."""

    enabled: bool = False
    """true or false: whether Home Assistant may talk to the assistant"""
    host: str = Field("127.0.0.1", min_length=1)
    """a name or address of this machine to listen on"""
    port: int = Field(10400, ge=0, le=65535)
    """a TCP port, 1 to 65535; 0 for any that is free"""
    zeroconf: bool = True
    """true or false: whether other machines find it by themselves, where they may reach it"""


class Mqtt(Section):
    """Other devices, by way of an MQTT broker."""

    enabled: bool = False
    """true or false: whether other devices may ask, and are told, over MQTT"""
    url: str = "mqtt://localhost:1883"
    """the broker, such as "mqtt://192.168.1.5:1883"; mqtts:// for TLS"""
    user: str = ""
    """a user that the broker knows; empty where it asks for none"""
    password: str = ""
    """the password of that user"""
    version: Literal["auto", "5", "3.1.1"] = "auto"
    """"5", "3.1.1" or "auto" (5, or 3.1.1 if the broker does not know that)"""
    ca_file: str = ""
    """a file of certificates to trust, for a broker with a certificate of your own; empty for the system's"""
    client_id: str = Field("", max_length=100)
    """a name of up to 100 characters that no other client of the broker has; empty for one that is made up once"""
    prefix: str = Field("assistant", pattern=r"^[\w.-]{1,40}(/[\w.-]{1,40}){0,3}$")
    """the beginning of all topics, such as "assistant\""""
    site: str = Field("home", pattern=r"^[\w.-]{1,40}$")
    """the part of all topics after the prefix, such as "home\""""
    may: tuple[Literal["create", "list", "cancel", "snooze", "move", "done", "listen", "mute"], ...] = (
        "create", "list", "cancel", "snooze", "move", "done", "listen", "mute")  # fmt: skip
    """a list of "create", "list", "cancel", "snooze", "move", "done", "listen" and "mute\""""
    requests_a_minute: int = Field(3000, ge=1, le=1_000_000)
    """how many requests a device may send in a minute, 1 to 1000000"""
    publish_private: bool = False
    """true or false: whether all devices are told the words of what a named one asked for"""
    hermes: bool = False
    """true or false: whether Rhasspy's satellites are heard and answered"""
    home_assistant: bool = True
    """true or false: whether Home Assistant finds the assistant at the broker by itself"""
    discovery_prefix: str = Field("homeassistant", pattern=r"^[\w.-]{1,40}(/[\w.-]{1,40}){0,3}$")
    """the beginning of the topics that Home Assistant looks for devices at, such as "homeassistant\""""
    broker: Literal["none", "embedded"] = "none"
    """"none" (it runs elsewhere, at url) or "embedded" (a small one inside the assistant)"""
    broker_host: str = Field("127.0.0.1", min_length=1)
    """a name or address of this machine on which the embedded broker listens"""
    broker_port: int = Field(1883, ge=1, le=65535)
    """the embedded broker's TCP port, 1 to 65535"""

    @field_validator("url")
    @classmethod
    def _broker(cls, url: str) -> str:
        parts = urlsplit(url)
        try:
            good = parts.scheme in ("mqtt", "mqtts") and parts.hostname and parts.port != 0 and parts.path in ("", "/")
        except ValueError:  # a port that is none
            good = False
        if not good or parts.query or parts.fragment or parts.username is not None:
            raise ValueError("not a broker")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _reachable(self) -> "Mqtt":
        if self.broker == "embedded":
            url = urlsplit(self.url)
            if self.version == "5":
                raise ValueError('the embedded broker speaks MQTT 3.1.1: set version to "auto"')
            if url.scheme != "mqtt" or (url.port or 1883) != self.broker_port:
                raise ValueError(f'broker is "embedded": url must be "mqtt://localhost:{self.broker_port}", or '
                                 "broker_port that of url")
            if not is_here(self.broker_host) and not (self.user and self.password):
                raise ValueError(
                    f"the embedded broker on {self.broker_host} could be reached by other machines: set user and "
                    'password, or broker_host to "127.0.0.1"')
            if bool(self.user) != bool(self.password):
                raise ValueError("the embedded broker wants both user and password, or neither")
        return self


class Calendar(Section):
    """Reminders in calendars."""

    lead_minutes: int = Field(15, ge=0, le=10_080)
    """minutes before an event at which it rings, 0 (only when it begins) to 10080"""
    host: str = ""
    """a name or address of this machine at which other machines may subscribe; empty for none"""
    port: int = Field(8766, ge=0, le=65535)
    """a TCP port for those, 1 to 65535; 0 for any that is free"""
    url: str = ""
    """the CalDAV address of a server or a calendar, such as "https://caldav.icloud.com"; empty for none"""
    user: str = ""
    """a user that the server knows; empty where it asks for none"""
    password: str = ""
    """the password of that user"""
    name: str = Field("Reminders", pattern=r"^\S(.{0,78}\S)?$")
    """the name of the calendar, 1 to 80 characters; it is made if there is none"""
    own: bool = False
    """true or false: whether all in that calendar is the assistant's, though the assistant did not make it"""
    every_seconds: float = Field(300, ge=10, le=86400)
    """seconds between two looks at what has changed there, 10 to 86400"""
    ca_file: str = ""
    """a file of certificates to trust, for a server with a certificate of your own; empty for the system's"""

    @field_validator("url")
    @classmethod
    def _server(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is none
            good = False
        if url and (not good or parts.query or parts.fragment or parts.username is not None):
            raise ValueError("not an address")
        return url


class Data(Section):
    """Where reminders are kept."""

    dir: str = ""
    """a folder; empty for the user's data folder"""


class RingChannel(Section):
    """How a reminder insists that was asked for on one channel."""

    repeat_after_minutes: float = Field(5, gt=0, le=1440)
    """minutes until it rings again, above 0 to 1440"""
    repeats: int = Field(2, ge=0, le=100)
    """how often it rings again before it counts as missed, 0 to 100"""


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
    quiet_from: TimeOfDay = time(0)
    """a time of day such as "22:00" from which nothing makes a sound"""
    quiet_until: TimeOfDay = time(0)
    """a time of day such as "07:00" until which nothing makes a sound; the same as quiet_from for never quiet"""
    escalate: tuple[tuple[Literal["log", "desktop", "voice", "command", "apprise", "ntfy", "mqtt"], ...], ...] = ()
    """a list of steps of notifiers such as [["desktop"], ["voice"], ["ntfy"]]; empty for all at once"""
    channels: dict[str, RingChannel] = {}  # noqa: RUF012 - pydantic copies it
    """tables such as [ring.channels.voice], with repeat_after_minutes and repeats"""

    @model_validator(mode="after")
    def _goes_all_the_way(self) -> "Ring":
        fewest = min([self.repeats, *(c.repeats for c in self.channels.values())])
        if len(self.escalate) > fewest + 1:
            raise ValueError(
                f"escalate has {len(self.escalate)} steps, so repeats must be at least {len(self.escalate) - 1}")
        return self


class Command(Section):
    """A program of the person's own."""

    argv: tuple[str, ...] = ()
    """a list of a program and its arguments"""


class Apprise(Section):
    """Phone, mail and many services by URL."""

    urls: tuple[str, ...] = ()
    """a list of Apprise URLs"""


class NtfyPhone(Section):
    """The phone, by way of an ntfy server."""

    url: str = "https://ntfy.sh"
    """an http or https address such as "https://ntfy.sh\""""
    topic: str = Field("", pattern=r"^[-_A-Za-z0-9]{0,64}$")
    """up to 64 letters, digits, - and _ that nobody guesses"""
    token: str = ""
    """an access token of that server; empty where it asks for none"""
    priority: int = Field(4, ge=1, le=5)
    """1 (lowest) to 5 (highest)"""
    ahead_hours: float = Field(12, ge=0, le=71)
    """hours for which reminders are handed over ahead of their time, 0 (never) to 71"""
    callback_url: str = ""
    """an http or https address at which the phone reaches callback_host and callback_port; empty for no buttons"""
    callback_host: str = Field("127.0.0.1", min_length=1)
    """a name or address of this machine on which the buttons are answered"""
    callback_port: int = Field(8767, ge=0, le=65535)
    """the TCP port on which the buttons are answered, 1 to 65535; 0 for any that is free"""

    @field_validator("url", "callback_url")
    @classmethod
    def _address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is none
            good = False
        if url and (not good or parts.query or parts.fragment or parts.username is not None):
            raise ValueError("not an address")
        return url.rstrip("/")


class Notify(Section):
    """By what a reminder rings."""

    use: tuple[Literal["log", "desktop", "voice", "command", "apprise", "ntfy"], ...] = Field(
        ("log", "desktop"), min_length=1)  # fmt: skip
    """a list of "log", "desktop", "voice", "command", "apprise" and "ntfy\""""
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
    ntfy: NtfyPhone = NtfyPhone()

    @model_validator(mode="after")
    def _complete(self) -> "Notify":
        if "command" in self.use and not self.command.argv:
            raise ValueError('use names "command", but [notify.command] argv is empty')
        if "apprise" in self.use and not self.apprise.urls:
            raise ValueError('use names "apprise", but [notify.apprise] urls is empty')
        if "ntfy" in self.use and not (self.ntfy.topic and self.ntfy.url):
            raise ValueError('use names "ntfy", but [notify.ntfy] topic or url is empty')
        return self


class Log(Section):
    """What the daemon tells about its work, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """"debug", "info", "warning" or "error\""""
    format: Literal["text", "json"] = "text"
    """"text" (for people) or "json" (an object a line)"""
