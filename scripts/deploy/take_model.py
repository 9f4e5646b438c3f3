"""On the machine of the model service, as its user: look for a model, take over what was copied, wait until it is used.

    take_model.py look|promote|wait NAME SHA256 --config FILE [--force REASON]

`scripts/deploy/push-model` calls it. Exit status as `assistant models promote` has it.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from time import monotonic, sleep

from assistant.config import Config, load
from assistant.errors import AssistantError, BadRequest, ModelError, NotFound
from assistant.models import inspect, verify
from assistant.pointer import Models, models_of

WAIT_SECONDS = 60
"""So long the service may take to load a model and use it."""


def look(models: Models, name: str, sha256: str) -> str:
    """"same" if that very model is there, "none" if none of its name is. Raises `BadRequest` if another one is."""
    folder = models.folder / name
    if not folder.exists():
        return "none"
    if inspect(folder).sha256 != sha256:
        raise BadRequest(f"There is another model of the name {name} already: give this folder another name.")
    return "same"


def promote(models: Models, name: str, sha256: str, reason: str | None) -> str:
    """Raises `NotFound`, `ModelError`, and what `Models.promote` raises."""
    part, folder = models.folder / f".{name}.part", models.folder / name
    if look(models, name, sha256) == "none":
        if not part.is_dir():
            raise NotFound(f"{name} has not been copied yet: run scripts/deploy/push-model.")
        if verify(part, check_load=True).sha256 != sha256:
            raise ModelError(f"What arrived is not the {name} that was sent: run scripts/deploy/push-model again.")
        part.rename(folder)
    change = models.promote(name, reason)
    if change is None:
        return f"{name} is promoted already."
    return f"{name} is promoted{', against its evaluation' if change.forced else ''}."


def wait(config: Config, models: Models, name: str, sha256: str) -> str:
    """Until the service says that it uses the model. Raises `ModelError` if it went back to the one before."""
    address = f"http://127.0.0.1:{config.serve.port}/health"
    until, found = monotonic() + WAIT_SECONDS, {}
    while monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                found = json.load(answer)
        except (OSError, ValueError):  # it restarts
            found = {}
        if found.get("model_sha256") == sha256:
            return f"The service uses {found['model']} now (SHA-256 {sha256[:12]}...)."
        history = models.read().history
        if history and history[-1].by == "fallback":
            raise ModelError(f"The service went back to {history[-1].name}: {history[-1].reason}")
        sleep(0.2)
    used = f"uses {found['model']}" if found.get("model") else "does not answer"
    raise ModelError(f"The service {used}, not {name}: see journalctl -u assistant.")


def main() -> None:
    parser = argparse.ArgumentParser("take_model.py")
    parser.add_argument("what", choices=("look", "promote", "wait"))
    parser.add_argument("name")
    parser.add_argument("sha256")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--force")
    asked = parser.parse_args()
    os.chdir("/")  # not where whoever called this happens to be, and may have an .env
    config = load(asked.config)
    models = models_of(config)
    if asked.what == "look":
        print(look(models, asked.name, asked.sha256))
    elif asked.what == "promote":
        print(promote(models, asked.name, asked.sha256, asked.force))
    else:
        print(wait(config, models, asked.name, asked.sha256))


if __name__ == "__main__":
    try:
        main()
    except AssistantError as e:
        print(e, file=sys.stderr)
        sys.exit(e.exit_status)
