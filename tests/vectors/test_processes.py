"""Several processes on one bank: one opens Chroma, any may be killed, and the index ends up equal to the truth."""

import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import numpy as np
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from reasoning_bank.vectors.index import Vector, ids_digest

from .conftest import DIM, WAIT_S, Bank

SCRIPT = Path(__file__).with_name("index_process.py")


def vectors_of(numbers: range) -> Vector:
    """Return the vectors that the processes look for by number."""
    return np.stack([np.random.default_rng(each).standard_normal(DIM).astype(np.float32) for each in numbers])


class IndexProcess:
    """One process, asked one question at a time."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdout is not None
        self.process = process
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def ask(self, question: str) -> Any:
        assert self.process.stdin is not None
        with anyio.fail_after(WAIT_S):
            await self.process.stdin.send(f"{question}\n".encode())
            return json.loads(await self._answers.receive_until(b"\n", 10_000))

    async def until(self, **expected: object) -> Any:
        """Wait for a report that says this."""
        with anyio.fail_after(WAIT_S):
            while True:
                report = await self.ask("report")
                if expected.items() <= report.items():
                    return report
                await anyio.sleep(0.05)

    async def ends(self) -> bytes:
        """Close stdin and return what else the process wrote to stdout: Chroma must not."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        with anyio.fail_after(WAIT_S):
            assert await self.process.wait() == 0
        rest = b""
        with contextlib.suppress(anyio.EndOfStream):
            while True:
                rest += await self._answers.receive()
        return rest

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


class Processes:
    """Starts processes on a bank and ends what is left of them."""

    def __init__(self, bank: Path) -> None:
        self._bank = bank
        self.started: list[IndexProcess] = []

    async def start(self) -> IndexProcess:
        process = await anyio.open_process(
            [sys.executable, str(SCRIPT), str(self._bank)], stderr=subprocess.DEVNULL, cwd=SCRIPT.parents[2]
        )
        self.started.append(IndexProcess(process))
        return self.started[-1]


@pytest.fixture
async def processes(bank: Bank, data_dir: Path) -> AsyncIterator[Processes]:
    processes = Processes(data_dir)
    yield processes
    for each in processes.started:
        if each.process.returncode is None:
            await each.kill()
        await each.process.aclose()


async def store(bank: Bank, numbers: range) -> None:
    await bank.store([f"m{each}" for each in numbers], vectors_of(numbers))


async def test_only_one_process_opens_chroma_and_a_killed_one_is_followed(bank: Bank, processes: Processes) -> None:
    await store(bank, range(200))
    first = await processes.start()
    await first.until(status="ready", owner=True)
    second = await processes.start()
    waiting = await second.until(status="waiting", owner=False)
    assert not waiting["chromadb"]
    assert await first.ask("nearest 7") == {"ids": ["m7"]}
    assert await second.ask("nearest 7") == {"ids": None}
    await store(bank, range(200, 260))
    await first.kill()
    await bank.forget(["m3"])
    everything = ids_digest(f"m{each}" for each in range(260) if each != 3)
    await second.until(status="ready", owner=True, digest=everything)
    assert await second.ask("nearest 259") == {"ids": ["m259"]}
    assert await second.ends() == b""


@pytest.mark.faults
async def test_kills_while_indexing_leave_nothing_behind(bank: Bank, processes: Processes) -> None:
    count = 10
    await store(bank, range(count))
    for round_ in range(2):
        process = await processes.start()
        await process.until(owner=True)
        for _ in range(4):
            await store(bank, range(count, count + 50))
            count += 50
            await anyio.sleep(0.03 * round_)
        await process.kill()
    last = await processes.start()
    await last.until(status="ready", digest=ids_digest(f"m{each}" for each in range(count)))
    assert await last.ask("nearest 0") == {"ids": ["m0"]}
