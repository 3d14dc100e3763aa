"""Values of a trajectory as plain text, and tool calls of any API as `name arguments`."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from reasoning_bank.records import JsonValue

ARGUMENTS: Final = ("arguments", "args", "input", "tool_input", "action_input", "parameters", "params", "kwargs")
_NAMES: Final = ("name", "tool", "tool_name", "function_name", "action_type", "action", "type")
_SHELL_TOOL: Final = re.compile(
    r"(?:execute_|run_)?(?:bash|shell|terminal|command|cmd|sh|exec)(?:_command)?|run|execute", re.IGNORECASE
)


def first(fields: Mapping[str, JsonValue], keys: Iterable[str]) -> JsonValue:
    """Return the first of the named fields that holds something, or None."""
    return next((fields[key] for key in keys if fields.get(key) not in (None, "", [], {})), None)


def plain(value: JsonValue) -> str:
    """Return a value as text: strings as they are, lists of texts as lines, the rest as JSON."""
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(map(str, value))
    if isinstance(value, list) and (texts := _block_texts(value)):
        return "\n".join(texts)
    return json.dumps(value, ensure_ascii=False)


def call_of(value: JsonValue) -> str:
    """Return a tool call as `name arguments`, or the command itself where the tool is a shell."""
    if not isinstance(value, dict):
        return plain(value)
    function = value.get("function")
    named: Mapping[str, JsonValue] = function if isinstance(function, dict) else value
    name = plain(function) if isinstance(function, str) else plain(first(named, _NAMES))
    arguments = first(named, ARGUMENTS)
    if (command := _shell_command(name, arguments)) is not None:
        return command
    return f"{name} {plain(arguments)}".strip()


def tool_of(name: str) -> str:
    """Return the name of a tool, or "" for a shell, whose commands differ in kind."""
    return "" if _SHELL_TOOL.fullmatch(name) or len(name) > 80 else name


def as_json(text: str) -> JsonValue:
    """Return what a JSON text holds, or None when it is none."""
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        parsed: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed


def _shell_command(tool: str, arguments: JsonValue) -> str | None:
    parsed = as_json(arguments) if isinstance(arguments, str) else arguments
    if not _SHELL_TOOL.fullmatch(tool) or not isinstance(parsed, dict) or not parsed:
        return None
    command = parsed.get("command", parsed.get("cmd"))
    return command if isinstance(command, str) else None


def _block_texts(blocks: Sequence[JsonValue]) -> list[str]:
    return [str(block["text"]) for block in blocks if isinstance(block, dict) and isinstance(block.get("text"), str)]
