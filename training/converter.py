"""llama.cpp's own converter from a model folder of the hub to GGUF, out of llama-cpp-python's source distribution.

What converts is then of the same llama.cpp as what runs the model. It is fetched once through pip, checked by its
SHA-256, and kept in the cache folder.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from assistant.errors import AssistantError
from assistant.models import sha256_of
from training.tiny_phi import PRE_TOKENIZER_NOTE

CACHE = Path(__file__).parent / "runs" / "cache"
PACKAGE = "llama_cpp_python"
KNOWN = {"0.3.36": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"}
"""Version -> SHA-256 of its source distribution, as the package index gives it."""
PARTS = ("convert_hf_to_gguf.py", "conversion/", "gguf-py/", "LICENSE")
SHIM = """
import json, os, runpy, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
sys.argv = sys.argv[1:]
from conversion.base import TextModel
name = os.environ["PRE_TOKENIZER"]
TextModel.get_vocab_base_pre = lambda self, tokenizer: name
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs the converter with a given name of the pre-tokenizer, which otherwise is looked up among known models'."""


class NoConverter(AssistantError):
    code, exit_status = "no_converter", 1


class ConversionFailed(AssistantError):
    code, exit_status = "conversion", 3


def converter(cache: Path) -> Path:
    """The converter's script of the installed version, fetched at first. Raises `NoConverter`."""
    installed = version(PACKAGE)
    folder = cache / f"llama.cpp-{installed}"
    if not (folder / PARTS[0]).exists():
        if installed not in KNOWN:
            raise NoConverter(
                f"The converter of llama-cpp-python {installed} is not known here: install {', '.join(KNOWN)}, or add "
                "the SHA-256 of its source distribution to training/converter.py."
            )
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            source = _download(installed, Path(scratch))
            check_source(source, installed)
            _unpack(source, Path(scratch, "parts"))
            os.replace(Path(scratch, "parts"), folder)
    return folder / PARTS[0]


def _download(wanted: str, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
           "--no-binary", PACKAGE, "--dest", str(folder), f"{PACKAGE}=={wanted}"]  # fmt: skip
    done = subprocess.run(pip, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    source = folder / f"{PACKAGE}-{wanted}.tar.gz"
    if done.returncode or not source.is_file():
        told = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise NoConverter(f"llama.cpp's converter could not be fetched (pip says: {told}): try again with a network.")
    return source


def check_source(source: Path, wanted: str) -> None:
    """Raises `NoConverter` if it is not the source distribution of that version."""
    found = sha256_of(source)
    if found != KNOWN[wanted]:
        raise NoConverter(f"The source distribution of llama-cpp-python {wanted} is not the one expected ({found}).")


def _unpack(source: Path, folder: Path) -> None:
    """The converter's files alone."""
    root = f"{source.name.removesuffix('.tar.gz')}/vendor/llama.cpp/"
    with tarfile.open(source) as archive:
        for member in archive:
            inside = member.name.removeprefix(root)
            if member.isfile() and member.name.startswith(root) and inside.startswith(PARTS):
                member.name = inside
                archive.extract(member, folder, filter="data")


def convert(model: Path, target: Path, cache: Path) -> None:
    """Writes the model folder `model` as an f16 GGUF. Raises `NoConverter`, `ConversionFailed`."""
    script = converter(cache)
    command = [str(script), str(model), "--outfile", str(target), "--outtype", "f16"]
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    note = model / PRE_TOKENIZER_NOTE
    if note.exists():
        environ["PRE_TOKENIZER"] = json.loads(note.read_text())["name"]
        command = ["-c", SHIM, *command]
    done = subprocess.run([sys.executable, *command], env=environ, capture_output=True, text=True)
    if done.returncode or not target.is_file():
        told = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise ConversionFailed(f"llama.cpp's converter does not take {model.name} ({told}).")
