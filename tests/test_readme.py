"""What the README promises is true."""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from assistant.local import LlamaRewriter
from assistant.sections import Model
from assistant.understand import understand
from assistant.when import Policy
from assistant.words import normalise
from tests.test_local import MODEL

ROOT = Path(__file__).parent.parent
LONDON = ZoneInfo("Europe/London")
ROWS = re.findall(r"^\| \*(.+?)\* \| `(.+?)` \| (.+?) \|$", (ROOT / "README.md").read_text(), re.M)


def test_the_readme_has_ten_sentences():
    assert len(ROWS) == 10


@pytest.mark.parametrize(("said", "rewrite", "rings"), ROWS, ids=[r[0][:40] for r in ROWS])
async def test_an_example_sentence_comes_out_as_the_readme_says(said, rewrite, rings):
    now = datetime(2026, 3, 11, 10, 0, tzinfo=LONDON)
    async with LlamaRewriter(MODEL) as rewriter:
        text = normalise(said)
        u = understand(await rewriter.rewrite(text), text, now, LONDON, Policy(), ask_below=Model().ask_below)
    assert u.kind in ("create", "needs_time"), "it would be asked about first"
    assert u.rewrite == rewrite.replace("` and `", "\n").replace("\\|", "|")
    assert ", ".join(e.due.strftime("%a %-d %b %H:%M") if e.due else "asks when" for e in u.entries) == rings


def test_every_file_of_the_program_stands_in_the_tree():
    tree = (ROOT / "README.md").read_text()
    for file in (ROOT / "assistant").glob("*.py"):
        if not file.stem.startswith("__"):
            assert re.search(rf"\b{file.stem}\b", tree), file.name


def test_every_command_is_documented():
    from assistant.cli import app

    readme = (ROOT / "README.md").read_text()
    for command in app.registered_commands:
        assert (command.name or command.callback.__name__) in readme
