"""Settings as figures for advice, and those that were changed on advice: below what a user set, above the defaults."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel

from reasoning_bank.monitoring.advice import Recommendation
from reasoning_bank.monitoring.rollups import Rollup
from reasoning_bank.monitoring.snapshot import Snapshot, Window
from reasoning_bank.monitoring.trials import Trial, decided, measured_since
from reasoning_bank.settings import Settings, setting_names
from reasoning_bank.settings.caches import NAMES
from reasoning_bank.storage import tuning
from reasoning_bank.storage.database import Database

logger = logging.getLogger(__name__)

_GPUS: Final = Path("/proc/driver/nvidia/gpus")

TUNABLE: Final = frozenset(f"cache.{name}.size" for name in NAMES)
"""What may be changed without asking: speed and memory only, never an answer, at once and back in an open bank."""


async def tuned(settings: Settings, database: Database) -> Settings:
    """The settings with what was changed on advice, where the user set nothing and `monitoring.tune` is not off."""
    changed = settings
    if settings.monitoring.tune == "off":
        return changed
    for name, trial in (await database.read(tuning.in_force)).items():
        if name in TUNABLE and not explicit(settings, name):
            changed = with_value(changed, name, trial.value)
    return changed


def explicit(settings: Settings, name: str) -> bool:
    """Whether a user set a setting, or the table of a cache that it is in."""
    group: object = settings
    for part in name.split("."):
        if not isinstance(group, BaseModel) or part not in group.model_fields_set:
            return False
        group = getattr(group, part)
    return True


def value_of(settings: Settings, name: str) -> object:
    """The value of a setting by its dotted name."""
    found: object = settings
    for part in name.split("."):
        found = getattr(found, part)
    return found


def with_value(settings: Settings, name: str, value: float) -> Settings:
    """The settings with one other value."""
    return _with(settings, name.split("."), value)


def setting_figures(settings: Settings) -> dict[str, float]:
    """Numbers and switches of the settings as `setting.NAME`, words as `setting.NAME=WORD` with the value 1."""
    found: dict[str, float] = {}
    for name, _ in setting_names():
        value = value_of(settings, name)
        if isinstance(value, bool | int | float):
            found[f"setting.{name}"] = float(value)
        elif isinstance(value, str):
            found[f"setting.{name}={value}"] = 1.0
    return found


def machine_figures() -> dict[str, float]:
    """Processor cores, bytes of memory, and GPUs that a driver of NVIDIA's names."""
    return {
        "machine.cores": float(os.cpu_count() or 1),
        "machine.memory_bytes": float(psutil.virtual_memory().total),
        "machine.gpus": float(len(list(_GPUS.iterdir()))) if _GPUS.is_dir() else 0.0,
    }


class Tuner:
    """Changes settings on advice, on trial, and takes back what did not help; several processes share the decisions.

    Args:
        settings: those of the user.
        opened: those that the bank was opened with; see `tuned`.
        database: where trials are noted.
        live: changes a setting of this process at once and returns True, or False where only the next opening can.
        now: the clock, aware UTC.
    """

    def __init__(
        self,
        settings: Settings,
        opened: Settings,
        database: Database,
        live: Callable[[str, float], bool],
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._database = database
        self._live = live
        self._now = now
        self._in_force: dict[str, object] = {
            name: value for name in TUNABLE if (value := value_of(opened, name)) != value_of(settings, name)
        }
        self._begun: dict[int, tuple[datetime, Mapping[str, Rollup]]] = {}

    def current(self, name: str) -> object:
        """The value of a setting in this process."""
        return self._in_force.get(name, value_of(self._settings, name))

    def figures(self) -> dict[str, float]:
        """The settings of this process as figures."""
        changed = {f"setting.{name}": float(str(value)) for name, value in self._in_force.items()}
        return setting_figures(self._settings) | changed

    def refusal(self, advice: Recommendation) -> str | None:
        """Why advice is not applied by the bank itself; None where it can be."""
        if not advice.safe or advice.setting not in TUNABLE or advice.judged_by is None:
            return "not safe to change without asking"
        if not isinstance(advice.value, int | float) or advice.current is None:
            return "no number"
        if explicit(self._settings, advice.setting):
            return "you set it yourself, so it is yours to change"
        if self._settings.cache.auto_size and advice.setting.endswith(".size"):
            return "cache.auto_size sees to it"
        if value_of(self._settings, advice.setting.removesuffix("size") + "backend") != "memory":
            return "the cache is outside of this process"
        return None

    async def apply(self, advice: Iterable[Recommendation], snapshot: Snapshot, window: Window) -> list[Trial]:
        """Begin a trial of each piece of advice that can be applied; those that began.

        Args:
            snapshot: the figures it rests on, with what has to improve.
            window: of them.
        """
        wanted = [_trial(each, snapshot, window, self._now()) for each in advice if self.refusal(each) is None]
        if not wanted:
            return []
        return await self._database.write(lambda c: tuning.begin(c, wanted))

    async def look(self, totals: Mapping[str, Rollup]) -> None:
        """Bring into force what was changed or taken back by any process, and decide trials that can be decided.

        Args:
            totals: what this process has measured since it began, by name.
        """
        trials = await self._database.read(tuning.in_force)
        self._follow(trials, totals)
        for trial in trials.values():
            began, then = self._begun.get(trial.id, (None, totals))
            after = measured_since(trial.metric, totals, then)
            found = decided(trial, after, began=began, now=self._now(), trial_s=self._settings.monitoring.trial_s)
            if found is not trial and await self._database.write(lambda c, found=found: tuning.decide(c, found)):
                logger.info("%s = %s was tried and %s: %s", found.setting, found.value, found.state, found.reason)
        self._follow(await self._database.read(tuning.in_force), totals)

    def forget(self) -> None:
        """Begin to look at trials anew: what was measured so far is forgotten."""
        self._begun.clear()

    def _follow(self, trials: Mapping[str, Trial], totals: Mapping[str, Rollup]) -> None:
        for name in sorted({*trials, *self._in_force} & TUNABLE):
            if explicit(self._settings, name):
                continue
            trial = trials.get(name)
            value = trial.value if trial else float(str(value_of(self._settings, name)))
            if value != self.current(name) and self._live(name, value):
                self._in_force[name] = value
            if trial and value == self.current(name):
                self._begun.setdefault(trial.id, (self._now(), totals))


def _trial(advice: Recommendation, snapshot: Snapshot, window: Window, now: datetime) -> Trial:
    assert advice.setting is not None
    assert advice.judged_by is not None
    assert advice.current is not None
    assert isinstance(advice.value, int | float)
    before = snapshot.value(advice.judged_by, window)
    return Trial(
        0, advice.setting, advice.value, advice.current, advice.judged_by, before, None, "trial", now, None,
        advice.description,
    )  # fmt: skip


def _with(group: BaseModel, parts: list[str], value: float) -> "Settings":
    changed = value if len(parts) == 1 else _with(getattr(group, parts[0]), parts[1:], value)
    return group.model_copy(update={parts[0]: changed})  # pyright: ignore[reportReturnType] -- a copy of what is given
