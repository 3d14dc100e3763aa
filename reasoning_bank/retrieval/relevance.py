"""Absolute relevance: a probability-like 0..1 that means the same on every bank. It never changes the order.

Three things decide: what the memory itself shares with the query, whether the bank knows the subject at all, and how
many memories there were to be alike by chance. Chosen so that the floor of .5 keeps 95 % of the relevant among the
first three, on banks of 1 to 5,000 memories; constants are those of all-MiniLM-L6-v2 and hold for its cosines.
"""

import math

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.retrieval.fusion import Scores

PAIRS = 2.0
"""What pairs of words, and names, count beside single words: chance shares words, seldom neighbours."""
WORDS = 0.2
"""What shared words add to a cosine."""
AHEAD = 0.2
"""How far a memory may be lifted above its own evidence where the bank's best shows that it knows the subject."""
CHANCE = 0.07
"""The largest of n chance cosines grows by the square root of ln n; their standard deviation is about .05."""
LEADERS = 10
"""Best memories whose shared words tell whether the bank knows the subject."""
EVEN_ODDS = 0.375
STEEPNESS = 25.0
# The same for memories, or queries, without a vector, in shared words alone.
_WORDS_AHEAD = 0.35
_WORDS_CHANCE = 0.1
_WORDS_EVEN_ODDS = 0.14
_WORDS_STEEPNESS = 11.0


def shared_words(words: Scores, pairs: Scores, names: Scores) -> Scores:
    """(m,) evidence in words: 0 for nothing, 1 for all words, 5 for all words, pairs and names.

    Args:
        words: (m,) share of the query's word information that each memory holds, 0..1.
        pairs: (m,) the same for pairs of neighbouring words.
        names: (m,) the same for identifiers.
    """
    # Squared: chance shares a third of the words, who says them all means it. Rooted: a long report names so much
    # that even its cause holds a small share.
    return words**2 + PAIRS * (pairs + np.sqrt(names))


def relevance(cosines: Scores, words: Scores, *, best: float, candidates: int) -> NDArray[np.float64]:
    """(m,) relevance, 0..1.

    Args:
        cosines: (m,) cosine of the query with each of the best memories, best first; nan where one has no vector yet.
        words: (m,) their evidence in words (`shared_words`).
        best: the highest cosine among all candidates, nan when there is none.
        candidates: how many there are.
    """
    if not len(words):
        return np.empty(0, np.float64)
    chance = math.sqrt(math.log(max(candidates, 1)))
    # Not of the very first alone: a date can put one there that shares no word.
    first = float(words[:LEADERS].max())
    evidence = np.minimum(cosines + WORDS * words + AHEAD, best + WORDS * first) - CHANCE * chance
    in_words = np.minimum(words + _WORDS_AHEAD, first) - _WORDS_CHANCE * chance
    by_words = np.where(words > 0, _logistic(_WORDS_STEEPNESS * (in_words - _WORDS_EVEN_ODDS)), 0.0)
    return np.where(np.isnan(cosines), by_words, _logistic(STEEPNESS * (evidence - EVEN_ODDS)))


def _logistic(values: Scores) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-values))
