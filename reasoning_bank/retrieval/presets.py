"""Sets of choices for one kind of use, and what they change in a search."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from reasoning_bank.records import JsonValue, Memory, Preset, Query, RetrievedMemory, Stage
from reasoning_bank.retrieval.context import warning_of
from reasoning_bank.retrieval.scoring import misled_too_often


@dataclass(frozen=True, slots=True)
class Manner:
    """How a search is made.

    Attributes:
        changes: fields of the query that take these values where the caller left them as they were.
        without: parts of the rule that are left out.
        whole_traces: each memory found brings all others of its trace.
    """

    changes: Mapping[str, JsonValue]
    without: frozenset[Stage] = frozenset()
    whole_traces: bool = False


PRESETS: Mapping[Preset, Manner] = {
    "default": Manner({}),
    # ReasoningBank (arXiv 2509.25140) and its code: the task alone is the key, compared by cosine alone, and k = 1
    # counts past tasks: all lessons of the nearest one are given.
    "paper": Manner(
        {"k": 1, "per_trace": 1},
        without=frozenset(
            (
                "keyword",
                "temporal",
                "entity",
                "links",
                "neighbour_vectors",
                "neighbours",
                "answers",
                "session",
                "telling",
                "scoring",
            )
        ),
        whole_traces=True,
    ),
    # Chats: an answer is spread over turns, which make sense in their order.
    "conversation": Manner({"k": 10, "group_by_trace": True}),
}


def under_preset(query: Query) -> tuple[Query, Manner]:
    """The query as its preset wants it, and how to search; what the caller chose himself stays.

    A value that is the same as the default of `Query` counts as not chosen.
    """
    manner = PRESETS[query.preset]
    defaults = {each.name: each.default for each in fields(Query)}
    changes = {name: value for name, value in manner.changes.items() if getattr(query, name) == defaults[name]}
    return replace(query, **changes), manner


def with_whole_traces(
    found: Sequence[RetrievedMemory],
    *,
    read_trace: Callable[[str], Sequence[Memory]],
    hidden: Callable[[Memory], str | None],
) -> tuple[RetrievedMemory, ...]:
    """Each memory followed by the others of its trace, with the relevance of the one that brought them.

    Args:
        found: at most one memory of each trace, best first.
        read_trace: the memories of a trace in the order they were stored.
        hidden: why a memory must not be answered, or None.
    """
    whole: list[RetrievedMemory] = []
    for best in found:
        held = {best.memory.content_hash}
        whole.append(best)
        for other in read_trace(best.memory.trace_id):
            if other.content_hash in held or hidden(other) or misled_too_often(other.counters):
                continue
            held.add(other.content_hash)
            whole.append(replace(best, memory=other, warning=warning_of(other)))
    return tuple(whole)
