"""Import of a JSONL file: read once to find every bad line, then stored in batches that a second run finds again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from reasoning_bank.errors import InputError
from reasoning_bank.records import ImportedMemory, ImportedTrace, StoreResult
from reasoning_bank.transfer.rows import Row, implied_report, read_row

BATCH_ROWS = 500
"""Rows per transaction: the commit's fsync is shared by so many that it no longer counts."""
BATCH_BYTES = 8 << 20
"""Bytes of lines per transaction, so that other processes' writes never wait long."""
LINE_BYTES = 16 << 20
"""A longer line is refused: it holds more than the largest trace the bank accepts."""
LISTED = 20
"""Bad lines an error text shows; the report has them all."""

Store = Callable[[str, Sequence[ImportedTrace]], Sequence[StoreResult]]
"""Redacts and stores a batch of one workspace in one transaction."""
Progress = Callable[[int, int], None]
"""Receives rows done and rows in all."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not imported, and why."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"


class BadLinesError(InputError):
    """The file has lines that are no rows.

    Attributes:
        lines: all of them, in file order.
    """

    def __init__(self, lines: Sequence[BadLine], *, stored: int) -> None:
        shown = "".join(f"\n  {line}" for line in lines[:LISTED])
        more = f"\n  and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
        kept = f"{stored} rows before them are stored and will be found again" if stored else "nothing was imported"
        super().__init__(f"{len(lines)} bad line(s), {kept}; correct them or pass --skip-bad:{shown}{more}")
        self.lines = tuple(lines)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        rows: rows understood and not refused; each is a memory of the bank.
        created: rows that are new in the bank; the others were there from an earlier run.
        workspaces: the workspaces that received rows, in file order.
        bad: lines left out (with `skip_bad`).
    """

    rows: int
    created: int
    traces: int
    workspaces: tuple[str, ...]
    bad: tuple[BadLine, ...]


@dataclass(slots=True)
class _Group:
    """The lines of one trace: where each starts in the file, and its number."""

    lines: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    traced: bool = False


@dataclass(slots=True)
class _Plan:
    """What the first reading found: workspace -> group -> lines, all in file order."""

    groups: dict[str, dict[tuple[str, ...], _Group]] = field(default_factory=dict[str, dict[tuple[str, ...], _Group]])
    rows: int = 0
    bad: list[BadLine] = field(default_factory=list[BadLine])


@dataclass(frozen=True, slots=True)
class _Target:
    """Where rows go: the `forced` workspace, else the row's own, else the `default`."""

    forced: str | None
    default: str

    def workspace(self, row: Row) -> str:
        return self.forced or row.workspace or self.default

    def moved_from(self, row: Row) -> str | None:
        return row.workspace if self.forced not in (None, row.workspace) else None


