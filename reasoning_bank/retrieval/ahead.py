"""What is read before anyone asks: after the start what was in use lately, after a list of hits the hits in full."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from reasoning_bank.errors import ReasoningBankError
from reasoning_bank.retrieval.retriever import Retriever
from reasoning_bank.storage import servings
from reasoning_bank.storage.database import Database

logger = logging.getLogger(__name__)

_WORKSPACES: Final = 3
_MEMORIES: Final = 250
"""Of the latest given, and of those given most often; at most half of the usual cache."""
_WAITING: Final = 16


class CacheWarmer:
    """Fills the memory of a process that has just begun from what was used last and most, whichever process used it.

    Args:
        database: the truth.
        retriever: whose memory is filled.
    """

    def __init__(self, database: Database, retriever: Retriever) -> None:
        self._database = database
        self._retriever = retriever

    async def run(self, workspace: str | bool = True) -> None:
        """Read the index of a workspace and its memories in use; True does so for the three searched last."""
        lately = partial(servings.workspaces_lately, most=_WORKSPACES)
        names = [workspace] if isinstance(workspace, str) else await self._database.read(lately)
        for name in names:
            ids = await self._database.read(partial(servings.in_use, workspace=name, most=_MEMORIES))
            await self._retriever.warm(name, ids)


class Prefetcher:
    """A short queue of what is likely to be asked for next, worked off one by one while nothing is waited for.

    What is offered to a full queue takes the place of what waits longest: who has not asked by now hardly will.

    Args:
        load: reads some ids of a workspace.
    """

    def __init__(self, load: Callable[[str, Sequence[str]], Coroutine[Any, Any, None]]) -> None:
        self._load = load
        self._waiting = OrderedDict[tuple[str, tuple[str, ...]], None]()
        self._offered = asyncio.Event()
        self._done = 0
        self._dropped = 0

    def counters(self) -> dict[str, float]:
        """Offers that were read, and those given up for later ones."""
        return {"done": self._done, "dropped": self._dropped}

    def offer(self, workspace: str, ids: Sequence[str]) -> None:
        """Say what may be asked for next."""
        if ids:
            self._waiting[workspace, tuple(ids)] = None
            self._offered.set()
        if len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)
            self._dropped += 1

    async def run(self) -> None:
        """Read what is offered, until cancelled."""
        while True:
            await self._offered.wait()
            while self._waiting:
                (workspace, ids), _ = self._waiting.popitem()  # the latest first
                try:
                    await self._load(workspace, ids)
                    self._done += 1
                except ReasoningBankError as error:  # whoever asks will be told
                    logger.debug("not read ahead: %s", error)
            self._offered.clear()
