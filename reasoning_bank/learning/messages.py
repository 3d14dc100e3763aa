"""Chat messages of every common API, read as steps."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from reasoning_bank.learning.fields import as_json, call_of, plain, tool_of
from reasoning_bank.learning.step import Step
from reasoning_bank.learning.transcripts import read_reply
from reasoning_bank.records import JsonValue

_SAYING_ROLES: Final = frozenset({"assistant", "ai", "agent", "model", "bot"})
_SEEING_ROLES: Final = frozenset({"tool", "function", "environment", "observation", "ipython", "computer"})
_TELLING_ROLES: Final = frozenset({"system", "developer"})
# Frameworks without a tool role send results as the user.
_RESULT: Final = re.compile(
    r"\s*(?:<returncode>(?P<code>-?\d+)|<output>|\[?(?:observation|output|result|execution result)s?\b\]?[ ]?:"
    r"|exit code)",
    re.IGNORECASE,
)


def read_message(message: Mapping[str, JsonValue], *, read: Callable[[JsonValue], Iterator[Step]]) -> Iterator[Step]:
    """Yield the steps of one message, unjoined.

    Args:
        message: an object with a role.
        read: reads a reply that is JSON.
    """
    role = str(message.get("role", "")).lower()
    if role in _TELLING_ROLES:
        return  # what the agent was told is not what happened
    content = message.get("content", message.get("parts"))
    seen = message.get("message_type") == "observation"
    blocks: Sequence[JsonValue] = content if isinstance(content, list) else [content]
    for block in blocks:
        if isinstance(block, dict):
            yield from _read_block(block, role, read)
        elif isinstance(block, str) and block.strip():
            yield from [Step(observation=block.strip())] if seen else _said(block, role, read)
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else [message.get("function_call")]:
        if isinstance(call, dict):
            yield _called(call)


def _read_block(
    block: Mapping[str, JsonValue], role: str, read: Callable[[JsonValue], Iterator[Step]]
) -> Iterator[Step]:
    kind = block.get("type")
    call, answer = block.get("functionCall", block.get("function_call")), block.get("functionResponse")
    if kind in {"tool_use", "function_call"}:
        yield _called(block)
    elif isinstance(call, dict):
        yield _called(call)
    elif isinstance(answer, dict):
        yield Step(observation=plain(answer.get("response")))
    elif kind in {"tool_result", "function_call_output"}:
        flag = block.get("is_error")
        seen = plain(block.get("content", block.get("output")))
        yield Step(observation=seen, failed=flag if isinstance(flag, bool) else None)
    elif kind == "thinking":
        yield Step(thought=plain(block.get("thinking")))
    elif text := plain(block.get("text", block.get("content"))):
        yield from _said(text, role, read)


def _called(call: Mapping[str, JsonValue]) -> Step:
    function = call.get("function")
    named: Mapping[str, JsonValue] = function if isinstance(function, dict) else call
    return Step(action=call_of(dict(call)), tool=tool_of(plain(named.get("name"))))


def _said(text: str, role: str, read: Callable[[JsonValue], Iterator[Step]]) -> Iterator[Step]:
    if role in _SAYING_ROLES:
        parsed = as_json(text)
        yield from read(parsed) if isinstance(parsed, dict) else read_reply(text)
    elif role in _SEEING_ROLES:
        yield Step(observation=text.strip())
    elif result := _RESULT.match(text):
        yield Step(observation=text.strip(), failed=result["code"] != "0" if result["code"] else None)
    # What else a user says is the task, or feedback that the agent's next words take up.
