"""One soak: waves of mixed requests to a real server process, and what the process holds after each of them."""

import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx2
from mcp import Client, MCPError, StdioServerParameters

from tests.soak.mixture import Mixture, WrongAnswerError

REPOSITORY = Path(__file__).resolve().parents[2]
Transport = Literal["http", "stdio"]
ENVIRONMENT = {
    "REASONING_BANK_VECTORS__CHROMA_MODE": "off",
    # Of malloc one arena, not eight for each core: what threads freed in each of them (glibc keeps it; 13 of 16 MB that
    # 2,000 requests added without this) would hide whether the bank keeps anything.
    "MALLOC_ARENA_MAX": "1",
    # Small caches are full before the first look: what grows afterwards is no cache.
    **{
        f"REASONING_BANK_CACHE__{name}__SIZE": "100"
        for name in ("MEMORIES", "RETRIEVAL", "INTENTS", "QUERIES", "TEXTS", "CONTEXTS", "TOOLS", "CALCULATIONS")
    },
}
QUIET_S = 600.0
"""Longest wait for the background work of a wave."""
SOME_PROBLEMS = 20


@dataclass
class Soak:
    """What happened.

    Attributes:
        held: what the process held after each wave, see `tests.soak.served`, with the requests answered by then.
        seconds: how long each request took, by kind.
        problems: wrong answers and errors, the first few.
    """

    held: list[dict[str, int]] = field(default_factory=list[dict[str, int]])
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    problems: list[str] = field(default_factory=list[str])
    failed: int = 0
    took_s: float = 0.0

    def report(self) -> dict[str, Any]:
        """Figures for a person or a gate."""
        every = [each for taken in self.seconds.values() for each in taken]
        return {
            "requests": len(every),
            "failed": self.failed,
            "problems": self.problems,
            "seconds": round(self.took_s, 1),
            "response_ms": _milliseconds(every),
            "by_kind_ms": {kind: _milliseconds(taken) for kind, taken in sorted(self.seconds.items())},
            "growth": {name: growth([(each["requests"], each[name]) for each in self.held]) for name in LIMITS},
            "held": self.held,
        }


LIMITS: Mapping[str, float] = {"rss_kb": 2_500.0, "blocks": 8_000.0, "descriptors": 0.5, "threads": 1.5, "tasks": 0.5}
"""Growth per 1,000 requests, in the second half, that is still flat; blocks are those of Python's own allocator.

Figures by window, pages of the database and the few new memories take 2 MB and 5,000 blocks at first, 0.7 MB and hardly
a block from 2,500 requests on. A request that left one answer behind would keep more than ten blocks.
"""


