"""The door of retrieval: what was answered before, what is being answered now, else one search."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from reasoning_bank.cache.flight import SingleFlight
from reasoning_bank.errors import InputError
from reasoning_bank.records import Query, Retrieval
from reasoning_bank.retrieval.context import PREAMBLE
from reasoning_bank.retrieval.keeping import is_small
from reasoning_bank.retrieval.meaning import QueryModel, query_vector
from reasoning_bank.retrieval.options import RetrievalCaches, RetrievalOptions
from reasoning_bank.retrieval.planner import candidates_wanted
from reasoning_bank.retrieval.postings import FloatArray
from reasoning_bank.retrieval.presets import PRESETS, under_preset
from reasoning_bank.retrieval.runner import StrategyRunner
from reasoning_bank.retrieval.search import Asked, Ground, Searcher
from reasoning_bank.retrieval.timing import Stopwatch
from reasoning_bank.retrieval.workspaces import Picture, VectorSpace, Workspaces
from reasoning_bank.storage.database import Database
from reasoning_bank.text.dates import time_ranges
from reasoning_bank.vectors.index import Candidates, VectorIndex

MOST_EXCLUDED = 1_000
"""Ids a query may exclude: so many more places are ranked and read for it."""

logger = logging.getLogger(__name__)


class Retriever:
    """Finds the memories that help with a task.

    Args:
        database: the truth.
        model: the model in use at the moment of a query, or None when there is none.
        caches: what is kept between searches.
        count_tokens: tokens of a text, for the context block.
        now: the clock, aware UTC.
        index: names candidates in large workspaces, or None to compare all.
        options: what a user can choose.
    """

    def __init__(
        self,
        *,
        database: Database,
        model: Callable[[], QueryModel | None],
        caches: RetrievalCaches,
        count_tokens: Callable[[str], int],
        now: Callable[[], datetime],
        index: VectorIndex | None = None,
        options: RetrievalOptions | None = None,
    ) -> None:
        self._database = database
        self._model = model
        self._index = index
        self._caches = caches
        self._options = options or RetrievalOptions()
        self._now = now
        self._count_tokens = count_tokens
        self._runner = StrategyRunner(deadline_s=self._options.deadline_s)
        self._workspaces = Workspaces(database, memory_cache=caches.memories, kept=self._options.workspaces)
        self._searcher = Searcher(
            self._workspaces,
            self._runner,
            caches=caches,
            options=self._options,
            count_tokens=count_tokens,
            now=now,
        )
        self.flight = SingleFlight[Retrieval]()

    async def retrieve(self, workspace: str, query: Query) -> Retrieval:
        """The best memories of this workspace for a query, or none when nothing is relevant.

        Raises:
            InputError: the task is blank, or a number or the preset of the query is out of bounds; the text says which.
            StorageError: the bank could not be read.
        """
        _check(query)
        watch = Stopwatch(time.perf_counter)
        query, manner = under_preset(replace(query, task=query.task.strip()))
        version = await self._database.current_version()
        picture = self._workspaces.latest(workspace)
        fresh = picture is not None and picture.version == version
        if picture is not None and fresh and (known := await self._answered(workspace, query, picture)):
            return replace(known, timings_ms=watch.finished(), cached=True)
        asked = Asked(workspace, query, manner, self._options.without | manner.without, self._space(), watch)
        # Whoever asks after a write sees another version, and never boards a search that may have missed it.
        return await self.flight.do((workspace, version, asked.space, query), partial(self._search, asked, version))

    async def visit(self, workspace: str, query: Query) -> Retrieval:
        """As `retrieve`, for one look at a workspace nobody works in: the workspaces in use stay in memory."""
        with self._workspaces.visiting(workspace):
            return await self.retrieve(workspace, query)

    async def warm(self, workspace: str, ids: Sequence[str] = ()) -> None:
        """Read a workspace's index, what reads dates, and memories: its first search is then as fast as the next.

        Args:
            workspace: whose.
            ids: memories to read too, as far as the cache has room.
        """
        space = self._space()

        def load(connection: Connection) -> None:
            picture = self._workspaces.current(connection, workspace, space)
            self._workspaces.read(connection, workspace, ids, picture=picture)
            time_ranges("today", now=self._now(), zone=self._options.zone)

        await self._database.read(load)

    async def _answered(self, workspace: str, query: Query, picture: Picture) -> Retrieval | None:
        """The answer of an equal query since which nothing in the workspace changed, if it is kept."""
        if picture.space != self._space():
            return None
        return await self._caches.retrieval.get(self._key(query, picture), namespace=workspace)

    def _key(self, query: Query, picture: Picture) -> tuple[Hashable, ...]:
        # In the first second tokens are estimated: what was cut by an estimate is not given once they are counted.
        return picture.seq, picture.space, self._count_tokens(PREAMBLE), query

    def _space(self) -> VectorSpace | None:
        model = self._model()
        return model.space if model else None

    async def _search(self, asked: Asked, version: int) -> Retrieval:
        workspace, query = asked.workspace, asked.query
        latest = self._workspaces.latest(workspace)
        if latest is not None and latest.version != version:  # something was committed, mostly elsewhere
            picture = await self._database.read(lambda c: self._workspaces.current(c, workspace, asked.space))
            if known := await self._answered(workspace, query, picture):
                return replace(known, timings_ms=asked.watch.finished(), cached=True)
        ground, vector = await self._grounded(asked)
        candidates = await self._nearest(ground, vector)
        found = await self._database.read(lambda c: self._searcher.answer(c, ground, vector, candidates))
        # Where age counts, every moment has its own answer.
        if ground.is_lasting and not found.degraded and not self._options.weights.recency and is_small(found):
            key, took_s = self._key(query, ground.picture), found.timings_ms["total"] / 1000
            await self._caches.retrieval.set(key, found, namespace=workspace, cost_s=took_s)
        return found

    async def _grounded(self, asked: Asked) -> tuple[Ground, FloatArray | None]:
        """The first step, with the model at work beside it."""
        meaning = asyncio.ensure_future(self._vector(asked))
        try:
            ground = await self._database.read(lambda connection: self._searcher.ground(connection, asked))
            if not ground.plan.runs("semantic"):
                return ground, None
            await asyncio.wait([meaning])
            if (error := meaning.exception()) is None:
                return ground, meaning.result()
            logger.error("the model failed: the other strategies answer", exc_info=error)
            return ground, None
        finally:
            meaning.cancel()

    async def _vector(self, asked: Asked) -> FloatArray | None:
        model = self._model()
        if "semantic" in asked.without or model is None or model.space != asked.space:
            return None
        with asked.watch.stage("embedding"):
            try:
                # The wait for a model that is loading has its own bound.
                async with asyncio.timeout(self._options.model_wait_s + self._options.deadline_s):
                    return await query_vector(
                        model,
                        asked.query.task,
                        workspace=asked.workspace,
                        cache=self._caches.queries,
                        longest_wait_s=self._options.model_wait_s,
                        whole="main_line" in asked.without,
                    )
            except TimeoutError:
                return None

    async def _nearest(self, ground: Ground, vector: FloatArray | None) -> Candidates | None:
        asked = ground.asked
        if self._index is None or vector is None or asked.space is None or ground.plan.path != "chroma":
            return None
        wanted = candidates_wanted(asked.query.k + len(asked.query.exclude_ids))
        with asked.watch.stage("index"):
            candidates = await self._index.nearest(asked.workspace, vector, wanted)
        return candidates if candidates is not None and candidates.model_id == asked.space.model_id else None


def _check(query: Query) -> None:
    if not query.task.strip():
        raise InputError("task is empty: say what you are about to do")
    for name, wanted in {"k": query.k, "per_trace": query.per_trace, "per_actor": query.per_actor}.items():
        if wanted is not None and wanted < 1:
            raise InputError(f"{name} is {wanted!r}: ask for 1 or more memories")
    if query.min_score is not None and not 0 <= query.min_score <= 1:
        raise InputError(f"min_score is {query.min_score!r}: send a number from 0 to 1")
    if query.near_duplicates is not None and not 0 < query.near_duplicates <= 1:
        raise InputError(
            f"near_duplicates is {query.near_duplicates!r}: send a number above 0 and up to 1, such as 0.8"
        )
    if (shown := len(query.exclude_ids)) > MOST_EXCLUDED:
        raise InputError(f"exclude_ids has {shown} ids, the limit is {MOST_EXCLUDED}: send those shown last")
    if query.preset not in PRESETS:
        raise InputError(f"preset is {query.preset!r}: send one of {', '.join(PRESETS)}")
