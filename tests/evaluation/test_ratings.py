"""Ratings on real tasks, simulated: they find bad lessons and do no harm where all are good."""

from pathlib import Path

import pytest

from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.evaluation.metrics import means
from reasoning_bank.evaluation.sets import EvaluationSet, read_set
from tests.evaluation.ratings import World, simulate


@pytest.fixture(scope="module")
def tasks(eval_data: Path) -> EvaluationSet:
    """Tasks of which several share their lessons."""
    return read_set("webarena", eval_data / "webarena").limited(100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "least"),
    [
        pytest.param(World(bad=0.5, noise=0.2, rounds=4), 0.01, id="bad lessons sink"),
        pytest.param(World(bad=0.0, noise=0.2, rounds=2), -0.01, id="good lessons stay"),
    ],
)
async def test_ratings_by_others_help_where_lessons_are_bad_and_harm_nowhere(
    tasks: EvaluationSet, hashing: Embedder, tmp_path: Path, world: World, least: float
) -> None:
    before, after = await simulate(tasks, hashing, tmp_path, world=world)
    assert means(after)["nDCG@10"].value - means(before)["nDCG@10"].value >= least
