"""Stored vectors to the one vector of each memory, many at a time."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from reasoning_bank.retrieval.postings import FloatArray
from reasoning_bank.storage.embeddings import StoredVector

_AT_ONCE = 4096


def composed(stored: Iterable[StoredVector], dim: int) -> Iterator[tuple[list[str], FloatArray]]:
    """Blocks of (ids, (m, dim) float32 vectors): what `vectors.exact.compose` gives for each memory, without its loop.

    Args:
        stored: rows of a memory together, by field and chunk.
        dim: numbers per vector.
    """
    rows = iter(stored)
    held: list[StoredVector] = []
    while some := list(islice(rows, _AT_ONCE)):
        held += some
        # The last memory may go on in the next block.
        last = len(held) - 1
        while last > 0 and held[last - 1].id == held[last].id:
            last -= 1
        if last:
            yield _block(held[:last], dim)
            held = held[last:]
    if held:
        yield _block(held, dim)


def _block(rows: Sequence[StoredVector], dim: int) -> tuple[list[str], FloatArray]:
    ids = [row.id for row in rows]
    is_first = np.array([True, *(mine != before for mine, before in zip(ids[1:], ids, strict=False))])
    fields = [row.field for row in rows]
    is_field = is_first | np.array([True, *(mine != before for mine, before in zip(fields[1:], fields, strict=False))])
    field = np.cumsum(is_field) - 1
    # A field counts by its weight however many chunks it has.
    weights = np.array([row.weight for row in rows]) / np.bincount(field)[field]
    starts = np.flatnonzero(is_first)
    shares = weights / np.add.reduceat(weights, starts)[np.cumsum(is_first) - 1]
    vectors = np.frombuffer(b"".join([row.vector for row in rows]), dtype="<f4").reshape(len(rows), dim)
    sums = np.add.reduceat(vectors * shares[:, None].astype(np.float32), starts)
    return [ids[start] for start in starts.tolist()], sums
