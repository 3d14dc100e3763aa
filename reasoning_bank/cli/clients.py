"""A real MCP client of a real server over the bank the settings name: in this process, or over stdio."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any, cast

import click
from mcp import Client, StdioServerParameters
from pydantic import SecretStr

from reasoning_bank.evaluation.asking import Answered
from reasoning_bank.evaluation.compressing import Compressed, Item
from reasoning_bank.mcp.server import build_server, open_configured_bank
from reasoning_bank.settings import setting_names

if TYPE_CHECKING:
    from mcp.types import CallToolResult

    from reasoning_bank.settings import Settings

PATIENCE_S = 120
"""Longest wait for one answer, and for the model of a server that has just started."""
PAUSE_S = 0.2


@asynccontextmanager
async def connected(settings: "Settings", *, stdio: bool) -> AsyncGenerator[Client]:
    """A client of a server with these settings; over stdio the server is a process of its own."""
    if stdio:
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "reasoning_bank", "serve"], env=environment(settings)
        )
    else:
        server = build_server(open_configured_bank(settings), settings)
    async with Client(server, read_timeout_seconds=PATIENCE_S) as client:
        yield client


def environment(settings: "Settings") -> dict[str, str]:
    """The settings as the variables that a server process reads."""
    found: dict[str, str] = {}
    for name, _ in setting_names():
        value = reduce(getattr, name.split("."), cast("Any", settings))
        if value is not None:
            found[f"REASONING_BANK_{name.upper().replace('.', '__')}"] = _as_variable(value)
    return found


class Questions:
    """Asks `retrieve_memory`, as a client would."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __call__(
        self, space: str, task: str, *, k: int | None = None, min_score: float | None = None
    ) -> Answered:
        """One search; all stages are timed by the server, the whole by this clock."""
        arguments: dict[str, Any] = {"task": task, "workspace": space, "detail": "full"}
        arguments |= {name: value for name, value in (("k", k), ("min_score", min_score)) if value is not None}
        started = time.perf_counter()
        result = await self._client.call_tool("retrieve_memory", arguments)
        seconds = time.perf_counter() - started
        found = _structured(result, f"the question {task[:60]!r}")
        return Answered(
            ids=tuple(memory["external_id"] or memory["id"] for memory in found["memories"]),
            scores=tuple(memory["score"] for memory in found["memories"]),
            degraded=tuple(found["degraded"]),
            seconds=seconds,
            timings_ms=found["timings_ms"],
        )

    async def wait_ready(self, spaces: Sequence[str]) -> None:
        """Wait for the model of a server that has just started, and let it read each workspace once."""
        for space in spaces:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self(space, "ready?", k=1)
                while answer.degraded:
                    await asyncio.sleep(PAUSE_S)
                    answer = await self(space, "ready?", k=1)


class Compression:
    """Asks `compress_prompt`, as a client would."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __call__(self, item: Item, max_tokens: int) -> Compressed:
        """One compression, with the item's question as the query."""
        arguments = {"prompt": item.context, "max_tokens": max_tokens, "ratio": 1.0, "query": item.question}
        result = await self._client.call_tool("compress_prompt", {**arguments, "detail": "full"})
        found = _structured(result, f"item {item.id!r}")
        return Compressed(found["text"], tuple((start, end) for start, end in found["kept"]))


def _structured(result: "CallToolResult", what: str) -> dict[str, Any]:
    if result.is_error:
        raise click.ClickException(f"the server refused {what}: {cast('Any', result.content[0]).text}")
    return cast("dict[str, Any]", result.structured_content)


def _as_variable(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool | dict | list):
        return json.dumps(value, default=_as_variable)
    return ",".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)
