"""`rate_memory`: what a served memory was worth, said afterwards."""

from typing import Annotated, Literal

from mcp.types import ToolAnnotations
from pydantic import Field

from reasoning_bank.mcp.answers import counters
from reasoning_bank.mcp.arguments import Answer, Arguments, Id
from reasoning_bank.mcp.tool import Call, ToolSpec

MOST_NOTE_CHARACTERS = 4_000


class RateArguments(Arguments):
    """Arguments of `rate_memory`."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=100)]
    verdict: Literal["helped", "misled", "ignored"]
    note: Annotated[str | None, Field(max_length=MOST_NOTE_CHARACTERS)] = None
    workspace: Annotated[str | None, Field(min_length=1)] = None


class RateAnswer(Answer):
    """Answer of `rate_memory`: the new counters by memory id."""

    counters: dict[str, dict[str, int]]


async def rate_memory(call: Call, arguments: RateArguments) -> tuple[RateAnswer, str]:
    """Returns the counters after the rating."""
    workspace = call.caller.workspace(arguments.workspace)
    ids = tuple(dict.fromkeys(arguments.ids))
    rated = await call.bank.rate(workspace, ids, arguments.verdict, note=arguments.note, actor=call.caller.actor)
    answer = RateAnswer(counters={memory: counters(value) for memory, value in rated.items()})
    told = "; ".join(
        f"{memory}: helped {value.helped}, misled {value.misled}, ignored {value.ignored}"
        for memory, value in rated.items()
    )
    return answer, f"Noted. {told}"


RATE_MEMORY = ToolSpec(
    name="rate_memory",
    description=(
        "Call AFTER a task for each retrieved memory: did it help, mislead, or was it ignored? "
        "The memory keeps the counts."
    ),
    arguments=RateArguments,
    answer=RateAnswer,
    run=rate_memory,
    access="write",
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
    ),
)
