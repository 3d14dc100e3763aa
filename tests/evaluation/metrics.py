"""Retrieval measured: recall and nDCG per query, means and their intervals per set."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """One query.

    Attributes:
        recall: share of the relevant ids among the first k; 0..1.
        ndcg: discounted gain of the first k over the best possible, binary relevance; 0..1.
        reciprocal_rank: 1 over the place of the first relevant id, 0 when none was found.
    """

    recall: float
    ndcg: float
    reciprocal_rank: float


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over queries with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def measure(ranked: Sequence[str], relevant: Collection[str], *, k: int = 10) -> Measured:
    """Judge one answer, best id first, binary relevance."""
    hits = [place for place, each in enumerate(ranked) if each in relevant]
    gain = sum(1 / math.log2(place + 2) for place in hits if place < k)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(relevant))))
    recall = sum(place < k for place in hits) / len(relevant)
    return Measured(recall, gain / ideal, 1 / (hits[0] + 1) if hits else 0.0)


def mean(results: Sequence[Measured], figure: Callable[[Measured], float]) -> Mean:
    """The mean of one figure; the same results always give the same interval."""
    values = np.array([figure(result) for result in results])
    chosen = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[chosen].mean(axis=1), [0.025, 0.975])
    return Mean(float(values.mean()), float(low), float(high))
