"""An embedder without a model: feature hashing of words and their pieces.

For tests, and as the announced last resort. It tells texts apart by their words, not by their meaning, so its vectors
are never mixed with those of a model: they have an identity of their own.
"""

import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from reasoning_bank.embeddings.embedder import BatchLimits, EmbeddingIdentity, Kind, Vectors, unit_rows

_WORD = re.compile(r"\w+")
_PIECE_LENGTH = 4
# A word counts as much as a few of its pieces, so that "parsing" meets "parser" but "parse" itself meets first.
_PIECE_WEIGHT = 0.35
_LONGEST_WORD = 64
_SIGN_BIT = 1 << 31


class HashingEmbedder:
    """Words and four-letter pieces hashed, with a sign, into `dim` columns (Weinberger et al., 2009).

    Args:
        dim: columns; at 384 two of a text's thirty features share one about once.
    """

    def __init__(self, dim: int = 384) -> None:
        self._dim = dim
        self.identity = EmbeddingIdentity("hashing", dim, max_tokens=1_000_000, pooling="hashing")
        self.limits = BatchLimits(texts=256, tokens=1_000_000, alone_above_tokens=1_000_000)

    def load(self) -> None:
        """There is nothing to load."""

    def encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """Returns (n, dim) float32 unit rows; the same text gives the same row on every machine."""
        vectors = np.zeros((len(texts), self._dim), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            self._add(row, text)
        return unit_rows(vectors)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Returns the words of each text."""
        return [len(_WORD.findall(text)) for text in texts]

    def _add(self, row: Vectors, text: str) -> None:
        counts: dict[str, float] = {}
        for feature, weight in _features(text):
            counts[feature] = counts.get(feature, 0.0) + weight
        # A text without words is still a direction, one that no word shares.
        for feature, count in (counts or {"": 1.0}).items():
            code = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
            row[code % self._dim] += count**0.5 if code & _SIGN_BIT else -(count**0.5)


def _features(text: str) -> Iterator[tuple[str, float]]:
    for match in _WORD.finditer(text.lower()):
        word = match.group()[:_LONGEST_WORD]
        yield word, 1.0
        framed = f"^{word}$"
        for start in range(len(framed) - _PIECE_LENGTH + 1):
            yield "~" + framed[start : start + _PIECE_LENGTH], _PIECE_WEIGHT
