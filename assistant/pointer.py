"""The pointer to the model in use, and how it changes.

It stands in `model.json` in the data folder, which is replaced whole or not at all; without it, the model that ships
with the program is in use:

    {"current": MODEL, "before": [MODEL, ...], "history": [CHANGE, ...]}

    MODEL   {"name", "path", "sha256"}      `path` is null for the model that ships
    CHANGE  MODEL and {"at", "by": "promote" | "rollback" | "fallback", "reason", "forced", "evaluation"}

`before` is what was in use before `current`, the latest last and each folder once: promoting puts `current` on top of
it, rolling back takes the top off, so that each rollback goes one further back. `history` is every change ever made,
the latest last.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Literal

from assistant.clock import Clock, SystemClock
from assistant.config import SHIPPED_MODEL, Config
from assistant.errors import BadPointer, BadRequest, ChangedModel, ConfigError, NotFound, NotPromoted
from assistant.models import Manifest, try_out, verify
from assistant.whole_file import locked, write_whole

By = Literal["promote", "rollback", "fallback"]


@dataclass(frozen=True, slots=True)
class Used:
    """A model as the pointer names it."""

    name: str
    path: Path | None
    """Its folder, absolute; None for the model that ships, wherever the program lies."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Change(Used):
    """A model came into use."""

    at: str
    """ISO 8601, UTC."""
    by: By
    reason: str | None
    """Why it was forced, or what was wrong with the one that it stands in for."""
    forced: bool
    """The evaluation, or that there is none, spoke against it."""
    evaluation: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Pointer:
    """`model.json`."""

    current: Used
    before: tuple[Used, ...] = ()
    history: tuple[Change, ...] = ()


