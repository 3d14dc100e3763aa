"""Fault 5: kill -9 while a bank is consolidated; no half merge, no double survivor, nothing lost or counted twice.

A process stores lessons of families, most of them said twice and a few denied, rates each once, and consolidates them
until it is killed, again and again on one bank. In the end every family has one survivor with all its sources.
"""

import asyncio
import json
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import anyio
from sqlalchemy import Connection

from reasoning_bank.background.worker import OutboxWorker
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.learning.consolidation import Consolidator
from reasoning_bank.learning.work import CONSOLIDATE, EMBED, promise
from reasoning_bank.records import Counters, Memory, MemoryItem, NewTrace, Trace
from reasoning_bank.storage import feedback, memories, outbox, traces, workspaces
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.outbox import OutboxRow
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash
from tests.faults.repeatedly import acknowledged_until_killed
from tests.retrieval.bank import SmallBank

SPACE = "w"
WORDS = ("ta", "ri", "mo", "lu", "ne", "ka", "so", "vi", "du", "pe")
"""Syllables for the digits of a family's number, so that families differ in a word."""
VARIANTS = 4
"""Times each lesson is said."""
_LEASE_S = 1.0
_PATIENCE_S = 240.0
_FILE = "bank.db"


@dataclass(frozen=True)
class ConsolidationReport:
    """What many kills showed.

    Attributes:
        stored: acknowledged lessons.
        lost: acknowledged lessons that are not there.
        survivors: families that have not exactly one survivor, of all that were said completely.
        half: replaced memories whose successor does not have them as parent and their trace as source, or that were
            merged more than once.
        miscounted: verdicts that the survivors together have more or less than were given.
        damaged: problems that SQLite finds in the file.
    """

    kills: int
    stored: int
    merged: int
    lost: int
    survivors: int
    half: int
    miscounted: int
    damaged: int

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, half merged or counted twice."""
        wrong = self.lost + self.survivors + self.half + abs(self.miscounted) + self.damaged
        return self.merged > 0 and not wrong


def kill_while_consolidating(directory: Path, *, kills: int, seed: int) -> ConsolidationReport:
    """Start a process that stores and consolidates, kill it at a random moment, `kills` times; then let one finish."""
    acknowledged = acknowledged_until_killed(partial(_child, directory, "work"), kills=kills, seed=seed, within_s=0.8)
    with _child(directory, "finish") as process:
        process.communicate(timeout=2 * _PATIENCE_S)
    assert process.returncode == 0, f"the last process ended with {process.returncode}"
    return _verdict(directory / _FILE, acknowledged, kills)


def _child(directory: Path, part: str, number: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.consolidating", part, str(directory), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", stderr=subprocess.DEVNULL)


def _lesson(family: str, variant: int) -> str:
    """One of several ways to say the same."""
    matter = "".join(WORDS[int(digit)] for digit in family if digit.isdigit())
    ways = (
        f"Warm up the cache of shard {matter} before the first request, because it waits for the disk otherwise.",
        f"Warm up the cache of shard {matter} before the first request, since it waits for the disk otherwise.",
        f"Before the first request, warm up the cache of shard {matter}, because it waits for the disk otherwise.",
        f"Warm up the cache of shard {matter} before the first request: it waits for the disk otherwise.",
    )
    return ways[variant]


class _Bank:
    """A bank of lessons with the worker that consolidates it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._small = SmallBank(database, HashingEmbedder())
        consolidator = Consolidator(database, now=_now, prune_above=0)
        self.worker = OutboxWorker(
            database,
            {EMBED: self._embed, CONSOLIDATE: consolidator.handler},
            now=_now,
            owner=secrets.token_hex(4),
            poll_s=0.02,
            lease_s=_LEASE_S,
            batch=4,
            jitter=lambda: 0.0,
        )

    async def store(self, family: str, variant: int) -> str:
        """Stores a lesson of a family with a verdict on it, in one transaction; its id."""
        now, id_ = _now(), f"m-{family}-{variant}"
        title = f"The cache of shard {family}"
        item = MemoryItem(
            f"{title}\nServe shard {family}", title=title, content=_lesson(family, variant), outcome="success"
        )
        trace = Trace(f"t-{family}-{variant}", SPACE, NewTrace(f"Serve shard {family} time {variant}"), now, "hash")
        memory = Memory(id_, SPACE, trace.id, item, Counters(), now, now, content_hash(item))

        def write(connection: Connection) -> None:
            workspaces.ensure(connection, SPACE, now)
            traces.insert(connection, trace)
            memories.insert(connection, [memory], [analyse(item)])
            feedback.add(connection, SPACE, [id_], "helped", now=now, actor=id_)
            promise(connection, SPACE, EMBED, [id_], now=now)
            promise(connection, SPACE, CONSOLIDATE, [id_], now=now)

        await self.database.write(write)
        self.worker.wake()
        return id_

    async def _embed(self, rows: Sequence[OutboxRow]) -> None:
        ids = [id_ for row in rows for id_ in cast("dict[str, list[str]]", row.payload)["ids"]]
        await self._small.embed(SPACE, *ids)


