from pathlib import Path

import pytest

from reasoning_bank.embeddings.embedder import Embedder
from tests.evaluation.metrics import mean, measure
from tests.evaluation.offline import evaluate
from tests.evaluation.sets import GATES, load


def test_measures_are_those_of_the_definition() -> None:
    result = measure(["x", "a", "y", "b"], {"a", "b", "c"}, k=3)
    assert result.recall == pytest.approx(1 / 3)
    assert result.ndcg == pytest.approx((1 / 1.584962500721156) / (1 + 1 / 1.584962500721156 + 0.5))
    assert result.reciprocal_rank == 0.5
    assert measure([], {"a"}).ndcg == 0.0


def test_an_interval_holds_its_mean_and_is_repeatable() -> None:
    results = [measure(["a"], {"a"}), measure(["b"], {"a"}), measure(["a"], {"a"})]
    one = mean(results, lambda result: result.recall)
    assert one.low <= one.value <= one.high
    assert one == mean(results, lambda result: result.recall)


@pytest.mark.slow
async def test_one_configuration_reaches_its_gate(eval_data: Path, minilm: Embedder, tmp_path: Path) -> None:
    """WebArena, because its texts are short; all sets: python -m tests.evaluation.offline DATA."""
    results, _ = await evaluate(load(eval_data, "webarena"), minilm, tmp_path / "bank")
    least_recall, least_ndcg = GATES["webarena"]
    assert mean(results, lambda result: result.recall).value >= least_recall
    assert mean(results, lambda result: result.ndcg).value >= least_ndcg
