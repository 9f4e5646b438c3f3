"""The settings: `config.toml`, over it `.env`, over that environment variables, over those the command line.

    [http] port = 8765    ->    ASSISTANT_HTTP__PORT=8765

`load` looks for the file at `--config`, `ASSISTANT_CONFIG`, `./config.toml`, then in the user's configuration folder;
none at all is fine. A key that is not known, or a value that is not right, is a `ConfigError` that says what is.
"""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, InitSettingsSource, SettingsConfigDict

from assistant.errors import ConfigError
from assistant.sections import (
    Audio,
    Calendar,
    Data,
    Http,
    Log,
    Model,
    Mqtt,
    Notify,
    Remote,
    Ring,
    Serve,
    Stt,
    Tts,
    Wake,
    When,
    Wyoming,
)

APP = "reminder-assistant"
"""The name of the user's configuration and data folders."""
PREFIX = "ASSISTANT_"
_NO_SETTINGS = {PREFIX + name for name in ("CONFIG", "TASK", "DUE", "ID")}
"""Where the settings are; and what a program that rings finds in its environment, which may call `assistant` itself."""
BASE_URL = "API_BASE_URL"
"""A short name for `[remote] url`; empty it says nothing."""
_URL = PREFIX + "REMOTE__URL"
SHIPPED_MODEL = Path(__file__).parent.parent / "models/small"


class Config(BaseSettings):
    """All settings, each with its default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    when: When = When()
    model: Model = Model()
    http: Http = Http()
    serve: Serve = Serve()
    remote: Remote = Remote()
    audio: Audio = Audio()
    wake: Wake = Wake()
    stt: Stt = Stt()
    tts: Tts = Tts()
    mqtt: Mqtt = Mqtt()
    wyoming: Wyoming = Wyoming()
    calendar: Calendar = Calendar()
    data: Data = Data()
    ring: Ring = Ring()
    notify: Notify = Notify()
    log: Log = Log()

    @property
    def model_path(self) -> Path | None:
        """The model file or folder that the settings name, None if they leave it to the pointer (`models.py`)."""
        return Path(self.model.path).expanduser() if self.model.path else None

    @property
    def model_dir(self) -> Path:
        """The folder of the model folders."""
        return Path(self.model.dir).expanduser() if self.model.dir else SHIPPED_MODEL.parent

    @property
    def data_dir(self) -> Path:
        import platformdirs

        return Path(self.data.dir).expanduser() if self.data.dir else platformdirs.user_data_path(APP, appauthor=False)

    @property
    def keys(self) -> Path:
        """The file of the keys of the model service."""
        return Path(self.serve.keys).expanduser() if self.serve.keys else self.data_dir / "keys.json"

    @property
    def database(self) -> Path:
        return self.data_dir / "reminders.db"


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file in force, None if there is none."""
    import platformdirs

    for path, asked_by in ((explicit, "--config"), (environ.get(PREFIX + "CONFIG"), PREFIX + "CONFIG")):
        if path:
            path = Path(path).expanduser()
            if not path.is_file():
                raise ConfigError(f"There is no configuration file at {path}: correct {asked_by}.")
            return path
    usual = (Path("config.toml"), platformdirs.user_config_path(APP, appauthor=False) / "config.toml")
    return next((path for path in usual if path.is_file()), None)


def load(explicit: Path | None = None, *, environ: Mapping[str, str] | None = None, **flags: dict) -> Config:
    """The settings in force; `flags` are sections from the command line, e.g. `http={"port": 9000}`.

    Raises `ConfigError`.
    """
    variables = {**_dot_env(Path(".env")), **(os.environ if environ is None else environ)}
    if variables.get(BASE_URL) and not any(name.upper() == _URL for name in variables):
        variables[_URL] = variables[BASE_URL]
    path = find_config(explicit, variables)
    table = _read_toml(path) if path else {}
    _refuse_unknown_variables(variables)

    class Loaded(Config):
        @classmethod
        def settings_customise_sources(cls, settings_cls, init_settings, *_, **__):
            return init_settings, _Variables(settings_cls, variables), InitSettingsSource(settings_cls, table)

    try:
        return Loaded(**flags)
    except ValidationError as e:
        raise ConfigError(_source(e, path, variables) + _explain(e)) from None


class _Variables(EnvSettingsSource):
    """Settings out of environment variables and `.env`; a list may be JSON or simply `log,desktop`."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.env_vars = {k.lower(): v for k, v in variables.items()}

    def decode_complex_value(self, field_name, field, value):
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return [part.strip() for part in value.split(",")]


def _dot_env(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        return {k: v for k, v in dotenv_values(path, interpolate=False).items() if v is not None}
    except (OSError, ValueError) as e:
        raise ConfigError(f"The file {path} cannot be read: {e}.") from None


def _read_toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(f"The configuration file {path} cannot be read: {e}.") from None


def _refuse_unknown_variables(variables: Mapping[str, str]) -> None:
    sections = [*Config.model_fields]
    for name in variables:
        section = name.upper().removeprefix(PREFIX).partition("__")[0].lower()
        if name.upper().startswith(PREFIX) and section not in sections and name.upper() not in _NO_SETTINGS:
            raise ConfigError(f"{name} is not a setting: {_one_of(section, sections, 'a section', PREFIX, str.upper)}.")


def _one_of(got: str, known: list[str], what: str, prefix: str = "", case=str) -> str:
    like = get_close_matches(got, known, 1)
    guess = f"did you mean {prefix}{case(like[0])}? " if like else ""
    return f"{guess}{what} is one of {', '.join(prefix + case(k) for k in known)}"


def _source(error: ValidationError, path: Path | None, variables: Mapping[str, str]) -> str:
    """Where the first thing wrong stands, with a colon: a variable, or else the file."""
    where = [str(part) for part in error.errors()[0]["loc"] if not isinstance(part, int)]
    name = PREFIX + "__".join(where).upper()
    if any(v.upper() == name for v in variables):
        return f"In {BASE_URL if name == _URL and variables.get(_URL) == variables.get(BASE_URL) else name}: "
    return f"In {path}: " if path else ""


def _explain(error: ValidationError) -> str:
    """The first thing wrong, with the key's full name and what would be right."""
    first = error.errors()[0]
    place: type[BaseModel] | None = Config
    where = [str(part) for part in first["loc"] if not isinstance(part, int)]
    for part in where[:-1]:
        place = _kind_of(place, part)
    name, key = ".".join(where), where[-1]
    if first["type"] == "extra_forbidden":
        return f"{name} is not a setting: {_one_of(key, [*place.model_fields], 'a key here', name.removesuffix(key))}."
    kind = _kind_of(place, key)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if first["type"] == "value_error":
            return f"{name}: {first['ctx']['error']}."
        return f"{name} is a section: it takes {', '.join(kind.model_fields)}."
    field = place.model_fields[key]
    if key == "zone":
        return f"{name}: {first['ctx']['error']}"
    choices = get_args(field.annotation)
    hint = get_close_matches(str(first["input"]), [c for c in choices if isinstance(c, str)], 1)
    guess = f", did you mean {hint[0]}?" if hint else "."
    return f"{name} cannot be {str(first['input'])[:60]!r}{guess} It must be {field.description}."


def _kind_of(place: type, key: str) -> type:
    """Of what sort the value of a key is; under a section of tables with names of the person's own, such a table."""
    return get_args(place)[1] if get_origin(place) is dict else place.model_fields[key].annotation
