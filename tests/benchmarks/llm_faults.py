"""A model server that fails in every way: outcome, attempts and time against the deadline, in real time.

Run: python -m tests.benchmarks llm-faults [--calls 1000] [--cancels 5000]

Every fault in each of the three wire formats against a real local server; then two outages (a server that answers 500,
a port where nobody listens) under load; then calls that are cancelled at any moment.
"""

import argparse
import asyncio
import json
import random
import re
import resource
import time
from contextlib import aclosing
from typing import Any

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.exchange import Provider
from reasoning_bank.llm.pool import APIConnectionPool
from reasoning_bank.llm.retrying import RETRIES_AT_ONCE, RETRIES_PER_S, RETRY_SHARE
from tests.benchmarks.machine import RESULTS, machine
from tests.llm import endpoint
from tests.llm.conftest import CLIENTS
from tests.llm.faults import CASES, REQUEST, Case, outcome_of, prepare

WIDTH = 10
SLACK_S = 0.1
"""What a call may take beyond its deadline."""
CLOSING_S = (0.045, 0.055)
"""When the server closes idle connections, and when they are used again: at the same moment."""


def main(arguments: list[str]) -> None:
    """Measure and write results/llm_faults.json."""
    parser = argparse.ArgumentParser(prog="llm-faults")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--cancels", type=int, default=5000)
    chosen = parser.parse_args(arguments)
    asyncio.run(_measure(chosen.calls, chosen.cancels))


async def _measure(calls: int, cancels: int) -> None:
    rows = [await _row(case, wire) for case in CASES for wire in CLIENTS]
    for row in rows:
        print(f"{row['fault']:38} {row['wire']:17} {row['outcome']:9} {row['attempts']} {row['seconds']:7.2f} s")
    outages = [await _outage(kind, calls, own_models=own) for kind in ("500", "refused") for own in (False, True)]
    for outage in outages:
        print(json.dumps(outage))
    cancelled = await _cancelled(cancels)
    print(json.dumps(cancelled))
    stale = await _stale()
    print(json.dumps(stale))
    result = {
        "machine": machine(),
        "unexpected": sum(not row["as_expected"] for row in rows),
        "past_the_deadline": sum(row["seconds"] > row["deadline_s"] + SLACK_S for row in rows),
        "faults": rows,
        "outages": outages,
        "cancelled": cancelled,
        "closed_while_used": stale,
    }
    (RESULTS / "llm_faults.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


async def _row(case: Case, wire: str) -> dict[str, Any]:
    async with endpoint.serving() as server, APIConnectionPool() as pool:
        refused = case.name == "connection refused"
        url = f"http://127.0.0.1:{endpoint.closed_port()}/v1" if refused else server.url
        provider = CLIENTS[wire](pool, base_url=url)
        await prepare(server, case, provider)
        peak = _peak_mb()
        start = time.perf_counter()
        outcome = await outcome_of(provider, case)
        seconds = time.perf_counter() - start
        leaked = pool.statistics().in_use
    matches = bool(re.search(case.expected, outcome.said)) and outcome.attempts == case.attempts
    return {
        "fault": case.name,
        "wire": wire,
        "outcome": outcome.said if outcome.said == "answer" else "partial" if outcome.partial else "error",
        "said": re.sub(r":\d{4,5}", ":PORT", outcome.said),
        "attempts": outcome.attempts,
        "retry_after_s": outcome.retry_after_s,
        "seconds": round(seconds, 3),
        "deadline_s": case.timeout_s,
        "peak_memory_growth_mb": round(_peak_mb() - peak, 1),
        "as_expected": matches and bool(outcome.partial) is case.partial and not leaked,
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _outage(kind: str, calls: int, *, own_models: bool) -> dict[str, Any]:
    """Nothing works: how many requests reach the server for each call."""
    async with endpoint.serving() as server, APIConnectionPool(WIDTH) as pool:
        server.otherwise = endpoint.status(500)
        url = server.url if kind == "500" else f"http://127.0.0.1:{endpoint.closed_port()}/v1"
        provider = CLIENTS["chat_completions"](pool, base_url=url)
        failed: list[UpstreamError] = []
        numbers = iter(range(calls))

        async def caller() -> None:
            for number in numbers:
                try:
                    # A model of its own has a breaker of its own, which never sees enough to open.
                    await provider.complete(REQUEST, model=f"m{number * own_models}", timeout_s=30)
                except UpstreamError as error:
                    failed.append(error)

        start = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(WIDTH)))
        seconds = time.perf_counter() - start
        counted = pool.statistics()
    return {
        "outage": kind,
        "breaker": "never opens (each call asks another model)" if own_models else "one for all calls",
        "calls": calls,
        "failed": len(failed),
        "requests": counted.requests,
        "retries": counted.retries,
        "requests_per_call": round(counted.requests / calls, 3),
        "allowed_by_the_budget": round(1 + RETRY_SHARE + (RETRIES_AT_ONCE + RETRIES_PER_S * seconds) / calls, 3),
        "seconds": round(seconds, 2),
        "in_use_after": counted.in_use,
    }


async def _cancelled(cancels: int) -> dict[str, Any]:
    """Calls that end at any moment: what they held must be free afterwards."""
    chance = random.Random(7)
    async with endpoint.serving() as server, APIConnectionPool(WIDTH) as pool:
        server.otherwise = endpoint.answer(after_s=0.002)
        provider = CLIENTS["chat_completions"](pool, base_url=server.url)
        await _call(provider, streams=False)
        cancelled = done = 0
        while cancelled < cancels:
            tasks = [asyncio.create_task(_call(provider, streams=bool(place % 2))) for place in range(2 * WIDTH)]
            await asyncio.sleep(chance.random() * 0.06)
            done += sum(task.done() for task in tasks)
            cancelled += sum(task.cancel() for task in tasks)
            await asyncio.gather(*tasks, return_exceptions=True)
        leaked = pool.statistics().in_use
        after = await asyncio.gather(*(_call(provider, streams=False) for _ in range(10 * WIDTH)))
        counted = pool.statistics()
    return {
        "cancelled": cancelled,
        "done_before": done,
        "pool_size": WIDTH,
        "slots_leaked": leaked,
        "calls_after": len(after),
        "calls_after_answered": sum(after),
        "connections": counted.connections,
        "requests": counted.requests,
    }


async def _call(provider: Provider, *, streams: bool) -> bool:
    if not streams:
        return (await provider.complete(REQUEST, model="m", timeout_s=30)).text == endpoint.TEXT
    async with aclosing(provider.stream(REQUEST, model="m", timeout_s=30)) as stream:
        pieces = [piece async for piece in stream]
    return len(pieces) > 1


async def _stale(posts: int = 200) -> dict[str, Any]:
    """A server that closes idle connections in the moment in which they are used again."""
    chance = random.Random(7)
    async with endpoint.serving() as server, APIConnectionPool(max_retries=0) as pool:
        server.idle_s = sum(CLOSING_S) / 2
        provider = CLIENTS["chat_completions"](pool, base_url=server.url)
        answered = attempts = 0
        for _ in range(posts):
            outcome = await outcome_of(provider, CASES[0])
            answered += outcome.said == "answer"
            attempts += outcome.attempts
            await asyncio.sleep(chance.uniform(*CLOSING_S))
        counted = pool.statistics()
    return {
        "calls": posts,
        "answered": answered,
        "requests": attempts,
        "connections": counted.connections,
        "retries_allowed": 0,
    }
