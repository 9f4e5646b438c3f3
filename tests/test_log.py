"""The log: one event a line, its facts with it, for people and for programs."""

import json
import logging
import subprocess
import sys

import pytest

from assistant.log import JsonFormatter, TextFormatter


def record(message: str, **facts) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "assistant.delivery", "levelno": 20, "levelname": "INFO", "msg": message})
    vars(made).update(facts)
    return made


def test_text_has_the_event_and_its_facts():
    line = TextFormatter().format(record("rang", reminder=3, task="call mum", due="2026-03-12T14:00:00Z"))
    assert line.endswith('info     delivery: rang reminder=3 task="call mum" due=2026-03-12T14:00:00Z')


def test_json_has_the_event_and_its_facts():
    line = json.loads(JsonFormatter().format(record("rang", reminder=3, task="call mum")))
    assert line.pop("at")
    assert line == {"level": "info", "log": "assistant.delivery", "event": "rang", "reminder": 3, "task": "call mum"}


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
@pytest.mark.parametrize("said", ["a\nb", "a\r\nb", "\x1b[31m", "\x00", "a\u2028b", "\ud83d"], ids=ascii)
def test_what_a_person_said_cannot_forge_a_line(formatter, said):
    for line in (formatter.format(record(said)), formatter.format(record("rang", task=said))):
        assert len(line.splitlines()) == 1
        assert line.isprintable() and line.encode()


def test_the_ring_of_a_reminder_is_told_at_every_level():
    script = ("import logging; from assistant.log import start_log; start_log('error', 'text');"
              "logging.getLogger('assistant.app').info('detail'); logging.getLogger('assistant.ring').info('RING')")
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30).stderr
    assert "RING" in told and "detail" not in told
