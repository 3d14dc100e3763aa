"""A trajectory of any common shape, read as one list of steps.

Known shapes: chat messages with content, content blocks and tool calls; `{thought, action, observation}` and its many
spellings; commands with output and exit code; transcripts with `Thought:` or `<action>` marks; diffs; lists of
sentences; one narrative text. What is not recognised is kept as text, never guessed at.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from reasoning_bank.records import JsonValue


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was thought, done and seen; any part may be empty.

    Attributes:
        thought: what the agent said or thought, its own words.
        action: what it did: a command, a tool call, an edit.
        observation: what came back.
        tool: name of the tool, if the action was a call.
        failed: True or False when the source says so (exit code, error flag), else None.
    """

    thought: str = ""
    action: str = ""
    observation: str = ""
    tool: str = ""
    failed: bool | None = None


_LISTS: Final = ("steps", "trajectory", "traj", "messages", "history", "events", "turns", "trace", "actions", "log")
_THOUGHT: Final = (
    "thought",
    "thoughts",
    "reasoning",
    "thinking",
    "reflection",
    "analysis",
    "rationale",
    "plan",
    "note",
)
_ACTION: Final = ("action", "command", "cmd", "tool_call", "function_call", "call", "query", "code", "step", "did")
_TOOL: Final = ("tool", "tool_name", "function", "name", "action_type")
_ARGUMENTS: Final = ("arguments", "args", "input", "tool_input", "action_input", "parameters", "params", "kwargs")
_OBSERVATION: Final = ("observation", "output", "result", "response", "stdout", "content", "observations", "results")
_ERROR: Final = ("error", "stderr", "exception", "traceback")
_EXIT: Final = ("exit_code", "exitcode", "returncode", "return_code", "exit_status", "status_code")
_PATCH: Final = ("patch", "diff", "submission", "model_patch", "test_patch")
_SAYING_ROLES: Final = frozenset({"assistant", "ai", "agent", "model", "bot"})
_SEEING_ROLES: Final = frozenset({"tool", "function", "environment", "observation", "ipython", "computer"})

_MARK: Final = re.compile(
    r"^[ \t]*(?:\*\*|#{1,4} )?(?P<mark>thought|think|reasoning|action input|action|command|tool call|observation"
    r"|output|result|final answer|answer|conclusion|user|human|assistant|agent"
    r"|system)[ \t]*\d{0,3}(?:\*\*)?[ \t]*:[ \t]*(?:\*\*)?",
    re.IGNORECASE | re.MULTILINE,
)
_TAG: Final = re.compile(r"<(think|thinking|thought|action|observation|tool_call|answer|reflection)>", re.IGNORECASE)
_SHELL: Final = re.compile(r"^[ \t]*(?:\$|>>>|❯)[ \t]+(?P<command>\S.*)$", re.MULTILINE)
# Joining thoughts without end would copy them over and over.
_LONG_THOUGHT: Final = 4_000
_SHELL_TOOL: Final = re.compile(
    r"(?:execute_|run_)?(?:bash|shell|terminal|command|cmd|sh|exec)(?:_command)?", re.IGNORECASE
)
_ACTION_MARKS: Final = ("action", "action input", "command", "tool call", "tool_call")
_SEEN_MARKS: Final = ("observation", "output", "result", "user", "human", "system")


def read_steps(trajectory: JsonValue) -> list[Step]:
    """Return the steps of a trajectory in order; empty when it holds nothing readable."""
    return [step for step in _merged(_read(trajectory)) if step.thought or step.action or step.observation]


def _read(value: JsonValue) -> Iterator[Step]:
    if isinstance(value, str):
        yield from _read_text(value)
    elif isinstance(value, list):
        for item in value:
            yield from [Step(action=item.strip())] if isinstance(item, str) and _one_line(item) else _read(item)
    elif isinstance(value, dict):
        yield from _read_object(value)


def _one_line(text: str) -> bool:
    return "\n" not in text.strip() and not _MARK.match(text) and "<action>" not in text


