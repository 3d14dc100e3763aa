"""The short version of `python -m tests.evaluation.stream`: planted lessons of every kind, through a real bank."""

from pathlib import Path

import pytest

from reasoning_bank.settings import Settings
from tests.evaluation.planting import KINDS, stream
from tests.evaluation.stream import stream_settings, streamed

EACH = 12


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    """A bank of its own that needs no model."""
    return stream_settings(data_dir, embedder="hashing")


def test_every_planted_lesson_is_another_one() -> None:
    planted = list(stream(210))
    assert len(set(planted)) == len(planted) == 210 * len(KINDS)
    # However alike the templates: a good lesson is said once.
    contents = [each.content for each in planted if each.kind == "good"]
    assert len(set(contents)) == len(contents)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_good_lessons_stay_and_what_is_planted_among_them_does_not(settings: Settings) -> None:
    report = await streamed(settings, each=EACH)
    fates = report.fates
    assert fates["good"]["kept"] + fates["good"]["disputed"] == EACH, "no good lesson is taken for another"
    assert fates["junk"]["rejected"] >= 0.8 * EACH
    assert fates["echo"]["rejected"] + fates["echo"]["merged"] == EACH
    assert fates["duplicate"]["merged"] == EACH
    assert fates["contradiction"]["disputed"] + fates["contradiction"]["overruled"] >= EACH / 2
    assert fates["injection"]["quarantined"] >= EACH / 3
    assert report.defended.found == 1.0
    bad = ("junk", "injection")
    defended, undefended = (sum(each.shares[kind] for kind in bad) for each in (report.defended, report.undefended))
    assert defended < 0.75 * undefended
