"""What clients send in a soak: searches (some far more often than others), writes, bad input, calls called off."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
from mcp import Client, MCPError

from reasoning_bank.evaluation.bench.lessons import lesson

NEW_SHARE = 0.2
"""Of the traces that are sent."""
WEIGHTS = {
    "retrieve": 40, "store": 10, "compress": 8, "get": 12, "rate": 8, "resource": 8, "batch": 3, "bad": 5, "cancel": 6,
}  # fmt: skip
RESOURCES = ("bank://stats", "bank://health", "bank://performance", "bank://workspaces")
BAD: tuple[tuple[str, dict[str, Any]], ...] = (
    ("retrieve_memory", {"task": " "}),
    ("retrieve_memory", {"task": "x", "k": 1_000}),
    ("get_memory", {"ids": ["m_of_nobody"]}),
    ("store_trace", {"task": "x", "outcome": "splendid"}),
    ("compress_prompt", {"prompt": "x", "ratio": 7}),
    ("rate_memory", {"ids": ["m_of_nobody"], "verdict": "helped"}),
    ("forget_everything", {}),
)


class WrongAnswerError(Exception):
    """The server answered otherwise than it had to."""


@dataclass
class Mixture:
    """Draws requests and sends them; all clients of one soak share it.

    Attributes:
        batch_url: root of the HTTP server, None over stdio, which has no batches.
        pool: tasks that are asked for and stored again and again; beyond them few traces are new, because a bank that
            grows holds more.
        ids: memories stored so far.
        sent: requests by kind.
    """

    chance: random.Random
    batch_url: str | None = None
    pool: int = 200
    ids: list[str] = field(default_factory=list[str])
    new: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1_000_000))

    def draw(self) -> str:
        """The kind of the next request."""
        kind = self.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        return "retrieve" if kind == "batch" and self.batch_url is None else kind

    async def send(self, kind: str, client: Client, http: httpx2.AsyncClient) -> None:
        """Send one request and check its answer.

        Raises:
            WrongAnswerError: it failed, or did not where it had to.
        """
        ways: dict[str, Callable[[Client], Awaitable[None]]] = {
            "batch": lambda _client: self._batch(http),
            "retrieve": self._retrieve,
            "store": self._store,
            "compress": self._compress,
            "get": self._get,
            "rate": self._rate,
            "resource": self._read,
            "bad": self._bad,
            "cancel": self._cancel,
        }
        await ways[kind](client)

    async def fill(self, client: Client) -> None:
        """Store the pool."""
        for number in range(self.pool):
            await self._keep(client, number)

    async def _retrieve(self, client: Client) -> None:
        await _answer(client, "retrieve_memory", {"task": self._question(), "k": self.chance.choice((3, 3, 5, 10))})

    async def _store(self, client: Client) -> None:
        new = self.chance.random() < NEW_SHARE
        await self._keep(client, next(self.new) if new else self.chance.randrange(self.pool))

    async def _keep(self, client: Client, number: int) -> None:
        stored = await _answer(client, "store_trace", _trace(number))
        if not stored["replayed"]:
            self.ids += [memory["id"] for memory in stored["memories"] if memory["action"] == "created"]

    async def _compress(self, client: Client) -> None:
        prompt = "\n\n".join(lesson(self.chance.randrange(self.pool)).content for _ in range(6))
        await _answer(client, "compress_prompt", {"prompt": prompt, "ratio": 0.5, "query": self._question()})

    async def _get(self, client: Client) -> None:
        await _answer(client, "get_memory", {"ids": self.chance.sample(self.ids, 3)})

    async def _rate(self, client: Client) -> None:
        verdict = self.chance.choice(("helped", "ignored"))
        await _answer(client, "rate_memory", {"ids": [self.chance.choice(self.ids)], "verdict": verdict})

    async def _read(self, client: Client) -> None:
        await client.read_resource(self.chance.choice((*RESOURCES, f"bank://memories/{self.chance.choice(self.ids)}")))

    async def _bad(self, client: Client) -> None:
        tool, arguments = self.chance.choice(BAD)
        try:
            answer = await client.call_tool(tool, arguments)
        except MCPError:
            return
        if not answer.is_error:
            raise WrongAnswerError(f"{tool} took {arguments}")

    async def _cancel(self, client: Client) -> None:
        call = asyncio.ensure_future(client.call_tool("retrieve_memory", {"task": self._question() + " now"}))
        await asyncio.wait({call}, timeout=self.chance.uniform(0, 0.02))
        call.cancel()
        await asyncio.wait({call})

    async def _batch(self, http: httpx2.AsyncClient) -> None:
        tasks = [{"task": self._question()} for _ in range(8)]
        reply = await http.post(f"{self.batch_url}/batch/retrieve", json=tasks)
        if reply.status_code != 200 or not all("answer" in each for each in reply.json()):
            raise WrongAnswerError(f"batch: {reply.status_code} {reply.text[:200]}")

    def _question(self) -> str:
        # The n-th task is asked with a weight of 1/n (Zipf): a few all the time, most of them hardly ever.
        return lesson(int(self.pool ** self.chance.random()) - 1).task


def _trace(number: int) -> dict[str, Any]:
    made = lesson(number)
    draft = {"title": made.title, "description": made.description, "content": made.content}
    return {"task": made.task, "outcome": "success", "memories": [draft]}


async def _answer(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        raise WrongAnswerError(f"{tool}: {result.content}")
    return result.structured_content
