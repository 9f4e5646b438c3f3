"""The command `assistant`: a thin layer over the daemon's HTTP interface; `run`, `serve`, `parse`, `transcribe`,
`doctor`, `models` and `keys` need no daemon.

Whatever is heavy is imported where it is used, so that `assistant --help` is there at once.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from assistant.calendar_commands import calendar
from assistant.correction_commands import corrections
from assistant.device_commands import devices
from assistant.errors import AssistantError
from assistant.hearing_commands import hearing, hush, mute, unmute
from assistant.key_commands import keys
from assistant.listen_commands import Audio, hear, listen
from assistant.login_commands import address
from assistant.model_commands import models
from assistant.options import ConfigFile, DataFolder, Host, Json, Port, print_json, print_table, settings
from assistant.show_commands import show
from assistant.transcribe_commands import transcribe

EXIT_STATUSES = """Exit status: 0 done; 1 not found, or nothing was made of it; 2 what was given cannot be taken;
3 the model; 4 the database; 5 no daemon answers."""

app = typer.Typer(
    help="Say it, forget about it, and it rings at the right instant.",
    epilog=EXIT_STATUSES, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(models, name="models")
app.add_typer(corrections, name="corrections")
app.add_typer(keys, name="keys")
app.add_typer(calendar, name="calendar")
app.command()(devices)
app.command()(listen)
for command in (hearing, mute, unmute, hush):
    app.command()(command)
app.command()(transcribe)
app.command()(show)
app.command()(address)
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before acting on a match by words.")]
Which = Annotated[list[str], typer.Argument(metavar="ID|WORDS...", help="A number of `assistant list`, or words.")]


def main() -> None:
    """The entry point: an expected error is one sentence and its exit status, never a stack trace."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter is no reason to fail
        stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="assistant")
    except AssistantError as e:
        if "--json" in sys.argv:
            print_json({"error": {"code": e.code, "message": str(e)}})
        else:
            print(f"assistant: {e}", file=sys.stderr)
        sys.exit(e.exit_status)


def _daemon(config: Path | None, host: str | None, port: int | None):
    from assistant.client import Daemon

    return Daemon.of(settings(config, host, port))


@app.command()
def run(
    config: ConfigFile = None,
    data: DataFolder = None,
    host: Host = None,
    port: Port = None,
    wake: Annotated[
        Literal["push", "word", "always"] | None,
        typer.Option("--wake", metavar="MODE", help="When it listens by itself: push, word or always."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the log as JSON.")] = False,
) -> None:
    """Run the assistant until it is told to stop (Ctrl-C, SIGTERM).

    \b
    Example: assistant run --data ~/reminders --port 8765
             assistant run --wake word
    """
    from assistant.app import run_forever

    raise typer.Exit(run_forever(settings(config, host, port, data, wake=wake), json_log=as_json))


@app.command()
def serve(
    config: ConfigFile = None,
    data: DataFolder = None,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="Where the service listens.")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="N", help="The service's port.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the log as JSON.")] = False,
) -> None:
    """Run the model service alone, for other machines: it understands requests and stores nothing.

    \b
    Example: assistant serve --port 8000
             assistant keys add laptop && assistant serve --host 0.0.0.0
    """
    from assistant.serve import serve_forever

    raise typer.Exit(serve_forever(settings(config, host, port, data, section="serve"), json_log=as_json))


