"""What is measured of one answer, and means over questions with their intervals."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
"""Bootstrap resamples over the questions; the interval's own noise is then below a tenth of its width."""
DEPTHS = (1, 5, 10, 20)
"""Default depths of recall."""
NDCG_DEPTH = 10

Figures = Mapping[str, float]
"""Figures of one question by name: "R@10", "nDCG@10", "MRR" …; each 0..1."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over questions with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Median and 95th percentile (milliseconds)."""

    p50_ms: float
    p95_ms: float


def measure(ranked: Sequence[str], relevant: Collection[str], *, depths: Sequence[int] = DEPTHS) -> dict[str, float]:
    """Judge one answer, best id first, binary relevance.

    R@k is the plain share of the relevant ids among the first k. nDCG@10 is the discounted gain 1 / log2(place + 1)
    over that of the ideal order of min(10, relevant) ids (Järvelin & Kekäläinen 2002). MRR is 1 over the place of the
    first relevant id, 0 when the answer has none.
    """
    hits = [place for place, each in enumerate(ranked) if each in relevant]
    figures = {f"R@{depth}": sum(place < depth for place in hits) / len(relevant) for depth in depths}
    gain = sum(1 / math.log2(place + 2) for place in hits if place < NDCG_DEPTH)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(NDCG_DEPTH, len(relevant))))
    return {**figures, f"nDCG@{NDCG_DEPTH}": gain / ideal, "MRR": 1 / (hits[0] + 1) if hits else 0.0}


def means(rows: Sequence[Figures]) -> dict[str, Interval]:
    """The mean of each figure over the questions; the same rows always give the same intervals."""
    names = list(rows[0]) if rows else []
    return {name: interval([row[name] for row in rows]) for name in names}


def interval(values: Sequence[float]) -> Interval:
    """The mean of (n,) values, n at least 1, with its percentile bootstrap interval (Efron 1979), seeded."""
    array = np.array(values, dtype=np.float64)
    rng = np.random.default_rng(0)
    # One resample at a time: a table of all would take 8 MB per 1,000 questions.
    resampled = [array[rng.integers(0, len(array), len(array))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(round(float(array.mean()), 4), round(float(low), 4), round(float(high), 4))


def differences(before: Sequence[Figures], after: Sequence[Figures]) -> dict[str, Interval]:
    """Mean of after minus before per figure, paired by question: its interval tells whether they differ."""
    return means([{name: new[name] - old[name] for name in old} for old, new in zip(before, after, strict=True)])


def latency(milliseconds: Iterable[float]) -> Latency | None:
    """Median and 95th percentile; None without any."""
    values = np.fromiter(milliseconds, dtype=np.float64)
    if not len(values):
        return None
    return Latency(round(float(np.quantile(values, 0.5)), 2), round(float(np.quantile(values, 0.95)), 2))
