"""What plain search would do on the same rows: BM25 alone, and an embedder's cosine alone.

Deliberately nothing of `retrieval/`: a baseline that shared its code would share its faults.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.evaluation.metrics import DEPTHS, measure
from reasoning_bank.evaluation.sets import EvaluationSet
from reasoning_bank.text.analyser import words

K1 = 1.2
B = 0.75
"""Lucene's defaults (Robertson & Zaragoza 2009)."""

Scores = NDArray[np.float64]
Encode = Callable[[Sequence[str], Literal["query", "document"]], NDArray[np.float32]]
"""(n, dim) float32 unit rows of n texts."""


class Bm25:
    """BM25 in Lucene's form over Snowball stems, statistics over all texts it is given."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(words(text)) for text in texts]
        lengths = np.array([sum(count.values()) for count in counts], dtype=np.float64)
        self._size = len(texts)
        self._norms = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1.0))
        self._postings: dict[str, tuple[list[int], list[int]]] = {}
        for row, count in enumerate(counts):
            for term, frequency in count.items():
                rows, frequencies = self._postings.setdefault(term, ([], []))
                rows.append(row)
                frequencies.append(frequency)

    def scores(self, query: str) -> Scores:
        """(n,) the score of every text for a query; 0 where no word matches."""
        scores = np.zeros(self._size)
        for term, repeats in Counter(words(query)).items():
            if term in self._postings:
                rows, frequencies = (np.array(column) for column in self._postings[term])
                idf = math.log(1 + (self._size - len(rows) + 0.5) / (len(rows) + 0.5))
                scores[rows] += repeats * idf * frequencies / (frequencies + self._norms[rows])
        return scores


def bm25_figures(data: EvaluationSet, *, depths: Sequence[int] = DEPTHS) -> list[dict[str, float]]:
    """BM25's figures per question."""
    index = Bm25([item.text for item in data.items])
    return _figures(data, lambda place: index.scores(data.queries[place].text), depths)


def dense_figures(data: EvaluationSet, encode: Encode, *, depths: Sequence[int] = DEPTHS) -> list[dict[str, float]]:
    """The embedder's figures per question: cosine of whole question and whole text."""
    documents = encode([item.text for item in data.items], "document")
    queries = encode([asked.text for asked in data.queries], "query")
    return _figures(data, lambda place: (documents @ queries[place]).astype(np.float64), depths)


def _figures(data: EvaluationSet, score: Callable[[int], Scores], depths: Sequence[int]) -> list[dict[str, float]]:
    ids = [item.id for item in data.items]
    members = _members(data)
    rows: list[dict[str, float]] = []
    for place, asked in enumerate(data.queries):
        among = members[asked.space]
        scores = score(place)[among]
        # Stable: equal scores stay in file order.
        best: list[int] = among[np.argsort(-scores, kind="stable")[: max(depths)]].tolist()
        rows.append(measure([ids[row] for row in best], asked.relevant, depths=depths))
    return rows


def _members(data: EvaluationSet) -> Mapping[str, NDArray[np.int64]]:
    grouped: dict[str, list[int]] = {}
    for row, item in enumerate(data.items):
        grouped.setdefault(item.space, []).append(row)
    return {space: np.array(rows) for space, rows in grouped.items()}
