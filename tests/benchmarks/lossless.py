"""What the steps of the compression that lose nothing save on real prompts, by kind, and how fast they are.

`python -m tests.benchmarks lossless [FILE]` reads `{"kind", "text"}` rows, by default the prompts of
REASONING_BANK_EVAL_DATA, and writes results/lossless.json.
"""

import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from reasoning_bank.compression.edits import Edit, Step, apply
from reasoning_bank.compression.segments import segments
from reasoning_bank.compression.steps import lossless_steps, lossy_steps
from reasoning_bank.text.tokens import TokenCounter, counter
from tests.benchmarks.machine import REPOSITORY, RESULTS, machine

TOKENS = (1_000, 8_000, 100_000)
"""Sizes of prompt that are timed."""


def main(arguments: list[str]) -> None:
    """Write results/lossless.json and print its table."""
    data = Path(os.environ.get("REASONING_BANK_EVAL_DATA", REPOSITORY.parent / "shared" / "data" / "dev"))
    file = Path(arguments[0]) if arguments else data / "prompts" / "prompts.jsonl"
    if not file.is_file():
        print(f"skipped: no prompts in {file} (set REASONING_BANK_EVAL_DATA)", file=sys.stderr)
        return
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    tokenizer = o200k()
    figures = savings(((row["kind"], row["text"]) for row in rows), tokenizer.count)
    speed = [timed([row["text"] for row in rows], size, tokenizer.count) for size in TOKENS]
    print(table(figures))
    print("\n".join(json.dumps(line) for line in speed))
    result = {
        "machine": machine(),
        "tokenizer": tokenizer.name,
        "exact": tokenizer.exact,
        "kinds": figures,
        "speed": speed,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "lossless.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def o200k() -> TokenCounter:
    """The exact counter where its ranks are installed, else the estimator."""
    import platformdirs

    named = os.environ.get("REASONING_BANK_ASSETS_DIR")
    assets = Path(named) if named else platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets"
    return counter("o200k_base", assets)


def savings(rows: Iterable[tuple[str, str]], count: Callable[[str], int]) -> dict[str, dict[str, int]]:
    """Tokens by kind: "tokens" before, "lossless", with docstrings gone too, with tables, "lossy" on top; each step."""
    figures: dict[str, dict[str, int]] = defaultdict(Counter[str])
    for kind, text in rows:
        found = segments(text)
        steps = lossless_steps(text, found, count=count)
        lean = apply(text, edits_of(steps))
        documented = lossless_steps(text, found, count=count, docstrings=True)
        tabled = lossless_steps(text, found, count=count, preserve_json=False)
        added = {
            "texts": 1,
            "tokens": count(text),
            "lossless": count(lean),
            "lossless, docstrings gone": count(apply(text, edits_of(documented))),
            "lossless, JSON as tables": count(apply(text, edits_of(tabled))),
            "with log and trace folding": count(apply(lean, edits_of(lossy_steps(lean, segments(lean), count=count)))),
        }
        added |= {f"step {step.name}": count(text) - count(apply(text, step.edits)) for step in steps}
        for each in (kind, "all"):
            for name, tokens in added.items():
                figures[each][name] = figures[each].get(name, 0) + tokens
    return {kind: dict(each) for kind, each in figures.items()}


def edits_of(steps: Sequence[Step]) -> list[Edit]:
    """The edits of all steps, sorted."""
    return sorted(edit for step in steps for edit in step.edits)


def table(figures: dict[str, dict[str, int]]) -> str:
    """Markdown: share of the tokens saved, by kind."""
    columns = ["lossless", "lossless, docstrings gone", "lossless, JSON as tables", "with log and trace folding"]
    lines = [f"| kind | texts | tokens | {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) + 2)]
    for kind, each in figures.items():
        shares = " | ".join(f"{100 * (1 - each[name] / max(each['tokens'], 1)):.1f} %" for name in columns)
        lines.append(f"| {kind} | {each['texts']} | {each['tokens']:,} | {shares} |")
    return "\n".join(lines)


def timed(texts: Sequence[str], size: int, count: Callable[[str], int]) -> dict[str, Any]:
    """Seconds per stage for a prompt of about so many tokens, made of all the texts in turn."""
    text, at = "", 0
    while len(text) < 4 * size:
        text += texts[at % len(texts)] + "\n\n"
        at += 7
    text = text[: 4 * size]
    started = time.perf_counter()
    found = segments(text)
    split = time.perf_counter()
    steps = lossless_steps(text, found, count=count)
    done = time.perf_counter()
    lossy_steps(text, found, count=count)
    return {
        "tokens": count(text),
        "segments_s": round(split - started, 4),
        "lossless_s": round(done - split, 4),
        "lossy_s": round(time.perf_counter() - done, 4),
        "saved": count(text) - count(apply(text, edits_of(steps))),
    }
