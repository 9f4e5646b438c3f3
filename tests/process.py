"""The real daemon as a process, for tests, soak and bench."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parent.parent
ASSISTANT = [sys.executable, "-m", "assistant"]


class Daemon:
    """`assistant run` on a data folder and a free port. A context manager; leaving kills what still runs."""

    command = "run"

    def __init__(
        self, data: Path, env: dict[str, str] | None = None, prefix: tuple[str, ...] = (), options: tuple[str, ...] = ()
    ) -> None:
        self.data = data
        self._env = (
            {k: v for k, v in os.environ.items() if not k.startswith("ASSISTANT_")}
            | {"ASSISTANT_NOTIFY__USE": "log", "TZ": "Europe/London"}
            | (env or {})
        )
        self._command = [*prefix, *ASSISTANT, self.command, "--data", str(data), "--port", "0", *options]
        self.lines: list[str] = []
        """All that it has written to its log."""
        self._news: queue.Queue[str | None] = queue.Queue()
        self.process: subprocess.Popen | None = None

    def start(self) -> "Daemon":
        """Starts it without waiting."""
        self.process = subprocess.Popen(
            self._command,
            cwd=self.data,
            env=self._env,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        return self

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stderr:
            self.lines.append(line.rstrip("\n"))
            self._news.put(line)
        self._news.put(None)

    def wait_for(self, pattern: str, seconds: float = 30) -> re.Match:
        """The first match in a new line of the log. Raises AssertionError after `seconds`, or when it has ended."""
        until = monotonic() + seconds
        while (left := until - monotonic()) > 0:
            try:
                line = self._news.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                raise AssertionError(f"the daemon ended ({self.process.wait()}): " + "\n".join(self.lines[-15:]))
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"nothing like {pattern!r} within {seconds} s: " + "\n".join(self.lines[-15:]))

    def ready(self, seconds: float = 30) -> "Daemon":
        self.url = self.wait_for(r"ready: (http://\S+)", seconds)[1]
        return self

    def __enter__(self) -> "Daemon":
        return self.start().ready()

    def __exit__(self, *exc: object) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, sign: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Tells it to stop; its exit status."""
        self.process.send_signal(sign)
        return self.process.wait(seconds)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict | None = None,
        seconds: float = 20,
    ) -> tuple[int, dict]:
        """Status and JSON of an HTTP call. Raises OSError when nobody answers."""
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"} | (headers or {}), method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())

    def say(self, text: str, **more: str) -> dict:
        return self.call("POST", "/requests", {"text": text, **more})[1]


class Service(Daemon):
    """`assistant serve`, the model service, likewise."""

    command = "serve"
