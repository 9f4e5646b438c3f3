"""`assistant keys`: who may ask the model service."""

import sys
from typing import Annotated

import typer

from assistant.options import ConfigFile, DataFolder, Json, print_json, print_table, settings

keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, such as laptop.")]


@keys.callback()
def about() -> None:
    """The keys of the model service, `assistant serve`; a running one knows of a change at once.

    \b
    Example: assistant keys add laptop
             assistant keys add laptop --rotate     a new one; the old one is let in, too ...
             assistant keys remove laptop --old     ... until now
    """


def _file(config, data):
    from assistant.keys import KeyFile

    return KeyFile(settings(config, data=data).keys)


@keys.command()
def add(
    name: Name,
    rotate: Annotated[bool, typer.Option("--rotate", help="A second one beside the key that there is.")] = False,
    config: ConfigFile = None, data: DataFolder = None, as_json: Json = False,
) -> None:
    """Make a key and print it, this once.

    \b
    Example: assistant keys add laptop
    """
    key, kept = _file(config, data).add(name, rotate)
    if as_json:
        print_json({"name": name, "key": key, "made_at": kept.made_at, "hint": kept.hint})
        return
    print(key, flush=True)
    print("Keep it now, it is not shown again: ASSISTANT_REMOTE__KEY in .env where it is used.", file=sys.stderr)
    if rotate:
        print(f"The old key goes on until `assistant keys remove {name} --old`.", file=sys.stderr)


@keys.command("list")
def list_(config: ConfigFile = None, data: DataFolder = None, as_json: Json = False) -> None:
    """List whose keys there are, when they were made and how they end.

    \b
    Example: assistant keys list
    """
    rows = [{"name": k.name, "made_at": k.made_at, "hint": k.hint} for k in _file(config, data).read()]
    if as_json:
        print_json({"keys": rows})
    elif rows:
        print_table(("name", "made", "ends in"), ((r["name"], r["made_at"], r["hint"]) for r in rows))
    else:
        print("There are no keys: the model service answers this machine only.")


@keys.command()
def remove(
    name: Name,
    old: Annotated[bool, typer.Option("--old", help="Only what a newer key stands in for.")] = False,
    config: ConfigFile = None, data: DataFolder = None, as_json: Json = False,
) -> None:
    """Take a key away: whoever has it is refused from now on.

    \b
    Example: assistant keys remove laptop
    """
    file = _file(config, data)
    gone = file.remove(name, old)
    if as_json:
        print_json({"name": name, "removed": [{"made_at": k.made_at, "hint": k.hint} for k in gone]})
    else:
        print(f"{name}: {len(gone)} key{'s' if len(gone) > 1 else ''} removed, ending in "
              f"{' and '.join(k.hint for k in gone)}.")
    if not file.read():
        print("No key is left: a running model service lets nobody in; after a restart it lets in this machine only.",
              file=sys.stderr)
