"""One search in two steps: what can be found without the query's meaning, then the answer.

The steps are apart because a model takes longer to tell the meaning than all the rest, and works meanwhile.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import cast

import numpy as np
from sqlalchemy import Connection

from reasoning_bank.records import (
    Considered,
    Explanation,
    JsonValue,
    Memory,
    Query,
    Retrieval,
    RetrievedMemory,
    Stage,
    Strategy,
)
from reasoning_bank.retrieval.explanation import contributors, scores_by_strategy, standings
from reasoning_bank.retrieval.fusion import CODE_DENSE_GAIN, PROSE_DENSE_WEIGHT, Scores
from reasoning_bank.retrieval.intent import Intent, read_intent
from reasoning_bank.retrieval.keeping import kept_block
from reasoning_bank.retrieval.lexical import QueryTerms, TermScores, of_kinds, query_terms
from reasoning_bank.retrieval.options import RetrievalCaches, RetrievalOptions
from reasoning_bank.retrieval.planner import STRATEGIES, Path, Plan, Situation, plan
from reasoning_bank.retrieval.postings import FloatArray, IntArray
from reasoning_bank.retrieval.presets import Manner, with_whole_traces
from reasoning_bank.retrieval.ranking import Likeness, Ranking, best_first, likeness, rank, relevance_of
from reasoning_bank.retrieval.runner import StrategyRunner
from reasoning_bank.retrieval.scope import Scope, candidates_among, find_scope, is_filtered
from reasoning_bank.retrieval.scoring import Candidate, rescored
from reasoning_bank.retrieval.selection import Selection, hidden_reason, limits_of, select
from reasoning_bank.retrieval.strategies import (
    Evidence,
    Meaning,
    Names,
    by_entity,
    by_keyword,
    by_meaning,
    by_time,
    lengths_of,
    named,
)
from reasoning_bank.retrieval.timing import Stopwatch
from reasoning_bank.retrieval.workspaces import Picture, VectorSpace, Workspaces
from reasoning_bank.storage import changes, memories
from reasoning_bank.text.analyser import analyse_query
from reasoning_bank.vectors.index import Candidates

_SPARE = 16
"""Places ranked beyond k, for copies and memories forgotten meanwhile."""
_LONGEST_TAIL = 5_000
_MORE_PLACES = 8
_MOST_RANKED = 4_096
"""Places ranked at most, unless so many are asked for: a chat may say "ok, thanks" a thousand times."""
_MOST_OF_TRACE_READ = 50
"""Memories read of a trace that is given whole, of which some may be copies, hidden or not trusted."""
CONTRIBUTING_PLACES = 10
"""A strategy contributed to a memory that is among so many of its own best."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A query and who asks it.

    Attributes:
        query: as its preset wants it.
        manner: how its preset searches.
        without: parts of the rule that are left out, by preset or setting.
        space: whose vectors it can be compared with; None when no model can tell what it means.
    """

    workspace: str
    query: Query
    manner: Manner
    without: frozenset[Stage]
    space: VectorSpace | None
    watch: Stopwatch


@dataclass(frozen=True, slots=True)
class Ground:
    """What a search stands on before the query's meaning is known.

    Attributes:
        moment: when the search is held to take place.
        evidence: what the strategies found that need no model.
        missing: those of them that failed or were late.
    """

    asked: Asked
    moment: datetime
    picture: Picture
    scope: Scope
    intent: Intent
    plan: Plan
    evidence: Evidence
    missing: tuple[Strategy, ...]

    @property
    def is_lasting(self) -> bool:
        """Whether the same search gives the same answer as long as the workspace does not change."""
        return self.picture.corpus.timeless and not self.intent.times


@dataclass(frozen=True, slots=True)
class _Judged:
    """Every candidate judged, ready to be chosen from."""

    ground: Ground
    evidence: Evidence
    ranking: Ranking
    like: Likeness


class Searcher:
    """Searches of a bank, for any number of threads.

    Args:
        workspaces: the pictures of the workspaces.
        runner: where strategies run.
        caches: what is kept between searches.
        options: what the user chose.
        count_tokens: tokens of a text, for the context block.
        now: the clock, aware UTC.
    """

    def __init__(
        self,
        workspaces: Workspaces,
        runner: StrategyRunner,
        *,
        caches: RetrievalCaches,
        options: RetrievalOptions,
        count_tokens: Callable[[str], int],
        now: Callable[[], datetime],
    ) -> None:
        self._workspaces = workspaces
        self._runner = runner
        self._caches = caches
        self._options = options
        self._count_tokens = count_tokens
        self._now = now

    def ground(self, connection: Connection, asked: Asked) -> Ground:
        """The first step: all that needs no model.

        Args:
            connection: a read transaction in which nothing was read yet.
            asked: what to look for.
        """
        moment, watch = self._now(), asked.watch
        with watch.stage("intent"):
            intent = self._intent(asked, moment)
            terms = query_terms(analyse_query(asked.query.task, whole="main_line" in asked.without))
        with watch.stage("refresh"):
            picture = self._workspaces.current(connection, asked.workspace, asked.space)
        with watch.stage("plan"):
            scope = find_scope(picture.corpus, asked.query, moment)
            chosen = self._plan(asked, picture, scope, intent, terms)
        evidence, missing = self._found(asked, picture, scope, intent=intent, terms=terms, chosen=chosen)
        return Ground(asked, moment, picture, scope, intent, chosen, evidence, missing)

    def answer(
        self, connection: Connection, ground: Ground, vector: FloatArray | None, candidates: Candidates | None
    ) -> Retrieval:
        """The second step: the answer.

        Args:
            connection: a read transaction.
            ground: the first step.
            vector: (dim,) the query's meaning, or None when no model could tell or it is not needed.
            candidates: what an index named, or None to compare all.
        """
        asked, watch = ground.asked, ground.asked.watch
        near = _near(connection, asked.workspace, candidates, ground.picture)
        meaning, missing = self._meaning(ground, vector, near)
        evidence = Evidence(ground.evidence.keyword, ground.evidence.entity, ground.evidence.temporal, meaning)
        with watch.stage("fusion"):
            ranking = rank(
                ground.picture.corpus,
                evidence,
                ground.scope,
                text_of=partial(self._text_of, connection, ground),
                names_alone=ground.intent.kind == "identifier",
                without=asked.without,
            )
            like = likeness(ground.picture.corpus, ranking.meaning, ground.scope)
        judged = _Judged(ground, evidence, ranking, like)
        selection = self._best(connection, judged)
        found = self._answered(connection, ground, selection)
        with watch.stage("context"):
            context = self._context(asked, found)
        rows = [ground.picture.corpus.row_of(each.memory.id) for each in found]
        degraded = _degraded(ground, vector, missing)
        return Retrieval(
            memories=found,
            context=context,
            below_floor=selection.below_floor,
            degraded=degraded,
            path=_path(ground, meaning, near),
            timings_ms=watch.finished(),
            contributors=tuple(contributors(scores_by_strategy(evidence), rows, best=CONTRIBUTING_PLACES)),
            explanation=_explanation(judged, selection, degraded) if asked.query.explain else None,
        )

    def _intent(self, asked: Asked, moment: datetime) -> Intent:
        key = (asked.workspace, asked.query.task)
        if (intent := self._caches.intents.get(key)) is None:
            started = time.perf_counter()
            intent = read_intent(asked.query.task, now=moment, zone=self._options.zone)
            if not intent.times:  # "yesterday" is another day tomorrow
                self._caches.intents.put(key, intent, cost_s=time.perf_counter() - started)
        return intent

    def _plan(self, asked: Asked, picture: Picture, scope: Scope, intent: Intent, terms: QueryTerms) -> Plan:
        corpus, options = picture.corpus, self._options
        situation = Situation(
            memories=corpus.live_count,
            candidates=scope.count,
            filtered=is_filtered(asked.query),
            has_vectors=bool(corpus.view.live_count),
            has_model=asked.space is not None,
            knows_words=bool(corpus.vocabulary.known(of_kinds(terms, "word", "pair").keys).any()),
            knows_names=corpus.titled
            or bool(corpus.vocabulary.known(of_kinds(terms, "identifier", "path").keys).any()),
            names_times=bool(intent.times) or intent.asks_when,
            named=named(corpus, scope, asked.query.task) if intent.kind == "identifier" else 0,
        )
        return plan(
            situation,
            places=asked.query.k + len(asked.query.exclude_ids),
            search=options.search,
            exact_limit=options.exact_limit,
            without=asked.without,
        )

    def _found(
        self, asked: Asked, picture: Picture, scope: Scope, *, intent: Intent, terms: QueryTerms, chosen: Plan
    ) -> tuple[Evidence, tuple[Strategy, ...]]:
        corpus, without = picture.corpus, asked.without
        lengths = lengths_of(corpus, scope)
        works: dict[Strategy, Callable[[], TermScores | Scores | Names]] = {
            "keyword": lambda: by_keyword(corpus, terms, scope, lengths=lengths, without=without),
            "temporal": lambda: by_time(corpus, intent),
            "entity": lambda: by_entity(corpus, terms, scope, line=intent.main_line, lengths=lengths, without=without),
        }
        outcome = self._runner.run({name: work for name, work in works.items() if chosen.runs(name)})
        asked.watch.add(outcome.took_ms)
        found = outcome.found
        return Evidence(
            keyword=cast("TermScores | None", found.get("keyword")),
            entity=cast("Names | None", found.get("entity")),
            temporal=cast("Scores | None", found.get("temporal")),
        ), outcome.missing

    def _meaning(
        self, ground: Ground, vector: FloatArray | None, near: IntArray | None
    ) -> tuple[Meaning | None, tuple[Strategy, ...]]:
        if vector is None or not ground.plan.runs("semantic"):
            return None, ()
        work = partial(
            by_meaning,
            ground.picture.corpus,
            vector,
            ground.scope,
            near=near,
            others=ground.evidence,
            without=ground.asked.without,
        )
        outcome = self._runner.run({"semantic": work})
        ground.asked.watch.add(outcome.took_ms)
        return outcome.found.get("semantic"), outcome.missing

    def _best(self, connection: Connection, judged: _Judged) -> Selection:
        ground, query, watch = judged.ground, judged.ground.asked.query, judged.ground.asked.watch
        limits, hidden = limits_of(query, floor=self._options.floor), _hidden_from(ground)
        limit, ranked = query.k + len(query.exclude_ids) + _SPARE, 0
        most = max(limit, _MOST_RANKED)
        candidates: list[Candidate] = []
        said: dict[str, frozenset[str]] = {}
        while True:
            with watch.stage("ranking"):
                rows = best_first(ground.picture.corpus, judged.ranking.scores, limit)
            with watch.stage("reading"):
                fresh = self._candidates(connection, judged, rows, after=ranked)
            with watch.stage("selection"):
                candidates = self._in_order(ground, candidates, fresh)
                selection = select(candidates, limits=limits, hidden=hidden, explain=query.explain, said=said)
            if selection.is_final or len(rows) < limit or limit == most:
                return selection
            ranked, limit = limit, min(limit * _MORE_PLACES, most)

    def _candidates(self, connection: Connection, judged: _Judged, rows: IntArray, *, after: int) -> list[Candidate]:
        """What is known of the best rows, without the first so many of them; best first."""
        ground = judged.ground
        places: list[int] = rows[after:].tolist()
        wanted = [ground.picture.corpus.names.ids[row] for row in places]
        found = self._workspaces.read(connection, ground.asked.workspace, wanted, picture=ground.picture)
        relevance = relevance_of(judged.evidence, judged.like, rows)[after:]  # it stands on the very best
        return [
            Candidate(found[each], float(judged.ranking.scores[row]), float(relevant))
            for each, row, relevant in zip(wanted, places, relevance, strict=True)
            if each in found
        ]

    def _in_order(self, ground: Ground, known: Sequence[Candidate], fresh: Sequence[Candidate]) -> list[Candidate]:
        """All candidates, best first; what is known of a memory moves it by itself, whoever else is there."""
        if "scoring" not in ground.asked.without:
            fresh = rescored(fresh, task=ground.asked.query.task, weights=self._options.weights, now=ground.moment)
        return sorted([*known, *fresh], key=lambda each: -each.score)

    def _answered(self, connection: Connection, ground: Ground, selection: Selection) -> tuple[RetrievedMemory, ...]:
        asked = ground.asked
        if not asked.manner.whole_traces:
            return selection.memories
        return with_whole_traces(
            selection.memories,
            read_trace=partial(self._of_trace, connection, ground),
            limits=limits_of(asked.query, floor=self._options.floor),
            hidden=_hidden_from(ground),
        )

    def _of_trace(self, connection: Connection, ground: Ground, trace_id: str) -> list[Memory]:
        workspace, picture = ground.asked.workspace, ground.picture
        ids = memories.ids_of_trace(connection, workspace, trace_id)
        wanted = candidates_among(picture.corpus, ground.scope, ids)[:_MOST_OF_TRACE_READ]
        found = self._workspaces.read(connection, workspace, wanted, picture=picture)
        return [found[each] for each in wanted if each in found]

    def _context(self, asked: Asked, found: Sequence[RetrievedMemory]) -> str:
        return kept_block(
            self._caches.contexts,
            asked.workspace,
            found,
            budget=asked.query.token_budget,
            detail=asked.query.detail,
            query=asked.query.task,
            count_tokens=self._count_tokens,
        )

    def _text_of(self, connection: Connection, ground: Ground, row: int) -> str:
        memory_id = ground.picture.corpus.names.ids[row]
        found = self._workspaces.read(connection, ground.asked.workspace, [memory_id], picture=ground.picture)
        return found[memory_id].item.text if memory_id in found else ""


def _near(connection: Connection, workspace: str, candidates: Candidates | None, picture: Picture) -> IntArray | None:
    """Rows the index named, and all whose change it has not seen; None when these are too many to be worth it."""
    if candidates is None:
        return None
    tail = changes.since(connection, workspace, candidates.applied_seq, _LONGEST_TAIL + 1)
    if len(tail) > _LONGEST_TAIL:
        return None
    ids = [hit.id for hit in candidates.hits] + [change.memory_id for change in tail]
    return np.unique(picture.corpus.rows_of(ids))


def _hidden_from(ground: Ground) -> Callable[[Memory], str | None]:
    return partial(hidden_reason, workspace=ground.asked.workspace, now=ground.moment)


def _degraded(ground: Ground, vector: FloatArray | None, missing: tuple[Strategy, ...]) -> tuple[Strategy, ...]:
    lost = {*ground.missing, *missing}
    if vector is None and ground.plan.runs("semantic"):
        lost.add("semantic")
    return tuple(each for each in STRATEGIES if each in lost)


def _path(ground: Ground, meaning: Meaning | None, near: IntArray | None) -> Path:
    if meaning is None or not ground.picture.corpus.view.live_count:
        return "none"
    return "exact" if near is None else "chroma"


def _explanation(judged: _Judged, selection: Selection, degraded: tuple[Strategy, ...]) -> Explanation:
    ground, found = judged.ground, scores_by_strategy(judged.evidence)
    corpus = ground.picture.corpus
    considered = tuple(
        Considered(
            id=each.candidate.memory.id,
            decision=each.reason,
            fused=round(each.candidate.fused, 4),
            relevance=round(each.candidate.relevance, 4),
            standings=standings(found, corpus.row_of(each.candidate.memory.id)),
            adjustments={str(name): round(value, 4) for name, value in each.candidate.adjustments.items()},
        )
        for each in selection.decisions
    )
    weight = PROSE_DENSE_WEIGHT + CODE_DENSE_GAIN * judged.ranking.degree
    weights: dict[str, JsonValue] = {"code_degree": round(judged.ranking.degree, 3), "meaning": round(weight, 3)}
    return Explanation(ground.intent.as_json(), {**ground.plan.without(degraded).as_json(), **weights}, considered)
