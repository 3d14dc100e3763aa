"""Labelled pairs of lessons, written for this: what repeats, resembles, contradicts or only shares its subject."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Label = Literal["edited", "reworded", "number", "word", "opposite", "other"]
_LABELS: tuple[Label, ...] = ("edited", "reworded", "number", "word", "opposite", "other")
CALIBRATED = 36
"""Lessons the constants were chosen on; those after them were written later."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two lessons and what the second is to the first."""

    title: str
    one: str
    other: str
    label: Label


def labelled_pairs(*, after: int = 0) -> Iterator[Pair]:
    """Every pair of the file, or of the lessons after so many."""
    text = (Path(__file__).parent / "likeness.txt").read_text(encoding="utf-8")
    blocks = [block.strip().splitlines() for block in text.split("\n\n") if not block.strip().startswith("#")]
    for title, first, *others in blocks[after:]:
        for label, line in zip(_LABELS, others, strict=True):
            yield Pair(title, first[2:], line[2:], label)
