"""A process with an index of its own on a bank, for the tests that kill one: `index_process.py BANK`.

Answers each line on stdin by one line of JSON: `report`, or `nearest` with the number of the memory to look for.
"""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np

from reasoning_bank.storage.database import Database
from reasoning_bank.vectors.chroma import ChromaDBAdapter
from reasoning_bank.vectors.indexer import Indexer

DIM = 16


async def answer(line: str, indexer: Indexer, adapter: ChromaDBAdapter) -> dict[str, object]:
    """Return what was asked for."""
    question, _, number = line.partition(" ")
    if question == "nearest":
        row = np.random.default_rng(int(number)).standard_normal(DIM).astype(np.float32)
        found = await adapter.nearest("w", row, 1)
        return {"ids": None if found is None else [hit.id for hit in found.hits]}
    report, state = indexer.report(), await adapter.state("w")
    return {
        "status": report.status,
        "owner": report.owner,
        "builds": report.builds,
        "digest": state.digest,
        "chromadb": "chromadb" in sys.modules,
    }


async def main(bank: Path) -> None:
    """Index until stdin ends."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
    async with Database(bank / "bank.db", durability="process", now=clock) as database:
        adapter = ChromaDBAdapter(bank / "vectors", batch_size=64, timeout_s=20)
        indexer = Indexer(database, adapter, now=clock, poll_s=0.05, claim_s=0.1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(indexer.run)
            while line := await anyio.to_thread.run_sync(sys.stdin.readline):
                print(json.dumps(await answer(line.strip(), indexer, adapter)), flush=True)
            tasks.cancel_scope.cancel()
        await adapter.close()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
    # What Chroma left on stdout would be after this line; there must be nothing.
    os.write(2, b"closed\n")
