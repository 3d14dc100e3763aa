"""`store_trace`: what happened on a task, kept durably and distilled into memories."""

from typing import Annotated, Any, Literal

from mcp.types import ToolAnnotations
from pydantic import Field, JsonValue

from reasoning_bank.mcp.arguments import Answer, Arguments, Part
from reasoning_bank.mcp.tool import Call, ToolSpec
from reasoning_bank.records import ErrorContext, MemoryItem, NewTrace, StoredMemory, StoreResult

MOST_MEMORIES = 5


class DraftErrorContext(Part):
    """What a failure looked like and what to do instead."""

    error_type: str = ""
    failure_pattern: str = ""
    corrective_guidance: str = ""


class Draft(Part):
    """A memory that the assistant distilled itself."""

    title: Annotated[str, Field(min_length=1)]
    description: str = ""
    content: Annotated[str, Field(min_length=1)]
    tags: list[str] | None = None
    domain: str | None = None
    difficulty: str | None = None
    outcome: Literal["success", "failure", "partial", "unknown"] | None = None
    error_context: DraftErrorContext | None = None


class StoreArguments(Arguments):
    """Arguments of `store_trace`."""

    task: Annotated[str, Field(min_length=1)]
    outcome: Literal["success", "failure", "partial", "unknown"] = "unknown"
    trajectory: Annotated[JsonValue, Field(description="Steps, tool calls, errors: any JSON or text")] = None
    memories: Annotated[list[Draft] | None, Field(max_length=MOST_MEMORIES, description="Lessons you distilled")] = None
    tags: list[str] | None = None
    domain: str | None = None
    metadata: dict[str, JsonValue] | None = None
    idempotency_key: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    workspace: Annotated[str | None, Field(min_length=1)] = None


class Stored(Answer):
    """What became of one memory; `reason` is set unless it was created."""

    id: str | None
    title: str
    action: Literal["created", "merged", "quarantined", "rejected"]
    reason: str | None


class StoreAnswer(Answer):
    """Answer of `store_trace`; durable when it arrives."""

    trace_id: str
    memories: list[Stored]
    distillation: str
    judged: str | None
    idempotency_key: str
    replayed: bool
    distil_request: dict[str, Any] | None


async def store_trace(call: Call, arguments: StoreArguments) -> tuple[StoreAnswer, str]:
    """Returns what was stored, after the commit."""
    workspace = call.caller.workspace(arguments.workspace)
    trace, drafts = reported(arguments, call.caller.actor)
    result = await call.bank.store_trace(
        workspace, trace, memories=drafts, idempotency_key=arguments.idempotency_key, source=call.source()
    )
    return stored_answer(result), _prose(result)


def reported(arguments: StoreArguments, actor: str | None) -> tuple[NewTrace, list[MemoryItem] | None]:
    """Returns the trace that a caller reports, and the memories distilled from it; None where the bank is to distil."""
    trace = NewTrace(
        task=arguments.task,
        outcome=arguments.outcome,
        trajectory=arguments.trajectory,
        tags=tuple(arguments.tags or ()),
        domain=arguments.domain,
        actor=actor,
        metadata=arguments.metadata or {},
    )
    return trace, None if arguments.memories is None else [_item(draft, trace) for draft in arguments.memories]


def stored_answer(result: StoreResult) -> StoreAnswer:
    """Returns what was stored, as the client reads it."""
    return StoreAnswer(
        trace_id=result.trace_id,
        memories=[
            Stored(id=memory.id, title=memory.title, action=memory.action, reason=memory.reason)
            for memory in result.memories
        ],
        distillation="queued" if result.queued else result.distillation,
        judged=None if result.judgement is None else f"{result.judgement.outcome}: {result.judgement.reason}",
        idempotency_key=result.idempotency_key,
        replayed=result.replayed,
        distil_request=None if result.distil_request is None else dict(result.distil_request),
    )


def _item(draft: Draft, trace: NewTrace) -> MemoryItem:
    context = draft.error_context
    return MemoryItem(
        text="",  # the bank decides what a distilled memory is found by
        title=draft.title,
        description=draft.description,
        content=draft.content,
        tags=tuple(draft.tags) if draft.tags is not None else trace.tags,
        domain=draft.domain or trace.domain,
        difficulty=draft.difficulty,
        outcome=draft.outcome or trace.outcome,
        error_context=None
        if context is None
        else ErrorContext(context.error_type, context.failure_pattern, context.corrective_guidance),
        actor=trace.actor,
    )


def _prose(result: StoreResult) -> str:
    lines = [f"{'Already stored as' if result.replayed else 'Stored trace'} {result.trace_id}."]
    lines += [_told(memory) for memory in result.memories]
    if result.judgement is not None:
        lines.append(f"Outcome judged as {result.judgement.outcome}: {result.judgement.reason}")
    if result.queued:
        lines.append("A language model will distil it in the background.")
    if result.distil_request is not None:
        lines.append(
            "To add better lessons, call store_trace again with the same arguments, idempotency_key="
            f"{result.idempotency_key!r} and `memories` as `distil_request` describes: "
            f"{result.distil_request.get('instructions', '')}"
        )
    return "\n".join(lines)


def _told(memory: StoredMemory) -> str:
    named = f"{memory.action} {memory.id or ''}".strip()
    return f"- {named}: {memory.title}" + (f" ({memory.reason})" if memory.reason else "")


STORE_TRACE = ToolSpec(
    name="store_trace",
    description=(
        "Call AFTER a task, failed ones too: keeps what happened and distils lessons from it. Durable on reply; "
        "a retry with the same idempotency_key returns the same ids."
    ),
    arguments=StoreArguments,
    answer=StoreAnswer,
    run=store_trace,
    access="write",
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
)
