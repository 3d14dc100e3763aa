"""`make bench`: every benchmark, or the one named: python -m tests.benchmarks [NAME [ARGUMENT...]]."""

import importlib
import sys

NAMES = ("batch_embedding", "cold_start", "latency", "lossless", "retrieval")


def main(arguments: list[str]) -> None:
    """Run benchmarks; each writes its result as JSON into tests/benchmarks/results."""
    names = arguments[:1] or NAMES
    for name in names:
        if name not in NAMES:
            sys.exit(f"no benchmark {name!r}; there are: {', '.join(NAMES)}")
        print(f"== {name}", file=sys.stderr)
        importlib.import_module(f"tests.benchmarks.{name}").main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
