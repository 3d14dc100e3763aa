"""How a trace enters the bank: admitted, judged, distilled, and written in one transaction.

All of it runs in the caller's worker thread; when the commit returns, the answer is durable. The same call again,
with the same key or the same words, finds the first and returns its ids.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection

from reasoning_bank.errors import InputError
from reasoning_bank.learning.answers import answer_of, digest, remember, remembered
from reasoning_bank.learning.distil import distil, found_by
from reasoning_bank.learning.gate import evidence_of
from reasoning_bank.learning.intake import Examined, Intake
from reasoning_bank.learning.judge import is_sure
from reasoning_bank.learning.recall import own_steps
from reasoning_bank.learning.replacement import give_way
from reasoning_bank.learning.request import distil_request
from reasoning_bank.learning.work import DISTIL
from reasoning_bank.records import (
    Distillation,
    JsonValue,
    Judgement,
    MemoryItem,
    NewTrace,
    Source,
    StoredMemory,
    StoreResult,
    Trace,
)
from reasoning_bank.storage import judgements, outbox, traces, workspaces
from reasoning_bank.storage.database import Database

MAX_DRAFTS = 5
"""Memories an assistant may distil from one trace (ReasoningBank keeps at most 3, at most 5 from several trials)."""
LIBRARY = Source("library")


@dataclass(frozen=True, slots=True)
class _Call:
    """One admitted `store_trace` call.

    Attributes:
        drafted: the assistant sent memories of its own.
        queued: a language model will look at it.
    """

    workspace: str
    key: str
    report: NewTrace
    source: Source
    judgement: Judgement | None
    drafted: bool
    queued: bool
    examined: Examined
    body_hash: str
    priority: int


@dataclass(frozen=True, slots=True)
class Told:
    """One trace of several that are recorded together; see `TraceRecorder.record`."""

    report: NewTrace
    drafts: Sequence[MemoryItem] | None = None
    idempotency_key: str | None = None


class TraceRecorder:
    """Writes traces and their memories; for worker threads.

    Args:
        intake: what every item passes.
        judge: how a trace ended whose outcome nobody reported, or None.
        asks_model: a language model looks at each trace that comes without memories, later.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        *,
        judge: Callable[[NewTrace], Judgement | None],
        asks_model: bool = False,
    ) -> None:
        self._database = database
        self._intake = intake
        self._judge = judge
        self._asks_model = asks_model

    def record(
        self,
        workspace: str,
        report: NewTrace,
        *,
        drafts: Sequence[MemoryItem] | None = None,
        idempotency_key: str | None = None,
        source: Source = LIBRARY,
        force: bool = False,
        awaited: bool = False,
    ) -> StoreResult:
        """Store what happened and what was learned; durable when it returns.

        Args:
            drafts: memories the assistant distilled itself; None lets the rules distil, and asks a language model or
                else the assistant to do better.
            idempotency_key: a repeated call with this key returns the first answer; with `drafts`, a call that
                follows up on one without them adds them to its trace. None derives a key from the words.
            source: the way the words came.
            force: keep `drafts` whatever they are worth; what is suspicious is quarantined all the same.
            awaited: somebody waits for the background work, too: it goes first.

        Raises:
            InputError: the call cannot be stored as it is, or the key belongs to another call.
            StorageError: it was not written.
        """
        told = Told(report, drafts, idempotency_key)
        priority = outbox.AWAITED if awaited else outbox.FRESH
        call = self._admitted(workspace, told, source=source, force=force, priority=priority)
        return self._database.write_now(lambda connection: self._store(connection, call))

    def record_many(
        self, workspace: str, batch: Sequence[Told], *, source: Source = LIBRARY
    ) -> list[StoreResult | InputError]:
        """Store several traces in one transaction; for each its answer, or why it cannot be stored as it is.

        Each trace is stored completely or not at all, and takes nothing from the others; recording the batch again
        stores what is missing. Its background work gives way to that of single traces. The transaction keeps other
        writers waiting for about a millisecond per trace.

        Raises:
            StorageError: nothing of it was written.
        """
        calls = [self._admitted_or_refused(workspace, told, source) for told in batch]
        return self._database.write_now(
            lambda connection: [self._stored_or_refused(connection, call) for call in calls]
        )

    def answer(self, connection: Connection, workspace: str, key: str) -> StoreResult | None:
        """Return what is answered to a call by now: a language model may have looked at its trace meanwhile."""
        return remembered(connection, workspace, key)

    def _admitted_or_refused(self, workspace: str, told: Told, source: Source) -> _Call | InputError:
        try:
            return self._admitted(workspace, told, source=source, force=False, priority=outbox.BULK)
        except InputError as refused:
            return refused

    def _stored_or_refused(self, connection: Connection, call: _Call | InputError) -> StoreResult | InputError:
        if isinstance(call, InputError):
            return call
        try:
            with connection.begin_nested():
                return self._store(connection, call)
        except InputError as refused:
            return refused

    def _admitted(self, workspace: str, told: Told, *, source: Source, force: bool, priority: int) -> _Call:
        report, drafts, key = told.report, told.drafts, told.idempotency_key
        if drafts is not None and len(drafts) > MAX_DRAFTS:
            raise InputError(f"{len(drafts)} memories, the limit is {MAX_DRAFTS}: send the most useful ones")
        kept = self._intake.admit(workspace, report)
        own = None if drafts is None else self._own(workspace, drafts, kept)
        judgement = self._judge(kept) if kept.outcome == "unknown" else None
        ended = replace(kept, outcome=judgement.outcome) if judgement and is_sure(judgement) else kept
        items = distil(ended) if own is None else [_ended(item, ended) for item in own]
        body_hash = digest([asdict(kept), own and [asdict(item) for item in own]])
        return _Call(
            workspace=workspace,
            key=self._intake.admit_key(workspace, key) if key else f"auto-{body_hash[:40]}",
            report=kept,
            source=self._intake.admit_source(workspace, source),
            judgement=judgement,
            drafted=own is not None,
            # Where there is no run to look at, only the assistant can say more.
            queued=self._asks_model and own is None and bool(own_steps(kept.trajectory)),
            examined=self._intake.examine(workspace, items, evidence_of([kept]), force=force),
            body_hash=body_hash,
            priority=priority,
        )

    def _own(self, workspace: str, drafts: Sequence[MemoryItem], report: NewTrace) -> tuple[MemoryItem, ...]:
        """The assistant's own memories, each found by its title, its description and the task."""
        found = [replace(item, text=found_by(item.title, item.description, report.task)) for item in drafts]
        return self._intake.admit_items(workspace, [_ended(item, report) for item in found])

    def _store(self, connection: Connection, call: _Call) -> StoreResult:
        earlier = traces.find_key(connection, call.workspace, call.key)
        if earlier is None or earlier.answer is None:
            return self._store_new(connection, call)
        answer = answer_of(earlier.answer)
        if earlier.body_hash == call.body_hash:
            return replace(answer, replayed=True)
        return self._follow_up(connection, call, answer)

    def _store_new(self, connection: Connection, call: _Call) -> StoreResult:
        now = self._intake.now()
        workspaces.ensure(connection, call.workspace, now)
        trace = Trace(
            self._intake.new_id("tr"), call.workspace, call.report, now, digest(asdict(call.report)), call.source
        )
        traces.insert(connection, trace)
        traces.claim_key(connection, call.workspace, call.key, call.body_hash, trace.id, now=now)
        if call.judgement:
            judgements.put(connection, call.workspace, trace.id, call.judgement, now=now)
        stored = self._intake.keep(connection, call.workspace, trace.id, call.examined, priority=call.priority)
        if call.queued:
            payload: JsonValue = {"trace_id": trace.id, "key": call.key}
            outbox.enqueue(connection, call.workspace, DISTIL, payload, now=now, priority=call.priority)
        result = StoreResult(
            trace_id=trace.id,
            # What rules could not make good is nobody's to mend; it is counted, not answered.
            memories=(*stored, *(call.examined.told() if call.drafted else ())),
            distillation=_distillation(call, stored),
            idempotency_key=call.key,
            distil_request=distil_request(_judged(call), idempotency_key=call.key)
            if not (call.drafted or call.queued)
            else None,
            queued=call.queued,
            judgement=call.judgement,
        )
        remember(connection, call.workspace, result)
        return result

    def _follow_up(self, connection: Connection, call: _Call, answer: StoreResult) -> StoreResult:
        """The second call of an assistant that was asked to distil: its memories replace those of the rules."""
        trace = traces.by_id(connection, call.workspace, answer.trace_id)
        if trace is None or trace.report.task != call.report.task:
            raise InputError(f"idempotency_key {call.key!r} belongs to another task: send a new key")
        if not call.drafted:
            return replace(answer, replayed=True)
        if answer.distillation == "client":
            raise InputError(f"idempotency_key {call.key!r} already has other memories: send a new key")
        stored = self._intake.keep(connection, call.workspace, answer.trace_id, call.examined, priority=call.priority)
        refused = call.examined.told()
        if not stored:
            # Nothing of it passed: what the rules made stays, and the key stays open for a better try.
            return replace(answer, memories=(*answer.memories, *refused), distil_request=None)
        give_way(connection, call.workspace, answer.trace_id, stored, now=self._intake.now())
        result = StoreResult(answer.trace_id, (*stored, *refused), "client", call.key, judgement=answer.judgement)
        remember(connection, call.workspace, result, body_hash=call.body_hash)
        return result


def _ended(item: MemoryItem, report: NewTrace) -> MemoryItem:
    """The item with the outcome of its trace, unless it has its own."""
    return replace(item, outcome=report.outcome) if item.outcome == "unknown" else item


def _judged(call: _Call) -> NewTrace:
    sure = call.judgement if is_sure(call.judgement) else None
    return replace(call.report, outcome=sure.outcome) if sure else call.report


def _distillation(call: _Call, stored: Sequence[StoredMemory]) -> Distillation:
    if not stored:
        return "none"
    return "client" if call.drafted else "rules"
