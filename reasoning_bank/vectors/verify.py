"""Whether an embedded Chroma directory can be opened and finds what it holds, tried in a process of its own.

A damaged HNSW file does not always raise: it can end the process, hang it, or find wrong neighbours silently. So this
is run first, by `verification`, as a file and not as a module of the package: it imports nothing of the package and
works however that was started.
"""

import json
import os
import random
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chromadb import Collection

SAMPLE = 50
"""Rows that have to find themselves, over all collections."""
RUNAWAY = 10
"""link_lists.bin beyond this many times data_level0.bin is Chroma's known runaway growth."""
HEADER_BYTES = 100
"""What hnswlib writes into header.bin: of a shorter one it invents the rest, and the next write may be its last."""
DAMAGED = 3
ABANDONED = 4


def check(directory: Path) -> list[str]:
    """Return what is wrong with a directory of Chroma, nothing when it is sound. Opens it in this process."""
    import chromadb  # noqa: PLC0415 - only the child ever gets here
    from chromadb.config import Settings  # noqa: PLC0415

    wrong = [f"{each.parent.name} grew out of bounds" for each in directory.glob("*/link_lists.bin") if _runaway(each)]
    wrong += [f"{each.parent.name} is cut" for each in directory.glob("*/header.bin") if _is_cut(each)]
    client = chromadb.PersistentClient(path=directory, settings=Settings(anonymized_telemetry=False))
    collections = list(client.list_collections())
    for collection in collections:
        wrong.extend(f"{collection.name}: {each}" for each in _faults(collection, SAMPLE // len(collections) + 1))
    return wrong


def main(arguments: list[str]) -> int:
    """Check the directory named by the one argument; 0 when it is sound, 3 with JSON on stdout when not.

    Gives up when stdin ends: with the parent goes its lock, and another process may open the directory.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    wrong = check(Path(arguments[0]))
    json.dump(wrong[:10], sys.stdout)
    return DAMAGED if wrong else 0


def _end_with_parent() -> None:
    # Not sys.stdin: its lock would still be held when the interpreter ends.
    while os.read(0, 4096):
        pass
    os._exit(ABANDONED)


def _faults(collection: "Collection", sample: int) -> Iterable[str]:
    ids = collection.get(include=[])["ids"]
    if collection.count() != len(ids):
        yield f"{collection.count()} rows counted, {len(ids)} found"
    if not ids:
        return
    chosen = random.sample(ids, min(sample, len(ids)))
    found = collection.get(ids=chosen, include=["embeddings"])
    vectors: Any = found["embeddings"]
    if vectors is None or len(vectors) != len(chosen):
        yield "rows without vectors"
        return
    answers = collection.query(query_embeddings=vectors, n_results=1, include=["distances"])
    distances = answers["distances"] or []
    # Several rows may be equal: what counts is that something as near as itself was found.
    lost = sum(1 for own in distances if not own or own[0] > 1e-3)
    # A zero vector is far from everything, itself included.
    zeros = sum(1 for vector in vectors if not vector.any())
    # The search is approximate: one row in fifty may be missed by chance, two writers lose one in eight and more.
    if lost - zeros > len(chosen) // 20:
        yield f"{lost - zeros} of {len(chosen)} rows do not find themselves"


def _is_cut(header: Path) -> bool:
    return header.stat().st_size < HEADER_BYTES


def _runaway(links: Path) -> bool:
    level = links.with_name("data_level0.bin")
    return level.is_file() and links.stat().st_size > RUNAWAY * max(level.stat().st_size, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
