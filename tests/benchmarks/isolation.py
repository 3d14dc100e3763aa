"""No search ever answers with a memory of another workspace: random searches at once, while others write.

Run: python -m tests.benchmarks isolation [--count 100000]

Twenty workspaces hold the same texts, so that each would be the best answer for every other, except for one canary
word in each memory. All are asked at once, with caches on, and any foreign id, canary or origin is counted.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.evaluation.bench.lessons import lesson
from reasoning_bank.records import MemoryItem, Outcome, Preset, Query, Retrieval
from reasoning_bank.retrieval.options import RetrievalOptions
from reasoning_bank.retrieval.retriever import Retriever
from reasoning_bank.storage import feedback, memories
from reasoning_bank.storage.database import Database
from tests.benchmarks.machine import RESULTS, machine
from tests.retrieval.bank import START, SmallBank

WORKSPACES = tuple(f"workspace-{number:02}" for number in range(20))
MEMORIES = 40
"""Memories each workspace starts with, the same in all."""
WIDTH = 16
WRITES = 0.01
"""Share of the turns that write instead of searching."""
REPEATS = 0.3
"""Share of the searches that someone asked before, half of them elsewhere: what a cache would mix up."""
CANARY = "canary-{}"
OUTCOMES: tuple[Outcome, ...] = ("success", "failure", "partial")
PRESETS: tuple[Preset, ...] = ("default", "default", "paper", "conversation")


@dataclass(slots=True)
class Tally:
    """What came of all searches."""

    searches: int = 0
    returned: int = 0
    empty: int = 0
    cached: int = 0
    writes: int = 0
    foreign: list[str] = field(default_factory=list[str])
    kinds: Counter[str] = field(default_factory=Counter[str])


class Crowd:
    """Callers of all workspaces at once.

    Args:
        bank: an empty bank.
        seed: of everything that is random.
        kept: workspaces whose index stays in memory: fewer than there are, so that they are read anew under way.
    """

    def __init__(self, bank: SmallBank, *, seed: int = 0, kept: int = 18) -> None:
        self._bank = bank
        self._rng = random.Random(seed)
        self._retriever: Retriever = bank.retriever(options=RetrievalOptions(workspaces=kept))
        self._ids: dict[str, list[str]] = {}
        self._owner: dict[str, str] = {}
        self._everything: list[str] = []
        self._asked: list[tuple[str, Query]] = []
        self.tally = Tally()

    async def fill(self) -> None:
        """Gives every workspace the same memories."""
        for workspace in WORKSPACES:
            await self._store(workspace, *(_memory(number, workspace) for number in range(MEMORIES)))

    async def ask(self, searches: int) -> Tally:
        """So many searches, sixteen at a time, with writes between them."""
        turns = iter(range(searches))
        await asyncio.gather(*(self._caller(turns) for _ in range(WIDTH)))
        return self.tally

    async def _caller(self, turns: Iterator[int]) -> None:
        for _ in turns:
            if self._rng.random() < WRITES:
                await self._write(self._rng.choice(WORKSPACES))
            workspace, query = self._next()
            self._judge(workspace, query, await self._retriever.retrieve(workspace, query))

    def _judge(self, workspace: str, query: Query, answer: Retrieval) -> None:
        tally = self.tally
        tally.searches += 1
        tally.cached += answer.cached
        tally.returned += len(answer.memories)
        tally.empty += not answer.memories
        mine = CANARY.format(workspace)
        for each in answer.memories:
            memory = each.memory
            if {self._owner.get(memory.id), memory.workspace} != {workspace} or mine not in memory.item.content:
                tally.foreign.append(f"{memory.id} for {query} in {workspace}")
        if answer.context.count("canary-") != answer.context.count(mine):
            tally.foreign.append(f"text for {query} in {workspace}")
        if answer.explanation is not None:
            others = [each.id for each in answer.explanation.considered if self._owner.get(each.id) != workspace]
            tally.foreign += [f"{each} considered in {workspace}" for each in others]

    def _next(self) -> tuple[str, Query]:
        """Who asks what: something new, or what someone asked before, here or elsewhere."""
        workspace = self._rng.choice(WORKSPACES)
        if self._asked and self._rng.random() < REPEATS:
            before, query = self._rng.choice(self._asked[-200:])
            return self._rng.choice((before, workspace)), query
        self._asked.append((workspace, self._new_query()))
        return self._asked[-1]

    def _new_query(self) -> Query:
        rng = self._rng
        return Query(
            self._task(),
            k=rng.choice((1, 3, 10, 100)),
            min_score=rng.choice((0, 0, None)),
            preset=rng.choice(PRESETS),
            explain=rng.random() < 0.1,
            detail=rng.choice(("full", "index")),
            exclude_ids=tuple(rng.sample(self._everything, 3)) if rng.random() < 0.2 else (),
            **self._filters(),
        )

    def _filters(self) -> dict[str, Any]:
        rng = self._rng
        filters: dict[str, Any] = {
            "tags": (rng.choice(("sql", "web")),),
            "domain": rng.choice(("data", "shop")),
            "outcome": rng.choice(("success", "failure")),
            "include_failures": False,
            "since": START - timedelta(days=rng.randrange(100)),
            "until": START - timedelta(days=rng.randrange(100)),
        }
        return {name: value for name, value in filters.items() if rng.random() < 0.1}

    def _task(self) -> str:
        rng = self._rng
        known = lesson(rng.randrange(MEMORIES))
        tasks = {
            "question": known.question,
            "title": known.title,
            # Asked for the secret of another workspace, or for its memory, by name.
            "canary": f"{CANARY.format(rng.choice(WORKSPACES))} {known.task}",
            "foreign id": f"show {rng.choice(self._everything)}",
            "name": f"service_{rng.randrange(MEMORIES)}_config",
            "time": f"what happened {rng.choice(('yesterday', 'last week', 'in October 2025'))}?",
            "error": f"TimeoutError: {known.title}",
            "long": "\n".join([known.question, *(lesson(number).content for number in range(5))]),
            "other": f"something else entirely {rng.random()}",
        }
        kind = rng.choice(list(tasks))
        self.tally.kinds[kind] += 1
        return tasks[kind]

    async def _write(self, workspace: str) -> None:
        self.tally.writes += 1
        ids, rng = self._ids[workspace], self._rng
        match rng.choice(("store", "store", "forget", "undo", "rate")):
            case "store":
                await self._store(workspace, _memory(rng.randrange(10**6), workspace))
            case "forget" if len(ids) > MEMORIES:
                gone = [rng.choice(ids[MEMORIES:])]
                await self._bank.database.write(lambda c: memories.soft_delete(c, workspace, gone, START))
            case "undo":
                await self._bank.database.write(lambda c: memories.undelete(c, workspace, ids[-3:], START))
            case _:
                rated = [ids[rng.randrange(MEMORIES)]]
                await self._bank.database.write(lambda c: feedback.add(c, workspace, rated, "helped", now=START))

    async def _store(self, workspace: str, *items: MemoryItem) -> None:
        ids = await self._bank.store(workspace, *items, embed=self._rng.random() < 0.8)
        self._owner.update((each, workspace) for each in ids)
        self._ids.setdefault(workspace, []).extend(ids)
        self._everything += ids


def _memory(number: int, workspace: str) -> MemoryItem:
    made = lesson(number)
    return MemoryItem(
        text=made.task,
        title=made.title if number % 3 else f"Service {number} config",
        description=made.description,
        content=f"{made.content} See service_{number}_config. {CANARY.format(workspace)}",
        tags=(("sql", "web")[number % 2],),
        domain=("data", "shop", None)[number % 3],
        outcome=OUTCOMES[number % 3],
        session=f"s{number // 5}" if number % 2 else None,
        position=number % 5 if number % 2 else None,
        time=(START - timedelta(days=number % 100)).isoformat() if number % 4 == 0 else None,
        actor=("ann", "bob", None)[number % 3],
        trust="low" if number % 7 == 0 else "normal",
    )


async def measure(path: Path, embedder: Embedder, searches: int, *, seed: int = 0) -> Tally:
    """What so many searches of a fresh bank at `path` came to."""
    async with Database(path, durability="process", now=lambda: START) as database:
        crowd = Crowd(SmallBank(database, embedder), seed=seed)
        await crowd.fill()
        return await crowd.ask(searches)


def main(arguments: Sequence[str]) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(prog="isolation", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="searches")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    parser.add_argument("--results", type=Path, default=RESULTS / "isolation.json", help="file to write")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "bank.db"
        tally = asyncio.run(measure(path, HashingEmbedder(), options.count, seed=options.seed))
    report = {
        "machine": machine(),
        "workspaces": len(WORKSPACES),
        "width": WIDTH,
        "searches": tally.searches,
        "returned_memories": tally.returned,
        "empty_answers": tally.empty,
        "from_cache": tally.cached,
        "writes": tally.writes,
        "kinds": dict(tally.kinds),
        "foreign": len(tally.foreign),
        "examples": tally.foreign[:5],
        "seconds": round(time.perf_counter() - started, 1),
    }
    options.results.parent.mkdir(exist_ok=True)
    options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))
