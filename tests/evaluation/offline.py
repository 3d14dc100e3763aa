"""Runs the evaluation sets through storage and retriever, without a server: `python -m tests.evaluation.offline`.

Vectors are kept beside the temporary files, so that a second run takes a minute. Figures from LoCoMo are for
measuring only (CC BY-NC 4.0); cite a set when you publish a figure from it.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from reasoning_bank.embeddings.embedder import Embedder, Vectors
from reasoning_bank.records import Query
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import main_line
from reasoning_bank.text.fields import index_fields
from tests.evaluation.metrics import Measured, mean, measure
from tests.evaluation.sets import GATES, SETS, EvaluationSet, load
from tests.retrieval.bank import START, SmallBank

K = 10
Report = tuple[list[Measured], list[float]]


async def evaluate(
    data: EvaluationSet,
    embedder: Embedder,
    directory: Path,
    *,
    encode: Callable[[Sequence[str]], Vectors] | None = None,
) -> Report:
    """Store all, ask all (k 10, no floor): per query the result, and milliseconds without embedding it."""
    async with Database(directory / "bank.db", durability="process", now=lambda: START) as database:
        bank = SmallBank(database, embedder)
        bank.encode = encode or bank.encode
        for workspace, items in data.memories.items():
            await bank.store(workspace, *items)
        retriever = bank.retriever()
        results: list[Measured] = []
        times: list[float] = []
        for asked in data.queries:
            found = await retriever.retrieve(asked.workspace, Query(asked.text, k=K, min_score=0))
            ranked = [retrieved.memory.item.external_id or "" for retrieved in found.memories]
            assert {retrieved.memory.workspace for retrieved in found.memories} <= {asked.workspace}
            results.append(measure(ranked, asked.relevant, k=K))
            times.append(found.timings_ms["total"] - found.timings_ms["embedding"])
        return results, times


def texts_of(data: EvaluationSet) -> set[str]:
    """Everything that gets embedded."""
    stored = {field.text for items in data.memories.values() for item in items for field in index_fields(item)}
    return stored | {text for asked in data.queries for text in (asked.text, main_line(asked.text))}


class KeptVectors:
    """An embedder's vectors in one file outside the repository."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._file = Path(tempfile.gettempdir()) / f"reasoning-bank-evaluation-{embedder.identity.model_id}.npz"
        self._vectors: dict[str, Vectors] = {}
        if self._file.exists():
            with np.load(self._file) as kept:
                self._vectors = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))

    def prepare(self, texts: set[str]) -> None:
        """Embed what is missing, and keep it."""
        missing = sorted(texts - self._vectors.keys(), key=len)
        for start in range(0, len(missing), 16):
            some = missing[start : start + 16]
            self._vectors |= dict(zip(some, self._embedder.encode(some, "document"), strict=True))
            print(f"\rembedding {start + len(some)}/{len(missing)}", end="", file=sys.stderr)
        if missing:
            print(file=sys.stderr)
            texts_kept = np.array(list(self._vectors), dtype=object).astype(str)
            np.savez(self._file, texts=texts_kept, vectors=np.stack(list(self._vectors.values())))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The kept vectors of these texts."""
        return np.stack([self._vectors[text] for text in texts])


def main(root: Path, names: Sequence[str]) -> None:
    """Print R@10, nDCG@10 and MRR@10 with their intervals, and milliseconds per search."""
    import platformdirs

    from reasoning_bank.assets import Assets
    from reasoning_bank.embeddings.onnx import OnnxEmbedder

    assets = platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets"
    embedder = OnnxEmbedder(assets=Assets(assets, allow_download=False))
    embedder.load()
    vectors = KeptVectors(embedder)
    for name, ordered in [(name, True) for name in names] + ([("locomo", False)] if "locomo" in names else []):
        data = load(root, name, ordered=ordered)
        vectors.prepare(texts_of(data))
        with tempfile.TemporaryDirectory() as directory:
            results, times = asyncio.run(evaluate(data, embedder, Path(directory) / "bank", encode=vectors.encode))
        recall, ndcg = mean(results, lambda one: one.recall), mean(results, lambda one: one.ndcg)
        gate = GATES.get(name, (0.0, 0.0)) if ordered else (0.71, 0.555)
        verdict = "" if (recall.value, ndcg.value) >= gate and ndcg.value >= gate[1] else f"  below {gate}"
        label = name if ordered else f"{name}, no order"
        print(
            f"{label:17} R@10 {recall}  nDCG@10 {ndcg}  MRR@10 {mean(results, lambda one: one.reciprocal_rank)}"
            f"  {statistics.median(times):.2f} ms{verdict}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or SETS)