def import_rows(
    file: BinaryIO,
    store: Store,
    *,
    default_workspace: str,
    workspace: str | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Import every row of `file`; running it again stores only what is missing.

    Args:
        file: seekable, UTF-8, one JSON object per line; blank lines are skipped.
        store: called with batches of one workspace each.
        default_workspace: for rows that name none.
        workspace: takes all rows, whatever they name; the name they had stays in their metadata.
        skip_bad: leave bad lines out instead of refusing the file.
        progress: called after each batch.

    Raises:
        BadLinesError: a line is no row, or the bank refuses it, and `skip_bad` is off. Bad lines are found
            before anything is stored, except those that only the bank can judge.
        StorageError: the bank cannot be written; batches stored before stay.
    """
    target = _Target(forced=workspace, default=default_workspace)
    plan = _read_all(file, target)
    if plan.bad and not skip_bad:
        raise BadLinesError(plan.bad, stored=0)
    run = _Run(file=file, store=store, target=target, skip_bad=skip_bad, progress=progress, plan=plan)
    run.store_all()
    return Imported(
        rows=plan.rows - run.refused,
        created=run.created,
        traces=sum(map(len, plan.groups.values())),
        workspaces=tuple(plan.groups),
        bad=tuple(sorted(plan.bad, key=lambda line: line.number)),
    )


def _read_all(file: BinaryIO, target: _Target) -> _Plan:
    plan = _Plan()
    for number, offset, line in _lines(file):
        try:
            _note(plan, read_row(_bounded(line), number=number), target, (number, offset))
        except InputError as error:
            plan.bad.append(BadLine(number, str(error)))
    return plan


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    file.seek(0)
    offset = 0
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield number, offset, line
        offset += len(line)


def _bounded(line: bytes) -> bytes:
    if len(line) > LINE_BYTES:
        raise InputError(f"{len(line)} bytes long; the limit of a line is {LINE_BYTES}")
    return line


def _note(plan: _Plan, row: Row, target: _Target, at: tuple[int, int]) -> None:
    group = plan.groups.setdefault(target.workspace(row), {}).setdefault(_group_key(row, target), _Group())
    if row.trace is not None and group.traced:
        raise InputError(f"trace {row.trace.id!r} is described twice")
    group.traced = group.traced or row.trace is not None
    # A trace's own line is read first, wherever it stands.
    group.lines.insert(0 if row.trace else len(group.lines), at)
    plan.rows += row.memory is not None


def _group_key(row: Row, target: _Target) -> tuple[str, ...]:
    # Sessions of two workspaces that move into one may have the same name and are still two.
    return (*row.group, target.moved_from(row) or "")


@dataclass(slots=True)
class _Run:
    """One pass over the planned groups: collects a batch, stores it, counts."""

    file: BinaryIO
    store: Store
    target: _Target
    skip_bad: bool
    progress: Progress | None
    plan: _Plan
    created: int = 0
    refused: int = 0
    done: int = 0

    def store_all(self) -> None:
        for workspace, groups in self.plan.groups.items():
            batch = _Batch()
            for group in groups.values():
                for trace, numbers, size in self._parts(group):
                    batch.add(trace, numbers, size)
                    if batch.full:
                        self._flush(workspace, batch)
                        batch = _Batch()
            self._flush(workspace, batch)

    def _parts(self, group: _Group) -> Iterator[tuple[ImportedTrace, tuple[int, ...], int]]:
        """The group's trace, in parts of at most a batch: the bank adds later parts to the first."""
        trace: ImportedTrace | None = None
        memories: list[ImportedMemory] = []
        numbers: list[int] = []
        size = 0
        for number, offset in group.lines:
            row, length = self._row(offset, number)
            trace = trace or row.trace
            if row.memory is not None:
                trace = trace or _implied(row, row.memory)
                memories.append(row.memory)
            numbers.append(number)
            size += length
            if trace is not None and (len(memories) >= BATCH_ROWS or size >= BATCH_BYTES):
                yield replace(trace, memories=tuple(memories)), tuple(numbers), size
                memories, numbers, size = [], [], 0
        if trace is not None and numbers:
            yield replace(trace, memories=tuple(memories)), tuple(numbers), size

    def _row(self, offset: int, number: int) -> tuple[Row, int]:
        self.file.seek(offset)
        line = self.file.readline()
        row = read_row(line, number=number)
        origin = self.target.moved_from(row)
        return (row if origin is None else _moved(row, origin)), len(line)

    def _flush(self, workspace: str, batch: "_Batch") -> None:
        if not batch.traces:
            return
        try:
            self._count(self.store(workspace, batch.traces))
        except InputError as error:
            self._flush_parts(workspace, batch, error)
        self.done += sum(len(trace.memories) for trace in batch.traces)
        if self.progress is not None:
            self.progress(self.done, self.plan.rows)

    def _flush_parts(self, workspace: str, batch: "_Batch", error: InputError) -> None:
        """Store a refused batch row by row, so that only the lines that the bank refuses are left out."""
        parts = list(batch.rows())
        if len(parts) == 1:
            self._refuse(*parts[0], error)
            return
        for trace, number in parts:
            try:
                self._count(self.store(workspace, [trace]))
            except InputError as refused:
                self._refuse(trace, number, refused)

    def _refuse(self, trace: ImportedTrace, number: int, error: InputError) -> None:
        bad = BadLine(number, str(error))
        if not self.skip_bad:
            raise BadLinesError([bad], stored=self.done) from error
        self.plan.bad.append(bad)
        self.refused += len(trace.memories)

    def _count(self, results: Sequence[StoreResult]) -> None:
        # A memory that was there already is reported with a reason.
        self.created += sum(memory.reason is None for result in results for memory in result.memories)


def _implied(row: Row, memory: ImportedMemory) -> ImportedTrace:
    trace_id = row.group[1] if row.group[0] == "trace" else None
    return ImportedTrace(implied_report([memory.item]), (), id=trace_id, created_at=memory.created_at)


def _moved(row: Row, origin: str) -> Row:
    """The row as it reads in another workspace: sessions keep apart, the old name stays in the metadata."""
    memory, trace = row.memory, row.trace
    if memory is not None:
        item = memory.item
        session = None if item.session is None else f"{origin}/{item.session}"
        kept = {"workspace": origin, **item.metadata}
        memory = replace(memory, item=replace(item, session=session, metadata=kept))
    if trace is not None and trace.report.session is not None:
        trace = replace(trace, report=replace(trace.report, session=f"{origin}/{trace.report.session}"))
    return replace(row, memory=memory, trace=trace)


@dataclass(slots=True)
class _Batch:
    """Traces for one transaction, each with the numbers of its lines."""

    traces: list[ImportedTrace] = field(default_factory=list[ImportedTrace])
    numbers: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    memories: int = 0
    size: int = 0

    def add(self, trace: ImportedTrace, numbers: tuple[int, ...], size: int) -> None:
        self.traces.append(trace)
        self.numbers.append(numbers)
        self.memories += len(trace.memories)
        self.size += size

    @property
    def full(self) -> bool:
        return self.memories >= BATCH_ROWS or self.size >= BATCH_BYTES

    def rows(self) -> Iterator[tuple[ImportedTrace, int]]:
        """Each memory with its trace as a unit of its own, and the number of its line."""
        for trace, numbers in zip(self.traces, self.numbers, strict=True):
            if len(numbers) > len(trace.memories):  # the trace's own line
                yield replace(trace, memories=()), numbers[0]
            for memory, number in zip(trace.memories, numbers[len(numbers) - len(trace.memories) :], strict=True):
                yield replace(trace, memories=(memory,)), number
