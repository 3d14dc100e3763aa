"""A prompt within a token budget: what loses nothing first, then whole units, and a mark where something was cut."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Unpack

from reasoning_bank.compression.edits import Edit, Kind, Segment, Span, Step, apart, merge
from reasoning_bank.compression.extraction import Extraction, Selection
from reasoning_bank.compression.pieces import Pieces
from reasoning_bank.compression.protect import protected
from reasoning_bank.compression.question import own_question
from reasoning_bank.compression.relevance import Encode
from reasoning_bank.compression.results import (
    Compression,
    CompressionOptions,
    CompressionSegment,
    CompressionStep,
    OnOverflow,
)
from reasoning_bank.compression.segments import segments
from reasoning_bank.compression.steps import REFERENCES, Settled, lossless_steps, lossy_steps
from reasoning_bank.errors import InputError
from reasoning_bank.text.tokens import TokenCounter

_LOSSLESS_DONE: Final = 0.3

Progress = Callable[[float], object]
"""Called between two steps with the share done, 0..1; an exception it raises ends the work."""


Shorten = Callable[[str, float], list[Edit]]
"""Takes words out of a text so that about that share of it is left; raises ModelUnavailableError."""

_PROSE: Final[frozenset[Kind]] = frozenset({"prose", "chat", "memories"})


def _no_progress(_: float) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One call's options, checked."""

    max_tokens: int
    ratio: float
    query: str | None
    preserve: tuple[str, ...]
    preserve_json: bool
    drop_docstrings: bool
    on_overflow: OnOverflow


