"""A user's story from end to end: a slow bank, an alert, advice that names the cause, the setting, before and after."""

from pathlib import Path

import pytest

from tests.monitoring.story import SEARCHES, tell


@pytest.mark.slow
def test_a_slow_bank_says_why_and_its_report_shows_what_the_advice_was_worth(tmp_path: Path) -> None:
    story = tell(tmp_path)

    raised = {alert["metric"]: alert for alert in story.alerts}
    assert raised["cache.retrieval:hit_rate"]["level"] == "critical"
    assert raised["retrieve_memory:p95_ms"]["level"] in ("warning", "critical")
    assert any("cache-hit-rate" in check["detail"] for check in story.doctor)

    cause = story.advice["cache-too-small-retrieval"]
    assert (cause["setting"], cause["current"], cause["value"]) == ("cache.retrieval.size", 5, 10)
    assert cause["evidence"]["cache.retrieval:hit_rate"] < 0.5
    assert story.advice["slow-query-embedding"]["example"] == '[embeddings]\nbackend = "onnx"'
    assert story.advice["slow-query-embedding"]["evidence"]["embedding.query:mean_ms"] > 100

    assert story.sizes == [5, 10]
    assert story.asked[1] < story.asked[0], "the slow embedder is asked less often for the same questions"

    hits = story.changes["cache.retrieval:hit_rate"]
    assert hits["verdict"] == "better"
    assert hits["before"]["n"] >= 0.9 * SEARCHES
    assert {"retrieve_memory:mean_ms", "retrieve_memory:p95_ms"} <= story.changes.keys()
    assert "Before and after" in story.text
