"""`assistant corrections`: what requests should have become, looked through, accepted or dropped, and exported.

They speak to the running daemon if one answers; else they open the database, which one process may at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from assistant.options import ConfigFile, DataFolder, Host, Json, Port, print_json, print_table, settings

corrections = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)
STATES = ("proposed", "accepted", "dropped", "all")
HEALTH_SECONDS = 5
"""How long the daemon may take to say that it is there."""


@corrections.callback()
def about() -> None:
    """What requests should have become: the next model can learn it, once you have accepted it.

    These commands speak to the daemon if one answers, on whatever data folder it runs; else they open the database of
    the settings. With --data they mean the database in that folder, whoever has it open.

    \b
    Example: assistant corrections list
             assistant corrections accept 3
             assistant corrections export --out corrections.jsonl
    """


@corrections.command("list")
def list_(
    state: Annotated[str, typer.Option(metavar="STATE", help=f"{', '.join(STATES[:-1])} or all.")] = "proposed",
    config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """List the corrections, the oldest first.

    \b
    Example: assistant corrections list --state all
    """
    if state not in STATES:
        raise typer.BadParameter(f"give one of {', '.join(STATES)}", param_hint="--state")
    with _desk(config, host, port, data) as desk:
        found = desk.list(state)
    if as_json:
        print_json({"corrections": found})
    elif found:
        print_table(("id", "said", "was", "should", "why", "state"), (
            (str(c["id"]), c["text"], c["was"] or "", c["should"], c["why"], c["state"]) for c in found
        ))
    else:
        print("There are no corrections." if state == "all" else f"No correction is {state}.")


@corrections.command()
def accept(
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID...", help="Numbers of the list.")] = None,
    rewrite: Annotated[
        str | None, typer.Option("--as", metavar="REWRITE", help="What it should have been instead.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are proposed.")] = False,
    config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Accept corrections, so that the next model learns them.

    \b
    Example: assistant corrections accept 3 5
             assistant corrections accept 3 --as "call mum | tomorrow 17:00"
    """
    if every == bool(ids) or (rewrite is not None and len(ids or ()) != 1):
        raise typer.BadParameter("give numbers or --all; with --as exactly one number")
    with _desk(config, host, port, data) as desk:
        wanted = [c["id"] for c in desk.list("proposed")] if every else ids
        _show("Accepted", [desk.accept(id, rewrite) for id in wanted], as_json)


@corrections.command()
def drop(
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Numbers of the list.")],
    config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Drop corrections: no model learns them, and they are not proposed again.

    \b
    Example: assistant corrections drop 4
    """
    with _desk(config, host, port, data) as desk:
        _show("Dropped", [desk.drop(id) for id in ids], as_json)


@corrections.command()
def add(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What was said.")],
    rewrite: Annotated[str, typer.Argument(metavar="REWRITE", help="What it should become.")],
    config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Add a correction by hand, accepted at once.

    \b
    Example: assistant corrections add "ring mum at quarter to six" "ring mum | 5:45?"
    """
    with _desk(config, host, port, data) as desk:
        _show("Added", [desk.add(text, rewrite)], as_json)


@corrections.command()
def export(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file, whole or not at all; else print.")
    ] = None,
    config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Write the accepted corrections for training, a JSON object a line. Nothing leaves the machine in another way.

    \b
    Example: assistant corrections export --out corrections.jsonl
    """
    import json

    from assistant.corrections import training_rows

    with _desk(config, host, port, data) as desk:
        rows = training_rows(desk.list("accepted"))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if out is None:
        print(lines, end="", flush=True)
        return
    _write(out, lines)
    if as_json:
        print_json({"exported": len(rows), "out": str(out)})
    else:
        print(f"{len(rows)} exported to {out}.")


def _show(what: str, changed: list[dict], as_json: bool) -> None:
    if as_json:
        print_json({"corrections": changed})
        return
    for c in changed:
        print(f'{what} {c["id"]}: "{c["text"]}" should be {c["should"]!r}.')
    if not changed:
        print("No correction is proposed.")


def _write(path: Path, text: str) -> None:
    """Replace a file, which nobody else may read. Raises `BadRequest` where that cannot be done."""
    import os

    from assistant.errors import BadRequest

    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(part, path)
    except OSError as e:
        part.unlink(missing_ok=True)
        raise BadRequest(f"{path} cannot be written ({e.strerror}): give another file with --out.") from None


# Where the corrections are


class _Daemon:
    """The corrections of the running daemon; every method answers with `correction_json` objects."""

    def __init__(self, daemon) -> None:
        self._daemon = daemon

    def list(self, state: str) -> list[dict]:
        return self._daemon.call("GET", "/corrections", query={"state": state})["corrections"]

    def accept(self, id: int, rewrite: str | None) -> dict:
        return self._post(f"/{id}/accept", {} if rewrite is None else {"rewrite": rewrite})

    def drop(self, id: int) -> dict:
        return self._post(f"/{id}/drop", {})

    def add(self, text: str, rewrite: str) -> dict:
        return self._post("", {"text": text, "rewrite": rewrite})

    def _post(self, path: str, body: dict[str, Any]) -> dict:
        return self._daemon.call("POST", f"/corrections{path}", body)["correction"]


class _Database:
    """The same of a database that no daemon has open."""

    def __init__(self, store) -> None:
        from assistant.clock import SystemClock
        from assistant.corrections import Corrections, correction_json

        self._corrections, self._clock, self._json = Corrections(store.db), SystemClock(), correction_json

    def list(self, state: str) -> list[dict]:
        return [self._json(c) for c in self._corrections.in_state(None if state == "all" else state)]

    def accept(self, id: int, rewrite: str | None) -> dict:
        return self._json(self._corrections.accept(id, self._clock.now(), rewrite))

    def drop(self, id: int) -> dict:
        return self._json(self._corrections.drop(id, self._clock.now()))

    def add(self, text: str, rewrite: str) -> dict:
        return self._json(self._corrections.add(text, rewrite, self._clock.now()))


@contextmanager
def _desk(config: Path | None, host: str | None, port: int | None, data: Path | None) -> Iterator[_Daemon | _Database]:
    """Where the corrections are. Raises `StoreError` where the database cannot be opened, `NotFound` for a folder that
    has none."""
    from assistant.client import Daemon
    from assistant.errors import NotFound
    from assistant.store import Store

    found = settings(config, host, port, data)
    if _runs(found, any_folder=data is None):
        yield _Daemon(Daemon.of(found))
        return
    if data is not None and not found.database.exists():
        raise NotFound(f"There are no reminders in {data}: give the folder that the assistant runs on.")
    with Store.open(found.database) as store:
        yield _Database(store)


def _runs(config, any_folder: bool) -> bool:
    """Whether a daemon answers, and runs on the data folder of the settings or may do so on `any_folder`."""
    import os

    from assistant.client import Daemon
    from assistant.errors import NotRunning
    from assistant.pointer import models_of

    try:
        theirs = Daemon.of(config, timeout=HEALTH_SECONDS).call("GET", "/health").get("model_pointer")
    except NotRunning:
        return False
    return any_folder or (
        theirs is not None and os.path.realpath(theirs) == os.path.realpath(models_of(config).pointer)
    )
