"""A model server on the loopback, a pool that does not really wait between attempts, clients of each format."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from reasoning_bank.llm.anthropic import AnthropicClient
from reasoning_bank.llm.chat_completions import ChatCompletionsClient
from reasoning_bank.llm.exchange import Message, ModelRequest, Provider
from reasoning_bank.llm.pool import APIConnectionPool
from reasoning_bank.llm.responses import ResponsesAPIClient
from reasoning_bank.llm.retrying import Timing

from .endpoint import ModelServer, serving

CLIENTS: dict[str, Callable[..., Provider]] = {
    "chat_completions": ChatCompletionsClient,
    "responses": ResponsesAPIClient,
    "anthropic": AnthropicClient,
}
KEY = "sk-test-1234567890abcdef"
BOUND_S = 30.0
REQUEST = ModelRequest(messages=(Message("system", "Be short."), Message("user", "What now?")))


@dataclass
class HeldTime:
    """A clock that moves only when somebody waits, and chance that is always one half."""

    at: float = 1_000.0
    waits: list[float] = field(default_factory=list[float])

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += seconds

    @property
    def timing(self) -> Timing:
        return Timing(lambda: self.at, lambda: 1_800_000_000.0, self.sleep, lambda: 0.5)


@pytest.fixture
def held() -> HeldTime:
    return HeldTime()


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with serving() as opened:
        yield opened


@pytest.fixture
async def pool(held: HeldTime) -> AsyncIterator[APIConnectionPool]:
    async with APIConnectionPool(pool_size=4, timeout=BOUND_S, timing=held.timing) as opened:
        yield opened


@pytest.fixture(params=list(CLIENTS))
def wire(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def provider(wire: str, pool: APIConnectionPool, server: ModelServer) -> Provider:
    return CLIENTS[wire](pool, base_url=server.url, api_key=KEY)


@pytest.fixture
def chat(pool: APIConnectionPool, server: ModelServer) -> Provider:
    return ChatCompletionsClient(pool, base_url=server.url, api_key=KEY)
