"""`capture_knowledge`: an answer from a conversation, kept if it is worth remembering."""

from typing import Annotated

from mcp.types import ToolAnnotations
from pydantic import Field

from reasoning_bank.mcp.arguments import Answer, Arguments
from reasoning_bank.mcp.tool import Call, ToolSpec


class CaptureArguments(Arguments):
    """Arguments of `capture_knowledge`."""

    question: Annotated[str, Field(min_length=1)]
    answer: Annotated[str, Field(min_length=1)]
    context: Annotated[str, Field(description="When it holds: project, version, situation")] = ""
    force: Annotated[bool, Field(description="Keep it whatever it seems worth")] = False
    workspace: Annotated[str | None, Field(min_length=1)] = None


class CaptureAnswer(Answer):
    """Answer of `capture_knowledge`: whether there is a memory of it now, and why."""

    stored: bool
    reason: str
    score: float
    id: str | None
    trace_id: str | None


async def capture_knowledge(call: Call, arguments: CaptureArguments) -> tuple[CaptureAnswer, str]:
    """Returns what became of the answer, after the commit."""
    captured = await call.bank.capture_knowledge(
        call.caller.workspace(arguments.workspace),
        arguments.question,
        arguments.answer,
        context=arguments.context,
        force=arguments.force,
        source=call.source("capture"),
    )
    memory_id = captured.memory.id if captured.memory else None
    answer = CaptureAnswer(
        stored=captured.stored,
        reason=captured.reason,
        score=round(captured.score, 3),
        id=memory_id,
        trace_id=captured.trace_id,
    )
    told = f"Kept as {memory_id}" if captured.stored else "Not kept"
    return answer, f"{told}: {captured.reason}"


CAPTURE_KNOWLEDGE = ToolSpec(
    name="capture_knowledge",
    description=(
        "Keeps a fact from a conversation: what was asked and what turned out to be true. Small talk, guesses and "
        "passing states are refused with the reason."
    ),
    arguments=CaptureArguments,
    answer=CaptureAnswer,
    run=capture_knowledge,
    access="write",
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
)
