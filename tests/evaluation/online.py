"""The main job on real input: rows imported by the command line, questions asked through a real MCP client over stdio.

`python -m tests.evaluation.online DATA [SET ...]` prints R@10 and nDCG@10 per set beside the two single strategies,
and writes tests/benchmarks/results/retrieval.json. BANK=DIR keeps the bank, so that a second run need not embed again
(its `import_s` is then the time to find that all is there).
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from tests.benchmarks.machine import RESULTS, machine
from tests.evaluation.metrics import Measured, mean, measure
from tests.evaluation.sets import SCOPED, Asked, load

ASKED = ("locomo", "swebench", "webarena", "hotpot", "cosqa")
BASELINES = {
    "locomo": {"bm25": (0.575, 0.440), "dense": (0.371, 0.232)},
    "swebench": {"bm25": (0.391, 0.298), "dense": (0.568, 0.389)},
    "webarena": {"bm25": (0.961, 0.928), "dense": (0.932, 0.863)},
    "hotpot": {"bm25": (0.915, 0.798), "dense": (0.880, 0.787)},
    "cosqa": {"bm25": (0.782, 0.609), "dense": (0.962, 0.815)},
}
"""R@10 and nDCG@10 of plain BM25 and plain MiniLM (int8) on the same split, as published with the data."""
K = 10


def import_set(root: Path, name: str, bank: Path) -> float:
    """Import one corpus by the command line and wait until all of it is searchable by meaning; seconds."""
    command = [sys.executable, "-m", "reasoning_bank", "import", str(root / name / "corpus.jsonl")]
    if name not in SCOPED:
        command += ["--workspace", name]
    start = time.perf_counter()
    subprocess.run([*command, "--data-dir", str(bank)], check=True)
    return time.perf_counter() - start


async def ask(client: Client, asked: Asked) -> tuple[Measured, float]:
    """Ask one question, k 10 without a floor, again while the model is still loading; result and seconds."""
    arguments = {"task": asked.text, "k": K, "min_score": 0, "workspace": asked.workspace}
    while True:
        start = time.perf_counter()
        answer = await client.call_tool("retrieve_memory", arguments)
        seconds = time.perf_counter() - start
        assert not answer.is_error, answer.content
        found: dict[str, Any] = answer.structured_content or {}
        if not found["degraded"]:
            break
        await asyncio.sleep(0.2)
    ids = [memory["external_id"] for memory in found["memories"]]
    return measure(ids, asked.relevant, k=K), seconds


async def ask_all(root: Path, names: Sequence[str], bank: Path) -> dict[str, Any]:
    """Ask every question of the sets through one server process."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "reasoning_bank"], env={"REASONING_BANK_DATA_DIR": str(bank)}
    )
    report: dict[str, Any] = {}
    async with Client(server) as client:
        for name in names:
            results = [await ask(client, asked) for asked in load(root, name).queries]
            report[name] = _figures(name, [result for result, _ in results], sorted(s for _, s in results))
            print(_line(name, report[name]), flush=True)
    return report


def _figures(name: str, results: Sequence[Measured], seconds: Sequence[float]) -> dict[str, Any]:
    return {
        "queries": len(results),
        "recall_at_10": asdict(mean(results, lambda one: one.recall)),
        "ndcg_at_10": asdict(mean(results, lambda one: one.ndcg)),
        "p50_ms": round(1000 * seconds[len(seconds) // 2], 2),
        "p95_ms": round(1000 * seconds[int(0.95 * len(seconds))], 2),
        "baselines": BASELINES.get(name, {}),
    }


def _line(name: str, figures: dict[str, Any]) -> str:
    recall, ndcg = figures["recall_at_10"]["value"], figures["ndcg_at_10"]["value"]
    beside = "  ".join(f"{each} {r:.3f}/{n:.3f}" for each, (r, n) in figures["baselines"].items())
    return f"{name:10} n={figures['queries']:4}  {recall:.3f}/{ndcg:.3f}  {beside}  p50 {figures['p50_ms']} ms"


def main(root: Path, names: Sequence[str], bank: Path) -> None:
    """Import what the bank does not have yet, ask, print and write the result."""
    imported = {name: round(import_set(root, name, bank), 1) for name in names}
    report = asyncio.run(ask_all(root, names, bank))
    for name, figures in report.items():
        figures["import_s"] = imported[name]
    RESULTS.mkdir(exist_ok=True)
    result = {"machine": machine(), "k": K, "min_score": 0, "sets": report}
    (RESULTS / "retrieval.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    chosen = sys.argv[2:] or list(ASKED)
    if kept := os.environ.get("BANK"):
        main(Path(sys.argv[1]), chosen, Path(kept))
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(Path(sys.argv[1]), chosen, Path(directory) / "bank")
