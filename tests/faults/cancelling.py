"""Callers that leave while others wait for the same answer: nobody else may notice, and the work is done once.

Of each question one caller leads; as soon as its work has begun and others have joined, it is cancelled. Asked are the
single flight itself, a named cache, and a real server over HTTP whose embedding model answers when it is told to.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

from mcp import Client, MCPError

from reasoning_bank.cache.config import CacheConfig
from reasoning_bank.cache.flight import SingleFlight
from reasoning_bank.cache.named import Cache
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.evaluation.bench.lessons import lesson
from tests.llm.endpoint import Exchange, ModelServer
from tests.llm.endpoint import serving as serving_models
from tests.soak.soaking import Server, serving

FOLLOWERS = 3
AT_ONCE = 25
"""Questions of one round over HTTP."""
PATIENCE_S = 300.0
NOTICING_S = 0.2
"""For the server to notice who has left; whether it has changes no answer."""
Work = Callable[[], Awaitable[int]]


@dataclass
class CancelReport:
    """What came of cancelled leaders.

    Attributes:
        cancels: leaders that were cancelled while their work was under way.
        followers: callers that waited for the same.
        harmed: followers that got an error, or another answer.
        backend_calls: times the work was done, for as many questions as there were cancels.
    """

    cancels: int = 0
    followers: int = 0
    harmed: int = 0
    backend_calls: int = 0

    @property
    def clean(self) -> bool:
        """Nobody was harmed, and everything was done once."""
        return self.cancels == self.backend_calls > 0 and not self.harmed


@dataclass
class CancelReports:
    """The report of each place where calls are shared."""

    flight: CancelReport
    cache: CancelReport
    http: CancelReport

    @property
    def clean(self) -> bool:
        """All of them are."""
        return self.flight.clean and self.cache.clean and self.http.clean


def cancel_leaders(directory: Path, *, cancels: int) -> CancelReports:
    """Cancel so many leaders in each place."""
    return CancelReports(
        flight=asyncio.run(_on_loop(cancels, _flight())),
        cache=asyncio.run(_on_loop(cancels, _cache())),
        http=asyncio.run(_over_http(directory, cancels)),
    )


def _flight() -> Callable[[int, Work], Awaitable[int]]:
    flight = SingleFlight[int]()
    return lambda key, work: flight.do(("w", key), lambda: _coroutine(work))


def _cache() -> Callable[[int, Work], Awaitable[int]]:
    cache = Cache[int]("cancelled", CacheConfig())
    return lambda key, work: cache.get_or_load(key, lambda: _coroutine(work), namespace="w")


async def _coroutine(work: Work) -> int:
    return await work()


async def _on_loop(cancels: int, ask: Callable[[int, Work], Awaitable[int]]) -> CancelReport:
    report = CancelReport()
    for number in range(cancels):
        begun, gate = asyncio.Event(), asyncio.Event()

        async def work(number: int = number, begun: asyncio.Event = begun, gate: asyncio.Event = gate) -> int:
            report.backend_calls += 1
            begun.set()
            await gate.wait()
            return number

        leader = asyncio.ensure_future(ask(number, work))
        await begun.wait()
        followers = [asyncio.ensure_future(ask(number, work)) for _ in range(FOLLOWERS)]
        for _ in range(3):
            await asyncio.sleep(0)
        leader.cancel()
        await asyncio.wait({leader})
        gate.set()
        answers = await asyncio.gather(*followers, return_exceptions=True)
        report.cancels += leader.cancelled()
        report.followers += len(answers)
        report.harmed += sum(answer != number for answer in answers)
    return report


class _Model:
    """An embedding model that answers questions when it is told to, and counts how often each was asked."""

    def __init__(self, server: ModelServer) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = Counter[str]()
        self._vectors = HashingEmbedder(64)
        server.otherwise = self._answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.gate.set()  # whatever went wrong: a server that ends waits for its answers

    async def _answer(self, exchange: Exchange) -> None:
        texts: list[str] = exchange.body["input"]
        self.asked.update(texts)
        await self.gate.wait()
        rows = self._vectors.encode(texts, "document").tolist()
        data = [{"index": index, "embedding": row} for index, row in enumerate(rows)]
        await exchange.send(200, json.dumps({"data": data}).encode())


async def _over_http(directory: Path, cancels: int) -> CancelReport:
    report, numbers = CancelReport(), count()
    async with serving_models() as models, _Model(models) as model:
        environment = {
            "REASONING_BANK_EMBEDDINGS__BACKEND": "openai",
            "REASONING_BANK_EMBEDDINGS__BASE_URL": models.url,
            "REASONING_BANK_VECTORS__CHROMA_MODE": "off",
            # The model is held on purpose: a search must not go on without it.
            "REASONING_BANK_RETRIEVAL__DEADLINE_MS": "60000",
        }
        async with serving(directory, "http", environment) as server, server.connected(1 + FOLLOWERS) as clients:
            for number in range(8):
                made = lesson(number)
                draft = {"title": made.title, "content": made.content}
                await clients[0].call_tool("store_trace", {"task": made.task, "memories": [draft]})
            await server.quiet()
            while report.cancels + report.harmed < cancels:
                some = min(AT_ONCE, cancels - report.cancels)
                questions = [
                    f"{lesson(number % 8).task} at site {number}" for number in (next(numbers) for _ in range(some))
                ]
                await _round(server, clients, model, questions, report)
    return report


async def _round(
    server: Server, clients: Sequence[Client], model: _Model, questions: Sequence[str], report: CancelReport
) -> None:
    model.gate.clear()
    leading, *following = clients
    async with asyncio.timeout(PATIENCE_S), server.connected(1) as (watching,), asyncio.TaskGroup() as group:
        before = await _shared(watching)
        leaders = [group.create_task(_found(leading, question)) for question in questions]
        followers = [group.create_task(_found(client, question)) for client in following for question in questions]
        await _until_joined(watching, before, FOLLOWERS * len(questions))
        for leader in leaders:
            leader.cancel()
        await asyncio.wait(leaders)
        await asyncio.sleep(NOTICING_S)
        model.gate.set()
        answers = await asyncio.gather(*followers, return_exceptions=True)
    report.cancels += sum(leader.cancelled() for leader in leaders)
    report.followers += len(answers)
    report.harmed += sum(not isinstance(answer, int) or answer < 1 for answer in answers)
    report.backend_calls += sum(model.asked[question] for question in questions)


async def _found(client: Client, question: str) -> int:
    """How many memories are found, with all that had to take part."""
    try:
        result = await client.call_tool("retrieve_memory", {"task": question, "min_score": 0})
    except MCPError:
        return 0
    content: dict[str, Any] = result.structured_content or {}
    return 0 if result.is_error or content["degraded"] else len(content["memories"])


async def _until_joined(client: Client, before: int, wanted: int) -> None:
    """Wait until the followers have joined, but for a few: who comes after a commit joins no search from before it."""
    joined, last = 0, -1
    while joined < wanted and (joined != last or joined < wanted * 3 // 4):
        last = joined
        await asyncio.sleep(NOTICING_S)
        joined = await _shared(client) - before


async def _shared(client: Client) -> int:
    (content,) = (await client.read_resource("bank://stats")).contents
    return json.loads(getattr(content, "text", "{}"))["shared_searches"]
