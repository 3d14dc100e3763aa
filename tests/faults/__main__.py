"""`make test-faults`: the long version; writes tests/benchmarks/results/faults.json and fails if anything was wrong."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.machine import RESULTS, machine
from tests.faults.agreeing import agree
from tests.faults.cancelling import cancel_leaders
from tests.faults.consolidating import kill_while_consolidating
from tests.faults.destroying import destroy_index
from tests.faults.distilling import kill_while_distilling
from tests.faults.killing import KillReport, kill_under_load
from tests.faults.shared_cache import trouble_redis
from tests.faults.sharing import share

PARTS = ("kill", "share", "destroy", "distil", "consolidate", "redis", "cancel", "caches")


def main(arguments: Sequence[str]) -> int:
    """Run the parts asked for; 0 when nothing was lost, half written, hidden, locked or answered wrongly."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part, written beside the others; by default all")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--traces", type=int, default=500, help="stored before the index is destroyed, two memories each"
    )
    parser.add_argument("--distil-kills", type=int, default=100, help="of a process that distils with a model")
    parser.add_argument("--consolidate-kills", type=int, default=100, help="of a process that consolidates")
    parser.add_argument("--calls", type=int, default=5_000, help="of clients while Redis is in trouble, for each place")
    parser.add_argument("--operations", type=int, default=5_000, help="of two processes, with caches and without")
    parser.add_argument("--cancels", type=int, default=1_000, help="of callers whom others wait with, in each place")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", choices=["hashing", "onnx"], default="hashing")
    options = parser.parse_args(arguments)
    environment = {"REASONING_BANK_EMBEDDINGS__BACKEND": options.backend}
    file = RESULTS / "faults.json"
    here = {"machine": machine(), "options": vars(options)}
    clean, found = True, dict[str, Any]()
    for part in (options.only,) if options.only else PARTS:
        with tempfile.TemporaryDirectory(prefix=f"faults-{part}-", ignore_cleanup_errors=True) as directory:
            result = _run(part, Path(directory), options, environment)
        clean = clean and result.clean
        found[part] = {"clean": result.clean, **_figures(result), **(here if options.only else {})}
        print(json.dumps({part: found[part]}, indent=1), flush=True)
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if options.only and file.exists() else here
    report = known | found
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0 if clean else 1


def _run(part: str, directory: Path, options: argparse.Namespace, environment: dict[str, str]) -> Any:
    seed: int = options.seed
    if part == "kill":
        return kill_under_load(directory, kills=options.kills, seed=seed, chroma=True, environment=environment)
    if part == "share":
        return share(
            directory, processes=options.processes, seconds=options.seconds, seed=seed, environment=environment
        )
    if part == "destroy":
        return destroy_index(directory, traces=options.traces, seed=seed, environment=environment)
    if part == "caches":
        return agree(directory, operations=options.operations, seed=seed, environment=environment)
    others: dict[str, Callable[[], Any]] = {
        "distil": lambda: kill_while_distilling(directory, kills=options.distil_kills, seed=seed),
        "consolidate": lambda: kill_while_consolidating(directory, kills=options.consolidate_kills, seed=seed),
        "cancel": lambda: cancel_leaders(directory, cancels=options.cancels),
        "redis": lambda: trouble_redis(directory, calls=options.calls, seed=seed),
    }
    return others[part]()


def _figures(result: Any) -> dict[str, Any]:
    figures = asdict(result)
    if isinstance(result, KillReport):
        seconds = np.asarray(figures.pop("first_answer_s"))
        quantiles = np.quantile(seconds, (0.5, 0.99)).round(2).tolist() if seconds.size else None
        # Rule of three: with no loss in n kills, the 95 % upper bound of the rate is 3/n.
        figures |= {"first_answer_s_p50_p99": quantiles, "loss_rate_95_percent_below": round(3 / result.kills, 4)}
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
