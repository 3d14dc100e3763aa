"""A client that asks the same again and again: counted and told in the log, and answered as ever."""

import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

from reasoning_bank import ReasoningBank
from reasoning_bank.mcp.server import build_server
from reasoning_bank.settings import Settings
from tests.mcp.conftest import held
from tests.mcp.speaking import TASK, answer, stored


@pytest.fixture
def served(settings: Settings) -> tuple[ReasoningBank, MCPServer[Any]]:
    bank = ReasoningBank(settings)
    return bank, build_server(lambda: bank, settings)


@pytest.fixture
async def bank_and_client(served: tuple[ReasoningBank, MCPServer[Any]]) -> AsyncGenerator[tuple[ReasoningBank, Client]]:
    bank, server = served
    async with held(server, "auto") as connected:
        yield bank, connected


def repeated(bank: ReasoningBank) -> Any:
    counters = bank.monitor.get_statistics()["counters"]
    assert isinstance(counters, dict)
    return counters.get("calls.repeated", 0)


async def test_identical_calls_are_counted_and_answered_the_same(
    bank_and_client: tuple[ReasoningBank, Client], caplog: pytest.LogCaptureFixture
) -> None:
    bank, client = bank_and_client
    ids = [await stored(client)]
    with caplog.at_level(logging.WARNING):
        answers = [await answer(client, "get_memory", ids=ids) for _ in range(4)]
    assert answers[1:] == answers[:-1]
    assert repeated(bank) == 3
    assert [line for line in caplog.messages if "asked get_memory the same 3 times" in line]


async def test_a_search_that_finds_something_new_is_no_repeat(bank_and_client: tuple[ReasoningBank, Client]) -> None:
    bank, client = bank_and_client
    await answer(client, "retrieve_memory", task=TASK)
    await stored(client)
    await answer(client, "retrieve_memory", task=TASK)
    assert repeated(bank) == 0
    await answer(client, "retrieve_memory", task=TASK)
    assert repeated(bank) == 1
