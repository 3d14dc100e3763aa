"""What the bank says of itself is what happened."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from sqlalchemy import Connection, delete, update

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.errors import InputError, ModelUnavailableError, NotFoundError, StorageError
from reasoning_bank.learning.work import EMBED
from reasoning_bank.opening import clockwork
from reasoning_bank.records import MemoryItem, NewTrace, Preset, Query
from reasoning_bank.settings import Settings
from reasoning_bank.storage import outbox, schema

LESSON = MemoryItem(
    text="",
    title="Warm the cache before the load test",
    description="When latency is measured.",
    content="Run the queries once before measuring, because the first answers read the index from disk.",
    tags=("Performance",),
    domain="testing",
)


async def _stored(bank: ReasoningBank) -> str:
    result = await bank.store_trace("w", NewTrace(task="Measure the latency of search"), memories=[LESSON])
    return result.memories[0].id or ""


async def test_every_operation_moves_its_own_counters(bank: ReasoningBank) -> None:
    memory_id = await _stored(bank)
    await bank.wait_until_searchable(timeout_s=5)
    await bank.retrieve("w", Query("latency", min_score=0))
    await bank.retrieve("w", Query("latency", min_score=0))
    await bank.get_memories("w", [memory_id])
    await bank.rate("w", [memory_id], "helped")
    with pytest.raises(NotFoundError):
        await bank.rate("w", ["m_unknown"], "helped")
    stats = cast("dict[str, Any]", await bank.stats("w"))
    counted = {name: (figures["count"], figures["errors"]) for name, figures in stats["operations"].items()}
    assert counted["store_trace"] == (1, 0)
    assert counted["retrieve_memory"] == (2, 0)
    assert counted["get_memory"] == (1, 0)
    assert counted["rate_memory"] == (2, 1)
    assert stats["counters"]["searches.exact"] == 2
    assert stats["caches"]["retrieval"]["hits"] == 1
    assert (stats["traces"], stats["memories"], stats["embedded"]) == (1, 1, 1)
    assert stats["model"]["status"] == "ready"


async def test_the_list_of_workspaces_tells_how_many_memories_are_embedded(bank: ReasoningBank) -> None:
    await _stored(bank)
    await bank.wait_until_searchable(timeout_s=5)
    (space,) = await bank.workspaces()
    assert (space["name"], space["memories"], space["embedded"]) == ("w", 1, 1)


async def test_uses_are_counted_when_the_bank_closes(settings: Settings) -> None:
    async with ReasoningBank(settings) as bank:
        memory_id = await _stored(bank)
        for _ in range(3):
            await bank.retrieve("w", Query("measure latency", min_score=0))
    async with ReasoningBank(settings) as bank:
        (detail,) = await bank.get_memories("w", [memory_id])
        assert detail.memory.counters.used == 3


async def test_health_is_as_bad_as_its_worst_part(bank: ReasoningBank) -> None:
    await bank.rooms.model.loader.wait_ready(5)
    health = cast("dict[str, Any]", await bank.health())
    assert health["status"] == "ok"
    assert set(health["parts"]) == {"storage", "model", "background", "index"}
    for part in health["parts"].values():
        assert part == {"status": "ok", "since": part["since"]}


async def test_a_part_tells_since_when_it_is_as_it_is(settings: Settings) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    async with ReasoningBank(settings, clock=replace(clockwork(), now=lambda: now[0])) as bank:
        await bank.rooms.model.loader.wait_ready(5)
        ok = cast("dict[str, Any]", await bank.health())["parts"]["background"]
        now[0] += timedelta(hours=1)
        assert cast("dict[str, Any]", await bank.health())["parts"]["background"] == ok

        def give_up(connection: Connection) -> None:
            outbox.enqueue(connection, "w", "gone", {}, now=now[0])
            connection.execute(update(schema.outbox).values(dead_at=1))

        await bank.rooms.database.write(give_up)
        worse = cast("dict[str, Any]", await bank.health())["parts"]["background"]
    assert (ok["since"], worse["status"], worse["since"]) == (
        "2026-01-01T00:00:00+00:00",
        "degraded",
        "2026-01-01T01:00:00+00:00",
    )


async def test_a_missing_model_leaves_keyword_search_and_says_so(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    without = settings.model_copy(
        update={
            "embeddings": settings.embeddings.model_copy(update={"backend": "onnx"}),
            "assets_dir": tmp_path_factory.mktemp("empty"),
        }
    )
    async with ReasoningBank(without) as bank:
        memory_id = await _stored(bank)
        found = await bank.retrieve("w", Query("latency of search", min_score=0))
        assert ([each.memory.id for each in found.memories], found.degraded) == ([memory_id], ("semantic",))
        health = cast("dict[str, Any]", await bank.health())
        assert health["status"] == "degraded"
        assert "assets install" in health["parts"]["model"]["reason"]
        checks = {check.name: check for check in await bank.diagnose()}
        assert checks["embedding model"].status == "warning"
        assert checks["database"].status == "ok"


async def test_waiting_for_what_was_given_up_ends(bank: ReasoningBank) -> None:
    memory_id = await _stored(bank)
    await bank.wait_until_searchable(timeout_s=5)

    def give_up(connection: Connection) -> None:
        connection.execute(delete(schema.embeddings))
        outbox.enqueue(connection, "w", EMBED, {"ids": [memory_id]}, now=datetime(2026, 1, 1, tzinfo=UTC))
        connection.execute(update(schema.outbox).values(dead_at=1))

    await bank.rooms.worker.drain(5)
    await bank.rooms.database.write(give_up)
    with pytest.raises(ModelUnavailableError, match="1 memory could not be embedded"):
        await bank.wait_until_searchable(timeout_s=5)


async def test_completions_begin_with_the_prefix_and_stay_in_the_workspace(bank: ReasoningBank) -> None:
    memory_id = await _stored(bank)
    assert await bank.complete("tag", "perf", "w") == ["performance"]
    assert await bank.complete("tag", "perf", "v") == []
    assert await bank.complete("domain", "t", "w") == ["testing"]
    assert await bank.complete("memory", memory_id[:4], "w") == [memory_id]
    assert await bank.complete("workspace", "", "w") == ["w"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(" "), "task is empty"),
        (Query("x", k=0), "k is 0"),
        (Query("x", k=-1), "k is -1"),
        (Query("x", k=10**9), "k is 1000000000, the limit is 100"),
        (Query("x" * 70_000), "task is 70000 bytes"),
        (Query("a\ud800"), "surrogate"),
        (Query("x", min_score=1.5), "min_score"),
        (Query("x", per_trace=0), "per_trace is 0: ask for 1 or more"),
        (Query("x", per_actor=-2), "per_actor is -2: ask for 1 or more"),
        (Query("x", near_duplicates=0.0), "near_duplicates is 0.0: send a number above 0"),
        (Query("x", near_duplicates=1.1), "near_duplicates is 1.1"),
        (Query("x", near_duplicates=float("nan")), "near_duplicates is nan"),
        (Query("x", exclude_ids=("m",) * 1001), "exclude_ids has 1001 ids, the limit is 1000"),
        (Query("x", preset=cast("Preset", "papier")), "preset is 'papier': send one of default, paper, conversation"),
    ],
)
async def test_a_question_that_cannot_be_answered_says_why(bank: ReasoningBank, query: Query, said: str) -> None:
    with pytest.raises(InputError, match=said):
        await bank.retrieve("w", query)


async def test_tokens_are_bound_to_a_workspace_and_end_when_revoked(bank: ReasoningBank) -> None:
    made = await bank.upkeep.create_token("team", name="laptop", scopes=("read",))
    token = await bank.upkeep.verify_token(made.secret)
    assert token is not None
    assert (token.workspace, token.scopes) == ("team", ("read",))
    assert await bank.upkeep.verify_token(made.secret + "x") is None
    await bank.upkeep.revoke_token(made.id)
    assert await bank.upkeep.verify_token(made.secret) is None
    with pytest.raises(NotFoundError):
        await bank.upkeep.revoke_token(made.id)
    assert [listed.revoked_at is not None for listed in await bank.upkeep.list_tokens("team")] == [True]


async def test_an_expired_or_revoked_token_is_none(settings: Settings) -> None:
    """A server that asks for tokens refuses to start where none opens anything."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    clock = replace(clockwork(), now=lambda: moment)
    async with ReasoningBank(settings, clock=clock) as bank:
        assert not await bank.upkeep.has_token()
        await bank.upkeep.create_token("w", name="short", scopes=("read",), lifetime=timedelta(days=2))
        moment += timedelta(days=1)
        assert await bank.upkeep.has_token()
        moment += timedelta(days=1)
        assert not await bank.upkeep.has_token()
        lasting = await bank.upkeep.create_token("w", name="lasting", scopes=("read",))
        assert await bank.upkeep.has_token()
        await bank.upkeep.revoke_token(lasting.id)
        assert not await bank.upkeep.has_token()


async def test_a_closed_bank_says_that_it_is_closed(settings: Settings) -> None:
    with pytest.raises(StorageError, match="not open"):
        await ReasoningBank(settings).retrieve("w", Query("x"))
