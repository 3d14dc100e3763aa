"""After a new version of the analyser the stored terms are made anew, once, by whoever opens the bank."""

import asyncio

import pytest
from sqlalchemy import Connection, update

from reasoning_bank.background.terms import FACT, keep_terms_current
from reasoning_bank.bank import ReasoningBank
from reasoning_bank.records import MemoryItem, NewTrace
from reasoning_bank.settings import LearningSettings, Settings
from reasoning_bank.storage import Database, facts, memories, schema

LESSONS = [
    MemoryItem("", title=f"Rotate key {n}", content=f"Rotate key {n} in two steps, old and new.") for n in range(5)
]

OUTDATED = update(schema.memory_terms).values(analyser_version=1, terms=b"old")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    # Lessons as alike as these would be brought together while the tests look at them.
    return settings.model_copy(update={"learning": LearningSettings(consolidate=False)})


def terms(connection: Connection) -> dict[str, bytes]:
    return {row.id: row.terms for row in memories.load_for_index(connection, "w")}


def age(connection: Connection) -> None:
    connection.execute(OUTDATED)
    connection.execute(schema.facts.delete().where(schema.facts.c.name == FACT))


async def settled(database: Database) -> None:
    """Waits until the terms are known to be current."""
    async with asyncio.timeout(60):
        while await database.read(lambda c: facts.get(c, FACT)) is None:  # noqa: ASYNC110 -- it announces nothing
            await asyncio.sleep(0.02)


async def test_whoever_opens_the_bank_makes_outdated_terms_anew(settings: Settings) -> None:
    async with ReasoningBank(settings) as bank:
        for number in range(10):
            await bank.store_trace("w", NewTrace(f"Rotate the keys of server {number}"), memories=LESSONS)
        fresh = await bank.rooms.database.read(terms)
        await settled(bank.rooms.database)
        await bank.rooms.database.write(age)
    async with ReasoningBank(settings) as bank:
        await settled(bank.rooms.database)
        assert await bank.rooms.database.read(terms) == fresh


async def test_two_processes_may_do_so_at_once_and_never_again(settings: Settings) -> None:
    async with ReasoningBank(settings) as bank:
        await bank.store_trace("w", NewTrace("Rotate the keys"), memories=LESSONS)
        database = bank.rooms.database
        fresh = await database.read(terms)
        await settled(database)
        await database.write(age)
        async with Database(database.path, durability="process", now=bank._clock.now) as other:
            await asyncio.gather(keep_terms_current(database), keep_terms_current(other))
        assert await database.read(terms) == fresh
        await database.write(lambda connection: connection.execute(OUTDATED))
        await keep_terms_current(database)  # it is known that nothing is left to do: nobody looks again
        assert set((await database.read(terms)).values()) == {b"old"}
