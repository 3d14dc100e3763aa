"""What a compression keeps, saves and costs: `python -m tests.benchmarks compression [PART ...]`.

Parts: `evidence` (recall of evidence at 50, 30 and 20 % beside simple methods, with and without the question), `kinds`
(76 real texts: what loses nothing saves, and ratio 0.7), `claims` (three prompts against 16, 30 and 35 %), `speed`
(by size and stage, wall and CPU time, no vector known from an earlier call) and `memory` (10 MB, library and command).
VECTORS=FILE keeps the vectors of `evidence`, so that a second run takes minutes.
Evidence is counted in cl100k_base tokens; LoCoMo is CC BY-NC 4.0, for measuring only.
"""

import ast
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import platformdirs

from reasoning_bank.assets import Assets
from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.relevance import Encode
from reasoning_bank.embeddings.embedder import Kind, Vectors
from reasoning_bank.embeddings.onnx import OnnxEmbedder
from reasoning_bank.evaluation.bench.prompting import SAVED, packaged_prompt
from reasoning_bank.evaluation.compressing import RATIOS, Compressed, Item, baselines, judge, read_items, units
from reasoning_bank.evaluation.metrics import means
from reasoning_bank.text.tokens import TokenCounter, counter
from tests.benchmarks.machine import RESULTS, evaluation_data, machine

SETS = ("hotpot", "locomo", "evidence_inference")
SIZES = {1_000: 40, 8_000: 20, 100_000: 5}
"""Tokens of a prompt -> how many are compressed."""
LARGE = 10_000_000
"""Characters of the prompts that `memory` compresses."""
LEAN_DONE, CHOSEN_DONE = 0.3, 0.8
"""What a compressor reports when a stage is done."""


