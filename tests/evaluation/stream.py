"""What becomes of planted lessons: `python -m tests.evaluation.stream [--each 210] [--embedder onnx|hashing]`.

A stream of good lessons, junk, echoes of what was just retrieved, duplicates, contradictions and injected instructions
is stored through a real bank by one client. Told is what became of each kind, and which share of the answers to the
tasks of the good lessons is poisoned (injected or contradicting) or useless (junk), against a bank that keeps the
same rows as they are.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import anyio
from sqlalchemy import Connection

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.learning.work import EMBED, promise
from reasoning_bank.records import Counters, Memory, MemoryItem, NewTrace, Query, Trace
from reasoning_bank.settings import Settings, load_settings
from reasoning_bank.storage import history, lineage, memories, outbox, traces, workspaces
from reasoning_bank.text.analyser import analyse
from reasoning_bank.text.fields import content_hash
from tests.benchmarks.machine import RESULTS, machine
from tests.evaluation.planting import KINDS, Kind, Planted, good, stream

Fate = Literal["kept", "disputed", "merged", "overruled", "quarantined", "rejected"]
"""Live; live, but the opposite is said too; taken in by another; replaced by the opposite; out of use; refused."""
K = 5
SPACE = "stream"
RAW = "undefended"


@dataclass(frozen=True, slots=True)
class Answers:
    """What the first `K` memories of each question were.

    Attributes:
        shares: of all answered memories, by kind.
        found: share of the questions whose own good lesson, or what took it in, was answered.
    """

    questions: int
    answered: int
    shares: Mapping[str, float]
    found: float


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What became of everything that was planted.

    Attributes:
        fates: by kind, how many ended how.
        reasons: by kind, why the first examples of it were refused or quarantined.
    """

    each: int
    fates: Mapping[Kind, Mapping[Fate, int]]
    reasons: Mapping[Kind, Mapping[str, int]]
    defended: Answers
    undefended: Answers


class _Run:
    """One stream through one bank."""

    def __init__(self, bank: ReasoningBank, each: int) -> None:
        self._bank = bank
        self._each = each
        self._ids: dict[str, Planted] = {}
        self._reasons: dict[Kind, Counter[str]] = {kind: Counter() for kind in KINDS}
        self._fates: dict[Kind, Counter[Fate]] = {kind: Counter() for kind in KINDS}

    async def run(self) -> StreamReport:
        for position, lesson in enumerate(stream(self._each)):
            await self._store(lesson)
            if position % self._each == 0:
                await self._settled()
        await self._settled()
        await self._judge()
        await self._keep_raw()
        return StreamReport(
            each=self._each,
            fates={kind: {fate: self._fates[kind][fate] for fate in get_args(Fate)} for kind in KINDS},
            reasons={kind: dict(self._reasons[kind].most_common(5)) for kind in KINDS},
            defended=await self._ask(SPACE),
            undefended=await self._ask(RAW),
        )

    async def _settled(self) -> None:
        await self._bank.wait_until_searchable(timeout_s=1200)
        with anyio.fail_after(1200):
            # What waits for its next try counts too: only the rows tell.
            while await self._bank.rooms.database.read(lambda c: outbox.counts(c, now=datetime.now(UTC)).pending):
                await self._bank.rooms.worker.drain(60)
                await anyio.sleep(0.2)
        assert await self._bank.rooms.worker.drain(60)

    async def _store(self, lesson: Planted) -> None:
        if lesson.kind == "echo":
            await self._bank.retrieve(SPACE, Query(lesson.task, k=3))
        draft = MemoryItem("", title=lesson.title, description=lesson.description, content=lesson.content)
        run: list[dict[str, str]] = [{"thought": lesson.content, "action": "edit", "observation": "saved"}]
        trace = NewTrace(lesson.task, outcome="success", trajectory=json.loads(json.dumps(run)))
        (stored,) = (await self._bank.store_trace(SPACE, trace, memories=[draft])).memories
        if stored.id is None:
            self._fates[lesson.kind]["rejected"] += 1
            self._reasons[lesson.kind][(stored.reason or "").split(":")[0][:80]] += 1
        elif stored.action == "merged" or stored.id in self._ids:
            self._fates[lesson.kind]["merged"] += 1
        else:
            self._ids[stored.id] = lesson

    async def _judge(self) -> None:
        def read(connection: Connection) -> tuple[dict[str, Memory], dict[str, list[history.Entry]]]:
            ids = list(self._ids)
            return memories.by_ids(connection, SPACE, ids), history.of_memories(connection, SPACE, ids)

        found, done = await self._bank.rooms.database.read(read)
        for id_, lesson in self._ids.items():
            memory = found[id_]
            self._fates[lesson.kind][_fate(memory, [entry.event for entry in done.get(id_, ())])] += 1
            if memory.quarantined_for:
                self._reasons[lesson.kind][memory.quarantined_for.split(":")[0][:80]] += 1

    async def _keep_raw(self) -> None:
        """Keeps the same rows in another workspace as they are: past every door, straight into the tables."""
        now = datetime.now(UTC)
        rows = [_raw(lesson, number, now) for number, lesson in enumerate(stream(self._each))]

        def write(connection: Connection) -> None:
            workspaces.ensure(connection, RAW, now)
            for trace, memory in rows:
                traces.insert(connection, trace)
                memories.insert(connection, [memory], [analyse(memory.item)])
                promise(connection, RAW, EMBED, [memory.id], now=now)

        await self._bank.rooms.database.write(write)
        await self._settled()

    async def _ask(self, space: str) -> Answers:
        raw = {f"raw-{number}": lesson for number, lesson in enumerate(stream(self._each))}
        planted = raw if space == RAW else self._ids
        by_lesson = {lesson: id_ for id_, lesson in planted.items() if lesson.kind == "good"}
        stands = await self._bank.rooms.database.read(lambda c: lineage.successors(c, space, by_lesson.values()))
        kinds, found = Counter[str](), 0
        for number in range(self._each):
            wanted = by_lesson.get(good(number))
            answer = await self._bank.retrieve(space, Query(good(number).task, k=K))
            ids = [each.memory.id for each in answer.memories]
            kinds.update(planted[id_].kind if id_ in planted else "good" for id_ in ids)
            found += wanted is not None and stands.get(wanted, wanted) in ids
        total = kinds.total()
        shares = {kind: round(kinds[kind] / total, 4) if total else 0.0 for kind in KINDS}
        return Answers(self._each, total, shares, round(found / self._each, 4))


