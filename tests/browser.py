"""Debian's Chromium for tests, steered by Playwright, and axe-core, which finds what keeps people from using a page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_MISSING = [name for name in ("playwright", "axe_playwright_python") if not find_spec(name)]
wanted = pytest.mark.skipif(
    not CHROMIUM or bool(_MISSING),
    reason=f"a browser looks at the page: apt install chromium{''.join(f', pip install {n}' for n in _MISSING)}",
)


@contextmanager
def browser(said: Path | None = None) -> Iterator["Browser"]:
    """A browser without a window; `said` is a WAV file that its microphone hears, once, from when it is opened."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-dev-shm-usage"]  # as root, and in a container
    if said:
        options += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                    f"--use-file-for-fake-audio-capture={said}%noloop"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield chromium
        finally:
            chromium.close()


def serious(page: "Page") -> list[str]:
    """What axe-core calls serious or critical on a page, by WCAG 2.2 AA and its best practices, a line each."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document)")
    return [
        f"{v['impact']}: {v['id']}: {node['html'][:200]}: {node['failureSummary'][:300]}"
        for v in found["violations"] if v["impact"] in ("serious", "critical") for node in v["nodes"]
    ]
