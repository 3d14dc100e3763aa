"""Figures are those of their definitions."""

import pytest

from reasoning_bank.evaluation.metrics import differences, interval, latency, means, measure


def test_measures_are_those_of_the_definition() -> None:
    result = measure(["x", "a", "y", "b"], {"a", "b", "c"}, depths=(1, 3, 10))
    assert (result["R@1"], result["R@3"], result["R@10"]) == pytest.approx((0, 1 / 3, 2 / 3))
    ideal = 1 + 1 / 1.584962500721156 + 0.5
    assert result["nDCG@10"] == pytest.approx((1 / 1.584962500721156 + 1 / 2.321928094887362) / ideal)
    assert result["MRR"] == 0.5
    assert set(measure([], {"a"}).values()) == {0.0}


def test_gain_beyond_the_tenth_place_counts_for_recall_only() -> None:
    result = measure([f"x{place}" for place in range(10)] + ["a"], {"a"})
    assert (result["R@10"], result["R@20"], result["nDCG@10"]) == (0, 1, 0)


def test_an_interval_holds_its_mean_and_is_repeatable() -> None:
    one = interval([1.0, 0.0, 1.0, 1.0])
    assert one.low <= one.value == 0.75 <= one.high
    assert one == interval([1.0, 0.0, 1.0, 1.0])
    assert means([{"a": 1.0}, {"a": 0.0}])["a"].value == 0.5


def test_a_change_is_paired_by_question() -> None:
    before, after = [{"R@10": 0.2}, {"R@10": 0.9}], [{"R@10": 0.3}, {"R@10": 1.0}]
    change = differences(before, after)["R@10"]
    assert (change.value, change.low, change.high) == pytest.approx((0.1, 0.1, 0.1))


def test_latency_of_nothing_is_unknown() -> None:
    assert latency([]) is None
    found = latency(range(101))
    assert found is not None
    assert (found.p50_ms, found.p95_ms) == (50, 95)
