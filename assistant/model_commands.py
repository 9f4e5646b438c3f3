"""`assistant models`: which models there are, which one is in use, and another one in its place."""

from typing import Annotated, Any

import typer

from assistant.options import ConfigFile, DataFolder, Host, Json, Port, print_json, print_table, settings

models = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of `assistant models list`.")]
HEALTH_SECONDS, LOAD_SECONDS = 5, 60
"""How long the daemon may take to say who it is, and to load another model."""


@models.callback()
def about() -> None:
    """The models, and which one is in use.

    \b
    Example: assistant models list --json
             assistant models promote fresh
             assistant models rollback
    """


@models.command("list")
def list_(config: ConfigFile = None, data: DataFolder = None, as_json: Json = False) -> None:
    """List the models; * is the one in use.

    \b
    Example: assistant models list
    """
    from assistant.pointer import models_of

    found = models_of(settings(config, data=data))
    used = found.in_use().absolute()
    rows = [_row(folder, folder == used) for folder in found.folders()]
    if as_json:
        print_json({"models": rows, "in_use": str(used)})
        return
    head = ("", "name", "MB", "base", "trained", "evaluation", "state")
    print_table(head, (
        ("*" if r["in_use"] else "", r["name"], f"{r['bytes'] / 1e6:.1f}" if r["bytes"] else "", r["base"],
         r["trained"], _compared(r["evaluation"]), r["state"])
        for r in rows
    ))
    if found.fixed:
        print(f"In use is {found.fixed}, which the settings name ([model] path).")


@models.command()
def show(name: Name, config: ConfigFile = None, data: DataFolder = None, as_json: Json = False) -> None:
    """Show what a model says of itself, whether its file is whole, and when it came into use.

    \b
    Example: assistant models show small
    """
    from dataclasses import asdict

    from assistant.errors import ModelError
    from assistant.models import verify
    from assistant.pointer import models_of

    found = models_of(settings(config, data=data))
    folder = found.find(name)
    row = _row(folder, folder == found.in_use().absolute())
    try:
        verify(folder)
    except ModelError as e:
        row["state"] = str(e)
    history = [asdict(c) | {"path": str(folder)}
               for c in found.read().history if found.place(c).absolute() == folder]
    if as_json:
        print_json(row | {"manifest": _facts(folder), "history": history})
        return
    facts = {k: v for k, v in _facts(folder).items() if not isinstance(v, dict | list)}
    lines = facts | {"folder": folder, "in use": "yes" if row["in_use"] else "no", "state": row["state"]}
    if row["evaluation"]:
        lines["evaluation"] = _compared(row["evaluation"])
    for key, value in lines.items():
        print(f"{key:<12} {value}")
    for c in history:
        print(f"{c['at']}  {_event(c)}")


@models.command()
def promote(
    name: Name,
    force: Annotated[
        str | None, typer.Option(metavar="REASON", help="Whatever its evaluation says; the reason is kept.")
    ] = None,
    config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Use another model from now on, if its evaluation says that it is no worse than the one in use.

    \b
    Example: assistant models promote fresh
             assistant models promote phi2 --force "the gold rows do not know names"
    """
    from assistant.pointer import models_of

    found = settings(config, host, port, data)
    change = models_of(found).promote(name, force)
    if change is None:
        _say({"model": name, "changed": False, "running": False}, f"{name} is in use already.", as_json)
    else:
        _tell(found, change, f"{name} is promoted{', against its evaluation' if change.forced else ''}.", as_json)


@models.command()
def rollback(
    config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Use the model again that was in use before; once more goes one further back.

    \b
    Example: assistant models rollback
    """
    from assistant.pointer import models_of

    found = settings(config, host, port, data)
    change = models_of(found).rollback()
    _tell(found, change, f"Back to {change.name}.", as_json)


def _row(folder, in_use: bool) -> dict[str, Any]:
    """What `list` shows of a model folder; its `state` is "ok" or the sentence that says what is wrong with it."""
    from assistant.errors import ModelError
    from assistant.models import Manifest, inspect

    try:
        manifest, state = inspect(folder), "ok"
    except ModelError as e:
        manifest, state = Manifest(folder, folder, "", 0, _facts(folder)), str(e)
    facts = manifest.facts
    return {
        "name": folder.name, "path": str(folder), "in_use": in_use, "bytes": manifest.size,
        "sha256": manifest.sha256, "base": str(facts.get("base", "")), "trained": str(facts.get("trained", "")),
        "evaluation": manifest.evaluation, "state": state,
    }


def _facts(folder) -> dict[str, Any]:
    """The manifest as far as it can be read."""
    import json

    try:
        facts = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _compared(evaluation: dict[str, Any] | None) -> str:
    if not evaluation:
        return ""
    ours, theirs = evaluation["candidate"]["all"], evaluation["current"]["all"]
    return f"{ours:.1f} % vs {theirs:.1f} %, {evaluation['verdict']}"


def _event(change: dict[str, Any]) -> str:
    """Such as `promote, forced (the gold rows do not know names)`."""
    reason = f" ({change['reason']})" if change["reason"] else ""
    return change["by"] + (", forced" if change["forced"] else "") + reason


def _tell(config, change, said: str, as_json: bool) -> None:
    """Say what has changed, and what the daemon on the same data folder makes of it."""
    running = _reload(config, change)
    then = {
        True: "The running assistant uses it now.",
        False: "It will be used at the next start.",
        None: "The running assistant has not said yet whether it uses it.",
    }[running]
    answer = {"model": change.name, "sha256": change.sha256, "changed": True, "forced": change.forced}
    _say(answer | {"running": running}, f"{said} {then}", as_json)


def _reload(config, change) -> bool | None:
    """Whether the daemon of this data folder uses the new model now; False if none runs, None if it does not say in
    time. Raises `ModelError` with what it says if it went back to the one before."""
    import os

    from assistant.client import Daemon
    from assistant.errors import ModelError, NotRunning
    from assistant.pointer import models_of

    found = models_of(config)
    try:
        theirs = Daemon.of(config, timeout=HEALTH_SECONDS).call("GET", "/health").get("model_pointer")
        if not theirs or os.path.realpath(theirs) != os.path.realpath(found.pointer):
            return False
    except NotRunning:
        return False
    try:
        now = Daemon.of(config, timeout=LOAD_SECONDS).call("POST", "/model/reload")
    except NotRunning:  # it loads a big one, or has just stopped
        return None
    if now["sha256"] == change.sha256:
        return True
    # It may have seen the pointer by itself before it was asked, and have said then what is wrong.
    last = found.read().history[-1]
    problem = now["problem"] or (last.reason if last.by == "fallback" else None) or "the model was changed again."
    raise ModelError(f"The running assistant uses {now['model']}, not {change.name}: {problem}")


def _say(answer: dict[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(answer | {"message": sentence})
    else:
        print(sentence)
