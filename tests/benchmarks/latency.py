"""Store and retrieve at 1,000, 10,000 and 100,000 memories: through MCP over stdio, and in the library.

Run: python -m tests.benchmarks latency [--sizes 1000,10000,100000] [--keep DIRECTORY]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import anyio
import psutil
from mcp import Client, StdioServerParameters

from reasoning_bank import NewTrace, Query, ReasoningBank, load_settings
from reasoning_bank.evaluation.bench.filling import WORKSPACE
from reasoning_bank.evaluation.bench.lessons import lesson, questions
from reasoning_bank.records import MemoryItem
from tests.benchmarks.filling import fill
from tests.benchmarks.machine import RESULTS, machine
from tests.benchmarks.timing import at_once, one_by_one, quantiles

K = 5
WIDTH = 8
INDEX_WAIT_S = 3600.0
"""Bound for building Chroma's index of 100,000 memories on a slow machine."""
NEW = 5_000_000
"""Number of the first lesson that is stored while measuring: none of the bank's own."""


class Bank(Protocol):
    """The same calls through MCP and in the library."""

    stages: list[dict[str, float]]

    async def search(self, question: str) -> list[str]:
        """Search, k = 5 and no floor; what did not take part."""
        ...

    async def store(self, number: int) -> None:
        """Store a new lesson, distilled by the caller."""
        ...

    async def stats(self) -> dict[str, Any]:
        """What the bank says of itself."""
        ...

    def cpu_s(self) -> float:
        """Processor seconds that the process with the bank has taken, background work included."""
        ...


