"""Settings that were changed on advice, and what came of it: shared by all processes of a bank."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from reasoning_bank.monitoring.trials import NOT_AGAIN, Trial
from reasoning_bank.storage.schema import tuning
from reasoning_bank.storage.timestamps import from_micros, to_micros


def begin(connection: Connection, trials: Iterable[Trial]) -> list[Trial]:
    """Note new trials, except where the setting or the metric is on trial, or the value was taken back lately.

    Returns:
        Those that began, with their ids.
    """
    begun: list[Trial] = []
    for trial in trials:
        if not _hindered(connection, trial):
            found = connection.execute(insert(tuning).values(_row(trial)).returning(tuning)).one()
            begun.append(_trial(found))
    return begun


def in_force(connection: Connection) -> dict[str, Trial]:
    """By setting, the latest change that was not taken back."""
    rows = connection.execute(_listed().where(tuning.c.state != "rolled_back"))
    return {row.setting: _trial(row) for row in rows}


def decide(connection: Connection, trial: Trial) -> bool:
    """Note the decision about a trial; False where another process was first."""
    values = {
        "state": trial.state,
        "after": trial.after,
        "reason": trial.reason,
        "decided_at": to_micros(trial.decided_at) if trial.decided_at else None,
    }
    open_ = (tuning.c.id == trial.id) & (tuning.c.state == "trial")
    return bool(connection.execute(update(tuning).where(open_).values(values)).rowcount)


def take_back(connection: Connection, *, now: datetime) -> int:
    """Take back everything that is in force; how many changes."""
    values = {"state": "rolled_back", "decided_at": to_micros(now), "reason": "taken back by a person"}
    return connection.execute(update(tuning).where(tuning.c.state != "rolled_back").values(values)).rowcount


def listing(connection: Connection, *, since: datetime | None = None) -> list[Trial]:
    """Every change that was made or decided since a moment, oldest first."""
    rows = _listed()
    if since is not None:
        moment = to_micros(since)
        rows = rows.where((tuning.c.applied_at >= moment) | (tuning.c.decided_at >= moment))
    return [_trial(row) for row in connection.execute(rows)]


def _hindered(connection: Connection, trial: Trial) -> bool:
    mine = (tuning.c.setting == trial.setting) | (tuning.c.metric == trial.metric)
    for known in connection.execute(_listed().where(mine)):
        if known.state == "trial":
            return True  # of two changes at once nobody knows which one helped
        lately = known.decided_at and trial.applied_at - from_micros(known.decided_at) < NOT_AGAIN
        same = (known.setting, json.loads(known.value)) == (trial.setting, trial.value)
        if known.state == "rolled_back" and lately and same:
            return True
    return False


def _listed() -> Select[Any]:
    return select(tuning).order_by(tuning.c.id)


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "setting": trial.setting,
        "value": json.dumps(trial.value),
        "previous": json.dumps(trial.previous),
        "metric": trial.metric,
        "before": trial.before,
        "after": trial.after,
        "state": trial.state,
        "applied_at": to_micros(trial.applied_at),
        "reason": trial.reason,
    }


def _trial(row: Row[Any]) -> Trial:
    return Trial(
        row.id,
        row.setting,
        json.loads(row.value),
        json.loads(row.previous),
        row.metric,
        row.before,
        row.after,
        row.state,
        from_micros(row.applied_at),
        from_micros(row.decided_at) if row.decided_at is not None else None,
        row.reason,
    )
