"""The units of a prompt that stay when not all can: the protected ones, then those that say most, within the budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np

from reasoning_bank.compression.cutting import Plan, overlapping, plan
from reasoning_bank.compression.edits import Kind, Segment, Span
from reasoning_bank.compression.layout import LONG_LINE, Unit, judged, units
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.compression.relevance import Encode, Passages, Relevance, asked, central

_ROUNDS: Final = 16
# A result this close to its budget is not tried to be filled further.
_UNUSED_SHARE: Final = 0.01
_RELEVANCE_DONE: Final = 0.8
_SHORTEST_REPEAT: Final = 30


class Selection(NamedTuple):
    """What was chosen.

    Attributes:
        name: by what it was chosen, as the answer calls it.
        protected_tokens: what all protected units take by themselves, marks included.
        is_truncated: not all of them could stay.
        is_degraded: meaning was wanted, and no model could tell it.
    """

    pieces: Pieces
    tokens: int
    name: str
    protected_tokens: int
    is_truncated: bool
    is_degraded: bool


@dataclass(frozen=True, slots=True)
class Extraction:
    """Cuts a prompt down to a budget by leaving out whole units.

    Attributes:
        pieces: the prompt, as far as it was compressed without cutting.
        tokens: what it takes.
        found: its segments, by offsets into the text of `pieces`.
        preserved: what the caller wants to stay, before everything else; sorted, by the same offsets.
        count: counts the tokens of a text.
        budget: most tokens of the result.
        head_ratio: share of the beginning when protected units have to be cut.
    """

    pieces: Pieces
    tokens: int
    found: Sequence[Segment]
    preserved: Sequence[Span]
    count: Callable[[str], int] = field(kw_only=True)
    budget: int = field(kw_only=True)
    head_ratio: float = field(kw_only=True)
    progress: Callable[[float], object] = field(kw_only=True)

    def selection(self, question: str | None, encode: Encode | None) -> Selection:
        """Return what stays: protected units, then by relevance to the question, else by what the prompt is about."""
        text = self.pieces.text
        # Small budgets need small units, counting one token per character as CJK text may have.
        cover = units(text, self.found, longest=min(LONG_LINE, self.budget))
        relevance = self._relevance(cover, question, encode)
        self.progress(_RELEVANCE_DONE)
        preserved = overlapping(cover, self.preserved)
        instructions = overlapping(cover, [(each.start, each.end) for each in self.found if each.is_protected])
        planned = plan(
            self.pieces,
            cover,
            count=self.count,
            tokens=self.tokens,
            tiers=(preserved, instructions - preserved),
            scores=relevance.scores.tolist(),
            head_ratio=self.head_ratio,
        )
        # From all that is protected down to nothing: the first that fits is what surely stays.
        tries = [self._least(planned, pinned) for pinned in (preserved | instructions, preserved, frozenset[int]())]
        within = next((at for at, (_, _, tokens) in enumerate(tries) if tokens <= self.budget), None)
        least, pieces, tokens = tries[-1 if within is None else within]
        pieces, tokens = self._filled(least, (Pieces("", ()), 0) if within is None else (pieces, tokens))
        name = "units_by_question" if question else "units_by_centrality"
        return Selection(
            pieces, tokens, name, tries[0][2], within != 0 and bool(tries[0][0].pinned), relevance.is_degraded
        )

    def _relevance(self, cover: Sequence[Unit], question: str | None, encode: Encode | None) -> Relevance:
        kinds: list[Kind] = [self.found[unit.segment].kind for unit in cover]
        passages = Passages(
            [judged(self.pieces.text, unit, kind) for unit, kind in zip(cover, kinds, strict=True)],
            np.array([unit.paragraph for unit in cover], dtype=np.intp),
            {unit.paragraph: unit.name for unit in cover if unit.name},
            np.array([kind == "chat" for kind in kinds], dtype=bool),
        )
        found = asked(passages, question, encode) if question else central(passages, head_ratio=self.head_ratio)
        return replace(found, scores=np.where(_repeats(passages.texts), -1.0, found.scores))

    def _least(self, planned: Plan, pinned: frozenset[int]) -> tuple[Plan, Pieces, int]:
        """Return the plan with these units pinned, and the result of keeping only them."""
        least = replace(planned, pinned=pinned)
        pieces = least.within(0)
        return least, pieces, self.count(pieces.text)

    def _filled(self, planned: Plan, best: tuple[Pieces, int]) -> tuple[Pieces, int]:
        """Keep as many units as fit, by trial: the tokens of joined units do not simply add up."""
        target = self.budget
        for _ in range(_ROUNDS):
            pieces = planned.within(target)
            tokens = self.count(pieces.text)
            if best[1] < tokens <= self.budget:
                best = pieces, tokens
            elif tokens <= self.budget:
                break
            if 0 <= self.budget - tokens <= self.budget * _UNUSED_SHARE:
                break
            target += self.budget - tokens
            if target <= 0:
                break
        return best


def _repeats(texts: Sequence[str]) -> list[bool]:
    """For each text, whether it is long enough to say something and was said before."""
    seen: set[str] = set()
    found: list[bool] = []
    for text in texts:
        found.append(len(text) >= _SHORTEST_REPEAT and text in seen)
        seen.add(text)
    return found
