"""What a client sees of the tools, in both eras."""

from typing import Any

import pytest
from mcp import Client, MCPError

from reasoning_bank.records import MemoryItem
from tests.mcp.standin import StandInBank

LESSON = MemoryItem(
    text="parse dates in csv", title="Parse dates strictly", description="When a csv has dates", content="Use ISO."
)


def text_of(result: Any) -> str:
    (block,) = result.content
    return block.text


async def test_a_stored_lesson_is_found_with_the_contract_keys(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON)
    result = await client.call_tool("retrieve_memory", {"task": "parse dates"})
    assert not result.is_error
    assert result.structured_content is not None
    assert set(result.structured_content) == {"memories", "context", "below_floor", "degraded", "timings_ms"}
    (memory,) = result.structured_content["memories"]
    assert set(memory) == {
        "id", "external_id", "title", "description", "content", "score", "outcome", "warning", "provenance",
    }  # fmt: skip
    assert memory["content"] is None
    assert text_of(result) == result.structured_content["context"]


async def test_detail_full_adds_the_content(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON)
    result = await client.call_tool("retrieve_memory", {"task": "parse dates", "detail": "full"})
    assert result.structured_content is not None
    assert result.structured_content["memories"][0]["content"] == "Use ISO."


async def test_nothing_relevant_is_said_in_words(client: Client) -> None:
    result = await client.call_tool("retrieve_memory", {"task": "anything"})
    assert result.structured_content is not None
    assert result.structured_content["memories"] == []
    assert "work without one" in text_of(result)


async def test_the_defaults_of_a_search_come_from_the_settings(client: Client, bank: StandInBank) -> None:
    await client.call_tool("retrieve_memory", {"task": "x"})
    ((workspace, query),) = bank.queries
    assert (workspace, query.k, query.token_budget, query.min_score) == ("default", 3, 800, None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "`task` is missing"),
        ({"task": 5}, "`task` must be text, got a number"),
        ({"task": ""}, "`task` is empty"),
        ({"task": "x", "k": "5"}, "`k` must be an integer, without quotes, got text"),
        ({"task": "x", "k": True}, "`k` must be an integer, without quotes, got true or false"),
        ({"task": "x", "k": 0}, "`k` must be at least 1"),
        ({"task": "x", "k": -1}, "`k` must be at least 1"),
        ({"task": "x", "k": 10**9}, "the limit is 100"),
        ({"task": "x", "k": 10**20}, "the limit is 100"),
        ({"task": "x", "k": 2.5}, "`k` must be an integer"),
        ({"task": "x", "min_score": 2}, "`min_score` must be at most 1"),
        ({"task": "x", "min_score": "0.5"}, "`min_score` must be a number, without quotes, got text"),
        ({"task": "x", "tags": "a"}, "`tags` must be a JSON array, got text"),
        ({"task": "x", "tags": '["a"]'}, "`tags` must be a JSON array, got text"),
        ({"task": "x", "tags": ["a", 1]}, "`tags.1` must be text, got a number"),
        ({"task": "x", "outcome": "SECRET-VALUE"}, "`outcome` must be one of 'any', 'success' or 'failure'"),
        ({"task": "x", "since": "SECRET-VALUE"}, "`since` is no ISO 8601 time"),
        ({"task": "x", "query": "SECRET-VALUE"}, "'query' is not an argument of retrieve_memory; did you mean"),
        ({"task": "x", "taks": "SECRET-VALUE"}, "did you mean `task`?"),
        ({"task": "x", "include_failures": "true"}, "`include_failures` must be true or false, without quotes"),
    ],
)
async def test_wrong_arguments_are_explained_and_never_echoed(
    client: Client, arguments: dict[str, Any], told: str
) -> None:
    result = await client.call_tool("retrieve_memory", arguments)
    assert result.is_error
    assert told in text_of(result)
    assert "SECRET-VALUE" not in text_of(result)
    assert "pydantic" not in text_of(result)
    assert "http" not in text_of(result)


async def test_a_wrong_field_inside_a_draft_names_its_place_and_its_neighbours(client: Client) -> None:
    drafts = [{"title": "a", "content": "b"}, {"title": "a", "contents": "SECRET-VALUE"}]
    result = await client.call_tool("store_trace", {"task": "x", "memories": drafts})
    assert result.is_error
    assert "`memories.1.content` is missing" in text_of(result)
    assert "'contents' is not an argument of `memories.1`; did you mean `content`?" in text_of(result)
    assert "SECRET-VALUE" not in text_of(result)


