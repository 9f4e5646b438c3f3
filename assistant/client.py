"""How the commands speak to the running daemon: its HTTP interface, through the standard library for a fast start."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

from assistant.errors import AssistantError, NotRunning, kind_of
from assistant.words import fold

if TYPE_CHECKING:
    from assistant.config import Config


class Answered(AssistantError):
    """The daemon's own error, told on with the exit status of its code."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.exit_status = code, kind_of(code).exit_status
        super().__init__(message)


class NoDaemon(NotRunning):
    def __init__(self, address: str) -> None:
        super().__init__(f"No assistant answers at {address}: start it with `assistant run` (or scripts/start).")


def is_number(words: str) -> bool:
    """Whether a reminder is named by its number."""
    return words.isascii() and words.isdecimal()


def _unless_error(answer: dict) -> dict:
    if error := answer.get("error"):
        raise Answered(error["code"], error["message"])
    return answer


@dataclass(frozen=True)
class Daemon:
    """The daemon at an address."""

    host: str
    port: int
    timeout: float = 60
    """Seconds; a big model on a slow machine may think for long."""
    token: str | None = field(default=None, repr=False)
    """The login token, for one that other machines may reach."""

    @classmethod
    def of(cls, config: "Config", timeout: float = 60) -> Self:
        """The one that the settings name, with the token in their data folder. Raises `ConfigError`."""
        from assistant.login_token import LoginToken

        token = LoginToken(config.data_dir).read() if config.http.needs_login else None
        return cls(config.http.host, config.http.port, timeout, token)

    def call(self, method: str, path: str, body: dict | None = None, query: dict | None = None) -> dict:
        """The JSON that the daemon answers. Raises `NoDaemon`, or `Answered` with the daemon's own error."""
        with self._answer(method, path, body, query) as answer:
            return json.loads(answer.read())

    def lines(self, method: str, path: str, body: dict | None = None) -> Iterator[dict]:
        """The JSON of each line that the daemon answers, as it comes. Raises as `call` does, at any line."""
        with self._answer(method, path, body) as answer:
            for line in answer:
                if line.strip():
                    yield _unless_error(json.loads(line))

    def events(self, path: str) -> Iterator[str]:
        """The name of each server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html) as it
        comes, until the daemon ends it. Raises as `call` does, at any event."""
        with self._answer("GET", path, None) as answer:
            event = ""
            for line in answer:
                field, _, value = line.decode().rstrip("\r\n").partition(":")
                if field == "event":
                    event = value.strip()
                elif not field and event:
                    yield event
                    event = ""

    @contextmanager
    def _answer(
        self, method: str, path: str, body: dict | None, query: dict | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        address = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        given = {k: v for k, v in (query or {}).items() if v is not None}
        connection = http.client.HTTPConnection(host, self.port, timeout=self.timeout)
        try:
            connection.request(
                method, path + ("?" + urlencode(given) if given else ""),
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json", "Host": f"localhost:{self.port}"}
                | ({"Authorization": f"Bearer {self.token}"} if self.token else {}),
            )
            response = connection.getresponse()
            if response.status >= 400:
                _unless_error(json.loads(response.read()))
                raise ValueError
            yield response
        except TimeoutError:
            raise NotRunning(f"The assistant at {address} did not answer within {self.timeout:.0f} seconds.") from None
        except OSError:
            raise NoDaemon(address) from None
        except http.client.IncompleteRead:
            raise NotRunning(f"The assistant at {address} stopped before it had answered: try again.") from None
        except (http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
            raise NotRunning(f"Something other than the assistant answers at {address}: set [http] port.") from None
        finally:
            connection.close()

    def find(self, words: str) -> list[dict]:
        """The reminders that `words` mean: the one of that number, or those active ones whose task holds every word."""
        if is_number(words):
            return [self.call("GET", f"/reminders/{words}")]
        wanted = {fold(w) for w in words.split()}
        active = self.call("GET", "/reminders", query={"limit": 999_999})["reminders"]
        return [r for r in active if wanted <= {fold(w) for w in r["task"].split()}]
