"""The bank opens in the background, once, and again when it failed."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client

from reasoning_bank.errors import BusyError, StorageError
from reasoning_bank.mcp.opening import BankOpening
from reasoning_bank.mcp.server import open_configured_bank
from reasoning_bank.settings import Settings
from tests.mcp.standin import StandInBank


def opening_of(bank: StandInBank, **bounds: float) -> BankOpening:
    return BankOpening(lambda: bank, **bounds)  # pyright: ignore[reportArgumentType] -- stands in for the bank


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 -- what happens in the background announces nothing
            await asyncio.sleep(0.01)


async def test_nothing_is_opened_before_it_is_needed(bank: StandInBank) -> None:
    async with opening_of(bank, idle_s=60) as opening:
        assert not opening.opened
    assert bank.entered == 0


async def test_an_idle_server_opens_the_bank_by_itself(bank: StandInBank) -> None:
    async with opening_of(bank, idle_s=0) as opening:
        await until(lambda: opening.opened)
    assert (bank.entered, bank.closed) == (1, 1)


async def test_many_calls_open_one_bank(bank: StandInBank) -> None:
    async with opening_of(bank, idle_s=60) as opening:
        found = await asyncio.gather(*(opening.bank() for _ in range(20)))
    assert all(one is bank for one in found)
    assert (bank.entered, bank.closed) == (1, 1)


async def test_a_failed_opening_is_told_to_everyone_waiting_and_tried_again(bank: StandInBank) -> None:
    bank.opening_failures = [StorageError("x", code="full")]
    async with opening_of(bank, idle_s=60) as opening:
        results = await asyncio.gather(*(opening.bank() for _ in range(5)), return_exceptions=True)
        assert all(isinstance(result, StorageError) for result in results)
        assert await opening.bank() is bank
    assert (bank.entered, bank.closed) == (2, 1)


async def test_a_failed_opening_in_the_background_is_no_reason_to_fail_later(bank: StandInBank) -> None:
    bank.opening_failures = [StorageError("x", code="locked")]
    async with opening_of(bank, idle_s=0) as opening:
        await until(lambda: bank.entered > 0)
        await asyncio.sleep(0.02)
        assert await opening.bank() is bank


async def test_a_call_waits_for_the_opening_only_so_long() -> None:
    release = threading.Event()

    def slow() -> Any:
        release.wait()
        return StandInBank()

    async with BankOpening(slow, idle_s=60, patience_s=0.02) as opening:
        with pytest.raises(BusyError, match="still opening"):
            await opening.bank()
        release.set()


async def test_a_caller_that_is_cancelled_does_not_stop_the_opening(bank: StandInBank) -> None:
    release = threading.Event()

    def slow() -> Any:
        release.wait()
        return bank

    async with BankOpening(slow, idle_s=60) as opening:
        first = asyncio.create_task(opening.bank())
        await asyncio.sleep(0.02)
        first.cancel()
        release.set()
        assert await opening.bank() is bank
    assert bank.entered == 1


async def test_a_stopping_server_opens_nothing(bank: StandInBank) -> None:
    opening = opening_of(bank, idle_s=60)
    async with opening:
        pass
    with pytest.raises(BusyError, match="stopping"):
        await opening.bank()


async def test_listing_the_tools_starts_the_opening(standin_server: Any, bank: StandInBank) -> None:
    async with Client(standin_server) as client:
        await client.list_tools()
        assert bank.entered == 0  # the answer came first
        await until(lambda: bank.entered > 0)


async def test_a_tool_says_what_to_do_about_a_bank_that_cannot_be_opened(
    standin_server: Any, bank: StandInBank
) -> None:
    bank.opening_failures = [StorageError("/secret", code="read_only")]
    async with Client(standin_server) as client:
        result = await client.call_tool("retrieve_memory", {"task": "x"})
        assert result.is_error
        assert "data directory is read-only" in getattr(result.content[0], "text", "")
        assert not (await client.call_tool("retrieve_memory", {"task": "x"})).is_error


async def test_the_own_workspace_of_a_server_is_read_once_the_bank_is_open(settings: Settings) -> None:
    async with BankOpening(open_configured_bank(settings, warm="own"), idle_s=60) as opening:
        retriever = (await opening.bank()).rooms.retriever
        await until(lambda: retriever._workspaces.latest("own") is not None)
        assert retriever._workspaces.latest("other") is None
