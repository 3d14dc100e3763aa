"""What tests of the facade share: an answer, a bank to count in, a provider that waits to be told."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from reasoning_bank.cache.config import CacheBackend, CacheConfig
from reasoning_bank.cache.file import FileCache
from reasoning_bank.cache.named import Cache
from reasoning_bank.llm.budget import Budget, Limits
from reasoning_bank.llm.exchange import Message, ModelRequest, Provider, Reply, TokenUsage
from reasoning_bank.llm.model import LanguageModel
from reasoning_bank.llm.response_cache import ResponseCache
from reasoning_bank.llm.routing import Price, routes
from reasoning_bank.llm.scripted import ScriptedProvider, ScriptedReply
from reasoning_bank.llm.templates import templates
from reasoning_bank.storage import Database

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
UNLIMITED = Limits()
FIFTEEN_TOKENS = TokenUsage(10, 0, 5)
GOOD = '{"outcome": "success", "reason": "the tests passed"}'


class Verdict(BaseModel):
    """How it ended."""

    outcome: Literal["success", "failure", "partial"]
    reason: str = Field(min_length=1, max_length=300)


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **time: float) -> None:
        self.at += timedelta(**time)


class Waiting:
    """Answers when it is let go; knows how many ask it at once."""

    def __init__(self, text: str = GOOD, usage: TokenUsage = FIFTEEN_TOKENS) -> None:
        self.asked = asyncio.Semaphore(0)
        self.go = asyncio.Event()
        self.calls = 0
        self._reply = Reply(text, "waiting", usage, "stop")

    async def complete(self, request: ModelRequest, *, model: str, timeout_s: float) -> Reply:
        self.calls += 1
        self.asked.release()
        await self.go.wait()
        return self._reply

    async def stream(self, request: ModelRequest, *, model: str, timeout_s: float) -> AsyncGenerator[str | Reply]:
        yield await self.complete(request, model=model, timeout_s=timeout_s)


def question(text: str = "Did it work?", *, instructions: str = "Judge.", **fields: Any) -> ModelRequest:
    return ModelRequest(messages=(Message("system", instructions), Message("user", text)), max_tokens=100, **fields)


def script(*replies: ScriptedReply) -> ScriptedProvider:
    return ScriptedProvider(replies)


def says(text: str, **fields: Any) -> ScriptedReply:
    return ScriptedReply(text=text, **fields)


def fails(error: str, status: int | None = None, **fields: Any) -> ScriptedReply:
    return ScriptedReply(error=error, status=status, **fields)


class Asking:
    """Makes facades over one database and one cache file."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.templates = templates()
        self.templates.load()
        # Durability against power cuts is not what these tests look at.
        self.database = Database(folder / "bank.db", durability="process", busy_timeout_s=30, now=self.clock)
        self.file = FileCache(folder / "llm.db", max_entries=100, max_bytes=1_000_000, now=self.clock)
        self.cache = Cache[Any]("llm", CacheConfig(CacheBackend.FILE, default_ttl=86_400), store=self.file)

    def model(
        self,
        *providers: Provider,
        limits: Limits = UNLIMITED,
        cached: bool = True,
        prices: Mapping[str, Price] | None = None,
    ) -> LanguageModel:
        """A facade whose first provider is asked first; they are named p0:m, p1:m ..."""
        names = [f"p{place}" for place in range(len(providers))]
        return LanguageModel(
            routes(
                dict(zip(names, providers, strict=True)),
                fast=f"{names[0]}:m",
                fallback=[f"{name}:m" for name in names[1:]],
                prices=prices,
            ),
            budget=Budget(self.database, limits=limits, now=self.clock),
            templates=self.templates,
            cache=ResponseCache(self.cache) if cached else None,
            clean=lambda text: text.replace("hunter2", "[REDACTED]"),
        )

    async def today(self, model: LanguageModel, workspace: str | None = None) -> Mapping[str, Any]:
        """What the bank counted today, all models together."""
        report: Any = await model.budget.today(workspace)
        sums: dict[str, Any] = {"limits": report["limits"]}
        rows: Sequence[Mapping[str, Any]] = report["by_model"]
        for row in rows:
            for name, value in row.items():
                if isinstance(value, int | float):
                    sums[name] = sums.get(name, 0) + value
        return sums


@contextmanager
def opened(folder: Path) -> Generator[Asking]:
    """Everything that a facade needs, in a folder."""
    asking = Asking(folder)
    asking.database.open()
    yield asking
    asking.database.close()
    asking.file.close()
