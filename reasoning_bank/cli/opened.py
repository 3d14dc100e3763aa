"""A bank for a command: it lives on an event loop of its own, so that commands are plain code that may block."""

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import click
from anyio.from_thread import BlockingPortal, start_blocking_portal

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.mcp.logs import log_to_stderr
from reasoning_bank.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")
CHUNK = 200
"""Items fetched with one hop to the bank's loop."""
SHOWN = 10
"""Names listed where one was not found."""


@dataclass(frozen=True, slots=True)
class OpenBank:
    """A bank that is open, and the way to its event loop."""

    bank: ReasoningBank
    portal: BlockingPortal

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function of the bank and return its result."""
        return self.portal.call(functools.partial(function, *args, **kwargs))

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Iterate over what the bank yields."""
        while chunk := self.portal.call(_take, items):
            yield from chunk


@contextmanager
def open_bank(settings: Settings) -> Generator[OpenBank]:
    """Open the bank the settings name, and close it.

    A command is no load worth a report: its figures are not written, and nobody is told of its alerts.

    Raises:
        StorageError: its files cannot be used; the text says why and what to do.
    """
    log_to_stderr(settings, at_least=logging.WARNING)
    quiet = settings.monitoring.model_copy(update={"rollups": False, "daily_report": None, "webhook_url": None})
    settings = settings.model_copy(update={"monitoring": quiet})
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(ReasoningBank(settings)) as bank:
        yield OpenBank(bank, portal)


def warn_of_missing(bank: OpenBank, workspace: str) -> None:
    """Say on stderr that the bank has no such workspace: what looks empty may be misspelt."""
    if workspace in bank.call(bank.bank.complete, "workspace", workspace, workspace):
        return
    names = bank.call(bank.bank.complete, "workspace", "", workspace)
    shown = f"there are: {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}" if names else "nothing stored"
    click.echo(f"warning: the bank has no workspace {workspace!r} ({shown})", err=True)


async def _take(items: AsyncIterator[T]) -> list[T]:
    chunk: list[T] = []
    async for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK:
            break
    return chunk
