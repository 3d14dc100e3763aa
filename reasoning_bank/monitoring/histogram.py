"""Durations counted in buckets that grow by 5 %: a quantile is off by at most 2.5 %, whatever the distribution."""

import math
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Self

from reasoning_bank.monitoring.snapshot import Summary

SMALLEST_S: Final = 1e-6
GROWTH: Final = 1.05
BUCKETS: Final = 400
"""1 µs · 1.05^400 is about 5 minutes: longer durations land in the last bucket; their mean and maximum stay exact."""
_PER_BUCKET: Final = 1.0 / math.log(GROWTH)
_LAST: Final = BUCKETS - 1
_HEADER: Final = struct.Struct("<QQdddH")


class Histogram:
    """Durations of one operation; not thread-safe by itself."""

    __slots__ = ("_buckets", "count", "errors", "largest_s", "smallest_s", "total_s")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.errors = 0
        self.total_s = 0.0
        self.smallest_s = math.inf
        self.largest_s = 0.0

    def observe(self, seconds: float, *, failed: bool = False) -> None:
        """Count one duration in seconds."""
        bucket = int(math.log(seconds / SMALLEST_S) * _PER_BUCKET) if seconds > SMALLEST_S else 0
        if bucket > _LAST:  # noqa: PLR1730 -- three calls of min() and max() are a quarter of an observation
            bucket = _LAST
        buckets = self._buckets
        buckets[bucket] = buckets.get(bucket, 0) + 1
        self.count += 1
        self.errors += failed
        self.total_s += seconds
        if seconds < self.smallest_s:  # noqa: PLR1730 -- as above
            self.smallest_s = seconds
        if seconds > self.largest_s:  # noqa: PLR1730 -- as above
            self.largest_s = seconds

    def merge(self, other: "Histogram") -> Self:
        """Add what another counted, and return this one."""
        buckets = self._buckets
        for bucket, count in other._buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
        self.count += other.count
        self.errors += other.errors
        self.total_s += other.total_s
        self.smallest_s = min(self.smallest_s, other.smallest_s)
        self.largest_s = max(self.largest_s, other.largest_s)
        return self

    def without(self, earlier: "Histogram") -> "Histogram":
        """What was counted since an earlier state of this one; smallest and largest are exact, or within a bucket."""
        since = type(self)()
        counts = {bucket: count - earlier._buckets.get(bucket, 0) for bucket, count in self._buckets.items()}
        since._buckets = {bucket: count for bucket, count in counts.items() if count > 0}
        since.count = self.count - earlier.count
        since.errors = self.errors - earlier.errors
        since.total_s = self.total_s - earlier.total_s
        if since._buckets:
            first, last = min(since._buckets), max(since._buckets)
            since.smallest_s = self.smallest_s if first == min(self._buckets) else SMALLEST_S * GROWTH**first
            since.largest_s = self.largest_s if last == max(self._buckets) else SMALLEST_S * GROWTH ** (last + 1)
        return since

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The durations in seconds that each share (0..1) of the observations did not exceed; 0 when empty."""
        if not self.count:
            return [0.0] * len(shares)
        ordered = sorted(self._buckets.items())
        seen = list(accumulate(count for _, count in ordered))
        found: list[float] = []
        for share in shares:
            bucket = ordered[bisect_left(seen, share * self.count)][0]
            middle = SMALLEST_S * GROWTH ** (bucket + 0.5)
            found.append(min(max(middle, self.smallest_s), self.largest_s))
        return found

    def summary(self) -> Summary:
        """Count, errors and the usual figures in seconds."""
        return Summary(
            self.count, self.errors, self.total_s, self.smallest_s, self.largest_s, *self.quantiles((0.5, 0.95, 0.99))
        )

    def to_bytes(self) -> bytes:
        """Everything it holds, in 42 bytes and 4 for each bucket between the first and the last in use."""
        first = min(self._buckets, default=0)
        counts = [self._buckets.get(bucket, 0) for bucket in range(first, max(self._buckets, default=-1) + 1)]
        header = _HEADER.pack(self.count, self.errors, self.total_s, self.smallest_s, self.largest_s, first)
        return header + _little_endian(array("I", counts)).tobytes()

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """What `to_bytes` wrote.

        Raises:
            ValueError: it was not.
        """
        if len(packed) < _HEADER.size or (len(packed) - _HEADER.size) % 4:
            raise ValueError(f"{len(packed)} bytes are no histogram")
        made = cls()
        *figures, first = _HEADER.unpack_from(packed)
        made.count, made.errors, made.total_s, made.smallest_s, made.largest_s = figures
        counts = _little_endian(array("I", packed[_HEADER.size :]))
        made._buckets = {bucket: count for bucket, count in enumerate(counts, first) if count}
        return made


def _little_endian(counts: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        counts.byteswap()
    return counts
