"""Other programs, run without a shell: one that is no longer wanted is killed with all that it has started."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from assistant.errors import AssistantError

_running: set[int] = set()
"""The process groups of the programs under way: of this process, as its end is theirs."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a program wrote that succeeded."""

    kept: bytes
    """All of its standard output, if that was wanted."""
    errors: tuple[str, ...]
    """The last lines of its standard error."""


async def run(
    argv: Sequence[str],
    stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
    *,
    error: type[AssistantError],
    keep_output: bool = False,
) -> Output:
    """Run a program to its end; what it wrote. When cancelled, kill its process group.

    Raises `error` for one that cannot be started or fails, with the last line of its standard error.
    """
    try:
        return await _run(argv, stdin, environ or {}, error, keep_output)
    except OSError as e:  # there is no such program, or no room for its input
        raise error(f"{argv[0]} cannot be started: {(e.strerror or str(e)).lower()}.") from e


def kill_all() -> None:
    """Kill the programs under way with all that they have started, for whoever ends the process without unwinding it.

    To be called from any thread.
    """
    for group in _running.copy():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


async def _run(
    argv: Sequence[str], stdin: bytes, environ: Mapping[str, str], error: type[AssistantError], keep_output: bool
) -> Output:
    """Its input, output and errors are files: a pipe lasts as long as whatever the program leaves running behind it."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=given, stdout=out if keep_output else asyncio.subprocess.DEVNULL, stderr=errors,
            start_new_session=True, env=dict(os.environ) | dict(environ),
        )
        _running.add(process.pid)
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            with suppress(PermissionError):  # it runs as somebody else, and its end is not ours to wait for
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            raise
        finally:
            _running.discard(process.pid)
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 2000))
        said = [line.strip()[:300] for line in errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        if status:
            raise error(f"{argv[0]} ended with status {status}{f': {said[-1]}' if said else ''}")
        out.seek(0)
        return Output(out.read(), tuple(said))
