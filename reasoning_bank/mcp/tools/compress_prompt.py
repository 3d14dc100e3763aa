"""`compress_prompt`: a long prompt within a token budget."""

from typing import Annotated, Literal

from mcp.types import ToolAnnotations
from pydantic import Field

from reasoning_bank.compression.results import Compression
from reasoning_bank.mcp.arguments import Answer, Arguments
from reasoning_bank.mcp.tool import Call, ToolSpec

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
    preserve: Annotated[list[str] | None, Field(description="Literals, or re:PATTERN, to keep")] = None
    detail: Literal["index", "full"] = "index"


class Step(Answer):
    """One step of a compression and the tokens it saved."""

    name: str
    tokens_saved: int
    lossless: bool


class Segment(Answer):
    """A stretch of the prompt of one kind, by its [start, end) offsets, and the share of its characters kept."""

    start: int
    end: int
    kind: str
    kept: float


class CompressAnswer(Answer):
    """Answer of `compress_prompt`; `kept` are [start, end) character offsets into the prompt."""

    text: str
    tokens_before: int
    tokens_after: int
    ratio: float
    tokenizer: str
    exact: bool
    lossless: bool
    degraded: list[str]
    steps: list[Step]
    segments: list[Segment] | None
    kept: list[tuple[int, int]] | None


async def compress_prompt(call: Call, arguments: CompressArguments) -> tuple[CompressAnswer, str]:
    """Returns the compressed prompt; its text copy is the compressed prompt itself, or that nothing of it fits."""
    result = await call.bank.compress(
        arguments.prompt,
        report=call.report,
        max_tokens=arguments.max_tokens,
        ratio=arguments.ratio,
        query=arguments.query,
        preserve=tuple(arguments.preserve or ()),
    )
    said = result.text if result.kept else "Nothing of the prompt fits the budget: raise max_tokens or ratio."
    return _answer(result, is_full=arguments.detail == "full"), said


def _answer(result: Compression, *, is_full: bool) -> CompressAnswer:
    return CompressAnswer(
        text=result.text,
        tokens_before=result.tokens_before,
        tokens_after=result.tokens_after,
        ratio=round(result.ratio, 4),
        tokenizer=result.tokenizer,
        exact=result.exact,
        lossless=result.lossless,
        degraded=list(result.degraded),
        steps=[Step(name=step.name, tokens_saved=step.tokens_saved, lossless=step.lossless) for step in result.steps],
        segments=[
            Segment(start=each.start, end=each.end, kind=each.kind, kept=round(each.kept_share, 3))
            for each in result.segments
        ]
        if is_full
        else None,
        kept=list(result.kept) if is_full or len(result.kept) <= MOST_RANGES else None,
    )


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
