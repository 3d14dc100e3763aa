"""Results as a file, and whether a later run still keeps the ratios of an earlier one."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from reasoning_bank.errors import InputError
from reasoning_bank.evaluation.bench.machine import Machine
from reasoning_bank.evaluation.bench.rows import Measured, Row

TOLERANCE: Final = 0.2
"""Share of an earlier ratio that a later one may lose."""
_SAME: Final = ("cpu", "cores", "system", "python")


@dataclass(frozen=True, slots=True)
class Results:
    """One run.

    Attributes:
        machine: where.
        scale: "quick", "default" or "full".
        rows: of all claims that were asked for.
    """

    machine: Machine
    scale: str
    rows: tuple[Row, ...]

    def as_json(self) -> str:
        """The run as JSON, readable by people too."""
        return _RESULTS.dump_json(self, indent=1).decode()


_RESULTS: Final = TypeAdapter(Results)


@dataclass(frozen=True, slots=True)
class Change:
    """One row then and now.

    Attributes:
        then: the earlier figures, None where there are none.
        now: the later figures, None where there are none.
        verdict: "worse" only where more than the tolerance is lost and both intervals lie apart: what a busy machine
            does to one run is not held against the code. "better" is the same the other way round. "missing" was
            measured then and could be now; "new" was not, or was measured in another way.
        reason: why there are no later figures, or "".
    """

    name: str
    then: Measured | None
    now: Measured | None
    verdict: Literal["kept", "better", "worse", "missing", "not measured", "new"]
    reason: str = ""


def read_results(path: Path) -> Results:
    """Read what `as_json` wrote.

    Raises:
        InputError: it is no such file; the text says what is wrong where.
    """
    try:
        return _RESULTS.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path} is no result of `reasoning-bank bench --output`: {where + ': ' if where else ''}{first['msg']}"
        ) from error


def compare(then: Results, now: Results, *, only: Collection[str] = ()) -> list[Change]:
    """Every row of an earlier and a later run side by side; `only` leaves out the rows that were not asked for."""
    earlier = {row.name: row for row in then.rows if not only or row.name in only}
    later = {row.name: row for row in now.rows}
    return [_change(name, earlier.get(name), later.get(name)) for name in dict.fromkeys([*earlier, *later])]


def other_machine(then: Results, now: Results) -> list[str]:
    """What differs between the machines of two runs, in words: even ratios may differ for it."""
    pairs = [(name, getattr(then.machine, name), getattr(now.machine, name)) for name in _SAME]
    return [f"{name}: {before} then, {after} now" for name, before, after in pairs if before != after]


def _change(name: str, earlier: Row | None, later: Row | None) -> Change:
    then = earlier.measured if earlier else None
    now = later.measured if later else None
    if later is None or now is None:
        reason = later.skipped if later else "no such row any more"
        excused = then is None or (later is not None and later.beyond_scale)
        return Change(name, then, None, "not measured" if excused else "missing", reason)
    if earlier is None or then is None:
        return Change(name, then, now, "new")
    if (earlier.ways, then.unit) != (later.ways, now.unit):
        return Change(name, then, now, "new", "measured in another way then")
    return Change(name, then, now, _verdict(then, now))


def _verdict(then: Measured, now: Measured) -> Literal["kept", "better", "worse"]:
    if now.ratio < (1 - TOLERANCE) * then.ratio and now.high < then.low:
        return "worse"
    return "better" if now.ratio > (1 + TOLERANCE) * then.ratio and now.low > then.high else "kept"
