"""A prompt within a token budget: blanks first, then whole units, and a mark where something was cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reasoning_bank.compression.cutting import Plan, apart_from, occurrences, plan
from reasoning_bank.compression.lossless import removable_blanks
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.errors import InputError
from reasoning_bank.records import Compression, CompressionStep
from reasoning_bank.text.tokens import TokenCounter

MOST_LITERALS: Final = 100
"""Literals a call may preserve: each is looked for in the whole prompt, which may have megabytes."""

_ROUNDS: Final = 16
# A result this close to its budget is not tried to be filled further.
_UNUSED_SHARE: Final = 0.01


class PromptCompressor:
    """Compresses prompts to a hard token budget; keeps no state, safe to share among threads.

    Args:
        max_tokens: most tokens a result may have, unless a call says otherwise; at least 1.
        compression_ratio: most tokens a result may have as a share of the input's, in (0, 1].
        tokenizer: counts the tokens.
        truncation_head_ratio: share of the budget that the beginning gets when the middle is cut, in [0, 1].

    Raises:
        InputError: a number is out of its range.
    """

    def __init__(
        self,
        max_tokens: int = 12_000,
        compression_ratio: float = 0.7,
        *,
        tokenizer: TokenCounter,
        truncation_head_ratio: float = 0.6,
    ) -> None:
        _check(max_tokens, compression_ratio)
        if not 0 <= truncation_head_ratio <= 1:
            raise InputError(f"truncation_head_ratio is {truncation_head_ratio!r}: send a number from 0 to 1")
        self._max_tokens = max_tokens
        self._ratio = compression_ratio
        self._tokenizer = tokenizer
        self._head_ratio = truncation_head_ratio

    def compress(
        self,
        prompt: str,
        *,
        max_tokens: int | None = None,
        ratio: float | None = None,
        query: str | None = None,
        preserve: Sequence[str] = (),
    ) -> Compression:
        """Return the prompt in at most min(max_tokens, ratio x its tokens) tokens, one at the least.

        Trailing blanks and runs of empty lines outside code go first. When that is not enough, whole units (lines,
        sentences, fence lines with their fence) are kept: from both ends, or, with a query, those that share its words;
        every gap is marked. Words, numbers, addresses and code tokens are never cut. Deterministic, and idempotent at
        the same absolute target (`max_tokens` of the first result, ratio 1).

        Args:
            prompt: the text to compress.
            max_tokens: overrides the compressor's own; may be above the input's tokens.
            ratio: overrides the compressor's own.
            query: what the prompt will be asked.
            preserve: literals that stay wherever they occur, with the words around their ends.

        Raises:
            InputError: the prompt is empty, a number is out of its range, there are more literals than
                `MOST_LITERALS`, or what must be preserved is over budget.
        """
        most = self._max_tokens if max_tokens is None else max_tokens
        share = self._ratio if ratio is None else ratio
        _check(most, share)
        if not prompt.strip():
            raise InputError("prompt is empty: send the text to compress")
        if len(preserve) > MOST_LITERALS:
            raise InputError(f"preserve has {len(preserve)} literals, the limit is {MOST_LITERALS}: send fewer")
        before = self._tokenizer.count(prompt)
        budget = max(min(most, int(share * before)), 1)
        run = _Run(self._tokenizer, prompt, before, budget, tuple(preserve))
        return run.result(query=query if query and query.strip() else None, head_ratio=self._head_ratio)


def _check(max_tokens: int, ratio: float) -> None:
    if max_tokens < 1:
        raise InputError(f"max_tokens is {max_tokens!r}: send 1 or more")
    if not 0 < ratio <= 1:
        raise InputError(f"ratio is {ratio!r}: send a number above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class _Run:
    """One call: a prompt, its tokens and its budget."""

    tokenizer: TokenCounter
    prompt: str
    before: int
    budget: int
    preserve: tuple[str, ...]

    def result(self, *, query: str | None, head_ratio: float) -> Compression:
        pieces, tokens, steps = self._without_blanks()
        lossless = tokens <= self.budget
        if not lossless:
            pieces, after = self._cut(pieces, tokens, query=query, head_ratio=head_ratio)
            steps.append(CompressionStep("units_by_query" if query else "middle", tokens - after))
            tokens = after
        return Compression(
            text=pieces.text,
            tokens_before=self.before,
            tokens_after=tokens,
            tokenizer=self.tokenizer.name,
            exact=self.tokenizer.exact,
            lossless=lossless,
            steps=tuple(steps),
            kept=pieces.spans,
        )

    def _without_blanks(self) -> tuple[Pieces, int, list[CompressionStep]]:
        """Take out the blanks that carry no meaning, all of them or, where that costs tokens, none."""
        whole = Pieces.whole(self.prompt)
        blanks = removable_blanks(self.prompt)
        protected = occurrences(self.prompt, self.preserve)
        trailing, empty = apart_from(blanks.trailing, protected), apart_from(blanks.empty_lines, protected)
        if not trailing and not empty:
            return whole, self.before, []
        lean = whole.without(sorted([*trailing, *empty]))
        tokens = self.tokenizer.count(lean.text)
        if tokens > self.before:
            return whole, self.before, []
        if not empty:
            return lean, tokens, [CompressionStep("trailing_blanks", self.before - tokens)]
        between = self.tokenizer.count(whole.without(trailing).text) if trailing else self.before
        steps = [CompressionStep("trailing_blanks", self.before - between)] if trailing else []
        return lean, tokens, [*steps, CompressionStep("empty_lines", between - tokens)]

    def _cut(self, pieces: Pieces, tokens: int, *, query: str | None, head_ratio: float) -> tuple[Pieces, int]:
        """Keep the units that fit, by trial: the tokens of joined units do not simply add up."""
        cutting = plan(
            pieces,
            count=self.tokenizer.count,
            tokens=tokens,
            budget=self.budget,
            query=query,
            head_ratio=head_ratio,
            preserve=self.preserve,
        )
        best = self._least(cutting)
        target = self.budget
        for _ in range(_ROUNDS):
            cut = cutting.within(target)
            tokens = self.tokenizer.count(cut.text)
            if best[1] < tokens <= self.budget:
                best = cut, tokens
            elif tokens <= self.budget:
                break
            if 0 <= self.budget - tokens <= self.budget * _UNUSED_SHARE:
                break
            target += self.budget - tokens
            if target <= 0:
                break
        return best

    def _least(self, cutting: Plan) -> tuple[Pieces, int]:
        """Return the result of keeping only what must stay."""
        least = cutting.within(0)
        tokens = self.tokenizer.count(least.text)
        if tokens <= self.budget:
            return least, tokens
        if cutting.pinned:
            raise InputError(
                f"what must be preserved takes {tokens} tokens, the budget is {self.budget} of {self.before}:"
                " raise max_tokens or ratio, or preserve less"
            )
        return Pieces("", ()), 0
