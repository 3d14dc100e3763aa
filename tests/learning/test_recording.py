"""What goes first of the work that storing leaves behind."""

from pathlib import Path

import anyio.to_thread
from sqlalchemy import Connection, select

from reasoning_bank.learning.admission import Limits
from reasoning_bank.learning.importing import TraceImporter
from reasoning_bank.learning.recording import Told
from reasoning_bank.learning.work import AT_ONCE, DISTIL, EMBED
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.records import ImportedMemory, ImportedTrace, JsonValue, MemoryItem, NewTrace
from reasoning_bank.storage import outbox, schema
from reasoning_bank.transfer.identity import identified

from .distilling_bank import SPACE, START, distilling_bank

RUN: JsonValue = [{"action": "make", "observation": "Error: no rule to make target"}, {"action": "make all"}]


def priorities(connection: Connection) -> list[tuple[str, int]]:
    columns = (schema.outbox.c.kind, schema.outbox.c.priority)
    return [(*row,) for row in connection.execute(select(*columns).distinct().order_by(schema.outbox.c.seq))]


async def test_what_is_waited_for_goes_first_and_what_came_in_bulk_last(tmp_path: Path) -> None:
    async with distilling_bank(tmp_path) as bank:

        def store() -> None:
            bank.recorder.record(SPACE, NewTrace("one", outcome="failure", trajectory=RUN))
            bank.recorder.record(SPACE, NewTrace("two", outcome="failure", trajectory=RUN), awaited=True)
            bank.recorder.record_many(SPACE, [Told(NewTrace("three", outcome="failure", trajectory=RUN))])

        await anyio.to_thread.run_sync(store)
        queued = await bank.database.read(priorities)
    assert [each for each in queued if each[0] == DISTIL] == [
        (DISTIL, outbox.FRESH),
        (DISTIL, outbox.AWAITED),
        (DISTIL, outbox.BULK),
    ]


async def test_an_import_is_embedded_last_and_a_few_at_a_time(tmp_path: Path) -> None:
    redactor = Redactor("redact", b"salt")
    rows = [
        ImportedTrace(NewTrace(f"task {number}"), (ImportedMemory(MemoryItem(text=f"imported {number}")),))
        for number in range(2 * AT_ONCE + 1)
    ]
    async with distilling_bank(tmp_path) as bank:
        importer = TraceImporter(bank.database, redactor=lambda _: redactor, limits=Limits(), now=lambda: START)
        await anyio.to_thread.run_sync(importer.store, SPACE, rows, identified)
        assert await bank.database.read(priorities) == [(EMBED, outbox.BULK)]
        assert (await bank.database.read(lambda c: outbox.counts(c, now=START))).pending == 3
