"""Resources, prompts and completions over a real bank, in both eras."""

import asyncio

import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from reasoning_bank.mcp.server import build_server
from reasoning_bank.settings import Settings
from tests.mcp.conftest import held
from tests.mcp.speaking import LESSON, TASK, answer, read, stored
from tests.mcp.standin import StandInBank


async def test_the_lists_are_complete_and_stable(client: Client) -> None:
    resources = {str(resource.uri) for resource in (await client.list_resources()).resources}
    templates = {template.uri_template for template in (await client.list_resource_templates()).resource_templates}
    prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
    assert resources == {"bank://stats", "bank://performance", "bank://health", "bank://workspaces"}
    assert templates == {
        "bank://memories/{id}",
        "bank://memories/{id}/genealogy",
        "bank://performance/{name}",
        "bank://traces/{id}",
    }
    assert prompts == ["recall", "reflect", "solve"]


async def test_reports_tell_the_truth_about_the_callers_workspace(client: Client) -> None:
    await stored(client)
    await stored(client, workspace="other")
    await answer(client, "retrieve_memory", task=TASK)
    stats = await read(client, "bank://stats")
    assert (stats["workspace"], stats["memories"], stats["traces"]) == ("default", 1, 1)
    assert stats["operations"]["retrieve_memory"]["count"] == 1
    assert stats["operations"]["store_trace"]["count"] == 2
    assert (await read(client, "bank://performance"))["operations"]["tool.retrieve_memory"]["1m"]["count"] == 1
    assert (await read(client, "bank://health"))["status"] in {"ok", "degraded"}
    listed = await read(client, "bank://workspaces")
    assert {workspace["name"] for workspace in listed["workspaces"]} == {"default", "other"}
    assert listed["own"] == "default"


async def test_items_are_read_by_address(client: Client) -> None:
    memory_id = await stored(client, trajectory="step " * 100_000, tags=["csv"])
    memory = await read(client, f"bank://memories/{memory_id}")
    assert (memory["title"], memory["tags"]) == (LESSON["title"], ["csv"])
    assert (await read(client, f"bank://memories/{memory_id}/genealogy"))["trace_id"] == memory["trace"]["id"]
    assert (await read(client, f"bank://traces/{memory['trace']['id']}"))["trajectory"] == "step " * 100_000


@pytest.mark.parametrize(
    "uri",
    [
        "bank://memories/none",
        "bank://traces/none",
        "bank://memories/none/genealogy",
        "bank://memories/..%2F..%2Fetc%2Fpasswd",
        "bank://memories/%2Fetc%2Fpasswd",
        "bank://memories/a%00b",
        "bank://memories/%22%20OR%201%3D1%20--",
        "bank://nothing",
        "file:///etc/passwd",
    ],
)
async def test_what_does_not_exist_is_not_found(client: Client, uri: str) -> None:
    with pytest.raises(MCPError) as caught:
        await client.read_resource(uri)
    assert caught.value.error.code == -32602
    assert caught.value.error.data == {"uri": uri}


async def test_an_item_of_another_workspace_does_not_exist(client: Client) -> None:
    theirs = await stored(client, workspace="other")
    for uri in (f"bank://memories/{theirs}", f"bank://memories/{theirs}/genealogy"):
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
        assert caught.value.error.code == -32602


async def test_prompts_carry_what_is_known(client: Client) -> None:
    await stored(client)
    for name in ("recall", "solve"):
        result = await client.get_prompt(name, {"task": TASK})
        assert LESSON["content"] in getattr(result.messages[0].content, "text", "")
    reflect = await client.get_prompt("reflect", {"task": TASK, "outcome": "failure"})
    assert "store_trace" in getattr(reflect.messages[0].content, "text", "")


async def test_prompts_carry_as_much_as_the_settings_say(bank: StandInBank, settings: Settings, era: str) -> None:
    chosen = settings.model_copy(
        update={"retrieval": settings.retrieval.model_copy(update={"k": 7, "token_budget": 1_200})}
    )
    server = await asyncio.to_thread(build_server, lambda: bank, chosen)  # pyright: ignore[reportArgumentType]
    async with held(server, era) as client:
        await client.get_prompt("recall", {"task": TASK})
        await client.get_prompt("solve", {"task": TASK})
    assert [(query.k, query.token_budget) for _, query in bank.queries] == [(7, 1_200)] * 2


async def test_performance_can_be_asked_about_one_group_of_operations(client: Client) -> None:
    await stored(client)
    told = await read(client, "bank://performance/tool")
    assert set(told["operations"]) == {"tool.store_trace"}
    assert told["operations"]["tool.store_trace"]["15m"]["errors"] == 0
    with pytest.raises(MCPError) as caught:
        await client.read_resource("bank://performance/nothing")
    assert caught.value.error.code == -32602


async def test_stats_tell_what_each_strategy_gave_and_what_of_it_helped(client: Client) -> None:
    memory_id = await stored(client)
    await answer(client, "retrieve_memory", task=TASK)
    await answer(client, "rate_memory", ids=[memory_id], verdict="helped")
    told = await read(client, "bank://stats")
    assert set(told["strategies"]) == {"semantic", "keyword", "temporal", "entity"}
    assert told["strategies"]["keyword"] == {"returned": 1, "helped": 1}
    assert told["strategies"]["temporal"] == {"returned": 0, "helped": 0}
    assert not [name for name in told["counters"] if name.startswith(("returned.", "helped."))]


async def test_a_prompt_says_when_nothing_is_known(client: Client) -> None:
    result = await client.get_prompt("recall", {"task": TASK})
    assert "nothing relevant" in getattr(result.messages[0].content, "text", "")


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("recal", {"task": "x"}, "Unknown prompt. Prompts: recall, reflect, solve"),
        ("recall", {}, "`task` is missing"),
        ("recall", {"task": "x", "k": "3"}, "'k' is not an argument"),
        ("recall", {"task": " "}, "task is empty"),
    ],
)
async def test_a_wrong_prompt_call_is_the_clients_error_in_both_eras(
    client: Client, name: str, arguments: dict[str, str], told: str
) -> None:
    with pytest.raises(MCPError) as caught:
        await client.get_prompt(name, arguments)
    assert caught.value.error.code == -32602
    assert told in caught.value.error.message


async def test_completions_know_ids_names_and_outcomes(client: Client) -> None:
    memory_id = await stored(client, tags=["csv"], domain="data")
    await stored(client, workspace="deferred")

    async def completed(reference: PromptReference | ResourceTemplateReference, name: str, value: str) -> list[str]:
        return (await client.complete(reference, {"name": name, "value": value})).completion.values

    template, recall = ResourceTemplateReference(uri="bank://memories/{id}"), PromptReference(name="recall")
    assert await completed(template, "id", memory_id[:4]) == [memory_id]
    assert len(await completed(ResourceTemplateReference(uri="bank://traces/{id}"), "id", "")) == 1
    assert await completed(recall, "workspace", "de") == ["default", "deferred"]
    assert await completed(recall, "tag", "c") == ["csv"]
    assert await completed(recall, "domain", "") == ["data"]
    assert await completed(PromptReference(name="reflect"), "outcome", "f") == ["failure"]
    assert await completed(recall, "task", "x") == []
    assert await completed(ResourceTemplateReference(uri="bank://other/{id}"), "id", "") == []