class OverMcp:
    """Calls through the official client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.stages: list[dict[str, float]] = []

    async def search(self, question: str) -> list[str]:
        """Search with `retrieve_memory`."""
        arguments = {"task": question, "k": K, "min_score": 0, "workspace": WORKSPACE}
        answer = await self._call("retrieve_memory", arguments)
        self.stages.append(answer["timings_ms"])
        return answer["degraded"]

    async def store(self, number: int) -> None:
        """Store with `store_trace`."""
        made = lesson(number)
        drafts = [{"title": made.title, "description": made.description, "content": made.content}]
        await self._call(
            "store_trace", {"task": made.task, "outcome": "success", "memories": drafts, "workspace": WORKSPACE}
        )

    def cpu_s(self) -> float:
        """Of the server."""
        return sum(sum(child.cpu_times()[:2]) for child in _children())

    async def stats(self) -> dict[str, Any]:
        """Read `bank://stats`."""
        contents: Any = (await self.client.read_resource("bank://stats")).contents[0]
        return json.loads(contents.text)

    async def _call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = await self.client.call_tool(tool, arguments)
        if result.is_error:
            raise RuntimeError(str(result.content))
        return cast("dict[str, Any]", result.structured_content)


class InProcess:
    """Calls of the library."""

    def __init__(self, bank: ReasoningBank) -> None:
        self.bank = bank
        self.stages: list[dict[str, float]] = []

    async def search(self, question: str) -> list[str]:
        """Search with `ReasoningBank.retrieve`."""
        found = await self.bank.retrieve(WORKSPACE, Query(task=question, k=K, min_score=0))
        self.stages.append(dict(found.timings_ms))
        return list(found.degraded)

    async def store(self, number: int) -> None:
        """Store with `ReasoningBank.store_trace`."""
        made = lesson(number)
        draft = MemoryItem(text="", title=made.title, description=made.description, content=made.content)
        await self.bank.store_trace(WORKSPACE, NewTrace(task=made.task, outcome="success"), memories=[draft])

    async def stats(self) -> dict[str, Any]:
        """Ask the library."""
        return dict(await self.bank.stats(WORKSPACE))

    def cpu_s(self) -> float:
        """Of this process."""
        return time.process_time()


async def measure(root: Path, size: int) -> dict[str, Any]:
    """All figures of one size; where Chroma is used, of a bank whose index is built."""
    directory = await fill(root, size)
    figures: dict[str, Any] = {"memories": size}
    async with _library(directory) as bank:
        figures["index_built_s"] = await _until_index_serves(bank, size)
        figures["embed_one_short_query"] = await _embedding(bank.bank, size)
        figures["library"] = await _figures(bank, size, seed=1)
        # What was stored must not be left for the next process to embed while it is measured.
        await bank.bank.wait_until_searchable(timeout_s=600)
    async with _over_mcp(directory, size, figures) as bank:
        figures["mcp_stdio"] = await _figures(bank, size, seed=2)
        figures["rss_mb"]["after_use"] = _rss_mb()
        stats = await bank.stats()
        figures["server_says"] = {"counters": stats["counters"], "operations": stats["operations"]}
    return figures


async def _figures(bank: Bank, size: int, *, seed: int) -> dict[str, Any]:
    asked = iter(questions(size, 1000, seed=seed))
    figures: dict[str, Any] = {}

    async def phase(name: str, run: Awaitable[dict[str, float]]) -> None:
        bank.stages.clear()
        before = bank.cpu_s()
        figures[name] = await run
        cpu_s = bank.cpu_s() - before
        figures[name]["cpu_ms_each"] = round(cpu_s * 1000 / figures[name]["n"], 2)
        if bank.stages:
            stages = {stage: statistics.median(s.get(stage, 0.0) for s in bank.stages) for stage in bank.stages[0]}
            figures[name]["stages_p50_ms"] = {stage: round(value, 2) for stage, value in stages.items()}

    await phase("search_first_after_ready", one_by_one(bank.search, [next(asked)]))
    await one_by_one(bank.search, [next(asked) for _ in range(20)])
    await phase("search", one_by_one(bank.search, [next(asked) for _ in range(200)]))
    same = next(asked)
    await bank.search(same)
    await phase("search_repeated", one_by_one(bank.search, [same] * 100))
    await phase("search_concurrent", at_once(bank.search, [next(asked) for _ in range(400)], width=WIDTH))
    first = NEW + seed * 10_000
    await one_by_one(bank.store, range(first, first + 5))
    await phase("store", one_by_one(bank.store, range(first + 5, first + 105)))
    await phase("store_concurrent", at_once(bank.store, range(first + 105, first + 305), width=WIDTH))
    await phase("search_while_stores_are_embedded", one_by_one(bank.search, [next(asked) for _ in range(20)]))
    return figures


async def _embedding(bank: ReasoningBank, size: int) -> dict[str, float]:
    """What embedding one such question costs here and now, without anything around it."""
    embedder = bank.rooms.model.embedder
    asked = questions(size, 100, seed=3)
    taken: list[float] = []
    for question in asked:
        started = time.perf_counter()
        await anyio.to_thread.run_sync(partial(embedder.encode, [question], "query"))
        taken.append(time.perf_counter() - started)
    return quantiles(taken)


@asynccontextmanager
async def _library(directory: Path) -> AsyncGenerator[InProcess]:
    async with ReasoningBank(load_settings(data_dir=directory)) as open_bank:
        bank = InProcess(open_bank)
        await _until_semantic(bank)
        yield bank


@asynccontextmanager
async def _over_mcp(directory: Path, size: int, figures: dict[str, Any]) -> AsyncGenerator[OverMcp]:
    settings = load_settings()
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "reasoning_bank", "serve", "--data-dir", str(directory)],
        env={"REASONING_BANK_ASSETS_DIR": str(settings.assets_dir), "REASONING_BANK_LOG_LEVEL": "ERROR"},
    )
    started = time.perf_counter()
    async with Client(server, read_timeout_seconds=120) as client:
        await client.list_tools()
        figures["start_s"] = {"tools_listed": _since(started)}
        figures["rss_mb"] = {"idle": _rss_mb()}
        bank = OverMcp(client)
        await bank.search("anything")
        figures["start_s"]["first_answer"] = _since(started)
        await _until_semantic(bank)
        figures["start_s"]["first_semantic_answer"] = _since(started)
        figures["index_opened_s"] = await _until_index_serves(bank, size)
        yield bank


async def _until_semantic(bank: Bank) -> None:
    with anyio.fail_after(300):
        while "semantic" in await bank.search("is the model there?"):  # noqa: ASYNC110 -- another process: no event
            await anyio.sleep(0.02)


async def _until_index_serves(bank: Bank, size: int) -> float | None:
    """Seconds until Chroma is ready to be asked; None where exact search serves."""
    if size <= load_settings().vectors.exact_limit:
        return None
    started = time.perf_counter()
    with anyio.fail_after(INDEX_WAIT_S):
        while (await bank.stats())["index"]["status"] != "ready":  # noqa: ASYNC110 -- another process: no event
            await anyio.sleep(0.5)
    return _since(started)


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 2)


def _rss_mb() -> float:
    return round(sum(child.memory_info().rss for child in _children()) / 2**20, 1)


def _children() -> list[psutil.Process]:
    """The server, our only child, and what it started."""
    return psutil.Process().children(recursive=True)


def main(arguments: Sequence[str]) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(prog="latency", description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--keep", type=Path, help="directory in which filled banks are kept for the next run")
    parser.add_argument("--results", type=Path, default=RESULTS / "latency.json", help="file to write")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        root: Path = options.keep or Path(temporary)
        sizes = [anyio.run(measure, root, int(size)) for size in options.sizes.split(",")]
    report = {"machine": machine(), "k": K, "width": WIDTH, "sizes": sizes}
    options.results.parent.mkdir(exist_ok=True)
    options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))
