"""The units of one prompt that stay within a target, put together with a mark in every gap."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from reasoning_bank.compression.layout import LONG_LINE, Span, Unit, units
from reasoning_bank.compression.lossless import removable_blanks
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.compression.selection import by_ends, by_order, query_order

SMALL_MARK: Final = "…"
# A mark that says how much was cut may take a quarter of a small budget, not more.
_MARK_SHARE: Final = 4
_SENTENCE_CHARS: Final = 100
_OVERLAPPING: Final = 64
_BLANK_RUN: Final = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is decided once for a prompt; `within` then cuts it to any target.

    Attributes:
        pieces: the prompt, blanks already out.
        units: cover its text, in order.
        costs: tokens of each unit by itself.
        pinned: positions of units that always stay.
        order: positions in the order they are worth keeping, or None to keep both ends.
        spelled: the marks say how many tokens were cut.
        scale: tokens of the whole text over the sum of `costs`, which count each joint between units.
    """

    pieces: Pieces
    units: Sequence[Unit]
    costs: Sequence[int]
    pinned: frozenset[int]
    order: Sequence[int] | None
    head_ratio: float
    spelled: bool
    scale: float
    preserve: tuple[str, ...]

    def within(self, target: int) -> Pieces:
        """Return the prompt cut to units of about `target` tokens, marks not counted."""
        costs = [0 if at in self.pinned else cost for at, cost in enumerate(self.costs)]
        budget = max(target - sum(self.costs[at] for at in self.pinned), 0)
        if self.order is None:
            chosen = by_ends(costs, budget=budget, head_ratio=self.head_ratio)
        else:
            chosen = by_order(costs, self.order, budget=budget)
        cut = self._assembled(_with_fences(self.units, {*chosen, *self.pinned}, self.pinned))
        # A cut can make new line ends; taking their blanks out now keeps the result a fixed point.
        while blanks := _removable(cut.text, self.preserve):
            cut = cut.without(blanks)
        return cut

    def _assembled(self, kept: set[int]) -> Pieces:
        text = self.pieces.text
        spans: list[Span] = []
        marks: list[str] = []
        done, skipped = 0, 0
        for at, unit in enumerate(self.units):
            if at not in kept:
                skipped += self.costs[at]
            elif spans and not skipped:
                spans[-1] = (spans[-1][0], unit.end)
            else:
                spans, marks = self._closed(spans, done=done), [*marks, self._mark(done, unit.start, skipped)]
                spans.append((_text_start(text, unit.start) if skipped else unit.start, unit.end))
                skipped = 0
            if at in kept:
                done = unit.end
        if skipped:
            spans = self._closed(spans, done=done)
        return self.pieces.selected(spans, [*marks, self._mark(done, len(text), skipped)])

    def _closed(self, spans: list[Span], *, done: int) -> list[Span]:
        """Take the blanks off the end of the last span, since a mark follows."""
        if not spans:
            return spans
        start = spans[-1][0]
        kept = self.pieces.text[start:done].rstrip()
        return [*spans[:-1], (start, start + len(kept))]

    def _mark(self, done: int, start: int, skipped: int) -> str:
        if not skipped:
            return ""
        text = self.pieces.text
        mark = f"[... {round(skipped * self.scale)} tokens cut ...]" if self.spelled else SMALL_MARK
        before = len(text[:done].rstrip()) if done else 0
        blanks = _BLANK_RUN.match(text, before)
        opens = "" if not done else "\n" if blanks and "\n" in blanks[0] else " "
        if start >= len(text):
            return opens + mark
        return f"{opens}{mark}{_joint(text, start)}"


def plan(
    pieces: Pieces,
    *,
    count: Callable[[str], int],
    tokens: int,
    budget: int,
    query: str | None,
    head_ratio: float,
    preserve: tuple[str, ...],
) -> Plan:
    """Return how a prompt is to be cut.

    Args:
        pieces: the prompt.
        count: counts the tokens of a text.
        tokens: of all pieces.
        budget: tokens the result may have; small budgets need small units.
        query: keep what has to do with it; None keeps both ends.
        head_ratio: share of the beginning when both ends are kept.
        preserve: literals whose units always stay.
    """
    # Sentences stay whole for a query. Both ends are filled by pieces of a quarter of the budget at most, counting one
    # token per character as CJK text may have.
    longest = min(LONG_LINE, budget if query else max(budget // 4, 1))
    cover = units(pieces.text, piece_chars=longest, sentence_chars=min(_SENTENCE_CHARS, longest) if query else longest)
    # The blank behind a unit becomes part of the next word's token.
    costs = [count(pieces.text[unit.start : unit.end].rstrip(" ")) for unit in cover]
    spelled = not query and _MARK_SHARE * count(f"[... {sum(costs)} tokens cut ...]") <= budget
    pinned = _overlapping(cover, occurrences(pieces.text, preserve))
    order = query_order(pieces.text, cover, query) if query else None
    return Plan(pieces, cover, costs, pinned, order, head_ratio, spelled, tokens / max(sum(costs), 1), preserve)


def occurrences(text: str, literals: Iterable[str]) -> list[Span]:
    """Return where any of the literals stands, sorted, overlapping ones joined."""
    found: list[Span] = []
    for literal in filter(None, literals):
        # A long literal that overlaps itself, such as a ruler of dashes, is not looked for at each of its characters:
        # that would take time by its length times the text's.
        step = 1 if len(literal) <= _OVERLAPPING else len(literal)
        at = text.find(literal)
        while at >= 0:
            found.append((at, at + len(literal)))
            at = text.find(literal, at + step)
    joined: list[Span] = []
    for start, end in sorted(found):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def apart_from(spans: Sequence[Span], protected: Sequence[Span]) -> list[Span]:
    """Return the spans that touch none of the protected ones; both sorted and apart."""
    if not protected:
        return list(spans)
    free: list[Span] = []
    at = 0
    for start, end in spans:
        while at < len(protected) and protected[at][1] <= start:
            at += 1
        if at == len(protected) or protected[at][0] >= end:
            free.append((start, end))
    return free


def _removable(text: str, preserve: tuple[str, ...]) -> list[Span]:
    blanks = removable_blanks(text)
    spans = sorted([*blanks.trailing, *blanks.empty_lines])
    return apart_from(spans, occurrences(text, preserve)) if spans else []


def _with_fences(cover: Sequence[Unit], chosen: set[int], pinned: frozenset[int]) -> set[int]:
    """Keep the fence lines of every fence of which something inside is kept or that are pinned, and of no other."""
    used = {cover[at].region for at in chosen if not cover[at].fence or at in pinned}
    fences = {at for at, unit in enumerate(cover) if unit.fence}
    return (chosen - fences) | {at for at in fences if cover[at].region in used}


def _overlapping(cover: Sequence[Unit], spans: Sequence[Span]) -> frozenset[int]:
    found: set[int] = set()
    pending = 0
    for at, unit in enumerate(cover):
        while pending < len(spans) and spans[pending][1] <= unit.start:
            pending += 1
        if pending < len(spans) and spans[pending][0] < unit.end:
            found.add(at)
    return frozenset(found)


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
