"""A real MCP client of a real server over the bank the settings name: in this process, or over stdio."""

import json
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, cast

import click
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters
from pydantic import SecretStr

from reasoning_bank.cli.loops import cause
from reasoning_bank.errors import ModelUnavailableError
from reasoning_bank.evaluation.asking import Answered
from reasoning_bank.evaluation.compressing import Compressed, Item
from reasoning_bank.mcp.server import build_server, open_configured_bank
from reasoning_bank.settings import setting_names

if TYPE_CHECKING:
    from reasoning_bank.settings import Settings

PATIENCE_S = 120
"""Longest wait for one answer, and for the model of a server that has just started."""
PAUSE_S = 0.2
QUIET = {"REASONING_BANK_LOG_LEVEL": "WARNING"}
"""The server shares our stderr: a line per question would bury the progress."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A connected client, and the way to the event loop it lives on."""

    client: Client
    portal: BlockingPortal

    def call(self, tool: str, arguments: Mapping[str, Any], *, what: str) -> tuple[dict[str, Any], float]:
        """The structured answer of a tool, and the seconds it took as the client sees it.

        Raises:
            ClickException: the server refused; the text says `what`.
        """
        started = time.perf_counter()
        result = self.portal.call(self.client.call_tool, tool, dict(arguments))
        seconds = time.perf_counter() - started
        if result.is_error:
            raise click.ClickException(f"the server refused {what}: {cast('Any', result.content[0]).text}")
        return cast("dict[str, Any]", result.structured_content), seconds


@contextmanager
def connected(settings: "Settings", *, stdio: bool) -> Generator[Connected]:
    """A client of a server with these settings; over stdio the server is a process of its own."""
    if stdio:
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "reasoning_bank", "serve"], env={**environment(settings), **QUIET}
        )
    else:
        server = build_server(open_configured_bank(settings), settings)
    client = Client(server, read_timeout_seconds=PATIENCE_S)
    try:
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(client) as entered:
            yield Connected(entered, portal)
    except BaseExceptionGroup as group:
        raise cause(group) from group


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

    def __init__(self, connection: Connected) -> None:
        self._connection = connection

    def __call__(self, space: str, task: str, *, k: int | None = None, min_score: float | None = None) -> Answered:
        """One search; all stages are timed by the server, the whole by the client."""
        arguments: dict[str, Any] = {"task": task, "workspace": space, "detail": "full"}
        arguments |= {name: value for name, value in (("k", k), ("min_score", min_score)) if value is not None}
        found, seconds = self._connection.call("retrieve_memory", arguments, what=f"the question {task[:60]!r}")
        return Answered(
            ids=tuple(memory["external_id"] or memory["id"] for memory in found["memories"]),
            scores=tuple(memory["score"] for memory in found["memories"]),
            degraded=tuple(found["degraded"]),
            seconds=seconds,
            timings_ms=found["timings_ms"],
        )

    def wait_ready(self, spaces: Sequence[str]) -> None:
        """Wait for the model of a server that has just started, and let it read each workspace once.

        Raises:
            ModelUnavailableError: it was not ready in time, or is not there.
        """
        ends = time.monotonic() + PATIENCE_S
        for space in spaces:
            while lacking := self(space, "ready?", k=1).degraded:
                if time.monotonic() > ends:
                    raise ModelUnavailableError(f"the server searches without {', '.join(lacking)}: see its log")
                time.sleep(PAUSE_S)


class Compression:
    """Asks `compress_prompt`, as a client would."""

    def __init__(self, connection: Connected) -> None:
        self._connection = connection

    def __call__(self, item: Item, max_tokens: int) -> Compressed:
        """One compression, with the item's question as the query."""
        arguments = {"prompt": item.context, "max_tokens": max_tokens, "ratio": 1.0, "query": item.question}
        found, _ = self._connection.call(
            "compress_prompt", {**arguments, "detail": "full"}, what=f"to compress item {item.id!r}"
        )
        return Compressed(found["text"], tuple((start, end) for start, end in found["kept"]))


def _as_variable(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool | dict | list):
        return json.dumps(value, default=_as_variable)
    return ",".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)
