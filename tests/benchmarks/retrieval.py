"""Retrieval, abstention and compression on the evaluation sets, asked over stdio.

`python -m tests.benchmarks retrieval [OPTION ...]` passes its options on to `reasoning-bank eval`; the sets are those
of REASONING_BANK_EVAL_DATA. With --data-dir DIR the bank is kept: a second run need not embed again. Figures from
LoCoMo are for measuring only (CC BY-NC 4.0); cite a set when you publish a figure from it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.machine import REPOSITORY, RESULTS, machine


def main(arguments: list[str]) -> None:
    """Write results/retrieval.json, or results/retrieval_without_order.json where order was left out."""
    data = Path(os.environ.get("REASONING_BANK_EVAL_DATA", REPOSITORY.parent / "shared" / "data" / "dev"))
    if not data.is_dir():
        print(f"skipped: no evaluation data in {data} (set REASONING_BANK_EVAL_DATA)", file=sys.stderr)
        return
    measured = ["--stdio", "--baselines", "--floor-curve", "--json", "-", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "reasoning_bank", "eval", data, *measured],
        stdout=subprocess.PIPE, encoding="utf-8", check=True,
    )  # fmt: skip
    report = json.loads(done.stdout)
    name = "retrieval" if report["setup"]["ordered"] else "retrieval_without_order"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"machine": machine(), **report}, indent=1) + "\n", encoding="utf-8"
    )
