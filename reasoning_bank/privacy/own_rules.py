"""The rules of a user, from a TOML file; `config/redaction.toml` is a copyable example.

They run on RE2, so that no pattern can take for ever. A rule that cannot work is said when the bank opens, not when a
secret has passed it.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from reasoning_bank.errors import ConfigError, InputError
from reasoning_bank.privacy.rules import GROUP, FreeRule
from reasoning_bank.text.patterns import Pattern, linear

MOST_RULES: Final = 100
"""Each rule of a user is searched in every text."""
_LARGEST_FILE: Final = 1_000_000
_KIND: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_FIELDS: Final = {"kind": str, "pattern": str, "ignore_case": bool, "examples": list}


def read_own_rules(file: Path) -> tuple[FreeRule, ...]:
    """Return the rules of a file, in its order.

    Raises:
        ConfigError: the file cannot be read, or a rule cannot work; names the file, the rule and the reason.
    """
    tables = _tables(file)
    if len(tables) > MOST_RULES:
        raise ConfigError(f"{file} has {len(tables)} rules, the limit is {MOST_RULES}")
    return tuple(_rule(table, f"{file}, rule {number}") for number, table in enumerate(tables, start=1))


def _tables(file: Path) -> list[Mapping[str, Any]]:
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{file} is larger than {_LARGEST_FILE} bytes: no file of rules is")
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"privacy.rules: {file} cannot be read: {error}") from error
    tables: Any = content.get("rule", [])
    if unknown := sorted(content.keys() - {"rule"}):
        raise ConfigError(f"{file}: {unknown[0]!r} is not known there: write [[rule]] tables")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in cast(list[Any], tables)):
        raise ConfigError(f"{file}: write each rule as a [[rule]] table")
    return cast(list[Mapping[str, Any]], tables)


def _rule(table: Mapping[str, Any], place: str) -> FreeRule:
    for name, value in table.items():
        if name not in _FIELDS:
            raise ConfigError(f"{place}: {name!r} is not known: use {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[name]):
            raise ConfigError(f"{place}: {name} must be {_FIELDS[name].__name__}")
    kind, text = str(table.get("kind", "")), str(table.get("pattern", ""))
    if not _KIND.fullmatch(kind):
        raise ConfigError(f"{place}: kind is {kind!r}: name it by lower-case letters, digits and hyphens")
    try:
        pattern = linear(text, ignore_case=table.get("ignore_case", False))
    except InputError as error:
        raise ConfigError(f"{place} ({kind}): the pattern cannot be used: {error}") from error
    rule = FreeRule(kind, pattern, group=pattern.groupindex.get(GROUP, 0))
    _check(rule, pattern, table.get("examples", []), f"{place} ({kind})")
    return rule


def _check(rule: FreeRule, pattern: Pattern, examples: list[Any], place: str) -> None:
    if pattern.search("") is not None:
        raise ConfigError(f"{place}: the pattern matches nothing at all, and so every place: make it longer")
    for example in examples:
        if not isinstance(example, str) or not any(rule.spans(example)):
            raise ConfigError(f"{place}: the pattern does not find its example {example!r}")
