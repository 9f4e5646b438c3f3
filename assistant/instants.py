"""Zones and instants as people write them on a command line, in a request or in the settings."""

from datetime import datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from assistant.errors import BadInstant, BadZone, ConfigError


def read_zone(name: str) -> ZoneInfo:
    """The zone of that IANA name. Raises `BadZone` with the nearest names."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # not there, a folder, a path out of the tree
        from zoneinfo import available_timezones

        like = get_close_matches(name[:60], available_timezones(), 3, 0.5) or ["Europe/London", "UTC"]
        raise BadZone(f'"{name[:60]}" is not a time zone: try {" or ".join(like)}.') from None


def local_zone() -> ZoneInfo:
    """The system's own zone by its IANA name. Raises `ConfigError` if it has none."""
    import tzlocal

    try:
        return ZoneInfo(tzlocal.get_localzone_name())
    except (OSError, ValueError, LookupError, TypeError):
        raise ConfigError("The system's time zone is not clear: set [when] zone, e.g. to Europe/London.") from None


def read_instant(text: str, tz: ZoneInfo) -> datetime:
    """An ISO 8601 instant in `tz`; without an offset it is wall time there. Raises `BadInstant`."""
    from assistant.when import localise

    try:
        at = datetime.fromisoformat(text)
        return localise(at, tz) if at.tzinfo is None else at.astimezone(tz)
    except (ValueError, OverflowError):
        raise BadInstant(text) from None