class KeptVectors:
    """The default model, with the vectors of all texts it was asked for in one file."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, Vectors] = {}
        self._embedder = OnnxEmbedder(assets=Assets(_assets(), allow_download=False))
        if file is not None and file.exists():
            with np.load(file) as kept:
                self._known = dict(zip(kept["t"].tolist(), kept["v"], strict=True))

    def __call__(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """The vectors of texts, computed where they are new."""
        self._embedder.load()
        missing = sorted({text for text in texts if text not in self._known}, key=len)
        for start in range(0, len(missing), 8):
            some = missing[start : start + 8]
            self._known |= dict(zip(some, self._embedder.encode(some, kind), strict=True))
        return np.stack([self._known[text] for text in texts])

    def keep(self) -> None:
        """Write the file."""
        if self._file is not None:
            texts = np.array(list(self._known), dtype=object).astype(str)
            np.savez(self._file, t=texts, v=np.stack(list(self._known.values())))


def evidence(root: Path, encode: KeptVectors) -> dict[str, Any]:
    """Recall of evidence, success and answers kept, per set and method, with 95 % intervals."""
    tokenizer = _counter("cl100k_base")
    compressor = PromptCompressor(10**9, 1.0, tokenizer=tokenizer)
    report: dict[str, Any] = {}
    for name in SETS:
        items = read_items(root / "compress" / f"{name}.jsonl")
        methods = {
            "without the model": _by(compressor, None),
            "without the question": _by(compressor, None, with_question=False),
            "dense": _dense(encode, tokenizer),
            **baselines(tokenizer.count),
        }
        report[name] = {"items": len(items)}
        for label, method in {"reasoning-bank": _by(compressor, encode), **methods}.items():
            report[name][label] = by_ratio = _retained(items, method, tokenizer)
            print(f"{name:20} {label:22} {_line(by_ratio)}", flush=True)
            encode.keep()
    return report


def kinds(root: Path) -> dict[str, Any]:
    """Tokens saved by what loses nothing, and at ratio 0.7, per kind of real text; syntax trees and values compared."""
    compressor = PromptCompressor(10**9, 1.0, tokenizer=_counter("o200k_base"))
    saved: dict[str, list[tuple[int, int, int]]] = {}
    for line in (root / "prompts" / "prompts.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        lean, cut = compressor.compress(row["text"]), compressor.compress(row["text"], ratio=0.7)
        assert cut.tokens_after <= 0.7 * cut.tokens_before
        assert _same(row["text"], lean.text)
        saved.setdefault(row["kind"], []).append((lean.tokens_before, lean.tokens_after, cut.tokens_after))
    report: dict[str, Any] = {}
    for kind, rows in sorted(saved.items()):
        before, after, cut = (sum(column) for column in zip(*rows, strict=True))
        report[kind] = {
            "texts": len(rows),
            "tokens": before,
            "lossless": 1 - after / before,
            "at_0.7": 1 - cut / before,
        }
        print(f"{kind:30} {len(rows):3} texts  lossless {1 - after / before:.1%}  at 0.7 {1 - cut / before:.1%}")
    return report


def claims() -> dict[str, Any]:
    """Three prompts of about 500, 2,500 and 8,000 tokens: lossless alone, and at the ratio that the claim means."""
    compressor = PromptCompressor(10**9, 1.0, tokenizer=_counter("o200k_base"))
    report: dict[str, Any] = {}
    for name, claim in SAVED.items():
        prompt = packaged_prompt(name)
        lean, cut = compressor.compress(prompt), compressor.compress(prompt, ratio=1 - claim)
        report[name] = {
            "tokens": lean.tokens_before,
            "claim": claim,
            "lossless": 1 - lean.ratio,
            "at_the_claim": 1 - cut.ratio,
            "lossless_steps": {step.name: step.tokens_saved for step in lean.steps},
            "steps": {step.name: step.tokens_saved for step in cut.steps},
        }
        print(
            f"{name:10} {lean.tokens_before:6} tokens  claim {claim:.0%}  lossless {1 - lean.ratio:.1%}"
            f"  at the claim {1 - cut.ratio:.1%} {report[name]['steps']}"
        )
    return report


def speed(root: Path) -> dict[str, Any]:
    """Milliseconds of one call by size: lossless alone, to half without a question, by words, and with the model."""
    tokenizer = _counter("o200k_base")
    texts = _texts(root)
    embedder = OnnxEmbedder(assets=Assets(_assets(), allow_download=False))
    embedder.load()
    asked = {"ratio": 0.5, "query": "Why is the export slow?"}
    calls: dict[str, dict[str, Any]] = {
        "lossless": {"ratio": 1.0},
        "no question": {"ratio": 0.5},
        "words": asked,
        "model": {**asked, "encode": partial(_encoded, embedder)},
    }
    report: dict[str, Any] = {}
    for size, times in SIZES.items():
        prompts = [_of_size(texts, tokenizer, size, number) for number in range(times)]
        for label, options in calls.items():
            compressor = PromptCompressor(10**9, tokenizer=tokenizer)
            figures = _figures([_timed(compressor, prompt, options) for prompt in prompts], size)
            report.setdefault(str(size), {})[label] = figures
            print(f"{size:7} tokens  {label:12} {figures}", flush=True)
    return report


def memory(root: Path) -> dict[str, Any]:
    """Seconds of CPU and most memory of a process that compresses ten megabytes to half, by words."""
    report: dict[str, Any] = {}
    with TemporaryDirectory() as directory:
        file = Path(directory) / "prompt.txt"
        library = (
            "import pathlib, reasoning_bank as bank;"
            f"text = pathlib.Path({str(file)!r}).read_text(encoding='utf-8');"
            "bank.compress(text, 'Why?', meaning=False, ratio=0.5, max_tokens=9_999_999)"
        )
        command = ["-m", "reasoning_bank", "compress", str(file), "--query", "Why?", "--no-meaning"]
        command += ["--ratio", "0.5", "--max-tokens", "9999999"]
        for kind, text in _megabytes(_texts(root)):
            file.write_text(text, encoding="utf-8")
            calls = {f"{kind}, library": ["-c", library]}
            calls |= {f"{kind}, command": command} if kind == "mixed" else {}
            for label, arguments in calls.items():
                report[label] = {"input_mb": round(file.stat().st_size / 1e6, 1), **_used(arguments)}
                print(f"memory {label:16} {report[label]}", flush=True)
        report["import alone, library"] = _used(["-c", "import numpy, tiktoken, reasoning_bank.compressing"])
    return report


def _megabytes(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Ten megabytes of every kind: real texts again and again, and random words as prose, log, one line and JSON."""
    chance = random.Random(3)
    words = sorted({word for text in texts for word in text.split() if word.isalpha()})
    prose = [f"{' '.join(chance.choices(words, k=12)).capitalize()} {number}. " for number in range(LARGE // 90)]
    yield "mixed", "\n\n".join(islice(cycle(texts), LARGE * len(texts) // len("".join(texts))))
    yield "prose", "\n\n".join("".join(prose[at : at + 5]) for at in range(0, len(prose), 5))
    yield "log", "".join(f"2026-03-01 10:{at % 60:02} INFO job {at}: {line}\n" for at, line in enumerate(prose))
    yield "one line", "".join(prose)
    yield "json", json.dumps([{"id": at, "said": line} for at, line in enumerate(prose)], indent=1)


def _used(arguments: Sequence[str]) -> dict[str, float]:
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return {"cpu_s": round(used.ru_utime + used.ru_stime, 1), "peak_mb": round(used.ru_maxrss / 1024)}


def _texts(root: Path) -> list[str]:
    """Real texts of every kind, mixed."""
    lines = (root / "prompts" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    texts: list[str] = [json.loads(line)["text"] for line in lines]
    random.Random(7).shuffle(texts)
    return texts


def _of_size(texts: Sequence[str], tokenizer: TokenCounter, size: int, number: int) -> str:
    """A prompt of about that many tokens, made of other texts for each number."""
    start = number * 7 % len(texts)
    whole = "\n\n".join([*texts[start:], *texts[:start]])[: 8 * size]
    return whole[: len(whole) * size // max(tokenizer.count(whole), size)]


def _encoded(embedder: OnnxEmbedder, texts: Sequence[str], kind: Kind) -> Vectors:
    """Vectors as a server makes them, texts of like length together; none is kept for the next call."""
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    some = [order[start : start + 32] for start in range(0, len(order), 32)]
    made = np.concatenate([embedder.encode([texts[at] for at in part], kind) for part in some])
    return made[np.argsort(order)]


def _timed(compressor: PromptCompressor, prompt: str, options: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of one call: wall, CPU of all threads, and wall by stage."""
    at: dict[float, float] = {}

    def progress(done: float) -> None:
        # Every step up to the folding says 0.3, what runs again after the cut 0.8: the last and the first end a stage.
        if done != CHOSEN_DONE or done not in at:
            at[done] = time.perf_counter()

    wall, cpu = time.perf_counter(), time.process_time()
    compressor.compress(prompt, progress=progress, **options)
    cpu = time.process_time() - cpu
    lean, done = at[LEAN_DONE], at[1.0]
    chosen = at.get(CHOSEN_DONE, lean)
    return {
        "wall_ms": 1000 * (done - wall),
        "cpu_ms": 1000 * cpu,
        "lossless_and_folding_ms": 1000 * (lean - wall),
        "relevance_ms": 1000 * (chosen - lean),
        "cutting_ms": 1000 * (done - chosen),
    }


def _figures(found: Sequence[dict[str, float]], size: int) -> dict[str, float]:
    """Median of each time, the 95th percentile of the first two, and tokens by second of CPU."""
    figures: dict[str, float] = {}
    for name in found[0]:
        values = sorted(each[name] for each in found)
        figures[f"p50_{name}"] = round(statistics.median(values), 1)
        if name in {"wall_ms", "cpu_ms"}:
            figures[f"p95_{name}"] = round(values[math.ceil(0.95 * len(values)) - 1], 1)
    return {**figures, "tokens_per_cpu_s": round(1000 * size / figures["p50_cpu_ms"])}


def _by(
    compressor: PromptCompressor, encode: Encode | None, *, with_question: bool = True
) -> Callable[[Item, int], Compressed]:
    def compress(item: Item, max_tokens: int) -> Compressed:
        question = item.question if with_question else None
        result = compressor.compress(item.context, max_tokens=max_tokens, query=question, encode=encode)
        return Compressed(result.text, result.kept)

    return compress


def _dense(encode: Encode, tokenizer: TokenCounter) -> Callable[[Item, int], Compressed]:
    def compress(item: Item, max_tokens: int) -> Compressed:
        spans = units(item.context)
        likeness = (
            encode([item.context[slice(*span)] for span in spans], "document") @ encode([item.question], "query")[0]
        )
        chosen: list[tuple[int, int]] = []
        for at in np.argsort(-likeness, kind="stable"):
            cost = tokenizer.count(item.context[slice(*spans[int(at)])] + "\n")
            if cost <= max_tokens:
                max_tokens -= cost
                chosen.append(spans[int(at)])
        kept = tuple(sorted(chosen))
        return Compressed("\n".join(item.context[start:end] for start, end in kept), kept)

    return compress


def _retained(
    items: Sequence[Item], method: Callable[[Item, int], Compressed], tokenizer: TokenCounter
) -> dict[str, dict[str, Any]]:
    report: dict[str, dict[str, Any]] = {}
    for ratio in RATIOS:
        rows: list[dict[str, float]] = []
        for item in items:
            budget = int(ratio * tokenizer.count(item.context))
            result = method(item, budget)
            used = tokenizer.count(result.text) / budget
            rows.append({**judge(item, result, used=used), "over_budget": float(used > 1)})
        with_answer = [{"answer": row.pop("answer")} for row in rows if "answer" in row]
        figures = {**means(rows), **(means(with_answer) if with_answer else {})}
        report[f"{ratio:.0%}"] = {name: asdict(figure) for name, figure in figures.items()}
    return report


def _line(by_ratio: Any) -> str:
    shown = (
        f"{each['evidence']['value']:.3f} [{each['evidence']['low']:.3f}, {each['evidence']['high']:.3f}]"
        f" ({each['success']['value']:.2f})"
        for each in by_ratio.values()
    )
    return "  ".join(shown)


def _same(before: str, after: str) -> bool:
    """Whether what is one JSON value or one Python file is equal by value or syntax tree."""
    try:
        return json.loads(before) == json.loads(after)
    except ValueError:
        pass
    try:
        tree = ast.dump(ast.parse(before))
    except (SyntaxError, ValueError):
        return True
    return ast.dump(ast.parse(after)) == tree


def _assets() -> Path:
    return platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets"


def _counter(name: str) -> TokenCounter:
    found = counter(name, _assets())
    found.load()
    return found


def main(arguments: list[str]) -> None:
    """Measure the named parts, all by default, and write tests/benchmarks/results/compression.json."""
    root, parts = evaluation_data(), arguments or ["evidence", "kinds", "claims", "speed", "memory"]
    if root is None:
        return
    named = os.environ.get("VECTORS")
    encode = KeptVectors(Path(named) if named else None)
    work: dict[str, Callable[[], dict[str, Any]]] = {
        "evidence": lambda: evidence(root, encode),
        "kinds": lambda: kinds(root),
        "claims": claims,
        "speed": lambda: speed(root),
        "memory": lambda: memory(root),
    }
    file = RESULTS / "compression.json"
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for part in parts:
        report[part] = {"machine": machine(), **work[part]()}
        file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
