"""Labelled pairs of lessons, written for this: what repeats, resembles, contradicts or only shares its subject."""

from collections import Counter
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


def main() -> None:
    """Print what `compared` makes of the pairs with the default model: `python -m tests.learning.likeness`."""
    import platformdirs

    from reasoning_bank.assets import Assets
    from reasoning_bank.embeddings.onnx import OnnxEmbedder
    from reasoning_bank.learning.similarity import Lesson, compared

    assets = platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets"
    embedder = OnnxEmbedder(assets=Assets(assets, allow_download=False))
    embedder.load()
    for name, after, until in (("calibrated on", 0, CALIBRATED), ("written later", CALIBRATED, None)):
        titles = list(dict.fromkeys(pair.title for pair in labelled_pairs()))[after:until]
        counts: dict[str, Counter[str]] = {label: Counter() for label in _LABELS}
        for pair in labelled_pairs():
            if pair.title in titles:
                one, other = embedder.encode([pair.one, pair.other], "document")
                found = compared(Lesson(pair.one), Lesson(pair.other), float(one @ other))
                counts[pair.label][found.relation] += 1
        for label, relations in counts.items():
            print(f"{name}  {label:9}", dict(relations))


if __name__ == "__main__":
    main()
