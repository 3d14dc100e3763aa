"""From stored memories to stored vectors: idempotent, resumable, and no text embedded twice for one model."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio
import numpy as np
from sqlalchemy import Connection

from reasoning_bank.embeddings.batching import BatchEmbeddingGenerator
from reasoning_bank.embeddings.embedder import EmbeddingIdentity, Vectors
from reasoning_bank.records import Memory
from reasoning_bank.storage import embeddings, facts, memories
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.embeddings import Coverage, EmbeddingRow
from reasoning_bank.text.fields import Field, index_fields

logger = logging.getLogger(__name__)

# Memories per transaction: long enough to batch well, short enough that a kill repeats little.
_AT_ONCE = 64
_LEASE = timedelta(seconds=60)
# No lease is this long: one that ends later was written before the clock was set back.
_SURELY_A_CLOCK_JUMP = timedelta(minutes=10)
_CHUNK = 0
"""A field is one chunk, the model's window: vectors of later chunks cost rank on long issues (measured)."""


@dataclass(frozen=True, slots=True)
class _Text:
    """One field of one memory and the hash of its text."""

    memory: Memory
    field: Field
    hash: str


class MemoryEmbedder:
    """Embeds the memories of a bank with one model and keeps the vectors.

    Args:
        database: the truth.
        generator: the model, running and loaded.
        now: the clock, aware UTC.
        owner: name of this process, different from every other's.
    """

    def __init__(
        self, database: Database, generator: BatchEmbeddingGenerator, *, now: Callable[[], datetime], owner: str
    ) -> None:
        self._database = database
        self._generator = generator
        self._now = now
        self._owner = owner

    @property
    def identity(self) -> EmbeddingIdentity:
        """The model whose vectors are made here."""
        return self._generator.embedder.identity

    async def register(self) -> None:
        """Makes the model known to the bank; the first one a bank meets becomes the active one."""
        identity = self.identity
        now = self._now()
        await self._database.write(
            lambda connection: embeddings.register_model(connection, identity.model_id, identity.as_mapping(), now)
        )

    async def embed_memories(self, workspace: str, ids: Sequence[str], *, background: bool = False) -> int:
        """Makes and keeps the vectors of memories; doing it again changes nothing.

        A memory that is gone, or was changed meanwhile, is left out: whoever changed it asks again.

        Args:
            workspace: whose memories they are.
            ids: which of them.
            background: give way to searches and to new memories.

        Returns:
            How many memories have vectors now that were asked for.

        Raises:
            ModelUnavailableError: the model is not ready.
            UpstreamError: a remote model failed.
            StorageError: the vectors could not be kept.
        """
        kept = 0
        for start in range(0, len(ids), _AT_ONCE):
            kept += await self._embed_some(workspace, ids[start : start + _AT_ONCE], background=background)
        return kept

    async def embed_missing(self, *, progress: Callable[[Coverage], object] | None = None, poll_s: float = 1.0) -> None:
        """Makes the vectors that live memories of any workspace lack, oldest first, giving way to everyone.

        Of several processes one works, under a lease that it renews; the others wait, and take over if it dies.

        Args:
            progress: called after each step with what is embedded and what there is.
            poll_s: pause between looks at another process's progress (seconds).

        Raises:
            ModelUnavailableError: the model is not ready.
            UpstreamError: a remote model failed.
            StorageError: the bank could not be read or written.
        """
        leased = False
        try:
            while some := await self._missing():
                leased = await self._database.write(self._lease)
                # Nothing kept: all of them were changed while they were embedded, and their writers are at work.
                if not leased or not await self._embed_step(some, progress):
                    await anyio.sleep(poll_s)
        finally:
            if leased:
                # Also when cancelled: a process that leaves must not make the next one wait for its lease to run out.
                with anyio.CancelScope(shield=True):
                    await self._database.write(self._release)

    async def activate(self) -> bool:
        """Answers questions with this model from now on, in every process, if no live memory lacks its vectors."""
        model_id = self.identity.model_id

        def switch(connection: Connection) -> bool:
            complete = not embeddings.missing(connection, model_id, limit=1)
            if complete and embeddings.active_model(connection) != model_id:
                embeddings.activate(connection, model_id)
            return complete

        return await self._database.write(switch)

    async def _missing(self) -> list[tuple[str, str]]:
        model_id = self.identity.model_id
        return await self._database.read(lambda c: embeddings.missing(c, model_id, limit=_AT_ONCE))

    async def _embed_step(self, some: Sequence[tuple[str, str]], progress: Callable[[Coverage], object] | None) -> int:
        kept = 0
        for workspace, ids in _by_workspace(some).items():
            kept += await self.embed_memories(workspace, ids, background=True)
        if progress is not None:
            model_id = self.identity.model_id
            progress(await self._database.read(lambda c: embeddings.coverage(c, model_id)))
        return kept

    async def _embed_some(self, workspace: str, ids: Sequence[str], *, background: bool) -> int:
        identity = self.identity
        there, texts, known = await self._database.read(lambda c: _read(c, workspace, ids, identity.model_id))
        new = {text.hash: text.field.text for text in texts if text.hash not in known}
        made = await self._generator.generate_batch(list(new.values()), background=background)
        vectors = known | {digest: _packed(vector) for digest, vector in zip(new, made, strict=True)}
        rows = [_row(text, identity, vectors[text.hash]) for text in texts]
        return there + (len(await self._database.write(lambda c: embeddings.put(c, rows))) if rows else 0)

    def _lease(self, connection: Connection) -> bool:
        """Takes or renews the right to embed what is missing; wall-clock, because processes must agree on it."""
        now = self._now()
        holder, _, until = (facts.get(connection, self._lease_name()) or "").partition(" ")
        if until and holder != self._owner and now < datetime.fromisoformat(until) < now + _SURELY_A_CLOCK_JUMP:
            return False
        facts.put(connection, self._lease_name(), f"{self._owner} {(now + _LEASE).isoformat()}")
        return True

    def _release(self, connection: Connection) -> None:
        if (facts.get(connection, self._lease_name()) or "").startswith(f"{self._owner} "):
            facts.put(connection, self._lease_name(), "")

    def _lease_name(self) -> str:
        return f"embedding_lease {self.identity.model_id}"