def _fate(memory: Memory, events: Sequence[history.Event]) -> Fate:
    if memory.item.trust == "quarantined":
        return "quarantined"
    if memory.superseded_by is not None:
        return "overruled" if "overruled" in events else "merged"
    return "disputed" if memory.contradicts else "kept"


def _raw(lesson: Planted, number: int, now: datetime) -> tuple[Trace, Memory]:
    text = f"{lesson.title}\n{lesson.description}\n{lesson.task}"
    item = MemoryItem(
        text, title=lesson.title, description=lesson.description, content=lesson.content, outcome="success"
    )
    trace = Trace(f"raw-t{number}", RAW, NewTrace(lesson.task, outcome="success"), now, "hash")
    return trace, Memory(f"raw-{number}", RAW, trace.id, item, Counters(), now, now, content_hash(item))


async def streamed(settings: Settings, *, each: int) -> StreamReport:
    """Stores the stream through the bank of these settings."""
    async with ReasoningBank(settings) as bank:
        return await _Run(bank, each).run()


def stream_settings(directory: Path, *, embedder: str) -> Settings:
    """A bank of its own that asks no model but the embedder."""
    return load_settings(
        data_dir=directory,
        embeddings={"backend": embedder},
        vectors={"search": "exact"},
        durability="process",
        background={"poll_s": 0.05},
    )


def main(arguments: Sequence[str]) -> None:
    """Print and keep what became of the stream."""
    parser = argparse.ArgumentParser(prog="python -m tests.evaluation.stream", description=__doc__)
    parser.add_argument("--each", type=int, default=210, help="lessons of each kind")
    parser.add_argument("--embedder", choices=["onnx", "hashing"], default="onnx")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        report = asyncio.run(streamed(stream_settings(Path(directory), embedder=options.embedder), each=options.each))
    told = {"machine": machine(), "options": vars(options), **asdict(report)}
    (RESULTS / "stream.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for kind, fates in report.fates.items():
        print(f"{kind:14}", "  ".join(f"{fate} {count / options.each:.2f}" for fate, count in fates.items()))
    print("defended  ", asdict(report.defended))
    print("undefended", asdict(report.undefended))


if __name__ == "__main__":
    main(sys.argv[1:])
