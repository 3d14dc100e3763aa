"""How the settings in force are found, and what is said of those that cannot be right."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import cast

import platformdirs
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, SettingsError

from reasoning_bank.errors import ConfigError
from reasoning_bank.settings.groups import ENV_PREFIX, Group, Settings

NOT_SETTINGS = frozenset({"CONFIG", "EVAL_DATA"})
"""Variables with our prefix that are no settings: the configuration file, the evaluation data of the tests."""


def load_settings(config: Path | None = None, **overrides: object) -> Settings:
    """Returns the settings in force.

    Args:
        config: a TOML file; None takes `REASONING_BANK_CONFIG`, else `config.toml` in the platform's configuration
            directory when there is one.
        **overrides: fields by name, groups as mappings; None means "not given".

    Raises:
        ConfigError: an unknown key (the nearest known one is named), a value out of bounds, or a file that is missing
            or not TOML.
    """
    path = config or _configured_file()
    layers = (_from_toml(path), _from_environment(), _given(overrides))
    values: dict[str, object] = {}
    for layer in layers:
        values = _merged(values, layer)
    try:
        # The environment is read once more by BaseSettings, below what is passed in: it changes nothing.
        return Settings(**values)  # pyright: ignore[reportArgumentType] -- this call is the validation
    except ValidationError as error:
        raise ConfigError(_explain(error)) from error


def default_config_file() -> Path:
    """Returns where the configuration file is looked for when none is named; it need not exist."""
    return platformdirs.user_config_path("reasoning-bank", appauthor=False) / "config.toml"


def project_directory() -> Path | None:
    """Returns the project the MCP host says it works in (`CLAUDE_PROJECT_DIR`), or None."""
    value = os.environ.get("CLAUDE_PROJECT_DIR", "").strip()
    return Path(value) if value else None


def setting_names(model: type[BaseModel] | BaseModel = Settings) -> Iterator[tuple[str, FieldInfo]]:
    """Yields every setting as (dotted name, field), groups unfolded, in the order of declaration.

    Args:
        model: a class of settings, or an instance whose values are then the defaults of the fields.
    """
    kind = model if isinstance(model, type) else type(model)
    for name, info in kind.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            yield from ((f"{name}.{inner}", field) for inner, field in setting_names(info.get_default()))
        else:
            yield name, info if isinstance(model, type) else _with_default(info, getattr(model, name))


def _with_default(info: FieldInfo, value: object) -> FieldInfo:
    changed = copy(info)
    changed.default, changed.default_factory = value, None
    return changed


def _configured_file() -> Path | None:
    if named := os.environ.get(f"{ENV_PREFIX}CONFIG", "").strip():
        return Path(named).expanduser()
    default = default_config_file()
    return default if default.is_file() else None


def _from_toml(path: Path | None) -> Mapping[str, object]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {str(path)!r} is not TOML: {error}") from error


def _from_environment() -> Mapping[str, object]:
    # pydantic-settings overlooks unknown names at the top level: a typo would silently be the default.
    for variable in os.environ:
        name = variable.upper()
        if name.startswith(ENV_PREFIX) and (key := name.removeprefix(ENV_PREFIX)) not in NOT_SETTINGS:
            _check_environment_key(variable, key)
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise ConfigError(f"the environment cannot be read: {error} (lists and tables are written as JSON)") from error


def _check_environment_key(variable: str, key: str) -> None:
    if key.lower().split("__")[0] not in Settings.model_fields:
        raise ConfigError(f"unknown setting {variable!r} in the environment{_nearest(key.lower().replace('__', '.'))}")


def _given(overrides: Mapping[str, object]) -> Mapping[str, object]:
    return {key: value for key, value in overrides.items() if value is not None}


def _merged(low: Mapping[str, object], high: Mapping[str, object]) -> dict[str, object]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(cast("Mapping[str, object]", below), cast("Mapping[str, object]", value))
        else:
            merged[key] = value
    return merged


def _explain(error: ValidationError) -> str:
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_context=False):
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {name!r}{_nearest(name)}")
            continue
        said = problem["msg"].removeprefix("Value error, ")
        lines.append(f"setting {name!r}: {said}{_given_value(problem['loc'], problem['input'], said)}")
    return "\n".join(lines)


def _given_value(place: tuple[int | str, ...], value: object, said: str) -> str:
    """Returns ", not VALUE" and the allowed word most like it; nothing for keys, which are never repeated."""
    field = dict(setting_names()).get(".".join(part for part in place if isinstance(part, str)))
    if field is None or "Secret" in str(field.annotation) or not isinstance(value, str | int | float):
        return ""
    close = difflib.get_close_matches(str(value), re.findall(r"'([^']+)'", said), n=1)
    shown = "" if repr(value) in said else f", not {str(value)[:80]!r}"
    return shown + (f"; did you mean {close[0]!r}?" if close and shown else "")


def _nearest(name: str) -> str:
    """Returns ", did you mean …?" for the known setting most like `name`, by its full name or by its last part."""
    known = [known for known, _ in setting_names()] + list(Settings.model_fields)
    if close := difflib.get_close_matches(name, known, n=1, cutoff=0.6):
        return f"; did you mean {close[0]!r}?"
    by_last_part = {known_name.rsplit(".", 1)[-1]: known_name for known_name in known}
    close = difflib.get_close_matches(name.rsplit(".", 1)[-1], by_last_part, n=1, cutoff=0.6)
    return f"; did you mean {by_last_part[close[0]]!r}?" if close else ""
