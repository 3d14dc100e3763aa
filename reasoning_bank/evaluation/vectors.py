"""An embedder whose vectors are kept in a file, so that a second measurement embeds only what is new."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from reasoning_bank.embeddings.embedder import Embedder, Vectors

Progress = Callable[[int, int], object]


class KeptVectors:
    """Encodes texts, each once per file.

    Args:
        embedder: loaded; called by the thread that calls `encode`.
        folder: where vectors are kept, one file per model; None keeps them in memory only.
        progress: receives texts done and texts in all.
    """

    def __init__(self, embedder: Embedder, folder: Path | None, *, progress: Progress | None = None) -> None:
        self._embedder = embedder
        self._file = folder / f"evaluation-{embedder.identity.model_id}.npz" if folder else None
        self._progress = progress
        self._vectors: dict[str, Vectors] = {}
        if self._file is not None and self._file.exists():
            with np.load(self._file) as kept:
                self._vectors = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    def encode(self, texts: Sequence[str], kind: Literal["query", "document"]) -> Vectors:
        """(n, dim) float32 unit rows of n texts."""
        keys = [hashlib.sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        if missing:
            self._add(missing, kind)
        return np.stack([self._vectors[key] for key in keys])

    def _add(self, missing: dict[str, str], kind: Literal["query", "document"]) -> None:
        # Texts of like length share a batch: padding is work for nothing.
        ordered = sorted(missing, key=lambda key: len(missing[key]))
        size = min(16, self._embedder.limits.texts)
        for start in range(0, len(ordered), size):
            keys = ordered[start : start + size]
            rows = self._embedder.encode([missing[key] for key in keys], kind)
            self._vectors |= dict(zip(keys, rows, strict=True))
            if self._progress is not None:
                self._progress(start + len(keys), len(ordered))
        if self._file is not None:
            part = self._file.with_suffix(".part.npz")
            np.savez(part, keys=np.array(list(self._vectors)), vectors=np.stack(list(self._vectors.values())))
            part.replace(self._file)
