import asyncio
import threading

from sqlalchemy import Connection, select

from reasoning_bank.records import MemoryItem
from reasoning_bank.retrieval.usage import UsageLog
from reasoning_bank.storage import memories
from reasoning_bank.storage.schema import servings as table
from reasoning_bank.storage.servings import task_hash
from tests.retrieval.bank import START, SmallBank


async def test_a_flush_that_is_cancelled_counts_once(bank: SmallBank) -> None:
    (id_,) = await bank.store("w", MemoryItem("Pin the compiler version"))
    usage, may_write = UsageLog(bank.database), threading.Event()

    def blocks(_: Connection) -> None:
        assert may_write.wait(5)

    blocked = asyncio.ensure_future(bank.database.write(blocks))
    usage.served("w", [id_], task="Pin it", now=START)
    flushing = asyncio.ensure_future(usage.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.wait({flushing}, timeout=5)
    may_write.set()
    await blocked
    await usage.flush()
    await bank.database.write(lambda _: None)  # after all that was queued
    found = await bank.database.read(lambda connection: memories.by_ids(connection, "w", [id_]))
    assert found[id_].counters.used == 1


async def test_what_was_given_for_which_task_is_noted_once_without_its_words(bank: SmallBank) -> None:
    (id_,) = await bank.store("w", MemoryItem("Pin the compiler version"))
    usage = UsageLog(bank.database)
    for task in ("Pin it", "pin  it", "Build it"):
        usage.served("w", [id_], task=task, now=START)
    await usage.flush()

    def rows(connection: Connection) -> set[tuple[str, str, str]]:
        return {
            tuple(row) for row in connection.execute(select(table.c.workspace, table.c.memory_id, table.c.task_hash))
        }

    assert await bank.database.read(rows) == {("w", id_, task_hash(task)) for task in ("Pin it", "Build it")}
    found = await bank.database.read(lambda connection: memories.by_ids(connection, "w", [id_]))
    assert found[id_].counters.used == 3
