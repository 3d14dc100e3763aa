"""Writes what is generated: the tables of README.md, and config/default.toml; run by `make docs`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast, get_args, get_origin

import annotated_types
import click
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from reasoning_bank.evaluation.bench.comparing import read_results
from reasoning_bank.evaluation.bench.rows import Row
from reasoning_bank.settings import CacheSettings, Group, NamedCacheSettings, Settings, setting_names
from reasoning_bank.settings.caches import NAMES

REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
BENCH = REPOSITORY / "tests" / "benchmarks" / "results" / "bench.json"
DEFAULT_TOML = REPOSITORY / "config" / "default.toml"
OF_CACHES = tuple(f"cache.{name}." for name in NAMES)


def settings_table() -> str:
    """Returns README's table: setting, default, range, meaning."""
    rows = ["| setting | default | range | meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{name}` | {_shown(name, info)} | {_range(info)} | {info.description} |"
        for name, info in setting_names()
        if not name.startswith(OF_CACHES)
    ]
    return "\n".join(rows)


def caches_table() -> str:
    """Returns README's table: cache, what it keeps, and the defaults of what each cache can be told."""
    keys = list(NamedCacheSettings.model_fields)
    rows = [f"| `cache.` | {' | '.join(f'`.{key}`' for key in keys)} | keeps |", "|---" * (len(keys) + 2) + "|"]
    for name, cache in CacheSettings().named().items():
        shown = " | ".join(f"`{str(value).lower()}`" for value in cache.model_dump().values())
        rows.append(f"| `{name}` | {shown} | {CacheSettings.model_fields[name].description} |")
    meanings = [f"`.{key}`: {info.description}" for key, info in NamedCacheSettings.model_fields.items()]
    return "\n".join(rows) + "\n\n" + " ".join(meanings)


def tools_table() -> str:
    """Returns README's table: tool, profile, arguments (the optional ones in italics), what it does."""
    from reasoning_bank.mcp.tools import CORE, FULL

    rows = ["| tool | profile | arguments | what it does |", "|---|---|---|---|"]
    for tool in FULL:
        profile = "core" if tool in CORE else "full"
        arguments = ", ".join(
            f"`{name}`" if field.is_required() else f"*{name}*" for name, field in tool.arguments.model_fields.items()
        )
        rows.append(f"| `{tool.name}` | {profile} | {arguments} | {tool.description} |")
    return "\n".join(rows)


def commands_table() -> str:
    """Returns README's table: command, meaning; groups with their sub-commands."""
    rows = ["| command | what it does |", "|---|---|"]
    rows += [f"| `reasoning-bank {name}` | {command.get_short_help_str(200)} |" for name, command in commands()]
    return "\n".join(rows)