class PromptCompressor:
    """Compresses prompts to a hard token budget; keeps no state, safe to share among threads.

    Args:
        max_tokens: most tokens a result may have, unless a call says otherwise; at least 1.
        compression_ratio: most tokens a result may have as a share of the input's, in (0, 1].
        tokenizer: counts the tokens.
        truncation_head_ratio: share of the budget that the beginning gets when protected parts are cut, in [0, 1].
        on_overflow: what is done when the protected parts alone are over the budget.
        shorten: a model that takes words out of prose before whole units are cut; None cuts units only.

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
        on_overflow: OnOverflow = "truncate",
        shorten: Shorten | None = None,
    ) -> None:
        if not 0 <= truncation_head_ratio <= 1:
            raise InputError(f"truncation_head_ratio is {truncation_head_ratio!r}: send a number from 0 to 1")
        self._defaults = _Wanted(max_tokens, compression_ratio, None, (), True, False, on_overflow)
        _check(self._defaults)
        self._tokenizer = tokenizer
        self._head_ratio = truncation_head_ratio
        self._shorten = shorten

    def compress(
        self,
        prompt: str,
        *,
        encode: Encode | None = None,
        progress: Progress = _no_progress,
        **options: Unpack[CompressionOptions],
    ) -> Compression:
        """Return the prompt in at most min(max_tokens, ratio x its tokens) tokens, one at the least.

        What loses nothing is done always: blanks, the layout of JSON, comments, repeats. When that is not enough, logs
        and stack traces are folded, and then whole units (sentences, chat turns, blocks of code, lines) are kept: those
        that have to do with the query, else with the prompt's own question, else with what it is about. Every gap is
        marked: one in JSON behind it, so that it still parses, and not at all where the prompt is JSON and nothing
        else. Where not even the question fits, its telling words stay. Words, numbers, addresses and code tokens are
        never cut. Deterministic, and idempotent at the same absolute target (`max_tokens` of the first result, ratio
        1).

        Args:
            prompt: the text to compress.
            encode: the embedding model, asked for the meaning of at most 129 short texts; None goes by words alone.
            progress: called between two steps.
            options: see `CompressionOptions`.

        Raises:
            InputError: the prompt is empty, an option is out of its range, or on_overflow is "error" and what is
                protected is over budget; the text says what to send.
        """
        wanted = self._wanted(options)
        if not prompt.strip():
            raise InputError("prompt is empty: send the text to compress")
        count = _remembered(self._tokenizer.count)
        before = count(prompt)
        budget = max(min(wanted.max_tokens, int(wanted.ratio * before)), 1)
        # Steps that change nothing leave a text whose segments are known.
        known = lru_cache(maxsize=2)(segments)
        run = _Run(self._tokenizer, count, prompt, before, budget, wanted, _forward(progress), known, self._shorten)
        return run.result(encode, self._head_ratio)

    def _wanted(self, options: CompressionOptions) -> _Wanted:
        given = {name: value for name, value in options.items() if value is not None}
        preserve = options.get("preserve") or ()
        # A string is a sequence too, of characters that would all stay.
        given["preserve"] = (preserve,) if isinstance(preserve, str) else tuple(preserve)
        query = (options.get("query") or "").strip()
        wanted = replace(self._defaults, **{**given, "query": query or None})
        _check(wanted)
        return wanted


def _forward(progress: Progress) -> Progress:
    """Return a progress that never goes back: some steps are done again after a cut."""
    reached = 0.0

    def report(done: float) -> None:
        nonlocal reached
        reached = max(reached, done)
        progress(reached)

    return report


def _remembered(count: Callable[[str], int]) -> Callable[[str], int]:
    """Return a counter that counts no text twice; a prompt may have megabytes, so it remembers hashes."""
    known: dict[int, int] = {}

    def counted(text: str) -> int:
        key = hash(text)
        if key not in known:
            known[key] = count(text)
        return known[key]

    return counted


def _check(wanted: _Wanted) -> None:
    if wanted.max_tokens < 1:
        raise InputError(f"max_tokens is {wanted.max_tokens!r}: send 1 or more")
    if not 0 < wanted.ratio <= 1:
        raise InputError(f"ratio is {wanted.ratio!r}: send a number above 0 and at most 1")
    if wanted.on_overflow not in {"truncate", "error"}:
        raise InputError(f"on_overflow is {wanted.on_overflow!r}: send 'truncate' or 'error'")


@dataclass(frozen=True, slots=True)
class _State:
    """How far a run is."""

    pieces: Pieces
    tokens: int
    steps: tuple[CompressionStep, ...] = ()


@dataclass(frozen=True, slots=True)
class _Run:
    """One call: a prompt, its tokens and its budget."""

    tokenizer: TokenCounter
    count: Callable[[str], int]
    prompt: str
    before: int
    budget: int
    wanted: _Wanted
    progress: Progress
    segments: Callable[[str], tuple[Segment, ...]]
    shorten: Shorten | None
    settled: Settled = field(default_factory=Settled)

    def result(self, encode: Encode | None, head_ratio: float) -> Compression:
        found = self.segments(self.prompt)
        whole = _State(Pieces.whole(self.prompt), self.before)
        state = self._lean(whole)
        self.progress(_LOSSLESS_DONE)
        question: str | None = None
        is_degraded = False
        if state.tokens > self.budget:
            question = self.wanted.query or own_question(self.prompt, found)
            folded = self._folded(state, question)
            state = self._lean(folded)
            if state.tokens > self.budget:
                # What a reference points at could be cut: repeats stay, and are the first to go.
                if any(step.name == REFERENCES for step in folded.steps):
                    folded = self._folded(self._lean(whole, references=False), question)
                state = self._shortened(folded)
        if state.tokens > self.budget:
            selection = self._extraction(state, found, head_ratio).selection(question, encode)
            state, is_degraded = self._lean(self._cut(state, selection)), selection.is_degraded
        self.progress(1.0)
        return self._answer(state, found, question=question, is_degraded=is_degraded)

    def _lean(self, state: _State, *, references: bool = True) -> _State:
        """Do all that loses nothing; a cut can make room for it too."""
        text = state.pieces.text
        steps = lossless_steps(
            text,
            self.segments(text),
            protected(text, self.wanted.preserve),
            preserve_json=self.wanted.preserve_json,
            docstrings=self.wanted.drop_docstrings,
            count=self.count,
            settled=self.settled,
        )
        return self._with(state, [step for step in steps if references or step.name != REFERENCES], until=0)

    def _folded(self, state: _State, question: str | None) -> _State:
        """Fold what repeats with other numbers, and what libraries say, as far as the budget asks."""
        text = state.pieces.text
        preserved = protected(text, self.wanted.preserve)
        steps = lossy_steps(text, self.segments(text), preserved, count=self.count, question=question or "")
        return self._with(state, steps, until=self.budget)

    def _shortened(self, state: _State) -> _State:
        """Let the model take words out of the prose that is not protected, where there is one."""
        if self.shorten is None or state.tokens <= self.budget:
            return state
        text, share = state.pieces.text, self.budget / state.tokens
        edits = [
            Edit(edit.start + segment.start, edit.end + segment.start, edit.text)
            for segment in self.segments(text)
            if segment.kind in _PROSE and not segment.is_protected
            for edit in self.shorten(text[segment.start : segment.end], share)
        ]
        free = apart(edits, protected(text, self.wanted.preserve))
        return self._with(state, [Step("llmlingua", tuple(free), is_lossless=False)], until=0)

    def _with(self, state: _State, steps: Iterable[Step], *, until: int) -> _State:
        """Make the edits of the steps that save tokens, one step after the other, until so few tokens are left."""
        whole = state.pieces
        edits: Sequence[Edit] = ()
        for step in steps:
            self.progress(_LOSSLESS_DONE)
            merged = merge(edits, step.edits)
            pieces = whole.edited(merged)
            tokens = self.count(pieces.text)
            # As many tokens for fewer characters: counts are rounded, and what is left now would go the next time.
            is_shorter = step.is_lossless and tokens == state.tokens and len(pieces.text) < len(state.pieces.text)
            if tokens < state.tokens or is_shorter:
                edits = merged
                state = _State(pieces, tokens, _counted(state.steps, step, state.tokens - tokens))
            if state.tokens <= until:
                break
        return state

    def _extraction(self, state: _State, found: Sequence[Segment], head_ratio: float) -> Extraction:
        text = state.pieces.text
        return Extraction(
            state.pieces,
            state.tokens,
            tuple(_now(state.pieces, found)),
            tuple(protected(text, self.wanted.preserve)),
            count=self.count,
            budget=self.budget,
            head_ratio=head_ratio,
            progress=self.progress,
        )

    def _cut(self, state: _State, selection: Selection) -> _State:
        if selection.is_truncated and self.wanted.on_overflow == "error":
            raise InputError(
                f"what is protected takes {selection.protected_tokens} tokens, the budget is {self.budget} of"
                f" {self.before}: raise max_tokens or ratio, or preserve less"
            )
        step = CompressionStep(selection.name, state.tokens - selection.tokens, lossless=False)
        return _State(selection.pieces, selection.tokens, (*state.steps, step))

    def _answer(
        self, state: _State, found: Sequence[Segment], *, question: str | None, is_degraded: bool
    ) -> Compression:
        spans = state.pieces.spans
        return Compression(
            text=state.pieces.text,
            tokens_before=self.before,
            tokens_after=state.tokens,
            tokenizer=self.tokenizer.name,
            exact=self.tokenizer.exact,
            lossless=all(step.lossless for step in state.steps),
            steps=state.steps,
            kept=spans,
            segments=tuple(_shares(found, spans)),
            degraded=("semantic",) if is_degraded else (),
            question=question,
            error=self.tokenizer.error,
        )


def _counted(steps: Sequence[CompressionStep], step: Step, saved: int) -> tuple[CompressionStep, ...]:
    """Return the steps with one more; what is done again counts as the same step."""
    before = sum(done.tokens_saved for done in steps if done.name == step.name)
    made = CompressionStep(step.name, before + saved, lossless=step.is_lossless, needs_rule=step.needs_rule)
    return (*(done for done in steps if done.name != step.name), made)


def _now(pieces: Pieces, found: Sequence[Segment]) -> Iterator[Segment]:
    """Yield the segments of the prompt where they are now."""
    places = iter(pieces.located(place for each in found for place in (each.start, each.end, *each.body)))
    for segment, (start, end, opening, closing) in zip(found, zip(*[places] * 4, strict=True), strict=True):
        yield replace(segment, start=start, end=end, body=(opening, closing))


def _shares(found: Sequence[Segment], spans: Sequence[Span]) -> Iterator[CompressionSegment]:
    """Yield the segments with the share of their characters that the spans hold; both sorted and apart."""
    at = 0
    for segment in found:
        kept = 0
        while at < len(spans) and spans[at][1] <= segment.start:
            at += 1
        each = at
        while each < len(spans) and spans[each][0] < segment.end:
            kept += min(spans[each][1], segment.end) - max(spans[each][0], segment.start)
            each += 1
        share = kept / max(segment.end - segment.start, 1)
        yield CompressionSegment(segment.start, segment.end, segment.kind, segment.language, share)
