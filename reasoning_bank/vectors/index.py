"""What a vector index promises, whatever stands behind it.

An index only supplies candidates: it may lag behind the truth, be owned by another process, or be lost. Its
answer says up to which change it is complete (`applied_seq`), and None means "ask the exact matrix instead".
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.records import Hit

Vector: TypeAlias = NDArray[np.float32]
"""(dim,) or (n, dim) float32."""

IndexStatus = Literal["closed", "waiting", "building", "ready", "unreachable", "bad"]
"""closed: not opened yet. waiting: another process owns it. building: being opened, verified or rebuilt.
ready: answers. unreachable: the server does not answer, tried again later. bad: damaged, a rebuild is due."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """What an index holds of one workspace.

    Attributes:
        applied_seq: every change of the workspace up to this one is in the index; 0 when empty.
        count: vectors in the index.
        digest: `ids_digest` of the ids in the index.
        model_id: model whose vectors these are; empty when nothing was indexed yet.
        generation: which build of the index answers.
    """

    status: IndexStatus
    applied_seq: int = 0
    count: int = 0
    digest: str = ""
    model_id: str = ""
    generation: str = ""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Nearest vectors, best first by cosine, complete up to `applied_seq`: later changes are the caller's to merge."""

    hits: tuple[Hit, ...]
    applied_seq: int
    model_id: str


class VectorIndex(Protocol):
    """Nearest vectors of one workspace; implementations: `ExactIndex`, `ChromaDBAdapter`."""

    async def apply(
        self, workspace: str, upserts: Sequence[tuple[str, Vector]], deletes: Sequence[str], *, seq: int
    ) -> None:
        """Bring the workspace to change `seq`; applying the same batch again changes nothing."""
        ...

    async def nearest(self, workspace: str, query: Vector, limit: int) -> Candidates | None:
        """Return up to `limit` nearest ids with their cosine in -1..1; None when the index cannot answer now."""
        ...

    async def state(self, workspace: str) -> IndexState:
        """Return what the index holds of the workspace; never raises because the index is down."""
        ...

    async def close(self) -> None:
        """Give everything back; closing twice is fine."""
        ...


def ids_digest(ids: Iterable[str]) -> str:
    """Return 16 hex digits that depend on the set of ids, not on their order (XOR of 64-bit BLAKE2b hashes).

    XOR is its own inverse, so adding or removing some ids is `merge_digests(digest, ids_digest(those))`.
    """
    total = 0
    for each in ids:
        total ^= int.from_bytes(hashlib.blake2b(each.encode(), digest_size=8).digest(), "big")
    return f"{total:016x}"


def merge_digests(left: str, right: str) -> str:
    """Return the digest after the ids of one side were added to, or removed from, the other; "" is no ids."""
    return f"{int(left or '0', 16) ^ int(right or '0', 16):016x}"
