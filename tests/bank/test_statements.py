"""What the bank asks of its database: by indexes, by all of them, and no more often for many items than for one.

SQLite plans without statistics here, as in every bank: a plan depends on the tables and the words of a statement only.
"""

import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.errors import InputError
from reasoning_bank.monitoring.statements import Statement, listening
from reasoning_bank.records import ImportedMemory, ImportedTrace, MemoryItem, NewTrace, Query, Retrieval
from reasoning_bank.settings import load_settings
from reasoning_bank.storage import embeddings
from reasoning_bank.storage.embeddings import EmbeddingRow

from .realistic_run import Executed, item, realistic_run, trace

ITEMS: Final = 300
"""Placeholders put for a list: a plan that is good for three of them may not be for many."""
BOUNDED: Final = {"workspaces", "tokens", "embedding_models", "bank_facts", "tuning", "sqlite_sequence"}
"""Tables that do not grow with what is remembered."""
WHOLE_TABLE: Final = {
    r"count\(\*\) FILTER \(WHERE EXISTS .*FROM memories WHERE memories.deleted_at IS NULL": "how far embedding has come"
    " in all workspaces, from an index alone; asked by whoever waits for all of it, and by `doctor`",
    r"SELECT memories.workspace, memories.id FROM memories .*NOT \(?EXISTS": "what lacks vectors in all workspaces,"
    " looked for when a model starts",
    r"SELECT count\(\*\).* FROM memories WHERE memories.deleted_at IS NULL": "a gauge, from an index alone",
    r"FROM outbox WHERE outbox.dead_at IS NULL": "of an index that holds nothing but what waits, and ends at the limit",
    r"FROM outbox WHERE outbox.lease_owner IS NOT NULL": "of an index that holds nothing but what is under way",
    r"UPDATE outbox SET .*outbox.lease_owner IS NOT NULL": "of an index that holds nothing but what is under way",
    r"SELECT \(SELECT count\(\*\) AS count_1 FROM outbox": "of indexes that hold what waits, is under way or given up",
    r"SELECT outbox.payload FROM outbox": "what a person purges may still be queued, or given up",
}
"""What reads a whole table, or a whole index of one, and why it may."""
SORTED: Final = {
    "FROM rejections": "what a person looks at: the latest of a workspace",
    "FROM memory_history": "what a person undoes: the latest of a workspace",
    "FROM outbox": "the oldest of one kind of work, asked where somebody waits for that kind",
}
"""What is sorted to give the first rows, and why it may be."""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    directory: Path = tmp_path_factory.mktemp("realistic") / "bank"
    return realistic_run(
        load_settings(
            data_dir=directory,
            embeddings={"backend": "hashing"},
            vectors={"search": "exact"},
            compression={"tokenizer": "estimated"},
            durability="process",
            background={"poll_s": 0.02},
        )
    )


def plans(executed: Executed) -> Iterator[tuple[str, list[str]]]:
    """Each statement with its plan, lists of placeholders as long as they get.

    Twice: where two indexes seem equally good, SQLite takes the one that was made last, and their order is anybody's.
    """
    for backwards in (False, True):
        with closing(_with_indexes_in_order(executed.database, backwards=backwards)) as connection:
            for short in executed.sql:
                if re.match("SELECT|INSERT|UPDATE|DELETE|WITH", short):
                    sql = executed.sql[short]
                    if " IN (" in short:
                        sql = short.replace("(?, …)", f"({', '.join('?' * ITEMS)})")
                    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * sql.count("?"))
                    yield short, [row[3] for row in rows]


def _with_indexes_in_order(database: Path, *, backwards: bool) -> sqlite3.Connection:
    """An empty bank with the same tables and indexes."""
    with closing(sqlite3.connect(database)) as connection:
        made = connection.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"
        ).fetchall()
    empty = sqlite3.connect(":memory:")
    for kind in ("table", "index"):
        for _, _, sql in sorted((row for row in made if row[0] == kind), key=lambda row: row[1], reverse=backwards):
            empty.execute(sql)
    return empty


def test_no_statement_reads_a_growing_table_from_end_to_end(executed: Executed) -> None:
    reasoned: set[str] = set()
    for short, plan in plans(executed):
        scanned = {found[1] for step in plan if (found := re.match(r"SCAN (\w+)", step))}
        if scanned - BOUNDED - {"CONSTANT"}:
            reasons = {pattern for pattern in WHOLE_TABLE if re.search(pattern, short)}
            assert reasons, f"for {sorted(executed.by[short])}: {short}\n{plan}"
            reasoned |= reasons
    assert len(executed.sql) > 100, "the run does what a bank does"
    assert reasoned == set(WHOLE_TABLE), "a reason that nothing needs is removed"


def test_a_few_rows_are_looked_up_and_not_picked_from_the_whole_workspace(executed: Executed) -> None:
    """Without statistics SQLite takes a workspace for ten rows, and may prefer its index to that of ids."""
    for short, plan in plans(executed):
        named = re.search(r"\.(?:id|memory_id|trace_id|superseded_by|parent_id|content_hash) (?:= \?|IN \()", short)
        whole = [step for step in plan if step.endswith("(workspace=?)") or " ix_memories_scope " in step]
        assert not (named and whole), f"for {sorted(executed.by[short])}: {short}\n{plan}"


