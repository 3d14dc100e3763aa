"""One search from query to answer: meaning, candidates, order, floor, context; each stage timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from sqlalchemy import Connection

from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.errors import InputError
from reasoning_bank.records import Memory, Query, Retrieval
from reasoning_bank.retrieval.context import context_block
from reasoning_bank.retrieval.lexical import query_terms
from reasoning_bank.retrieval.meaning import QueryModel, query_vector
from reasoning_bank.retrieval.planner import EXACT_LIMIT, Search, asks_index, candidates_wanted
from reasoning_bank.retrieval.postings import FloatArray, IntArray
from reasoning_bank.retrieval.ranking import Question, Ranked, rank
from reasoning_bank.retrieval.scope import find_scope, is_filtered
from reasoning_bank.retrieval.scoring import Candidate, Weights, rescored
from reasoning_bank.retrieval.selection import Limits, Selection, hidden_reason, select
from reasoning_bank.retrieval.timing import Stopwatch
from reasoning_bank.retrieval.workspaces import Picture, VectorSpace, Workspaces
from reasoning_bank.storage import changes
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import analyse_query
from reasoning_bank.vectors.index import Candidates, VectorIndex

_SPARE = 16
"""Places ranked beyond k, for copies and memories forgotten meanwhile."""
_LONGEST_TAIL = 5_000
_MORE_PLACES = 8
_MOST_RANKED = 4_096
"""Places ranked for an answer whose best are copies: a chat may say "ok, thanks" a thousand times."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query with all that was found out before the bank is read."""

    workspace: str
    query: Query
    vector: FloatArray | None
    space: VectorSpace | None
    candidates: Candidates | None


