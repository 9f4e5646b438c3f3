"""Where the model service lies on a machine."""

import re
from dataclasses import dataclass
from pathlib import Path

USER = SERVICE = "assistant"
"""Who runs it, and what systemd calls it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Everything under `root`, which is / but for trying things out."""

    root: Path

    @property
    def program(self) -> Path:
        return self.root / "opt/reminder-assistant"

    @property
    def state(self) -> Path:
        return self.root / "var/lib/reminder-assistant"

    @property
    def settings(self) -> Path:
        return self.root / "etc/reminder-assistant"

    @property
    def config(self) -> Path:
        return self.settings / "config.toml"

    @property
    def unit(self) -> Path:
        return self.root / f"etc/systemd/system/{SERVICE}.service"

    @property
    def back_off(self) -> Path:
        return self.root / f"etc/systemd/system/{SERVICE}.service.d/back-off.conf"

    @property
    def site(self) -> Path:
        return self.root / "etc/nginx/conf.d/reminder-assistant.conf"

    @property
    def acme(self) -> Path:
        return self.root / "var/lib/reminder-assistant-acme"

    def here(self, text: str) -> str:
        """A file of this folder with the places in it put under `root`."""
        if self.root == Path("/"):
            return text
        return re.sub(r"(?<![\w/])/(opt|var/lib|etc)/reminder-assistant", rf"{self.root}/\1/reminder-assistant", text)
