"""What comes of every fault; `python -m tests.benchmarks llm-faults` measures the same in real time."""

import asyncio
import re

import pytest

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.exchange import Provider
from reasoning_bank.llm.pool import APIConnectionPool
from reasoning_bank.llm.retrying import Timing

from .conftest import CLIENTS, KEY, HeldTime
from .endpoint import ModelServer, closed_port, serving
from .faults import CASES, REQUEST, Case, outcome_of, prepare

TIMED = [case for case in CASES if case.timeout_s <= 1]
"""Only a deadline in real time ends these."""
FIRST = "chat_completions"
"""What happens below the format is the same for all: one is enough, except for streams. The benchmark takes all."""


async def check(case: Case, wire: str, url: str, server: ModelServer, timing: Timing | None) -> None:
    async with APIConnectionPool(timing=timing) as pool:
        provider = CLIENTS[wire](pool, base_url=url, api_key=KEY)
        await prepare(server, case, provider)
        outcome = await outcome_of(provider, case)
        assert re.search(case.expected, outcome.said)
        assert outcome.attempts == case.attempts
        assert bool(outcome.partial) is case.partial
        assert outcome.retry_after_s == case.retry_after_s
        assert KEY not in outcome.said
        assert pool.statistics().in_use == 0


@pytest.mark.parametrize(
    ("wire", "case"),
    [(wire, case) for wire in CLIENTS for case in CASES if case not in TIMED and (case.streams or wire == FIRST)],
    ids=lambda value: value.name if isinstance(value, Case) else value,
)
async def test_fault_ends_as_it_must(case: Case, server: ModelServer, wire: str, held: HeldTime) -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1" if case.name == "connection refused" else server.url
    await check(case, wire, url, server, held.timing)
    assert sum(held.waits) < case.timeout_s


async def test_server_that_does_not_go_on_is_left_at_the_deadline() -> None:
    async def one(case: Case) -> None:
        async with serving() as server:
            await check(case, FIRST, server.url, server, None)

    await asyncio.gather(*(one(case) for case in TIMED))


async def test_retries_of_a_call_share_one_idempotency_key(provider: Provider, server: ModelServer) -> None:
    case = next(case for case in CASES if case.name == "two times 500")
    await prepare(server, case, provider)
    await outcome_of(provider, case)
    await outcome_of(provider, case)
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


async def test_total_outage_is_not_multiplied_by_retries(chat: Provider, server: ModelServer) -> None:
    case = next(case for case in CASES if case.name == "500 for ever")
    await prepare(server, case, chat)
    outcomes = [await outcome_of(chat, case) for _ in range(200)]
    assert len(server.requests) <= 1.2 * len(outcomes)
    left_alone = r"'m' at 127.0.0.1:\d+ is left alone for \d+ s after failures, the last: .*HTTP 500"
    assert re.match(left_alone, outcomes[-1].said)
    assert outcomes[-1].attempts == 0
    assert outcomes[-1].retry_after_s is not None


async def test_retries_are_a_fifth_of_the_calls_even_where_no_breaker_opens(
    server: ModelServer, pool: APIConnectionPool
) -> None:
    """Each call asks another model, and each model has its own breaker."""
    case = next(case for case in CASES if case.name == "500 for ever")
    client = CLIENTS["chat_completions"](pool, base_url=server.url)
    await prepare(server, case, client)
    calls = 200
    for number in range(calls):
        with pytest.raises(UpstreamError):
            await client.complete(REQUEST, model=f"m{number}", timeout_s=5)
    at_once = 10
    waited_s = 0.5 * pool.statistics().retries
    assert len(server.requests) <= 1.2 * calls + at_once + waited_s
