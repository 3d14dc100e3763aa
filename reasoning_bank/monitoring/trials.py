"""Settings on trial: whether a figure became better since one was changed, and by enough observations to tell."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from reasoning_bank.monitoring.estimates import Estimate, estimates
from reasoning_bank.monitoring.rollups import Rollup
from reasoning_bank.records import JsonValue

State = Literal["trial", "kept", "rolled_back"]

LEAST: Final = 500
"""Observations below which a trial goes on."""
UNDECIDED: Final = 10
"""Times the length of a trial after which one that has too few observations is given up."""
NOT_AGAIN: Final = timedelta(days=7)
"""How long a value that was taken back is not tried again, and how long a trial may last in all."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A setting that was changed on advice.

    Attributes:
        previous: the value before, which comes back where the new one is no better.
        metric: what has to improve; lower is better, except of hit rates.
        before, after: its figure before the change, and at the decision.
    """

    id: int
    setting: str
    value: float
    previous: float
    metric: str
    before: float | None
    after: float | None
    state: State
    applied_at: datetime
    decided_at: datetime | None
    reason: str

    def plain(self) -> dict[str, JsonValue]:
        """The trial as JSON."""
        return {
            "setting": self.setting,
            "value": self.value,
            "previous": self.previous,
            "metric": self.metric,
            "before": self.before,
            "after": self.after,
            "state": self.state,
            "applied_at": self.applied_at.isoformat(),
            "decided_at": self.decided_at.isoformat() if self.decided_at else None,
            "reason": self.reason,
        }


def measured_since(metric: str, now: Mapping[str, Rollup], then: Mapping[str, Rollup]) -> Estimate | None:
    """The figure of what came between two sums by name; None where nothing did."""
    name = metric.rpartition(":")[0]
    since = {
        each: total.without(then[each]) if each in then else total
        for each, total in now.items()
        if each == name or each in (f"{name}.hits", f"{name}.misses")
    }
    return estimates(since, minutes=1.0).get(metric)


def decided(trial: Trial, after: Estimate | None, *, began: datetime | None, now: datetime, trial_s: float) -> Trial:
    """A trial with its decision, or the trial itself while time or observations do not suffice.

    It is kept where the whole interval of the figure lies on the better side of what it was before, and taken back
    where it does not, or where nobody comes to have enough observations.

    Args:
        after: the figure since this process began to look.
        began: when it did; None where it does not, since another value holds in it.
    """
    if trial.state != "trial":
        return trial
    looked, length = now - began if began else timedelta(0), timedelta(seconds=trial_s)
    if after is not None and after.n >= LEAST and looked >= length:
        return _judged(trial, after, now)
    if looked >= UNDECIDED * length or now - trial.applied_at >= NOT_AGAIN:
        said = f"too few observations of {trial.metric} to tell, n = {after.n if after else 0}"
        return replace(trial, state="rolled_back", decided_at=now, reason=said)
    return trial


def improved(metric: str, before: float | None, after: Estimate) -> bool:
    """Whether a figure is better than it was, beyond what chance explains."""
    if before is None:
        return False
    return after.low > before if metric.endswith(":hit_rate") else after.high < before


def _judged(trial: Trial, after: Estimate, now: datetime) -> Trial:
    state: State = "kept" if improved(trial.metric, trial.before, after) else "rolled_back"
    was = "not known" if trial.before is None else f"{trial.before:.4g}"
    said = f"{trial.metric} was {was}, is {after.value:.4g} ({after.low:.4g} to {after.high:.4g}, n = {after.n})"
    return replace(trial, state=state, after=after.value, decided_at=now, reason=said)
