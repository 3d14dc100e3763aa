"""What distilling costs retrieval, on real tasks: the short version of `python -m tests.evaluation.distillation`."""

from pathlib import Path

import pytest

from reasoning_bank.evaluation.sets import EvaluationSet, read_set
from reasoning_bank.settings import Settings
from tests.evaluation.distillation import distilled, settings_for


@pytest.fixture(scope="module")
def tasks(eval_data: Path) -> EvaluationSet:
    """Tasks of which a third came without a run."""
    return read_set("webarena", eval_data / "webarena").limited(60)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path / "bank", backend="hashing")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scripted", [False, True], ids=["by rules", "by a scripted model"])
async def test_distilled_memories_are_found_nearly_as_well_as_raw_traces(
    tasks: EvaluationSet, settings: Settings, scripted: bool
) -> None:
    """With hashed words instead of a model, so a little looser than the three points that are asked for."""
    result = await distilled(tasks, settings, scripted=scripted)
    assert result.lost.value >= -0.04
    assert result.unsupported == []
    assert result.refused_share <= 0.05
    assert result.without == 0