@asynccontextmanager
async def _opened(directory: Path) -> AsyncGenerator[_Bank]:
    async with Database(directory / _FILE, durability="process", now=_now) as database:
        bank = _Bank(database)
        task = asyncio.create_task(bank.worker.run())
        try:
            yield bank
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _work(directory: Path, number: int) -> None:
    """Stores lessons and prints their ids, with a worker beside, until killed."""
    async with _opened(directory) as bank:
        for count in range(100_000):
            for variant in range(VARIANTS):
                print(await bank.store(f"{number}-{count}", variant), flush=True)
                await anyio.sleep(0.02)


async def _finish(directory: Path) -> None:
    """Does everything that is left, given-up work included."""
    async with _opened(directory) as bank:
        with anyio.fail_after(_PATIENCE_S):
            # Only the rows tell: there is no event to wait for.
            while await bank.database.read(_is_waiting):
                await bank.database.write(outbox.requeue_dead)
                await anyio.sleep(0.05)


def _is_waiting(connection: Connection) -> bool:
    counts = outbox.counts(connection, now=_now())
    return bool(counts.pending or counts.leased or counts.dead)


class _Row(NamedTuple):
    id: str
    trace_id: str
    superseded_by: str | None
    parents: str | None
    helped: int
    seq: int


def _verdict(path: Path, acknowledged: Sequence[str], kills: int) -> ConsolidationReport:
    """Reads the file as it is, without our own code."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        columns = ", ".join(_Row._fields)
        rows = [_Row(*row) for row in connection.execute(f"SELECT {columns} FROM memories")]
        sources = set(connection.execute("SELECT memory, trace_id FROM memory_sources"))
        merged = [row[0] for row in connection.execute("SELECT memory_id FROM memory_history WHERE event = 'merged'")]
        given = connection.execute("SELECT count(*) FROM feedback").fetchone()[0]
        damaged = [row for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    there = {row.id: row for row in rows}
    live = [row for row in rows if row.superseded_by is None]
    families = {id_.rsplit("-", 1)[0] for id_ in acknowledged if id_.endswith(f"-{VARIANTS - 1}")}
    alive = [row.id.rsplit("-", 1)[0] for row in live]
    half = len(merged) - len(set(merged))
    for row in rows:
        if row.superseded_by is not None:
            survivor = there[_last(row.superseded_by, there)]
            is_source = (survivor.seq, row.trace_id) in sources
            half += not (row.id in _kin(survivor, there) and is_source and row.id in merged)
    return ConsolidationReport(
        kills=kills,
        stored=len(acknowledged),
        merged=len(merged),
        lost=sum(id_ not in there for id_ in acknowledged),
        survivors=sum(alive.count(family) != 1 for family in families),
        half=half,
        miscounted=sum(row.helped for row in live) - given,
        damaged=len(damaged),
    )


def _last(id_: str, there: Mapping[str, _Row]) -> str:
    while (by := there[id_].superseded_by) is not None:
        id_ = by
    return id_


def _kin(row: _Row, there: Mapping[str, _Row]) -> set[str]:
    parents = cast("list[str]", json.loads(row.parents or "[]"))
    return set(parents).union(*(_kin(there[parent], there) for parent in parents))


def _now() -> datetime:
    return datetime.now(UTC)


def main(part: str, directory: Path, number: int) -> None:
    """One process of the test."""
    asyncio.run(_work(directory, number) if part == "work" else _finish(directory))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