async def test_a_sixth_draft_is_refused(client: Client) -> None:
    drafts = [{"title": "a", "content": "b"}] * 6
    result = await client.call_tool("store_trace", {"task": "x", "memories": drafts})
    assert result.is_error
    assert text_of(result) == "`memories` is too long: send at most 5 items"


async def test_null_for_an_argument_that_may_be_left_out_means_left_out(client: Client, bank: StandInBank) -> None:
    result = await client.call_tool("retrieve_memory", {"task": "x", "k": None, "tags": None, "workspace": None})
    assert not result.is_error
    assert bank.queries[0][1].k == 3


async def test_an_unknown_tool_is_a_protocol_error(client: Client) -> None:
    with pytest.raises(MCPError) as caught:
        await client.call_tool("retrieve", {})
    assert caught.value.error.code == -32602
    assert "retrieve_memory" in caught.value.error.message


async def test_a_bug_is_hidden_from_the_client(client: Client, bank: StandInBank) -> None:
    bank.failing = RuntimeError("secret path /home/someone")
    result = await client.call_tool("get_memory", {"ids": ["m1"]})
    assert result.is_error
    assert "secret" not in text_of(result)


async def test_store_answers_with_ids_and_asks_for_lessons(client: Client) -> None:
    result = await client.call_tool("store_trace", {"task": "fix the build", "outcome": "failure"})
    assert result.structured_content is not None
    assert result.structured_content["trace_id"]
    assert result.structured_content["distil_request"]["instructions"] == "Name lessons."
    assert "idempotency_key='derived'" in text_of(result)


async def test_drafts_are_kept_and_named(client: Client) -> None:
    drafts = [{"title": "Pin versions", "content": "Pin them."}]
    result = await client.call_tool("store_trace", {"task": "fix the build", "memories": drafts, "tags": ["ci"]})
    assert result.structured_content is not None
    assert result.structured_content["memories"] == [
        {"id": "m1", "title": "Pin versions", "action": "created", "reason": None}
    ]
    assert result.structured_content["distil_request"] is None


async def test_a_memory_of_another_workspace_does_not_exist(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON, workspace="other", id="theirs")
    result = await client.call_tool("get_memory", {"ids": ["theirs"]})
    assert result.is_error
    assert text_of(result) == "no memory 'theirs' in this workspace"


async def test_rating_returns_the_new_counters(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON)
    result = await client.call_tool("rate_memory", {"ids": ["m1", "m1"], "verdict": "helped"})
    assert result.structured_content == {"counters": {"m1": {"used": 0, "helped": 1, "misled": 0, "ignored": 0}}}


async def test_a_compressed_prompt_is_its_own_text_copy(client: Client) -> None:
    result = await client.call_tool("compress_prompt", {"prompt": "a long prompt " * 10})
    assert result.structured_content is not None
    assert set(result.structured_content) == {
        "text", "tokens_before", "tokens_after", "tokenizer", "exact", "lossless", "steps", "kept",
    }  # fmt: skip
    assert text_of(result) == result.structured_content["text"]


async def test_forgetting_can_be_undone(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON)
    gone = await client.call_tool("forget_memory", {"id": "m1"})
    back = await client.call_tool("forget_memory", {"id": "m1", "undo": True})
    assert gone.structured_content == {"id": "m1", "forgotten": True, "deleted_at": "2026-01-02T03:04:05+00:00"}
    assert back.structured_content == {"id": "m1", "forgotten": False, "deleted_at": None}


async def test_updating_nothing_says_what_can_be_updated(client: Client, bank: StandInBank) -> None:
    bank.add(LESSON)
    result = await client.call_tool("update_memory", {"id": "m1", "fields": {}})
    assert result.is_error
    assert "title, description, content" in text_of(result)


async def test_a_lone_surrogate_is_refused_with_its_field(server: Any, bank: StandInBank) -> None:
    from reasoning_bank.mcp.auth import bind_caller

    bind_caller("default", None)
    with pytest.raises(Exception, match="`task` holds half of a UTF-16 pair"):
        await server.call_tool("retrieve_memory", {"task": "\ud800"})
