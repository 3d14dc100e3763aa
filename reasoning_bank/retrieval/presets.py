"""Sets of choices for one kind of use, and what they change in a search."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from reasoning_bank.records import JsonValue, Memory, Preset, Query, RetrievedMemory, Stage
from reasoning_bank.retrieval.scoring import Candidate
from reasoning_bank.retrieval.selection import Limits, select

MOST_OF_TRACE = 5
"""Memories one trace gives: the lessons an assistant may distil of it. An imported chat of a thousand turns is one
trace too."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a search is made.

    Attributes:
        changes: fields of the query that take these values where the caller left them as they were.
        without: parts of the rule that are left out.
        whole_traces: each memory found brings others of its trace, up to `MOST_OF_TRACE` together.
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
    limits: Limits,
    hidden: Callable[[Memory], str | None],
) -> tuple[RetrievedMemory, ...]:
    """Each memory followed by others of its trace, with the relevance of the one that brought them.

    Args:
        found: the best, best first.
        read_trace: the memories of a trace that the query may see, in the order they were stored.
        limits: what may be chosen; all but how many, which is `MOST_OF_TRACE` for each trace found.
        hidden: why a memory must not be answered, or None.
    """
    scores = {each.memory.trace_id: each.score for each in reversed(found)}
    place = {trace: number for number, trace in enumerate(dict.fromkeys(each.memory.trace_id for each in found))}
    held = {each.memory.id for each in found}
    # What was found comes before what it brings, so that nobody loses his place to another's company.
    candidates = [Candidate(each.memory, each.score, each.score) for each in found]
    candidates += [
        Candidate(memory, scores[trace], scores[trace])
        for trace in place
        for memory in read_trace(trace)
        if memory.id not in held
    ]
    roomy = replace(limits, k=MOST_OF_TRACE * len(place), floor=0.0, per_trace=MOST_OF_TRACE)
    whole = select(candidates, limits=roomy, hidden=hidden).memories
    return tuple(sorted(whole, key=lambda each: place[each.memory.trace_id]))