def _read(
    connection: Connection, workspace: str, ids: Sequence[str], model_id: str
) -> tuple[int, list[_Text], dict[str, bytes]]:
    """How many memories have their vectors, the texts of the others, and what is known of these."""
    # Writing equal vectors again would send every process and index to read them again.
    there = embeddings.embedded(connection, model_id, workspace, ids)
    texts = [
        _Text(memory, field, hashlib.sha256(field.text.encode("utf-8", "surrogatepass")).hexdigest())
        for memory in memories.by_ids(connection, workspace, [id_ for id_ in ids if id_ not in there]).values()
        for field in index_fields(memory.item)
    ]
    return len(there), texts, embeddings.known(connection, model_id, {text.hash for text in texts})


def _row(text: _Text, identity: EmbeddingIdentity, vector: bytes) -> EmbeddingRow:
    return EmbeddingRow(
        memory_id=text.memory.id,
        workspace=text.memory.workspace,
        field=text.field.name,
        chunk=_CHUNK,
        model_id=identity.model_id,
        dim=identity.dim,
        precision=identity.precision,
        content_hash=text.hash,
        weight=text.field.weight,
        vector=vector,
        memory_hash=text.memory.content_hash,
    )


def _packed(vector: Vectors) -> bytes:
    """Little-endian on every machine: a bank can be carried to another."""
    return np.asarray(vector, "<f4").tobytes()


def _by_workspace(found: Sequence[tuple[str, str]]) -> Mapping[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for workspace, id_ in found:
        groups.setdefault(workspace, []).append(id_)
    return groups
