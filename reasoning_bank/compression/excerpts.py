"""A long text in few characters: what has to do with a query stays, in its order, with a mark in every gap."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from reasoning_bank.compression.cutting import MARK
from reasoning_bank.compression.edits import Segment
from reasoning_bank.compression.relevance import Passages, asked
from reasoning_bank.compression.units import Unit, units

CUT: Final = " … [cut]"
"""Stands at the end where the end of the text is missing."""


@dataclass(frozen=True, slots=True)
class Excerpts:
    """Excerpts of one text, of any length.

    Attributes:
        text: the whole text.
        cover: its units.
        order: their positions, in the order they are worth keeping.
    """

    text: str
    cover: Sequence[Unit]
    order: Sequence[int]

    @classmethod
    def of(cls, text: str, query: str, *, lead: int = 0) -> "Excerpts":
        """Return the excerpts of a text for a query, judged by words: milliseconds, no model.

        Args:
            text: at least one character.
            query: what is asked; where it shares no word with the text, the beginning stays.
            lead: so many characters at the beginning say what the text is about, and come first.
        """
        cover, passages = _read(text)
        scores = asked(passages, query, None).scores
        scores[[unit.start < lead for unit in cover]] = np.inf
        return cls(text, cover, np.argsort(-scores, kind="stable").tolist())

    def within(self, characters: int) -> str:
        """Return an excerpt of about so many characters, marks not counted; a unit cut short where not even one fits.

        A line that begins in the excerpt began in the text: whatever stands before each line there does so here.
        """
        kept: list[int] = []
        left = characters
        for at in self.order:
            length = self.cover[at].end - self.cover[at].start
            if length <= left:
                kept.append(at)
                left -= length
        if not kept:
            return f"{self.text[:characters].rstrip()}{CUT}"
        return self._joined(sorted(kept))

    def _joined(self, kept: Sequence[int]) -> str:
        parts: list[str] = []
        done = 0
        for unit in (self.cover[at] for at in kept):
            if unit.start > done:
                is_line = self.text[unit.start - 1] == "\n"
                if parts:
                    parts[-1] = parts[-1].rstrip()
                parts += (f" {MARK}", "\n" if is_line else " ")
            parts.append(self.text[unit.start : unit.end])
            done = unit.end
        shown = "".join(parts).rstrip()
        return f"{shown}{CUT}" if done < len(self.text) else shown


@lru_cache(maxsize=128)
def _read(text: str) -> tuple[Sequence[Unit], Passages]:
    """Return the units of a text, as they lie and as they are judged: the same memories are asked for often."""
    cover = units(text, [Segment(0, len(text), "prose")])
    passages = Passages(
        [text[unit.start : unit.end].strip() for unit in cover],
        np.array([unit.paragraph for unit in cover], dtype=np.intp),
        {},
        np.zeros(len(cover), dtype=bool),
    )
    return cover, passages
