"""Fault 4: kill -9 while a model distils; every acknowledged trace is distilled once, or waits in the open.

A process stores traces and lets a scripted, slow model look at them, until it is killed, again and again on one bank.
Some traces the model never answers for: they must end as dead letters, and be done once it does.
"""

import asyncio
import json
import random
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
from sqlalchemy import Connection

from reasoning_bank.background.worker import OutboxWorker
from reasoning_bank.errors import UpstreamError
from reasoning_bank.learning.answers import remembered
from reasoning_bank.learning.work import DISTIL
from reasoning_bank.llm.exchange import ModelRequest, Reply, TokenUsage
from reasoning_bank.storage import memories, outbox, traces
from reasoning_bank.storage.database import Database
from tests.faults.repeatedly import acknowledged_until_killed
from tests.learning.distilling_bank import SPACE, DistillingBank, distilling_bank

ITEMS = 2
"""Lessons the model has for each trace."""
POISON = 10
"""Every tenth trace is one the model does not answer for, while it is told so."""
_LEASE_S = 1.0
_SLOWEST_S = 0.05
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class DistilReport:
    """What many kills showed.

    Attributes:
        stored: acknowledged traces.
        lost: acknowledged traces that are not there.
        undistilled: traces whose model's lessons are missing, after dead letters were retried.
        doubled: traces with more lessons than the model gave.
        half: traces whose rules' items still stand beside the model's, or that are still called queued.
        dead_letters: rows that were given up and seen, before they were retried.
    """

    kills: int
    stored: int
    lost: int
    undistilled: int
    doubled: int
    half: int
    dead_letters: int

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, half written or doubled, and what failed was seen."""
        wrong = self.lost + self.undistilled + self.doubled + self.half
        return self.stored > 0 and self.dead_letters > 0 and not wrong


def kill_while_distilling(directory: Path, *, kills: int, seed: int) -> DistilReport:
    """Start a process that stores and distils, kill it at a random moment, `kills` times; then let one finish."""
    acknowledged = acknowledged_until_killed(partial(_child, directory, "work"), kills=kills, seed=seed, within_s=0.6)
    dead = int(_finished(directory, "drain"))
    return _verdict(json.loads(_finished(directory, "check", "\n".join(acknowledged))), kills, dead)


def _child(directory: Path, part: str, number: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.distilling", part, str(directory), str(number)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", stderr=subprocess.DEVNULL
    )


def _finished(directory: Path, part: str, said: str = "") -> str:
    with _child(directory, part) as process:
        answer, _ = process.communicate(said, timeout=2 * _PATIENCE_S)
    assert process.returncode == 0, f"{part} ended with {process.returncode}"
    return answer


def _verdict(found: dict[str, int], kills: int, dead: int) -> DistilReport:
    return DistilReport(kills=kills, dead_letters=dead, **found)


class SlowModel:
    """Answers from the trace after a moment; not for poisoned ones while it is ill."""

    def __init__(self, *, ill: bool) -> None:
        self._ill = ill
        self._rng = random.Random(secrets.randbits(32))

    async def complete(self, request: ModelRequest, *, model: str, timeout_s: float) -> Reply:
        await anyio.sleep(self._rng.uniform(0, _SLOWEST_S))
        task = request.messages[1].text.partition("<task>\n")[2].partition("\n")[0]
        if self._ill and task.startswith("Poisoned"):
            raise UpstreamError("the model is ill", status=400)
        lessons = [
            {
                "title": f"{task}: way {number}",
                "description": "When the exporter is slow; not for a handful of rows.",
                "content": f"Reuse one connection for all rows, because connecting takes longer (way {number}).",
                "error_context": None,
            }
            for number in range(ITEMS)
        ]
        return Reply(json.dumps({"memories": lessons}), model, TokenUsage(), "stop")

    async def stream(self, request: ModelRequest, *, model: str, timeout_s: float) -> AsyncGenerator[str | Reply]:
        yield await self.complete(request, model=model, timeout_s=timeout_s)


def _worker(bank: DistillingBank) -> OutboxWorker:
    return OutboxWorker(
        bank.database,
        {DISTIL: bank.distiller.handle},
        now=lambda: datetime.now(UTC),
        owner=secrets.token_hex(4),
        poll_s=0.02,
        lease_s=_LEASE_S,
        jitter=lambda: 0.0,
        max_attempts=3,
    )


async def _work(directory: Path, number: int) -> None:
    """Store traces and print their keys, with a worker beside, until killed."""
    async with distilling_bank(directory, model=SlowModel(ill=True), unique_ids=True) as bank:
        worker = _worker(bank)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            for count in range(100_000):
                key = f"{number}-{count}"
                kind = "Poisoned" if count % POISON == POISON - 1 else "Sound"
                run = [{"thought": f"Exporting {key} was slow because each row opened its own connection.",
                        "action": f"edit {key}", "observation": "saved"}]  # fmt: skip
                await bank.store(f"{kind} task {key}", "success", json.loads(json.dumps(run)), key=key)
                print(key, flush=True)
                worker.wake()
                await anyio.sleep(0.01)


async def _drain(directory: Path) -> None:
    """Wait until all is done or given up; print how much was, then retry it with a model that is well again."""
    async with distilling_bank(directory, model=SlowModel(ill=True), unique_ids=True) as bank:
        await _until_quiet(bank)
        dead = await bank.database.read(lambda c: len(outbox.dead(c, limit=100_000)))
    async with distilling_bank(directory, model=SlowModel(ill=False), unique_ids=True) as bank:
        for _ in range(20):
            await bank.database.write(outbox.requeue_dead)
            await _until_quiet(bank)
            if not await bank.database.read(lambda c: outbox.dead(c, limit=1)):
                break
    print(dead)


async def _until_quiet(bank: DistillingBank) -> None:
    """Work until nothing waits, retries included."""
    worker = _worker(bank)
    task = asyncio.create_task(worker.run())
    with anyio.fail_after(_PATIENCE_S):
        # Only the rows tell: there is no event to wait for.
        while await bank.database.read(_is_waiting):  # noqa: ASYNC110
            await anyio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _is_waiting(connection: Connection) -> bool:
    counts = outbox.counts(connection, now=datetime.now(UTC), kind=DISTIL)
    return bool(counts.pending or counts.leased)


def _check(database: Database, keys: list[str]) -> dict[str, int]:
    def read(connection: Connection) -> dict[str, int]:
        found = Counter[str](stored=len(keys), lost=0, undistilled=0, doubled=0, half=0)
        for key in keys:
            answer = remembered(connection, SPACE, key)
            if answer is None or traces.by_id(connection, SPACE, answer.trace_id) is None:
                found["lost"] += 1
                continue
            mine = memories.of_trace(connection, SPACE, answer.trace_id)
            lessons = sum(memory.item.origin == "llm" for memory in mine)
            standing = sum(memory.item.origin == "rules" and memory.superseded_by is None for memory in mine)
            found["undistilled"] += lessons < ITEMS
            found["doubled"] += lessons > ITEMS
            found["half"] += bool(standing or answer.queued or answer.distillation != "llm")
        return dict(found)

    return database.read_now(read)


def main(part: str, directory: Path, number: int) -> None:
    """One process of the test."""
    if part == "work":
        asyncio.run(_work(directory, number))
    elif part == "drain":
        asyncio.run(_drain(directory))
    else:
        database = Database(directory / "bank.db", durability="process", now=lambda: datetime.now(UTC))
        database.open()
        print(json.dumps(_check(database, sys.stdin.read().split())))
        database.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
