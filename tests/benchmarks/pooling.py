"""Kept connections against a client per call: requests one after the other, and ten at once with a model that thinks.

Run: python -m tests.benchmarks pooling [--rounds 7]

The server is a process of its own, on http and on https. Every arm sends the same request and reads the same answer;
arms take turns within a round, so that load hits all alike, and the ratios are of medians over the rounds. "ours" is
the whole client (retries, breaker, parsing); the arms without a pool are the bare library, which is their best case.
"""

import argparse
import asyncio
import contextlib
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import trustme

from reasoning_bank.llm.chat_completions import ChatCompletionsClient
from reasoning_bank.llm.pool import APIConnectionPool
from tests.benchmarks.machine import REPOSITORY, RESULTS, machine
from tests.llm import endpoint
from tests.llm.endpoint import Exchange
from tests.llm.faults import REQUEST

COUNTS = (10, 50, 100)
WIDTH = 10
THINKING_S = 0.05
THINKING_CALLS = 50
BODY = {"model": "quick", "messages": [{"role": "user", "content": "What now?"}], "max_tokens": 1024, "temperature": 0}
Ask = Callable[[str], Awaitable[object]]
"""Asks a model, "quick" or "thinking", once."""


def main(arguments: list[str]) -> None:
    """Measure and write results/pooling.json."""
    if arguments[:1] == ["serve"]:
        asyncio.run(_serve(Path(arguments[1])))
        return
    parser = argparse.ArgumentParser(prog="pooling")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory() as directory, _server(Path(directory)) as urls:
        result = {"machine": machine(), "rounds": rounds, **asyncio.run(_measure(urls, Path(directory), rounds))}
    (RESULTS / "pooling.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in ("one_after_the_other", "thinking")}, indent=1))


async def _serve(directory: Path) -> None:
    async def tell(exchange: Exchange) -> None:
        await endpoint.answer(after_s=THINKING_S if exchange.body["model"] == "thinking" else 0)(exchange)

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(directory / "server.pem")
    async with endpoint.serving() as plain, endpoint.serving(tls) as encrypted:
        plain.otherwise = encrypted.otherwise = tell
        print(json.dumps({"http": plain.url, "https": encrypted.url}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def _server(directory: Path) -> Generator[dict[str, str]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    command = [sys.executable, "-m", "tests.benchmarks", "pooling", "serve", str(directory)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


async def _measure(urls: dict[str, str], directory: Path, rounds: int) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    thinking: list[dict[str, Any]] = []
    for scheme, url in urls.items():
        async with _arms(url, directory / "ca.pem") as arms:
            for ask in arms.values():
                await ask("quick")
            for count in COUNTS:
                taken = await _rounds({name: _one_by_one(ask, "quick", count) for name, ask in arms.items()}, rounds)
                rows.append({"scheme": scheme, "requests": count, **_compared(taken, to="ours")})
            ways = {
                f"{name}, {way}": run(ask, "thinking", THINKING_CALLS)
                for name, ask in arms.items()
                if name != "client and SSL context per call"
                for way, run in (("one by one", _one_by_one), (f"{WIDTH} at once", _at_once))
            }
            taken = await _rounds(ways, max(3, rounds // 2))
            thinking.append({"scheme": scheme, "requests": THINKING_CALLS, **_compared(taken, to="ours, one by one")})
    return {"one_after_the_other": rows, "thinking": thinking, "thinking_s": THINKING_S}


@asynccontextmanager
async def _arms(url: str, authority: Path) -> AsyncGenerator[dict[str, Ask]]:
    shared = _context(authority)
    target = f"{url}/chat/completions"
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(APIConnectionPool(WIDTH, ca_file=authority))
        client = ChatCompletionsClient(pool, base_url=url)
        kept = await stack.enter_async_context(httpx2.AsyncClient(verify=shared, trust_env=False))

        async def ours(model: str) -> object:
            return await client.complete(REQUEST, model=model, timeout_s=30)

        async def bare(model: str) -> object:
            return (await kept.post(target, json={**BODY, "model": model})).json()

        async def shared_context(model: str) -> object:
            async with httpx2.AsyncClient(verify=shared, trust_env=False) as one:
                return (await one.post(target, json={**BODY, "model": model})).json()

        async def nothing_shared(model: str) -> object:
            async with httpx2.AsyncClient(verify=_context(authority), trust_env=False) as one:
                return (await one.post(target, json={**BODY, "model": model})).json()

        yield {
            "ours": ours,
            "kept client of the library": bare,
            "client per call": shared_context,
            "client and SSL context per call": nothing_shared,
        }


def _context(authority: Path) -> ssl.SSLContext:
    context = httpx2.create_ssl_context(trust_env=False)
    context.load_verify_locations(authority)
    return context


def _one_by_one(ask: Ask, model: str, count: int) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        for _ in range(count):
            await ask(model)

    return run


def _at_once(ask: Ask, model: str, count: int) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                await ask(model)

        await asyncio.gather(*(caller() for _ in range(WIDTH)))

    return run


async def _rounds(runs: dict[str, Callable[[], Awaitable[None]]], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        names = list(runs)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            await runs[name]()
            taken[name].append(time.perf_counter() - start)
    return taken


def _compared(taken: dict[str, list[float]], *, to: str) -> dict[str, Any]:
    medians = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "median_ms": {name: round(1000 * median, 1) for name, median in medians.items()},
        "ratio": {name: round(median / medians[to], 2) for name, median in medians.items()},
    }
