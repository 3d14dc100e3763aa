"""`compress_prompt`: a long prompt within a token budget."""

from typing import Annotated, Literal

from mcp.types import ToolAnnotations
from pydantic import Field

from reasoning_bank.mcp.arguments import Answer, Arguments
from reasoning_bank.mcp.tool import Call, ToolSpec
from reasoning_bank.records import Compression

MOST_RANGES = 20
"""`detail=index` lists the kept ranges only when they are this few."""


class CompressArguments(Arguments):
    """Arguments of `compress_prompt`."""

    prompt: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    ratio: Annotated[float | None, Field(gt=0, le=1, description="Of the prompt's tokens; the smaller bound holds")] = (
        None
    )
    query: Annotated[str | None, Field(description="What the prompt will be asked")] = None
    preserve: Annotated[list[str] | None, Field(description="Literals to keep")] = None
    detail: Literal["index", "full"] = "index"


class Step(Answer):
    """One step of a compression and the tokens it saved."""

    name: str
    tokens_saved: int


class CompressAnswer(Answer):
    """Answer of `compress_prompt`; `kept` are [start, end) character offsets into the prompt."""

    text: str
    tokens_before: int
    tokens_after: int
    tokenizer: str
    exact: bool
    lossless: bool
    steps: list[Step]
    kept: list[tuple[int, int]] | None


async def compress_prompt(call: Call, arguments: CompressArguments) -> tuple[CompressAnswer, str]:
    """Returns the compressed prompt; its text copy is the compressed prompt itself."""
    result: Compression = await call.bank.compress(
        arguments.prompt,
        max_tokens=arguments.max_tokens,
        ratio=arguments.ratio,
        query=arguments.query,
        preserve=tuple(arguments.preserve or ()),
    )
    shown = arguments.detail == "full" or len(result.kept) <= MOST_RANGES
    answer = CompressAnswer(
        text=result.text,
        tokens_before=result.tokens_before,
        tokens_after=result.tokens_after,
        tokenizer=result.tokenizer,
        exact=result.exact,
        lossless=result.lossless,
        steps=[Step(name=step.name, tokens_saved=step.tokens_saved) for step in result.steps],
        kept=list(result.kept) if shown else None,
    )
    return answer, result.text


COMPRESS_PROMPT = ToolSpec(
    name="compress_prompt",
    description="Shortens a long prompt to a token budget; code, URLs and numbers are never broken, cuts are marked.",
    arguments=CompressArguments,
    answer=CompressAnswer,
    run=compress_prompt,
    access="read",
    annotations=ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
    configured=lambda settings: {
        "max_tokens": {"default": settings.compression.max_tokens},
        "ratio": {"default": settings.compression.ratio},
    },
)
