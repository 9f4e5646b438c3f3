"""Facts about a run or a model, as JSON files that appear whole or not at all."""

import json
import os
from pathlib import Path

MANIFEST = "manifest.json"


def write_json(file: Path, facts: dict) -> None:
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(facts, indent=2) + "\n")
    os.replace(part, file)


def read_manifest(folder: Path) -> dict:
    return json.loads((folder / MANIFEST).read_text())


def add_to_manifest(folder: Path, **facts: object) -> None:
    """Notes more about a model in its manifest."""
    write_json(folder / MANIFEST, read_manifest(folder) | facts)
