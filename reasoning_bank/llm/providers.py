"""Which provider a configuration means."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, assert_never

import anyio.to_thread

from reasoning_bank.errors import ConfigError
from reasoning_bank.llm.exchange import Message, ModelRequest, Provider, Reply
from reasoning_bank.upstream import checked_url

if TYPE_CHECKING:
    from reasoning_bank.llm.pool import APIConnectionPool

Wire = Literal["chat_completions", "responses", "anthropic", "scripted"]
DEFAULT_URLS: Final[dict[Wire, str]] = {
    "chat_completions": "https://api.openai.com/v1",
    "responses": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChoice:
    """What a configuration says about one model server.

    Attributes:
        wire: what the server speaks, or "scripted".
        base_url: the API's root; None: the vendor's.
        api_key: key of that API; never shown.
        script: the replies of "scripted", TOML or JSONL.
        pool_size: connections, and thereby requests at once.
        max_retries: attempts after the first.
        timeout_s: longest time of one attempt.
        read_timeout_s: longest silence; None: as long as the call may take.
        trust_env: whether proxies and certificates of the environment are used.
        ca_file: certificates (PEM) trusted besides the public ones.
    """

    wire: Wire
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    script: Path | None = None
    pool_size: int = 10
    max_retries: int = 3
    timeout_s: float = 120.0
    read_timeout_s: float | None = None
    trust_env: bool = False
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class OpenProvider:
    """A provider that can be asked, and the connections it uses, if any."""

    provider: Provider
    pool: "APIConnectionPool | None" = None


@asynccontextmanager
async def open_provider(choice: ProviderChoice) -> AsyncGenerator[OpenProvider]:
    """Opens what a configuration means; nothing is sent before the first request.

    Raises:
        ConfigError: the address, the key or the script cannot be used.
    """
    opened = await anyio.to_thread.run_sync(_built, choice)
    if opened.pool is None:
        yield opened
        return
    async with opened.pool:
        yield opened


async def try_connection(provider: Provider, *, model: str, timeout_s: float = 30.0) -> Reply:
    """Returns the answer to a question of a few tokens: for `doctor`, when the user wants it.

    Raises:
        UpstreamError: why there is none, in words.
    """
    question = ModelRequest(messages=(Message("user", "Answer with the word: ready"),), max_tokens=16)
    return await provider.complete(question, model=model, timeout_s=timeout_s)


def _built(choice: ProviderChoice) -> OpenProvider:
    """Imports the HTTP client and reads the script: work for a thread, and only for those who use it."""
    if choice.wire == "scripted":
        from reasoning_bank.llm.scripted import ScriptedProvider, read_script  # noqa: PLC0415

        if choice.script is None:
            raise ConfigError("the provider 'scripted' needs llm.script, the file of its replies")
        return OpenProvider(ScriptedProvider(read_script(choice.script)))
    url = checked_url(choice.base_url or DEFAULT_URLS[choice.wire], key=choice.api_key, settings="llm")
    if choice.ca_file is not None:
        _readable(choice.ca_file)
    from reasoning_bank.llm.pool import APIConnectionPool  # noqa: PLC0415

    pool = APIConnectionPool(
        choice.pool_size,
        choice.max_retries,
        choice.timeout_s,
        read_timeout=choice.read_timeout_s,
        trust_env=choice.trust_env,
        ca_file=choice.ca_file,
    )
    return OpenProvider(_client(choice.wire, pool, url, choice.api_key), pool)


def _readable(ca_file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
    except OSError as error:
        raise ConfigError(f"llm.ca_file {ca_file.name!r} holds no certificates that can be read") from error


def _client(
    wire: Literal["chat_completions", "responses", "anthropic"], pool: "APIConnectionPool", url: str, key: str | None
) -> Provider:
    match wire:
        case "chat_completions":
            from reasoning_bank.llm.chat_completions import ChatCompletionsClient  # noqa: PLC0415

            return ChatCompletionsClient(pool, base_url=url, api_key=key)
        case "responses":
            from reasoning_bank.llm.responses import ResponsesAPIClient  # noqa: PLC0415

            return ResponsesAPIClient(pool, base_url=url, api_key=key)
        case "anthropic":
            from reasoning_bank.llm.anthropic import AnthropicClient  # noqa: PLC0415

            return AnthropicClient(pool, base_url=url, api_key=key)
        case _:
            assert_never(wire)
