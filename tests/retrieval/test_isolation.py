"""No search answers with a memory of another workspace, whatever is asked, cached and written at the same time."""

from pathlib import Path

from reasoning_bank.embeddings.embedder import Embedder
from tests.benchmarks.isolation import measure

SEARCHES = 1_000


async def test_a_thousand_searches_of_twenty_workspaces_bring_nothing_foreign(
    hashing: Embedder, tmp_path: Path
) -> None:
    tally = await measure(tmp_path / "bank" / "bank.db", hashing, SEARCHES, seed=7)
    assert tally.foreign == []
    assert tally.searches == SEARCHES
    # Were nothing found, cached or written, the first line would say nothing.
    assert tally.returned > SEARCHES
    assert tally.cached > SEARCHES / 20
    assert tally.writes > 0
