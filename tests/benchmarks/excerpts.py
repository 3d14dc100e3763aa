"""What the context block keeps of long memories: `python -m tests.benchmarks excerpts`.

The contexts of dev/compress are cut into memories of so many characters; a block of 800 tokens is made of those that
hold the evidence and of others, five in all. Counted is the share of the evidence that stands in the block to the
letter, with the beginning of each memory kept, and with what has to do with the question.
"""

import json
import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import platformdirs

from reasoning_bank.evaluation.compressing import Item, read_items
from reasoning_bank.evaluation.metrics import means
from reasoning_bank.records import Counters, Memory, MemoryItem, RetrievedMemory
from reasoning_bank.retrieval.context import context_block
from reasoning_bank.text.tokens import TokenCounter, counter
from tests.benchmarks.machine import RESULTS, evaluation_data, machine

SETS = ("hotpot", "locomo", "evidence_inference")
SIZES = (800, 1_200, 2_500)
"""Characters of a memory."""
BUDGET, MEMORIES = 800, 5


def main(_: list[str]) -> None:
    """Measure, and write tests/benchmarks/results/excerpts.json."""
    root = evaluation_data()
    if root is None:
        return
    tokens = counter("o200k_base", platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets")
    tokens.load()
    report: dict[str, Any] = {"machine": machine(), "budget": BUDGET, "memories": MEMORIES}
    for name in SETS:
        items = read_items(root / "compress" / f"{name}.jsonl")
        for size in SIZES:
            rows, spent = _rows(items, size, tokens)
            figures = {kind: figure.value for kind, figure in means(rows).items()}
            report.setdefault(name, {})[str(size)] = {"items": len(rows), **figures, **spent}
            print(name, size, report[name][str(size)], flush=True)
    (RESULTS / "excerpts.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _rows(items: list[Item], size: int, tokens: TokenCounter) -> tuple[list[dict[str, float]], dict[str, float]]:
    rows: list[dict[str, float]] = []
    spent: dict[str, list[float]] = {"beginning": [], "question": []}
    chance = random.Random(1)
    for item in items:
        parts = [item.context[start:end] for start, end in _parts(item.context, size)]
        evidence = [item.context[start:end] for start, end in item.evidence]
        gold = [part for part in parts if any(span in part for span in evidence)][:MEMORIES]
        sought = [" ".join(span.split()) for span in evidence if any(span in part for part in gold)]
        if not sought:
            continue
        others = [part for part in parts if part not in gold]
        chance.shuffle(others)
        found = [_memory(part) for part in [*gold, *others][:MEMORIES]]
        row: dict[str, float] = {}
        for kind, query in {"beginning": "", "question": item.question}.items():
            started = time.process_time()
            block = context_block(found, budget=BUDGET, count_tokens=tokens.count, query=query)
            spent[kind].append(1000 * (time.process_time() - started))
            assert tokens.count(block) <= BUDGET
            row[kind] = statistics.mean(span in " ".join(block.split()) for span in sought)
        rows.append(row)
    return rows, {f"{kind}_cpu_ms": round(statistics.median(each), 2) for kind, each in spent.items()}


def _parts(text: str, size: int) -> Iterator[tuple[int, int]]:
    """Yield stretches of about a size that end with a line or a sentence."""
    start = 0
    while start < len(text):
        end = min(start + size, len(text))
        stop = max(text.rfind("\n", start, end), text.rfind(". ", start, end) + 1)
        end = stop + 1 if end < len(text) and stop > start else end
        if text[start:end].strip():
            yield start, end
        start = end


def _memory(text: str) -> RetrievedMemory:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return RetrievedMemory(Memory("m", "w", "t", MemoryItem(text), Counters(), now, now, ""), 0.5, None)
