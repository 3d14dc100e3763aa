"""One build of the Chroma index: a collection per workspace, each knowing up to which change it is complete.

What a collection holds is written into its own metadata, after the vectors it speaks of: an index that is moved,
restored or deleted takes that knowledge along, and a kill in between only means that a batch is applied again.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reasoning_bank.errors import StorageError
from reasoning_bank.records import Hit
from reasoning_bank.vectors.connection import Cloud, Server, chroma_faults, connect, disconnect
from reasoning_bank.vectors.index import Candidates, Vector, ids_digest, merge_digests

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.api import ClientAPI
    from chromadb.api.collection_configuration import CreateCollectionConfiguration

logger = logging.getLogger(__name__)

HNSW = {"space": "cosine", "max_neighbors": 32, "ef_construction": 200, "ef_search": 200}
"""On uniform random data, the hardest there is, 20,000 vectors: recall .95 where Chroma's defaults give .6."""
PAGE = 100
CLOSING_S = 2.0
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Build:
    """Which build of the index it is: names of collections follow from it.

    Attributes:
        number: ascends with every rebuild.
        model_id: whose vectors it holds.
        bank: tells banks apart that share one server; empty in a directory of our own.
    """

    number: int
    model_id: str
    bank: str = ""

    @property
    def prefix(self) -> str:
        """Begins the name of each collection of this build and of no other."""
        return f"{self._banks}g{self.number:06d}.{_hashed(self.model_id)}."

    @property
    def others(self) -> re.Pattern[str]:
        """Matches the names of collections of this bank that are not of this build."""
        return re.compile(rf"{re.escape(self._banks)}(?!{re.escape(self.prefix[len(self._banks) :])})")

    def collection_name(self, workspace: str) -> str:
        """Return the name for a workspace: itself where Chroma allows it, else its hash."""
        if _PLAIN.fullmatch(workspace):
            return f"{self.prefix}w-{workspace}.c"
        return f"{self.prefix}h-{hashlib.sha256(workspace.encode()).hexdigest()[:32]}.c"

    @property
    def _banks(self) -> str:
        return f"rb.{_hashed(self.bank) if self.bank else 'own'}."


@dataclass(frozen=True, slots=True)
class Held:
    """What one collection holds.

    Attributes:
        removed: vectors deleted since the build; HNSW never gives their room back.
    """

    workspace: str
    applied_seq: int = 0
    count: int = 0
    digest: str = ""
    removed: int = 0
    dim: int = 0


