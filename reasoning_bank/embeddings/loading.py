"""The model loads while everything else already works; everyone can ask how far it is."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, Self

import anyio.to_thread

from reasoning_bank.assets import Progress, ProgressCallback
from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.errors import AssetError, ModelUnavailableError

logger = logging.getLogger(__name__)

_LONGEST_GOODBYE_S = 2.0

Obtain = Callable[[ProgressCallback], object]
"""Fetches what `load` missed; gives up when the callback raises."""


@dataclass(frozen=True, slots=True)
class LoadState:
    """Where the model stands.

    Attributes:
        status: "loading" includes fetching missing files.
        reason: why it is unavailable and what to do, or what the loading is waiting for; empty when ready.
        seconds: how long loading took, or 0 before it ended.
    """

    status: Literal["loading", "ready", "unavailable"]
    reason: str = ""
    seconds: float = 0.0


class ModelLoader:
    """Loads an embedder in a worker thread; `async with` starts it and stops it.

    Args:
        embedder: what to load.
        obtain: called once when the model is missing or damaged, to fetch it; None never fetches.
        retry_s: a wait for a model that could not be loaded tries again after so many seconds, because files may
            have been installed, or a server may be back.
        timer: seconds from any start.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        obtain: Obtain | None = None,
        retry_s: float = 30.0,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.embedder = embedder
        self.state = LoadState("loading", "the embedding model is loading")
        self._obtain = obtain
        self._retry_s = retry_s
        self._timer = timer
        self._ended_at = 0.0
        self._ended = asyncio.Event()
        self._stopping = threading.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._task is not None:
            # An interpreter that ends while native code still builds a session is aborted; most loads end in time.
            await asyncio.wait({self._task}, timeout=_LONGEST_GOODBYE_S)
            self._task.cancel()
            await asyncio.wait({self._task})

    async def wait_ready(self, timeout_s: float | None = None) -> None:
        """Returns when the model is ready.

        Args:
            timeout_s: longest wait; None waits for the end of loading, however it ends.

        Raises:
            ModelUnavailableError: it could not be loaded, or is still loading after the timeout.
        """
        if self.state.status == "unavailable" and self._timer() - self._ended_at >= self._retry_s:
            self.reload()
        if not self._ended.is_set():
            try:
                await asyncio.wait_for(self._ended.wait(), timeout_s)
            except TimeoutError as error:
                raise ModelUnavailableError(self.state.reason) from error
        if self.state.status != "ready":
            raise ModelUnavailableError(self.state.reason)

    def reload(self) -> None:
        """Tries again after a failure, as when the files were installed meanwhile; otherwise does nothing."""
        if self.state.status == "unavailable" and not self._stopping.is_set():
            self._start()

    def _start(self) -> None:
        self._ended.clear()
        self.state = LoadState("loading", "the embedding model is loading")
        self._task = asyncio.create_task(self._load(), name="embedding model")

    async def _load(self) -> None:
        started = self._timer()
        try:
            # Abandoned when cancelled: a library that takes ten seconds to import must not hold up the exit.
            await anyio.to_thread.run_sync(self._load_or_obtain, abandon_on_cancel=True)
        except (ModelUnavailableError, AssetError) as error:
            logger.warning("The embedding model is unavailable: %s", error)
            self.state = LoadState("unavailable", str(error), self._timer() - started)
        except BaseException as error:
            self.state = LoadState("unavailable", f"loading the embedding model failed: {error!r}")
            raise
        else:
            self.state = LoadState("ready", seconds=self._timer() - started)
            logger.info("Embedding model %s ready", self.embedder.identity.model_id)
        finally:
            self._ended_at = self._timer()
            self._ended.set()

    def _load_or_obtain(self) -> None:
        try:
            self.embedder.load()
        except ModelUnavailableError as error:
            if self._obtain is None:
                raise
            logger.info("Fetching what the embedding model needs: %s", error)
            # Once only: later attempts look for files, but do not ask the network every half minute.
            obtain, self._obtain = self._obtain, None
            obtain(self._follow)
            self.embedder.load()

    def _follow(self, progress: Progress) -> None:
        """Runs in the worker thread: replacing one attribute needs no lock."""
        if self._stopping.is_set():
            raise AssetError("stopped")
        percent = 100 * progress.done // max(1, progress.total)
        reason = f"fetching {progress.asset} ({progress.source}): {percent} %"
        self.state = replace(self.state, reason=reason)
