"""What happened and what was learned from it: traces, items, memories, and where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from typing_extensions import TypeAliasType

if TYPE_CHECKING:
    JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
else:  # pydantic reads records that hold it, and can follow a recursive type only by its name
    JsonValue = TypeAliasType("JsonValue", "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None")

Outcome = Literal["success", "failure", "partial", "unknown"]
Origin = Literal["client", "rules", "llm", "import"]
"""Who put the words of a memory: the assistant, our rules, an LLM, or an imported row."""
Trust = Literal["quarantined", "low", "normal", "trusted"]
Verdict = Literal["helped", "misled", "ignored"]
Distillation = Literal["client", "llm", "rules", "none"]
EventTime: TypeAlias = "str | int | float | None"
"""When it happened, as the source said it: ISO 8601 text, an order number, or unknown."""
JUDGED_FROM: Final = 0.7
"""Confidence from which a judged outcome counts as the outcome of a trace."""


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """What a failure looked like and what to do instead (empty strings when unknown)."""

    error_type: str = ""
    failure_pattern: str = ""
    corrective_guidance: str = ""


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """What was learned, before and after the bank keeps it.

    Attributes:
        text: what the memory is found by: the task it was learned from, or an imported row's text.
        title: name of the strategy; empty for imported rows that have none.
        description: when, and when not, to use it.
        content: the advice itself.
        session: conversation or trace in which items have an order, or None.
        position: place in that session, from 0, or None when order is unknown.
        actor: who said or did it.
        time: when it happened, as the source said it.
        made_by: what distilled it, with its version, such as "rules/2" or "llm:MODEL distil/1"; None where unknown.
        metadata: stored and exported, never indexed.
    """

    text: str
    title: str = ""
    description: str = ""
    content: str = ""
    external_id: str | None = None
    tags: tuple[str, ...] = ()
    domain: str | None = None
    difficulty: str | None = None
    outcome: Outcome = "unknown"
    error_context: ErrorContext | None = None
    session: str | None = None
    position: int | None = None
    actor: str | None = None
    time: EventTime = None
    origin: Origin = "client"
    trust: Trust = "normal"
    parents: tuple[str, ...] = ()
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    made_by: str | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class Counters:
    """How a memory did: times served, and what callers said of it afterwards."""

    used: int = 0
    helped: int = 0
    misled: int = 0
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class Links:
    """What ties a memory to traces and to other memories.

    Attributes:
        sources: traces that taught the same, besides the one its words are from.
        contradicts: (id, reason) of each memory that says the opposite, whatever became of either.
    """

    sources: tuple[str, ...] = ()
    contradicts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """An item the bank keeps, as stored.

    Attributes:
        superseded_by: id of the memory that replaced it, or None while it holds.
        deleted_at: when it was forgotten (undo is possible), or None.
        content_hash: sha256 hex of what is embedded and indexed.
        quarantined_for: why it is kept but never found, or None.
        contradicts: ids of live memories that say the opposite, where nothing has decided between them yet.
        links: what ties it to others, read only for an export; None where nobody asked.
    """

    id: str
    workspace: str
    trace_id: str
    item: MemoryItem
    counters: Counters
    created_at: datetime
    updated_at: datetime
    content_hash: str
    superseded_by: str | None = None
    deleted_at: datetime | None = None
    quarantined_for: str | None = None
    contradicts: tuple[str, ...] = ()
    links: Links | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """By what way words came into the bank; written once, so that all of one source can be found and purged.

    Attributes:
        kind: the door; unknown for what an older release stored.
        client: name and version of the MCP client, as it introduced itself.
        token: id of the access token it came with.
    """

    kind: Literal["mcp", "library", "import", "capture", "unknown"] = "library"
    client: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a task ended, as judged by someone else than the assistant.

    Attributes:
        confidence: 0..1; the share of such judgements that hold, as measured.
        by: who judged, with version: "rules/1", "template:NAME", "llm:MODEL judge/1".
    """

    outcome: Outcome
    reason: str
    confidence: float
    by: str


