"""`make measure`: every benchmark, or the one named: python -m tests.benchmarks [NAME [ARGUMENT...]]."""

import importlib
import sys

MODULES = {
    **{
        name: name
        for name in (
            "batch_embedding",
            "batches",
            "cold_start",
            "compression",
            "excerpts",
            "isolation",
            "latency",
            "lossless",
            "monitor",
            "privacy",
            "pooling",
            "replay",
            "retrieval",
            "storing",
        )
    },
    "llm-faults": "llm_faults",
    "search": "retrieval_speed",
}
"""Name of each benchmark and its module here."""


def main(arguments: list[str]) -> None:
    """Run benchmarks; each writes its result as JSON into tests/benchmarks/results."""
    names = arguments[:1] or list(MODULES)
    for name in names:
        if name not in MODULES:
            sys.exit(f"no benchmark {name!r}; there are: {', '.join(MODULES)}")
        print(f"== {name}", file=sys.stderr)
        importlib.import_module(f"tests.benchmarks.{MODULES[name]}").main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
