"""How tasks ended with and without each memory: an observation, with the interval that its sample allows.

A task had a memory when it was given for that task (see `storage.servings`) before its trace was stored. It is compared
with every other task since the memory was made, of its domain where it has one. Memories are given where they fit, so
the two groups differ in more than the memory: what is seen here is no proof, and few tasks are none at all.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Final, Literal

from sqlalchemy import Connection

from reasoning_bank.records import Memory, Outcome
from reasoning_bank.storage import lineage, memories, servings, traces
from reasoning_bank.storage.servings import task_hash

LEAST: Final = 5
"""Tasks of either kind below which nothing is said."""
_QUANTILE = 1.959964
"""Two-sided 95 % of the normal distribution."""

Finding = Literal["helps", "harms", "no clear difference", "too few to tell"]


@dataclass(frozen=True, slots=True)
class Share:
    """How many of some tasks were solved."""

    solved: int
    tasks: int

    @property
    def rate(self) -> float:
        """Solved tasks over all, 0..1; 0 without tasks."""
        return self.solved / self.tasks if self.tasks else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval of the rate (Wilson, JASA 1927)."""
        if not self.tasks:
            return 0.0, 1.0
        square = _QUANTILE**2
        middle = (self.solved + square / 2) / (self.tasks + square)
        spread = _QUANTILE * math.sqrt(self.tasks * self.rate * (1 - self.rate) + square / 4) / (self.tasks + square)
        return max(0.0, middle - spread), min(1.0, middle + spread)


@dataclass(frozen=True, slots=True)
class Lift:
    """Outcomes with and without a memory.

    Attributes:
        difference: rate with it less the rate without it, -1..1.
        low, high: the 95 % interval of the difference.
    """

    id: str
    title: str
    with_it: Share
    without: Share
    difference: float
    low: float
    high: float
    finding: Finding


@dataclass(frozen=True, slots=True)
class _Task:
    hash: str
    solved: bool
    domain: str | None
    at: datetime


def lift(connection: Connection, workspace: str, *, least: int = LEAST, ids: Sequence[str] | None = None) -> list[Lift]:
    """Outcomes with and without each memory that was ever given for a task whose end is known.

    Args:
        least: tasks of either kind below which the finding is "too few to tell".
        ids: only these memories.

    Returns:
        Best lower bound first, those with too few tasks last.
    """
    given = _given(connection, workspace)
    if ids is not None:
        given = {id_: tasks for id_, tasks in given.items() if id_ in ids}
    found = memories.by_ids(connection, workspace, given)
    ended = _Tasks(_ended(connection, workspace))
    lifts = [_lift(found[id_], tasks, ended, least=least) for id_, tasks in given.items() if id_ in found]
    seen = [each for each in lifts if each.with_it.tasks]
    return sorted(seen, key=lambda each: (each.finding == "too few to tell", -each.low, each.id))


def difference(one: Share, other: Share) -> tuple[float, float, float]:
    """The difference of two rates and its 95 % interval, from the score intervals of both.

    Method 10 of Newcombe, Statistics in Medicine 1998: right also for few tasks and rates near 0 and 1.
    """
    (low_one, high_one), (low_other, high_other) = one.interval, other.interval
    value = one.rate - other.rate
    below = math.hypot(one.rate - low_one, high_other - other.rate)
    above = math.hypot(high_one - one.rate, other.rate - low_other)
    return value, value - below, value + above


class _Tasks:
    """Tasks whose end is known, in the order they were stored; asked for each memory, so nothing goes through all."""

    def __init__(self, ended: Iterable[_Task]) -> None:
        ordered = sorted(ended, key=lambda each: each.at)
        self._by_hash: dict[str, list[_Task]] = {}
        self._by_domain: dict[str | None, list[_Task]] = {None: ordered}
        for each in ordered:
            self._by_hash.setdefault(each.hash, []).append(each)
            if each.domain is not None:
                self._by_domain.setdefault(each.domain, []).append(each)
        self._solved = {
            domain: list(accumulate((each.solved for each in several), initial=0))
            for domain, several in self._by_domain.items()
        }

    def that_had(self, given: Mapping[str, datetime]) -> Share:
        """The tasks with a memory: `given` says for which, by hash, and when first."""
        return _share(each for hash_, at in given.items() for each in self._by_hash.get(hash_, ()) if each.at >= at)

    def without(self, given: Mapping[str, datetime], *, since: datetime, domain: str | None) -> Share:
        """All others since a moment, of one domain or, for None, of any."""
        there = self._by_domain.get(domain, [])
        first = bisect_left(there, since, key=lambda each: each.at)
        ends = self._solved.get(domain, [0])
        its = _share(
            each
            for hash_ in given
            for each in self._by_hash.get(hash_, ())
            if each.at >= since and domain in (None, each.domain)
        )
        return Share(ends[-1] - ends[first] - its.solved, len(there) - first - its.tasks)


def _lift(memory: Memory, given: Mapping[str, datetime], ended: _Tasks, *, least: int) -> Lift:
    with_it = ended.that_had(given)
    without = ended.without(given, since=memory.created_at, domain=memory.item.domain)
    value, low, high = difference(with_it, without)
    finding: Finding = "no clear difference"
    if min(with_it.tasks, without.tasks) < least:
        finding = "too few to tell"
    elif low > 0:
        finding = "helps"
    elif high < 0:
        finding = "harms"
    title = memory.item.title or memory.item.text[:80]
    return Lift(memory.id, title, with_it, without, round(value, 4), round(low, 4), round(high, 4), finding)


def _share(tasks: Iterable[_Task]) -> Share:
    solved = [each.solved for each in tasks]
    return Share(sum(solved), len(solved))


def _given(connection: Connection, workspace: str) -> dict[str, dict[str, datetime]]:
    """By memory, or what took it in since, the tasks it was given for and when first."""
    rows = servings.of_workspace(connection, workspace)
    stands = lineage.successors(connection, workspace, {id_ for id_, _, _ in rows})
    given: dict[str, dict[str, datetime]] = {}
    for id_, task, at in rows:
        tasks = given.setdefault(stands.get(id_, id_), {})
        tasks[task] = min(at, tasks.get(task, at))
    return given


def _ended(connection: Connection, workspace: str) -> list[_Task]:
    """Every task whose end is known; what was solved in part was not solved."""
    known: set[Outcome] = {"success", "failure", "partial"}
    return [
        _Task(task_hash(each.task), each.outcome == "success", each.domain, each.at)
        for each in traces.all_endings(connection, workspace)
        if each.outcome in known
    ]
