"""What was sent and what was acknowledged, kept outside the server, and the checks against the bank afterwards."""

import json
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]
MEMORIES = 2
"""Memories per trace: a trace with fewer is a partial write."""


@dataclass(frozen=True)
class Acknowledged:
    """What the server said it stored."""

    trace_id: str
    memory_ids: tuple[str, ...]


@dataclass
class Ledger:
    """Every call by its idempotency key; thread-safe."""

    seed: int
    sent: dict[str, Json] = field(default_factory=dict[str, Json])
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict[str, Acknowledged])
    faults: list[str] = field(default_factory=list[str])
    replayed: int = 0
    stored: Counter[str] = field(default_factory=Counter[str])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def new_call(self, name: str) -> tuple[str, Json]:
        """A trace that nobody stored before, with two memories and a trajectory of some size."""
        key = f"k-{self.seed}-{name}"
        rng = random.Random(key)
        words = [f"{rng.choice(WORDS)}{rng.randrange(1000)}" for _ in range(rng.choice((5, 40, 400)))]
        arguments: Json = {
            "task": f"Task {key}: {' '.join(words[:8])}",
            "outcome": rng.choice(["success", "failure"]),
            "trajectory": [{"step": n, "said": word} for n, word in enumerate(words)],
            "memories": [
                {
                    "title": f"Lesson {part} of {key}",
                    "description": f"Use for {words[0]} with {words[-1]}",
                    "content": f"First {words[1]}, then {words[2]}, and never {words[3]}: {' '.join(words[:30])}",
                }
                for part in range(MEMORIES)
            ],
            "idempotency_key": key,
        }
        with self.lock:
            self.sent[key] = arguments
        return key, arguments

    def answered(self, key: str, answer: Json) -> None:
        """Note an answer; an earlier one must have had the same ids."""
        now = Acknowledged(answer["trace_id"], tuple(memory["id"] for memory in answer["memories"]))
        with self.lock:
            earlier = self.acknowledged.setdefault(key, now)
            if earlier is not now:
                self.replayed += 1
                if earlier != now:
                    self.faults.append(f"{key}: acknowledged as {earlier}, replayed as {now}")
            # Two calls with one key may be in flight at once, and their answers come in any order.
            self.stored[key] += not answer["replayed"]
            if self.stored[key] > 1:
                self.faults.append(f"{key}: stored {self.stored[key]} times")
            if len(now.memory_ids) != MEMORIES or not all(now.memory_ids):
                self.faults.append(f"{key}: {len(now.memory_ids)} of {MEMORIES} memories in the answer")

    def unanswered(self) -> list[str]:
        """Keys that were sent and never acknowledged."""
        with self.lock:
            return [key for key in self.sent if key not in self.acknowledged]

    def fault(self, text: str) -> None:
        """Note that something was wrong."""
        with self.lock:
            self.faults.append(text)


@dataclass(frozen=True)
class Verdict:
    """What the truth holds, compared with the ledger."""

    lost: int
    partial: int
    duplicated: int
    damaged: tuple[str, ...]


def compare(database: Path, ledger: Ledger) -> Verdict:
    """Read the database file as it is, without our own code, and compare it with what was acknowledged."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        damaged = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        traces = dict(connection.execute("SELECT id, task || char(10) || coalesce(trajectory, '') FROM traces"))
        members: dict[str, set[str]] = {}
        for trace_id, memory_id in connection.execute("SELECT trace_id, id FROM memories"):
            members.setdefault(trace_id, set()).add(memory_id)
        keys = dict(connection.execute("SELECT key, trace_id FROM idempotency_keys"))
    lost = sum(
        ack.trace_id not in traces
        or not set(ack.memory_ids) <= members.get(ack.trace_id, set())
        or keys.get(key) != ack.trace_id
        for key, ack in ledger.acknowledged.items()
    )
    key_of = {trace_id: key for key, trace_id in keys.items()}
    partial = sum(
        len(members.get(trace_id, ())) != MEMORIES or not _complete(text, ledger.sent.get(key_of.get(trace_id, "")))
        for trace_id, text in traces.items()
    )
    return Verdict(lost, partial, duplicated=len(traces) - len(keys), damaged=tuple(damaged))


def _complete(text: str, sent: Json | None) -> bool:
    task, trajectory = text.split("\n", 1)
    return sent is not None and task == sent["task"] and json.loads(trajectory) == sent["trajectory"]


def in_chunks(items: Sequence[str], size: int) -> Iterator[list[str]]:
    """The items in lists of at most `size`."""
    yield from (list(items[start : start + size]) for start in range(0, len(items), size))


def flat(groups: Iterable[Sequence[str]]) -> list[str]:
    """All items of all groups."""
    return [item for group in groups for item in group]


WORDS = (
    *("valve", "ledger", "parser", "socket", "cursor", "lease", "index", "shard", "token", "vector", "schema"),
    *("mutex", "packet", "replica", "journal", "bucket", "cipher", "daemon", "kernel", "quota", "signal", "thread"),
)
