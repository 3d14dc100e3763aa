"""A server in memory over a real bank, and over one that fails on demand, in both protocol eras."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

from reasoning_bank.mcp.server import build_server, open_configured_bank
from reasoning_bank.settings import Settings, load_settings
from tests.mcp.standin import StandInBank

ERAS = ("auto", "legacy")
"""auto negotiates 2026-07-28, legacy shakes hands as 2025-11-25."""


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    """A small real bank: hashing instead of a model, no Chroma, no tokenizer to load."""
    return load_settings(
        data_dir=data_dir,
        profile="full",
        durability="process",
        embeddings={"backend": "hashing"},
        vectors={"chroma_mode": "off"},
        compression={"tokenizer": "estimated"},
    )


@pytest.fixture
def server(settings: Settings) -> MCPServer[Any]:
    return build_server(open_configured_bank(settings), settings)


@pytest.fixture
def bank() -> StandInBank:
    """A bank that fails and waits when told to; only tests of faults and of the surface itself use it."""
    return StandInBank()


@pytest.fixture
def standin_server(bank: StandInBank, settings: Settings) -> MCPServer[Any]:
    return build_server(lambda: bank, settings)  # pyright: ignore[reportArgumentType] -- stands in for the bank


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def client(server: MCPServer[Any], era: str) -> AsyncGenerator[Client]:
    """A client of the real bank."""
    async with held(server, era) as connected:
        yield connected


@pytest.fixture
async def standin(standin_server: MCPServer[Any], era: str) -> AsyncGenerator[Client]:
    """A client of the bank that fails on demand."""
    async with held(standin_server, era) as connected:
        yield connected


@asynccontextmanager
async def held(server: MCPServer[Any], era: str) -> AsyncGenerator[Client]:
    """A connected client, entered and left by one task: fixtures are torn down in another than they were set up in."""
    ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        async with Client(server, mode=era) as connected:
            ready.set_result(connected)
            await done.wait()

    task = asyncio.create_task(hold())
    await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    yield ready.result()
    done.set()
    await task
