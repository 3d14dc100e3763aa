"""How memories and traces look in answers: the keys that clients rely on."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from reasoning_bank.mcp.arguments import Answer
from reasoning_bank.mcp.clipping import CountTokens, clip, one_line
from reasoning_bank.records import Counters, Genealogy, JsonValue, Memory, RetrievedMemory, Trace
from reasoning_bank.text.sanity import strip_invisible

TITLE_TOKENS = 20
DESCRIPTION_TOKENS = 24
TRAJECTORY_CHARACTERS = 4_000
"""A longer trajectory is shown by its beginning; `bank://traces/{id}` holds it whole."""


class Provenance(Answer):
    """Who put the words of a memory, how far they are trusted, and when."""

    origin: str
    trust: str
    created: str


class FoundMemory(Answer):
    """A memory in the answer of a search; `content` only where it was asked for."""

    id: str
    external_id: str | None
    title: str
    description: str
    content: str | None = None
    score: float
    outcome: str
    warning: str | None
    provenance: Provenance

    @model_serializer(mode="wrap")
    def _without_absent_content(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        shown: dict[str, Any] = whole(self)
        if self.content is None:
            del shown["content"]
        return shown


def found_memory(found: RetrievedMemory, *, count: CountTokens, limited: bool) -> FoundMemory:
    """Returns a found memory for an answer, without its content.

    Args:
        found: what the search returned.
        count: counts tokens.
        limited: whether title and description are cut to their usual size.
    """
    item = found.memory.item
    description = _line(item.description)
    return FoundMemory(
        id=found.memory.id,
        external_id=_shown(item.external_id),
        title=title_of(found.memory, count) if limited or not item.title else _line(item.title),
        description=clip(description, DESCRIPTION_TOKENS, count) if limited else description,
        score=round(found.score, 3),
        outcome=item.outcome,
        warning=found.warning,
        provenance=provenance(found.memory),
    )


def title_of(memory: Memory, count: CountTokens) -> str:
    """Returns the title of a memory, or the beginning of its text, in few tokens."""
    return clip(_line(memory.item.title or memory.item.text), TITLE_TOKENS, count)


def content_of(memory: Memory) -> str:
    """Returns the advice of a memory; an imported row's text where it has none."""
    return strip_invisible(memory.item.content or memory.item.text)


def provenance(memory: Memory) -> Provenance:
    """Returns where a memory comes from, in short."""
    item = memory.item
    return Provenance(origin=item.origin, trust=item.trust, created=memory.created_at.date().isoformat())


def full_memory(memory: Memory) -> dict[str, JsonValue]:
    """Returns everything a client may know of a memory, as JSON."""
    item = memory.item
    context = item.error_context
    return {
        "id": memory.id,
        "external_id": _shown(item.external_id),
        "title": strip_invisible(item.title),
        "description": strip_invisible(item.description),
        "content": strip_invisible(item.content),
        "text": strip_invisible(item.text),
        "tags": [strip_invisible(tag) for tag in item.tags],
        "domain": _shown(item.domain),
        "difficulty": _shown(item.difficulty),
        "outcome": item.outcome,
        "error_context": None
        if context is None
        else {
            "error_type": strip_invisible(context.error_type),
            "failure_pattern": strip_invisible(context.failure_pattern),
            "corrective_guidance": strip_invisible(context.corrective_guidance),
        },
        "session": _shown(item.session),
        "position": item.position,
        "time": _visible(item.time),
        "metadata": _visible(dict(item.metadata)),
        "counters": dict(counters(memory.counters)),
        "provenance": {
            **provenance(memory).model_dump(),
            "actor": _shown(item.actor),
            "made_by": item.made_by,
            "trace_id": memory.trace_id,
            "created_at": memory.created_at.isoformat(),
            "updated_at": memory.updated_at.isoformat(),
        },
        "valid_from": item.valid_from.isoformat() if item.valid_from else None,
        "valid_to": item.valid_to.isoformat() if item.valid_to else None,
        "superseded_by": memory.superseded_by,
        "quarantined_for": _shown(memory.quarantined_for),
        "deleted_at": memory.deleted_at.isoformat() if memory.deleted_at else None,
    }


def counters(value: Counters) -> dict[str, int]:
    """Returns counters as JSON."""
    return {"used": value.used, "helped": value.helped, "misled": value.misled, "ignored": value.ignored}


def genealogy(value: Genealogy) -> dict[str, JsonValue]:
    """Returns a genealogy as JSON."""
    return {
        "id": value.id,
        "trace_id": value.trace_id,
        "parents": list(value.parents),
        "children": list(value.children),
        "supersedes": list(value.supersedes),
        "superseded_by": value.superseded_by,
        "sources": list(value.sources),
        "ancestry": list(value.ancestry),
        "stage": value.stage,
        "contradicts": list(value.contradicts),
    }


def whole_trace(trace: Trace) -> dict[str, JsonValue]:
    """Returns a trace as JSON, with its complete trajectory."""
    report = trace.report
    return {
        "id": trace.id,
        "task": strip_invisible(report.task),
        "outcome": report.outcome,
        "trajectory": _visible(report.trajectory),
        "tags": [strip_invisible(tag) for tag in report.tags],
        "domain": _shown(report.domain),
        "external_id": _shown(report.external_id),
        "session": _shown(report.session),
        "actor": _shown(report.actor),
        "time": _visible(report.time),
        "metadata": _visible(dict(report.metadata)),
        "created_at": trace.created_at.isoformat(),
    }


def short_trace(trace: Trace) -> dict[str, JsonValue]:
    """Returns a trace as JSON; a long trajectory is replaced by its beginning and the address of the whole."""
    shown = whole_trace(trace)
    text = json.dumps(shown["trajectory"], ensure_ascii=False)
    if len(text) > TRAJECTORY_CHARACTERS:
        shown["trajectory"] = (
            f"{text[:TRAJECTORY_CHARACTERS]}… [{len(text):,} characters in all: read bank://traces/{trace.id}]"
        )
    return shown


def compact_json(value: Mapping[str, Any]) -> str:
    """Returns JSON without blanks, characters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _visible(value: JsonValue) -> JsonValue:
    """Returns JSON without the characters that only a model would read; what is stored keeps them."""
    if isinstance(value, str):
        return strip_invisible(value)
    if isinstance(value, list):
        return [_visible(part) for part in value]
    if isinstance(value, dict):
        return {strip_invisible(key): _visible(part) for key, part in value.items()}
    return value


def _shown(name: str | None) -> str | None:
    return None if name is None else strip_invisible(name)


def _line(text: str) -> str:
    return one_line(strip_invisible(text[:20_000]))