def _read_object(value: Mapping[str, JsonValue]) -> Iterator[Step]:
    if "role" in value:
        yield from _read_message(value)
        return
    fields = {key.lower(): item for key, item in value.items()}
    step = _read_fields(fields)
    lists = [fields[key] for key in _LISTS if isinstance(fields.get(key), list)]
    if lists:
        yield from _read(lists[0])
        if step.observation and (patch := _first(fields, _PATCH)):
            yield Step(observation=_plain(patch))
    elif step != Step():
        yield step
    else:
        # No field we know: the result itself, such as an answer or an address.
        yield Step(observation=_plain(dict(value)))


def _read_fields(fields: Mapping[str, JsonValue]) -> Step:
    """Read an object whose keys say what they are; keys are lower case."""
    tool, arguments = _plain(_first(fields, _TOOL)), _first(fields, _ARGUMENTS)
    action = _call(_first(fields, _ACTION))
    if not action and tool:
        action = f"{tool} {_plain(arguments)}".strip()
    elif arguments is not None and action:
        action = f"{action} {_plain(arguments)}"
    error, seen = _plain(_first(fields, _ERROR)), _plain(_first(fields, (*_OBSERVATION, *_PATCH)))
    return Step(
        thought=_plain(_first(fields, _THOUGHT)).strip(),
        action=action.strip(),
        observation="\n".join(part for part in (seen, error) if part).strip(),
        tool=tool if len(tool) < 80 else "",
        failed=_failed(fields, error=error),
    )


def _failed(fields: Mapping[str, JsonValue], *, error: str) -> bool | None:
    code = _first(fields, _EXIT)
    if isinstance(code, int):
        return code >= 400 or (0 < code < 100) or code in range(125, 200)
    for flag in ("is_error", "iserror"):
        if isinstance(fields.get(flag), bool):
            return bool(fields[flag])
    if isinstance(success := fields.get("success", fields.get("ok")), bool):
        return not success
    return True if error and "stderr" not in fields else None


def _read_message(message: Mapping[str, JsonValue]) -> Iterator[Step]:
    role = str(message.get("role", "")).lower()
    content = message.get("content")
    if role in {"system", "developer"}:
        return  # what the agent was told is not what happened
    blocks: Sequence[JsonValue] = content if isinstance(content, list) else [content]
    for block in blocks:
        if isinstance(block, dict):
            yield from _read_block(block, role)
        elif isinstance(block, str) and block.strip():
            yield from _said(block, role)
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else [message.get("function_call")]:
        if isinstance(call, dict):
            yield Step(action=_call(call), tool=_tool_name(call))


def _read_block(block: Mapping[str, JsonValue], role: str) -> Iterator[Step]:
    kind = block.get("type")
    if kind in {"tool_use", "function_call"}:
        yield Step(action=_call(dict(block)), tool=_tool_name(block))
    elif kind in {"tool_result", "function_call_output"}:
        flag = block.get("is_error")
        seen = _plain(block.get("content", block.get("output")))
        yield Step(observation=seen, failed=flag if isinstance(flag, bool) else None)
    elif kind == "thinking":
        yield Step(thought=_plain(block.get("thinking")))
    elif text := _plain(block.get("text", block.get("content"))):
        yield from _said(text, role)


def _said(text: str, role: str) -> Iterator[Step]:
    if role in _SAYING_ROLES:
        yield from _read_text(text)
    elif role in _SEEING_ROLES:
        yield Step(observation=text.strip())
    # What a user says is the task, or feedback that the agent's next words take up.


def _read_text(text: str) -> Iterator[Step]:
    text = text.strip()
    if text[:1] in {"{", "["} and (parsed := _parsed(text)) is not None:
        yield from _read(parsed)
    elif tagged := list(_tagged(text)):
        yield from _marked(tagged)
    elif len(marks := list(_MARK.finditer(text))) >= 2 or (marks and marks[0].start() == 0):
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        yield Step(thought=text[: marks[0].start()].strip())
        yield from _marked(
            (mark["mark"].lower(), text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)
        )
    elif commands := list(_SHELL.finditer(text)):
        ends = [*(command.start() for command in commands[1:]), len(text)]
        yield Step(thought=text[: commands[0].start()].strip())
        for command, end in zip(commands, ends, strict=True):
            yield Step(action=command["command"].strip(), observation=text[command.end() : end].strip())
    elif "diff --git " in text or text.startswith("--- "):
        yield Step(observation=text)
    else:
        yield Step(thought=text)


