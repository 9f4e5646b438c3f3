"""Real models that write when they are told to, so that a test knows what is under way and what waits."""

import queue
import threading

import pytest

from assistant.local import Abandoned, LlamaModel


class HeldModels:
    """While it is entered every request waits for `go_on` before it is written; `begun` and `ended` tell what came of
    it. A trial, which cannot be abandoned, goes through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: queue.Queue[str] = queue.Queue()
        self.go_on = threading.Event()
        self.ended: list[tuple[str, str]] = []
        """The text, and `written` or `abandoned`."""
        self.at_once: list[LlamaModel] = []
        """The models that are in use."""
        write = LlamaModel.write

        def written(model: LlamaModel, text: str, *abandoned) -> tuple[str, float]:
            if not abandoned:
                return write(model, text)
            assert model not in self.at_once, "two requests on one context"
            self.at_once.append(model)
            self.begun.put(text)
            try:
                assert self.go_on.wait(30)
                answer = write(model, text, *abandoned)
                self.ended.append((text, "written"))
                return answer
            except Abandoned:
                self.ended.append((text, "abandoned"))
                raise
            finally:
                self.at_once.remove(model)

        monkeypatch.setattr(LlamaModel, "write", written)

    def wait_begun(self, count: int = 1) -> set[str]:
        """The texts of the next so many that are begun, waited for."""
        return {self.begun.get(timeout=10) for _ in range(count)}

    def __enter__(self) -> "HeldModels":
        return self

    def __exit__(self, *exc: object) -> None:
        self.go_on.set()
