"""What was measured of one claim, and how two ways of doing the same thing are compared."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reasoning_bank.errors import ReasoningBankError

Way = Callable[[], float]
"""One way of doing something: does it, and returns what it cost, by unit of work."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Measured:
    """Both ways of one claim, measured in turn in one run.

    Attributes:
        before: median cost of the way without what is claimed.
        after: median cost with it.
        unit: of both costs: "ms" on the clock, "CPU ms" of all threads, "tokens" …
        ratio: median of the rounds' before / after: above 1 the claimed way is better.
        low: lower end of the interval of that median (95 %, no assumption on the distribution).
        high: its upper end.
        n: rounds, each with both ways.
        figures: what else was seen, by name.
    """

    before: float
    after: float
    unit: str
    ratio: float
    low: float
    high: float
    n: int
    figures: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Row:
    """One claim, and what became of it here.

    Attributes:
        name: of the row.
        claim: what the documents say that this project was founded on.
        ways: what was compared: without, and with what is claimed.
        why: why the figure is what it is, where it differs from the claim.
        measured: None where it could not be measured.
        skipped: why it could not be measured, or "".
        beyond_scale: whether that is because the run was to be a shorter one.
    """

    name: str
    claim: str
    ways: tuple[str, str]
    why: str
    measured: Measured | None
    skipped: str = ""
    beyond_scale: bool = False


class SkippedError(ReasoningBankError):
    """A claim cannot be measured here; the text says what is missing."""


class BeyondScaleError(SkippedError):
    """A claim is about more than this run was asked to fill."""


def paired(
    before: Way, after: Way, *, rounds: int, unit: str = "ms", figures: Mapping[str, float] | None = None
) -> Measured:
    """Measure two ways in turn, the first of a round alternating, so that load on the machine meets both alike."""
    costs: dict[Way, list[float]] = {before: [], after: []}
    for number in range(rounds):
        for way in (before, after) if number % 2 else (after, before):
            costs[way].append(way())
    return compared(costs[before], costs[after], unit=unit, figures=figures)


def compared(
    before: Sequence[float], after: Sequence[float], *, unit: str, figures: Mapping[str, float] | None = None
) -> Measured:
    """Compare the costs of two ways, (n,) each and paired by round; n at least 1."""
    ratios = sorted(one / other for one, other in zip(before, after, strict=True))
    at = _outer(len(ratios))
    return Measured(
        before=statistics.median(before),
        after=statistics.median(after),
        unit=unit,
        ratio=statistics.median(ratios),
        low=ratios[at],
        high=ratios[-1 - at],
        n=len(ratios),
        figures=figures or {},
    )


def milliseconds(work: Callable[[], object], *, times: int = 1) -> float:
    """Wall milliseconds of one of several runs of some work."""
    started = time.perf_counter()
    for _ in range(times):
        work()
    return 1000 * (time.perf_counter() - started) / times


def cpu_milliseconds(work: Callable[[], object], *, times: int = 1) -> float:
    """Processor milliseconds of one of several runs of some work, all threads of this process together.

    What only computes is measured so: other processes on the machine change it little.
    """
    started = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - started) / times


def _outer(n: int) -> int:
    """The place, from both ends, of the order statistics that hold the median of n draws with 95 % confidence.

    The number of draws below the true median is binomial (n, 1/2); up to n = 5 not even all of them reach 95 %.
    """
    missed = 0.0
    for place in range(n):
        missed += 2 * math.comb(n, place) / 2**n
        if missed > 1 - CONFIDENCE:
            return max(place - 1, 0)
    return 0
