"""What distilling costs retrieval: `python -m tests.evaluation.distillation DIR [SET ...] [--scripted] [--hashing]`.

Each row of a set is stored as a trace: its text is the task, its content what happened. The bank distils it, by rules
or with a scripted model that answers from the trace, and the questions of the set are asked of what it kept. A trace
counts as found where a memory that it taught is; R@10 counts the first ten traces, "items" the first ten memories.
Beside it stands the bank that keeps the rows as they are. Results go to tests/benchmarks/results/distillation.json.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from sqlalchemy import Connection

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.evaluation.metrics import Figures, Interval, differences, means, measure
from reasoning_bank.evaluation.sets import Asked, EvaluationSet, read_set
from reasoning_bank.learning.admission import Limits
from reasoning_bank.learning.distilling import TraceDistiller
from reasoning_bank.learning.gate import evidence_of, unsupported
from reasoning_bank.learning.intake import Intake
from reasoning_bank.learning.literals import generalised
from reasoning_bank.learning.recall import RecentlyServed
from reasoning_bank.learning.work import DISTIL
from reasoning_bank.llm.budget import Budget
from reasoning_bank.llm.budget import Limits as Spending
from reasoning_bank.llm.model import LanguageModel
from reasoning_bank.llm.routing import routes
from reasoning_bank.llm.templates import templates
from reasoning_bank.opening import clockwork
from reasoning_bank.records import ImportedTrace, Memory, NewTrace, Query
from reasoning_bank.settings import Settings, load_settings
from reasoning_bank.storage import lineage, memories, rejections, traces
from reasoning_bank.storage.outbox import OutboxRow
from reasoning_bank.storage.rejections import Rejection
from reasoning_bank.transfer.rows import read_row
from tests.benchmarks.machine import RESULTS, machine
from tests.evaluation.extracting import ExtractingModel

K = 10
RAW = "raw "


@dataclass(frozen=True, slots=True)
class Distilled:
    """What became of the traces of a set.

    Attributes:
        found: of each question, with the first ten traces.
        found_items: of each question, with the first ten memories.
        raw: of each question, in the bank that keeps the rows.
        kept, refused: memories.
        without: traces that gave no memory.
        refusals: every refused memory's title and reason.
        unsupported: memories that name what their trace does not: there must be none.
        own_titles: share of titles that still name a thing of one task only.
        makers: memories by what made them.
    """

    name: str
    traces: int
    found: Sequence[Figures]
    found_items: Sequence[Figures]
    raw: Sequence[Figures]
    kept: int
    without: int
    refusals: Sequence[Rejection]
    unsupported: Sequence[str]
    own_titles: float
    makers: Counter[str]

    @property
    def lost(self) -> Interval:
        """R@10 of the first ten traces against the rows as they are; negative where distilling loses."""
        return differences(self.raw, self.found)["R@10"]

    @property
    def refused_share(self) -> float:
        """Share of the distilled memories that the gate refused."""
        return len(self.refusals) / max(1, self.kept + len(self.refusals))


async def distilled(data: EvaluationSet, settings: Settings, *, scripted: bool = False) -> Distilled:
    """Store a set both ways in a fresh bank, and ask its questions of each."""
    async with ReasoningBank(settings) as bank:
        reports, keys = await _fill(bank, data)
        if scripted:
            await _looked_at(bank, reports, keys)
        await bank.rooms.worker.drain(3_600)
        await bank.wait_until_searchable(timeout_s=3_600)
        raw = [await _ranked(bank, asked, RAW + asked.space) for asked in data.queries]
        found = [await _ranked(bank, asked, asked.space, per_trace=1) for asked in data.queries]
        items = [await _ranked(bank, asked, asked.space) for asked in data.queries]
        kept, refused = await bank.rooms.database.read(lambda connection: _kept(connection, data.spaces))
        taught = await bank.rooms.database.read(lambda connection: _teaching(connection, kept))
    told = {key: evidence_of([report]) for key, report in reports.items()}
    return Distilled(
        name=data.name,
        traces=len(reports),
        found=found,
        found_items=items,
        raw=raw,
        kept=len(kept),
        without=len(reports) - len(taught),
        refusals=refused,
        unsupported=[str(said) for memory in kept if (said := unsupported(memory.item, told[memory.trace_id]))],
        own_titles=sum(generalised(memory.item.title) != memory.item.title for memory in kept) / max(1, len(kept)),
        makers=Counter((memory.item.made_by or "").partition(" ")[2] or memory.item.made_by or "" for memory in kept),
    )


async def _fill(bank: ReasoningBank, data: EvaluationSet) -> tuple[dict[str, NewTrace], dict[str, tuple[str, str]]]:
    """Store every row twice; the traces by id, and their workspaces and keys."""
    spaces = {item.id: item.space for item in data.items}
    reports: dict[str, NewTrace] = {}
    keys: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(data.rows.splitlines(), start=1):
        row = read_row(line, number=number)
        assert row.memory is not None
        item = row.memory.item
        space = spaces[item.external_id or ""]
        report = NewTrace(item.text, "success", item.content, external_id=item.external_id, time=item.time)
        result = await bank.store_trace(space, report)
        reports[result.trace_id] = report
        keys[result.trace_id] = (space, result.idempotency_key)
        await bank.store_many(
            RAW + space, [ImportedTrace(NewTrace(item.text, external_id=item.external_id), (row.memory,))]
        )
    return reports, keys


async def _ranked(bank: ReasoningBank, asked: Asked, space: str, *, per_trace: int | None = None) -> Figures:
    found = await bank.retrieve(space, Query(asked.text, k=K, min_score=0, per_trace=per_trace, token_budget=0))
    ids = [memory.memory.id for memory in found.memories]

    def read(connection: Connection) -> list[str]:
        taught = lineage.sources(connection, space, ids)
        sources = dict.fromkeys(source for id_ in ids for source in taught[id_])
        known = traces.by_ids(connection, space, sources)
        return [known[id_].report.external_id or "" for id_ in sources]

    return measure(await bank.rooms.database.read(read), asked.relevant)


def _kept(connection: Connection, spaces: Sequence[str]) -> tuple[list[Memory], list[Rejection]]:
    kept: list[Memory] = []
    refused: list[Rejection] = []
    for space in spaces:
        page = memories.list_page(connection, space, limit=100_000, live_only=True)
        kept += [row.memory for row in page]
        refused += [row.rejection for row in rejections.latest(connection, space, limit=100_000)]
    return kept, refused


def _teaching(connection: Connection, kept: Sequence[Memory]) -> set[str]:
    by_space: dict[str, list[str]] = {}
    for memory in kept:
        by_space.setdefault(memory.workspace, []).append(memory.id)
    taught = (lineage.sources(connection, space, ids) for space, ids in by_space.items())
    return {source for each in taught for sources in each.values() for source in sources}


def figures(result: Distilled) -> dict[str, Any]:
    """What is kept of a run: R@10 with its interval, and what became of the memories."""
    found, raw, lost = means(result.found)["R@10"], means(result.raw)["R@10"], result.lost
    return {
        "traces": result.traces,
        "memories": result.kept,
        "traces_without": result.without,
        "R@10": round(found.value, 4),
        "R@10_first_memories": round(means(result.found_items)["R@10"].value, 4),
        "R@10_raw": round(raw.value, 4),
        "difference": [round(lost.value, 4), round(lost.low, 4), round(lost.high, 4)],
        "refused_share": round(result.refused_share, 4),
        "refused": dict(Counter(each.reason.partition(":")[0] for each in result.refusals)),
        "unsupported": len(result.unsupported),
        "titles_with_own_literals": round(result.own_titles, 4),
        "made_by": dict(result.makers),
    }


def shown(result: Distilled) -> str:
    """Figures of a set in lines."""
    found, items, raw = (means(rows)["R@10"] for rows in (result.found, result.found_items, result.raw))
    lost = result.lost
    examples = {each.reason.partition(":")[0]: each for each in result.refusals}
    lines = [
        f"{result.name}: {result.traces} traces, {result.kept} memories, {result.without} traces without",
        f"  R@10 {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]  items {items.value:.3f}  raw {raw.value:.3f}  "
        f"difference {lost.value:+.3f} [{lost.low:+.3f}, {lost.high:+.3f}]",
        f"  refused {result.refused_share:.1%}, unsupported {len(result.unsupported)}, "
        f"own literals in titles {result.own_titles:.1%}, made by {dict(result.makers)}",
        *(f"  e.g. {each.title[:70]!r}: {each.reason[:120]}" for each in examples.values()),
    ]
    return "\n".join(lines)


async def _looked_at(bank: ReasoningBank, reports: Mapping[str, NewTrace], keys: Mapping[str, tuple[str, str]]) -> None:
    """Let a model that answers from the trace look at each, as the background would."""
    database, limits = bank.rooms.database, bank.settings.limits
    clock = clockwork()
    intake = Intake(
        redactor=bank.rooms.redactor,
        limits=Limits(limits.task_bytes, limits.memory_bytes, limits.trajectory_bytes, limits.tags),
        served=RecentlyServed(),
        now=clock.now,
        new_id=clock.new_id,
    )
    known = await anyio.to_thread.run_sync(templates)
    model = LanguageModel(
        routes({"extracting": ExtractingModel()}, fast="extracting:m"),
        budget=Budget(database, limits=Spending(), now=clock.now),
        templates=known,
        cache=None,
        clean=lambda text: text,
    )

    async def compress(text: str, question: str, most: int) -> str:
        return (await bank.rooms.compressor.compress(text, query=question, max_tokens=most, ratio=1.0)).text

    distiller = TraceDistiller(database, intake, model, compress=compress)
    rows = [
        OutboxRow(number, keys[trace_id][0], DISTIL, {"trace_id": trace_id, "key": keys[trace_id][1]}, 1, clock.now())
        for number, trace_id in enumerate(reports)
    ]
    await distiller.handle(rows)


def settings_for(directory: Path, *, backend: str) -> Settings:
    """A bank of its own."""
    return load_settings(
        data_dir=directory,
        embeddings={"backend": backend},
        vectors={"search": "exact"},
        assets={"allow_download": False},
        durability="process",
    )


def main(arguments: Sequence[str]) -> int:
    """Print the figures of each set; 1 where distilling loses more than three points, or an item lacks support."""
    parser = argparse.ArgumentParser(prog="python -m tests.evaluation.distillation", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("sets", nargs="*", default=["swebench", "webarena"])
    parser.add_argument("--scripted", action="store_true", help="with a model that answers from the trace")
    parser.add_argument("--hashing", action="store_true", help="without an embedding model")
    options = parser.parse_args(arguments)
    good = True
    file = RESULTS / "distillation.json"
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in options.sets or ["swebench", "webarena"]:
        data = read_set(name, options.directory / name)
        with tempfile.TemporaryDirectory() as directory:
            settings = settings_for(Path(directory), backend="hashing" if options.hashing else "onnx")
            result = asyncio.run(distilled(data, settings, scripted=options.scripted))
        print(shown(result), flush=True)
        if not options.hashing:
            way = "scripted model" if options.scripted else "rules"
            report[f"{name}, {way}"] = figures(result)
            file.write_text(json.dumps(report | {"machine": machine()}, indent=1) + "\n", encoding="utf-8")
        good = good and result.lost.value >= -0.03 and not result.unsupported
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
