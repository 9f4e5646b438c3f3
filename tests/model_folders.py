"""Model folders for tests: the shipped model under another name, of another SHA-256, and in ways that are broken."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import MODEL


def candidate(parent: Path, name: str, **facts: Any) -> Path:
    """A model that loads and writes as the shipped one does, and is another one: the name inside of its GGUF differs.

    `facts` go into its manifest; None takes a key out.
    """
    folder = parent / name
    shutil.copytree(MODEL, folder)
    file = folder / "model-q8_0.gguf"
    content = file.read_bytes()
    at = content.index(b"general.name") + len(b"general.name") + 12
    assert content[at:at + 5] == b"small"
    file.write_bytes(content[:at] + name.ljust(5).encode()[:5] + content[at + 5:])
    note(folder, name=name, **facts)
    return folder


def note(folder: Path, **facts: Any) -> None:
    """Make the manifest true of the file again, and put `facts` into it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / manifest["file"]).read_bytes()
    manifest |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} | facts
    (folder / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))


def sha256(folder: Path) -> str:
    return json.loads((folder / "manifest.json").read_text())["sha256"]


def evaluation(against: Path, verdict: str = "better", candidate: float = 91.2, current: float = 90.0) -> dict[str, Any]:
    """What `training/` notes of a comparison."""
    return {
        "rows": 501, "rows_sha256": "0" * 64, "against": sha256(against), "against_name": against.name,
        "candidate": {"all": candidate}, "current": {"all": current}, "difference": candidate - current,
        "interval": [-1.0, 3.0], "verdict": verdict,
    }


def break_byte(folder: Path) -> None:
    """One bit in the midst of the weights is another."""
    file = folder / "model-q8_0.gguf"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