def test_pages_are_read_in_the_order_of_an_index(executed: Executed) -> None:
    found: set[str] = set()
    for short, plan in plans(executed):
        if "LIMIT" in short and any("TEMP B-TREE FOR ORDER BY" in step for step in plan):
            reasons = {table for table in SORTED if table in short}
            assert reasons, f"for {sorted(executed.by[short])}: {short}\n{plan}"
            found |= reasons
    assert found == set(SORTED), "a reason that nothing needs is removed"


def test_every_index_serves_a_statement(executed: Executed) -> None:
    used = " ".join(step for _, plan in plans(executed) for step in plan)
    with closing(sqlite3.connect(executed.database)) as connection:
        made = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        unused = [name for (name,) in made if not re.search(rf"\b{name}\b", used)]
    assert unused == []


async def statements_of(call: Callable[[], Awaitable[object]]) -> int:
    seen: list[Statement] = []
    with listening(seen.append):
        await call()
    return len(seen)


def plain(numbers: range) -> list[ImportedTrace]:
    """Rows of an import that name no others."""
    return [
        ImportedTrace(
            NewTrace(f"task {n}"), (ImportedMemory(MemoryItem(text=f"lesson {n}"), id=f"p_{n}"),), id=f"t_{n}"
        )
        for n in numbers
    ]


async def test_many_memories_are_read_and_written_in_as_many_statements_as_one(bank: ReasoningBank) -> None:
    async def importing(numbers: range) -> int:
        return await statements_of(lambda: bank.store_many("w", plain(numbers)))

    async def reading(numbers: range) -> int:
        return await statements_of(lambda: bank.get_memories("w", [f"p_{n}" for n in numbers]))

    async def embedding(numbers: range) -> int:
        def rows(connection: Connection) -> list[EmbeddingRow]:
            embeddings.register_model(connection, "m", {}, datetime(2026, 1, 1, tzinfo=UTC))
            return [EmbeddingRow(f"p_{n}", "w", "text", 0, "m", 1, "fp32", f"h{n}", 1.0, b"\0" * 4) for n in numbers]

        made = await bank.rooms.database.write(rows)
        return await statements_of(lambda: bank.rooms.database.write(lambda c: embeddings.put(c, made)))

    for work in (importing, reading, embedding):
        assert await work(range(1)) == await work(range(1, 61)) > 1, work.__name__


async def test_a_larger_workspace_is_reported_and_exported_in_as_many_statements(bank: ReasoningBank) -> None:
    async def export() -> None:
        assert [row async for row in bank.export_rows("w")]

    async def report() -> None:
        await bank.stats("w")
        await bank.workspaces()
        await bank.health()

    async def asked() -> list[int]:
        assert await bank.rooms.worker.drain(60)
        return [await statements_of(each) for each in (export, report)]

    await bank.store_many("w", plain(range(1)))
    few = await asked()
    await bank.store_many("w", plain(range(1, 151)))
    assert await asked() == few


async def test_what_was_found_is_read_together(bank: ReasoningBank) -> None:
    await bank.store_many("w", plain(range(60)))
    await bank.wait_until_searchable(timeout_s=60)
    await bank.retrieve("w", Query("lesson task", k=1, min_score=0))  # the picture of the workspace is made
    found: list[Retrieval] = []

    async def search() -> None:
        found.append(await bank.retrieve("w", Query("lesson task", k=50, min_score=0)))

    assert await statements_of(search) <= 5
    assert len(found[0].memories) == 50


async def test_what_a_verdict_sets_off_is_decided_memory_by_memory(bank: ReasoningBank) -> None:
    """The one operation whose statements grow: what is decided of one memory can change what is known of the next."""
    stored = [await bank.store_trace("w", trace(n), memories=[item(n)]) for n in range(9)]
    ids = [str(each.memories[0].id) for each in stored]
    one = await statements_of(lambda: bank.rate("w", ids[:1], "helped"))
    many = await statements_of(lambda: bank.rate("w", ids[1:], "helped"))
    assert many <= one * 8


async def test_storing_asks_once_how_private_a_workspace_is(bank: ReasoningBank) -> None:
    await bank.store_trace("w", trace(1), memories=[item(1)], idempotency_key="k")
    seen: list[Statement] = []
    with listening(seen.append):
        await bank.store_trace("w", trace(2), memories=[item(2), item(3)], idempotency_key="l")
    asked = [statement for statement in seen if "FROM workspaces" in statement.sql]
    assert len(asked) <= 1 < len(seen)
    await bank.upkeep.set_privacy("w", "block")
    with pytest.raises(InputError, match="looks like a secret"):
        await bank.store_trace("w", NewTrace(f"Use the key {'sk-' + 'a1B2' * 12}", "success"))
