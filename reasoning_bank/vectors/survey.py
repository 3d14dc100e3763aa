"""What the bank says should be indexed, and what is left to do of it: reading only."""

from dataclasses import dataclass

from sqlalchemy import Connection

from reasoning_bank.storage import changes, embeddings, index_state, workspaces
from reasoning_bank.vectors.delta import Delta, embedded_ids, read_delta, read_vectors
from reasoning_bank.vectors.index import Vector, ids_digest

SAMPLE = 20
"""Vectors of a workspace compared with the truth when a check is due."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be indexed.

    Attributes:
        model_id: the model that answers questions, None in a bank without vectors.
        wanted: workspaces worth a collection.
        recorded: what the last owner has written down of each.
    """

    model_id: str | None
    wanted: tuple[str, ...]
    recorded: tuple[index_state.IndexState, ...]

    def generations(self, model_id: str) -> list[int]:
        """Return the numbers of the builds that are recorded for a model."""
        return [row.generation for row in self.recorded if row.model_id == model_id]


class Survey:
    """Makes plans, and remembers which workspaces were too small when last counted."""

    def __init__(self, name: str, index_from: int) -> None:
        """Prepare for the index of this name; smaller workspaces than `index_from` vectors are left to exact search."""
        self._name = name
        self._index_from = max(index_from, 1)
        self._too_small: dict[str, int] = {}

    def __call__(self, connection: Connection) -> Plan:
        """Return what should be indexed now."""
        model_id = embeddings.active_model(connection)
        recorded = tuple(row for row in index_state.listing(connection) if row.name == self._name)
        if model_id is None:
            return Plan(None, (), recorded)
        known = {row.workspace for row in recorded}
        names = [workspace.name for workspace in workspaces.listing(connection)]
        worth = [name for name in names if name in known or self._is_worth(connection, name, model_id)]
        return Plan(model_id, tuple(worth), recorded)

    def _is_worth(self, connection: Connection, workspace: str, model_id: str) -> bool:
        seq = changes.last_seq(connection, workspace)
        if self._too_small.get(workspace) == seq:
            return False
        if embeddings.coverage(connection, model_id, workspace).embedded >= self._index_from:
            return True
        self._too_small[workspace] = seq
        return False


@dataclass(frozen=True, slots=True)
class Step:
    """What one look at a workspace found.

    Attributes:
        digest: of the ids that must be in the index, when nothing was left to do and a check is due.
        sample: some of their vectors, likewise.
    """

    delta: Delta
    digest: str = ""
    sample: tuple[tuple[str, Vector], ...] = ()


def read_step(connection: Connection, *, workspace: str, model_id: str, after: int, limit: int, check: bool) -> Step:
    """Return the next changes of a workspace; with `check` and none left, what the index must hold at this moment."""
    delta = read_delta(connection, workspace, model_id, after=after, limit=limit)
    if delta.seq != after or not check:
        return Step(delta)
    ids = embedded_ids(connection, workspace, model_id)
    chosen = ids[:: max(len(ids) // SAMPLE, 1)][:SAMPLE]
    found, vectors = read_vectors(connection, workspace, model_id, chosen)
    return Step(delta, ids_digest(ids), tuple(zip(found, vectors, strict=True)))
