"""Batch embedding against one by one, by length of text: what a batch is worth on this machine, and why.

Each way embeds the same texts in turn, several rounds; a ratio is taken within a round, so that a machine shared with
others shifts both sides, and the median round is reported. Processor seconds are of one thread.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import platformdirs

from reasoning_bank.assets import Assets
from reasoning_bank.embeddings.batching import BatchEmbeddingGenerator
from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.embeddings.onnx import OnnxEmbedder
from reasoning_bank.errors import ModelUnavailableError

from .machine import RESULTS, machine

LENGTHS = {8: 64, 30: 48, 170: 16}
"""Tokens per text (the two special ones included) to texts per round."""
ROUNDS = 5
Figures = dict[str, dict[str, float]]
ByLength = dict[str, Figures]
WORDS = ("migration", "deadlock", "retry", "fixture", "timeout", "schema", "rollback", "parser", "cache", "index")


def main(arguments: list[str]) -> None:
    """Measures every backend that is installed and writes batch_embedding.json."""
    rounds = int(arguments[0]) if arguments else ROUNDS
    backends = asyncio.run(_all(rounds))
    reasons = {name: _reason(by_length) for name, by_length in backends.items()}
    result = {
        "machine": machine(),
        "rounds": rounds,
        "texts_per_round": LENGTHS,
        "backends": backends,
        "reason": reasons,
    }
    path = RESULTS / "batch_embedding.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, by_length in backends.items():
        for length, figures in by_length.items():
            ways = ", ".join(f"{way} {f['ratio_cpu']}x" for way, f in figures.items() if way != "one by one")
            print(f"{name:21} {length:>4} tokens: {figures['one by one']['texts_per_cpu_s']}/s one by one; {ways}")
        fixed, per_token = reasons[name].values()
        print(f"{name:21} a call costs {fixed} ms and {per_token} ms per token: a batch saves only the former")


async def _all(rounds: int) -> dict[str, ByLength]:
    return {name: await _backend(embedder, rounds) for name, embedder in _embedders()}


def _embedders() -> Iterable[tuple[str, Embedder]]:
    assets = Assets(platformdirs.user_cache_path("reasoning-bank", appauthor=False) / "assets", allow_download=False)
    for precision in ("fp32", "int8"):
        onnx = OnnxEmbedder(assets=assets, precision=precision, threads=1)
        onnx.load()
        yield f"onnx {precision}", onnx
    try:
        import torch

        from reasoning_bank.embeddings.sentence_transformers import SentenceTransformersEmbedder

        torch.set_num_threads(1)
        extra = SentenceTransformersEmbedder(assets=assets, device="cpu")
        extra.load()
    except (ImportError, ModelUnavailableError) as error:
        print(f"without sentence-transformers: {error}")
    else:
        yield "sentence_transformers", extra


async def _backend(embedder: Embedder, rounds: int) -> ByLength:
    figures: ByLength = {}
    async with BatchEmbeddingGenerator(embedder, batch_size=32) as generator:
        for tokens, count in LENGTHS.items():
            texts = _texts(embedder, tokens, count)
            ways: dict[str, Callable[[], Any]] = {
                "one by one": lambda texts=texts: _in_runs(embedder, texts, 1),
                "runs of 8": lambda texts=texts: _in_runs(embedder, texts, 8),
                "runs of 32": lambda texts=texts: _in_runs(embedder, texts, 32),
                "generate_batch": lambda texts=texts: generator.generate_batch(texts),
            }
            figures[str(tokens)] = await _rounds(ways, count, rounds)
    return figures


def _reason(by_length: ByLength) -> dict[str, float]:
    """What one call costs whatever it embeds, and what each token costs: a batch can save only the former.

    The straight line through the shortest and the longest texts, one by one.
    """
    short, long = min(LENGTHS), max(LENGTHS)
    costs = {length: by_length[str(length)]["one by one"]["cpu_ms_per_text"] for length in (short, long)}
    per_token = (costs[long] - costs[short]) / (long - short)
    fixed = costs[short] - per_token * short
    return {"cpu_ms_per_call": round(fixed, 2), "cpu_ms_per_token": round(per_token, 3)}


async def _rounds(ways: dict[str, Callable[[], Any]], count: int, rounds: int) -> Figures:
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    wall: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, run in ways.items():
            started, used = time.perf_counter(), time.process_time()
            answer = run()
            if asyncio.iscoroutine(answer):
                await answer
            cpu[way].append(time.process_time() - used)
            wall[way].append(time.perf_counter() - started)
    return {way: _summary(way, cpu, wall, count) for way in ways}


def _summary(way: str, cpu: dict[str, list[float]], wall: dict[str, list[float]], count: int) -> dict[str, float]:
    def ratio(seconds: dict[str, list[float]]) -> float:
        pairs = zip(seconds["one by one"][1:], seconds[way][1:], strict=True)  # the first round warms up
        return round(statistics.median(one / this for one, this in pairs), 2)

    used = statistics.median(cpu[way][1:])
    return {
        "texts_per_cpu_s": round(count / used, 1),
        "cpu_ms_per_text": round(1000 * used / count, 2),
        "wall_ms_per_text": round(1000 * statistics.median(wall[way][1:]) / count, 2),
        "ratio_cpu": ratio(cpu),
        "ratio_wall": ratio(wall),
    }


def _in_runs(embedder: Embedder, texts: Sequence[str], size: int) -> None:
    for start in range(0, len(texts), size):
        embedder.encode(texts[start : start + size], "document")


def _texts(embedder: Embedder, tokens: int, count: int) -> list[str]:
    """Different texts of as nearly as possible so many tokens each."""
    texts: list[str] = []
    for number in range(count):
        words = [f"case {number}"]
        while embedder.count_tokens([" ".join(words)])[0] < tokens:
            words.append(WORDS[(number + len(words)) % len(WORDS)])
        texts.append(" ".join(words))
    return texts