def bench_table() -> str:
    """Returns README's table: what is claimed, what the committed run of `bench` measured, and why it differs."""
    rows = ["| claim | compared | measured | why |", "|---|---|---|---|"]
    rows += [
        f"| {row.claim} | {' → '.join(row.ways)} | {_measured(row)} | {row.why} |" for row in read_results(BENCH).rows
    ]
    return "\n".join(rows)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yields each command of the command line as a person types it, in alphabetical order."""
    from reasoning_bank.cli import cli

    yield from _unfolded(cli, click.Context(cli), "")


def default_toml() -> str:
    """Returns the text of config/default.toml: every setting with its default, its range and its meaning."""
    lines = [
        "# Every setting with its default. Copy what you change to the platform's configuration directory",
        "# (`reasoning-bank doctor` prints which), or anywhere and name it: reasoning-bank serve --config FILE",
        "# An argument wins over REASONING_BANK_* in the environment, that over this file, and this over the default.",
        "# Written by `make docs`.",
    ]
    lines += _toml_lines("", Settings)
    for group, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            lines += ["", f"# {(info.annotation.__doc__ or '').splitlines()[0]}", f"[{group}]"]
            lines += _toml_lines(group, info.annotation)
    # Inside [cache] would be more natural, but in TOML a table ends where the next begins.
    lines += [line for name, cache in CacheSettings().named().items() for line in _cache_toml(name, cache)]
    return "\n".join(lines) + "\n"


def _cache_toml(name: str, cache: NamedCacheSettings) -> Iterator[str]:
    yield from ("", f"# {CacheSettings.model_fields[name].description}")
    if name == NAMES[0]:
        for key, info in NamedCacheSettings.model_fields.items():
            limits = _range(info).replace("`", "")
            yield f"#   {key}: {info.description}{f' Range: {limits}.' if limits else ''}"
    yield f"[cache.{name}]"
    for key, info in setting_names(cache):
        yield f"{key} = {_toml_value(info)}"


def between(text: str, name: str) -> str:
    """Returns what stands between the markers `name` of a Markdown text."""
    found = re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", text, re.DOTALL)
    if found is None:
        raise LookupError(f"no markers {name!r}")
    return found[1].rstrip("\n")


def write() -> None:
    """Writes every generated part in place."""
    text = README.read_text(encoding="utf-8")
    for name, table in (
        ("tools", tools_table()),
        ("commands", commands_table()),
        ("settings", settings_table()),
        ("caches", caches_table()),
        ("bench", bench_table()),
    ):
        old = rf"(<!-- {name}:begin -->\n).*?\n*(<!-- {name}:end -->)"
        text = re.sub(old, lambda found, table=table: f"{found[1]}{table}\n\n{found[2]}", text, flags=re.DOTALL)
    README.write_text(text, encoding="utf-8")
    DEFAULT_TOML.write_text(default_toml(), encoding="utf-8")


def _measured(row: Row) -> str:
    if row.measured is None:
        return f"not measured: {row.skipped}"
    found = row.measured
    interval = f" ({_short(found.low)} to {_short(found.high)})" if found.low < found.high else ""
    costs = f"{_short(found.before)} → {_short(found.after)} {found.unit}, n = {found.n}"
    beside = "".join(f"; {name.replace('_', ' ')} {_short(value)}" for name, value in found.figures.items())
    return f"**{_short(found.ratio)}x**{interval}: {costs}{beside}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _unfolded(group: click.Group, context: click.Context, prefix: str) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from _unfolded(command, click.Context(command, parent=context), f"{prefix}{name} ")
        else:
            yield prefix + name, command


def _toml_lines(prefix: str, model: type[BaseModel]) -> list[str]:
    lines: list[str] = []
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            continue
        limits = _range(info).replace("`", "")
        lines += ["", f"# {info.description}{f' Range: {limits}.' if limits else ''}"]
        full = f"{prefix}.{name}" if prefix else name
        value = _toml_value(info)
        lines.append(f"{name} = {value}" if value else f"# {name} = {_commented(full)}")
    return lines


def _toml_value(info: FieldInfo) -> str:
    """Returns the default as TOML, or "" where it depends on the platform or is "not set"."""
    default = info.get_default(call_default_factory=True)
    if default is None or isinstance(default, Path | SecretStr):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, str):
        return f'"{default}"'
    if isinstance(default, dict):
        return "{}"
    return "[]" if isinstance(default, tuple) else str(cast("int | float", default))


def _commented(name: str) -> str:
    examples = {
        "data_dir": '"~/.local/share/reasoning-bank"',
        "assets_dir": '"~/.cache/reasoning-bank/assets"',
        "retrieval.recency": "1.0",
    }
    return examples.get(name, '""')


def _shown(name: str, info: FieldInfo) -> str:
    if name in {"data_dir", "assets_dir"}:
        return "the platform's " + ("data" if name == "data_dir" else "cache") + " directory"
    value = _toml_value(info).strip('"')
    return f"`{value}`" if value else "not set"


def _range(info: FieldInfo) -> str:
    """Returns the values a setting takes: "`a`, `b`" for a closed set, "1 to 100" for a number, else ""."""
    one = get_args(info.annotation)[0] if get_origin(info.annotation) is tuple else info.annotation
    if get_origin(one) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(one))
    low = high = ""
    for bound in info.metadata:
        if isinstance(bound, annotated_types.Ge):
            low = f"{bound.ge:,}"
        elif isinstance(bound, annotated_types.Gt):
            low = f"above {bound.gt:,}"
        elif isinstance(bound, annotated_types.Le):
            high = f"{bound.le:,}"
    return f"{low} to {high}" if low else ""


if __name__ == "__main__":
    write()
