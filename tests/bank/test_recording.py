"""Many traces in one transaction: each stored completely or not at all, and none twice."""

from collections.abc import Sequence
from datetime import UTC, datetime

import anyio.to_thread
import pytest
from sqlalchemy import Connection

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.errors import BusyError, InputError
from reasoning_bank.learning.recording import Told
from reasoning_bank.records import ImportedMemory, ImportedTrace, MemoryItem, NewTrace, StoreResult
from reasoning_bank.settings import Settings
from reasoning_bank.storage import outbox


def told(number: int, **about: object) -> Told:
    draft = MemoryItem("", title=f"Step {number}", description="", content=f"Call step {number} before step {number}b.")
    return Told(NewTrace(f"Run the pipeline up to step {number}", outcome="success"), [draft], **about)  # pyright: ignore[reportArgumentType]


async def record(bank: ReasoningBank, batch: Sequence[Told]) -> list[StoreResult | InputError]:
    return await anyio.to_thread.run_sync(bank.rooms.learning.recorder.record_many, "w", batch)


async def test_a_bad_trace_is_told_in_its_place_and_takes_nothing_from_the_others(bank: ReasoningBank) -> None:
    await record(bank, [told(1, idempotency_key="k1")])
    answers = await record(
        bank,
        [told(2), Told(NewTrace("  ")), told(3, idempotency_key="k1"), told(4)],
    )
    two, blank, taken, four = answers
    assert isinstance(blank, InputError)
    assert "task" in str(blank)
    assert isinstance(taken, InputError)
    assert "'k1' belongs to another task" in str(taken)
    assert isinstance(two, StoreResult)
    assert isinstance(four, StoreResult)
    stats = await bank.stats("w")
    assert (stats["traces"], stats["memories"]) == (3, 3)
    (memory,) = await bank.get_memories("w", [str(two.memories[0].id)])
    assert memory.trace.id == two.trace_id


async def test_a_batch_recorded_again_stores_what_is_missing(bank: ReasoningBank) -> None:
    first = await record(bank, [told(1), told(1), told(2)])
    again = await record(bank, [told(1), told(2), told(3)])
    one, same, two = (each for each in first if isinstance(each, StoreResult))
    assert same.replayed
    assert same.trace_id == one.trace_id
    stored = [each for each in again if isinstance(each, StoreResult)]
    assert [each.replayed for each in stored] == [True, True, False]
    assert [each.trace_id for each in stored[:2]] == [one.trace_id, two.trace_id]
    assert (await bank.stats("w"))["traces"] == 3


async def test_a_trace_that_fails_half_way_leaves_nothing_of_itself(bank: ReasoningBank) -> None:
    """What SQLite cannot hold is found while the memory is written, after its trace."""
    beyond = Told(
        NewTrace("Too far", outcome="success"),
        [MemoryItem("", title="Far", description="", content="Count the steps beyond the last one.", position=2**70)],
    )
    answers = await record(bank, [told(1), beyond, told(2)])
    assert [isinstance(each, InputError) for each in answers] == [False, True, False]
    stats = await bank.stats("w")
    assert (stats["traces"], stats["memories"]) == (2, 2)


async def test_many_traces_share_one_transaction(bank: ReasoningBank) -> None:
    before = bank.rooms.database.statistics().writer
    await bank.rooms.worker.drain(60)
    commits = bank.rooms.database.statistics().writer.commits
    await record(bank, [told(number) for number in range(50)])
    assert bank.rooms.database.statistics().writer.commits - commits < 10, "the background writes meanwhile"
    assert bank.rooms.database.statistics().writer.rows > before.rows + 50


async def test_an_import_waits_while_too_much_is_queued_and_a_store_does_not(settings: Settings) -> None:
    row = ImportedTrace(NewTrace("t"), (ImportedMemory(MemoryItem(text="imported"), id="m"),), id="tr")
    few = settings.model_copy(update={"background": settings.background.model_copy(update={"max_pending": 2})})
    async with ReasoningBank(few) as bank:
        now = datetime.now(UTC)

        def finish(connection: Connection) -> None:
            claimed = outbox.claim(connection, "me", "nobody's", now=now)
            outbox.finish(connection, "me", [each.seq for each in claimed])

        await bank.rooms.database.write(lambda c: outbox.enqueue(c, "w", "nobody's", 1, 2, 3, now=now))
        with pytest.raises(BusyError, match="try again in 2 seconds"):
            await bank.store_many("w", [row])
        with pytest.raises(BusyError, match="try again in 2 seconds"):
            await bank.batches.store_traces("w", [told(1)])
        await bank.store_trace("w", NewTrace("fresh", outcome="success"))
        assert (await bank.stats("w"))["traces"] == 1
        await bank.rooms.database.write(finish)
        await bank.store_many("w", [row])
        assert (await bank.stats("w"))["traces"] == 2
