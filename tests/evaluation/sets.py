"""The evaluation sets, read as an import reads them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_bank.records import MemoryItem
from reasoning_bank.transfer.rows import read_row

SETS = ("locomo", "swebench", "webarena", "cosqa", "hotpot", "taubench")
SCOPED = frozenset({"locomo", "swebench"})
"""Sets searched by their own workspaces; the others are one workspace each."""
GATES = {
    "locomo": (0.81, 0.60),
    "swebench": (0.65, 0.51),
    "webarena": (0.97, 0.94),
    "cosqa": (0.955, 0.815),
    "hotpot": (0.975, 0.875),
}
"""Least R@10 and nDCG@10 that the one configuration must reach (dev split, MiniLM fp32)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A query with the external ids that answer it."""

    workspace: str
    text: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Memories by workspace, and queries."""

    memories: dict[str, list[MemoryItem]]
    queries: list[Asked]


def load(root: Path, name: str, *, ordered: bool = True) -> EvaluationSet:
    """Read one set; not `ordered` leaves out who stands beside whom."""
    memories: dict[str, list[MemoryItem]] = {}
    with (root / name / "corpus.jsonl").open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            row = read_row(line if ordered else _without_order(line), number=number)
            assert row.memory is not None
            workspace = (row.workspace or name) if name in SCOPED else name
            memories.setdefault(workspace, []).append(row.memory.item)
    with (root / name / "queries.jsonl").open(encoding="utf-8") as lines:
        return EvaluationSet(memories, [_asked(json.loads(line), name) for line in lines])


def _asked(data: dict[str, Any], name: str) -> Asked:
    workspace = data["metadata"]["workspace"] if name in SCOPED else name
    return Asked(workspace, data["text"], frozenset(data["relevant"]))


def _without_order(line: bytes) -> bytes:
    row = json.loads(line)
    for key in ("session", "turn"):
        row["metadata"].pop(key, None)
    return json.dumps(row).encode()
