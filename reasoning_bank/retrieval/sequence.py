"""Memories that have an order: what stands beside a hit in its session is likely relevant too.

Measured on dialogue (answers follow questions, topics last for some turns); never across sessions or workspaces.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.retrieval.fusion import Scores
from reasoning_bank.retrieval.postings import IntArray

NEIGHBOUR_VECTOR = 0.35
"""Share of each neighbour's vector in a memory's smoothed vector (.2-.5 measure the same)."""
ANSWER = 0.95
"""What of a question's score its answer inherits (.9-1 measure the same)."""
NEIGHBOUR = 0.6
"""What of a neighbour's score any other memory inherits; a question of its answer's too."""
SECOND_NEIGHBOUR = 0.5
SESSION = 0.3
"""Weight of the mean of a session's best three scores, added to each of its memories (.2-.5 measure the same)."""
_SESSION_BEST = 3


@dataclass(frozen=True, slots=True)
class Order:
    """Who stands beside whom.

    Attributes:
        before, after: (n,) row of the neighbour one position away in the same session, -1 for none.
        rows: (m,) rows that belong to a session, grouped by session.
        starts: (s,) where each session begins in `rows`.
        session: (m,) number of the session of each of `rows`, by its place in `starts`.
    """

    before: IntArray
    after: IntArray
    rows: IntArray
    starts: IntArray
    session: IntArray


def find_order(sessions: IntArray, positions: NDArray[np.float64], live: NDArray[np.bool_]) -> Order:
    """The order of live memories.

    Args:
        sessions: (n,) number of the session, -1 for none.
        positions: (n,) place in the session, nan where unknown.
        live: (n,) False for forgotten rows, which are nobody's neighbours.
    """
    before, after = np.full(len(sessions), -1, np.int64), np.full(len(sessions), -1, np.int64)
    # Rows of unknown position come last in their session: they share its score and are nobody's neighbours.
    rows = np.flatnonzero(live & (sessions >= 0))
    rows = rows[np.lexsort((positions[rows], sessions[rows]))]
    group, place = sessions[rows], positions[rows]
    adjacent = np.flatnonzero((group[1:] == group[:-1]) & (place[1:] == place[:-1] + 1))
    after[rows[adjacent]] = rows[adjacent + 1]
    before[rows[adjacent + 1]] = rows[adjacent]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = group[1:] != group[:-1]
    return Order(
        before,
        after,
        rows,
        starts=np.flatnonzero(is_first).astype(np.int64),
        session=np.cumsum(is_first) - 1,
    )


def extended(order: Order, count: int) -> Order:
    """The same order among `count` more rows that have no place in a session."""
    nobody = np.full(count, -1, np.int64)
    return replace(order, before=np.append(order.before, nobody), after=np.append(order.after, nobody))


def smoothed(dense: Scores, order: Order, norms: NDArray[np.float32]) -> Scores:
    """Cosines against vectors smoothed by their neighbours: the same as normalising x + .35 (before + after).

    Args:
        dense: (n,) products of query and vectors, nan where a memory has none yet.
        order: who stands beside whom.
        norms: (n,) length of each smoothed vector (`smoothed_norms`).
    """
    rows = order.rows
    if not len(rows):
        return dense
    padded = np.append(np.where(np.isnan(dense), 0.0, dense), 0.0)
    beside = padded[order.before[rows]] + padded[order.after[rows]]
    result = dense.copy()
    # A memory without a vector stays unknown: nan plus anything is nan.
    result[rows] = (dense[rows] + NEIGHBOUR_VECTOR * beside) / norms[rows]
    return result


def smoothed_norms(vectors: NDArray[np.float32], before: NDArray[np.float32], after: NDArray[np.float32]) -> Scores:
    """(m,) lengths of x + .35 (before + after); at least 1e-6.

    Args:
        vectors: (m, dim) the vector of each memory.
        before: (m, dim) the vector of the memory before it, zeros where there is none.
        after: (m, dim) the vector of the memory after it, zeros where there is none.
    """
    sums = vectors + NEIGHBOUR_VECTOR * (before + after)
    return np.maximum(np.sqrt(np.einsum("ij,ij->i", sums, sums, dtype=np.float64)), 1e-6)


def lifted_by_neighbours(scores: Scores, order: Order, asks: NDArray[np.bool_]) -> Scores:
    """Each score raised to its share of its neighbours' scores.

    Args:
        scores: (n,) fused scores, -inf for rows that are no candidates.
        order: who stands beside whom.
        asks: (n,) whether a row's text asks something.
    """
    rows = order.rows
    if not len(rows):
        return scores
    padded = np.append(scores, -np.inf)
    asks = np.append(asks, False)
    before, after = order.before[rows], order.after[rows]
    before_2 = np.append(order.before, -1)[before]
    after_2 = np.append(order.after, -1)[after]
    lifted = np.maximum.reduce(
        [
            scores[rows],
            np.where(asks[before], ANSWER, NEIGHBOUR) * padded[before],
            NEIGHBOUR * padded[after],
            SECOND_NEIGHBOUR * padded[before_2],
            SECOND_NEIGHBOUR * padded[after_2],
        ]
    )
    lifted[scores[rows] == -np.inf] = -np.inf
    result = scores.copy()
    result[rows] = lifted
    return result


def lifted_by_session(scores: Scores, order: Order) -> Scores:
    """Each score raised by the best of its session; -inf stays."""
    rows = order.rows
    if not len(rows):
        return scores
    result = scores.copy()
    result[rows] += SESSION * _session_best(scores[rows], order)
    return result


def around(order: Order, rows: IntArray) -> Order:
    """The order of the sessions that any of `rows` belongs to; the others are left out."""
    chosen = np.zeros(len(order.before), np.bool_)
    chosen[rows] = True
    if not len(order.rows):
        return order
    touched = np.logical_or.reduceat(chosen[order.rows], order.starts)
    kept = touched[order.session]
    session = (np.cumsum(touched) - 1)[order.session[kept]]
    return replace(order, rows=order.rows[kept], session=session, starts=np.flatnonzero(np.diff(session, prepend=-1)))


def _session_best(scores: Scores, order: Order) -> Scores:
    """(m,) mean of the three best scores of each row's session; 0 in a session of no more than three.

    Such a session says nothing that its memories do not say themselves, and must not outrank memories without one.
    """
    rest, places = scores.copy(), np.arange(len(scores))
    total, counted = np.zeros(len(order.starts)), np.zeros(len(order.starts))
    for _ in range(_SESSION_BEST):
        best = np.maximum.reduceat(rest, order.starts)
        usable = best > -np.inf
        total[usable] += best[usable]
        counted += usable
        # Equal scores count one at a time: only the first of each session is taken out.
        at_best = np.where(rest == best[order.session], places, len(scores))
        rest[np.minimum.reduceat(at_best, order.starts)] = -np.inf
    sizes = np.diff(np.append(order.starts, len(scores)))
    return np.where(sizes > _SESSION_BEST, total / np.maximum(counted, 1), 0.0)[order.session]