class Models:
    """The model folders in `folder` and the pointer to the one in use.

    `fixed` is a file or folder that the settings name: it wins over the pointer, which cannot be changed then.
    """

    def __init__(
        self, folder: Path, pointer: Path, shipped: Path, fixed: Path | None = None, clock: Clock | None = None
    ) -> None:
        self.folder, self.pointer, self.shipped, self.fixed = folder, pointer, shipped, fixed
        self._clock = clock or SystemClock()

    # What there is

    def folders(self) -> list[Path]:
        """Every folder that may be a model: those in `folder`, the model that ships and the one in use; by name."""
        found = {p.absolute() for p in self.folder.glob("*") if p.is_dir() and not p.name.startswith(".")}
        found |= {p.absolute() for p in (self.shipped, self.in_use()) if p.is_dir()}
        return sorted(found, key=lambda path: (path.name, path))

    def find(self, name: str) -> Path:
        """The folder of a name; one in `folder` comes first. Raises `BadRequest` for what is no name, `NotFound`."""
        if not name.strip(".") or Path(name).name != name or not name.isprintable():
            raise BadRequest(f"{name!r} is not the name of a model: give one that `assistant models list` shows.")
        named = [path for path in self.folders() if path.name == name]
        if not named:
            raise NotFound(f"There is no model {name} in {self.folder}: `assistant models list` shows what there is.")
        return next((path for path in named if path.parent == self.folder.absolute()), named[0])

    # Which one is in use

    def in_use(self) -> Path:
        """The folder, or the file of the settings, that is in use. Raises `BadPointer`."""
        return self.fixed or self.place(self.read().current)

    def place(self, used: Used) -> Path:
        return used.path or self.shipped

    def shipped_model(self) -> Used:
        """The model that ships, as it is now."""
        try:
            sha256 = str(json.loads((self.shipped / "manifest.json").read_text("utf-8"))["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            sha256 = ""  # `check` says what is wrong with it
        return self._used(self.shipped, sha256)

    def _used(self, folder: Path, sha256: str) -> Used:
        ships = folder.resolve() == self.shipped.resolve()
        return Used(folder.name, None if ships else folder.absolute(), sha256)

    def stamp(self) -> tuple[int, int, int] | None:
        """Changes whenever the pointer is replaced; None if there is none."""
        try:
            stat = self.pointer.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def read(self) -> Pointer:
        """The pointer; the model that ships counts as it is now. Raises `BadPointer`."""
        try:
            with _faults(self.pointer):
                text = self.pointer.read_text("utf-8") if self.pointer.exists() else None
            if text is None:
                return Pointer(self.shipped_model())
            found = json.loads(text)
            return Pointer(
                self._known(found["current"]),
                tuple(self._known(m) for m in found["before"]),
                tuple(Change(**c | {"path": _path(c["path"])}) for c in found["history"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BadPointer(self.pointer, "what stands in it makes no sense") from None

    def _known(self, found: dict[str, Any]) -> Used:
        if found["path"] is None:
            return self.shipped_model()
        if not all(isinstance(found[key], str) for key in ("name", "path", "sha256")):
            raise ValueError
        return Used(found["name"], _path(found["path"]), found["sha256"])

    def check(self, used: Used) -> Manifest:
        """`verify` a model that the pointer names. Raises `ChangedModel` if another has taken its place."""
        manifest = verify(self.place(used))
        if manifest.sha256 != used.sha256:
            raise ChangedModel(used.name)
        return manifest

    # How it changes

    def promote(self, name: str, reason: str | None = None) -> Change | None:
        """Use the model of a name from now on; None if that is so already.

        Raises what `verify` raises, whatever `reason` says; `NotPromoted` if there is no evaluation against the one in
        use or a bad one, unless there is a `reason` to use it all the same; `ConfigError`, `BadPointer`.
        """
        if reason is not None and not reason.strip():
            raise BadRequest("Say why it is promoted all the same: the reason is kept.")
        with self._alone():
            folder, pointer = self.find(name), self.read()
            manifest = verify(folder, check_load=True)
            new = self._used(folder, manifest.sha256)
            if new == pointer.current:
                return None
            objection = _objection(manifest, pointer.current)
            if objection and reason is None:
                raise NotPromoted(name, objection)
            change = self._change(new, "promote", reason, bool(objection), manifest.evaluation)
            # What stood in the same folder is gone, or is the new one itself.
            before = tuple(used for used in (*pointer.before, pointer.current) if used.path != new.path)
            self._write(Pointer(new, before, (*pointer.history, change)))
            return change

    def rollback(self) -> Change:
        """Use what was in use before. Raises `NotFound` if nothing was, what `check` raises, `ConfigError`."""
        with self._alone():
            pointer = self.read()
            before = pointer.before or (() if pointer.current.path is None else (self.shipped_model(),))
            if not before:
                raise NotFound("No other model was in use before this one: `assistant models promote` takes another.")
            new = before[-1]
            try_out(self.check(new))
            change = self._change(new, "rollback")
            self._write(Pointer(new, before[:-1], (*pointer.history, change)))
            return change

    def fall_back(self, broken: Used | None, to: Used, reason: str) -> None:
        """Write that `to` is in use in place of `broken`, unless the pointer names another one by now.

        None is a pointer that could not be read; it is kept as `model.json.broken`. Raises `BadPointer`.
        """
        with self._alone():
            try:
                pointer = self.read()
                if broken is None or pointer.current != broken:
                    return
            except BadPointer:
                if broken is not None:
                    return
                with _faults(self.pointer):
                    os.replace(self.pointer, self.pointer.with_name(self.pointer.name + ".broken"))
                pointer = Pointer(to)
            places = [n for n, used in enumerate(pointer.before) if used == to]
            before = pointer.before[: places[-1]] if places else () if to.path is None else pointer.before
            change = self._change(to, "fallback", reason)
            self._write(Pointer(to, before, (*pointer.history, change)))

    def _change(
        self,
        used: Used,
        by: By,
        reason: str | None = None,
        forced: bool = False,
        evaluation: dict[str, Any] | None = None,
    ) -> Change:
        at = self._clock.now().astimezone(UTC).isoformat(timespec="seconds")
        return Change(used.name, used.path, used.sha256, at, by, reason, forced, evaluation)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self.fixed:
            raise ConfigError(f"The settings name a model ([model] path is {self.fixed}): empty [model] path first.")
        with ExitStack() as stack:
            with _faults(self.pointer):
                stack.enter_context(locked(self.pointer))
            yield

    def _write(self, pointer: Pointer) -> None:
        with _faults(self.pointer):
            write_whole(self.pointer, json.dumps(asdict(pointer), indent=2, default=str) + "\n")


def models_of(config: Config) -> Models:
    """The models that the settings mean."""
    return Models(config.model_dir, config.data_dir / "model.json", SHIPPED_MODEL, config.model_path)


@contextmanager
def _faults(pointer: Path) -> Iterator[None]:
    """What the disk says of the pointer, as `BadPointer`."""
    try:
        yield
    except OSError as e:
        raise BadPointer(pointer, (e.strerror or str(e)).lower()) from None


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _objection(manifest: Manifest, current: Used) -> str | None:
    """What its evaluation says against promoting a model in the place of `current`."""
    found = manifest.evaluation
    if found is None:
        return "it has not been evaluated against the model in use"
    if found["against"] != current.sha256:
        return f"it was evaluated against {found.get('against_name', 'another model')} and {current.name} is in use"
    if found["verdict"] == "worse":
        return (
            f"it is worse than {current.name} ({found['candidate']['all']:.1f} % of the rows right, "
            f"not {found['current']['all']:.1f} %)"
        )
    return None
