"""Why a search answered what it did: made only where it was asked for."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np

from reasoning_bank.records import Standing, Strategy
from reasoning_bank.retrieval.fusion import Scores
from reasoning_bank.retrieval.links import NAMED
from reasoning_bank.retrieval.strategies import Evidence


def scores_by_strategy(evidence: Evidence) -> dict[Strategy, Scores]:
    """(n,) what each strategy that took part gave every row, -inf where it found nothing in it."""
    scores: dict[Strategy, Scores] = {}
    if evidence.semantic is not None:
        cosines = evidence.semantic.cosines
        scores["semantic"] = np.where(np.isnan(cosines), -np.inf, cosines)
        if evidence.semantic.open is not None:
            scores["semantic"][~evidence.semantic.open] = -np.inf
    if evidence.keyword is not None:
        scores["keyword"] = _found(evidence.keyword.points)
    if evidence.temporal is not None:
        scores["temporal"] = _found(evidence.temporal)
    if evidence.entity is not None:
        named = evidence.entity.identifiers.points + evidence.entity.places.points
        named[evidence.entity.titled] += NAMED
        scores["entity"] = _found(named)
    return scores


def standings(scores: Mapping[Strategy, Scores], row: int) -> dict[Strategy, Standing]:
    """How each strategy that found a row saw it; nothing for -1, a memory that changed during the search."""
    if row < 0:
        return {}
    return {
        name: Standing(int(np.count_nonzero(found > found[row])) + 1, round(float(found[row]), 4))
        for name, found in scores.items()
        if found[row] > -np.inf
    }


def contributors(scores: Mapping[Strategy, Scores], rows: Sequence[int], *, best: int) -> list[tuple[Strategy, ...]]:
    """For each row (-1 for none) the strategies that have it among their own `best`."""
    least = {name: _least_among_best(found, rows, best) for name, found in scores.items()}
    return [tuple(name for name, found in scores.items() if row >= 0 and found[row] >= least[name]) for row in rows]


def _found(scores: Scores) -> Scores:
    return np.where(scores > 0, scores, -np.inf)


def _least_among_best(found: Scores, rows: Sequence[int], best: int) -> float:
    """The lowest score that any of the rows has and that fewer than `best` rows exceed."""
    own = sorted((float(found[row]) for row in rows if row >= 0 and found[row] > -np.inf), reverse=True)
    # A few comparisons of all rows, where a partition of 100,000 takes as long as reading the answer.
    inside = bisect_left(own, best, key=lambda score: int(np.count_nonzero(found > score)))
    return own[inside - 1] if inside else np.inf
