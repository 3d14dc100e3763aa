"""A bank as far as distilling with a model needs it: real storage, real gate, a scripted model."""

import itertools
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio.to_thread
from sqlalchemy import Connection

from reasoning_bank.learning.admission import Limits
from reasoning_bank.learning.distilling import TraceDistiller
from reasoning_bank.learning.intake import Intake
from reasoning_bank.learning.judge import judged_by_rules
from reasoning_bank.learning.recall import RecentlyServed
from reasoning_bank.learning.recording import TraceRecorder
from reasoning_bank.learning.work import DISTIL
from reasoning_bank.llm.budget import Budget
from reasoning_bank.llm.budget import Limits as Spending
from reasoning_bank.llm.exchange import Provider
from reasoning_bank.llm.model import LanguageModel
from reasoning_bank.llm.routing import routes
from reasoning_bank.llm.scripted import ScriptedProvider, ScriptedReply
from reasoning_bank.llm.templates import templates
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.records import JsonValue, Memory, MemoryItem, NewTrace, StoreResult
from reasoning_bank.storage import memories, outbox
from reasoning_bank.storage.database import Database

START = datetime(2026, 1, 1, tzinfo=UTC)
SPACE = "w"
TEMPLATES = templates()


def lessons(*items: dict[str, Any], **about: Any) -> ScriptedReply:
    """A model's answer to `distil_…` and `contrast`."""
    return ScriptedReply(purpose="distil", json=cast(JsonValue, {"memories": list(items)}), **about)


def verdict(outcome: str, confidence: float = 0.8, **about: Any) -> ScriptedReply:
    """A model's answer to `judge`."""
    said: JsonValue = {"outcome": outcome, "reason": "the end shows it", "confidence": confidence}
    return ScriptedReply(purpose="judge", json=said, **about)


@dataclass(frozen=True, slots=True)
class DistillingBank:
    """Stores traces and lets the model look at them when told to; ids are counted."""

    database: Database
    recorder: TraceRecorder
    distiller: TraceDistiller
    provider: ScriptedProvider

    async def store(
        self,
        task: str,
        outcome: str = "success",
        trajectory: JsonValue = None,
        *,
        memories: Sequence[MemoryItem] | None = None,
        key: str | None = None,
    ) -> StoreResult:
        report = NewTrace(task, cast(Any, outcome), trajectory)
        record = partial(self.recorder.record, drafts=memories, idempotency_key=key)
        return await anyio.to_thread.run_sync(record, SPACE, report)

    async def look(self) -> None:
        """What the worker does once: take the queued rows, handle them, and finish them if nothing was raised."""
        rows = await self.database.write(
            lambda c: outbox.claim(c, "test", DISTIL, now=START + timedelta(hours=1), limit=100)
        )
        await self.distiller.handle(rows)
        await self.database.write(lambda c: outbox.finish(c, "test", [row.seq for row in rows]))

    async def answer(self, stored: StoreResult) -> StoreResult:
        found = await self.database.read(lambda c: self.recorder.answer(c, SPACE, stored.idempotency_key))
        assert found is not None
        return found

    async def live(self) -> list[Memory]:
        def read(connection: Connection) -> list[Memory]:
            return [row.memory for row in memories.list_page(connection, SPACE, live_only=True)]

        return await self.database.read(read)


@asynccontextmanager
async def distilling_bank(
    directory: Path,
    *replies: ScriptedReply,
    material_tokens: int = 2_000,
    model: Provider | None = None,
    unique_ids: bool = False,
) -> AsyncGenerator[DistillingBank]:
    """A bank whose model replays these answers, or is another one.

    Args:
        unique_ids: ids differ between processes on one bank; else they are counted.
    """
    numbers = itertools.count(1)
    tag = secrets.token_hex(6) if unique_ids else ""
    provider = ScriptedProvider(replies)
    async with Database(directory / "bank.db", durability="process", now=lambda: START) as database:
        redactor = Redactor("redact", b"salt")
        intake = Intake(
            redactor=lambda _: redactor,
            limits=Limits(),
            served=RecentlyServed(),
            now=lambda: START,
            new_id=lambda prefix: f"{prefix}_{tag}{next(numbers):06d}",
        )
        language = LanguageModel(
            routes({"script": model or provider}, fast="script:m"),
            budget=Budget(database, limits=Spending(), now=lambda: START),
            templates=TEMPLATES,
            cache=None,
            clean=lambda text: text,
        )
        yield DistillingBank(
            database=database,
            recorder=TraceRecorder(database, intake, judge=judged_by_rules, asks_model=True),
            distiller=TraceDistiller(database, intake, language, compress=shortened, material_tokens=material_tokens),
            provider=provider,
        )


async def shortened(text: str, question: str, most: int) -> str:
    """A compressor that keeps the beginning: four characters are a token."""
    return text[: 4 * most]
