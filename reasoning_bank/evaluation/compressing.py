"""Compression measured: how much of the evidence for a question is left within a token budget.

A row is `{"id", "question", "context", "evidence": [{"start", "end"}], "answer", "metadata": {"mode", "category"}}`:
character offsets into the context; mode `all` succeeds with every span retained, `any` with one of them.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from reasoning_bank.errors import InputError
from reasoning_bank.evaluation.baselines import Bm25
from reasoning_bank.evaluation.metrics import Interval, means
from reasoning_bank.evaluation.sets import read_rows
from reasoning_bank.records import JsonValue
from reasoning_bank.transfer.rows import decode_line
from reasoning_bank.transfer.values import Json, read_count, read_name, read_object, read_one_of, read_text

RATIOS = (0.5, 0.3, 0.2)
"""Budgets as shares of the context's tokens."""
RETAINED = 0.9
"""Share of a span's characters that must be kept."""
LONGEST_UNIT = 700
"""What is longer is cut, marked or not (characters)."""
HEAD_SHARE = 0.6

_TURN = re.compile(r"(?:\[[^\]]*\] *)?[\w .'-]{1,40}: ")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-Z0-9\"'(\[])")

Span = tuple[int, int]
Progress = Callable[[int, int], object]
CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Item:
    """A question, a text that answers it, and where."""

    id: str
    question: str
    context: str
    evidence: tuple[Span, ...]
    mode: Literal["all", "any"]
    answer: str


@dataclass(frozen=True, slots=True)
class Compressed:
    """What a compressor left: the text, and which [start, end) of the context it is made of."""

    text: str
    kept: tuple[Span, ...]


Compress = Callable[[Item, int], Compressed]
"""Compresses the context of an item to at most so many tokens."""


@dataclass(frozen=True, slots=True)
class RatioFigures:
    """What one method keeps at one budget.

    Attributes:
        figures: "evidence" (mean share of retained spans), "success" (all, or any, of them), "answer" (the answer
            still stands in the text, of items whose context holds it), "tokens" (used share of the budget).
        over_budget: results that take more tokens than allowed.
    """

    figures: Mapping[str, Interval]
    over_budget: int


@dataclass(frozen=True, slots=True)
class CompressionFigures:
    """Method -> budget ("50 %") -> what is kept; the method under test is "reasoning-bank"."""

    items: int
    methods: Mapping[str, Mapping[str, RatioFigures]]


def read_items(path: Path) -> list[Item]:
    """Read a compression set; raises InputError that lists file, line and reason of bad rows."""
    return read_rows(path, path.read_bytes(), lambda line, number: _item(read_object(decode_line(line), "row"), number))


def compress_set(
    items: Sequence[Item],
    compress: Compress,
    *,
    count_tokens: CountTokens,
    progress: Progress | None = None,
) -> CompressionFigures:
    """Compress every item to every budget, with the method under test and the baselines."""
    runs: dict[str, Compress] = {"reasoning-bank": compress, **baselines(count_tokens)}
    measured: dict[str, dict[float, list[dict[str, float]]]] = {name: {ratio: [] for ratio in RATIOS} for name in runs}
    for done, item in enumerate(items, start=1):
        tokens = count_tokens(item.context)
        for name, run in runs.items():
            for ratio in RATIOS:
                budget = max(int(ratio * tokens), 1)
                result = run(item, budget)
                measured[name][ratio].append(judge(item, result, used=count_tokens(result.text) / budget))
        if progress is not None:
            progress(done, len(items))
    return CompressionFigures(
        items=len(items),
        methods={
            name: {f"{ratio:.0%}": _summary(rows) for ratio, rows in by_ratio.items()}
            for name, by_ratio in measured.items()
        },
    )


def judge(item: Item, result: Compressed, *, used: float) -> dict[str, float]:
    """Figures of one result; "answer" only where the context holds the answer."""
    retained = [_covered(span, result.kept) >= RETAINED * (span[1] - span[0]) for span in item.evidence]
    success = all(retained) if item.mode == "all" else any(retained)
    figures = {"evidence": sum(retained) / len(retained), "success": float(success), "tokens": used}
    if item.answer and item.answer in item.context:
        figures["answer"] = float(item.answer in result.text)
    return figures


def units(context: str) -> list[Span]:
    """Sentences, or the turns where most lines are turns of a talk, as [start, end) without the blanks around them."""
    lines = list(re.finditer(r"[^\n]*\S[^\n]*", context))
    talk = sum(bool(_TURN.match(line[0])) for line in lines) > len(lines) / 2
    found: list[Span] = []
    for line in lines:
        start = line.start()
        cuts = () if talk else _SENTENCE.finditer(line[0])
        for end in [*(line.start() + cut.start() for cut in cuts), line.end()]:
            found += _stripped(context, start, end)
            start = end
    return found


