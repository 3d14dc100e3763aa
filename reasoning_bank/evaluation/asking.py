"""Questions put to a bank through whatever stands between, and what came back."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reasoning_bank.evaluation.metrics import DEPTHS, Interval, Latency, latency, means, measure
from reasoning_bank.evaluation.sets import Asked, EvaluationSet

TRIES = 10
"""A strategy may miss its deadline on a busy machine: the ranking is asked again, what was missed is counted."""
PAUSE_S = 0.2

Progress = Callable[[int, int], object]
"""Receives questions done and questions in all."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the bank answered.

    Attributes:
        ids: of the rows found, best first.
        scores: absolute relevance of each, 0..1.
        degraded: strategies that did not take part.
        seconds: from call to answer, as the client sees it.
        timings_ms: stage -> milliseconds, as the server says.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    degraded: tuple[str, ...]
    seconds: float
    timings_ms: Mapping[str, float]


class Ask(Protocol):
    """A way to ask the bank one question."""

    def __call__(self, space: str, task: str, *, k: int | None = None, min_score: float | None = None) -> Answered:
        """What it answers; `k` and `min_score` None leave its defaults in force."""
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """One question answered.

    Attributes:
        ranking: the longest list asked for, without a floor.
        default: the answer with default k and floor; None where it was not asked for.
        figures: of the ranking.
    """

    asked: Asked
    ranking: Answered
    default: Answered | None
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """Figures of the questions of one category."""

    queries: int
    figures: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class SetFigures:
    """Figures of one set.

    Attributes:
        foreign_items: items in answers that are not in the workspace asked; anything but 0 is a failure.
        degraded: answers, after retries, in which a strategy did not take part.
        latency: of searches with the server's defaults; `stages` are the server's own timings of them.
        missed: ids of the questions that none of the first ten rows answers.
    """

    memories: int
    workspaces: int
    scoped: bool
    queries: int
    figures: Mapping[str, Interval]
    categories: Mapping[str, CategoryFigures]
    foreign_items: int
    degraded: int
    latency: Latency | None
    stages: Mapping[str, Latency]
    missed: tuple[str, ...]


def judge(
    ask: Ask,
    data: EvaluationSet,
    *,
    depths: Sequence[int] = DEPTHS,
    with_default: bool = True,
    progress: Progress | None = None,
) -> list[Judged]:
    """Ask every question of a set, one after the other.

    The default search comes first: it then pays for embedding the question, as a first search does.
    """
    judged: list[Judged] = []
    for asked in data.queries:
        default = ask(asked.space, asked.text) if with_default else None
        ranking = _ranking(ask, asked, max(depths))
        judged.append(Judged(asked, ranking, default, measure(ranking.ids, asked.relevant, depths=depths)))
        if progress is not None:
            progress(len(judged), len(data.queries))
    return judged


def _ranking(ask: Ask, asked: Asked, k: int) -> Answered:
    for _ in range(TRIES):
        answer = ask(asked.space, asked.text, k=k, min_score=0.0)
        if not answer.degraded:
            return answer
        time.sleep(PAUSE_S)
    return ask(asked.space, asked.text, k=k, min_score=0.0)


def summarise(data: EvaluationSet, judged: Sequence[Judged]) -> SetFigures:
    """The figures of a set from its judged questions."""
    defaults = [one.default for one in judged if one.default is not None]
    stages = dict.fromkeys(stage for answer in defaults for stage in answer.timings_ms)
    return SetFigures(
        memories=len(data.items),
        workspaces=len(data.spaces),
        scoped=data.scoped,
        queries=len(judged),
        figures=means([one.figures for one in judged]),
        categories=_categories(judged),
        foreign_items=foreign_items(data, judged),
        degraded=sum(bool(one.ranking.degraded) for one in judged),
        latency=latency(answer.seconds * 1000 for answer in defaults),
        stages={
            stage: found
            for stage in stages
            if (found := latency(a.timings_ms[stage] for a in defaults if stage in a.timings_ms)) is not None
        },
        missed=tuple(one.asked.id for one in judged if one.asked.relevant.isdisjoint(one.ranking.ids[:10])),
    )


def foreign_items(data: EvaluationSet, judged: Sequence[Judged]) -> int:
    """Items that were answered although they are not in the workspace asked."""
    at_home = {(item.space, item.id) for item in data.items}
    answers = [(one.asked.space, answer) for one in judged for answer in (one.ranking, one.default) if answer]
    return sum((space, found) not in at_home for space, answer in answers for found in answer.ids)


def _categories(judged: Sequence[Judged]) -> dict[str, CategoryFigures]:
    grouped: dict[str, list[Judged]] = {}
    for one in judged:
        if one.asked.category:
            grouped.setdefault(one.asked.category, []).append(one)
    return {
        name: CategoryFigures(len(some), means([one.figures for one in some])) for name, some in sorted(grouped.items())
    }
