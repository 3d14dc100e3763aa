"""Consolidation as a caller of the bank sees it: repeats become one in the background, and every id still answers."""

from dataclasses import replace

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.records import ImportedMemory, ImportedTrace, MemoryItem, NewTrace, Query
from reasoning_bank.settings import Settings

ONE = "Pin gcc to version 12 in the image: version 13 miscompiles the vector loop."
AGAIN = "Pin gcc to version 12 in the image, since version 13 miscompiles the vector loop."
OPPOSITE = "Never pin gcc to version 12 in the image: version 13 compiles the vector loop."


async def taught(bank: ReasoningBank, content: str, task: str) -> str:
    draft = MemoryItem("", title="The compiler of the image", description="When an image is built.", content=content)
    (memory,) = (await bank.store_trace("w", NewTrace(task, outcome="success"), memories=[draft])).memories
    assert memory.id is not None, memory.reason
    return memory.id


async def settled(bank: ReasoningBank) -> None:
    await bank.wait_until_searchable(timeout_s=60)
    assert await bank.rooms.worker.drain(60)


async def test_a_repeated_lesson_becomes_one_and_its_id_still_answers(bank: ReasoningBank) -> None:
    one = await taught(bank, ONE, "Build the image of the renderer")
    two = await taught(bank, AGAIN, "Build the image of the renderer once more")
    await settled(bank)
    found = await bank.retrieve("w", Query("Build the image of the renderer", k=5, min_score=0))
    assert [each.memory.id for each in found.memories] == [one]
    survivor, merged = await bank.get_memories("w", [one, two])
    assert (merged.memory.superseded_by, merged.memory.item.content) == (one, AGAIN)
    assert (survivor.genealogy.parents, survivor.genealogy.stage) == ((two,), 1)
    assert survivor.genealogy.sources == (survivor.trace.id, merged.trace.id)
    assert (await bank.rate("w", [two], "helped"))[two].helped == 1
    (survivor,) = await bank.get_memories("w", [one])
    assert survivor.memory.counters.helped == 1
    stats = await bank.stats("w")
    assert (stats["memories"], stats["superseded"]) == (1, 1)


async def test_opposite_advice_is_served_with_the_note_that_there_is_another(bank: ReasoningBank) -> None:
    one = await taught(bank, ONE, "Build the image of the renderer")
    two = await taught(bank, OPPOSITE, "Build the image of the renderer once more")
    await settled(bank)
    found = await bank.retrieve("w", Query("Build the image of the renderer", k=5, min_score=0))
    warnings = {each.memory.id: each.warning for each in found.memories}
    assert warnings == {
        one: f"The opposite is said by {two}, and nothing has decided yet.",
        two: f"The opposite is said by {one}, and nothing has decided yet.",
    }
    assert f"Warning: The opposite is said by {two}" in found.context
    await bank.rate("w", [two], "helped", actor="ann")
    found = await bank.retrieve("w", Query("Build the image of the renderer", k=5, min_score=0))
    assert [(each.memory.id, each.warning) for each in found.memories] == [(two, None)]


async def test_the_same_words_again_are_another_source_and_no_other_memory(bank: ReasoningBank) -> None:
    one = await taught(bank, ONE, "Build the image of the renderer")
    draft = (await bank.get_memories("w", [one]))[0].memory.item
    again = await bank.store_trace("w", NewTrace("Build the image of the renderer", outcome="success"),
                                   memories=[replace(draft, text="")], idempotency_key="second run")  # fmt: skip
    assert [(memory.id, memory.action) for memory in again.memories] == [(one, "merged")]
    (detail,) = await bank.get_memories("w", [one])
    assert detail.genealogy.sources == (detail.trace.id, again.trace_id)


async def test_imported_rows_are_left_as_they_are(bank: ReasoningBank) -> None:
    item = MemoryItem("Build the image of the renderer", content=ONE, origin="import")
    rows = [ImportedTrace(NewTrace("Build it"), (ImportedMemory(item, id=f"i{n}"),), id=f"t{n}") for n in range(3)]
    await bank.store_many("w", rows)
    await taught(bank, AGAIN, "Build the image of the renderer")
    await settled(bank)
    details = await bank.get_memories("w", ["i0", "i1", "i2"])
    assert [each.memory.superseded_by for each in details] == [None] * 3


async def test_nothing_is_merged_where_it_is_not_wanted(settings: Settings) -> None:
    off = settings.model_copy(update={"learning": settings.learning.model_copy(update={"consolidate": False})})
    async with ReasoningBank(off) as bank:
        for content in (ONE, AGAIN):
            await taught(bank, content, "Build the image of the renderer")
        await settled(bank)
        assert (await bank.stats("w"))["memories"] == 2


async def test_what_a_forgotten_memory_overruled_holds_again(bank: ReasoningBank) -> None:
    one = await taught(bank, ONE, "Build the image of the renderer")
    two = await taught(bank, OPPOSITE, "Build the image of the renderer once more")
    await settled(bank)
    await bank.rate("w", [two], "helped", actor="ann")

    async def found() -> list[str]:
        answer = await bank.retrieve("w", Query("Build the image of the renderer", k=5, min_score=0))
        return [each.memory.id for each in answer.memories]

    assert await found() == [two]
    await bank.forget_memory("w", two)
    assert await found() == [one]
    await bank.forget_memory("w", two, undo=True)
    assert await found() == [two]
