"""Storing: what a caller waits for, what shares a commit, and what goes first.

Run: python -m tests.benchmarks storing [--traces 500] [--imported 1000]
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from reasoning_bank import NewTrace, ReasoningBank, load_settings
from reasoning_bank.evaluation.bench.filling import lesson_row
from reasoning_bank.evaluation.bench.lessons import lesson
from reasoning_bank.learning import importing
from reasoning_bank.learning.recording import Told
from reasoning_bank.records import MemoryItem
from reasoning_bank.storage import embeddings, outbox
from tests.benchmarks.machine import RESULTS, machine
from tests.benchmarks.timing import at_once, quantiles

WORKSPACE = "storing"
STORES = 40
ROUNDS = 5
CLIENTS = 32


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and write results/storing.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks storing")
    parser.add_argument("--traces", type=int, default=500)
    parser.add_argument("--imported", type=int, default=1_000)
    chosen = parser.parse_args(arguments)
    result = {"machine": machine()} | anyio.run(_measured, chosen.traces, chosen.imported)
    path = RESULTS / "storing.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


async def _measured(several: int, rows: int) -> dict[str, Any]:
    numbers = itertools.count(6_000_000)
    with tempfile.TemporaryDirectory() as directory:
        settings = load_settings(data_dir=Path(directory) / "bank", vectors={"chroma_mode": "off"})
        async with ReasoningBank(settings) as bank:
            await bank.rooms.model.loader.wait_ready()
            await _store(bank, next(numbers))
            await _embedded(bank)
            return {
                "what_a_caller_waits_for": await _waiting(bank, numbers),
                "one_transaction": await _one_transaction(bank, numbers, several),
                "shared_commits": await _shared_commits(bank, numbers),
                "beside_an_import": await _beside_an_import(bank, numbers, rows),
            }


async def _waiting(bank: ReasoningBank, numbers: Iterator[int]) -> dict[str, Any]:
    """Stored and answered, against stored, embedded and answered; alternating."""
    background: list[float] = []
    synchronous: list[float] = []
    for _ in range(STORES):
        background.append(await _timed_store(bank, next(numbers)))
        await _embedded(bank)
        synchronous.append(await _timed_store(bank, next(numbers), embedded=True))
    ratio = statistics.median(a / b for a, b in zip(synchronous, background, strict=True))
    return {
        "background": quantiles(background),
        "synchronous": quantiles(synchronous),
        "synchronous_per_background": round(ratio, 1),
    }


async def _one_transaction(bank: ReasoningBank, numbers: Iterator[int], several: int) -> dict[str, Any]:
    """Traces recorded one after the other and in one batch, in rounds; nobody works on what they leave meanwhile."""
    recorder = bank.rooms.learning.recorder

    def single(batch: Sequence[Told]) -> None:
        for told in batch:
            recorder.record(WORKSPACE, told.report, drafts=told.drafts)

    taken: dict[str, list[float]] = {"one_by_one": [], "in_one": []}
    for _ in range(ROUNDS):
        for name, record in (("one_by_one", single), ("in_one", partial(recorder.record_many, WORKSPACE))):
            batch = [_told(next(numbers)) for _ in range(several)]
            await _forget_work(bank)
            started = time.perf_counter()
            await anyio.to_thread.run_sync(record, batch)
            taken[name].append(time.perf_counter() - started)
    await _forget_work(bank)
    ratios = [one / many for one, many in zip(taken["one_by_one"], taken["in_one"], strict=True)]
    each = {f"{name}_ms_per_trace": round(1000 * statistics.median(its) / several, 2) for name, its in taken.items()}
    return {"traces": several, "rounds": ROUNDS, **each, "ratio": round(statistics.median(ratios), 2)}


async def _shared_commits(bank: ReasoningBank, numbers: Iterator[int]) -> dict[str, Any]:
    """Stores of many clients at once: how many writes shared a commit."""
    before = bank.rooms.database.statistics().writer
    latencies = await at_once(lambda number: _store(bank, number), [next(numbers) for _ in range(400)], width=CLIENTS)
    after = bank.rooms.database.statistics().writer
    commits = after.commits - before.commits
    await _forget_work(bank)
    return {**latencies, "writes_per_commit": round((after.writes - before.writes) / commits, 2)}


async def _beside_an_import(bank: ReasoningBank, numbers: Iterator[int], rows: int) -> dict[str, Any]:
    """Seconds until a fresh trace is found by meaning while an import is embedded: with priorities, and in turn."""
    found: dict[str, Any] = {"imported": rows}
    bulk = outbox.BULK
    for name, priority in (("by_priority_s", bulk), ("in_turn_s", outbox.FRESH)):
        importing.outbox.BULK = priority  # as it was before there were priorities
        await bank.store_many(WORKSPACE, [lesson_row(next(numbers)) for _ in range(rows)])
        importing.outbox.BULK = bulk
        await anyio.sleep(0.5)  # the first batch is under way
        found[name] = round(await _timed_store(bank, next(numbers), embedded=True), 2)
        await _forget_work(bank)
    found["ratio"] = round(found["in_turn_s"] / found["by_priority_s"], 1)
    return found


def _told(number: int) -> Told:
    made = lesson(number)
    draft = MemoryItem(text="", title=made.title, description=made.description, content=made.content)
    return Told(NewTrace(task=made.task, outcome="success"), [draft])


async def _store(bank: ReasoningBank, number: int) -> str:
    told = _told(number)
    stored = await bank.store_trace(WORKSPACE, told.report, memories=told.drafts)
    return next(each.id for each in stored.memories if each.id)


async def _timed_store(bank: ReasoningBank, number: int, *, embedded: bool = False) -> float:
    started = time.perf_counter()
    id_ = await _store(bank, number)
    if embedded:
        await _embedded(bank, id_)
    return time.perf_counter() - started


async def _embedded(bank: ReasoningBank, id_: str | None = None) -> None:
    """Wait until a memory, or each one, has its vectors."""
    model_id = bank.rooms.model.embedder.identity.model_id

    def look(connection: Any) -> bool:
        if id_ is not None:
            return bool(embeddings.embedded(connection, model_id, WORKSPACE, [id_]))
        coverage = embeddings.coverage(connection, model_id)
        return coverage.embedded == coverage.live

    # Only the bank can tell.
    while not await bank.rooms.database.read(look):  # noqa: ASYNC110
        await anyio.sleep(0.005)


async def _forget_work(bank: ReasoningBank) -> None:
    """Nobody is to embed what was stored only to be measured."""

    def forget(connection: Any) -> None:
        connection.exec_driver_sql("DELETE FROM outbox WHERE lease_owner IS NULL")

    await bank.rooms.database.write(forget)
    await bank.rooms.worker.drain(600)
