"""`assistant parse`: requests understood in this process, one a line, nothing stored."""

import asyncio
import json
import signal
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from assistant.config import Config
from assistant.errors import BadRequest
from assistant.messages import Understanding


def parse_lines(lines: Iterable[bytes], now: datetime | None, tz: ZoneInfo, config: Config, as_json: bool) -> None:
    """Print what each line means at `now` (None: when it is read), in order, each as soon as it is known.

    A line that cannot be taken is an answer too: kind `other` with an `error`. Raises `ModelError` when no model
    answers.
    """
    from assistant.rewriters import rewriters_of
    from assistant.understand import as_json as as_object

    # Ctrl-C simply ends the process: there is nothing to put away, and Python's own handler misses one that comes in
    # the instant before it waits for the next line.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    rewriter = rewriters_of(config).rewriter
    with asyncio.Runner() as runner:
        runner.run(rewriter.__aenter__())
        try:
            for raw in lines:
                text = raw.decode(errors="replace").removesuffix("\n")
                at = now or datetime.now(tz)
                understanding = runner.run(_understand(rewriter, text, at, tz, config))
                print(json.dumps(as_object(understanding)) if as_json else describe(understanding), flush=True)
        finally:
            runner.run(rewriter.__aexit__(None, None, None))


async def _understand(rewriter, text: str, now: datetime, tz: ZoneInfo, config: Config) -> Understanding:
    from assistant.understand import understand_text

    try:
        return await understand_text(rewriter, text, now, tz, config.when.policy, config.model.ask_below)
    except BadRequest as e:
        return Understanding(text, "other", "", (), None, None, 0.0, rewriter.name, 0.0, error=e.code)


def describe(u: Understanding) -> str:
    """One line for a person: `create: call mum, Fri 13 Mar 2026 17:00 (tomorrow 17:00)`."""
    if u.error:
        return f"{u.kind}: {u.error}"
    if u.target:
        return f"{u.kind}: {u.rewrite}"
    parts = []
    for e in u.entries:
        due = f"{e.due:%a %d %b %Y %H:%M}{', past' if e.past else ''} ({e.when})" if e.due else "no time"
        parts.append(f"{e.task or '(no task)'}, {due}")
    return f"{u.kind}: {'; '.join(parts)}" if parts else u.kind
