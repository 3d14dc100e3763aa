"""What happened in the last minute, quarter of an hour and day, and since the start, in bounded memory.

A window is a ring of slots, aligned to the clock: 12 of 5 s, 15 of a minute, 96 of a quarter of an hour. What happens
is written once, into the running slot of the shortest ring; a slot that ends is handed on to the ring of longer ones.
A window is its running slot and the complete ones before it, so it is up to one slot shorter than its name says, and
never reaches further back.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Final

from reasoning_bank.monitoring.histogram import Histogram
from reasoning_bank.monitoring.snapshot import Summary, Window

QUARTER_S: Final = 900
_RINGS: Final[tuple[tuple[Window, int, int], ...]] = (("1m", 5, 12), ("15m", 60, 15), ("24h", QUARTER_S, 96))
"""Window, seconds of a slot, slots."""


class Durations:
    """The durations of one operation by window. Moments are seconds since the epoch; back only by `put_back`."""

    __slots__ = ("_ends", "_known", "_rings", "_total")

    def __init__(self) -> None:
        self._total = Histogram()
        self._rings: list[_Ring] = []
        hand_on = self._add_up
        for _, width_s, slots in reversed(_RINGS):
            ring = _Ring(width_s, slots, hand_on)
            self._rings.insert(0, ring)
            hand_on = ring.take
        self._ends = -math.inf
        self._known: dict[Window, tuple[tuple[int, int], Summary]] = {}

    def observe(self, at: float, seconds: float, *, failed: bool) -> None:
        """Count one call that ended at a moment."""
        if at >= self._ends:
            self._roll(at)
        self._rings[0].running.observe(seconds, failed=failed)

    def summaries(self, at: float) -> dict[Window, Summary]:
        """The figures of each window in which there was a call."""
        self._roll(at)
        found: dict[Window, Summary] = {}
        pending: list[Histogram] = []
        for (window, _, _), ring in zip(_RINGS, self._rings, strict=True):
            pending.append(ring.running)
            self._add(found, window, ring.index, [ring.ended, *pending])
        self._add(found, "start", 0, [self._total, *pending])
        return found

    def total(self) -> Histogram:
        """Every call since the start, in one histogram of its own."""
        return _merged([self._total, *(ring.running for ring in self._rings)])

    def quarters(self, at: float, *, since: int, running: bool) -> list[tuple[int, Histogram]]:
        """The quarters of an hour of the last day with a call, as (index, histogram), oldest first.

        Args:
            at: now.
            since: the first index; those before it are not even unpacked.
            running: whether the one that has not ended is among them.
        """
        self._roll(at)
        longest = self._rings[-1]
        found = [(index, Histogram.from_bytes(packed)) for index, packed in longest.kept if index >= since]
        if running and (now := _merged([ring.running for ring in self._rings])).count:
            found.append((longest.index, now))
        return found

    def put_back(self, at: float) -> None:
        """Go on at an earlier moment: the clock was ahead. What was counted ahead of it counts as of then."""
        for ring in self._rings:
            ring.put_back(at)
        self._known.clear()
        self._ends = -math.inf

    def _add(self, found: dict[Window, Summary], window: Window, index: int, parts: list[Histogram]) -> None:
        # What was summed up for the same slot and the same number of calls has not changed: most operations rest.
        key = (index, sum(part.count for part in parts))
        if key[1] == 0:
            return
        known = self._known.get(window)
        if known is None or known[0] != key:
            known = self._known[window] = (key, _merged(parts).summary())
        found[window] = known[1]

    def _add_up(self, _at: int, ended: Histogram) -> None:
        self._total.merge(ended)

    def _roll(self, at: float) -> None:
        for ring in self._rings:
            ring.roll(at)
        self._ends = (self._rings[0].index + 1) * _RINGS[0][1]


class Counted:
    """What was added up under one name, by window: the sum at the begin of each slot tells every window's part."""

    __slots__ = ("_ends", "_marks", "total")

    def __init__(self) -> None:
        self.total: float = 0
        self._ends = -math.inf
        self._marks: list[deque[tuple[int, float]]] = [deque(maxlen=slots) for _, _, slots in _RINGS]

    def add(self, at: float, amount: float) -> None:
        """Add an amount at a moment."""
        if at >= self._ends:
            self._mark(at)
        self.total += amount

    def by_window(self, at: float) -> dict[Window, float]:
        """What was added in each window in which anything was."""
        found: dict[Window, float] = {}
        for (window, width_s, slots), marks in zip(_RINGS, self._marks, strict=True):
            oldest = at // width_s - slots
            before = next((before for index, before in marks if index > oldest), self.total)
            if before != self.total:
                found[window] = self.total - before
        return {**found, "start": self.total}

    def quarters(self, at: float, *, since: int, running: bool) -> list[tuple[int, float]]:
        """What was added in each quarter of an hour of the last day, see `Durations.quarters`."""
        marks = self._marks[-1]
        ends = [*(before for _, before in marks), self.total][1:]
        amounts = [(index, end - before) for (index, before), end in zip(marks, ends, strict=True)]
        return [each for each in amounts if each[0] >= since and (running or each[0] < at // QUARTER_S)]

    def put_back(self, at: float) -> None:
        """Go on at an earlier moment, see `Durations.put_back`."""
        for number, (_, width_s, slots) in enumerate(_RINGS):
            earliest = {min(index, int(at // width_s)): before for index, before in reversed(self._marks[number])}
            self._marks[number] = deque(sorted(earliest.items()), maxlen=slots)
        self._ends = -math.inf

    def _mark(self, at: float) -> None:
        for (_, width_s, _), marks in zip(_RINGS, self._marks, strict=True):
            index = int(at // width_s)
            if not marks or marks[-1][0] != index:
                marks.append((index, self.total))
        self._ends = (self._marks[0][-1][0] + 1) * _RINGS[0][1]


class _Ring:
    """The slots of one width: the running one, and those that ended, packed."""

    __slots__ = ("_ended", "_hand_on", "_slots", "_width_s", "index", "kept", "running")

    def __init__(self, width_s: int, slots: int, hand_on: Callable[[int, Histogram], object]) -> None:
        self._width_s = width_s
        self._slots = slots
        self._hand_on = hand_on
        self.index = -1
        self.running = Histogram()
        self.kept: deque[tuple[int, bytes]] = deque(maxlen=slots - 1)
        self._ended: Histogram | None = None

    @property
    def ended(self) -> Histogram:
        """The slots of the window that ended, together; put together once for each running slot."""
        if self._ended is None:
            while self.kept and self.kept[0][0] <= self.index - self._slots:
                self.kept.popleft()
            self._ended = _merged([Histogram.from_bytes(packed) for _, packed in self.kept])
        return self._ended

    def roll(self, at: float) -> None:
        """End the running slot if the moment lies behind it."""
        index = int(at // self._width_s)
        if index == self.index:
            return
        if self.running.count:
            self._hand_on(self.index * self._width_s, self.running)
            self.kept.append((self.index, self.running.to_bytes()))
            self.running = Histogram()
        self.index = index
        self._ended = None

    def put_back(self, at: float) -> None:
        """Let no slot be later than an earlier moment's."""
        self.index = min(self.index, int(at // self._width_s))
        self.kept = deque(((min(index, self.index), packed) for index, packed in self.kept), self._slots - 1)
        self._ended = None

    def take(self, at: int, ended: Histogram) -> None:
        """Add the shorter slot that began at a moment."""
        self.roll(at)
        self.running.merge(ended)


def _merged(parts: list[Histogram]) -> Histogram:
    merged = Histogram()
    for part in parts:
        if part.count:
            merged.merge(part)
    return merged
