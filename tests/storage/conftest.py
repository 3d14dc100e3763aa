"""A bank in a temporary directory, opened without an event loop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_bank.storage import Database

from .samples import moment


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bank" / "bank.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    # Durability against power cuts costs an fsync per test step and is not what these tests look at.
    opened = Database(path, durability="process", busy_timeout_s=5, now=moment)
    opened.open()
    yield opened
    opened.close()