@dataclass(frozen=True, slots=True)
class RetrievalCaches:
    """What is kept between searches.

    Attributes:
        memories: read memories by (workspace, id).
        queries: query vectors by (workspace, model, task).
    """

    memories: MemoryCache[Memory]
    queries: MemoryCache[FloatArray]


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """What a user can choose.

    Attributes:
        search: which way vectors are searched.
        exact_limit: memories up to which "auto" compares all.
        floor: least relevance given when a query names none, 0..1.
        model_wait_s: seconds a query waits for a model that is being loaded.
        workspaces: workspaces whose index is kept in memory.
    """

    search: Search = "auto"
    exact_limit: int = EXACT_LIMIT
    floor: float = 0.5
    model_wait_s: float = 0.3
    workspaces: int = 64


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
        self._queries = caches.queries
        self._options = options or RetrievalOptions()
        self._count_tokens = count_tokens
        self._now = now
        self._workspaces = Workspaces(database, memory_cache=caches.memories, kept=self._options.workspaces)

    async def retrieve(self, workspace: str, query: Query) -> Retrieval:
        """The best memories of this workspace for a query, or none when nothing is relevant.

        Raises:
            InputError: the task is blank, k is below 1, or min_score is outside 0..1.
            StorageError: the bank could not be read.
        """
        _check(query)
        watch = Stopwatch(time.perf_counter)
        model, wait_s = self._model(), self._options.model_wait_s
        vector = await query_vector(model, query.task, workspace=workspace, cache=self._queries, longest_wait_s=wait_s)
        watch.lap("embedding")
        space = model.space if model else None
        candidates = await self._nearest(workspace, query, vector, space)
        watch.lap("index")
        asked = _Asked(workspace, query, vector, space, candidates)
        return await self._database.read(lambda connection: self._answer(connection, asked, watch))

    async def warm(self, workspace: str) -> None:
        """Read a workspace's index into memory, so that its first search is as fast as the next."""
        model = self._model()
        space = model.space if model else None
        await self._database.read(lambda connection: self._workspaces.current(connection, workspace, space))

    async def _nearest(
        self, workspace: str, query: Query, vector: FloatArray | None, space: VectorSpace | None
    ) -> Candidates | None:
        if self._index is None or vector is None or space is None:
            return None
        known = self._workspaces.latest(workspace)
        memories = known.corpus.live_count if known else 0
        filtered, limit = is_filtered(query), self._options.exact_limit
        if not asks_index(self._options.search, filtered=filtered, memories=memories, exact_limit=limit):
            return None
        wanted = candidates_wanted(query.k + len(query.exclude_ids))
        candidates = await self._index.nearest(workspace, vector, wanted)
        return candidates if candidates is not None and candidates.model_id == space.model_id else None

    def _answer(self, connection: Connection, asked: _Asked, watch: Stopwatch) -> Retrieval:
        watch.lap("queue")
        picture = self._workspaces.current(connection, asked.workspace, asked.space)
        watch.lap("refresh")
        near = _near(connection, asked, picture)
        selection = self._best(connection, asked, picture, near=near, watch=watch)
        context = context_block(selection.memories, budget=asked.query.token_budget, count_tokens=self._count_tokens)
        watch.lap("context")
        return Retrieval(
            memories=selection.memories,
            context=context,
            below_floor=selection.below_floor,
            degraded=("semantic",) if asked.vector is None else (),
            path=_path(asked.vector, picture, near),
            timings_ms=watch.finished(),
        )

    def _best(
        self, connection: Connection, asked: _Asked, picture: Picture, *, near: IntArray | None, watch: Stopwatch
    ) -> Selection:
        query = asked.query
        limit = query.k + len(query.exclude_ids) + _SPARE
        while True:
            ranked = self._ranked(connection, asked, picture, near=near, limit=limit, watch=watch)
            selection = self._selection(connection, asked, picture, ranked)
            watch.lap("reading")
            is_full = len(selection.memories) + selection.below_floor >= query.k
            if is_full or len(ranked.rows) < limit or limit > _MOST_RANKED:
                return selection
            limit *= _MORE_PLACES

    def _ranked(
        self,
        connection: Connection,
        asked: _Asked,
        picture: Picture,
        *,
        near: IntArray | None,
        limit: int,
        watch: Stopwatch,
    ) -> Ranked:
        corpus, query = picture.corpus, asked.query
        scope = find_scope(corpus, query, self._now())
        question = Question(query_terms(analyse_query(query.task)), asked.vector, near)

        def text_of(row: int) -> str:
            memory_id = corpus.names.ids[row]
            found = self._workspaces.read(connection, asked.workspace, [memory_id], picture=picture)
            return found[memory_id].item.text if memory_id in found else ""

        return rank(corpus, question, scope, limit=limit, text_of=text_of, watch=watch)

    def _selection(self, connection: Connection, asked: _Asked, picture: Picture, ranked: Ranked) -> Selection:
        query, ids = asked.query, picture.corpus.names.ids
        rows: list[int] = ranked.rows.tolist()
        found = self._workspaces.read(connection, asked.workspace, [ids[row] for row in rows], picture=picture)
        candidates = [
            Candidate(found[ids[row]], float(score), float(relevance))
            for row, score, relevance in zip(rows, ranked.scores, ranked.relevance, strict=True)
            if ids[row] in found
        ]
        now = self._now()
        return select(
            rescored(candidates, task=query.task, weights=Weights(), now=now),
            limits=Limits(
                k=query.k,
                floor=self._options.floor if query.min_score is None else query.min_score,
                excluded=frozenset(query.exclude_ids),
                per_trace=query.per_trace,
                per_actor=query.per_actor,
                near_duplicates=query.near_duplicates,
                group_by_trace=query.group_by_trace,
            ),
            hidden=lambda memory: hidden_reason(memory, workspace=asked.workspace, now=now),
        )


def _check(query: Query) -> None:
    if not query.task.strip():
        raise InputError("task is empty: say what you are about to do")
    if query.k < 1:
        raise InputError(f"k is {query.k!r}: ask for 1 or more memories")
    if query.min_score is not None and not 0 <= query.min_score <= 1:
        raise InputError(f"min_score is {query.min_score!r}: send a number from 0 to 1")


def _near(connection: Connection, asked: _Asked, picture: Picture) -> IntArray | None:
    """Rows the index named, and all whose change it has not seen; None when these are too many to be worth it."""
    if asked.candidates is None:
        return None
    tail = changes.since(connection, asked.workspace, asked.candidates.applied_seq, _LONGEST_TAIL + 1)
    if len(tail) > _LONGEST_TAIL:
        return None
    ids = [hit.id for hit in asked.candidates.hits] + [change.memory_id for change in tail]
    return np.unique(picture.corpus.rows_of(ids))


def _path(vector: FloatArray | None, picture: Picture, near: IntArray | None) -> Literal["exact", "chroma", "none"]:
    if vector is None or not picture.corpus.view.live_count:
        return "none"
    return "exact" if near is None else "chroma"