@dataclass(frozen=True, slots=True)
class NewTrace:
    """What an assistant reports about one task; validated and redacted before it is stored."""

    task: str
    outcome: Outcome = "unknown"
    trajectory: JsonValue = None
    tags: tuple[str, ...] = ()
    domain: str | None = None
    external_id: str | None = None
    session: str | None = None
    actor: str | None = None
    time: EventTime = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class Trace:
    """A stored trace with its complete trajectory."""

    id: str
    workspace: str
    report: NewTrace
    created_at: datetime
    content_hash: str
    source: Source = Source()


@dataclass(frozen=True, slots=True)
class ImportedMemory:
    """A memory as it was elsewhere: its words, and what an export knew besides.

    Attributes:
        id: id to keep, or None to derive one from workspace, external id and (redacted) content, so
            that importing the same row twice finds the first.
        created_at, updated_at: None is the time of the import.
    """

    item: MemoryItem
    id: str | None = None
    counters: Counters = Counters()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    superseded_by: str | None = None
    deleted_at: datetime | None = None
    quarantined_for: str | None = None
    links: Links = Links()


@dataclass(frozen=True, slots=True)
class ImportedTrace:
    """A trace with its memories as an import hands them to the bank: redacted, never gated or merged.

    Attributes:
        id: id to keep, or None to derive one; a trace of that id that is there already only receives
            the memories it does not have yet (a session imported in parts, or once more).
    """

    report: NewTrace
    memories: tuple[ImportedMemory, ...]
    id: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """What happened to one memory of a stored trace; `reason` is set unless it was created.

    One that is "quarantined" is kept, with its reason, and never found until somebody has looked at it.
    """

    id: str | None
    action: Literal["created", "merged", "quarantined", "rejected"]
    title: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoreResult:
    """The durable answer to `store_trace`; a replay of the same call returns the same ids.

    Attributes:
        distillation: who wrote the memories: the assistant, a language model, our rules, or nobody (there are none).
        distil_request: what the assistant is asked to send, where no language model will look at the trace.
        queued: a language model has still to look at the trace; its memories will replace those of the rules.
        judgement: how the task ended as judged from the trace, where the assistant did not say.
    """

    trace_id: str
    memories: tuple[StoredMemory, ...]
    distillation: Distillation
    idempotency_key: str
    replayed: bool = False
    distil_request: Mapping[str, JsonValue] | None = None
    queued: bool = False
    judgement: Judgement | None = None


@dataclass(frozen=True, slots=True)
class Captured:
    """What became of an answer that was offered for keeping.

    Attributes:
        stored: whether there is a memory of it now; it may be quarantined.
        reason: why, or why not: a code, a colon, and a sentence.
        score: what it was found worth, 0..1; 1 where it was to be kept anyway.
        memory: what happened to it; None where it was not worth storing.
    """

    stored: bool
    reason: str
    score: float
    trace_id: str | None = None
    memory: StoredMemory | None = None


@dataclass(frozen=True, slots=True)
class Genealogy:
    """Where a memory comes from and what came of it, as ids.

    Attributes:
        trace_id: the trace its words are from.
        sources: every trace that taught the same, its own first.
        ancestry: what it came of, directly or through others, nearest first.
        stage: 0 for an original, else the length of the longest way back to one.
        contradicts: memories that say the opposite, whatever became of them.
    """

    id: str
    trace_id: str
    parents: tuple[str, ...]
    children: tuple[str, ...]
    supersedes: tuple[str, ...]
    superseded_by: str | None
    sources: tuple[str, ...] = ()
    ancestry: tuple[str, ...] = ()
    stage: int = 0
    contradicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryDetail:
    """A memory with the trace it came from and its genealogy."""

    memory: Memory
    trace: Trace
    genealogy: Genealogy
