"""A bank that does everything once, with everything it executes: what tests of its statements look at."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.learning.purging import Way
from reasoning_bank.monitoring.statements import Statement, listening
from reasoning_bank.records import ImportedMemory, ImportedTrace, JsonValue, Links, MemoryItem, NewTrace, Query
from reasoning_bank.settings import LanguageModelSettings, Settings
from reasoning_bank.storage import outbox
from reasoning_bank.storage.statements import shortened

CONTENT = "Pin gcc to version {} in the image: version 13 miscompiles the vector loop of the renderer."
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
RUN: list[JsonValue] = [
    {"thought": "I look for the compiler.", "action": "make image", "observation": "Error: no compiler in the image"},
    {"action": "apt-get install gcc", "observation": "installed"},
]


@dataclass
class Executed:
    """Each statement that was executed, its lists shortened: how it was written, and what it was executed for."""

    directory: Path
    sql: dict[str, str] = field(default_factory=dict[str, str])
    by: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    doing: str = "opening"

    @property
    def database(self) -> Path:
        """The file of the bank."""
        return self.directory / "bank.sqlite3"

    def hear(self, statement: Statement) -> None:
        """Note a statement."""
        short = shortened(statement.sql)
        self.sql[short] = statement.sql
        self.by.setdefault(short, set()).add(self.doing)


def item(number: int, content: str = CONTENT) -> MemoryItem:
    """A lesson of that number."""
    return MemoryItem("", title=f"Compiler {number}", description="Building images.", content=content.format(number))


def imported(number: int) -> ImportedTrace:
    """A row of an import that names other traces and memories."""
    links = Links((f"tr_{number}",), ((f"m_{number - 1}", "the opposite"),) if number else ())
    memory = ImportedMemory(MemoryItem(text=f"imported lesson {number}", tags=("old",)), id=f"m_{number}", links=links)
    return ImportedTrace(NewTrace(f"imported task {number}"), (memory,), id=f"tr_{number}")


def realistic_run(settings: Settings) -> Executed:
    """Do everything once that a bank can do; closes it."""
    script = settings.data_dir.parent / "script.jsonl"
    lesson = {
        "title": "Pin the compiler",
        "description": "Building images.",
        "error_context": None,
        "content": CONTENT.format(12),
    }
    said = {"outcome": "failure", "reason": "it ends in an error", "confidence": 0.9}
    replies = [{"purpose": "judge", "json": said}, {"purpose": "distil", "json": {"memories": [lesson]}}]
    script.write_text("\n".join(map(json.dumps, replies)), encoding="utf-8")
    llm = {"model": "s:m", "providers": {"s": {"kind": "scripted", "script": script}}}
    with_model = settings.model_copy(update={"llm": LanguageModelSettings.model_validate(llm)})
    executed = Executed(settings.data_dir)
    with listening(executed.hear):
        asyncio.run(_everything(with_model, executed))
    return executed


async def _everything(settings: Settings, executed: Executed) -> None:
    async with ReasoningBank(settings) as bank:

        async def do(what: str, *calls: Awaitable[object]) -> None:
            executed.doing = what
            for call in calls:
                await call

        ids: list[str] = []
        executed.doing = "storing"
        for number in range(12):
            stored = await bank.store_trace("w", trace(number), memories=[item(number)])
            ids += [each.id for each in stored.memories if each.id]
        told = [bank.store_trace("w", NewTrace(f"Build image {at // 2}", "unknown", RUN), wait_s=5) for at in range(4)]
        await do("storing", *told, bank.capture_knowledge("w", "Which compiler builds images?", CONTENT.format(12)))
        await do("importing", bank.store_many("w", [imported(number) for number in range(5)]))
        await do("background", bank.wait_until_searchable(timeout_s=60), bank.rooms.worker.drain(60))
        await do(
            "searching", *(bank.retrieve("w", query) for query in _queries()), bank.retrieve_everywhere(Query("x"))
        )
        await do("reading", bank.get_memories("w", ids), bank.genealogy("w", ids[0]))
        for verdict in ("helped", "misled", "misled", "misled", "misled", "ignored"):
            for actor in ("ann", "ben"):
                await do("rating", bank.rate("w", ids[:4], verdict, actor=actor, note="why"))
        await do(
            "editing", bank.update_memory("w", ids[5], {"content": "Never pin gcc at all in the image of a test."})
        )
        await do("editing", bank.forget_memory("w", ids[6]), bank.forget_memory("w", ids[6], undo=True))
        await _look_after(bank, do, ids)
        executed.doing = "exporting"
        assert [row async for row in bank.export_rows(None)]
        await do("reporting", bank.stats("w"), bank.health(), bank.workspaces(), bank.diagnose())
        await do("completing", *(bank.complete(kind, "", "w") for kind in _KINDS))
        await do("background", bank.rooms.worker.drain(60), bank.rooms.usage.flush())
        await bank.rooms.database.read(outbox.dead)


_KINDS = ("workspace", "tag", "domain", "memory", "trace")


def trace(number: int) -> NewTrace:
    """A trace of that number."""
    outcome = "success" if number % 2 else "failure"
    return NewTrace(f"Build image {number}", outcome, RUN, tags=("build", "gcc"), domain="images", session="s")


def _queries() -> list[Query]:
    late = datetime(2100, 1, 1, tzinfo=UTC)
    return [
        Query("Build the image of the renderer", k=5, min_score=0),
        Query("Build the image", tags=("build",), domain="Images", outcome="success", since=LONG_AGO, until=late),
        Query("What was built last week", include_failures=False),
    ]


async def _look_after(bank: ReasoningBank, do: Callable[..., Awaitable[None]], ids: list[str]) -> None:
    upkeep = bank.upkeep
    quarantined = await upkeep.quarantined("w")
    await do("upkeep", *(upkeep.restore("w", each.id) for each in quarantined[:1]), upkeep.refused("w"))
    await do("upkeep", upkeep.history("w", ids[0]), upkeep.lift("w", least=1), upkeep.set_privacy("w", "redact"))
    await do("upkeep", upkeep.prune("w", above=1), upkeep.undo_pruning("w", since=LONG_AGO))
    await do("upkeep", upkeep.purge("w", Way(kind="import")), upkeep.undo_purge("w", since=LONG_AGO))
    token = await upkeep.create_token("w", name="laptop", scopes=["read"], lifetime=timedelta(days=1))
    await do("upkeep", upkeep.has_token(), upkeep.verify_token(token.secret), upkeep.revoke_token(token.id))
    await do("upkeep", upkeep.list_tokens("w"), upkeep.retry_given_up())
