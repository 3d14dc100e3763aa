"""One score from several: a weighted sum of z-scores, the weight read from the candidates.

Rank fusion throws the scores away and loses on every kind of data measured; min-max lets one outlier decide.
"""

import math

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.text.analyser import TOLD_ENOUGH

Scores = NDArray[np.float64]
Mask = NDArray[np.bool_] | None

PROSE_DENSE_WEIGHT = 0.55
"""Weight of meaning among prose: there the exact words tell nearly as much (.5-.6 measure the same)."""
CODE_DENSE_GAIN = 0.33
"""What meaning weighs more among code: a question in prose shares few words with the code that answers it."""
IDENTIFIER_WEIGHT = 0.5
"""Weight of names shared with the content, among code only: in prose they are chance."""
NAMES_ALONE_WEIGHT = 1.0
"""Weight of names where the query is nothing but names: whoever holds them comes before what holds their parts."""
PLACE_WEIGHT = 0.6
"""Weight of file paths in the content that a report speaks of, among code only (.4-1 measure the same)."""
ASKING = 2.0
"""What a memory that only asks loses, standard deviations (1.5-4 measure the same): a question is seldom an answer."""
TELLING = 1.0
"""What a memory that states next to nothing loses (.5-1 measure the same)."""
ROOMY = 100
"""Candidates from which a standard deviation is what it is in a large bank."""
FULL_CODE_SHARE = 0.1
"""Mean share of code punctuation from which candidates count as code: prose has .015, Python .12."""
FIXED_DEGREE = 0.45
"""Degree where it is not to be read from the candidates: meaning weighs .7, the best fixed weight measured."""
_LOOKED_AT = 10
_BLOCKS_EACH = 8


def z_scores(values: Scores, among: Mask) -> Scores:
    """Values as standard deviations above their mean among the candidates; all 0 when they do not differ.

    Args:
        values: (n,) scores; nan where unknown (a memory not yet embedded), which becomes 0: neither for nor against.
        among: (n,) True for candidates, None for all. Others get numbers that mean nothing.
    """
    unknown = np.isnan(values)
    anything_unknown = bool(unknown.any())
    chosen = values if among is None else values[among]
    if anything_unknown:
        chosen = chosen[~np.isnan(chosen)]
    if not len(chosen):
        return np.zeros_like(values)
    mean = float(chosen.mean())
    result = values - mean
    centred = result if chosen is values else chosen - mean
    spread = float(np.sqrt(centred @ centred / len(centred)))
    # Rounding alone makes equal scores differ by some 1e-16 of their size; that is no evidence.
    if spread <= 1e-9 * max(1.0, abs(mean)):
        return np.zeros_like(values)
    result /= spread
    if anything_unknown:
        result[unknown] = 0.0
    return result


def code_degree(dense: Scores, lexical: Scores, code_share: NDArray[np.float32]) -> float:
    """How much the likely answers are code, 0..1: read around the query, so that kinds may mix in one bank.

    Args:
        dense: (n,) cosines of the candidates, nan where unknown.
        lexical: (n,) BM25 of the candidates.
        code_share: (n,) share of code punctuation in each candidate's text.
    """
    by_meaning = best_rows(np.where(np.isnan(dense), -np.inf, dense), _LOOKED_AT)
    by_words = best_rows(np.where(lexical > 0, lexical, -np.inf), _LOOKED_AT)
    best = np.union1d(by_meaning, by_words)
    return min(1.0, float(code_share[best].mean()) / FULL_CODE_SHARE) if len(best) else 0.0


def fuse(
    dense: Scores,
    lexical: Scores,
    identifiers: Scores,
    places: Scores,
    *,
    degree: float,
    names_alone: bool = False,
) -> Scores:
    """One score per candidate: no absolute meaning, only order. Without lexical matches the dense order stays as it is.

    Args:
        dense: (n,) z-scores of cosines.
        lexical: (n,) z-scores of BM25 of words and pairs.
        identifiers: (n,) z-scores of BM25 of names in the content.
        places: (n,) BM25 of the words of file paths in the content, in standard deviations of the BM25 of words: few
            memories have paths, and their own deviation would make one chance match outweigh all else.
        degree: how much the likely answers are code (`code_degree`).
        names_alone: whether the query is nothing but names.
    """
    weight = PROSE_DENSE_WEIGHT + CODE_DENSE_GAIN * degree
    fused = weight * dense
    fused += (1 - weight) * lexical
    fused += (NAMES_ALONE_WEIGHT if names_alone else IDENTIFIER_WEIGHT * degree) * identifiers
    fused += PLACE_WEIGHT * degree * places
    return fused


def room(candidates: int) -> float:
    """How much of a boost or loss in standard deviations counts among so many candidates, 0..1.

    No z-score of n values is above the square root of n - 1 (Samuelson 1968): among five memories what is worth two
    standard deviations elsewhere would outweigh all else.
    """
    return min(1.0, math.sqrt(max(candidates - 1, 0) / ROOMY))


def silence(
    asking: NDArray[np.float32], told: NDArray[np.float32], code_share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(n,) standard deviations a memory loses because it answers little; code is no less of an answer for that.

    Args:
        asking: (n,) share of each text that only asks, 0..1.
        told: (n,) words of what each states, up to `TOLD_ENOUGH`.
        code_share: (n,) share of code punctuation in each text.
    """
    prose = 1 - np.minimum(1.0, code_share / FULL_CODE_SHARE)
    return (prose * (ASKING * asking + TELLING * (1 - told / TOLD_ENOUGH))).astype(np.float32)


def best_rows(scores: Scores, limit: int) -> NDArray[np.intp]:
    """Rows of the `limit` highest scores, in no order, and all that are as good as the last of them; never -inf."""
    # Taken out first: a selection among many equal values is slow.
    usable = np.flatnonzero(scores > -np.inf)
    if limit >= len(usable):
        return usable
    values = scores if len(usable) == len(scores) else scores[usable]
    if limit == 1:
        return usable[values == values.max()]
    block = len(values) // (_BLOCKS_EACH * limit)
    if block > 1:
        # As many blocks have a best that is no worse than this, so what is worse cannot be among the best of all.
        bests = np.maximum.reduceat(values, np.arange(0, len(values), block))
        kept = np.flatnonzero(values >= _least(bests, limit))
        usable, values = usable[kept], values[kept]
    return usable[values >= _least(values, limit)]


def _least(values: Scores, limit: int) -> float:
    """The lowest of the `limit` highest."""
    # partition runs on vector instructions, argpartition does not: ten times faster at 100,000 rows.
    return float(np.partition(values, len(values) - limit)[len(values) - limit])
