"""Which memories of a workspace resemble some others in what they advise: read from the truth, in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from reasoning_bank.learning.similarity import NEAR
from reasoning_bank.storage import embeddings
from reasoning_bank.storage.embeddings import StoredVector

MOST: Final = 200
"""Neighbours looked at closely: lessons that differ in a number alone come before those that are reworded, and a
workspace may have many of them."""
_AT_ONCE = 2_000

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A memory that resembles another.

    Attributes:
        advice: cosine of what both advise.
        situation: cosine of what both are found by: title, description and task.
    """

    id: str
    advice: float
    situation: float


def neighbours(
    connection: Connection, workspace: str, model_id: str, ids: Sequence[str], *, floor: float = NEAR
) -> dict[str, list[Neighbour]]:
    """The searchable memories most like each of `ids` in advice and situation, best first; none without vectors.

    Args:
        floor: least cosine of the advice.
    """
    mine = {each.id: each for each in _pictures(embeddings.load(connection, workspace, model_id, ids))}
    if not mine:
        return {}
    advice = np.stack([each.advice for each in mine.values()])
    found: dict[str, list[Neighbour]] = {id_: [] for id_ in mine}
    others = _pictures(embeddings.load(connection, workspace, model_id))
    while block := list(islice(others, _AT_ONCE)):
        likeness = advice @ np.stack([each.advice for each in block]).T
        for place, (id_, its) in enumerate(mine.items()):
            for index in np.flatnonzero(likeness[place] >= floor):
                other = block[int(index)]
                if other.id != id_:
                    near = Neighbour(other.id, float(likeness[place, index]), float(its.situation @ other.situation))
                    found[id_].append(near)
            # By both: of many lessons that differ in one word, those of the same situation are looked at first.
            found[id_] = sorted(found[id_], key=lambda each: (-each.advice - each.situation, each.id))[:MOST]
    return found


@dataclass(frozen=True, slots=True)
class _Picture:
    id: str
    advice: FloatArray
    situation: FloatArray


def _pictures(vectors: Iterable[StoredVector]) -> Iterator[_Picture]:
    """Each memory's two vectors, unit rows; one that has no advice of its own is what it is found by."""
    for id_, rows in groupby(vectors, key=lambda row: row.id):
        fields: dict[str, FloatArray] = {}
        for row in rows:
            fields.setdefault(row.field, np.frombuffer(row.vector, dtype="<f4"))
        if "text" in fields:
            yield _Picture(id_, fields.get("content", fields["text"]), fields["text"])
