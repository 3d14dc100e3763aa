"""The units of a prompt that stay when not all can: the protected ones, then those that say most, within the budget."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np

from reasoning_bank.compression.cutting import MARK, Plan, overlapping, plan
from reasoning_bank.compression.edits import Kind, Segment, Span
from reasoning_bank.compression.elements import Element
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.compression.relevance import Encode, Passages, Relevance, asked, central
from reasoning_bank.compression.telegraph import telegraph
from reasoning_bank.compression.units import LONG_LINE, Unit, json_elements, judged, units, word_spans

_ROUNDS: Final = 16
# A result this close to its budget is not tried to be filled further.
_UNUSED_SHARE: Final = 0.01
_RELEVANCE_DONE: Final = 0.8
_SHORTEST_REPEAT: Final = 30
_SAID: Final[frozenset[Kind]] = frozenset({"prose", "instruction", "chat", "memories"})
"""Kinds that still say something when words are missing; code and data would say something else."""
_LINE: Final = re.compile(r"\S.*")
_FEW: Final = 10
"""Tokens below which words tell more of an instruction than the part of it that fits with a mark."""
_FEWEST_UNITS: Final = 2
"""Units that a budget has room for, however small it is: smaller ones would be parts of sentences."""
_TELEGRAPHED: Final = 20
"""Units whose words are tried."""


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


class _Cut(NamedTuple):
    """A result, its tokens, and the positions of the units that it has something of."""

    pieces: Pieces
    tokens: int
    kept: Collection[int]


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
        share = self._share()
        longest = min(LONG_LINE, share)
        elements = json_elements(self.pieces.text, self.found, longest=longest, whole=share)
        cover = units(self.pieces.text, self.found, longest=longest, elements=elements)
        preserved = overlapping(cover, self.preserved)
        pinned = preserved | overlapping(cover, [(each.start, each.end) for each in self.found if each.is_protected])
        relevance = self._relevance(cover, question, encode)
        self.progress(_RELEVANCE_DONE)
        planned = self._planned(cover, (preserved, pinned - preserved), relevance, elements)
        # From all that is protected down to nothing: the first that fits is what surely stays.
        plans = [replace(planned, pinned=each) for each in (pinned, preserved, frozenset[int]())]
        least = [self._tried(each, each.within(0)) for each in plans]
        fits = next((number for number, each in enumerate(least) if each.tokens <= self.budget), None)
        cut = self._nothing() if fits is None else least[fits]
        cut = self._filled(plans[-1 if fits is None else fits], cut)
        is_truncated = fits != 0 and bool(pinned)
        name = "units_by_question" if question else "units_by_centrality"
        if not self._says(cover, cut) or (is_truncated and self.budget < _FEW):
            told = self._telegraph(planned, pinned)
            cut, name = (told, "telling_words") if told.tokens else (cut, name)
        return Selection(cut.pieces, cut.tokens, name, least[0].tokens, is_truncated, relevance.is_degraded)

    def _share(self) -> int:
        """Return the most characters of a unit: small budgets need small units, or one takes the room of all."""
        characters = self.budget * len(self.pieces.text) / max(self.tokens, 1)
        return int(characters / _FEWEST_UNITS)

    def _relevance(self, cover: Sequence[Unit], question: str | None, encode: Encode | None) -> Relevance:
        found = [self.found[unit.segment] for unit in cover]
        kinds: list[Kind] = [segment.kind for segment in found]
        texts = [judged(self.pieces.text, unit, kind) for unit, kind in zip(cover, kinds, strict=True)]
        if question:
            # A question has most to do with itself: what stands beside it would seem to be the answer.
            texts = ["" if segment.is_protected else text for text, segment in zip(texts, found, strict=True)]
        passages = Passages(
            texts,
            np.array([unit.paragraph for unit in cover], dtype=np.intp),
            {unit.paragraph: unit.name for unit in cover if unit.name},
            np.array([kind == "chat" for kind in kinds], dtype=bool),
        )
        scored = asked(passages, question, encode) if question else central(passages, head_ratio=self.head_ratio)
        return replace(scored, scores=np.where(_repeats(texts), -1.0, scored.scores))

    def _planned(
        self,
        cover: Sequence[Unit],
        tiers: Sequence[frozenset[int]],
        relevance: Relevance,
        elements: Mapping[int, Element],
    ) -> Plan:
        planned = plan(
            self.pieces,
            cover,
            count=self.count,
            tokens=self.tokens,
            tiers=tiers,
            scores=relevance.scores.tolist(),
            head_ratio=self.head_ratio,
        )
        return replace(planned, elements=elements)

    def _tried(self, planned: Plan, kept: Collection[int]) -> _Cut:
        pieces = planned.assembled(kept)
        return _Cut(pieces, self.count(pieces.text), kept)

    def _nothing(self) -> _Cut:
        """Return a mark alone, where even that fits."""
        tokens = self.count(MARK)
        marked = tokens <= self.budget
        return _Cut(self.pieces.selected((), [MARK if marked else ""]), tokens if marked else 0, ())

    def _filled(self, planned: Plan, best: _Cut) -> _Cut:
        """Keep as many units as fit, by trial: the tokens of joined units do not simply add up."""
        target = self.budget
        for _ in range(_ROUNDS):
            tried = self._tried(planned, planned.within(target))
            if best.tokens < tried.tokens <= self.budget:
                best = tried
            elif tried.tokens <= self.budget:
                break
            if 0 <= self.budget - tried.tokens <= self.budget * _UNUSED_SHARE:
                break
            target += self.budget - tried.tokens
            if target <= 0:
                break
        return best

    def _says(self, cover: Sequence[Unit], cut: _Cut) -> bool:
        text = self.pieces.text
        return any(not cover[at].frame and text[cover[at].start : cover[at].end].strip() for at in cut.kept)

    def _telegraph(self, planned: Plan, pinned: frozenset[int]) -> _Cut:
        """Return words of what is protected, else of the first unit that has one that fits."""
        asked_for = [at for at in planned.order if at in pinned]
        for some in [asked_for] if asked_for else [[at] for at in planned.order[:_TELEGRAPHED]]:
            found = [span for at in some for span in self._words(planned.units[at])]
            pieces = telegraph(self.pieces, found, count=self.count, budget=self.budget)
            if pieces.text:
                return _Cut(pieces, self.count(pieces.text), some)
        return _Cut(Pieces("", ()), 0, ())

    def _words(self, unit: Unit) -> Iterator[Span]:
        """Yield what can stand alone: words of what is said, lines of code and logs, nothing of JSON."""
        kind = self.found[unit.segment].kind
        if kind in _SAID:
            return word_spans(self.pieces.text, unit.start, unit.end)
        lines = () if kind == "json" or unit.frame else _LINE.finditer(self.pieces.text, unit.start, unit.end)
        return (line.span() for line in lines)


def _repeats(texts: Sequence[str]) -> list[bool]:
    """For each text, whether it is long enough to say something and was said before."""
    seen: set[str] = set()
    found: list[bool] = []
    for text in texts:
        found.append(len(text) >= _SHORTEST_REPEAT and text in seen)
        seen.add(text)
    return found
