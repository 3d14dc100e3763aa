from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.storage.database import Database
from tests.retrieval.bank import START, SmallBank


@pytest.fixture
async def bank(tmp_path: Path, hashing: Embedder) -> AsyncIterator[SmallBank]:
    """An empty bank with the embedder that needs no model."""
    async with Database(tmp_path / "bank" / "bank.db", durability="process", now=lambda: START) as database:
        yield SmallBank(database, hashing)
