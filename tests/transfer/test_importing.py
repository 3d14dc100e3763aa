"""What import does with a file, against a store that keeps rows in a dict by the ids import derives."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from reasoning_bank.errors import InputError
from reasoning_bank.records import ImportedTrace, JsonValue, Memory, StoredMemory, StoreResult, Trace
from reasoning_bank.transfer import importing
from reasoning_bank.transfer.exporting import export_file
from reasoning_bank.transfer.identity import imported_memory_id, imported_trace_id
from reasoning_bank.transfer.importing import BadLinesError, Imported, Progress, import_rows

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Shelf:
    """Keeps what import stores; refuses texts that hold the word it is given."""

    refused: str = "\0"
    traces: dict[tuple[str, str], tuple[Trace, dict[str, Memory]]] = field(
        default_factory=dict[tuple[str, str], tuple[Trace, dict[str, Memory]]]
    )
    batches: list[int] = field(default_factory=list[int])

    def store(self, workspace: str, batch: Sequence[ImportedTrace]) -> list[StoreResult]:
        if any(self.refused in memory.item.text for trace in batch for memory in trace.memories):
            raise InputError(f"it says {self.refused!r}")
        self.batches.append(sum(len(trace.memories) for trace in batch))
        return [self._keep(workspace, trace) for trace in batch]

    def _keep(self, workspace: str, imported: ImportedTrace) -> StoreResult:
        trace_id = imported_trace_id(imported)
        trace = Trace(trace_id, workspace, imported.report, imported.created_at or NOW, "")
        _, memories = self.traces.setdefault((workspace, trace_id), (trace, {}))
        results: list[StoredMemory] = []
        for memory in imported.memories:
            memory_id = imported_memory_id(memory, trace_id=trace_id)
            known = memory_id in memories
            if not known:
                created = memory.created_at or NOW
                memories[memory_id] = Memory(
                    memory_id,
                    workspace,
                    trace_id,
                    memory.item,
                    memory.counters,
                    created,
                    memory.updated_at or created,
                    "",
                    memory.superseded_by,
                    memory.deleted_at,
                )
            results.append(StoredMemory(memory_id, "created", memory.item.title, "was there" if known else None))
        return StoreResult(trace_id, tuple(results), "none", "")

    def export(self) -> bytes:
        out = io.BytesIO()
        export_file([(trace, list(memories.values())) for trace, memories in self.traces.values()], out)
        return out.getvalue()


def file_of(*rows: Mapping[str, JsonValue] | str) -> io.BytesIO:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    return io.BytesIO("\n".join(lines).encode())


def turn(number: int, **metadata: JsonValue) -> dict[str, JsonValue]:
    return {"id": f"t{number}", "text": f"turn {number}", "metadata": {"session": 1, "turn": number} | metadata}


def run(
    shelf: Shelf,
    file: io.BytesIO,
    *,
    workspace: str | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Imported:
    return import_rows(
        file, shelf.store, default_workspace="d", workspace=workspace, skip_bad=skip_bad, progress=progress
    )


def test_rows_with_session_and_turn_become_one_trace_and_others_one_each() -> None:
    shelf = Shelf()
    report = run(shelf, file_of(turn(0), {"id": "a", "text": "alone"}, turn(1), "", turn(2)))
    assert (report.rows, report.created, report.traces, report.workspaces) == (4, 4, 2, ("d",))
    (trace, turns), (_, alone) = shelf.traces.values()
    assert trace.report.task == "turn 0"
    assert [memory.item.position for memory in turns.values()] == [0, 1, 2]
    assert [memory.item.external_id for memory in alone.values()] == ["a"]


def test_a_second_run_creates_nothing_and_an_extended_file_only_what_is_new() -> None:
    shelf = Shelf()
    run(shelf, file_of(turn(0), turn(1)))
    assert run(shelf, file_of(turn(0), turn(1))).created == 0
    assert run(shelf, file_of(turn(0), turn(1), turn(2))).created == 1
    assert len(shelf.traces) == 1


def test_rows_of_equal_id_and_other_content_are_both_kept() -> None:
    shelf = Shelf()
    assert run(shelf, file_of({"id": "a", "text": "one"}, {"id": "a", "text": "two"})).created == 2


def test_a_forced_workspace_takes_all_rows_and_keeps_sessions_of_different_sources_apart() -> None:
    shelf = Shelf()
    report = run(shelf, file_of(turn(0, workspace="x"), turn(0, workspace="y")), workspace="z")
    assert report.workspaces == ("z",)
    traces = [trace for trace, _ in shelf.traces.values()]
    assert [trace.report.session for trace in traces] == ["x/1", "y/1"]
    memories = [memory for _, group in shelf.traces.values() for memory in group.values()]
    assert [memory.item.metadata for memory in memories] == [{"workspace": "x"}, {"workspace": "y"}]


def test_bad_lines_are_all_named_and_nothing_is_stored() -> None:
    shelf = Shelf()
    with pytest.raises(BadLinesError) as error:
        run(shelf, file_of(turn(0), "{", '{"id": "b", "text": ""}'))
    assert [line.number for line in error.value.lines] == [2, 3]
    assert "nothing was imported" in str(error.value)
    assert "line 3: 'text' is missing" in str(error.value)
    assert shelf.traces == {}


def test_skip_bad_imports_the_others_and_reports_the_bad() -> None:
    report = run(Shelf(), file_of("{", turn(0)), skip_bad=True)
    assert (report.created, [line.number for line in report.bad]) == (1, [1])


def test_a_row_that_only_the_bank_refuses_is_found_in_its_batch() -> None:
    shelf = Shelf(refused="secret")
    rows = [{"id": str(n), "text": f"row {n}" if n != 3 else "secret"} for n in range(6)]
    with pytest.raises(BadLinesError, match="line 4: it says 'secret'"):
        run(shelf, file_of(*rows))
    report = run(shelf, file_of(*rows), skip_bad=True)
    assert [str(line) for line in report.bad] == ["line 4: it says 'secret'"]
    assert (report.rows, report.created) == (5, 2)  # three were stored before the refusal
    assert len(shelf.traces) == 5


def test_batches_are_bounded_and_progress_counts_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH_ROWS", 10)
    shelf, seen = Shelf(), list[tuple[int, int]]()
    rows = [turn(n) for n in range(25)] + [{"id": f"r{n}", "text": "x"} for n in range(7)]
    report = run(shelf, file_of(*rows), progress=lambda done, total: seen.append((done, total)))
    assert shelf.batches == [10, 10, 10, 2]
    assert seen[-1] == (32, 32)
    assert (report.created, report.traces) == (32, 8)


def test_a_line_over_the_limit_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "LINE_BYTES", 100)
    with pytest.raises(BadLinesError, match=r"line 1: 1\d\d bytes long; the limit of a line is 100"):
        run(Shelf(), file_of({"id": "a", "text": "x" * 100}))


def test_export_import_export_is_byte_equal_also_in_a_fresh_bank() -> None:
    first, second = Shelf(), Shelf()
    run(first, file_of(turn(0), {"id": "a", "text": "é", "metadata": {"title": "T", "files": ["z"]}}, turn(1)))
    exported = first.export()
    report = run(second, io.BytesIO(exported))
    assert report.created == 3
    assert second.export() == exported
    assert run(first, io.BytesIO(exported)).created == 0
    assert first.export() == exported


def test_a_trace_of_its_own_and_its_memories_survive_wherever_its_line_stands() -> None:
    first = Shelf()
    run(first, file_of(turn(0), turn(1)))
    key, (trace, memories) = next(iter(first.traces.items()))
    first.traces[key] = (replace(trace, report=replace(trace.report, trajectory=[{"step": 1}])), memories)
    exported = first.export()
    own, *rows = exported.splitlines(keepends=True)
    assert json.loads(own)["trace"]["trajectory"] == [{"step": 1}]
    second = Shelf()
    run(second, io.BytesIO(b"".join([*rows, own])))
    assert second.export() == exported
    with pytest.raises(BadLinesError, match="is described twice"):
        run(Shelf(), io.BytesIO(own + own))
