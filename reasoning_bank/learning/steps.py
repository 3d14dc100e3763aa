"""A trajectory of any common shape, read as one list of steps.

Known shapes: chat messages with content, content blocks, parts and tool calls; `{thought, action, observation}` and its
many spellings; commands with output and exit code; pairs of call and result; marked transcripts; diffs; lists of
sentences; one narrative text. What is not recognised is kept as text, never guessed at.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from reasoning_bank.learning.fields import as_json, call_of, first, plain, tool_of
from reasoning_bank.learning.messages import read_message
from reasoning_bank.learning.step import Step
from reasoning_bank.learning.transcripts import is_marked, read_text
from reasoning_bank.records import JsonValue

_LISTS: Final = (
    *(
        "steps",
        "intermediate_steps",
        "trajectory",
        "traj",
        "messages",
        "history",
        "events",
        "turns",
        "trace",
        "actions",
    ),
    "log",
)
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
_OBSERVATION: Final = ("observation", "output", "result", "response", "stdout", "content", "observations", "results")
_ERROR: Final = ("error", "stderr", "exception", "traceback")
_EXIT: Final = ("exit_code", "exitcode", "returncode", "return_code", "exit_status", "status_code")
_PATCH: Final = ("patch", "diff", "submission", "model_patch", "test_patch")
# Joining thoughts without end would copy them over and over.
_LONG_THOUGHT: Final = 4_000


def read_steps(trajectory: JsonValue) -> list[Step]:
    """Return the steps of a trajectory in order; empty when it holds nothing readable."""
    try:
        return [step for step in _merged(_read(trajectory)) if step.thought or step.action or step.observation]
    except RecursionError:
        # The door bounds how deep a trajectory is nested, not the JSON that stands in its texts; no run is like that.
        return []


def _read(value: JsonValue) -> Iterator[Step]:
    if isinstance(value, str):
        parsed = as_json(value)
        yield from _read(parsed) if isinstance(parsed, list | dict) else read_text(value)
    elif isinstance(value, list):
        yield from _read_list(value)
    elif isinstance(value, dict):
        yield from _read_object(value)


def _read_list(items: list[JsonValue]) -> Iterator[Step]:
    if len(items) == 2 and isinstance(items[0], dict) and isinstance(items[1], str):
        yield from _read_object(items[0])
        yield Step(observation=items[1])
        return
    for item in items:
        yield from [Step(action=item.strip())] if isinstance(item, str) and _one_line(item) else _read(item)


def _one_line(text: str) -> bool:
    return "\n" not in text.strip() and not is_marked(text) and "<action>" not in text and as_json(text) is None


def _read_object(value: Mapping[str, JsonValue]) -> Iterator[Step]:
    fields = {key.lower(): item for key, item in value.items()}
    inner, extras = fields.get("message"), fields.get("extras")
    if isinstance(inner, dict) and "role" in inner:
        yield from read_message(inner, read=_read)
    elif "role" in fields and not ({"action", "thought"} & fields.keys()):
        yield from read_message(fields, read=_read)
    else:
        yield from _read_named({**extras, **fields} if isinstance(extras, dict) else fields)


def _read_named(fields: Mapping[str, JsonValue]) -> Iterator[Step]:
    """Read an object whose keys say what they are; keys are lower case."""
    step = _step(fields)
    lists = [found for key in _LISTS if isinstance(found := fields.get(key), list)]
    if lists:
        yield from _read(lists[0])
        if patch := first(fields, _PATCH):
            yield Step(observation=plain(patch))
    elif step != Step():
        yield step
    else:
        # No field we know: the result itself, such as an answer or an address.
        yield Step(observation=plain(dict(fields)))


def _step(fields: Mapping[str, JsonValue]) -> Step:
    tool, call = plain(first(fields, _TOOL)), first(fields, _ACTION)
    if call is None and tool:
        action = call_of(dict(fields))
    elif isinstance(call, str):
        action = call_of({**fields, "name": call}) if "\n" not in call and " " not in call else call
    else:
        action = call_of(call)
    error = plain(first(fields, _ERROR))
    seen = plain(_seen(fields)) if "role" not in fields else ""
    return Step(
        thought=plain(first(fields, _THOUGHT)).strip(),
        action=action.strip(),
        observation="\n".join(filter(None, (seen, error))).strip(),
        tool=tool_of(tool),
        failed=_failed(fields, error=error),
    )


def _seen(fields: Mapping[str, JsonValue]) -> JsonValue:
    seen = first(fields, (*_OBSERVATION, *_PATCH))
    # Some frameworks name the kind of observation here and put its text into "content".
    named = isinstance(seen, str) and seen.isidentifier() and isinstance(fields.get("content"), str)
    return fields["content"] if named else seen


def _failed(fields: Mapping[str, JsonValue], *, error: str) -> bool | None:
    code = first(fields, _EXIT)
    if isinstance(code, int):
        return code >= 400 or (0 < code < 100) or code in range(125, 200)
    for flag in ("is_error", "iserror", "failed"):
        if isinstance(found := fields.get(flag), bool):
            return found
    if isinstance(success := fields.get("success", fields.get("ok")), bool):
        return not success
    return True if error and "stderr" not in fields else None


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
