"""What every embedding backend offers, and what makes two vectors comparable."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.records import JsonValue

Kind = Literal["query", "document"]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)  # no slots: model_id is computed once and kept
class EmbeddingIdentity:
    """Everything two vectors must share to be compared; the library that computed them is not part of it.

    Attributes:
        name: the model as people call it.
        dim: numbers per vector.
        max_tokens: tokens of a text that are read; the rest is not seen.
        pooling: how token vectors become one ("mean", "cls", "remote", "hashing" …).
        precision: arithmetic of the weights ("fp32", "int8", "fp16" …).
        prefix_query: put before each query.
        prefix_document: put before each document.
        weights_sha256: hex digest of the weights, or empty when they cannot be known.
        tokenizer_sha256: hex digest of the tokenizer, or empty when it cannot be known.
    """

    name: str
    dim: int
    max_tokens: int
    pooling: str
    precision: str = "fp32"
    prefix_query: str = ""
    prefix_document: str = ""
    weights_sha256: str = ""
    tokenizer_sha256: str = ""

    @cached_property
    def model_id(self) -> str:
        """A short name that differs whenever anything of the identity does; letters, digits, "." "_" "-" only."""
        digest = hashlib.sha256(json.dumps(self.as_mapping(), sort_keys=True).encode()).hexdigest()
        readable = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in self.name)
        return f"{readable[:80].strip('._-') or 'model'}.{self.precision}.{digest[:8]}"

    def as_mapping(self) -> dict[str, JsonValue]:
        """The identity as the bank keeps it."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, kept: Mapping[str, Any]) -> Self:
        """The identity a bank kept.

        Raises:
            ValueError: the mapping is not one.
        """
        try:
            return cls(**kept)
        except TypeError as error:
            raise ValueError(f"not an embedding identity: {dict(kept)!r}") from error


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one call of `encode` should hold at most; measured per backend, see tests/benchmarks.

    Attributes:
        texts: most texts.
        tokens: most tokens after padding, that is texts times the longest.
        alone_above_tokens: longer texts go one by one.
    """

    texts: int
    tokens: int
    alone_above_tokens: int


class Embedder(Protocol):
    """A model that turns texts into unit vectors. Its methods block; one thread calls them at a time."""

    @property
    def identity(self) -> EmbeddingIdentity:
        """What its vectors can be compared with.

        Raises:
            ModelUnavailableError: it is known only after `load`.
        """
        ...

    @property
    def limits(self) -> BatchLimits:
        """The batches it is fastest with."""
        ...

    def load(self) -> None:
        """Makes the model ready; calling it again does nothing.

        Raises:
            ModelUnavailableError: it is missing or corrupt; the text says what to do.
        """
        ...

    def encode(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """Returns (n, dim) float32 unit rows, in the order of the texts; callers bound n by `limits`.

        Raises:
            ModelUnavailableError: not loaded.
            UpstreamError: a remote model failed.
        """
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Returns how many tokens of each text are read, at most `identity.max_tokens`; some backends estimate."""
        ...


def unit_rows(vectors: Vectors) -> Vectors:
    """Returns the rows of (n, dim) scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32, copy=False)
