"""What is asked of a compression, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

OnOverflow = Literal["truncate", "error"]
"""What is done when the protected parts alone are over the budget: cut them from the middle, or refuse."""


@dataclass(frozen=True, slots=True)
class CompressionStep:
    """One step of a compression and the tokens it saved.

    Attributes:
        lossless: what a reader needs is still there.
        needs_rule: the form changed: a reader needs a rule to read it back, and a parser would stumble.
    """

    name: str
    tokens_saved: int
    lossless: bool = True
    needs_rule: bool = False


@dataclass(frozen=True, slots=True)
class CompressionSegment:
    """A stretch of the prompt of one kind, by its [start, end) offsets, and the share of its characters kept, 0..1.

    JSON of which a part is kept is JSON still: whole items and entries are gone, and only long strings are shortened.
    """

    start: int
    end: int
    kind: str
    language: str | None
    kept_share: float


class CompressionLimits(TypedDict, total=False):
    """How far one prompt is to be compressed; what is left out, or None, is as the compressor was made.

    Attributes:
        max_tokens: most tokens of the result; may be above the input's.
        ratio: most tokens of the result as a share of the input's, in (0, 1]; the smaller of both bounds holds.
        preserve: what stays wherever it occurs: literals, and regular expressions (RE2) behind `re:`; what stands
            between `<keep>` and `</keep>` stays anyway.
        preserve_json: leave the form of JSON as it is, since something may parse it; False lets tables say keys once.
        drop_docstrings: take the docstrings out of code too.
        on_overflow: what is done when the protected parts alone are over the budget.
    """

    max_tokens: int | None
    ratio: float | None
    preserve: Sequence[str]
    preserve_json: bool
    drop_docstrings: bool
    on_overflow: OnOverflow | None


class CompressionOptions(CompressionLimits, total=False):
    """The limits, and what decides about the units that stay.

    Attributes:
        query: what the prompt will be asked; None looks for the prompt's own question.
    """

    query: str | None


@dataclass(frozen=True, slots=True)
class Compression:
    """A compressed prompt.

    Attributes:
        tokenizer: what counted the tokens.
        exact: False when the counts are estimates.
        error: mean error of the estimates as a share; 0 for exact counts.
        lossless: nothing a reader needs is gone.
        kept: [start, end) character offsets into the input of all that the text has of it; empty where not even a word
            fits the budget, and the text is a mark.
        segments: of what kinds the input was, and how much of each stretch was kept.
        degraded: "semantic" when meaning could not be compared, and words decided alone.
        question: what decided about the units that stay: the query, or the prompt's own question; None for neither.
    """

    text: str
    tokens_before: int
    tokens_after: int
    tokenizer: str
    exact: bool
    lossless: bool
    steps: tuple[CompressionStep, ...]
    kept: tuple[tuple[int, int], ...]
    segments: tuple[CompressionSegment, ...] = ()
    degraded: tuple[str, ...] = ()
    question: str | None = None
    error: float = 0.0

    @property
    def ratio(self) -> float:
        """Tokens after as a share of the tokens before, 0..1."""
        return self.tokens_after / max(self.tokens_before, 1)