def growth(points: Sequence[tuple[int, int]]) -> dict[str, float]:
    """The slope per 1,000 requests, of the median over all pairs (Theil 1950, Sen 1968), in the second half."""
    late = points[len(points) // 2 :]
    slopes = [(y2 - y1) / (x2 - x1) * 1_000 for i, (x1, y1) in enumerate(late) for x2, y2 in late[i + 1 :]]
    return {"first": points[0][1], "last": points[-1][1], "per_1000": round(statistics.median(slopes), 3)}


def not_flat(report: Mapping[str, Any], limits: Mapping[str, float] = LIMITS) -> list[str]:
    """What grew with the requests, in words."""
    grown = {name: report["growth"][name]["per_1000"] for name in limits}
    return [f"{name} grows by {grown[name]} per 1,000 requests" for name in limits if grown[name] > limits[name]]


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: see `python -m tests.soak --help`."""

    transport: Transport
    requests: int
    clients: int = 32
    waves: int = 20
    backend: str = "onnx"
    pool: int = 200
    seed: int = 1


async def soak(directory: Path, load: Load) -> dict[str, Any]:
    """Send mixed requests from many clients at once, in waves, after filling the bank; the report."""
    result, each = Soak(), load.requests // load.waves
    backend = {"REASONING_BANK_EMBEDDINGS__BACKEND": load.backend}
    async with serving(directory, load.transport, ENVIRONMENT | backend) as server:
        mixture = Mixture(random.Random(load.seed), batch_url=server.url, pool=load.pool)
        async with server.connected(1) as (client, *_):
            await mixture.fill(client)
        started = time.perf_counter()
        for wave in range(load.waves):
            await _wave(server, mixture, result, each, load.clients)
            result.held.append({"requests": (wave + 1) * each, **await server.quiet()})
        result.took_s = time.perf_counter() - started
    return result.report()


async def _wave(server: "Server", mixture: Mixture, result: Soak, requests: int, clients: int) -> None:
    left = iter(range(requests))

    async def work(client: Client, http: httpx2.AsyncClient) -> None:
        for _ in left:
            kind = mixture.draw()
            started = time.perf_counter()
            try:
                await mixture.send(kind, client, http)
            except (WrongAnswerError, MCPError, httpx2.HTTPError) as error:
                result.failed += 1
                result.problems += [f"{kind}: {type(error).__name__} {error}"[:300]][: SOME_PROBLEMS - result.failed]
            result.seconds.setdefault(kind, []).append(time.perf_counter() - started)

    async with (
        server.connected(clients) as connected,
        httpx2.AsyncClient(timeout=60) as http,
        asyncio.TaskGroup() as group,
    ):
        for client in connected:
            group.create_task(work(client, http))


class Server:
    """A running server, and the way to it.

    Args:
        url: root over HTTP, None over stdio.
        stdio: the one connection over stdio, shared by all who call.
        port_file: says where the process tells what it holds.
    """

    def __init__(self, url: str | None, stdio: Client | None, port_file: Path) -> None:
        self.url = url
        self._stdio = stdio
        self._port_file = port_file

    @asynccontextmanager
    async def connected(self, count: int) -> AsyncGenerator[list[Client]]:
        """So many clients; over HTTP each has connections of its own, which end with it."""
        if self._stdio is not None:
            yield [self._stdio] * count
            return
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(Client(f"{self.url}/mcp")) for _ in range(count)]

    async def quiet(self) -> dict[str, int]:
        """What the process holds once nothing is left to do in the background and its connections are closed."""
        async with asyncio.timeout(QUIET_S):
            async with self.connected(1) as (client,):
                while await _pending(client):  # noqa: ASYNC110 -- another process has no event for it
                    await asyncio.sleep(0.1)
            before, now = None, await self._settled()
            while now != before:
                await asyncio.sleep(0.3)
                before, now = now, await self._settled()
        return await self._held()

    async def _settled(self) -> tuple[int, int]:
        held = await self._held()
        return held["descriptors"], held["tasks"]

    async def _held(self) -> dict[str, int]:
        port = int(self._port_file.read_text(encoding="utf-8"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        line = await reader.readline()
        writer.close()
        return json.loads(line)


async def _pending(client: Client) -> int:
    (content,) = (await client.read_resource("bank://stats")).contents
    background = json.loads(getattr(content, "text", "{}"))["background"]
    return background["pending"] + background["leased"]


@asynccontextmanager
async def serving(directory: Path, transport: Transport, environment: Mapping[str, str]) -> AsyncGenerator[Server]:
    """A server process of its own, with settings from its environment."""
    port_file = directory / f"{transport}.port"
    arguments = ["-m", "tests.soak.served", str(port_file), "serve", "--data-dir", str(directory / transport)]
    own = {**os.environ, **environment, "PYTHONPATH": str(REPOSITORY)}
    if transport == "stdio":
        parameters = StdioServerParameters(command=sys.executable, args=arguments, env=own, cwd=REPOSITORY)
        async with Client(parameters) as client:
            yield Server(None, client, port_file)
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, "--transport", "http", "--port", "0",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=own, cwd=REPOSITORY,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            first = (await process.stdout.readline()).decode()  # "reasoning-bank listens on http://…/mcp"
        yield Server(first.split()[-1].removesuffix("/mcp"), None, port_file)
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            await process.wait()


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    ordered = sorted(seconds)
    at = {f"p{share}": ordered[min(len(ordered) * share // 100, len(ordered) - 1)] for share in (50, 95, 99)}
    named = {"n": len(ordered), "mean": statistics.fmean(ordered), **at, "max": ordered[-1]}
    return {name: value if name == "n" else round(1_000 * value, 1) for name, value in named.items()}
