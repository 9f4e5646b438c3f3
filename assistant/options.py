"""What the commands have in common: options, the settings that these make, and how they print."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The configuration file.")]
DataFolder = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The data folder.")]
Host = Annotated[str | None, typer.Option("--host", metavar="HOST", help="Where the daemon listens.")]
Port = Annotated[int | None, typer.Option("--port", metavar="N", help="The daemon's port.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings(
    config: Path | None, host: str | None = None, port: int | None = None, data: Path | None = None,
    section: str = "http", wake: str | None = None,
):  # fmt: skip
    """The `Config` in force, the options over it; `host` and `port` are those of `section`, `wake` is the mode.

    Raises `ConfigError`.
    """
    from assistant.config import load

    listen = {k: v for k, v in {"host": host, "port": port}.items() if v is not None}
    return load(config, **({section: listen} if listen else {}), **({"data": {"dir": str(data)}} if data else {}),
                **({"wake": {"mode": wake}} if wake is not None else {}))


def print_json(value: object) -> None:
    print(json.dumps(value), flush=True)


def print_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table(*head, box=None, pad_edge=False)
    for row in rows:  # Text: what a person said is no markup
        table.add_row(*(Text(cell, colours.get(cell, "")) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
