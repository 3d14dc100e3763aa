"""Which memory holds which term: sorted numpy postings in segments, so that a patch touches little.

A segment never changes: readers need no lock. A patch adds a segment, and segments of like size are merged,
so that their number stays logarithmic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasoning_bank.text.analyser import HEADER_ROWS

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
KeyArray = NDArray[np.uint64]

_PACKED = np.dtype([("key", "<u8"), ("count", "<u4")])
_SHARE_SCALE = 1e-6


@dataclass(frozen=True, slots=True)
class TermTable:
    """The terms of a run of memories, unpacked from their blobs.

    Attributes:
        lengths: (4, n) float32: words, pairs, identifiers, places of each memory.
        code_share: (n,) float32, 0..1.
        asks: (n,) bool, True where the text asks a question.
        asking: (n,) float32, 0..1: how much of it only asks.
        told: (n,) float32, words of what it states, up to `TOLD_ENOUGH`.
        rows: (m,) int64 place of the memory in the run, per term.
        keys: (m,) uint64 term keys.
        counts: (m,) float32 how often the term occurs in the memory.
    """

    lengths: FloatArray
    code_share: FloatArray
    asks: NDArray[np.bool_]
    asking: FloatArray
    told: FloatArray
    rows: IntArray
    keys: KeyArray
    counts: FloatArray


@dataclass(frozen=True, slots=True)
class Segment:
    """Postings of some memories: the memories of `keys[i]` are `rows[starts[i]:starts[i + 1]]`.

    Attributes:
        keys: (t,) uint64, ascending, unique.
        starts: (t + 1,) int64.
        rows: (m,) int32.
        counts: (m,) float32.
    """

    keys: KeyArray
    starts: IntArray
    rows: NDArray[np.int32]
    counts: FloatArray


@dataclass(frozen=True, slots=True)
class Matches:
    """Every (query term, memory) pair that occurs.

    Attributes:
        terms: (m,) int64 place of the term in the query's keys.
        rows: (m,) int32 memory.
        counts: (m,) float32 how often the term occurs in the memory.
    """

    terms: IntArray
    rows: NDArray[np.int32]
    counts: FloatArray


def unpack_terms(blobs: Sequence[bytes]) -> TermTable:
    """The terms of memories from their packed blobs (`Terms.packed`), without a loop over terms."""
    packed: NDArray[Any] = np.frombuffer(b"".join(blobs), dtype=_PACKED)
    sizes = np.fromiter((len(blob) for blob in blobs), dtype=np.int64, count=len(blobs)) // _PACKED.itemsize
    heads = np.cumsum(sizes) - sizes
    is_term = np.ones(len(packed), dtype=bool)
    for line in range(HEADER_ROWS):
        is_term[heads + line] = False
    terms = packed[is_term]
    return TermTable(
        lengths=np.stack([packed["count"][heads + line] for line in range(HEADER_ROWS)]).astype(np.float32),
        code_share=(packed["key"][heads + 2] * _SHARE_SCALE).astype(np.float32),
        asks=packed["key"][heads].astype(np.bool_),
        asking=(packed["key"][heads + 1] * _SHARE_SCALE).astype(np.float32),
        told=packed["key"][heads + 3].astype(np.float32),
        rows=np.repeat(np.arange(len(blobs), dtype=np.int64), sizes - HEADER_ROWS),
        keys=terms["key"].astype(np.uint64),
        counts=terms["count"].astype(np.float32),
    )


def build_segment(table: TermTable, first_row: int) -> Segment:
    """Postings of a run of memories whose first has row number `first_row`."""
    return _sorted_segment(table.keys, (table.rows + first_row).astype(np.int32), table.counts)


def add_segment(segments: Sequence[Segment], new: Segment) -> tuple[Segment, ...]:
    """The segments with a new one, merging from the right while the last is not clearly smaller than the one before."""
    kept = list(segments)
    while kept and len(kept[-1].rows) <= 2 * len(new.rows):
        new = _merged(kept.pop(), new)
    return (*kept, new)


def find(segments: Sequence[Segment], keys: KeyArray) -> Matches:
    """All memories that hold any of the keys."""
    found = [_find_in(segment, keys) for segment in segments]
    if len(found) == 1:
        return found[0]
    return Matches(
        np.concatenate([part.terms for part in found] or [np.empty(0, np.int64)]),
        np.concatenate([part.rows for part in found] or [np.empty(0, np.int32)]),
        np.concatenate([part.counts for part in found] or [np.empty(0, np.float32)]),
    )


def frequencies(segments: Sequence[Segment], keys: KeyArray) -> IntArray:
    """(keys,) int64: in how many memories each key occurs, forgotten ones included."""
    total = np.zeros(len(keys), dtype=np.int64)
    for segment in segments:
        total += _slices(segment, keys)[1]
    return total


def _find_in(segment: Segment, keys: KeyArray) -> Matches:
    first, size = _slices(segment, keys)
    terms = np.repeat(np.arange(len(keys), dtype=np.int64), size)
    # One flat index over all slices: a running count, shifted to where each slice begins.
    offsets = np.repeat(first - (np.cumsum(size) - size), size)
    flat = np.arange(len(terms), dtype=np.int64) + offsets
    return Matches(terms, segment.rows[flat], segment.counts[flat])


def _slices(segment: Segment, keys: KeyArray) -> tuple[IntArray, IntArray]:
    if not len(segment.keys):
        return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    place = np.minimum(np.searchsorted(segment.keys, keys), len(segment.keys) - 1)
    first = segment.starts[place]
    return first, np.where(segment.keys[place] == keys, segment.starts[place + 1] - first, 0)


def _merged(left: Segment, right: Segment) -> Segment:
    return _sorted_segment(
        np.concatenate([np.repeat(part.keys, np.diff(part.starts)) for part in (left, right)]),
        np.concatenate([left.rows, right.rows]),
        np.concatenate([left.counts, right.counts]),
    )


def _sorted_segment(keys: KeyArray, rows: NDArray[np.int32], counts: FloatArray) -> Segment:
    order = _sorting(keys)
    keys = keys[order]
    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = keys[1:] != keys[:-1]
    starts = np.append(np.flatnonzero(is_first), len(keys)).astype(np.int64)
    return Segment(keys[is_first], starts, rows[order], counts[order])


def _sorting(keys: KeyArray) -> IntArray:
    """The order that sorts keys: four times faster than argsort at ten million.

    Sorting numbers runs on vector instructions, finding their order does not: so the place of each key is written
    into its lowest bits, which only tell apart keys that agree in all others.
    """
    bits = np.uint64(len(keys).bit_length())
    places = np.arange(len(keys), dtype=np.uint64)
    order = (np.sort(keys >> bits << bits | places) & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    ordered = keys[order]
    if np.all(ordered[1:] >= ordered[:-1]):
        return order
    return order[np.argsort(ordered, kind="stable")]
