"""The models of an open bank: the configured one, and, while it is still embedding, the one whose vectors serve.

A bank answers with one model at a time. Where the configuration names another than the bank's, that one embeds
everything in the background while the old vectors serve, and takes over when no live memory lacks its vectors.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self, cast

from reasoning_bank.assets import Assets
from reasoning_bank.embeddings.backends import reopen_embedder
from reasoning_bank.embeddings.batching import BatchEmbeddingGenerator
from reasoning_bank.embeddings.embedder import Embedder, EmbeddingIdentity, Vectors
from reasoning_bank.embeddings.loading import LoadState, ModelLoader, Obtain
from reasoning_bank.embeddings.pipeline import MemoryEmbedder
from reasoning_bank.errors import BusyError, ModelUnavailableError, StorageError, UpstreamError
from reasoning_bank.storage import embeddings
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.embeddings import Coverage
from reasoning_bank.storage.outbox import OutboxRow

logger = logging.getLogger(__name__)

RETRY_S = 15.0
"""Pause before another look for a model that is missing: installing it takes a person minutes."""


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A model with its worker: loading, ready, or unavailable."""

    loader: ModelLoader
    generator: BatchEmbeddingGenerator
    embedder: MemoryEmbedder

    @property
    def identity(self) -> EmbeddingIdentity | None:
        """Whose vectors these are; None for a model that says so only once it is loaded."""
        try:
            return self.generator.embedder.identity
        except ModelUnavailableError:
            return None

    async def wait_ready(self, seconds: float) -> bool:
        """Whether the model can be used, after a wait of at most `seconds`."""
        try:
            await self.loader.wait_ready(seconds)
        except ModelUnavailableError:
            return False
        return True

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """(n, dim) float32 unit rows; raises as `BatchEmbeddingGenerator.generate_batch`."""
        return await self.generator.generate_batch(texts, kind="query")


class ServedModels:
    """Loads the configured model in the background and sees to it that all memories get its vectors.

    Args:
        database: an open bank.
        embedder: the configured model, not loaded.
        assets: where the weights of an earlier model may be.
        obtain: fetches the configured model when it is missing, or None.
        batch_size: most texts per run of the model.
        now: the clock, aware UTC.
        owner: name of this process, different from every other's.
        retry_s: pause before another look for a missing model (seconds).
    """

    def __init__(  # noqa: PLR0913 -- plain keywords instead of Settings
        self,
        database: Database,
        embedder: Embedder,
        *,
        assets: Assets,
        obtain: Obtain | None,
        batch_size: int,
        now: Callable[[], datetime],
        owner: str,
        retry_s: float = RETRY_S,
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._assets = assets
        self._obtain = obtain
        self._batch_size = batch_size
        self._now = now
        self._owner = owner
        self._retry_s = retry_s
        self._stack = AsyncExitStack()
        self._configured: RunningModel | None = None
        self._serving: RunningModel | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            self._configured = await self._run(opening, self._embedder, self._obtain)
            self._serving = self._configured
            self._stack = opening.pop_all()
        self._task = asyncio.create_task(self._take_over(self._configured), name="embedding models")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._stack.aclose()

    @property
    def serving(self) -> RunningModel | None:
        """The model whose vectors answer questions now."""
        return self._serving

    @property
    def state(self) -> LoadState:
        """Where the configured model stands."""
        return self._configured.loader.state if self._configured else LoadState("unavailable", "not started")

    async def embed_rows(self, rows: Sequence[OutboxRow]) -> None:
        """Outbox handler of {"ids": [...]}: vectors of the configured model, and of the one that serves until then.

        Raises:
            ModelUnavailableError: the model is not ready; the rows wait.
        """
        models = {id(model): model for model in (self._configured, self._serving) if model is not None}
        for model in models.values():
            await model.loader.wait_ready(0)
            for workspace, ids in _ids_by_workspace(rows).items():
                await model.embedder.embed_memories(workspace, ids)

    async def coverage(self, workspace: str | None = None) -> Coverage | None:
        """How far the configured model has come; None while it is not known by name."""
        identity = self._configured.identity if self._configured else None
        if identity is None:
            return None
        model_id = identity.model_id
        return await self._database.read(lambda connection: embeddings.coverage(connection, model_id, workspace))

    async def _run(self, stack: AsyncExitStack, embedder: Embedder, obtain: Obtain | None) -> RunningModel:
        generator = await stack.enter_async_context(BatchEmbeddingGenerator(embedder, self._batch_size))
        loader = await stack.enter_async_context(ModelLoader(embedder, obtain=obtain))
        return RunningModel(
            loader, generator, MemoryEmbedder(self._database, generator, now=self._now, owner=self._owner)
        )

    async def _take_over(self, configured: RunningModel) -> None:
        """From loading to serving; tries again for as long as the bank is open."""
        while True:
            try:
                await configured.loader.wait_ready()
                await self._complete(configured)
            except (ModelUnavailableError, UpstreamError, StorageError, BusyError) as error:
                logger.debug("The embedding model does not serve yet: %s", error)
                await asyncio.sleep(self._retry_s)
                configured.loader.reload()
            else:
                return

    async def _complete(self, configured: RunningModel) -> None:
        await configured.embedder.register()
        active = await self._database.read(embeddings.active_model)
        if active not in (None, configured.embedder.identity.model_id):
            await self._serve_meanwhile(active)
        while not await configured.embedder.activate():
            await configured.embedder.embed_missing()
        self._serving = configured

    async def _serve_meanwhile(self, model_id: str) -> None:
        """Answer with the bank's own model while the configured one embeds; without it, at once with what there is."""
        known = {model.model_id: model for model in await self._database.read(embeddings.models)}
        identity = EmbeddingIdentity(**cast("dict[str, str]", known[model_id].identity))  # pyright: ignore[reportArgumentType] -- kept by register
        earlier = reopen_embedder(identity, assets=self._assets)
        if earlier is not None:
            logger.info("Vectors of %s serve while all memories are embedded anew", model_id)
            self._serving = await self._run(self._stack, earlier, None)


def _ids_by_workspace(rows: Sequence[OutboxRow]) -> Mapping[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for row in rows:
        payload = cast("Mapping[str, list[str]]", row.payload)
        groups.setdefault(row.workspace, []).extend(payload["ids"])
    return groups
