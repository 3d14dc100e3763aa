"""`update_memory`: new words for a memory, by id."""

from typing import Annotated, Any, Literal

from mcp.types import ToolAnnotations
from pydantic import Field

from reasoning_bank.errors import InputError
from reasoning_bank.mcp.answers import full_memory
from reasoning_bank.mcp.arguments import Answer, Arguments, Id, Part
from reasoning_bank.mcp.tool import Call, ToolSpec
from reasoning_bank.mcp.tools.store_trace import DraftErrorContext


class Fields(Part):
    """What may be changed; what is left out stays."""

    title: str | None = None
    description: str | None = None
    content: str | None = None
    tags: list[str] | None = None
    domain: str | None = None
    difficulty: str | None = None
    outcome: Literal["success", "failure", "partial", "unknown"] | None = None
    error_context: DraftErrorContext | None = None


class UpdateArguments(Arguments):
    """Arguments of `update_memory`."""

    id: Id
    fields: Fields
    workspace: Annotated[str | None, Field(min_length=1)] = None


class UpdateAnswer(Answer):
    """Answer of `update_memory`: the memory as it is now."""

    memory: dict[str, Any]


async def update_memory(call: Call, arguments: UpdateArguments) -> tuple[UpdateAnswer, str]:
    """Returns the changed memory."""
    changes = arguments.fields.model_dump(mode="json", exclude_unset=True)
    if not changes:
        raise InputError(f"`fields` is empty: send one or more of {', '.join(Fields.model_fields)}")
    memory = await call.bank.update_memory(call.caller.workspace(arguments.workspace), arguments.id, changes)
    return UpdateAnswer(memory=full_memory(memory)), f"Changed {', '.join(changes)} of {memory.id}."


UPDATE_MEMORY = ToolSpec(
    name="update_memory",
    description="Corrects a memory by id; fields left out stay as they are.",
    arguments=UpdateArguments,
    answer=UpdateAnswer,
    run=update_memory,
    access="write",
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
    ),
)
