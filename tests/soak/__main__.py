"""`make soak`: many mixed requests to a real server; fails when something grows with them. Writes results/soak.json.

Run: python -m tests.soak [--requests 10000] [--clients 32] [--transport http|stdio|both] [--backend onnx|hashing]
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import RESULTS, machine
from tests.soak.soaking import Load, Transport, not_flat, soak

STDIO_SHARE = 2
"""Over stdio one client speaks for all: half is enough. In fewer than 2,500 figures still fill their windows."""


def main(arguments: list[str]) -> int:
    """Soak each transport; 0 when nothing failed and nothing grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--waves", type=int, default=20, help="looks at what the process holds")
    parser.add_argument("--transport", choices=["http", "stdio", "both"], default="both")
    parser.add_argument("--backend", choices=["onnx", "hashing"], default="onnx")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    report: dict[str, Any] = {"machine": machine(), "options": vars(options)}
    transports: list[Transport] = ["http", "stdio"] if options.transport == "both" else [options.transport]
    wrong: list[str] = []
    for transport in transports:
        load = Load(
            transport,
            options.requests // (STDIO_SHARE if transport == "stdio" else 1),
            clients=options.clients,
            waves=options.waves,
            backend=options.backend,
            seed=options.seed,
        )
        with tempfile.TemporaryDirectory() as directory:
            figures = asyncio.run(soak(Path(directory), load))
        report[transport] = figures
        wrong += [f"{transport}: {each}" for each in (*not_flat(figures), *figures["problems"])]
        print(json.dumps({"transport": transport, **figures, "held": f"{len(figures['held'])} looks"}, indent=1))
    (RESULTS / "soak.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for each in wrong:
        print(each, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
