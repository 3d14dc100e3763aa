"""Which units stay when not all can: the two ends of the prompt, or what the query asks for."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from reasoning_bank.compression.layout import Unit
from reasoning_bank.text.analyser import words

# BM25 (Robertson and Zaragoza 2009) over the units of one prompt.
_K1: Final = 1.2
_B: Final = 0.75
# A unit inherits half of the best score around it: what surrounds an answer is part of it.
_QUERY_READ: Final = 4_000
"""Characters of a query that are read: stemming a query of megabytes would take longer than all the rest."""
_NEIGHBOURHOOD: Final = 0.5
_REACH: Final = 3


def by_ends(costs: Sequence[int], *, budget: int, head_ratio: float) -> list[int]:
    """Return the positions from both ends that fit: the head's share first, the tail, then what is left to the head."""
    first = _while_fits(range(len(costs)), costs, int(budget * head_ratio))
    left = budget - sum(costs[:first])
    last = _while_fits(range(len(costs) - 1, first - 1, -1), costs, left)
    left -= sum(costs[len(costs) - last :])
    first += _while_fits(range(first, len(costs) - last), costs, left)
    return [*range(first), *range(len(costs) - last, len(costs))]


def by_order(costs: Sequence[int], order: Iterable[int], *, budget: int) -> list[int]:
    """Return the positions that fit, taken in the given order; what does not fit is skipped."""
    chosen: list[int] = []
    for position in order:
        if costs[position] <= budget:
            budget -= costs[position]
            chosen.append(position)
    return chosen


def query_order(text: str, units: Sequence[Unit], query: str) -> list[int]:
    """Return all positions, those of units that have to do with the query first, best first, ties in their order."""
    asked = Counter(words(query[:_QUERY_READ]))
    found = [Counter(term for term in words(text[unit.start : unit.end]) if term in asked) for unit in units]
    lengths = [unit.end - unit.start for unit in units]
    scores = _bm25(asked, found, lengths)
    around = [
        score + _NEIGHBOURHOOD * max(scores[max(at - _REACH, 0) : at + _REACH + 1]) for at, score in enumerate(scores)
    ]
    return sorted(range(len(units)), key=lambda at: (-around[at], at))


def _while_fits(positions: Iterable[int], costs: Sequence[int], budget: int) -> int:
    count = 0
    for position in positions:
        budget -= costs[position]
        if budget < 0:
            break
        count += 1
    return count


def _bm25(asked: Counter[str], found: Sequence[Counter[str]], lengths: Sequence[int]) -> list[float]:
    mean = sum(lengths) / max(len(lengths), 1)
    frequency = Counter(term for counts in found for term in counts)
    weights = {
        term: asked[term] * math.log(1 + (len(found) - count + 0.5) / (count + 0.5))
        for term, count in frequency.items()
    }
    return [
        sum(
            weights[term] * count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length / mean))
            for term, count in counts.items()
        )
        for counts, length in zip(found, lengths, strict=True)
    ]
