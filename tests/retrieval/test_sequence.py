import numpy as np
import pytest

from reasoning_bank.retrieval.fusion import Scores
from reasoning_bank.retrieval.sequence import (
    ANSWER,
    NEIGHBOUR,
    SECOND_NEIGHBOUR,
    SESSION,
    Order,
    around,
    find_order,
    lifted_by_neighbours,
    lifted_by_session,
    smoothed,
    smoothed_norms,
)


def order_of(*places: tuple[int, float], live: list[bool] | None = None) -> Order:
    sessions = np.array([session for session, _ in places], np.int64)
    positions = np.array([position for _, position in places], np.float64)
    return find_order(sessions, positions, np.array(live or [True] * len(places), np.bool_))


def shared(scores: list[float], order: Order, asks: list[bool] | None = None) -> list[float]:
    lifted = lifted_by_neighbours(np.array(scores, np.float64), order, np.array(asks or [False] * len(scores)))
    return lifted_by_session(lifted, order).tolist()


def test_neighbours_are_one_position_apart_in_the_same_session() -> None:
    order = order_of((0, 1), (0, 0), (1, 1), (0, 3), (-1, 2), (0, np.nan))
    assert order.after.tolist() == [-1, 0, -1, -1, -1, -1]
    assert order.before.tolist() == [1, -1, -1, -1, -1, -1]


def test_a_forgotten_memory_is_nobodys_neighbour() -> None:
    order = order_of((0, 0), (0, 1), (0, 2), live=[True, False, True])
    assert order.after.tolist() == [-1, -1, -1]


def test_an_answer_inherits_more_from_its_question_than_a_turn_from_a_turn() -> None:
    order = order_of((0, 0), (0, 1))
    assert shared([10, 0], order, [True, False]) == [10, 10 * ANSWER]
    assert shared([10, 0], order, [False, True]) == [10, 10 * NEIGHBOUR]
    assert shared([0, 10], order, [True, False]) == [10 * NEIGHBOUR, 10]


def test_two_turns_away_still_counts_and_sessions_do_not_mix() -> None:
    order = order_of((0, 0), (0, 1), (0, 2), (1, 3))
    assert shared([10, 0, 0, 0], order) == [10, 10 * NEIGHBOUR, 10 * SECOND_NEIGHBOUR, 0]


def test_a_session_is_lifted_by_its_best_three() -> None:
    order = order_of((0, 0), (0, 10), (0, 20), (0, 30), (1, 0))
    assert shared([6, 3, 3, 0, 5], order) == pytest.approx(
        [6 + SESSION * 4, 3 + SESSION * 4, 3 + SESSION * 4, SESSION * 4, 5]
    )


def test_a_session_of_three_gains_nothing_over_memories_without_one() -> None:
    order = order_of((0, 0), (0, 10), (0, 20), (-1, 0))
    assert shared([6, 5, 4, 6], order) == [6, 5, 4, 6]


def test_what_is_no_candidate_stays_out() -> None:
    order = order_of((0, 0), (0, 1), (0, 2), (0, 3))
    assert shared([10, -np.inf, 0, 0], order)[1] == -np.inf


def test_a_smoothed_cosine_is_that_of_the_smoothed_vector() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 8)).astype(np.float32)
    query = rng.normal(size=8).astype(np.float32)
    order = order_of((0, 0), (0, 1), (0, 2))
    zero = np.zeros((1, 8), np.float32)
    norms = smoothed_norms(vectors, np.vstack([zero, vectors[:2]]), np.vstack([vectors[1:], zero])).astype(np.float32)
    sums = vectors + 0.35 * (np.vstack([zero, vectors[:2]]) + np.vstack([vectors[1:], zero]))
    expected: Scores = (sums / np.linalg.norm(sums, axis=1, keepdims=True)) @ query
    assert smoothed((vectors @ query).astype(np.float64), order, norms) == pytest.approx(expected, abs=1e-5)


def test_a_memory_without_a_vector_stays_unknown_and_adds_nothing_to_its_neighbours() -> None:
    order = order_of((0, 0), (0, 1))
    result = smoothed(np.array([0.5, np.nan]), order, np.ones(2, np.float32))
    assert result[0] == 0.5
    assert np.isnan(result[1])


def test_looking_around_some_rows_keeps_whole_sessions() -> None:
    order = order_of((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0))
    near = around(order, np.array([3, 6]))
    assert near.rows.tolist() == [2, 3, 4, 5, 6]
    scores, asks = [9.0, 8, 7, 6, 5, 4, 3], [False] * 7
    assert shared(scores, near, asks)[2:] == shared(scores, order, asks)[2:]
