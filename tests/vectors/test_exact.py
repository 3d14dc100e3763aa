"""The exact matrix: every number equals the obvious computation over the live vectors."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_bank.vectors.exact import ExactIndex, VectorMatrix, compose
from reasoning_bank.vectors.index import Vector, ids_digest, merge_digests

DIM = 8


def unit(seed: int, count: int, dim: int = DIM) -> Vector:
    """Return seeded unit rows, (count, dim)."""
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def filled(count: int) -> tuple[VectorMatrix, Vector]:
    """Return a matrix of `count` vectors named "0", "1", ... and the vectors."""
    matrix, vectors = VectorMatrix(DIM), unit(1, count)
    matrix.upsert([str(each) for each in range(count)], vectors)
    return matrix, vectors


def test_scores_are_dot_products_in_row_order() -> None:
    matrix, vectors = filled(100)
    query = unit(2, 1)[0]
    np.testing.assert_allclose(matrix.scores(query), vectors @ query, rtol=1e-5)


def test_a_deleted_row_scores_nan_and_is_not_found() -> None:
    matrix, _ = filled(5)
    matrix.delete(["2", "unknown", "2"])
    assert np.flatnonzero(np.isnan(matrix.scores(unit(2, 1)[0]))).tolist() == [2]
    assert matrix.row_of("2") == -1
    assert matrix.rows_of(["1", "2", "x"]).tolist() == [1, -1, -1]
    assert len(matrix) == 4


def test_scores_of_chosen_rows_are_nan_where_there_is_no_row() -> None:
    matrix, vectors = filled(5)
    matrix.delete(["4"])
    query = unit(2, 1)[0]
    scores = matrix.view.scores(query, np.array([1, -1, 4]))
    np.testing.assert_allclose(scores[0], vectors[1] @ query, rtol=1e-5)
    assert np.isnan(scores[1:]).all()


def test_an_empty_matrix_answers_everything_with_nothing() -> None:
    matrix, query = VectorMatrix(DIM), unit(2, 1)[0]
    assert matrix.scores(query).shape == (0,)
    assert np.isnan(matrix.view.scores(query, matrix.rows_of(["a"]))).all()
    assert matrix.moments(query) == (0.0, 0.0)
    assert matrix.view.nearest(query, 3) == ()
    matrix.upsert([], np.empty((0, DIM), np.float32))
    assert len(matrix) == 0


def test_a_view_does_not_see_later_changes() -> None:
    matrix, vectors = filled(3)
    before = matrix.view
    matrix.upsert(["1", "new"], unit(9, 2))
    matrix.delete(["0"])
    assert before.rows_of(["0", "1", "new"]).tolist() == [0, 1, -1]
    np.testing.assert_array_equal(before.vectors(np.array([0, 1, 2])), vectors)
    assert matrix.rows_of(["0", "1", "new"]).tolist() == [-1, 3, 4]


def test_compacting_drops_dead_rows_and_keeps_every_score() -> None:
    matrix, _ = filled(10)
    matrix.upsert(["3"], unit(5, 1))
    matrix.delete(["0", "9"])
    query = unit(2, 1)[0]
    before = matrix.view.nearest(query, 20)
    matrix.compact()
    assert matrix.view.size == len(matrix) == 8
    assert matrix.view.nearest(query, 20) == before
    matrix.upsert(["after"], unit(6, 1))
    assert matrix.row_of("after") == 8


def test_the_last_vector_wins_when_an_id_comes_twice() -> None:
    matrix, two = VectorMatrix(DIM), unit(1, 2)
    matrix.upsert(["a", "a"], two)
    assert len(matrix) == 1
    np.testing.assert_array_equal(matrix.vectors(matrix.rows_of(["a"]))[0], two[1])


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        VectorMatrix(DIM).upsert(["a"], unit(1, 2))


def test_nearest_is_cosine_best_first_with_ties_by_id() -> None:
    matrix = VectorMatrix(2)
    rows = np.array([[3, 0], [0, 1], [1, 0], [1, 1], [2, 0]], np.float32)
    matrix.upsert(["c", "x", "a", "m", "b"], rows)
    hits = matrix.view.nearest(np.array([1, 0], np.float32), 2)
    assert [(hit.id, round(hit.score, 5)) for hit in hits] == [("a", 1.0), ("b", 1.0)]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["upsert", "delete", "compact"]), st.lists(st.integers(0, 12), max_size=5)),
        max_size=12,
    )
)
def test_any_history_leaves_what_a_dict_would_hold(steps: list[tuple[str, list[int]]]) -> None:
    matrix, model, query = VectorMatrix(DIM), dict[str, Vector](), unit(99, 1)[0]
    for number, (action, numbers) in enumerate(steps):
        ids = [str(each) for each in numbers]
        matrix.moments(query)  # from now on kept up to date by patching instead of summing again
        if action == "upsert":
            vectors = unit(number, len(ids))
            matrix.upsert(ids, vectors)
            model.update(zip(ids, vectors, strict=True))
        elif action == "delete":
            matrix.delete(ids)
            for each in ids:
                model.pop(each, None)
        else:
            matrix.compact()
    assert set(matrix.view.live_ids()) == set(model)
    expected = np.array([vector @ query for vector in model.values()])
    np.testing.assert_allclose(matrix.scores(query)[matrix.rows_of(list(model))], expected, rtol=1e-4, atol=1e-6)
    mean, deviation = matrix.moments(query)
    wanted = (expected.mean(), expected.std()) if model else (0.0, 0.0)
    np.testing.assert_allclose((mean, deviation), wanted, atol=1e-3)


def test_a_score_does_not_depend_on_where_the_vector_lies() -> None:
    vectors, query = unit(1, 500, dim=384), unit(2, 1, dim=384)[0]
    one, other, turned = VectorMatrix(384), VectorMatrix(384), np.random.default_rng(3).permutation(500)
    one.upsert([str(each) for each in range(500)], vectors)
    other.upsert([str(each) for each in turned], vectors[turned])
    np.testing.assert_array_equal(one.scores(query)[turned], other.scores(query))
    np.testing.assert_array_equal(one.view.scores(query, turned), other.scores(query))


def test_equal_vectors_have_no_spread() -> None:
    matrix = VectorMatrix(DIM)
    matrix.upsert(list("abc"), np.repeat(unit(4, 1), 3, axis=0))
    assert matrix.moments(unit(5, 1)[0])[1] == 0.0


def test_readers_during_patching_only_see_whole_states() -> None:
    matrix = VectorMatrix(DIM)
    ones = np.ones((4, DIM), np.float32)
    matrix.upsert(list("abcd"), ones)
    stop = threading.Event()
    torn: list[Vector] = []

    def read() -> None:
        while not stop.is_set():
            view = matrix.view
            scores = view.scores(ones[0], view.rows_of(list("abcd")))
            if len(np.unique(scores)) != 1:
                torn.append(scores)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(300):
        matrix.upsert(list("abcd"), ones * number)
    stop.set()
    for reader in readers:
        reader.join(5)
    assert torn == []


def test_composition_weighs_fields_and_averages_their_chunks() -> None:
    text, first, second = unit(1, 3)
    composed = compose([("text", 1.0, text), ("content", 0.5, first), ("content", 0.5, second)])
    np.testing.assert_allclose(composed, (text + 0.5 * (first + second) / 2) / 1.5, rtol=1e-5)
    assert composed.dtype == np.float32
    with pytest.raises(ValueError, match="no vector"):
        compose([])


def test_a_digest_follows_the_set_of_ids() -> None:
    assert ids_digest(["a", "b"]) == ids_digest(["b", "a"]) != ids_digest(["a"])
    assert merge_digests(ids_digest(["a", "b"]), ids_digest(["b"])) == ids_digest(["a"])
    assert merge_digests("", ids_digest(["a"])) == ids_digest(["a"])


async def test_workspaces_of_an_exact_index_do_not_meet() -> None:
    index, vectors = ExactIndex(model_id="m", dim=DIM), unit(1, 2)
    await index.apply("mine", [("a", vectors[0])], [], seq=3)
    await index.apply("yours", [("b", vectors[1])], [], seq=4)
    found = await index.nearest("mine", vectors[0], 5)
    assert found is not None
    assert [hit.id for hit in found.hits] == ["a"]
    assert (await index.state("mine")).applied_seq == 3
