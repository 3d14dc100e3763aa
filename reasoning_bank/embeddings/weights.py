"""Reads a BERT's safetensors and prepares what the graph of `graph.py` gets injected."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

Precision = Literal["fp32", "int8"]
Tensor = NDArray[np.float32] | NDArray[np.int8]

_SEGMENTS = "embeddings.token_type_embeddings.weight"
_WORDS = "embeddings.word_embeddings.weight"
_INT8_LIMIT = 127


def packed_name(name: str, precision: Precision) -> str:
    """What a matrix is called in the graph once it was transposed or quantised."""
    return f"{name}.{'matrix' if precision == 'fp32' and name != _WORDS else precision}"


def scale_name(packed: str) -> str:
    """What the scales of a quantised matrix are called."""
    return f"{packed}.scale"


def initializers(path: Path, precision: Precision) -> dict[str, Tensor]:
    """Every tensor the graph declares, by name; views of the mapped file where nothing had to change.

    Raises:
        ValueError: the file is not safetensors.
        OSError: it cannot be read.
    """
    ready: dict[str, Tensor] = {}
    for name, tensor in read_safetensors(path).items():
        if name.startswith("pooler"):
            continue  # a head for next-sentence prediction that sentence vectors do not use
        if name == _SEGMENTS:
            ready["embeddings.segment"] = tensor[0].copy()
        elif name == _WORDS:
            ready |= _rows(name, tensor, precision)
        elif name.startswith("encoder") and tensor.ndim == 2:
            ready |= _matrix(name, tensor, precision)
        else:
            # onnxruntime wants aligned memory; a file guarantees none.
            ready[name] = tensor if tensor.flags.aligned else tensor.copy()
    return ready


def read_safetensors(path: Path) -> Mapping[str, NDArray[np.float32]]:
    """The float32 tensors of a file, mapped read-only: length of the header (8 bytes), JSON header, raw data.

    Raises:
        ValueError: the file is not safetensors.
        OSError: it cannot be read.
    """
    raw = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    header = cast("dict[str, dict[str, Any]]", json.loads(raw[8:start].tobytes()))
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = entry["data_offsets"]
            tensors[name] = raw[start + first : start + last].view(np.float32).reshape(entry["shape"])
    return tensors


def _rows(name: str, tensor: NDArray[np.float32], precision: Precision) -> dict[str, Tensor]:
    packed = packed_name(name, precision)
    if precision == "fp32":
        return {packed: tensor if tensor.flags.aligned else tensor.copy()}
    quantised, scales = _quantise(tensor)
    return {packed: quantised, scale_name(packed): scales}


def _matrix(name: str, tensor: NDArray[np.float32], precision: Precision) -> dict[str, Tensor]:
    """A linear layer, (out, in) in the file, (in, out) in the graph."""
    packed = packed_name(name, precision)
    if precision == "fp32":
        return {packed: np.ascontiguousarray(tensor.T)}
    quantised, scales = _quantise(tensor)
    return {packed: np.ascontiguousarray(quantised.T), scale_name(packed): scales[:, 0].copy()}


def _quantise(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 with one scale per row, (rows, 1): per channel keeps .993 of the cosine, per tensor .938."""
    scales = np.abs(matrix).max(axis=1, keepdims=True) / _INT8_LIMIT
    scales[scales == 0] = 1
    return np.rint(matrix / scales).astype(np.int8), scales.astype(np.float32)
