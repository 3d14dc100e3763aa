"""Absolute relevance: a probability-like 0..1 that means the same on every bank. It never changes the order."""

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.retrieval.fusion import Scores

COVERAGE = 0.2
"""What holding all of a query's words adds to the cosine; the same for its identifiers."""
EVEN_ODDS = 0.37
"""Evidence at which a memory is as likely relevant as not: keeps 95 % of the relevant among the first three."""
STEEPNESS = 22.0
KEYWORD_EVEN_ODDS = 0.35
"""Share of the query's words that makes even odds for a memory judged by its words alone: as few false alarms (7 %)
as with a vector, at the price of a quarter of the relevant."""
KEYWORD_STEEPNESS = 8.0


def relevance(cosine: Scores, coverage: Scores, identifier_coverage: Scores) -> NDArray[np.float64]:
    """(k,) relevance, 0..1.

    Args:
        cosine: (k,) cosine of query and memory, nan where the memory has no vector yet or the query none.
        coverage: (k,) share of the query's word information the memory holds, 0..1.
        identifier_coverage: (k,) the same for identifiers.
    """
    evidence = cosine + COVERAGE * coverage + COVERAGE * identifier_coverage
    by_meaning = _logistic(STEEPNESS * (evidence - EVEN_ODDS))
    words = np.minimum(1.0, coverage + COVERAGE * identifier_coverage)
    by_words = _logistic(KEYWORD_STEEPNESS * (words - KEYWORD_EVEN_ODDS))
    return np.where(np.isnan(cosine), by_words, by_meaning)


def _logistic(values: Scores) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-values))
