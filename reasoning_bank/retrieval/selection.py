"""From an order to an answer: the k best, no copies, nothing hidden, nothing below the floor, and why for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from reasoning_bank.records import Memory, MemoryItem, Query, RetrievedMemory
from reasoning_bank.retrieval.context import warning_of
from reasoning_bank.retrieval.scoring import TYPE_ALONE, Candidate
from reasoning_bank.text.analyser import words

LOW_TRUST_EACH = 1
"""Memories of low trust that one trace, and one actor, may contribute: who floods the bank still gets one place."""
LOW_TRUST_LIKENESS = 0.8
"""Likeness from which a memory of low trust repeats another and is left out."""
MOST_REPEATS = 200
"""Near-duplicates found among the candidates, after which what would have to be compared is left out unread: a flood
of them must not cost more than it brings."""
_WORDS_READ = 4_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be chosen.

    Attributes:
        k: how many memories.
        floor: least relevance, 0..1; 0 gives all.
        excluded: ids already shown.
        per_trace, per_actor: most memories of one trace or actor; None for no limit. Low trust has its own.
        near_duplicates: likeness (share of common words, 0..1) from which the later of two memories is left out.
        group_by_trace: memories of one trace come together, at the place of the best of them.
    """

    k: int
    floor: float
    excluded: frozenset[str] = frozenset()
    per_trace: int | None = None
    per_actor: int | None = None
    near_duplicates: float | None = None
    group_by_trace: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A candidate that was looked at, and what became of it: "chosen", or why it was dropped."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What is answered.

    Attributes:
        below_floor: how many of the k best were left out because too little speaks for them.
        is_final: whether candidates further down would change nothing.
        decisions: what became of each candidate, best first, when it was asked for.
    """

    memories: tuple[RetrievedMemory, ...]
    below_floor: int
    is_final: bool
    decisions: tuple[Decision, ...] = ()


def select(
    candidates: Sequence[Candidate],
    *,
    limits: Limits,
    hidden: Callable[[Memory], str | None],
    explain: bool = False,
    said: dict[str, frozenset[str]] | None = None,
) -> Selection:
    """The k best candidates that may be seen; those of them below the floor are counted, not given nor replaced.

    A failure whose error is the task's, by its message, must be seen: where it is relevant but not among the k best,
    it takes the last place of them. There is at most one such place, and the only one it takes from no better memory.

    Args:
        candidates: best first.
        limits: what may be chosen.
        hidden: why a memory must not be answered, or None; see `hidden_reason`.
        explain: whether to say what became of each candidate.
        said: words of memories by id, added to here: whoever chooses again, from more candidates, reads none twice.
    """
    choice = _Choice(limits, hidden, {} if said is None else said)
    reasons = [choice.look_at(each) for each in candidates]
    answer = [RetrievedMemory(each.memory, round(each.relevance, 4), warning_of(each.memory)) for each in choice.chosen]
    memories = tuple(grouped_by_trace(answer) if limits.group_by_trace else answer)
    decisions = _decisions(candidates, reasons, choice.chosen) if explain else ()
    return Selection(memories, choice.below, choice.is_final, decisions)


def limits_of(query: Query, *, floor: float) -> Limits:
    """What may be chosen for a query.

    Args:
        query: what is asked for.
        floor: least relevance where the query names none, 0..1.
    """
    return Limits(
        k=query.k,
        floor=floor if query.min_score is None else query.min_score,
        excluded=frozenset(query.exclude_ids),
        per_trace=query.per_trace,
        per_actor=query.per_actor,
        near_duplicates=query.near_duplicates,
        group_by_trace=query.group_by_trace,
    )


def hidden_reason(memory: Memory, *, workspace: str, now: datetime) -> str | None:
    """Why a memory must not be answered in a workspace now, or None.

    Checked on the way out: whatever went wrong before, no other workspace's memory is ever answered.
    """
    item = memory.item
    if memory.workspace != workspace:
        return "hidden: of another workspace"
    if memory.deleted_at is not None:
        return "hidden: forgotten"
    if memory.superseded_by is not None:
        return f"hidden: superseded by {memory.superseded_by}"
    if item.trust == "quarantined":
        return "hidden: quarantined"
    if item.valid_to is not None and item.valid_to <= now:
        return "hidden: no longer valid"
    if item.valid_from is not None and item.valid_from > now:
        return "hidden: not yet valid"
    return None


def grouped_by_trace(found: Sequence[RetrievedMemory]) -> list[RetrievedMemory]:
    """Memories of one trace together at the place of the best; those with a position in it in their order."""
    place = {each.memory.trace_id: rank for rank, each in reversed(list(enumerate(found)))}

    def key(each: RetrievedMemory) -> tuple[int, float]:
        position = each.memory.item.position
        return place[each.memory.trace_id], float("inf") if position is None else position

    return sorted(found, key=key)


_CHOSEN = "chosen"
_BEYOND = "beyond k"
_PUSHED_OUT = "beyond k: a warning about the task's error took its place"


class _Choice:
    """Who is chosen so far, best first."""

    def __init__(self, limits: Limits, hidden: Callable[[Memory], str | None], said: dict[str, frozenset[str]]) -> None:
        self.chosen: list[Candidate] = []
        self.below = 0
        self._limits = limits
        self._hidden = hidden
        self._said = said
        self._repeats = 0
        self._has_warning = False

    @property
    def is_final(self) -> bool:
        """Whether no further candidate can be chosen, but for a warning."""
        return self._is_full or (self._limits.near_duplicates is not None and self._repeats >= MOST_REPEATS)

    @property
    def _is_full(self) -> bool:
        return len(self.chosen) + self.below >= self._limits.k

    def look_at(self, candidate: Candidate) -> str:
        """Chooses the next candidate, or says why not."""
        reason = self._unfit(candidate.memory)
        if reason:
            return reason
        if self._is_full and not self._must_be_seen(candidate):
            return _BEYOND
        if candidate.relevance < self._limits.floor:
            self.below += 1
            return "below floor"
        # Whoever would lose his place to this one counts no more.
        staying = self.chosen[: self._limits.k - 1]
        reason = self._repetition(candidate.memory, [each.memory for each in staying])
        if reason:
            return reason
        self.chosen = [*staying, candidate]
        self._has_warning |= _warns(candidate)
        return _CHOSEN

    def _unfit(self, memory: Memory) -> str | None:
        if memory.id in self._limits.excluded:
            return "excluded"
        return self._hidden(memory)

    def _must_be_seen(self, candidate: Candidate) -> bool:
        if self._has_warning or not _warns(candidate) or candidate.error_match <= TYPE_ALONE:
            return False
        takes_the_only_one = self._limits.k == 1 and bool(self.chosen)
        least = self.chosen[0].relevance if takes_the_only_one else self._limits.floor
        return candidate.relevance >= least

    def _repetition(self, memory: Memory, staying: Sequence[Memory]) -> str | None:
        for each in staying:
            if each.content_hash == memory.content_hash:
                return f"duplicate of {each.id}"
        limits = self._limits
        actor = memory.item.actor
        same_trace = [each for each in staying if each.trace_id == memory.trace_id]
        same_actor = [each for each in staying if actor is not None and each.item.actor == actor]
        return (
            _over(limits.per_trace, "trace", memory, same_trace)
            or _over(limits.per_actor, "actor", memory, same_actor)
            or self._nearly(memory, staying)
        )

    def _nearly(self, memory: Memory, staying: Sequence[Memory]) -> str | None:
        """Which chosen memory this one nearly repeats, if that matters."""
        allowed = [LOW_TRUST_LIKENESS] if memory.item.trust == "low" else []
        if self._limits.near_duplicates is not None:
            allowed.append(self._limits.near_duplicates)
        if not allowed or not staying:
            return None
        if self._repeats >= MOST_REPEATS:
            return "not compared: too many near-duplicates came before"
        for other in staying:
            if _likeness(self._words(memory), self._words(other)) >= min(allowed):
                self._repeats += 1
                return f"near-duplicate of {other.id}"
        return None

    def _words(self, memory: Memory) -> frozenset[str]:
        if memory.id not in self._said:
            self._said[memory.id] = frozenset(words(_said(memory.item)[:_WORDS_READ]))
        return self._said[memory.id]


def _over(most: int | None, whose: str, memory: Memory, same: Sequence[Memory]) -> str | None:
    if most is not None and len(same) >= most:
        return f"{whose} cap"
    if memory.item.trust == "low" and sum(each.item.trust == "low" for each in same) >= LOW_TRUST_EACH:
        return f"{whose} cap: low trust"
    return None


def _decisions(
    candidates: Sequence[Candidate], reasons: Sequence[str], chosen: Sequence[Candidate]
) -> tuple[Decision, ...]:
    kept = {each.memory.id for each in chosen}
    return tuple(
        Decision(each, _PUSHED_OUT if reason == _CHOSEN and each.memory.id not in kept else reason)
        for each, reason in zip(candidates, reasons, strict=True)
    )


def _warns(candidate: Candidate) -> bool:
    item = candidate.memory.item
    # Whoever is not trusted must not buy a place with an invented error.
    return candidate.error_match > 0 and item.outcome == "failure" and item.trust != "low"


def _said(item: MemoryItem) -> str:
    """What a memory says; memories of one task share its text, so that counts only where there is nothing else."""
    return f"{item.title}\n{item.description}\n{item.content}" if item.content else item.text


def _likeness(some: frozenset[str], others: frozenset[str]) -> float:
    """Common words over all words (Jaccard), 0..1."""
    return len(some & others) / len(some | others) if some and others else 0.0
