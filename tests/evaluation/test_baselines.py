"""Baselines that do what their books say."""

import math
from pathlib import Path

import numpy as np
import pytest

from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.evaluation.baselines import Bm25, bm25_figures, dense_figures
from reasoning_bank.evaluation.sets import Asked, EvaluationSet, Item
from reasoning_bank.evaluation.vectors import KeptVectors


def small_set() -> EvaluationSet:
    items = (
        Item("a", "one", "apples grow on trees"),
        Item("b", "one", "boats float on water"),
        Item("c", "two", "apples and boats"),
    )
    queries = (Asked("q", "one", "apples", "", frozenset({"a"})), Asked("r", "two", "apples", "", frozenset({"c"})))
    return EvaluationSet("small", "small@0", True, b"", items, queries)


def test_bm25_is_lucenes_form() -> None:
    index = Bm25(["red red wine", "white wine", "tea"])
    lengths, mean = (3, 2, 1), 2.0
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = [idf / (1 + 1.2 * (0.25 + 0.75 * length / mean)) for length in lengths[:2]] + [0.0]
    assert index.scores("wine") == pytest.approx(expected)
    assert index.scores("wine wine") == pytest.approx([2 * each for each in expected])
    assert not index.scores("coffee").any()


def test_baselines_search_the_workspace_asked() -> None:
    assert [figures["R@1"] for figures in bm25_figures(small_set())] == [1.0, 1.0]


def test_vectors_are_kept_and_embedded_once(hashing: Embedder, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = small_set()
    first = dense_figures(
        data, KeptVectors(hashing, tmp_path, progress=lambda done, total: seen.append((done, total))).encode
    )
    assert seen == [(3, 3), (1, 1)]
    again = KeptVectors(hashing, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert dense_figures(data, again.encode) == first
    assert len(seen) == 2
    assert np.allclose(again.encode(["apples"], "query"), hashing.encode(["apples"], "query"))
