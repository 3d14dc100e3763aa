"""What speaks for a memory: tasks that ended well with it, traces that taught it, and what callers said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from reasoning_bank.records import Memory, Verdict
from reasoning_bank.storage import feedback, history, lineage, traces
from reasoning_bank.storage.feedback import Said
from reasoning_bank.storage.servings import task_hash

MOST_OF_ONE: Final = 2
"""Verdicts of one kind that count of one rater: whoever repeats himself proves nothing more."""
ENOUGH: Final = 2
"""Independent successes after which a memory is trusted."""
RARELY: Final = 0.3
"""Share of its uses that help, below which a memory does harm."""
SURE: Final = 0.9
"""Probability that a memory helps less often than that, from which it is not served any more."""
BY_A_PERSON: Final = "restored by a person"
"""Why a quarantine ended after which earlier verdicts count no more: whoever looked at them decided."""
_FEWEST_RATERS = 2
_FEWEST_OF_UNKNOWN = 7
_SLICES = 400


@dataclass(frozen=True, slots=True)
class Support:
    """What speaks for and against a memory.

    Attributes:
        sources: different tasks that taught it, however they ended.
        successes: independent successes: different tasks that taught it and ended well, or that it helped in.
        helped, misled: verdicts, of one rater at most `MOST_OF_ONE` of each kind.
        raters: different ones who said that it misled; a task stands for an unknown rater.
        unknown: verdicts "misled" of which neither rater nor task is known.
        thankful: different raters who said that it helped.
    """

    sources: int
    successes: int
    helped: int
    misled: int
    raters: int
    unknown: int
    thankful: int

    @property
    def is_cleared(self) -> bool:
        """Whether verdicts bring it back into use: as many raters as it takes to take it out, not its author alone."""
        return self.thankful >= _FEWEST_RATERS and not self.misleads

    @property
    def weight(self) -> int:
        """What counts where two memories contradict each other."""
        return self.sources + self.helped - self.misled

    @property
    def misleads(self) -> bool:
        """Whether it has to be taken out of use.

        At a probability of `SURE` that it helps in less than `RARELY` of its uses: four complaints where nobody thanks,
        of at least two raters. Where nobody knows who complained, it takes seven: one rater must not be able to bury
        a good memory.
        """
        if rarely_helps(self.helped, self.misled) < SURE:
            return False
        return self.raters >= _FEWEST_RATERS or self.unknown >= _FEWEST_OF_UNKNOWN


def support(connection: Connection, memory: Memory) -> Support:
    """What speaks for and against a memory, with what it took in; verdicts since a person restored it last."""
    own = lineage.sources(connection, memory.workspace, [memory.id]).get(memory.id, ())
    endings = traces.endings(connection, memory.workspace, own).values()
    taught = {task_hash(each.task) for each in endings}
    well = {task_hash(each.task) for each in endings if each.outcome == "success"}
    restored = _restored_at(connection, memory)
    family = [memory.id, *lineage.taken_in(connection, memory.workspace, memory.id)]
    said = feedback.said_of(connection, memory.workspace, family, since=restored)
    helped_in = {each.task or each.rater or "" for each in said if each.verdict == "helped"} - {""}
    against = [each for each in said if each.verdict == "misled"]
    thanks = [each for each in said if each.verdict == "helped"]
    return Support(
        sources=len(taught),
        successes=len(well | helped_in),
        helped=_counted(said, "helped"),
        misled=_counted(said, "misled"),
        raters=_raters(against),
        unknown=sum(each.times for each in against if not _source(each)),
        thankful=_raters(thanks),
    )


def rarely_helps(helped: int, misled: int) -> float:
    """The probability that a memory helps in less than `RARELY` of its uses.

    The share of uses that help has a Beta(1/2, 1/2) prior (Jeffreys; recommended for few observations by Brown, Cai and
    DasGupta, Statistical Science 2001), so its posterior is Beta(helped + 1/2, misled + 1/2). With p = sin² t its
    density in t is proportional to sin^(2 helped) t · cos^(2 misled) t, which Simpson's rule sums up well.
    "Ignored" is no evidence: the memory was given for the wrong task.
    """
    bound = math.asin(math.sqrt(RARELY))
    below, above = _area(helped, misled, 0.0, bound), _area(helped, misled, bound, math.pi / 2)
    return below / (below + above) if below + above else 1.0


def _area(helped: int, misled: int, start: float, end: float) -> float:
    step = (end - start) / _SLICES
    # In logarithms, lifted by the largest value, so that hundreds of verdicts do not vanish.
    total = helped + misled
    peak = _log_density(helped, misled, math.asin(math.sqrt(helped / total))) if total else 0.0
    values = [math.exp(_log_density(helped, misled, start + place * step) - peak) for place in range(_SLICES + 1)]
    return step / 3 * (values[0] + values[-1] + 4 * sum(values[1:-1:2]) + 2 * sum(values[2:-1:2]))


def _log_density(helped: int, misled: int, at: float) -> float:
    rise = 2 * helped * math.log(max(math.sin(at), 1e-300)) if helped else 0.0
    fall = 2 * misled * math.log(max(math.cos(at), 1e-300)) if misled else 0.0
    return rise + fall


def _counted(said: Sequence[Said], verdict: Verdict) -> int:
    by_source: dict[str, int] = {}
    for each in said:
        if each.verdict == verdict:
            by_source[_source(each)] = by_source.get(_source(each), 0) + each.times
    return sum(times if not source else min(times, MOST_OF_ONE) for source, times in by_source.items())


def _raters(said: Sequence[Said]) -> int:
    return len({_source(each) for each in said} - {""})


def _source(said: Said) -> str:
    return said.rater or said.task or ""


def _restored_at(connection: Connection, memory: Memory) -> datetime | None:
    entries = history.of_memory(connection, memory.workspace, memory.id)
    return max((each.at for each in entries if each.event == "trust" and each.reason == BY_A_PERSON), default=None)
