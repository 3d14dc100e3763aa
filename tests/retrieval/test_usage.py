import asyncio
import threading

from sqlalchemy import Connection

from reasoning_bank.records import MemoryItem
from reasoning_bank.retrieval.usage import UsageLog
from reasoning_bank.storage import memories
from tests.retrieval.bank import SmallBank


async def test_a_flush_that_is_cancelled_counts_once(bank: SmallBank) -> None:
    (id_,) = await bank.store("w", MemoryItem("Pin the compiler version"))
    usage, may_write = UsageLog(bank.database), threading.Event()

    def blocks(_: Connection) -> None:
        assert may_write.wait(5)

    blocked = asyncio.ensure_future(bank.database.write(blocks))
    usage.served("w", [id_])
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
