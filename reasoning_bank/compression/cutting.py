"""The units of one prompt that stay within a target, put together with a mark in every gap."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, NamedTuple

from reasoning_bank.compression.edits import Span
from reasoning_bank.compression.elements import Element, Gap
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.compression.units import Unit

MARK: Final = "[…]"
_SPELLED_FROM: Final = 400
"""Tokens of a gap from which its mark says how many they are: there the mark costs less than two in a hundred."""
_BLANK_RUN: Final = re.compile(r"\s*")


class _Stretch(NamedTuple):
    """What stays in one go, with gaps in it, and the tokens that are skipped in them, or instead of it."""

    start: int
    end: int
    skipped: int = 0
    gaps: Sequence[Gap] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is decided once for a prompt; `within` then cuts it to any target.

    Attributes:
        pieces: the prompt as far as it was compressed without cutting.
        units: cover its text, in order.
        costs: tokens of each unit by itself.
        pinned: positions of units that stay whatever the target.
        order: all positions, in the order they are worth keeping.
        scale: tokens of the whole text over the sum of `costs`, which count each joint between units.
        elements: JSON that stays JSON when some of its units go, by the numbers of its segments.
    """

    pieces: Pieces
    units: Sequence[Unit]
    costs: Sequence[int]
    pinned: frozenset[int]
    order: Sequence[int]
    scale: float
    elements: Mapping[int, Element] = field(default_factory=dict[int, Element])

    def within(self, target: int) -> set[int]:
        """Return the positions of units of about `target` tokens, marks not counted; what does not fit is skipped."""
        left = target - sum(self.costs[at] for at in self.pinned)
        chosen = set(self.pinned)
        for at in self.order:
            if self.costs[at] <= left and at not in chosen:
                left -= self.costs[at]
                chosen.add(at)
        return self._with_frames(chosen)

    def assembled(self, kept: Collection[int]) -> Pieces:
        """Return the prompt with these units only, and a mark in every gap."""
        text = self.pieces.text
        spans: list[Span] = []
        marks: list[str] = []
        done, skipped = 0, 0
        for stretch in self._stretches(kept):
            if stretch.start == stretch.end:
                skipped += stretch.skipped
                continue
            if spans and not skipped:
                spans[-1] = (spans[-1][0], stretch.end)
            else:
                spans = self._closed(spans, done=done)
                marks.append(self._mark(done, stretch.start, skipped))
                spans.append((_text_start(text, stretch.start) if skipped else stretch.start, stretch.end))
            for gap in stretch.gaps:
                spans[-1] = (spans[-1][0], gap.start)
                marks.append(_mark_within(text, gap))
                spans.append((gap.end, stretch.end))
            done, skipped = stretch.end, stretch.skipped
        if spans and self._is_json():
            skipped = 0
        if skipped:
            spans = self._closed(spans, done=done)
        return self.pieces.selected(spans, [*marks, self._mark(done, len(text), skipped)])

    def _stretches(self, kept: Collection[int]) -> Iterator["_Stretch"]:
        """Yield what stays, and an empty stretch for each unit that does not; JSON as a whole, with gaps."""
        for segment, members in groupby(range(len(self.units)), key=lambda at: self.units[at].segment):
            some = list(members)
            lost = [at for at in some if at not in kept]
            if segment in self.elements and 0 < len(lost) < len(some):
                inner = [at for at in some if not self.units[at].frame]
                leaves = zip(self.elements[segment].leaves(), inner, strict=True)
                gaps = self.elements[segment].gaps({leaf.start for leaf, at in leaves if at in kept})
                skipped = sum(self.costs[at] for at in lost)
                yield _Stretch(self.units[some[0]].start, self.units[some[-1]].end, skipped, gaps)
                continue
            for at in some:
                start, end = self.units[at].start, self.units[at].end
                yield _Stretch(start, end) if at in kept else _Stretch(end, end, self.costs[at])

    def _is_json(self) -> bool:
        """Return whether the whole prompt is JSON: a mark behind it would leave nothing that parses."""
        return bool(self.elements) and self.units[0].segment == self.units[-1].segment and not self.units[0].frame

    def _with_frames(self, chosen: set[int]) -> set[int]:
        """Keep the frame of every segment of which something inside is kept or that is pinned, and of no other."""
        frames = {at for at, unit in enumerate(self.units) if unit.frame}
        used = {self.units[at].segment for at in chosen if at not in frames or at in self.pinned}
        return (chosen - frames) | {at for at in frames if self.units[at].segment in used}

    def _closed(self, spans: list[Span], *, done: int) -> list[Span]:
        """Take the blanks off the end of the last span, since a mark follows."""
        if not spans:
            return spans
        start, _ = spans[-1]
        spans[-1] = (start, max(start, _text_end(self.pieces.text, done)))
        return spans

    def _mark(self, done: int, start: int, skipped: int) -> str:
        if not skipped:
            return ""
        text = self.pieces.text
        tokens = round(skipped * self.scale)
        mark = f"[… {tokens} tokens cut …]" if tokens >= _SPELLED_FROM else MARK
        blanks = _BLANK_RUN.match(text, _text_end(text, done))
        opens = "" if not done else "\n" if blanks and "\n" in blanks[0] else " "
        if start >= len(text):
            return opens + mark
        return f"{opens}{mark}{_joint(text, start)}"


