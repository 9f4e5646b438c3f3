"""The structured log: one event a line on standard error, for people (`text`) or programs (`json`).

Facts are handed over as `extra`, so that both forms show them: `log.info("rang", extra={"reminder": 3})`.
No line break or escape sequence of a request reaches the log as it is.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime

_OF_THE_RECORD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = ("apscheduler", "aiohttp", "asyncio", "apprise", "tzlocal", "dateparser")


def _facts(record: logging.LogRecord) -> dict:
    return {k: v for k, v in vars(record).items() if k not in _OF_THE_RECORD}


def _said(value: object) -> str:
    """A value on one line: a plain word as it is, anything else as a JSON string."""
    text = value if isinstance(value, str) else str(value)
    return text if re.fullmatch(r"[\w./:+-]+", text, re.ASCII) else _visible(json.dumps(text, ensure_ascii=False))


def _visible(text: str) -> str:
    """`text` without line breaks, escape sequences and what else cannot be seen."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class TextFormatter(logging.Formatter):
    """`2026-03-12T14:32:00.004+00:00 info     delivery: rang reminder=3 task="call mum"`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="milliseconds")
        name = record.name.removeprefix("assistant.")
        facts = "".join(f" {k}={_said(v)}" for k, v in _facts(record).items())
        trace = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        return f"{at} {record.levelname.lower():8} {name}: {_visible(record.getMessage())}{facts}{trace}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at`, `level`, `log`, `event`, then the facts, and `trace` for a bug."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "log": record.name,
            "event": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def start_log(level: str, form: str) -> None:
    """Send everything from `level` up to standard error; libraries only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("assistant.ring").setLevel(logging.INFO)  # a reminder is no detail
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
