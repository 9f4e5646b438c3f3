"""A real Radicale on a free port, which keeps what it holds and can be killed and started again on the same one; and
a calendar program of somebody else's, which speaks to it with http.client and vobject.
"""

import http.client
import subprocess
import sys
import threading
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import unquote
from xml.etree import ElementTree

import vobject
from dateutil import tz

from tests.mosquitto import free_port

USER, PASSWORD = "ann", "open sésame"
CONFIG = """
[server]
hosts = 127.0.0.1:{port}
[auth]
type = htpasswd
htpasswd_filename = {folder}/users
htpasswd_encryption = plain
delay = 0
[storage]
filesystem_folder = {folder}/store
[logging]
level = warning
"""


class Radicale:
    """A context manager; leaving kills what still runs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.port, self._config = free_port(), folder / "config"
        self._config.write_text(CONFIG.format(port=self.port, folder=folder))
        (folder / "users").write_text(f"{USER}:{PASSWORD}\n", "utf-8")
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> "Radicale":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "radicale", "--config", self._config], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
        self._reader = threading.Thread(target=self.lines.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        until = monotonic() + 20
        while monotonic() < until and self.process.poll() is None:
            try:
                http.client.HTTPConnection("127.0.0.1", self.port, timeout=1).connect()
                return self
            except OSError:
                sleep(0.02)
        raise AssertionError("Radicale did not start: " + "".join(self.lines[-5:]))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)
        self._reader.join(20)
        self.process.stderr.close()

    def __enter__(self) -> "Radicale":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


class CalendarProgram:
    """What a phone does with the calendar at `path`; what it writes it writes with the time of `now()`."""

    def __init__(self, port: int, path: str = f"/{USER}/reminders/", now=lambda: datetime.now(UTC)) -> None:
        self.port, self.path, self._now = port, path, now

    def call(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, bytes, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        try:
            connection.request(method, path, body.encode(), {"Authorization": f"Basic {login}", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.headers)
        finally:
            connection.close()

    def objects(self) -> dict[str, str]:
        """Path -> text of all that is in the calendar."""
        body = ('<c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><c:calendar-data/>'
                '</d:prop><c:filter><c:comp-filter name="VCALENDAR"/></c:filter></c:calendar-query>')
        status, answer, _ = self.call("REPORT", self.path, body, Depth="1")
        if status == 404:
            return {}
        assert status == 207, answer
        return {
            unquote(r.findtext("{DAV:}href")): r.findtext(".//{urn:ietf:params:xml:ns:caldav}calendar-data")
            for r in ElementTree.fromstring(answer).iter("{DAV:}response")
        }

    def components(self) -> dict[str, vobject.base.Component]:
        """Path -> its first event or to-do, as vobject reads it."""
        return {path: main(vobject.readOne(text)) for path, text in self.objects().items()}

    def find(self, summary: str) -> tuple[str, vobject.base.Component]:
        found = [(path, vobject.readOne(text)) for path, text in self.objects().items()]
        [(path, calendar)] = [(p, c) for p, c in found if main(c).summary.value == summary]
        return path, calendar

    def put(self, path: str, calendar: vobject.base.Component, change: bool = True) -> None:
        component = main(calendar)
        if change:
            for name in ("last-modified", "dtstamp"):
                component.contents.pop(name, None)
            for name in ("last-modified", "dtstamp"):
                component.add(name).value = _value(self._now().replace(microsecond=0))
        status, answer, _ = self.call("PUT", path, calendar.serialize(), **{"Content-Type": "text/calendar"})
        assert status in (201, 204), answer

    def edit(self, named: str, /, **new: object) -> None:
        """Give properties new values, as `edit("milk", summary="butter")`; None takes one away."""
        path, calendar = self.find(named)
        self.change(path, calendar, **new)

    def change(self, path: str, calendar: vobject.base.Component, **new: object) -> None:
        component = main(calendar)
        for name, value in new.items():
            component.contents.pop(name, None)
            if value is not None:
                component.add(name).value = _value(value)
        self.put(path, calendar)

    def add(self, uid: str, kind: str, **properties: object) -> str:
        calendar = vobject.iCalendar()
        component = calendar.add("vevent" if kind == "event" else "vtodo")
        component.add("uid").value = uid
        for name, value in properties.items():
            component.add(name).value = _value(value)
        self.put(path := f"{self.path}{uid}.ics", calendar)
        return path

    def delete(self, summary: str) -> None:
        assert self.call("DELETE", self.find(summary)[0])[0] == 200


def _value(value: object) -> object:
    """vobject writes no zones but its own UTC and dateutil's."""
    if isinstance(value, list):
        return [_value(v) for v in value]
    if not isinstance(value, datetime) or value.tzinfo is None:
        return value
    key = getattr(value.tzinfo, "key", "UTC")
    return value.astimezone(vobject.icalendar.utc if key == "UTC" else tz.gettz(key))


def main(calendar: vobject.base.Component) -> vobject.base.Component:
    kinds = [*calendar.contents.get("vevent", ()), *calendar.contents.get("vtodo", ())]
    return next(c for c in kinds if "recurrence-id" not in c.contents)
