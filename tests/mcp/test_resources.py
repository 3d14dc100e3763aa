"""Resources, prompts and completions, in both eras."""

import json
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from reasoning_bank.errors import StorageError
from reasoning_bank.records import MemoryItem
from tests.mcp.standin import StandInBank

LESSON = MemoryItem(text="parse dates", title="Parse dates strictly", content="Use ISO.", tags=("csv",))


async def read(client: Client, uri: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(uri)).contents
    assert content.mime_type == "application/json"
    text = getattr(content, "text", "")
    assert "\n" not in text  # compact: indentation would cost the reader tokens
    return json.loads(text)


async def test_the_lists_are_complete_and_stable(client: Client) -> None:
    resources = {str(resource.uri) for resource in (await client.list_resources()).resources}
    templates = {template.uri_template for template in (await client.list_resource_templates()).resource_templates}
    prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
    assert resources == {"bank://stats", "bank://performance", "bank://health", "bank://workspaces"}
    assert templates == {"bank://memories/{id}", "bank://memories/{id}/genealogy", "bank://traces/{id}"}
    assert prompts == ["recall", "reflect", "solve"]


async def test_reports_are_of_the_callers_workspace(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON)
    bank.add(LESSON, workspace="other")
    assert await read(client, "bank://stats") == {"workspace": "default", "memories": 1}
    assert await read(client, "bank://health") == {"status": "ok"}
    assert (await read(client, "bank://workspaces"))["workspaces"] == [{"name": "default"}, {"name": "other"}]
    assert isinstance(await read(client, "bank://performance"), dict)


async def test_items_are_read_by_address(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON)
    memory = await read(client, "bank://memories/m1")
    assert (memory["title"], memory["tags"], memory["trace"]["id"]) == ("Parse dates strictly", ["csv"], "t-m1")
    assert (await read(client, "bank://memories/m1/genealogy"))["trace_id"] == "t-m1"
    assert (await read(client, "bank://traces/t-m1"))["task"] == "parse dates"


@pytest.mark.parametrize(
    "uri",
    [
        "bank://memories/none",
        "bank://memories/theirs",
        "bank://traces/t-theirs",
        "bank://memories/theirs/genealogy",
        "bank://memories/..%2F..%2Fetc%2Fpasswd",
        "bank://memories/%2Fetc%2Fpasswd",
        "bank://memories/a%00b",
        "bank://nothing",
        "file:///etc/passwd",
    ],
)
async def test_what_is_not_ours_does_not_exist(client: Client, bank: StandInBank, uri: str) -> None:
    bank.add(LESSON, workspace="other", id="theirs")
    with pytest.raises(MCPError) as caught:
        await client.read_resource(uri)
    assert caught.value.error.code == -32602
    assert caught.value.error.data == {"uri": uri}


async def test_a_failure_of_the_bank_is_explained_without_its_details(client: Client, bank: StandInBank) -> None:
    bank.failing = StorageError("/secret/path is full", code="full")
    with pytest.raises(MCPError) as caught:
        await client.read_resource("bank://stats")
    assert caught.value.error.code == -32603
    assert "The disk is full" in caught.value.error.message
    assert "secret" not in caught.value.error.message


async def test_health_answers_for_a_bank_that_cannot_be_opened(client: Client, bank: StandInBank) -> None:
    bank.opening_failures = [StorageError("x", code="damaged")]
    health = await read(client, "bank://health")
    assert health["status"] == "unavailable"
    assert "damaged" in health["reason"]


async def test_prompts_carry_what_is_known(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON)
    for name in ("recall", "solve"):
        result = await client.get_prompt(name, {"task": "parse dates"})
        assert "Use ISO." in getattr(result.messages[0].content, "text", "")
    reflect = await client.get_prompt("reflect", {"task": "parse dates", "outcome": "failure"})
    assert "store_trace" in getattr(reflect.messages[0].content, "text", "")


async def test_a_prompt_says_when_nothing_is_known(client: Client) -> None:
    result = await client.get_prompt("recall", {"task": "parse dates"})
    assert "nothing relevant" in getattr(result.messages[0].content, "text", "")


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("recal", {"task": "x"}, "Unknown prompt. Prompts: recall, reflect, solve"),
        ("recall", {}, "`task` is missing"),
        ("recall", {"task": "x", "k": "3"}, "'k' is not an argument"),
    ],
)
async def test_a_wrong_prompt_call_is_the_clients_error_in_both_eras(
    client: Client, name: str, arguments: dict[str, str], told: str
) -> None:
    with pytest.raises(MCPError) as caught:
        await client.get_prompt(name, arguments)
    assert caught.value.error.code == -32602
    assert told in caught.value.error.message


async def test_a_prompt_whose_search_fails_says_why(client: Client, bank: StandInBank) -> None:
    bank.failing = StorageError("x", code="locked")
    with pytest.raises(MCPError) as caught:
        await client.get_prompt("recall", {"task": "x"})
    assert caught.value.error.code == -32603
    assert "Another process" in caught.value.error.message


async def test_completions_know_ids_workspaces_and_outcomes(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON)
    bank.add(LESSON, workspace="deferred")
    by_id = await client.complete(ResourceTemplateReference(uri="bank://memories/{id}"), {"name": "id", "value": "m"})
    by_trace = await client.complete(ResourceTemplateReference(uri="bank://traces/{id}"), {"name": "id", "value": ""})
    by_name = await client.complete(PromptReference(name="recall"), {"name": "workspace", "value": "de"})
    outcome = await client.complete(PromptReference(name="reflect"), {"name": "outcome", "value": "f"})
    nothing = await client.complete(PromptReference(name="recall"), {"name": "task", "value": "x"})
    assert by_id.completion.values == ["m1"]
    assert by_trace.completion.values == ["t-m1"]
    assert by_name.completion.values == ["default", "deferred"]
    assert outcome.completion.values == ["failure"]
    assert nothing.completion.values == []


async def test_a_failing_completion_is_a_protocol_error(client: Client, bank: StandInBank) -> None:
    bank.failing = StorageError("x", code="io")
    with pytest.raises(MCPError) as caught:
        await client.complete(ResourceTemplateReference(uri="bank://memories/{id}"), {"name": "id", "value": "m"})
    assert caught.value.error.code == -32603
