"""A real bank on a temporary directory, with the hashing embedder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.settings import Settings, load_settings


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return load_settings(
        data_dir=data_dir,
        embeddings={"backend": "hashing"},
        vectors={"search": "exact"},
        compression={"tokenizer": "estimated"},
        durability="process",
        background={"poll_s": 0.02},
    )


@pytest.fixture
async def bank(settings: Settings) -> AsyncIterator[ReasoningBank]:
    async with ReasoningBank(settings) as opened:
        yield opened
