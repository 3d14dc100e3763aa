"""Bad input through the surface into a real bank: a clear error or a correct answer, and nothing lost."""

from typing import Any

import pytest
from mcp import Client, MCPError

from tests.mcp.speaking import LESSON, TASK, answer, refused, stored, text_of

QUERIES = [
    '" OR 1=1 --',
    "'; DROP TABLE memories; --",
    "NEAR(",
    "NEAR(a b, 5",
    "*",
    "a* OR (b AND",
    "^title:x",
    "content:csv",
    "-",
    "%_%",
    "日期格式解析错误",
    "שלום עולם",
    "مرحبا بالعالم",
    "🙂👩‍👩‍👧‍👦",
    "e\u0301" * 100,
    "\u202ereversed\u202c",
    "\x1b[31mred\x1b[0m",
    "a\u200bb",
    "x",
    "?" * 5_000,
    "../../etc/passwd",
    "file:///etc/passwd",
    "\ufeffbom",
]


@pytest.mark.parametrize("era", ["auto"], indirect=True)
async def test_any_query_is_answered(client: Client) -> None:
    await stored(client)
    for query in QUERIES:
        found = await answer(client, "retrieve_memory", task=query, min_score=0)
        assert len(found["memories"]) <= 1, query
    assert len((await answer(client, "retrieve_memory", task=TASK))["memories"]) == 1


@pytest.mark.parametrize("era", ["auto"], indirect=True)
async def test_any_text_that_can_be_stored_comes_back_as_it_was(client: Client) -> None:
    for query in QUERIES:
        told = await answer(client, "store_trace", task=f"{TASK} {query}", trajectory={query: [query]}, tags=["t"])
        trace = (await client.read_resource(f"bank://traces/{told['trace_id']}")).contents[0]
        assert '"tags":["t"]' in getattr(trace, "text", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"task": ""}, "`task` is empty"),
        ({"task": "  \n"}, "task is empty"),
        ({"task": "\u200b\u2060"}, "task is empty"),
        ({"task": "a\x00b"}, "task holds a NUL character"),
        ({"task": "x" * 1_000_000}, "the limit is 65536"),
        ({"task": TASK, "trajectory": "x" * 5_000_000}, "the limit is 4194304"),
        ({"task": TASK, "trajectory": {"a": "b\x00"}}, "NUL"),
        ({"task": TASK, "tags": [f"tag{number}" for number in range(10_000)]}, "10000 tags, the limit is 32"),
        ({"task": TASK, "tags": ["x" * 5_000]}, "tag"),
        ({"task": TASK, "memories": [{"title": "t", "content": "x" * 70_000}]}, "the limit is 65536"),
        ({"task": TASK, "metadata": {"a\x00": 1}}, "NUL"),
        ({"task": TASK, "metadata": [1]}, "`metadata` must be a JSON object, got an array"),
        ({"task": TASK, "outcome": "won"}, "`outcome` must be one of"),
        ({"task": TASK, "workspace": "x" * 5_000}, "workspace has"),
        ({"task": TASK, "workspace": ""}, "`workspace` is empty"),
        ({"task": TASK, "idempotency_key": "x" * 500}, "`idempotency_key` is too long"),
        ({"task": TASK, "domain": "x" * 5_000}, "domain"),
        ({"task": TASK, "actor": "someone"}, "'actor' is not an argument of store_trace"),
    ],
)
@pytest.mark.parametrize("era", ["auto"], indirect=True)
async def test_what_cannot_be_stored_is_refused_and_nothing_of_it_is_kept(
    client: Client, arguments: dict[str, Any], told: str
) -> None:
    text = await refused(client, "store_trace", **arguments)
    assert told in text
    assert len(text) < 500
    assert (await answer(client, "retrieve_memory", task=TASK, min_score=0))["memories"] == []


@pytest.mark.parametrize("era", ["auto"], indirect=True)
async def test_ids_of_any_shape_are_not_found_and_not_followed(client: Client) -> None:
    await stored(client)
    for memory_id in (
        "../../etc/passwd",
        "C:\\x",
        "%2e%2e",
        "' OR 1=1 --",
        "x" * 10_000,
        "日",
        "\x00",
        "m_" + "a" * 16,
    ):
        text = await refused(client, "get_memory", ids=[memory_id])
        assert len(text) < 500
        assert "Traceback" not in text
        assert await refused(client, "rate_memory", ids=[memory_id], verdict="helped")
        assert await refused(client, "forget_memory", id=memory_id)
        with pytest.raises(MCPError):
            await client.read_resource(f"bank://memories/{memory_id}")


@pytest.mark.parametrize("era", ["auto"], indirect=True)
async def test_dates_of_any_age_are_answered(client: Client) -> None:
    await stored(client)
    for since, count in (("0001-01-01", 1), ("1970-01-01T00:00:00+23:59", 1), ("9999-12-31T23:59:59Z", 0)):
        assert len((await answer(client, "retrieve_memory", task=TASK, since=since))["memories"]) == count
    for wrong in (
        "yesterday",
        "2026-13-01",
        "1e9",
        "",
        "9" * 50,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
    ):
        assert "`since` is no ISO 8601 time" in await refused(client, "retrieve_memory", task=TASK, since=wrong)


@pytest.mark.parametrize("era", ["auto"], indirect=True)
async def test_what_a_person_cannot_see_is_not_served(client: Client) -> None:
    words = {"title": "Parse\u202e dates\u200b strictly", "content": f"{LESSON['content']}\x1b[8m"}
    hidden = {**LESSON, **words, "tags": ["c\u200bsv"], "domain": "da\u202eta", "difficulty": "\u200bhard"}
    told = await answer(client, "store_trace", task=f"{TASK}\u200b", outcome="success", memories=[hidden, LESSON])
    search: dict[str, Any] = {"task": TASK, "detail": "full", "min_score": 0}
    result = await client.call_tool("retrieve_memory", search)
    ids = [memory["id"] for memory in told["memories"] if memory["id"]]
    whole = await client.call_tool("get_memory", {"ids": ids})
    assert ids
    for served in (result, whole):
        shown = str(served.structured_content) + text_of(served)
        assert [character for character in ("\u202e", "\u200b", "\x1b") if character in shown] == []


@pytest.mark.parametrize("era", ["auto"], indirect=True)
async def test_a_note_is_no_place_for_a_document(client: Client) -> None:
    ids = [await stored(client)]
    told = await refused(client, "rate_memory", ids=ids, verdict="helped", note="n" * 4_001)
    assert told.endswith("`note` is too long: send at most 4000 characters")
