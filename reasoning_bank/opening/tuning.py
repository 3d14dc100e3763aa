"""Settings as figures for advice, and those that were changed on advice: below what a user set, above the defaults."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel

from reasoning_bank.monitoring.trials import Trial
from reasoning_bank.settings import Settings, setting_names
from reasoning_bank.settings.caches import NAMES
from reasoning_bank.storage import tuning
from reasoning_bank.storage.database import Database

_GPUS: Final = Path("/proc/driver/nvidia/gpus")

TUNABLE: Final = frozenset(
    {"background.batch", *(f"cache.{name}.{key}" for name in NAMES for key in ("size", "ttl_s"))}
)
"""What may be changed without asking: speed and memory only, never an answer, and it can be taken back at any time."""


async def tuned(settings: Settings, database: Database) -> Settings:
    """The settings with what was changed on advice, where the user set nothing."""
    changed = settings
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


def applicable(settings: Settings, name: str | None, trials: Mapping[str, Trial]) -> str | None:
    """Why a setting cannot be changed on advice; None where it can."""
    if name is None or name not in TUNABLE:
        return "not safe to change without asking"
    if explicit(settings, name):
        return "you set it yourself, so it is yours to change"
    if name in trials and trials[name].state == "trial":
        return "another value is on trial"
    return None


def _with(group: BaseModel, parts: list[str], value: float) -> "Settings":
    changed = value if len(parts) == 1 else _with(getattr(group, parts[0]), parts[1:], value)
    return group.model_copy(update={parts[0]: changed})  # pyright: ignore[reportReturnType] -- a copy of what is given