def plan(
    pieces: Pieces,
    cover: Sequence[Unit],
    *,
    count: Callable[[str], int],
    tokens: int,
    tiers: Sequence[frozenset[int]],
    scores: Sequence[float],
    head_ratio: float,
) -> Plan:
    """Return how a prompt is to be cut; nothing is pinned yet.

    Args:
        pieces: the prompt.
        cover: its units.
        count: counts the tokens of a text.
        tokens: of all pieces.
        tiers: positions that come before all others, the most important first; each is kept from both ends.
        scores: what each unit is worth, higher is better; ties in their order.
        head_ratio: share of the beginning when a tier has to be cut, in [0, 1].
    """
    text = pieces.text
    # The blank behind a unit becomes part of the next word's token.
    costs = [count(text[unit.start : unit.end].rstrip(" ")) for unit in cover]
    order: dict[int, None] = {}
    for tier in tiers:
        order |= dict.fromkeys(from_both_ends(sorted(tier), costs, head_ratio=head_ratio))
    order |= dict.fromkeys(sorted(range(len(cover)), key=lambda at: (-scores[at], at)))
    return Plan(pieces, cover, costs, frozenset(), list(order), tokens / max(sum(costs), 1))


def from_both_ends(positions: Sequence[int], costs: Sequence[int], *, head_ratio: float) -> list[int]:
    """Return the positions in the order in which both ends grow towards the middle, the head by its share."""
    total = max(sum(costs[at] for at in positions), 1)
    reached: list[tuple[float, int]] = []
    before = 0
    for at in positions:
        head, tail = before / total, (total - before - costs[at]) / total
        reached.append((min(_at_share(head, head_ratio), _at_share(tail, 1 - head_ratio)), at))
        before += costs[at]
    return [at for _, at in sorted(reached)]


def overlapping(cover: Sequence[Unit], spans: Iterable[Span]) -> frozenset[int]:
    """Return the positions of the units that share a character with any span; spans are sorted."""
    found: set[int] = set()
    waiting = iter(spans)
    span = next(waiting, None)
    for at, unit in enumerate(cover):
        while span is not None and span[1] <= unit.start:
            span = next(waiting, None)
        if span is not None and span[0] < unit.end:
            found.add(at)
    return frozenset(found)


def _mark_within(text: str, gap: Gap) -> str:
    """Return the mark of a gap in a string; between elements of JSON there can be none."""
    if not gap.is_text:
        return ""
    opens = "" if text[gap.start - 1].isspace() or text[gap.start - 1] == '"' else " "
    closes = "" if text[gap.end] == '"' else " "
    return f"{opens}{MARK}{closes}"


def _at_share(distance: float, share: float) -> float:
    """Return how full the result is when an end with that share of it reaches so far."""
    return distance / share if share > 0 else float("inf")


def _text_end(text: str, end: int) -> int:
    """Return where the text before `end` ends, blanks not counted."""
    while end and text[end - 1].isspace():
        end -= 1
    return end


def _text_start(text: str, start: int) -> int:
    """Return where a kept span begins behind a mark: blank lines go, the indentation of its first line stays."""
    blanks = _BLANK_RUN.match(text, start)
    if not blanks or not blanks[0]:
        return start
    line = text.rfind("\n", start, blanks.end())
    if line >= 0:
        return line + 1
    return start if start == 0 or text[start - 1] == "\n" else blanks.end()


def _joint(text: str, start: int) -> str:
    """Return what stands between a mark and the span behind it."""
    begin = _text_start(text, start)
    return "\n" if begin == 0 or text[begin - 1] == "\n" else " "
