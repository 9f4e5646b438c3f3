"""Model folders: a GGUF file and its `manifest.json`, which must be true of it before it is used."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import (
    BadManifest,
    CorruptModel,
    IncompleteModel,
    ModelError,
    OtherArchitecture,
    OtherPrompt,
    Unreadable,
)
from assistant.gguf import architecture
from assistant.prompt import PROMPT_VERSION

TRIAL = "remind me to call mum tomorrow at 5 pm"
"""The request that a model must answer before it is used."""
_REQUIRED = {"name": str, "file": str, "sha256": str, "bytes": int, "licence": str, "base": str, "prompt": int}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model folder says of itself."""

    folder: Path
    file: Path
    """The GGUF."""
    sha256: str
    """Of the GGUF, in hexadecimal."""
    size: int
    """Of the GGUF, bytes."""
    facts: dict[str, Any]
    """All of `manifest.json`."""

    @property
    def name(self) -> str:
        """Of the folder: what a reply names as its model."""
        return self.folder.name

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """How it did beside another model (`training/`); None if that was not measured, or not properly noted."""
        found = self.facts.get("evaluation")
        try:
            ours, theirs, points = found["candidate"]["all"], found["current"]["all"], found["difference"]
            known = found["verdict"] in ("better", "same", "worse") and isinstance(found["against"], str)
            return found if known and all(isinstance(n, int | float) for n in (ours, theirs, points)) else None
        except (KeyError, TypeError):
            return None


def inspect(folder: Path) -> Manifest:
    """The manifest of a model folder, after all checks that cost nothing.

    Raises `BadManifest`, `IncompleteModel`, `OtherPrompt`, `CorruptModel`, `OtherArchitecture`.
    """
    name, path = folder.name, folder / "manifest.json"
    try:
        facts = json.loads(path.read_text("utf-8"))
    except OSError as e:
        raise BadManifest(name, _what(e)) from None
    except (ValueError, RecursionError):
        raise BadManifest(name, "it is not JSON") from None
    if not isinstance(facts, dict):
        raise BadManifest(name, "it is not an object")
    for key, kind in _REQUIRED.items():
        if not isinstance(facts.get(key), kind):
            raise BadManifest(name, f'"{key}" is {"wrong" if key in facts else "missing"}')
    file = folder / facts["file"]
    if file.name != facts["file"]:
        raise BadManifest(name, '"file" is not the name of a file in the folder')
    try:
        size = file.stat().st_size if file.is_file() else 0
    except OSError as e:
        raise CorruptModel(name, _what(e)) from None
    if size != facts["bytes"]:
        raise IncompleteModel(name, file.name, size, facts["bytes"])
    if facts["prompt"] != PROMPT_VERSION:
        raise OtherPrompt(name, facts["prompt"], PROMPT_VERSION)
    try:
        found = architecture(file)
    except OSError as e:
        raise CorruptModel(name, _what(e)) from None
    except ValueError as e:
        raise CorruptModel(name, str(e)) from None
    if found != facts.get("gguf_architecture", found):
        raise OtherArchitecture(name, found, facts["gguf_architecture"])
    return Manifest(folder, file, facts["sha256"], size, facts)


def verify(folder: Path, check_load: bool = False) -> Manifest:
    """`inspect`, then the hash of the file; `check_load`: then load it and let it write one rewrite.

    Raises what `inspect` raises, and `CorruptModel`.
    """
    manifest = inspect(folder)
    try:
        found = sha256_of(manifest.file)
    except OSError as e:
        raise CorruptModel(manifest.name, _what(e)) from None
    if found != manifest.sha256:
        raise CorruptModel(manifest.name, "its SHA-256 is not that of its manifest")
    if check_load:
        try_out(manifest)
    return manifest


def try_out(manifest: Manifest) -> None:
    """Load a model and let it write one rewrite. Raises `CorruptModel`."""
    from assistant.local import LlamaModel
    from assistant.words import model_text

    try:
        model = LlamaModel(manifest.file)
    except ModelError:
        raise CorruptModel(manifest.name, "llama.cpp cannot load it") from None
    try:
        model.write(model_text(TRIAL))
    except Unreadable:
        raise CorruptModel(manifest.name, "it cannot write a rewrite") from None
    finally:
        model.close()


def sha256_of(file: Path) -> str:
    """In hexadecimal. Raises OSError."""
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _what(e: OSError) -> str:
    return (e.strerror or str(e)).lower()