def _tagged(text: str) -> Iterator[tuple[str, str]]:
    lowered = text.lower()
    done = 0
    open_forever: set[str] = set()
    for tag in _TAG.finditer(text):
        name = tag[1].lower()
        if tag.start() < done or name in open_forever:
            continue
        end = lowered.find(f"</{name}>", tag.end())
        if end < 0:
            open_forever.add(name)
        else:
            yield name, text[tag.end() : end]
            done = end


def _marked(parts: Iterable[tuple[str, str]]) -> Iterator[Step]:
    for mark, body in parts:
        text = body.strip()
        if mark in _ACTION_MARKS:
            yield Step(action=text)
        elif mark in _SEEN_MARKS:
            yield Step(observation=text if mark not in {"user", "human", "system"} else "")
        else:
            yield Step(thought=text)


def _merged(steps: Iterable[Step]) -> Iterator[Step]:
    """Join what belongs to one step: a thought waits for its action, an action for what came back."""
    pending = Step()
    for step in steps:
        starts_new = (
            (step.thought and (pending.action or pending.observation))
            or (step.action and (pending.action or pending.observation))
            or (step.observation and pending.observation)
            or len(pending.thought) > _LONG_THOUGHT
        )
        if starts_new:
            yield pending
            pending = Step()
        pending = replace(
            pending,
            thought="\n".join(filter(None, (pending.thought, step.thought))),
            action=step.action or pending.action,
            observation=step.observation or pending.observation,
            tool=step.tool or pending.tool,
            failed=step.failed if step.failed is not None else pending.failed,
        )
    yield pending


def _first(fields: Mapping[str, JsonValue], keys: Iterable[str]) -> JsonValue:
    return next((fields[key] for key in keys if fields.get(key) not in (None, "", [], {})), None)


def _call(value: JsonValue) -> str:
    """Return a tool call as `name arguments`, whatever API it comes from."""
    if not isinstance(value, dict):
        return _plain(value)
    function = value.get("function")
    named: Mapping[str, JsonValue] = function if isinstance(function, dict) else value
    name = _plain(_first(named, ("name", "tool", "type", "action")))
    arguments = _first(named, _ARGUMENTS)
    if (command := _shell_command(name, arguments)) is not None:
        return command
    if arguments is None:
        arguments = {key: item for key, item in named.items() if key not in {"name", "tool", "type", "action", "id"}}
    return f"{name} {_plain(arguments)}".strip()


def _shell_command(tool: str, arguments: JsonValue) -> str | None:
    """Return the command itself when the tool is a shell: `pytest` says more than `bash {...}`."""
    parsed = _parsed(arguments) if isinstance(arguments, str) and arguments.lstrip().startswith("{") else arguments
    if not _SHELL_TOOL.fullmatch(tool) or not isinstance(parsed, dict) or not parsed:
        return None
    command = parsed.get("command", parsed.get("cmd"))
    return command if isinstance(command, str) else None


def _tool_name(call: Mapping[str, JsonValue]) -> str:
    function = call.get("function")
    named: Mapping[str, JsonValue] = function if isinstance(function, dict) else call
    name = _plain(named.get("name"))
    return "" if _SHELL_TOOL.fullmatch(name) else name


def _plain(value: JsonValue) -> str:
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(map(str, value))
    if isinstance(value, list) and (texts := _block_texts(value)):
        return "\n".join(texts)
    return json.dumps(value, ensure_ascii=False)


def _block_texts(blocks: Sequence[JsonValue]) -> list[str]:
    return [str(block["text"]) for block in blocks if isinstance(block, dict) and isinstance(block.get("text"), str)]


def _parsed(text: str) -> JsonValue:
    try:
        parsed: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed
