"""From an order to an answer: the k best, no copies, nothing below the floor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reasoning_bank.records import Memory, RetrievedMemory
from reasoning_bank.retrieval.context import warning_of


@dataclass(frozen=True, slots=True)
class Ballot:
    """A candidate in its place: best first."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Selection:
    """What is answered.

    Attributes:
        below_floor: how many of the k best were left out because too little speaks for them.
    """

    memories: tuple[RetrievedMemory, ...]
    below_floor: int


def select(
    ballots: Sequence[Ballot],
    *,
    k: int,
    floor: float,
    excluded: frozenset[str],
    read: Callable[[Sequence[str]], dict[str, Memory]],
) -> Selection:
    """The k best candidates that are not excluded and no exact copies; those below the floor are counted, not given.

    Args:
        ballots: candidates, best first.
        k: how many to choose.
        floor: least score to be given; 0 gives all.
        excluded: ids already shown.
        read: reads memories by id; ids that are gone are absent.
    """
    waiting = [ballot for ballot in ballots if ballot.id not in excluded]
    chosen: list[RetrievedMemory] = []
    seen: set[str] = set()
    below = 0
    while waiting and len(chosen) + below < k:
        missing = k - len(chosen) - below
        some, waiting = waiting[:missing], waiting[missing:]
        found = read([ballot.id for ballot in some if ballot.score >= floor])
        below += sum(ballot.score < floor for ballot in some)
        for ballot in some:
            memory = found.get(ballot.id)
            if memory is None or memory.content_hash in seen:
                continue
            seen.add(memory.content_hash)
            chosen.append(RetrievedMemory(memory, round(ballot.score, 4), warning_of(memory)))
    return Selection(tuple(chosen), below)
