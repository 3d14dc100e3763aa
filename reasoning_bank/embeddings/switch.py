"""Which model answers questions, and the quiet move of a bank from one model to another.

Vectors of two models are never compared. After the configured model was changed, the old one goes on answering with
its vectors until every memory has vectors of the new one; then one row of the bank changes, and every process follows.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from reasoning_bank.embeddings.batching import BatchEmbeddingGenerator
from reasoning_bank.embeddings.embedder import Embedder, EmbeddingIdentity, Vectors
from reasoning_bank.embeddings.loading import LoadState, ModelLoader, Obtain
from reasoning_bank.embeddings.pipeline import MemoryEmbedder
from reasoning_bank.errors import BusyError, ModelUnavailableError, StorageError, UpstreamError
from reasoning_bank.monitoring.observing import Observe, Timed, unobserved
from reasoning_bank.storage import embeddings
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.embeddings import Coverage

logger = logging.getLogger(__name__)


class RunningModel:
    """An embedder with its loader and its worker; `async with` starts and stops both.

    Args:
        embedder: the model.
        batch_size: most texts per run.
        obtain: fetches missing files, see ModelLoader.
        observe: is told what "embedding.query" (as its caller saw it) and "embedding.batch" took.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        batch_size: int = 32,
        obtain: Obtain | None = None,
        observe: Observe = unobserved,
    ) -> None:
        self.embedder = embedder
        self.loader = ModelLoader(embedder, obtain=obtain)
        self.generator = BatchEmbeddingGenerator(embedder, batch_size, observe=observe)
        self._observe = observe
        self._running = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._running.enter_async_context(self.generator)
        await self._running.enter_async_context(self.loader)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    @property
    def identity(self) -> EmbeddingIdentity | None:
        """What its vectors can be compared with, or None while only loading will tell."""
        try:
            return self.embedder.identity
        except ModelUnavailableError:
            return None

    @property
    def state(self) -> LoadState:
        """How far loading is."""
        return self.loader.state

    async def wait_ready(self, timeout_s: float | None) -> bool:
        """Whether it can be used, after waiting for its loading at most so long (None: to the end)."""
        try:
            await self.loader.wait_ready(timeout_s)
        except ModelUnavailableError:
            return False
        return True

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Returns (n, dim) float32 unit rows.

        Raises:
            ModelUnavailableError: it is not ready.
            UpstreamError: a remote model failed.
            BusyError: too many texts are waiting.
        """
        with Timed(self._observe, "embedding.query"):
            return await self.generator.generate_batch(texts, kind="query")


@dataclass(frozen=True, slots=True)
class SwitchState:
    """Which model answers and which one the bank moves to.

    Attributes:
        active: the model whose vectors answer questions, by id; None in a bank that has none.
        configured: the model this process was configured with; None while only loading will tell.
        load: how far the configured model's loading is.
        coverage: how many live memories have vectors of the configured model, while they are being made.
    """

    active: str | None
    configured: str | None
    load: LoadState
    coverage: Coverage | None


class ModelSwitch:
    """Keeps a bank answering with one model while it moves to another; `async with` starts the move, if there is one.

    Args:
        database: the truth.
        configured: the model of this process's configuration, already running.
        reopen: makes an embedder for the vectors a bank has, or None if it cannot.
        now: the clock, aware UTC.
        owner: name of this process, different from every other's.
        poll_s: pause between looks for another process's switch (seconds).
        observe: is told what the older model's work took, as `RunningModel` tells it.
    """

    def __init__(
        self,
        database: Database,
        configured: RunningModel,
        *,
        reopen: Callable[[EmbeddingIdentity], Embedder | None],
        now: Callable[[], datetime],
        owner: str,
        poll_s: float = 2.0,
        observe: Observe = unobserved,
    ) -> None:
        self._database = database
        self._configured = configured
        self._reopen = reopen
        self._now = now
        self._owner = owner
        self._poll_s = poll_s
        self._observe = observe
        self._active: str | None = None
        self._other: RunningModel | None = None
        self._retired: RunningModel | None = None
        self._looking = asyncio.Lock()
        # Once per process: a process that was told to use model A does not fight one that was told to use model B.
        self._wants_configured = True
        self._is_behind = True
        self._coverage: Coverage | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._look()
        self._task = asyncio.create_task(self._keep_up(), name="embedding model switch")
        self._task.add_done_callback(_tell)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._close(self._retired)
        await self._close(self._other)

    @property
    def error(self) -> BaseException | None:
        """What ended the move and the watch for other processes' switches, or None while they go on."""
        task = self._task
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    @property
    def is_moving(self) -> bool:
        """Whether vectors are missing that are being made here without anyone asking for them."""
        return self._wants_configured or self._is_behind

    @property
    def serving(self) -> RunningModel | None:
        """The model whose vectors answer questions now, perhaps still loading; None if it cannot be opened here."""
        configured = self._configured.identity
        if configured is not None and self._active in {None, configured.model_id}:
            return self._configured
        return self._other

    @property
    def state(self) -> SwitchState:
        """For stats and `doctor`."""
        configured = self._configured.identity
        name = configured.model_id if configured else None
        return SwitchState(self._active, name, self._configured.state, self._coverage)

    async def embed_memories(self, workspace: str, ids: Sequence[str], *, timeout_s: float = 30.0) -> bool:
        """Embeds new memories with every model that needs them.

        Returns:
            False when a model was not ready: its vectors are made as soon as it is, nobody needs to ask again.

        Raises:
            UpstreamError: a remote model failed.
            StorageError: the vectors could not be kept.
        """
        models = [self.serving, self._configured] if self._wants_configured else [self.serving]
        done = True
        for model in {id(model): model for model in models if model is not None}.values():
            if await model.wait_ready(timeout_s):
                await self._embedder(model).embed_memories(workspace, ids)
            else:
                done = False
        if not done or self.serving is None:
            self._is_behind = True
        return done and self.serving is not None

    async def _keep_up(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="active embedding model")
            group.create_task(self._work(), name="missing embeddings")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            with _going_on("Looking which embedding model is active"):
                await self._look()

    async def _work(self) -> None:
        while True:
            with _going_on("Embedding what is missing"):
                await self._move()
            await asyncio.sleep(self._poll_s)

    async def _look(self) -> None:
        """Learns which model is active, and opens it when it is not ours."""
        async with self._looking:
            active = await self._database.read(embeddings.active_model)
            # Not when it was replaced, but one look later: a search may have been using it.
            await self._close(self._retired)
            if active != self._active:
                logger.info("The bank answers with embedding model %s", active)
                self._active, self._is_behind = active, True
            if self._other is not None and self._other is not self.serving:
                self._retired, self._other = self._other, None
            if active is not None and not self._serves(active):
                self._retired, self._other = self._other, await self._opened(active)

    async def _opened(self, active: str) -> RunningModel | None:
        kept = {model.model_id: model.identity for model in await self._database.read(embeddings.models)}
        try:
            embedder = self._reopen(EmbeddingIdentity.from_mapping(kept[active]))
        except (KeyError, ValueError):
            embedder = None  # of a newer program, perhaps
        if embedder is None:
            logger.debug("Vectors of %s cannot be compared with here", active)
            return None
        return await RunningModel(embedder, observe=self._observe).__aenter__()

    def _serves(self, active: str) -> bool:
        identity = self.serving.identity if self.serving else None
        return identity is not None and identity.model_id == active

    async def _move(self) -> None:
        """Makes the vectors that are missing, and switches when the configured model has them all."""
        if self._wants_configured and await self._configured.wait_ready(None):
            await self._move_to_configured()
        elif self._is_behind and (serving := self.serving) is not None and await serving.wait_ready(None):
            self._is_behind = False
            try:
                await self._fill(self._embedder(serving))
            except BaseException:
                self._is_behind = True
                raise

    async def _move_to_configured(self) -> None:
        embedder = self._embedder(self._configured)
        await embedder.register()
        await self._fill(embedder)
        if await embedder.activate():
            self._wants_configured = self._is_behind = False
            self._coverage = None
            await self._look()

    async def _fill(self, embedder: MemoryEmbedder) -> None:
        def tell(coverage: Coverage) -> None:
            self._coverage = coverage

        await embedder.embed_missing(progress=tell, poll_s=self._poll_s)

    def _embedder(self, model: RunningModel) -> MemoryEmbedder:
        return MemoryEmbedder(self._database, model.generator, now=self._now, owner=self._owner)

    async def _close(self, model: RunningModel | None) -> None:
        if model is not None:
            await model.__aexit__(None, None, None)
        if model is self._retired:
            self._retired = None


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("embedding what is missing has ended", exc_info=error)


@contextlib.contextmanager
def _going_on(what: str) -> Generator[None, None, None]:
    """What fails for a reason outside the program is tried again; nothing is lost, only later."""
    try:
        yield
    except (ModelUnavailableError, UpstreamError, StorageError, BusyError) as error:
        logger.warning("%s was interrupted and will go on: %s", what, error)
