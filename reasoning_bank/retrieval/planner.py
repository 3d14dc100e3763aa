"""Which way the vectors of a search are found: all compared, or an index asked first."""

from typing import Literal

Search = Literal["auto", "chroma", "exact"]

EXACT_LIMIT = 50_000
"""Candidates up to which comparing all is faster than asking an index and scoring what it names."""
LEAST_CANDIDATES = 200
"""Neighbours an index is asked for: what fusion, floors and forgotten items take away must still leave enough."""


def asks_index(search: Search, *, filtered: bool, memories: int, exact_limit: int = EXACT_LIMIT) -> bool:
    """Whether the index should name candidates.

    Filtered searches never ask: an index of 100,000 took 53 ms for a filter that a mask answers in 0.1 ms.

    Args:
        search: the user's setting; "chroma" asks whatever the size, so that the chosen store can be seen at work.
        filtered: whether anything but the workspace limits the candidates.
        memories: how many the workspace has.
        exact_limit: above so many memories "auto" asks.
    """
    if search == "exact" or filtered:
        return False
    return search == "chroma" or memories > exact_limit


def candidates_wanted(k: int) -> int:
    """How many neighbours to ask an index for."""
    return max(LEAST_CANDIDATES, 4 * k)
