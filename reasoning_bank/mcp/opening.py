"""The bank, opened in the background so that the handshake never waits for it.

Opening imports numpy, SQLAlchemy and the index, which takes seconds on a busy machine and competes with the handshake
for the interpreter. It therefore starts when a call needs the bank, shortly after the first `tools/list`, or after a
short idle time, whichever comes first.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Self

import anyio.to_thread

from reasoning_bank.errors import BusyError, ReasoningBankError

if TYPE_CHECKING:
    from reasoning_bank.bank import ReasoningBank

logger = logging.getLogger(__name__)

OpenBank = Callable[[], "AbstractAsyncContextManager[ReasoningBank]"]
"""Imports what the bank needs (in a worker thread) and returns the bank, not yet entered."""

IDLE_S = 2.0
"""A host that has connected and listed nothing by then will not mind the imports."""
AFTER_LISTING_S = 0.05
"""Lets the answer to `tools/list` leave before the imports take the interpreter."""


class BankOpening:
    """The bank of one server process; `async with` starts the clock, leaving closes the bank.

    Args:
        open_bank: called in a worker thread; what it returns is entered and left by one task.
        idle_s: seconds after which the bank opens although nobody asked for it.
        patience_s: longest wait of a call for the bank to open; beyond it the call is told to come back.
        closing_s: longest wait for the bank to close.
    """

    def __init__(
        self, open_bank: OpenBank, *, idle_s: float = IDLE_S, patience_s: float = 30.0, closing_s: float = 4.0
    ) -> None:
        self._open_bank = open_bank
        self._idle_s = idle_s
        self._patience_s = patience_s
        self._closing_s = closing_s
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[ReasoningBank] | None = None
        self._closing = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self.start_in(self._idle_s)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._closing.set()
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=self._closing_s)
        if not self._task.done():
            logger.warning("the bank did not close within %s s; what it acknowledged is on disk", self._closing_s)
            self._task.cancel()

    def start_in(self, seconds: float) -> None:
        """Opens the bank after `seconds`, unless it is open or opening by then."""
        if self._task is not None or self._closing.is_set():
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    async def bank(self) -> "ReasoningBank":
        """Returns the open bank; opens it when it is not, again when the last try failed.

        Raises:
            BusyError: it is still opening after the patience of one call.
            ReasoningBankError: it cannot be opened; the next call tries again.
        """
        if self._ready is not None and self._ready.done():
            return self._ready.result()
        task, ready = self._start()
        done, _ = await asyncio.wait({task, ready}, timeout=self._patience_s, return_when=asyncio.FIRST_COMPLETED)
        if ready in done:
            return ready.result()
        if task in done:
            task.result()  # raises why it could not be opened
        raise BusyError("the bank is still opening", retry_after_s=5.0)

    @property
    def opened(self) -> bool:
        """Whether the bank is open."""
        return self._ready is not None and self._ready.done()

    def _start(self) -> "tuple[asyncio.Task[None], asyncio.Future[ReasoningBank]]":
        if self._closing.is_set():
            raise BusyError("the server is stopping", retry_after_s=5.0)
        if self._task is None or self._ready is None or self._task.done():
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._hold(self._ready), name="bank")
            self._task.add_done_callback(_log_failure)
        return self._task, self._ready

    async def _hold(self, ready: "asyncio.Future[ReasoningBank]") -> None:
        # One task enters and leaves: the bank's own task groups demand it.
        opening = await anyio.to_thread.run_sync(self._open_bank)
        async with opening as bank:
            ready.set_result(bank)
            await self._closing.wait()


def _log_failure(task: "asyncio.Task[None]") -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, ReasoningBankError):  # the person at the machine reads the whole text, clients do not
        logger.error("the bank cannot be used: %s", error)
    else:
        logger.error("the bank could not be opened or closed", exc_info=error)
