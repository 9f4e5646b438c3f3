"""`assistant calendar`: the address to subscribe to, how it stands with the owner's calendar, and what is an event."""

from typing import Annotated

import typer

from assistant.options import ConfigFile, DataFolder, Host, Json, Port, print_json, settings

calendar = typer.Typer(invoke_without_command=True, rich_markup_mode=None, add_completion=False)
Id = Annotated[int, typer.Argument(metavar="ID", help="A number of `assistant list`.", min=1)]


@calendar.callback()
def show(
    context: typer.Context,
    config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Show the address to subscribe to with a calendar program, and how it stands with a calendar of yours.

    \b
    Example: assistant calendar
             assistant calendar event 3      # reminder 3 is an event: it rings some minutes before as well
             assistant calendar todo 3       # ... or a to-do
    """
    if context.invoked_subcommand:
        return
    from assistant.client import Daemon

    found = settings(config, host, port, data)
    now = Daemon.of(found).call("GET", "/calendar")
    if as_json:
        print_json(now)
        return
    print(f"On this machine: {now['address']}")
    if now["secret_address"]:
        print(f"On others:       {now['secret_address']}\n                 Whoever knows it sees your reminders.")
    print(sentence(now["caldav"]))


def sentence(caldav: dict | None) -> str:
    """How it stands with the owner's calendar, in words; of what `GET /calendar` answers."""
    if caldav is None:
        return "No calendar of yours is kept equal: name one in [calendar] url."
    waiting = caldav["waiting"]
    waits = f" {waiting} change{'s' if waiting > 1 else ''} wait{'' if waiting > 1 else 's'}." if waiting else ""
    match caldav["state"]:
        case "well":
            return f"{caldav['url']} is kept equal, last at {caldav['at']}.{waits}"
        case "failing":
            return f"{caldav['url']}: {caldav['said']}{waits}"
        case _:
            return f"{caldav['url']} has not been spoken to yet.{waits}"


@calendar.command()
def event(
    id: Id, config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None,
    as_json: Json = False,
) -> None:
    """Make a reminder an event, which rings before it begins as well.

    \b
    Example: assistant calendar event 3
    """
    _make(id, "event", settings(config, host, port, data), as_json)


@calendar.command()
def todo(
    id: Id, config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None,
    as_json: Json = False,
) -> None:
    """Make a reminder a to-do.

    \b
    Example: assistant calendar todo 3
    """
    _make(id, "todo", settings(config, host, port, data), as_json)


def _make(id: int, kind: str, found, as_json: bool) -> None:
    from assistant.client import Daemon

    answer = Daemon.of(found).call("PUT", f"/calendar/{id}", {"kind": kind})
    if as_json:
        print_json(answer)
    else:
        print(answer["reply"])
