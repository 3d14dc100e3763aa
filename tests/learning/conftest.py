"""A bank of lessons on a temporary file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reasoning_bank.storage.database import Database
from tests.learning.lessons import START, Lessons


@pytest.fixture
async def lessons(tmp_path: Path) -> AsyncIterator[Lessons]:
    async with Database(tmp_path / "bank.db", durability="process", now=lambda: START) as database:
        yield Lessons(database)
