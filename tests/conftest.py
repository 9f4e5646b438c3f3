"""What every test shares."""

import os
from pathlib import Path

import pytest

MODEL = Path(__file__).parent.parent / "models" / "small"
LONGEST = (
    "test_retrain", "test_notebook", "test_finetune", "test_training", "test_soak", "test_end_to_end_voice", "test_mqtt",
    "test_push_model", "test_page", "test_when_properties", "test_delivery", "test_corrections", "test_stt_sphinx",
)  # fmt: skip
"""Files that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no processor waits for another's last file."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def model() -> Path:
    """The model that ships with the program."""
    if not (MODEL / "manifest.json").is_file():
        pytest.skip(f"there is no model in {MODEL.name} yet: training/export.py makes it")
    return MODEL


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(tmp_path, monkeypatch):
    """No test sees the settings or the reminders of whoever runs it."""
    for name in list(os.environ):
        if name.upper().startswith("ASSISTANT_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (("XDG_CONFIG_HOME", ".config"), ("XDG_DATA_HOME", ".local/share")):
        monkeypatch.setenv(name, str(home / folder))
