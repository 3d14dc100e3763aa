"""A bare search beside the bank's: the least that any hybrid search must do."""

import sqlite3
import time
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.evaluation.bench.filling import WORKSPACE, item
from reasoning_bank.retrieval.composition import composed
from reasoning_bank.storage import embeddings
from reasoning_bank.storage.database import Database
from reasoning_bank.text.analyser import STOP_WORDS
from reasoning_bank.text.fields import indexed_text

_BEST: Final = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"


class Bare:
    """The least a hybrid search must do: one exact product over all vectors, and one FTS5 query."""

    def __init__(self, path: Path, size: int, vectors: NDArray[np.float32], *, k: int = 5) -> None:
        self._vectors = vectors
        self._k = k
        self._words = sqlite3.connect(path, check_same_thread=False)
        self._words.execute("CREATE VIRTUAL TABLE words USING fts5(said)")
        texts = ((indexed_text(item(number)),) for number in range(size))
        self._words.executemany("INSERT INTO words VALUES (?)", texts)
        self._words.execute("INSERT INTO words(words) VALUES ('optimize')")
        self._words.commit()

    def search(self, question: str, vector: NDArray[np.float32]) -> dict[str, float]:
        """Seconds of both parts, and together."""
        started = time.perf_counter()
        scores = self._vectors @ vector
        np.argpartition(scores, len(scores) - self._k)[-self._k :]
        middle = time.perf_counter()
        terms = {word.strip("?,()").lower() for word in question.split()} - STOP_WORDS
        match = " OR ".join(f'"{term}"' for term in terms if term)
        self._words.execute(_BEST, (match, self._k)).fetchall()
        ended = time.perf_counter()
        return {"product": middle - started, "fts": ended - middle, "whole": ended - started}

    def close(self) -> None:
        """Close the table."""
        self._words.close()


def stored_vectors(database: Database, model_id: str, dim: int) -> NDArray[np.float32]:
    """Returns (n, dim) float32 unit rows, one for each memory that has vectors."""
    parts = database.read_now(lambda connection: list(embeddings.load(connection, WORKSPACE, model_id)))
    return np.concatenate([np.stack(list(rows)) for _, rows in composed(parts, dim)])
