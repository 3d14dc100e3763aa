"""`forget_memory`: one memory hidden from every search, or brought back."""

from typing import Annotated

from mcp.types import ToolAnnotations
from pydantic import Field

from reasoning_bank.mcp.arguments import Answer, Arguments, Id
from reasoning_bank.mcp.tool import Call, ToolSpec


class ForgetArguments(Arguments):
    """Arguments of `forget_memory`."""

    id: Id
    undo: bool = False
    workspace: Annotated[str | None, Field(min_length=1)] = None


class ForgetAnswer(Answer):
    """Answer of `forget_memory`."""

    id: str
    forgotten: bool
    deleted_at: str | None


async def forget_memory(call: Call, arguments: ForgetArguments) -> tuple[ForgetAnswer, str]:
    """Returns whether the memory is forgotten now."""
    workspace = call.caller.workspace(arguments.workspace)
    memory = await call.bank.forget_memory(workspace, arguments.id, undo=arguments.undo)
    deleted_at = memory.deleted_at.isoformat() if memory.deleted_at else None
    answer = ForgetAnswer(id=memory.id, forgotten=deleted_at is not None, deleted_at=deleted_at)
    told = "is forgotten; the same call with undo=true brings it back" if answer.forgotten else "is back"
    return answer, f"{memory.id} {told}."


FORGET_MEMORY = ToolSpec(
    name="forget_memory",
    description="Hides one memory from every search; undo=true brings it back.",
    arguments=ForgetArguments,
    answer=ForgetAnswer,
    run=forget_memory,
    access="write",
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
    ),
)
