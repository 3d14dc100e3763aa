"""Calls over a network: kept connections, several at once, and independent steps of one task in parallel."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal

from reasoning_bank.concurrency.parallel import run_parallel
from reasoning_bank.evaluation.bench.loopback import loopback
from reasoning_bank.evaluation.bench.rows import Measured, paired
from reasoning_bank.evaluation.bench.workbench import Workbench
from reasoning_bank.llm.call import Call
from reasoning_bank.llm.pool import APIConnectionPool

REQUESTS: Final = 10
"""One after the other, of a server that answers at once."""
THINKING_MS, CALLS, WIDTH = 50, 20, 10
"""Of a server that thinks: so many calls, so many at once."""
WORKERS: Final = 4
BODY: Final = b'{"model": "any", "messages": [{"role": "user", "content": "What now?"}]}'
HEADERS: Final = {"content-type": "application/json"}


def pooling(bench: Workbench) -> Measured:
    """A client of the HTTP library for each request, its TLS context shared, against the pool; no thinking."""
    with _pool() as pool:

        async def client_per_request() -> None:
            for _ in range(REQUESTS):
                async with httpx2.AsyncClient(verify=pool.context, trust_env=False) as client:
                    (await client.post(f"{pool.url}/0", content=BODY, headers=HEADERS)).raise_for_status()

        async def kept() -> None:
            for _ in range(REQUESTS):
                await pool.post(0)

        return paired(
            lambda: pool.milliseconds(client_per_request) / REQUESTS,
            lambda: pool.milliseconds(kept) / REQUESTS,
            rounds=4 * bench.scale.rounds,
            figures={"requests": REQUESTS},
        )


def concurrent_calls(bench: Workbench) -> Measured:
    """Calls of a server that thinks, one after the other against ten at once: milliseconds for each."""
    with _pool() as pool:

        async def sequential() -> None:
            for _ in range(CALLS):
                await pool.post(THINKING_MS)

        async def at_once() -> None:
            # The pool lets WIDTH of them through.
            await asyncio.gather(*(pool.post(THINKING_MS) for _ in range(CALLS)))

        return paired(
            lambda: pool.milliseconds(sequential) / CALLS,
            lambda: pool.milliseconds(at_once) / CALLS,
            rounds=bench.scale.few,
            figures={"calls": CALLS, "at_once": WIDTH, "thinking_ms": THINKING_MS},
        )


def parallel_steps(bench: Workbench) -> Measured:
    """Four independent steps that each wait for a server, one after the other against `run_parallel`."""
    with _pool() as pool:
        steps = {f"step {number}": pool.think for number in range(WORKERS)}

        async def sequential() -> None:
            for step in steps.values():
                await step()

        async def parallel() -> None:
            finished = await run_parallel(steps, max_workers=WORKERS)
            assert len(finished.results) == len(steps)

        return paired(
            lambda: pool.milliseconds(sequential),
            lambda: pool.milliseconds(parallel),
            rounds=bench.scale.rounds,
            figures={"workers": WORKERS, "thinking_ms": THINKING_MS},
        )


@dataclass(frozen=True, slots=True)
class _Pool:
    url: str
    pool: APIConnectionPool
    portal: BlockingPortal
    context: ssl.SSLContext

    async def post(self, thinking_ms: int) -> None:
        await self.pool.post(Call(f"{self.url}/{thinking_ms}", BODY, HEADERS), len)

    async def think(self) -> None:
        await self.post(THINKING_MS)

    def milliseconds(self, work: Callable[[], Awaitable[None]]) -> float:
        async def timed() -> float:
            started = time.perf_counter()
            await work()
            return 1000 * (time.perf_counter() - started)

        return self.portal.call(timed)


@contextmanager
def _pool() -> Generator[_Pool]:
    with (
        loopback() as url,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(APIConnectionPool(WIDTH)) as kept,
    ):
        pool = _Pool(url, kept, portal, httpx2.create_ssl_context(trust_env=False))
        portal.call(pool.post, 0)
        yield pool
