"""Answers in the three wire formats, as the servers send them."""

import json
from typing import Any

PATHS = {
    "chat_completions": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
}
USAGE = {
    "chat_completions": {
        "prompt_tokens": 30,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 20},
    },
    "responses": {"input_tokens": 30, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 20}},
    "anthropic": {
        "input_tokens": 8,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 20,
        "output_tokens": 5,
    },
}
"""The same usage each time: 10 uncached, 20 cached, 5 out."""
FINISHES = {
    "chat_completions": {"stop": "stop", "length": "length", "refusal": "content_filter"},
    "responses": {"stop": None, "length": "max_output_tokens", "refusal": "content_filter"},
    "anthropic": {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"},
}


def wire_of(path: str) -> str:
    """The format that a path speaks."""
    return next(wire for wire, known in PATHS.items() if path.endswith(known.removeprefix("/v1")))


def whole(wire: str, text: str, *, model: str = "m", finish: str = "stop") -> dict[str, Any]:
    """A whole answer."""
    reason = FINISHES[wire][finish]
    match wire:
        case "chat_completions":
            message = {"role": "assistant", "content": text, "refusal": None}
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return {"id": "c1", "object": "chat.completion", "model": model, "choices": [choice], "usage": USAGE[wire]}
        case "responses":
            return _response(text, model, reason)
        case _:
            content = [{"type": "text", "text": text}]
            head = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
            return {**head, "content": content, "stop_reason": reason, "usage": USAGE[wire]}


def _response(text: str, model: str, reason: str | None) -> dict[str, Any]:
    reasoning: dict[str, Any] = {"type": "reasoning", "summary": []}
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return {
        "id": "r1",
        "object": "response",
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "error": None,
        "model": model,
        "output": [reasoning, message],
        "usage": USAGE["responses"],
    }


def streamed(wire: str, pieces: list[str], *, model: str = "m", finish: str = "stop") -> list[bytes]:
    """The events of a streamed answer; the last one is the mark of the end."""
    match wire:
        case "chat_completions":
            return _chat(pieces, model, finish)
        case "responses":
            return _responses(pieces, model, finish)
        case _:
            return _anthropic(pieces, model, finish)


def _chat(pieces: list[str], model: str, finish: str) -> list[bytes]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        return _event(None, {"model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    return [
        b": a comment that keeps the connection open\n\n",
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in pieces),
        chunk({}, FINISHES["chat_completions"][finish]),
        _event(None, {"model": model, "choices": [], "usage": USAGE["chat_completions"]}),
        b"data: [DONE]\n\n",
    ]


def _responses(pieces: list[str], model: str, finish: str) -> list[bytes]:
    last = _response("".join(pieces), model, FINISHES["responses"][finish])
    first: dict[str, Any] = {**last, "status": "in_progress", "output": [], "usage": None}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": first}),
        ("response.output_item.added", {"item": {"type": "message"}}),
        *(("response.output_text.delta", {"delta": piece}) for piece in pieces),
        ("response.incomplete" if last["incomplete_details"] else "response.completed", {"response": last}),
    ]
    return [_event(name, {"type": name, **fields}) for name, fields in steps]


def _anthropic(pieces: list[str], model: str, finish: str) -> list[bytes]:
    usage = {**USAGE["anthropic"], "output_tokens": 1}
    message: dict[str, Any] = {"type": "message", "role": "assistant", "model": model, "content": [], "usage": usage}
    reason = FINISHES["anthropic"][finish]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("message_start", {"message": message}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("ping", {}),
        *(("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": piece}}) for piece in pieces),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}}),
        ("message_stop", {}),
    ]
    return [_event(name, {"type": name, **fields}) for name, fields in steps]


def error_event(wire: str, said: str = "the model fell over") -> bytes:
    """An error in the middle of a stream."""
    match wire:
        case "chat_completions":
            return _event(None, {"error": {"message": said, "type": "server_error", "code": 500}})
        case "responses":
            return _event("error", {"type": "error", "code": "server_error", "message": said})
        case _:
            return _event("error", {"type": "error", "error": {"type": "overloaded_error", "message": said}})


def _event(name: str | None, data: dict[str, Any]) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
