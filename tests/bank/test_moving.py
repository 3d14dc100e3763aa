"""A bank that moves takes its genealogy, contradictions and quarantine along: nothing is lost on the way."""

import io
from collections.abc import Sequence
from pathlib import Path

import anyio.from_thread
import anyio.to_thread
from sqlalchemy import Connection

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.learning import contradiction, merging
from reasoning_bank.learning.rating import rate
from reasoning_bank.records import ImportedMemory, ImportedTrace, Links, MemoryItem, NewTrace, StoreResult
from reasoning_bank.settings import Settings
from reasoning_bank.storage import lineage, memories
from reasoning_bank.transfer.exporting import export_file
from reasoning_bank.transfer.importing import import_rows

CONTENTS = (
    "Pin gcc to version 12 in the image: version 13 miscompiles the vector loop.",
    "Pin gcc to version 12 in the image, since version 13 miscompiles the vector loop.",
    "Never pin gcc to version 12 in the image: version 13 compiles the vector loop.",
    "Raise the stack size to 8 MB before the renderer starts its recursion.",
)


async def fill(bank: ReasoningBank) -> list[str]:
    """Two memories that are merged, one that contradicts them, one that misled."""
    ids: list[str] = []
    for number, content in enumerate(CONTENTS):
        draft = MemoryItem(text="", title=f"Lesson {number}", description="When it is built.", content=content)
        trace = NewTrace(f"Build the renderer of release {number}", outcome="success")
        (memory,) = (await bank.store_trace("w", trace, memories=[draft])).memories
        assert memory.id is not None, memory.reason
        ids.append(memory.id)

    def work(connection: Connection) -> None:
        now = memories.by_ids(connection, "w", ids)[ids[-1]].created_at
        merging.merge(connection, "w", ids[:2], reason="the same", now=now)
        contradiction.link(connection, "w", ids[0], ids[2], reason="one forbids it", now=now)
        for rater in ("a", "b", "a", "b"):
            rate(connection, "w", [ids[3]], "misled", now=now, actor=rater)

    await bank.rooms.database.write(work)
    return ids


async def exported(bank: ReasoningBank) -> bytes:
    out = io.BytesIO()
    export_file([each async for each in bank.export_rows("w")], out)
    return out.getvalue()


async def imported(bank: ReasoningBank, rows: bytes) -> None:
    def store(workspace: str, batch: Sequence[ImportedTrace]) -> list[StoreResult]:
        return anyio.from_thread.run(bank.store_many, workspace, batch)

    await anyio.to_thread.run_sync(lambda: import_rows(io.BytesIO(rows), store, default_workspace="w"))


async def test_what_was_exported_comes_back_with_everything_that_ties_it(
    bank: ReasoningBank, settings: Settings, tmp_path: Path
) -> None:
    ids = await fill(bank)
    rows = await exported(bank)
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    async with ReasoningBank(elsewhere) as other:
        await imported(other, rows)
        assert await exported(other) == rows
        for id_ in ids:
            before = await bank.rooms.database.read(lambda c, i=id_: lineage.genealogy(c, "w", i))
            after = await other.rooms.database.read(lambda c, i=id_: lineage.genealogy(c, "w", i))
            assert after == before
            (kept,), (moved,) = await bank.get_memories("w", [id_]), await other.get_memories("w", [id_])
            assert moved.memory == kept.memory
        (misled,) = await other.get_memories("w", [ids[3]])
        assert misled.memory.quarantined_for == "ratings: misled 4 times by 2 raters, helped 0"
        (one,) = await other.get_memories("w", [ids[0]])
        assert one.genealogy.sources[1:]
        assert one.genealogy.contradicts == (ids[2],)


async def test_an_import_ties_nothing_to_what_is_there_already(bank: ReasoningBank) -> None:
    def row(id_: str, links: Links) -> ImportedTrace:
        memory = ImportedMemory(MemoryItem(f"Lesson {id_}", origin="import"), id=id_, links=links)
        return ImportedTrace(NewTrace(f"Task {id_}"), (memory,), id=f"t_{id_}")

    await bank.store_many("w", [row("i1", Links()), row("i2", Links())])
    await bank.store_many("w", [row("i1", Links(("t_i2",), (("i2", "the opposite"),)))])
    (detail,) = await bank.get_memories("w", ["i1"])
    assert (detail.genealogy.sources, detail.genealogy.contradicts) == (("t_i1",), ())
    await bank.store_many("w", [row("i3", Links(("t_i2",), (("i2", "the opposite"),)))])
    (detail,) = await bank.get_memories("w", ["i3"])
    assert (detail.genealogy.sources, detail.genealogy.contradicts) == (("t_i3", "t_i2"), ("i2",))
