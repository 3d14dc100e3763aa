"""A server in memory, in both protocol eras."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

from reasoning_bank.mcp.server import build_server
from reasoning_bank.settings import Settings, load_settings
from tests.mcp.standin import StandInBank

ERAS = ("auto", "legacy")
"""auto negotiates 2026-07-28, legacy shakes hands as 2025-11-25."""


@pytest.fixture
def bank() -> StandInBank:
    return StandInBank()


@pytest.fixture
def settings() -> Settings:
    return load_settings(profile="full")


@pytest.fixture
def server(bank: StandInBank, settings: Settings) -> MCPServer[Any]:
    return build_server(lambda: bank, settings)  # pyright: ignore[reportArgumentType] -- stands in for the bank


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def client(server: MCPServer[Any], era: str) -> AsyncGenerator[Client]:
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
