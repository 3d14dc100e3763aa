"""A bank of lessons, for tests of what becomes of them: real storage and vectors, a task of its own for each."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection

from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.learning.consolidation import Consolidator
from reasoning_bank.records import Counters, Genealogy, Memory, MemoryItem, NewTrace, Outcome, Trace
from reasoning_bank.storage import lineage, memories, traces, workspaces
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash
from tests.retrieval.bank import SmallBank

START = datetime(2026, 1, 1, tzinfo=UTC)
T = TypeVar("T")


class Lessons:
    """Stores lessons of workspace `w` and consolidates them."""

    def __init__(self, database: Database, embedder: Embedder | None = None) -> None:
        self.database = database
        self.now = START
        self._bank = SmallBank(database, embedder or HashingEmbedder())
        self._numbers = itertools.count(1)

    async def add(
        self,
        content: str,
        *,
        task: str = "Make the nightly build pass again",
        outcome: Outcome = "success",
        embed: bool = True,
        **item: object,
    ) -> str:
        """Stores a lesson with a trace of its own, a minute after the one before, and embeds it; its id."""
        number = next(self._numbers)
        self.now = START + timedelta(minutes=number)
        report = NewTrace(task, outcome=outcome)
        trace = Trace(f"t{number}", "w", report, self.now, f"hash {number}")
        values: dict[str, object] = {"title": "The nightly build", "description": "", "outcome": outcome, **item}
        text = f"{values['title']}\n{task}"
        kept = MemoryItem(**({"text": text, "content": content} | values))  # pyright: ignore[reportArgumentType]
        memory = Memory(f"m{number}", "w", trace.id, kept, Counters(), self.now, self.now, content_hash(kept))

        def write(connection: Connection) -> None:
            workspaces.ensure(connection, "w", self.now)
            traces.insert(connection, trace)
            memories.insert(connection, [memory], [analyse(kept)])

        await self.database.write(write)
        if embed:
            await self.embed(memory.id)
        return memory.id

    async def embed(self, id_: str) -> None:
        """Makes the vectors of a lesson."""
        await self._bank.embed("w", id_)

    async def consolidate(self, *ids: str, prune_above: int = 0) -> int:
        """Lets the bank consolidate some memories; how many decisions took effect."""
        done = await self.consolidator(prune_above=prune_above).consolidate("w", ids)
        for id_ in await self.read(lambda c: [each.memory.id for each in memories.list_page(c, "w", live_only=True)]):
            await self._bank.embed("w", id_)
        return done

    def consolidator(self, *, prune_above: int = 0) -> Consolidator:
        """One of perhaps several processes that consolidate the bank."""
        return Consolidator(self.database, now=lambda: self.now, prune_above=prune_above)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What a function of a connection reads."""
        return await self.database.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What a function of a connection writes."""
        return await self.database.write(work)

    async def memory(self, id_: str) -> Memory:
        """A memory in any state."""
        return (await self.read(lambda c: memories.by_ids(c, "w", [id_])))[id_]

    async def family(self, id_: str) -> Genealogy:
        """Where a memory comes from and what came of it."""
        found = await self.read(lambda c: lineage.genealogy(c, "w", id_))
        assert found is not None
        return found

    async def live(self) -> list[str]:
        """Ids of the live memories in the order they were stored."""
        return await self.read(lambda c: [each.memory.id for each in memories.list_page(c, "w", live_only=True)])
