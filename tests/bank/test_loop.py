"""The whole loop as a person would see it: what failed warns the next task, helps, and what misleads goes away."""

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.learning.trusting import restore
from reasoning_bank.records import JsonValue, Memory, MemoryItem, NewTrace, Query, Retrieval
from reasoning_bank.storage import memories

FAMILY = "Add a column to the {} table of the shop database and run the migration"
TIMEOUT = "Set `lock_timeout` to 2s and repeat the migration until it passes."
OFFLINE = "Put the shop into maintenance mode before you migrate."
CRAFTS = (
    *("Bake bread with rye flour", "Tune a violin by ear", "Paint the fence of the garden", "Repair a bicycle chain"),
    *("Write to the council", "Plan a trip along the river", "Count the birds of the park", "Clean a tower's windows"),
    *("Grow tomatoes on the balcony", "Translate a song into Welsh", "Knit a scarf of wool", "Measure a lake's depth"),
)
LOCKED = "django.db.utils.OperationalError: canceling statement due to lock timeout"


async def fail(bank: ReasoningBank, table: str) -> None:
    """A migration that timed out on a lock, told with the whole run and no lesson."""
    run: list[JsonValue] = [
        {"thought": "I run the migration while the shop is open.", "action": "python manage.py migrate"},
        {"observation": LOCKED, "action": "python manage.py migrate --verbosity 3"},
        {"observation": LOCKED},
    ]
    await bank.store_trace("shop", NewTrace(FAMILY.format(table), outcome="failure", trajectory=run))


async def teach(
    bank: ReasoningBank, title: str, content: str, *, table: str = "orders", task: str | None = None
) -> str:
    """A lesson that the assistant wrote itself; its id."""
    draft = MemoryItem(text="", title=title, description="When a migration alters a busy table.", content=content)
    stored = await bank.store_trace("shop", NewTrace(task or FAMILY.format(table), outcome="success"), memories=[draft])
    (memory,) = stored.memories
    assert memory.id is not None, memory.reason
    return memory.id


async def ask(bank: ReasoningBank, table: str = "customers", k: int = 5) -> Retrieval:
    assert await bank.rooms.worker.drain(60)
    return await bank.retrieve("shop", Query(FAMILY.format(table), k=k, min_score=0))


async def read(bank: ReasoningBank, id_: str) -> Memory:
    return (await bank.rooms.database.read(lambda c: memories.by_ids(c, "shop", [id_])))[id_]


def ids(found: Retrieval) -> list[str]:
    return [each.memory.id for each in found.memories]


async def test_a_failure_warns_the_next_task_of_its_family(bank: ReasoningBank) -> None:
    await fail(bank, "orders")
    found = await ask(bank)
    warning = found.memories[0]
    assert warning.memory.item.outcome == "failure"
    assert warning.memory.item.error_context is not None
    assert warning.warning is not None
    assert "lock timeout" in warning.warning
    assert "Warning: This failed before" in found.context


async def test_what_helps_ranks_up(bank: ReasoningBank) -> None:
    for craft in CRAFTS:
        await teach(bank, craft, f"Begin early and take your time to {craft.lower()}.", task=craft)
    one = await teach(bank, "Take the shop offline first", OFFLINE)
    two = await teach(bank, "Set a lock timeout", TIMEOUT, table="items")
    first, second, *_ = ids(await ask(bank))
    assert {first, second} == {one, two}
    for rater in ("ann", "bob", "cem"):
        await ask(bank, table=f"table of {rater}")
        await bank.rate("shop", [second], "helped", actor=rater)
    assert ids(await ask(bank))[:2] == [second, first]
    assert (await read(bank, second)).item.trust == "trusted"


async def test_what_misleads_is_quarantined_and_restored_by_a_person(bank: ReasoningBank) -> None:
    good = await teach(bank, "Set a lock timeout", TIMEOUT, table="items")
    bad = await teach(bank, "Drop the constraints", "Drop all constraints of the table before you migrate it.")
    assert set(ids(await ask(bank))) == {good, bad}
    for table in ("customers", "invoices"):
        await ask(bank, table)
        await bank.rate("shop", [bad], "misled")
        await bank.rate("shop", [bad], "misled", note="the orders lost their customers")
    quarantined = await read(bank, bad)
    assert quarantined.item.trust == "quarantined"
    assert quarantined.quarantined_for == "ratings: misled 4 times by 2 raters, helped 0"
    assert ids(await ask(bank)) == [good]
    (detail,) = await bank.get_memories("shop", [bad])
    assert detail.memory.item.content == quarantined.item.content, "kept, and readable by id"
    now = quarantined.updated_at
    await bank.rooms.database.write(lambda c: restore(c, "shop", bad, now=now))
    assert set(ids(await ask(bank))) == {good, bad}


async def test_one_caller_alone_takes_nothing_out_of_use(bank: ReasoningBank) -> None:
    good = await teach(bank, "Set a lock timeout", TIMEOUT, table="items")
    for _ in range(20):
        await ask(bank)
        await bank.rate("shop", [good], "misled", actor="enemy")
    assert ids(await ask(bank)) == [good]
