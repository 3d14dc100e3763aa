"""What an index reads from the truth."""

import numpy as np
import pytest

from reasoning_bank.storage.embeddings import StoredVector
from reasoning_bank.vectors import delta
from reasoning_bank.vectors.delta import composed, embedded_ids, read_delta, read_vectors
from reasoning_bank.vectors.exact import compose

from .conftest import MODEL, Bank, unit


def test_many_memories_are_composed_as_each_alone_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "MEMORIES_AT_ONCE", 7)
    rng = np.random.default_rng(3)
    rows: list[StoredVector] = []
    for number in range(30):
        for field, weight in [("text", 1.0), ("content", 0.4)][: 1 + number % 2]:
            vectors = unit(number, 1 + int(rng.integers(3)))
            rows += [
                StoredVector(f"m{number}", field, chunk, weight, vector.tobytes())
                for chunk, vector in enumerate(vectors)
            ]
    together = {each: vector for ids, block in composed(rows) for each, vector in zip(ids, block, strict=True)}
    assert list(together) == [f"m{number}" for number in range(30)]
    for each, vector in together.items():
        parts = ((row.field, row.weight, np.frombuffer(row.vector, "<f4")) for row in rows if row.id == each)
        np.testing.assert_allclose(vector, compose(parts), atol=1e-6)


async def test_a_delta_is_the_state_now_of_what_was_touched(bank: Bank) -> None:
    await bank.store(["a", "b", "c"], unit(1, 3))
    await bank.store(["pending"], None)
    await bank.forget(["b"])
    found = await bank.database.read(lambda c: read_delta(c, "w", MODEL, after=0, limit=100))
    assert sorted(each for each, _ in found.upserts) == ["a", "c"]
    assert sorted(found.deletes) == ["b", "pending"]
    assert found.complete
    nothing = await bank.database.read(lambda c: read_delta(c, "w", MODEL, after=found.seq, limit=100))
    assert (nothing.upserts, nothing.deletes, nothing.seq, nothing.complete) == ([], [], found.seq, True)


async def test_a_delta_can_be_read_in_pieces(bank: Bank) -> None:
    await bank.store(["a", "b", "c"], unit(1, 3))
    seen, after, complete = set[str](), 0, False
    while not complete:
        piece = await bank.database.read(lambda c, after=after: read_delta(c, "w", MODEL, after=after, limit=2))
        seen |= {each for each, _ in piece.upserts}
        after, complete = piece.seq, piece.complete
    assert seen == {"a", "b", "c"}


async def test_a_bank_without_vectors_gives_none(bank: Bank) -> None:
    await bank.store(["a"], None)
    ids, vectors = await bank.database.read(lambda c: read_vectors(c, "w", MODEL))
    assert (ids, vectors.shape) == ([], (0, 0))
    assert await bank.database.read(lambda c: embedded_ids(c, "w", MODEL)) == []