def baselines(count_tokens: CountTokens) -> dict[str, Compress]:
    """Compressors that anyone could write: they say how easy a set is."""

    def greedy(order: Callable[[Item, Sequence[Span]], Sequence[int]]) -> Compress:
        def compress(item: Item, max_tokens: int) -> Compressed:
            spans = units(item.context)
            return _greedy(item.context, spans, order(item, spans), budget=max_tokens, count_tokens=count_tokens)

        return compress

    def ends(head_share: float) -> Compress:
        def compress(item: Item, max_tokens: int) -> Compressed:
            return _ends(item.context, max_tokens, head_share=head_share, count_tokens=count_tokens)

        return compress

    return {"head": ends(1.0), "head+tail": ends(HEAD_SHARE), "random": greedy(_shuffled), "bm25": greedy(_by_bm25)}


def _item(data: Json, number: int) -> Item:
    metadata = read_object(data.get("metadata") or {}, "metadata")
    context, question = read_text(data, "context"), read_text(data, "question")
    if not context or not question:
        raise InputError("'context' or 'question' is missing or empty")
    spans = data.get("evidence")
    if not isinstance(spans, list) or not spans:
        raise InputError("'evidence' must be a list of {start, end}, at least one")
    return Item(
        id=read_name(data, "id") or str(number),
        question=question,
        context=context,
        evidence=tuple(_span(span, len(context)) for span in spans),
        mode=read_one_of(metadata, "mode", cast("tuple[Literal['all', 'any'], ...]", ("all", "any")), "all"),
        answer=read_text(data, "answer") or "",
    )


def _span(value: JsonValue, length: int) -> Span:
    span = read_object(value, "a span of 'evidence'")
    start, end = read_count(span, "start"), read_count(span, "end")
    if start is None or end is None or not start < end <= length:
        raise InputError(f"evidence {start}..{end} is no part of a context of {length} characters")
    return start, end


def _summary(rows: Sequence[Mapping[str, float]]) -> RatioFigures:
    figures = means([{name: row[name] for name in ("evidence", "success", "tokens")} for row in rows])
    with_answer = [{"answer": row["answer"]} for row in rows if "answer" in row]
    return RatioFigures({**figures, **means(with_answer)}, over_budget=sum(row["tokens"] > 1 for row in rows))


def _covered(span: Span, kept: Sequence[Span]) -> int:
    return sum(max(0, min(span[1], end) - max(span[0], start)) for start, end in kept)


def _stripped(context: str, start: int, end: int) -> Iterator[Span]:
    for first in range(start, end, LONGEST_UNIT):
        part = context[first : min(first + LONGEST_UNIT, end)]
        if part.strip():
            left = first + len(part) - len(part.lstrip())
            yield left, first + len(part.rstrip())


def _greedy(
    context: str, spans: Sequence[Span], order: Sequence[int], *, budget: int, count_tokens: CountTokens
) -> Compressed:
    """Units in the given order while they fit, skipping what does not; written in the order of the text."""
    costs = [count_tokens(context[start:end] + "\n") for start, end in spans]
    chosen: list[int] = []
    left = budget
    for place in order:
        if costs[place] <= left:
            chosen.append(place)
            left -= costs[place]
    kept = tuple(spans[place] for place in sorted(chosen))
    return Compressed("\n".join(context[start:end] for start, end in kept), kept)


def _ends(context: str, budget: int, *, head_share: float, count_tokens: CountTokens) -> Compressed:
    head = _fitting(len(context), lambda length: count_tokens(context[:length]) <= int(budget * head_share))
    left = budget - count_tokens(context[:head]) - 1
    room = len(context) - head
    tail = _fitting(room, lambda n: count_tokens(context[len(context) - n :]) <= left) if head_share < 1 else 0
    kept = ((0, head), (len(context) - tail, len(context)))
    return Compressed("\n".join(context[start:end] for start, end in kept if start < end), kept)


def _fitting(most: int, fits: Callable[[int], bool]) -> int:
    """The largest length up to `most` that fits, by bisection; lengths below one that fits are taken to fit."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _shuffled(item: Item, spans: Sequence[Span]) -> list[int]:
    order = list(range(len(spans)))
    random.Random(item.id).shuffle(order)  # noqa: S311 -- the same items are always drawn alike
    return order


def _by_bm25(item: Item, spans: Sequence[Span]) -> list[int]:
    scores = Bm25([item.context[start:end] for start, end in spans]).scores(item.question)
    return sorted(range(len(spans)), key=lambda place: (-scores[place], place))
