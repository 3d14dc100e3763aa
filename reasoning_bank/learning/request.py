"""What the bank asks of the assistant when it has no LLM of its own: to distil the trace it has just reported."""

from functools import cache
from importlib.resources import files
from typing import Final

from reasoning_bank.records import JsonValue, NewTrace

_TEXT: Final[JsonValue] = {"type": "string"}
_SCHEMA: Final[JsonValue] = {
    "type": "array",
    "maxItems": 3,
    "items": {
        "type": "object",
        "properties": {
            "title": _TEXT,
            "description": _TEXT,
            "content": _TEXT,
            "error_context": {
                "type": "object",
                "properties": {"error_type": _TEXT, "failure_pattern": _TEXT, "corrective_guidance": _TEXT},
            },
        },
        "required": ["title", "description", "content"],
    },
}


def distil_request(report: NewTrace, *, idempotency_key: str) -> dict[str, JsonValue]:
    """Return instructions, the JSON schema of `memories`, and the key of the call to repeat with them.

    Args:
        report: the trace; its outcome decides what is asked.
        idempotency_key: the key under which the trace was stored.
    """
    return {
        "instructions": _instructions("failure" if report.outcome == "failure" else "success"),
        "schema": _SCHEMA,
        "idempotency_key": idempotency_key,
    }


@cache
def _instructions(outcome: str) -> str:
    text = files("reasoning_bank.learning").joinpath(f"prompts/request_{outcome}.md").read_text(encoding="utf-8")
    return " ".join(text.split())