@app.command()
def say(
    text: Annotated[list[str] | None, typer.Argument(help="What you would say.")] = None,
    audio: Audio = None,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Say something to the running assistant, and answer if it asks back.

    \b
    Example: assistant say "hey can you remind me to call mum in two minutes"
             assistant say --audio recording.wav
    """
    if (text is None) == (audio is None):
        raise typer.BadParameter("give words, or a recording by --audio")
    if audio:
        hear(settings(config, host, port), audio, quiet=True, as_json=as_json)
    daemon = _daemon(config, host, port)
    said = " ".join(text)
    while True:
        answer = daemon.call("POST", "/requests", {"text": said, "channel": "cli"})
        _show(answer, answer["reply"], as_json)
        if as_json or not answer["question"] or not sys.stdin.isatty():
            break
        said = typer.prompt(">", prompt_suffix=" ", default="", show_default=False)
        if not said.strip():
            break
    nothing = answer["kind"] == "other" and answer["understanding"] and not answer["question"]
    raise typer.Exit(1 if nothing else 0)


@app.command("list")
def list_(
    state: Annotated[str, typer.Option(metavar="STATE", help="active, done, missed, cancelled, ...")] = "active",
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")] = None,
    missed: Annotated[bool, typer.Option("--missed", help="The same as --state missed.")] = False,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """List the reminders, the next one first.

    \b
    Example: assistant list --limit 5
             assistant list --missed
    """
    state = "missed" if missed else state
    query: dict[str, Any] = {"state": None if state == "active" else state, "limit": limit}
    daemon = _daemon(config, host, port)
    answer = daemon.call("GET", "/reminders", query=query)
    if as_json:
        print_json(answer)
        return
    _table(answer["reminders"], "Nothing is set." if state == "active" else f"No reminder is {state}.")
    if state == "active" and (kept := daemon.call("GET", "/health")["kept"]):
        from assistant import replies

        print(replies.waiting(kept))


@app.command()
def done(
    which: Which, yes: Yes = False,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Acknowledge a reminder; what recurs rings again next time.

    \b
    Example: assistant done 3
             assistant done take the bins out
    """
    _act(_daemon(config, host, port), which, "Done with", "POST", "/done", {}, yes, as_json)


@app.command()
def cancel(
    which: Which, yes: Yes = False,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Cancel a reminder, and all its occurrences to come.

    \b
    Example: assistant cancel 3
             assistant cancel dentist --yes
    """
    _act(_daemon(config, host, port), which, "Cancel", "DELETE", "", None, yes, as_json)


@app.command()
def snooze(
    which: Which,
    minutes: Annotated[int | None, typer.Option(metavar="N", help="For so many minutes.")] = None,
    to: Annotated[str | None, typer.Option(metavar="WHEN", help='Until then, e.g. "tomorrow 09:00".')] = None,
    yes: Yes = False,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Let a reminder ring later; its recurrence stays as it is.

    \b
    Example: assistant snooze 3 --minutes 15
             assistant snooze call mum --to "tomorrow 09:00"
    """
    if minutes is not None and to is not None:
        raise typer.BadParameter("give --minutes or --to, not both")
    body = {"minutes": minutes} if minutes is not None else {"when": to} if to is not None else {}
    _act(_daemon(config, host, port), which, "Snooze", "POST", "/snooze", body, yes, as_json)


@app.command()
def move(
    which: Which,
    to: Annotated[str, typer.Option(metavar="WHEN", help='The new time, e.g. "friday 10:00".')],
    yes: Yes = False,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Move a reminder to another time.

    \b
    Example: assistant move dentist --to "friday 10:00"
    """
    _act(_daemon(config, host, port), which, "Move", "POST", "/move", {"when": to}, yes, as_json)


@app.command()
def undo(
    change: Annotated[str | None, typer.Argument(metavar="CHANGE", help="Of an answer in JSON: its \"undo\".")] = None,
    config: ConfigFile = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Undo what was changed last: set, done, cancelled, snoozed or moved within the last ten minutes.

    \b
    Example: assistant undo
    """
    body = {} if change is None else {"change": change}
    answer = _daemon(config, host, port).call("POST", "/undo", body)
    _show(answer, answer["reply"], as_json)


@app.command()
def parse(
    text: Annotated[list[str] | None, typer.Argument(help="A request; else one a line on standard input.")] = None,
    now: Annotated[str | None, typer.Option(metavar="ISO", help="Understand as if it were then.")] = None,
    tz: Annotated[str | None, typer.Option(metavar="ZONE", help="The person's time zone, e.g. Europe/London.")] = None,
    config: ConfigFile = None, as_json: Json = False,
) -> None:
    """Understand a request without scheduling anything; needs no daemon.

    \b
    Example: assistant parse "wake me up at six" --now 2026-03-12T22:00 --tz Europe/London
             assistant parse --json < requests.txt
    """
    from assistant.instants import read_instant, read_zone
    from assistant.parsing import parse_lines

    found = settings(config)
    zone = read_zone(tz) if tz is not None else found.when.tz
    at = read_instant(now, zone) if now is not None else None
    lines = iter(sys.stdin.buffer) if text is None else [" ".join(text).encode(errors="replace")]
    parse_lines(lines, at, zone, found, as_json)


@app.command()
def doctor(config: ConfigFile = None, as_json: Json = False) -> None:
    """Check the model, the database, the zone, the notifiers and the disk, and say what to do about each.

    \b
    Example: assistant doctor
    """
    from assistant.doctor import examine

    findings = examine(settings(config))
    if as_json:
        print_json({"checks": [vars(f) for f in findings]})
    else:
        head = ("", "check", "what was found", "what to do")
        print_table(head, ((f.state, f.name, f.found, f.advice) for f in findings))
    raise typer.Exit(any(f.state == "fail" for f in findings))


def _show(answer: dict, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print(sentence, flush=True)


def _act(daemon, which, verb: str, method: str, path: str, body: dict | None, yes: bool, as_json: bool) -> None:
    """Do one thing to the one reminder that is meant; words that fit several, or none, do nothing."""
    from assistant.client import is_number
    from assistant.errors import BadRequest, NotFound

    words = " ".join(which).strip()
    if not words:
        raise BadRequest("Say which one: the number of a reminder, or words of it.")
    if len(which) > 1 and all(is_number(w) for w in which):
        raise BadRequest("Give one number at a time.")
    found = daemon.find(words)
    if not found:
        raise NotFound(f'No reminder fits "{words}": `assistant list` shows them.')
    if len(found) > 1:
        if not as_json:
            _table(found)
        numbers = ", ".join(str(r["id"]) for r in found)
        raise BadRequest(f'{len(found)} reminders fit "{words}": give the number of one ({numbers}).')
    [reminder] = found
    if not is_number(words) and not yes:
        if not sys.stdin.isatty():
            raise BadRequest(f'"{words}" means number {reminder["id"]}: give that number, or --yes.')
        typer.confirm(f'{verb} "{reminder["task"]}" ({reminder["when"]})?', abort=True)
    answer = daemon.call(method, f"/reminders/{reminder['id']}{path}", body)
    _show(answer, answer["reply"], as_json)


def _table(reminders: list[dict], none: str = "") -> None:
    from datetime import datetime

    def due(r: dict) -> str:
        return f"{datetime.fromisoformat(r['due']):%a %d %b %Y %H:%M}" if r["due"] else ""

    if reminders:
        rows = ((str(r["id"]), due(r), r["task"] or "(a reminder)", r["when"], r["state"]) for r in reminders)
        print_table(("id", "due", "what", "when", "state"), rows)
    else:
        print(none)