class Generation:
    """An opened build: plain blocking calls, any number of readers beside one writer.

    Every method raises StorageError: "damaged" when the build must be replaced, "io" when a server does not answer.
    """

    def __init__(self, at: Path | Server | Cloud, build: Build, *, batch_size: int, timeout_s: float) -> None:
        """Describe the build; `open` connects.

        Args:
            at: directory of this build, or the server that holds it.
            batch_size: vectors per write, 1..5461.
            timeout_s: longest wait for one answer of a server.
        """
        self.build = build
        self.at = at
        self._batch_size = batch_size
        self._timeout_s = timeout_s
        self._remote = not isinstance(at, Path)
        self._client: ClientAPI | None = None
        self._file: tuple[int, int] | None = None
        self._collections: dict[str, Collection] = {}
        self._held: dict[str, Held] = {}
        self._writing = threading.Lock()

    def open(self, *, count: bool = True) -> None:
        """Connect and read what each collection holds.

        Args:
            count: also count the ids that are really there, for the one process that will write; after a kill
                between vectors and metadata, count and digest of the metadata are those before the batch.
        """
        self._client = connect(self.at, timeout_s=self._timeout_s)
        with chroma_faults(remote=self._remote):
            for collection in self._listed():
                self._adopt(collection, count=count)
        self._file = self._identity()

    def create(self) -> None:
        """Connect to an empty build: what a killed attempt left under its name is deleted."""
        self._client = client = connect(self.at, timeout_s=self._timeout_s)
        with chroma_faults(remote=self._remote):
            for collection in self._listed():
                client.delete_collection(collection.name)
        self._file = self._identity()

    def held(self, workspace: str) -> Held | None:
        """Return what the collection of a workspace holds, None when it has none. Does not touch Chroma."""
        return self._held.get(workspace)

    def workspaces(self) -> list[str]:
        """Return the workspaces that have a collection."""
        return list(self._held)

    def refresh(self) -> None:
        """Read again what another process has written to the server."""
        with chroma_faults(remote=self._remote):
            for collection in self._listed():
                self._adopt(collection, count=False)

    def apply(self, workspace: str, upserts: Sequence[tuple[str, Vector]], deletes: Sequence[str], *, seq: int) -> Held:
        """Bring a workspace to change `seq`; the last vector wins when an id comes twice."""
        with self._writing, chroma_faults(remote=self._remote):
            self.check_directory()
            held = self._held.get(workspace) or Held(workspace)
            latest = dict(upserts)
            if not latest and workspace not in self._collections:
                # Nothing was ever stored here: no collection is worth its files.
                self._held[workspace] = replace(held, applied_seq=max(seq, held.applied_seq))
                return self._held[workspace]
            collection = self._collection(workspace)
            for ids in _batches(deletes, self._batch_size):
                held = _delete(collection, held, ids)
            for ids in _batches(latest, self._batch_size):
                held = _upsert(collection, held, {each: latest[each] for each in ids})
            held = replace(held, applied_seq=max(seq, held.applied_seq))
            collection.modify(metadata=_metadata(held, self.build))
            self._held[workspace] = held
            return held

    def nearest(self, workspace: str, query: Vector, limit: int) -> Candidates | None:
        """Return up to `limit` nearest ids by cosine, best first; None when the workspace has no collection."""
        collection, held = self._collections.get(workspace), self._held.get(workspace)
        if collection is None or held is None or query.shape != (held.dim,):
            return None
        with chroma_faults(remote=self._remote):
            self.check_directory()
            found = collection.query(query_embeddings=query[None, :], n_results=limit, include=["distances"])
        # Chroma says cosine distance; from here on it is a score, higher is better.
        distances = (found["distances"] or [[]])[0]
        hits = tuple(Hit(each, 1.0 - float(far)) for each, far in zip(found["ids"][0], distances, strict=True))
        return Candidates(hits, held.applied_seq, self.build.model_id)

    def vectors(self, workspace: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Return the stored vectors of those ids that are there."""
        collection = self._collections.get(workspace)
        if collection is None:
            return {}
        with chroma_faults(remote=self._remote):
            found = collection.get(ids=list(ids), include=["embeddings"])
        rows = found["embeddings"]
        stored = [] if rows is None else [np.asarray(row, np.float32) for row in rows]
        return dict(zip(found["ids"], stored, strict=True))

    def check_directory(self) -> None:
        """Fail when the files of this build were deleted or replaced: Chroma goes on with them, into nothing."""
        if self._file != self._identity():
            raise StorageError("the directory of the vector index is gone", code="damaged")

    def drop_others(self) -> None:
        """Delete the collections of this bank that belong to other builds."""
        client, others = self._opened(), self.build.others
        with chroma_faults(remote=self._remote):
            for collection in [each for each in self._all() if others.match(each.name)]:
                client.delete_collection(collection.name)

    def close(self) -> bool:
        """Disconnect, after a write in progress or a short wait for it; False while that goes on. Twice is fine."""
        client, self._client = self._client, None
        finished = self._writing.acquire(timeout=CLOSING_S)
        try:
            if client is not None:
                with chroma_faults(remote=self._remote):
                    disconnect(client)
        except StorageError as error:
            logger.info("closing the vector index: %s", error)
        finally:
            if finished:
                self._writing.release()
        return finished

    def _opened(self) -> "ClientAPI":
        if self._client is None:
            raise StorageError("the vector index is not open", code="io")
        return self._client

    def _all(self) -> Iterable["Collection"]:
        client, offset = self._opened(), 0
        while page := client.list_collections(limit=PAGE, offset=offset):
            yield from page
            offset += len(page)

    def _listed(self) -> list["Collection"]:
        return [each for each in self._all() if each.name.startswith(self.build.prefix)]

    def _adopt(self, collection: "Collection", *, count: bool) -> None:
        held = _read_metadata(collection.metadata)
        if held is None or self.build.collection_name(held.workspace) != collection.name:
            # Made and never described: a kill came first. It is found by name and filled again.
            return
        if count:
            ids = self._ids(collection)
            held = replace(held, count=len(ids), digest=ids_digest(ids))
        self._collections[held.workspace] = collection
        self._held[held.workspace] = held

    def _ids(self, collection: "Collection") -> list[str]:
        if not self._remote:
            return collection.get(include=[])["ids"]
        # A server may limit how much one answer holds; a directory would count its rows again for every page.
        ids: list[str] = []
        while page := collection.get(limit=self._batch_size, offset=len(ids), include=[])["ids"]:
            ids.extend(page)
        return ids

    def _collection(self, workspace: str) -> "Collection":
        known = self._collections.get(workspace)
        if known is None:
            configuration: CreateCollectionConfiguration = {"hnsw": HNSW}  # pyright: ignore[reportAssignmentType]
            known = self._opened().get_or_create_collection(
                self.build.collection_name(workspace), embedding_function=None, configuration=configuration
            )
            # get_or_create ignores the configuration of a collection that is there.
            match known.configuration_json:
                # The cloud makes an index of its own kind of what it is asked for.
                case {"hnsw": {"space": "cosine"}} | {"spann": {"space": "cosine"}}:
                    pass
                case _:
                    raise StorageError("a collection of the vector index does not measure cosine", code="damaged")
            self._collections[workspace] = known
        return known

    def _identity(self) -> tuple[int, int] | None:
        if not isinstance(self.at, Path):
            return None
        try:
            status = (self.at / "chroma.sqlite3").stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _upsert(collection: "Collection", held: Held, vectors: Mapping[str, Vector]) -> Held:
    ids = list(vectors)
    known = collection.get(ids=ids, include=[])["ids"]
    collection.upsert(ids=ids, embeddings=np.stack([vectors[each] for each in ids]))
    new = set(ids).difference(known)
    digest = merge_digests(held.digest, ids_digest(new))
    return replace(held, count=held.count + len(new), digest=digest, dim=len(vectors[ids[0]]))


def _delete(collection: "Collection", held: Held, ids: Sequence[str]) -> Held:
    known = collection.get(ids=list(ids), include=[])["ids"]
    if not known:
        return held
    collection.delete(ids=known)
    return replace(
        held,
        count=held.count - len(known),
        digest=merge_digests(held.digest, ids_digest(known)),
        removed=held.removed + len(known),
    )


def _metadata(held: Held, build: Build) -> dict[str, str | int]:
    return {
        "workspace": held.workspace,
        "applied_seq": held.applied_seq,
        "count": held.count,
        "digest": held.digest,
        "removed": held.removed,
        "dim": held.dim,
        "model_id": build.model_id,
    }


def _read_metadata(metadata: Mapping[str, object] | None) -> Held | None:
    match metadata:
        case {
            "workspace": str(workspace),
            "applied_seq": int(applied),
            "count": int(count),
            "digest": str(digest),
            "removed": int(removed),
            "dim": int(dim),
        }:
            return Held(workspace, applied, count, digest, removed, dim)
        case _:
            return None


def _batches(ids: Iterable[str], size: int) -> Iterable[list[str]]:
    rest = iter(dict.fromkeys(ids))
    while batch := list(islice(rest, size)):
        yield batch


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
