"""Tasks that live as long as their owner, whose death is noticed and told, and does not take the bank down."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger(__name__)


class Guarded:
    """Runs a coroutine function while its `async with` lasts; leaving cancels it and waits for it.

    Args:
        name: of the task, for logs and health reports.
        work: runs until cancelled, or to its end.
    """

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.name = name
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._work(), name=self.name)
        self._task.add_done_callback(self._tell)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def error(self) -> BaseException | None:
        """What ended it, or None while it runs or when it came to its end."""
        task = self._task
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    def _tell(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("background task %s died", self.name, exc_info=error)
