"""What a client sees when the bank below fails."""

import pytest
from mcp import Client, MCPError
from mcp.types import ResourceTemplateReference

from reasoning_bank.errors import BusyError, StorageError
from tests.mcp.speaking import read, refused
from tests.mcp.standin import StandInBank


async def test_a_bug_is_hidden_from_the_client(standin: Client, bank: StandInBank) -> None:
    bank.failing = RuntimeError("secret path /home/someone")
    assert await refused(standin, "get_memory", ids=["m1"]) == "get_memory failed; the server's log says why"


async def test_a_failure_of_the_disk_says_what_to_do(standin: Client, bank: StandInBank) -> None:
    bank.failing = StorageError("/secret/path is full", code="full")
    text = await refused(standin, "store_trace", task="x")
    assert text == "The disk is full: nothing was stored. Free some space, then send the same call again."


async def test_a_busy_bank_says_when_to_come_back(standin: Client, bank: StandInBank) -> None:
    bank.failing = BusyError("the queue is full", retry_after_s=2)
    assert await refused(standin, "store_trace", task="x") == "Busy: the queue is full. Try again in 2 s."


async def test_a_resource_that_cannot_be_read_is_explained(standin: Client, bank: StandInBank) -> None:
    bank.failing = StorageError("/secret/path is full", code="full")
    with pytest.raises(MCPError) as caught:
        await standin.read_resource("bank://stats")
    assert caught.value.error.code == -32603
    assert "The disk is full" in caught.value.error.message
    assert "secret" not in caught.value.error.message


async def test_health_answers_for_a_bank_that_cannot_be_opened(standin: Client, bank: StandInBank) -> None:
    bank.opening_failures = [StorageError("x", code="damaged")]
    health = await read(standin, "bank://health")
    assert health["status"] == "unavailable"
    assert "damaged" in health["reason"]


async def test_a_prompt_whose_search_fails_says_why(standin: Client, bank: StandInBank) -> None:
    bank.failing = StorageError("x", code="locked")
    with pytest.raises(MCPError) as caught:
        await standin.get_prompt("recall", {"task": "x"})
    assert caught.value.error.code == -32603
    assert "Another process" in caught.value.error.message


async def test_a_failing_completion_is_a_protocol_error(standin: Client, bank: StandInBank) -> None:
    bank.failing = StorageError("x", code="io")
    with pytest.raises(MCPError) as caught:
        await standin.complete(ResourceTemplateReference(uri="bank://memories/{id}"), {"name": "id", "value": "m"})
    assert caught.value.error.code == -32603


@pytest.mark.parametrize("era", ["auto"], indirect=False)
async def test_the_defaults_of_a_search_come_from_the_settings(standin: Client, bank: StandInBank, era: str) -> None:
    await standin.call_tool("retrieve_memory", {"task": "x"})
    ((workspace, query),) = bank.queries
    assert (workspace, query.k, query.token_budget, query.min_score) == ("default", 3, 800, None)
